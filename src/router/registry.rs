//! Who is where: accounts that have sessions or were asked for lately, in sharded maps.
//!
//! A shard's lock is short and never held over an await. What is locked under it locks nothing more: the
//! store's queue, outboxes, ledgers. What must happen outside is copied out as [`Outbox`] handles.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};

pub use super::access::Access;
use super::account::Home;
pub use super::account::{Account, Available, Loaded, Resource, RosterChange, User};
use super::cached::Shard;
use super::contacts::Contacts;
use super::features::{Features, Plain};
use super::held::Asks;
use super::idle::Broom;
use super::outbox::Outbox;
use super::owed::Owed;
use crate::base::credential::AgentId;
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

/// What came of a bind.
#[allow(clippy::large_enum_variant)] // lives for a moment, on the stack
#[derive(Debug)]
pub enum Bound {
    /// Bound; with the right to the account's entry, and the session that had the name before, to be ended
    /// by the caller.
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
    pub(super) broom: Broom,
    features: Arc<dyn Features>,
}

impl Registry {
    /// A power of two of shards, keyed by a random hash.
    pub fn new(features: Arc<dyn Features>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), broom: Broom::default(), features }
    }

    /// As [`Registry::with`], for changes of what features keep for the account or its sessions.
    pub(super) fn with_sessions<T>(
        &self,
        bare: &str,
        change: impl FnOnce(&mut User) -> T,
    ) -> Option<T> {
        self.with(bare, |user| {
            let changed = change(user);
            settle(user, &*self.features);
            changed
        })
    }

    /// Runs `look` on the account's entry, if there is a loaded one.
    pub(super) fn with<T>(&self, bare: &str, look: impl FnOnce(&mut User) -> T) -> Option<T> {
        let mut shard = self.shard(bare);
        let (users, weight) = shard.parts();
        let user = users.get_mut(bare)?;
        if user.account == Account::Loading {
            return None;
        }
        let seen = look(user);
        Shard::weigh_used(user, bare, weight);
        if user.idle.is_news() {
            let Shard { users, idling, .. } = &mut *shard;
            idling.extend(users.get_key_value(bare).map(|(bare, _)| bare.clone()));
            self.broom.want();
        }
        Some(seen)
    }

    /// Puts a placeholder where nothing is known yet, so that changes made while the account is
    /// being read are not lost. False when the entry is there already.
    pub fn begin_load(&self, bare: &BareJid) -> bool {
        let mut shard = self.shard(bare.as_str());
        match shard.users.get(bare.as_str()) {
            Some(user) => user.account == Account::Loading,
            None => {
                shard.trim();
                shard.users.insert(bare.clone(), User::new(Account::Loading));
                true
            }
        }
    }

    /// Fills the placeholder. The first of several loaders wins.
    pub fn end_load(&self, bare: &BareJid, account: Account, loaded: Loaded) {
        let Loaded { roster, owed, features } = loaded;
        let mut shard = self.shard(bare.as_str());
        // Without the placeholder a change may have been missed: whoever asks reads again.
        let Some(user) = shard.users.get_mut(bare.as_str()) else { return };
        if user.account == Account::Loading && user.made && account == Account::Missing {
            shard.remove(bare.as_str());
        } else if user.account == Account::Loading {
            user.account = account;
            user.ahead.retain(|ver, _| *ver > roster.ver);
            user.roster = Arc::new(Contacts::from(&roster));
            user.owed = owed;
            user.features = features;
            // No session is bound while an account is being read: nobody to push to.
            user.advance();
            shard.loaded(bare.as_str());
        }
    }

    /// The account could not be read. What another loader read meanwhile stays, with its sessions.
    pub fn load_failed(&self, bare: &str) {
        let mut shard = self.shard(bare);
        if shard.users.get(bare).is_some_and(|user| user.account == Account::Loading) {
            shard.remove(bare);
        }
    }

    /// The account is deleted. Its sessions stay until they end by themselves, so that each one
    /// takes leave of those it sent directed presence to.
    pub fn removed(&self, bare: &str) {
        let mut shard = self.shard(bare);
        let Some(user) = shard.users.get_mut(bare) else { return };
        user.account = Account::Missing;
        user.roster = Arc::default();
        user.owed = Owed::default();
        user.access = None;
        user.features = None;
        user.ahead.clear();
        let idle = std::mem::take(&mut user.idle);
        shard.weigh(bare);
        // Without the lock: who waits for their tickets is woken.
        drop(shard);
        drop(idle);
    }

    /// Forgets that there was no such account.
    pub fn forget_missing(&self, bare: &str) {
        let mut shard = self.shard(bare);
        match shard.users.get_mut(bare) {
            Some(user) if user.account == Account::Missing => drop(shard.remove(bare)),
            Some(user) => user.made |= user.account == Account::Loading,
            None => {}
        }
    }

    /// Binds a session. The entry must be loaded (or is made, for an anonymous user).
    pub fn bind(&self, resource: Resource, temporary: bool, policy: Conflict, max: usize) -> Bound {
        let bare = resource.jid.bare();
        let mut shard = self.shard(bare.as_str());
        if temporary {
            shard.users.entry(bare.clone()).or_insert_with(|| User::new(Account::Temporary));
        }
        let Some(user) = shard.users.get_mut(bare.as_str()) else { return Bound::Gone };
        if matches!(user.account, Account::Loading | Account::Missing) {
            return Bound::Gone;
        }
        let same = |old: &&Resource| old.jid.as_str() == resource.jid.as_str();
        let gives_way = match user.resources.iter().find(same) {
            // One that has lost its client keeps nobody out.
            Some(old) if policy != Conflict::Replace && !old.asleep => return Bound::Taken,
            Some(old) => Some(old.session),
            None if user.resources.len() < max => None,
            None => {
                let own = |old: &Resource| {
                    policy == Conflict::Replace
                        && old.agent.is_some()
                        && old.agent == resource.agent
                };
                let gives_way = user.resources.iter().filter(|old| old.asleep || own(old));
                match gives_way.min_by_key(|old| (!own(old), old.session)) {
                    Some(old) => Some(old.session),
                    None => return Bound::TooMany,
                }
            }
        };
        let old = user.resources.iter().position(|old| Some(old.session) == gives_way);
        let old = old.map(|place| user.resources.swap_remove(place));
        if let Some(old) = &old {
            user.owed.abandon(old.session);
        }
        // Most accounts have one session: a vector's first growth is to four.
        user.resources.reserve_exact(1);
        user.resources.push(resource);
        settle(user, &*self.features);
        user.share.is_in_use();
        shard.weigh(bare.as_str());
        Bound::Done(Home::of(bare), old.map(|resource| Replaced { resource }))
    }

    /// Takes all sessions of this client but one out, to be ended by the caller.
    pub fn unbind_agent(&self, bare: &str, agent: AgentId, but: u64) -> Vec<Replaced> {
        let mut shard = self.shard(bare);
        let Some(user) = shard.users.get_mut(bare) else { return Vec::new() };
        let of_agent =
            |resource: &mut Resource| resource.agent == Some(agent) && resource.session != but;
        let earlier: Vec<_> = user.resources.extract_if(.., of_agent).collect();
        settle(user, &*self.features);
        for resource in &earlier {
            user.owed.abandon(resource.session);
        }
        shard.weigh(bare);
        earlier.into_iter().map(|resource| Replaced { resource }).collect()
    }

    /// Takes a session out; `None` when a newer one replaced it already.
    pub fn unbind(&self, bare: &str, session: u64) -> Option<Resource> {
        let mut shard = self.shard(bare);
        let user = shard.users.get_mut(bare)?;
        let place = user.resources.iter().position(|r| r.session == session)?;
        let resource = user.resources.swap_remove(place);
        user.owed.abandon(session);
        settle(user, &*self.features);
        if user.resources.is_empty() && user.account == Account::Temporary {
            shard.remove(bare);
        }
        shard.weigh(bare);
        Some(resource)
    }

    /// A session has taken its leave: what is remembered of its account may be too much.
    pub fn left(&self, bare: &str) {
        self.shard(bare).trim();
    }

    /// Applies a committed roster change in version order. Answers the changes that became
    /// visible, each with the interested sessions that must get a push (RFC 6121 §2.1.6).
    pub fn roster_changed(
        &self,
        bare: &str,
        change: RosterChange,
    ) -> Vec<(RosterChange, Vec<Push>)> {
        let mut shard = self.shard(bare);
        let Some(user) = shard.users.get_mut(bare) else { return Vec::new() };
        if user.account != Account::Loading && change.ver <= user.roster.ver {
            // Read from the store with this change in it already.
            return Vec::new();
        }
        user.ahead.insert(change.ver, change);
        if user.account == Account::Loading {
            return Vec::new();
        }
        let visible = user.advance();
        let push = |r: &Resource| Push { jid: r.jid.clone(), outbox: r.outbox.clone() };
        let pushes: Vec<Push> = user.resources.iter().filter(|r| r.interested).map(push).collect();
        let targets = |change: &RosterChange| if change.push { pushes.clone() } else { Vec::new() };
        let with_targets = |change: RosterChange| {
            let targets = targets(&change);
            (change, targets)
        };
        let visible = visible.into_iter().map(with_targets).collect();
        shard.weigh(bare);
        visible
    }

    /// Each shard, locked while it is looked at.
    pub(super) fn locked(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every outbox of every session, for shutdown.
    pub fn all(&self) -> Vec<Arc<Outbox>> {
        let outboxes = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let sessions = shard.users.values().flat_map(|user| &user.resources);
            sessions.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(outboxes).collect()
    }

    fn shard(&self, bare: &str) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation)]
        let place = self.hasher.hash_one(bare) as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // `place` is below SHARDS, the length
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions came, went, or changed their minds: each box knows what its account is asked about.
fn settle(user: &mut User, features: &dyn Features) {
    let mut asks: SmallVec<[Asks; 4]> = smallvec![Asks::default(); user.resources.len()];
    features.sessions(user, &mut asks);
    for (resource, asks) in user.resources.iter().zip(asks) {
        resource.outbox.set_asks(asks);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Arc::new(Plain))
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

    fn load(registry: &Registry, bare: &BareJid, account: Account) {
        registry.end_load(bare, account, Loaded::default());
    }

    #[test]
    fn an_account_made_while_it_is_being_read_is_not_remembered_as_missing() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare));
        registry.forget_missing("a@x");
        load(&registry, &bare, Account::Missing);
        assert!(registry.with("a@x", |_| ()).is_none(), "read again");
        assert!(registry.begin_load(&bare));
        load(&registry, &bare, Account::Missing);
        assert!(registry.with("a@x", |_| ()).is_some());
    }

    #[test]
    fn a_session_without_a_client_keeps_nobody_out() {
        let registry = Registry::default();
        let bind = |session, name: &str, asleep, policy| {
            let jid = FullJid::parse(&format!("a@x/{name}")).unwrap();
            let resource =
                Resource { asleep, ..Resource::new(jid, session, Arc::new(Outbox::new(9))) };
            match registry.bind(resource, true, policy, 2) {
                Bound::Done(_, None) => "bound".to_owned(),
                Bound::Done(_, Some(old)) => format!("instead of {}", old.resource.session),
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
        assert!(matches!(bind(1, "phone", 9), Bound::Done(_, None)));
        assert!(matches!(bind(2, "laptop", 9), Bound::Done(_, None)));
        let Bound::Done(_, Some(old)) = bind(3, "phone", 2) else { panic!("no room") };
        assert_eq!(old.resource.session, 1);
        assert!(matches!(bind(4, "tablet", 2), Bound::TooMany));
        assert!(matches!(bind(5, "phone", 9), Bound::Done(_, None)));
        assert!(matches!(bind(6, "phone", 9), Bound::Done(_, None)));
        let gone = registry.unbind_agent("a@x", AgentId::of("phone"), 6);
        let gone: Vec<_> = gone.iter().map(|old| old.resource.session).collect();
        assert_eq!(gone, [3, 5]);
    }

    #[test]
    fn a_loader_that_fails_takes_nothing_from_one_that_did_not() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare) && registry.begin_load(&bare));
        load(&registry, &bare, Account::Temporary);
        registry.load_failed("a@x");
        assert!(registry.with("a@x", |_| ()).is_some());
    }

    fn change(ver: i64) -> RosterChange {
        RosterChange { ver, jid: format!("c{ver}@x"), item: Some(Item::default()), push: ver != 2 }
    }

    #[test]
    fn a_failed_reader_does_not_take_away_what_another_one_read() {
        let registry = Registry::default();
        let bare = BareJid::parse("a@x").unwrap();
        assert!(registry.begin_load(&bare) && registry.begin_load(&bare));
        let id = Account::Stored(AccountId(1));
        registry.end_load(&bare, id, Loaded::default());
        registry.load_failed("a@x");
        assert_eq!(registry.with("a@x", |user| user.account), Some(id));
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
        registry.end_load(&bare, Account::Missing, read);
        assert_eq!(registry.with("a@x", |user| user.roster.ver), Some(2));
        assert_eq!(vers(registry.roster_changed("a@x", change(2))), Vec::<i64>::new());
        assert_eq!(vers(registry.roster_changed("a@x", change(3))), [3, 4]);
        assert_eq!(vers(registry.roster_changed("a@x", change(5))), [5]);
    }
}
