//! The session's loop: one task, one `select!` over the connection, the pending handler, the outbox
//! and the nearest deadline. While a handler is pending only reading pauses.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until, timeout};

use super::bound::Session;
use super::clock::now;
use super::context::named;
use super::ending::{CLOSE_TIMEOUT, Ending};
use super::flow::Flow;
use super::handled::Handled;
use super::link::Link;
use super::redelivery::page;
use super::wire::Io;
use crate::jid::Jid;
use crate::router::outbox::{End, Outgoing, Taken};
use crate::router::registry::AccountEntry;
use crate::store::StoreError;
use crate::store::mailbox::MailRow;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::{Event, Item};

#[allow(clippy::large_enum_variant)] // lives for one turn of the loop, on the stack
pub(super) enum Woken {
    Io(std::io::Result<Io>),
    Handled(Handled),
    Page(Result<Vec<MailRow>, StoreError>),
    /// The stanzas that an answer waits for are handled.
    Reached,
    Outbox,
    Timer,
    Save,
}

/// Runs the session to its end. Dropping the binding notifies others.
pub async fn run(mut session: Box<Session>) {
    if panicked(pin!(session.serve())).await {
        // A bug of ours, triggered by this client's request; other sessions continue (RFC 6120 §4.9.3.8).
        session.flow.handler_ended();
        session.ending = Some(Ending::Failure(Box::new(StreamError::InternalServerError.into())));
    }
    // Boxed because it is large and needed only at the end: this keeps each session's task small.
    Box::pin(session.finish()).await;
}

/// Runs the work; true when it ended by a panic, which the panic hook has reported.
async fn panicked(mut work: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(())) => Poll::Ready(false),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(true),
    })
    .await
}

impl Session {
    async fn serve(&mut self) {
        // One entry in the runtime's timer for the whole session. Deadlines move away with all input, so the
        // timer is reset only when one comes nearer, or when it fires too early.
        let mut timer = pin!(sleep_until(now().into()));
        loop {
            while self.ending.is_none() {
                if !self.is_hibernating() {
                    self.read_pieces();
                }
                if self.ending.is_some() {
                    break;
                }
                let woken = self.wait(timer.as_mut()).await;
                self.on(woken);
            }
            if matches!(self.ending, Some(Ending::Stop)) {
                self.send_last_ack().await;
            }
            if matches!(self.ending, Some(Ending::Cut)) {
                // A WebSocket answers its close frame (RFC 6455 §5.5.1); nobody waits for that.
                let _ = self.link.wire.write_now().await;
            }
            if !self.hibernate() {
                return;
            }
        }
    }

    /// Waits for whatever comes first. Output and requests from other tasks go before new input.
    async fn wait(&mut self, mut timer: Pin<&mut Sleep>) -> Woken {
        let now = now();
        self.link.wire.give_back();
        self.listen(now);
        self.ask_if_due(now);
        // Usually the connection takes everything at once, and the turn continues.
        if let Err(error) = self.link.wire.write_now().await {
            return Woken::Io(Err(error));
        }
        self.count_written();
        self.look_after_ping(now);
        let seen = self.seen();
        let (writing, reading) = (seen.writing, self.flow.reads(seen));
        let deadline = self.deadline(now).into();
        if timer.is_elapsed() || deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        if self.flow.takes_late(seen) {
            return Woken::Outbox;
        }
        let awaited = self.awaited();
        let mut save = self.until_saving();
        let ((handler, redelivery), wire) = (self.flow.waits(), &mut self.link.wire);
        tokio::select! {
            biased;
            io = wire.io(reading), if writing || reading => Woken::Io(io),
            handled = async { match handler { Some(handler) => handler.await, None => pending().await } }
                => Woken::Handled(handled),
            page = page(redelivery), if Flow::may_drain(seen) => Woken::Page(page),
            () = async { match awaited { Some(stanzas) => self.handled_count.reached(stanzas).await, None => pending().await } }
                => Woken::Reached,
            // Also while nothing can be taken: a session whose client does not read must still be able to
            // end.
            () = self.outbox.ready() => Woken::Outbox,
            () = async { match &mut save { Some(saved) => saved.await, None => pending().await } }
                => Woken::Save,
            () = timer => Woken::Timer,
        }
    }

    fn on(&mut self, woken: Woken) {
        match woken {
            Woken::Io(Ok(Io::Read(0)) | Err(_)) => self.ending = Some(Ending::Cut),
            Woken::Io(Ok(Io::Read(bytes))) => self.read(bytes),
            Woken::Io(Ok(Io::Written)) => {}
            Woken::Handled(handled) => {
                self.flow.handler_ended();
                self.handled(handled);
            }
            Woken::Page(page) => self.redeliver_page(page),
            Woken::Reached => self.reached(),
            Woken::Outbox => self.outbox_called(),
            Woken::Timer => self.timer(),
            Woken::Save => self.ending = Some(Ending::Save),
        }
    }

    fn outbox_called(&mut self) {
        self.look_for_resume_request();
        if self.is_hibernating() {
            self.check_hibernation();
        } else if self.flow.may_take(self.seen()) {
            let taken = self.outbox.take(BATCH_BYTES, self.room());
            self.take(taken);
        } else {
            self.flow.reconnect();
            self.end(self.outbox.ending());
        }
    }

    fn read(&mut self, bytes: usize) {
        self.binding.context().counts.bytes_in(bytes);
        let now = now();
        self.heard = now;
        let wait = self.link.pace.count(bytes, 0, now);
        self.flow.pause(wait, now);
    }

    /// Counts what was written since the last call.
    pub(super) fn count_written(&mut self) {
        self.binding.context().counts.bytes_out(self.link.wire.take_written());
    }

    /// Counts stanzas towards the session's rate, as of when they were read.
    pub(super) fn charge(&mut self, stanzas: usize) {
        let read = self.heard;
        let wait = self.link.pace.count(0, stanzas, read);
        self.flow.pause(wait, read);
    }

    /// Handles what is read, until a handler must be awaited or the turn is over.
    fn read_pieces(&mut self) {
        self.read_pieces_in_order();
        self.look_ahead();
    }

    fn read_pieces_in_order(&mut self) {
        let mut stanzas = 0;
        while self.flow.may_read(self.seen()) {
            if self.ending.is_some() {
                return;
            }
            match self.next_piece() {
                Ok(None) => return,
                Ok(Some(Event::Whitespace)) => {}
                Ok(Some(Event::Close)) => self.ending = Some(Ending::Closed),
                Ok(Some(Event::Gone)) => self.ending = Some(Ending::Cut),
                Ok(Some(Event::Open(_))) => self.fail(StreamError::BadFormat.into()),
                Ok(Some(Event::Element(element))) => {
                    stanzas += 1;
                    self.charge(1);
                    self.element(element);
                    if stanzas == TURN_STANZAS {
                        self.flow.end_turn(now());
                    }
                }
                Err(error) => self.fail(error.into()),
            }
        }
    }

    pub(super) fn take(&mut self, taken: Taken) {
        if taken.redelivery {
            self.begin_redelivery(AccountEntry::claim);
        }
        for item in taken.batch {
            self.pass(item);
        }
        self.ping_if_owed();
        self.end(taken.end);
    }

    /// Sends a stanza, unless a module holds it back. Stanzas that were held back go before it.
    pub(super) fn pass(&mut self, item: Outgoing) {
        let pipeline = &self.binding.context().pipeline;
        let delivery = pipeline.to_client(&self.binding.cx.config, &mut self.state, &item);
        delivery.before.into_iter().for_each(|kept| self.send(kept));
        if delivery.now {
            self.send(item);
        }
    }

    /// Queues a stanza on the wire, and remembers it as long as it may be owed.
    pub(super) fn send(&mut self, item: Outgoing) {
        let stamped = self.stamped(&item);
        let frame = match (&mut self.sm, item.owed) {
            (Some(sm), _) => {
                let (frame, bytes) = (item.frame.clone(), item.frame.len());
                sm.push(item, bytes);
                frame
            }
            (None, owed) => {
                owed.into_iter().for_each(|seq| self.written(seq, item.frame.len()));
                item.frame
            }
        };
        let frame = stamped.unwrap_or(frame);
        self.binding.context().counts.stanza_out(&frame);
        self.link.wire.queue_frame(frame);
    }

    pub(super) fn end(&mut self, end: Option<End>) {
        match end {
            Some(End::Failure(failure)) => self.fail(failure),
            Some(End::Shutdown) if self.is_resumable() => self.ending = Some(Ending::Stop),
            Some(End::Shutdown) => self.stop(now()),
            None => {}
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        if let Some(until) = self.hibernates_until() {
            return until;
        }
        let limits = &self.binding.context().router.limits;
        let unanswered = self.answer_overdue(now).into_iter().chain(self.ack_overdue(now)).min();
        let idle = match unanswered {
            Some(overdue) => overdue,
            None => {
                let silent = (!limits.ping_after.is_zero()).then(|| self.heard + limits.ping_after);
                silent.into_iter().chain(self.delivery.due()).min().unwrap_or(now + FOREVER)
            }
        };
        let soon = [self.flow.due(now), self.next_due(now), self.stop_deadline()];
        soon.into_iter().flatten().chain([idle]).min().unwrap_or(idle)
    }

    fn timer(&mut self) {
        let now = now();
        if let Some(until) = self.hibernates_until() {
            // The timer may fire for a deadline of the old connection; ignore it.
            if until <= now {
                self.ending = Some(Ending::Expired);
            }
            return;
        }
        let limits = self.binding.context().router.limits.clone();
        self.flow.tick(now);
        if self.flow.is_leaving() {
            return self.stop(now);
        }
        self.answer_is_due(now);
        match &self.ping {
            Some(_) if self.answer_overdue(now).is_some_and(|at| at <= now) => self.unanswered(now),
            Some(_) => {}
            None => {
                let silent = !limits.ping_after.is_zero() && now >= self.heard + limits.ping_after;
                if !self.ask_if_silent(silent, now)
                    && (silent || self.delivery.due().is_some_and(|due| now >= due))
                {
                    self.send_ping();
                }
            }
        }
        self.ack_is_overdue(now);
    }

    pub(super) fn fail(&mut self, failure: StreamFailure) {
        if self.ending.is_none() {
            tracing::info!(jid = named(&self.binding.client.jid), peer = %self.binding.client.channel.peer, %failure, "stream ended");
            self.ending = Some(Ending::Failure(Box::new(failure)));
        }
    }

    /// Closes the stream both ways (RFC 6120 §4.4).
    async fn finish(mut self: Box<Self>) {
        let ending = self.ending.take().unwrap_or(Ending::Cut);
        let closed = matches!(ending, Ending::Closed);
        match ending {
            Ending::Save => {
                // Wait for pending stanzas: if one is left out of the count, the client sends it again and it
                // is delivered twice; if one is counted before it fails, the sender gets no error.
                self.settle().await;
                return self.save().await;
            }
            Ending::Cut | Ending::Expired => {
                self.abandon_handler();
                return self.unbind(closed);
            }
            Ending::Closed => {
                tracing::info!(jid = named(&self.binding.client.jid), "session closed");
                // The pending handler and the writes of all stanzas end before our closing tag, because that
                // acknowledges everything before it.
                let _ = timeout(SETTLE, self.settle()).await;
            }
            Ending::GivenUp => {
                tracing::info!(
                    jid = named(&self.binding.client.jid),
                    "stream error from the client"
                );
            }
            Ending::Failure(failure) => self.link.wire.say(Item::Failure(*failure)),
            Ending::Stop => self.link.wire.say(Item::Failure(StreamError::SystemShutdown.into())),
        }
        self.abandon_handler();
        self.link.wire.say(Item::Close);
        let closing = async {
            self.link.wire.flush().await?;
            if closed {
                let unconfirmed = self.delivery.take_unconfirmed();
                self.confirm(&unconfirmed);
            }
            self.link.wire.shutdown().await
        };
        let heard = timeout(CLOSE_TIMEOUT, closing).await;
        self.count_written();
        // Others see the session end before its client has hung up.
        let disconnected = Link::disconnected(&self.binding.context().router.limits, now());
        let mut link = std::mem::replace(&mut self.link, disconnected);
        self.unbind(closed);
        if let Ok(Ok(())) = heard {
            let _ = timeout(CLOSE_TIMEOUT, link.wire.linger()).await;
        }
    }

    /// Ends the session for others: its resource is free, and its unacknowledged stanzas are delivered
    /// another way.
    fn unbind(mut self: Box<Self>, closed: bool) {
        self.binding.unacked = self.disable(closed);
    }

    pub(super) async fn settle(&mut self) {
        // The result of one handler may start another.
        while let Some(pending) = self.flow.handler() {
            let handled = pending.await;
            self.flow.handler_ended();
            self.handled(handled);
        }
        if !self.handled_count.is_settled() {
            self.binding.cx.router.flush_deferred();
            self.handled_count.settled().await;
        }
    }

    /// A handler that began a write must also finish what follows the commit, even if no session waits for
    /// it.
    fn abandon_handler(&mut self) {
        self.handled_count.end();
        if let Some(pending) = self.flow.handler().take() {
            let tasks = &self.binding.cx.router.tasks;
            tasks.spawn("handler", async move { drop(pending.await) });
        }
    }

    /// Whether `to` is missing, the server itself, or the account's own bare JID.
    pub(super) fn is_ours(&self, to: Option<&Jid>) -> bool {
        let jid = &self.binding.client.jid;
        to.is_none_or(|to| to.as_str() == jid.domain() || to.as_str() == jid.bare_str())
    }
}

/// Maximum number of bytes taken from the outbox at once.
const BATCH_BYTES: usize = 65_536;
/// Maximum number of stanzas read before the outbox has its turn.
const TURN_STANZAS: usize = 32;
/// A day, which stands for no deadline.
const FOREVER: Duration = Duration::from_secs(86_400);
/// How long a closing stream waits for its writes to commit.
const SETTLE: Duration = Duration::from_secs(5);
