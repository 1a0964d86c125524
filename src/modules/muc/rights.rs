//! Affiliations and roles (XEP-0045 §5): who may do what in a room.

/// What somebody is to a room, whether there or not (§5.2). Ordered by what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Affiliation {
    /// Banned.
    Outcast,
    /// Nothing in particular.
    #[default]
    None,
    /// Listed: may enter a members-only room.
    Member,
    /// May ban, and give membership.
    Admin,
    /// May configure and destroy the room.
    Owner,
}

impl Affiliation {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Outcast, Self::None, Self::Member, Self::Admin, Self::Owner];

    /// The value of the 'affiliation' attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outcast => "outcast",
            Self::None => "none",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// As it is stored.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The reverse of [`Self::number`].
    pub fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// §5.1.2: the role of whoever enters with it.
    pub const fn first_role(self, moderated: bool) -> Role {
        match self {
            Self::Outcast => Role::None,
            Self::None if moderated => Role::Visitor,
            Self::None | Self::Member => Role::Participant,
            Self::Admin | Self::Owner => Role::Moderator,
        }
    }
}

/// What an occupant may do while it is in the room (§5.1). Ordered by what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Not in the room.
    #[default]
    None,
    /// Listens.
    Visitor,
    /// Has voice.
    Participant,
    /// May kick, and give voice.
    Moderator,
}

impl Role {
    /// All four.
    pub const ALL: [Self; 4] = [Self::None, Self::Visitor, Self::Participant, Self::Moderator];

    /// The value of the 'role' attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Visitor => "visitor",
            Self::Participant => "participant",
            Self::Moderator => "moderator",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0045 §5.1.2, the table.
    #[test]
    fn an_affiliation_gives_the_first_role() {
        use Affiliation::{Admin, Member, None, Outcast, Owner};
        let roles =
            |moderated| [None, Member, Admin, Owner].map(|one| one.first_role(moderated).as_str());
        assert_eq!(roles(true), ["visitor", "participant", "moderator", "moderator"]);
        assert_eq!(roles(false), ["participant", "participant", "moderator", "moderator"]);
        assert_eq!(Outcast.first_role(false), Role::None);
    }

    #[test]
    fn names_and_numbers_are_read_back() {
        for one in Affiliation::ALL {
            assert_eq!(Affiliation::parse(one.as_str()), Some(one));
            assert_eq!(Affiliation::of_number(one.number()), Some(one));
        }
        assert!(Role::ALL.into_iter().all(|one| Role::parse(one.as_str()) == Some(one)));
        assert!(Affiliation::Owner > Affiliation::Outcast && Role::Moderator > Role::Visitor);
    }
}
