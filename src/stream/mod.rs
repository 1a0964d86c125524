//! Sans-I/O negotiation.

pub mod error;
