//! What comes of a hook or a handler.

use bytes::Bytes;

use crate::router::outbox;
use crate::stanza::Stanza;

/// A successful answer to a request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The payload of the result; empty for a bare acknowledgement.
    pub payload: Vec<u8>,
    /// Whole stanzas that the asking session gets before the result (XEP-0313 §4).
    pub ahead: Vec<Bytes>,
    /// Stanzas to send after the result.
    pub out: Vec<Stanza>,
    /// What changes for the asking session after the result is written.
    pub effect: Option<Effect>,
}

/// Something that a handler asks the session's task to do after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The account is gone: end the stream with `not-authorized` (XEP-0077 §3.2.1).
    AccountRemoved,
    /// The device that the session is of was revoked: end the stream.
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

    /// With a stanza to send afterwards.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

/// What happens to a stanza on its way to a session's client.
#[derive(Debug)]
pub struct ClientDelivery {
    /// What was kept and goes out now, before it.
    pub before: Vec<outbox::Outgoing>,
    /// It goes out, too; else the hook keeps it.
    pub now: bool,
}

impl ClientDelivery {
    /// It goes on its way.
    pub const NOW: Self = Self { before: Vec::new(), now: true };
}

/// How a session ended.
#[derive(Debug, Clone, Default)]
pub struct SessionEnd {
    /// `<status/>` of its last unavailable presence.
    pub status: Option<String>,
}

/// What broadcast presence did to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceEffect {
    /// It may take messages from now on, and owed ones wait: they come first.
    pub redelivery: bool,
    /// It takes no messages to the account from now on: what it delivers of the owed ones stops.
    pub refuses: bool,
    /// Contacts that it was or might have been sent to: what the stanza cost.
    pub looked_at: usize,
}

impl PresenceEffect {
    /// With what another module made of the same presence.
    pub fn and(self, other: Self) -> Self {
        Self {
            redelivery: self.redelivery || other.redelivery,
            refuses: self.refuses || other.refuses,
            looked_at: self.looked_at + other.looked_at,
        }
    }
}
