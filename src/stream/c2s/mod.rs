//! A client's stream from its first byte to its bound resource (RFC 6120 §4 to §7), without I/O.
//!
//! The driver feeds [`Input`]s one at a time and performs the [`Output`]s in order before it feeds
//! the next. A stream that is bound leaves this machine.

mod auth;
mod bind;
mod inline;
mod machine;
mod policy;
mod request;
mod sasl2;
mod step;
mod tasks;
mod tries;

pub use inline::{Entry, Given, Success};
pub use machine::C2s;
pub use policy::{Offers, Policy};
pub use request::{BindRequest, Fast, UserAgent};
pub use step::{Failed, Input, Output, Outputs};

#[cfg(test)]
mod tests;
