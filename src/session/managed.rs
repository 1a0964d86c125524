//! XEP-0198 on a bound stream: what the client may ask, and what it is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::clock::{now, wall};
use super::door::{Bed, Door, Knock};
use super::run::Session;
use super::wire::Event;
use crate::base::hash::sha256;
use crate::base::id::{self, OsRng};
use crate::base::time::micros;
use crate::router::outbox::Outgoing;
use crate::router::task::Parked;
use crate::router::ticket::Ledger;
use crate::stanza::Condition;
use crate::store::handled::{self, Seal};
use crate::store::ids::AccountId;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};
use crate::stream::error::StreamError;
use crate::stream::sm::{self, Ask, BadCommand, Command, Sm};
use crate::xml::element::Element;
use crate::xml::error::XmlError;
use crate::xml::ns;

/// A stream that counts.
pub(super) struct Managed {
    pub(super) sm: Sm<Outgoing>,
    /// SHA-256 of the SM-ID, which only the client keeps.
    pub(super) id: [u8; 32],
    /// How long it may be resumed, and where one knocks for it; none: it may not.
    pub(super) resumable: Option<(Duration, Arc<Door>)>,
    /// An `<r/>` that came before its stanzas were durable.
    answer: Option<Answer>,
    /// Read while a handler is pending: the first piece that must wait for it.
    held: Option<Box<Result<Event, XmlError>>>,
    /// A connection that waits until all that came on the old one is handled.
    pub(super) resuming: Option<Box<Knock>>,
    /// Without a connection.
    pub(super) asleep: Option<Asleep>,
}

/// A session without a connection.
pub(super) struct Asleep {
    pub(super) until: Instant,
    /// Its share of the memory; none for one that is about to be written down.
    pub(super) bed: Option<Bed>,
    /// The server stops, and waits for this task no longer.
    pub(super) parked: Option<Parked>,
}

struct Answer {
    /// Stanzas that had come when it was asked.
    stanzas: u64,
    /// promise.md 5: then it is answered with what there is; already done if none.
    until: Option<Instant>,
}

impl Managed {
    pub(super) fn new(
        sm: Sm<Outgoing>,
        id: [u8; 32],
        resumable: Option<(Duration, Arc<Door>)>,
    ) -> Box<Self> {
        Box::new(Self { sm, id, resumable, answer: None, held: None, resuming: None, asleep: None })
    }
}

impl Session {
    /// An element of XEP-0198.
    pub(super) fn command(&mut self, element: &Element) {
        match (Command::read(element), self.managed.is_some()) {
            (Ok(Command::Enable { resume, max }), false) => {
                let enabled = self.enable(resume, max);
                self.link.wire.queue(enabled);
            }
            (Ok(Command::Request), true) => self.asked_for_count(),
            (Ok(Command::Ack { h }), true) => {
                if let Some(managed) = &mut self.managed {
                    managed.sm.answered();
                }
                self.acknowledge(h);
                if self.is_full()
                    && let Some(managed) = &mut self.managed
                {
                    // It waits for its next acknowledgement, asked for or not.
                    managed.sm.unanswered();
                }
            }
            // XEP-0198 §4: an <a/> must have its count.
            (Err(BadCommand), true) if element.name() == "a" => {
                self.fail(StreamError::BadFormat.text("an acknowledgement without a count"));
            }
            (Err(BadCommand), _) => self.link.wire.queue(sm::failed(Condition::BadRequest, None)),
            // XEP-0198 §3 and §5: enabled twice, resumed when bound, asked before it is enabled. A
            // stream error is allowed, but clients enable twice by mistake (xmpp.js).
            (Ok(_), _) => self.link.wire.queue(sm::failed(Condition::UnexpectedRequest, None)),
        }
    }

    /// XEP-0198 §3. Both counts begin behind what this gives to say.
    pub(super) fn enable(&mut self, resume: bool, max: Option<u32>) -> Bytes {
        let context = self.binding.context().clone();
        let most = context.router.limits.resume_time;
        let time = max.map_or(most, |max| most.min(Duration::from_secs(max.into())));
        let previd = id::random(&mut OsRng);
        let id = sha256(previd.as_bytes());
        let account = self.binding.client.account;
        // An anonymous user has no second login that could prove to be the same.
        let may_resume = resume && account.is_some() && !time.is_zero();
        // Nobody asks for the count of a stream that cannot be resumed.
        self.ledger.manage(id, account.filter(|_| may_resume));
        // The count stands still until all that came before it is handled.
        if !self.ledger.is_settled() {
            self.binding.cx.router.begin_idle();
        }
        let resumable = may_resume
            .then(|| (time, context.doors.open(id, self.binding.cx.bare(), self.outbox.clone())));
        let told = resumable.as_ref().map(|(time, _)| (previd.as_str(), time.as_secs()));
        let enabled = sm::enabled(told, context.resume_location.as_deref());
        self.managed = Some(Managed::new(Sm::default(), id, resumable));
        enabled
    }

    /// What comes next on the connection.
    pub(super) fn next_piece(&mut self) -> Result<Option<Event>, XmlError> {
        match self.managed.as_mut().and_then(|managed| managed.held.take()) {
            Some(held) => (*held).map(Some),
            None => self.link.wire.piece(),
        }
    }

    /// A handler is pending, and there may be something behind its request that need not wait.
    pub(super) fn may_look_ahead(&self) -> bool {
        let free = self.managed.as_ref().is_some_and(|managed| managed.held.is_none());
        free && self.pending.is_some() && self.may_look()
    }

    /// XEP-0198 §4: the answer to `<r/>` is not withheld for what is being worked on.
    pub(super) fn look_ahead(&mut self) {
        while self.ending.is_none() && self.may_look_ahead() {
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
            if let Some(managed) = &mut self.managed {
                managed.held = Some(Box::new(piece));
            }
        }
    }

    /// Asked, answered and read on another connection: none of it is for the one to come. What a module
    /// kept for the client is sent again with the rest.
    pub(super) fn forget_connection(&mut self) {
        let kept = self.binding.context().pipeline.disconnected(&mut self.state);
        if let Some(managed) = &mut self.managed {
            (managed.answer, managed.held) = (None, None);
            for item in kept {
                let bytes = item.frame.len();
                managed.sm.push(item, bytes);
            }
        }
    }

    /// promise.md 5: at once when all is durable, else when it is, but within a moment.
    fn asked_for_count(&mut self) {
        let stanzas = self.ledger.issued();
        let until = now() + ANSWER_WITHIN;
        let Some(managed) = &mut self.managed else { return };
        if self.ledger.handled() >= stanzas {
            managed.answer = None;
            self.say_count();
        } else {
            let asked = managed.answer.take().and_then(|answer| answer.until);
            managed.answer = Some(Answer { stanzas, until: Some(asked.unwrap_or(until)) });
        }
    }

    fn say_count(&mut self) {
        self.link.wire.queue(sm::ack(self.ledger.h()));
    }

    /// So many stanzas must be handled before somebody can be answered.
    pub(super) fn awaited(&self) -> Option<u64> {
        let managed = self.managed.as_ref()?;
        match managed.resuming {
            Some(_) => Some(self.ledger.issued()),
            None => managed.answer.as_ref().map(|answer| answer.stanzas),
        }
    }

    /// They are.
    pub(super) fn reached(&mut self) {
        let Some(managed) = &mut self.managed else { return };
        if let Some(knock) = managed.resuming.take_if(|_| self.pending.is_none()) {
            self.resume(*knock);
        } else if managed.answer.take().is_some() {
            self.say_count();
        }
    }

    /// XEP-0198 §4: an answer must not be withheld. The rest is told when it is durable.
    pub(super) fn answer_is_due(&mut self, now: Instant) {
        let answer = self.managed.as_mut().and_then(|managed| managed.answer.as_mut());
        if answer.is_some_and(|answer| answer.until.take_if(|until| *until <= now).is_some()) {
            self.say_count();
        }
    }

    /// What the client handled is confirmed (promise.md 2).
    pub(super) fn acknowledge(&mut self, h: u32) {
        let Some(managed) = &mut self.managed else { return };
        match managed.sm.acknowledge(h) {
            Ok(items) => {
                let confirmed: Vec<i64> = items.iter().filter_map(|item| item.owed).collect();
                self.confirm(&confirmed);
                // The outbox may have waited for room.
                self.woken = true;
            }
            Err(lie) => self.fail(sm::too_high(lie)),
        }
    }

    /// The client was sent as much as it may have without acknowledging any of it.
    pub(super) fn is_full(&self) -> bool {
        let limits = &self.binding.context().router.limits;
        match &self.managed {
            Some(managed) => {
                let (stanzas, bytes) = managed.sm.waiting();
                stanzas >= limits.unacked_stanzas_max || bytes >= limits.unacked_bytes_max
            }
            None => self.delivery.is_full(),
        }
    }

    /// So many stanzas may be sent before the client must acknowledge some.
    pub(super) fn room(&self) -> usize {
        let most = self.binding.context().router.limits.unacked_stanzas_max;
        match &self.managed {
            Some(managed) => most.saturating_sub(managed.sm.waiting().0),
            None => self.delivery.room(),
        }
    }

    /// When the client was asked for its count, if it has not answered.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.managed.as_ref().and_then(|managed| managed.sm.asked())
    }

    /// Sends `<r/>` with what is being written, if it is time.
    pub(super) fn ask_if_due(&mut self, now: Instant) {
        if let Some(managed) = self.managed.as_mut().filter(|managed| managed.asleep.is_none())
            && managed.sm.policy(now) == Ask::Now
        {
            managed.sm.ask(now);
            self.link.wire.queue(sm::request());
        }
    }

    /// A managed stream that is silent is asked for its count instead of pinged: each client
    /// answers that. False for others.
    pub(super) fn ask_if_silent(&mut self, silent: bool, now: Instant) -> bool {
        let Some(managed) = &mut self.managed else { return false };
        if silent && managed.sm.asked().is_none() {
            managed.sm.ask(now);
            self.link.wire.queue(sm::request());
        }
        silent
    }

    /// The nearest moment at which something of this file is due.
    pub(super) fn management_due(&self, now: Instant) -> Option<Instant> {
        let managed = self.managed.as_ref()?;
        let ask = match managed.sm.policy(now) {
            Ask::At(at) => Some(at),
            Ask::Now | Ask::No => None,
        };
        let answer = managed.answer.as_ref().and_then(|answer| answer.until);
        ask.into_iter().chain(answer).min()
    }

    /// When an `<r/>` will not have been answered in time; while nobody listens it may.
    pub(super) fn ack_overdue(&self, now: Instant) -> Option<Instant> {
        let asked = self.asked()?;
        let from = if self.deaf_since.is_some() { now } else { asked };
        Some(from + self.binding.context().router.limits.ping_timeout)
    }

    /// An `<r/>` was not answered in time.
    pub(super) fn ack_is_overdue(&mut self, now: Instant) {
        let overdue = self.ack_overdue(now).is_some_and(|overdue| overdue <= now);
        let Some(asked) = self.asked().filter(|_| overdue) else { return };
        if self.heard <= asked {
            self.lost();
        } else if self.is_full() {
            // It talks, and acknowledges nothing: there is no more room to remember what it was sent.
            self.fail(StreamError::PolicyViolation.text("requests for acknowledgement unanswered"));
        } else if let Some(managed) = &mut self.managed {
            managed.sm.unanswered();
        }
    }

    /// Ends the management: the door closes, the count is kept for who asks for it, or forgotten
    /// when nobody will. What was not acknowledged is given out.
    pub(super) fn unmanage(&mut self, closed: bool) -> Vec<Outgoing> {
        let Some(managed) = self.managed.take() else { return Vec::new() };
        let cx = &self.binding.cx;
        if managed.resumable.is_some() {
            self.binding.context().doors.close(&managed.id);
        }
        if let Some(knock) = managed.resuming {
            knock.refuse(None);
        }
        if let (Some(account), true) = (self.binding.client.account, managed.resumable.is_some()) {
            let at = micros(wall());
            let ledger = self.ledger.clone();
            let count = Count { id: managed.id, account, at, ledger, closed };
            if closed {
                cx.store.write_behind(Box::new(count));
            } else {
                // Who comes back for it waits for what is queued. A full queue takes no more, and
                // the last count that was written with a row stands.
                let _ = cx.store.submit(Box::new(count));
            }
        }
        managed.sm.into_unacked().collect()
    }
}

/// `<r/>` or `<a/>`: its place among the stanzas matters to nobody.
fn is_count(element: &Element) -> bool {
    element.ns() == ns::SM && matches!(element.name(), "r" | "a")
}

/// The last count of a stream that is over.
struct Count {
    id: [u8; 32],
    account: AccountId,
    at: i64,
    /// Asked when all writes before this one are durable: the count never falls back.
    ledger: Arc<Ledger>,
    closed: bool,
}

impl Job for Count {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let Self { id, account, at, .. } = *self;
        match self.closed {
            true => handled::forget(tx, &id),
            false => handled::put(tx, &Seal { id, account, h: self.ledger.h(), at }),
        }
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            tracing::debug!(%error, "the count of a stream that is over was not written");
        }
    }
}

/// promise.md 5
const ANSWER_WITHIN: Duration = Duration::from_millis(50);
