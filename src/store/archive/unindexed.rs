//! Unindexed rows: the last rows of the archive, which are not yet in the tables that readers search. The
//! entries of many rows are sorted and written together.

use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx, query_one, query_optional};

/// Indexes all unindexed rows. The caller bounds their number by calling this often enough.
pub fn index_new(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let (indexed, newest) = query_one(tx, INDEXED, &[], |row| Ok((row.int(0)?, row.int(1)?)))?;
    let last = query_one(tx, LAST_SEQ, &[], |row| row.int(0))?;
    if last > indexed {
        let new = [indexed.into(), last.into()];
        for sql in [POSITIONS, PEERS] {
            tx.execute(sql, &new)?;
        }
        let (mut newest, mut back) = (newest, false);
        tx.query(TIMES, &new, &mut |row| {
            let at = row.int(0).unwrap_or(0);
            back |= at < newest;
            newest = newest.max(at);
            Ok(())
        })?;
        if back {
            tx.execute(SET_BACK, &new)?;
        }
        tx.execute(MOVE, &[last.into(), newest.into()])?;
    }
    Ok(())
}

/// Records where times do not rise around a row that was indexed at once and may be older than others.
pub(super) fn set_back(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    seq: i64,
    at: i64,
) -> Result<(), StoreError> {
    tx.execute(RAISE, &[at.into()])?;
    let next = query_optional(tx, NEXT, &[archive.into(), seq.into()], |row| row.int(0))?;
    for seq in [Some(seq), next].into_iter().flatten() {
        tx.execute(SET_BACK, &[(seq - 1).into(), seq.into()])?;
    }
    Ok(())
}

/// The last indexed position, even if its row is deleted: no later row may have a lower position.
pub fn last_indexed(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, INDEXED, &[], |row| row.int(0))
}

/// Passes the owed and unindexed rows of an archive to `each`, with their sizes; reads all unindexed rows.
pub fn owed(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    each: &mut dyn FnMut(i64, i64),
) -> Result<(), StoreError> {
    let indexed = query_one(tx, INDEXED, &[], |row| row.int(0))?;
    tx.query(OWED, &[archive.into(), indexed.into()], &mut |row| {
        each(row.int(0)?, row.int(1).unwrap_or(0));
        Ok(())
    })
}

/// The last position used in the whole server; 0 if there is none.
pub fn last_seq(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, LAST_SEQ, &[], |row| row.int(0))
}

super::super::sql! {
    LAST_SEQ = "SELECT COALESCE(MAX(seq), 0) FROM archive";
    INDEXED = "SELECT seq, at FROM archive_placed";
    // A row that was indexed at once stays as it is.
    POSITIONS = "INSERT INTO archive_place (archive, seq, kind, size, at)
        SELECT archive, seq, kind, size, at FROM archive WHERE seq > $1 AND seq <= $2
        ORDER BY archive, seq ON CONFLICT DO NOTHING";
    PEERS = "INSERT INTO archive_with (archive, peer, seq, resource, short_id, at)
        SELECT archive, peer, seq, resource, short_id, at FROM archive WHERE seq > $1 AND seq <= $2
        ORDER BY archive, peer, seq ON CONFLICT DO NOTHING";
    TIMES = "SELECT at FROM archive WHERE seq > $1 AND seq <= $2 ORDER BY seq";
    SET_BACK = "INSERT INTO archive_back (archive, seq) SELECT r.archive, r.seq FROM archive r
        WHERE r.seq > $1 AND r.seq <= $2 AND r.at < (SELECT p.at FROM archive_place p
            WHERE p.archive = r.archive AND p.seq < r.seq ORDER BY p.seq DESC LIMIT 1)
        ON CONFLICT DO NOTHING";
    NEXT = "SELECT seq FROM archive_place WHERE archive = $1 AND seq > $2 ORDER BY seq LIMIT 1";
    RAISE = "UPDATE archive_placed SET at = $1 WHERE at < $1";
    MOVE = "UPDATE archive_placed SET seq = $1, at = $2";
    OWED = "SELECT r.seq, r.size FROM archive r WHERE r.seq > $2 AND r.archive = $1 AND r.kind = 2
        AND r.seq > COALESCE((SELECT m.seq FROM archive_mark m WHERE m.account = $1), 0)
        AND NOT EXISTS (SELECT 1 FROM archive_place p WHERE p.archive = $1 AND p.seq = r.seq)";
}

#[cfg(test)]
mod tests {
    use super::super::super::mailbox;
    use super::super::super::testing;
    use super::super::{Direction, Entry, Filter, Peer, RowKind, append, append_behind, page};
    use super::*;

    fn entry(archive: ArchiveId, seq: i64, peer: &str) -> Entry<'_> {
        Entry {
            seq,
            at: seq,
            archive,
            peer,
            resource: "r",
            kind: RowKind::Owed,
            stanza: b"<message/>",
        }
    }

    fn found(tx: &mut dyn Tx, archive: ArchiveId, peer: Peer) -> Vec<i64> {
        let filter = Filter { peer, ..Filter::ALL };
        let page = page(tx, archive, &filter, Direction::Forward, 99, 9_999).unwrap();
        page.rows.iter().map(|row| row.seq).collect()
    }

    fn owed(tx: &mut dyn Tx, archive: ArchiveId) -> Vec<i64> {
        let mut seqs: Vec<_> = mailbox::owed(tx, archive.account().unwrap(), true)
            .unwrap()
            .iter()
            .map(|row| row.seq)
            .collect();
        seqs.sort_unstable();
        seqs
    }

    #[test]
    fn rows_are_owed_at_once_and_found_when_they_are_indexed() {
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            append_behind(tx, &entry(me, 1, "a@x"), None).unwrap();
            append_behind(tx, &entry(other, 2, "a@x"), None).unwrap();
            append_behind(tx, &entry(me, 3, "b@x"), None).unwrap();
            append(tx, &entry(me, 4, "b@x")).unwrap();
            assert_eq!(found(tx, me, Peer::Any), [4]);
            assert_eq!((owed(tx, me), owed(tx, other)), (vec![1, 3, 4], vec![2]));
            for _ in 0..2 {
                index_new(tx).unwrap();
                assert_eq!(found(tx, me, Peer::Any), [1, 3, 4]);
                assert_eq!(found(tx, me, Peer::Bare("b@x".to_owned())), [3, 4]);
                assert_eq!(found(tx, other, Peer::Full("a@x".to_owned(), "r".to_owned())), [2]);
                assert_eq!((owed(tx, me), owed(tx, other)), (vec![1, 3, 4], vec![2]));
            }
            append_behind(tx, &entry(other, 5, "a@x"), None).unwrap();
            // A watermark may pass a row that is not indexed: another device confirmed a later one.
            append_behind(tx, &entry(me, 6, "a@x"), None).unwrap();
            append_behind(tx, &entry(me, 7, "a@x"), None).unwrap();
            let passed =
                mailbox::Settled { watermark: Some(7), listed: vec![6], ..Default::default() };
            mailbox::settle(tx, me.account().unwrap(), &passed).unwrap();
            assert_eq!(owed(tx, me), [6]);
            let mark = mailbox::Settled { watermark: Some(2), ..Default::default() };
            mailbox::settle(tx, other.account().unwrap(), &mark).unwrap();
            assert_eq!((found(tx, other, Peer::Any), owed(tx, other)), (vec![2], vec![5]));
        });
    }
}
