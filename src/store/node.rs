//! State that relies on one process writing the database: that process has the file locked
//! (`sqlite/files.rs`). With several processes it would belong to the database, or to a home for its
//! archives.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The positions of rows in archives and mailboxes. Readers rely only on their rising within one archive.
/// Because one sequence serves all archives, the rows that are not indexed yet are the last of the table
/// (`archive/unindexed.rs`); that requires positions to be taken in the order of the writer's queue.
pub(super) struct Sequence(AtomicI64);

impl Sequence {
    /// Continues after the last position that was ever taken.
    pub(super) fn after(last: i64) -> Self {
        Self(AtomicI64::new(last))
    }

    /// Returns the next position. It is close to the time, which makes times quick to find; nothing reads a
    /// time from it.
    pub(super) fn next(&self, now: i64) -> i64 {
        let next = |last: i64| now.max(last + 1);
        let update = |last| Some(next(last));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        last.map_or(now, next)
    }
}

/// The number of changes to account access made by this process: equal versions mean that nothing changed
/// between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessVersion(u64);

#[cfg(test)]
impl AccessVersion {
    /// A version for a test.
    pub(crate) const fn of(version: u64) -> Self {
        Self(version)
    }
}

/// Counts the commits that change how an account is entered. No other process makes such changes.
#[derive(Default)]
pub(super) struct AccessChanges(AtomicU64);

impl AccessChanges {
    pub(super) fn version(&self) -> AccessVersion {
        AccessVersion(self.0.load(Ordering::SeqCst))
    }

    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
