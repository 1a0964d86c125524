//! The queues for other servers and for components, by pair of domains.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::deferred::{Deferred, RefusedWrites};
use super::later::Commons;
use super::peer_queue::{Pair, PeerBounds, PeerQueue, Queued};
use crate::stanza::{Frame, StanzaError};
use crate::store::peer_queue::{self, PeerOutline};
use crate::store::{Store, StoreError};

/// What is beyond this server: who may be reached, and who goes there.
pub trait Reaches: Debug + Send + Sync {
    /// Whether stanzas may go from a domain of ours to this one; else the error for their senders.
    fn may_reach(&self, local: &str, remote: &str) -> Result<(), StanzaError>;

    /// The domain of ours in whose name stanzas go there: for a component all of them have one queue.
    fn in_name_of<'a>(&self, local: &'a str, remote: &str) -> &'a str;
}

/// All queues of one server.
#[derive(Debug)]
pub struct Peers {
    reaches: Option<Arc<dyn Reaches>>,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    bounds: PeerBounds,
    commons: Arc<Commons>,
    /// Queues that have no task yet: each is here once.
    unserved: Mutex<VecDeque<Arc<PeerQueue>>>,
    called: Notify,
    /// Queues with deferred rows: each is here once.
    deferring: Mutex<Vec<Weak<PeerQueue>>>,
}

/// By remote domain; few domains of ours speak with the same one.
type Shard = HashMap<Box<str>, SmallVec<[Arc<PeerQueue>; 1]>>;

const SHARDS: usize = 16;

impl Default for Peers {
    /// Nobody is beyond this server.
    fn default() -> Self {
        Self {
            reaches: None,
            shards: Default::default(),
            hasher: RandomState::new(),
            bounds: PeerBounds::default(),
            commons: Arc::default(),
            unserved: Mutex::default(),
            called: Notify::new(),
            deferring: Mutex::default(),
        }
    }
}

impl Peers {
    /// Queues with these bounds.
    pub fn new(reaches: Arc<dyn Reaches>, bounds: PeerBounds) -> Self {
        Self { reaches: Some(reaches), bounds, ..Self::default() }
    }

    /// Whether stanzas may go there; else the error for their senders (RFC 6120 §10.4).
    pub fn may_reach(&self, local: &str, remote: &str) -> Result<(), StanzaError> {
        match &self.reaches {
            Some(reaches) => reaches.may_reach(local, remote),
            None => Err(StanzaError::remote_server_not_found()),
        }
    }

    /// The queue of a pair, for a stream that takes its stanzas.
    pub fn of_pair(&self, local: &str, remote: &str) -> Arc<PeerQueue> {
        self.queue(local, remote)
    }

    /// A peer that could not be reached has called: it is tried again at once.
    pub fn heard_of(&self, local: &str, remote: &str) {
        let shard = self.shard(remote);
        let mut queues = shard.get(remote).into_iter().flatten();
        if let Some(queue) = queues.find(|queue| &*queue.pair.local == local && queue.is_away()) {
            queue.wake();
        }
    }

    /// Takes up what an earlier run left in the store. Begins no task: see [`Peers::call`].
    pub async fn restore(&self, store: &Store) -> Result<Vec<Arc<PeerQueue>>, StoreError> {
        let outlines = store.read(peer_queue::outlines).await?;
        let same = |a: &PeerOutline, b: &PeerOutline| a.remote == b.remote && a.local == b.local;
        let mut queues = Vec::new();
        for of_pair in outlines.chunk_by(same) {
            let Some(first) = of_pair.first() else { continue };
            let queue = self.queue(&first.local, &first.remote);
            queue.restore(of_pair.iter().map(|row| (row.seq, row.bytes, row.at)));
            queues.push(queue);
        }
        Ok(queues)
    }

    /// Calls for a task that looks after the queue, if it has none.
    pub fn call(&self, queue: &Arc<PeerQueue>) {
        if queue.claim() {
            locked(&self.unserved).push_back(queue.clone());
            self.called.notify_one();
        }
    }

    /// Calls for another task: the one that looked after it cannot go on.
    pub fn call_again(&self, queue: &Arc<PeerQueue>) {
        locked(&self.unserved).push_back(queue.clone());
        self.called.notify_one();
    }

    /// Waits for a queue that has no task.
    pub async fn unserved(&self) -> Arc<PeerQueue> {
        loop {
            if let Some(queue) = locked(&self.unserved).pop_front() {
                return queue;
            }
            self.called.notified().await;
        }
    }

    /// All queues there are, in order.
    pub fn all(&self) -> Vec<Arc<PeerQueue>> {
        let of = |shard: &Mutex<Shard>| {
            let shard = locked(shard);
            shard.values().flatten().cloned().collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.shards.iter().flat_map(of).collect();
        all.sort_by(|one, other| one.pair.cmp(&other.pair));
        all
    }

    /// Forgets a queue that its task has released, unless it is in use again.
    pub fn forget(&self, queue: &Arc<PeerQueue>) {
        let mut shard = self.shard(&queue.pair.remote);
        // The table's, and the caller's.
        let unused = Arc::strong_count(queue) <= 2 && queue.is_idle();
        if unused && let Some(queues) = shard.get_mut(&queue.pair.remote) {
            queues.retain(|known| !Arc::ptr_eq(known, queue));
            if queues.is_empty() {
                shard.remove(&queue.pair.remote);
            }
        }
    }

    fn queue(&self, local: &str, remote: &str) -> Arc<PeerQueue> {
        let mut shard = self.shard(remote);
        if let Some(queues) = shard.get(remote)
            && let Some(queue) = queues.iter().find(|queue| &*queue.pair.local == local)
        {
            return queue.clone();
        }
        let pair = Pair { local: local.into(), remote: remote.into() };
        let queue = Arc::new(PeerQueue::new(pair, self.bounds, self.commons.clone()));
        shard.entry(remote.into()).or_default().push(queue.clone());
        queue
    }

    fn shard(&self, remote: &str) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hasher.hash_one(remote) % SHARDS as u64).unwrap_or(0);
        let [first, ..] = &self.shards;
        locked(self.shards.get(at).unwrap_or(first))
    }

    /// The queue for a stanza between these, if it may go there.
    pub(super) fn to(&self, local: &str, remote: &str) -> Result<Arc<PeerQueue>, StanzaError> {
        let Some(reaches) = &self.reaches else {
            return Err(StanzaError::remote_server_not_found());
        };
        reaches.may_reach(local, remote)?;
        let local = reaches.in_name_of(local, remote);
        let known = || {
            let shard = self.shard(remote);
            shard.get(remote).is_some_and(|queues| queues.iter().any(|it| &*it.pair.local == local))
        };
        // Whoever names ever more domains makes no more queues than these.
        if !known() && self.commons.unopened() >= self.bounds.waiting_max {
            let why = "this server looks for too many other servers at the moment";
            return Err(StanzaError::resource_constraint().text(why));
        }
        Ok(self.queue(local, remote))
    }

    /// Sends what has no row. The error is for whoever waits for an answer.
    pub fn send(&self, local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError> {
        self.put(local, remote, frame).map(drop)
    }

    /// Queues what has no row. The error is for whoever waits for an answer.
    pub(super) fn put(
        &self,
        local: &str,
        remote: &str,
        frame: Frame,
    ) -> Result<Queued, StanzaError> {
        let queue = self.to(local, remote)?;
        let queued = queue.put(frame, 0);
        self.call(&queue);
        queued
    }
}

/// Deferred rows.
impl Peers {
    /// The queue has some now.
    pub(super) fn defers(&self, queue: &Arc<PeerQueue>) {
        locked(&self.deferring).push(Arc::downgrade(queue));
    }

    /// Queues all of them for writing.
    pub(super) fn flush_deferred(&self, store: &Store) -> RefusedWrites {
        self.each_deferred(|deferred| deferred.flush(store))
    }

    /// Queues those for writing that were there at the last flush.
    pub(super) fn flush_seen(&self, store: &Store) -> RefusedWrites {
        self.each_deferred(|deferred| deferred.flush_seen(store))
    }

    /// Whether some queue may have deferred rows.
    pub(super) fn has_deferred(&self) -> bool {
        !locked(&self.deferring).is_empty()
    }

    fn each_deferred(&self, flush: impl Fn(&mut Deferred) -> RefusedWrites) -> RefusedWrites {
        let mut refused_writes = RefusedWrites::default();
        locked(&self.deferring).retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let (refused, left) = queue.flush(&flush);
            refused_writes.append(refused);
            left
        });
        refused_writes
    }
}

impl Peers {
    /// Queues presence, or a probe, of an account of ours: nobody waits for it. After a restart there is much of it
    /// for one domain.
    pub(super) fn put_presence(
        &self,
        local: &str,
        remote: &str,
        frame: Frame,
    ) -> Result<(), StanzaError> {
        let queue = self.to(local, remote)?;
        let queued = queue.put_presence(frame);
        self.call(&queue);
        queued
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
