//! Where in a dump what is: the records of a dump come table by table, an import wants them account by account. The
//! index is a temporary database of SQLite, which is on the disk when it is large.

use rusqlite::{Connection, OptionalExtension};

use super::term::Term;

/// What a record is; the numbers are the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Passwd = 0,
    Roster = 1,
    Vcard = 2,
    Private = 3,
    Privacy = 4,
    Prefs = 5,
    Node = 6,
    State = 7,
    Item = 8,
    Archive = 9,
    Offline = 10,
    Room = 20,
    RoomArchive = 21,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Passwd,
        Self::Roster,
        Self::Vcard,
        Self::Private,
        Self::Privacy,
        Self::Prefs,
        Self::Node,
        Self::State,
        Self::Item,
        Self::Archive,
        Self::Offline,
        Self::Room,
        Self::RoomArchive,
    ];

    fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i64 == number)
    }
}

/// A record of the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Microseconds since 1970, where that orders them.
    pub at: i64,
    /// Its first byte.
    pub offset: i64,
    /// Its length in bytes.
    pub length: i64,
    /// The line it begins on.
    pub line: i64,
}

/// Whose a record is: an account or a room by its domain and name, or a node by its number alone.
pub type Owner = (String, String);

/// The index.
#[derive(Debug)]
pub struct Index {
    db: Connection,
}

type Result<T> = rusqlite::Result<T>;

impl Index {
    /// An empty one. It is in memory until it is larger than SQLite's cache.
    pub fn new() -> Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN;
             CREATE TABLE record (host TEXT, name TEXT, kind INTEGER, at INTEGER, offset INTEGER, length INTEGER, line INTEGER);
             CREATE TABLE nick (service TEXT, jid TEXT, nick TEXT);
             CREATE TABLE other (name TEXT PRIMARY KEY, records INTEGER);",
        )?;
        Ok(Self { db })
    }

    /// Notes a record.
    pub fn add(&self, owner: &Owner, it: Record) -> Result<()> {
        let mut add =
            self.db.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        add.execute((&owner.0, &owner.1, it.kind as i64, it.at, it.offset, it.length, it.line))?;
        Ok(())
    }

    /// Notes a nick that is reserved at a service of rooms.
    pub fn add_nick(&self, service: &str, jid: &str, nick: &str) -> Result<()> {
        self.db
            .prepare_cached("INSERT INTO nick VALUES (?1, ?2, ?3)")?
            .execute((service, jid, nick))?;
        Ok(())
    }

    /// Notes a record of a table that is not read.
    pub fn add_other(&self, table: &str) -> Result<()> {
        let sql =
            "INSERT INTO other VALUES (?1, 1) ON CONFLICT DO UPDATE SET records = records + 1";
        self.db.prepare_cached(sql)?.execute([table])?;
        Ok(())
    }

    /// All is noted.
    pub fn close(&self) -> Result<()> {
        self.db.execute_batch(
            "CREATE INDEX by_owner ON record (host, name, kind, at, offset); COMMIT;",
        )
    }

    /// The next account or room behind one, in order.
    pub fn next_owner(&self, after: Option<&Owner>, rooms: bool) -> Result<Option<Owner>> {
        let (host, name) = after.map_or(("", ""), |(host, name)| (host.as_str(), name.as_str()));
        let sql = "SELECT host, name FROM record WHERE (host, name) > (?1, ?2) AND host <> ''
                   AND (kind >= 20) = ?3 ORDER BY host, name LIMIT 1";
        let mut next = self.db.prepare_cached(sql)?;
        next.query_row((host, name, rooms), |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// How many accounts and rooms there are.
    pub fn owners(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM record WHERE kind IN (0, 20)";
        self.db.query_row(sql, [], |row| row.get(0))
    }

    /// The records of an owner, behind one of them; at most 500.
    pub fn records(
        &self,
        owner: &Owner,
        after: Option<Record>,
        rooms: bool,
    ) -> Result<Vec<Record>> {
        let sql = "SELECT kind, at, offset, length, line FROM record WHERE host = ?1 AND name = ?2
                   AND (kind, at, offset) > (?3, ?4, ?5) AND (kind >= 20) = ?6
                   ORDER BY kind, at, offset LIMIT 500";
        let (kind, at, offset) = after.map_or((-1, 0, 0), |it| (it.kind as i64, it.at, it.offset));
        let mut found = self.db.prepare_cached(sql)?;
        let mut rows = found.query((&owner.0, &owner.1, kind, at, offset, rooms))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(kind) = Kind::of(row.get(0)?) else { continue };
            let (at, offset) = (row.get(1)?, row.get(2)?);
            records.push(Record { kind, at, offset, length: row.get(3)?, line: row.get(4)? });
        }
        Ok(records)
    }

    /// The nick that an address has reserved at a service.
    pub fn nick(&self, service: &str, jid: &str) -> Option<String> {
        let sql = "SELECT nick FROM nick WHERE service = ?1 AND jid = ?2";
        let found = self.db.query_row(sql, (service, jid), |row| row.get(0)).optional();
        found.ok().flatten()
    }

    /// All nicks: service, address and nick.
    pub fn nicks(&self) -> Result<Vec<(String, String, String)>> {
        let mut all =
            self.db.prepare("SELECT service, jid, nick FROM nick ORDER BY 1, 2 LIMIT 10000")?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    }

    /// The tables that are not read, with how much they have.
    pub fn others(&self) -> Result<Vec<(String, i64)>> {
        let mut all =
            self.db.prepare("SELECT name, records FROM other ORDER BY name LIMIT 1000")?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}

/// The number of a node as the name of its owner in the index.
pub fn of_node(number: &Term) -> Option<Owner> {
    let number = number.int().map(|it| it.to_string()).or_else(|| number.text().map(str::to_owned));
    number.map(|it| (String::new(), it))
}
