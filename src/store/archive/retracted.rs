//! Applies a retraction to an archive (XEP-0424 §4): finds the message that it names, and replaces it.

use super::super::ids::ArchiveId;
use super::super::search;
use super::super::tx::{StoreError, Tx, query_optional};
use super::{Archived, RowKind, get, last_indexed};
use crate::base::hash::short;

/// Maximum number of messages of a conversation that a search for an id reads, newest first. This takes a
/// fraction of a millisecond; more would hold up the writer, which runs the search. An older message stays as
/// it is.
pub const LOOK: usize = 1_000;

/// The side of a conversation, in one archive, whose messages are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Messages that the account sent.
    Account,
    /// Messages that were sent to it.
    Peer,
}

impl By {
    fn kinds(self) -> (i64, i64) {
        match self {
            Self::Account => (RowKind::Sent as i64, RowKind::Sent as i64),
            Self::Peer => (RowKind::Received as i64, RowKind::Owed as i64),
        }
    }
}

/// Returns the newest message with this peer, sent by one of the two, before a position, that may have this
/// id. Only a hash of ids is stored, so another id may match.
pub fn newest_of(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    (peer, by): (&str, By),
    id: &str,
    before: i64,
) -> Result<Option<Archived>, StoreError> {
    let id = short(id);
    let (least, most) = by.kinds();
    let behind = last_indexed(tx)?;
    let params = |bound: i64| {
        [
            archive.into(),
            peer.into(),
            id.into(),
            before.into(),
            bound.into(),
            least.into(),
            most.into(),
        ]
    };
    let found = query_optional(tx, UNPLACED, &params(behind), |row| row.int(0))?;
    let found = match found {
        Some(seq) => Some(seq),
        None => query_optional(tx, INDEXED, &params(LOOK as i64), |row| row.int(0))?,
    };
    found.map_or(Ok(None), |seq| get(tx, archive, seq))
}

/// Replaces the stanza of a message. Its position, time and peer stay (XEP-0313 §3.2).
pub fn replace(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    seq: i64,
    stanza: &[u8],
) -> Result<(), StoreError> {
    let size = stanza.len();
    tx.execute(REPLACE, &[archive.into(), seq.into(), size.into(), stanza.into()])?;
    tx.execute(RESIZE, &[archive.into(), seq.into(), size.into()])?;
    // Searches no longer find the old text.
    search::forget(tx, &[seq])
}

super::super::sql! {
    // Unindexed rows are a short range of the key: a few thousand rows at most.
    UNPLACED = "SELECT r.seq FROM archive r WHERE r.seq > $5 AND r.seq < $4 AND r.archive = $1
        AND r.peer = $2 AND r.short_id = $3 AND r.kind BETWEEN $6 AND $7 ORDER BY r.seq DESC LIMIT 1";
    INDEXED = "SELECT seq FROM (SELECT seq, short_id FROM archive_with
        WHERE archive = $1 AND peer = $2 AND seq < $4 ORDER BY seq DESC LIMIT $5) AS found
        WHERE short_id = $3 AND (SELECT p.kind FROM archive_place p
            WHERE p.archive = $1 AND p.seq = found.seq) BETWEEN $6 AND $7
        ORDER BY seq DESC LIMIT 1";
    REPLACE = "UPDATE archive SET size = $3, stanza = $4 WHERE archive = $1 AND seq = $2";
    RESIZE = "UPDATE archive_place SET size = $3 WHERE archive = $1 AND seq = $2";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::{Entry, RowKind, append_behind, head, index_new};
    use super::*;

    fn put(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, peer: &str, id: &str) {
        let (kind, stanza) = (RowKind::Received, b"<message/>".as_slice());
        let entry = Entry { seq, at: seq, archive, peer, resource: "", kind, stanza };
        append_behind(tx, &entry, Some(id)).unwrap();
    }

    #[test]
    fn the_newest_with_the_id_and_the_peer_is_found_indexed_or_not() {
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            put(tx, me, 1, "a@x", "one");
            put(tx, me, 2, "a@x", "two");
            put(tx, me, 3, "b@x", "one");
            put(tx, other, 4, "a@x", "one");
            put(tx, me, 5, "a@x", "one");
            for _ in 0..2 {
                let mut find = |peer: &str, id: &str, before| {
                    newest_of(tx, me, (peer, By::Peer), id, before).unwrap().map(|row| row.seq)
                };
                assert_eq!(find("a@x", "one", 99), Some(5));
                assert_eq!(find("a@x", "one", 5), Some(1));
                assert_eq!(find("a@x", "one", 1), None);
                assert_eq!(find("a@x", "two", 99), Some(2));
                assert_eq!(find("b@x", "two", 99), None);
                index_new(tx).unwrap();
            }
            put(tx, me, 6, "a@x", "two");
            assert_eq!(newest_of(tx, me, ("a@x", By::Peer), "two", 99).unwrap().unwrap().seq, 6);
            assert_eq!(newest_of(tx, me, ("a@x", By::Peer), "one", 99).unwrap().unwrap().seq, 5);
        });
    }

    /// The other side cannot hide a message by sending later ones with the same id.
    #[test]
    fn each_side_has_its_own_messages() {
        testing::archive_tx(|tx, me| {
            for (seq, kind) in [(1, RowKind::Sent), (2, RowKind::Received), (3, RowKind::Owed)] {
                let entry = Entry {
                    seq,
                    at: seq,
                    archive: me,
                    peer: "a@x",
                    resource: "",
                    kind,
                    stanza: b"<m/>",
                };
                append_behind(tx, &entry, Some("id")).unwrap();
            }
            for _ in 0..2 {
                let mut find = |by, before| {
                    newest_of(tx, me, ("a@x", by), "id", before).unwrap().map(|row| row.seq)
                };
                assert_eq!(find(By::Account, 99), Some(1));
                assert_eq!(find(By::Peer, 99), Some(3));
                assert_eq!(find(By::Peer, 3), Some(2));
                assert_eq!((find(By::Peer, 2), find(By::Account, 1)), (None, None));
                index_new(tx).unwrap();
            }
        });
    }

    #[test]
    fn what_is_replaced_keeps_its_position_and_nothing_else_changes() {
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            put(tx, me, 1, "a@x", "one");
            index_new(tx).unwrap();
            put(tx, me, 2, "a@x", "two");
            replace(tx, other, 1, b"foreign").unwrap();
            replace(tx, me, 1, b"1").unwrap();
            replace(tx, me, 2, b"22").unwrap();
            index_new(tx).unwrap();
            for (seq, stanza) in [(1, b"1".as_slice()), (2, b"22")] {
                assert_eq!(get(tx, me, seq).unwrap().unwrap().stanza, stanza);
                assert_eq!(head(tx, me, seq).unwrap().unwrap().size, stanza.len());
                let sql = "SELECT size FROM archive_place WHERE seq = $1";
                let size = query_optional(tx, sql, &[i64::into(seq)], |row| row.int(0));
                assert_eq!(size, Ok(Some(stanza.len() as i64)));
            }
        });
    }

    #[test]
    fn a_search_looks_at_so_many_and_no_further() {
        testing::archive_tx(|tx, me| {
            put(tx, me, 1, "a@x", "old");
            for seq in 0..LOOK as i64 - 1 {
                put(tx, me, 10 + seq, "a@x", "new");
            }
            index_new(tx).unwrap();
            assert!(newest_of(tx, me, ("a@x", By::Peer), "old", i64::MAX).unwrap().is_some());
            put(tx, me, 1_000_000, "a@x", "new");
            index_new(tx).unwrap();
            assert!(newest_of(tx, me, ("a@x", By::Peer), "old", i64::MAX).unwrap().is_none());
        });
    }
}
