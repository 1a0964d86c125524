//! Sans-I/O negotiation of a stream.

pub mod sasl;
