//! The messages of a page, in one read of the store.

use super::query::Query;
use crate::store::archive::{self, Archived, Direction, Filter, Head};
use crate::store::ids::ArchiveId;
use crate::store::tx::{StoreError, Tx};

/// The maximum size of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Messages.
    pub(super) messages: usize,
    /// Bytes of their stanzas.
    pub(super) bytes: usize,
}

/// The outcome of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A page, possibly empty.
    Page(Selection),
    /// A message that was requested by its id is not in the archive (XEP-0313 §4.1.3).
    NoSuchMessage,
    /// The page was requested by an index that is too large to count up to.
    TooDeep,
}

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Its messages in order.
    pub(super) rows: Vec<Archived>,
    /// Whether there are more in the direction of paging.
    pub(super) more: bool,
    /// The number of matching messages before the first one. Left out when paging backwards (XEP-0059 §2.1):
    /// slixmpp 1.17 would take the last page for the end.
    pub(super) index: Option<usize>,
    /// The number of all matching messages.
    pub(super) count: Option<usize>,
}

/// Selects the page of a query.
pub(super) fn select(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    query: &Query,
    bounds: Bounds,
) -> Result<Found, StoreError> {
    // §4.3.2: the position of an expired message is no longer valid. Retention deletes only from the start,
    // so a message missing after the first one was never durable.
    if let Some(oldest) = query.oldest
        && archive::first(tx, archive)?.is_none_or(|first| oldest < first)
    {
        return Ok(Found::NoSuchMessage);
    }
    let query = &query.by_position(tx, archive)?;
    if let Some(ids) = &query.ids {
        return one_by_one(tx, archive, query, ids, bounds);
    }
    let (mut range, direction) = query.range();
    if let Some(index) = query.page.index {
        let count = archive::count(tx, archive, &query.filter, COUNT_MAX)?;
        // XEP-0059 §2.6: an index beyond the last item gets an empty page.
        let beyond = count.is_some_and(|count| index >= count);
        let position = match index {
            _ if beyond => None,
            0..=COUNT_MAX => archive::position_of(tx, archive, &range, index)?,
            _ => return Ok(Found::TooDeep),
        };
        let Some(position) = position else {
            return Ok(Found::Page(Selection { count, ..Selection::default() }));
        };
        range.after = position.saturating_sub(1);
    }
    let page = archive::page(tx, archive, &range, direction, bounds.messages, bounds.bytes)?;
    let first = page.rows.first().map(|row| row.seq);
    let (index, count) = match direction {
        Direction::Forward => position(tx, archive, &query.filter, first)?,
        Direction::Backward => (None, archive::count(tx, archive, &query.filter, COUNT_MAX)?),
    };
    Ok(Found::Page(Selection { rows: page.rows, more: page.more, index, count }))
}

/// The number of messages that match before a position, and of all that match. `None` if there are too many.
fn position(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    filter: &Filter,
    first: Option<i64>,
) -> Result<(Option<usize>, Option<usize>), StoreError> {
    let Some(first) = first else {
        return Ok((None, archive::count(tx, archive, filter, COUNT_MAX)?));
    };
    let before = Filter { before: first, ..filter.clone() };
    let Some(index) = archive::count(tx, archive, &before, COUNT_MAX)? else {
        return Ok((None, None));
    };
    let from = Filter { after: first.saturating_sub(1), ..filter.clone() };
    let rest = archive::count(tx, archive, &from, COUNT_MAX.saturating_sub(index))?;
    Ok((rest.map(|_| index), rest.map(|rest| index.saturating_add(rest))))
}

/// Like [`select`], for messages that were requested by their ids: few enough to look at each.
fn one_by_one(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    query: &Query,
    ids: &[i64],
    bounds: Bounds,
) -> Result<Found, StoreError> {
    let mut matching: Vec<Head> = Vec::new();
    for position in ids {
        let Some(head) = archive::head(tx, archive, *position)? else {
            return Ok(Found::NoSuchMessage);
        };
        if query.filter.fits(&head) {
            matching.push(head);
        }
    }
    let (range, direction) = query.range();
    let from = query.page.index.unwrap_or(0);
    let numbered = matching.iter().enumerate();
    let mut left: Vec<_> =
        numbered.filter(|(index, head)| *index >= from && range.fits(head)).collect();
    if direction == Direction::Backward {
        left.reverse();
    }
    let mut selection = Selection { count: Some(matching.len()), ..Selection::default() };
    let mut bytes = 0;
    for (index, head) in left {
        bytes += head.size;
        let first = selection.rows.is_empty();
        if selection.rows.len() >= bounds.messages || (bytes > bounds.bytes && !first) {
            selection.more = true;
            break;
        }
        selection.rows.extend(archive::get(tx, archive, head.seq)?);
        if first && direction == Direction::Forward {
            selection.index = Some(index);
        }
    }
    if direction == Direction::Backward {
        selection.rows.reverse();
    }
    Ok(Found::Page(selection))
}

/// Maximum up to which matching messages are counted, and index by which a page may be requested.
const COUNT_MAX: usize = 10_000;
