//! What operators did, and what was refused them.

use super::tx::{Row, StoreError, Tx, query_all, query_one};

/// A line of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Act {
    /// Its number; they rise.
    pub id: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Who: an account's address, a token's name, or the command line.
    pub actor: String,
    /// By which way.
    pub via: String,
    /// From which network address.
    pub address: Option<String>,
    /// What: a verb's name.
    pub verb: String,
    /// To whom or what.
    pub target: Option<String>,
    /// Why it was not done; none: it was.
    pub failure: Option<String>,
}

/// Adds one; its number is given here.
pub fn add(tx: &mut dyn Tx, act: &Act) -> Result<(), StoreError> {
    let Act { at, actor, via, address, verb, target, failure, .. } = act;
    let params = [
        (*at).into(),
        actor.into(),
        via.into(),
        address.as_deref().into(),
        verb.into(),
        target.as_deref().into(),
        failure.as_deref().into(),
    ];
    tx.execute(ADD, &params).map(drop)
}

/// At most `limit` lines of a number below `before`, the newest first.
pub fn list(tx: &mut dyn Tx, before: i64, limit: usize) -> Result<Vec<Act>, StoreError> {
    query_all(tx, LIST, &[before.into(), limit.into()], act)
}

/// Forgets lines from before `at`, and those beyond the newest [`ACTS_MAX`]; how many.
pub fn forget(tx: &mut dyn Tx, at: i64) -> Result<usize, StoreError> {
    let old = tx.execute(FORGET_OLD, &[at.into()])?;
    let newest = query_one(tx, NEWEST, &[], |row| row.opt_int(0))?.unwrap_or_default();
    Ok(old + tx.execute(FORGET_FIRST, &[newest.saturating_sub(ACTS_MAX).into()])?)
}

fn act(row: &dyn Row) -> Result<Act, StoreError> {
    Ok(Act {
        id: row.int(0)?,
        at: row.int(1)?,
        actor: row.text(2)?,
        via: row.text(3)?,
        address: row.opt_text(4)?,
        verb: row.text(5)?,
        target: row.opt_text(6)?,
        failure: row.opt_text(7)?,
    })
}

/// Lines that are kept, whatever their age.
pub const ACTS_MAX: i64 = 1_000_000;

super::sql! {
    ADD = "INSERT INTO audit (at, actor, via, address, verb, target, failure)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LIST = "SELECT id, at, actor, via, address, verb, target, failure FROM audit WHERE id < $1
        ORDER BY id DESC LIMIT $2";
    FORGET_OLD = "DELETE FROM audit WHERE at < $1";
    NEWEST = "SELECT max(id) FROM audit";
    FORGET_FIRST = "DELETE FROM audit WHERE id <= $1";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn the_newest_come_first_and_the_old_go() {
        testing::tx(|tx| {
            for at in 1..=3 {
                add(tx, &Act { at, verb: format!("v{at}"), ..Act::default() }).unwrap();
            }
            let verbs = |tx: &mut dyn Tx, before, limit| -> Vec<String> {
                list(tx, before, limit).unwrap().into_iter().map(|act| act.verb).collect()
            };
            assert_eq!(verbs(tx, i64::MAX, 2), ["v3", "v2"]);
            assert_eq!(verbs(tx, 2, 9), ["v1"]);
            assert_eq!(forget(tx, 3), Ok(2));
            assert_eq!(verbs(tx, i64::MAX, 9), ["v3"]);
        });
    }
}
