//! Messages owed to an account (XEP-0160; promise.md 1-3): kept until a session confirms them.

use super::accounts::AccountId;
use super::tx::{StoreError, Tx, query_one};

/// A message owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// Its place: rising, unique in the server.
    pub seq: i64,
    /// When it came, in microseconds since 1970.
    pub at: i64,
    /// The whole stanza.
    pub stanza: Vec<u8>,
}

/// Adds a message; `seq` comes from [`next_seq`](super::Store::next_seq).
pub fn append(
    tx: &mut dyn Tx,
    account: AccountId,
    seq: i64,
    stanza: &[u8],
    at: i64,
) -> Result<(), StoreError> {
    let params = [seq.into(), account.into(), at.into(), stanza.len().into(), stanza.into()];
    tx.execute(APPEND, &params)?;
    Ok(())
}

/// Some messages, and whether there may be more behind them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In order.
    pub rows: Vec<MailRow>,
    /// The page was full.
    pub more: bool,
}

/// The messages after one place up to another, that one too, in order: `limit` at most, and no
/// further one once there are `bytes` of them.
pub fn page(
    tx: &mut dyn Tx,
    account: AccountId,
    after_seq: i64,
    up_to_seq: i64,
    limit: usize,
    bytes: usize,
) -> Result<Page, StoreError> {
    let params = [account.into(), after_seq.into(), up_to_seq.into(), limit.into()];
    let mut page = Page::default();
    let mut size = 0;
    tx.query(PAGE, &params, &mut |row| {
        page.more |= size >= bytes;
        if !page.more {
            let row = MailRow { seq: row.int(0)?, at: row.int(1)?, stanza: row.blob(2)? };
            size += row.stanza.len();
            page.rows.push(row);
        }
        Ok(())
    })?;
    page.more |= page.rows.len() >= limit;
    Ok(page)
}

/// Forgets messages that reached the account; unknown ones and other accounts' are left alone.
/// Gives how many there were.
pub fn confirm(tx: &mut dyn Tx, account: AccountId, seqs: &[i64]) -> Result<usize, StoreError> {
    let mut confirmed = 0;
    for seq in seqs {
        confirmed += tx.execute(CONFIRM, &[account.into(), (*seq).into()])?;
    }
    Ok(confirmed)
}

/// How many messages wait, and how many bytes they have; read from the index alone.
pub fn usage(tx: &mut dyn Tx, account: AccountId) -> Result<(usize, usize), StoreError> {
    let size = |int| usize::try_from(int).unwrap_or(0);
    query_one(tx, USAGE, &[account.into()], |row| Ok((size(row.int(0)?), size(row.int(1)?))))
}

/// The last place that is taken in the whole server; 0 if none is.
pub fn last_seq(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, LAST_SEQ, &[], |row| row.int(0))
}

/// Deletes the oldest messages of an account, `limit` at most, and gives their number: a big
/// mailbox is emptied in several short writes.
pub fn purge(tx: &mut dyn Tx, account: AccountId, limit: usize) -> Result<usize, StoreError> {
    tx.execute(PURGE, &[account.into(), limit.into()])
}

super::sql! {
    APPEND = "INSERT INTO mailbox (seq, account, at, size, stanza) VALUES ($1, $2, $3, $4, $5)";
    PAGE = "SELECT seq, at, stanza FROM mailbox
        WHERE account = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    CONFIRM = "DELETE FROM mailbox WHERE account = $1 AND seq = $2";
    USAGE = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM mailbox
        WHERE account = $1";
    LAST_SEQ = "SELECT COALESCE(MAX(seq), 0) FROM mailbox";
    PURGE = "DELETE FROM mailbox WHERE seq IN
        (SELECT seq FROM mailbox WHERE account = $1 ORDER BY seq LIMIT $2)";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn pages_come_in_order_and_confirmed_rows_go() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            for seq in [30, 10, 20, 40] {
                append(tx, me, seq, b"12345", seq + 1).unwrap();
            }
            append(tx, other, 25, b"x", 0).unwrap();
            let seqs = |tx: &mut dyn Tx, after, to, limit| -> Vec<i64> {
                let page = page(tx, me, after, to, limit, 99).unwrap();
                page.rows.iter().map(|row| row.seq).collect()
            };
            assert_eq!(seqs(tx, 0, i64::MAX, 9), [10, 20, 30, 40]);
            assert_eq!(seqs(tx, 10, 30, 9), [20, 30]);
            assert_eq!(seqs(tx, 0, i64::MAX, 1), [10]);
            let first = page(tx, me, 0, 10, 2, 9).unwrap();
            let row = MailRow { seq: 10, at: 11, stanza: b"12345".to_vec() };
            assert_eq!(first, Page { rows: vec![row], more: false });
            for (limit, bytes, rows, more) in
                [(9, 5, 1, true), (9, 6, 2, true), (2, 99, 2, true), (9, 20, 4, false)]
            {
                let page = page(tx, me, 0, i64::MAX, limit, bytes).unwrap();
                assert_eq!((page.rows.len(), page.more), (rows, more), "{limit} {bytes}");
            }
            assert_eq!(usage(tx, me), Ok((4, 20)));
            assert_eq!(last_seq(tx), Ok(40));

            assert_eq!(confirm(tx, me, &[20, 25, 20, 99]), Ok(1));
            assert_eq!(usage(tx, other), Ok((1, 1)));
            assert_eq!(seqs(tx, 0, i64::MAX, 9), [10, 30, 40]);
            assert_eq!(purge(tx, me, 2), Ok(2));
            assert_eq!(seqs(tx, 0, i64::MAX, 9), [40]);
            assert_eq!(purge(tx, me, 2), Ok(1));
            assert_eq!(usage(tx, me), Ok((0, 0)));
        });
    }

    #[test]
    fn a_place_is_taken_once() {
        testing::account_tx(|tx, me| {
            assert_eq!(last_seq(tx), Ok(0));
            append(tx, me, 1, b"x", 0).unwrap();
            assert!(append(tx, me, 1, b"y", 0).is_err());
        });
    }
}
