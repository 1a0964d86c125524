//! Rows that may turn out to be needless (promise.md 1): of messages that are with their addressee and
//! go into no archive. They are written when somebody waits for them or after a moment, and never if
//! they are confirmed before.
//!
//! They wait in their account's entry, under the lock that delivery holds anyway: a row that is owed
//! is always either here or in the store's queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::store::{Job, Store, StoreError};

/// One account's, oldest first. Costs a word while there are none.
#[derive(Default)]
pub struct Idle(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// By places, which rise; none where it was taken back.
    rows: VecDeque<(i64, Option<Idler>)>,
    /// The last place that the last sweep saw.
    seen: i64,
    /// The registry knows that the account has some.
    listed: bool,
}

/// A write that may idle.
pub(super) trait Idling: Job {
    /// Queues it; one that the store does not take comes back.
    fn begin(self: Box<Self>, store: &Store) -> Result<(), (Box<dyn Idling>, StoreError)>;
}

/// A row that idles, and the room that it takes up.
pub(super) struct Idler {
    pub row: Box<dyn Idling>,
    pub room: Room,
}

/// Rows that the store did not take, and why: to be settled when no lock is held.
#[derive(Default)]
#[must_use]
pub struct Untaken(Vec<(Box<dyn Idling>, StoreError)>);

impl Idle {
    /// Adds a row. False when there are as many as there may be: [`Idle::begin`] them.
    pub(super) fn push(&mut self, place: i64, row: Idler) -> bool {
        let waiting = self.0.get_or_insert_default();
        waiting.rows.push_back((place, Some(row)));
        waiting.rows.len() < ROWS_MAX
    }

    /// Takes a row back: it need not be written.
    pub(super) fn cancel(&mut self, place: i64) -> Option<Idler> {
        let waiting = self.0.as_mut()?;
        let at = waiting.rows.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        let row = waiting.rows.get_mut(at)?.1.take()?;
        while waiting.rows.front().is_some_and(|(_, row)| row.is_none()) {
            waiting.rows.pop_front();
        }
        Some(row)
    }

    /// Queues all of them for writing.
    pub(super) fn begin(&mut self, store: &Store) -> Untaken {
        self.begin_to(i64::MAX, store)
    }

    /// Queues those that were there the last time.
    pub(super) fn sweep(&mut self, store: &Store) -> Untaken {
        let Some(waiting) = &mut self.0 else { return Untaken::default() };
        let last = waiting.rows.back().map_or(0, |(place, _)| *place);
        let seen = std::mem::replace(&mut waiting.seen, last);
        self.begin_to(seen, store)
    }

    fn begin_to(&mut self, last: i64, store: &Store) -> Untaken {
        let mut untaken = Vec::new();
        let Some(waiting) = &mut self.0 else { return Untaken(untaken) };
        while let Some((place, row)) = waiting.rows.pop_front_if(|(place, _)| *place <= last) {
            let Some(Idler { row, room }) = row else { continue };
            match row.begin(store) {
                Ok(()) => {}
                // What is delivered is not taken back for a disk that is slow: the next sweep tries again.
                Err((row, StoreError::QueueFull)) => {
                    waiting.rows.push_front((place, Some(Idler { row, room })));
                    break;
                }
                Err((row, error)) => untaken.push((row, error)),
            }
        }
        Untaken(untaken)
    }

    /// None wait.
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|waiting| waiting.rows.is_empty())
    }

    /// True once, when there are some of which the registry does not know.
    pub(super) fn is_news(&mut self) -> bool {
        self.0.as_mut().is_some_and(|waiting| !std::mem::replace(&mut waiting.listed, true))
    }

    /// None are left, and the registry forgets about it.
    pub(super) fn close_if_empty(&mut self) -> bool {
        let empty = self.is_empty();
        if empty {
            self.0 = None;
        }
        empty
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.0.iter().flat_map(|waiting| &waiting.rows).map(|(place, _)| place);
        f.debug_list().entries(places).finish()
    }
}

impl Untaken {
    /// Tells their owners. Not to be called under a lock.
    pub fn settle(self) {
        for (row, error) in self.0 {
            row.settled(Err(error));
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Wakes the sweeper when the first row comes, so that nothing ticks while there are none.
#[derive(Debug, Default)]
pub struct Broom {
    pub(super) sweeping: AtomicBool,
    pub(super) wanted: Notify,
    bytes: Arc<AtomicUsize>,
}

/// Room for the bytes of one idle row, free again when this is dropped.
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

impl Broom {
    /// Room for one more idle row, if the whole server has some left.
    pub(super) fn room(&self, bytes: usize) -> Option<Room> {
        let bytes = bytes + ROW_COST;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { all: self.bytes.clone(), bytes };
        (before + bytes <= BYTES_MAX).then_some(room)
    }

    /// A row waits. Called with the lock held under which it came.
    pub(super) fn want(&self) {
        if !self.sweeping.load(Ordering::Relaxed) && !self.sweeping.swap(true, Ordering::AcqRel) {
            self.wanted.notify_one();
        }
    }
}

/// Of one account; beyond them they are written at once.
const ROWS_MAX: usize = 1_024;
/// Of the whole server; what comes beyond is written at once.
const BYTES_MAX: usize = 33_554_432;
/// What a row takes up beside its stanza.
const ROW_COST: usize = 512;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Router;
    use super::super::append::{Append, Received};
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
        fn row(&self, seq: i64) -> Idler {
            let xml = "<message from='a@x/1' to='b@x'><body>x</body></message>";
            let row = Box::new(Append {
                router: self.router.clone(),
                stanza: Stanza::ours(xml.into()).unwrap(),
                at: 0,
                sent: None,
                received: Some(Received {
                    account: self.account,
                    seq,
                    kind: None,
                    beside: Vec::new(),
                }),
                ticket: None,
                sender: None,
            });
            Idler { row, room: self.router.registry.broom.room(100).unwrap() }
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
    async fn a_row_is_written_by_the_second_sweep_unless_it_is_taken_back() {
        let world = world().await;
        let store = &world.router.store;
        let mut idle = Idle::default();
        for seq in 1..=3 {
            assert!(idle.push(seq, world.row(seq)));
        }
        assert!(idle.is_news() && !idle.is_news());
        assert!(idle.cancel(2).is_some());
        assert!(idle.cancel(2).is_none() && idle.cancel(9).is_none());
        idle.sweep(store).settle();
        idle.push(4, world.row(4));
        assert_eq!((world.stored().await, idle.is_empty()), (vec![], false));
        idle.sweep(store).settle();
        assert_eq!((world.stored().await, idle.close_if_empty()), (vec![1, 3], false));
        idle.begin(store).settle();
        assert_eq!((world.stored().await, idle.close_if_empty()), (vec![1, 3, 4], true));
        assert!(!idle.is_news(), "nothing is there");
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let world = world().await;
        let mut idle = Idle::default();
        let taken = (1..=2 * ROWS_MAX as i64).take_while(|seq| idle.push(*seq, world.row(*seq)));
        assert_eq!(taken.count() + 1, ROWS_MAX);
    }

    #[tokio::test]
    async fn there_is_a_bound_for_all_accounts() {
        let broom = Broom::default();
        let most = broom.room(BYTES_MAX - 2 * ROW_COST).unwrap();
        let last = broom.room(0);
        assert!(last.is_some() && broom.room(0).is_none());
        drop(most);
        assert!(broom.room(1).is_some());
    }

    #[tokio::test]
    async fn what_a_full_queue_does_not_take_waits_on() {
        let (_folder, store) = testing::store_with(|options| options.queue_max = 2);
        let world = world().await;
        let mut idle = Idle::default();
        for seq in 1..=5 {
            idle.push(seq, world.row(seq));
        }
        let held = testing::hold(&store);
        let untaken = idle.begin(&store);
        assert!(untaken.0.is_empty() && !idle.is_empty());
        drop(held);
        while !idle.is_empty() {
            store.barrier().await.unwrap();
            idle.begin(&store).settle();
        }
    }

    #[tokio::test]
    async fn before_a_close_all_are_written_however_full_the_queue() {
        let world = world_with(2).await;
        world.router.load(&BareJid::parse("b@x").unwrap()).await.unwrap();
        let push = |seq| world.router.registry.with("b@x", |b| b.idle.push(seq, world.row(seq)));
        for seq in 1..=50 {
            push(seq).unwrap();
        }
        world.router.write_idle().await;
        assert_eq!(world.stored().await.len(), 50);
    }

    #[tokio::test]
    async fn what_a_closed_store_does_not_take_comes_back() {
        let world = world().await;
        let mut idle = Idle::default();
        idle.push(1, world.row(1));
        world.router.store.close().await;
        let untaken = idle.begin(&world.router.store);
        assert_eq!(untaken.0.len(), 1);
        untaken.settle();
    }
}
