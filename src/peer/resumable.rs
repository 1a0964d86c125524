//! Streams of other servers that may be resumed (XEP-0198 §5): what is kept is how much of them was handled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::router::handled_count::HandledCount;

/// By the hash of the SM-ID. Bounded, and for each domain: the oldest are forgotten, first of those that lost their
/// connection.
#[derive(Debug, Default)]
pub(super) struct Resumables {
    streams: Mutex<HashMap<[u8; 32], Resumable>>,
    /// Streams end that somebody resumes.
    pub(super) ended: Notify,
}

#[derive(Debug, Clone)]
pub(super) struct Resumable {
    /// The remote domains that may resume it.
    pub(super) remotes: Vec<String>,
    pub(super) handled_count: Arc<HandledCount>,
    /// None as long as it has its connection.
    until: Option<Instant>,
    since: Instant,
    /// Ends that connection.
    pub(super) end: Arc<Notify>,
}

impl Resumables {
    /// A stream may be resumed.
    pub(super) fn add(
        &self,
        id: [u8; 32],
        remotes: Vec<String>,
        handled_count: Arc<HandledCount>,
        now: Instant,
    ) -> Arc<Notify> {
        let mut streams = self.lock();
        streams.retain(|_, stream| stream.until.is_none_or(|until| until > now));
        for remote in &remotes {
            let is_its = |stream: &Resumable| stream.remotes.contains(remote);
            if streams.values().filter(|stream| is_its(stream)).count() >= OF_DOMAIN_MAX {
                forget_oldest(&mut streams, is_its);
            }
        }
        if streams.len() >= STREAMS_MAX {
            forget_oldest(&mut streams, |_| true);
        }
        let (until, since, end) = (None, now, Arc::new(Notify::new()));
        let stream = Resumable { remotes, handled_count, until, since, end: end.clone() };
        streams.insert(id, stream);
        end
    }

    /// Its connection is gone.
    pub(super) fn disconnected(&self, id: &[u8; 32], now: Instant) {
        if let Some(stream) = self.lock().get_mut(id) {
            stream.until = Some(now + RESUME_TIME);
        }
        self.ended.notify_waiters();
    }

    /// It is closed in good order.
    pub(super) fn forget(&self, id: &[u8; 32]) {
        self.lock().remove(id);
        self.ended.notify_waiters();
    }

    /// The stream for whoever is authenticated as one of its domains: ends its old connection.
    pub(super) async fn take(&self, id: &[u8; 32], remote: &str) -> Option<Arc<HandledCount>> {
        loop {
            let ended = self.ended.notified();
            {
                let mut streams = self.lock();
                let stream = streams.get(id)?;
                if !stream.remotes.iter().any(|one| one == remote) {
                    return None;
                }
                if stream.until.is_some() {
                    return streams.remove(id).map(|stream| stream.handled_count);
                }
                stream.end.notify_one();
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Resumable>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One with a connection goes on, but cannot be resumed any more.
fn forget_oldest(streams: &mut HashMap<[u8; 32], Resumable>, which: impl Fn(&Resumable) -> bool) {
    let order = |stream: &Resumable| (stream.until.is_none(), stream.until, stream.since);
    let them = streams.iter().filter(|(_, stream)| which(stream));
    let oldest = them.min_by_key(|(_, stream)| order(stream)).map(|(id, _)| *id);
    oldest.map(|id| streams.remove(&id));
}

/// How long a stream may be resumed after it lost its connection.
pub(super) const RESUME_TIME: Duration = Duration::from_secs(600);
const STREAMS_MAX: usize = 10_000;
/// Of these, of one remote domain: a server has one or two.
const OF_DOMAIN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::clock::now;

    #[test]
    fn a_domain_has_a_few_and_its_oldest_go() {
        let (resumables, start) = (Resumables::default(), now());
        let add = |n: u8, domain: &str| {
            let at = start + Duration::from_secs(n.into());
            let count = Arc::new(HandledCount::default());
            resumables.add([n; 32], vec![domain.to_owned()], count, at);
        };
        let left = || {
            let mut left: Vec<u8> = resumables.lock().keys().map(|id| id[0]).collect();
            left.sort_unstable();
            left
        };
        add(0, "other.example");
        (1..=4).for_each(|n| add(n, "a.example"));
        resumables.disconnected(&[3; 32], start);
        add(5, "a.example");
        assert_eq!(left(), [0, 1, 2, 4, 5], "without a connection first");
        add(6, "a.example");
        assert_eq!(left(), [0, 2, 4, 5, 6], "then the oldest");
        resumables.disconnected(&[1; 32], start);
        assert_eq!(left(), [0, 2, 4, 5, 6]);
    }
}
