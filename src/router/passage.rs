//! One stanza's way through one account. Features add what is to be done, and the router does it:
//! `incoming` for the addressee's account, `outgoing` for the sender's.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::account::{Home, Resource};
use super::domains::{Domains, Served};
use super::marks::Marks;
use super::outbox::{Outbox, Outgoing, Put, Refused};
use super::routed::Routed;
use super::rules::{self, Decision};
use crate::jid::{FullJid, Jid};
use crate::stanza::policy::MessagePolicy;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::Store;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::tx::{StoreError, Tx};

/// The order of features, after the guards. Features of one phase run in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Archive the stanza.
    Archive,
    /// Copy it to other sessions.
    Copy,
    /// Notify others.
    Notify,
}

/// Who is about to reach whom. A guard sees no more than this, because it is also asked where there is no
/// stanza: when presence is shown.
#[derive(Debug, Clone, Copy)]
pub struct GuardQuery<'a> {
    /// On which side the guard's account stands.
    pub side: Side,
    /// The class of the stanza.
    pub kind: rules::StanzaClass,
    /// The guard's account.
    pub own: &'a str,
    /// The other side.
    pub peer: &'a Jid,
}

/// Phases that run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The sender's account, before the stanza is routed: Archive.
    Sending,
    /// The addressee's account, when its takers are known: Archive to Notify.
    Receiving,
    /// The sender's account again, when the stanza has its positions in the archives: Copy, Notify.
    Sent,
}

/// A feature's decision about a stanza.
#[derive(Debug)]
pub enum Verdict {
    /// The stanza continues.
    Continue,
    /// It is dropped silently.
    Drop,
    /// It is dropped; the sender gets the error.
    Bounce(StanzaError),
}

impl Verdict {
    /// The error, unless the stanza continues. A drop is an error, too, because a request must get an
    /// answer.
    pub fn refused(self) -> Result<(), StanzaError> {
        match self {
            Self::Continue => Ok(()),
            Self::Drop => Err(StanzaError::service_unavailable()),
            Self::Bounce(error) => Err(error),
        }
    }

    pub(super) fn ended(self) -> Result<(), Routed> {
        match self {
            Self::Continue => Ok(()),
            Self::Drop => Err(Routed::Done),
            Self::Bounce(error) => Err(Routed::Bounce(error)),
        }
    }
}

/// On which side of a stanza the account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The stanza is for it.
    Incoming,
    /// It comes from one of its sessions.
    Outgoing,
    /// It came from one of its sessions, which gets the server's error for it.
    Returned,
}

/// A local session that gets a frame.
#[derive(Debug, Clone)]
pub struct Taker {
    /// Its number in the registry.
    pub session: u64,
    /// Its outbox.
    pub outbox: Arc<Outbox>,
}

impl Taker {
    /// The bound session.
    pub fn of(resource: &Resource) -> Self {
        Self { session: resource.session, outbox: resource.outbox.clone() }
    }

    /// Queues a stanza; never waits and wakes no session: see [`Outbox::put`].
    pub fn put(&self, item: Outgoing) -> Result<Put, Refused> {
        self.outbox.put(item)
    }
}

/// Sessions that get a stanza.
pub type Takers = SmallVec<[Taker; 2]>;

/// Makes what is added to each frame of an archived stanza, from the archive's key, the position in it, and
/// its owner's bare JID.
pub type Stamp = fn(&Store, ArchiveId, i64, &str) -> Vec<u8>;
/// A write in the same transaction as a message's row.
pub type RowWrite = fn(&mut dyn Tx, &Row<'_>) -> Result<(), StoreError>;
/// Makes the copy of a stanza that the account received or sent as this frame. It has no `to`: each taker's
/// copy is addressed later.
pub type Wrap = fn(Side, &Stanza, &Frame) -> Frame;

/// A message's row, as a [`RowWrite`] gets it.
#[derive(Debug)]
pub struct Row<'a> {
    /// The message.
    pub stanza: &'a Stanza,
    /// Whose row it is: the sender's or the addressee's.
    pub side: Side,
    /// The account it belongs to.
    pub account: AccountId,
    /// Its position.
    pub seq: i64,
    /// When it came, in microseconds since 1970.
    pub at: i64,
    /// Whether it is in the archive; otherwise it waits in the mailbox.
    pub archived: bool,
}

/// What a feature does when the stanza has passed and the account's lock is free: a type of the floor above.
pub type Event = Box<dyn Any + Send>;

/// A stanza that has passed through an account, for an [`Event`].
#[derive(Debug, Clone)]
pub struct Passed {
    /// The right to the account's entry.
    pub home: Home,
    /// When it passed.
    pub now: SystemTime,
    /// The position of the account's row of it, if it has one, and whether that is in the archive.
    pub row: Option<(i64, bool)>,
}

/// Sessions of the account that get a copy, besides those that get the stanza itself.
#[derive(Debug)]
pub struct Copies {
    /// Their addresses and outboxes; never empty.
    pub to: Vec<(FullJid, Taker)>,
    /// Makes the copy.
    pub wrap: Wrap,
}

/// A stanza on its way through an account.
#[derive(Debug)]
pub struct Passage<'a> {
    /// The stanza.
    pub stanza: &'a Stanza,
    /// What its type and its hints ask for.
    pub policy: MessagePolicy,
    /// On which side the account stands.
    pub side: Side,
    /// The outbox of the local session that sent it.
    pub sender: Option<&'a Arc<Outbox>>,
    /// RFC 6121 §8.5; only for incoming stanzas.
    pub decision: Decision,
    /// Sessions that get it; only for incoming stanzas.
    pub takers: Takers,
    /// Whether the account is owed it (promise.md 1).
    pub owed: bool,
    /// Set if it goes into the account's archive: makes what its frames get.
    pub archive: Option<Stamp>,
    /// Written with its row, if it has one.
    pub row_writes: Vec<RowWrite>,
    /// Set if a feature keeps the message itself, with this write: then it goes into no archive and no mailbox,
    /// and nobody gets it. Only for incoming messages of stored accounts.
    pub kept_by: Option<RowWrite>,
    /// Copies for other sessions.
    pub copies: Vec<Copies>,
    /// For when the lock is free. Not from the sender's Archive, which may run twice; dropped with a stanza
    /// that does not pass.
    pub events: Vec<Event>,
    domains: &'a Domains,
    marks: &'a Marks,
}

impl<'a> Passage<'a> {
    pub(super) fn new(
        (domains, marks): (&'a Domains, &'a Marks),
        stanza: &'a Stanza,
        policy: MessagePolicy,
        side: Side,
        sender: Option<&'a Arc<Outbox>>,
    ) -> Self {
        Self {
            stanza,
            policy,
            side,
            sender,
            decision: Decision::Ignore,
            takers: Takers::new(),
            owed: false,
            archive: None,
            row_writes: Vec::new(),
            kept_by: None,
            copies: Vec::new(),
            events: Vec::new(),
            domains,
            marks,
        }
    }

    /// The other side.
    pub fn peer(&self) -> Option<&'a Jid> {
        match self.side {
            Side::Incoming => Some(self.stanza.from()),
            Side::Outgoing | Side::Returned => self.stanza.to(),
        }
    }

    /// Whether the message waits for a device that takes messages. It is owed to that device even if
    /// another one reads it first (RFC 6121 §8.5.2.2.1).
    pub fn waits(&self) -> bool {
        self.owed && self.decision == Decision::Store
    }

    /// Whether this is an account's address on this server; the account need not exist.
    pub fn is_account(&self, jid: &Jid) -> bool {
        jid.local().is_some() && self.domains.served(jid.domain()) == Some(Served::Accounts)
    }

    /// Whether this is a domain of this server, its own or a service's.
    pub fn is_server(&self, jid: &Jid) -> bool {
        jid.local().is_none() && self.domains.served(jid.domain()).is_some()
    }

    /// Whether it is an address of another server.
    pub fn is_elsewhere(&self, jid: &Jid) -> bool {
        self.domains.served(jid.domain()).is_none()
    }

    /// Whether the account sends it to itself.
    pub fn is_to_self(&self) -> bool {
        self.stanza.to().is_none_or(|to| to.bare_str() == self.stanza.from().bare_str())
    }

    /// Identifies an answer to the stanza, which has the same id; a peer cannot predict it. It is made with
    /// the bare JID, because the answer may come from a resource that the stanza did not name.
    pub fn mark(&self) -> Option<u64> {
        let (peer, id) = self.peer().zip(self.stanza.id())?;
        Some(self.marks.mark(peer.bare_str(), &id))
    }
}
