//! A bound stream: its parts.

use std::sync::Arc;
use std::time::Instant;

use super::binding::Binding;
use super::ending::Ending;
use super::flow::{Flow, Seen};
use super::link::Link;
use super::liveness::{Delivery, Ping};
use super::resumption::Resumption;
use crate::jid::Jid;
use crate::modules::SessionState;
use crate::router::handled_count::HandledCount;
use crate::router::outbox::{Outbox, Outgoing};
use crate::stream::sm::StreamManagement;

/// A bound stream.
pub struct Session {
    pub(super) binding: Binding,
    pub(super) outbox: Arc<Outbox>,
    pub(super) handled_count: Arc<HandledCount>,
    pub(super) state: SessionState,
    /// The recipient of the last routed stanza.
    pub(super) last_to: Option<Jid>,
    pub(super) link: Link,
    /// What holds the session up.
    pub(super) flow: Flow,
    pub(super) delivery: Delivery,
    /// XEP-0198, once enabled.
    pub(super) sm: Option<Box<StreamManagement<Outgoing>>>,
    /// Set if the session can be resumed.
    pub(super) resumption: Option<Box<Resumption>>,
    pub(super) ending: Option<Ending>,
    pub(super) heard: Instant,
    pub(super) ping: Option<Box<Ping>>,
}

impl Session {
    /// A session just bound. `now` is the monotonic clock.
    pub fn new(binding: Binding, link: Link, now: Instant) -> Self {
        let handled_count = Arc::new(HandledCount::new(&binding.context().router.limits));
        let outbox = binding.client.outbox.clone();
        Self {
            binding,
            outbox,
            handled_count,
            state: SessionState::default(),
            last_to: None,
            link,
            flow: Flow::default(),
            delivery: Delivery::default(),
            sm: None,
            resumption: None,
            ending: None,
            heard: now,
            ping: None,
        }
    }

    /// What the flow needs to know of the session.
    pub(super) fn seen(&self) -> Seen {
        let most = self.binding.context().router.limits.outbox_bytes_max;
        Seen {
            hibernating: self.is_hibernating(),
            resuming: self.is_resuming(),
            managed: self.sm.is_some(),
            choked: self.link.wire.queued() > most,
            writing: self.link.wire.is_writing(),
            full: self.is_full(),
        }
    }

    /// Whether the session has no connection.
    pub(super) fn is_hibernating(&self) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| resumption.is_hibernating())
    }

    /// Whether another connection takes over, so that the current one sends nothing more.
    pub(super) fn is_resuming(&self) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| resumption.is_handed_over())
    }

    /// Whether the client was sent as much as it may get without confirming any of it.
    pub(super) fn is_full(&self) -> bool {
        match &self.sm {
            Some(sm) => sm.is_full(),
            None => self.delivery.is_full(),
        }
    }
}
