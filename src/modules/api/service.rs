//! A domain of its own that a module answers for: rooms, nodes, files.

use super::super::Config;
use super::{Identity, OnStanza};

/// A service, at a domain below each hosted one. What it keeps is in the module's part of
/// [`super::super::Shared`], behind a lock of its own: handlers of different senders run side by side, those
/// of one sender in order.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// What stands in front of each hosted domain; none: it is switched off.
    pub label: fn(&Config) -> Option<&str>,
    /// What it is (XEP-0030 §3.1).
    pub identity: Identity,
    /// Features of its domain, beside those that all services have.
    pub features: &'static [&'static str],
    /// Messages for any of its addresses.
    pub message: OnStanza,
    /// Presence of any type for any of its addresses: from sessions, and on their behalf when they end.
    pub presence: OnStanza,
    /// IQs for any of its addresses, answers too; but requests to its domain that a route with
    /// [`super::Target::Service`] answers.
    pub iq: OnStanza,
}

/// A service that is switched on.
#[derive(Debug)]
pub struct Serving {
    /// What it does.
    pub service: Service,
    /// What stands in front of each hosted domain.
    pub label: String,
}

impl Serving {
    /// Its domain below a hosted one.
    pub fn domain(&self, host: &str) -> String {
        format!("{}.{host}", self.label)
    }
}
