//! Whether a command is given in the right folder: in a wrong one it would reach no server.

use super::ask::block_on;
use crate::server::admin_socket::is_alive;
use crate::server::config::{Config, Loaded, Problem, Problems};
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

/// There is a database, or a server that has one: else the command would work on nothing.
pub(super) fn must_be(loaded: &Loaded) -> Result<(), Problems> {
    if is_there(&loaded.config)? { Ok(()) } else { Err(Problems::one(nothing(loaded, FIND))) }
}

/// The same for a command that may begin a database: where the folder was named, or a person says so.
pub(super) fn may_make(loaded: &Loaded) -> Result<(), Problems> {
    if is_there(&loaded.config)? || !loaded.origins.is_default("data_dir") {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Problems::one(nothing(loaded, FIND_OR_MAKE)));
    }
    let folder = folder(&loaded.config);
    eprint!(
        "There is no server's data in {}.\nIf a server runs elsewhere, give the command in the folder in \
         which it was started.\nMake the data of a new server here? [y/N] ",
        folder.display()
    );
    match is_yes(std::io::stdin().lock()) {
        true => Ok(()),
        false => Err(Problems::one(nothing(loaded, FIND_OR_MAKE))),
    }
}

fn is_there(config: &Config) -> Result<bool, Problems> {
    // A path that this user may not see counts as there: the next step reports who may.
    let hidden = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let there = config.database().try_exists().unwrap_or_else(hidden);
    Ok(there || block_on(is_alive(&config.admin_socket()))?)
}

fn is_yes(input: impl BufRead) -> bool {
    let mut line = String::new();
    let read = input.take(16).read_line(&mut line).is_ok();
    read && ["y", "yes"].contains(&line.trim().to_lowercase().as_str())
}

fn nothing(loaded: &Loaded, fix: &str) -> Problem {
    Problem {
        what: format!(
            "there is no server's data in {}, and nothing was made",
            folder(&loaded.config).display()
        ),
        place: loaded.origins.of("data_dir"),
        fix: fix.to_owned(),
    }
}

/// What is said of a database that a command has begun.
pub(super) fn made_new(config: &Config) -> String {
    format!(
        "note: no server runs on the data folder {}, which is new; if one runs elsewhere, give the \
         command in the folder in which it was started, or name its data with --data-dir",
        folder(config).display()
    )
}

fn folder(config: &Config) -> PathBuf {
    std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone())
}

const FIND: &str = "give the command in the folder in which the server was started, or with the \
    server's --config or --data-dir";
const FIND_OR_MAKE: &str = "give the command in the folder in which the server was started, or with the \
    server's --config or --data-dir; for a new server start it first, or name its folder: \
    --data-dir ./stonechat-data";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};

    fn loaded(sets: &[(&str, &str)]) -> Loaded {
        let sets = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        load(&Inputs { sets: sets.collect(), ..Inputs::default() }).unwrap()
    }

    #[test]
    fn a_command_works_where_there_is_something_or_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("data");
        let named = loaded(&[("data_dir", &named.display().to_string())]);
        assert!(may_make(&named).is_ok());
        let told = must_be(&named).unwrap_err().to_string();
        assert!(told.contains("no server's data") && told.contains("--data-dir"), "{told}");
        std::fs::create_dir(&named.config.data_dir).unwrap();
        assert!(must_be(&named).is_err());
        std::fs::write(named.config.database(), "").unwrap();
        assert!(must_be(&named).is_ok() && may_make(&named).is_ok());
        assert!(made_new(&named.config).contains(&folder.path().display().to_string()));
        assert!(loaded(&[]).origins.is_default("data_dir"));
        let told = nothing(&loaded(&[]), FIND_OR_MAKE).to_string();
        assert!(told.contains("built-in default") && told.contains("start it first"), "{told}");
    }

    #[test]
    fn only_yes_is_yes() {
        for (typed, yes) in
            [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("no", false)]
        {
            assert_eq!(is_yes(typed.as_bytes()), yes, "{typed:?}");
        }
    }
}
