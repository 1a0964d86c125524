//! How the writer's commits went. Only the writer adds.

use super::tx::StoreError;
use crate::base::figures::Spread;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Those that took at most as long as each of [`BOUNDS`], and longer than the one before; then all others.
    took: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    jobs: AtomicU64,
    failed: AtomicU64,
}

impl Commits {
    /// Notes a batch of `jobs` writes: its COMMIT took so long, or it failed.
    pub(super) fn note(&self, outcome: &Result<(), StoreError>, jobs: usize, took: Duration) {
        let add = |count: &AtomicU64, more| count.fetch_add(more, Ordering::Relaxed);
        if outcome.is_err() {
            add(&self.failed, 1);
            return;
        }
        let at = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = self.took.get(at.unwrap_or(BOUNDS.len())) {
            add(bucket, 1);
        }
        add(&self.nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        add(&self.jobs, jobs as u64);
    }

    /// How long they took, in seconds.
    pub(super) fn spread(&self) -> Spread {
        let counts = self.took.iter().map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        Spread { sum, buckets: bounds.zip(counts).collect() }
    }

    /// Writes in those that succeeded.
    pub(super) fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Those that failed, with all writes in them.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// In seconds: from a disk with a battery to one that is about to die.
const BOUNDS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_in_one_bucket() {
        let commits = Commits::default();
        for millis in [0, 1, 30, 9_000] {
            commits.note(&Ok(()), 3, Duration::from_millis(millis));
        }
        commits.note(&Err(StoreError::Full), 9, Duration::from_millis(1));
        let spread = commits.spread();
        let filled: Vec<f64> =
            spread.buckets.iter().filter(|(_, count)| *count == 1).map(|(le, _)| *le).collect();
        assert_eq!(filled, [0.000_5, 0.001, 0.05, f64::INFINITY]);
        assert!((spread.sum - 9.031).abs() < 1e-9);
        assert_eq!((commits.jobs(), commits.failed()), (12, 1));
    }
}
