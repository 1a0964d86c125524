//! Messages to other servers and to components, until these have acknowledged them (promise.md): one queue for
//! each pair of domains.

use super::tx::{StoreError, Tx, query_all, query_one};

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// Its position.
    pub seq: i64,
    /// When it came, in microseconds since 1970.
    pub at: i64,
    /// The stanza as the router had it.
    pub stanza: Vec<u8>,
}

/// A message that waits, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOutline {
    /// The domain of this server.
    pub local: String,
    /// The other one.
    pub remote: String,
    /// Its position.
    pub seq: i64,
    /// Its bytes.
    pub bytes: u32,
    /// When it came, in microseconds since 1970.
    pub at: i64,
}

/// Adds a message.
pub fn append(
    tx: &mut dyn Tx,
    (local, remote): (&str, &str),
    (seq, at): (i64, i64),
    stanza: &[u8],
) -> Result<(), StoreError> {
    let row = [seq.into(), local.into(), remote.into(), at.into(), stanza.into()];
    tx.execute(APPEND, &row).map(drop)
}

/// Deletes what was acknowledged, or given up: the rows of a pair up to `to`. Those that an earlier deletion missed,
/// as the disk was full, go with them.
pub fn delete(tx: &mut dyn Tx, (local, remote): (&str, &str), to: i64) -> Result<(), StoreError> {
    tx.execute(DELETE, &[remote.into(), local.into(), to.into()]).map(drop)
}

/// At most `rows` rows of a pair after a position, up to another one.
pub fn page(
    tx: &mut dyn Tx,
    (local, remote): (&str, &str),
    (from, to): (i64, i64),
    rows: usize,
) -> Result<Vec<PeerRow>, StoreError> {
    let of = [remote.into(), local.into(), from.into(), to.into(), rows.into()];
    query_all(tx, PAGE, &of, |row| {
        Ok(PeerRow { seq: row.int(0)?, at: row.int(1)?, stanza: row.blob(2)? })
    })
}

/// All that waits, by pair and position.
pub fn outlines(tx: &mut dyn Tx) -> Result<Vec<PeerOutline>, StoreError> {
    query_all(tx, OUTLINES, &[], |row| {
        Ok(PeerOutline {
            remote: row.text(0)?,
            local: row.text(1)?,
            seq: row.int(2)?,
            bytes: u32::try_from(row.int(3)?).unwrap_or(u32::MAX),
            at: row.int(4)?,
        })
    })
}

/// The last position taken; 0 if there is none.
pub fn last_seq(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, LAST_SEQ, &[], |row| row.int(0))
}

super::sql! {
    APPEND = "INSERT INTO peer_queue (seq, local, remote, at, stanza) VALUES ($1, $2, $3, $4, $5)";
    DELETE = "DELETE FROM peer_queue WHERE remote = $1 AND local = $2 AND seq <= $3";
    PAGE = "SELECT seq, at, stanza FROM peer_queue
        WHERE remote = $1 AND local = $2 AND seq > $3 AND seq <= $4 ORDER BY seq LIMIT $5";
    // Reads all that waits, once at the start of the server.
    OUTLINES = "SELECT remote, local, seq, LENGTH(stanza), at FROM peer_queue
        ORDER BY remote, local, seq";
    LAST_SEQ = "SELECT COALESCE(MAX(seq), 0) FROM peer_queue";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn each_pair_has_its_own_queue() {
        testing::account_tx(|tx, _| {
            let (ab, ac) = (("a", "b"), ("a", "c"));
            for (pair, seq) in [(ab, 1), (ac, 2), (ab, 3), (ab, 4), (ac, 5)] {
                append(tx, pair, (seq, seq * 10), b"12345").unwrap();
            }
            let seqs = |tx: &mut dyn Tx, pair, span| {
                let rows = page(tx, pair, span, 2).unwrap();
                rows.iter().map(|row| row.seq).collect::<Vec<_>>()
            };
            assert_eq!(seqs(tx, ab, (0, 9)), [1, 3]);
            assert_eq!(seqs(tx, ab, (1, 3)), [3]);
            assert_eq!(last_seq(tx), Ok(5));
            delete(tx, ab, 3).unwrap();
            assert_eq!(seqs(tx, ab, (0, 9)), [4]);
            assert_eq!(seqs(tx, ac, (0, 9)), [2, 5]);
            let outlines = outlines(tx).unwrap();
            let of = |row: &PeerOutline| (row.remote.clone(), row.seq, row.bytes, row.at);
            assert_eq!(
                outlines.iter().map(of).collect::<Vec<_>>(),
                [
                    ("b".to_owned(), 4, 5, 40),
                    ("c".to_owned(), 2, 5, 20),
                    ("c".to_owned(), 5, 5, 50)
                ]
            );
        });
    }
}
