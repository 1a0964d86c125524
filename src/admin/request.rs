//! The verbs with their arguments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Audience, AuditQuery, CertVerb, Notice, NoticeChange, PeerVerb, Rank, RoomVerb, Secret,
    TeamVerb, UploadVerb, UserQuery,
};
use crate::base::role::Role;

/// One verb with its arguments, as it travels over the admin socket; over HTTP they are of the path, the query and the
/// body. What a verb is besides stands in [`super::VERBS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Creates an account.
    UserAdd {
        /// The address.
        jid: String,
        /// Its first password.
        password: Secret,
    },
    /// Shows an account.
    UserShow {
        /// The address.
        jid: String,
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
    /// Logs out one device of an account.
    UserRevoke {
        /// The address.
        jid: String,
        /// The device's id in the list.
        device: String,
    },
    /// Logs out all devices of an account.
    UserRevokeAll {
        /// The address.
        jid: String,
    },
    /// Says which role an account has.
    UserRole {
        /// The address.
        jid: String,
    },
    /// Gives an account a role.
    UserRoleSet {
        /// The address.
        jid: String,
        /// The role.
        role: Role,
    },
    /// Lists the admins.
    AdminList,
    /// Makes a link with which an account's owner sets a new password.
    UserResetLink {
        /// The address.
        jid: String,
        /// For how many hours it is good.
        #[serde(default = "a_day")]
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
    /// Lists the sessions of an account.
    UserSessions {
        /// The address.
        jid: String,
    },
    /// Ends the session of a full JID, or all of a bare one.
    UserLogout {
        /// The address, perhaps with a resource.
        jid: String,
    },
    /// Sends a text to accounts.
    Announce {
        /// The text.
        text: String,
        /// Which accounts.
        #[serde(default)]
        to: Audience,
    },
    /// Shows what accounts are told at login.
    NoticeShow {
        /// Which of the two.
        which: Notice,
    },
    /// Changes what accounts are told at login.
    NoticeSet {
        /// Which of the two.
        which: Notice,
        /// The new text.
        text: String,
        /// It is a correction: whoever got the old one does not get it again.
        #[serde(default)]
        edit: bool,
    },
    /// Accounts are told nothing any more at login.
    NoticeDelete {
        /// Which of the two.
        which: Notice,
    },
    /// Lists accounts.
    UserList(UserQuery),
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
    /// Lists what people reported of whom they blocked.
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
        /// The absolute path of the file, on the server's machine.
        path: String,
    },
    /// Shows the configuration that is in force, without secrets.
    ConfigShow {
        /// Only this section, such as `web` or `modules.mam`.
        #[serde(default)]
        section: Option<String>,
    },
    /// Shows the newest lines of the log.
    LogTail {
        /// How many at most.
        #[serde(default)]
        max: Option<usize>,
        /// Only lines in which this stands, in any case.
        #[serde(default)]
        search: Option<String>,
    },
    /// Lists what operators did, the newest first.
    AuditList(AuditQuery),
    /// Makes a token for the JSON API. It is shown this once.
    TokenAdd {
        /// What it is called.
        name: String,
        /// What it may do.
        role: Rank,
        /// For how many days it is good.
        #[serde(default = "days")]
        days: u32,
    },
    /// Lists the tokens.
    TokenList,
    /// Takes a token back.
    TokenRevoke {
        /// What it is called.
        name: String,
    },
}

/// An invitation that the operator makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The domain of the new account; none: the inviter's, or the only one.
    #[serde(default)]
    pub domain: Option<String>,
    /// The account that becomes a contact of the new one.
    #[serde(default)]
    pub user: Option<String>,
    /// The name that the new account must have.
    #[serde(default)]
    pub name: Option<String>,
    /// The team that it joins.
    #[serde(default)]
    pub team: Option<String>,
    /// How many may use it.
    #[serde(default = "one")]
    pub uses: u32,
    /// Days for which it is good; none: as configured.
    #[serde(default)]
    pub days: Option<u32>,
}

const fn one() -> u32 {
    1
}

const fn a_day() -> u32 {
    24
}

const fn days() -> u32 {
    90
}

impl Request {
    /// Shows or changes what accounts are told at login.
    pub fn notice(which: Notice, change: NoticeChange) -> Self {
        match change {
            NoticeChange::Show => Self::NoticeShow { which },
            NoticeChange::Set(text) => Self::NoticeSet { which, text, edit: false },
            NoticeChange::Edit(text) => Self::NoticeSet { which, text, edit: true },
            NoticeChange::Delete => Self::NoticeDelete { which },
        }
    }

    /// Gives an account a role, or says which it has.
    pub fn role(jid: String, role: Option<Role>) -> Self {
        match role {
            Some(role) => Self::UserRoleSet { jid, role },
            None => Self::UserRole { jid },
        }
    }

    /// Logs out one device, or all.
    pub fn revoke(jid: String, device: Option<String>) -> Self {
        match device {
            Some(device) => Self::UserRevoke { jid, device },
            None => Self::UserRevokeAll { jid },
        }
    }

    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserAdd { .. } => "user.add",
            Self::UserShow { .. } => "user.show",
            Self::UserPasswd { .. } => "user.passwd",
            Self::UserDisable { .. } => "user.disable",
            Self::UserEnable { .. } => "user.enable",
            Self::UserDel { .. } => "user.del",
            Self::UserRestore { .. } => "user.restore",
            Self::UserDevices { .. } => "user.devices",
            Self::UserRevoke { .. } => "user.revoke",
            Self::UserRevokeAll { .. } => "user.revoke-all",
            Self::UserRole { .. } => "user.role",
            Self::UserRoleSet { .. } => "user.role.set",
            Self::AdminList => "admin.list",
            Self::UserResetLink { .. } => "user.reset-link",
            Self::Invite(_) => "invite.add",
            Self::InviteList => "invite.list",
            Self::InviteRevoke { .. } => "invite.revoke",
            Self::UserSessions { .. } => "user.sessions",
            Self::UserLogout { .. } => "user.logout",
            Self::Announce { .. } => "announce",
            Self::NoticeShow { .. } => "notice.show",
            Self::NoticeSet { .. } => "notice.set",
            Self::NoticeDelete { .. } => "notice.delete",
            Self::UserList(_) => "user.list",
            Self::Team(verb) => verb.name(),
            Self::Room(verb) => verb.name(),
            Self::Upload(verb) => verb.name(),
            Self::Peers(verb) => verb.name(),
            Self::Certificates(verb) => verb.name(),
            Self::ReportList { .. } => "report.list",
            Self::ReportShow { .. } => "report.show",
            Self::ReportDone { .. } => "report.done",
            Self::Status => "status",
            Self::Backup { .. } => "backup",
            Self::ConfigShow { .. } => "config.show",
            Self::LogTail { .. } => "log.tail",
            Self::AuditList(_) => "audit.list",
            Self::TokenAdd { .. } => "token.add",
            Self::TokenList => "token.list",
            Self::TokenRevoke { .. } => "token.revoke",
        }
    }

    /// The account that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::UserAdd { jid, .. }
            | Self::UserShow { jid }
            | Self::UserPasswd { jid, .. }
            | Self::UserDisable { jid }
            | Self::UserEnable { jid }
            | Self::UserDel { jid, .. }
            | Self::UserRestore { jid }
            | Self::UserDevices { jid }
            | Self::UserRevoke { jid, .. }
            | Self::UserRevokeAll { jid }
            | Self::UserRole { jid }
            | Self::UserRoleSet { jid, .. }
            | Self::UserResetLink { jid, .. }
            | Self::UserSessions { jid }
            | Self::UserLogout { jid } => Some(jid),
            Self::Upload(verb) => verb.about(),
            _ => None,
        }
    }

    /// What else it is about, for the logs: a team, a room, a domain, a token. Never a secret.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::Team(verb) => {
                let (_, team, on) = verb.changes()?;
                Some(on.map_or(team.to_owned(), |on| format!("{team}: {on}")))
            }
            Self::Room(verb) => verb.about().map(str::to_owned),
            Self::Peers(verb) => verb.about().map(str::to_owned),
            Self::NoticeSet { which, .. } | Self::NoticeDelete { which } => {
                Some(which.as_str().to_owned())
            }
            Self::ReportDone { id } => Some(id.to_string()),
            Self::Backup { path } => Some(path.clone()),
            Self::TokenAdd { name, .. } | Self::TokenRevoke { name } => Some(name.clone()),
            Self::Invite(Invite { name, user, .. }) => name.as_ref().or(user.as_ref()).cloned(),
            other => other.about().map(str::to_owned),
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
            Self::UserRevokeAll { .. } => "logged all devices out",
            Self::UserRoleSet { .. } => "gave a role",
            Self::UserLogout { .. } => "ended sessions",
            Self::UserResetLink { .. } => "made a link for a new password",
            Self::Invite(_) => "made an invitation",
            Self::InviteRevoke { .. } => "revoked an invitation",
            Self::Team(verb) => return verb.changes().map(|(what, ..)| what),
            Self::Room(verb) => return verb.changes(),
            Self::Upload(verb) => return verb.changes(),
            Self::Peers(verb) => return verb.changes(),
            Self::Certificates(verb) => return verb.changes(),
            Self::ReportDone { .. } => "closed a report",
            Self::Announce { .. } => "made an announcement",
            Self::NoticeSet { which, .. } | Self::NoticeDelete { which } => match which {
                Notice::Motd => "changed the message of the day",
                Notice::Welcome => "changed the welcome message",
            },
            Self::Backup { .. } => "made a backup",
            Self::TokenAdd { .. } => "made a token for the API",
            Self::TokenRevoke { .. } => "revoked a token for the API",
            Self::UserShow { .. }
            | Self::UserRole { .. }
            | Self::UserSessions { .. }
            | Self::NoticeShow { .. }
            | Self::ReportList { .. }
            | Self::ReportShow { .. }
            | Self::InviteList
            | Self::AdminList
            | Self::UserDevices { .. }
            | Self::UserList(_)
            | Self::Status
            | Self::ConfigShow { .. }
            | Self::LogTail { .. }
            | Self::AuditList(_)
            | Self::TokenList => return None,
        })
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
        let line = r#"{"verb":"team","do":"show","name":"a"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        let unknown = r#"{"verb":"team","do":"show","name":"a","x":"y"}"#;
        assert!(serde_json::from_str::<Request>(unknown).is_err());
    }
}
