//! Streams between servers without I/O.

pub mod certificate;
