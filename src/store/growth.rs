//! Archives that grew much since they were last looked at. The growth is counted in memory, so that the
//! writer adds two numbers per message and writes no row. A restart loses the counts; the caller then looks
//! at all archives.

use super::archive::ROW_BYTES;
use super::ids::ArchiveId;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub(super) struct Growth {
    pub(super) accounts: Counted,
    pub(super) rooms: Counted,
    pub(super) told: Notify,
}

/// The archives of one kind of owner.
pub(super) struct Counted {
    /// The growth that is reported; 0 means never.
    step: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counted: HashMap<ArchiveId, u64>,
    grown: Grown,
}

/// The archives that grew by [`Options::grown_bytes`](super::Options::grown_bytes) or more, or for rooms by
/// [`Options::room_grown_bytes`](super::Options::room_grown_bytes).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grown {
    /// Their keys.
    pub archives: HashSet<ArchiveId>,
    /// Any archive may have grown: there were more of them than are counted at one time.
    pub any: bool,
}

/// What an archive with this bound grows by before somebody looks, so that a large bound is looked at as often as a
/// small one. An archive may be over its bound by so much. 0: there is no bound.
pub fn grown_step(bytes_max: u64) -> u64 {
    if bytes_max == 0 { 0 } else { (bytes_max / 16).clamp(1, STEP_MAX) }
}

impl Growth {
    pub(super) fn new(account_step: u64, room_step: u64) -> Self {
        let (accounts, rooms) = (Counted::new(account_step), Counted::new(room_step));
        Self { accounts, rooms, told: Notify::new() }
    }

    pub(super) fn add(&self, archives: impl Iterator<Item = ArchiveId>, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(ROW_BYTES);
        let mut tells = false;
        for archive in archives {
            let counted = if archive.account().is_some() { &self.accounts } else { &self.rooms };
            tells |= counted.add(archive, bytes);
        }
        if tells {
            self.told.notify_one();
        }
    }
}

impl Counted {
    fn new(step: u64) -> Self {
        Self { step, state: Mutex::default() }
    }

    fn add(&self, archive: ArchiveId, bytes: u64) -> bool {
        self.step > 0 && self.lock().add(archive, bytes, self.step)
    }

    pub(super) fn take(&self) -> Grown {
        std::mem::take(&mut self.lock().grown)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

/// Archives of one kind that are counted at one time: a few megabytes.
const ACCOUNTS: usize = 100_000;
/// In bytes.
const STEP_MAX: u64 = 64 * 1_048_576;

#[cfg(test)]
mod tests {
    use super::super::ids::{AccountId, RoomId};
    use super::*;

    fn id(account: i64) -> ArchiveId {
        ArchiveId::of(AccountId(account))
    }

    #[tokio::test]
    async fn who_grows_much_is_told_once() {
        let growth = Growth::new(1_000, 2_000);
        let take = || growth.accounts.take();
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
        // A room has a step of its own, and is nothing to who asks for accounts.
        let room = ArchiveId::of_room(RoomId(1));
        growth.add([room].into_iter(), 1_799);
        assert_eq!(growth.rooms.take(), Grown::default());
        growth.add([room].into_iter(), 0);
        growth.told.notified().await;
        assert_eq!((take(), growth.rooms.take().archives), (Grown::default(), [room].into()));
    }

    #[test]
    fn a_large_bound_is_looked_at_as_often_as_a_small_one() {
        for (bytes_max, step) in
            [(0, 0), (1, 1), (65_536, 4_096), (1 << 30, 1 << 26), (u64::MAX, 1 << 26)]
        {
            assert_eq!(grown_step(bytes_max), step);
        }
    }

    #[tokio::test]
    async fn more_than_can_be_counted_may_all_have_grown() {
        let growth = Growth::new(u64::MAX, 0);
        let archives = (0..=ACCOUNTS).map(|n| id(i64::try_from(n).unwrap()));
        growth.add(archives, 1);
        growth.told.notified().await;
        assert!(growth.accounts.lock().counted.len() < ACCOUNTS);
        assert!(growth.accounts.take().any);
    }

    #[test]
    fn who_counts_nothing_keeps_nothing() {
        let growth = Growth::new(0, 0);
        growth.add([id(1), ArchiveId::of_room(RoomId(1))].into_iter(), usize::MAX);
        assert!(growth.accounts.lock().counted.is_empty());
        assert!(growth.rooms.lock().counted.is_empty());
    }
}
