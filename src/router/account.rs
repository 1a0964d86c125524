//! An account of this server as the router sees it, with its bound sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::Access;
use super::contacts::Contacts;
use super::deferred::Deferred;
use super::held::State;
use super::outbox::Outbox;
use super::owed::{Claim, Owed};
use super::rules;
use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::jid::{BareJid, FullJid, Jid};
use crate::stanza::Frame;
use crate::store::ids::AccountId;
use crate::store::roster::{Item, Roster, Subscription};

/// What stands behind a local address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// Being read from the store.
    Loading,
    /// No such account; remembered for a while.
    Missing,
    /// An anonymous user (XEP-0175): lives as long as its session, owns no rows.
    Temporary,
    /// A row in the store.
    Stored(AccountId),
}

/// A local account as the router sees it.
#[derive(Debug)]
pub struct AccountEntry {
    /// Whether the account exists.
    pub account: AccountStatus,
    /// What it may do to the server, as far as the store says.
    pub role: Role,
    /// Contacts, swapped whole.
    pub roster: Arc<Contacts>,
    /// Bound sessions.
    pub resources: Vec<Resource>,
    /// Messages stored and not yet confirmed.
    pub owed: Owed,
    /// Owed rows that are not yet queued for writing.
    pub deferred: Deferred,
    /// What the last login was checked against.
    pub access: Option<Box<Access>>,
    /// State of the features for this account.
    pub features: State,
    /// Committed roster changes that arrived before their predecessors, by version.
    pub(super) ahead: BTreeMap<i64, RosterChange>,
    /// The account was created while it was being read, so what was read may be outdated.
    pub(super) made: bool,
    /// Its weight while it has no session.
    pub(super) share: Share,
}

/// One bound session.
#[derive(Debug)]
pub struct Resource {
    /// Its address.
    pub jid: FullJid,
    /// Unique in this process: a later session of the same full JID has another.
    pub session: u64,
    /// The queue into its stream.
    pub outbox: Arc<Outbox>,
    /// The last presence it broadcast; `None` while it is connected but not available.
    pub presence: Option<Available>,
    /// Whether it requested the roster and so gets pushes (RFC 6121 §2.2).
    pub interested: bool,
    /// Entities outside the roster that got directed presence (RFC 6121 §4.6).
    pub directed: Vec<Jid>,
    /// Whether its connection is gone and it waits to be resumed (XEP-0198 §5).
    pub hibernating: bool,
    /// Whether its client says that nobody looks at it.
    pub quiet: bool,
    /// State of the features for this session.
    pub features: State,
    /// The client installation (XEP-0388 §2.3).
    pub agent: Option<AgentId>,
}

impl Resource {
    /// A session that has just bound and has sent nothing yet.
    pub fn new(jid: FullJid, session: u64, outbox: Arc<Outbox>) -> Self {
        Self {
            jid,
            session,
            outbox,
            presence: None,
            interested: false,
            directed: Vec::new(),
            hibernating: false,
            quiet: false,
            features: None,
            agent: None,
        }
    }
}

/// An available resource's presence.
#[derive(Debug, Clone)]
pub struct Available {
    /// RFC 6121 §4.7.2.3
    pub priority: i8,
    /// From the full JID, without `to`; see [`Frame::addressed`].
    pub frame: Frame,
}

/// One committed change of a roster.
#[derive(Debug, Clone)]
pub struct RosterChange {
    /// The roster's version after it.
    pub ver: i64,
    /// The contact.
    pub jid: String,
    /// The item now, or `None` when it is gone.
    pub item: Option<Item>,
    /// Whether clients see a difference: interested sessions then get a push.
    pub push: bool,
}

impl AccountEntry {
    pub(super) fn new(account: AccountStatus) -> Self {
        Self {
            account,
            role: Role::User,
            roster: Arc::default(),
            resources: Vec::new(),
            owed: Owed::default(),
            deferred: Deferred::default(),
            access: None,
            features: None,
            ahead: BTreeMap::new(),
            made: false,
            share: Share::default(),
        }
    }

    /// Bytes that it holds outside itself, without its sessions.
    pub(super) fn bytes(&self) -> usize {
        let access = self.access.as_ref().map_or(0, |access| access.bytes());
        let features = self.features.as_ref().map_or(0, |features| features.bytes());
        self.roster.bytes() + self.owed.heap_bytes() + access + features
    }

    /// Whether no change of its roster waits for an earlier one.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Makes visible the changes that are next in version order, and returns them.
    pub(super) fn advance(&mut self) -> Vec<RosterChange> {
        let mut visible = Vec::new();
        while let Some(change) = self.ahead.remove(&(self.roster.ver + 1)) {
            let roster = self.roster.changed(change.ver, &change.jid, change.item.as_ref());
            self.roster = Arc::new(roster);
            visible.push(change);
        }
        visible
    }

    /// Available resources.
    pub fn available(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.presence.is_some())
    }

    /// Available resources that accept messages (RFC 6121 §8.5.2.1.1).
    pub fn non_negative(&self) -> impl Iterator<Item = &Resource> {
        let takes = |r: &&Resource| r.presence.as_ref().is_some_and(|p| p.priority >= 0);
        self.resources.iter().filter(takes)
    }

    /// The session bound to exactly this full JID.
    pub fn resource(&self, jid: &Jid) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.jid.as_str() == jid.as_str())
    }

    /// The session with this number.
    pub fn session_mut(&mut self, session: u64) -> Option<&mut Resource> {
        self.resources.iter_mut().find(|resource| resource.session == session)
    }

    /// Whether there are owed messages that this session may claim.
    pub fn has_claims(&self, session: u64) -> bool {
        self.owed.has_claims(session, |holder| is_hibernating(&self.resources, holder))
    }

    /// Number of owed messages that no connected session has.
    pub fn unclaimed(&self) -> usize {
        self.owed.unclaimed(|holder| is_hibernating(&self.resources, holder))
    }

    /// Claims for this session the owed messages that no session has.
    pub fn claim_waiting(&mut self, session: u64) -> Vec<Claim> {
        self.owed.claim(session, |_| false)
    }

    /// Claims for this session the owed messages that no connected session has.
    pub fn claim(&mut self, session: u64) -> Vec<Claim> {
        self.owed.claim(session, |holder| is_hibernating(&self.resources, holder))
    }

    /// The availability in the terms of the table of RFC 6121 §8.5.
    pub fn availability(&self) -> rules::Resources {
        if self.non_negative().next().is_some() {
            rules::Resources::NonNegative
        } else if self.available().next().is_some() {
            rules::Resources::OnlyNegative
        } else {
            rules::Resources::None
        }
    }

    /// The state of the subscription with a contact's bare JID.
    pub fn subscription(&self, contact: &str) -> Subscription {
        self.roster.get(contact).map_or(Subscription::None, |item| item.state)
    }
}

fn is_hibernating(resources: &[Resource], session: u64) -> bool {
    resources.iter().any(|resource| resource.session == session && resource.hibernating)
}

/// The data that is read from the store for an account.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What it may do to the server.
    pub role: Role,
    /// Its contacts.
    pub roster: Roster,
    /// The messages that it is owed.
    pub owed: Owed,
    /// State of the features for this account.
    pub features: State,
}

/// What an entry adds to the weight of its shard.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) bytes: u32,
    /// Recently read from the store by a caller that is about to use it, so `Shard::trim` spares it
    /// once.
    pub(super) fresh: bool,
}

impl Share {
    /// Called when a session uses the entry: once that ends, no caller is about to come for it.
    pub(super) fn is_in_use(&mut self) {
        self.fresh = false;
    }
}

/// The right to an account's entry; a bound session has it.
#[derive(Debug, Clone)]
pub struct Home(pub(super) BareJid);

impl Home {
    pub(super) const fn of(bare: BareJid) -> Self {
        Self(bare)
    }

    /// The account's address.
    pub const fn bare(&self) -> &BareJid {
        &self.0
    }
}
