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
    /// Accounts, by their hash, that had nothing for those who come online when they were at this version.
    silent: HashMap<u64, u64>,
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

    /// The account has no node that sends its last item to who comes online; read at this version. Most
    /// contacts are so, and need not be looked for in the store each time that somebody comes.
    pub(super) fn note_silent(&self, account: &BareJid, version: u64) {
        let hash = self.hash(account.as_str());
        let mut inner = self.lock();
        if inner.silent.len() >= SILENT_MAX {
            inner.silent.clear();
        }
        inner.silent.insert(hash, version);
    }

    /// Whether that is still so; false if nothing is known of the account.
    pub(super) fn is_silent(&self, account: &str) -> bool {
        let hash = self.hash(account);
        let inner = self.lock();
        let now = inner.versions.get(place(hash)).copied().unwrap_or(0);
        inner.silent.get(&hash) == Some(&now)
    }

    fn hash(&self, account: &str) -> u64 {
        self.hash.hash_one(account)
    }

    fn place(&self, account: &BareJid) -> usize {
        place(self.hash(account.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % PLACES as u64).unwrap_or(0)
}

/// Numbers of commits that are kept.
const PLACES: usize = 1_024;
/// Silent accounts that are known: 1 MB.
const SILENT_MAX: usize = 50_000;

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
    fn an_account_is_silent_until_it_commits_something() {
        let feeds = Feeds::default();
        let a = BareJid::parse("a@x").unwrap();
        assert!(!feeds.is_silent("a@x"));
        let read = feeds.version(&a);
        feeds.note_silent(&a, read);
        assert!(feeds.is_silent("a@x") && !feeds.is_silent("b@x"));
        feeds.add(&a, batch());
        assert!(!feeds.is_silent("a@x"));
        feeds.note_silent(&a, read);
        assert!(!feeds.is_silent("a@x"), "what was read is older");
        for n in 0..2 * SILENT_MAX {
            feeds.note_silent(&BareJid::parse(&format!("{n}@x")).unwrap(), 0);
        }
        assert!(feeds.lock().silent.len() <= SILENT_MAX);
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
