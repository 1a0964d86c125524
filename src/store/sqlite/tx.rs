//! [`Tx`] over SQLite.

use crate::store::tx::{Row, StoreError, Tx, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection};

/// The open transaction of a connection.
pub(in crate::store) struct SqliteTx<'c> {
    pub(in crate::store) conn: &'c Connection,
    /// Whether [`Tx::access_changed`] was called.
    pub(in crate::store) access_changed: bool,
}

impl<'c> SqliteTx<'c> {
    pub(in crate::store) fn new(conn: &'c Connection) -> Self {
        Self { conn, access_changed: false }
    }
}

impl Tx for SqliteTx<'_> {
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        Ok(bound(self.conn, sql, params)?.raw_execute()?)
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = bound(self.conn, sql, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            each(&SqliteRow(row))?;
        }
        Ok(())
    }

    fn access_changed(&mut self) {
        self.access_changed = true;
    }
}

/// Runs a statement that begins or ends a transaction.
pub(in crate::store) fn control(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.raw_execute()?;
    Ok(())
}

/// Prepares a statement and binds by name. To SQLite `$2` is a parameter's name, not its number: in `$2, $1`
/// the first slot is `$2`. Asking SQLite for the slot of each name needs no SQL parser here and cannot be
/// misled by a string literal.
fn bound<'c>(
    conn: &'c Connection,
    sql: &str,
    params: &[Value<'_>],
) -> Result<CachedStatement<'c>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    if statement.parameter_count() != params.len() {
        return Err(StoreError::Other(format!(
            "{} parameters given, {} wanted: {sql}",
            params.len(),
            statement.parameter_count()
        )));
    }
    for (at, (value, name)) in params.iter().zip(NAMES).enumerate() {
        // Mostly they are in order, and looking one up takes a copy of its name.
        let slot = match statement.parameter_name(at + 1) {
            Some(there) if there == name => at + 1,
            _ => statement
                .parameter_index(name)?
                .ok_or_else(|| StoreError::Other(format!("no parameter {name}: {sql}")))?,
        };
        statement.raw_bind_parameter(slot, borrowed(value))?;
    }
    Ok(statement)
}

fn borrowed<'v>(value: &'v Value<'_>) -> ToSqlOutput<'v> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Int(int) => ValueRef::Integer(*int),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

struct SqliteRow<'r, 's>(&'r rusqlite::Row<'s>);

impl Row for SqliteRow<'_, '_> {
    fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.0.get(column)?)
    }
    fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.0.get(column)?)
    }
    fn text(&self, column: usize) -> Result<String, StoreError> {
        Ok(self.0.get(column)?)
    }
    fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.0.get(column)?)
    }
    fn blob(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        Ok(self.0.get(column)?)
    }
    fn opt_blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(column)?)
    }
}

/// More parameters than any statement has.
const NAMES: [&str; 20] = [
    "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15",
    "$16", "$17", "$18", "$19", "$20",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tx::{query_all, query_one, query_optional};

    fn check(sql: &str, params: &[Value<'_>], expected: &str) {
        let conn = Connection::open_in_memory().unwrap();
        let mut tx = SqliteTx::new(&conn);
        let got = query_one(&mut tx, sql, params, |row| row.text(0));
        assert_eq!(got.unwrap(), expected, "{sql}");
    }

    #[test]
    fn a_number_names_its_parameter_wherever_it_stands() {
        check("SELECT $1 || $2", &["a".into(), "b".into()], "ab");
        check("SELECT $2 || $1", &["a".into(), "b".into()], "ba");
        check("SELECT $2 || $1 || $2", &["a".into(), "b".into()], "bab");
        check("SELECT '$2' || $1", &["a".into()], "$2a");
        check("SELECT $10||$9||$8||$7||$6||$5||$4||$3||$2||$1", &letters(10), "jihgfedcba");
    }

    fn letters(n: u8) -> Vec<Value<'static>> {
        (0..n).map(|i| char::from(b'a' + i).to_string().into()).collect()
    }

    #[test]
    fn too_many_or_too_few_parameters_are_refused() {
        let conn = Connection::open_in_memory().unwrap();
        let mut tx = SqliteTx::new(&conn);
        for params in [&[][..], &[Value::Null, Value::Null]] {
            assert!(tx.execute("SELECT $1", params).is_err());
        }
        assert!(tx.execute("SELECT $2", &[Value::Null]).is_err());
    }

    #[test]
    fn each_type_reads_back_and_another_is_an_error() {
        let conn = Connection::open_in_memory().unwrap();
        let mut tx = SqliteTx::new(&conn);
        let params = [Value::Int(1), "t".into(), vec![7_u8].into(), Value::Null];
        tx.query("SELECT $1, $2, $3, $4", &params, &mut |row| {
            assert!(row.bool(0)?);
            assert_eq!((row.int(0)?, row.text(1)?, row.blob(2)?), (1, "t".into(), vec![7]));
            assert_eq!((row.opt_int(3)?, row.opt_text(3)?, row.opt_blob(3)?), (None, None, None));
            assert!(row.int(1).is_err() && row.int(3).is_err() && row.text(9).is_err());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn helpers_give_none_one_or_all() {
        let conn = Connection::open_in_memory().unwrap();
        let mut tx = SqliteTx::new(&conn);
        let none = "SELECT 1 WHERE 1 = 0";
        assert_eq!(query_optional(&mut tx, none, &[], |row| row.int(0)), Ok(None));
        assert!(query_one(&mut tx, none, &[], |row| row.int(0)).is_err());
        let two = "SELECT 1 UNION SELECT 2 ORDER BY 1";
        assert_eq!(query_optional(&mut tx, two, &[], |row| row.int(0)), Ok(Some(1)));
        assert_eq!(query_all(&mut tx, two, &[], |row| row.int(0)), Ok(vec![1, 2]));
    }
}
