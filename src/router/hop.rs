//! Where a stanza goes next. A closed list: a new kind of neighbour is a new variant, and the
//! compiler names every place that must learn about it.

use std::sync::Arc;

use super::outbox::Outbox;

/// The next holder of a stanza.
#[derive(Debug, Clone)]
pub enum Hop {
    /// A local stream that bound a resource.
    Session(Arc<Outbox>),
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
