//! XEP-0431: Full Text Search in MAM. This module does the background work; the field of the query and
//! its answer are the archive's (`mam/search.rs`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api::{Answer, Cause, Module, On, PeriodicJob, Spec};
use crate::store::ids::ArchiveId;
use crate::store::tx::Tx;
use crate::store::{Store, StoreError, search};

/// The module.
pub const MODULE: Module = Module {
    name: "search",
    serves: Some(|config, archive| config.search.enabled && config.mam.archives(archive)),
    specs: &[Spec::whole("XEP-0431", "0.2.0", "features/search.rs")],
    features: &[On::Account(NS)],
    every: Some((Duration::from_secs(3_600), run)),
    ..Module::EMPTY
};

/// The name of its feature.
const NS: &str = "urn:xmpp:fulltext:0";

/// `[modules.search]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether accounts can search their archives.
    pub enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The archives that are being indexed now because a search could not wait for all of it. Only a few at
/// a time; others continue with their next search, or within the hour.
#[derive(Debug, Clone)]
pub struct IndexQueue {
    indexed: Arc<Mutex<HashSet<ArchiveId>>>,
    turns: Arc<Semaphore>,
}

impl Default for IndexQueue {
    fn default() -> Self {
        Self { indexed: Arc::default(), turns: Arc::new(Semaphore::new(SEARCHES_AT_ONCE)) }
    }
}

impl IndexQueue {
    /// Waits for the caller's turn to search: one search at a time in the whole server, in the order of
    /// the requests, so that a reader stays free for everything else. The turn lasts until the permit
    /// is dropped.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.turns.clone().acquire_owned().await.ok()
    }

    /// Brings the index of an account up to date, for at most `PATIENCE`. Returns false if there is
    /// more.
    pub async fn searchable(&self, store: &Store, archive: ArchiveId) -> Result<bool, StoreError> {
        let mut left = PATIENCE;
        while let Some(took) = store.index_some(archive).await? {
            if took >= left {
                return Ok(false);
            }
            left -= took;
        }
        Ok(true)
    }

    /// Indexes the rest of an account's archive, unless another task is doing that.
    pub async fn index(&self, store: Store, archive: ArchiveId) {
        let Some(_taken) = self.take(archive) else { return };
        note(index_rest(&store, archive).await);
    }

    fn take(&self, archive: ArchiveId) -> Option<Taken> {
        let mut all = self.lock();
        let free = all.len() < AT_ONCE && all.insert(archive);
        free.then(|| Taken(self.clone(), archive))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ArchiveId>> {
        self.indexed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Taken(IndexQueue, ArchiveId);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// Keeps the index of accounts that search up to date with their archives; deletes it where search is
/// disabled.
fn run(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        if job.cause == Cause::Due {
            note(follow(&job).await);
        }
    })
}

async fn follow(job: &PeriodicJob) -> Result<(), StoreError> {
    let mut after = ArchiveId::BEFORE_ALL;
    loop {
        let next = job.store.read(move |tx: &mut dyn Tx| search::searcher_after(tx, after));
        let Some(archive) = next.await? else { return Ok(()) };
        if !(job.config.search.enabled && job.config.mam.enabled) {
            tracing::info!("archives are not searched any more; their index is deleted");
            return job.store.write(search::drop_all).await;
        }
        match index_rest(&job.store, archive).await {
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            // An error of one archive does not stop the others.
            indexed => note(indexed),
        }
        after = archive;
    }
}

async fn index_rest(store: &Store, archive: ArchiveId) -> Result<(), StoreError> {
    while let Some(took) = store.index_some(archive).await? {
        // Leaves time for other reads and writes between two slices.
        tokio::time::sleep(took).await;
    }
    Ok(())
}

fn note(indexed: Result<(), StoreError>) {
    match indexed {
        Ok(()) | Err(StoreError::Closed) => {}
        Err(error) => tracing::warn!(%error, "archives could not be indexed; tried again later"),
    }
}

/// Maximum of archives that are indexed at once because of searches.
const AT_ONCE: usize = 2;
/// Maximum of searches at once.
const SEARCHES_AT_ONCE: usize = 1;
/// How long a search waits for its index.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::testing::Server;
    use super::*;
    use crate::modules;
    use crate::store::archive::RowKind;
    use crate::store::ids::AccountId;
    use crate::store::search::Progress;
    use std::task::{Context, Waker};

    async fn put(server: &Server, archive: ArchiveId, seqs: std::ops::Range<i64>) {
        let account = archive.account().unwrap();
        server.put(account, seqs, RowKind::Sent, b"<message><body>word</body></message>").await;
    }

    async fn progress(server: &Server, archive: ArchiveId) -> Progress {
        server.store().read(move |tx| search::progress(tx, archive)).await.unwrap()
    }

    fn job(server: &Server, cause: Cause, enabled: bool) -> PeriodicJob {
        let config = modules::Config { search: Config { enabled }, ..modules::Config::default() };
        PeriodicJob { config: Arc::new(config), ..server.job(cause) }
    }

    #[tokio::test]
    async fn archives_of_those_who_search_are_followed_until_nobody_may() {
        let server = Server::new(modules::Config::default());
        let searches = ArchiveId::of(server.account("searches", &[]).await);
        let does_not = ArchiveId::of(server.account("does-not", &[]).await);
        put(&server, searches, 1..1_001).await;
        put(&server, does_not, 2_000..2_010).await;
        assert_eq!(server.store().searchable(searches, 1).await, Ok(false));
        run(job(&server, Cause::AccountDeleted, true)).await;
        assert_eq!(progress(&server, searches).await, Progress::New);
        run(job(&server, Cause::Due, true)).await;
        assert_eq!(progress(&server, searches).await, Progress::All);
        assert_eq!(progress(&server, does_not).await, Progress::Behind);
        run(job(&server, Cause::Due, false)).await;
        assert_eq!(progress(&server, searches).await, Progress::Behind);
        assert_eq!(server.store().searchable(searches, 9).await, Ok(true));
    }

    #[tokio::test]
    async fn an_archive_that_cannot_be_indexed_is_passed_over() {
        let server = Server::new(modules::Config::default());
        let account = server.account("damaged", &[]).await;
        let damaged = ArchiveId::of(account);
        let behind = ArchiveId::of(server.account("behind", &[]).await);
        for (archive, seqs) in [(damaged, 1..1_001), (behind, 2_000..3_000)] {
            put(&server, archive, seqs).await;
            assert_eq!(server.store().searchable(archive, 1).await, Ok(false));
        }
        let fails = format!(
            "CREATE TRIGGER fails BEFORE UPDATE ON archive_indexed WHEN new.archive = {}
             BEGIN SELECT RAISE(ABORT, 'damaged'); END",
            account.0
        );
        server.store().write(move |tx| tx.execute(&fails, &[])).await.unwrap();
        run(job(&server, Cause::Due, true)).await;
        assert_eq!(progress(&server, damaged).await, Progress::New);
        assert_eq!(progress(&server, behind).await, Progress::All);
    }

    #[tokio::test]
    async fn searches_take_turns() {
        let index_queue = IndexQueue::default();
        let first = index_queue.turn().await.unwrap();
        let mut second = Box::pin(index_queue.turn());
        let mut context = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn an_archive_is_indexed_behind_once_at_a_time_and_few_at_once() {
        let server = Server::new(modules::Config::default());
        let archive = ArchiveId::of(server.account("romeo", &[]).await);
        put(&server, archive, 1..1_001).await;
        let index_queue = IndexQueue::default();
        let held = index_queue.take(archive).unwrap();
        index_queue.index(server.store().clone(), archive).await;
        assert_eq!(progress(&server, archive).await, Progress::Behind);
        let others: Vec<_> =
            (100..).map_while(|id| index_queue.take(ArchiveId::of(AccountId(id)))).collect();
        assert_eq!(others.len(), AT_ONCE - 1);
        drop(held);
        index_queue.index(server.store().clone(), archive).await;
        assert_eq!(progress(&server, archive).await, Progress::All);
        drop(others);
        assert!(index_queue.lock().is_empty());
    }
}
