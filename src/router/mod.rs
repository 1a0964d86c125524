//! Who is where, and the one verb: [`Router::route`].

pub mod hop;
pub mod outbox;
pub mod owed;
pub mod registry;
pub mod rules;
pub mod subscription;
