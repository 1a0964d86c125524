//! Counts that many threads add to and none waits for.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// `N` counts since the start. A thread adds on a cache line that no other thread writes, so counting costs a few
/// instructions and no waiting; who reads adds up.
#[derive(Debug)]
pub struct Tally<const N: usize> {
    lanes: Box<[Lane<N>]>,
}

/// Two lines: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Lane<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        let lane = |_| Lane([const { AtomicU64::new(0) }; N]);
        Self { lanes: (0..=OWN_LANES).map(lane).collect() }
    }
}

impl<const N: usize> Tally<N> {
    /// Adds to a count.
    pub fn add(&self, at: usize, more: u64) {
        let own = own_lane();
        let Some(count) = self.lanes.get(own).and_then(|lane| lane.0.get(at)) else { return };
        if own < OWN_LANES {
            // Nobody else writes here, so it need not be one step.
            count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        } else {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Takes from a count that is a level, on whatever thread it was added to.
    pub fn subtract(&self, at: usize, less: u64) {
        self.add(at, less.wrapping_neg());
    }

    /// The count.
    pub fn sum(&self, at: usize) -> u64 {
        let counts = self.lanes.iter().filter_map(|lane| lane.0.get(at));
        counts.fold(0, |sum, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
    }

    /// A count that is a level: what one thread added and another took is not read at one moment.
    pub fn level(&self, at: usize) -> u64 {
        let sum = self.sum(at);
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}

/// The lane that belongs to this thread for good; threads beyond [`OWN_LANES`] share the last.
fn own_lane() -> usize {
    LANE.with(|lane| {
        if lane.get() == NONE_YET {
            lane.set(NEXT.fetch_add(1, Ordering::Relaxed).min(OWN_LANES));
        }
        lane.get()
    })
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(NONE_YET) };
}

/// Of the process, as threads are.
static NEXT: AtomicUsize = AtomicUsize::new(0);
const NONE_YET: usize = usize::MAX;
/// As many as a large machine has processors for the runtime.
const OWN_LANES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// With more threads than lanes.
    #[test]
    fn nothing_is_lost_between_threads() {
        let tally = Arc::new(Tally::<3>::default());
        let threads: Vec<_> = (0..OWN_LANES + 8)
            .map(|_| {
                let tally = tally.clone();
                std::thread::spawn(move || (0..1_000).for_each(|_| tally.add(1, 2)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let all = 2_000 * (OWN_LANES as u64 + 8);
        assert_eq!((tally.sum(0), tally.sum(1), tally.sum(9)), (0, all, 0));
    }

    #[test]
    fn a_level_goes_down_on_another_thread() {
        let tally = Arc::new(Tally::<1>::default());
        tally.add(0, 3);
        let other = tally.clone();
        std::thread::spawn(move || other.subtract(0, 2)).join().unwrap();
        assert_eq!((tally.sum(0), tally.level(0)), (1, 1));
        tally.subtract(0, 2);
        assert_eq!(tally.level(0), 0);
    }
}
