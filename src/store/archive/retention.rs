//! Deleting from archives, always the oldest rows first (XEP-0313 §3.2) and few in one write:
//! what is older than an account's retention, and all of a deleted account.

use super::super::ids::ArchiveId;
use super::super::search;
use super::super::tx::{StoreError, Tx, query_all, query_optional};
use super::{RowKind, unindexed};

/// What one write deletes at most: it keeps all other writes waiting.
pub const BATCH: usize = 500;

/// Deletes the oldest rows of an archive that were received before a time, `limit` at most, and gives
/// their number. Stops at the first row that is younger or still owed: nothing behind it may go without
/// a hole. One received later than `now` was so under a wrong clock, and holds up nothing.
pub fn purge(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    (before, now): (i64, i64),
    limit: usize,
) -> Result<usize, StoreError> {
    let oldest = [archive.into(), limit.into()];
    let rows = query_all(tx, OLDEST, &oldest, |row| {
        // What has no kind that anybody can read is owed to nobody.
        let kind = row.int(1).unwrap_or(RowKind::Received as i64);
        Ok((row.int(0)?, kind, row.int(2).unwrap_or(0)))
    })?;
    let Some(&(last, ..)) = rows.last() else { return Ok(0) };
    let owed = Owed::up_to(tx, archive, last)?;
    let old = |(_, _, at): &(i64, i64, i64)| *at < before;
    let goes = |row: &(i64, i64, i64)| !owed.has(row.0, row.1) && (old(row) || row.2 > now);
    match rows.into_iter().take_while(goes).filter(old).last() {
        Some((last, ..)) => delete(tx, archive, (i64::MIN, last)),
        None => Ok(0),
    }
}

/// Which rows of an archive are owed.
pub(super) struct Owed {
    mark: i64,
    listed: Vec<i64>,
}

impl Owed {
    pub(super) fn up_to(
        tx: &mut dyn Tx,
        archive: ArchiveId,
        last: i64,
    ) -> Result<Self, StoreError> {
        // A room is owed nothing.
        let Some(account) = archive.account() else {
            return Ok(Self { mark: i64::MAX, listed: vec![] });
        };
        let mark = query_optional(tx, MARK, &[account.into()], |row| row.int(0))?.unwrap_or(0);
        let listed = query_all(tx, LISTED, &[account.into(), last.into()], |row| row.int(0))?;
        Ok(Self { mark, listed })
    }

    pub(super) fn has(&self, seq: i64, kind: i64) -> bool {
        kind == RowKind::Owed as i64 && (seq > self.mark || self.listed.contains(&seq))
    }
}

/// Deletes the rows of an archive after a position, up to another.
pub(super) fn delete(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    (after, last): (i64, i64),
) -> Result<usize, StoreError> {
    search::forget_between(tx, archive, after, last)?;
    let rows = [archive.into(), after.into(), last.into()];
    tx.execute(PURGE_PEERS, &rows)?;
    let deleted = tx.execute(PURGE, &rows)?;
    tx.execute(PURGE_PLACES, &rows)?;
    if tx.execute(PURGE_BACKS, &rows)? > 0 && after > i64::MIN {
        // What follows may be of before what stays in front of them, too. A note too many does no harm.
        tx.execute(BACK_AFTER, &[archive.into(), last.into()])?;
    }
    Ok(deleted)
}

/// The next archive that has rows, in the order of keys: found by one step in the index each.
pub fn archives_after(
    tx: &mut dyn Tx,
    archive: ArchiveId,
) -> Result<Option<ArchiveId>, StoreError> {
    query_optional(tx, NEXT_ARCHIVE, &[archive.into()], |row| Ok(ArchiveId::from_key(row.int(0)?)))
}

/// Notes that the rows of an archive whose owner is no more are to be deleted, in the transaction that
/// deletes it.
pub fn leave(tx: &mut dyn Tx, archive: ArchiveId) -> Result<(), StoreError> {
    tx.execute(LEAVE, &[archive.into()])?;
    search::leave(tx, archive)
}

/// Which archives without an owner to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Those that nobody looked at since they were deleted.
    New,
    /// All that are not forgotten.
    All,
}

/// Accounts that left rows, `limit` at most, after this one.
pub fn left_after(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    which: Left,
    limit: usize,
) -> Result<Vec<ArchiveId>, StoreError> {
    let since: i64 = if which == Left::New { 0 } else { i64::MAX };
    let params = [archive.into(), limit.into(), since.into()];
    query_all(tx, LEFT_AFTER, &params, |row| Ok(ArchiveId::from_key(row.int(0)?)))
}

/// Deletes rows of such an archive, `limit` at most, and gives their number. The archive is
/// forgotten when there were none a time after the first look (`since`, both in microseconds):
/// a message may have been on its way while the owner was deleted.
pub fn clear(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    limit: usize,
    now: i64,
    patience: i64,
) -> Result<usize, StoreError> {
    unindexed::index_new(tx)?;
    // A slice of its index may have been on its way, too.
    search::leave(tx, archive)?;
    let oldest = [archive.into(), limit.into()];
    let last = query_all(tx, OLDEST, &oldest, |row| row.int(0))?.pop();
    let deleted = last.map_or(Ok(0), |last| delete(tx, archive, (i64::MIN, last)))?;
    tx.execute(LOOKED, &[archive.into(), now.into()])?;
    if deleted == 0 {
        let looked_by = now.saturating_sub(patience);
        tx.execute(FORGET, &[archive.into(), looked_by.into()])?;
    }
    Ok(deleted)
}

super::super::sql! {
    MARK = "SELECT seq FROM archive_mark WHERE account = $1";
    OLDEST = "SELECT seq, kind, at FROM archive_place WHERE archive = $1
        ORDER BY seq LIMIT $2";
    LISTED = "SELECT seq FROM owed_before WHERE account = $1 AND seq <= $2";
    PURGE_PEERS = "DELETE FROM archive_with WHERE archive = $1 AND (peer, seq) IN
        (SELECT r.peer, r.seq FROM archive_place p JOIN archive r ON r.seq = p.seq
        WHERE p.archive = $1 AND p.seq > $2 AND p.seq <= $3)";
    PURGE = "DELETE FROM archive WHERE seq IN
        (SELECT p.seq FROM archive_place p WHERE p.archive = $1 AND p.seq > $2 AND p.seq <= $3)";
    PURGE_PLACES = "DELETE FROM archive_place WHERE archive = $1 AND seq > $2 AND seq <= $3";
    PURGE_BACKS = "DELETE FROM archive_back WHERE archive = $1 AND seq > $2 AND seq <= $3";
    BACK_AFTER = "INSERT INTO archive_back (archive, seq) SELECT archive, seq FROM archive_place
        WHERE archive = $1 AND seq > $2 ORDER BY seq LIMIT 1 ON CONFLICT DO NOTHING";
    NEXT_ARCHIVE = "SELECT archive FROM archive_place WHERE archive > $1 ORDER BY archive LIMIT 1";
    LEAVE = "INSERT INTO archive_left (archive, since) VALUES ($1, 0) ON CONFLICT DO NOTHING";
    LEFT_AFTER = "SELECT archive FROM archive_left WHERE archive > $1 AND since <= $3
        ORDER BY archive LIMIT $2";
    LOOKED = "UPDATE archive_left SET since = $2 WHERE archive = $1 AND since = 0";
    FORGET = "DELETE FROM archive_left WHERE archive = $1 AND since <= $2";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::{Direction, Entry, Filter, append, page};
    use super::*;

    fn put(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, kind: RowKind) {
        let stanza = b"<message/>";
        append(tx, &Entry { seq, at: seq, archive, peer: "a@x", resource: "", kind, stanza })
            .unwrap();
    }

    fn left(tx: &mut dyn Tx, archive: ArchiveId) -> Vec<i64> {
        let page = page(tx, archive, &Filter::ALL, Direction::Forward, 99, 9_999).unwrap();
        page.rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn retention_stops_at_what_is_owed() {
        use RowKind::{Owed, Received, Sent};
        let rows = [(1, Sent), (2, Owed), (3, Received), (4, Owed), (5, Owed), (6, Sent)];
        for (mark, listed, before, limit, deleted, stays) in [
            // No mark: nothing was ever confirmed.
            (None, None, 99, 9, 1, vec![2, 3, 4, 5, 6]),
            (Some(4), None, 99, 9, 4, vec![5, 6]),
            (Some(5), None, 99, 9, 6, vec![]),
            (Some(5), Some(4), 99, 9, 3, vec![4, 5, 6]),
            (Some(5), Some(2), 99, 9, 1, vec![2, 3, 4, 5, 6]),
            // A mark beyond all rows, and a list with a row that is gone.
            (Some(50), Some(0), 99, 9, 6, vec![]),
            (Some(5), None, 3, 9, 2, vec![3, 4, 5, 6]),
            (Some(5), None, 99, 2, 2, vec![3, 4, 5, 6]),
            (Some(5), None, 1, 9, 0, vec![1, 2, 3, 4, 5, 6]),
            (Some(5), None, 99, 0, 0, vec![1, 2, 3, 4, 5, 6]),
        ] {
            testing::archive_tx(|tx, me| {
                let other = testing::archive(tx, "other");
                put(tx, other, 100, Received);
                for (seq, kind) in rows {
                    put(tx, me, seq, kind);
                }
                if let Some(mark) = mark {
                    let sql = "INSERT INTO archive_mark (account, seq) VALUES ($1, $2)";
                    tx.execute(sql, &[me.into(), i64::into(mark)]).unwrap();
                }
                if let Some(listed) = listed {
                    let sql = "INSERT INTO owed_before (account, seq) VALUES ($1, $2)";
                    tx.execute(sql, &[me.into(), i64::into(listed)]).unwrap();
                }
                let case = format!("{mark:?} {listed:?} {before} {limit}");
                assert_eq!(purge(tx, me, (before, 99), limit), Ok(deleted), "{case}");
                assert_eq!(left(tx, me), stays, "{case}");
                assert_eq!(left(tx, other), [100]);
            });
        }
    }

    #[test]
    fn a_deleted_account_is_cleared_and_looked_at_again() {
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            for seq in 1..=5 {
                put(tx, me, seq, RowKind::Owed);
                put(tx, other, 10 + seq, RowKind::Sent);
            }
            assert_eq!(archives_after(tx, ArchiveId::BEFORE_ALL), Ok(Some(me)));
            assert_eq!(archives_after(tx, me), Ok(Some(other)));
            assert_eq!(archives_after(tx, other), Ok(None));

            super::super::super::accounts::delete(tx, me.account().unwrap()).unwrap();
            crate::store::archive::leave(tx, me).unwrap();
            let waiting =
                |tx: &mut dyn Tx| left_after(tx, ArchiveId::BEFORE_ALL, Left::All, 9).unwrap();
            assert_eq!(waiting(tx), [me]);
            assert_eq!(left_after(tx, me, Left::All, 9), Ok(vec![]));
            assert_eq!(left_after(tx, ArchiveId::BEFORE_ALL, Left::New, 9), Ok(vec![me]));
            assert_eq!(clear(tx, me, 3, 1_000, 100), Ok(3));
            assert_eq!(left_after(tx, ArchiveId::BEFORE_ALL, Left::New, 9), Ok(vec![]));
            assert_eq!(clear(tx, me, 3, 1_050, 100), Ok(2));
            assert_eq!(clear(tx, me, 3, 1_060, 100), Ok(0));
            assert_eq!(waiting(tx), [me], "a write may be on its way");
            put(tx, me, 6, RowKind::Sent);
            assert_eq!(clear(tx, me, 3, 1_200, 100), Ok(1));
            assert_eq!(waiting(tx), [me]);
            assert_eq!(clear(tx, me, 3, 1_200, 100), Ok(0));
            assert_eq!(waiting(tx), []);
            assert_eq!(left(tx, other).len(), 5);
            leave(tx, me).unwrap();
            leave(tx, me).unwrap();
            assert_eq!(waiting(tx), [me]);
        });
    }
}
