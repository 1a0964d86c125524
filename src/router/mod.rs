//! The router: which session is where, and [`Router::route`].

pub mod account;
pub mod contacts;
pub mod deferred;
pub mod features;
pub mod flush;
pub mod handled_count;
pub mod held;
pub mod home;
pub mod outbox;
pub mod owed;
pub mod passage;
pub mod presence;
pub mod questions;
pub mod registry;
pub mod rules;
pub mod subscription;
pub mod task;

mod access;
mod append;
mod cached;
mod change;
mod confirm;
mod core;
mod domains;
mod group;
mod incoming;
mod load;
mod logins;
mod mailbox;
mod marks;
mod notify;
mod origin;
mod outgoing;
mod route;
mod routed;
mod sent;
mod sessions;

pub use self::core::{Afterwards, Router};
pub use domains::{Leads, Served, ServiceId};
pub use group::HandedOut;
pub use mailbox::Mailbox;
pub use notify::Notified;
pub use origin::Origin;
pub use routed::{Handler, Routed, not_stored};
pub use sessions::Present;
