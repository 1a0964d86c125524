//! The archives with rows that readers do not find yet, and when those rows are indexed.

use super::archive;
use super::ids::ArchiveId;
use super::job::Job;
use super::tx::{StoreError, Tx};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How often this process has indexed rows; see [`Store::is_behind`](super::Store::is_behind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placings(u64);

/// The rows above `archive_placed`, which is one row for all archives. This process knows which archives they
/// belong to, because it alone writes them. Rows that an earlier run left are indexed at the start.
#[derive(Default)]
pub(super) struct Unindexed(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    archives: HashSet<ArchiveId>,
    /// An earlier run that did not end cleanly left rows, and their archives are unknown.
    unknown: bool,
    rows: usize,
    /// Whether a job that indexes them is queued.
    pub(super) indexing: bool,
    /// How often all rows were indexed.
    times: Placings,
}

impl Unindexed {
    pub(super) fn unknown(&self) {
        self.lock().unknown = true;
    }

    pub(super) fn has(&self, archive: ArchiveId) -> bool {
        let state = self.lock();
        state.unknown || state.archives.contains(&archive)
    }

    pub(super) fn times(&self) -> Placings {
        self.lock().times
    }

    /// Adds rows. True when it is time to index them.
    pub(super) fn add(&self, archives: impl Iterator<Item = ArchiveId>) -> bool {
        let mut state = self.lock();
        for archive in archives {
            state.archives.insert(archive);
            state.rows += 1;
        }
        let due = state.rows >= ROWS && !state.indexing;
        state.indexing |= due;
        due
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job that indexes them.
pub(super) struct IndexNew {
    pub(super) unindexed: Arc<Unindexed>,
    pub(super) told: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Job for IndexNew {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        archive::index_new(tx)
    }

    /// Jobs are settled in their order: rows noted by now are indexed; rows of later jobs in this batch are
    /// noted afterwards.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let mut state = self.unindexed.lock();
        match outcome {
            Ok(()) => *state = State { times: Placings(state.times.0 + 1), ..State::default() },
            Err(_) => state.indexing = false,
        }
        drop(state);
        if let Some(told) = self.told {
            let _ = told.send(outcome);
        }
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// Rows that are indexed at once. More of them share more pages of an index; but the writes behind them wait
/// longer, and a login of one of their accounts reads more.
const ROWS: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::archive::{Direction, Entry, Filter, RowKind};
    use super::super::testing;
    use super::*;

    struct Add(Store, ArchiveId, Vec<i64>);

    fn add(tx: &mut dyn Tx, archive: ArchiveId, seqs: &[i64]) -> Result<(), StoreError> {
        seqs.iter().try_for_each(|seq| {
            let (kind, stanza) = (RowKind::Owed, b"<message/>".as_slice());
            let entry =
                Entry { seq: *seq, at: *seq, archive, peer: "a@x", resource: "", kind, stanza };
            archive::append_behind(tx, &entry, None)
        })
    }

    impl Job for Add {
        fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
            add(tx, self.1, &self.2)
        }

        fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
            outcome.unwrap();
            self.0.archived(self.2.iter().map(|_| self.1), 10);
        }
    }

    async fn found(store: &Store, archive: ArchiveId) -> usize {
        let all = move |tx: &mut dyn Tx| {
            archive::page(tx, archive, &Filter::ALL, Direction::Forward, 9_999, usize::MAX)
        };
        store.read(all).await.unwrap().rows.len()
    }

    async fn submit(store: &Store, archive: ArchiveId, rows: usize) {
        let seqs = (0..rows).map(|_| store.next_seq()).collect();
        store.submit(Box::new(Add(store.clone(), archive, seqs))).unwrap();
    }

    #[tokio::test]
    async fn rows_are_found_when_asked_for_or_when_they_are_many() {
        let (_folder, store) = testing::store();
        let make = |tx: &mut dyn Tx| Ok((testing::archive(tx, "a"), testing::archive(tx, "b")));
        let (one, other) = store.write(make).await.unwrap();
        let index_runs = store.index_runs();
        submit(&store, one, 3).await;
        store.barrier().await.unwrap();
        assert!(store.is_behind(one, index_runs) && !store.is_behind(other, index_runs));
        store.archive_indexed(other).await.unwrap();
        assert_eq!(found(&store, one).await, 0, "nobody asked for it");
        store.archive_indexed(one).await.unwrap();
        assert_eq!(found(&store, one).await, 3);
        assert!(store.is_behind(one, index_runs), "what began before the indexing does not see it");
        assert!(!store.is_behind(one, store.index_runs()));
        submit(&store, other, ROWS).await;
        for _ in 0..2 {
            store.barrier().await.unwrap();
        }
        assert!(!store.is_behind(other, store.index_runs()));
        assert_eq!(found(&store, other).await, ROWS);
    }

    #[tokio::test]
    async fn rows_that_a_crash_left_behind_are_found_after_the_start() {
        let (folder, store) = testing::store();
        let make = |tx: &mut dyn Tx| Ok(testing::archive(tx, "a"));
        let archive = store.write(make).await.unwrap();
        let seq = store.next_seq();
        store.write(move |tx| add(tx, archive, &[seq])).await.unwrap();
        assert_eq!(found(&store, archive).await, 0);
        store.close().await;
        let store = Store::open(testing::options(folder.path())).unwrap();
        assert_eq!(found(&store, archive).await, 1);
    }
}
