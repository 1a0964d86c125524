//! What the floor above adds to accounts, to sessions, and to the way of stanzas through accounts. The
//! router carries it all, and knows no feature.

use std::any::Any;
use std::fmt::Debug;

use super::passage::{Meeting, Part, Passage, Verdict};
use super::registry::User;
use crate::stanza::Kind;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// What features keep for one account or one session: a type of the floor above.
pub trait Held: Any + Debug + Send {
    /// Bytes that it takes outside itself.
    fn bytes(&self) -> usize;
}

/// The same where there may be nothing.
pub type State = Option<Box<dyn Held>>;

/// All features of the server.
pub trait Features: Debug + Send + Sync {
    /// Reads what they keep of an account.
    fn load(&self, tx: &mut dyn Tx, account: AccountId) -> Result<State, StoreError>;

    /// Sessions of the account came, went, or changed their minds: what of their stanzas is looked at
    /// with the account's lock. One entry in `asks` for each of the account's resources.
    fn sessions(&self, account: &mut User, asks: &mut [Asks]);

    /// May they meet, for this account?
    fn guard(&self, account: &User, meeting: &Meeting<'_>) -> Verdict;

    /// One part of a stanza's way through an account. `account` is none where its features asked for
    /// nothing ([`Asks`]), and no lock was taken.
    fn pass(&self, part: Part, account: Option<&mut User>, passage: &mut Passage<'_>) -> Verdict;
}

/// No features: messages are for those who are there.
#[derive(Debug)]
pub struct Plain;

impl Features for Plain {
    fn load(&self, _: &mut dyn Tx, _: AccountId) -> Result<State, StoreError> {
        Ok(None)
    }

    fn sessions(&self, _: &mut User, _: &mut [Asks]) {}

    fn guard(&self, _: &User, _: &Meeting<'_>) -> Verdict {
        Verdict::Continue
    }

    fn pass(&self, _: Part, _: Option<&mut User>, _: &mut Passage<'_>) -> Verdict {
        Verdict::Continue
    }
}

/// Which stanzas of a session its account is asked about, before they are routed and after. Kept in the
/// session's box, so that the others cost one look there and no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asks(u8);

impl Asks {
    /// Before stanzas of this kind are routed.
    pub const fn before(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    /// After it.
    pub const fn after(kind: Kind) -> Self {
        Self(1 << (kind as u8 + KINDS))
    }

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Does it ask for all that the other does?
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn of_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// Message, presence, IQ.
const KINDS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_its_own() {
        let kinds = [Kind::Message, Kind::Presence, Kind::Iq];
        let all: Vec<_> =
            kinds.iter().flat_map(|kind| [Asks::before(*kind), Asks::after(*kind)]).collect();
        for (at, one) in all.iter().enumerate() {
            for (there, other) in all.iter().enumerate() {
                assert_eq!(one.has(*other), at == there);
            }
        }
        assert!(all.iter().fold(Asks::default(), |sum, one| sum.and(*one)).has(all[5]));
    }
}
