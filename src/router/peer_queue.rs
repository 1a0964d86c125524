//! What waits for another server, or for a component: the queue of one pair of domains.
//!
//! Messages have rows (promise.md): they are in memory as long as there is room, and in any case in the store,
//! until the peer has acknowledged them; a row that nobody waits for is deferred, and never written if the peer is
//! faster. All else is in memory alone, bounded, and given up when the peer cannot be reached. Order holds: while
//! messages are in the store alone, later ones are, too; and what has no row is sent behind the messages that were
//! there before it, and before those that came later.

mod types;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::deferred::{Deferred, RefusedWrites};
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
    /// For each stanza without a row that is in memory, in their order: the last message that was queued before it.
    behind: VecDeque<i64>,
    /// The last message that was queued, and the last one that is in memory.
    last: i64,
    last_in_memory: i64,
    /// The last one that the peer has acknowledged, or that was given up.
    settled: i64,
    /// Rows and their bytes, oldest first: position, bytes, time in microseconds.
    rows: VecDeque<(i64, u32, i64)>,
    bytes: usize,
    /// Those of the rows that are not written yet.
    deferred: Deferred,
    reach: Reach,
    /// A task looks after it.
    served: bool,
    /// When the peer is tried again, in microseconds since 1970; 0: that is not known.
    next_try: i64,
    /// What waits is to be given up, for this reason; whoever wants that is told how much it was.
    giving_up: Option<(Box<StanzaError>, oneshot::Sender<usize>)>,
}

impl PeerQueue {
    pub(super) fn new(pair: Pair, bounds: PeerBounds) -> Self {
        let state = State {
            stored: None,
            overflown: false,
            behind: VecDeque::new(),
            last: 0,
            last_in_memory: 0,
            settled: 0,
            rows: VecDeque::new(),
            bytes: 0,
            deferred: Deferred::default(),
            reach: Reach::Sought,
            served: false,
            next_try: 0,
            giving_up: None,
        };
        // The box itself never refuses: what does not fit is in the store alone.
        let outbox = Arc::new(Outbox::new(bounds.memory_bytes_max));
        Self { pair, outbox, state: Mutex::new(state), bounds, called: Notify::new() }
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
        let goes = matches!(state.reach, Reach::Open) && state.stored.is_none() && few;
        let (seq, at) = submit(&mut state.deferred, goes).map_err(NotQueued::Store)?;
        state.rows.push_back((seq, u32::try_from(bytes).unwrap_or(u32::MAX), at));
        state.bytes += bytes;
        state.last = seq;
        match &mut state.stored {
            Some((_, to)) => *to = seq,
            None if self.outbox.fits(bytes) => {
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
        Ok((self.level(&state), news))
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
        if state.overflown || !self.outbox.fits(frame.len()) {
            return Err(self.crowded());
        }
        let _ = self.outbox.push(Outgoing { frame, owed: None, at });
        let last = state.last;
        state.behind.push_back(last);
        Ok(self.level(&state))
    }

    fn level(&self, state: &State) -> Queued {
        // While nobody takes, waiting is no use: the queue has a bound of its own.
        let slow =
            matches!(state.reach, Reach::Open) && (state.overflown || self.outbox.over_half());
        if slow { Queued::Slow(self.outbox.clone()) } else { Queued::Easy }
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

    /// What is to be sent next: at most so many bytes and stanzas; of the store, at least one.
    pub fn next(&self, bytes: usize, stanzas: usize) -> Next {
        let mut state = self.lock();
        match state.stored {
            Some((from, to)) if !state.overflown => {
                // In memory is what has no row, and nothing else.
                let due = state.behind.iter().take_while(|behind| **behind <= from).count();
                if due > 0 {
                    return Next::Batch(self.take(&mut state, bytes, stanzas.min(due)));
                }
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
                let taken = self.take(&mut state, bytes, stanzas);
                if state.overflown && self.outbox.bytes() == 0 {
                    state.overflown = false;
                    // What is in the store alone is next.
                    self.outbox.nudge();
                }
                Next::Batch(taken)
            }
        }
    }

    /// Takes from memory.
    fn take(&self, state: &mut State, bytes: usize, stanzas: usize) -> Taken {
        let taken = self.outbox.take(bytes, stanzas);
        let rowless = taken.batch.iter().filter(|item| item.owed.is_none()).count();
        state.behind.drain(..rowless.min(state.behind.len()));
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

    /// A stream stands.
    pub fn opened(&self) {
        self.lock().reach = Reach::Open;
        self.outbox.nudge();
    }

    /// The peer is looked for again: what comes now waits for the outcome.
    pub fn seek(&self) {
        let mut state = self.lock();
        (state.reach, state.next_try) = (Reach::Sought, 0);
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
        let items = self.take(&mut state, usize::MAX, usize::MAX).batch;
        state.overflown = false;
        state.stored = (state.last > state.settled).then_some((state.settled, state.last));
        state.reach = why.map_or(Reach::Sought, |why| Reach::Away(Box::new(why)));
        let rowless = items.into_iter().filter(|item| item.owed.is_none());
        GivenUp { stanzas: rowless.map(|item| item.frame).collect() }
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
        !state.served && state.rows.is_empty() && self.outbox.bytes() == 0
    }

    /// The peer is looked for too long for those who wait for an answer: what has no row is given back, and what comes
    /// is refused with that. Messages wait on.
    pub fn refuse(&self, why: StanzaError) -> GivenUp {
        let mut state = self.lock();
        let items = self.take(&mut state, usize::MAX, usize::MAX).batch;
        let (owed, rowless): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item.owed.is_some());
        for item in owed {
            // They fitted before.
            let _ = self.outbox.push(item);
        }
        state.reach = Reach::Away(Box::new(why));
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
        drop(state);
        self.outbox.nudge();
    }

    /// Ends the task's care, if nothing waits. False if something does.
    pub fn release(&self) -> bool {
        let mut state = self.lock();
        let idle = state.rows.is_empty() && self.outbox.bytes() == 0;
        if idle {
            state.served = false;
            (state.reach, state.next_try) = (Reach::Sought, 0);
            // There is nothing left that could be given up.
            state.giving_up = None;
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::deferred::{Deferrable, DeferredWrite, Flusher};
    use super::*;
    use crate::store::tx::Tx;
    use crate::store::{Job, peer_queue, testing};

    fn queue(memory_bytes_max: usize) -> PeerQueue {
        let pair = Pair { local: "a.example".into(), remote: "b.example".into() };
        PeerQueue::new(pair, PeerBounds { memory_bytes_max, ..PeerBounds::default() })
    }

    /// What comes out: messages by their positions, all else by what it says.
    fn taken(queue: &PeerQueue, stanzas: usize) -> Vec<String> {
        match queue.next(usize::MAX, stanzas) {
            Next::Batch(taken) => {
                let told = |item: Outgoing| match item.owed {
                    Some(seq) => seq.to_string(),
                    None => String::from_utf8(item.frame.to_vec()).unwrap(),
                };
                taken.batch.into_iter().map(told).collect()
            }
            Next::Stored(from, to) => {
                queue.read_to(to);
                (from + 1..=to).map(|seq| seq.to_string()).collect()
            }
        }
    }

    fn all(queue: &PeerQueue) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match taken(queue, 3) {
                some if some.is_empty() && queue.outbox.bytes() == 0 => return all,
                some => all.extend(some),
            }
        }
    }

    fn message(queue: &PeerQueue, seq: i64) {
        let frame = Frame::whole(format!("<message>{seq}</message>").into());
        assert!(queue.put_message(frame, |_, _| Ok((seq, 1))).is_ok());
    }

    fn presence(queue: &PeerQueue, id: &str) -> bool {
        queue.put(Frame::whole(id.to_owned().into()), 0).is_ok()
    }

    /// RFC 6120 §10.1: while messages are read from the store, presence keeps its place among them.
    #[test]
    fn what_has_no_row_keeps_its_place() {
        let queue = queue(10_000);
        (1..=2).for_each(|seq| message(&queue, seq));
        presence(&queue, "a");
        message(&queue, 3);
        // Another stream: none of it was acknowledged.
        queue.send_anew();
        presence(&queue, "b");
        presence(&queue, "c");
        message(&queue, 4);
        assert_eq!(all(&queue), ["1", "2", "a", "3", "b", "c", "4"]);
        message(&queue, 5);
        presence(&queue, "d");
        assert_eq!(all(&queue), ["5", "d"]);
    }

    proptest! {
        /// Whatever happens to streams, what comes out first is in the order in which it came.
        #[test]
        fn the_order_is_kept(
            memory in prop_oneof![Just(1_000_usize), Just(100_000)],
            steps in prop::collection::vec(0_u8..8, 1..60),
        ) {
            let queue = queue(memory);
            let (mut last, mut came, mut sent) = (0, Vec::new(), Vec::<String>::new());
            for (at, step) in steps.into_iter().enumerate() {
                let name = format!("p{at}");
                match step {
                    0..=2 => {
                        last += 1;
                        message(&queue, last);
                        came.push(last.to_string());
                    }
                    3 | 4 if presence(&queue, &name) => came.push(name),
                    5 => queue.send_anew(),
                    6 => { queue.settle(sent.iter().filter_map(|it| it.parse().ok()).max().unwrap_or(0)); }
                    7 => sent.extend(taken(&queue, 2)),
                    _ => {}
                }
            }
            sent.extend(all(&queue));
            let mut first: Vec<String> = Vec::new();
            for one in sent {
                if !first.contains(&one) {
                    first.push(one);
                }
            }
            prop_assert_eq!(first, came);
        }
    }

    struct Row(i64);

    impl Job for Row {
        fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
            peer_queue::append(tx, ("a", "b"), (self.0, 1), b"x")
        }
        fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    impl Deferrable for Row {
        fn flush(self: Box<Self>, store: &Store) -> Result<(), (Box<dyn Deferrable>, StoreError)> {
            store.submit_or_return(self).map_err(|(row, error)| (row as Box<dyn Deferrable>, error))
        }
    }

    struct World {
        _folder: tempfile::TempDir,
        store: Store,
        queue: PeerQueue,
        flusher: Flusher,
    }

    impl World {
        fn new() -> Self {
            let (folder, store) = testing::store();
            let pair = Pair { local: "a".into(), remote: "b".into() };
            let queue = PeerQueue::new(pair, PeerBounds::default());
            Self { _folder: folder, store, queue, flusher: Flusher::default() }
        }

        /// Defers the row if the queue says so. Whether it did, and whether that is news.
        fn put(&self, seq: i64) -> (bool, bool) {
            let mut deferred_it = false;
            let put =
                self.queue.put_message(Frame::whole("<message/>".into()), |deferred, goes| {
                    deferred_it = goes;
                    let row = Box::new(Row(seq));
                    match goes {
                        true => {
                            let room = self.flusher.room(1).unwrap();
                            assert!(deferred.push(seq, DeferredWrite { row, room }));
                        }
                        false => self.store.submit(row).unwrap(),
                    }
                    Ok((seq, 1))
                });
            (deferred_it, matches!(put, Ok((_, true))))
        }

        async fn stored(&self) -> Vec<i64> {
            self.store.barrier().await.unwrap();
            let page = |tx: &mut dyn Tx| peer_queue::page(tx, ("a", "b"), (0, 99), 99);
            self.store.read(page).await.unwrap().iter().map(|row| row.seq).collect()
        }
    }

    #[tokio::test]
    async fn what_the_peer_acknowledges_soon_is_never_written() {
        let world = World::new();
        let queue = &world.queue;
        assert_eq!(world.put(1), (false, false), "no stream stands");
        queue.opened();
        assert_eq!((world.put(2), world.put(3)), ((true, true), (true, false)));
        assert_eq!((world.put(4), world.put(5)), ((true, false), (true, false)));
        assert_eq!(world.stored().await, [1]);
        assert!(queue.settle(2), "one of them has a row");
        assert!(!queue.settle(4) && !queue.settle(4));
        // What waits is to be read: by the next stream, or to be given up.
        queue.written(&world.store).await.unwrap();
        assert_eq!(world.stored().await, [1, 5]);
        assert!(queue.settle(5));
        assert_eq!(queue.load().messages, 0);
    }

    #[tokio::test]
    async fn what_waits_in_the_store_alone_is_written_at_once() {
        let world = World::new();
        world.queue.opened();
        assert_eq!(world.put(1), (true, true));
        world.queue.seek();
        assert_eq!(world.put(2), (false, false), "the stream is gone");
        world.queue.send_anew();
        world.queue.opened();
        assert_eq!(world.put(3), (false, false), "behind what is read from the store");
    }
}
