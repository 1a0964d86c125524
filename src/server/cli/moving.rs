//! `stonechat import` and `stonechat export`.

use super::args::Common;
use super::args_moving::{Export, Format, Import};
use super::ask::{IF_IT_RUNS, block_on, tell};
use super::location;
use crate::admin::told::Done;
use crate::admin::{Outcome, Response, accounts};
use crate::modules;
use crate::moving::export::{self, ExportError, Given, Selection, Sink};
use crate::moving::import::{self, ImportError, Progress, Target, Told};
use crate::moving::report::Report;
use crate::moving::table::Table;
use crate::moving::{json, open, xep0227};
use crate::server::admin_socket::is_alive;
use crate::server::clock::now;
use crate::server::config::{Config, Loaded, Problem, Problems, load};
use crate::store::{Options, Store};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tempfile::{NamedTempFile, TempDir};

/// Takes another server's data in.
pub(super) fn import(common: &Common, args: &Import) -> ExitCode {
    let taken = load(&common.inputs()).and_then(|loaded| taken(&loaded, args));
    match taken {
        Ok((report, ended)) => {
            let outcome = Done { told: report.lines(args.dry_run) }.into();
            let told = tell(common, Ok(Response::Ok { outcome }));
            match ended {
                Ok(()) => told,
                Err(problems) => tell(common, Err(problems)),
            }
        }
        Err(problems) => tell(common, Err(problems)),
    }
}

type Ended = (Report, Result<(), Problems>);

fn taken(loaded: &Loaded, args: &Import) -> Result<Ended, Problems> {
    let config = &loaded.config;
    let problem = |what: String, place: &str, fix: &str| {
        Problems::one(Problem { what, place: place.to_owned(), fix: fix.to_owned() })
    };
    let (kind, path) = open::parse(&args.from)
        .map_err(|what| problem(what, "--from", "give the command again"))?;
    let source = (kind.open)(&path)
        .map_err(|error| problem(error.what, &error.place, "name a file that can be read"))?;
    if !args.dry_run {
        location::may_make(loaded)?;
    }
    if block_on(is_alive(&config.admin_socket()))? {
        let socket = config.admin_socket().display().to_string();
        return Err(problem(
            "a server is running on this data, and an import writes to that of a stopped one"
                .to_owned(),
            &socket,
            "stop the server, give the command again, and start it",
        ));
    }
    let (options, scratch) = database(config, args.dry_run)?;
    let database = options.path.display().to_string();
    let store =
        Store::open(options).map_err(|error| problem(error.to_string(), &database, IF_IT_RUNS))?;
    let target = Target {
        modules: modules::ALL,
        config: Arc::new(config.module_config()),
        limits: config.limits.clone(),
        hosts: config.host.iter().map(|host| host.domain.clone()).collect(),
        passwords: args.passwords,
        now: now(),
    };
    let (report, ended) = block_on(async {
        let done = match args.dry_run {
            true => import::try_out(&store, source, target, shown()).await,
            false => import::import(&store, source, target, shown()).await,
        };
        store.close().await;
        done
    })?;
    drop(scratch);
    let ended = ended.map_err(|error| match error {
        ImportError::Source(error) => problem(
            format!("the data cannot be read any further: {}", error.what.replace(char::is_control, "\u{fffd}")),
            &error.place.replace(char::is_control, "\u{fffd}"),
            "mend it, and give the command again: what was taken stays, and is not taken twice",
        ),
        ImportError::Store(error) => problem(
            format!("nothing more can be written: {error}"),
            &database,
            "see to it (a full disk?), and give the command again: what was taken stays, and is not taken twice",
        ),
    });
    Ok((report, ended))
}

/// The server's database; to try things out where there is none, one that goes at once.
fn database(config: &Config, dry: bool) -> Result<(Options, Option<TempDir>), Problems> {
    let options = config.store_options();
    if !dry || options.path.exists() {
        return Ok((options, None));
    }
    let folder =
        tempfile::tempdir().map_err(|error| file_problem(&std::env::temp_dir(), &error))?;
    let path = folder.path().join("stonechat.db");
    Ok((Options { path, ..options }, Some(folder)))
}

fn file_problem(path: &Path, error: &std::io::Error) -> Problems {
    Problems::one(Problem {
        what: error.to_string(),
        place: path.display().to_string(),
        fix:
            "see to it that there is room and that this user may write there, or name another file"
                .to_owned(),
    })
}

/// Says how far it is: on a terminal always, else now and then.
fn shown() -> Told {
    let (terminal, mut last) = (std::io::stderr().is_terminal(), 0);
    Box::new(move |Progress { pieces, share, place }| {
        // It may have names out of the source, which must not steer a terminal.
        let place = place.replace(char::is_control, "\u{fffd}");
        let share = share.map(|share| format!("{}.{} %, ", share / 10, share % 10));
        let line = format!("{}{pieces} things, {place}", share.unwrap_or_default());
        if terminal {
            let _ = write!(std::io::stderr(), "\r{line}\u{1b}[K");
        } else if pieces / STEP > last {
            last = pieces / STEP;
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    })
}

/// Things between two lines that nobody sees at once.
const STEP: u64 = 100_000;

/// Gives data out.
pub(super) fn export(common: &Common, args: &Export) -> ExitCode {
    let given = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        given(&loaded.config, args)
    });
    let told = given.map(|given| {
        let Given { accounts, rooms, parts } = given;
        let file = args.to.display();
        let told = format!(
            "{file} has {accounts} accounts and {rooms} rooms, with {parts} things in them"
        );
        Response::Ok { outcome: Outcome::done(told) }
    });
    tell(common, told)
}

fn given(config: &Config, args: &Export) -> Result<Given, Problems> {
    let to = &args.to;
    let selection = match &args.user {
        None => Selection::All,
        Some(user) => Selection::Account(accounts::parse(user).map_err(|error| {
            let (what, place) = (error.to_string(), "--user".to_owned());
            Problems::one(Problem { what, place, fix: "give the command again".to_owned() })
        })?),
    };
    if to.symlink_metadata().is_ok() {
        return Err(file_problem(to, &std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Only this user may read it, from its first byte on; under its name it is whole.
    let file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let file = file.map_err(|error| file_problem(to, &error))?;
    let out = BufWriter::new(file.as_file());
    let database = config.database();
    let settings = config.module_config();
    let failed = |error: std::io::Error| file_problem(to, &error);
    let mut sink: Box<dyn Sink + '_> = match args.format {
        Format::Xep0227 => Box::new(xep0227::Writer::begin(out).map_err(failed)?),
        Format::Json => {
            Box::new(json::Writer::begin(out, Table::of(modules::ALL)).map_err(failed)?)
        }
    };
    let looked = Store::look(&database, |tx| {
        Ok(export::export(tx, (modules::ALL, &settings), &selection, &mut *sink))
    });
    drop(sink);
    let unread = |what: String| {
        let (place, fix) = (database.display().to_string(), "do as the first line says".to_owned());
        Problems::one(Problem { what, place, fix })
    };
    let done = looked.map_err(|error| unread(error.to_string()))?;
    let given = match done {
        Ok(Ok(given)) => given,
        Ok(Err(ExportError::File(error))) => return Err(failed(error)),
        Ok(Err(error)) => return Err(unread(error.to_string())),
        Err(error) => return Err(unread(error.to_string())),
    };
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(to).map_err(|error| failed(error.error))?;
    Ok(given)
}
