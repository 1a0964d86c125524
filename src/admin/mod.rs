//! The operator's verbs, whatever interface they come through: the command line now, HTTP later.

pub mod accounts;
mod admins;
mod cert_verbs;
mod certificates;
mod device_line;
pub mod invitations;
mod operator;
mod peer_verbs;
mod peers;
mod reports;
mod rooms;
mod secret;
mod status;
mod teams;
mod uploads;

pub use admins::Admins;
pub use cert_verbs::{CertError, CertVerb};
pub use certificates::Keeping;
pub use operator::{Operator, backup_line, served};
pub use peer_verbs::{PeerError, PeerVerb};
pub use peers::{Peering, rules_of};
pub use rooms::{RoomError, RoomLine, RoomPage, RoomQuery, RoomVerb};
pub use secret::Secret;
pub use teams::{TeamError, TeamVerb};
pub use uploads::UploadVerb;

use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::jid::{BareJid, Jid};
use crate::store::Store;
use crate::store::ids::AccountId;
use accounts::AdminError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::pin::Pin;

/// The future of an effect.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, AdminError>> + Send + 'a>>;

/// Who uses a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account.
    pub jid: BareJid,
    /// What it may do.
    pub role: Role,
}

/// An account that has sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Its address.
    pub jid: BareJid,
    /// Its sessions' resources.
    pub resources: Vec<String>,
    /// Whether its owner seems to be there.
    pub presence: Presence,
}

/// Whether the owner of an account that has sessions seems to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// One session is available and not away.
    Active,
    /// All are away, or not available.
    Idle,
}

/// To whom an announcement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever has a session.
    Online,
    /// Every account.
    All,
}

/// What accounts are told at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The message of the day: every account, once.
    Motd,
    /// The welcome message: new accounts.
    Welcome,
}

/// What is done with one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeChange {
    /// Nothing.
    Show,
    /// There is a new one.
    Set(String),
    /// It is corrected: whoever got it does not get it again.
    Edit(String),
    /// There is none any more.
    Delete,
}

/// What the live server does when an account changes under its sessions.
pub trait Effects: Send + Sync {
    /// Removes the account, or erases it if there is no grace period or `now` is set. Its contacts are
    /// notified, and their subscriptions to it are removed from their rosters: otherwise the next owner of
    /// the name would inherit them. Returns until when the account can be restored, in microseconds since
    /// 1970, or `None` if the account is erased.
    fn end_account<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Doing<'a, Option<i64>>;

    /// Gives the account a role, in the store and for its sessions.
    fn set_role<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        role: Role,
    ) -> Doing<'a, ()>;

    /// Ends the account's sessions. Called after the change is durable.
    fn account_gone(&self, jid: &BareJid, why: Gone);

    /// Ends the sessions of this device of the account. Called after the change is durable.
    fn device_gone(&self, jid: &BareJid, device: &AgentId);

    /// Announces that an account of this name exists now. Called after the change is durable.
    fn account_made(&self, jid: &BareJid);

    /// Does what it means to others that the account is shut, or open again. Called after the change is
    /// durable.
    fn account_turned<'a>(&'a self, account: AccountId, open: bool) -> Doing<'a, ()>;

    /// Carries out a verb over teams; returns lines for people.
    fn team<'a>(&'a self, verb: TeamVerb) -> Doing<'a, Vec<String>>;

    /// Carries out a verb over rooms; returns lines for people.
    fn room<'a>(&'a self, verb: RoomVerb) -> Doing<'a, Vec<String>>;

    /// Some rooms.
    fn rooms<'a>(&'a self, query: RoomQuery) -> Doing<'a, RoomPage>;

    /// Ends the session of a full JID, or all of a bare one; how many. They may come back.
    fn log_out(&self, jid: &Jid) -> usize;

    /// Who has sessions now.
    fn online(&self) -> Vec<Online>;

    /// Sends a text; to how many accounts. It is durable for those who are to get it later.
    fn announce<'a>(&'a self, text: &'a str, to: Audience) -> Doing<'a, usize>;

    /// Changes what accounts are told at login; what it is now.
    fn notice<'a>(&'a self, which: Notice, change: NoticeChange) -> Doing<'a, Option<String>>;
}

/// Why an account's sessions must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The account no longer exists.
    Deleted,
    /// Logging in to it is disabled for now.
    Disabled,
    /// The password has changed; a session that knew only the old one must not stay.
    PasswordChanged,
    /// The device was revoked and must log in by password again.
    Revoked,
}

/// One verb with its arguments, as it travels over the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Creates an account.
    UserAdd {
        /// The address.
        jid: String,
        /// Its first password.
        password: Secret,
    },
    /// Sets another password.
    UserPasswd {
        /// The address.
        jid: String,
        /// The new password.
        password: Secret,
    },
    /// Disables an account; its data stays.
    UserDisable {
        /// The address.
        jid: String,
    },
    /// Enables it again.
    UserEnable {
        /// The address.
        jid: String,
    },
    /// Deletes an account with all its data.
    UserDel {
        /// The address.
        jid: String,
        /// Erases it, so that it cannot be restored.
        #[serde(default)]
        now: bool,
    },
    /// Restores a deleted account.
    UserRestore {
        /// The address.
        jid: String,
    },
    /// Lists the devices of an account.
    UserDevices {
        /// The address.
        jid: String,
    },
    /// Logs out one device of an account, or all of them.
    UserRevoke {
        /// The address.
        jid: String,
        /// The device's name in the list; `None` for all devices.
        device: Option<String>,
    },
    /// Gives an account a role, or says which it has.
    UserRole {
        /// The address.
        jid: String,
        /// The role; `None` to ask.
        role: Option<Role>,
    },
    /// Lists the admins.
    AdminList,
    /// Makes a link with which an account's owner sets a new password.
    UserResetLink {
        /// The address.
        jid: String,
        /// For how long it is good.
        hours: u32,
    },
    /// Makes an invitation.
    Invite(Invite),
    /// Lists invitations.
    InviteList,
    /// Takes an invitation back.
    InviteRevoke {
        /// Its number, token or link. A token is a secret as long as it works.
        which: Secret,
    },
    /// Ends the session of a full JID, or all of a bare one.
    UserLogout {
        /// The address.
        jid: String,
    },
    /// Sends a text to accounts.
    Announce {
        /// The text.
        text: String,
        /// Which accounts.
        to: Audience,
    },
    /// Changes what accounts are told at login.
    Notice {
        /// Which of the two.
        which: Notice,
        /// How.
        change: NoticeChange,
    },
    /// Lists accounts.
    UserList {
        /// Only the accounts of this domain.
        domain: Option<String>,
        /// Only deleted accounts that can be restored.
        #[serde(default)]
        deleted: bool,
    },
    /// Makes, changes and shows teams.
    Team(TeamVerb),
    /// Makes, changes and shows rooms.
    Room(RoomVerb),
    /// Lists and deletes what accounts uploaded.
    Upload(UploadVerb),
    /// Shows and changes what is between this server and others.
    Peers(PeerVerb),
    /// Shows the certificates in use, and orders new ones.
    Certificates(CertVerb),
    /// Lists what people reported of whom they blocked (XEP-0377).
    ReportList {
        /// Also reports that are done with.
        #[serde(default)]
        all: bool,
    },
    /// Shows a report.
    ReportShow {
        /// Its number.
        id: i64,
    },
    /// A report is done with.
    ReportDone {
        /// Its number.
        id: i64,
    },
    /// Shows the load of the running server.
    Status,
    /// Copies the database into a new file.
    Backup {
        /// The absolute path of the file.
        path: String,
    },
}

/// An invitation that the operator makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The domain of the new account; none: the inviter's, or the only one.
    pub domain: Option<String>,
    /// The account that becomes a contact of the new one.
    pub user: Option<String>,
    /// The name that the new account must have.
    pub name: Option<String>,
    /// The team that it joins.
    pub team: Option<String>,
    /// How many may use it.
    pub uses: u32,
    /// Days for which it is good; none: as configured.
    pub days: Option<u32>,
}

impl Request {
    /// The account that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::UserAdd { jid, .. }
            | Self::UserPasswd { jid, .. }
            | Self::UserDisable { jid }
            | Self::UserEnable { jid }
            | Self::UserDel { jid, .. }
            | Self::UserRestore { jid }
            | Self::UserDevices { jid }
            | Self::UserRevoke { jid, .. }
            | Self::UserRole { jid, .. }
            | Self::UserLogout { jid } => Some(jid),
            Self::UserResetLink { jid, .. } => Some(jid),
            Self::Upload(verb) => verb.about(),
            Self::AdminList
            | Self::Invite(_)
            | Self::InviteList
            | Self::InviteRevoke { .. }
            | Self::Team(_)
            | Self::Room(_)
            | Self::Peers(_)
            | Self::Certificates(_)
            | Self::ReportList { .. }
            | Self::ReportShow { .. }
            | Self::ReportDone { .. }
            | Self::Announce { .. }
            | Self::Notice { .. }
            | Self::UserList { .. }
            | Self::Status
            | Self::Backup { .. } => None,
        }
    }

    /// What it does, for the log; `None` if it changes nothing.
    pub fn changes(&self) -> Option<&'static str> {
        Some(match self {
            Self::UserAdd { .. } => "made an account",
            Self::UserPasswd { .. } => "set a password",
            Self::UserDisable { .. } => "disabled an account",
            Self::UserEnable { .. } => "enabled an account",
            Self::UserDel { .. } => "deleted an account",
            Self::UserRestore { .. } => "restored an account",
            Self::UserRevoke { .. } => "logged a device out",
            Self::UserRole { role: Some(_), .. } => "gave a role",
            Self::UserLogout { .. } => "ended sessions",
            Self::UserResetLink { .. } => "made a link for a new password",
            Self::Invite(_) => "made an invitation",
            Self::InviteRevoke { .. } => "revoked an invitation",
            Self::Team(verb) => return verb.changes().map(|(what, ..)| what),
            Self::Room(RoomVerb::Create { .. }) => "made a room",
            Self::Room(RoomVerb::Destroy { .. }) => "destroyed a room",
            Self::Room(RoomVerb::Affiliation { .. }) => "changed an affiliation in a room",
            Self::Room(RoomVerb::Purge { .. }) => "deleted the archive of a room",
            Self::Room(RoomVerb::List(_) | RoomVerb::Show { .. }) => return None,
            Self::Upload(UploadVerb::Delete { .. }) => "deleted uploads",
            Self::Upload(UploadVerb::DeleteAll { .. }) => "deleted all uploads of an account",
            Self::Upload(UploadVerb::Owners { .. } | UploadVerb::List { .. }) => return None,
            Self::Peers(verb) => return verb.changes(),
            Self::Certificates(verb) => return verb.changes(),
            Self::ReportDone { .. } => "closed a report",
            Self::Announce { .. } => "made an announcement",
            Self::Notice { change: NoticeChange::Show, .. } => return None,
            Self::Notice { which: Notice::Motd, .. } => "changed the message of the day",
            Self::Notice { which: Notice::Welcome, .. } => "changed the welcome message",
            Self::UserRole { role: None, .. }
            | Self::ReportList { .. }
            | Self::ReportShow { .. }
            | Self::InviteList
            | Self::AdminList
            | Self::UserDevices { .. }
            | Self::UserList { .. }
            | Self::Status
            | Self::Backup { .. } => return None,
        })
    }
}

/// The outcome of a verb: lines for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The verb succeeded.
    Ok {
        /// What was done, or the data that was asked for.
        lines: Vec<String>,
    },
    /// The verb failed.
    Error {
        /// Why, and what to do about it.
        message: String,
    },
}

impl Response {
    /// A success with one line that says so.
    pub fn done(line: impl Into<String>) -> Self {
        Self::Ok { lines: vec![line.into()] }
    }

    /// A failure.
    pub fn error(message: impl fmt::Display) -> Self {
        Self::Error { message: message.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_prints_no_password() {
        let request = Request::UserAdd { jid: "a@b".into(), password: Secret("hunter2".into()) };
        assert!(!format!("{request:?}").contains("hunter2"));
        let line = r#"{"verb":"user_add","jid":"a@b","password":"hunter2"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
    }

    #[test]
    fn a_verb_over_teams_is_one_line_too() {
        let request = Request::Team(TeamVerb::Show { name: "a".to_owned() });
        let line = r#"{"verb":"team","team":"show","name":"a"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        let unknown = r#"{"verb":"team","team":"show","name":"a","x":"y"}"#;
        assert!(serde_json::from_str::<Request>(unknown).is_err());
    }
}
