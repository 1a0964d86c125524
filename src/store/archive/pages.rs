//! Reads an archive: pages, counts and single messages. Every query walks a range of an index.

use std::ops::Range;

use super::super::damage::{query_sound_one, sound};
use super::super::ids::ArchiveId;
use super::super::tx::{Row, StoreError, Tx, Value, query_one, query_optional};

/// Selects messages of an archive: by a range of positions (both ends excluded), a range of times (both ends
/// included), and the other side. Before it is used, [`narrowed`](super::narrowed) converts a range of times
/// to positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Messages after this position.
    pub after: i64,
    /// Messages before this position.
    pub before: i64,
    /// Messages received at this time or later, in microseconds since 1970.
    pub since: i64,
    /// Messages received at this time or earlier.
    pub until: i64,
    /// The other side of the messages.
    pub peer: Peer,
}

/// The other side of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Any address.
    Any,
    /// This bare JID, whatever its resource.
    Bare(String),
    /// This bare JID with this resource.
    Full(String, String),
}

impl Filter {
    /// All of its messages.
    pub const ALL: Self = Self {
        after: i64::MIN,
        before: i64::MAX,
        since: i64::MIN,
        until: i64::MAX,
        peer: Peer::Any,
    };

    /// Whether its positions alone select the messages, without its times.
    pub fn is_by_position(&self) -> bool {
        (self.since, self.until) == (i64::MIN, i64::MAX)
    }

    /// Whether a message is in both ranges and of that side.
    pub fn fits(&self, head: &Head) -> bool {
        let peer = match &self.peer {
            Peer::Any => true,
            Peer::Bare(bare) => *bare == head.peer,
            Peer::Full(bare, resource) => *bare == head.peer && *resource == head.resource,
        };
        let times = self.since..=self.until;
        peer && self.after < head.seq && head.seq < self.before && times.contains(&head.at)
    }
}

/// From which end of the range a page is filled. Its rows are in order in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest rows of the range.
    Forward,
    /// The newest ones.
    Backward,
}

/// A message without its stanza.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its position.
    pub seq: i64,
    /// When it was received, in microseconds since 1970.
    pub at: i64,
    /// The other side's bare JID.
    pub peer: String,
    /// The other side's resourcepart, or empty.
    pub resource: String,
    /// The size of its stanza in bytes.
    pub size: usize,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its position.
    pub seq: i64,
    /// When it was received, in microseconds since 1970.
    pub at: i64,
    /// The whole stanza; empty if it cannot be read. It has not passed the gate since it was stored.
    pub stanza: Vec<u8>,
}

/// A message's position, and when it was received in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its position.
    pub seq: i64,
    /// Its time.
    pub at: i64,
}

/// Some messages in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The messages.
    pub rows: Vec<Archived>,
    /// Whether there are more in the direction of reading.
    pub more: bool,
}

/// Returns at most `limit` messages of at most `bytes` bytes together; the first is returned whatever its
/// size.
pub fn page(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    filter: &Filter,
    direction: Direction,
    limit: usize,
    bytes: usize,
) -> Result<Page, StoreError> {
    let sql = match (direction, &filter.peer) {
        (Direction::Forward, Peer::Any) => UP,
        (Direction::Forward, Peer::Bare(_)) => UP_BARE,
        (Direction::Forward, Peer::Full(..)) => UP_FULL,
        (Direction::Backward, Peer::Any) => DOWN,
        (Direction::Backward, Peer::Bare(_)) => DOWN_BARE,
        (Direction::Backward, Peer::Full(..)) => DOWN_FULL,
    };
    let mut page = Page::default();
    let mut left = bytes;
    // One row more than requested shows whether there are more.
    tx.query(sql, &params(archive, filter, limit.saturating_add(1)), &mut |row| {
        let stanza = stanza(archive, row, 2);
        let size = stanza.len();
        page.more |= page.rows.len() >= limit || (size > left && !page.rows.is_empty());
        if !page.more {
            left = left.saturating_sub(size);
            let Point { seq, at } = point(row)?;
            page.rows.push(Archived { seq, at, stanza });
        }
        Ok(())
    })?;
    if direction == Direction::Backward {
        page.rows.reverse();
    }
    Ok(page)
}

/// Returns the number of messages; `None` if more than `cap` rows would have to be read.
pub fn count(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    filter: &Filter,
    cap: usize,
) -> Result<Option<usize>, StoreError> {
    let positions = filter.is_by_position();
    let sql = match (&filter.peer, positions) {
        (Peer::Any, true) => COUNT_PLACES,
        (Peer::Any, false) => COUNT,
        (Peer::Bare(_), true) => COUNT_BARE_PLACES,
        (Peer::Bare(_), false) => COUNT_BARE,
        (Peer::Full(..), true) => COUNT_FULL_PLACES,
        (Peer::Full(..), false) => COUNT_FULL,
    };
    let size = |int| usize::try_from(int).unwrap_or(usize::MAX);
    let counted = |row: &dyn Row| Ok((size(row.int(0)?), size(row.int(1)?)));
    let mut params = params(archive, filter, cap.saturating_add(1));
    if positions {
        params.drain(TIMES);
    }
    let (looked_at, fitting) = query_one(tx, sql, &params, counted)?;
    Ok((looked_at <= cap).then_some(fitting))
}

/// Returns the position of the message that has `index` messages before it.
pub fn position_of(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    filter: &Filter,
    index: usize,
) -> Result<Option<i64>, StoreError> {
    let sql = match filter.peer {
        Peer::Any => PLACE,
        Peer::Bare(_) => PLACE_BARE,
        Peer::Full(..) => PLACE_FULL,
    };
    query_optional(tx, sql, &params(archive, filter, index), |row| row.int(0))
}

/// The position of an archive's first message.
pub fn first(tx: &mut dyn Tx, archive: ArchiveId) -> Result<Option<i64>, StoreError> {
    query_optional(tx, FIRST, &[archive.into()], |row| row.int(0))
}

/// An archive's first and last message, by their positions.
pub fn bounds(tx: &mut dyn Tx, archive: ArchiveId) -> Result<Option<(Point, Point)>, StoreError> {
    let first = query_optional(tx, FIRST, &[archive.into()], point)?;
    let last = query_optional(tx, LAST, &[archive.into()], point)?;
    Ok(first.zip(last))
}

/// The message at this position, if it is in this archive, without its stanza.
pub fn head(tx: &mut dyn Tx, archive: ArchiveId, seq: i64) -> Result<Option<Head>, StoreError> {
    let head = |row: &dyn Row| {
        let size = usize::try_from(row.int(2)?).unwrap_or(usize::MAX);
        let at = row.int(3).unwrap_or(0);
        Ok(Head { seq, at, peer: row.text(0)?, resource: row.text(1)?, size })
    };
    query_sound_one(tx, (TABLE, archive), HEAD, &[archive.into(), seq.into()], head)
}

/// The message at this position, if it is in this archive.
pub fn get(tx: &mut dyn Tx, archive: ArchiveId, seq: i64) -> Result<Option<Archived>, StoreError> {
    query_optional(tx, GET, &[archive.into(), seq.into()], |row| {
        let at = row.int(1).unwrap_or(0);
        Ok(Archived { seq, at, stanza: stanza(archive, row, 0) })
    })
}

fn stanza(archive: ArchiveId, row: &dyn Row, column: usize) -> Vec<u8> {
    sound((TABLE, archive), row.blob(column)).unwrap_or_default()
}

/// Reads the columns seq and at.
pub(super) fn point(row: &dyn Row) -> Result<Point, StoreError> {
    // An unreadable time can only lead to a wrong page.
    Ok(Point { seq: row.int(0)?, at: row.int(1).unwrap_or(0) })
}

fn params(archive: ArchiveId, filter: &Filter, number: usize) -> Vec<Value<'_>> {
    let range = [
        archive.into(),
        filter.after.into(),
        filter.before.into(),
        number.into(),
        filter.since.into(),
        filter.until.into(),
    ];
    let peer = match &filter.peer {
        Peer::Any => vec![],
        Peer::Bare(bare) => vec![bare.into()],
        Peer::Full(bare, resource) => vec![bare.into(), resource.into()],
    };
    range.into_iter().chain(peer).collect()
}

/// The times among the parameters: `$5` and `$6`.
const TIMES: Range<usize> = 4..6;

/// All of an archive.
macro_rules! any {
    ($select:literal, $rest:literal) => {
        any!($select, "AND at >= $5 AND at <= $6", $rest)
    };
    ($select:literal, $times:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM archive_place WHERE archive = $1 AND seq > $2 AND seq < $3 ",
            $times,
            " ",
            $rest
        )
    };
}

/// With one bare JID.
macro_rules! bare {
    ($select:literal, $rest:literal) => {
        bare!($select, "peer = $7 AND at >= $5 AND at <= $6", $rest)
    };
    ($select:literal, $peer:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM archive_with WHERE archive = $1 AND seq > $2 AND seq < $3 AND ",
            $peer,
            " ",
            $rest
        )
    };
}

/// The rows whose positions a query finds.
macro_rules! rows {
    ($positions:expr, $order:literal) => {
        concat!("SELECT seq, at, stanza FROM archive WHERE seq IN (", $positions, ") ", $order)
    };
}

/// For [`damage::note`](super::super::damage::note).
pub const TABLE: &str = "archive";

super::super::sql! {
    UP = rows!(any!("seq", "ORDER BY seq LIMIT $4"), "ORDER BY seq");
    UP_BARE = rows!(bare!("seq", "ORDER BY seq LIMIT $4"), "ORDER BY seq");
    UP_FULL = rows!(bare!("seq", "AND resource = $8 ORDER BY seq LIMIT $4"), "ORDER BY seq");
    DOWN = rows!(any!("seq", "ORDER BY seq DESC LIMIT $4"), "ORDER BY seq DESC");
    DOWN_BARE = rows!(bare!("seq", "ORDER BY seq DESC LIMIT $4"), "ORDER BY seq DESC");
    DOWN_FULL = rows!(bare!("seq", "AND resource = $8 ORDER BY seq DESC LIMIT $4"),
        "ORDER BY seq DESC");
    COUNT = concat!("SELECT COUNT(*), COUNT(*) FROM (", any!("seq", "LIMIT $4"), ") AS found");
    COUNT_BARE = concat!("SELECT COUNT(*), COUNT(*) FROM (", bare!("seq", "LIMIT $4"),
        ") AS found");
    COUNT_FULL = concat!("SELECT COUNT(*),
        CAST(COALESCE(SUM(CASE WHEN resource = $8 THEN 1 ELSE 0 END), 0) AS BIGINT)
        FROM (", bare!("resource", "LIMIT $4"), ") AS found");
    // Checking the time of each row would take half as much work again.
    COUNT_PLACES = concat!("SELECT COUNT(*), COUNT(*) FROM (", any!("seq", "", "LIMIT $4"),
        ") AS found");
    COUNT_BARE_PLACES = concat!("SELECT COUNT(*), COUNT(*) FROM (",
        bare!("seq", "peer = $5", "LIMIT $4"), ") AS found");
    COUNT_FULL_PLACES = concat!("SELECT COUNT(*),
        CAST(COALESCE(SUM(CASE WHEN resource = $6 THEN 1 ELSE 0 END), 0) AS BIGINT)
        FROM (", bare!("resource", "peer = $5", "LIMIT $4"), ") AS found");
    PLACE = any!("seq", "ORDER BY seq LIMIT 1 OFFSET $4");
    PLACE_BARE = bare!("seq", "ORDER BY seq LIMIT 1 OFFSET $4");
    PLACE_FULL = bare!("seq", "AND resource = $8 ORDER BY seq LIMIT 1 OFFSET $4");
    FIRST = "SELECT seq, at FROM archive_place WHERE archive = $1 ORDER BY seq LIMIT 1";
    LAST = "SELECT seq, at FROM archive_place WHERE archive = $1 ORDER BY seq DESC LIMIT 1";
    HEAD = "SELECT peer, resource, size, at FROM archive WHERE archive = $1 AND seq = $2";
    GET = "SELECT stanza, at FROM archive WHERE archive = $1 AND seq = $2";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::{Entry, RowKind, append, append_behind, index_new, narrowed};
    use super::*;
    use crate::base::id::{OsRng, Rng};

    fn put(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, peer: &str, resource: &str) {
        let stanza = format!("<message id='{seq}'/>");
        let stanza = stanza.as_bytes();
        append(
            tx,
            &Entry { seq, at: seq, archive, peer, resource, kind: RowKind::Received, stanza },
        )
        .unwrap();
    }

    fn seqs(page: &Page) -> Vec<i64> {
        page.rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn a_page_ends_at_its_limit_its_bytes_and_its_range() {
        testing::archive_tx(|tx, me| {
            for seq in [10, 20, 30, 40] {
                put(tx, me, seq, "a@x", "r");
            }
            let size = "<message id='10'/>".len();
            let (up, down) = (Direction::Forward, Direction::Backward);
            for (after, before, direction, limit, bytes, rows, more) in [
                (0, 99, up, 9, 999, vec![10, 20, 30, 40], false),
                (0, 99, up, 4, 999, vec![10, 20, 30, 40], false),
                (0, 99, up, 3, 999, vec![10, 20, 30], true),
                (0, 99, down, 3, 999, vec![20, 30, 40], true),
                (10, 40, up, 9, 999, vec![20, 30], false),
                (10, 40, down, 1, 999, vec![30], true),
                (40, 99, up, 9, 999, vec![], false),
                (0, 99, up, 0, 999, vec![], true),
                (40, 99, up, 0, 999, vec![], false),
                (0, 99, up, 9, 2 * size, vec![10, 20], true),
                (0, 99, down, 9, 2 * size + 1, vec![30, 40], true),
                (0, 99, up, 9, 4 * size, vec![10, 20, 30, 40], false),
                // At least one row, otherwise a client could not continue.
                (0, 99, up, 9, 0, vec![10], true),
                (0, 99, down, 9, 1, vec![40], true),
            ] {
                let filter = Filter { after, before, ..Filter::ALL };
                let page = page(tx, me, &filter, direction, limit, bytes).unwrap();
                let case = format!("{filter:?} {direction:?} {limit} {bytes}");
                assert_eq!((seqs(&page), page.more), (rows, more), "{case}");
            }
            let point = |seq| Point { seq, at: seq };
            assert_eq!(bounds(tx, me), Ok(Some((point(10), point(40)))));
            assert_eq!(bounds(tx, ArchiveId::from_key(99)), Ok(None));
            assert_eq!(get(tx, me, 10).unwrap().unwrap().stanza, b"<message id='10'/>");
            assert_eq!(head(tx, me, 10).unwrap().unwrap().size, size);
            assert_eq!(
                (get(tx, ArchiveId::from_key(99), 10), head(tx, me, 11)),
                (Ok(None), Ok(None))
            );
        });
    }

    /// Random rows of two accounts and three peers and random filters, compared with a list in memory.
    #[test]
    fn paging_meets_every_row_once_and_in_order() {
        let mut dice = Dice::new();
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            let mut rows: Vec<(ArchiveId, Head)> = Vec::new();
            let (mut seq, mut at) = (0, 500);
            for _ in 0..300 {
                seq += 1 + dice.below(3);
                // The clock advances, stands still, or is set.
                at = if dice.below(60) == 0 { dice.below(1_000) } else { at + dice.below(4) };
                let archive = if dice.below(4) == 0 { other } else { me };
                let peer = ["a@x", "b@x", "x"][dice.index(3)];
                let resource = ["", "r", "s"][dice.index(3)];
                let stanza = format!("<message id='{seq}'/>");
                let (kind, stanza) = (RowKind::Received, stanza.as_bytes());
                let entry = Entry { seq, at, archive, peer, resource, kind, stanza };
                append_behind(tx, &entry, None).unwrap();
                if dice.below(20) == 0 {
                    index_new(tx).unwrap();
                }
                let (peer, resource) = (peer.to_owned(), resource.to_owned());
                rows.push((archive, Head { seq, at, peer, resource, size: stanza.len() }));
            }
            index_new(tx).unwrap();
            for _ in 0..300 {
                let filter = dice.filter(seq);
                let archive = if dice.below(4) == 0 { other } else { me };
                let narrow = narrowed(tx, archive, &filter).unwrap();
                let wanted: Vec<_> = rows.iter().filter(|(of, _)| *of == archive).collect();
                let wanted: Vec<i64> = wanted
                    .iter()
                    .filter(|(_, head)| filter.fits(head))
                    .map(|(_, head)| head.seq)
                    .collect();
                let (limit, bytes) = (1 + dice.index(40), 1 + dice.index(2_000));
                for direction in [Direction::Forward, Direction::Backward] {
                    let mut found = Vec::new();
                    let mut range = narrow.clone();
                    loop {
                        let page = page(tx, archive, &range, direction, limit, bytes).unwrap();
                        let page_seqs = seqs(&page);
                        assert!(page_seqs.len() <= limit && page_seqs.is_sorted());
                        match direction {
                            Direction::Forward => found.extend(&page_seqs),
                            Direction::Backward => drop(found.splice(0..0, page_seqs.clone())),
                        }
                        if !page.more {
                            break;
                        }
                        match direction {
                            Direction::Forward => range.after = *page_seqs.last().unwrap(),
                            Direction::Backward => range.before = *page_seqs.first().unwrap(),
                        }
                    }
                    assert_eq!(found, wanted, "{filter:?} {direction:?} {limit} {bytes}");
                }
                assert_eq!(count(tx, archive, &narrow, 300), Ok(Some(wanted.len())), "{filter:?}");
                if wanted.len() > 1 {
                    assert_eq!(count(tx, archive, &narrow, wanted.len() - 1), Ok(None));
                }
                let index = dice.index(wanted.len() + 2);
                let position = position_of(tx, archive, &narrow, index);
                assert_eq!(position, Ok(wanted.get(index).copied()), "{filter:?} {index}");
            }
        });
    }

    /// No table is scanned and nothing is sorted, both before and after statistics are gathered.
    #[test]
    fn every_query_walks_a_range_of_an_index() {
        testing::archive_tx(|tx, me| {
            for gathered in [false, true] {
                if gathered {
                    (1..=2_000).for_each(|seq| put(tx, me, seq, "a@x", ""));
                    tx.execute("ANALYZE", &[]).unwrap();
                }
                for (name, sql) in super::super::catalogue().concat() {
                    let plan = testing::plan(tx, sql).join("; ") + "; ";
                    if name.contains("unindexed") {
                        // Unindexed rows are a range of the key, or one row.
                        let range = plan.contains("archive USING INTEGER PRIMARY KEY (rowid>?")
                            || plan.contains("r USING INTEGER PRIMARY KEY (rowid>?")
                            || plan
                                .contains("archive_place USING PRIMARY KEY (archive=? AND seq>?)");
                        let row = ["SCAN archive_placed; ", "SEARCH archive; "].contains(&&*plan);
                        assert!(range || row, "{name}: {plan}");
                        continue;
                    }
                    assert!(!plan.contains("SCAN archive"), "{name}: {plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{name}: {plan}");
                    // A range of the key alone would cover all accounts.
                    let key = plan.contains("archive USING INTEGER PRIMARY KEY (rowid>")
                        || plan.contains("archive USING INTEGER PRIMARY KEY (rowid<");
                    assert!(!key, "{name}: {plan}");
                    let of_peer = name.ends_with("_BARE") || name.ends_with("_FULL");
                    let range =
                        "archive_with USING PRIMARY KEY (archive=? AND peer=? AND seq>? AND seq<?";
                    assert!(!of_peer || plan.contains(range), "{name}: {plan}");
                }
            }
        });
    }

    struct Dice(u64);

    impl Dice {
        fn new() -> Self {
            let mut seed = [0; 8];
            OsRng.fill(&mut seed);
            let seed = u64::from_le_bytes(seed);
            println!("the dice start at {seed}");
            Self(seed | 1)
        }

        fn below(&mut self, limit: i64) -> i64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 1) as i64 % limit
        }

        fn index(&mut self, limit: usize) -> usize {
            self.below(limit as i64) as usize
        }

        fn filter(&mut self, last: i64) -> Filter {
            let peer = ["a@x", "b@x", "x", "nobody@x"][self.index(4)].to_owned();
            let peer = match self.below(3) {
                0 => Peer::Any,
                1 => Peer::Bare(peer),
                _ => Peer::Full(peer, ["", "r", "s"][self.index(3)].to_owned()),
            };
            let mut filter = Filter { peer, ..Filter::ALL };
            if self.below(2) == 0 {
                filter.after = self.below(last);
            }
            if self.below(2) == 0 {
                filter.before = self.below(last);
            }
            if self.below(2) == 0 {
                filter.since = self.below(1_500);
            }
            if self.below(2) == 0 {
                filter.until = self.below(1_500);
            }
            filter
        }
    }
}
