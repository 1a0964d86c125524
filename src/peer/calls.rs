//! When connections begin that nobody waits for: one after the other, so that a thousand of them are no spike that
//! clients feel.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Gives each its moment.
#[derive(Debug)]
pub(super) struct Calls {
    /// Between two of them.
    step: Duration,
    /// When the next one may begin; none yet.
    next: Mutex<Option<Instant>>,
}

impl Calls {
    /// So many per second; 0: no bound.
    pub(super) fn new(per_second: u32) -> Self {
        let step = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self { step, next: Mutex::default() }
    }

    /// When this one may begin: a few at once.
    pub(super) fn moment(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.step * AT_ONCE).unwrap_or(now);
        let at = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(at + self.step);
        at.max(now)
    }
}

/// Those that begin at once, if none began a moment ago.
const AT_ONCE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::clock::now;

    #[test]
    fn a_few_begin_at_once_and_the_others_one_by_one() {
        let (calls, start) = (Calls::new(100), now());
        let waits = |count: usize, at: Instant| -> Vec<u128> {
            (0..count).map(|_| (calls.moment(at) - at).as_millis()).collect()
        };
        assert_eq!(waits(8, start), [0, 0, 0, 0, 0, 10, 20, 30]);
        assert_eq!(waits(1, start + Duration::from_millis(35)), [5]);
        assert_eq!(waits(6, start + Duration::from_secs(9)), [0, 0, 0, 0, 0, 10]);
        let free = Calls::new(0);
        assert!((0..1_000).all(|_| free.moment(start) == start));
    }
}
