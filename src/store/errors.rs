//! Errors of opening the database and of making a backup, with texts for the operator.

use std::io;
use std::path::{Path, PathBuf};

/// Why the database cannot be used. The text is for the operator: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made or opened.
    #[error(
        "cannot use {path:?} for the database: {source}. Check that the folder exists and that \
         the user who runs the server may write there"
    )]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(
        "the database {path:?} is read-only. Check the permissions of the file and its folder, \
         and whether the file system is mounted read-only"
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// Another server, or a command on the same file, is running.
    #[error("the database {path:?} is in use by another program. Stop that one first")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file is not a database.
    #[error("{path:?} is not a database. Move it away, or set another path in the config")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database of another program.
    #[error(
        "{path:?} is a database of another program. Set another path in the config; data of other \
         servers is imported, not opened"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "the database {path:?} is damaged ({what}). Run `stonechat check --deep`; if it finds errors, \
         `stonechat restore` a backup"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        what: String,
    },
    /// The database was written by a later release.
    #[error(
        "the database {path:?} has schema {found}, and this release knows up to {known}. Start \
         the newer release; or go back to the state before the upgrade, without what came since: \
         {}",
        undo(.backup.as_deref())
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema's version.
        found: i64,
        /// The last version that this program knows.
        known: i64,
        /// The copy made before the upgrade.
        backup: Option<PathBuf>,
    },
    /// The copy that is made before a migration cannot be made.
    #[error(
        "the database {path:?} must be upgraded to schema {version}, and the backup before that \
         failed: {source}. Nothing was changed: the release that ran before still runs on it"
    )]
    NoBackup {
        /// The database.
        path: PathBuf,
        /// The first schema that is to be applied.
        version: i64,
        /// Why the copy failed.
        source: Box<BackupError>,
    },
    /// The database was made by other migrations than those of this program.
    #[error(
        "the database {path:?} was made with another text of schema {version} ({name}) than this \
         release has. Start the release that made it; only released schemas can be upgraded"
    )]
    ChangedMigration {
        /// The database.
        path: PathBuf,
        /// The first migration that differs.
        version: i64,
        /// Its name in the database.
        name: String,
    },
    /// No space left.
    #[error("the disk that holds {path:?} is full. Free some space and start again")]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Any other error.
    #[error("the database {path:?} cannot be opened: {what}")]
    Other {
        /// The database.
        path: PathBuf,
        /// Its text.
        what: String,
    },
}

/// Why a backup was not made. The text is for the operator: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database.
    #[error("there is no database {path:?}, so there is nothing to back up")]
    None {
        /// Its expected path.
        path: PathBuf,
    },
    /// A file of this name exists.
    #[error("{path:?} exists already, and a backup overwrites nothing. Name another file")]
    Exists {
        /// The existing file.
        path: PathBuf,
    },
    /// A folder is where this backup's uploaded files would be.
    #[error(
        "{path:?} exists already: it may hold the uploaded files of another backup, whose database was \
         renamed or removed. Name another file; or give the folder the new name of its database with \
         .uploads behind it, and remove it if there is no such database"
    )]
    OthersUploads {
        /// The folder.
        path: PathBuf,
    },
    /// SQLite would take this file for a part of the backup.
    #[error(
        "{path:?} is the rest of another database and would be read together with the backup. \
         Remove it, or name another file"
    )]
    Remains {
        /// The file in the way.
        path: PathBuf,
    },
    /// The name would be taken for one of the database's own files at the next start.
    #[error(
        "{path:?} begins with the database's own name, and such names in its folder are the \
         server's. Name another file"
    )]
    Reserved {
        /// The target.
        path: PathBuf,
    },
    /// Another backup is running.
    #[error("another backup is being made. Wait until it is done")]
    Busy,
    /// The target cannot be written.
    #[error(
        "the backup {path:?} cannot be written: {source}. Check that its folder exists, and that \
         the user who runs the server may write there and its unit lets it"
    )]
    Files {
        /// The target, or its folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No space left.
    #[error("the disk is too full for the backup {path:?}. Free some space there")]
    Full {
        /// The target.
        path: PathBuf,
    },
    /// The copy was read back and is damaged.
    #[error(
        "the copy is damaged ({what}), so most likely the database is. No backup was made. Run \
         `stonechat check --deep`; restore an older backup if it finds errors"
    )]
    Damaged {
        /// SQLite's error.
        what: String,
    },
    /// The store was closed while the copy was made.
    #[error("the server is stopping; no backup was made. Give the command again")]
    Stopped,
    /// The source database cannot be opened.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// Any other error.
    #[error("the database cannot be copied: {what}. See the server's log")]
    Other {
        /// Its text.
        what: String,
    },
}

fn undo(backup: Option<&Path>) -> String {
    match backup {
        Some(backup) => format!("`stonechat restore {}`", backup.display()),
        None => "`stonechat restore` a backup that an older release made".to_owned(),
    }
}
