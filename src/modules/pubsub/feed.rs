//! The order in which a service's events are told: that of their commits. Whoever commits first begins to
//! tell, and what comes meanwhile is told behind it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::event::Event;
use crate::jid::{BareJid, Jid};
use crate::router::outbox::Outbox;

/// What was committed and is not told yet, of all services. Bounded by the requests that are handled: each
/// waits until its own is told.
#[derive(Debug, Default)]
pub struct Feeds {
    inner: Mutex<Inner>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<BareJid, VecDeque<Batch>>,
    /// Commits, of many services in one place: a few too many are looked at again, and memory is bounded.
    versions: Vec<u64>,
    /// Accounts, by their hash, that had nothing for those who come online when they were at this version.
    silent: HashMap<u64, u64>,
}

/// What one transaction did.
#[derive(Debug)]
pub struct Batch {
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
    /// Queues what was committed; true if the caller has to begin to tell ([`Feeds::telling`]), as nobody tells
    /// of the service now.
    pub fn add(&self, service: &BareJid, batch: Batch) -> bool {
        let place = self.place(service);
        let mut inner = self.lock();
        if inner.versions.is_empty() {
            inner.versions = vec![0; PLACES];
        }
        if let Some(version) = inner.versions.get_mut(place) {
            *version = version.wrapping_add(1);
        }
        let is_first = !inner.waiting.contains_key(service);
        inner.waiting.entry(service.clone()).or_default().push_back(batch);
        is_first
    }

    /// For whoever has to tell of a service.
    pub fn telling<'a>(&'a self, service: &'a BareJid) -> Telling<'a> {
        Telling { feeds: self, service, is_over: false }
    }

    fn next(&self, service: &BareJid) -> Option<Batch> {
        let mut inner = self.lock();
        let next = inner.waiting.get_mut(service).and_then(VecDeque::pop_front);
        if next.is_none() {
            inner.waiting.remove(service);
        }
        next
    }

    /// Changes with each commit of the service.
    pub fn version(&self, service: &BareJid) -> u64 {
        let place = self.place(service);
        self.lock().versions.get(place).copied().unwrap_or(0)
    }

    /// Does this if nothing was committed since: what is told of a later commit comes behind it. Takes no
    /// other lock than a box's.
    pub fn if_still<T>(
        &self,
        service: &BareJid,
        version: u64,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let place = self.place(service);
        let inner = self.lock();
        let now = inner.versions.get(place).copied().unwrap_or(0);
        (now == version).then(work)
    }

    /// The account has no node that sends its last item to who comes online; read at this version. Most
    /// contacts are so, and need not be looked for in the store each time that somebody comes.
    pub fn note_silent(&self, account: &BareJid, version: u64) {
        let hash = self.hash(account.as_str());
        let mut inner = self.lock();
        if inner.silent.len() >= SILENT_MAX {
            inner.silent.clear();
        }
        inner.silent.insert(hash, version);
    }

    /// Whether that is still so; false if nothing is known of the account.
    pub fn is_silent(&self, account: &str) -> bool {
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

/// Tells of a service until nothing is left.
#[derive(Debug)]
pub struct Telling<'a> {
    feeds: &'a Feeds,
    service: &'a BareJid,
    is_over: bool,
}

impl Telling<'_> {
    /// The next to tell; when there is none, whoever comes next begins again.
    pub fn take(&mut self) -> Option<Batch> {
        let next = self.feeds.next(self.service);
        self.is_over = next.is_none();
        next
    }
}

/// If telling panics, the service is not silent for ever: the next one tells again.
impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.feeds.lock().waiting.remove(self.service);
        }
    }
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
        let mut telling = feeds.telling(&a);
        assert!(telling.take().is_some() && telling.take().is_some() && telling.take().is_none());
        assert!(feeds.add(&a, batch()), "nobody tells of it any more");
        drop(telling);
        assert!(!feeds.add(&a, batch()), "who is done takes nothing along");
        drop(feeds.telling(&b));
        assert!(feeds.add(&b, batch()), "who gave up");
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
