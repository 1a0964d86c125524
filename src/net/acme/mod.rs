//! Certificates by themselves: one for all hosted names, ordered from an authority by ACME (RFC 8555), renewed in
//! time (RFC 9773), and used without a restart. While anything fails, the certificate that is there stays.
//!
//! `plan.rs` says when what is done, without I/O; `keeper.rs` does it. `order.rs` talks with the authority by
//! `instant-acme`, whose requests go through `client.rs`: bounded in time and bytes, as the authority is foreign.

mod client;
mod failure;
mod files;
mod keeper;
mod memory;
mod order;
mod plan;
mod proofs;
mod settings;

pub use failure::Failure;
pub use files::certificate_file;
pub use keeper::{Keeper, Ordered, figures};
pub use memory::Memory;
pub use proofs::Answers;
pub use settings::{Challenge, Names, Settings};

use std::time::Duration;

/// Let's Encrypt's directory.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How long one order may take, with all that the authority asks for.
pub const ORDER_TIME: Duration = Duration::from_secs(600);
