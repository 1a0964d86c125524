//! How fast a session may send: token buckets that slow down reading and drop nothing.

use std::time::{Duration, Instant};

use crate::base::limits::Limits;

/// Two buckets, of bytes and of stanzas.
#[derive(Debug)]
pub struct Pace {
    bytes: Bucket,
    stanzas: Bucket,
    at: Instant,
}

/// A token bucket: a rate per second on average, and a burst above that.
#[derive(Debug)]
pub struct Bucket {
    per_second: f32,
    burst: f32,
    level: f32,
}

impl Bucket {
    /// Creates a full bucket; a rate of 0 means no bound.
    #[allow(clippy::cast_precision_loss)] // a bucket need not be exact
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second as f32, burst: burst as f32, level: burst as f32 }
    }

    /// Fills the bucket for the time that passed.
    pub fn pass(&mut self, seconds: f32) {
        self.level = (self.level + seconds * self.per_second).min(self.burst);
    }

    /// Takes out `amount`, even if the level falls below zero.
    pub fn take(&mut self, amount: f32) {
        if self.per_second > 0.0 {
            self.level -= amount;
        }
    }

    /// Seconds until the level is zero again.
    pub fn wait(&self) -> f32 {
        if self.level < 0.0 { -self.level / self.per_second } else { 0.0 }
    }

    /// What may be taken out before anybody has to wait.
    pub fn left(&self) -> f32 {
        self.level.max(0.0)
    }

    /// Whether the bucket is full.
    pub fn is_full(&self) -> bool {
        self.level >= self.burst
    }
}

impl Pace {
    /// Creates full buckets; a rate of 0 in the limits means no bound.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            bytes: Bucket::new(limits.bytes_per_second, limits.bytes_burst),
            stanzas: Bucket::new(limits.stanzas_per_second, limits.stanzas_burst),
            at: now,
        }
    }

    /// Full buckets of these rates and bursts, of bytes and of stanzas; a rate of 0 means no bound.
    pub fn of(bytes: (u32, u32), stanzas: (u32, u32), now: Instant) -> Self {
        Self {
            bytes: Bucket::new(bytes.0, bytes.1),
            stanzas: Bucket::new(stanzas.0, stanzas.1),
            at: now,
        }
    }

    /// Whether a new one would allow no more than this one.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.count(0, 0, now);
        self.bytes.is_full() && self.stanzas.is_full()
    }

    /// Counts input; returns how long reading must pause.
    #[allow(clippy::cast_precision_loss)]
    pub fn count(&mut self, bytes: usize, stanzas: usize, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f32();
        self.at = now;
        for (bucket, amount) in [(&mut self.bytes, bytes), (&mut self.stanzas, stanzas)] {
            bucket.pass(passed);
            bucket.take(amount as f32);
        }
        match self.bytes.wait().max(self.stanzas.wait()) {
            0.0 => Duration::ZERO,
            wait => Duration::from_secs_f32(wait.min(PAUSE_MAX)),
        }
    }
}

/// In seconds. Whatever a session sends, it is read from again before the client times out.
const PAUSE_MAX: f32 = 30.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_more_is_slowed() {
        let limits = Limits {
            stanzas_per_second: 10,
            stanzas_burst: 5,
            bytes_per_second: 0,
            ..Limits::default()
        };
        let start = Instant::now();
        let mut pace = Pace::new(&limits, start);
        assert_eq!(pace.count(1_000_000, 5, start), Duration::ZERO);
        assert_eq!(pace.count(0, 5, start), Duration::from_millis(500));
        assert_eq!(pace.count(0, 0, start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn no_rate_means_no_bound() {
        let limits = Limits { stanzas_per_second: 0, bytes_per_second: 0, ..Limits::default() };
        let start = Instant::now();
        assert_eq!(Pace::new(&limits, start).count(1 << 30, 1 << 20, start), Duration::ZERO);
    }
}
