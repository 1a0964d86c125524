//! The registry's cache of accounts without a session, weighed in bytes.

use std::collections::HashMap;

use super::account::{AccountEntry, AccountStatus};
use crate::jid::BareJid;

/// A part of the accounts in memory.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) entries: HashMap<BareJid, AccountEntry>,
    /// Accounts among them that have deferred rows.
    pub(super) deferring: Vec<BareJid>,
    /// Total weight of the entries without a session.
    weight: usize,
}

impl Shard {
    /// Weighs an entry again. To be called after any change of its contents or of whether it has
    /// sessions.
    pub(super) fn weigh(&mut self, bare: &str) {
        if let Some(entry) = self.entries.get_mut(bare) {
            reweigh(entry, bare, &mut self.weight);
        }
    }

    /// Like [`Shard::weigh`], but for an entry that the caller has; nearly free where it has a session.
    pub(super) fn weigh_used(entry: &mut AccountEntry, bare: &str, weight: &mut usize) {
        if entry.resources.is_empty() || entry.share.bytes > 0 {
            reweigh(entry, bare, weight);
        }
    }

    /// The entries, and their weight for [`Shard::weigh_used`].
    pub(super) fn parts(&mut self) -> (&mut HashMap<BareJid, AccountEntry>, &mut usize) {
        (&mut self.entries, &mut self.weight)
    }

    /// Notes that an entry was just read from the store.
    pub(super) fn loaded(&mut self, bare: &str) {
        self.weigh(bare);
        if let Some(entry) = self.entries.get_mut(bare) {
            entry.share.fresh = true;
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, bare: &str) -> Option<AccountEntry> {
        let entry = self.entries.remove(bare)?;
        self.weight -= entry.share.bytes as usize;
        Some(entry)
    }

    /// Forgets accounts without a session until they are few and light enough. The heaviest go first,
    /// because reading one large roster again is cheaper than reading a hundred small ones.
    pub(super) fn trim(&mut self) {
        while self.weight > CACHED_BYTES || self.entries.len() >= CACHED_ENTRIES {
            let mut cached = 0;
            let mut heaviest: Option<(u32, &BareJid)> = None;
            for (bare, entry) in &mut self.entries {
                if !is_cached(entry) {
                    continue;
                }
                cached += 1;
                let fresh = std::mem::take(&mut entry.share.fresh);
                if !fresh && heaviest.is_none_or(|(bytes, _)| bytes < entry.share.bytes) {
                    heaviest = Some((entry.share.bytes, bare));
                }
            }
            let over = self.weight > CACHED_BYTES || cached >= CACHED_ENTRIES;
            let Some(bare) = heaviest.filter(|_| over).map(|(_, bare)| bare.clone()) else {
                return;
            };
            self.remove(bare.as_str());
        }
    }
}

/// Whether the store has everything about it, so that it can be forgotten; unknown names included.
fn is_cached(entry: &AccountEntry) -> bool {
    entry.resources.is_empty()
        && entry.account != AccountStatus::Loading
        && entry.is_up_to_date()
        && entry.owed.is_settled()
        && entry.deferred.is_empty()
}

fn reweigh(entry: &mut AccountEntry, bare: &str, weight: &mut usize) {
    let bytes =
        if entry.resources.is_empty() { entry.bytes() + ENTRY_BYTES + bare.len() } else { 0 };
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    *weight = *weight - entry.share.bytes as usize + bytes as usize;
    entry.share.bytes = bytes;
}

/// Per shard. With 128 shards: 32 MiB and 16,384 accounts in all.
const CACHED_BYTES: usize = 262_144;
const CACHED_ENTRIES: usize = 128;
/// An empty entry and its place in the map.
const ENTRY_BYTES: usize = size_of::<AccountEntry>() + size_of::<BareJid>() + 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::outbox::Outbox;
    use super::super::registry::{BindOutcome, Conflict, Loaded, Registry, Resource};
    use super::*;
    use crate::jid::FullJid;
    use crate::store::ids::AccountId;
    use crate::store::roster::{Item, Roster};

    /// Reads an account with this many contacts of 4 kB.
    fn read(registry: &Registry, bare: &str, contacts: usize) {
        let items = (0..contacts).map(|n| {
            let jid = format!("c{n}@x");
            (
                jid.clone(),
                Item { jid, name: Some("n".repeat(4_096)), listed: true, ..Item::default() },
            )
        });
        let roster = Roster { ver: 0, items: items.collect() };
        let bare = BareJid::parse(bare).unwrap();
        assert!(registry.begin_load(&bare), "{bare}");
        let loaded = Loaded { roster, ..Loaded::default() };
        registry.end_load(&bare, AccountStatus::Stored(AccountId(1)), loaded);
    }

    fn bound(registry: &Registry, full: &str, session: u64) {
        let resource =
            Resource::new(FullJid::parse(full).unwrap(), session, Arc::new(Outbox::new(9)));
        let bound = registry.bind(resource, false, Conflict::Replace, 9);
        assert!(matches!(bound, BindOutcome::Done(_, None)), "{full}: {bound:?}");
    }

    fn is_there(registry: &Registry, bare: &str) -> bool {
        registry.with(bare, |_| ()).is_some()
    }

    fn weight(registry: &Registry) -> usize {
        let weigh = |shard: &Shard| {
            let shares =
                shard.entries.values().map(|entry| entry.share.bytes as usize).sum::<usize>();
            assert_eq!(shares, shard.weight);
            shard.weight
        };
        registry.locked().map(|shard| weigh(&shard)).sum()
    }

    #[test]
    fn a_large_roster_goes_with_its_last_session() {
        let registry = Registry::default();
        read(&registry, "large@x", 100);
        read(&registry, "small@x", 1);
        for (name, session) in [("large@x/1", 1), ("large@x/2", 2), ("small@x/1", 3)] {
            bound(&registry, name, session);
        }
        assert_eq!(weight(&registry), 0, "what is in use is no cache");
        for (bare, session, stays) in
            [("large@x", 1, true), ("large@x", 2, false), ("small@x", 3, true)]
        {
            registry.unbind(bare, session).unwrap();
            assert!(is_there(&registry, bare), "until it has taken its leave");
            registry.trim(bare);
            assert_eq!(is_there(&registry, bare), stays, "{bare} {session}");
        }
        assert!((4_096..10_000).contains(&weight(&registry)), "{}", weight(&registry));
    }

    /// A caller that had an account read finds it still there, even if others need the room.
    #[test]
    fn what_was_just_read_is_passed_over_once() {
        let registry = Registry::default();
        read(&registry, "large@x", 100);
        registry.trim("large@x");
        assert!(is_there(&registry, "large@x"), "it was just read");
        registry.trim("large@x");
        assert!(!is_there(&registry, "large@x"));
        assert_eq!(weight(&registry), 0);
    }

    #[test]
    fn all_together_are_bounded_in_bytes_and_in_number() {
        let registry = Registry::default();
        for n in 0..20_000 {
            read(&registry, &format!("a{n}@x"), usize::from(n % 7 == 0) * 5);
            for mut shard in registry.locked().filter(|_| n % 1_000 == 0) {
                shard.trim();
                assert!(shard.weight <= CACHED_BYTES + 25_000, "{}", shard.weight);
                assert!(shard.entries.len() <= CACHED_ENTRIES, "{}", shard.entries.len());
            }
        }
        assert!(weight(&registry) > 1 << 20, "and something is remembered");
        // Entries in use do not count, and stay.
        read(&registry, "used@x", 100);
        bound(&registry, "used@x/1", 1);
        (0..40_000).for_each(|n| read(&registry, &format!("b{n}@x"), 0));
        assert!(is_there(&registry, "used@x"));
    }

    #[test]
    fn the_heaviest_goes_first_and_nothing_that_the_store_does_not_know() {
        for holder in [None, Some(7)] {
            let mut shard = Shard::default();
            for (bare, rows) in [("heavy@x", 20_000), ("light@x", 100)] {
                let mut entry = AccountEntry::new(AccountStatus::Stored(AccountId(1)));
                for seq in 1..=rows {
                    entry.owed.append(seq, 10, crate::store::mailbox::StoredIn::Archive, holder);
                }
                shard.entries.insert(BareJid::parse(bare).unwrap(), entry);
                shard.weigh(bare);
            }
            shard.trim();
            let left = |bare: &str| shard.entries.contains_key(bare);
            assert_eq!((left("heavy@x"), left("light@x")), (holder.is_some(), true), "{holder:?}");
        }
    }

    #[test]
    fn what_an_account_comes_to_hold_is_weighed() {
        let registry = Registry::default();
        read(&registry, "a@x", 0);
        let before = weight(&registry);
        registry.with("a@x", |entry| {
            (1..=1_000).for_each(|seq| {
                entry.owed.append(seq, 10, crate::store::mailbox::StoredIn::Archive, [])
            });
        });
        assert!(weight(&registry) > before + 30_000);
        registry.removed("a@x");
        assert_eq!(weight(&registry), before);
        registry.forget_missing("a@x");
        assert_eq!(weight(&registry), 0);
    }
}
