//! The order in which an account's events are told: that of their commits. Whoever commits first begins to
//! tell, and what comes meanwhile is told behind it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::jid::{BareJid, Jid};
use crate::modules::pubsub::Event;
use crate::router::outbox::Outbox;

/// What was committed and is not told yet, of all accounts. Bounded by the requests that are handled: each
/// waits until its own is told.
#[derive(Debug, Default)]
pub struct Feeds {
    inner: Mutex<Inner>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<BareJid, VecDeque<Batch>>,
    /// Commits, of many accounts in one place: a few too many are looked at again, and memory is bounded.
    versions: Vec<u64>,
}

/// What one transaction did.
#[derive(Debug)]
pub(super) struct Batch {
    /// Nodes that it may have changed.
    pub nodes: Vec<String>,
    /// In order.
    pub events: Vec<Event>,
    /// The session that asked for it.
    pub by: Option<Jid>,
    /// Told when all was told: with the boxes that have little room now.
    pub told: oneshot::Sender<Vec<Arc<Outbox>>>,
}

impl Feeds {
    /// Queues what was committed; true if the caller has to begin to tell, as nobody tells of the account now.
    pub(super) fn add(&self, account: &BareJid, batch: Batch) -> bool {
        let place = self.place(account);
        let mut inner = self.lock();
        if inner.versions.is_empty() {
            inner.versions = vec![0; PLACES];
        }
        if let Some(version) = inner.versions.get_mut(place) {
            *version = version.wrapping_add(1);
        }
        let is_first = !inner.waiting.contains_key(account);
        inner.waiting.entry(account.clone()).or_default().push_back(batch);
        is_first
    }

    /// The next to tell; when there is none, whoever comes next begins again.
    pub(super) fn next(&self, account: &BareJid) -> Option<Batch> {
        let mut inner = self.lock();
        let next = inner.waiting.get_mut(account).and_then(VecDeque::pop_front);
        if next.is_none() {
            inner.waiting.remove(account);
        }
        next
    }

    /// Drops what is left of an account, so that it is told of again by the next one.
    pub(super) fn give_up(&self, account: &BareJid) {
        self.lock().waiting.remove(account);
    }

    /// Changes with each commit of the account.
    pub(super) fn version(&self, account: &BareJid) -> u64 {
        let place = self.place(account);
        self.lock().versions.get(place).copied().unwrap_or(0)
    }

    /// Does this if nothing was committed since: what is told of a later commit comes behind it. Takes no
    /// other lock than a box's.
    pub(super) fn if_still<T>(
        &self,
        account: &BareJid,
        version: u64,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let place = self.place(account);
        let inner = self.lock();
        let now = inner.versions.get(place).copied().unwrap_or(0);
        (now == version).then(work)
    }

    fn place(&self, account: &BareJid) -> usize {
        usize::try_from(self.hash.hash_one(account.as_str()) % PLACES as u64).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers of commits that are kept.
const PLACES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let told = oneshot::channel().0;
        Batch { nodes: Vec::new(), events: Vec::new(), by: None, told }
    }

    #[test]
    fn one_tells_for_all_that_came_meanwhile() {
        let feeds = Feeds::default();
        let (a, b) = (BareJid::parse("a@x").unwrap(), BareJid::parse("b@x").unwrap());
        assert!(feeds.add(&a, batch()));
        assert!(!feeds.add(&a, batch()));
        assert!(feeds.add(&b, batch()));
        assert!(feeds.next(&a).is_some() && feeds.next(&a).is_some() && feeds.next(&a).is_none());
        assert!(feeds.add(&a, batch()), "nobody tells of it any more");
        feeds.give_up(&b);
        assert!(feeds.add(&b, batch()));
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_sent_after_it() {
        let feeds = Feeds::default();
        let a = BareJid::parse("a@x").unwrap();
        let version = feeds.version(&a);
        assert_eq!(feeds.if_still(&a, version, || 1), Some(1));
        feeds.add(&a, batch());
        assert_eq!(feeds.if_still(&a, version, || 1), None);
        assert_eq!(feeds.if_still(&a, feeds.version(&a), || 1), Some(1));
    }
}
