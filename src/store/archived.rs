//! What the store knows of rows of archives that were just written: whose they are, whether they are
//! found, and whose archives grew much.

use std::sync::Arc;
use tokio::sync::oneshot;

use super::growth::Grown;
use super::handle::Store;
use super::ids::AccountId;
use super::tail::Placing;
use super::tx::StoreError;

impl Store {
    /// Rows of these accounts, of so many bytes each, were added by `archive::append_behind`, and are
    /// durable. To be called before their job is done with `Job::settled`.
    pub fn archived(&self, accounts: impl Iterator<Item = AccountId> + Clone, bytes: usize) {
        self.inner.growth.add(accounts.clone(), bytes);
        if self.inner.tail.add(accounts) {
            self.place(None);
        }
    }

    /// How often new rows were placed: for [`Store::is_behind`].
    pub fn placings(&self) -> u64 {
        self.inner.tail.times()
    }

    /// May a transaction that began after `placings` were counted see rows of the account that its
    /// searches do not find? What was placed since, it does not see as placed.
    pub fn is_behind(&self, account: AccountId, placings: u64) -> bool {
        self.inner.tail.has(account) || self.inner.tail.times() != placings
    }

    /// Waits until a search of the account's archive finds all that was queued before (promise.md 7).
    pub async fn placed(&self, account: AccountId) -> Result<(), StoreError> {
        self.barrier().await?;
        if !self.inner.tail.has(account) {
            return Ok(());
        }
        self.placed_all().await
    }

    /// The same for all accounts.
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
