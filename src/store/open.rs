//! Opening the file: folder, lock, pragmas, migrations; and every way in which it fails, in words.

use super::backup::{self, BackupError};
use super::migrate::{self, MIGRATIONS, Migration, migrate};
use super::{Options, Synchronous, restore};
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
        "the database {path:?} is damaged ({what}). Run `stonechat check --deep`; if it finds errors, \
         `stonechat restore` a backup"
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
         the newer release; or go back to the state before the upgrade, without what came since: \
         {}",
        undo(.backup.as_deref())
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema's version.
        found: i64,
        /// The last one that this program knows.
        known: i64,
        /// The copy from before the upgrade.
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
        /// Why there is no copy.
        source: Box<BackupError>,
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
    open_with(options, MIGRATIONS, now)
}

fn open_with(
    options: &Options,
    migrations: &[Migration],
    now: i64,
) -> Result<(Connection, File), OpenError> {
    let path = &options.path;
    let lock = locked(path)?;
    let mut conn = connect(path).map_err(|error| OpenError::from_sqlite(path, error))?;
    writer_pragmas(&conn, options)?;
    let state = migrate::state(&conn, path, migrations)?;
    if let Some(next) = state.next.filter(|_| state.last > 0) {
        backup::before_schema(path, next)?;
    }
    migrate(&mut conn, path, migrations, now)?;
    Ok((conn, lock))
}

/// Keeps others out, ends what a killed restore began, and sees to it that there is a file.
pub(super) fn locked(path: &Path) -> Result<File, OpenError> {
    prepare_folder(path)?;
    let lock = lock(path)?;
    let failed = |source| OpenError::Files { path: path.to_owned(), source };
    restore::tidy_up(path).map_err(failed)?;
    if !path.exists() {
        private_file().open(path).map_err(failed)?;
    }
    note_unclean(path);
    Ok(lock)
}

/// A clean end empties the log. The mark stays until the database was read: a command that opens
/// and closes it meanwhile must not make the unclean stop forgotten.
fn note_unclean(path: &Path) {
    let log = std::fs::metadata(with_suffix(path, "-wal"));
    if log.is_ok_and(|log| log.len() > 0)
        && let Err(error) = private_file().open(unclean(path))
    {
        tracing::warn!(%error, "the last stop was unclean, and no mark of that can be made");
    }
}

/// The mark of an unclean stop.
pub(super) fn unclean(path: &Path) -> PathBuf {
    with_suffix(path, UNCLEAN)
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

/// From which schema to which the next opening upgrades the database, if it does. Changes nothing.
pub fn upgrade_of(path: &Path) -> Result<Option<(i64, i64)>, OpenError> {
    let failed = |error| OpenError::from_sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    let state = migrate::state(&conn, path, MIGRATIONS)?;
    let to = MIGRATIONS.last().map_or(0, |migration| migration.version);
    Ok(state.next.filter(|_| state.last > 0).map(|_| (state.last, to)))
}

/// Reads the whole file and says what is wrong with it; an empty answer is a healthy database.
/// Slow: for `stonechat check --deep`, not for the start.
pub fn deep_check(path: &Path) -> Result<Vec<String>, OpenError> {
    let check = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        all_findings(&conn)
    };
    match check().map_err(|error| OpenError::from_sqlite(path, error)) {
        // Damage may be so deep that the check itself stumbles: that is a finding too.
        Err(OpenError::Corrupt { what, .. }) => Ok(vec![what]),
        other => other,
    }
}

/// All that is wrong with a database.
pub(super) fn all_findings(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = findings(conn, "PRAGMA integrity_check")?;
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        found.push(format!("a row of {table} refers to a missing row of {parent}"));
    }
    // Not in the schemas before the sixth, and before the seventh.
    for (table, checks) in [("archive_placed", &PLACES[..]), ("archive_search", &WORDS[..])] {
        if !conn.table_exists(None, table)? {
            continue;
        }
        for (sql, what) in checks {
            let rows: i64 = conn.query_row(sql, [], |row| row.get(0))?;
            if rows > 0 {
                found.push(format!("{rows} messages {what}"));
            }
        }
    }
    Ok(found)
}

/// What one of SQLite's checks finds.
pub(super) fn findings(conn: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<String> =
        conn.prepare(check)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// The folder, and later the file, for their owner's eyes only: the file holds what passwords
/// became. A folder that is made here has its name durable, or a power cut would take it with all
/// that is in it.
pub(super) fn prepare_folder(path: &Path) -> Result<(), OpenError> {
    let at = folder(path);
    let new: Vec<&Path> = at.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut made = private_folder().create(at);
    for folder in new {
        made = made.and_then(|()| sync_folder(folder));
    }
    made.map_err(|source| OpenError::Files { path: at.to_owned(), source })
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// A name with something behind it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files in the same folder, by name.
pub(super) fn siblings(path: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = std::fs::read_dir(folder(path)).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

fn undo(backup: Option<&Path>) -> String {
    match backup {
        Some(backup) => format!("`stonechat restore {}`", backup.display()),
        None => "`stonechat restore` a backup that an older release made".to_owned(),
    }
}

/// A lock file of its own: to open and close the database itself would drop SQLite's locks.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let name = with_suffix(path, ".lock");
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

pub(super) fn private_file() -> OpenOptions {
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

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
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

/// SQLite's checks know the tables that name an archive's rows as tables only.
const PLACES: [(&str, &str); 2] = [
    (
        "SELECT COUNT(*) FROM archive r WHERE r.seq <= (SELECT seq FROM archive_placed) AND NOT
            (EXISTS (SELECT 1 FROM archive_place p WHERE p.account = r.account AND p.seq = r.seq)
            AND EXISTS (SELECT 1 FROM archive_with w
            WHERE w.account = r.account AND w.peer = r.peer AND w.seq = r.seq))",
        "are in the archive and not in its index",
    ),
    (
        "SELECT COUNT(*) FROM archive_place p WHERE NOT EXISTS
            (SELECT 1 FROM archive r WHERE r.seq = p.seq AND r.account = p.account)",
        "are in the archive's index and not in the archive",
    ),
];
/// The same for the index of words. What it lacks is no damage: not every message has a word.
const WORDS: [(&str, &str); 1] = [(
    "SELECT COUNT(*) FROM archive_words_docsize d WHERE NOT EXISTS
        (SELECT 1 FROM archive r WHERE r.seq = d.id)",
    "are in the index of words and not in the archive",
)];
/// Another program on the same file, a backup for instance, may hold it for this long.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements a connection keeps: more than the server has.
const STATEMENTS: usize = 256;
/// 16 MiB of log. The readers copy it earlier; this is for when they do not keep up.
const AUTOCHECKPOINT_PAGES: i64 = 4_096;
/// The log shrinks back to this after a burst.
const LOG_BYTES: i64 = 64 * 1_048_576;
/// What SQLite keeps beside a database.
pub(super) const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The mark that the last stop was unclean.
pub(super) const UNCLEAN: &str = ".unclean";

#[cfg(test)]
mod tests {
    use super::super::testing::options;
    use super::super::{Store, accounts};
    use super::*;
    use std::fs;

    const STEPS: [Migration; 6] = [
        step(1, "CREATE TABLE a (x TEXT); INSERT INTO a VALUES ('first');"),
        step(2, "CREATE TABLE b (x TEXT);"),
        step(4, "CREATE TABLE c (x TEXT);"),
        step(5, "CREATE TABLE d (x TEXT);"),
        step(6, "CREATE TABLE e (x TEXT);"),
        step(7, "NONSENSE;"),
    ];

    const fn step(version: i64, sql: &'static str) -> Migration {
        Migration { version, name: "step", sql }
    }

    fn to(folder: &Path, steps: usize) -> Result<(), OpenError> {
        open_with(&options(folder), &STEPS[..steps], 0).map(drop)
    }

    fn copies(folder: &Path) -> Vec<String> {
        let all = siblings(&folder.join("x")).map(|(name, _)| name);
        let mut found: Vec<_> = all.filter(|name| name.contains("before")).collect();
        found.sort();
        found
    }

    #[test]
    fn a_copy_is_made_before_each_upgrade_and_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let name = |version| format!("stonechat.db.before-schema-{version}");
        to(folder.path(), 1).unwrap();
        to(folder.path(), 1).unwrap();
        assert_eq!(copies(folder.path()), Vec::<String>::new(), "nothing to lose, or to do");
        for (steps, kept) in [
            (2, vec![name(2)]),
            (3, vec![name(2), name(4)]),
            (4, vec![name(2), name(4), name(5)]),
            (5, vec![name(4), name(5), name(6)]),
        ] {
            to(folder.path(), steps).unwrap();
            assert_eq!(copies(folder.path()), kept, "{steps}");
        }
        let conn = Connection::open(folder.path().join(name(5))).unwrap();
        let has = |table: &str| conn.prepare(&format!("SELECT x FROM {table}")).is_ok();
        assert!(has("a") && has("c") && !has("d"));
        // The way back for an older release is the latest copy that it can open.
        for (steps, back) in [(4, Some(6)), (3, Some(5)), (2, Some(4)), (1, None)] {
            let told = to(folder.path(), steps).unwrap_err().to_string();
            let back = back.map_or("that an older release made".to_owned(), name);
            assert!(told.contains(&back), "{steps}: {told}");
        }
        // An upgrade that fails, however often, leaves the copy of the state before it.
        for _ in 0..2 {
            assert!(to(folder.path(), 6).is_err());
            assert_eq!(copies(folder.path()), [name(5), name(6), name(7)]);
        }
    }

    #[test]
    fn without_a_copy_there_is_no_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        to(folder.path(), 1).unwrap();
        let way = folder.path().join("stonechat.db.before-schema-2.part");
        fs::create_dir(&way).unwrap();
        let told = to(folder.path(), 2).unwrap_err();
        assert!(matches!(told, OpenError::NoBackup { version: 2, .. }), "{told}");
        assert!(told.to_string().contains("before-schema-2"), "{told}");
        fs::remove_dir(&way).unwrap();
        to(folder.path(), 1).unwrap();
        to(folder.path(), 2).unwrap();
    }

    #[test]
    fn a_deep_check_holds_the_archive_against_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        drop(Store::open(options.clone()).unwrap());
        let conn = Connection::open(&options.path).unwrap();
        let row = "INSERT INTO archive VALUES (1, 1, 'a@x', '', 1, 1, x'20', NULL, 1)";
        let place = "INSERT INTO archive_place VALUES (1, 1, 1, 1, 1)";
        let peer = "INSERT INTO archive_with VALUES (1, 'a@x', 1, '', NULL, 1)";
        let placed = "UPDATE archive_placed SET seq = 1";
        for (sql, findings) in [
            (row, 0),
            (placed, 1),
            (place, 1),
            (peer, 0),
            ("DELETE FROM archive", 1),
            ("DELETE FROM archive_place", 0),
        ] {
            conn.execute_batch(sql).unwrap();
            assert_eq!(all_findings(&conn).unwrap().len(), findings, "{sql}");
        }
    }

    /// A real database of an older schema: upgraded with a copy, which brings it back.
    #[tokio::test]
    async fn an_older_database_is_upgraded_and_its_copy_restores_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        {
            let (conn, _lock) = open_with(&options, &MIGRATIONS[..2], 0).unwrap();
            let mut tx = super::super::SqliteTx::new(&conn);
            accounts::create(&mut tx, "old", "b.example", &[], 0).unwrap();
        }
        let list = async |expected: &[&str]| {
            let store = Store::open(options.clone()).unwrap();
            let found = store.read(|tx| accounts::list(tx, None, None, 9)).await.unwrap();
            let found: Vec<_> = found.iter().map(|a| a.localpart.as_str()).collect();
            assert_eq!(found, expected);
            store
        };
        let store = list(&["old"]).await;
        let add = |tx: &mut dyn super::super::Tx| accounts::create(tx, "z", "b.example", &[], 0);
        store.write(add).await.unwrap();
        store.close().await;
        let copy = with_suffix(&options.path, ".before-schema-3");
        let done = Store::restore(&copy, &options.path).unwrap();
        assert_eq!(done.schema, 2);
        list(&["old"]).await.close().await;
    }
}
