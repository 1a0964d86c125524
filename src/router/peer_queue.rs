//! What waits for another server, or for a component: the queue of one pair of domains.
//!
//! Messages have rows (promise.md): they are in memory as long as there is room, and in any case in the store,
//! until the peer has acknowledged them. All else is in memory alone, bounded, and given up when the peer cannot
//! be reached. Order holds: while messages are in the store alone, later ones are, too. Of all else, what our accounts
//! say of their presence, and whom they ask for it, has more room ([`Later`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::later::{Commons, Later};
use super::outbox::{Outbox, Outgoing};
pub use super::peer_bounds::{GivenUp, Next, Pair, PeerBounds, PeerLoad};
use crate::stanza::{Frame, StanzaError};
use crate::store::StoreError;

/// The queue of one pair. One task takes from it.
#[derive(Debug)]
pub struct PeerQueue {
    /// Whose it is.
    pub pair: Pair,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
    bounds: PeerBounds,
    commons: Arc<Commons>,
    /// An operator wants something of the task.
    called: Notify,
}

/// Whether the peer takes stanzas.
#[derive(Debug, Clone)]
enum Reach {
    /// It is being looked for, or was not yet.
    Sought,
    /// A stream stands.
    Open,
    /// It could not be reached, and is tried again later: for this reason.
    Away(Box<StanzaError>),
}

#[derive(Debug)]
struct State {
    /// Messages after the first position, up to the second, are to be read from the store.
    stored: Option<(i64, i64)>,
    /// The memory was full: what is in memory goes before what is in the store alone.
    overflown: bool,
    /// The last message that was queued, and the last one that is in memory.
    last: i64,
    last_in_memory: i64,
    /// The last one that the peer has acknowledged, or that was given up.
    settled: i64,
    /// Rows and their bytes, oldest first: position, bytes, time in microseconds.
    rows: VecDeque<(i64, u32, i64)>,
    bytes: usize,
    reach: Reach,
    /// Presence that the box has no room for: after what is in it.
    later: Later,
    /// Somebody waits for what is queued: it is not presence alone.
    hurries: bool,
    /// When the peer's stream last took something, or began.
    taken: Option<Instant>,
    /// A task looks after it.
    served: bool,
    /// When the peer is tried again, in microseconds since 1970; 0: that is not known.
    next_try: i64,
    /// What waits is to be given up, for this reason; whoever wants that is told how much it was.
    giving_up: Option<(Box<StanzaError>, oneshot::Sender<usize>)>,
}

impl State {
    /// Nothing waits outside of the box.
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.later.is_empty()
    }
}

/// What a put led to.
pub(super) enum Queued {
    /// It waits, and the peer takes what waits.
    Easy,
    /// Its sender should wait for this box.
    Slow(Arc<Outbox>),
}

/// Why a message was not queued.
pub(super) enum NotQueued {
    /// There is no room for it: the sender gets this.
    Bounce(StanzaError),
    /// The store took no row.
    Store(StoreError),
}

impl PeerQueue {
    pub(super) fn new(pair: Pair, bounds: PeerBounds, commons: Arc<Commons>) -> Self {
        commons.count(true);
        let state = State {
            stored: None,
            overflown: false,
            last: 0,
            last_in_memory: 0,
            settled: 0,
            rows: VecDeque::new(),
            bytes: 0,
            reach: Reach::Sought,
            later: Later::new(commons.clone()),
            hurries: false,
            taken: None,
            served: false,
            next_try: 0,
            giving_up: None,
        };
        // The box itself never refuses: what does not fit is in the store alone.
        let outbox = Arc::new(Outbox::new(bounds.memory_bytes_max));
        Self { pair, outbox, state: Mutex::new(state), bounds, commons, called: Notify::new() }
    }

    /// What an earlier run of the server left: position, bytes and time of each message.
    pub(super) fn restore(&self, rows: impl IntoIterator<Item = (i64, u32, i64)>) {
        let mut state = self.lock();
        state.rows.extend(rows);
        state.bytes = state.rows.iter().map(|(_, bytes, _)| *bytes as usize).sum();
        let ends = state.rows.front().zip(state.rows.back());
        if let Some((first, last)) = ends.map(|(first, last)| (first.0, last.0)) {
            (state.stored, state.last, state.settled) = (Some((first - 1, last)), last, first - 1);
        }
    }

    /// Queues a message with its row: `submit` queues that, and gives its position and time.
    pub(super) fn put_message(
        &self,
        frame: Frame,
        submit: impl FnOnce() -> Result<(i64, i64), StoreError>,
    ) -> Result<Queued, NotQueued> {
        let bytes = frame.len();
        let mut state = self.lock();
        if state.rows.len() >= self.bounds.stanzas_max
            || state.bytes + bytes > self.bounds.bytes_max
        {
            return Err(NotQueued::Bounce(self.crowded()));
        }
        // Under the lock: positions rise in the order in which messages are sent.
        let (seq, at) = submit().map_err(NotQueued::Store)?;
        state.rows.push_back((seq, u32::try_from(bytes).unwrap_or(u32::MAX), at));
        state.bytes += bytes;
        (state.last, state.hurries) = (seq, true);
        let has_room = state.later.is_empty() && self.outbox.fits(bytes);
        match &mut state.stored {
            Some((_, to)) => *to = seq,
            None if has_room => {
                state.last_in_memory = seq;
                // It fits, and nobody closes the box.
                let _ = self.outbox.push(Outgoing { frame, owed: Some(seq), at });
            }
            None => {
                state.stored = Some((state.last_in_memory.max(state.settled), seq));
                state.overflown = true;
            }
        }
        if state.stored.is_some() {
            self.outbox.nudge();
        }
        Ok(self.level(&state))
    }

    /// Queues what has no row. The error is for whoever waits for an answer.
    pub(super) fn put(&self, frame: Frame, at: i64) -> Result<Queued, StanzaError> {
        let mut state = self.lock();
        if let Reach::Away(why) = &state.reach {
            return Err((**why).clone());
        }
        state.hurries = true;
        if state.overflown || !state.later.is_empty() || !self.outbox.fits(frame.len()) {
            return Err(self.crowded());
        }
        let _ = self.outbox.push(Outgoing { frame, owed: None, at });
        Ok(self.level(&state))
    }

    /// Queues presence, or a probe, that nobody waits for: it has no row, but more room.
    pub(super) fn put_presence(&self, frame: Frame) -> Result<(), StanzaError> {
        let mut state = self.lock();
        if let Reach::Away(why) = &state.reach {
            return Err((**why).clone());
        }
        if !state.overflown && state.later.is_empty() && self.outbox.fits(frame.len()) {
            let _ = self.outbox.push(frame);
            return Ok(());
        }
        let ever_fits = frame.len() <= self.bounds.memory_bytes_max / 2;
        match ever_fits && state.later.put(frame, self.bounds.presence_bytes_max) {
            true => Ok(()),
            false => Err(self.crowded()),
        }
    }

    /// What waits for room in the box goes into it.
    fn refill(&self, state: &mut State) {
        while let Some(frame) = state.later.next(self.outbox.free()) {
            let _ = self.outbox.push(frame);
        }
    }

    /// Whoever puts much into the box is slowed to the pace of a peer that takes it. Nobody waits while it takes
    /// nothing: messages are in the store then, and have a bound there.
    fn level(&self, state: &State) -> Queued {
        let crowded = state.overflown || self.outbox.over_half();
        let takes = |at: Instant| at.elapsed() < HUNG;
        let slow = matches!(state.reach, Reach::Open) && crowded && state.taken.is_some_and(takes);
        if slow { Queued::Slow(self.outbox.clone()) } else { Queued::Easy }
    }

    fn reach(&self, state: &mut State, reach: Reach) {
        let was_open = matches!(state.reach, Reach::Open);
        let is_open = matches!(reach, Reach::Open);
        if was_open != is_open {
            self.commons.count(was_open);
        }
        state.reach = reach;
    }

    fn crowded(&self) -> StanzaError {
        let remote = &self.pair.remote;
        StanzaError::resource_constraint().text(format!("too much waits to be sent to {remote}"))
    }

    /// Takes it into care, if nobody does: the caller is, or begins, the task that does.
    pub fn claim(&self) -> bool {
        !std::mem::replace(&mut self.lock().served, true)
    }

    /// How much waits.
    pub fn load(&self) -> PeerLoad {
        let state = self.lock();
        PeerLoad {
            messages: state.rows.len(),
            bytes: state.bytes,
            oldest: state.rows.front().map_or(0, |row| row.2),
            open: matches!(state.reach, Reach::Open),
            next_try: state.next_try,
        }
    }

    /// An operator wants the peer to be tried now.
    pub fn wake(&self) {
        self.called.notify_one();
    }

    /// An operator wants what waits to be given up: senders get `why`. Tells how many messages it were, and
    /// nothing if there is no task that could do it.
    pub fn give_up(&self, why: StanzaError) -> oneshot::Receiver<usize> {
        let (sender, done) = oneshot::channel();
        self.lock().giving_up = Some((Box::new(why), sender));
        self.called.notify_one();
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerQueue {
    fn drop(&mut self) {
        if !self.is_open() {
            self.commons.count(false);
        }
    }
}

/// A peer that takes nothing for so long is not waited for.
const HUNG: Duration = Duration::from_secs(2);

impl PeerQueue {
    /// The commit of a message failed: its sender was told.
    pub(super) fn failed(&self, seq: i64) {
        let mut state = self.lock();
        if let Some(at) = state.rows.iter().position(|row| row.0 == seq)
            && let Some((_, bytes, _)) = state.rows.remove(at)
        {
            state.bytes = state.bytes.saturating_sub(bytes as usize);
        }
    }
}

/// For the task that looks after the queue.
impl PeerQueue {
    /// Waits until there may be something to take.
    pub async fn ready(&self) {
        self.outbox.ready().await;
    }

    /// The way to the task for what is no stanza: the server stops.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// What is to be sent next: at most so many bytes and stanzas; of the store, at least one.
    pub fn next(&self, bytes: usize, stanzas: usize) -> Next {
        let mut state = self.lock();
        match state.stored {
            Some((from, to)) if !state.overflown => {
                state.taken = Some(Instant::now());
                let first = state.rows.partition_point(|row| row.0 <= from);
                let mut sum = 0;
                let some = state.rows.iter().skip(first).take(stanzas.max(1)).take_while(|row| {
                    let begins = sum == 0;
                    sum += row.1 as usize;
                    begins || sum <= bytes
                });
                Next::Stored(from, some.last().map_or(to, |row| row.0.min(to)))
            }
            _ => {
                let taken = self.outbox.take(bytes, stanzas);
                if !taken.batch.is_empty() {
                    state.taken = Some(Instant::now());
                }
                self.refill(&mut state);
                if state.overflown && self.outbox.bytes() == 0 {
                    state.overflown = false;
                    // What is in the store alone is next.
                    self.outbox.nudge();
                }
                Next::Batch(taken)
            }
        }
    }

    /// Messages of the store up to this position were sent, or are gone.
    pub fn read_to(&self, seq: i64) {
        let mut state = self.lock();
        state.stored = state.stored.and_then(|(_, to)| (seq < to).then_some((seq, to)));
        state.last_in_memory = state.last_in_memory.max(seq);
        drop(state);
        self.outbox.nudge();
    }

    /// The peer has acknowledged all messages up to this one, or they were given up. Whether there are rows to
    /// delete.
    pub fn settle(&self, seq: i64) -> bool {
        let mut state = self.lock();
        if seq <= state.settled {
            return false;
        }
        state.settled = seq;
        while let Some((_, bytes, _)) = state.rows.pop_front_if(|row| row.0 <= seq) {
            state.bytes = state.bytes.saturating_sub(bytes as usize);
        }
        true
    }

    /// The last message that the peer has acknowledged, or that was given up.
    pub fn settled(&self) -> i64 {
        self.lock().settled
    }

    /// The span of the first message that waits.
    pub fn head(&self) -> Option<(i64, i64)> {
        let state = self.lock();
        state.rows.front().map(|row| (state.settled, row.0))
    }

    /// The last message that came before this time, in microseconds since 1970: it has waited too long.
    pub fn outdated(&self, before: i64) -> Option<(i64, i64)> {
        let state = self.lock();
        let last = state.rows.iter().take_while(|row| row.2 < before).last()?.0;
        Some((state.settled, last))
    }

    /// A stream stands.
    pub fn opened(&self) {
        let mut state = self.lock();
        self.reach(&mut state, Reach::Open);
        state.taken = Some(Instant::now());
        drop(state);
        self.outbox.nudge();
    }

    /// The peer is looked for again: what comes now waits for the outcome.
    pub fn seek(&self) {
        let mut state = self.lock();
        self.reach(&mut state, Reach::Sought);
        state.next_try = 0;
    }

    /// The peer is tried again at this time, in microseconds since 1970.
    pub fn tries_at(&self, at: i64) {
        self.lock().next_try = at;
    }

    /// Waits until an operator wants something. Cancel-safe.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Whether all that waits is to be given up, why, and whom to tell how many messages it were.
    pub fn gives_up(&self) -> Option<(StanzaError, oneshot::Sender<usize>)> {
        self.lock().giving_up.take().map(|(why, done)| (*why, done))
    }

    /// Whether [`PeerQueue::gives_up`] has something to tell.
    pub fn is_to_give_up(&self) -> bool {
        self.lock().giving_up.is_some()
    }

    /// The stream is gone, or none came about. Messages are in the store alone from now on; what has no row is
    /// given back. With `why`, all of it that comes until [`PeerQueue::seek`] is refused with that.
    pub fn lost(&self, why: Option<StanzaError>) -> GivenUp {
        let mut state = self.lock();
        let items = self.outbox.take(usize::MAX, usize::MAX).batch;
        state.overflown = false;
        state.stored = (state.last > state.settled).then_some((state.settled, state.last));
        state.later.clear();
        self.reach(&mut state, why.map_or(Reach::Sought, |why| Reach::Away(Box::new(why))));
        let rowless = items.into_iter().filter(|item| item.owed.is_none());
        GivenUp { stanzas: rowless.map(|item| item.frame).collect() }
    }

    /// Whether somebody waits for what is queued: it is not presence alone.
    pub fn hurries(&self) -> bool {
        let state = self.lock();
        state.hurries || !state.rows.is_empty()
    }

    /// Whether the peer could not be reached, and is tried again later.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.lock().reach, Reach::Away(_))
    }

    /// Whether a stream stands.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.lock().reach, Reach::Open)
    }

    /// Whether nothing waits and no task looks after it.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        !state.served && state.is_empty() && self.outbox.bytes() == 0
    }

    /// The peer is looked for too long for those who wait for an answer: what has no row is given back, and what comes
    /// is refused with that. Messages wait on.
    pub fn refuse(&self, why: StanzaError) -> GivenUp {
        let mut state = self.lock();
        let items = self.outbox.take(usize::MAX, usize::MAX).batch;
        let (owed, rowless): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item.owed.is_some());
        for item in owed {
            // They fitted before.
            let _ = self.outbox.push(item);
        }
        state.later.clear();
        self.reach(&mut state, Reach::Away(Box::new(why)));
        GivenUp { stanzas: rowless.into_iter().map(|item| item.frame).collect() }
    }

    /// Another stream stands than the one on which something was sent: messages that were not acknowledged are
    /// sent anew, from the store; what has no row waits behind them.
    pub fn send_anew(&self) {
        let mut state = self.lock();
        let items = self.outbox.take(usize::MAX, usize::MAX).batch;
        state.overflown = false;
        state.stored = (state.last > state.settled).then_some((state.settled, state.last));
        for item in items.into_iter().filter(|item| item.owed.is_none()) {
            // They fitted before.
            let _ = self.outbox.push(item);
        }
        drop(state);
        self.outbox.nudge();
    }

    /// Ends the task's care, if nothing waits. False if something does.
    pub fn release(&self) -> bool {
        let mut state = self.lock();
        let idle = state.is_empty() && self.outbox.bytes() == 0;
        if idle {
            state.served = false;
            self.reach(&mut state, Reach::Sought);
            (state.next_try, state.hurries) = (0, false);
            // There is nothing left that could be given up.
            state.giving_up = None;
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn queue(commons: &Arc<Commons>) -> PeerQueue {
        let pair = Pair { local: "a".into(), remote: "b".into() };
        let bounds = PeerBounds {
            memory_bytes_max: 20_000,
            presence_bytes_max: 20_000,
            ..PeerBounds::default()
        };
        PeerQueue::new(pair, bounds, commons.clone())
    }

    fn frame(name: &str, n: usize) -> Frame {
        Frame::whole(Bytes::from(format!("<{name} id='{n:0>900}'/>")))
    }

    fn taken(queue: &PeerQueue) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Next::Batch(taken) = queue.next(2_000, 3)
            && !taken.batch.is_empty()
        {
            all.extend(taken.batch.into_iter().map(|item| item.frame.to_vec().into()));
        }
        all
    }

    /// After a restart: what does not fit into the box goes out behind it, in order, and nothing overtakes it.
    #[test]
    fn presence_waits_for_room() {
        let commons = Arc::default();
        let queue = queue(&commons);
        let took =
            (0..99).take_while(|n| queue.put_presence(frame("presence", *n)).is_ok()).count();
        assert!((30..40).contains(&took), "{took}");
        assert!(queue.put(frame("iq", 0), 0).is_err(), "it would overtake");
        queue.opened();
        let came = taken(&queue);
        let sent: Vec<Bytes> = (0..took).map(|n| frame("presence", n).to_vec().into()).collect();
        assert_eq!(came, sent);
        assert!(queue.put(frame("iq", 0), 0).is_ok());
        assert_eq!(taken(&queue).len(), 1);
        // Nothing of it is left when the peer cannot be reached.
        (0..20).for_each(|n| drop(queue.put_presence(frame("presence", n))));
        queue.lost(None);
        assert!(queue.release());
    }

    #[test]
    fn writers_wait_for_a_peer_that_takes_and_not_for_one_that_hangs() {
        let commons = Arc::default();
        let queue = queue(&commons);
        let slow = |queue: &PeerQueue| matches!(queue.put(frame("iq", 0), 0), Ok(Queued::Slow(_)));
        assert!((0..11).all(|_| !slow(&queue)), "nobody takes yet");
        queue.opened();
        assert!(slow(&queue));
        queue.lock().taken = Instant::now().checked_sub(HUNG);
        assert!(!slow(&queue));
        let Next::Batch(_) = queue.next(1, 1) else { panic!() };
        assert!(slow(&queue));
    }

    #[test]
    fn queues_without_a_stream_are_counted() {
        let commons = Arc::default();
        let (one, other) = (queue(&commons), queue(&commons));
        assert_eq!(commons.unopened(), 2);
        one.opened();
        one.opened();
        assert_eq!(commons.unopened(), 1);
        one.seek();
        other.opened();
        assert_eq!(commons.unopened(), 1);
        drop((one, other));
        assert_eq!(commons.unopened(), 0);
    }
}
