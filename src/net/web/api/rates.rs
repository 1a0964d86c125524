//! How many requests somebody may send: token buckets by address or token.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::session::pace::Bucket;

/// A bucket for each who asked lately.
#[derive(Debug)]
pub struct Rates<K> {
    per_second: u32,
    burst: u32,
    buckets: Mutex<HashMap<K, (Bucket, Instant)>>,
}

impl<K: Eq + Hash> Rates<K> {
    /// A rate of 0 means no bound.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Counts a request, unless there are too many: then how long to wait.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            make_room(&mut buckets, now);
        }
        let fresh = || (Bucket::new(self.per_second, self.burst), now);
        let (bucket, at) = buckets.entry(key).or_insert_with(fresh);
        bucket.pass(now.saturating_duration_since(*at).as_secs_f32());
        *at = now;
        match bucket.wait() {
            wait if wait > 0.0 => Err(Duration::from_secs_f32(wait.min(WAIT_MAX))),
            _ => {
                bucket.take(1.0);
                Ok(())
            }
        }
    }
}

/// Forgets whose bucket is full again; all, if that is not enough.
fn make_room<K: Eq + Hash>(buckets: &mut HashMap<K, (Bucket, Instant)>, now: Instant) {
    buckets.retain(|_, (bucket, at)| {
        bucket.pass(now.saturating_duration_since(*at).as_secs_f32());
        *at = now;
        !bucket.is_full()
    });
    if buckets.len() >= KEYS_MAX {
        buckets.clear();
    }
}

/// Each has under a hundred bytes.
const KEYS_MAX: usize = 10_000;
/// In seconds.
const WAIT_MAX: f32 = 3_600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_waits() {
        let (rates, now) = (Rates::new(1, 2), Instant::now());
        let passed: Vec<_> = (0..5).map(|_| rates.take("a", now).is_ok()).collect();
        assert_eq!(passed, [true, true, true, false, false]);
        assert!(rates.take("b", now).is_ok(), "another one");
        assert!(rates.take("a", now).unwrap_err() <= Duration::from_secs(1));
        assert!(rates.take("a", now + Duration::from_secs(2)).is_ok());
        assert!(Rates::new(0, 0).take("a", now).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let (rates, now) = (Rates::new(1, 1), Instant::now());
        for n in 0..25_000 {
            let _ = rates.take(n, now);
        }
        assert!(rates.buckets.lock().unwrap().len() <= KEYS_MAX);
    }
}
