//! The command line and its commands.

mod api;
mod args;
mod args_api;
mod args_cert;
mod args_lab;
mod args_list;
mod args_moving;
mod args_room;
mod args_s2s;
mod args_team;
mod args_upload;
mod args_user;
mod args_web;
mod ask;
mod backup;
mod cert;
mod converse;
mod invite;
mod lab;
mod lab_folder;
mod location;
mod manual;
mod moving;
mod qr;
mod reports;
mod room;
mod s2s;
mod team;
mod upload;
mod user;
mod web;

pub use lab::{Lab, LabServer};

use self::args::{Announcement, Cli, Command};
use self::args_api::{ApiVerb, ConfigVerb};
use super::check::{self, Certificates, Depth};
use super::config::{Config, Loaded, Problem, Problems, load};
use super::logging;
use crate::admin::{Audience, Notice, Request};
use clap::Parser as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::warn;

/// Who runs servers: the floor's wiring, handed in so that this file knows nothing of it.
#[derive(Debug, Clone, Copy)]
pub struct Runners {
    /// Serves until told to stop.
    pub serve: fn(Loaded) -> Result<(), Problem>,
    /// Serves for a test; the folder in it goes when it is dropped.
    pub lab: fn(Lab) -> Result<(), Problem>,
    /// Looks at certificates for `check`.
    pub certificates: Certificates,
}

/// Does what the process's arguments say.
pub fn main(runners: Runners) -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => load(&cli.common.inputs()).and_then(|loaded| {
            start_log(&loaded, &[])?;
            (runners.serve)(loaded).map_err(Problems::one)
        }),
        Command::Lab(args) => Lab::prepare(&cli.common, &args).and_then(|lab| {
            // A lab allows registration by itself, so it needs no warning.
            let own = Config::default().lab(&[], PathBuf::new()).warnings();
            start_log(&lab.first.loaded, &own)?;
            (runners.lab)(lab).map_err(Problems::one)
        }),
        Command::Check { deep } => {
            let depth = if deep { Depth::Deep } else { Depth::Start };
            return check::main(&cli.common.inputs(), depth, runners.certificates);
        }
        Command::Status => return ask::tell(&cli.common, ask::status(&cli.common)),
        Command::User(verb) => return user::main(&cli.common, &verb),
        Command::Invite(args) => return invite::main(&cli.common, &args),
        Command::Team(verb) => return team::main(&cli.common, &verb),
        Command::Room(verb) => return room::main(&cli.common, &verb),
        Command::Cert(verb) => return cert::main(&cli.common, verb),
        Command::S2s(verb) => return s2s::main(&cli.common, verb),
        Command::Web(verb) => return web::main(&cli.common, &verb),
        Command::Upload(verb) => return upload::main(&cli.common, verb),
        Command::Announce(Announcement { text, online }) => {
            let to = if online { Audience::Online } else { Audience::All };
            return user::send(&cli.common, Request::Announce { text, to }, "");
        }
        Command::Motd(notice) => {
            let request = Request::notice(Notice::Motd, notice.change());
            return user::send(&cli.common, request, "there is no message of the day");
        }
        Command::Welcome(notice) => {
            let request = Request::notice(Notice::Welcome, notice.change());
            return user::send(&cli.common, request, "there is no welcome message");
        }
        Command::Reports(verb) => return reports::main(&cli.common, verb),
        Command::Man { folder } => return manual::pages(&folder),
        Command::Completions { shell } => return manual::completions(shell),
        Command::Import(args) => return moving::import(&cli.common, &args),
        Command::Export(args) => return moving::export(&cli.common, &args),
        Command::Token(verb) => return api::token(&cli.common, verb),
        Command::Audit(args) => return api::audit(&cli.common, args),
        Command::Config(ConfigVerb::Show { section }) => {
            return api::look(&cli.common, Request::ConfigShow { section }, "");
        }
        Command::Log(args) => return api::log(&cli.common, args),
        Command::Api(ApiVerb::Describe) => return api::describe(),
        Command::Backup { file } => return backup::backup(&cli.common, &file),
        Command::Restore { file } => return backup::restore(&cli.common, &file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the log with what an operator must not overlook, and did not mean to be so.
fn start_log(loaded: &Loaded, meant: &[String]) -> Result<(), Problems> {
    logging::init(&loaded.config.log).map_err(Problems::one)?;
    for line in loaded.config.warnings().iter().filter(|line| !meant.contains(line)) {
        warn!("{line}");
    }
    Ok(())
}
