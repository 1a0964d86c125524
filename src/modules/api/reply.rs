//! The results of hooks and handlers.

use bytes::Bytes;

use crate::router::outbox;
use crate::stanza::{Stanza, StanzaError};

/// A successful answer to a request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The payload of the result; empty for a bare acknowledgement.
    pub payload: Vec<u8>,
    /// Whole stanzas that the requesting session gets before the result (XEP-0313 §4).
    pub ahead: Vec<Bytes>,
    /// Stanzas to send after the result.
    pub out: Vec<Stanza>,
    /// A change to the requesting session after the result is written.
    pub effect: Option<Effect>,
}

/// A request of a handler to the session's task, carried out after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The account was removed: end the stream with `not-authorized` (XEP-0077 §3.2.1).
    AccountRemoved,
    /// The session's device was revoked: end the stream.
    DeviceRevoked,
}

impl Reply {
    /// `<iq type='result'/>`
    pub const fn empty() -> Self {
        Self { payload: Vec::new(), ahead: Vec::new(), out: Vec::new(), effect: None }
    }

    /// A result with this payload.
    pub fn payload(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..Self::empty() }
    }

    /// Adds an effect after the reply.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

/// What a hook decides about a stanza for its session's client.
#[derive(Debug)]
pub struct ClientDelivery {
    /// Stanzas that were held back and are sent now, before it.
    pub before: Vec<outbox::Outgoing>,
    /// Whether the stanza itself is sent now; otherwise the hook holds it back.
    pub now: bool,
}

impl ClientDelivery {
    /// Sends the stanza at once.
    pub const NOW: Self = Self { before: Vec::new(), now: true };
}

/// Why a request of the server's own got no result.
#[derive(Debug)]
pub enum Unanswered {
    /// It could not be written: the payload is not one element, or the address is none.
    Unsent,
    /// Too many questions are open, or the server stops.
    Busy,
    /// The answer is an error.
    Refused(StanzaError),
    /// Not in time.
    Late,
    /// Who was asked is gone.
    Gone,
}

/// How a session ended.
#[derive(Debug, Clone, Default)]
pub struct SessionEnd {
    /// `<status/>` of its last unavailable presence.
    pub status: Option<String>,
}

/// The effect of broadcast presence on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceEffect {
    /// The session accepts messages from now on, and owed ones wait: they are delivered first.
    pub redelivery: bool,
    /// The session no longer accepts messages to the account; it stops delivering the owed ones.
    pub refuses: bool,
    /// Contacts to which it was or might have been sent: the cost of the stanza.
    pub looked_at: usize,
}

impl PresenceEffect {
    /// Combines it with the effect that another module had for the same presence.
    pub fn and(self, other: Self) -> Self {
        Self {
            redelivery: self.redelivery || other.redelivery,
            refuses: self.refuses || other.refuses,
            looked_at: self.looked_at + other.looked_at,
        }
    }
}
