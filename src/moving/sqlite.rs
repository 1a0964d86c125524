//! Another server's database, opened so that nothing is written to it and nothing in it is run.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::piece::SourceError;

/// The first bytes of each SQLite database.
pub const MAGIC: &[u8] = b"SQLite format 3\0";

/// Opens it for reading.
pub fn open(path: &Path) -> Result<Connection, SourceError> {
    let failed = |error: rusqlite::Error| failed(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
    Ok(connection)
}

/// A column of texts as SQL: what is larger than 16 MiB is nothing, and is not even read from the file.
pub fn bounded(column: &str) -> String {
    format!("CASE WHEN octet_length({column}) <= 16777216 THEN {column} ELSE '' END")
}

/// The same of several.
pub fn all_bounded(columns: &[&str]) -> String {
    columns.iter().map(|column| bounded(column)).collect::<Vec<_>>().join(", ")
}

/// That SQLite refused.
pub fn failed(path: &Path, error: &rusqlite::Error) -> SourceError {
    SourceError { place: path.display().to_string(), what: error.to_string() }
}

/// Whether it has a table with this column.
pub fn has(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let mut found =
        connection.prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?;
    found.exists((table, column))
}
