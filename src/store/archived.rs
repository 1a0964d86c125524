//! What the store knows of rows of archives that were just written: whose they are, whether they are
//! found, and whose archives grew much.

use std::sync::Arc;
use tokio::sync::oneshot;

use super::growth::Grown;
use super::handle::Store;
use super::ids::ArchiveId;
use super::tail::{Placing, Placings};
use super::tx::StoreError;

impl Store {
    /// Rows of these archives, of so many bytes each, were added by `archive::append_behind`, and are
    /// durable. To be called before their job is done with `Job::settled`.
    pub fn archived(&self, archives: impl Iterator<Item = ArchiveId> + Clone, bytes: usize) {
        self.inner.growth.add(archives.clone(), bytes);
        if self.inner.tail.add(archives) {
            self.place(None);
        }
    }

    /// The id (XEP-0359) of the message at a place of an archive.
    pub fn id_of_place(&self, archive: ArchiveId, place: i64) -> String {
        self.inner.ids.seal(archive.key(), place)
    }

    /// The place that an id stands for, if this server made it for this archive.
    pub fn place_of_id(&self, archive: ArchiveId, id: &str) -> Option<i64> {
        self.inner.ids.open(archive.key(), id)
    }

    /// How often new rows were placed: for [`Store::is_behind`].
    pub fn placings(&self) -> Placings {
        self.inner.tail.times()
    }

    /// May a transaction that began after `placings` were counted see rows of the archive that its
    /// searches do not find? What was placed since, it does not see as placed.
    pub fn is_behind(&self, archive: ArchiveId, placings: Placings) -> bool {
        self.inner.tail.has(archive) || self.inner.tail.times() != placings
    }

    /// Waits until a search of the archive finds all that was queued before (promise.md 7).
    pub async fn placed(&self, archive: ArchiveId) -> Result<(), StoreError> {
        self.barrier().await?;
        if !self.inner.tail.has(archive) {
            return Ok(());
        }
        self.placed_all().await
    }

    /// The same for all archives.
    pub async fn placed_all(&self) -> Result<(), StoreError> {
        let (told, placed) = oneshot::channel();
        self.place(Some(told));
        placed.await.unwrap_or(Err(StoreError::Closed))
    }

    fn place(&self, told: Option<oneshot::Sender<Result<(), StoreError>>>) {
        let tail = Arc::clone(&self.inner.tail);
        if let Err(error) = self.submit(Box::new(Placing { tail, told })) {
            // A later row tries again; who waits is told by the dropped channel.
            tracing::debug!(%error, "new rows of the archive are not indexed yet");
            self.inner.tail.lock().placing = false;
        }
    }

    /// Waits until an archive has grown much, and nobody took it with [`Store::take_grown`] yet.
    pub async fn grown(&self) {
        self.inner.growth.told.notified().await;
    }

    /// Whose archives have grown much since this was asked last.
    pub fn take_grown(&self) -> Grown {
        std::mem::take(&mut self.inner.growth.lock().grown)
    }
}
