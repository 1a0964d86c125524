//! A bound stream: its parts.

use std::sync::Arc;
use std::time::Instant;

use super::binding::Binding;
use super::drain::Drain;
use super::ending::Ending;
use super::handled::Pending;
use super::link::Link;
use super::liveness::{Delivery, Ping};
use super::resumption::Resumption;
use crate::jid::Jid;
use crate::modules::SessionState;
use crate::router::outbox::{Outbox, Outgoing};
use crate::router::ticket::Ledger;
use crate::stream::framing::Event;
use crate::stream::sm::StreamManagement;
use crate::xml::error::XmlError;

/// A bound stream.
pub struct Session {
    pub(super) binding: Binding,
    pub(super) outbox: Arc<Outbox>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) state: SessionState,
    /// Whom the last stanza that was routed went to.
    pub(super) last_to: Option<Jid>,
    pub(super) link: Link,
    /// Reading pauses until this handler is done.
    pub(super) pending: Option<Pending>,
    /// A full box that this session feeds: reading pauses until it is under half.
    pub(super) slow: Option<Box<(Arc<Outbox>, Instant)>>,
    /// Owed rows that are being delivered; the outbox waits.
    pub(super) drain: Option<Box<Drain>>,
    pub(super) delivery: Delivery,
    /// XEP-0198, once enabled.
    pub(super) sm: Option<Box<StreamManagement<Outgoing>>>,
    /// What makes a managed stream one that can be resumed.
    pub(super) resumption: Option<Box<Resumption>>,
    /// Read while a handler is pending: the first piece that must wait for it.
    pub(super) held: Option<Box<Result<Event, XmlError>>>,
    pub(super) ending: Option<Ending>,
    pub(super) paused_until: Option<Instant>,
    pub(super) heard: Instant,
    /// Since when nothing is read, for reasons of ours.
    pub(super) deaf_since: Option<Instant>,
    pub(super) ping: Option<Box<Ping>>,
    /// The outbox called while nothing could be taken from it.
    pub(super) woken: bool,
    /// The server stops, and only the answer to a last ping is awaited.
    pub(super) leaving: bool,
}

impl Session {
    /// A session just bound. `now` is the monotonic clock.
    pub fn new(binding: Binding, link: Link, now: Instant) -> Self {
        let ledger = Arc::new(Ledger::new(&binding.context().router.limits));
        let outbox = binding.client.outbox.clone();
        Self {
            binding,
            outbox,
            ledger,
            state: SessionState::default(),
            last_to: None,
            link,
            pending: None,
            slow: None,
            drain: None,
            delivery: Delivery::default(),
            sm: None,
            resumption: None,
            held: None,
            ending: None,
            paused_until: None,
            heard: now,
            deaf_since: None,
            ping: None,
            woken: false,
            leaving: false,
        }
    }
}
