//! What holds because one process writes the database: it has the file locked (`sqlite/files.rs`).
//! With several it would be the database's own, or a home's for its archives.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The places of rows in archives and mailboxes. Nothing but rising within one archive is promised to
/// readers; that there is one sequence for all lets the rows that are not placed yet be the last ones of
/// the table (`archive/unindexed.rs`), and rests on each place being taken in the order of the writer's
/// queue.
pub(super) struct Sequence(AtomicI64);

impl Sequence {
    /// Goes on behind the last place that was ever taken.
    pub(super) fn after(last: i64) -> Self {
        Self(AtomicI64::new(last))
    }

    /// The next one. That it is near the time makes times quick to find; nobody reads a time in it.
    pub(super) fn next(&self, now: i64) -> i64 {
        let next = |last: i64| now.max(last + 1);
        let update = |last| Some(next(last));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        last.map_or(now, next)
    }
}

/// How far the ways into accounts were changed by this process: equal ones mean that nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessVersion(u64);

#[cfg(test)]
impl AccessVersion {
    /// A version as a test has it.
    pub(crate) const fn of(version: u64) -> Self {
        Self(version)
    }
}

/// Counts the commits that change how an account is entered. No other process makes such ones.
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
