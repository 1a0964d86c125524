//! Keys of rows that more than one table knows.

use super::tx::Value;

/// An account's key in the store; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

impl From<AccountId> for Value<'_> {
    fn from(id: AccountId) -> Self {
        Self::Int(id.0)
    }
}
