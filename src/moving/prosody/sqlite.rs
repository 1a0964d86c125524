//! The tables of Prosody's SQL storage in SQLite: `prosody` has values, `prosodyarchive` lists.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::json;
use super::lua::{Table, Value};
use crate::moving::piece::SourceError;
use crate::moving::sqlite;

/// The database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
}

/// A row of `prosodyarchive`.
#[derive(Debug)]
pub struct ListRow {
    /// The item's id.
    pub key: String,
    /// Seconds since 1970.
    pub when: f64,
    /// Whom it is with.
    pub with: String,
    /// An element as text, or a table.
    pub value: Value,
    /// Whether `value` is an element as text.
    pub is_xml: bool,
}

/// A list that is being read, in pages.
#[derive(Debug)]
pub struct Rows {
    host: String,
    user: String,
    store: String,
    after: i64,
    page: VecDeque<ListRow>,
    ended: bool,
}

/// How much is read at once: so many rows, or so many bytes.
const PAGE_ROWS: usize = 200;
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// What a row of a value counts for beside its texts.
const ROW: usize = 64;

impl Rows {
    /// From the beginning.
    pub fn new(host: &str, user: Option<&str>, store: &str) -> Self {
        Self {
            host: host.to_owned(),
            user: user.unwrap_or_default().to_owned(),
            store: store.to_owned(),
            after: i64::MIN,
            page: VecDeque::new(),
            ended: false,
        }
    }
}

impl Database {
    /// Opens a database that Prosody made.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let connection = sqlite::open(path)?;
        let known = sqlite::has(&connection, "prosody", "store")
            .and_then(|it| Ok(it && sqlite::has(&connection, "prosodyarchive", "sort_id")?));
        match known {
            Ok(true) => Ok(Self { connection, path: path.to_owned() }),
            Ok(false) => {
                let what = "is a database, but not one of Prosody: it lacks the tables prosody and prosodyarchive";
                Err(SourceError { place: path.display().to_string(), what: what.to_owned() })
            }
            Err(error) => Err(sqlite::failed(path, &error)),
        }
    }

    /// Where a list is, for people.
    pub fn place(&self, rows: &Rows) -> String {
        let Rows { host, user, store, after, .. } = rows;
        format!("{}: {store} of {user}@{host}, row {after}", self.path.display())
    }

    /// The domains, in order.
    pub fn hosts(&self) -> Result<Vec<String>, SourceError> {
        let sql = "SELECT host FROM prosody UNION SELECT host FROM prosodyarchive ORDER BY 1";
        self.names(sql, &[])
    }

    /// The stores of a domain, in order.
    pub fn stores(&self, host: &str) -> Result<Vec<String>, SourceError> {
        let sql = "SELECT store FROM prosody WHERE host = ?1
                   UNION SELECT store FROM prosodyarchive WHERE host = ?1 ORDER BY 1";
        self.names(sql, &[host])
    }

    /// Who has something in a store, in order.
    pub fn users(&self, host: &str, store: &str) -> Result<Vec<String>, SourceError> {
        let sql = "SELECT user FROM prosody WHERE host = ?1 AND store = ?2 AND user <> ''
                   UNION SELECT user FROM prosodyarchive WHERE host = ?1 AND store = ?2 AND user <> '' ORDER BY 1";
        self.names(sql, &[host, store])
    }

    fn names(&self, sql: &str, of: &[&str]) -> Result<Vec<String>, SourceError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let names = statement.query_map(rusqlite::params_from_iter(of), |row| row.get(0))?;
            names.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|error| sqlite::failed(&self.path, &error))
    }

    /// The value of a store: a row for each key, and one for all keys that are no texts.
    pub fn value(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
    ) -> Result<Option<Value>, SourceError> {
        let user = user.unwrap_or_default();
        let sql = format!(
            "SELECT {}, type, {} FROM prosody WHERE host = ?1 AND user = ?2 AND store = ?3",
            sqlite::bounded("key"),
            sqlite::bounded("value")
        );
        let mut table = Table::default();
        let (mut bytes, mut any) = (0_usize, false);
        let failed = |error: rusqlite::Error| sqlite::failed(&self.path, &error);
        let wrong = |what: String| SourceError {
            place: format!("{}: {store} of {user}@{host}", self.path.display()),
            what,
        };
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement.query((host, user, store)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            any = true;
            let (key, kind, text) = texts(row).map_err(failed)?;
            bytes = bytes.saturating_add(text.len()).saturating_add(key.len()).saturating_add(ROW);
            if bytes > json::BYTES_MAX {
                return Err(wrong(format!("more than {} bytes", json::BYTES_MAX)));
            }
            let value = typed(&kind, text).map_err(wrong)?;
            if !key.is_empty() {
                table.map.insert(super::lua::Key::Text(key.into_bytes()), value);
            } else if let Value::Table(more) = value {
                table.list.extend(more.list);
                table.map.extend(more.map);
            }
        }
        Ok(any.then_some(Value::Table(table)))
    }

    /// The next item of a list; none at the end.
    pub fn item(&self, rows: &mut Rows) -> Result<Option<ListRow>, SourceError> {
        if rows.page.is_empty() && !rows.ended {
            self.page(rows)?;
        }
        Ok(rows.page.pop_front())
    }

    fn page(&self, rows: &mut Rows) -> Result<(), SourceError> {
        let failed = |error: rusqlite::Error| sqlite::failed(&self.path, &error);
        let sql = format!(
            "SELECT sort_id, key, \"when\", \"with\", type, {} FROM prosodyarchive
             WHERE host = ?1 AND user = ?2 AND store = ?3 AND sort_id > ?4 ORDER BY sort_id",
            sqlite::bounded("value")
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let of = (&rows.host, &rows.user, &rows.store, rows.after);
        let mut found = statement.query(of).map_err(failed)?;
        let mut bytes = 0_usize;
        rows.ended = true;
        while let Some(row) = found.next().map_err(failed)? {
            rows.after = row.get(0).map_err(failed)?;
            let kind: String = row.get(4).map_err(failed)?;
            let text: String = row.get(5).map_err(failed)?;
            bytes = bytes.saturating_add(text.len());
            let is_xml = kind == "xml";
            let value = typed(&kind, text).unwrap_or(Value::Nil);
            rows.page.push_back(ListRow {
                key: row.get(1).map_err(failed)?,
                when: row.get(2).map_err(failed)?,
                with: row.get::<_, Option<String>>(3).map_err(failed)?.unwrap_or_default(),
                value,
                is_xml,
            });
            if rows.page.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
                rows.ended = false;
                break;
            }
        }
        Ok(())
    }
}

fn texts(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get::<_, Option<String>>(0)?.unwrap_or_default(), row.get(1)?, row.get(2)?))
}

/// A value of the type that stands beside it.
fn typed(kind: &str, text: String) -> Result<Value, String> {
    match kind {
        "string" | "xml" => Ok(Value::Text(text.into_bytes())),
        "boolean" => Ok(Value::Bool(text == "true")),
        "number" => text.parse().map(Value::Number).map_err(|_| format!("{text:?} is no number")),
        "json" => json::read(&text),
        _ => Err(format!("a value of the type {kind:?}")),
    }
}
