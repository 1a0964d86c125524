//! Opening the file: folder, lock, pragmas, migrations; and every way in which it fails, in words.

use super::migrate::{MIGRATIONS, migrate};
use super::{Options, Synchronous};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the database cannot be used. The text is for the operator: what, where, what to do.
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
        /// What the system said.
        source: io::Error,
    },
    /// The file takes no writes.
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
    /// Some other kind of file.
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
    /// Damaged.
    #[error(
        "the database {path:?} is damaged ({what}). Run `stonechat check --deep`; restore a backup \
         if it finds errors"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
    /// Written by a later release.
    #[error(
        "the database {path:?} has schema {found}, and this release knows up to {known}. Start \
         the newer release, or restore the backup from before the upgrade"
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema's version.
        found: i64,
        /// The last one that this program knows.
        known: i64,
    },
    /// The database was made by other migrations than this program's.
    #[error(
        "the database {path:?} was made with another text of schema {version} ({name}) than this \
         release has. Start the release that made it; only released schemas can be upgraded"
    )]
    ChangedMigration {
        /// The database.
        path: PathBuf,
        /// Of the first migration that differs.
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
    /// Whatever else.
    #[error("the database {path:?} cannot be opened: {what}")]
    Other {
        /// The database.
        path: PathBuf,
        /// What was said.
        what: String,
    },
}

impl OpenError {
    pub(super) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let what = error.to_string();
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, what },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::CannotOpen) => {
                Self::Files { path, source: io::Error::other(error.to_string()) }
            }
            _ => Self::Other { path, what },
        }
    }
}

/// The writer's connection to a migrated database, and the lock that keeps others out.
pub(super) fn open(options: &Options, now: i64) -> Result<(Connection, File), OpenError> {
    let path = &options.path;
    prepare_files(path)?;
    let lock = lock(path)?;
    let mut conn = connect(path).map_err(|error| OpenError::from_sqlite(path, error))?;
    writer_pragmas(&conn, options)?;
    migrate(&mut conn, path, MIGRATIONS, now)?;
    Ok((conn, lock))
}

/// One of the readers' connections.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let conn = connect(path)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    };
    open().map_err(|error| OpenError::from_sqlite(path, error))
}

/// Reads the whole file and says what is wrong with it; an empty answer is a healthy database.
/// Slow: for `stonechat check --deep`, not for the start.
pub fn deep_check(path: &Path) -> Result<Vec<String>, OpenError> {
    let check = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        let mut found: Vec<String> = conn
            .prepare("PRAGMA integrity_check")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        found.retain(|line| line != "ok");
        let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            found.push(format!("a row of {table} refers to a missing row of {parent}"));
        }
        Ok(found)
    };
    match check().map_err(|error| OpenError::from_sqlite(path, error)) {
        // Damage may be so deep that the check itself stumbles: that is a finding too.
        Err(OpenError::Corrupt { what, .. }) => Ok(vec![what]),
        other => other,
    }
}

/// The folder and the file, for their owner's eyes only: the file holds what passwords became.
fn prepare_files(path: &Path) -> Result<(), OpenError> {
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| OpenError::Files { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_folder().create(folder).map_err(failed(folder))?;
    }
    if !path.exists() {
        private_file().open(path).map_err(failed(path))?;
    }
    Ok(())
}

/// A lock file of its own: to open and close the database itself would drop SQLite's locks.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = private_file().open(&name).map_err(|source| {
        // A read-only folder or file system is told of as such, with the database's own name.
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path: path.to_owned() },
            _ => OpenError::Files { path: name.clone(), source },
        }
    })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        // Some file systems know no locks; then the operator's care is all there is.
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
            Err(OpenError::Files { path: name, source: error })
        }
        _ => Ok(file),
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

fn writer_pragmas(conn: &Connection, options: &Options) -> Result<(), OpenError> {
    let path = &options.path;
    let sql = |error| OpenError::from_sqlite(path, error);
    if conn.is_readonly("main").map_err(sql)? {
        return Err(OpenError::ReadOnly { path: path.clone() });
    }
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(sql)?;
    if mode != "wal" {
        let what = "its file system cannot share memory between programs; use a local disk";
        return Err(OpenError::Other { path: path.clone(), what: what.to_owned() });
    }
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
        Synchronous::Off => "OFF",
    };
    conn.pragma_update(None, "synchronous", synchronous).map_err(sql)?;
    conn.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES).map_err(sql)?;
    conn.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(())).map_err(sql)
}

/// Another program on the same file, a backup for instance, may hold it for this long.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements a connection keeps: more than the server has.
const STATEMENTS: usize = 256;
/// 16 MiB of log. The readers copy it earlier; this is for when they do not keep up.
const AUTOCHECKPOINT_PAGES: i64 = 4_096;
/// The log shrinks back to this after a burst.
const LOG_BYTES: i64 = 64 * 1_048_576;
