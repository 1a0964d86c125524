//! Archive rows that were just written: which archives they belong to, whether they are indexed, and which
//! archives grew a lot.

use std::sync::Arc;
use tokio::sync::oneshot;

use super::growth::Grown;
use super::handle::Store;
use super::ids::ArchiveId;
use super::tx::StoreError;
use super::unindexed::{IndexNew, Placings};

impl Store {
    /// Notifies the store that rows added to these archives by `archive::append_behind`, of `bytes` bytes
    /// each, are durable. Must be called before the job's `Job::settled` returns.
    pub fn archived(&self, archives: impl Iterator<Item = ArchiveId> + Clone, bytes: usize) {
        self.inner.growth.add(archives.clone(), bytes);
        if self.inner.unindexed.add(archives) {
            self.submit_indexing(None);
        }
    }

    /// Returns the id (XEP-0359) of the message at a position of an archive.
    pub fn id_of_position(&self, archive: ArchiveId, position: i64) -> String {
        self.inner.ids.seal(archive.key(), position)
    }

    /// Returns the position that an id stands for, if this server made it for this archive.
    pub fn position_of_id(&self, archive: ArchiveId, id: &str) -> Option<i64> {
        self.inner.ids.open(archive.key(), id)
    }

    /// How often new rows were indexed; for [`Store::is_behind`].
    pub fn index_runs(&self) -> Placings {
        self.inner.unindexed.times()
    }

    /// Whether a transaction that began after `index_runs` were counted may contain rows of the archive that
    /// its searches do not find. It does not see what was indexed since.
    pub fn is_behind(&self, archive: ArchiveId, index_runs: Placings) -> bool {
        self.inner.unindexed.has(archive) || self.inner.unindexed.times() != index_runs
    }

    /// Waits until a search of the archive finds every row that was queued before (promise.md 7).
    pub async fn archive_indexed(&self, archive: ArchiveId) -> Result<(), StoreError> {
        self.barrier().await?;
        if !self.inner.unindexed.has(archive) {
            return Ok(());
        }
        self.archives_indexed().await
    }

    /// Like [`Store::archive_indexed`], but for all archives.
    pub async fn archives_indexed(&self) -> Result<(), StoreError> {
        let (told, indexed) = oneshot::channel();
        self.submit_indexing(Some(told));
        indexed.await.unwrap_or(Err(StoreError::Closed))
    }

    fn submit_indexing(&self, told: Option<oneshot::Sender<Result<(), StoreError>>>) {
        let unindexed = Arc::clone(&self.inner.unindexed);
        if let Err(error) = self.submit(Box::new(IndexNew { unindexed, told })) {
            // A later row tries again; a waiting caller sees the dropped channel.
            tracing::debug!(%error, "new rows of the archive are not indexed yet");
            self.inner.unindexed.lock().indexing = false;
        }
    }

    /// Waits until an archive has grown a lot and was not yet taken with [`Store::take_grown`].
    pub async fn grown(&self) {
        self.inner.growth.told.notified().await;
    }

    /// Takes the archives of accounts that have grown a lot since the last call.
    pub fn take_grown(&self) -> Grown {
        self.inner.growth.accounts.take()
    }

    /// Takes the archives of rooms that have.
    pub fn take_grown_rooms(&self) -> Grown {
        self.inner.growth.rooms.take()
    }
}
