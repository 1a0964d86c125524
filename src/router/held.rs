//! The state that features attach to an account or a session, and which stanzas they look at.

use std::any::Any;
use std::fmt::Debug;

use crate::stanza::Kind;

/// State of the features for one account or one session: a type of the floor above.
pub trait FeatureState: Any + Debug + Send {
    /// Bytes that it holds outside itself.
    fn bytes(&self) -> usize;
}

/// Feature state, if there is any.
pub type State = Option<Box<dyn FeatureState>>;

/// Which stanzas of a session the account's features look at, before or after they are routed. Held in
/// the session's outbox, so that all other stanzas cost one look there and no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asks(u8);

impl Asks {
    /// Before stanzas of this kind are routed.
    pub const fn before(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    /// After stanzas of this kind are routed.
    pub const fn after(kind: Kind) -> Self {
        Self(1 << (kind as u8 + KINDS))
    }

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it includes everything that the other asks for.
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

/// Number of kinds: message, presence, IQ.
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
