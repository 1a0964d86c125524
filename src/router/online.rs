//! Which accounts may have sessions: a count for each of many places, by the hash of the account's address. It is
//! read without a lock, as whoever comes and goes is shown to hundreds of contacts of whom most are not there.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU16, Ordering};

/// Counts of sessions. A place that is full stays so, and says nothing any more.
#[derive(Debug)]
pub(super) struct Online {
    places: Box<[AtomicU16]>,
    hasher: RandomState,
}

impl Online {
    /// A session of the account is there. To be called before anybody can find it.
    pub(super) fn came(&self, bare: &str) {
        self.change(bare, |count| Some(count.saturating_add(1)));
    }

    /// The session is gone.
    pub(super) fn left(&self, bare: &str) {
        self.change(bare, |count| (count < u16::MAX).then(|| count.saturating_sub(1)));
    }

    /// False if the account surely has no session. Of two accounts that come at once and then ask for each
    /// other at least one is told of the other: all of this is one order.
    pub(super) fn may_have(&self, bare: &str) -> bool {
        self.place(bare).is_none_or(|count| count.load(Ordering::SeqCst) > 0)
    }

    fn change(&self, bare: &str, change: impl FnMut(u16) -> Option<u16>) {
        if let Some(count) = self.place(bare) {
            // An error says that it was left as it is.
            let _ = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn place(&self, bare: &str) -> Option<&AtomicU16> {
        self.places.get(self.hasher.hash_one(bare) as usize % PLACES)
    }
}

impl Default for Online {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU16::new(0)).collect();
        Self { places, hasher: RandomState::new() }
    }
}

/// 64 KiB; with 10,000 sessions three of four absent accounts are told apart from those that are there.
const PLACES: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_there_until_all_its_sessions_have_left() {
        let online = Online::default();
        assert!(!online.may_have("a@x"));
        online.came("a@x");
        online.came("a@x");
        online.left("a@x");
        assert!(online.may_have("a@x"));
        online.left("a@x");
        assert!(!online.may_have("a@x"));
    }

    #[test]
    fn a_place_that_was_full_says_nothing_any_more() {
        let online = Online::default();
        (0..=u16::MAX).for_each(|_| online.came("a@x"));
        (0..=u16::MAX).for_each(|_| online.left("a@x"));
        assert!(online.may_have("a@x"));
    }
}
