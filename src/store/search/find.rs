//! Searches an archive: pages and counts of hits, like those of any other filter.

use super::super::archive::{self, Archived, Direction, Filter, Head, Peer};
use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx, query_all, query_one};
use super::text::Texts;
use super::words::SearchTerms;
use super::{encrypted, token, with};
use std::cell::Cell;

/// A search of one archive.
#[derive(Debug)]
pub struct Finder<'q> {
    archive: ArchiveId,
    search_terms: &'q SearchTerms,
    filter: &'q Filter,
    /// The query for FTS5: built here, of quoted words only.
    wanted: String,
    /// Bytes of messages that this search may still read.
    left: Cell<usize>,
}

/// The result of looking at a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The message is a hit.
    Hit(Archived),
    /// It is no hit, or belongs to another archive.
    Other,
    /// It was not read, because the search has read too much.
    GivenUp,
}

/// A page of hits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hits {
    /// The messages in order.
    pub rows: Vec<Archived>,
    /// Whether there are more in the direction of reading.
    pub more: bool,
    /// Whether the search was given up: too many messages contain the parts of the text, but not the whole.
    pub given_up: bool,
}

/// The position of a hit by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexed {
    /// The position.
    At(i64),
    /// There are not that many hits.
    Beyond,
    /// It is too far in to be counted.
    TooDeep,
}

impl<'q> Finder<'q> {
    /// Searches for messages that contain all the terms and fit the filter.
    pub fn new(archive: ArchiveId, search_terms: &'q SearchTerms, filter: &'q Filter) -> Self {
        let words = search_terms.tokens();
        let words = words.iter().map(|word| token(archive, word));
        let wanted = expression(archive, words, &filter.peer);
        Self { archive, search_terms, filter, wanted, left: Cell::new(LOOKS_BYTES_MAX) }
    }

    /// Returns at most `limit` messages between two positions, and no more than fit in `bytes`; the first is
    /// returned whatever its size.
    pub fn page(
        &self,
        tx: &mut dyn Tx,
        (mut after, mut before): (i64, i64),
        direction: Direction,
        limit: usize,
        bytes: usize,
    ) -> Result<Hits, StoreError> {
        let mut hits = Hits::default();
        let (mut left, mut looks) = (bytes, LOOKS_MAX);
        while !self.search_terms.is_empty() {
            let few = (limit - hits.rows.len() + 1).min(BATCH).min(looks);
            let seqs = self.positions(tx, (after, before), direction, few)?;
            for seq in &seqs {
                let row = match self.look(tx, *seq)? {
                    Look::Hit(row) => row,
                    Look::Other => continue,
                    Look::GivenUp => return Ok(hits.given_up().in_order(direction)),
                };
                let size = row.stanza.len();
                hits.more = hits.rows.len() >= limit || (size > left && !hits.rows.is_empty());
                if hits.more {
                    return Ok(hits.in_order(direction));
                }
                left = left.saturating_sub(size);
                hits.rows.push(row);
            }
            looks -= seqs.len();
            let Some(last) = seqs.last().filter(|_| seqs.len() == few) else { break };
            match direction {
                Direction::Forward => after = *last,
                Direction::Backward => before = *last,
            }
            if looks == 0 {
                hits = hits.given_up();
                break;
            }
        }
        Ok(hits.in_order(direction))
    }

    /// Counts the hits between two positions; `None` if it would have to look at more than `cap`.
    pub fn count(
        &self,
        tx: &mut dyn Tx,
        (after, before): (i64, i64),
        cap: usize,
    ) -> Result<Option<usize>, StoreError> {
        if self.search_terms.is_empty() {
            return Ok(Some(0));
        }
        if self.is_exact() {
            return number(tx, &self.wanted, (after, before), cap);
        }
        let all = self.few(tx, (after, before))?;
        Ok(all.map(|all| all.len()).filter(|number| *number <= cap))
    }

    /// Returns the position of the hit that has this many before it.
    pub fn nth(&self, tx: &mut dyn Tx, index: usize) -> Result<Indexed, StoreError> {
        let range = (self.filter.after, self.filter.before);
        if self.search_terms.is_empty() {
            return Ok(Indexed::Beyond);
        }
        if !self.is_exact() {
            let all = self.few(tx, range)?;
            let at =
                |all: Vec<i64>| all.get(index).map_or(Indexed::Beyond, |seq| Indexed::At(*seq));
            return Ok(all.map_or(Indexed::TooDeep, at));
        }
        if index > NUMBER_MAX {
            return Ok(Indexed::TooDeep);
        }
        let seqs = self.positions(tx, range, Direction::Forward, index + 1)?;
        Ok(seqs.get(index).map_or(Indexed::Beyond, |seq| Indexed::At(*seq)))
    }

    /// Returns the message if it is in the archive, fits the filter and contains the terms.
    pub fn look(&self, tx: &mut dyn Tx, seq: i64) -> Result<Look, StoreError> {
        let fits = |head: &Head| self.filter.fits(head);
        let Some(head) = archive::head(tx, self.archive, seq)?.filter(fits) else {
            return Ok(Look::Other);
        };
        let Some(left) = self.left.get().checked_sub(head.size) else {
            self.left.set(0);
            return Ok(Look::GivenUp);
        };
        self.left.set(left);
        let row = archive::get(tx, self.archive, seq)?;
        let row = row.filter(|row| {
            self.search_terms.is_in(Texts::read(&row.stanza).texts.iter().map(String::as_str))
        });
        Ok(row.map_or(Look::Other, Look::Hit))
    }

    /// Counts the encrypted messages that fit the filter and that no search finds; the second value is true
    /// if there are more.
    pub fn unsearchable(&self, tx: &mut dyn Tx, cap: usize) -> Result<(usize, bool), StoreError> {
        let range = (self.filter.after, self.filter.before);
        let one = std::iter::once(encrypted(self.archive));
        let wanted = expression(self.archive, one, &self.filter.peer);
        Ok(match number(tx, &wanted, range, cap)? {
            Some(number) => (number, false),
            None => (cap, true),
        })
    }

    /// Whether the index alone decides which messages fit.
    fn is_exact(&self) -> bool {
        let known = self.filter.is_by_position() && !matches!(self.filter.peer, Peer::Full(..));
        known && self.search_terms.is_exact()
    }

    /// Returns all hits, if only a few messages must be looked at.
    fn few(&self, tx: &mut dyn Tx, range: (i64, i64)) -> Result<Option<Vec<i64>>, StoreError> {
        let seqs = self.positions(tx, range, Direction::Forward, FEW + 1)?;
        if seqs.len() > FEW {
            return Ok(None);
        }
        let mut all = Vec::new();
        for seq in seqs {
            match self.look(tx, seq)? {
                Look::Hit(row) => all.push(row.seq),
                Look::Other => {}
                Look::GivenUp => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// Returns the positions of hits according to the index.
    fn positions(
        &self,
        tx: &mut dyn Tx,
        (after, before): (i64, i64),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let sql = if direction == Direction::Forward { UP } else { DOWN };
        let wanted = [self.wanted.as_str().into(), after.into(), before.into(), limit.into()];
        query_all(tx, sql, &wanted, |row| row.int(0))
    }
}

impl Hits {
    /// A client that got hits can continue after them, so only an empty page counts as given up.
    fn given_up(mut self) -> Self {
        (self.more, self.given_up) = (true, self.rows.is_empty());
        self
    }

    fn in_order(mut self, direction: Direction) -> Self {
        if direction == Direction::Backward {
            self.rows.reverse();
        }
        self
    }
}

/// In quotes, each word is that word and never an operator.
fn expression(archive: ArchiveId, words: impl Iterator<Item = String>, peer: &Peer) -> String {
    let peer = match peer {
        Peer::Any => None,
        Peer::Bare(bare) | Peer::Full(bare, _) => Some(with(archive, bare)),
    };
    let all: Vec<_> = words.chain(peer).map(|word| format!("\"{word}\"")).collect();
    all.join(" AND ")
}

fn number(
    tx: &mut dyn Tx,
    wanted: &str,
    (after, before): (i64, i64),
    cap: usize,
) -> Result<Option<usize>, StoreError> {
    let limit = cap.saturating_add(1).into();
    let params = [wanted.into(), after.into(), before.into(), limit];
    let number = query_one(tx, COUNT, &params, |row| row.int(0))?;
    Ok(usize::try_from(number).ok().filter(|number| *number <= cap))
}

const UP: &str = "SELECT rowid FROM archive_words WHERE archive_words MATCH $1
    AND rowid > $2 AND rowid < $3 ORDER BY rowid LIMIT $4";
const DOWN: &str = "SELECT rowid FROM archive_words WHERE archive_words MATCH $1
    AND rowid > $2 AND rowid < $3 ORDER BY rowid DESC LIMIT $4";
const COUNT: &str = "SELECT COUNT(*) FROM (SELECT rowid FROM archive_words
    WHERE archive_words MATCH $1 AND rowid > $2 AND rowid < $3 LIMIT $4) AS found";
#[cfg(test)]
const OF_SQLITE: [(&str, &str); 3] = [("UP", UP), ("DOWN", DOWN), ("COUNT", COUNT)];
/// Candidates fetched from the index at once.
const BATCH: usize = 256;
/// Messages that one page may read.
const LOOKS_MAX: usize = 5_000;
/// Bytes of messages that one query may read: for its page, its count and its index together.
const LOOKS_BYTES_MAX: usize = 8_388_608;
/// Messages that are read to count them.
const FEW: usize = 1_000;
/// A page may be requested by an index up to here.
const NUMBER_MAX: usize = 10_000;

/// The statements for SQLite alone: PostgreSQL has a search of its own, and will have a file of its own.
#[cfg(test)]
pub(in crate::store) fn of_sqlite() -> Vec<(&'static str, &'static str)> {
    [&super::OF_SQLITE[..], &OF_SQLITE[..]].concat()
}
