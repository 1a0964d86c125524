//! What is known of the streams with other servers: those that stand, and what failed lately. For the operator.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::dial::Step;

/// All streams of one server, and the last failures.
#[derive(Debug, Default)]
pub struct Streams {
    standing: Mutex<Standing>,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Standing {
    next: u64,
    streams: BTreeMap<u64, StreamFacts>,
}

#[derive(Debug, Default)]
struct Failures {
    by_domain: HashMap<String, VecDeque<Failed>>,
    /// Domains by the time of their first failure, so that the oldest is forgotten first.
    order: VecDeque<String>,
}

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The other server.
    In,
    /// We.
    Out,
    /// A component.
    Component,
}

impl Direction {
    /// For people and for figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Component => "component",
        }
    }
}

/// A stream.
#[derive(Debug, Clone)]
pub struct StreamFacts {
    /// Who opened it.
    pub direction: Direction,
    /// The pairs of domains it is authenticated for, ours first, each with the way in which that was shown.
    pub pairs: Vec<(String, String, &'static str)>,
    /// The other end.
    pub address: IpAddr,
    /// Such as `TLSv1.3`; empty before TLS.
    pub tls: &'static str,
    /// Since when.
    pub since: SystemTime,
    /// Whether stanzas go both ways (XEP-0288).
    pub bidi: bool,
    /// Whether stanzas are acknowledged by XEP-0198.
    pub managed: bool,
}

/// An attempt that led to nothing, or a stream that broke.
#[derive(Debug, Clone)]
pub struct Failed {
    /// When.
    pub at: SystemTime,
    /// The domain of ours that it was for.
    pub local: String,
    /// Who opened it.
    pub direction: Direction,
    /// Why, for people.
    pub why: String,
    /// What was done before.
    pub steps: Vec<Step>,
}

/// A stream's place in the list; it leaves it when this is dropped.
#[derive(Debug)]
pub struct Listed {
    streams: Arc<Streams>,
    number: u64,
}

impl Streams {
    /// Adds a stream.
    pub fn list(self: &Arc<Self>, facts: StreamFacts) -> Listed {
        let mut standing = self.standing();
        standing.next += 1;
        let number = standing.next;
        standing.streams.insert(number, facts);
        Listed { streams: self.clone(), number }
    }

    /// All that stand, oldest first.
    pub fn all(&self) -> Vec<StreamFacts> {
        self.standing().streams.values().cloned().collect()
    }

    /// Notes a failure.
    pub fn failed(&self, remote: &str, failed: Failed) {
        let mut failures = self.failures_of();
        if !failures.by_domain.contains_key(remote) {
            if failures.order.len() >= DOMAINS_MAX
                && let Some(oldest) = failures.order.pop_front()
            {
                failures.by_domain.remove(&oldest);
            }
            failures.order.push_back(remote.to_owned());
        }
        let of_domain = failures.by_domain.entry(remote.to_owned()).or_default();
        if of_domain.len() >= FAILURES_MAX {
            of_domain.pop_front();
        }
        of_domain.push_back(failed);
    }

    /// What failed lately with a domain, oldest first.
    pub fn failures(&self, remote: &str) -> Vec<Failed> {
        let failures = self.failures_of();
        failures.by_domain.get(remote).into_iter().flatten().cloned().collect()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures_of(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Changes what is known of the stream.
    pub fn change(&self, change: impl FnOnce(&mut StreamFacts)) {
        if let Some(facts) = self.streams.standing().streams.get_mut(&self.number) {
            change(facts);
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.streams.standing().streams.remove(&self.number);
    }
}

/// Domains of which failures are remembered.
const DOMAINS_MAX: usize = 500;
/// Failures that are remembered of one domain.
const FAILURES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn facts() -> StreamFacts {
        StreamFacts {
            direction: Direction::Out,
            pairs: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            tls: "",
            since: SystemTime::UNIX_EPOCH,
            bidi: false,
            managed: false,
        }
    }

    #[test]
    fn a_stream_is_listed_as_long_as_it_stands() {
        let streams = Arc::new(Streams::default());
        let one = streams.list(facts());
        let other = streams.list(facts());
        one.change(|facts| facts.tls = "TLSv1.3");
        assert_eq!(
            streams.all().iter().map(|facts| facts.tls).collect::<Vec<_>>(),
            ["TLSv1.3", ""]
        );
        drop(one);
        assert_eq!(streams.all().len(), 1);
        drop(other);
        assert!(streams.all().is_empty());
    }

    #[test]
    fn failures_are_bounded_by_domain_and_in_all() {
        let streams = Streams::default();
        let failed = |why: &str| Failed {
            at: SystemTime::UNIX_EPOCH,
            local: "x".to_owned(),
            direction: Direction::Out,
            why: why.to_owned(),
            steps: Vec::new(),
        };
        for n in 0..9 {
            streams.failed("a.example", failed(&n.to_string()));
        }
        let whys = streams.failures("a.example");
        assert_eq!(
            whys.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(),
            ["4", "5", "6", "7", "8"]
        );
        for n in 0..DOMAINS_MAX {
            streams.failed(&format!("{n}.example"), failed("x"));
        }
        assert!(streams.failures("a.example").is_empty());
        assert_eq!(streams.failures("0.example").len(), 1);
    }
}
