//! What can be said on the command line.

use crate::base::role::Role;
use crate::server::config::Inputs;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// What a command line says.
#[derive(Debug, Parser)]
#[command(
    name = "stonechat",
    version,
    about = "An XMPP server that loses nothing",
    long_about = ABOUT,
    after_help = EXAMPLES,
    after_long_help = EXAMPLES,
    subcommand_help_heading = "Commands",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// The command; none means [`Command::Serve`].
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file [else: $STONECHAT_CONFIG, ./stonechat.toml,
    /// /etc/stonechat/stonechat.toml, the built-in defaults]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Sets one key of the configuration, as often as wanted: --set log.level=debug
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The folder of the database, certificates and admin socket: short for --set data_dir=PATH
    #[arg(long, global = true, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
}

impl Common {
    /// The layers of configuration that this command line stands on.
    pub fn inputs(&self) -> Inputs {
        Inputs::from_process(self.config.clone(), self.sets())
    }

    /// The keys set here.
    pub(super) fn sets(&self) -> Vec<(String, String)> {
        let folder = self.data_dir.as_ref().map(|path| path.display().to_string());
        let folder = folder.map(|path| ("data_dir".to_owned(), path));
        self.set.iter().cloned().chain(folder).collect()
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server; this is what `stonechat` alone does
    Serve,
    /// Run a server that is thrown away when it ends, for tests and for trying things
    #[command(long_about = LAB, after_help = LAB_EXAMPLES)]
    Lab(LabArgs),
    /// Say what is wrong with configuration, certificates, ports and data, where, and what to do
    Check {
        /// Also read the whole database and check that it is sound (takes a while)
        #[arg(long)]
        deep: bool,
    },
    /// Say how the running server's disk keeps up: writes that wait, and what was refused
    Status,
    /// Add, change, shut and list accounts, while the server runs or not
    #[command(subcommand, after_help = USER_EXAMPLES)]
    User(User),
    /// Copy the database into a new file, while the server runs or not
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup {
        /// The new file; nothing is overwritten
        file: PathBuf,
    },
    /// Put a backup in the place of the database; the server must be stopped
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// The backup; it stays as it is
        file: PathBuf,
    },
}

/// What `stonechat lab` takes beside [`Common`].
#[derive(Debug, Clone, Args)]
pub struct LabArgs {
    /// Serve this domain, as often as wanted [default: the domains of --user, else localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Vec<String>,
    /// Make this account, as often as wanted: --user alice@localhost:secret
    #[arg(long, value_name = "JID:PASSWORD")]
    pub user: Vec<String>,
    /// Make the owner of the server of this account, as often as wanted: --admin alice@localhost
    #[arg(long, value_name = "JID")]
    pub admin: Vec<String>,
}

/// The verbs of `stonechat user`.
#[derive(Debug, Clone, Subcommand)]
pub enum User {
    /// Make an account
    Add(WithPassword),
    /// Give an account another password; its devices are logged out
    Passwd(WithPassword),
    /// Shut an account: nobody can log in to it, and nothing of it is lost
    Disable(Account),
    /// Open a shut account again
    Enable(Account),
    /// Delete an account with its contacts, archive and waiting messages
    Del(Deletion),
    /// Bring a deleted account back, as long as modules.register.grace_days says
    Restore(Account),
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
    },
}

/// An account to act on.
#[derive(Debug, Clone, Args)]
pub struct Account {
    /// The address, such as alice@example.org
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

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.as_str() == text);
    known.ok_or_else(|| "write owner, operator or user".to_owned())
}

const ABOUT: &str = "\
Stonechat is an XMPP server: strict, small, fast, and it loses nothing.

Without any configuration it serves the domain localhost from the folder ./stonechat-data, makes its \
own certificates, and prints where to connect, which certificate authority clients must trust, and \
how to make the first account.

Every setting is explained in config/stonechat.toml and docs/config.md. It can be made in that file, \
in the environment (STONECHAT_LOG__LEVEL=debug) or here (--set log.level=debug); the later of these \
three wins.";

const EXAMPLES: &str = "\
Examples:
  stonechat                                  serve localhost, for a first look
  stonechat user add alice@localhost         make an account; asks for the password
  stonechat check                            is everything in order?
  stonechat backup /backups/today.db         copy the database, while the server runs or not
  stonechat lab --user a@localhost:secret    a server to throw away, on free ports
  stonechat --data-dir /tmp/b --set c2s.listen=127.0.0.1:0 --set c2s.listen_tls=[]
                                             a second server on this machine

A first server for others, /etc/stonechat/stonechat.toml:
  data_dir = \"/var/lib/stonechat\"
  [[host]]
  domain = \"example.org\"
  certificate = \"/etc/letsencrypt/live/example.org/fullchain.pem\"
  key = \"/etc/letsencrypt/live/example.org/privkey.pem\"

`stonechat COMMAND --help` tells more of each command.";

const LAB: &str = "\
Run the same server as always, thrown away when it ends: free loopback ports (printed), a certificate \
authority of its own, data in a temporary folder, registration open to all, no limit of connections \
from one address, no delay after failed logins. The environment and ./stonechat.toml are not read; \
--config and --set are.";

const LAB_EXAMPLES: &str = "\
Examples:
  stonechat lab --user alice@localhost:secret --user bob@localhost:secret
  stonechat lab --user alice@localhost:secret --admin alice@localhost
  stonechat lab --domain a.example --domain b.example
  stonechat lab --set c2s.require_tls=false --set c2s.listen=127.0.0.1:15222
                                   logins without TLS, on a port of your choice";

const USER_EXAMPLES: &str = "\
Examples:
  stonechat user add alice@example.org
  pass show xmpp/bob | stonechat user add bob@example.org --password-stdin
  stonechat user passwd alice@example.org
  stonechat user disable bob@example.org
  stonechat user del bob@example.org && stonechat user restore bob@example.org
  stonechat user list --domain example.org
  stonechat user role alice@example.org owner

The commands speak to the running server over the socket admin.sock in its data folder, and to the \
database itself when no server runs. So run them as the server's user and with its configuration:
  sudo -u stonechat stonechat --config /etc/stonechat/stonechat.toml user list";

const BACKUP_EXAMPLES: &str = "\
Examples:
  stonechat backup /var/lib/stonechat/backups/monday.db
  stonechat backup \"/var/lib/stonechat/backups/$(date +%F).db\"   each day; from cron: \\%F

The running server writes the file: its user must be able to. When no server runs, the command writes \
it itself. The copy is the database as it was when the command began, in one file, checked, and \
readable by its owner only. Certificates are not in it: keep the folder tls/ too.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  systemctl stop stonechat
  stonechat --data-dir /var/lib/stonechat restore /var/lib/stonechat/backups/monday.db
  systemctl start stonechat

The backup is checked before anything is changed. The database that was there before is kept beside \
the restored one, as stonechat.db.before-restore-TIME; `stonechat restore` of that file undoes this.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("stonechat").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    type Case = (&'static str, fn(Cli) -> bool);

    #[test]
    fn every_command_line_means_one_thing() {
        let cases: [Case; 18] = [
            ("", |c| c.command.is_none()),
            ("serve", |c| matches!(c.command, Some(Command::Serve))),
            ("status", |c| matches!(c.command, Some(Command::Status))),
            ("check", |c| matches!(c.command, Some(Command::Check { deep: false }))),
            ("check --deep", |c| matches!(c.command, Some(Command::Check { deep: true }))),
            ("lab --domain a --domain b --user u@a:p:q", |c| {
                matches!(c.command, Some(Command::Lab(l)) if l.domain == ["a", "b"]
                    && l.user == ["u@a:p:q"])
            }),
            ("user add a@b", |c| {
                matches!(c.command, Some(Command::User(User::Add(a)))
                    if a.jid == "a@b" && !a.password_stdin)
            }),
            (
                "user passwd a@b --password-stdin",
                |c| matches!(c.command, Some(Command::User(User::Passwd(a))) if a.password_stdin),
            ),
            ("user del a@b", |c| matches!(c.command, Some(Command::User(User::Del(_))))),
            (
                "user del a@b --now --yes",
                |c| matches!(c.command, Some(Command::User(User::Del(d))) if d.now && d.yes),
            ),
            (
                "user role",
                |c| matches!(c.command, Some(Command::User(User::Role(r))) if r.jid.is_none()),
            ),
            ("user role a@b operator", |c| {
                matches!(c.command, Some(Command::User(User::Role(r)))
                    if r.jid.as_deref() == Some("a@b") && r.role == Some(Role::Operator))
            }),
            (
                "lab --admin u@a",
                |c| matches!(c.command, Some(Command::Lab(l)) if l.admin == ["u@a"]),
            ),
            ("user restore a@b", |c| matches!(c.command, Some(Command::User(User::Restore(_))))),
            ("user list --domain b", |c| {
                matches!(c.command, Some(Command::User(User::List { domain: Some(_), .. })))
            }),
            (
                "backup a.db",
                |c| matches!(c.command, Some(Command::Backup { file }) if file == *"a.db"),
            ),
            (
                "restore a.db --data-dir d",
                |c| matches!(c.command, Some(Command::Restore { file }) if file == *"a.db"),
            ),
            ("--set a=1 --set b=x=y --data-dir /d serve --config c", |c| {
                let sets = c.common.sets();
                let told: Vec<_> = sets.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                told == ["a:1", "b:x=y", "data_dir:/d"] && c.common.config.is_some()
            }),
        ];
        for (line, right) in cases {
            assert!(right(parse(line).unwrap()), "{line}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_advice() {
        for (line, advice) in [
            ("sevre", "serve"),
            ("--set log.level", "KEY=VALUE"),
            ("user", "Usage: stonechat user"),
            ("user add", "<JID>"),
            ("backup", "<FILE>"),
            ("restore a b", "unexpected argument"),
            ("user add a@b hunter2", "unexpected argument"),
            ("user add a@b --password hunter2", "--password-stdin"),
            ("lab --users a", "--user"),
            ("user role a@b king", "owner, operator or user"),
        ] {
            let told = parse(line).unwrap_err();
            assert!(told.contains(advice), "{line}: {told}");
        }
    }

    #[test]
    fn help_teaches() {
        let help = parse("--help").unwrap_err();
        for part in
            ["localhost", "user add alice@localhost", "certificate", "--set", "lab", "check"]
        {
            assert!(help.contains(part), "{part} not in {help}");
        }
        assert!(parse("lab --help").unwrap_err().contains("require_tls=false"));
        assert!(parse("user --help").unwrap_err().contains("--password-stdin"));
        assert!(parse("backup --help").unwrap_err().contains("from cron"));
        assert!(parse("restore --help").unwrap_err().contains("before-restore"));
    }
}
