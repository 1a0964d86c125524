//! The words of archives (XEP-0431), in SQLite's FTS5.
//!
//! An account's archive is indexed when it is searched for the first time: at once as far as that is
//! quick, the newest messages first, and the rest behind. From then on the index follows it, before each
//! search and now and then; a message that is acknowledged has nothing to do with it.
//!
//! One index serves all archives, and each word in it begins with its archive: whoever searches walks
//! through postings of that one alone, so that neither results nor counts nor the time they take tell
//! anything of others. Every row that is found is looked up as that archive's own, and read once more.

mod find;
mod follow;
mod text;
pub mod words;

#[cfg(test)]
pub(super) use find::of_sqlite;
pub use find::{Finder, Hits, Indexed, Look};

use super::archive;
use super::damage::sound;
use super::ids::ArchiveId;
use super::tx::{Row, StoreError, Tx, query_all, query_optional};
use crate::base::hash::{hex, sha256};
use std::collections::BTreeSet;
use text::Texts;

/// How far the index of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Every message is in it.
    All,
    /// All that came since the first search, and what came before down to some position.
    New,
    /// Not even those.
    Behind,
}

/// How far the index of an archive is, compared with the messages that are indexed.
pub fn progress(tx: &mut dyn Tx, archive: ArchiveId) -> Result<Progress, StoreError> {
    let Some((_, last)) = archive::bounds(tx, archive)? else { return Ok(Progress::All) };
    Ok(match state(tx, archive)? {
        Some(state) if state.newest < last.seq => Progress::Behind,
        Some(state) if state.oldest > 0 => Progress::New,
        Some(_) => Progress::All,
        None => Progress::Behind,
    })
}

/// Some messages that were read to be indexed: all but the writing, for which other writes wait.
#[derive(Debug)]
pub struct Slice {
    archive: ArchiveId,
    was: Option<State>,
    becomes: State,
    rows: Vec<Words>,
}

/// Reads some more messages of an archive for its index: what is new, then what is old.
pub fn read(tx: &mut dyn Tx, archive: ArchiveId, rows: usize) -> Result<Slice, StoreError> {
    let was = state(tx, archive)?;
    let mut becomes = match was {
        Some(state) => state,
        None => {
            let last = archive::bounds(tx, archive)?.map_or(0, |(_, last)| last.seq);
            State { newest: last, oldest: last }
        }
    };
    let mut found = slice(tx, archive, NEWER, becomes.newest, rows)?;
    if let Some(last) = found.last() {
        becomes.newest = last.seq;
    } else if becomes.oldest > 0 {
        found = slice(tx, archive, OLDER, becomes.oldest, rows)?;
        becomes.oldest = found.last().map_or(0, |first| first.seq - 1);
        // The index is written in the order of its keys.
        found.reverse();
    }
    Ok(Slice { archive, was, becomes, rows: found })
}

/// Writes them, unless somebody else has written meanwhile: then the next slice is read from there.
pub fn write(tx: &mut dyn Tx, slice: &Slice) -> Result<(), StoreError> {
    let Slice { archive, was, becomes, rows } = slice;
    if state(tx, *archive)? != *was {
        return Ok(());
    }
    let sql = if was.is_some() { PROGRESS } else { BEGIN };
    tx.execute(sql, &[(*archive).into(), becomes.newest.into(), becomes.oldest.into()])?;
    for row in rows.iter().filter(|row| !row.words.is_empty()) {
        // What was deleted or emptied since it was read stays out.
        let current = archive::get(tx, *archive, row.seq)?;
        if current.is_some_and(|current| current.stanza == row.stanza) {
            tx.execute(ADD, &[row.seq.into(), row.words.as_str().into()])?;
        }
    }
    Ok(())
}

/// Takes rows out of the index, wherever they are deleted or emptied; those that are not in it are no
/// error.
pub fn forget(tx: &mut dyn Tx, seqs: &[i64]) -> Result<(), StoreError> {
    seqs.iter().try_for_each(|seq| tx.execute(FORGET, &[(*seq).into()]).map(drop))
}

/// The same for the rows of an archive after a position, up to another, while it still has them.
pub fn forget_between(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    after: i64,
    last: i64,
) -> Result<(), StoreError> {
    let rows = [archive.into(), after.into(), last.into()];
    let seqs = query_all(tx, BETWEEN, &rows, |row| row.int(0))?;
    forget(tx, &seqs)
}

/// The next archive that was searched.
pub fn searcher_after(
    tx: &mut dyn Tx,
    archive: ArchiveId,
) -> Result<Option<ArchiveId>, StoreError> {
    query_optional(tx, NEXT, &[archive.into()], |row| Ok(ArchiveId::from_key(row.int(0)?)))
}

/// The index follows an archive no more: its owner is gone. Rows that are in it go with those of the
/// archive.
pub fn leave(tx: &mut dyn Tx, archive: ArchiveId) -> Result<(), StoreError> {
    tx.execute(LEAVE, &[archive.into()])?;
    Ok(())
}

/// Empties the index of all archives, where it is not wanted any more.
pub fn drop_all(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.execute(EMPTY, &[])?;
    tx.execute(NOBODY, &[])?;
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    newest: i64,
    oldest: i64,
}

fn state(tx: &mut dyn Tx, archive: ArchiveId) -> Result<Option<State>, StoreError> {
    let state = |row: &dyn Row| Ok(State { newest: row.int(0)?, oldest: row.int(1)? });
    query_optional(tx, STATE, &[archive.into()], state)
}

/// A row to be indexed.
#[derive(Debug)]
struct Words {
    seq: i64,
    stanza: Vec<u8>,
    /// What the index gets of it.
    words: String,
}

/// Some rows, at least one if there is one.
fn slice(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    sql: &str,
    from: i64,
    limit: usize,
) -> Result<Vec<Words>, StoreError> {
    let (mut rows, mut full) = (Vec::new(), false);
    let (mut bytes, mut tokens) = (SLICE_BYTES, SLICE_TOKENS);
    tx.query(sql, &[archive.into(), from.into(), limit.into()], &mut |row| {
        // What cannot be read has no words.
        let of = (archive::TABLE, archive);
        let said = sound(of, row.text(1).and_then(|peer| Ok((peer, row.blob(2)?))));
        let (peer, stanza) = said.unwrap_or_default();
        let size = stanza.len();
        full |= (size > bytes || tokens == 0) && !rows.is_empty();
        if !full {
            bytes = bytes.saturating_sub(size);
            let (words, number) = words_of(archive, &peer, &stanza);
            tokens = tokens.saturating_sub(number);
            rows.push(Words { seq: row.int(0)?, stanza, words });
        }
        Ok(())
    })?;
    Ok(rows)
}

/// What the index gets of a message, and the number of its words.
fn words_of(archive: ArchiveId, peer: &str, stanza: &[u8]) -> (String, usize) {
    let said = Texts::read(stanza);
    let mut tokens = BTreeSet::new();
    if said.encrypted {
        tokens.insert(encrypted(archive));
    }
    for text in &said.texts {
        words::tokens(text, &mut |word| tokens.extend([token(archive, word)]));
    }
    if !tokens.is_empty() {
        tokens.insert(with(archive, peer));
    }
    let number = tokens.len();
    (tokens.into_iter().collect::<Vec<_>>().join(" "), number)
}

/// A word of an archive. Words have no `_`, so nothing that others wrote is one of these.
fn token(archive: ArchiveId, word: &str) -> String {
    format!("{:x}_{word}", archive.key())
}

/// What the rows have whose text nobody here can read.
fn encrypted(archive: ArchiveId) -> String {
    format!("{:x}_e_", archive.key())
}

/// What all rows with this bare JID have.
fn with(archive: ArchiveId, peer: &str) -> String {
    let digest = sha256(peer.as_bytes());
    format!("{:x}_p_{}", archive.key(), hex(digest.get(..8).unwrap_or_default()))
}

/// The statements that both engines take.
pub(super) fn catalogue() -> &'static [(&'static str, &'static str)] {
    CATALOGUE
}

super::sql! {
    STATE = "SELECT newest, oldest FROM archive_indexed WHERE archive = $1";
    BEGIN = "INSERT INTO archive_indexed (archive, newest, oldest) VALUES ($1, $2, $3)";
    PROGRESS = "UPDATE archive_indexed SET newest = $2, oldest = $3 WHERE archive = $1";
    NEXT = "SELECT archive FROM archive_indexed WHERE archive > $1 ORDER BY archive LIMIT 1";
    LEAVE = "DELETE FROM archive_indexed WHERE archive = $1";
    NOBODY = "DELETE FROM archive_indexed";
    NEWER = "SELECT r.seq, r.peer, r.stanza FROM archive_place p JOIN archive r ON r.seq = p.seq
        WHERE p.archive = $1 AND p.seq > $2 ORDER BY p.seq LIMIT $3";
    OLDER = "SELECT r.seq, r.peer, r.stanza FROM archive_place p JOIN archive r ON r.seq = p.seq
        WHERE p.archive = $1 AND p.seq <= $2 ORDER BY p.seq DESC LIMIT $3";
    BETWEEN = "SELECT seq FROM archive_place WHERE archive = $1 AND seq > $2 AND seq <= $3";
}

const ADD: &str = "INSERT INTO archive_words (rowid, words) VALUES ($1, $2)";
const FORGET: &str = "DELETE FROM archive_words WHERE rowid = $1";
const EMPTY: &str = "INSERT INTO archive_words (archive_words) VALUES ('delete-all')";
#[cfg(test)]
const OF_SQLITE: [(&str, &str); 2] = [("ADD", ADD), ("FORGET", FORGET)];
/// Messages that one write indexes: some milliseconds.
const SLICE: usize = 256;
/// And bytes of their stanzas.
const SLICE_BYTES: usize = 1_048_576;
/// And words; the last message may have more, up to what 32 KB hold.
const SLICE_TOKENS: usize = 4_000;

#[cfg(test)]
mod tests;
