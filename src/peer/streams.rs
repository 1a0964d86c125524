//! What is known of the streams with other servers: those that stand, and what failed lately. For the operator.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

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
    streams: BTreeMap<u64, (StreamFacts, Arc<Notify>)>,
}

#[derive(Debug, Default)]
struct Failures {
    by_domain: HashMap<String, OfDomain>,
    /// Domains by the time of their first failure, so that the oldest is forgotten first.
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
struct OfDomain {
    last: VecDeque<Failed>,
    /// When the log last told of one, what it said, and how many it has not told of since.
    told: Option<(SystemTime, String)>,
    untold: u64,
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
    /// What to do about it, for the operator; empty if nobody knows.
    pub advice: &'static str,
    /// What was done before.
    pub steps: Vec<Step>,
}

/// A stream's place in the list; it leaves it when this is dropped.
#[derive(Debug)]
pub struct Listed {
    streams: Arc<Streams>,
    number: u64,
    dismissed: Arc<Notify>,
}

impl Streams {
    /// Adds a stream.
    pub fn list(self: &Arc<Self>, facts: StreamFacts) -> Listed {
        let mut standing = self.standing();
        standing.next += 1;
        let number = standing.next;
        let dismissed = Arc::new(Notify::new());
        standing.streams.insert(number, (facts, dismissed.clone()));
        Listed { streams: self.clone(), number, dismissed }
    }

    /// All that stand, oldest first.
    pub fn all(&self) -> Vec<StreamFacts> {
        self.standing().streams.values().map(|(facts, _)| facts.clone()).collect()
    }

    /// Streams by who opened them: others, and we.
    pub fn count(&self) -> [(&'static str, u64); 3] {
        let standing = self.standing();
        [Direction::In, Direction::Out, Direction::Component].map(|direction| {
            let some = standing.streams.values().filter(|(facts, _)| facts.direction == direction);
            (direction.as_str(), some.count() as u64)
        })
    }

    /// Has streams ended, each by its own task; how many.
    pub fn dismiss(&self, which: impl Fn(&StreamFacts) -> bool) -> usize {
        let standing = self.standing();
        let some = standing.streams.values().filter(|(facts, _)| which(facts));
        some.inspect(|(_, dismissed)| dismissed.notify_one()).count()
    }

    /// Notes a failure. Whether the log is to tell of it, and of how many before it that it did not tell of: one
    /// domain fills no log.
    pub fn failed(&self, remote: &str, failed: Failed) -> Option<u64> {
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
        if of_domain.last.len() >= FAILURES_MAX {
            of_domain.last.pop_front();
        }
        let (at, why) = (failed.at, failed.why.clone());
        of_domain.last.push_back(failed);
        let again = of_domain.told.as_ref().is_some_and(|(told, before)| {
            let since = at.duration_since(*told).unwrap_or(TOLD_AGAIN);
            since < TOLD_APART || (*before == why && since < TOLD_AGAIN)
        });
        if again {
            of_domain.untold += 1;
            return None;
        }
        of_domain.told = Some((at, why));
        Some(std::mem::take(&mut of_domain.untold))
    }

    /// What failed lately with a domain, oldest first.
    pub fn failures(&self, remote: &str) -> Vec<Failed> {
        let failures = self.failures_of();
        failures.by_domain.get(remote).into_iter().flat_map(|all| &all.last).cloned().collect()
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
        if let Some((facts, _)) = self.streams.standing().streams.get_mut(&self.number) {
            change(facts);
        }
    }

    /// Waits until an operator wants the stream to end. Cancel-safe.
    pub async fn dismissed(&self) {
        self.dismissed.notified().await;
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
/// Between two lines of the log about one domain, and between two that say the same.
const TOLD_APART: Duration = Duration::from_secs(10);
const TOLD_AGAIN: Duration = Duration::from_secs(600);

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
            advice: "",
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

    #[test]
    fn the_log_tells_of_a_domain_now_and_then() {
        let streams = Streams::default();
        let failed = |secs: u64, why: &str| Failed {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(secs),
            local: "x".to_owned(),
            direction: Direction::Out,
            why: why.to_owned(),
            advice: "",
            steps: Vec::new(),
        };
        let told = [(0, "a"), (5, "b"), (11, "a"), (12, "a"), (20, "b"), (21, "b"), (621, "b")]
            .map(|(at, why)| streams.failed("a.example", failed(at, why)));
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }

    #[tokio::test]
    async fn a_stream_hears_that_it_is_to_end() {
        let streams = Arc::new(Streams::default());
        let (one, other) = (streams.list(facts()), streams.list(facts()));
        one.change(|facts| facts.tls = "TLSv1.3");
        assert_eq!(streams.dismiss(|facts| facts.tls.is_empty()), 1);
        // It hears it also if it listens only later.
        other.dismissed().await;
        assert_eq!(streams.count(), [("in", 0), ("out", 2), ("component", 0)]);
    }
}
