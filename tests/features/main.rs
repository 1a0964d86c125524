//! Everything that is tested over real sockets, in one binary (one link instead of twenty).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod bind;
mod cli;
mod durable;
mod harness;
mod harness_self;
mod limits;
mod register;
mod sasl;
mod streams;
mod surface;
mod tls;
mod transcripts;
