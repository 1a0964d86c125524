//! What `stonechat user` takes.

use super::args_list::most;
use crate::base::role::Role;
use clap::{Args, Subcommand};

/// The verbs of `stonechat user`.
#[derive(Debug, Clone, Subcommand)]
pub enum User {
    /// Make an account
    Add(WithPassword),
    /// Give an account another password; its devices are logged out
    Passwd(WithPassword),
    /// Make a link with which an account's owner sets a new password in a client, once
    ResetLink(ResetLink),
    /// Shut an account: nobody can log in to it, and nothing of it is lost
    Disable(Account),
    /// Open a shut account again
    Enable(Account),
    /// Delete an account with its contacts, archive and waiting messages
    Del(Deletion),
    /// Bring a deleted account back, as long as modules.register.grace_days says
    Restore(Account),
    /// Show an account: its role, sessions, devices and uploads
    Show(Account),
    /// List the sessions of an account
    Sessions(Account),
    /// End the sessions of an account, or one of them; their clients may log in again
    Logout(SessionOf),
    /// List the devices that an account is used with, as far as their clients tell
    Devices(Account),
    /// Log a device out: it needs the password again
    Revoke(Device),
    /// Make an account an admin, or no admin any more; without a role say which it has, and without an
    /// address list all admins
    Role(RoleOf),
    /// List accounts
    List {
        /// Only those of this domain
        #[arg(long)]
        domain: Option<String>,
        /// Those that were deleted and can be restored
        #[arg(long, conflicts_with = "domain")]
        deleted: bool,
        /// Only those with this in the address
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only those behind this address
        #[arg(long, value_name = "ADDRESS")]
        after: Option<String>,
        /// How many at most [default: all]
        #[arg(long, value_name = "N", value_parser = most)]
        max: Option<usize>,
    },
}

/// An account to act on.
#[derive(Debug, Clone, Args)]
pub struct Account {
    /// The address, such as alice@example.org
    pub jid: String,
}

/// A link to a new password.
#[derive(Debug, Clone, Args)]
pub struct ResetLink {
    /// The address, such as alice@example.org
    pub jid: String,
    /// For how long it is good
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub hours: u32,
    /// Draw the QR code also where the output is no terminal
    #[arg(long)]
    pub qr: bool,
}

/// Sessions to end.
#[derive(Debug, Clone, Args)]
pub struct SessionOf {
    /// The address, such as alice@example.org, or alice@example.org/phone for one session
    pub jid: String,
}

/// An account to delete.
#[derive(Debug, Clone, Args)]
pub struct Deletion {
    /// The address, such as alice@example.org
    pub jid: String,
    /// Delete it for good, so that it cannot be restored; also one that was deleted before
    #[arg(long)]
    pub now: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Devices of an account.
#[derive(Debug, Clone, Args)]
pub struct Device {
    /// The address, such as alice@example.org
    pub jid: String,
    /// The device, as `stonechat user devices` names it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub device: Option<String>,
    /// All devices, and all that is logged in
    #[arg(long)]
    pub all: bool,
}

/// An account and its role.
#[derive(Debug, Clone, Args)]
pub struct RoleOf {
    /// The address, such as alice@example.org
    pub jid: Option<String>,
    /// owner: may do everything from a client; operator: may administer users; user: as everybody
    #[arg(value_parser = role)]
    pub role: Option<Role>,
}

/// An account and where its password comes from; never from the arguments, which all may read.
#[derive(Debug, Clone, Args)]
pub struct WithPassword {
    /// The address, such as alice@example.org
    pub jid: String,
    /// Read the password from standard input, one line, instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}

fn role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.as_str() == text);
    known.ok_or_else(|| "write owner, operator or user".to_owned())
}

pub const USER_EXAMPLES: &str = "\
Examples:
  stonechat user add alice@example.org
  pass show xmpp/bob | stonechat user add bob@example.org --password-stdin
  stonechat user passwd alice@example.org
  stonechat user reset-link alice@example.org         she forgot hers, and sets another one herself
  stonechat user disable bob@example.org
  stonechat user del bob@example.org && stonechat user restore bob@example.org
  stonechat user list --domain example.org
  stonechat user role alice@example.org owner

The commands speak to the running server over the socket admin.sock in its data folder, and to the \
database itself when no server runs. So run them as the server's user and with its configuration:
  sudo -u stonechat stonechat --config /etc/stonechat/stonechat.toml user list";
