//! Keys of rows that several tables refer to.

use super::tx::Value;

/// An account's key in the store; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

/// A room's key in the store; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub i64);

/// An archive's key in the store: kind and key of its owner in one number. For an account it is the account's
/// key, for a room a negative number. So no table has to map one to the other, and archives of releases that
/// had only accounts keep their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchiveId(i64);

/// A pubsub service's key in the store: an account's key as it is, for each account is one, and that of a
/// service with a domain of its own below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey(i64);

/// The owner of an archive, or of other rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// An account: messages that it sent and received.
    Account(AccountId),
    /// A room: messages sent to it.
    Room(RoomId),
    /// A pubsub service with a domain of its own, by its number.
    Service(i64),
}

impl ServiceKey {
    /// The one that an account is.
    pub const fn of(account: AccountId) -> Self {
        Self(account.0)
    }

    /// The service with this number, from 1.
    pub const fn of_service(number: i64) -> Self {
        Self(number.saturating_neg())
    }

    /// Its owner.
    pub const fn owner(self) -> Owner {
        if self.0 < 0 {
            Owner::Service(self.0.saturating_neg())
        } else {
            Owner::Account(AccountId(self.0))
        }
    }
}

impl ArchiveId {
    /// The start of a walk through all archives: below every key.
    pub const BEFORE_ALL: Self = Self(i64::MIN);

    /// The archive of an account.
    pub const fn of(account: AccountId) -> Self {
        Self(account.0)
    }

    /// The archive of a room.
    pub const fn of_room(room: RoomId) -> Self {
        Self(room.0.saturating_neg())
    }

    /// Its owner.
    pub const fn owner(self) -> Owner {
        if self.0 < 0 {
            Owner::Room(RoomId(self.0.saturating_neg()))
        } else {
            Owner::Account(AccountId(self.0))
        }
    }

    /// The account that owns it; `None` for a room's.
    pub const fn account(self) -> Option<AccountId> {
        match self.owner() {
            Owner::Account(account) => Some(account),
            Owner::Room(_) | Owner::Service(_) => None,
        }
    }

    /// From the number in a row.
    pub(super) const fn from_key(key: i64) -> Self {
        Self(key)
    }

    /// The number in a row, and in the ids of its messages.
    pub(super) const fn key(self) -> i64 {
        self.0
    }
}

impl From<AccountId> for Owner {
    fn from(account: AccountId) -> Self {
        Self::Account(account)
    }
}

impl From<RoomId> for Owner {
    fn from(room: RoomId) -> Self {
        Self::Room(room)
    }
}

impl From<ArchiveId> for Owner {
    fn from(archive: ArchiveId) -> Self {
        archive.owner()
    }
}

impl From<ServiceKey> for Owner {
    fn from(service: ServiceKey) -> Self {
        service.owner()
    }
}

impl From<ServiceKey> for Value<'_> {
    fn from(service: ServiceKey) -> Self {
        Self::Int(service.0)
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
        assert_eq!(ServiceKey::of(account).owner(), Owner::Account(account));
        assert_eq!(ServiceKey::of_service(7).owner(), Owner::Service(7));
        assert_eq!(Value::from(ServiceKey::of_service(7)), Value::Int(-7));
        assert!(ArchiveId::BEFORE_ALL < ArchiveId::of_room(room));
        assert_eq!(Value::from(ArchiveId::of(account)), Value::from(account));
    }
}
