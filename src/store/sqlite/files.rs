//! The files of a database: their folder, lock, names and connections, and the checks for damage.

use crate::store::errors::OpenError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The path of the mark of an unclean stop.
pub(in crate::store) fn unclean(path: &Path) -> PathBuf {
    with_suffix(path, UNCLEAN)
}

/// Opens a reader's connection.
pub(in crate::store) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let conn = connect(path)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    };
    open().map_err(|error| OpenError::from_sqlite(path, error))
}

/// Returns everything that is wrong with a database.
pub(in crate::store) fn all_findings(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = findings(conn, "PRAGMA integrity_check")?;
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        found.push(format!("a row of {table} refers to a missing row of {parent}"));
    }
    // The tables are missing in schemas before the sixth and the ninth; before the 14th an archive belonged
    // to an account.
    let key = if conn.table_exists(None, "archive_indexed")? { "archive" } else { "account" };
    for (table, checks) in [("archive_placed", &POSITIONS[..]), ("archive_words", &WORDS[..])] {
        if !conn.table_exists(None, table)? {
            continue;
        }
        for (sql, what) in checks {
            let rows: i64 = conn.query_row(&sql.replace("{key}", key), [], |row| row.get(0))?;
            if rows > 0 {
                found.push(format!("{rows} messages {what}"));
            }
        }
    }
    Ok(found)
}

/// Returns the findings of one of SQLite's checks.
pub(in crate::store) fn findings(conn: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<String> =
        conn.prepare(check)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// Makes the folder (and later the file) accessible to its owner only: the file contains values derived from
/// passwords. The name of a new folder is made durable; otherwise a power cut could lose it with everything
/// in it.
pub(in crate::store) fn prepare_folder(path: &Path) -> Result<(), OpenError> {
    let at = folder(path);
    let new: Vec<&Path> = at.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut made = private_folder().create(at);
    for folder in new {
        made = made.and_then(|()| sync_folder(folder));
    }
    made.map_err(|source| OpenError::Files { path: at.to_owned(), source })
}

/// Returns the folder of a file.
pub(in crate::store) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a file's folder durable.
pub(in crate::store) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Appends a suffix to a name.
pub(in crate::store) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(in crate::store) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the files in the same folder, by name.
pub(in crate::store) fn siblings(path: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = std::fs::read_dir(folder(path)).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// Locks a separate file: opening and closing the database file itself would drop SQLite's locks.
pub(in crate::store) fn lock(path: &Path) -> Result<File, OpenError> {
    let name = with_suffix(path, ".lock");
    let file = private_file().open(&name).map_err(|source| {
        // A read-only folder or file system gets an error of its own, with the database's name.
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path: path.to_owned() },
            _ => OpenError::Files { path: name.clone(), source },
        }
    })?;
    // Root may run a command beside a server that is to run as another user.
    #[cfg(unix)]
    if let (Ok(own), Ok(home)) = (file.metadata(), std::fs::metadata(folder(path))) {
        use std::os::unix::fs::MetadataExt as _;
        if own.uid() != home.uid() {
            // Whoever may not give it away needs not to.
            let _ = std::os::unix::fs::fchown(&file, Some(home.uid()), Some(home.gid()));
        }
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        // Some file systems have no locks; there the operator must take care.
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
            Err(OpenError::Files { path: name, source: error })
        }
        _ => Ok(file),
    }
}

pub(in crate::store) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(super) fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

pub(in crate::store) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise a query is planned anew for each new value of a LIMIT and the like (SQLite, "The SQLite Query
    // Planner Stability Guarantee").
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

/// SQLite's own checks do not know that these tables refer to the rows of an archive.
const POSITIONS: [(&str, &str); 2] = [
    (
        "SELECT COUNT(*) FROM archive r WHERE r.seq <= (SELECT seq FROM archive_placed) AND NOT
            (EXISTS (SELECT 1 FROM archive_place p WHERE p.{key} = r.{key} AND p.seq = r.seq)
            AND EXISTS (SELECT 1 FROM archive_with w
            WHERE w.{key} = r.{key} AND w.peer = r.peer AND w.seq = r.seq))",
        "are in the archive and not in its index",
    ),
    (
        "SELECT COUNT(*) FROM archive_place p WHERE NOT EXISTS
            (SELECT 1 FROM archive r WHERE r.seq = p.seq AND r.{key} = p.{key})",
        "are in the archive's index and not in the archive",
    ),
];
/// Like [`POSITIONS`], for the index of words. A missing entry is no damage: not every message has a word.
const WORDS: [(&str, &str); 1] = [(
    "SELECT COUNT(*) FROM archive_words_docsize d WHERE NOT EXISTS
        (SELECT 1 FROM archive r WHERE r.seq = d.id)",
    "are in the index of words and not in the archive",
)];
/// Another program on the same file, such as a backup, may hold it for this long.
pub(in crate::store) const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection caches: more than the server has.
const STATEMENTS: usize = 256;
/// Suffixes of the files that SQLite makes next to a database.
pub(in crate::store) const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The mark that the last stop was unclean.
pub(in crate::store) const UNCLEAN: &str = ".unclean";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, chown};

    /// A command that root gives leaves no lock that the server's user cannot open.
    #[test]
    fn the_lock_is_of_whom_the_folder_is() {
        let home = tempfile::tempdir().unwrap();
        // Only root can try it.
        if chown(home.path(), Some(12_345), Some(12_345)).is_err() {
            return;
        }
        let _lock = lock(&home.path().join("a.db")).unwrap();
        let made = std::fs::metadata(home.path().join("a.db.lock")).unwrap();
        assert_eq!((made.uid(), made.gid()), (12_345, 12_345));
    }
}
