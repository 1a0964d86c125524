//! Streams with other servers: one task for each, and how a server is reached.

pub mod dial;
pub mod incoming;
pub mod settings;

pub use settings::{Certificates, Settings};
