//! Keys of rows that more than one table knows.

use super::tx::Value;

/// An account's key in the store; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

/// A room's key in the store; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub i64);

/// An archive's key in the store: kind and key of its owner in one number, an account's as it is and a
/// room's below zero. So no table has to lead from one to the other, and an archive of a release that
/// knew accounts only has the key it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchiveId(i64);

/// Whose an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// An account: what it sent and received.
    Account(AccountId),
    /// A room: what was said in it.
    Room(RoomId),
}

impl ArchiveId {
    /// Where a walk through all archives begins: before the first one.
    pub const BEFORE_ALL: Self = Self(i64::MIN);

    /// The archive of an account.
    pub const fn of(account: AccountId) -> Self {
        Self(account.0)
    }

    /// The archive of a room.
    pub const fn of_room(room: RoomId) -> Self {
        Self(room.0.saturating_neg())
    }

    /// Whose it is.
    pub const fn owner(self) -> Owner {
        if self.0 < 0 {
            Owner::Room(RoomId(self.0.saturating_neg()))
        } else {
            Owner::Account(AccountId(self.0))
        }
    }

    /// The account whose it is, if it is one's.
    pub const fn account(self) -> Option<AccountId> {
        match self.owner() {
            Owner::Account(account) => Some(account),
            Owner::Room(_) => None,
        }
    }

    /// As it stands in a row.
    pub(super) const fn from_key(key: i64) -> Self {
        Self(key)
    }

    /// As it stands in a row, and in the ids of its messages.
    pub(super) const fn key(self) -> i64 {
        self.0
    }
}

impl From<AccountId> for Owner {
    fn from(account: AccountId) -> Self {
        Self::Account(account)
    }
}

impl From<ArchiveId> for Owner {
    fn from(archive: ArchiveId) -> Self {
        archive.owner()
    }
}

impl From<AccountId> for Value<'_> {
    fn from(id: AccountId) -> Self {
        Self::Int(id.0)
    }
}

impl From<ArchiveId> for Value<'_> {
    fn from(id: ArchiveId) -> Self {
        Self::Int(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_knows_its_owner() {
        let (account, room) = (AccountId(7), RoomId(7));
        assert_eq!(ArchiveId::of(account).owner(), Owner::Account(account));
        assert_eq!(ArchiveId::of(account).account(), Some(account));
        assert_eq!(ArchiveId::of_room(room).owner(), Owner::Room(room));
        assert_eq!(ArchiveId::of_room(room).account(), None);
        assert!(ArchiveId::BEFORE_ALL < ArchiveId::of_room(room));
        assert_eq!(Value::from(ArchiveId::of(account)), Value::from(account));
    }
}
