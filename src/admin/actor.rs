//! Who uses a verb, by which way, and what they may do.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::role::Role;
use crate::jid::BareJid;

/// Who uses a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// An account's address, a token's name, or the command line.
    pub name: String,
    /// What it may do.
    pub rank: Rank,
    /// By which way it comes.
    pub via: Via,
}

/// What somebody may do with the verbs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// Nothing.
    #[serde(skip)]
    Nobody,
    /// Looks, and changes nothing.
    Reader,
    /// Makes, lists and takes back invitations, and nothing else.
    Inviter,
    /// All but what is for owners, and nothing to the accounts of admins.
    Operator,
    /// All.
    Owner,
}

impl Rank {
    /// Those that can be given, the least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Inviter, Self::Operator, Self::Owner];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Reader => "reader",
            Self::Inviter => "inviter",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }

    /// The rank of a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rank| rank.as_str() == text)
    }

    /// Whether it may use a verb of this least rank, which `changes` something or not.
    pub fn may(self, least: Self, changes: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Reader => !changes && least <= Self::Inviter,
            Self::Inviter => least == Self::Inviter,
            Self::Operator | Self::Owner => least <= self,
        }
    }

    /// The role of an account that has the same power over other accounts.
    pub const fn role(self) -> Role {
        match self {
            Self::Nobody | Self::Reader | Self::Inviter => Role::User,
            Self::Operator => Role::Operator,
            Self::Owner => Role::Owner,
        }
    }

    /// As it is stored.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The reverse of [`Rank::number`]. A number that means nothing gives no power.
    pub fn of_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|rank| rank.number() == number).unwrap_or(Self::Nobody)
    }
}

impl From<Role> for Rank {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::Nobody,
            Role::Operator => Self::Operator,
            Role::Owner => Self::Owner,
        }
    }
}

/// By which way somebody uses a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The command line: whoever has the server's files.
    CommandLine,
    /// An ad-hoc command in a client.
    Client,
    /// The JSON API, from this address.
    Api(IpAddr),
    /// The admin's page, from this address.
    Page(IpAddr),
}

impl Via {
    /// For the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::Client => "client",
            Self::Api(_) => "api",
            Self::Page(_) => "page",
        }
    }

    /// The network address, if there is one.
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::CommandLine | Self::Client => None,
            Self::Api(ip) | Self::Page(ip) => Some(ip),
        }
    }
}

impl Actor {
    /// Whoever has the server's files.
    pub fn command_line() -> Self {
        let name = "the command line".to_owned();
        Self { name, rank: Rank::Owner, via: Via::CommandLine }
    }

    /// An account in its client.
    pub fn client(jid: &BareJid, role: Role) -> Self {
        Self { name: jid.to_string(), rank: role.into(), via: Via::Client }
    }

    /// A token at the JSON API.
    pub fn token(name: &str, rank: Rank, ip: IpAddr) -> Self {
        Self { name: format!("token {name}"), rank, via: Via::Api(ip) }
    }

    /// An account at the admin's page.
    pub fn page(jid: &BareJid, role: Role, ip: IpAddr) -> Self {
        Self { name: jid.to_string(), rank: role.into(), via: Via::Page(ip) }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_may_its_own() {
        use Rank::{Inviter, Nobody, Operator, Owner, Reader};
        for (rank, least, changes, may) in [
            (Nobody, Reader, false, false),
            (Reader, Reader, false, true),
            (Reader, Reader, true, false),
            (Reader, Inviter, false, true),
            (Reader, Inviter, true, false),
            (Reader, Operator, false, false),
            (Inviter, Inviter, true, true),
            (Inviter, Reader, false, false),
            (Inviter, Operator, true, false),
            (Operator, Inviter, true, true),
            (Operator, Operator, true, true),
            (Operator, Owner, false, false),
            (Owner, Owner, true, true),
        ] {
            assert_eq!(rank.may(least, changes), may, "{rank:?} {least:?} {changes}");
        }
        for rank in Rank::ALL {
            assert_eq!(Rank::of_number(rank.number()), rank);
            assert_eq!(Rank::parse(rank.as_str()), Some(rank));
        }
        assert_eq!((Rank::of_number(99), Rank::parse("nobody")), (Nobody, None));
    }
}
