//! Failed attempts slow the next one down, per address and per account.
//!
//! Accounts are delayed and never locked: a stranger who guesses must not keep the owner out. So an
//! account's delay stays short, and addresses have a longer one.
//!
//! A client tries a mistyped password by one mechanism after another, and the server cannot see that it is
//! the same password. Such tries count as one mistake, up to `AGAIN_MAX` of them per key. The waits that
//! they skipped are lent, and added to later waits. So a guesser has no more tries in an hour than if each
//! had counted (docs/security.md has the figures).
//!
//! An account's delay comes before its keys are looked up. An address's delay comes after the secret was
//! checked and before the answer, so it may depend on whether the secret was right, and on nothing else
//! that a stranger can see. For this reason a try counts before its wait ([`Throttle::failed`]), whether it
//! failed or not: a client that disconnects and looks elsewhere learns nothing sooner. A try that was right
//! is taken back after the wait ([`Throttle::take_back`]).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The key that failures are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An address, or the /64 of one subscriber. Made by [`Key::from`].
    Address(IpAddr),
    /// A bare JID, whether the account exists or not.
    Account(Arc<str>),
    /// An account together with the address that tries it. Made by [`Key::both`].
    Both(Arc<str>),
}

impl Key {
    /// The key of an account that is tried from an address.
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

/// The circumstances of a failed try.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// It used another mechanism than the last try on the same stream for the same account, like a client
    /// that tries one password by all its mechanisms.
    pub again: bool,
    /// The right secret would not have waited: a client that gets no answer at once knows that this one was
    /// wrong.
    pub spared: bool,
}

/// A try that was counted.
#[derive(Debug)]
pub struct Counted {
    /// The time that its answer must wait.
    pub wait: Duration,
    turn: u64,
    again: bool,
    before: Option<Entry>,
}

/// The recent failures, for a bounded number of keys.
pub struct Throttle {
    entries: HashMap<Key, Entry>,
    /// By age, for eviction: the turn of the last failure.
    by_age: BTreeMap<u64, Key>,
    turn: u64,
    entries_max: usize,
    delay_first: Duration,
    delay_max: Duration,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The number of mistakes.
    failures: u32,
    /// The number of tries; one mistake may have several.
    tries: u32,
    /// The number of tries that counted as part of an earlier mistake.
    again: u32,
    /// The wait that those tries skipped, compared with each of them counting.
    lent: Duration,
    /// The wait that spared tries skipped.
    spared: Duration,
    /// What the last try may yet owe if it was spared: until `last`, unless another comes before.
    open: Duration,
    /// When the last try was answered, or will be.
    last: Instant,
    turn: u64,
}

impl Throttle {
    /// An empty table for at most this many keys.
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

    /// Sets other delays than the default ones: the first one, and the longest of an address.
    pub fn with_delays(self, delay_first: Duration, delay_max: Duration) -> Self {
        Self { delay_first, delay_max, ..self }
    }

    /// How long the next attempt must wait from now. Concurrent tries share a wait.
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

    /// The delay after this many failures.
    fn backoff(&self, key: &Key, failures: u32) -> Duration {
        let longest = match key {
            Key::Address(_) | Key::Both(_) => self.delay_max,
            Key::Account(_) => self.delay_max.min(ACCOUNT_DELAY_MAX),
        };
        backoff(self.delay_first, failures).min(longest)
    }

    /// Whether there were enough recent failures that the next ones are delayed, even if the current delay
    /// is over.
    pub fn is_wary(&self, key: &Key, now: Instant) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            let fresh = now.saturating_duration_since(entry.last) < FORGET_AFTER;
            fresh && entry.failures > FREE_FAILURES
        })
    }

    /// Whether a try may be spared this key's delay: spared tries that failed do not owe too much yet.
    pub fn may_spare(&self, key: &Key, now: Instant) -> bool {
        let most = self.delay_max * SPARED_MAX;
        let fits = |entry: &Entry| entry.owes(now) + self.due(key, entry) <= most;
        self.entries.get(key).is_none_or(fits)
    }

    /// Counts an attempt that failed, or that counts as failed until it is answered.
    pub fn failed(&mut self, key: &Key, how: How, now: Instant) -> Counted {
        let wait = match key {
            Key::Address(_) => self.delay(key, now),
            // The caller has waited for these already.
            Key::Account(_) | Key::Both(_) => Duration::ZERO,
        };
        let before = self
            .remove(key)
            .filter(|entry| now.saturating_duration_since(entry.last) < FORGET_AFTER);
        self.turn += 1;
        let (turn, last) = (self.turn, now + wait);
        let mut counted = Counted { wait, turn, again: false, before: before.clone() };
        while self.entries.len() >= self.entries_max {
            let Some((_, oldest)) = self.by_age.pop_first() else { return counted };
            self.entries.remove(&oldest);
        }
        let entry = match before {
            Some(before) => self.after(key, &before, how, now, last),
            None => Entry {
                failures: 1,
                tries: 1,
                again: 0,
                lent: Duration::ZERO,
                spared: Duration::ZERO,
                open: Duration::ZERO,
                last,
                turn,
            },
        };
        counted.again = counted.before.as_ref().is_some_and(|before| before.again < entry.again);
        self.by_age.insert(turn, key.clone());
        self.entries.insert(key.clone(), entry);
        counted
    }

    /// The entry after a try that came now and is answered at `last`, and after the tries in `before`.
    fn after(&self, key: &Key, before: &Entry, how: How, now: Instant, last: Instant) -> Entry {
        let (base, due) = (self.backoff(key, before.failures), self.due(key, before));
        // The time between the answers; what exceeds the required wait pays back debts. Concurrent tries
        // move the last answer by their common wait, and pay back no more than that.
        let passed = last.saturating_duration_since(before.last);
        let idle = passed.saturating_sub(due);
        let owed = self.backoff(key, before.tries);
        let lent = (before.lent + owed).saturating_sub(passed.max(base));
        // A spared try must have its whole wait to itself, or it owes the missing part: now the part that
        // it shared with the last try, and later the part that the next try shares with it.
        let shared = if how.spared { due.saturating_sub(passed) } else { Duration::ZERO };
        let again = how.again && before.again < AGAIN_MAX;
        Entry {
            failures: before.failures.saturating_add(u32::from(!again)),
            tries: before.tries.saturating_add(1),
            again: before.again + u32::from(again),
            lent,
            spared: (before.owes(now) + shared).saturating_sub(idle),
            open: if how.spared { due.saturating_sub(shared) } else { Duration::ZERO },
            last,
            turn: self.turn,
        }
    }

    /// Takes back a try that was counted: its secret was right.
    pub fn take_back(&mut self, key: &Key, counted: Counted) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match counted.before {
            Some(before) if entry.turn == counted.turn => {
                *entry = Entry { turn: entry.turn, ..before };
            }
            None if entry.turn == counted.turn => drop(self.remove(key)),
            // Other tries failed since.
            _ => {
                entry.failures = entry.failures.saturating_sub(u32::from(!counted.again));
                entry.tries = entry.tries.saturating_sub(1);
                entry.again = entry.again.saturating_sub(u32::from(counted.again));
            }
        }
    }

    /// Clears a key after a success. Call it for the account only: otherwise a guesser could clear its
    /// address by logging in to its own account from time to time. What was lent stays lent, because it may
    /// have been lent to a guesser.
    pub fn succeeded(&mut self, key: &Key) {
        match self.entries.get_mut(key) {
            Some(entry) if entry.again > 0 => (entry.failures, entry.tries) = (0, 0),
            _ => drop(self.remove(key)),
        }
    }

    /// The number of keys in the table.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there were no recent failures.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.by_age.remove(&entry.turn);
        Some(entry)
    }
}

impl Entry {
    /// The wait that spared tries owe if the next one comes now.
    fn owes(&self, now: Instant) -> Duration {
        self.spared + self.open.min(self.last.saturating_duration_since(now))
    }
}

/// No delay for the first few failures, which are typing errors; then a quarter of a second, doubling.
fn backoff(first: Duration, failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None | Some(0) => Duration::ZERO,
        Some(over) => first.saturating_mul(1 << (over - 1).min(16)),
    }
}

/// Maximum number of failures without a delay.
const FREE_FAILURES: u32 = 3;
/// Maximum number of tries of a key that count as part of an earlier mistake: three passwords by four
/// mechanisms each.
const AGAIN_MAX: u32 = 9;
/// Getting back what was lent makes a delay longer by at most this fraction of it (a sixth).
const LENT_PART: u32 = 6;
/// Spared tries may owe at most this many times the longest delay. Time in which the address could have
/// tried and did not pays it back.
const SPARED_MAX: u32 = 8;
/// The delay after one more failure.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay of an address: well under the time that an unauthenticated stream has.
const ADDRESS_DELAY_MAX: Duration = Duration::from_secs(30);
/// The longest delay of an account: its owner has to bear it while the account is attacked.
const ACCOUNT_DELAY_MAX: Duration = Duration::from_secs(5);
/// Failures older than this do not count.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: How = How { again: false, spared: false };
    const AGAIN: How = How { again: true, spared: false };
    const SPARED: How = How { again: false, spared: true };

    fn account(name: &str) -> Key {
        Key::Account(name.into())
    }

    #[test]
    fn delays_double_up_to_a_bound() {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(10);
        let address = Key::from(IpAddr::from([192, 0, 2, 1]));
        let mut seen = Vec::new();
        for _ in 0..40 {
            throttle.failed(&address, ONCE, now);
            throttle.failed(&account("a@b"), ONCE, now);
            let delay = |key| throttle.delay(key, now).as_millis();
            seen.push((delay(&address), delay(&account("a@b"))));
            now += throttle.delay(&address, now);
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

    fn address() -> Key {
        Key::from(IpAddr::from([192, 0, 2, 1]))
    }

    /// The number of failed tries in one, two and three hours if nothing but the delays of a key limits
    /// them: first `streams` streams of `by` mechanisms each, then one try a stream.
    fn tries_of_hours(key: &Key, by: u32, streams: u32) -> [u32; 3] {
        let (begun, mut throttle) = (Instant::now(), Throttle::new(10));
        let (mut now, mut tries, mut hours) = (begun, 0, [0; 3]);
        loop {
            // An account waits before it is looked at, an address before it is answered.
            if matches!(key, Key::Account(_)) {
                now += throttle.delay(key, now);
            }
            let again = tries / by < streams && tries % by > 0;
            now += throttle.failed(key, How { again, spared: false }, now).wait;
            if !tried(&mut hours, &mut tries, now - begun) {
                return hours;
            }
        }
    }

    /// Counts one more try, answered after this time; false when the hours are over.
    fn tried(hours: &mut [u32; 3], tries: &mut u32, passed: Duration) -> bool {
        *tries += 1;
        let passed = passed.as_secs_f64() / 3_600.0;
        for (counted, end) in hours.iter_mut().zip([1.0, 2.0, 3.0]) {
            if passed <= end {
                *counted = *tries;
            }
        }
        passed <= 3.0
    }

    /// docs/security.md, "Guessing": the tries that an address and an account had before several mechanisms
    /// counted as one mistake. No strategy gives more.
    #[test]
    fn guessing_is_not_faster_by_several_mechanisms() {
        let before = [(address(), [129, 249, 369]), (account("a@b"), [727, 1_447, 2_167])];
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

    /// An owner's logins from time to time clear the account's failures; a guesser gains no more from that
    /// than before.
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

    /// RFC 6120 §6.4.5: a user who mistypes a password three times, with a client that tries it by four
    /// mechanisms, waits as long as with one mechanism.
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
        // From then on each try counts.
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

    /// docs/security.md, "Guessing". The address is one from which accounts have logged in, so right
    /// passwords are answered at once, and a guesser need not wait to see that a password is wrong. That
    /// gives few more tries, and only once.
    #[test]
    fn who_is_spared_leaves_a_guesser_few_more_tries() {
        // Spared tries all at once, or some between those that wait, sooner or later; with a pause before
        // or without.
        let ways = (0..10).flat_map(|each| [0, 1, 15, 29].map(|after| (each, after)));
        for ((each, after), pause) in ways.flat_map(|way| [0, 100, 600].map(|pause| (way, pause))) {
            let (begun, mut throttle, key) = (Instant::now(), Throttle::new(10), address());
            let (mut now, mut tries, mut hours) = (begun, 0, [0; 3]);
            let told = format!("{each} spared {after} s after each other, paused {pause} s");
            let mut going = true;
            while going {
                for n in 0..if each == 0 { 99 } else { each } {
                    if throttle.delay(&key, now).is_zero() || !throttle.may_spare(&key, now) {
                        break;
                    }
                    throttle.failed(&key, SPARED, now);
                    tried(&mut hours, &mut tries, now - begun);
                    now += Duration::from_secs(if n % 2 == 0 { after } else { 0 });
                }
                // A guesser begins with streams of four tries each.
                let again = tries < 12 && tries % 4 > 0;
                now += throttle.failed(&key, How { again, spared: false }, now).wait;
                going = tried(&mut hours, &mut tries, now - begun);
                if tries == 60 {
                    now += Duration::from_secs(pause);
                }
            }
            // Without spared tries: 129, 249, 369.
            let most = [129, 249, 369].map(|before| before + SPARED_MAX + 1);
            assert!(hours.iter().zip(most).all(|(now, most)| *now <= most), "{told}: {hours:?}");
        }
    }

    /// A guesser that waits for one answer and guesses at the same time has the same few tries more.
    #[test]
    fn a_spared_guess_beside_one_that_waits_owes_its_wait() {
        for beside in [0, 1, 15, 29].map(Duration::from_secs) {
            let (mut now, mut throttle, key) = (Instant::now(), Throttle::new(10), address());
            let mut spared = 0;
            for n in 0..120 {
                let wait = throttle.failed(&key, ONCE, now).wait;
                if n > 12 && throttle.may_spare(&key, now + beside) {
                    throttle.failed(&key, SPARED, now + beside);
                    spared += 1;
                }
                now += wait;
            }
            assert_eq!(spared, SPARED_MAX, "{beside:?}");
        }
    }

    /// An address that fails without waiting pays nothing back, however often; silence does.
    #[test]
    fn only_time_gives_back_what_was_spared() {
        let (mut now, mut throttle, key) = (Instant::now(), Throttle::new(10), address());
        for _ in 0..12 {
            now += throttle.failed(&key, ONCE, now).wait;
        }
        // A try that waits for its answer was not spared anything.
        for _ in 0..20 {
            now += throttle.failed(&key, SPARED, now).wait;
        }
        assert_eq!(throttle.entries[&key].owes(now), Duration::ZERO);
        let mut spared = 0;
        while throttle.may_spare(&key, now) {
            throttle.failed(&key, SPARED, now);
            spared += 1;
        }
        assert_eq!(spared, SPARED_MAX);
        for _ in 0..1_000 {
            throttle.failed(&key, ONCE, now);
        }
        assert!(!throttle.may_spare(&key, now));
        // Tries that wait their time do not pay back either.
        for _ in 0..20 {
            now += throttle.failed(&key, ONCE, now).wait;
        }
        assert!(!throttle.may_spare(&key, now));
        // Others cannot see the debt.
        assert_eq!(throttle.delay(&key, now), ADDRESS_DELAY_MAX);
        throttle.failed(&key, ONCE, now + ADDRESS_DELAY_MAX * 2);
        assert!(throttle.may_spare(&key, now + ADDRESS_DELAY_MAX * 2));
    }

    /// What was lent for one mistake by several mechanisms is paid back by time, not by concurrent tries,
    /// which share their wait.
    #[test]
    fn tries_beside_each_other_give_nothing_back() {
        for key in [address(), account("a@b")] {
            let (mut now, mut throttle) = (Instant::now(), Throttle::new(10));
            for n in 0..12 {
                throttle.failed(&key, How { again: n % 4 > 0, spared: false }, now);
            }
            let lent = throttle.entries[&key].lent;
            assert!(lent > Duration::ZERO);
            for _ in 0..1_000 {
                throttle.failed(&key, ONCE, now);
            }
            assert!(throttle.entries[&key].lent >= lent, "{key:?}");
            for _ in 0..1_000 {
                now += throttle.delay(&key, now);
                now += throttle.failed(&key, ONCE, now).wait;
            }
            assert_eq!(throttle.entries[&key].lent, Duration::ZERO, "{key:?}");
        }
    }

    /// None of several concurrent streams is answered before the current wait is over, and the next ones
    /// wait as if they came one after the other.
    #[test]
    fn streams_beside_each_other_gain_nothing() {
        let (mut now, mut throttle, key) = (Instant::now(), Throttle::new(10), address());
        let free = (0..100).filter(|_| throttle.failed(&key, ONCE, now).wait.is_zero()).count();
        assert_eq!(free, 4);
        now += Duration::from_secs(20);
        for _ in 0..100 {
            assert!(throttle.failed(&key, ONCE, now).wait >= Duration::from_secs(10));
        }
        assert_eq!(throttle.delay(&key, now), ADDRESS_DELAY_MAX);
    }

    /// A right secret counts as a wrong one until its answer; then it is taken back, even if others failed
    /// meanwhile.
    #[test]
    fn what_was_right_is_taken_back() {
        let now = Instant::now();
        for key in [address(), account("a@b")] {
            let (mut throttle, mut other) = (Throttle::new(10), Throttle::new(10));
            let counted = throttle.failed(&key, ONCE, now);
            throttle.take_back(&key, counted);
            assert!(throttle.is_empty() && throttle.by_age.is_empty());
            for _ in 0..5 {
                throttle.failed(&key, ONCE, now);
                other.failed(&key, ONCE, now);
            }
            let before = throttle.delay(&key, now);
            let counted = throttle.failed(&key, ONCE, now);
            other.failed(&key, ONCE, now);
            assert_eq!(throttle.delay(&key, now), other.delay(&key, now));
            throttle.take_back(&key, counted);
            assert_eq!(throttle.delay(&key, now), before);
            let counted = throttle.failed(&key, AGAIN, now);
            throttle.failed(&key, ONCE, now);
            throttle.take_back(&key, counted);
            let entry = &throttle.entries[&key];
            assert_eq!((entry.failures, entry.tries, entry.again), (6, 6, 0));
        }
    }
}
