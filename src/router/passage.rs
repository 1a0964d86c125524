//! One stanza's way through one account. Features add to it what is to be done; the router does it:
//! `incoming` for the addressee's account, `outgoing` for the sender's.

use std::sync::Arc;

use smallvec::SmallVec;

use super::account::Resource;
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

/// The order of features, behind the guards. Two in one phase go in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Keep it.
    Archive,
    /// Copy it to others.
    Copy,
    /// Tell somebody.
    Notify,
}

/// Who is about to reach whom: all that a guard looks at, as it is also asked where no stanza is, when
/// presence is shown.
#[derive(Debug, Clone, Copy)]
pub struct GuardQuery<'a> {
    /// On which side the guard's account stands.
    pub side: Side,
    /// What is to pass.
    pub kind: rules::StanzaClass,
    /// The guard's account.
    pub own: &'a str,
    /// The other side.
    pub peer: &'a Jid,
}

/// What is passed in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The sender's account, before the stanza is routed: Archive.
    Sending,
    /// The addressee's account, when it is known who gets it: Archive to Notify.
    Receiving,
    /// The sender's account again, when the stanza has its positions in archives: Copy, Notify.
    Sent,
}

/// What a feature says of a stanza.
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// Go no further, silently.
    Drop,
    /// Go no further; the sender gets the error.
    Bounce(StanzaError),
}

impl Verdict {
    /// The error where it is not to go on; silence is one for a request, which must have an answer.
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

/// Who takes a frame: a local stream that bound a resource.
#[derive(Debug, Clone)]
pub struct Taker {
    /// Its number in the registry.
    pub session: u64,
    /// The way to it.
    pub outbox: Arc<Outbox>,
}

impl Taker {
    /// The bound session.
    pub fn of(resource: &Resource) -> Self {
        Self { session: resource.session, outbox: resource.outbox.clone() }
    }

    /// Hands a stanza on; never waits, and wakes nobody: see [`Outbox::put`].
    pub fn put(&self, item: Outgoing) -> Result<Put, Refused> {
        self.outbox.put(item)
    }
}

/// Sessions that get a stanza.
pub type Takers = SmallVec<[Taker; 2]>;

/// What is added to each frame of an archived stanza: made of the archive's key, the place in it,
/// and its owner's bare JID.
pub type Stamp = fn(&Store, ArchiveId, i64, &str) -> Vec<u8>;
/// A write that goes with a message's row, in its transaction.
pub type RowWrite = fn(&mut dyn Tx, &Row<'_>) -> Result<(), StoreError>;
/// Makes the copy of what the account got or sent as this frame. Without `to`: each taker's is
/// addressed.
pub type Wrap = fn(Side, &Stanza, &Frame) -> Frame;

/// A message's row, as [`RowWrite`] sees it.
#[derive(Debug)]
pub struct Row<'a> {
    /// The message.
    pub stanza: &'a Stanza,
    /// Whose row it is: the sender's or the addressee's.
    pub side: Side,
    /// Whose.
    pub account: AccountId,
    /// Its position.
    pub seq: i64,
    /// When it came, in microseconds since 1970.
    pub at: i64,
    /// It is in the archive; else it waits in the mailbox.
    pub archived: bool,
}

/// Sessions of the account that get a copy beside those that get the stanza itself.
#[derive(Debug)]
pub struct Copies {
    /// Their addresses, and the way to them; never none.
    pub to: Vec<(FullJid, Taker)>,
    /// Makes it.
    pub wrap: Wrap,
}

/// A stanza on its way through an account.
#[derive(Debug)]
pub struct Passage<'a> {
    /// It.
    pub stanza: &'a Stanza,
    /// What its type and its hints want.
    pub policy: MessagePolicy,
    /// Where the account stands.
    pub side: Side,
    /// The box of the local session that sent it.
    pub sender: Option<&'a Arc<Outbox>>,
    /// RFC 6121 §8.5; of incoming ones.
    pub decision: Decision,
    /// Who gets it; of incoming ones.
    pub takers: Takers,
    /// The account is owed it (promise.md 1).
    pub owed: bool,
    /// It goes into the account's archive, and its frames get this.
    pub archive: Option<Stamp>,
    /// Written with its row, if it has one.
    pub row_writes: Vec<RowWrite>,
    /// Who else hears of it.
    pub copies: Vec<Copies>,
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
            copies: Vec::new(),
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

    /// It waits for a device that takes messages, and is owed to that one whoever reads it before
    /// (RFC 6121 §8.5.2.2.1).
    pub fn waits(&self) -> bool {
        self.owed && self.decision == Decision::Store
    }

    /// Is this an account's address on this server, if there is one of that name?
    pub fn is_account(&self, jid: &Jid) -> bool {
        jid.local().is_some() && self.domains.served(jid.domain()) == Some(Served::Accounts)
    }

    /// It goes from the account to itself.
    pub fn is_to_self(&self) -> bool {
        self.stanza.to().is_none_or(|to| to.bare_str() == self.stanza.from().bare_str())
    }

    /// By which an answer to the stanza is known that bears its id; nobody outside can foresee it.
    /// Of the bare JID: the answer may come from a resource that the stanza did not name.
    pub fn mark(&self) -> Option<u64> {
        let (peer, id) = self.peer().zip(self.stanza.id())?;
        Some(self.marks.mark(peer.bare_str(), &id))
    }
}
