//! XEP-0431: the words that the messages of a query must contain, and the part of the answer about messages
//! that cannot be searched.

use super::super::api::Cx;
use super::query::Query;
use super::select::{Bounds, Found, Selection};
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::archive::{self, Archived, Direction};
use crate::store::ids::ArchiveId;
use crate::store::search::words::SearchTerms;
use crate::store::search::{Finder, Hits, Indexed, Look};
use crate::store::tx::Tx;
use crate::xml::writer::Xml;

/// Notes in the end of an answer, in addition to its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Notes {
    searched: Option<Searched>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Searched {
    /// Whether the whole archive is in the search index.
    complete: bool,
    /// Encrypted messages that the other fields select, or this many of them.
    encrypted: usize,
    /// Whether there are more.
    or_more: bool,
}

impl Notes {
    /// XEP-0313 §4.4: messages that are still being indexed may be found next time.
    pub(super) fn stable(&self) -> Option<&'static str> {
        self.searched.filter(|searched| !searched.complete).map(|_| "false")
    }

    /// No specification defines an element for this. Clients ignore unknown elements.
    pub(super) fn write(&self, xml: &mut Xml) {
        let Some(searched) = self.searched else { return };
        xml.start("unsearchable").attr("xmlns", NOTE);
        xml.attr("encrypted", &searched.encrypted.to_string());
        xml.attr_opt("or-more", searched.or_more.then_some("true"));
        xml.end();
    }
}

/// Finds the page of a query with search words.
pub(super) async fn run(
    cx: &Cx,
    archive: ArchiveId,
    query: Query,
    search_terms: SearchTerms,
    bounds: Bounds,
) -> Result<(Found, Notes), StanzaError> {
    if !cx.config.search.enabled {
        // The same error as for any unknown field (XEP-0313 §4.1.5).
        return Err(StanzaError::feature_not_implemented().text("a field is not supported"));
    }
    let index_queue = cx.server.shared().search.clone();
    let turn = index_queue.turn().await;
    // promise.md 7: a message that was sent before the query is found.
    let complete = index_queue.searchable(&cx.store, archive).await?;
    if !complete {
        let (index_queue, store) = (index_queue.clone(), cx.store.clone());
        let rest = async move { index_queue.index(store, archive).await };
        cx.router.tasks.spawn("index of an archive", rest);
    }
    let read = move |tx: &mut dyn Tx| {
        // The read holds its turn even if the client has disconnected.
        let _turn = turn;
        let query = query.by_position(tx, archive)?;
        let finder = Finder::new(archive, &search_terms, &query.filter);
        let found = select(tx, archive, &finder, &query, bounds)?;
        let (encrypted, or_more) = finder.unsearchable(tx, COUNT_MAX)?;
        Ok(found.map(|found| (found, Searched { complete, encrypted, or_more })))
    };
    let Some((found, searched)) = cx.store.read(read).await? else {
        let text = "too many messages have to be looked at: search for other words, in a shorter \
                    time, or with one contact";
        return Err(StanzaError::policy_violation().text(text));
    };
    Ok((found, Notes { searched: Some(searched) }))
}

/// `None` if the search was given up.
fn select(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    finder: &Finder<'_>,
    query: &Query,
    bounds: Bounds,
) -> Result<Option<Found>, StoreError> {
    if let Some(ids) = &query.ids {
        return one_by_one(tx, archive, finder, query, ids, bounds);
    }
    let whole = (query.filter.after, query.filter.before);
    let (range, direction) = query.range();
    let mut range = (range.after, range.before);
    if let Some(index) = query.page.index {
        match finder.nth(tx, index)? {
            Indexed::At(position) => range.0 = range.0.max(position.saturating_sub(1)),
            Indexed::TooDeep => return Ok(Some(Found::TooDeep)),
            // XEP-0059 §2.6: an index beyond the last item gets an empty page.
            Indexed::Beyond => {
                let count = finder.count(tx, whole, COUNT_MAX)?;
                return Ok(Some(Found::Page(Selection { count, ..Selection::default() })));
            }
        }
    }
    let Hits { rows, more, given_up } =
        finder.page(tx, range, direction, bounds.messages, bounds.bytes)?;
    if given_up && bounds.messages > 0 {
        return Ok(None);
    }
    let count = finder.count(tx, whole, COUNT_MAX)?;
    // As in other queries, there is no index when paging backwards.
    let first = rows.first().filter(|_| direction == Direction::Forward && count.is_some());
    let index = match first {
        Some(first) => finder.count(tx, (whole.0, first.seq), COUNT_MAX)?,
        None => None,
    };
    Ok(Some(Found::Page(Selection { rows, more, index, count })))
}

/// Like [`select`], for messages that were requested by their ids.
fn one_by_one(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    finder: &Finder<'_>,
    query: &Query,
    ids: &[i64],
    bounds: Bounds,
) -> Result<Option<Found>, StoreError> {
    let mut matching: Vec<(usize, Archived)> = Vec::new();
    for position in ids {
        if archive::head(tx, archive, *position)?.is_none() {
            return Ok(Some(Found::NoSuchMessage));
        }
        let index = matching.len();
        match finder.look(tx, *position)? {
            Look::Hit(row) => matching.push((index, row)),
            Look::Other => {}
            Look::GivenUp => return Ok(None),
        }
    }
    let count = Some(matching.len());
    let (range, direction) = query.range();
    let from = query.page.index.unwrap_or(0);
    matching
        .retain(|(index, row)| *index >= from && range.after < row.seq && row.seq < range.before);
    if direction == Direction::Backward {
        matching.reverse();
    }
    let (mut rows, mut left, all) = (Vec::new(), bounds.bytes, matching.len());
    let first = matching.first().map(|(index, _)| *index);
    for (_, row) in matching {
        let size = row.stanza.len();
        if rows.len() >= bounds.messages || (size > left && !rows.is_empty()) {
            break;
        }
        left = left.saturating_sub(size);
        rows.push(row);
    }
    let more = rows.len() < all;
    let index = first.filter(|_| direction == Direction::Forward && !rows.is_empty());
    if direction == Direction::Backward {
        rows.reverse();
    }
    Ok(Some(Found::Page(Selection { rows, more, index, count })))
}

/// An element of our own: `<unsearchable encrypted='3'/>`.
const NOTE: &str = "urn:x-stonechat:search:0";
/// Maximum up to which messages are counted.
const COUNT_MAX: usize = 10_000;
