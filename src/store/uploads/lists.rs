//! Files as their owners and the operator see them: lists, sums, and what they delete.

use super::super::ids::AccountId;
use super::super::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};
use super::rows::{Kind, subtract};

/// A file in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// By which it is found.
    pub id: String,
    /// What for.
    pub kind: Kind,
    /// Its name, for people.
    pub name: String,
    /// In bytes.
    pub size: i64,
    /// When it came, in microseconds since 1970.
    pub made: i64,
    /// When it has to be gone, as its owner said; `i64::MAX`: whenever.
    pub expires: i64,
}

/// Some files together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// Files of an account that came before a time, the newest first.
pub fn list(
    tx: &mut dyn Tx,
    account: AccountId,
    before: i64,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    query_all(tx, LIST, &[account.into(), before.into(), limit.into()], |row| {
        Ok(Listed {
            id: row.text(0)?,
            kind: Kind::of(row.int(1)?),
            name: row.text(2)?,
            size: row.int(3)?,
            made: row.int(4)?,
            expires: row.int(5)?,
        })
    })
}

/// All files of an account together.
pub fn sum(tx: &mut dyn Tx, account: AccountId) -> Result<Sum, StoreError> {
    query_one(tx, SUM, &[account.into()], |row| Ok(Sum { files: row.int(0)?, bytes: row.int(1)? }))
}

/// What accounts have, by their numbers.
type Sums = Vec<(AccountId, Sum)>;

/// Accounts that have files, behind this one in the order of their keys; the last one looked at, if there may be more.
pub fn owners(
    tx: &mut dyn Tx,
    mut after: AccountId,
    limit: usize,
) -> Result<(Sums, Option<AccountId>), StoreError> {
    let mut found = Vec::new();
    for _ in 0..limit {
        let next = query_one(tx, NEXT, &[after.into()], |row| row.opt_int(0))?;
        let Some(next) = next else { return Ok((found, None)) };
        after = AccountId(next);
        let own = sum(tx, after)?;
        if own.files > 0 {
            found.push((after, own));
        }
    }
    Ok((found, Some(after)))
}

/// Marks those of these files that are the account's, to be deleted; how many.
pub fn bury_own(tx: &mut dyn Tx, account: AccountId, ids: &[String]) -> Result<usize, StoreError> {
    let mut count = 0;
    for id in ids {
        let params = [id.into(), account.into()];
        count += marked(tx, BURY_OWN, &params)?;
    }
    Ok(count)
}

/// Marks these files, whosever they are; how many.
pub fn bury_some(tx: &mut dyn Tx, ids: &[String]) -> Result<usize, StoreError> {
    let mut count = 0;
    for id in ids {
        count += marked(tx, BURY_ANY, &[id.into()])?;
    }
    Ok(count)
}

/// Whether the statement marked a file.
pub(super) fn marked(
    tx: &mut dyn Tx,
    sql: &'static str,
    params: &[super::super::tx::Value<'_>],
) -> Result<usize, StoreError> {
    let size = query_optional(tx, sql, params, |row: &dyn Row| row.int(0))?;
    subtract(tx, size)?;
    Ok(usize::from(size.is_some()))
}

super::super::sql! {
    LIST = "SELECT id, kind, name, size, made, expires FROM upload WHERE account = $1 AND made < $2
        AND token IS NULL AND expires > 0 ORDER BY made DESC LIMIT $3";
    SUM = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM upload WHERE account = $1
        AND token IS NULL AND expires > 0";
    NEXT = "SELECT MIN(account) FROM upload WHERE account > $1";
    BURY_OWN = "UPDATE upload SET expires = 0 WHERE id = $1 AND account = $2 AND token IS NULL
        AND expires > 0 RETURNING size";
    BURY_ANY = "UPDATE upload SET expires = 0 WHERE id = $1 AND token IS NULL AND expires > 0
        RETURNING size";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::rows::{dead, finish, total};
    use super::super::slots::{Bounds, NewSlot, slot};
    use super::*;

    fn file(tx: &mut dyn Tx, id: &str, account: i64, size: i64, at: i64) {
        let most = i64::MAX;
        let bounds = Bounds {
            day_bytes: most,
            day_files: most,
            account_bytes: most,
            permanent_bytes: most,
            bytes: most,
            slot: 300,
        };
        let new = NewSlot {
            id: id.to_owned(),
            account: AccountId(account),
            kind: Kind::Message,
            name: format!("{id}.png"),
            media_type: None,
            size,
            expires: i64::MAX,
            token: "t".to_owned(),
        };
        slot(tx, &new, &bounds, at).unwrap();
        assert!(id.starts_with("slot") || finish(tx, id, None, at).unwrap());
    }

    #[test]
    fn an_owner_sees_and_deletes_what_is_there_and_its_own() {
        testing::tx(|tx| {
            for (id, account, size, at) in
                [("a", 1, 10, 1), ("b", 2, 20, 2), ("c", 1, 30, 3), ("slot", 1, 40, 4)]
            {
                file(tx, id, account, size, at);
            }
            let ids = |tx: &mut dyn Tx, before, limit| -> Vec<String> {
                let found = list(tx, AccountId(1), before, limit).unwrap();
                found.into_iter().map(|file| file.id).collect()
            };
            assert_eq!(ids(tx, i64::MAX, 9), ["c", "a"]);
            assert_eq!(ids(tx, i64::MAX, 1), ["c"]);
            assert_eq!(ids(tx, 3, 9), ["a"]);
            let all = [(AccountId(1), Sum { files: 2, bytes: 40 })];
            let two = (AccountId(2), Sum { files: 1, bytes: 20 });
            assert_eq!(owners(tx, AccountId(0), 9).unwrap(), (vec![all[0], two], None));
            assert_eq!(owners(tx, AccountId(0), 1).unwrap(), (all.to_vec(), Some(AccountId(1))));
            let wanted = ["a", "b", "slot", "none"].map(str::to_owned);
            assert_eq!(bury_own(tx, AccountId(1), &wanted).unwrap(), 1);
            assert_eq!(bury_own(tx, AccountId(1), &wanted).unwrap(), 0);
            assert_eq!((dead(tx, 0, "").unwrap(), total(tx).unwrap()), (vec!["a".to_owned()], 90));
            assert_eq!(bury_some(tx, &wanted).unwrap(), 1);
            assert_eq!((ids(tx, i64::MAX, 9), total(tx).unwrap()), (vec!["c".to_owned()], 70));
        });
    }
}
