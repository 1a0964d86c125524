//! TODO

pub mod rules;
pub mod subscription;
