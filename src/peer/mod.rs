//! Streams with other servers: one task for each, and how a server is reached.

mod clock;
pub mod component;
mod connect;
pub mod dial;
pub mod federation;
pub mod incoming;
pub mod link;
mod machine;
mod managed;
mod receiving;
mod resumable;
mod sending;
pub mod settings;
mod stream;
pub mod streams;

pub use federation::{Federation, Rules};
pub use settings::{Certificates, Settings};
