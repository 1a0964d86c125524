//! What became of messages, counted.

use crate::base::tally::Tally;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is with a session of the addressee.
    Delivered,
    /// It waits for one.
    Held,
    /// Its sender gets an error.
    Bounced,
    /// Nobody gets it, and its sender hears nothing.
    Dropped,
    /// A service of this server handles it.
    Service,
    /// It waits for another server, or a component.
    Remote,
    /// It was one of the first two, and could not be written: its sender gets an error all the same.
    Unstored,
}

impl Fate {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Delivered, "delivered"),
        (Self::Held, "held"),
        (Self::Bounced, "bounced"),
        (Self::Dropped, "dropped"),
        (Self::Service, "service"),
        (Self::Remote, "remote"),
        (Self::Unstored, "unstored"),
    ];
}

/// How many had which.
#[derive(Debug, Default)]
pub(super) struct Fates(Tally<{ Fate::ALL.len() }>);

impl Fates {
    /// Counts a message.
    pub(super) fn count(&self, fate: Fate) {
        self.0.add(fate as usize, 1);
    }

    /// All of them, by name.
    pub(super) fn sums(&self) -> [(&'static str, u64); Fate::ALL.len()] {
        Fate::ALL.map(|(fate, name)| (name, self.0.sum(fate as usize)))
    }
}
