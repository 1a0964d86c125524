//! Messages of another server's archive: older than others, and some of them here already.

use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx, query_all, query_optional};
use super::pages::Archived;

/// A position that nothing has, this one or a later one.
pub fn free_from(tx: &mut dyn Tx, from: i64) -> Result<i64, StoreError> {
    // In growing steps: a server without fractions of seconds has many messages of one moment.
    let (mut seq, mut step) = (from, 1_i64);
    while query_optional(tx, TAKEN, &[seq.into()], |row| row.int(0))?.is_some() {
        seq = seq.saturating_add(step);
        step = step.saturating_mul(2).min(STEP_MAX);
    }
    Ok(seq)
}

/// Some messages of a moment (microseconds since 1970) behind a position, in order: those that lie where messages of
/// that time do.
pub fn of_moment(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    at: i64,
    after: i64,
) -> Result<Vec<Archived>, StoreError> {
    let until = at.saturating_add(NEAR);
    let params = [archive.into(), after.into(), until.into(), at.into(), SAME_MAX.into()];
    query_all(tx, OF_MOMENT, &params, |row| {
        Ok(Archived { seq: row.int(0)?, at, stanza: row.blob(1)? })
    })
}

/// Messages within some seconds of a time, oldest first; a bounded number.
pub fn around(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    at: i64,
    peer: &str,
) -> Result<Vec<Archived>, StoreError> {
    let (from, until) = (at.saturating_sub(NEAR), at.saturating_add(NEAR));
    let params = [archive.into(), peer.into(), from.into(), until.into(), SAME_MAX.into()];
    query_all(tx, AROUND, &params, |row| {
        Ok(Archived { seq: row.int(0)?, at: row.int(1)?, stanza: row.blob(2)? })
    })
}

/// Two seconds.
const NEAR: i64 = 2_000_000;
const SAME_MAX: i64 = 64;
const STEP_MAX: i64 = 65_536;

crate::store::sql! {
    TAKEN = "SELECT 1 FROM archive WHERE seq = $1 UNION ALL SELECT 1 FROM mailbox WHERE seq = $1";
    OF_MOMENT = "SELECT r.seq, r.stanza FROM archive_place p JOIN archive r ON r.seq = p.seq
        WHERE p.archive = $1 AND p.seq > $2 AND p.seq <= $3 AND p.at = $4 ORDER BY p.seq LIMIT $5";
    AROUND = "SELECT r.seq, r.at, r.stanza FROM archive_with w JOIN archive r ON r.seq = w.seq
        WHERE w.archive = $1 AND w.peer = $2 AND w.seq >= $3 AND w.seq <= $4 ORDER BY w.seq LIMIT $5";
}
