//! Brings a database's schema up to date, one migration after the other.

use rusqlite::Connection;
use std::path::Path;

use super::backup;
use crate::store::errors::OpenError;
use crate::store::migrate::{Dialect, Migration};

/// Brings the database to the last of `migrations`, each in its own transaction.
pub(in crate::store) fn migrate(
    conn: &mut Connection,
    path: &Path,
    migrations: &[Migration],
    now: i64,
) -> Result<(), OpenError> {
    let sql = |error| OpenError::from_sqlite(path, error);
    let state = state(conn, path, migrations)?;
    if !has_table(conn, "migration").map_err(sql)? {
        conn.execute_batch(CREATE).map_err(sql)?;
    }
    let (mut last, upgrade) = (None, state.last > 0);
    for migration in migrations.iter().filter(|migration| migration.version > state.last) {
        apply(conn, migration, now).map_err(sql)?;
        tracing::debug!(version = migration.version, name = migration.name, "schema migrated");
        last = Some(migration.version);
    }
    match last {
        Some(to) if upgrade => tracing::info!(from = state.last, to, "database upgraded"),
        Some(schema) => tracing::info!(path = %path.display(), schema, "database made"),
        None => {}
    }
    Ok(())
}

/// How far a database's schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct State {
    /// The last migration that was applied; 0 for an empty database.
    pub(in crate::store) last: i64,
    /// The first one that is not.
    pub(in crate::store) next: Option<i64>,
}

/// Reads how far a database is, and changes nothing; refuses one that does not belong to this server.
pub(in crate::store) fn state(
    conn: &Connection,
    path: &Path,
    migrations: &[Migration],
) -> Result<State, OpenError> {
    let sql = |error| OpenError::from_sqlite(path, error);
    let mut last = 0;
    if has_table(conn, "migration").map_err(sql)? {
        let done = done(conn).map_err(sql)?;
        check_done(&done, path, migrations)?;
        last = done.last().map_or(0, |done| done.version);
    } else if !is_empty(conn).map_err(sql)? {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let next = migrations.iter().map(|migration| migration.version).find(|next| *next > last);
    Ok(State { last, next })
}

struct Done {
    version: i64,
    name: String,
    checksum: String,
}

/// The applied migrations must be the first of those that this program knows.
fn check_done(done: &[Done], path: &Path, known: &[Migration]) -> Result<(), OpenError> {
    let newest = known.last().map_or(0, |migration| migration.version);
    let mut expected = known.iter();
    for done in done {
        if done.version > newest {
            let (path, found, known) = (path.to_owned(), done.version, newest);
            let backup = backup::way_back(&path, known);
            return Err(OpenError::NewerSchema { path, found, known, backup });
        }
        let same = expected.next().is_some_and(|migration| {
            migration.version == done.version && migration.checksum() == done.checksum
        });
        if !same {
            let (version, name) = (done.version, done.name.clone());
            return Err(OpenError::ChangedMigration { path: path.to_owned(), version, name });
        }
    }
    Ok(())
}

fn apply(conn: &mut Connection, migration: &Migration, now: i64) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(&migration.render(Dialect::Sqlite))?;
    tx.execute(INSERT, (migration.version, migration.name, migration.checksum(), now))?;
    tx.commit()
}

fn done(conn: &Connection) -> rusqlite::Result<Vec<Done>> {
    let mut statement = conn.prepare(SELECT)?;
    let rows = statement.query_map([], |row| {
        Ok(Done { version: row.get(0)?, name: row.get(1)?, checksum: row.get(2)? })
    })?;
    rows.collect()
}

fn has_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.query_row(HAS_TABLE, [name], |row| row.get(0))
}

fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(IS_EMPTY, [], |row| row.get(0))
}

const CREATE: &str = "CREATE TABLE migration (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";
const SELECT: &str = "SELECT version, name, checksum FROM migration ORDER BY version";
const INSERT: &str =
    "INSERT INTO migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)";
const HAS_TABLE: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::MIGRATIONS;

    const ONE: Migration =
        Migration { version: 1, name: "one", sql: "CREATE TABLE a (x {{int}}) {{strict}};" };
    const TWO: Migration = Migration { version: 3, name: "two", sql: "CREATE TABLE b (x TEXT);" };
    const BAD: Migration =
        Migration { version: 4, name: "bad", sql: "CREATE TABLE c (x TEXT); NONSENSE;" };

    fn run(conn: &mut Connection, migrations: &[Migration]) -> Result<(), OpenError> {
        migrate(conn, Path::new("x.db"), migrations, 1)
    }

    #[test]
    fn migrations_go_forward_once_each() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &[ONE]).unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        assert_eq!(done(&conn).unwrap().iter().map(|d| d.version).collect::<Vec<_>>(), [1, 3]);
        assert!(has_table(&conn, "b").unwrap());
    }

    #[test]
    fn a_newer_or_a_changed_or_a_foreign_schema_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        let newer = run(&mut conn, &[ONE]).unwrap_err();
        assert!(matches!(newer, OpenError::NewerSchema { found: 3, known: 1, .. }), "{newer}");
        let changed = Migration { sql: "CREATE TABLE a (x TEXT);", ..ONE };
        let refused = run(&mut conn, &[changed, TWO]).unwrap_err();
        assert!(matches!(refused, OpenError::ChangedMigration { version: 1, .. }), "{refused}");
        let between = Migration { version: 2, ..TWO };
        let refused = run(&mut conn, &[ONE, between, TWO]).unwrap_err();
        assert!(matches!(refused, OpenError::ChangedMigration { version: 3, .. }), "{refused}");

        let mut foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(run(&mut foreign, &[ONE]), Err(OpenError::NotOurs { .. })));
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        assert!(run(&mut conn, &[ONE, BAD]).is_err());
        assert!(has_table(&conn, "a").unwrap());
        assert!(!has_table(&conn, "c").unwrap());
        run(&mut conn, &[ONE, TWO]).unwrap();
    }

    /// Archives are large: their positions are copied in the order of an index, without sorting.
    #[test]
    fn an_archive_gets_its_index_without_sorting() {
        let mut conn = Connection::open_in_memory().unwrap();
        let (before, places) = (&MIGRATIONS[..5], MIGRATIONS[5]);
        run(&mut conn, before).unwrap();
        for (seq, account, peer) in [(1, 2, "b@x"), (2, 1, "b@x"), (3, 1, "a@x"), (4, 2, "a@x")] {
            let sql = "INSERT INTO archive VALUES (?1, ?2, ?3, 'r', 2, 7, x'20')";
            conn.execute(sql, (seq, account, peer)).unwrap();
        }
        let sql = places.render(Dialect::Sqlite);
        let statements = sql.split(';').map(str::trim).filter(|sql| !sql.is_empty());
        let mut copies = 0;
        for statement in statements {
            if statement.starts_with("INSERT") {
                let explain = format!("EXPLAIN QUERY PLAN {statement}");
                let plan: String = conn.query_row(&explain, [], |row| row.get(3)).unwrap();
                copies += usize::from(plan.starts_with("SCAN archive USING COVERING INDEX"));
            }
            conn.execute_batch(statement).unwrap();
        }
        assert_eq!(copies, 2);
        let list = |sql: &str| -> Vec<i64> {
            let mut statement = conn.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        assert_eq!(list("SELECT seq FROM archive_place"), [2, 3, 1, 4]);
        assert_eq!(list("SELECT seq FROM archive_with"), [3, 2, 4, 1]);
        assert_eq!(list("SELECT seq FROM archive_placed"), [4]);
    }

    /// `UPDATE_DOCS=1 cargo test --lib store` rewrites the file.
    #[test]
    fn the_schema_dump_is_current() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, MIGRATIONS).unwrap();
        let mut dump = "-- Generated from a migrated database; a test compares.\n".to_owned();
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL
            AND name NOT LIKE 'sqlite_%' ORDER BY tbl_name, type DESC, name";
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            dump.push_str(&format!("\n{};\n", row.get::<_, String>(0).unwrap()));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/current.sql");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &dump).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, dump, "run UPDATE_DOCS=1 cargo test");
    }
}
