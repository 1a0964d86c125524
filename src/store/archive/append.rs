//! New rows.

use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx};
use super::unindexed;
use crate::base::hash::short;

/// How a message relates to the account whose archive it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// The account sent it.
    Sent = 0,
    /// It was sent to the account, and is not owed to it.
    Received = 1,
    /// It was sent to the account, and is owed to it until a session confirms it (promise.md 1).
    Owed = 2,
}

/// A new row.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its position, from [`submit_numbered`](crate::store::Store::submit_numbered).
    pub seq: i64,
    /// When it was received, in microseconds since 1970. It does not determine the order.
    pub at: i64,
    /// The archive it belongs to.
    pub archive: ArchiveId,
    /// The other side's bare JID.
    pub peer: &'a str,
    /// The other side's resourcepart, or empty.
    pub resource: &'a str,
    /// Its direction, and whether it is owed.
    pub kind: RowKind,
    /// The whole stanza as it was delivered, without our own id in it.
    pub stanza: &'a [u8],
}

/// Adds a message that is indexed at once and may be older than others.
pub fn append(tx: &mut dyn Tx, entry: &Entry<'_>) -> Result<(), StoreError> {
    append_old(tx, entry, None)
}

/// The same; `id` is the id given by its sender, by which it may be retracted.
pub fn append_old(
    tx: &mut dyn Tx,
    entry: &Entry<'_>,
    sent_id: Option<&str>,
) -> Result<(), StoreError> {
    append_behind(tx, entry, sent_id)?;
    let Entry { seq, at, archive, peer, resource, kind, stanza } = *entry;
    let (id, size) = (archive.into(), stanza.len().into());
    tx.execute(PLACE, &[id, seq.into(), (kind as i64).into(), size, at.into()])?;
    let id = archive.into();
    let short_id = sent_id.map(short).into();
    tx.execute(PEER, &[id, peer.into(), seq.into(), resource.into(), at.into(), short_id])?;
    unindexed::set_back(tx, archive, seq, at)
}

/// Adds a message that is newer than all others; `id` is the id given by its sender, by which it may be
/// retracted. Queries find it after [`index_new`](super::index_new), so the caller's job must call
/// [`Store::archived`](crate::store::Store::archived).
pub fn append_behind(
    tx: &mut dyn Tx,
    entry: &Entry<'_>,
    id: Option<&str>,
) -> Result<(), StoreError> {
    let params = [
        entry.seq.into(),
        entry.archive.into(),
        entry.peer.into(),
        entry.resource.into(),
        (entry.kind as i64).into(),
        entry.stanza.len().into(),
        entry.stanza.into(),
        id.map(short).into(),
        entry.at.into(),
    ];
    tx.execute(APPEND, &params)?;
    Ok(())
}

crate::store::sql! {
    APPEND = "INSERT INTO archive (seq, archive, peer, resource, kind, size, stanza, short_id, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    PLACE = "INSERT INTO archive_place (archive, seq, kind, size, at)
        VALUES ($1, $2, $3, $4, $5)";
    PEER = "INSERT INTO archive_with (archive, peer, seq, resource, at, short_id)
        VALUES ($1, $2, $3, $4, $5, $6)";
}
