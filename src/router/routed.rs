//! What the router says of a stanza.

use std::sync::Arc;

use super::domains::ServiceId;
use super::outbox::Outbox;
use crate::jid::BareJid;
use crate::stanza::StanzaError;

/// What came of routing one stanza.
#[derive(Debug)]
pub enum Routed {
    /// On its way, or rightly dropped.
    Done,
    /// As `Done`, but this box is over half full: stop reading for a moment.
    Slow(Arc<Outbox>),
    /// The sender gets this error.
    Bounce(StanzaError),
    /// The addressee must be read from the store first: [`super::Router::load`], then route again.
    Load(BareJid),
    /// Its row would be one too many for now: [`crate::store::Store::room`], then route again.
    Crowded,
    /// Not the router's to answer: a handler of the floor above does.
    Handle(Handler),
}

/// Stanzas that a module handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Subscription stanzas (RFC 6121 §3).
    Subscription,
    /// Presence probes (RFC 6121 §4.3).
    Probe,
    /// IQ requests that the server answers for a domain or an account.
    Iq,
    /// All that is for a service.
    Service(ServiceId),
}

/// To the sender of a message while the disk takes no writes (promise.md 5).
pub fn not_stored() -> StanzaError {
    StanzaError::resource_constraint().text("the server cannot store messages now")
}
