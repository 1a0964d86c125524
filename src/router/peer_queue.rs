//! What waits for another server, or for a component: the queue of one pair of domains.
//!
//! Messages have rows (promise.md): they are in memory as long as there is room, and in any case in the store,
//! until the peer has acknowledged them; a row that nobody waits for is deferred, and never written if the peer is
//! faster. All else is in memory alone, bounded, and given up when the peer cannot be reached. Order holds: while
//! messages are in the store alone, later ones are, too; and what has no row is sent behind the messages that were
//! there before it, and before those that came later. Of all else, what our accounts say of their presence, and whom
//! they ask for it, has more room (`later.rs`).

mod state;
#[cfg(test)]
mod tests;
mod types;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use self::state::{Reach, State};
use super::deferred::{Deferred, RefusedWrites};
use super::later::Commons;
use super::outbox::{Outbox, Outgoing, Taken};
pub use types::{GivenUp, Next, Pair, PeerBounds, PeerLoad};
pub(super) use types::{NotQueued, Queued};

use crate::stanza::{Frame, StanzaError};
use crate::store::{Store, StoreError};

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

impl PeerQueue {
    pub(super) fn new(pair: Pair, bounds: PeerBounds, commons: Arc<Commons>) -> Self {
        commons.count(true);
        let state = State::new(commons.clone());
        // The box itself never refuses: what does not fit is in the store alone.
        let outbox = Arc::new(Outbox::new(bounds.memory_bytes_max));
        let state = Mutex::new(state);
        Self { pair, outbox, state, bounds, commons, called: Notify::new() }
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

    /// Queues a message with its row: `submit` queues or defers that, and gives its position and time; it is told
    /// whether the message goes to the peer at once, and little else waits. The flag: there are deferred rows, for the first time.
    pub(super) fn put_message(
        &self,
        frame: Frame,
        submit: impl FnOnce(&mut Deferred, bool) -> Result<(i64, i64), StoreError>,
    ) -> Result<(Queued, bool), NotQueued> {
        let bytes = frame.len();
        let mut state = self.lock();
        if state.rows.len() >= self.bounds.stanzas_max
            || state.bytes + bytes > self.bounds.bytes_max
        {
            return Err(NotQueued::Bounce(self.crowded()));
        }
        // Under the lock: positions rise in the order in which messages are sent.
        // A deferred row is in memory, as what waits there is.
        let few = state.bytes + bytes <= self.bounds.memory_bytes_max && self.outbox.fits(bytes);
        let goes = state.is_open() && state.stored.is_none() && few && state.later.is_empty();
        let (seq, at) = submit(&mut state.deferred, goes).map_err(NotQueued::Store)?;
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
        let news = state.deferred.is_news();
        Ok((self.level(&state, at), news))
    }

    /// Flushes the deferred rows. Whether some are left.
    pub(super) fn flush(
        &self,
        flush: impl Fn(&mut Deferred) -> RefusedWrites,
    ) -> (RefusedWrites, bool) {
        let mut state = self.lock();
        (flush(&mut state.deferred), !state.deferred.close_if_empty())
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
        state.comes_behind();
        Ok(self.level(&state, at))
    }

    /// Queues presence, or a probe, that nobody waits for: it has no row, but more room.
    pub(super) fn put_presence(&self, frame: Frame) -> Result<(), StanzaError> {
        let mut state = self.lock();
        if let Reach::Away(why) = &state.reach {
            return Err((**why).clone());
        }
        if !state.overflown && state.later.is_empty() && self.outbox.fits(frame.len()) {
            let _ = self.outbox.push(frame);
            state.comes_behind();
            return Ok(());
        }
        let ever_fits = frame.len() <= self.bounds.memory_bytes_max / 2;
        if !ever_fits || !state.later.put(frame, self.bounds.presence_bytes_max) {
            return Err(self.crowded());
        }
        state.comes_behind();
        Ok(())
    }

    /// What waits for room in the box goes into it: not before the messages that are in the store alone and came before.
    fn refill(&self, state: &mut State) {
        while let Some(frame) = state.next_later(self.outbox.free()) {
            let _ = self.outbox.push(frame);
        }
    }

    /// Whoever puts much into the box is slowed to the pace of a peer that takes it. Nobody waits while it takes
    /// nothing: messages are in the store then, and have a bound there.
    fn level(&self, state: &State, at: i64) -> Queued {
        let crowded = state.overflown || self.outbox.over_half();
        let takes = at.saturating_sub(state.taken) < HUNG;
        let slow = state.is_open() && crowded && takes;
        if slow { Queued::Slow(self.outbox.clone()) } else { Queued::Easy }
    }

    fn reach(&self, state: &mut State, reach: Reach) {
        let was_open = state.is_open();
        state.reach = reach;
        if was_open != state.is_open() {
            self.commons.count(was_open);
        }
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
            open: state.is_open(),
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

/// A peer that takes nothing for so long, in microseconds, is not waited for.
const HUNG: i64 = 2_000_000;

impl PeerQueue {
    /// Waits until all rows are in the store, so that they can be read there.
    pub async fn written(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let (refused_writes, all) = {
                let mut state = self.lock();
                (state.deferred.flush(store), state.deferred.is_empty())
            };
            refused_writes.settle();
            store.barrier().await?;
            if all {
                return Ok(());
            }
        }
    }

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

    /// What is to be sent next, at this time in microseconds since 1970: at most so many bytes and stanzas; of the
    /// store, at least one.
    pub fn next(&self, bytes: usize, stanzas: usize, at: i64) -> Next {
        let mut state = self.lock();
        match state.stored {
            Some((from, to)) if !state.overflown => {
                // In memory is what has no row, and nothing else.
                let due = state.behind.iter().take_while(|behind| **behind <= from).count();
                if due > 0 {
                    return Next::Batch(self.take(&mut state, (bytes, stanzas.min(due)), at));
                }
                state.taken = at;
                let to = state.behind.front().map_or(to, |behind| to.min(*behind));
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
                let taken = self.take(&mut state, (bytes, stanzas), at);
                if state.overflown && self.outbox.bytes() == 0 {
                    state.overflown = false;
                    self.refill(&mut state);
                    // What is in the store alone is next.
                    self.outbox.nudge();
                }
                Next::Batch(taken)
            }
        }
    }

    /// Takes from memory.
    fn take(&self, state: &mut State, (bytes, stanzas): (usize, usize), at: i64) -> Taken {
        let taken = self.outbox.take(bytes, stanzas);
        let rowless = taken.batch.iter().filter(|item| item.owed.is_none()).count();
        state.behind.drain(..rowless.min(state.behind.len()));
        if !taken.batch.is_empty() {
            state.taken = at;
        }
        self.refill(state);
        taken
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
        let (mut needless, mut written) = (Vec::new(), state.rows.is_empty());
        while let Some((row, bytes, _)) = state.rows.pop_front_if(|row| row.0 <= seq) {
            state.bytes = state.bytes.saturating_sub(bytes as usize);
            match state.deferred.cancel(row) {
                Some(write) => needless.push(write),
                None => written = true,
            }
        }
        // Dropped without the lock, because this wakes the tasks that wait for the tickets.
        drop(state);
        drop(needless);
        written
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

    /// A stream stands, since this time in microseconds since 1970.
    pub fn opened(&self, at: i64) {
        let mut state = self.lock();
        self.reach(&mut state, Reach::Open);
        state.taken = at;
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
        state.forget_rowless();
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
        self.lock().is_open()
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
        state.forget_rowless();
        self.reach(&mut state, Reach::Away(Box::new(why)));
        GivenUp { stanzas: rowless.into_iter().map(|item| item.frame).collect() }
    }

    /// Another stream stands than the one on which something was sent: messages that were not acknowledged are
    /// sent anew, from the store; what has no row waits behind those that came before it.
    pub fn send_anew(&self) {
        let mut state = self.lock();
        let items = self.outbox.take(usize::MAX, usize::MAX).batch;
        state.overflown = false;
        state.stored = (state.last > state.settled).then_some((state.settled, state.last));
        for item in items.into_iter().filter(|item| item.owed.is_none()) {
            // They fitted before.
            let _ = self.outbox.push(item);
        }
        self.refill(&mut state);
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
