//! How fast other servers are read from: all streams of one domain share one pace, however many it opens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::session::pace::Pace;

/// The paces of all domains that have streams, or had some a moment ago.
#[derive(Debug)]
pub(super) struct Paces {
    /// Rate per second and burst, of bytes and of stanzas; a rate of 0: no bound.
    rates: [(u32, u32); 2],
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_domain: HashMap<Box<str>, Arc<Mutex<Pace>>>,
    /// With so many, those that nobody needs are forgotten.
    most: usize,
}

/// The pace of one domain, as one of its streams has it.
#[derive(Debug)]
pub(super) struct DomainPace {
    domain: Box<str>,
    pace: Arc<Mutex<Pace>>,
}

impl Paces {
    /// Rates per second of bytes and of stanzas; 0: no bound. A burst above the average is some seconds of it.
    pub(super) fn new(bytes: u32, stanzas: u32) -> Self {
        let of = |per_second: u32| (per_second, per_second.saturating_mul(BURST_SECONDS));
        Self { rates: [of(bytes), of(stanzas)], known: Mutex::default() }
    }

    /// A pace of its own, for a stream: whoever it is.
    pub(super) fn of_stream(&self, now: Instant) -> Pace {
        let [bytes, stanzas] = self.rates;
        Pace::of(bytes, stanzas, now)
    }

    /// The one that all streams of this domain (in normal form) share.
    pub(super) fn of_domain(&self, domain: &str, now: Instant) -> DomainPace {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_domain.len() >= known.most {
            // Who comes back at once finds what it left: new streams are no new bursts.
            known
                .by_domain
                .retain(|_, pace| Arc::strong_count(pace) > 1 || !locked(pace).is_full(now));
            known.most = known.by_domain.len() * 2 + SOME;
        }
        let new = || Arc::new(Mutex::new(self.of_stream(now)));
        let pace = known.by_domain.entry(domain.into()).or_insert_with(new).clone();
        DomainPace { domain: domain.into(), pace }
    }
}

impl DomainPace {
    /// Whose it is.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// Counts what came; returns how long reading must pause.
    pub(super) fn count(&self, bytes: usize, stanzas: usize, now: Instant) -> Duration {
        locked(&self.pace).count(bytes, stanzas, now)
    }
}

fn locked(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A burst above the average, in seconds of it.
const BURST_SECONDS: u32 = 5;
/// Domains that are known in any case.
const SOME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::clock::now;

    #[test]
    fn streams_of_one_domain_share_and_new_ones_find_what_was_left() {
        let (paces, start) = (Paces::new(0, 10), now());
        let (one, other) =
            (paces.of_domain("a.example", start), paces.of_domain("a.example", start));
        assert_eq!(one.count(1 << 20, 30, start), Duration::ZERO);
        assert_eq!(other.count(1 << 20, 30, start), Duration::from_secs(1));
        assert_eq!(paces.of_domain("b.example", start).count(0, 50, start), Duration::ZERO);
        drop((one, other));
        for n in 0..200 {
            paces.of_domain(&format!("{n}.example"), start);
        }
        assert_eq!(paces.of_domain("a.example", start).count(0, 10, start), Duration::from_secs(2));
    }

    #[test]
    fn what_is_known_has_a_bound() {
        let (paces, start) = (Paces::new(1_000, 10), now());
        for n in 0..10_000 {
            paces.of_domain(&format!("{n}.example"), start);
        }
        assert!(paces.known.lock().unwrap().by_domain.len() <= 2 * SOME);
        let none = Paces::new(0, 0);
        assert_eq!(none.of_domain("a", start).count(1 << 30, 1 << 20, start), Duration::ZERO);
    }
}
