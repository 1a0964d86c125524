//! What the operator says of components (XEP-0114): who they are, and what they may do beyond their own domain.

use serde::{Deserialize, Serialize};

/// A component, as modules see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Component {
    /// Its domain, in normal form.
    pub domain: String,
    /// For people.
    pub name: String,
    /// Whether hosted domains name it among their items (XEP-0030).
    pub listed: bool,
    /// What it may do for accounts (XEP-0356).
    pub privileges: Privileges,
    /// What it answers in place of this server (XEP-0355).
    pub delegate: Vec<Delegate>,
}

/// `privileges` of a component: what it may do for all accounts of all hosted domains (XEP-0356).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privileges {
    /// Rosters of accounts (§4).
    pub roster: Access,
    /// Whether it is told of changes of rosters that it may read (§4.1).
    pub push: Push,
    /// Messages in the name of accounts (§5).
    pub message: MessageAccess,
    /// Who is there (§7).
    pub presence: PresenceAccess,
    /// Requests in the name of accounts (§6).
    pub iq: Vec<IqAccess>,
}

/// Whether a component is told of changes of rosters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Push(pub bool);

impl Default for Push {
    fn default() -> Self {
        Self(true)
    }
}

/// Which requests are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// None.
    #[default]
    None,
    /// Of type get.
    Get,
    /// Of type set.
    Set,
    /// Both.
    Both,
}

impl Access {
    /// Whether requests of type get are.
    pub const fn gets(self) -> bool {
        matches!(self, Self::Get | Self::Both)
    }

    /// Whether requests of type set are.
    pub const fn sets(self) -> bool {
        matches!(self, Self::Set | Self::Both)
    }

    /// As in XEP-0356 §4.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Get => "get",
            Self::Set => "set",
            Self::Both => "both",
        }
    }
}

/// XEP-0356 §5.1
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageAccess {
    /// None.
    #[default]
    None,
    /// In the name of accounts and of hosted domains.
    Outgoing,
}

/// XEP-0356 §7.1
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceAccess {
    /// None.
    #[default]
    None,
    /// Of accounts.
    ManagedEntity,
    /// Of their contacts, too.
    Roster,
}

impl PresenceAccess {
    /// As in XEP-0356 §7.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ManagedEntity => "managed_entity",
            Self::Roster => "roster",
        }
    }
}

/// XEP-0356 §6.1
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IqAccess {
    /// Of the request's payload.
    pub namespace: String,
    /// Which types.
    #[serde(rename = "type")]
    pub access: Access,
}

/// A namespace that a component answers for (XEP-0355 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Of the request's payload.
    pub namespace: String,
    /// Only requests whose payload has all of these attributes.
    #[serde(default)]
    pub attributes: Vec<String>,
}

impl Privileges {
    /// Whether there are any.
    pub fn is_none(&self) -> bool {
        *self == Self { push: self.push, ..Self::default() }
    }

    /// Whether the component is told of changes of rosters (§4.1: only of what it may read).
    pub const fn pushes(&self) -> bool {
        self.push.0 && self.roster.gets()
    }
}
