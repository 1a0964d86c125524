//! What verbs over accounts give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::role::Role;

/// What was done, in words; there are no data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// A line for each thing.
    pub told: Vec<String>,
}

/// An account was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountMade {
    /// Its address.
    pub jid: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountShown {
    /// Its address.
    pub jid: String,
    /// Nobody can log in to it.
    pub disabled: bool,
    /// Its role, by the database or the configuration.
    pub role: Role,
    /// When it was made.
    pub created: String,
    /// When it was deleted; it can be restored.
    pub deleted: Option<String>,
    /// Sessions that it has now.
    pub sessions: usize,
    /// Devices that are known.
    pub devices: usize,
    /// Files that it uploaded.
    pub upload_files: i64,
    /// Their bytes.
    pub upload_bytes: i64,
}

/// An account has another password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSet {
    /// Its address.
    pub jid: String,
}

/// An account was disabled, or enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountTurned {
    /// Its address.
    pub jid: String,
    /// How it is now.
    pub disabled: bool,
    /// It was so before already.
    pub already: bool,
}

/// An account was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountDeleted {
    /// Its address.
    pub jid: String,
    /// Until when it can be restored; none: it cannot.
    pub restorable_until: Option<String>,
}

/// A deleted account is back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountRestored {
    /// Its address.
    pub jid: String,
}

/// Some accounts, by domain and name; deleted ones in the order in which they were deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountList {
    /// These.
    pub accounts: Vec<AccountLine>,
    /// There are more: ask for those `after` this address.
    pub next: Option<String>,
}

/// An account in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountLine {
    /// Its address.
    pub jid: String,
    /// Nobody can log in to it.
    pub disabled: bool,
    /// When it was deleted.
    pub deleted: Option<String>,
}

/// The devices of an account, the last seen first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceList {
    /// These.
    pub devices: Vec<DeviceLine>,
}

/// A device, as far as its client tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLine {
    /// By this it is logged out.
    pub id: String,
    /// The client; may be empty.
    pub software: String,
    /// What it runs on; may be empty.
    pub name: String,
    /// Its first login.
    pub first_seen: String,
    /// Its last, to an hour.
    pub last_seen: String,
    /// Until when it can log in without the password.
    pub token_until: Option<String>,
}

/// Devices were logged out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DevicesRevoked {
    /// The account.
    pub jid: String,
    /// The one; none: all.
    pub device: Option<String>,
    /// How many were known.
    pub forgotten: usize,
}

/// The sessions of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// These.
    pub sessions: Vec<SessionLine>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionLine {
    /// Its full address; by this it is ended.
    pub jid: String,
}

/// Sessions were ended; their clients may come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsEnded {
    /// The address, perhaps with a resource.
    pub jid: String,
    /// How many.
    pub sessions: usize,
}

/// The role of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleShown {
    /// Its address.
    pub jid: String,
    /// Its role.
    pub role: Role,
    /// The configuration says so, whatever the database says.
    pub configured: bool,
}

/// The accounts with a role above a user's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminList {
    /// These, by address.
    pub admins: Vec<AdminLine>,
}

/// An admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminLine {
    /// Its address.
    pub jid: String,
    /// Its role.
    pub role: Role,
}

/// A link that was made: an invitation, or to a new password. No `Debug` of its own: whoever has it may use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// For clients.
    pub uri: String,
    /// The page that tells of it.
    pub page: Option<String>,
    /// From when on it is not good any more.
    pub until: String,
    /// What it is for, in words.
    pub what: String,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(until {})", self.until)
    }
}

/// The invitations and links to new passwords that are open, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationList {
    /// These.
    pub invitations: Vec<InvitationLine>,
}

/// An invitation in the list, without what would let somebody use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationLine {
    /// By this it is taken back.
    pub id: i64,
    /// What it is for, in words.
    pub what: String,
    /// The account that invites; none: the operator.
    pub by: Option<String>,
    /// The team that a new account joins.
    pub team: Option<String>,
    /// It sets a new password.
    pub password: bool,
    /// How many may use it still.
    pub uses_left: u32,
    /// From when on it is not good any more.
    pub until: String,
}

/// An invitation was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationRevoked {
    /// Its number.
    pub id: i64,
}
