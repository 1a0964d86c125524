//! Failed attempts slow the next one down, per address and per account.
//!
//! Accounts are delayed and never locked: a stranger who guesses must not keep the owner out. So
//! an account's delay stays short, and the longer one is for addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An address, or the /64 that one subscriber has. Made by [`Key::from`].
    Address(IpAddr),
    /// A bare JID, whether there is such an account or not.
    Account(Arc<str>),
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

/// The failures of late, at most so many.
pub struct Throttle {
    entries: HashMap<Key, Entry>,
    /// By age, for eviction: the turn of the last failure.
    by_age: BTreeMap<u64, Key>,
    turn: u64,
    entries_max: usize,
    delay_first: Duration,
    delay_max: Duration,
}

struct Entry {
    failures: u32,
    last: Instant,
    turn: u64,
}

impl Throttle {
    /// An empty table of at most so many keys.
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_age: BTreeMap::new(),
            turn: 0,
            entries_max,
            delay_first: FIRST_DELAY,
            delay_max: ADDRESS_DELAY_MAX,
        }
    }

    /// With other delays than the usual: the first one, and the longest of an address.
    pub fn with_delays(self, delay_first: Duration, delay_max: Duration) -> Self {
        Self { delay_first, delay_max, ..self }
    }

    /// How long the next attempt must wait from now. Take the longest over its keys.
    pub fn delay(&self, key: &Key, now: Instant) -> Duration {
        let Some(entry) = self.entries.get(key) else {
            return Duration::ZERO;
        };
        let idle = now.saturating_duration_since(entry.last);
        if idle >= FORGET_AFTER {
            return Duration::ZERO;
        }
        let longest = match key {
            Key::Address(_) => self.delay_max,
            Key::Account(_) => self.delay_max.min(ACCOUNT_DELAY_MAX),
        };
        backoff(self.delay_first, entry.failures).min(longest).saturating_sub(idle)
    }

    /// An attempt failed.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        let before = match self.remove(key) {
            Some(entry) if now.saturating_duration_since(entry.last) < FORGET_AFTER => {
                entry.failures
            }
            _ => 0,
        };
        while self.entries.len() >= self.entries_max {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        self.turn += 1;
        self.by_age.insert(self.turn, key.clone());
        let failures = before.saturating_add(1);
        self.entries.insert(key.clone(), Entry { failures, last: now, turn: self.turn });
    }

    /// An attempt succeeded. Tell it of the account only: else a guesser clears its address by
    /// logging in to an account of its own now and then.
    pub fn succeeded(&mut self, key: &Key) {
        self.remove(key);
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody failed of late.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.by_age.remove(&entry.turn);
        Some(entry)
    }
}

/// Nothing for the first few, which are typing errors; then a quarter second, doubling.
fn backoff(first: Duration, failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None | Some(0) => Duration::ZERO,
        Some(over) => first.saturating_mul(1 << (over - 1).min(16)),
    }
}

/// Failures without a delay.
const FREE_FAILURES: u32 = 3;
/// The delay after one more.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Well under the time that an unauthenticated stream has.
const ADDRESS_DELAY_MAX: Duration = Duration::from_secs(30);
/// What the owner of an account under attack has to bear.
const ACCOUNT_DELAY_MAX: Duration = Duration::from_secs(5);
/// Failures older than this do not count.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Key {
        Key::Account(name.into())
    }

    #[test]
    fn delays_double_up_to_a_bound() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        let address = Key::from(IpAddr::from([192, 0, 2, 1]));
        let mut seen = Vec::new();
        for _ in 0..40 {
            throttle.failed(&address, now);
            throttle.failed(&account("a@b"), now);
            let delay = |key| throttle.delay(key, now).as_millis();
            seen.push((delay(&address), delay(&account("a@b"))));
        }
        assert_eq!(seen[..6], [(0, 0), (0, 0), (0, 0), (250, 250), (500, 500), (1000, 1000)]);
        assert_eq!(seen[39], (30_000, 5_000));
        assert_eq!(throttle.delay(&account("other@b"), now), Duration::ZERO);
    }

    #[test]
    fn time_and_success_forgive() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        let key = account("a@b");
        for _ in 0..5 {
            throttle.failed(&key, now);
        }
        let after = |secs| now + Duration::from_millis(secs);
        assert_eq!(throttle.delay(&key, after(200)), Duration::from_millis(300));
        assert_eq!(throttle.delay(&key, after(500)), Duration::ZERO);
        // A clock that goes backwards does no harm.
        throttle.failed(&key, after(900_000));
        assert_eq!(throttle.delay(&key, now), Duration::ZERO);
        for _ in 0..5 {
            throttle.failed(&key, now);
        }
        assert!(throttle.delay(&key, now) > Duration::ZERO);
        throttle.succeeded(&key);
        assert_eq!(throttle.delay(&key, now), Duration::ZERO);
        assert!(throttle.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_drops_the_oldest() {
        let now = Instant::now();
        let mut throttle = Throttle::new(3);
        for name in ["a", "b", "c", "a", "d"] {
            throttle.failed(&account(name), now);
        }
        assert_eq!((throttle.len(), throttle.by_age.len()), (3, 3));
        let known = |name| throttle.entries.contains_key(&account(name));
        assert_eq!(["a", "b", "c", "d"].map(known), [true, false, true, true]);
        let mut none = Throttle::new(0);
        none.failed(&account("a"), now);
        assert!(none.is_empty());
    }

    #[test]
    fn an_ipv6_subscriber_is_one_key() {
        let key = |text: &str| Key::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::"));
        assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
