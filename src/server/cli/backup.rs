//! `stonechat backup` and `stonechat restore`.

use super::args::Common;
use super::ask::{IF_IT_RUNS, ask_server, block_on, tell};
use super::location;
use crate::admin::told::Done;
use crate::admin::{Outcome, Request, Response, backup_made};
use crate::server::config::{Config, Problem, Problems, load};
use crate::store::{RestoreError, Store, Uploads};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Copies the database: the running server does it, or this process when none runs.
pub(super) fn backup(common: &Common, file: &Path) -> ExitCode {
    let config = load(&common.inputs()).map(|loaded| loaded.config);
    tell(common, config.and_then(|config| made(&config, file)))
}

/// Puts a backup in the database's place.
pub(super) fn restore(common: &Common, file: &Path) -> ExitCode {
    let loaded = load(&common.inputs());
    let loaded = loaded.and_then(|loaded| location::may_make(&loaded).map(|()| loaded.config));
    let mut is_whole = true;
    let done = loaded.and_then(|config| {
        let (response, whole) = restored(&config, file)?;
        is_whole = whole;
        Ok(response)
    });
    match (tell(common, done), is_whole) {
        (_, false) => ExitCode::from(MISSING),
        (code, true) => code,
    }
}

/// The database is restored, but not all of its uploaded files were there.
const MISSING: u8 = 3;

fn made(config: &Config, file: &Path) -> Result<Response, Problems> {
    let target = absolute(file)?;
    let request = Request::Backup { path: text(&target)? };
    let Some(response) = block_on(ask_server(config, &request))?? else {
        let made = Store::backup_closed(&config.database(), &target).map_err(|error| {
            Problems::one(Problem::told(
                &error,
                config.database().display().to_string(),
                IF_IT_RUNS,
            ))
        })?;
        return Ok(Outcome::from(backup_made(made)).into());
    };
    if matches!(response, Response::Ok { .. }) && is_missing(&target) {
        return Err(Problems::one(Problem {
            what: "the server made the backup, but it is not to be seen from here".to_owned(),
            place: target.display().to_string(),
            fix: "the server has a /tmp or other folders of its own (PrivateTmp= in its unit): \
                  name a file in its data folder, or in one that the unit lets it write to"
                .to_owned(),
        }));
    }
    Ok(response)
}

/// Not there, and not only hidden from this user.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Lines for people, and whether all is there.
fn restored(config: &Config, file: &Path) -> Result<(Response, bool), Problems> {
    let (file, database) = (absolute(file)?, config.database());
    let done = Store::restore(&file, &database).map_err(|error| {
        let (place, fix) = match error {
            RestoreError::Unfinished { .. } => (&database, "start the server"),
            RestoreError::InUse { .. } | RestoreError::Files { .. } => (&database, AS_SAID),
            _ => (&file, AS_SAID),
        };
        let unfinished = matches!(error, RestoreError::Unfinished { .. });
        let mut problem = Problem::told(&error, place.display().to_string(), fix);
        if !unfinished {
            problem.fix.push_str("; nothing was changed");
        }
        Problems::one(problem)
    })?;
    let mut lines = vec![format!("{} is the database {} now", file.display(), database.display())];
    if done.schema < done.known {
        let (schema, known) = (done.schema, done.known);
        lines.push(format!("the next start upgrades its schema from {schema} to {known}"));
    }
    let bucket = &config.modules.upload.bucket.name;
    let is_whole = done.uploads.missing == 0 || !bucket.is_empty();
    match done.uploads {
        Uploads { files: 0, .. } => {}
        Uploads { files, missing: missing @ 1.., .. } if !bucket.is_empty() => lines.push(format!(
            "{missing} of its {files} uploaded files are in the bucket {bucket}, as far as they were not deleted there \
             since the backup was made"
        )),
        Uploads { folder, files, missing: 0, .. } => {
            lines.push(format!("its {files} uploaded files are in {}", folder.display()));
        }
        Uploads { files, missing, .. } => lines.push(format!(
            "{missing} of its {files} uploaded files are MISSING: they were not beside the backup, in {}.uploads; \
             put that folder there and give the command again",
            file.display()
        )),
    }
    match done.aside {
        Some(aside) => {
            let (folder, aside) = (absolute(&config.data_dir)?, absolute(&aside)?);
            let (folder, aside) = (folder.display(), aside.display());
            lines.push(format!("the database that was there before is {aside}"));
            // A command that works in any folder, without the configuration of this one.
            lines.push(format!("to undo this: stonechat --data-dir {folder} restore {aside}"));
        }
        None => lines.push("there was no database before".to_owned()),
    }
    if !is_whole {
        lines.push(format!("not all is there: the exit code is {MISSING}"));
    }
    Ok((Outcome::Done(Done { told: lines }).into(), is_whole))
}

const AS_SAID: &str = "do as the first line says";

fn absolute(file: &Path) -> Result<PathBuf, Problems> {
    std::path::absolute(file).map_err(|error| argument(format!("{}: {error}", file.display())))
}

/// It travels in JSON, which is Unicode.
fn text(path: &Path) -> Result<String, Problems> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| argument(format!("{} is not UTF-8", path.display())))
}

fn argument(what: String) -> Problems {
    let place = "the file in the command".to_owned();
    Problems::one(Problem { what, place, fix: "name another file".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::admin_socket::AdminSocket;

    fn config(folder: &tempfile::TempDir) -> Config {
        Config { data_dir: folder.path().join("data"), ..Config::default() }
    }

    fn told_of(restored: Result<(Response, bool), Problems>) -> String {
        told(restored.map(|(response, _)| response))
    }

    fn told(answer: Result<Response, Problems>) -> String {
        match answer {
            Ok(Response::Ok { outcome }) => outcome.lines().join("\n"),
            Ok(Response::Error { message }) => message,
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn without_a_server_the_file_is_copied_and_nothing_is_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let copy = folder.path().join("copy");
        assert!(told(made(&config, &copy)).contains("no database"));
        assert!(!config.data_dir.exists());
        block_on(Store::open(config.store_options()).unwrap().close()).unwrap();
        let answer = told(made(&config, &copy));
        assert!(answer.contains("KiB") && copy.exists(), "{answer}");
        assert!(told(made(&config, &copy)).contains("exists already"));
        let answer = told_of(restored(&config, &copy));
        assert!(answer.contains("to undo this: stonechat --data-dir "), "{answer}");
    }

    #[tokio::test]
    async fn what_a_server_wrote_elsewhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        std::fs::create_dir(&config.data_dir).unwrap();
        let socket = AdminSocket::bind(&config.admin_socket()).await.unwrap();
        let file = folder.path().join("copy");
        let client = tokio::task::spawn_blocking(move || told(made(&config, &file)));
        let answer = tokio::select! {
            () = socket.serve(|_| async { Response::done("by the server") }) => unreachable!(),
            answer = client => answer.unwrap(),
        };
        assert!(answer.contains("PrivateTmp"), "{answer}");
    }
}
