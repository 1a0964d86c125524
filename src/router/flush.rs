//! Queues deferred rows for writing: those of one account, of all accounts and queues for other servers, and
//! periodically by a task.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::Router;
use super::cached::Shard;
use super::deferred::{Deferred, RefusedWrites};
use super::registry::Registry;
use crate::store::Store;

impl Registry {
    /// Queues all deferred rows for writing.
    pub fn flush_deferred(&self, store: &Store) -> RefusedWrites {
        self.each_deferred(|deferred| deferred.flush(store))
    }

    /// Queues the deferred rows that were there at the last flush. Returns whether some are left.
    pub(super) fn flush_seen(&self, store: &Store) -> (RefusedWrites, bool) {
        (self.each_deferred(|deferred| deferred.flush_seen(store)), self.has_deferred())
    }

    /// Whether some account may have deferred rows.
    pub(super) fn has_deferred(&self) -> bool {
        self.locked().any(|shard| !shard.deferring.is_empty())
    }

    fn each_deferred(
        &self,
        mut flush: impl FnMut(&mut Deferred) -> RefusedWrites,
    ) -> RefusedWrites {
        let mut refused_writes = RefusedWrites::default();
        for mut shard in self.locked() {
            let Shard { entries, deferring, .. } = &mut *shard;
            deferring.retain(|bare| {
                let Some(entry) = entries.get_mut(bare.as_str()) else { return false };
                refused_writes.append(flush(&mut entry.deferred));
                !entry.deferred.close_if_empty()
            });
        }
        refused_writes
    }
}

/// Writes rows that no session confirmed in time. Never returns.
pub async fn flush_periodically(router: &Router) {
    let flusher = &router.registry.flusher;
    loop {
        flusher.wanted.notified().await;
        loop {
            sleep(PERIOD).await;
            let (refused_writes, left) = router.registry.flush_seen(&router.store);
            refused_writes.settle();
            router.peers.flush_seen(&router.store).settle();
            if left || router.peers.has_deferred() {
                continue;
            }
            flusher.flushing.store(false, Ordering::Release);
            // A row added after the check and before the reset found the flag set and woke no task.
            if !router.has_deferred() || flusher.flushing.swap(true, Ordering::AcqRel) {
                break;
            }
        }
    }
}

impl Router {
    /// Queues the account's deferred rows for writing, because a caller waits for them. Returns false
    /// when some could not be queued because the store's queue is full.
    pub fn flush_deferred_of(&self, bare: &str) -> bool {
        let begun = self.registry.with(bare, |entry| {
            let refused_writes = entry.deferred.flush(&self.store);
            (refused_writes, entry.deferred.is_empty())
        });
        begun.is_none_or(|(refused_writes, all)| {
            refused_writes.settle();
            all
        })
    }

    /// Queues the deferred rows of all accounts and for all other servers: a caller waits for what is queued.
    pub fn flush_deferred(&self) {
        self.registry.flush_deferred(&self.store).settle();
        self.peers.flush_deferred(&self.store).settle();
        self.store.hurry();
    }

    fn has_deferred(&self) -> bool {
        self.registry.has_deferred() || self.peers.has_deferred()
    }

    /// Like [`Router::flush_deferred`], but waits until the store has taken all of them. For use before
    /// the store is closed.
    pub async fn write_deferred(&self) {
        loop {
            self.flush_deferred();
            if !self.has_deferred() || self.store.barrier().await.is_err() {
                return;
            }
        }
    }
}

/// promise.md 1: a row is written after one to two periods.
const PERIOD: Duration = Duration::from_millis(500);
