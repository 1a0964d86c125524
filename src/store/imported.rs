//! Marks of what an import has taken once (`moving::marks`).

use super::tx::{StoreError, Tx, query_optional};

/// Sets a mark; false if it was set before.
pub fn put(tx: &mut dyn Tx, mark: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(PUT, &[mark.into()])? > 0)
}

/// Whether a mark is set.
pub fn has(tx: &mut dyn Tx, mark: i64) -> Result<bool, StoreError> {
    Ok(query_optional(tx, HAS, &[mark.into()], |row| row.int(0))?.is_some())
}

/// Takes a mark back.
pub fn forget(tx: &mut dyn Tx, mark: i64) -> Result<(), StoreError> {
    tx.execute(FORGET, &[mark.into()]).map(drop)
}

super::sql! {
    PUT = "INSERT INTO imported (mark) VALUES ($1) ON CONFLICT (mark) DO NOTHING";
    HAS = "SELECT 1 FROM imported WHERE mark = $1";
    FORGET = "DELETE FROM imported WHERE mark = $1";
}
