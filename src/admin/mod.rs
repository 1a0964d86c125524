//! The operator's verbs, whatever interface they come through: the command line now, HTTP later.

pub mod accounts;
mod admins;
mod operator;
mod secret;

pub use admins::Admins;
pub use operator::{Operator, backup_line, served};
pub use secret::Secret;

use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::jid::BareJid;
use crate::store::Store;
use crate::store::ids::AccountId;
use accounts::AdminError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::pin::Pin;

/// The future of [`Effects::end_account`]. It returns until when the account can be restored, in microseconds
/// since 1970, or `None` if the account is erased.
pub type Ending<'a> = Pin<Box<dyn Future<Output = Result<Option<i64>, AdminError>> + Send + 'a>>;

/// The future of [`Effects::set_role`].
pub type Setting<'a> = Pin<Box<dyn Future<Output = Result<(), AdminError>> + Send + 'a>>;

/// What the live server does when an account changes under its sessions.
pub trait Effects: Send + Sync {
    /// Removes the account, or erases it if there is no grace period or `now` is set. Its contacts are
    /// notified, and their subscriptions to it are removed from their rosters: otherwise the next owner of
    /// the name would inherit them.
    fn end_account<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Ending<'a>;

    /// Gives the account a role, in the store and for its sessions.
    fn set_role<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        role: Role,
    ) -> Setting<'a>;

    /// Ends the account's sessions. Called after the change is durable.
    fn account_gone(&self, jid: &BareJid, why: Gone);

    /// Ends the sessions of this device of the account. Called after the change is durable.
    fn device_gone(&self, jid: &BareJid, device: &AgentId);

    /// Announces that an account of this name exists now. Called after the change is durable.
    fn account_made(&self, jid: &BareJid);
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
    /// Lists accounts.
    UserList {
        /// Only the accounts of this domain.
        domain: Option<String>,
        /// Only deleted accounts that can be restored.
        #[serde(default)]
        deleted: bool,
    },
    /// Shows the load of the running server.
    Status,
    /// Copies the database into a new file.
    Backup {
        /// The absolute path of the file.
        path: String,
    },
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
}
