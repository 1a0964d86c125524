//! Deferred rows, which may turn out to be needless (promise.md 1): of messages that were delivered to
//! the recipient and go into no archive. They are written when a caller waits for them or after a
//! moment, and never if they are confirmed before that.
//!
//! They wait in their account's entry, under the lock that delivery holds anyway, so a row that is owed
//! is always either here or in the store's queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::store::{Job, Store, StoreError};

/// The deferred rows of one account, oldest first. An empty queue costs one word.
#[derive(Default)]
pub struct Deferred(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// In the order of their positions; `None` where a row was cancelled.
    rows: VecDeque<(i64, Option<DeferredWrite>)>,
    /// The last position at the time of the last flush.
    seen: i64,
    /// Whether the registry lists the account as one with deferred rows.
    listed: bool,
}

/// A write that can be deferred.
pub(super) trait Deferrable: Job {
    /// Queues it; gives it back if the store does not accept it.
    fn flush(self: Box<Self>, store: &Store) -> Result<(), (Box<dyn Deferrable>, StoreError)>;
}

/// A deferred row and the room it takes up.
pub(super) struct DeferredWrite {
    pub row: Box<dyn Deferrable>,
    pub room: Room,
}

/// Rows that the store refused, each with the error. To be settled when no lock is held.
#[derive(Default)]
#[must_use]
pub struct RefusedWrites(Vec<(Box<dyn Deferrable>, StoreError)>);

impl Deferred {
    /// Adds a row. Returns false when the queue is full; then call [`Deferred::flush`].
    pub(super) fn push(&mut self, seq: i64, row: DeferredWrite) -> bool {
        let waiting = self.0.get_or_insert_default();
        waiting.rows.push_back((seq, Some(row)));
        waiting.rows.len() < ROWS_MAX
    }

    /// Cancels a row, which then need not be written.
    pub(super) fn cancel(&mut self, seq: i64) -> Option<DeferredWrite> {
        let waiting = self.0.as_mut()?;
        let at = waiting.rows.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        let row = waiting.rows.get_mut(at)?.1.take()?;
        while waiting.rows.front().is_some_and(|(_, row)| row.is_none()) {
            waiting.rows.pop_front();
        }
        Some(row)
    }

    /// Queues all rows for writing.
    pub(super) fn flush(&mut self, store: &Store) -> RefusedWrites {
        self.flush_to(i64::MAX, store)
    }

    /// Queues the rows that were there at the last flush.
    pub(super) fn flush_seen(&mut self, store: &Store) -> RefusedWrites {
        let Some(waiting) = &mut self.0 else { return RefusedWrites::default() };
        let last = waiting.rows.back().map_or(0, |(seq, _)| *seq);
        let seen = std::mem::replace(&mut waiting.seen, last);
        self.flush_to(seen, store)
    }

    fn flush_to(&mut self, last: i64, store: &Store) -> RefusedWrites {
        let mut refused_writes = Vec::new();
        let Some(waiting) = &mut self.0 else { return RefusedWrites(refused_writes) };
        while let Some((seq, row)) = waiting.rows.pop_front_if(|(seq, _)| *seq <= last) {
            let Some(DeferredWrite { row, room }) = row else { continue };
            match row.flush(store) {
                Ok(()) => {}
                // A slow disk is no reason to fail a delivered message: the next flush tries again.
                Err((row, StoreError::QueueFull)) => {
                    waiting.rows.push_front((seq, Some(DeferredWrite { row, room })));
                    break;
                }
                Err((row, error)) => refused_writes.push((row, error)),
            }
        }
        RefusedWrites(refused_writes)
    }

    /// Whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|waiting| waiting.rows.is_empty())
    }

    /// True once, when there are rows and the registry does not list the account yet.
    pub(super) fn is_news(&mut self) -> bool {
        self.0.as_mut().is_some_and(|waiting| !std::mem::replace(&mut waiting.listed, true))
    }

    /// Whether no rows are left. If so, forgets that the registry lists the account.
    pub(super) fn close_if_empty(&mut self) -> bool {
        let empty = self.is_empty();
        if empty {
            self.0 = None;
        }
        empty
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seqs = self.0.iter().flat_map(|waiting| &waiting.rows).map(|(seq, _)| seq);
        f.debug_list().entries(seqs).finish()
    }
}

impl RefusedWrites {
    /// Reports the failures to the jobs' owners. Not to be called under a lock.
    pub fn settle(self) {
        for (row, error) in self.0 {
            row.settled(Err(error));
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Wakes the flusher's task when the first row arrives, so that no timer runs while there are none.
#[derive(Debug, Default)]
pub struct Flusher {
    pub(super) flushing: AtomicBool,
    pub(super) wanted: Notify,
    bytes: Arc<AtomicUsize>,
}

/// A reservation for the bytes of one deferred row; dropping it frees them.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Flusher {
    /// Reserves room for one more deferred row, unless the whole server is at its limit.
    pub(super) fn room(&self, bytes: usize) -> Option<Room> {
        let bytes = bytes + ROW_COST;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { all: self.bytes.clone(), bytes };
        (before + bytes <= BYTES_MAX).then_some(room)
    }

    /// Wakes the flusher for a new row. Called under the lock under which the row was added.
    pub(super) fn want(&self) {
        if !self.flushing.load(Ordering::Relaxed) && !self.flushing.swap(true, Ordering::AcqRel) {
            self.wanted.notify_one();
        }
    }
}

/// Maximum number of deferred rows of one account; beyond it they are written at once.
const ROWS_MAX: usize = 1_024;
/// Maximum of the whole server; rows beyond it are written at once.
const BYTES_MAX: usize = 33_554_432;
/// Overhead of a row in addition to its stanza.
const ROW_COST: usize = 512;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Router;
    use super::super::append::{Append, Place, Received};
    use super::*;
    use crate::base::limits::Limits;
    use crate::jid::BareJid;
    use crate::stanza::Stanza;
    use crate::store::accounts::{self, Creation};
    use crate::store::ids::AccountId;
    use crate::store::{mailbox, testing};

    struct World {
        _folder: tempfile::TempDir,
        router: Arc<Router>,
        account: AccountId,
    }

    async fn world() -> World {
        world_with(100).await
    }

    async fn world_with(queue_max: usize) -> World {
        let (folder, store) = testing::store_with(|options| options.queue_max = queue_max);
        let made = store.write(|tx| accounts::create(tx, "b", "x", &[], 0)).await.unwrap();
        let Creation::Created(account) = made else { panic!("{made:?}") };
        let router = Router::new(["x".to_owned()], store, Arc::new(Limits::default()));
        World { _folder: folder, router: Arc::new(router), account }
    }

    impl World {
        fn row(&self, seq: i64) -> DeferredWrite {
            let xml = "<message from='a@x/1' to='b@x'><body>x</body></message>";
            let row = Box::new(Append {
                router: self.router.clone(),
                stanza: Stanza::ours(xml.into()).unwrap(),
                at: 0,
                sent: None,
                received: Some(Received {
                    account: self.account,
                    seq,
                    place: Place::Mailbox,
                    row_writes: Vec::new(),
                }),
                ticket: None,
                sender: None,
                outbound: None,
                patient: false,
            });
            DeferredWrite { row, room: self.router.registry.flusher.room(100).unwrap() }
        }

        async fn stored(&self) -> Vec<i64> {
            let (store, account) = (&self.router.store, self.account);
            store.barrier().await.unwrap();
            let rows = store.read(move |tx| mailbox::owed(tx, account, false)).await.unwrap();
            let mut seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
            seqs.sort_unstable();
            seqs
        }
    }

    #[tokio::test]
    async fn a_row_is_written_by_the_second_flush_unless_it_is_taken_back() {
        let world = world().await;
        let store = &world.router.store;
        let mut deferred = Deferred::default();
        for seq in 1..=3 {
            assert!(deferred.push(seq, world.row(seq)));
        }
        assert!(deferred.is_news() && !deferred.is_news());
        assert!(deferred.cancel(2).is_some());
        assert!(deferred.cancel(2).is_none() && deferred.cancel(9).is_none());
        deferred.flush_seen(store).settle();
        deferred.push(4, world.row(4));
        assert_eq!((world.stored().await, deferred.is_empty()), (vec![], false));
        deferred.flush_seen(store).settle();
        assert_eq!((world.stored().await, deferred.close_if_empty()), (vec![1, 3], false));
        deferred.flush(store).settle();
        assert_eq!((world.stored().await, deferred.close_if_empty()), (vec![1, 3, 4], true));
        assert!(!deferred.is_news(), "nothing is there");
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let world = world().await;
        let mut deferred = Deferred::default();
        let taken =
            (1..=2 * ROWS_MAX as i64).take_while(|seq| deferred.push(*seq, world.row(*seq)));
        assert_eq!(taken.count() + 1, ROWS_MAX);
    }

    #[tokio::test]
    async fn there_is_a_bound_for_all_accounts() {
        let flusher = Flusher::default();
        let most = flusher.room(BYTES_MAX - 2 * ROW_COST).unwrap();
        let last = flusher.room(0);
        assert!(last.is_some() && flusher.room(0).is_none());
        drop(most);
        assert!(flusher.room(1).is_some());
    }

    #[tokio::test]
    async fn what_a_full_queue_does_not_take_waits_on() {
        let (_folder, store) = testing::store_with(|options| options.queue_max = 2);
        let world = world().await;
        let mut deferred = Deferred::default();
        for seq in 1..=5 {
            deferred.push(seq, world.row(seq));
        }
        let held = testing::hold(&store);
        let refused_writes = deferred.flush(&store);
        assert!(refused_writes.0.is_empty() && !deferred.is_empty());
        drop(held);
        while !deferred.is_empty() {
            store.barrier().await.unwrap();
            deferred.flush(&store).settle();
        }
    }

    #[tokio::test]
    async fn before_a_close_all_are_written_however_full_the_queue() {
        let world = world_with(2).await;
        world.router.load(&BareJid::parse("b@x").unwrap()).await.unwrap();
        let push =
            |seq| world.router.registry.with("b@x", |b| b.deferred.push(seq, world.row(seq)));
        for seq in 1..=50 {
            push(seq).unwrap();
        }
        world.router.write_deferred().await;
        assert_eq!(world.stored().await.len(), 50);
    }

    #[tokio::test]
    async fn what_a_closed_store_does_not_take_comes_back() {
        let world = world().await;
        let mut deferred = Deferred::default();
        deferred.push(1, world.row(1));
        world.router.store.close().await;
        let refused_writes = deferred.flush(&world.router.store);
        assert_eq!(refused_writes.0.len(), 1);
        refused_writes.settle();
    }
}
