//! Where a stanza goes next. A closed list: a new kind of neighbour is a new variant, and the
//! compiler names every place that must learn about it.

use std::sync::Arc;

use super::outbox::{Outbox, Outgoing, Put, Refused};
use super::registry::Resource;

/// The next holder of a stanza.
#[derive(Debug, Clone)]
pub enum Hop {
    /// A local stream that bound a resource.
    Session {
        /// Its number in the registry.
        number: u64,
        /// The way to it.
        outbox: Arc<Outbox>,
    },
    /// The server itself: a hosted domain's own address.
    Entity,
    /// A domain that an external component serves (XEP-0114); none can connect yet.
    Component,
    /// A domain of somebody else; federation is not built yet, so it bounces
    /// `remote-server-not-found` (RFC 6120 §10.4).
    Remote,
    /// Another node of a cluster that holds the session; there is one node now.
    Node(u16),
}

impl Hop {
    /// The hop to a bound session.
    pub fn to(resource: &Resource) -> Self {
        Self::Session { number: resource.session, outbox: resource.outbox.clone() }
    }

    /// The session's number, for hops to sessions.
    pub fn session(&self) -> Option<u64> {
        match self {
            Self::Session { number, .. } => Some(*number),
            Self::Entity | Self::Component | Self::Remote | Self::Node(_) => None,
        }
    }

    /// Hands a stanza on; never waits, and wakes nobody: see [`Outbox::put`].
    pub fn put(&self, item: Outgoing) -> Result<Put, Refused> {
        match self {
            Self::Session { outbox, .. } => outbox.put(item),
            // Nobody is there yet to take it.
            Self::Entity | Self::Component | Self::Remote | Self::Node(_) => Err(Refused),
        }
    }
}
