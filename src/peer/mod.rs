//! Streams with other servers: one task for each, and how a server is reached.

mod calls;
mod cause;
mod clock;
pub mod component;
mod connect;
mod counts;
pub mod dial;
pub mod federation;
mod former;
mod guests;
pub mod incoming;
mod leaving;
pub mod link;
mod machine;
mod managed;
pub mod operator;
mod paces;
mod pairing;
mod patience;
mod receiving;
mod resumable;
mod rows;
mod securing;
mod sending;
pub mod settings;
mod steps;
mod stream;
pub mod streams;
mod waiting;
mod waits;

pub use federation::{Federation, Rules};
pub use settings::{Certificates, Settings};
