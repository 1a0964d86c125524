//! The interface for callers with SQL: [`Tx`], [`Row`], [`Value`], [`StoreError`]. It names no engine.
//!
//! The SQL is the subset that SQLite and PostgreSQL share: `$1` parameters, `ON CONFLICT`,
//! `RETURNING`, row values, booleans as 0 and 1.

use std::borrow::Cow;

/// A transaction, or the part of one that belongs to one closure.
pub trait Tx {
    /// Runs a statement that returns no rows; returns the number of rows it changed.
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError>;

    /// Runs a statement and passes each of its rows to `each`, whose error ends the query.
    fn query(
        &mut self,
        sql: &str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Declares that the transaction changes how an account is entered: its keys, whether it is disabled, its
    /// deletion. Caches of these are invalidated by the commit ([`super::Store::access_version`]).
    fn access_changed(&mut self) {}
}

/// One row of a result. Columns count from 0; a column of another type is an error.
pub trait Row {
    /// An integer that is not NULL.
    fn int(&self, column: usize) -> Result<i64, StoreError>;
    /// An integer or NULL.
    fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError>;
    /// A text that is not NULL.
    fn text(&self, column: usize) -> Result<String, StoreError>;
    /// A text or NULL.
    fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError>;
    /// Bytes that are not NULL.
    fn blob(&self, column: usize) -> Result<Vec<u8>, StoreError>;
    /// Bytes or NULL.
    fn opt_blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError>;
    /// 0 or 1.
    fn bool(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }
}

/// Returns the first row of the result, or `None`.
pub fn query_optional<T>(
    tx: &mut dyn Tx,
    sql: &str,
    params: &[Value<'_>],
    map: impl Fn(&dyn Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut found = None;
    tx.query(sql, params, &mut |row| {
        if found.is_none() {
            found = Some(map(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns the first row of the result; it is an error if there is none.
pub fn query_one<T>(
    tx: &mut dyn Tx,
    sql: &str,
    params: &[Value<'_>],
    map: impl Fn(&dyn Row) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    query_optional(tx, sql, params, map)?
        .ok_or_else(|| StoreError::Other("a query that always has a row gave none".to_owned()))
}

/// Returns all rows of the result; the SQL bounds their number.
pub fn query_all<T>(
    tx: &mut dyn Tx,
    sql: &str,
    params: &[Value<'_>],
    map: impl Fn(&dyn Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    tx.query(sql, params, &mut |row| {
        all.push(map(row)?);
        Ok(())
    })?;
    Ok(all)
}

/// A parameter. `$1` is the first of the slice, wherever it is in the SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL
    Null,
    /// Any integer, boolean or time.
    Int(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Cow<'a, [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Value<'_> {
    fn from(int: u32) -> Self {
        Self::Int(i64::from(int))
    }
}

impl From<usize> for Value<'_> {
    fn from(int: usize) -> Self {
        Self::Int(i64::try_from(int).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Blob(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(Cow::Owned(bytes))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Why a read or a write did not happen. The text is for the operator: what is wrong and what to do; peers
/// get a stanza error instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error(
        "the disk that holds the database is full: nothing is saved until space is freed, \
         then the server goes on by itself"
    )]
    Full,
    /// The file or its file system cannot be written.
    #[error(
        "the database is read-only: check the permissions of its file and folder, and whether the \
         file system is mounted read-only"
    )]
    ReadOnly,
    /// The disk failed.
    #[error("the disk failed under the database ({0}): check the system's log and the disk")]
    Io(String),
    /// The file is damaged.
    #[error(
        "the database is damaged ({0}): run `stonechat check --deep`, and restore a backup if it \
         finds errors"
    )]
    Corrupt(String),
    /// More work waits than the bound allows.
    #[error("too much work waits for the database: the disk is too slow for the load")]
    QueueFull,
    /// The store is closing.
    #[error("the database is closed: the server is stopping")]
    Closed,
    /// Another program has held the database for too long.
    #[error("another program keeps the database locked: close it, and try again")]
    Busy,
    /// The schema forbids it: a row that exists, an account that is gone.
    #[error("the database refused a row ({0})")]
    Constraint(String),
    /// The closure panicked; its changes are undone.
    #[error("a database operation failed inside: this is a bug, please report it")]
    Panicked,
    /// Any other error of the engine.
    #[error("the database answered: {0}")]
    Other(String),
}

impl StoreError {
    /// Whether the disk accepts no writes from any job.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Full | Self::ReadOnly | Self::Io(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_made_from_what_callers_have() {
        for (value, expected) in [
            (Value::from(3_i64), Value::Int(3)),
            (Value::from(true), Value::Int(1)),
            (Value::from(None::<i64>), Value::Null),
            (Value::from(Some("a")), Value::Text("a".into())),
            (Value::from(vec![1_u8]), Value::Blob(Cow::Borrowed(&[1]))),
        ] {
            assert_eq!(value, expected);
        }
    }
}
