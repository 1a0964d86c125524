//! The engine's interface to the store: a connection, the transactions on it, and checkpoints.

use rusqlite::Connection;
use std::fs::File;
use std::path::Path;

use super::tx::{SqliteTx, control};
use super::{files, open};
use crate::store::errors::OpenError;
use crate::store::options::Options;
use crate::store::tx::StoreError;

/// A connection of the writer or of a reader.
pub(in crate::store) struct Engine {
    conn: Connection,
}

impl Engine {
    /// Opens the writer's connection to a migrated database, with the lock that keeps other processes out.
    pub(in crate::store) fn open(options: &Options, now: i64) -> Result<(Self, File), OpenError> {
        let (conn, lock) = open::open(options, now)?;
        Ok((Self { conn }, lock))
    }

    /// Opens a reader's connection, which may not write.
    pub(in crate::store) fn reader(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { conn: files::open_reader(path)? })
    }

    /// Begins a transaction that writes.
    pub(in crate::store) fn begin(&self) -> Result<(), StoreError> {
        control(&self.conn, "BEGIN IMMEDIATE")
    }

    /// Begins a transaction that sees one state, whatever is written meanwhile.
    pub(in crate::store) fn begin_read(&self) -> Result<(), StoreError> {
        control(&self.conn, "BEGIN")
    }

    pub(in crate::store) fn commit(&self) -> Result<(), StoreError> {
        control(&self.conn, "COMMIT")
    }

    /// Ends the transaction, if one is open: a commit that failed may leave it open, and a full disk may end
    /// it (SQLite, lang_transaction §3).
    pub(in crate::store) fn clear(&self) -> Result<(), StoreError> {
        if self.in_transaction() { control(&self.conn, "ROLLBACK") } else { Ok(()) }
    }

    pub(in crate::store) fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    /// Begins a part of the transaction that can be undone alone; there is one at a time.
    pub(in crate::store) fn savepoint(&self) -> Result<(), StoreError> {
        control(&self.conn, "SAVEPOINT job")
    }

    pub(in crate::store) fn rollback_to_savepoint(&self) -> Result<(), StoreError> {
        control(&self.conn, "ROLLBACK TO job")
    }

    pub(in crate::store) fn release_savepoint(&self) -> Result<(), StoreError> {
        control(&self.conn, "RELEASE job")
    }

    /// Returns the open transaction as callers with SQL see it.
    pub(in crate::store) fn tx(&self) -> SqliteTx<'_> {
        SqliteTx::new(&self.conn)
    }

    /// Copies as much of the log as possible into the database, which makes room for new writes.
    pub(in crate::store) fn copy_log(&self) -> Result<(), StoreError> {
        self.checkpoint("PASSIVE")
    }

    /// Like [`Self::copy_log`], but copies all of it: this only saves the next start from reading the log.
    pub(in crate::store) fn empty_log(&self) -> Result<(), StoreError> {
        self.checkpoint("TRUNCATE")
    }

    fn checkpoint(&self, mode: &str) -> Result<(), StoreError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        Ok(self.conn.query_row(&sql, [], |_| Ok(()))?)
    }
}

#[cfg(test)]
impl Engine {
    /// A database in memory with these tables.
    pub(in crate::store) fn in_memory(tables: &str) -> Self {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(tables).unwrap();
        Self { conn }
    }

    /// Like [`Self::in_memory`], with the server's tables.
    pub(in crate::store) fn migrated_in_memory() -> Self {
        let mut engine = Self::in_memory("PRAGMA foreign_keys = ON");
        let all = crate::store::migrate::MIGRATIONS;
        super::schema::migrate(&mut engine.conn, Path::new("memory"), all, 0).unwrap();
        engine
    }

    /// Sets whether it refuses writes.
    pub(in crate::store) fn refuse_writes(&self, refuse: bool) {
        self.conn.pragma_update(None, "query_only", refuse).unwrap();
    }
}
