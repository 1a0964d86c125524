//! The messages of strangers that wait, in the store.

use crate::router::passage::Row as Kept;
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, query_all};

/// Who waits: an address, how many messages, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub jid: String,
    pub count: i64,
    pub since: i64,
}

/// Keeps a message: written in the place of the row that it would have had. The newest of each sender stay, then the
/// next of each, as long as there is room: so a few who write much do not fill the place of one who writes once.
pub(super) fn hold(tx: &mut dyn Tx, row: &Kept<'_>) -> Result<(), StoreError> {
    let (jid, stanza) = (row.stanza.from().bare_str(), row.stanza.frame().to_vec());
    let account = row.account;
    let params =
        [account.into(), row.seq.into(), jid.into(), row.at.into(), stanza.as_slice().into()];
    tx.execute(PUT, &params)?;
    tx.execute(LEAVE_OUT_OF_ONE, &[account.into(), jid.into(), OF_ONE_MAX.into()])?;
    tx.execute(LEAVE_OUT, &[account.into(), OF_ALL_MAX.into()])?;
    Ok(())
}

pub(super) fn waiting(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<Waiting>, StoreError> {
    query_all(tx, WAITING, &[account.into()], |row| {
        Ok(Waiting { jid: row.text(0)?, count: row.int(1)?, since: row.int(2)? })
    })
}

/// One sender's messages in order: position, when it came, the stanza.
pub(super) fn of_one(
    tx: &mut dyn Tx,
    account: AccountId,
    jid: &str,
) -> Result<Vec<(i64, i64, Vec<u8>)>, StoreError> {
    let read = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?, row.blob(2)?));
    query_all(tx, OF_ONE, &[account.into(), jid.into()], read)
}

/// Deletes one sender's messages up to this position.
pub(super) fn forget(
    tx: &mut dyn Tx,
    account: AccountId,
    jid: &str,
    last: i64,
) -> Result<(), StoreError> {
    tx.execute(FORGET, &[account.into(), jid.into(), last.into()]).map(drop)
}

/// An account that has not been told of somebody.
pub(super) fn untold(tx: &mut dyn Tx) -> Result<Option<AccountId>, StoreError> {
    let found = query_all(tx, UNTOLD, &[], |row| row.int(0))?;
    Ok(found.first().copied().map(AccountId))
}

pub(super) fn told(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(TOLD, &[account.into()]).map(drop)
}

/// Deletes at most `limit` messages that came before; returns their number.
pub(super) fn forget_before(
    tx: &mut dyn Tx,
    before: i64,
    limit: usize,
) -> Result<usize, StoreError> {
    tx.execute(EXPIRE, &[before.into(), limit.into()])
}

/// Messages of one sender that wait.
const OF_ONE_MAX: usize = 10;
/// Messages that wait for one account.
const OF_ALL_MAX: usize = 100;

crate::store::sql! {
    PUT = "INSERT INTO stranger_message (account, seq, jid, at, stanza, told)
        VALUES ($1, $2, $3, $4, $5, 0)";
    LEAVE_OUT_OF_ONE = "DELETE FROM stranger_message WHERE account = $1 AND jid = $2 AND seq NOT IN
        (SELECT seq FROM stranger_message WHERE account = $1 AND jid = $2
            ORDER BY seq DESC LIMIT $3)";
    LEAVE_OUT = "DELETE FROM stranger_message WHERE account = $1 AND seq NOT IN
        (SELECT seq FROM stranger_message AS one WHERE account = $1
            ORDER BY (SELECT COUNT(*) FROM stranger_message AS newer
                WHERE newer.account = $1 AND newer.jid = one.jid AND newer.seq > one.seq),
                seq DESC
            LIMIT $2)";
    WAITING = "SELECT jid, COUNT(*), MIN(at) FROM stranger_message WHERE account = $1
        GROUP BY jid ORDER BY jid";
    OF_ONE = "SELECT seq, at, stanza FROM stranger_message WHERE account = $1 AND jid = $2
        ORDER BY seq";
    FORGET = "DELETE FROM stranger_message WHERE account = $1 AND jid = $2 AND seq <= $3";
    UNTOLD = "SELECT account FROM stranger_message WHERE told = 0 LIMIT 1";
    TOLD = "UPDATE stranger_message SET told = 1 WHERE told = 0 AND account = $1";
    EXPIRE = "DELETE FROM stranger_message WHERE (account, seq) IN
        (SELECT account, seq FROM stranger_message WHERE at < $1 LIMIT $2)";
    WEIGH = "SELECT COALESCE(SUM(OCTET_LENGTH(stanza)), 0), COUNT(*)
        FROM stranger_message WHERE account = $1";
}

/// For the quota.
pub(super) const WEIGHT: &str = WEIGH;
