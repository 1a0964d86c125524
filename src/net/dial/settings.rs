//! What connecting to other servers needs of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::route::Route;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where single domains (in normal form) are, whatever the DNS says.
    pub routes: BTreeMap<String, Route>,
    /// Whether servers may be at addresses that are not public; those of `routes` may be anywhere.
    pub private_addresses: bool,
    /// How long a connection to one address may take, and the handshake of direct TLS after it.
    pub connect_time: Duration,
    /// How long sent bytes may be unacknowledged before a connection is taken for dead.
    pub loss_time: Duration,
}
