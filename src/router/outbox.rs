//! The queue of stanzas to be written to one session, bounded in bytes. Pushing never waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::held::Asks;
use crate::stanza::Frame;
use crate::stream::error::{StreamError, StreamFailure};

/// One stanza for a session.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its bytes.
    pub frame: Frame,
    /// Its position, if the account is owed it (promise.md 1).
    pub owed: Option<i64>,
    /// When it came, in microseconds since 1970, if it gets a delay stamp when delivered late (XEP-0203);
    /// otherwise 0.
    pub at: i64,
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { frame, owed: None, at: 0 }
    }
}

/// How full the box was after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Room enough.
    Easy,
    /// Over half: the pushing session should stop reading for a moment.
    OverHalf,
}

/// The result of a push: the stanza is in the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// How full the box is.
    pub level: Level,
    /// Its session may be waiting: [`Outbox::nudge`] it.
    pub wake: bool,
}

/// The box was closed or full; a full one ends its session with `resource-constraint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// The one way into a session's stream. Owned by the session's task, shared as `Arc`.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    bytes_max: usize,
    /// Which of its client's stanzas the account is asked about.
    asks: AtomicU8,
    /// Those who heard of its client's stanzas since the session looked last.
    heard_by: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    closed: bool,
    end: Option<Box<End>>,
    redelivery: bool,
    /// The session hibernates, and checks the box at every push.
    watched: bool,
    /// The session was called, and has not looked since.
    called: bool,
    /// Somebody will call the session, behind many others.
    late: bool,
    /// The session's task. It stays from one wait to the next, which is cheaper than registering for each.
    waker: Option<Waker>,
}

impl Inner {
    fn put(&mut self, item: Outgoing, bytes_max: usize) -> Result<Put, Refused> {
        // Sessions of a stopping server still receive what other sessions send them (promise.md 11).
        if self.closed || matches!(self.end.as_deref(), Some(End::Failure(_))) {
            return Err(Refused);
        }
        let bytes = self.bytes + item.frame.len() + ITEM_COST;
        if bytes > bytes_max {
            let why =
                StreamError::ResourceConstraint.text("too much waits to be sent to this client");
            self.end = Some(Box::new(End::Failure(why)));
            self.call();
            return Err(Refused);
        }
        self.bytes = bytes;
        let wake = self.queue.is_empty() || self.watched;
        self.queue.push_back(item);
        // A hibernating session takes nothing, so it is no use to wait for it.
        let slow = bytes > bytes_max / 2 && !self.watched;
        let level = if slow { Level::OverHalf } else { Level::Easy };
        Ok(Put { level, wake })
    }

    /// Whoever comes before a late call calls himself: what is for one does not wait for those that are for many.
    fn put_soon(&mut self, item: Outgoing, bytes_max: usize) -> Result<Put, Refused> {
        let mut put = self.put(item, bytes_max)?;
        put.wake |= std::mem::take(&mut self.late);
        Ok(put)
    }

    fn call(&mut self) {
        (self.called, self.late) = (true, false);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// Why a session is ended from outside.
#[derive(Debug, Clone)]
pub enum End {
    /// With a stream error.
    Failure(StreamFailure),
    /// The server stops; queued stanzas are written first.
    Shutdown,
}

/// What the session's task takes from the box.
#[derive(Debug, Default)]
pub struct Taken {
    /// Stanzas to write, oldest first.
    pub batch: VecDeque<Outgoing>,
    /// If set, the stream must end.
    pub end: Option<End>,
    /// Owed rows wait, and must be delivered first.
    pub redelivery: bool,
}

impl Outbox {
    /// `bytes_max` comes from `limits.outbox_bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        let (asks, heard_by) = (AtomicU8::new(0), AtomicUsize::new(0));
        Self { inner: Mutex::default(), bytes_max, asks, heard_by }
    }

    /// Which of its client's stanzas the account is asked about.
    pub fn asks(&self) -> Asks {
        Asks::of_bits(self.asks.load(Ordering::Relaxed))
    }

    /// Sets [`Outbox::asks`]: the account's answer changed, or the session is new.
    pub(super) fn set_asks(&self, asks: Asks) {
        self.asks.store(asks.bits(), Ordering::Relaxed);
    }

    /// A stanza of its client went to so many, by way of a service: the session is slowed for it.
    pub fn charge(&self, heard_by: usize) {
        self.heard_by.fetch_add(heard_by, Ordering::Relaxed);
    }

    /// What was charged since the last call.
    pub fn take_charge(&self) -> usize {
        self.heard_by.swap(0, Ordering::Relaxed)
    }

    /// Whether an answer of so many bytes fits beside what waits, and leaves something for what comes meanwhile.
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= self.free()
    }

    /// Bytes of an answer that fits.
    pub fn free(&self) -> usize {
        (self.bytes_max - self.bytes_max / 8).saturating_sub(self.bytes())
    }

    /// Queues one stanza for the session, and wakes it.
    pub fn push(&self, item: impl Into<Outgoing>) -> Result<Level, Refused> {
        let mut inner = self.lock();
        let put = inner.put_soon(item.into(), self.bytes_max);
        if !matches!(put, Ok(Put { wake: false, .. })) {
            inner.call();
        }
        put.map(|put| put.level)
    }

    /// Queues one stanza. The caller holds a lock, so it calls [`Outbox::nudge`] later, if [`Put`] says so.
    pub fn put(&self, item: Outgoing) -> Result<Put, Refused> {
        self.lock().put_soon(item, self.bytes_max)
    }

    /// Like [`Outbox::put`], for a caller that nudges many, one after the other.
    pub fn put_among_many(&self, item: Outgoing) -> Result<Put, Refused> {
        let mut inner = self.lock();
        let put = inner.put(item, self.bytes_max)?;
        inner.late |= put.wake;
        Ok(put)
    }

    /// Asks the session to deliver the owed rows that wait before anything queued from now on.
    pub fn ask_redelivery(&self) {
        let mut inner = self.lock();
        inner.redelivery = true;
        inner.call();
    }

    /// Ends the session from outside; the first reason wins.
    pub fn end(&self, end: End) {
        let mut inner = self.lock();
        if inner.end.is_none() {
            inner.end = Some(Box::new(end));
        }
        inner.call();
    }

    /// Why the session must end, if it must; also for a session that cannot take anything now.
    pub fn ending(&self) -> Option<End> {
        self.lock().end.as_deref().cloned()
    }

    /// Waits until there may be something to take. Cancel-safe; one task at a time.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if std::mem::take(&mut inner.called) {
                return Poll::Ready(());
            }
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker @ None => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }

    /// Takes up to `bytes` worth of stanzas (at least one, at most `stanzas`), and the pending orders. If
    /// any are left, the next [`Outbox::ready`] returns at once.
    pub fn take(&self, bytes: usize, stanzas: usize) -> Taken {
        let mut inner = self.lock();
        let mut taken = Taken {
            batch: VecDeque::new(),
            end: inner.end.as_deref().cloned(),
            redelivery: std::mem::take(&mut inner.redelivery),
        };
        if taken.redelivery {
            // Owed rows go first; the queue waits for the next turn.
            inner.call();
            return taken;
        }
        if inner.bytes <= bytes && inner.queue.len() <= stanzas {
            // Takes the queue itself, so that the box owns no memory while its session idles.
            (inner.bytes, inner.late) = (0, false);
            taken.batch = std::mem::take(&mut inner.queue);
            return taken;
        }
        let mut sum = 0;
        while sum < bytes && taken.batch.len() < stanzas {
            let Some(item) = inner.queue.pop_front() else { break };
            sum += item.frame.len();
            inner.bytes = inner.bytes.saturating_sub(item.frame.len() + ITEM_COST);
            taken.batch.push_back(item);
        }
        if !inner.queue.is_empty() {
            inner.call();
        }
        taken
    }

    /// Takes at most `stanzas` of those before the first owed message: presence that a redelivery need not
    /// hold up.
    pub fn take_before_owed(&self, stanzas: usize) -> Vec<Outgoing> {
        let mut inner = self.lock();
        let mut taken = Vec::new();
        while taken.len() < stanzas
            && let Some(item) = inner.queue.pop_front_if(|item| item.owed.is_none())
        {
            inner.bytes = inner.bytes.saturating_sub(item.frame.len() + ITEM_COST);
            taken.push(item);
        }
        taken
    }

    /// Sets whether the session hibernates: then each push wakes it, to check how much waits.
    pub fn watch(&self, watched: bool) {
        self.lock().watched = watched;
    }

    /// Wakes the session for something that is not in the box.
    pub fn nudge(&self) {
        self.lock().call();
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Copies the queued stanzas for the store; they stay in the box.
    pub fn waiting(&self) -> Vec<Outgoing> {
        self.lock().queue.iter().cloned().collect()
    }

    /// Whether more than half is used, and the session may take it.
    pub fn over_half(&self) -> bool {
        let inner = self.lock();
        !inner.closed && !inner.watched && inner.bytes > self.bytes_max / 2
    }

    /// Whether more than half is used, though its session take nothing now.
    pub fn is_half_full(&self) -> bool {
        self.lock().bytes > self.bytes_max / 2
    }

    /// Closes the box to pushes; returns the queued stanzas, to be handled as undelivered.
    pub fn close(&self) -> Vec<Outgoing> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.bytes = 0;
        inner.queue.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding this lock cannot leave it half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits a moment for these boxes to have room again: whoever causes more for slow clients is slowed.
pub async fn slow_down(boxes: Vec<Arc<Outbox>>) {
    if boxes.is_empty() {
        return;
    }
    let eased = async {
        while boxes.iter().any(|outbox| outbox.over_half()) {
            tokio::time::sleep(SLOW_STEP).await;
        }
    };
    let _ = tokio::time::timeout(SLOW_MAX, eased).await;
}

/// How long, and in which steps, to wait for slow clients; as sessions do.
const SLOW_MAX: Duration = Duration::from_secs(1);
const SLOW_STEP: Duration = Duration::from_millis(20);

/// Bookkeeping counted per queued stanza, so that a million empty ones are bounded too.
const ITEM_COST: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn frame(n: usize) -> Frame {
        Frame::whole(Bytes::from(vec![b'x'; n]))
    }

    #[test]
    fn a_full_box_refuses_and_ends_the_session() {
        let outbox = Outbox::new(1000);
        assert_eq!(outbox.push(frame(100)), Ok(Level::Easy));
        assert_eq!(outbox.push(frame(300)), Ok(Level::OverHalf));
        assert_eq!(outbox.push(frame(900)), Err(Refused));
        assert!(matches!(outbox.take(usize::MAX, 9).end, Some(End::Failure(_))));
        assert_eq!(outbox.push(frame(1)), Err(Refused));
    }

    #[test]
    fn an_answer_fits_or_is_not_to_be_sent() {
        let outbox = Outbox::new(1000);
        assert!(outbox.fits(875) && !outbox.fits(876));
        outbox.push(frame(100)).unwrap();
        assert!(outbox.fits(600) && !outbox.fits(700) && !outbox.fits(usize::MAX));
    }

    #[test]
    fn nobody_waits_for_a_hibernating_session() {
        let outbox = Outbox::new(1000);
        assert_eq!(outbox.push(frame(500)), Ok(Level::OverHalf));
        assert!(outbox.over_half());
        outbox.watch(true);
        assert!(!outbox.over_half());
        assert_eq!(outbox.push(frame(1)), Ok(Level::Easy));
        outbox.watch(false);
        assert!(outbox.over_half());
    }

    /// A room wakes a thousand, one after the other; what is said to one of them meanwhile comes at once.
    #[test]
    fn what_is_for_one_does_not_wait_for_what_is_for_many() {
        let outbox = Outbox::new(1000);
        let item = || Outgoing::from(frame(1));
        let among_many = || outbox.put_among_many(item()).unwrap().wake;
        let alone = || outbox.put(item()).unwrap().wake;
        assert!(among_many() && !among_many(), "once for all of the many");
        assert!(alone() && !alone(), "the next one wakes it, once");
        outbox.nudge();
        assert!(!alone() && !among_many());
        // Taken before the call came.
        outbox.take(usize::MAX, 9);
        assert!(among_many());
        outbox.take(usize::MAX, 9);
        assert!(alone() && !alone());
        outbox.take(usize::MAX, 9);
        // A push calls itself.
        assert!(among_many());
        outbox.lock().called = false;
        outbox.push(frame(1)).unwrap();
        let called = outbox.lock().called;
        assert!(called && !alone());
    }

    #[test]
    fn a_redelivery_comes_before_what_is_queued() {
        let outbox = Outbox::new(1000);
        outbox.push(frame(1)).unwrap();
        outbox.ask_redelivery();
        let taken = outbox.take(100, 9);
        assert_eq!((taken.redelivery, taken.batch.len()), (true, 0));
        assert_eq!(outbox.take(100, 9).batch.len(), 1);
    }

    #[test]
    fn what_is_taken_is_bounded_both_ways() {
        let outbox = Outbox::new(1000);
        for _ in 0..5 {
            outbox.push(frame(10)).unwrap();
        }
        assert_eq!(outbox.take(15, 9).batch.len(), 2);
        assert_eq!(outbox.take(100, 1).batch.len(), 1);
        assert_eq!(outbox.take_before_owed(1).len(), 1);
        assert_eq!(outbox.take(100, 9).batch.len(), 1);
    }

    #[test]
    fn a_stopping_servers_boxes_still_take_what_is_sent() {
        let outbox = Outbox::new(1000);
        outbox.end(End::Shutdown);
        assert!(outbox.push(frame(1)).is_ok());
        assert_eq!(outbox.waiting().len(), 1);
    }

    #[test]
    fn what_was_queued_comes_back_at_close() {
        let outbox = Outbox::new(1000);
        outbox.push(Outgoing { owed: Some(3), ..frame(1).into() }).unwrap();
        assert_eq!(outbox.close()[0].owed, Some(3));
        assert_eq!(outbox.push(frame(1)), Err(Refused));
    }
}
