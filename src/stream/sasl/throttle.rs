//! Failed attempts slow the next one down, per address and per account.
//!
//! Accounts are delayed and never locked: a stranger who guesses must not keep the owner out. So
//! an account's delay stays short, and the longer one is for addresses.
//!
//! A client tries a mistyped password by one mechanism after another, and nobody can see that it is the
//! same. Such tries are taken for one mistake, [`AGAIN_MAX`] of them a key; the waits that they did not
//! have are lent, and added to later ones. So who guesses has no more tries in an hour than if each had
//! counted (docs/security.md has the figures). The same goes for tries that an address's delay spared.

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
    /// An account as it is tried from an address. Made by [`Key::both`].
    Both(Arc<str>),
}

impl Key {
    /// An account from an address.
    pub fn both(address: IpAddr, account: &str) -> Self {
        let address = match Self::from(address) {
            Self::Address(address) => address.to_string(),
            _ => String::new(),
        };
        Self::Both([&address, " ", account].concat().into())
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
    /// What they waited less than if each had counted.
    lent: Duration,
    /// What tries waited less that were spared.
    spared: Duration,
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
        delay + (entry.lent + entry.spared).min(delay / LENT_PART)
    }

    /// The delay after so many failures.
    fn backoff(&self, key: &Key, failures: u32) -> Duration {
        let longest = match key {
            Key::Address(_) | Key::Both(_) => self.delay_max,
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

    /// Whether some may be spared this key's delay: few who were have failed, or it was given back.
    pub fn may_spare(&self, key: &Key) -> bool {
        let most = self.delay_max * SPARED_MAX;
        self.entries.get(key).is_none_or(|entry| entry.spared < most)
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
            spared: Duration::ZERO,
            last: now,
            turn: self.turn,
        };
        let before = before.unwrap_or(fresh);
        let owed = self.backoff(key, before.tries);
        let again = how.again && before.again < AGAIN_MAX;
        let (lent, spared) = match how.spared {
            true => (before.lent, before.spared + owed),
            false => {
                let waited = self.due(key, &before);
                let lent = before.lent + owed;
                // What is given back of the one is not lent again by the other.
                let back = waited.saturating_sub(lent);
                (lent.saturating_sub(waited), before.spared.saturating_sub(back))
            }
        };
        let entry = Entry {
            failures: before.failures.saturating_add(u32::from(!again)),
            tries: before.tries.saturating_add(1),
            again: before.again + u32::from(again),
            lent,
            spared,
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
const LENT_PART: u32 = 6;
/// So many times the longest delay is lent to tries that were spared it, before it must be given back.
const SPARED_MAX: u32 = 8;
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

    /// The failed tries in one, two and three hours that wait for nothing but the delays of a key. Streams
    /// of `by` mechanisms each, the first `streams` of them; then one try a stream.
    fn tries_of_hours(key: &Key, by: u32, streams: u32) -> [u32; 3] {
        let begun = Instant::now();
        let (mut now, mut throttle) = (begun, Throttle::new(10));
        let (mut tries, mut hours) = (0, [0; 3]);
        loop {
            now += throttle.delay(key, now);
            let hour = now.duration_since(begun).as_secs_f64() / 3_600.0;
            for (counted, end) in hours.iter_mut().zip([1.0, 2.0, 3.0]) {
                if hour <= end {
                    *counted = tries + 1;
                }
            }
            if hour > 3.0 {
                return hours;
            }
            let again = tries / by < streams && tries % by > 0;
            throttle.failed(key, How { again, spared: false }, now);
            tries += 1;
        }
    }

    /// docs/security.md, "Guessing": what an address and an account had before tries by several mechanisms
    /// were taken for one mistake. No way to go about it gives more.
    #[test]
    fn guessing_is_not_faster_by_several_mechanisms() {
        let address = Key::from(IpAddr::from([192, 0, 2, 1]));
        let before = [(address, [129, 249, 369]), (account("a@b"), [727, 1_447, 2_167])];
        for (key, before) in before {
            assert_eq!(tries_of_hours(&key, 1, 0), before, "each try a mistake: as it was");
            let ways = (2..=7).flat_map(|by| (1..=60).map(move |streams| (by, streams)));
            for (by, streams) in ways {
                let now = tries_of_hours(&key, by, streams);
                for (now, before) in now.into_iter().zip(before) {
                    let told = format!("{key:?}, {streams} streams of {by} mechanisms");
                    assert!(now <= before && now + 3 >= before, "{told}: {now} and not {before}");
                }
            }
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

    /// docs/security.md, "Guessing": from an address where accounts got in before, of which each is spared
    /// its delay, there are few more tries, once.
    #[test]
    fn who_is_spared_leaves_a_guesser_few_more_tries() {
        let begun = Instant::now();
        let (mut now, mut throttle, mut tries) = (begun, Throttle::new(10), 0);
        let key = Key::from(IpAddr::from([192, 0, 2, 1]));
        let mut hours = [0; 3];
        for (hour, counted) in (1..).zip(&mut hours) {
            loop {
                let delay = throttle.delay(&key, now);
                let spared = !delay.is_zero() && throttle.may_spare(&key);
                let next = if spared { now } else { now + delay };
                if next.duration_since(begun) > Duration::from_secs(3_600 * hour) {
                    break;
                }
                now = next;
                // A guesser begins with streams of four tries each.
                let again = tries < 12 && tries % 4 > 0;
                throttle.failed(&key, How { again, spared }, now);
                tries += 1;
            }
            *counted = tries;
        }
        // Before: 129, 249, 369.
        assert!(hours[0] <= 129 + 9 && hours[1] <= 249 + 9 && hours[2] <= 369 + 9, "{hours:?}");
        // Others there wait a little longer, until it was given back.
        assert!(!throttle.may_spare(&key));
        let delay = throttle.delay(&key, now);
        assert!(delay > ADDRESS_DELAY_MAX && delay < ADDRESS_DELAY_MAX * 6 / 5, "{delay:?}");
        while !throttle.may_spare(&key) {
            now += throttle.delay(&key, now);
            throttle.failed(&key, ONCE, now);
        }
        assert!(throttle.may_spare(&key));
    }
}
