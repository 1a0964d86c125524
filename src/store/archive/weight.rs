//! Computes the size of an archive, and reduces it: deletes the oldest rows first, except owed ones.

use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx, query_all, query_one};
use super::RowKind;
use super::retention::{self, Owed};

/// Roughly the size of a row besides its stanza: its columns, and its entries in the index tables.
pub const ROW_BYTES: u64 = 200;

/// The size of some rows of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weight {
    /// The number of rows.
    pub rows: usize,
    /// Their bytes, including [`ROW_BYTES`] for each.
    pub bytes: u64,
    /// The last position that was read; none if there are no more rows.
    pub last: Option<i64>,
}

/// Returns the weight of at most `limit` indexed rows after a position.
pub fn weigh(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    after: i64,
    limit: usize,
) -> Result<Weight, StoreError> {
    query_one(tx, WEIGH, &[archive.into(), after.into(), limit.into()], |row| {
        let rows = usize::try_from(row.int(1)?).unwrap_or(0);
        let last = row.opt_int(2)?.filter(|_| rows == limit);
        Ok(Weight { rows, bytes: weight(row.int(0)?, rows), last })
    })
}

/// Deletes the oldest rows after a position until they weigh `bytes`; reads at most `limit` rows. Owed rows
/// stay, but later rows are still deleted: otherwise one message that is never confirmed would protect all
/// that follow.
pub fn shed(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    after: i64,
    bytes: u64,
    limit: usize,
) -> Result<Weight, StoreError> {
    let next = [archive.into(), after.into(), limit.into()];
    let rows = query_all(tx, NEXT, &next, |row| {
        // A row whose kind cannot be read counts as not owed.
        let kind = row.int(1).unwrap_or(RowKind::Received as i64);
        Ok((row.int(0)?, kind, row.int(2).unwrap_or(0)))
    })?;
    let Some(&(end, ..)) = rows.last() else { return Ok(Weight::default()) };
    let owed = Owed::up_to(tx, archive, end)?;
    let mut shed = Weight::default();
    // The rows between two owed ones are deleted together.
    let (mut begin, mut run) = (after, None);
    for (seq, kind, size) in &rows {
        if shed.bytes >= bytes {
            break;
        }
        shed.last = Some(*seq);
        if owed.has(*seq, *kind) {
            if let Some(last) = run.take() {
                retention::delete(tx, archive, (begin, last))?;
            }
            begin = *seq;
        } else {
            run = Some(*seq);
            shed.rows += 1;
            shed.bytes += weight(*size, 1);
        }
    }
    if let Some(last) = run {
        retention::delete(tx, archive, (begin, last))?;
    }
    shed.last = shed.last.filter(|last| *last < end || rows.len() == limit);
    Ok(shed)
}

fn weight(sizes: i64, rows: usize) -> u64 {
    let rows = u64::try_from(rows).unwrap_or(u64::MAX);
    u64::try_from(sizes).unwrap_or(0).saturating_add(rows.saturating_mul(ROW_BYTES))
}

super::super::sql! {
    WEIGH = "SELECT COALESCE(SUM(found.size), 0), COUNT(*), MAX(found.seq) FROM
        (SELECT seq, size FROM archive_place WHERE archive = $1 AND seq > $2
        ORDER BY seq LIMIT $3) AS found";
    NEXT = "SELECT seq, kind, size FROM archive_place WHERE archive = $1 AND seq > $2
        ORDER BY seq LIMIT $3";
}

#[cfg(test)]
mod tests {
    use super::super::super::mailbox;
    use super::super::super::testing;
    use super::super::{Direction, Entry, Filter, append, page};
    use super::*;

    fn put(tx: &mut dyn Tx, archive: ArchiveId, (seq, at): (i64, i64), kind: RowKind) {
        let stanza = b"<message/>";
        append(tx, &Entry { seq, at, archive, peer: "a@x", resource: "", kind, stanza }).unwrap();
    }

    fn found(tx: &mut dyn Tx, archive: ArchiveId, filter: &Filter) -> Vec<i64> {
        let page = page(tx, archive, filter, Direction::Forward, 99, 9_999).unwrap();
        page.rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn the_oldest_go_and_what_is_owed_stays() {
        use RowKind::{Owed, Received, Sent};
        const ROW: u64 = 10 + ROW_BYTES;
        let kinds = [Sent, Owed, Received, Owed, Owed, Sent, Sent];
        // All rows up to 4 are confirmed, except 2.
        for (rows, limit, gone, stays, last) in [
            (0, 9, 0, vec![1, 2, 3, 4, 5, 6, 7], None),
            (1, 9, 1, vec![2, 3, 4, 5, 6, 7], Some(1)),
            (2, 9, 2, vec![2, 4, 5, 6, 7], Some(3)),
            (3, 9, 3, vec![2, 5, 6, 7], Some(4)),
            (4, 9, 4, vec![2, 5, 7], Some(6)),
            (5, 9, 5, vec![2, 5], None),
            (99, 9, 5, vec![2, 5], None),
            (99, 2, 1, vec![2, 3, 4, 5, 6, 7], Some(2)),
            (99, 7, 5, vec![2, 5], Some(7)),
        ] {
            testing::archive_tx(|tx, me| {
                let other = testing::archive(tx, "other");
                put(tx, other, (100, 100), Received);
                for (seq, kind) in (1..).zip(kinds) {
                    put(tx, me, (seq, seq), kind);
                }
                let settled =
                    mailbox::Settled { watermark: Some(4), listed: vec![2], ..Default::default() };
                mailbox::settle(tx, me.account().unwrap(), &settled).unwrap();
                let case = format!("{rows} of {limit}");
                let bytes = u64::try_from(rows).unwrap() * ROW;
                let shed = shed(tx, me, i64::MIN, bytes, limit).unwrap();
                let weight = Weight { rows: gone, bytes: gone as u64 * ROW, last };
                assert_eq!(shed, weight, "{case}");
                assert_eq!(found(tx, me, &Filter::ALL), stays, "{case}");
                assert_eq!(found(tx, other, &Filter::ALL), [100]);
                let left = weigh(tx, me, i64::MIN, 99).unwrap();
                assert_eq!((left.rows, left.bytes), (stays.len(), stays.len() as u64 * ROW));
            });
        }
    }

    #[test]
    fn an_archive_is_weighed_in_pieces() {
        testing::archive_tx(|tx, me| {
            for seq in 1..=5 {
                put(tx, me, (seq, seq), RowKind::Sent);
            }
            let (mut after, mut rows) = (i64::MIN, Vec::new());
            loop {
                let weight = weigh(tx, me, after, 2).unwrap();
                rows.push(weight.rows);
                let Some(last) = weight.last else { break };
                after = last;
            }
            assert_eq!(rows, [2, 2, 1]);
            assert_eq!(weigh(tx, me, 5, 2), Ok(Weight::default()));
        });
    }

    /// Times are found by halving between the positions where the clock was set back (`times.rs`), also if
    /// such a position was deleted and an earlier row stayed.
    #[test]
    fn times_are_found_around_what_stays() {
        // Owed at 50; then the clock was set back, twice.
        let times = [(1, 50), (2, 20), (3, 30), (4, 10), (5, 15), (6, 40), (7, 45), (8, 60)];
        for gone in 0..=7 {
            testing::archive_tx(|tx, me| {
                for (seq, at) in times {
                    put(tx, me, (seq, at), if seq == 1 { RowKind::Owed } else { RowKind::Sent });
                }
                assert_eq!(shed(tx, me, i64::MIN, gone * 210, 99).unwrap().rows as u64, gone);
                for since in 0..=61 {
                    for until in since..=61 {
                        let filter = Filter { since, until, ..Filter::ALL };
                        let stays = |(seq, at): &(i64, i64)| {
                            (*seq == 1 || *seq > 1 + gone as i64) && (since..=until).contains(at)
                        };
                        let expected: Vec<_> =
                            times.iter().filter(|row| stays(row)).map(|row| row.0).collect();
                        let filter = super::super::narrowed(tx, me, &filter).unwrap();
                        assert_eq!(found(tx, me, &filter), expected, "{gone} {since} {until}");
                    }
                }
            });
        }
    }
}
