//! What the router carries for features: state of an account or a session, and what each is asked.

use std::any::Any;
use std::fmt::Debug;

use crate::stanza::Kind;

/// What features keep for one account or one session: a type of the floor above.
pub trait FeatureState: Any + Debug + Send {
    /// Bytes that it takes outside itself.
    fn bytes(&self) -> usize;
}

/// The same where there may be nothing.
pub type State = Option<Box<dyn FeatureState>>;

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
