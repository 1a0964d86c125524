//! Negotiation of streams without I/O: what came in, what is to be done. No clock, no sockets, no
//! randomness of its own.

pub mod c2s;
pub mod error;
pub mod features;
pub mod framing;
pub mod open;
pub mod sasl;
pub mod sm;
