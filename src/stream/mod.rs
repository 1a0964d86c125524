//! TODO

pub mod error;
