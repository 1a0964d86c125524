//! How fast one address may open streams. Handshakes and logins cost CPU time before the client is
//! authenticated, so clients that are too fast wait their turn; none is refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::session::pace::Bucket;
use crate::stream::sasl::throttle::Key;

/// A bucket for each address that opened streams recently.
#[derive(Debug)]
pub struct ConnectionRate {
    per_second: u32,
    burst: u32,
    buckets: HashMap<Key, (Bucket, Instant)>,
}

impl ConnectionRate {
    /// `limits.connections_per_second` (0: no bound) and `limits.connections_burst`.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, buckets: HashMap::new() }
    }

    /// Counts a stream from this address; returns how long it must wait before it is served.
    pub fn delay(&mut self, key: Key, now: Instant) -> Duration {
        if self.per_second == 0 {
            return Duration::ZERO;
        }
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let fresh = || (Bucket::new(self.per_second, self.burst), now);
        let (bucket, at) = self.buckets.entry(key).or_insert_with(fresh);
        bucket.pass(now.saturating_duration_since(*at).as_secs_f32());
        *at = now;
        bucket.take(1.0);
        Duration::from_secs_f32(bucket.wait().min(WAIT_MAX))
    }

    /// Forgets the addresses whose bucket is full again. If that is not enough, forgets all: this many
    /// addresses at once do not belong to a single guesser.
    fn make_room(&mut self, now: Instant) {
        self.buckets.retain(|_, (bucket, at)| {
            bucket.pass(now.saturating_duration_since(*at).as_secs_f32());
            *at = now;
            !bucket.is_full()
        });
        if self.buckets.len() >= ADDRESSES_MAX {
            self.buckets.clear();
        }
    }
}

/// Maximum number of addresses, each under a hundred bytes.
const ADDRESSES_MAX: usize = 10_000;
/// In seconds; shorter than the time an unauthenticated stream has.
const WAIT_MAX: f32 = 30.0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn key(n: u32) -> Key {
        Key::from(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn a_burst_passes_and_the_rest_queues() {
        let now = Instant::now();
        let mut rate = ConnectionRate::new(10, 2);
        let waits: Vec<_> = (0..4).map(|_| rate.delay(key(1), now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200]);
        assert_eq!(rate.delay(key(2), now), Duration::ZERO, "another address");
        assert_eq!(rate.delay(key(1), now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(ConnectionRate::new(0, 0).delay(key(1), now), Duration::ZERO);
    }

    #[test]
    fn the_table_is_bounded() {
        let now = Instant::now();
        let mut rate = ConnectionRate::new(1, 1);
        for n in 0..25_000 {
            rate.delay(key(n), now);
        }
        assert!(rate.buckets.len() <= ADDRESSES_MAX);
    }
}
