//! TODO

pub mod roster;
