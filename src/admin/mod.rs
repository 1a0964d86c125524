//! The operator's verbs, whoever speaks them: the command line now, HTTP later.

pub mod accounts;
mod operator;
mod secret;

pub use operator::{Operator, backup_line, served};
pub use secret::Secret;

use crate::base::credential::AgentId;
use crate::jid::BareJid;
use crate::store::Store;
use crate::store::ids::AccountId;
use accounts::AdminError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::pin::Pin;

/// The future of [`Effects::end_account`]: until when the account can be restored, in microseconds since
/// 1970; none if it is erased.
pub type Ending<'a> = Pin<Box<dyn Future<Output = Result<Option<i64>, AdminError>> + Send + 'a>>;

/// What the live server does when an account changes under its sessions.
pub trait Effects: Send + Sync {
    /// Removes the account, or erases it if there is no grace or it is to be `now`. Its contacts are told,
    /// and lose it from their rosters' subscriptions, else whoever gets the name next would inherit them.
    fn end_account<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Ending<'a>;

    /// The account's sessions must end. Called after the change is durable.
    fn account_gone(&self, jid: &BareJid, why: Gone);

    /// The sessions of this device of the account must end. Called after the change is durable.
    fn device_gone(&self, jid: &BareJid, device: &AgentId);

    /// There is an account of this name now. Called after the change is durable.
    fn account_made(&self, jid: &BareJid);
}

/// Why an account's sessions must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The account exists no more.
    Deleted,
    /// Nobody may log in to it for now.
    Disabled,
    /// Whoever knew the old password must not stay.
    PasswordChanged,
    /// Whatever it is used with must log in by password again.
    Revoked,
}

/// One verb with its arguments, as it travels over the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Makes an account.
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
    /// Shuts an account without losing anything of it.
    UserDisable {
        /// The address.
        jid: String,
    },
    /// Opens it again.
    UserEnable {
        /// The address.
        jid: String,
    },
    /// Deletes an account with all it owns.
    UserDel {
        /// The address.
        jid: String,
        /// So that it cannot be restored.
        #[serde(default)]
        now: bool,
    },
    /// Brings a deleted account back.
    UserRestore {
        /// The address.
        jid: String,
    },
    /// Tells with which devices an account is used.
    UserDevices {
        /// The address.
        jid: String,
    },
    /// Logs a device of an account out, or all of them.
    UserRevoke {
        /// The address.
        jid: String,
        /// Its name in the list; none: all.
        device: Option<String>,
    },
    /// Tells all accounts.
    UserList {
        /// Only those of this domain.
        domain: Option<String>,
        /// Those that were deleted and can be restored.
        #[serde(default)]
        deleted: bool,
    },
    /// Tells what the running server has to do.
    Status,
    /// Copies the database into a new file.
    Backup {
        /// The file, from the root of the server's file system.
        path: String,
    },
}

/// What came of a verb: lines for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Ok {
        /// What was done, or what was asked for.
        lines: Vec<String>,
    },
    /// Not done.
    Error {
        /// Why, and what to do.
        message: String,
    },
}

impl Response {
    /// Done, with one line to say so.
    pub fn done(line: impl Into<String>) -> Self {
        Self::Ok { lines: vec![line.into()] }
    }

    /// Not done.
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
