//! Streams of ours on which several of our domains send to one other domain (XEP-0220 §2.6.1): the task of a pair asks
//! for a place on one that stands before it opens its own.
//!
//! Other domains of a peer (§2.6.2) have streams of their own. A place there would need the addresses of both domains
//! looked up first, and its answer is a dialback that EXTERNAL makes needless: it proves one pair of a stream. What it
//! saves is a connection; what it costs is that domains of different people share their fate, as an error of one ends
//! the stream of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::router::peer_queue::PeerQueue;

/// The streams that may take others along, by the domain that they lead to.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    streams: Mutex<HashMap<Box<str>, Vec<Carrier>>>,
}

#[derive(Debug, Clone)]
struct Carrier {
    /// The queue that the stream was opened for.
    host: Arc<PeerQueue>,
    asked: mpsc::Sender<Guest>,
}

/// A queue that asks for a place.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) queue: Arc<PeerQueue>,
    /// Told when it has the place: what it gets ends when it loses it.
    pub(super) told: oneshot::Sender<oneshot::Receiver<()>>,
}

/// A place on another's stream.
pub(super) struct Place {
    /// Ends when the place is lost.
    pub(super) lost: oneshot::Receiver<()>,
    /// The queue whose task opens the stream again.
    pub(super) host: Arc<PeerQueue>,
}

/// That a stream may be asked, until this is dropped.
pub(super) struct Carrying {
    carriers: Arc<Carriers>,
    host: Arc<PeerQueue>,
}

impl Carriers {
    /// A stream for this queue stands; what it is asked comes here.
    pub(super) fn stand(
        self: &Arc<Self>,
        host: &Arc<PeerQueue>,
    ) -> (Carrying, mpsc::Receiver<Guest>) {
        let (asked, guests) = mpsc::channel(GUESTS_MAX);
        let carrier = Carrier { host: host.clone(), asked };
        self.lock().entry(host.pair.remote.clone()).or_default().push(carrier);
        (Carrying { carriers: self.clone(), host: host.clone() }, guests)
    }

    /// Asks those that stand; `None` if none takes the queue along.
    pub(super) async fn ask(&self, queue: &Arc<PeerQueue>) -> Option<Place> {
        let standing = self.lock().get(&queue.pair.remote).cloned().unwrap_or_default();
        for Carrier { host, asked } in standing.into_iter().take(ASKED_MAX) {
            let (told, mut answer) = oneshot::channel();
            if asked.try_send(Guest { queue: queue.clone(), told }).is_err() {
                continue;
            }
            let lost = match timeout(PATIENCE, &mut answer).await {
                Ok(answer) => answer.ok(),
                Err(_) => {
                    // It may have been told at this very moment.
                    answer.close();
                    answer.try_recv().ok()
                }
            };
            if let Some(lost) = lost {
                return Some(Place { lost, host });
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Carrier>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        let mut streams = self.carriers.lock();
        if let Some(some) = streams.get_mut(&self.host.pair.remote) {
            some.retain(|one| !Arc::ptr_eq(&one.host, &self.host));
            if some.is_empty() {
                streams.remove(&self.host.pair.remote);
            }
        }
    }
}

/// Queues that may ask one stream at a time; and streams that one asks.
const GUESTS_MAX: usize = 16;
const ASKED_MAX: usize = 2;
/// How long the peer may take: it may have to call back.
const PATIENCE: Duration = Duration::from_secs(10);
