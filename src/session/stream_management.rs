//! XEP-0198 on a bound stream: requests of the client, and requests to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bound::Session;
use super::clock::{now, wall};
use super::resumption::Resumption;
use crate::base::hash::sha256;
use crate::base::id::{self, OsRng};
use crate::base::time::micros;
use crate::router::handled_count::HandledCount;
use crate::router::outbox::Outgoing;
use crate::store::handled::{self, DurableCount, StreamOwner};
use crate::store::ids::AccountId;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};
use crate::stream::error::StreamError;
use crate::stream::framing::Event;
use crate::stream::sm::{self, Bounds, Overdue, Received, StreamManagement};
use crate::xml::element::Element;
use crate::xml::error::XmlError;
use crate::xml::ns;

impl Session {
    /// Handles an element of XEP-0198.
    pub(super) fn command(&mut self, element: &Element) {
        match Received::on(element, self.sm.is_some()) {
            Received::Enable { resume, max } => {
                let enabled = self.enable(resume, max);
                self.link.wire.queue(enabled);
            }
            Received::Request => self.asked_for_count(),
            Received::Ack(h) => self.answered(h),
            Received::Refused(said) => self.link.wire.queue(said),
            Received::Failed(failure) => self.fail(failure),
        }
    }

    /// XEP-0198 §3. Returns the answer; both counts begin after it.
    pub(super) fn enable(&mut self, resume: bool, max: Option<u32>) -> Bytes {
        let context = self.binding.context().clone();
        let most = context.router.limits.resume_time;
        let time = max.map_or(most, |max| most.min(Duration::from_secs(max.into())));
        let previd = id::random(&mut OsRng);
        let id = sha256(previd.as_bytes());
        let account = self.binding.client.account;
        // An anonymous user cannot log in a second time as the same user.
        let may_resume = resume && account.is_some() && !time.is_zero();
        // The count of a stream that cannot be resumed is never requested again.
        self.handled_count.enable(id, account.filter(|_| may_resume).map(StreamOwner::Account));
        // The count does not move until every earlier stanza is handled.
        if !self.handled_count.is_settled() {
            self.binding.cx.router.flush_deferred();
        }
        self.sm = Some(self.new_management(0));
        self.resumption = may_resume.then(|| {
            let slot = context.resume_table.add(id, self.binding.cx.bare(), self.outbox.clone());
            Resumption::new(id, time, slot)
        });
        let told = may_resume.then_some((previd.as_str(), time.as_secs()));
        sm::enabled(told, context.resume_location.as_deref())
    }

    /// Creates the stream management for this stream, with `acked` stanzas acknowledged.
    pub(super) fn new_management(&self, acked: u32) -> Box<StreamManagement<Outgoing>> {
        let limits = &self.binding.context().router.limits;
        let bounds = Bounds {
            stanzas: limits.unacked_stanzas_max,
            bytes: limits.unacked_bytes_max,
            answers_within: limits.ping_timeout,
            asks_after: sm::ASK_STANZAS,
        };
        Box::new(StreamManagement::new(acked, bounds))
    }

    /// Returns the next piece of the connection.
    pub(super) fn next_piece(&mut self) -> Result<Option<Event>, XmlError> {
        match self.flow.take_held() {
            Some(held) => (*held).map(Some),
            None => self.link.wire.piece(),
        }
    }

    /// XEP-0198 §4: the answer to `<r/>` is not withheld while a handler is pending.
    pub(super) fn look_ahead(&mut self) {
        while self.ending.is_none() && self.flow.may_look_ahead(self.seen()) {
            let piece = match self.link.wire.piece() {
                Ok(None) => return,
                Ok(Some(Event::Whitespace)) => continue,
                Ok(Some(Event::Element(element))) if is_count(&element) => {
                    self.charge(1);
                    self.command(&element);
                    continue;
                }
                Ok(Some(other)) => Ok(other),
                Err(error) => Err(error),
            };
            self.flow.hold(piece);
        }
    }

    /// Forgets what was asked, answered and read on the old connection. Stanzas that a module held back for
    /// the client are sent again with the rest.
    pub(super) fn forget_connection(&mut self) {
        self.flow.disconnected();
        let kept = self.binding.context().pipeline.disconnected(&mut self.state);
        if let Some(sm) = &mut self.sm {
            sm.disconnected();
            for item in kept {
                let bytes = item.frame.len();
                sm.push(item, bytes);
            }
        }
    }

    /// promise.md 5: answers at once if every stanza is durable; otherwise as soon as it is, but soon in any
    /// case.
    fn asked_for_count(&mut self) {
        let (came, handled) = (self.handled_count.issued(), self.handled_count.handled());
        if self.sm.as_mut().is_some_and(|sm| sm.requested(came, handled, now())) {
            self.say_count();
        }
    }

    fn say_count(&mut self) {
        self.link.wire.queue(sm::ack(self.handled_count.h()));
    }

    /// The number of stanzas that must be handled before a pending request can be answered.
    pub(super) fn awaited(&self) -> Option<u64> {
        match self.is_resuming() {
            true => Some(self.handled_count.issued()),
            false => self.sm.as_ref()?.awaits(),
        }
    }

    /// The awaited stanzas are handled.
    pub(super) fn reached(&mut self) {
        let handed_over = self.resumption.as_mut().filter(|_| !self.flow.is_pending());
        if let Some(request) = handed_over.and_then(|resumption| resumption.take_next()) {
            self.resume(*request);
        } else if self.sm.as_mut().is_some_and(|sm| sm.reached()) {
            self.say_count();
        }
    }

    /// XEP-0198 §4: an answer must not be withheld.
    pub(super) fn answer_is_due(&mut self, now: Instant) {
        if self.sm.as_mut().is_some_and(|sm| sm.answer_is_due(now)) {
            self.say_count();
        }
    }

    /// Handles the client's count.
    fn answered(&mut self, h: u32) {
        match self.sm.as_mut().map(|sm| sm.answered(h)) {
            Some(Ok(items)) => {
                self.acknowledged(&items);
                // The outbox may have waited for room.
                self.flow.reconnect();
            }
            Some(Err(too_high)) => self.fail(sm::too_high(too_high)),
            None => {}
        }
    }

    /// Confirms the messages that the client handled (promise.md 2).
    pub(super) fn acknowledged(&mut self, items: &[Outgoing]) {
        let confirmed: Vec<i64> = items.iter().filter_map(|item| item.owed).collect();
        self.confirm(&confirmed);
    }

    /// How many stanzas may be sent before the client must acknowledge some.
    pub(super) fn room(&self) -> usize {
        match &self.sm {
            Some(sm) => sm.room(),
            None => self.delivery.room(),
        }
    }

    /// Sends `<r/>` together with pending output, if it is time.
    pub(super) fn ask_if_due(&mut self, now: Instant) {
        let hibernating = self.is_hibernating();
        if self.sm.as_mut().is_some_and(|sm| !hibernating && sm.asks(now)) {
            self.link.wire.queue(sm::request());
        }
    }

    /// Asks a silent client with stream management for its count instead of pinging it, because every such
    /// client answers that. False without stream management.
    pub(super) fn ask_if_silent(&mut self, silent: bool, now: Instant) -> bool {
        let Some(sm) = &mut self.sm else { return false };
        if silent && sm.asks_silent(now) {
            self.link.wire.queue(sm::request());
        }
        silent
    }

    /// The nearest deadline of this file.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.sm.as_ref()?.due(now)
    }

    /// The deadline for the answer to an `<r/>`; it does not run out while the session is not reading.
    pub(super) fn ack_overdue(&self, now: Instant) -> Option<Instant> {
        self.sm.as_ref()?.overdue_at(self.flow.is_listening(), now)
    }

    /// An `<r/>` was not answered in time.
    pub(super) fn ack_is_overdue(&mut self, now: Instant) {
        let listens = self.flow.is_listening();
        match self.sm.as_mut().and_then(|sm| sm.overdue(self.heard, listens, now)) {
            Some(Overdue::Silent) => self.lost(),
            Some(Overdue::Full) => {
                let why = "requests for acknowledgement unanswered";
                self.fail(StreamError::PolicyViolation.text(why));
            }
            None => {}
        }
    }

    /// Ends stream management: the session can no longer be resumed. Its count is stored for a client that
    /// asks for it, or forgotten after a clean close. Returns the unacknowledged stanzas.
    pub(super) fn disable(&mut self, closed: bool) -> Vec<Outgoing> {
        if let Some(resumption) = self.resumption.take() {
            let id = resumption.id();
            resumption.end(&self.binding.context().resume_table);
            self.keep_count(id, closed);
        }
        self.sm.take().into_iter().flat_map(|sm| sm.into_unacked()).collect()
    }

    fn keep_count(&self, id: [u8; 32], closed: bool) {
        let cx = &self.binding.cx;
        let Some(account) = self.binding.client.account else { return };
        let (at, handled_count) = (micros(wall()), self.handled_count.clone());
        let count = Box::new(Count { id, account, at, handled_count, closed });
        if closed {
            cx.store.write_behind(count);
        } else {
            // A client that asks for the count waits for queued writes. If the queue is full, the last count
            // that was written with a row stands.
            let _ = cx.store.submit(count);
        }
    }
}

/// `<r/>` or `<a/>`: its place among the stanzas does not matter.
fn is_count(element: &Element) -> bool {
    element.ns() == ns::SM && matches!(element.name(), "r" | "a")
}

/// The last count of a stream that is over.
struct Count {
    id: [u8; 32],
    account: AccountId,
    at: i64,
    /// Read when all earlier writes are durable, so the count never decreases.
    handled_count: Arc<HandledCount>,
    closed: bool,
}

impl Job for Count {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let Self { id, account, at, .. } = *self;
        match self.closed {
            true => handled::forget(tx, &id),
            false => {
                let (owner, h) = (StreamOwner::Account(account), self.handled_count.h());
                handled::put(tx, &DurableCount { id, owner, h, at })
            }
        }
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            tracing::debug!(%error, "the count of a stream that is over was not written");
        }
    }
}
