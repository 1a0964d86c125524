//! Which sessions there are: accounts that have sessions or were asked for recently, in sharded maps.
//!
//! A shard's lock is held briefly and never over an await. Only innermost locks are taken under it: the
//! store's queue, outboxes, counts. For work to be done without the lock, [`Outbox`] handles are copied
//! out.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};

pub use super::access::Access;
use super::account::Home;
pub use super::account::{AccountEntry, AccountStatus, Available, Loaded, Resource, RosterChange};
use super::cached::Shard;
use super::contacts::Contacts;
use super::deferred::Flusher;
use super::features::{Features, NoFeatures};
use super::held::Asks;
use super::online::Online;
use super::outbox::Outbox;
use super::owed::Owed;
use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::jid::{BareJid, FullJid};

/// How [`Registry::bind`] treats a resource that is taken (RFC 6120 §7.7.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The old session gets `conflict`; the new one takes the name.
    Replace,
    /// The new session gets a `conflict` stanza error.
    Refuse,
    /// The new session gets another name.
    Rename,
}

/// The result of a bind.
#[allow(clippy::large_enum_variant)] // lives for a moment, on the stack
#[derive(Debug)]
pub enum BindOutcome {
    /// Bound, with the right to the account's entry. The caller ends the session that had the name before.
    Done(Home, Option<Replaced>),
    /// The name is taken and the policy keeps the old session.
    Taken,
    /// The account has as many sessions as it may (`resource-constraint`).
    TooMany,
    /// The account was removed or disabled meanwhile.
    Gone,
}

/// A session that lost its name to a newer one; it is out of the registry already.
#[derive(Debug)]
pub struct Replaced {
    /// What it was, its outbox included.
    pub resource: Resource,
}

/// All local accounts in memory.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) online: Online,
    pub(super) flusher: Flusher,
    features: Arc<dyn Features>,
}

impl Registry {
    /// Makes the shards: a power of two, keyed by a random hash.
    pub fn new(features: Arc<dyn Features>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (hasher, online, flusher) = Default::default();
        Self { shards, hasher, online, flusher, features }
    }

    /// Like [`Registry::with`], for changes of what features store for the account or its sessions.
    pub(super) fn with_sessions<T>(
        &self,
        bare: &str,
        change: impl FnOnce(&mut AccountEntry) -> T,
    ) -> Option<T> {
        self.with(bare, |entry| {
            let changed = change(entry);
            settle(entry, &*self.features);
            changed
        })
    }

    /// Runs `look` on the account's entry, if there is a loaded one.
    pub(super) fn with<T>(
        &self,
        bare: &str,
        look: impl FnOnce(&mut AccountEntry) -> T,
    ) -> Option<T> {
        let mut shard = self.shard(bare);
        let (entries, weight) = shard.parts();
        let entry = entries.get_mut(bare)?;
        if entry.account == AccountStatus::Loading {
            return None;
        }
        let seen = look(entry);
        Shard::weigh_used(entry, bare, weight);
        if entry.deferred.is_news() {
            let Shard { entries, deferring, .. } = &mut *shard;
            deferring.extend(entries.get_key_value(bare).map(|(bare, _)| bare.clone()));
            self.flusher.want();
        }
        Some(seen)
    }

    /// Like [`Registry::with`], for who changes nothing: a cold entry is not weighed again.
    pub(super) fn look<T>(&self, bare: &str, look: impl FnOnce(&AccountEntry) -> T) -> Option<T> {
        let shard = self.shard(bare);
        let entry = shard.entries.get(bare)?;
        (entry.account != AccountStatus::Loading).then(|| look(entry))
    }

    /// Puts a placeholder where there is no entry, so that changes made while the account is being read are
    /// not lost. False if there is a loaded entry already.
    pub fn begin_load(&self, bare: &BareJid) -> bool {
        let mut shard = self.shard(bare.as_str());
        match shard.entries.get(bare.as_str()) {
            Some(entry) => entry.account == AccountStatus::Loading,
            None => {
                shard.trim();
                shard.entries.insert(bare.clone(), AccountEntry::new(AccountStatus::Loading));
                true
            }
        }
    }

    /// Fills the placeholder. The first of several loaders wins.
    pub fn end_load(&self, bare: &BareJid, account: AccountStatus, loaded: Loaded) {
        let Loaded { role, roster, owed, features } = loaded;
        let mut shard = self.shard(bare.as_str());
        // Without the placeholder a change may have been missed: the caller reads again.
        let Some(entry) = shard.entries.get_mut(bare.as_str()) else { return };
        if entry.account == AccountStatus::Loading
            && entry.made
            && account == AccountStatus::Missing
        {
            shard.remove(bare.as_str());
        } else if entry.account == AccountStatus::Loading {
            entry.account = account;
            entry.role = role;
            entry.ahead.retain(|ver, _| *ver > roster.ver);
            entry.roster = Arc::new(Contacts::from(&roster));
            entry.owed = owed;
            entry.features = features;
            // No session is bound while an account is being read, so there is none to push to.
            entry.advance();
            shard.loaded(bare.as_str());
        }
    }

    /// Removes the placeholder of an account that could not be read. If another loader has filled it, it
    /// stays.
    pub fn load_failed(&self, bare: &str) {
        let mut shard = self.shard(bare);
        if shard.entries.get(bare).is_some_and(|entry| entry.account == AccountStatus::Loading) {
            shard.remove(bare);
        }
    }

    /// What is being read of an account may be older than a change that was committed meanwhile: without
    /// the placeholder the reader reads again.
    pub(super) fn reread(&self, bare: &str) {
        self.load_failed(bare);
    }

    /// Marks the account as deleted. Its sessions stay until they end by themselves, so that each one sends
    /// unavailable presence to those it sent directed presence to.
    pub fn removed(&self, bare: &str) {
        let mut shard = self.shard(bare);
        let Some(entry) = shard.entries.get_mut(bare) else { return };
        entry.account = AccountStatus::Missing;
        entry.role = Role::User;
        entry.roster = Arc::default();
        entry.owed = Owed::default();
        entry.access = None;
        entry.features = None;
        entry.ahead.clear();
        let deferred = std::mem::take(&mut entry.deferred);
        shard.weigh(bare);
        // Dropped without the lock, because this wakes the tasks that wait for the tickets.
        drop(shard);
        drop(deferred);
    }

    /// Forgets that there was no such account.
    pub fn forget_missing(&self, bare: &str) {
        let mut shard = self.shard(bare);
        match shard.entries.get_mut(bare) {
            Some(entry) if entry.account == AccountStatus::Missing => drop(shard.remove(bare)),
            Some(entry) => entry.made |= entry.account == AccountStatus::Loading,
            None => {}
        }
    }

    /// Binds a session. The entry must be loaded (or is made, for an anonymous user).
    pub fn bind(
        &self,
        resource: Resource,
        temporary: bool,
        policy: Conflict,
        max: usize,
    ) -> BindOutcome {
        let bare = resource.jid.bare();
        let mut shard = self.shard(bare.as_str());
        if temporary {
            shard
                .entries
                .entry(bare.clone())
                .or_insert_with(|| AccountEntry::new(AccountStatus::Temporary));
        }
        let Some(entry) = shard.entries.get_mut(bare.as_str()) else { return BindOutcome::Gone };
        if matches!(entry.account, AccountStatus::Loading | AccountStatus::Missing) {
            return BindOutcome::Gone;
        }
        let same = |old: &&Resource| old.jid.as_str() == resource.jid.as_str();
        let gives_way = match entry.resources.iter().find(same) {
            // A session without a client does not keep the name.
            Some(old) if policy != Conflict::Replace && !old.hibernating => {
                return BindOutcome::Taken;
            }
            Some(old) => Some(old.session),
            None if entry.resources.len() < max => None,
            None => {
                let own = |old: &Resource| {
                    policy == Conflict::Replace
                        && old.agent.is_some()
                        && old.agent == resource.agent
                };
                let gives_way = entry.resources.iter().filter(|old| old.hibernating || own(old));
                match gives_way.min_by_key(|old| (!own(old), old.session)) {
                    Some(old) => Some(old.session),
                    None => return BindOutcome::TooMany,
                }
            }
        };
        let old = entry.resources.iter().position(|old| Some(old.session) == gives_way);
        let old = old.map(|index| entry.resources.swap_remove(index));
        self.online.came(bare.as_str());
        if let Some(old) = &old {
            self.online.left(bare.as_str());
            entry.owed.abandon(old.session);
        }
        // Most accounts have one session: a vector's first growth is to four.
        entry.resources.reserve_exact(1);
        entry.resources.push(resource);
        settle(entry, &*self.features);
        entry.share.is_in_use();
        shard.weigh(bare.as_str());
        BindOutcome::Done(Home::of(bare), old.map(|resource| Replaced { resource }))
    }

    /// Removes all sessions of this client except `but`; the caller ends them.
    pub fn unbind_agent(&self, bare: &str, agent: AgentId, but: u64) -> Vec<Replaced> {
        let mut shard = self.shard(bare);
        let Some(entry) = shard.entries.get_mut(bare) else { return Vec::new() };
        let of_agent =
            |resource: &mut Resource| resource.agent == Some(agent) && resource.session != but;
        let earlier: Vec<_> = entry.resources.extract_if(.., of_agent).collect();
        settle(entry, &*self.features);
        for resource in &earlier {
            self.online.left(bare);
            entry.owed.abandon(resource.session);
        }
        shard.weigh(bare);
        earlier.into_iter().map(|resource| Replaced { resource }).collect()
    }

    /// Removes a session; `None` if a newer one has already replaced it.
    pub fn unbind(&self, bare: &str, session: u64) -> Option<Resource> {
        let mut shard = self.shard(bare);
        let entry = shard.entries.get_mut(bare)?;
        let index = entry.resources.iter().position(|r| r.session == session)?;
        let resource = entry.resources.swap_remove(index);
        self.online.left(bare);
        entry.owed.abandon(session);
        settle(entry, &*self.features);
        if entry.resources.is_empty() && entry.account == AccountStatus::Temporary {
            shard.remove(bare);
        }
        shard.weigh(bare);
        Some(resource)
    }

    /// Trims what is remembered, after a session of this account has ended.
    pub fn trim(&self, bare: &str) {
        self.shard(bare).trim();
    }

    /// Applies a committed roster change in version order. Returns the changes that became visible, each
    /// with the interested sessions that must get a push (RFC 6121 §2.1.6).
    pub fn roster_changed(
        &self,
        bare: &str,
        change: RosterChange,
    ) -> Vec<(RosterChange, Vec<Push>)> {
        let mut shard = self.shard(bare);
        let Some(entry) = shard.entries.get_mut(bare) else { return Vec::new() };
        if entry.account != AccountStatus::Loading && change.ver <= entry.roster.ver {
            // The roster was read from the store with this change in it.
            return Vec::new();
        }
        entry.ahead.insert(change.ver, change);
        if entry.account == AccountStatus::Loading {
            return Vec::new();
        }
        let visible = entry.advance();
        let push = |r: &Resource| Push { jid: r.jid.clone(), outbox: r.outbox.clone() };
        let pushes: Vec<Push> = entry.resources.iter().filter(|r| r.interested).map(push).collect();
        let targets = |RosterChange { push, .. }: &RosterChange| match push {
            true => pushes.clone(),
            false => Vec::new(),
        };
        let with_targets = |change: RosterChange| {
            let targets = targets(&change);
            (change, targets)
        };
        let visible = visible.into_iter().map(with_targets).collect();
        shard.weigh(bare);
        visible
    }

    /// All shards, each locked while it is looked at.
    pub(super) fn locked(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many accounts are in memory.
    pub(super) fn entries(&self) -> usize {
        self.locked().map(|shard| shard.entries.len()).sum()
    }

    /// The outboxes of all sessions, for shutdown.
    pub fn all(&self) -> Vec<Arc<Outbox>> {
        let outboxes = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let sessions = shard.entries.values().flat_map(|entry| &entry.resources);
            sessions.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(outboxes).collect()
    }

    fn shard(&self, bare: &str) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation)]
        let index = self.hasher.hash_one(bare) as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // `index` is below SHARDS, the length
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called when sessions came, went or changed: sets in each outbox what its account is asked about.
fn settle(entry: &mut AccountEntry, features: &dyn Features) {
    let mut asks: SmallVec<[Asks; 4]> = smallvec![Asks::default(); entry.resources.len()];
    features.sessions(entry, &mut asks);
    for (resource, asks) in entry.resources.iter().zip(asks) {
        resource.outbox.set_asks(asks);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Arc::new(NoFeatures))
    }
}

/// Where to send a roster push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The interested resource.
    pub jid: FullJid,
    /// The way to it.
    pub outbox: Arc<Outbox>,
}

const SHARDS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ids::AccountId;
    use crate::store::roster::{Item, Roster};

    fn load(registry: &Registry, bare: &BareJid, account: AccountStatus) {
        registry.end_load(bare, account, Loaded::default());
    }

    #[test]
    fn an_account_made_while_it_is_being_read_is_not_remembered_as_missing() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare));
        registry.forget_missing("a@x");
        load(&registry, &bare, AccountStatus::Missing);
        assert!(registry.with("a@x", |_| ()).is_none(), "read again");
        assert!(registry.begin_load(&bare));
        load(&registry, &bare, AccountStatus::Missing);
        assert!(registry.with("a@x", |_| ()).is_some());
    }

    #[test]
    fn a_session_without_a_client_keeps_nobody_out() {
        let registry = Registry::default();
        let bind = |session, name: &str, hibernating, policy| {
            let jid = FullJid::parse(&format!("a@x/{name}")).unwrap();
            let resource =
                Resource { hibernating, ..Resource::new(jid, session, Arc::new(Outbox::new(9))) };
            match registry.bind(resource, true, policy, 2) {
                BindOutcome::Done(_, None) => "bound".to_owned(),
                BindOutcome::Done(_, Some(old)) => format!("instead of {}", old.resource.session),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(bind(1, "one", true, Conflict::Refuse), "bound");
        assert_eq!(bind(2, "one", false, Conflict::Refuse), "instead of 1");
        assert_eq!(bind(3, "one", false, Conflict::Rename), "Taken");
        assert_eq!(bind(4, "two", true, Conflict::Refuse), "bound");
        assert_eq!(bind(5, "three", false, Conflict::Refuse), "instead of 4", "no more room");
        assert_eq!(bind(6, "four", false, Conflict::Refuse), "TooMany");
    }

    #[test]
    fn a_client_makes_room_for_itself() {
        let registry = Registry::default();
        let bind = |session: u64, agent: &str, max| {
            let jid = FullJid::parse(&format!("a@x/{session}")).unwrap();
            let mut resource = Resource::new(jid, session, Arc::new(Outbox::new(9)));
            resource.agent = Some(AgentId::of(agent));
            registry.bind(resource, true, Conflict::Replace, max)
        };
        assert!(matches!(bind(1, "phone", 9), BindOutcome::Done(_, None)));
        assert!(matches!(bind(2, "laptop", 9), BindOutcome::Done(_, None)));
        let BindOutcome::Done(_, Some(old)) = bind(3, "phone", 2) else { panic!("no room") };
        assert_eq!(old.resource.session, 1);
        assert!(matches!(bind(4, "tablet", 2), BindOutcome::TooMany));
        assert!(matches!(bind(5, "phone", 9), BindOutcome::Done(_, None)));
        assert!(matches!(bind(6, "phone", 9), BindOutcome::Done(_, None)));
        let gone = registry.unbind_agent("a@x", AgentId::of("phone"), 6);
        let gone: Vec<_> = gone.iter().map(|old| old.resource.session).collect();
        assert_eq!(gone, [3, 5]);
    }

    #[test]
    fn a_loader_that_fails_takes_nothing_from_one_that_did_not() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare) && registry.begin_load(&bare));
        load(&registry, &bare, AccountStatus::Temporary);
        registry.load_failed("a@x");
        assert!(registry.with("a@x", |_| ()).is_some());
    }

    #[test]
    fn what_is_read_while_it_changes_is_read_again() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare));
        assert_eq!(registry.with_sessions("a@x", |entry| entry.role = Role::Owner), None);
        registry.reread("a@x");
        load(&registry, &bare, AccountStatus::Stored(AccountId(1)));
        assert!(registry.with("a@x", |_| ()).is_none(), "what was read is older");
        assert!(registry.begin_load(&bare));
        load(&registry, &bare, AccountStatus::Stored(AccountId(1)));
        registry.reread("a@x");
        assert!(registry.with("a@x", |_| ()).is_some(), "what is loaded stays");
    }

    fn change(ver: i64) -> RosterChange {
        RosterChange { ver, jid: format!("c{ver}@x"), item: Some(Item::default()), push: ver != 2 }
    }

    #[test]
    fn roster_changes_become_visible_in_version_order() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        let vers = |changes: Vec<(RosterChange, Vec<Push>)>| {
            changes.iter().map(|(change, _)| change.ver).collect::<Vec<_>>()
        };
        assert!(registry.roster_changed("a@x", change(1)).is_empty(), "not in memory");
        assert!(registry.begin_load(&bare));
        for ver in [4, 2, 1] {
            assert!(registry.roster_changed("a@x", change(ver)).is_empty(), "being read");
        }
        // What was read has the first change in it, and the second came meanwhile.
        let read = Loaded { roster: Roster { ver: 1, ..Roster::default() }, ..Loaded::default() };
        registry.end_load(&bare, AccountStatus::Missing, read);
        assert_eq!(registry.with("a@x", |entry| entry.roster.ver), Some(2));
        assert_eq!(vers(registry.roster_changed("a@x", change(2))), Vec::<i64>::new());
        assert_eq!(vers(registry.roster_changed("a@x", change(3))), [3, 4]);
        assert_eq!(vers(registry.roster_changed("a@x", change(5))), [5]);
    }
}
