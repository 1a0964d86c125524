//! Streams of other servers that may be resumed (XEP-0198 §5): what is kept is how much of them was handled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::router::handled_count::HandledCount;

/// By the hash of the SM-ID. Bounded: the oldest are forgotten.
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
        if streams.len() >= STREAMS_MAX
            && let Some(oldest) = oldest(&streams)
        {
            streams.remove(&oldest);
        }
        let end = Arc::new(Notify::new());
        streams.insert(id, Resumable { remotes, handled_count, until: None, end: end.clone() });
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

fn oldest(streams: &HashMap<[u8; 32], Resumable>) -> Option<[u8; 32]> {
    let gone = streams.iter().filter_map(|(id, stream)| Some((stream.until?, id)));
    gone.min().map(|(_, id)| *id)
}

/// How long a stream may be resumed after it lost its connection.
pub(super) const RESUME_TIME: Duration = Duration::from_secs(600);
const STREAMS_MAX: usize = 10_000;
