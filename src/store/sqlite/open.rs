//! Opens the file: folder, lock, pragmas and migrations, with an error for the operator for every way this
//! can fail.

use super::backup;
use super::files::{
    BUSY, all_findings, connect, lock, prepare_folder, private_file, unclean, with_suffix,
};
use super::restore;
use super::schema::{self, migrate};
use crate::store::errors::OpenError;
use crate::store::migrate::{MIGRATIONS, Migration};
use crate::store::options::{Options, Synchronous};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::Path;

/// Returns the writer's connection to a migrated database, and the lock that keeps other processes out.
pub(in crate::store) fn open(options: &Options, now: i64) -> Result<(Connection, File), OpenError> {
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
    let state = schema::state(&conn, path, migrations)?;
    if let Some(next) = state.next.filter(|_| state.last > 0) {
        backup::before_schema(path, next)?;
    }
    migrate(&mut conn, path, migrations, now)?;
    Ok((conn, lock))
}

/// Locks the database, completes or undoes a restore that was killed, and makes sure that there is a file.
pub(in crate::store) fn locked(path: &Path) -> Result<File, OpenError> {
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

/// A clean stop empties the log. The mark stays until the database was checked, because a command that opens
/// and closes it meanwhile empties the log too.
fn note_unclean(path: &Path) {
    let log = std::fs::metadata(with_suffix(path, "-wal"));
    if log.is_ok_and(|log| log.len() > 0)
        && let Err(error) = private_file().open(unclean(path))
    {
        tracing::warn!(%error, "the last stop was unclean, and no mark of that can be made");
    }
}

/// Returns the present schema and the one to which the next opening upgrades it; `None` if it does not.
/// Changes nothing.
pub fn upgrade_of(path: &Path) -> Result<Option<(i64, i64)>, OpenError> {
    let failed = |error| OpenError::from_sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    let state = schema::state(&conn, path, MIGRATIONS)?;
    let to = MIGRATIONS.last().map_or(0, |migration| migration.version);
    Ok(state.next.filter(|_| state.last > 0).map(|_| (state.last, to)))
}

/// Reads the whole file and returns what is wrong with it; an empty list means a healthy database. Slow: for
/// `stonechat check --deep`, not for the start.
pub fn deep_check(path: &Path) -> Result<Vec<String>, OpenError> {
    let check = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        all_findings(&conn)
    };
    match check().map_err(|error| OpenError::from_sqlite(path, error)) {
        // Damage may be so severe that the check itself fails: that is a finding too.
        Err(OpenError::Corrupt { what, .. }) => Ok(vec![what]),
        other => other,
    }
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

/// 16 MiB of log. The readers checkpoint earlier; this is for when they do not keep up.
const AUTOCHECKPOINT_PAGES: i64 = 4_096;
/// After a burst the log shrinks back to this.
const LOG_BYTES: i64 = 64 * 1_048_576;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::files::siblings;
    use crate::store::testing::options;
    use crate::store::{Store, accounts};
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
    fn a_query_is_planned_once_whatever_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        drop(Connection::open(&path).unwrap());
        let conn = connect(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (a, x, PRIMARY KEY (a, x)) WITHOUT ROWID").unwrap();
        let sql = "SELECT x FROM t WHERE a = $1 AND x > $2 ORDER BY x LIMIT $3";
        let mut statement = conn.prepare(sql).unwrap();
        for at in 0..3 {
            statement.query_map([at, at + 1, at + 2], |_| Ok(())).unwrap().for_each(drop);
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
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
        // An older release can go back to the latest copy that it can open.
        for (steps, back) in [(4, Some(6)), (3, Some(5)), (2, Some(4)), (1, None)] {
            let told = to(folder.path(), steps).unwrap_err().to_string();
            let back = back.map_or("that an older release made".to_owned(), name);
            assert!(told.contains(&back), "{steps}: {told}");
        }
        // An upgrade that fails, however often, keeps the copy of the state before it.
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
        let indexed = "UPDATE archive_placed SET seq = 1";
        for (sql, findings) in [
            (row, 0),
            (indexed, 1),
            (place, 1),
            (peer, 0),
            ("DELETE FROM archive", 1),
            ("DELETE FROM archive_place", 0),
        ] {
            conn.execute_batch(sql).unwrap();
            assert_eq!(all_findings(&conn).unwrap().len(), findings, "{sql}");
        }
    }

    /// A real database of an older schema is upgraded with a copy, and the copy can be restored.
    #[tokio::test]
    async fn an_older_database_is_upgraded_and_its_copy_restores_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        {
            let (conn, _lock) = open_with(&options, &MIGRATIONS[..2], 0).unwrap();
            let mut tx = crate::store::sqlite::tx::SqliteTx::new(&conn);
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
        let add = |tx: &mut dyn crate::store::Tx| accounts::create(tx, "z", "b.example", &[], 0);
        store.write(add).await.unwrap();
        store.close().await;
        let copy = with_suffix(&options.path, ".before-schema-3");
        let done = Store::restore(&copy, &options.path).unwrap();
        assert_eq!(done.schema, 2);
        list(&["old"]).await.close().await;
    }
}
