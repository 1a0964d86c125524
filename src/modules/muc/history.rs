//! What was said last, for those who enter (XEP-0045 §7.2.13): from the archive, when a room is loaded.

use std::collections::VecDeque;

use super::config::Bounds;
use super::room::{Kept, Room};
use super::say::is_subject;
use super::speaker;
use crate::stanza::ids::stanza_id;
use crate::stanza::{Frame, Stanza};
use crate::store::Store;
use crate::store::archive::{self, Archived, Direction, Filter};
use crate::store::ids::ArchiveId;
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;

/// The last messages of the archive, oldest first, without their ids.
pub(super) fn load(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    max: u32,
    bounds: Bounds,
) -> Result<Vec<Kept>, StoreError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX).min(bounds.history_max);
    if max == 0 {
        return Ok(Vec::new());
    }
    let bytes = bounds.history_bytes_max;
    let page = archive::page(tx, archive, &Filter::ALL, Direction::Backward, max, bytes)?;
    let kept = |row: Archived| {
        let said = Stanza::ours(row.stanza.into())?;
        // A subject comes last (§7.2.15), and there is nothing to say of what was taken back.
        let is_told = !is_subject(&said) && !said.element().has_child(ns::RETRACT, "retracted");
        let frame = speaker::unmarked(&said).filter(|_| is_told)?.frame();
        Some(Kept { frame, at: row.at, seq: row.seq })
    };
    Ok(page.rows.into_iter().filter_map(kept).collect())
}

/// The same with their ids, as they were sent (XEP-0359).
pub(super) fn stamped(said: Vec<Kept>, room: &Room, store: &Store) -> VecDeque<Kept> {
    let Some(archive) = room.archive() else { return VecDeque::new() };
    let stamp = |kept: Kept| {
        let id = store.id_of_position(archive, kept.seq);
        let frame: Frame = kept.frame.with(&stanza_id(room.jid.as_str(), &id));
        Kept { frame, ..kept }
    };
    said.into_iter().map(stamp).collect()
}
