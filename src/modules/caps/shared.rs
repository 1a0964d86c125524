//! What is known of clients' capabilities, for the whole server.

use super::known::Known;
use super::remote::Remote;

/// What is known.
#[derive(Debug, Default)]
pub struct Shared {
    /// What hashes stand for.
    pub(super) known: Known,
    /// What clients of other servers want.
    pub(super) remote: Remote,
}
