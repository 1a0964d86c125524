//! The session's loop: one task, one `select!` over the connection, the pending handler, the outbox
//! and the nearest deadline. While a handler is pending only reading pauses.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep_until, timeout};

use super::binding::Binding;
use super::inbound::Handled;
use super::negotiate::GOODBYE;
use super::pace::Pace;
use super::wire::{Event, Io, Wire};
use crate::base::id::{self, OsRng};
use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::modules::SessionState;
use crate::router::outbox::{End, Outbox, Taken};
use crate::router::ticket::Ledger;
use crate::stanza::Stanza;
use crate::stanza::delay::delay;
use crate::store::StoreError;
use crate::store::mailbox::{self, MailRow, Page};
use crate::store::tx::Tx;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::open::CLOSE;
use crate::xml::writer::Xml;

/// A bound stream.
pub struct Session {
    pub(super) binding: Binding,
    pub(super) outbox: Arc<Outbox>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) state: SessionState,
    pub(super) lang: Option<Arc<str>>,
    pub(super) wire: Wire,
    /// Reading pauses until this handler is done.
    pub(super) pending: Option<Pending>,
    /// A full box that this session feeds: reading pauses until it is under half.
    pub(super) slow: Option<(Arc<Outbox>, Instant)>,
    /// Owed rows that are being delivered; the outbox waits.
    pub(super) drain: Option<Drain>,
    pub(super) ending: Option<Ending>,
    pace: Pace,
    paused_until: Option<Instant>,
    heard: Instant,
    pub(super) ping: Option<Ping>,
    /// Owed messages written to the client and not confirmed, oldest first.
    unconfirmed: Vec<i64>,
    unconfirmed_since: Option<Instant>,
    /// The outbox called while nothing could be taken from it.
    woken: bool,
}

/// A handler on its way.
pub(super) type Pending = Pin<Box<dyn Future<Output = Handled> + Send>>;

/// A pass over the account's owed rows (promise.md 3).
pub(super) struct Drain {
    boundary: i64,
    after: i64,
    page: Option<Paging>,
}

/// A read of owed rows on its way.
type Paging = Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send>>;

/// A server ping whose answer is awaited.
pub(super) struct Ping {
    pub(super) id: String,
    sent: Instant,
    /// So many of `unconfirmed` were written before it.
    covers: usize,
}

/// Why the stream ends.
pub(super) enum Ending {
    /// The client closed it.
    Closed,
    /// The client gave it up with a stream error.
    GivenUp,
    /// We close it.
    Failure(StreamFailure),
    /// The connection is gone.
    Cut,
}

#[allow(clippy::large_enum_variant)] // lives for one turn of the loop, on the stack
enum Woken {
    Io(std::io::Result<Io>),
    Handled(Handled),
    Page(Result<Page, StoreError>),
    Outbox,
    Timer,
}

/// Runs the session to its end. The binding's drop tells the world.
pub async fn run(mut session: Session) {
    if panicked(session.serve()).await {
        // A bug of ours, and this client's request met it: the others go on (RFC 6120 §4.9.3.8).
        session.pending = None;
        session.ending = Some(Ending::Failure(StreamError::InternalServerError.into()));
    }
    session.finish().await;
}

/// Runs the work; true when it ended by a panic, which the panic hook has reported.
async fn panicked(work: impl Future<Output = ()>) -> bool {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(())) => Poll::Ready(false),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(true),
    })
    .await
}

impl Session {
    /// A session just bound. `now` is the monotonic clock.
    pub fn new(binding: Binding, wire: Wire, lang: Option<&str>, now: Instant) -> Self {
        let pace = Pace::new(&binding.context().router.limits, now);
        let outbox = binding.cx.who.outbox.clone().unwrap_or_else(|| Arc::new(Outbox::new(0)));
        Self {
            binding,
            outbox,
            ledger: Arc::default(),
            state: SessionState::default(),
            lang: lang.map(Into::into),
            wire,
            pending: None,
            slow: None,
            drain: None,
            ending: None,
            pace,
            paused_until: None,
            heard: now,
            ping: None,
            unconfirmed: Vec::new(),
            unconfirmed_since: None,
            woken: false,
        }
    }

    async fn serve(&mut self) {
        while self.ending.is_none() {
            self.read_pieces();
            if self.ending.is_some() {
                return;
            }
            let woken = self.wait().await;
            self.on(woken);
        }
    }

    /// Waits for whatever comes first: output and what others want of us before new input.
    async fn wait(&mut self) -> Woken {
        let now = now();
        let writing = self.wire.is_writing();
        let reading = self.may_read();
        let deadline = self.deadline(now);
        let free = !writing && self.drain.is_none();
        if free && std::mem::take(&mut self.woken) {
            return Woken::Outbox;
        }
        let (pending, drain, wire) = (&mut self.pending, &mut self.drain, &mut self.wire);
        tokio::select! {
            biased;
            io = wire.io(reading), if writing || reading => Woken::Io(io),
            handled = async { match pending { Some(pending) => pending.await, None => std::future::pending().await } }
                => Woken::Handled(handled),
            page = async {
                match drain.as_mut().and_then(|drain| drain.page.as_mut()) {
                    Some(page) => page.await,
                    None => std::future::pending().await,
                }
            }, if !writing => Woken::Page(page),
            // Also while nothing can be taken: a client that does not read must end all the same.
            () = self.outbox.ready() => Woken::Outbox,
            () = sleep_until(deadline.into()) => Woken::Timer,
        }
    }

    fn on(&mut self, woken: Woken) {
        match woken {
            Woken::Io(Ok(Io::Read(0)) | Err(_)) => self.ending = Some(Ending::Cut),
            Woken::Io(Ok(Io::Read(bytes))) => self.read(bytes),
            Woken::Io(Ok(Io::Written)) => {}
            Woken::Handled(handled) => {
                self.pending = None;
                self.handled(handled);
            }
            Woken::Page(page) => self.drain_page(page),
            Woken::Outbox if self.wire.is_writing() || self.drain.is_some() => {
                self.woken = true;
                self.end(self.outbox.ending());
            }
            Woken::Outbox => {
                let taken = self.outbox.take(BATCH_BYTES);
                self.take(taken);
            }
            Woken::Timer => self.timer(),
        }
    }

    /// Who does not take the answers gets to ask no more: what waits for one session is bounded.
    fn may_read(&self) -> bool {
        self.pending.is_none()
            && self.slow.is_none()
            && self.paused_until.is_none()
            && self.wire.queued() <= self.binding.context().router.limits.outbox_bytes_max
    }

    fn read(&mut self, bytes: usize) {
        let now = now();
        self.heard = now;
        let wait = self.pace.count(bytes, 0, now);
        self.pause(wait, now);
    }

    /// Counts stanzas towards the session's rate.
    pub(super) fn charge(&mut self, stanzas: usize) {
        let now = now();
        let wait = self.pace.count(0, stanzas, now);
        self.pause(wait, now);
    }

    fn pause(&mut self, wait: Duration, now: Instant) {
        if !wait.is_zero() {
            self.paused_until = Some(now + wait);
        }
    }

    /// Handles what is read, until a handler must be awaited or the turn is over.
    fn read_pieces(&mut self) {
        let mut stanzas = 0;
        while self.may_read() {
            if self.ending.is_some() {
                return;
            }
            match self.wire.piece() {
                Ok(None) => return,
                Ok(Some(Event::Whitespace)) => {}
                Ok(Some(Event::Close)) => self.ending = Some(Ending::Closed),
                Ok(Some(Event::Open(_))) => self.fail(StreamError::BadFormat.into()),
                Ok(Some(Event::Element(element))) => {
                    stanzas += 1;
                    self.charge(1);
                    self.element(element);
                    if stanzas == TURN_STANZAS {
                        // Let the outbox have its turn; the rest is read on from the buffer.
                        self.paused_until.get_or_insert_with(now);
                    }
                }
                Err(error) => self.fail(error.into()),
            }
        }
    }

    pub(super) fn take(&mut self, taken: Taken) {
        if let Some(boundary) = taken.drain {
            self.begin_drain(boundary);
        }
        for item in taken.batch {
            self.wire.queue_frame(item.frame);
            if let Some(seq) = item.owed {
                self.written(seq);
            }
        }
        self.ping_if_owed();
        self.end(taken.end);
    }

    fn end(&mut self, end: Option<End>) {
        match end {
            Some(End::Failure(failure)) => self.fail(failure),
            Some(End::Shutdown) => self.fail(StreamError::SystemShutdown.into()),
            None => {}
        }
    }

    /// Owed rows up to `boundary` go before anything that waits in the outbox.
    pub(super) fn begin_drain(&mut self, boundary: i64) {
        if self.binding.cx.who.account.is_none() {
            return;
        }
        let after = i64::MIN;
        let page = Some(self.page(after, boundary));
        self.drain = Some(Drain { boundary, after, page });
    }

    /// RFC 6121 §8.5.2.2: whoever is not available, or of negative priority, gets no more of what
    /// was for the account; another session may.
    pub(super) fn stop_drain(&mut self) {
        self.drain = None;
        self.binding.cx.router.ended(self.binding.cx.who.jid.bare_str());
    }

    fn end_drain(&self, boundary: i64) {
        let who = &self.binding.cx.who;
        let registry = &self.binding.cx.router.registry;
        registry.with(who.jid.bare_str(), |user| user.owed.end_drain(who.session, boundary));
    }

    fn page(&self, after: i64, boundary: i64) -> Paging {
        let store = self.binding.cx.store.clone();
        let account = self.binding.cx.who.account;
        Box::pin(async move {
            let Some(account) = account else { return Ok(Page::default()) };
            // promise.md 7: the read sees every row that was queued before.
            store.barrier().await?;
            let page = move |tx: &mut dyn Tx| {
                mailbox::page(tx, account, after, boundary, PAGE_ROWS, PAGE_BYTES)
            };
            store.read(page).await
        })
    }

    fn drain_page(&mut self, page: Result<Page, StoreError>) {
        let Some(mut drain) = self.drain.take() else { return };
        let Page { rows, more } = match page {
            Ok(page) => page,
            Err(error) => {
                // The rows stay owed: the next session gets them.
                tracing::error!(%error, jid = %self.binding.cx.who.jid, "owed messages could not be read");
                self.end_drain(drain.boundary);
                return;
            }
        };
        for row in rows {
            drain.after = row.seq;
            self.deliver_row(row);
        }
        self.ping_if_owed();
        if more {
            drain.page = Some(self.page(drain.after, drain.boundary));
            self.drain = Some(drain);
        } else {
            self.end_drain(drain.boundary);
        }
    }

    fn deliver_row(&mut self, row: MailRow) {
        let cx = &self.binding.cx;
        let (session, seq, bytes) = (cx.who.session, row.seq, row.stanza.len());
        let claimed = cx
            .router
            .registry
            .with(cx.who.jid.bare_str(), |user| user.owed.claim(seq, bytes, session));
        if claimed != Some(true) {
            return;
        }
        let Some(stanza) = Stanza::ours(row.stanza.into()) else {
            tracing::error!(seq, jid = %cx.who.jid, "a stored message is damaged and was left out");
            return;
        };
        let stamp = delay(cx.who.jid.domain(), from_micros(row.at));
        self.wire.queue_frame(stanza.frame_with(&stamp));
        self.written(seq);
    }

    fn written(&mut self, seq: i64) {
        self.unconfirmed.push(seq);
        self.unconfirmed_since.get_or_insert_with(now);
    }

    /// Many unconfirmed messages: do not wait half a minute to ask.
    fn ping_if_owed(&mut self) {
        if self.unconfirmed.len() >= UNCONFIRMED_MANY && self.ping.is_none() {
            self.send_ping();
        }
    }

    fn send_ping(&mut self) {
        let id = id::short(&mut OsRng);
        let who = &self.binding.cx.who;
        let mut xml = Xml::new();
        xml.start("iq").attr("type", "get").attr("id", &id);
        xml.attr("from", who.jid.domain()).attr("to", who.jid.as_str());
        xml.start("ping").attr("xmlns", crate::xml::ns::PING).end().end();
        self.wire.queue(xml.finish());
        self.ping = Some(Ping { id, sent: now(), covers: self.unconfirmed.len() });
    }

    /// An answer, result or error, to a request of ours. Confirms what was written before the
    /// ping (promise.md 2).
    pub(super) fn reply_to_us(&mut self, id: Option<&str>) {
        if let Some(ping) = self.ping.take_if(|ping| Some(ping.id.as_str()) == id) {
            let confirmed: Vec<i64> =
                self.unconfirmed.drain(..ping.covers.min(self.unconfirmed.len())).collect();
            self.confirm(&confirmed);
            self.unconfirmed_since = (!self.unconfirmed.is_empty()).then_some(ping.sent);
        }
    }

    fn confirm(&self, seqs: &[i64]) {
        if !seqs.is_empty() {
            let cx = &self.binding.cx;
            cx.router.confirm(cx.who.jid.bare_str(), seqs);
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        let limits = &self.binding.context().router.limits;
        let idle = match &self.ping {
            Some(ping) => ping.sent + limits.ping_timeout,
            None => {
                let silent = (!limits.ping_after.is_zero()).then(|| self.heard + limits.ping_after);
                let owed = self.unconfirmed_since.map(|since| since + CONFIRM_AFTER);
                silent.into_iter().chain(owed).min().unwrap_or(now + FOREVER)
            }
        };
        let slow = self.slow.as_ref().map(|_| now + SLOW_STEP);
        [self.paused_until, slow].into_iter().flatten().chain([idle]).min().unwrap_or(idle)
    }

    fn timer(&mut self) {
        let now = now();
        let limits = self.binding.context().router.limits.clone();
        self.paused_until.take_if(|until| *until <= now);
        self.slow.take_if(|(outbox, until)| *until <= now || !outbox.over_half());
        match &self.ping {
            Some(ping) if self.heard <= ping.sent && now >= ping.sent + limits.ping_timeout => {
                self.fail(StreamError::ConnectionTimeout.text("no answer to a ping"));
            }
            Some(ping) if now >= ping.sent + limits.ping_timeout => {
                // It talks but does not answer pings: what it was sent stays owed.
                self.ping = None;
                self.unconfirmed_since = None;
            }
            Some(_) => {}
            None => {
                let silent = !limits.ping_after.is_zero() && now >= self.heard + limits.ping_after;
                let owed = self.unconfirmed_since.is_some_and(|since| now >= since + CONFIRM_AFTER);
                if silent || owed {
                    self.send_ping();
                }
            }
        }
    }

    pub(super) fn fail(&mut self, failure: StreamFailure) {
        if self.ending.is_none() {
            tracing::info!(jid = %self.binding.cx.who.jid, peer = %self.binding.cx.who.peer, %failure, "stream ended");
            self.ending = Some(Ending::Failure(failure));
        }
    }

    /// Closes the stream both ways (RFC 6120 §4.4).
    async fn finish(mut self) {
        let ending = self.ending.take().unwrap_or(Ending::Cut);
        let closed = matches!(ending, Ending::Closed);
        match ending {
            Ending::Cut => return self.abandon_handler(),
            Ending::Closed => {
                tracing::info!(jid = %self.binding.cx.who.jid, "session closed");
                // The handler under way and the writes of all stanzas end before our closing tag:
                // it acknowledges everything before it.
                let _ = timeout(SETTLE, self.settle()).await;
            }
            Ending::GivenUp => {
                tracing::info!(jid = %self.binding.cx.who.jid, "stream error from the client");
            }
            Ending::Failure(failure) => self.wire.queue(failure.to_xml().into()),
        }
        self.abandon_handler();
        self.wire.queue(CLOSE.into());
        let goodbye = async {
            self.wire.flush().await?;
            if closed {
                let unconfirmed = std::mem::take(&mut self.unconfirmed);
                self.confirm(&unconfirmed);
            }
            self.wire.shutdown().await
        };
        let heard = timeout(GOODBYE, goodbye).await;
        // Others see the session gone before its client has hung up.
        let Self { binding, mut wire, .. } = self;
        drop(binding);
        if let Ok(Ok(())) = heard {
            let _ = timeout(GOODBYE, wire.linger()).await;
        }
    }

    async fn settle(&mut self) {
        // What one handler found may call for another.
        while let Some(pending) = &mut self.pending {
            let handled = pending.await;
            self.pending = None;
            self.handled(handled);
        }
        self.ledger.settled().await;
    }

    /// A handler that began a write must also do what follows its commit, though nobody waits.
    fn abandon_handler(&mut self) {
        if let Some(pending) = self.pending.take() {
            let tasks = &self.binding.cx.router.tasks;
            tasks.spawn("handler", async move { drop(pending.await) });
        }
    }

    /// The server's own address on this stream, or one that stands for it.
    pub(super) fn is_ours(&self, to: Option<&Jid>) -> bool {
        let jid = &self.binding.cx.who.jid;
        to.is_none_or(|to| to.as_str() == jid.domain() || to.as_str() == jid.bare_str())
    }
}

#[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
pub(super) fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Bytes taken from the outbox at once.
const BATCH_BYTES: usize = 65_536;
/// Stanzas read before the outbox has its turn.
const TURN_STANZAS: usize = 32;
/// Owed rows read at once.
const PAGE_ROWS: usize = 50;
/// The same in bytes, the last row apart: they wait in memory until the client has taken them.
const PAGE_BYTES: usize = 262_144;
/// promise.md 2: a message unconfirmed for so long brings a ping.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// Unconfirmed messages that bring a ping at once.
const UNCONFIRMED_MANY: usize = 100;
/// How often a slowed session looks whether it may go on.
const SLOW_STEP: Duration = Duration::from_millis(20);
/// A day: no deadline at all.
const FOREVER: Duration = Duration::from_secs(86_400);
/// How long a closing stream waits for its writes to commit.
const SETTLE: Duration = Duration::from_secs(5);
