//! What an account may do to the server as a whole.

/// An account's role. Each one may do what those before it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "server", serde(rename_all = "lowercase"))]
pub enum Role {
    /// Nothing beyond its own account.
    #[default]
    User,
    /// Administers the accounts of users, and speaks to all of them.
    Operator,
    /// Administers operators and other owners, too.
    Owner,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::User, Self::Operator, Self::Owner];

    /// Its name on the command line and in forms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }

    /// Whether it is more than a user's.
    pub fn is_admin(self) -> bool {
        self > Self::User
    }

    /// Whether its holder may change an account of that role: another way to it, such as a new password,
    /// is as good as the role itself.
    pub fn rules(self, other: Self) -> bool {
        self == Self::Owner || self > other
    }

    /// As it is stored.
    pub const fn number(self) -> i64 {
        match self {
            Self::User => 0,
            Self::Operator => 1,
            Self::Owner => 2,
        }
    }

    /// The reverse of [`Role::number`]. A number that means nothing gives no power.
    pub const fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Operator,
            2 => Self::Owner,
            _ => Self::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_rules_an_equal_but_owners() {
        use Role::{Operator, Owner, User};
        for (one, other, rules) in [
            (User, User, false),
            (User, Operator, false),
            (Operator, User, true),
            (Operator, Operator, false),
            (Operator, Owner, false),
            (Owner, Operator, true),
            (Owner, Owner, true),
        ] {
            assert_eq!(one.rules(other), rules, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_role_is_stored_and_read() {
        for role in Role::ALL {
            assert_eq!(Role::of_number(role.number()), role);
            let name = serde_json::to_string(&role).unwrap();
            assert_eq!(name, format!("\"{}\"", role.as_str()));
        }
        assert_eq!(Role::of_number(99), Role::User);
    }
}
