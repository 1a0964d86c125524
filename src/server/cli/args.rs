//! What can be said on the command line.

use super::args_api::{AUDIT_EXAMPLES, ApiVerb, Audit, ConfigVerb, Log, TOKEN_EXAMPLES, Token};
use super::args_cert::{CERT_EXAMPLES, Cert};
use super::args_lab::{LAB, LAB_EXAMPLES, LabArgs};
use super::args_moving::{EXPORT_EXAMPLES, Export, IMPORT_EXAMPLES, Import};
use super::args_room::{ROOM_EXAMPLES, Room};
use super::args_s2s::{S2S_EXAMPLES, S2s};
use super::args_team::{TEAM_EXAMPLES, Team};
use super::args_upload::{UPLOAD_EXAMPLES, Upload};
use super::args_user::{USER_EXAMPLES, User};
use super::args_web::WebVerb;
use crate::admin::NoticeChange;
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
    /// Prints what a command gives as JSON, in the form of the JSON API (docs/api.md)
    #[arg(long, global = true)]
    pub json: bool,
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
    /// Say how the running server's disk keeps up (writes that wait, and what was refused), and how much waits for
    /// other servers
    Status,
    /// Add, change, shut and list accounts, while the server runs or not
    #[command(subcommand, after_help = USER_EXAMPLES)]
    User(User),
    /// Make the link of an invitation, with which somebody makes an account in a client; list and revoke them
    #[command(args_conflicts_with_subcommands = true, after_help = INVITE_EXAMPLES)]
    Invite(InviteArgs),
    /// Put accounts together, so that they see each other in their rosters without asking
    #[command(subcommand, after_help = TEAM_EXAMPLES)]
    Team(Team),
    /// Make rooms and look after them
    #[command(subcommand, after_help = ROOM_EXAMPLES)]
    Room(Room),
    /// Look at the streams with other servers, try one, and say who is let in
    #[command(subcommand, name = "s2s", after_help = S2S_EXAMPLES)]
    S2s(S2s),
    /// Look at the certificates in use, and order new ones
    #[command(subcommand, after_help = CERT_EXAMPLES)]
    Cert(Cert),
    /// Put a web client beside the server
    #[command(subcommand)]
    Web(WebVerb),
    /// List and delete what accounts uploaded, while the server runs or not
    #[command(subcommand, after_help = UPLOAD_EXAMPLES)]
    Upload(Upload),
    /// Send a text to all accounts
    Announce(Announcement),
    /// Show, set or delete the message of the day, which every account is sent once
    Motd(NoticeText),
    /// Show, set or delete the message that welcomes new accounts
    Welcome(NoticeText),
    /// Read what users reported of those whom they blocked, while the server runs or not
    #[command(subcommand)]
    Reports(Reports),
    /// Take in the accounts, messages and rooms of another server; the server must be stopped
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// Give out accounts with all that they have, while the server runs or not
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Export),
    /// Make, list and take back the tokens of programs that use the JSON API
    #[command(subcommand, after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// List what operators did, by whatever way: who, what, when, from where, and what came of it
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(Audit),
    /// Show the configuration that is in force
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Show the newest lines of the running server's log
    Log(Log),
    /// Describe the JSON API
    #[command(subcommand)]
    Api(ApiVerb),
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
    /// Write the pages of the manual, for man
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Print what a shell needs to complete this command line
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What `stonechat invite` takes: an invitation to be made, or another verb.
#[derive(Debug, Clone, Args)]
pub struct InviteArgs {
    /// Another verb.
    #[command(subcommand)]
    pub verb: Option<Invitations>,
    /// What is made without one.
    #[command(flatten)]
    pub new: NewInvitation,
}

/// An invitation to be made.
#[derive(Debug, Clone, Args)]
pub struct NewInvitation {
    /// The account that invites: it and the new one become contacts
    #[arg(long, value_name = "JID")]
    pub user: Option<String>,
    /// The name that the new account gets; nobody else gets it while the invitation is open
    #[arg(long, conflicts_with = "uses")]
    pub name: Option<String>,
    /// The domain of the new account [default: that of --user, or the only one]
    #[arg(long)]
    pub domain: Option<String>,
    /// The team that the new account joins
    #[arg(long)]
    pub team: Option<String>,
    /// How many people may use it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub uses: u32,
    /// Days for which it is good [default: as configured]
    #[arg(long, value_name = "N")]
    pub days: Option<u32>,
    /// Draw the QR code also where the output is no terminal
    #[arg(long)]
    pub qr: bool,
}

/// What can be done with invitations that were made.
#[derive(Debug, Clone, Subcommand)]
pub enum Invitations {
    /// List the invitations that are open, of users too
    List,
    /// Take an invitation back
    Revoke {
        /// Its number in the list, its token, or its link
        which: String,
    },
}

/// The verbs of `stonechat reports`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Reports {
    /// List the reports that nobody has dealt with, the newest first
    List {
        /// Also those that were dealt with
        #[arg(long)]
        all: bool,
    },
    /// Show all that a report says
    Show {
        /// Its number in the list
        id: i64,
    },
    /// Note that a report was dealt with
    Done {
        /// Its number in the list
        id: i64,
    },
}

/// An announcement.
#[derive(Debug, Clone, Args)]
pub struct Announcement {
    /// The text
    #[arg(value_parser = some_text)]
    pub text: String,
    /// Only to those who are online now; else to all accounts, and whoever is away gets it later
    #[arg(long)]
    pub online: bool,
}

/// A text that accounts are sent at login.
#[derive(Debug, Clone, Args)]
pub struct NoticeText {
    /// The new text; without one the present one is shown
    #[arg(value_parser = some_text)]
    pub text: Option<String>,
    /// Correct the present text: whoever got it does not get it again
    #[arg(long, requires = "text")]
    pub edit: bool,
    /// Have none any more
    #[arg(long, conflicts_with = "text")]
    pub delete: bool,
}

impl NoticeText {
    /// What is to be done.
    pub fn change(&self) -> NoticeChange {
        match (&self.text, self.delete, self.edit) {
            (Some(text), _, false) => NoticeChange::Set(text.clone()),
            (Some(text), _, true) => NoticeChange::Edit(text.clone()),
            (None, true, _) => NoticeChange::Delete,
            (None, false, _) => NoticeChange::Show,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn some_text(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("write a text".to_owned()),
        false => Ok(text.to_owned()),
    }
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
  stonechat invite                           a link with which somebody makes one in a client
  stonechat check                            is everything in order?
  stonechat backup /backups/today.db         copy the database, while the server runs or not
  stonechat lab --user a@localhost:secret    a server to throw away, on free ports
  stonechat --data-dir /tmp/b --set c2s.listen=127.0.0.1:0 --set c2s.listen_tls=[] --set web.listen=[] \
    --set metrics.listen=[] --set admin.listen=[]
                                             a second server on this machine

A first server for others, /etc/stonechat/stonechat.toml:
  data_dir = \"/var/lib/stonechat\"
  [[host]]
  domain = \"example.org\"
  certificate = \"/etc/letsencrypt/live/example.org/fullchain.pem\"
  key = \"/etc/letsencrypt/live/example.org/privkey.pem\"

`stonechat COMMAND --help` tells more of each command.";

const INVITE_EXAMPLES: &str = "\
Examples:
  stonechat invite                                   one person, for a week
  stonechat invite --user alice@example.org          they become contacts of alice
  stonechat invite --name bob --domain example.org   for the account bob@example.org
  stonechat invite --team sales --uses 20 --days 3
  stonechat invite list
  stonechat invite revoke 17

Whoever opens the link in a client, or scans the code with it, makes an account and chooses the password. \
Whoever has the link can do so: send it as you would send a password.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  stonechat backup /var/lib/stonechat/backups/monday.db
  stonechat backup \"/var/lib/stonechat/backups/$(date +%F).db\"   each day; from cron: \\%F

The running server writes the file: its user must be able to. When no server runs, the command writes \
it itself. The copy is the database as it was when the command began, in one file, checked, and \
readable by its owner only; uploaded files are beside it, in monday.db.uploads: rename both, or none. \
Certificates are not in it: keep the folder tls/ too.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  stonechat completions bash > ~/.local/share/bash-completion/completions/stonechat
  stonechat completions zsh > ~/.zfunc/_stonechat
  stonechat completions fish > ~/.config/fish/completions/stonechat.fish";

const RESTORE_EXAMPLES: &str = "\
Examples:
  systemctl stop stonechat
  stonechat --data-dir /var/lib/stonechat restore /var/lib/stonechat/backups/monday.db
  systemctl start stonechat

The backup is checked before anything is changed, and uploaded files are taken from beside it. The database that was there before is kept beside \
the restored one, as stonechat.db.before-restore-TIME; `stonechat restore` of that file undoes this.

The exit code is 0 if all is there, 1 if nothing was changed, and 3 if the database is restored but uploaded files of it \
were not found.";

#[cfg(test)]
mod tests {
    use super::super::args_team::TeamRoom;
    use super::*;
    use crate::base::role::Role;
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

    const COMMAND_LINES: [Case; 24] = [
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
        ("lab --admin u@a", |c| matches!(c.command, Some(Command::Lab(l)) if l.admin == ["u@a"])),
        ("user restore a@b", |c| matches!(c.command, Some(Command::User(User::Restore(_))))),
        ("reports done 7", |c| {
            matches!(c.command, Some(Command::Reports(Reports::Done { id: 7 })))
        }),
        ("user list --domain b", |c| {
            matches!(c.command, Some(Command::User(User::List { domain: Some(_), .. })))
        }),
        ("team join a b@c d@e", |c| {
            matches!(c.command, Some(Command::Team(Team::Join { team, jid, name: None }))
                if team == "a" && jid == ["b@c", "d@e"])
        }),
        ("team room add a b", |c| {
            matches!(c.command, Some(Command::Team(Team::Room(TeamRoom::Add { team, room })))
                if team == "a" && room == "b")
        }),
        ("room create hall --owner a@b --preset private", |c| {
            matches!(c.command, Some(Command::Room(Room::Create { room, owner, preset, .. }))
                if room == "hall" && owner == "a@b" && preset.as_deref() == Some("private"))
        }),
        ("upload list a@b --before 2026-01-31", |c| {
            matches!(c.command, Some(Command::Upload(Upload::List(l)))
                if l.jid.as_deref() == Some("a@b") && l.before.is_some() && l.max == 100)
        }),
        ("team list", |c| matches!(c.command, Some(Command::Team(Team::List)))),
        ("backup a.db", |c| matches!(c.command, Some(Command::Backup { file }) if file == *"a.db")),
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

    #[test]
    fn every_command_line_means_one_thing() {
        for (line, right) in COMMAND_LINES {
            assert!(right(parse(line).unwrap()), "{line}");
        }
    }

    #[test]
    fn links_are_asked_for() {
        let cases: [Case; 4] = [
            (
                "invite",
                |c| matches!(c.command, Some(Command::Invite(i)) if i.verb.is_none() && i.new.uses == 1),
            ),
            ("invite --team t --uses 3 --days 2 --user a@b", |c| {
                matches!(c.command, Some(Command::Invite(i)) if i.new.uses == 3
                    && i.new.days == Some(2) && i.new.team.as_deref() == Some("t"))
            }),
            ("invite revoke 17", |c| {
                matches!(c.command, Some(Command::Invite(i))
                    if matches!(i.verb, Some(Invitations::Revoke { .. })))
            }),
            (
                "user reset-link a@b",
                |c| matches!(c.command, Some(Command::User(User::ResetLink(r))) if r.hours == 24),
            ),
        ];
        for (line, right) in cases {
            assert!(right(parse(line).unwrap()), "{line}");
        }
    }

    #[test]
    fn every_verb_for_all_accounts_means_one_thing() {
        let cases: [Case; 4] = [
            (
                "user logout a@b/c",
                |c| matches!(c.command, Some(Command::User(User::Logout(s))) if s.jid == "a@b/c"),
            ),
            (
                "announce --online soon",
                |c| matches!(c.command, Some(Command::Announce(a)) if a.online && a.text == "soon"),
            ),
            (
                "motd --edit x",
                |c| matches!(c.command, Some(Command::Motd(n)) if n.change() == NoticeChange::Edit("x".into())),
            ),
            (
                "welcome",
                |c| matches!(c.command, Some(Command::Welcome(n)) if n.change() == NoticeChange::Show),
            ),
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
            ("team leave a", "<JID>..."),
            ("backup", "<FILE>"),
            ("restore a b", "unexpected argument"),
            ("user add a@b hunter2", "unexpected argument"),
            ("user add a@b --password hunter2", "--password-stdin"),
            ("lab --users a", "--user"),
            ("motd x --delete", "cannot be used with"),
            ("motd --edit", "<TEXT>"),
            ("user role a@b king", "owner, operator or user"),
            ("invite --name a --uses 2", "cannot be used with"),
            ("invite --uses 2 list", "list"),
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
