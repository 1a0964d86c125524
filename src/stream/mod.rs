//! Negotiation of streams without I/O: takes what came in, and returns what is to be done. It has no clock,
//! no sockets and no source of randomness.

pub mod c2s;
pub mod component;
pub mod error;
pub mod features;
pub mod framing;
pub mod open;
pub mod s2s;
pub mod sasl;
pub mod sm;
