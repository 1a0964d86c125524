//! Archives that grew much since they were last looked at. The growth is counted in memory, so that the
//! writer adds two numbers per message and writes no row. A restart loses the counts; the caller then looks
//! at all archives.

use super::archive::ROW_BYTES;
use super::ids::ArchiveId;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub(super) struct Growth {
    /// The growth that is reported; 0 means never.
    step: u64,
    state: Mutex<State>,
    pub(super) told: Notify,
}

#[derive(Default)]
pub(super) struct State {
    counted: HashMap<ArchiveId, u64>,
    pub(super) grown: Grown,
}

/// The archives that grew by [`Options::grown_bytes`](super::Options::grown_bytes) or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grown {
    /// Their keys.
    pub archives: HashSet<ArchiveId>,
    /// Any archive may have grown: there were more of them than are counted at one time.
    pub any: bool,
}

impl Growth {
    pub(super) fn new(step: u64) -> Self {
        Self { step, state: Mutex::default(), told: Notify::new() }
    }

    pub(super) fn add(&self, archives: impl Iterator<Item = ArchiveId>, bytes: usize) {
        if self.step == 0 {
            return;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(ROW_BYTES);
        let mut state = self.lock();
        let mut tells = false;
        for archive in archives {
            tells |= state.add(archive, bytes, self.step);
        }
        drop(state);
        if tells {
            self.told.notify_one();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts the bytes. True if there is something to report.
    fn add(&mut self, archive: ArchiveId, bytes: u64, step: u64) -> bool {
        if self.counted.len() >= ACCOUNTS && !self.counted.contains_key(&archive) {
            self.counted.clear();
            self.grown = Grown { any: true, ..Grown::default() };
            return true;
        }
        let counted = self.counted.entry(archive).or_default();
        *counted = counted.saturating_add(bytes);
        let much = *counted >= step;
        if much {
            self.counted.remove(&archive);
            self.grown.archives.insert(archive);
        }
        much
    }
}

/// Archives that are counted at one time: a few megabytes.
const ACCOUNTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::super::ids::AccountId;
    use super::*;

    fn id(account: i64) -> ArchiveId {
        ArchiveId::of(AccountId(account))
    }

    #[tokio::test]
    async fn who_grows_much_is_told_once() {
        let growth = Growth::new(1_000);
        let take = || std::mem::take(&mut growth.lock().grown);
        let (one, other) = (id(1), id(2));
        growth.add([one, other].into_iter(), 300);
        growth.add([other].into_iter(), 299);
        assert_eq!(take(), Grown::default());
        growth.add([one].into_iter(), 300);
        growth.told.notified().await;
        assert_eq!(take(), Grown { archives: [one].into(), any: false });
        assert_eq!(take(), Grown::default(), "the count begins again");
        growth.add([one].into_iter(), 300);
        growth.add([other].into_iter(), 0);
        assert_eq!(take(), Grown { archives: [other].into(), any: false });
    }

    #[tokio::test]
    async fn more_than_can_be_counted_may_all_have_grown() {
        let growth = Growth::new(u64::MAX);
        let archives = (0..=ACCOUNTS).map(|n| id(i64::try_from(n).unwrap()));
        growth.add(archives, 1);
        growth.told.notified().await;
        assert!(growth.lock().counted.len() < ACCOUNTS);
        assert!(growth.lock().grown.any);
    }

    #[test]
    fn who_counts_nothing_keeps_nothing() {
        let growth = Growth::new(0);
        growth.add([id(1)].into_iter(), usize::MAX);
        assert!(growth.lock().counted.is_empty());
    }
}
