//! Decides whether a session reads, takes from its outbox and answers; each of these questions is answered in
//! one place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handled::Pending;
use super::redelivery::Redelivery;
use crate::router::outbox::Outbox;
use crate::stream::framing::Event;
use crate::xml::error::XmlError;

/// What a session has to wait for, and what it holds back meanwhile.
#[derive(Default)]
pub(super) struct Flow {
    /// Reading pauses until this handler is done.
    pending: Option<Pending>,
    /// The first piece read while a handler is pending that must wait for the handler.
    held: Option<Box<Piece>>,
    /// Reading pauses until a full outbox that this session sends to is less than half full.
    slow: Option<Box<Slow>>,
    paused_until: Option<Instant>,
    /// Since when the session has not been reading, for reasons that are not the client's.
    not_reading_since: Option<Instant>,
    /// Owed rows that are being delivered; the outbox waits for them.
    redelivery: Option<Box<Redelivery>>,
    /// The outbox woke the session while nothing could be taken from it.
    woken: bool,
    /// The server stops, and only the answer to a last ping is awaited.
    stopping: bool,
}

/// What was read from a connection.
pub(super) type Piece = Result<Event, XmlError>;

struct Slow {
    outbox: Arc<Outbox>,
    until: Instant,
}

/// The present state of the other parts of the session.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// It has no connection.
    pub hibernating: bool,
    /// Another connection takes over.
    pub resuming: bool,
    /// The stream has stream management.
    pub managed: bool,
    /// More bytes wait to be written than allowed: the client does not read its answers.
    pub choked: bool,
    /// Something waits to be written.
    pub writing: bool,
    /// The client was sent as much as it may get without confirming any of it.
    pub full: bool,
}

/// Queries: what the session may do now.
impl Flow {
    /// Whether the next piece may be handled. A client that does not read its answers is not read from
    /// either, so what waits for one session is bounded.
    pub(super) fn may_read(&self, seen: Seen) -> bool {
        self.pending.is_none() && self.may_look(seen)
    }

    /// Whether to look for pieces that need not wait for the pending handler.
    pub(super) fn may_look_ahead(&self, seen: Seen) -> bool {
        seen.managed && self.held.is_none() && self.pending.is_some() && self.may_look(seen)
    }

    fn may_look(&self, seen: Seen) -> bool {
        self.slow.is_none() && self.paused_until.is_none() && !seen.resuming && !seen.choked
    }

    /// Whether the connection is read from.
    pub(super) fn reads(&self, seen: Seen) -> bool {
        !seen.hibernating && (self.may_read(seen) || self.may_look_ahead(seen))
    }

    /// Whether the outbox may be taken from: nothing goes before it, and the client reads what it is sent.
    pub(super) fn may_take(&self, seen: Seen) -> bool {
        !seen.writing && self.may_answer(seen) && !self.stopping
    }

    /// Like [`Flow::may_take`], but for the whole outbox at once, even if bytes wait to be written: an answer
    /// follows.
    pub(super) fn may_take_all(&self, seen: Seen) -> bool {
        self.may_answer(seen) && !self.stopping
    }

    /// Whether an answer may be sent after the outbox: nothing else has to go before it.
    pub(super) fn may_answer(&self, seen: Seen) -> bool {
        self.redelivery.is_none() && !seen.hibernating && !seen.full
    }

    /// Whether owed rows that were read may be sent.
    pub(super) fn may_drain(seen: Seen) -> bool {
        !seen.writing && !seen.hibernating && !seen.full
    }

    /// Whether the outbox woke the session earlier and may be taken from now.
    pub(super) fn takes_late(&mut self, seen: Seen) -> bool {
        self.may_take(seen) && std::mem::take(&mut self.woken)
    }

    /// Whether reading pauses for reasons that are not the client's.
    fn is_not_reading(&self) -> bool {
        self.pending.is_some() || self.slow.is_some() || self.paused_until.is_some()
    }

    /// Whether the session reads what the client sends.
    pub(super) fn is_listening(&self) -> bool {
        self.not_reading_since.is_none()
    }

    /// Whether the server stops and the session sends nothing new.
    pub(super) fn is_leaving(&self) -> bool {
        self.stopping
    }

    /// Whether a handler is pending.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

/// Events that change the answers.
impl Flow {
    /// Reading pauses until this is done.
    pub(super) fn await_handler(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    pub(super) fn handler(&mut self) -> &mut Option<Pending> {
        &mut self.pending
    }

    /// The handler has returned or panicked.
    pub(super) fn handler_ended(&mut self) {
        self.pending = None;
    }

    /// The two that the loop waits for at the same time: the handler, and the owed rows.
    pub(super) fn waits(&mut self) -> (&mut Option<Pending>, &mut Option<Box<Redelivery>>) {
        (&mut self.pending, &mut self.redelivery)
    }

    /// Holds a piece that came after the request a handler works on.
    pub(super) fn hold(&mut self, piece: Piece) {
        self.held = Some(Box::new(piece));
    }

    pub(super) fn take_held(&mut self) -> Option<Box<Piece>> {
        self.held.take()
    }

    /// Pauses reading because an outbox that this session sends to is full.
    pub(super) fn slow_down(&mut self, outbox: Arc<Outbox>, now: Instant) {
        self.slow = Some(Box::new(Slow { outbox, until: now + SLOW_MAX }));
    }

    /// Pauses reading for `wait`.
    pub(super) fn pause(&mut self, wait: Duration, now: Instant) {
        if !wait.is_zero() {
            self.paused_until = Some(now + wait);
        }
    }

    /// Gives the outbox its turn; after that, reading continues from the buffer.
    pub(super) fn end_turn(&mut self, now: Instant) {
        self.paused_until.get_or_insert(now);
    }

    /// When a pause may be over.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let slow = self.slow.as_ref().map(|_| now + SLOW_STEP);
        self.paused_until.into_iter().chain(slow).min()
    }

    /// Ends the pauses that are over.
    pub(super) fn tick(&mut self, now: Instant) {
        self.paused_until.take_if(|until| *until <= now);
        self.slow.take_if(|slow| slow.until <= now || !slow.outbox.over_half());
    }

    /// Called in each turn of the loop. When reading starts again, returns since when it had paused: the
    /// client's deadlines stood still from then until the next turn, which reads the waiting input first.
    pub(super) fn listen(&mut self, now: Instant) -> Option<Instant> {
        if self.is_not_reading() {
            self.not_reading_since.get_or_insert(now);
            return None;
        }
        // A server that stops does not wait for clients.
        self.not_reading_since.take().filter(|_| !self.stopping)
    }

    /// Starts the delivery of owed rows, before anything in the outbox.
    pub(super) fn begin_redelivery(&mut self, redelivery: Redelivery) {
        self.redelivery = Some(Box::new(redelivery));
    }

    pub(super) fn redelivery(&mut self) -> Option<&mut Redelivery> {
        self.redelivery.as_deref_mut()
    }

    pub(super) fn take_drain(&mut self) -> Option<Box<Redelivery>> {
        self.redelivery.take()
    }

    /// Has the outbox looked at as soon as it may be taken from.
    pub(super) fn reconnect(&mut self) {
        self.woken = true;
    }

    /// The server stops, and this session says goodbye.
    pub(super) fn leave(&mut self) {
        self.stopping = true;
    }

    /// Drops what was held back from the old connection.
    pub(super) fn disconnected(&mut self) {
        self.held = None;
    }

    /// Ends the pauses: they belonged to the old connection.
    pub(super) fn reconnected(&mut self) {
        (self.paused_until, self.slow) = (None, None);
    }
}

/// How often a slowed session checks whether it may continue.
const SLOW_STEP: Duration = Duration::from_millis(20);
/// promise: a slowed sender waits at most a second in all, then continues.
const SLOW_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn handler(flow: &mut Flow) {
        flow.await_handler(Box::pin(std::future::pending()));
    }

    fn rows(flow: &mut Flow) {
        let page = Box::pin(std::future::pending());
        flow.begin_redelivery(Redelivery { claims: VecDeque::new(), reading: 0, page });
    }

    /// Every state that pauses something, alone and combined, and what continues in it.
    #[test]
    fn what_goes_on_in_each_state() {
        type State = fn(&mut Flow, &mut Seen);
        let states: &[(&str, State, &str)] = &[
            ("nothing", |_, _| (), "read take answer drain"),
            ("managed", |_, seen| seen.managed = true, "read take answer drain"),
            ("a handler", |flow, _| handler(flow), "take answer drain"),
            (
                "a handler, managed",
                |flow, seen| {
                    handler(flow);
                    seen.managed = true;
                },
                "ahead take answer drain",
            ),
            (
                "a handler, managed, looked ahead",
                |flow, seen| {
                    handler(flow);
                    flow.hold(Ok(Event::Whitespace));
                    seen.managed = true;
                },
                "take answer drain",
            ),
            ("a pause", |flow, _| flow.end_turn(Instant::now()), "take answer drain"),
            (
                "a full box, a handler, managed",
                |flow, seen| {
                    handler(flow);
                    flow.slow_down(Arc::new(Outbox::new(1)), Instant::now());
                    seen.managed = true;
                },
                "take answer drain",
            ),
            ("owed rows", |flow, _| rows(flow), "read drain"),
            ("writing", |_, seen| seen.writing = true, "read answer"),
            (
                "writing more than may wait",
                |_, seen| (seen.writing, seen.choked) = (true, true),
                "answer",
            ),
            ("nothing is confirmed", |_, seen| seen.full = true, "read"),
            ("another connection takes over", |_, seen| seen.resuming = true, "take answer drain"),
            ("no connection", |_, seen| seen.hibernating = true, ""),
            ("leaving", |flow, _| flow.leave(), "read answer drain"),
        ];
        for (name, state, goes_on) in states {
            let (mut flow, mut seen) = (Flow::default(), Seen::default());
            state(&mut flow, &mut seen);
            let answers = [
                ("read", !seen.hibernating && flow.may_read(seen)),
                ("ahead", !seen.hibernating && flow.may_look_ahead(seen)),
                ("take", flow.may_take(seen)),
                ("answer", flow.may_answer(seen)),
                ("drain", Flow::may_drain(seen)),
            ];
            let yes: Vec<_> =
                answers.iter().filter(|(_, yes)| *yes).map(|(what, _)| *what).collect();
            assert_eq!(yes.join(" "), *goes_on, "{name}");
            let reads = yes.contains(&"read") || yes.contains(&"ahead");
            assert_eq!(flow.reads(seen), reads, "{name}");
            let takes_all = flow.may_answer(seen) && !flow.is_leaving();
            assert_eq!(flow.may_take_all(seen), takes_all, "{name}");
        }
    }

    #[test]
    fn a_call_of_the_outbox_is_kept_until_it_can_be_answered() {
        let (mut flow, seen) = (Flow::default(), Seen::default());
        assert!(!flow.takes_late(seen));
        flow.reconnect();
        assert!(!flow.takes_late(Seen { writing: true, ..seen }));
        assert!(flow.takes_late(seen) && !flow.takes_late(seen));
    }

    #[test]
    fn pauses_end() {
        let (mut flow, seen, start) = (Flow::default(), Seen::default(), Instant::now());
        assert_eq!(flow.due(start), None);
        let later = start + Duration::from_secs(2);
        flow.pause(Duration::ZERO, start);
        assert!(flow.may_read(seen), "no wait is no pause");
        flow.pause(Duration::from_secs(2), start);
        flow.end_turn(start);
        assert_eq!(flow.due(start), Some(later), "the longer pause stays");
        flow.tick(start);
        assert!(!flow.may_read(seen));
        flow.tick(later);
        assert!(flow.may_read(seen));
        flow.slow_down(Arc::new(Outbox::new(1)), start);
        assert_eq!(flow.due(start), Some(start + SLOW_STEP));
        flow.tick(start);
        assert!(flow.may_read(seen), "the box is not over half");
    }

    #[test]
    fn time_stands_still_while_nobody_listens() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(flow.listen(start), None);
        handler(&mut flow);
        assert_eq!((flow.listen(at(1)), flow.listen(at(2))), (None, None));
        assert!(!flow.is_listening());
        flow.handler_ended();
        assert_eq!(flow.listen(at(3)), Some(at(1)));
        assert!(flow.is_listening());
        handler(&mut flow);
        flow.listen(at(4));
        flow.handler_ended();
        flow.leave();
        assert_eq!(flow.listen(at(5)), None, "a stop waits for nobody");
    }
}
