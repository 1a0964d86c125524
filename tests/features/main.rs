//! Everything that is tested over real sockets, in one binary (one link instead of twenty).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

mod bind;
mod harness;
mod harness_self;
mod sasl;
mod streams;
mod tls;
mod transcripts;
