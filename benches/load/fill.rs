//! Many accounts at once, written into the database of a Stonechat that is stopped: in one transaction,
//! with the keys of an account that was made over the wire.

use super::fault::{Fault, Res, fault};
use rusqlite::{Connection, params};
use std::path::Path;
use std::time::Instant;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self(format!("the database: {error}"))
    }
}

/// The name of a filled account.
pub fn filled(number: usize) -> String {
    format!("f{number}")
}

/// Makes accounts [`filled`] `0..count` beside `u0`, whose host and keys they get; the first ones, which
/// will be online, with so many contacts each.
pub fn fill(path: &Path, count: usize, contacts: usize) -> Res<()> {
    let begun = Instant::now();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (count, contacts) = (number(count), number(contacts));
    if !path.exists() {
        return fault(format!("{}: there is no database", path.display()));
    }
    let mut conn = Connection::open(path)?;
    // Whatever becomes of a throw-away database, it is made anew.
    conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA cache_size = -200000")?;
    let tx = conn.transaction()?;
    let (like, host): (i64, String) =
        tx.query_row(LIKE, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let first: i64 = tx.query_row(FIRST, [], |row| row.get(0))?;
    tx.execute(ACCOUNTS, params![count, host, first])?;
    tx.execute(KEYS, params![like, first])?;
    tx.execute(CONTACTS, params![contacts, host, first, WITH_CONTACTS])?;
    tx.commit()?;
    let keys: i64 = conn.query_row(COUNT, [first], |row| row.get(0))?;
    println!("{count} accounts filled in {:.1} s, {keys} keys", begun.elapsed().as_secs_f64());
    Ok(())
}

/// As many as may connect under the limit of open files.
const WITH_CONTACTS: i64 = 20_000;
const LIKE: &str = "SELECT id, host FROM account WHERE localpart = 'u0'";
const FIRST: &str = "SELECT max(id) + 1 FROM account";
const COUNT: &str = "SELECT count(*) FROM credential WHERE account >= ?1";
const ACCOUNTS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 0 WHERE ?1 > 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
    INSERT INTO account (id, localpart, host, created) SELECT ?3 + i, 'f' || i, ?2, 0 FROM n";
const KEYS: &str = "
    INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key)
    SELECT a.id, c.hash, c.salt, c.iterations, c.stored_key, c.server_key
    FROM account a, credential c WHERE a.id >= ?2 AND c.account = ?1";
const CONTACTS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 0 WHERE ?1 > 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
    INSERT INTO roster_item (account, jid, name, state, approved, listed, ver)
    SELECT a.id, 'contact' || i || '@' || ?2, 'Contact ' || i, 'none', 0, 1, i + 1
    FROM account a, n WHERE a.id >= ?3 AND a.id < ?3 + ?4";
