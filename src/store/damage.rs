//! Rows that cannot be read. Only the row itself is lost: it is left out, and this is logged once.

use super::ids::Owner;
use super::tx::{Row, StoreError, Tx};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// A table, and the owner of the rows that were read.
pub type Of<W> = (&'static str, W);

/// Returns the rows of the result that can be read; the SQL bounds their number.
pub fn query_sound<T>(
    tx: &mut dyn Tx,
    of: Of<impl Into<Owner> + Copy>,
    sql: &str,
    params: &[super::Value<'_>],
    mut map: impl FnMut(&dyn Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    tx.query(sql, params, &mut |row| {
        all.extend(sound(of, map(row)));
        Ok(())
    })?;
    Ok(all)
}

/// Returns the first row of the result that can be read, if there is one.
pub fn query_sound_one<T>(
    tx: &mut dyn Tx,
    of: Of<impl Into<Owner> + Copy>,
    sql: &str,
    params: &[super::Value<'_>],
    map: impl FnMut(&dyn Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    Ok(query_sound(tx, of, sql, params, map)?.into_iter().next())
}

/// Returns what was read of a row; on failure logs it and returns none. Only for errors of the row: an error
/// of the engine concerns the whole query.
pub fn sound<T>(of: Of<impl Into<Owner> + Copy>, read: Result<T, StoreError>) -> Option<T> {
    let said = |error: &StoreError| match error {
        // The display texts of these errors sound worse than one damaged row.
        StoreError::Corrupt(what) | StoreError::Other(what) => note(of, what),
        error => note(of, error),
    };
    read.inspect_err(said).ok()
}

/// Logs once that a row of an account, a room or a service is damaged.
pub fn note((table, owner): Of<impl Into<Owner>>, what: &dyn Display) {
    let owner = owner.into();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= SAID_MAX || !said.insert((table, owner)) {
        return;
    }
    let last = said.len() == SAID_MAX;
    drop(said);
    let (account, room, service) = match owner {
        Owner::Account(account) => (Some(account.0), None, None),
        Owner::Room(room) => (None, Some(room.0), None),
        Owner::Service(number) => (None, None, Some(number)),
    };
    tracing::error!(
        table,
        account,
        room,
        service,
        %what,
        "a damaged row of the database was left out: look for more with `stonechat check --deep`, \
         and restore a backup if it matters (docs/operations.md, \"Damaged rows\")"
    );
    if last {
        tracing::error!("there are damaged rows of more accounts; no further ones are named");
    }
}

/// Tables and owners that were logged in this run of the server.
static SAID: Mutex<BTreeSet<(&str, Owner)>> = Mutex::new(BTreeSet::new());
/// Maximum number of entries: a file that is damaged everywhere must not fill the memory or the log.
const SAID_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        testing::account_tx(|tx, me| {
            let sql = "SELECT 1 UNION ALL SELECT 'x' UNION ALL SELECT NULL UNION ALL SELECT 2";
            let read = |row: &dyn Row| row.int(0);
            assert_eq!(query_sound(tx, ("t", me), sql, &[], read), Ok(vec![1, 2]));
            let sql = "SELECT 'x'";
            assert_eq!(query_sound_one(tx, ("t", me), sql, &[], read), Ok(None));
            assert!(query_sound(tx, ("t", me), "SELECT nothing", &[], read).is_err());
        });
    }
}
