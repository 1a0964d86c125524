//! How a module's data moves in and out: as elements of XEP-0227, or of our own where that has none.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::Config;
use crate::base::limits::Limits;
use crate::jid::BareJid;
use crate::store::ids::{AccountId, ArchiveId, RoomId};
use crate::store::tx::{StoreError, Tx};
use crate::xml::view::Node;

/// The open tag of an element that parts stand in: its name, and what its attributes say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Its namespace.
    pub ns: String,
    /// Its name.
    pub name: String,
    /// Its attributes without namespace declarations, as they are meant (not escaped).
    pub attrs: Vec<(String, String)>,
}

impl Tag {
    /// A tag without attributes.
    pub fn new(ns: &str, name: &str) -> Self {
        Self { ns: ns.to_owned(), name: name.to_owned(), attrs: Vec::new() }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attrs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What an attribute says.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is this element's.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }
}

/// Whose parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// An account's.
    Account,
    /// A room's.
    Room,
}

/// An element that a module takes and gives.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// What it is, for people, in the plural: `roster items`. Elements with the same word are counted together.
    pub what: &'static str,
    /// Whose.
    pub of: Holder,
    /// What it stands in, the outermost first: namespaces and names.
    pub within: &'static [(&'static str, &'static str)],
    /// The element's namespace; `*`: any.
    pub ns: &'static str,
    /// Its name; `*`: any.
    pub name: &'static str,
    /// Writes it.
    pub take: Take,
}

/// What a module moves.
#[derive(Debug, Clone, Copy)]
pub struct Moves {
    /// What it takes in, each with where it stands.
    pub takes: &'static [Moved],
    /// Called when all parts of an owner are taken: writes what follows from them.
    pub settle: Option<Settle>,
    /// Whose things it gives, and how: called once for each account or room, in the order of the modules' list.
    pub gives: &'static [(Holder, Give)],
    /// How rooms are made and found, if they are this module's.
    pub rooms: Option<MovedRooms>,
}

impl Moves {
    /// Nothing.
    pub const NONE: Self = Self { takes: &[], settle: None, gives: &[], rooms: None };
}

/// Rooms as a whole.
#[derive(Debug, Clone, Copy)]
pub struct MovedRooms {
    /// Makes a room, or finds it: its key, and whether it is new; or why there can be none with this address.
    pub open: fn(&mut dyn Tx, &Config, &BareJid, SystemTime) -> Opened,
    /// Addresses and keys of rooms behind an address, in order; a bounded number of them.
    pub list: RoomsAfter,
}

/// Some addresses and keys of rooms behind an address.
pub type RoomsAfter = fn(&mut dyn Tx, after: &str) -> Result<Vec<(BareJid, i64)>, StoreError>;
/// A room's key, and whether it is new; or why there can be none.
pub type Opened = Result<Result<(i64, bool), String>, StoreError>;
/// Writes what follows from the parts of an owner that were taken; gives what is not as it should be. May be called
/// again.
pub type Settle = fn(&mut Taking<'_>) -> Result<Vec<Untaken>, StoreError>;

/// Something that could not be taken, or is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untaken {
    /// What it is, in the plural.
    pub what: &'static str,
    /// Which one.
    pub which: String,
    /// Why, and what to do.
    pub why: String,
}

/// Writes an element, unless what it says is there already. An error ends the import; what cannot be taken is
/// [`Taken::Not`].
pub type Take = fn(&mut Taking<'_>, &[Tag], Node<'_>) -> Result<Taken, StoreError>;

/// What became of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is written.
    New,
    /// It was there.
    There,
    /// It cannot be taken: which one, and why.
    Not {
        /// What it is called, as an address or an id; short.
        which: String,
        /// The reason, for people.
        why: String,
    },
}

impl Taken {
    /// It cannot be taken.
    pub fn not(which: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Not { which: which.into(), why: why.into() }
    }
}

/// The account or the room that parts are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its address.
    pub jid: BareJid,
    /// What it is.
    pub holder: Holder,
    /// Its key in the store.
    pub key: i64,
}

impl Owner {
    /// The key of an account; of a room that of no account.
    pub const fn account(&self) -> AccountId {
        match self.holder {
            Holder::Account => AccountId(self.key),
            Holder::Room => AccountId(0),
        }
    }

    /// Its archive.
    pub const fn archive(&self) -> ArchiveId {
        match self.holder {
            Holder::Account => ArchiveId::of(AccountId(self.key)),
            Holder::Room => ArchiveId::of_room(RoomId(self.key)),
        }
    }
}

/// What [`Take`] is given.
pub struct Taking<'a> {
    /// The transaction.
    pub tx: &'a mut dyn Tx,
    /// Whose it is.
    pub owner: &'a Owner,
    /// All modules' settings; a module reads its own.
    pub config: &'a Config,
    /// The bounds that all share.
    pub limits: &'a Limits,
    /// The wall clock.
    pub now: SystemTime,
    /// What is remembered of the owner while it is taken.
    pub own: &'a mut Own,
}

/// What is remembered from one part of an owner to the next; begins empty with each owner. Bounded by whoever puts
/// something in.
#[derive(Debug, Default)]
pub struct Own {
    /// The last position in the archive that this run took or found.
    pub last: i64,
    /// The time of the message there, in microseconds since 1970.
    pub at: i64,
    /// Numbers under names that a module makes up, which begin with its own.
    pub notes: BTreeMap<String, i64>,
}

/// Gives everything of an owner, element by element.
pub type Give = fn(&mut Giving<'_>) -> Result<(), StoreError>;

/// Where a given part goes.
pub type Out<'a> = &'a mut dyn FnMut(&[Tag], &[u8]) -> Result<(), StoreError>;

/// What [`Give`] is given.
pub struct Giving<'a> {
    /// A transaction that reads.
    pub tx: &'a mut dyn Tx,
    /// Whose it is.
    pub owner: &'a Owner,
    /// All modules' settings.
    pub config: &'a Config,
    /// Takes a part: what it stands in, and the element with its namespace declarations. An error of it has to
    /// be given back.
    pub out: Out<'a>,
}

impl std::fmt::Debug for Taking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Taking({})", self.owner.jid)
    }
}

impl std::fmt::Debug for Giving<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Giving({})", self.owner.jid)
    }
}
