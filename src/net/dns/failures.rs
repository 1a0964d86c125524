//! Domains whose servers could not be found a moment ago are not asked for again at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::found::DnsError;

/// What failed of late, bounded.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<String, (Instant, DnsError)>>);

impl Failures {
    /// How a domain failed within the last [`REMEMBERED`].
    pub(super) fn recent(&self, domain: &str, now: Instant) -> Option<DnsError> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, error) = failures.get(domain)?;
        (now.saturating_duration_since(*since) < REMEMBERED).then(|| error.clone())
    }

    /// Forgets a failure.
    pub(super) fn forget(&self, domain: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }

    /// Notes a failure. Where there are too many at a time it is not noted, and the domain is asked for again.
    pub(super) fn note(&self, domain: &str, error: &DnsError, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= DOMAINS_MAX {
            failures.retain(|_, (since, _)| now.saturating_duration_since(*since) < REMEMBERED);
        }
        if failures.len() < DOMAINS_MAX {
            failures.insert(domain.to_owned(), (now, error.clone()));
        }
    }
}

const REMEMBERED: Duration = Duration::from_secs(30);
const DOMAINS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_remembered_for_a_short_while() {
        let (failures, start) = (Failures::default(), Instant::now());
        failures.note("a", &DnsError::NoDomain, start);
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(failures.recent("a", after(29)), Some(DnsError::NoDomain));
        assert_eq!(failures.recent("a", after(30)), None);
        assert_eq!(failures.recent("b", start), None);
    }

    #[test]
    fn there_is_a_bound() {
        let (failures, start) = (Failures::default(), Instant::now());
        let domain = |number: usize| format!("d{number}");
        for number in 0..DOMAINS_MAX * 2 {
            failures.note(&domain(number), &DnsError::Timeout, start);
        }
        assert_eq!(failures.0.lock().unwrap().len(), DOMAINS_MAX);
        let later = start + REMEMBERED;
        failures.note("later", &DnsError::Timeout, later);
        assert_eq!(failures.recent("later", later), Some(DnsError::Timeout));
        assert_eq!(failures.0.lock().unwrap().len(), 1);
    }
}
