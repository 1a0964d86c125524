//! What clients' hashes stand for, for all sessions of the server: only what was verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::said::Key;
use super::wanted::Wanted;

/// The hashes that are known, and those that somebody is being asked about.
#[derive(Debug, Default)]
pub struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Key, Entry>,
    /// Ends when whoever is asked has answered, or not.
    asked: HashMap<Key, watch::Receiver<()>>,
    /// Counts uses.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    wanted: Arc<Wanted>,
    used: u64,
}

/// What to do for a hash.
#[derive(Debug)]
pub enum Turn<'a> {
    /// It is known.
    Known(Arc<Wanted>),
    /// Nobody asks for it: the caller does.
    Ask(Asking<'a>),
    /// Somebody does already.
    Wait(watch::Receiver<()>),
}

/// Held while somebody is asked about a hash. Dropping it lets the next one ask.
#[derive(Debug)]
pub struct Asking<'a> {
    known: &'a Known,
    key: Key,
    _end: watch::Sender<()>,
}

impl Known {
    /// What a hash stands for.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Wanted>> {
        self.lock().get(key)
    }

    /// The same, or who finds out.
    pub(super) fn turn(&self, key: &Key) -> Turn<'_> {
        let mut inner = self.lock();
        if let Some(wanted) = inner.get(key) {
            return Turn::Known(wanted);
        }
        if let Some(asked) = inner.asked.get(key) {
            return Turn::Wait(asked.clone());
        }
        let (end, ended) = watch::channel(());
        inner.asked.insert(key.clone(), ended);
        Turn::Ask(Asking { known: self, key: key.clone(), _end: end })
    }

    /// Remembers what was verified. Where there is no room, the one goes that was not used for longest.
    pub(super) fn learn(&self, key: &Key, wanted: &Arc<Wanted>, max: usize) {
        let mut inner = self.lock();
        while inner.known.len() >= max.max(1) {
            let oldest = inner.known.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            inner.known.remove(&oldest);
        }
        inner.uses += 1;
        let entry = Entry { wanted: wanted.clone(), used: inner.uses };
        inner.known.insert(key.clone(), entry);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&mut self, key: &Key) -> Option<Arc<Wanted>> {
        let entry = self.known.get_mut(key)?;
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.wanted.clone())
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.known.lock().asked.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::said::{Function, Method};
    use super::*;

    fn key(n: u8) -> Key {
        Key { method: Method::One, function: Function::Sha1, value: Box::new([n; 20]) }
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let known = Known::default();
        let wanted = Arc::new(Wanted::default());
        (0..3).for_each(|n| known.learn(&key(n), &wanted, 3));
        assert!(known.get(&key(0)).is_some());
        known.learn(&key(3), &wanted, 3);
        let there: Vec<bool> = (0..4).map(|n| known.get(&key(n)).is_some()).collect();
        assert_eq!(there, [true, false, true, true]);
        let other = Key { method: Method::Two, ..key(0) };
        assert!(known.get(&other).is_none(), "each way of hashing has its own");
    }

    #[tokio::test]
    async fn one_asks_and_the_others_wait_for_it() {
        let known = Known::default();
        let Turn::Ask(first) = known.turn(&key(1)) else { panic!("nobody asks yet") };
        let Turn::Wait(mut waiting) = known.turn(&key(1)) else { panic!("one asks") };
        assert!(matches!(known.turn(&key(2)), Turn::Ask(_)), "about another hash");
        drop(first);
        assert!(waiting.changed().await.is_err());
        let Turn::Ask(second) = known.turn(&key(1)) else { panic!("the first one failed") };
        known.learn(&key(1), &Arc::new(Wanted::default()), 9);
        drop(second);
        assert!(matches!(known.turn(&key(1)), Turn::Known(_)));
    }
}
