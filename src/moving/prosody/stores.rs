//! What Prosody keeps, wherever it does: in files, in SQLite, or some stores here and some there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::folder::{Folder, OpenList};
use super::lua::{Table, Value};
use super::sqlite::{Database, Rows};
use super::stanza;
use crate::moving::parts;
use crate::moving::piece::SourceError;

/// The name of the database in the data folder, if the configuration gives no other.
const DATABASE: &str = "prosody.sqlite";
/// Attributes that Prosody adds to the stanzas of a list.
const OWN_ATTRIBUTES: [&str; 2] = ["stamp", "stamp_legacy"];

/// All stores.
#[derive(Debug)]
pub struct Stores {
    folder: Folder,
    database: Option<Database>,
    /// Whether values and lists may be in the folder, too.
    files: bool,
}

/// A list that is being read.
#[derive(Debug)]
pub enum Cursor {
    /// In a file.
    File(Box<OpenList>),
    /// In the database.
    Rows(Box<Rows>),
}

/// An item of a list.
#[derive(Debug)]
pub struct Item {
    /// Its id.
    pub key: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// Whom it is with, who published it, or whose it is.
    pub with: String,
    /// The element.
    pub element: Stored,
}

/// An element as it is stored.
#[derive(Debug)]
pub enum Stored {
    /// As a table.
    Table(Table),
    /// As text.
    Xml(String),
}

impl Stored {
    /// As text, with its namespace declared; `namespace` if it declares none itself.
    pub fn xml(&self, namespace: &str) -> Result<String, String> {
        match self {
            Self::Table(table) => stanza::write(table, namespace, &OWN_ATTRIBUTES),
            Self::Xml(text) => Ok(parts::declared(text, namespace).into_owned()),
        }
    }
}

impl Stores {
    /// `path`: the data folder, or a database of Prosody (then the files of uploads are looked for beside it).
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        if path.is_file() {
            let folder =
                path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let database = Some(Database::open(path)?);
            return Ok(Self { folder: Folder::open(folder)?, database, files: false });
        }
        let folder = Folder::open(path)?;
        let database = path.join(DATABASE);
        let database = if database.exists() { Some(Database::open(&database)?) } else { None };
        Ok(Self { folder, database, files: true })
    }

    /// The domains.
    pub fn hosts(&self) -> Result<Vec<String>, SourceError> {
        let files = if self.files { self.folder.hosts()? } else { Vec::new() };
        self.with(files, Database::hosts)
    }

    /// The stores of a domain that somebody has something in.
    pub fn stores(&self, host: &str) -> Result<Vec<String>, SourceError> {
        let files = if self.files { self.folder.stores(host)? } else { Vec::new() };
        self.with(files, |it| it.stores(host))
    }

    /// Who has something in a store.
    pub fn users(&self, host: &str, store: &str) -> Result<Vec<String>, SourceError> {
        let files = if self.files { self.folder.users(host, store)? } else { Vec::new() };
        self.with(files, |it| it.users(host, store))
    }

    fn with(
        &self,
        files: Vec<String>,
        rows: impl Fn(&Database) -> Result<Vec<String>, SourceError>,
    ) -> Result<Vec<String>, SourceError> {
        let Some(database) = &self.database else { return Ok(files) };
        let all: BTreeSet<String> = files.into_iter().chain(rows(database)?).collect();
        Ok(all.into_iter().collect())
    }

    /// The value of a store, if it is a table.
    pub fn value(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
    ) -> Result<Option<Table>, SourceError> {
        let mut found = match &self.database {
            Some(database) => database.value(host, user, store)?,
            None => None,
        };
        if found.is_none() && self.files {
            found = self.folder.value(host, user, store)?;
        }
        Ok(found.and_then(|value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        }))
    }

    /// Begins to read a list; those in files come first.
    pub fn list(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
    ) -> Result<Vec<Cursor>, SourceError> {
        let mut cursors = Vec::new();
        if self.database.is_some() {
            cursors.push(Cursor::Rows(Box::new(Rows::new(host, user, store))));
        }
        if self.files {
            cursors
                .extend(self.folder.list(host, user, store)?.map(|it| Cursor::File(Box::new(it))));
        }
        Ok(cursors)
    }

    /// The next item; none at the end. An error of the inner result is of this item alone.
    #[allow(clippy::type_complexity)] // both are as simple as they can be
    pub fn item(
        &self,
        cursor: &mut Cursor,
    ) -> Result<Option<Result<Item, SourceError>>, SourceError> {
        let place = self.place(cursor);
        let wrong = |what: &str| SourceError { place: place.clone(), what: what.to_owned() };
        match cursor {
            Cursor::File(list) => Ok(list.item()?.map(|value| match value {
                Value::Table(table) => Ok(Item {
                    key: table.text("key").unwrap_or_default().to_owned(),
                    at: when(&table),
                    with: table.text("with").unwrap_or_default().to_owned(),
                    element: Stored::Table(table),
                }),
                _ => Err(wrong("is no stanza")),
            })),
            Cursor::Rows(rows) => {
                let Some(database) = &self.database else { return Ok(None) };
                Ok(database.item(rows)?.map(|row| {
                    let element = match row.value {
                        Value::Text(text) if row.is_xml => {
                            Stored::Xml(String::from_utf8_lossy(&text).into_owned())
                        }
                        Value::Table(table) => Stored::Table(table),
                        _ => return Err(wrong("is no stanza")),
                    };
                    Ok(Item { key: row.key, at: micros(row.when), with: row.with, element })
                }))
            }
        }
    }

    /// Where a list is, for people.
    pub fn place(&self, cursor: &Cursor) -> String {
        match (cursor, &self.database) {
            (Cursor::File(list), _) => list.place(),
            (Cursor::Rows(rows), Some(database)) => database.place(rows),
            (Cursor::Rows(_), None) => String::new(),
        }
    }

    /// The file of an upload.
    pub fn upload(&self, host: &str, slot: &str) -> Result<Option<File>, SourceError> {
        let file = self.folder.file(host, Some(slot), "http_file_share", "bin")?;
        Ok(file.map(|(file, _)| file))
    }
}

/// When an item of a list in a file came.
fn when(table: &Table) -> i64 {
    if let Some(when) = table.get("when").and_then(Value::number) {
        return micros(when);
    }
    // Offline messages of old versions have it among the attributes.
    let stamp = table.table("attr").and_then(|attr| attr.text("stamp"));
    stamp.and_then(crate::base::time::parse).map_or(0, crate::base::time::micros)
}

/// Microseconds of seconds; 0 for what is no time.
#[allow(clippy::cast_possible_truncation)] // within 285,000 years
pub fn micros(seconds: f64) -> i64 {
    let micros = (seconds * 1e6).round();
    if (0.0..9e18).contains(&micros) { micros as i64 } else { 0 }
}
