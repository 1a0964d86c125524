//! Failed attempts slow the next one down, per address and per account.
//!
//! Accounts are delayed and never locked: a stranger who guesses must not keep the owner out. So
//! an account's delay stays short, and the longer one is for addresses.
//!
//! A client tries a mistyped password by one mechanism after another, and nobody can see that it is the
//! same. Such tries are taken for one mistake, [`AGAIN_MAX`] of them a key; the waits that they did not
//! have are lent, and added to later ones. So who guesses has no more tries in an hour than if each had
//! counted (docs/security.md has the figures).

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
    /// The account as it is tried from the address. Made by [`Key::both`].
    Both(IpAddr, Arc<str>),
}

impl Key {
    /// An account from an address.
    pub fn both(address: IpAddr, account: &str) -> Self {
        match Self::from(address) {
            Self::Address(address) => Self::Both(address, account.into()),
            other => other,
        }
    }
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

/// How a try came to fail.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// By another mechanism than the last one on the same stream, for the same account: as a client does
    /// that tries one password by all it has.
    pub again: bool,
    /// The key's delay was not waited for.
    pub spared: bool,
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
    /// Mistakes.
    failures: u32,
    /// Tries, of which a mistake may have some.
    tries: u32,
    /// Tries that were taken for another's mistake.
    again: u32,
    /// What tries waited less than if each had counted.
    lent: Duration,
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
        match idle < FORGET_AFTER {
            true => self.due(key, entry).saturating_sub(idle),
            false => Duration::ZERO,
        }
    }

    /// How long after the last failure the next try may come.
    fn due(&self, key: &Key, entry: &Entry) -> Duration {
        let delay = self.backoff(key, entry.failures);
        delay + entry.lent.min(delay / LENT_PART)
    }

    /// The delay after so many failures.
    fn backoff(&self, key: &Key, failures: u32) -> Duration {
        let longest = match key {
            Key::Address(_) | Key::Both(..) => self.delay_max,
            Key::Account(_) => self.delay_max.min(ACCOUNT_DELAY_MAX),
        };
        backoff(self.delay_first, failures).min(longest)
    }

    /// Whether so much failed of late that the next ones are delayed, though the delay itself be over.
    pub fn is_wary(&self, key: &Key, now: Instant) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            let fresh = now.saturating_duration_since(entry.last) < FORGET_AFTER;
            fresh && entry.failures > FREE_FAILURES
        })
    }

    /// An attempt failed.
    pub fn failed(&mut self, key: &Key, how: How, now: Instant) {
        let before = self
            .remove(key)
            .filter(|entry| now.saturating_duration_since(entry.last) < FORGET_AFTER);
        while self.entries.len() >= self.entries_max {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        self.turn += 1;
        self.by_age.insert(self.turn, key.clone());
        let fresh = Entry {
            failures: 0,
            tries: 0,
            again: 0,
            lent: Duration::ZERO,
            last: now,
            turn: self.turn,
        };
        let before = before.unwrap_or(fresh);
        let waited = if how.spared { Duration::ZERO } else { self.due(key, &before) };
        let owed = self.backoff(key, before.tries);
        let again = how.again && before.again < AGAIN_MAX;
        let entry = Entry {
            failures: before.failures.saturating_add(u32::from(!again)),
            tries: before.tries.saturating_add(1),
            again: before.again + u32::from(again),
            lent: (before.lent + owed).saturating_sub(waited).min(FORGET_AFTER),
            last: now,
            turn: self.turn,
        };
        self.entries.insert(key.clone(), entry);
    }

    /// An attempt succeeded. Tell it of the account only: else a guesser clears its address by
    /// logging in to an account of its own now and then. What was lent stays lent: it may be a guesser's.
    pub fn succeeded(&mut self, key: &Key) {
        match self.entries.get_mut(key) {
            Some(entry) if entry.again > 0 => (entry.failures, entry.tries) = (0, 0),
            _ => drop(self.remove(key)),
        }
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
/// Tries of a key that are taken for another's mistake: three passwords by four mechanisms each.
const AGAIN_MAX: u32 = 9;
/// A delay is at most this part of it longer, to get back what was lent.
const LENT_PART: u32 = 8;
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

    const ONCE: How = How { again: false, spared: false };
    const AGAIN: How = How { again: true, spared: false };

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
            throttle.failed(&address, ONCE, now);
            throttle.failed(&account("a@b"), ONCE, now);
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
            throttle.failed(&key, ONCE, now);
        }
        let after = |secs| now + Duration::from_millis(secs);
        assert_eq!(throttle.delay(&key, after(200)), Duration::from_millis(300));
        assert_eq!(throttle.delay(&key, after(500)), Duration::ZERO);
        // A clock that goes backwards does no harm.
        throttle.failed(&key, ONCE, after(900_000));
        assert_eq!(throttle.delay(&key, now), Duration::ZERO);
        for _ in 0..5 {
            throttle.failed(&key, ONCE, now);
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
            throttle.failed(&account(name), ONCE, now);
        }
        assert_eq!((throttle.len(), throttle.by_age.len()), (3, 3));
        let known = |name| throttle.entries.contains_key(&account(name));
        assert_eq!(["a", "b", "c", "d"].map(known), [true, false, true, true]);
        let mut none = Throttle::new(0);
        none.failed(&account("a"), ONCE, now);
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

    /// The failed tries of an hour that wait for nothing but the delays of a key. Streams of `by`
    /// mechanisms each, the first `streams` of them; then one try a stream.
    fn tries_an_hour(key: &Key, by: u32, streams: u32) -> u32 {
        let begun = Instant::now();
        let (mut now, mut throttle) = (begun, Throttle::new(10));
        let mut tries = 0;
        loop {
            now += throttle.delay(key, now);
            if now.duration_since(begun) > Duration::from_secs(3_600) {
                return tries;
            }
            let again = tries / by < streams && tries % by > 0;
            throttle.failed(key, How { again, spared: false }, now);
            tries += 1;
        }
    }

    /// docs/security.md, "Guessing": before tries by several mechanisms were taken for one mistake, an
    /// address had 129 tries in the first hour and an account 727. No way to go about it gives more.
    #[test]
    fn guessing_is_not_faster_by_several_mechanisms() {
        let address = Key::from(IpAddr::from([192, 0, 2, 1]));
        for (key, before) in [(address, 129), (account("a@b"), 727)] {
            assert_eq!(tries_an_hour(&key, 1, 0), before, "each try a mistake: as it was");
            let ways = (2..=7).flat_map(|by| (1..=60).map(move |streams| (by, streams)));
            let tries: Vec<_> =
                ways.map(|(by, streams)| tries_an_hour(&key, by, streams)).collect();
            let (least, most) = (tries.iter().min().unwrap(), tries.iter().max().unwrap());
            assert!(*most <= before && *least >= before - 3, "{key:?} {least} to {most}");
        }
    }

    /// Owners that log in now and then clear their account's failures; a guesser gains the same by that
    /// as before.
    #[test]
    fn what_was_lent_outlives_a_success() {
        let (begun, key) = (Instant::now(), account("a@b"));
        let tries = |by: u32| {
            let (mut now, mut throttle, mut tries) = (begun, Throttle::new(10), 0);
            let mut succeeds = begun + Duration::from_secs(60);
            while now < begun + Duration::from_secs(3_600) {
                throttle.failed(&key, How { again: tries % by > 0, spared: false }, now);
                tries += 1;
                now += throttle.delay(&key, now);
                while succeeds <= now {
                    throttle.succeeded(&key);
                    succeeds += Duration::from_secs(60);
                }
            }
            tries
        };
        assert!(tries(4) <= tries(1) + AGAIN_MAX, "{} {}", tries(4), tries(1));
    }

    /// RFC 6120 §6.4.5: who mistypes a password three times, with a client that tries it by four mechanisms,
    /// waits as long as by one.
    #[test]
    fn a_mistyped_password_is_one_mistake() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        let key = account("a@b");
        let mut waited = Vec::new();
        for _ in 0..4 {
            waited.push(throttle.delay(&key, now));
            throttle.failed(&key, ONCE, now);
            for _ in 0..3 {
                throttle.failed(&key, AGAIN, now);
            }
        }
        assert_eq!(waited, [Duration::ZERO; 4]);
        // Then each try counts.
        assert!(throttle.delay(&key, now) >= Duration::from_secs(2));
        throttle.succeeded(&key);
        assert_eq!(throttle.delay(&key, now), Duration::ZERO);
        for _ in 0..3 {
            throttle.failed(&key, AGAIN, now);
        }
        assert!(!throttle.is_wary(&key, now));
        throttle.failed(&key, AGAIN, now);
        assert!(throttle.is_wary(&key, now), "no more of them are taken for one mistake");
        assert!(!throttle.is_wary(&key, now + FORGET_AFTER));
    }

    /// Tries that an address's delay spared are lent as well.
    #[test]
    fn who_was_spared_leaves_the_others_no_more_tries() {
        let begun = Instant::now();
        let (mut now, mut throttle) = (begun, Throttle::new(10));
        let key = Key::from(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..20 {
            now += throttle.delay(&key, now);
            throttle.failed(&key, ONCE, now);
        }
        let delay = |throttle: &Throttle, now| throttle.delay(&key, now).as_millis();
        assert_eq!(delay(&throttle, now), 30_000);
        throttle.failed(&key, How { again: false, spared: true }, now);
        assert_eq!(delay(&throttle, now), 33_750);
        for _ in 0..8 {
            now += throttle.delay(&key, now);
            throttle.failed(&key, ONCE, now);
        }
        assert_eq!(delay(&throttle, now), 30_000, "it was given back");
    }
}
