//! Rows that idle are begun: for an account, for all, and by the sweeper in time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::Router;
use super::cached::Shard;
use super::idle::{Idle, Untaken};
use super::registry::Registry;
use crate::store::Store;

impl Registry {
    /// Queues all idle rows for writing.
    pub fn begin_idle(&self, store: &Store) -> Untaken {
        self.each_idle(|idle| idle.begin(store))
    }

    /// Queues those idle rows that were there at the last sweep. Whether some are left.
    pub(super) fn sweep(&self, store: &Store) -> (Untaken, bool) {
        (self.each_idle(|idle| idle.sweep(store)), self.has_idle())
    }

    /// Some account may have idle rows.
    pub(super) fn has_idle(&self) -> bool {
        self.locked().any(|shard| !shard.idling.is_empty())
    }

    fn each_idle(&self, mut begin: impl FnMut(&mut Idle) -> Untaken) -> Untaken {
        let mut untaken = Untaken::default();
        for mut shard in self.locked() {
            let Shard { users, idling, .. } = &mut *shard;
            idling.retain(|bare| {
                let Some(user) = users.get_mut(bare.as_str()) else { return false };
                untaken.append(begin(&mut user.idle));
                !user.idle.close_if_empty()
            });
        }
        untaken
    }
}

/// Writes rows that nobody confirmed in time, for ever.
pub async fn sweep(router: &Router) {
    let broom = &router.registry.broom;
    loop {
        broom.wanted.notified().await;
        loop {
            sleep(PERIOD).await;
            let (untaken, left) = router.registry.sweep(&router.store);
            untaken.settle();
            if left {
                continue;
            }
            broom.sweeping.store(false, Ordering::Release);
            // One that came between the look and the word found the sweeper at work.
            if !router.registry.has_idle() || broom.sweeping.swap(true, Ordering::AcqRel) {
                break;
            }
        }
    }
}

impl Router {
    /// Somebody waits for the account's rows: those that idle are queued for writing. False when some
    /// could not be, as the store has too much to do.
    pub fn begin_idle_of(&self, bare: &str) -> bool {
        let begun = self.registry.with(bare, |user| {
            let untaken = user.idle.begin(&self.store);
            (untaken, user.idle.is_empty())
        });
        begun.is_none_or(|(untaken, all)| {
            untaken.settle();
            all
        })
    }

    /// The same for those of all accounts.
    pub fn begin_idle(&self) {
        self.registry.begin_idle(&self.store).settle();
    }

    /// The same, and waits until the store has taken all of them: before it is closed.
    pub async fn write_idle(&self) {
        loop {
            self.begin_idle();
            if !self.registry.has_idle() || self.store.barrier().await.is_err() {
                return;
            }
        }
    }
}

/// promise.md 1: a row is written after one to two of these.
const PERIOD: Duration = Duration::from_millis(500);
