//! Deferred rows are queued for writing: of an account, of all, and by a task in time.

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

    /// Queues those deferred rows that were there at the last flush. Whether some are left.
    pub(super) fn flush_seen(&self, store: &Store) -> (RefusedWrites, bool) {
        (self.each_deferred(|deferred| deferred.flush_seen(store)), self.has_deferred())
    }

    /// Some account may have deferred rows.
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

/// Writes rows that nobody confirmed in time, for ever.
pub async fn flush_periodically(router: &Router) {
    let flusher = &router.registry.flusher;
    loop {
        flusher.wanted.notified().await;
        loop {
            sleep(PERIOD).await;
            let (refused_writes, left) = router.registry.flush_seen(&router.store);
            refused_writes.settle();
            if left {
                continue;
            }
            flusher.flushing.store(false, Ordering::Release);
            // One that came between the look and the word found the task at work.
            if !router.registry.has_deferred() || flusher.flushing.swap(true, Ordering::AcqRel) {
                break;
            }
        }
    }
}

impl Router {
    /// Somebody waits for the account's rows: those that are deferred are queued for writing. False when some
    /// could not be, as the store has too much to do.
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

    /// The same for those of all accounts.
    pub fn flush_deferred(&self) {
        self.registry.flush_deferred(&self.store).settle();
    }

    /// The same, and waits until the store has taken all of them: before it is closed.
    pub async fn write_deferred(&self) {
        loop {
            self.flush_deferred();
            if !self.registry.has_deferred() || self.store.barrier().await.is_err() {
                return;
            }
        }
    }
}

/// promise.md 1: a row is written after one to two of these.
const PERIOD: Duration = Duration::from_millis(500);
