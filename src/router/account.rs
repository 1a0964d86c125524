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
    /// Existence.
    pub account: AccountStatus,
    /// Contacts, swapped whole.
    pub roster: Arc<Contacts>,
    /// Bound sessions.
    pub resources: Vec<Resource>,
    /// Messages stored and not yet confirmed.
    pub owed: Owed,
    /// Rows of such that are not even queued for writing.
    pub deferred: Deferred,
    /// What the last login was checked against.
    pub access: Option<Box<Access>>,
    /// What features keep of it.
    pub features: State,
    /// Committed roster changes that came before their predecessors, by version.
    pub(super) ahead: BTreeMap<i64, RosterChange>,
    /// The account was made while it was being read: what was read may be older.
    pub(super) made: bool,
    /// What it weighs while it has no session.
    pub(super) share: Share,
}

/// One bound session.
#[derive(Debug)]
pub struct Resource {
    /// Its address.
    pub jid: FullJid,
    /// Unique in this process: a later session of the same full JID has another.
    pub session: u64,
    /// The way to its stream.
    pub outbox: Arc<Outbox>,
    /// The last presence it broadcast; `None` while it is connected but not available.
    pub presence: Option<Available>,
    /// It asked for the roster and so gets pushes (RFC 6121 §2.2).
    pub interested: bool,
    /// Entities outside the roster that got directed presence (RFC 6121 §4.6).
    pub directed: Vec<Jid>,
    /// Its connection is gone, and it waits to be resumed (XEP-0198 §5).
    pub hibernating: bool,
    /// What features keep for it.
    pub features: State,
    /// Which installation of a client it is (XEP-0388 §2.3).
    pub agent: Option<AgentId>,
}

impl Resource {
    /// A session that just bound, and has said nothing yet.
    pub fn new(jid: FullJid, session: u64, outbox: Arc<Outbox>) -> Self {
        Self {
            jid,
            session,
            outbox,
            presence: None,
            interested: false,
            directed: Vec::new(),
            hibernating: false,
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
    /// Whose item.
    pub jid: String,
    /// The item now, or `None` when it is gone.
    pub item: Option<Item>,
    /// Clients see a difference: interested sessions get a push.
    pub push: bool,
}

impl AccountEntry {
    pub(super) fn new(account: AccountStatus) -> Self {
        Self {
            account,
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

    /// What it holds outside itself, but for its sessions.
    pub(super) fn bytes(&self) -> usize {
        let access = self.access.as_ref().map_or(0, |access| access.bytes());
        let features = self.features.as_ref().map_or(0, |features| features.bytes());
        self.roster.bytes() + self.owed.heap_bytes() + access + features
    }

    /// No change of its roster waits for an earlier one.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Makes the changes that came in version order visible, and answers them.
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

    /// Available resources that take messages (RFC 6121 §8.5.2.1.1).
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

    /// True when owed messages wait that this session may take.
    pub fn has_claims(&self, session: u64) -> bool {
        self.owed.has_claims(session, |holder| is_hibernating(&self.resources, holder))
    }

    /// The session takes the owed messages that nobody has.
    pub fn claim_waiting(&mut self, session: u64) -> Vec<Claim> {
        self.owed.claim(session, |_| false)
    }

    /// The session takes the owed messages that no connected session has.
    pub fn claim(&mut self, session: u64) -> Vec<Claim> {
        self.owed.claim(session, |holder| is_hibernating(&self.resources, holder))
    }

    /// As the table of RFC 6121 §8.5 counts them.
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

/// What is read of an account.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its contacts.
    pub roster: Roster,
    /// What it is owed.
    pub owed: Owed,
    /// What features keep of it.
    pub features: State,
}

/// What an entry adds to the weight of its shard.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) bytes: u32,
    /// Read from the store lately, for somebody who comes back for it: passed over once.
    pub(super) fresh: bool,
}

impl Share {
    /// It has a session: when that leaves, nobody is on the way to it.
    pub(super) fn is_in_use(&mut self) {
        self.fresh = false;
    }
}

/// The right to an account's entry, which a session has by being bound.
#[derive(Debug, Clone)]
pub struct Home(pub(super) BareJid);

impl Home {
    pub(super) const fn of(bare: BareJid) -> Self {
        Self(bare)
    }
}
