//! A client's query (XEP-0313 §4): the form, the page and the options.

use std::cell::Cell;
use std::time::SystemTime;

use super::search_terms::{self, search_terms};
use crate::base::time;
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::stanza::form::Form;
use crate::stanza::iq::Iq;
use crate::stanza::rsm::Rsm;
use crate::store::archive::{self, Direction, Filter, Peer};
use crate::store::ids::ArchiveId;
use crate::store::search::words::SearchTerms;
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;
use crate::xml::view::Node;

/// A query; its message ids are decoded into positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Repeated in every result.
    pub(super) queryid: Option<String>,
    /// Which messages match the form.
    pub(super) filter: Filter,
    /// The words that matching messages must contain (XEP-0431).
    pub(super) search_terms: Option<SearchTerms>,
    /// Only the messages with these ids, in order.
    pub(super) ids: Option<Vec<i64>>,
    /// Which of the matching messages make the page.
    pub(super) page: Wanted,
    /// Whether the page is sent newest message first.
    pub(super) flip: bool,
    /// The oldest position that the query names by an id.
    pub(super) oldest: Option<i64>,
    max: Option<usize>,
}

/// The place of the page (XEP-0059).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Behind this position.
    pub(super) after: Option<i64>,
    /// Before this position; the largest value stands for the end of the archive.
    pub(super) before: Option<i64>,
    /// From the message with this index on.
    pub(super) index: Option<usize>,
}

pub(super) fn no_such_message() -> StanzaError {
    StanzaError::item_not_found().text("no message of this id is in the archive")
}

impl Query {
    /// Parses a request; `open` decodes the id of a message. An id that the server did not make is
    /// `item-not-found`. An id that it made is a position, even if there is no such message: a crash may have
    /// lost it after a device saw it.
    pub(super) fn read(iq: &Iq, open: impl Fn(&str) -> Option<i64>) -> Result<Self, StanzaError> {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let queryid = query.attr("queryid").map(str::to_owned);
        if queryid.as_deref().is_some_and(|id| id.len() > QUERYID_BYTES_MAX) {
            return Err(StanzaError::policy_violation().text("the queryid is too long"));
        }
        let oldest = Cell::new(None);
        let position = |id: &str| {
            let position = open(id).ok_or_else(no_such_message)?;
            oldest.set(Some(oldest.get().map_or(position, |oldest: i64| oldest.min(position))));
            Ok(position)
        };
        let (filter, ids, search_terms) = match Form::submitted(query)? {
            Some(form) => (filter(&form, &position)?, ids(&form, &position)?, search_terms(&form)?),
            None => (Filter::ALL, None, None),
        };
        let rsm = Rsm::read(query)?;
        let page = Wanted {
            after: rsm.after.as_deref().or(astray(query, &rsm)).map(position).transpose()?,
            before: match rsm.before.as_deref() {
                Some("") => Some(i64::MAX),
                Some(id) => Some(position(id)?),
                None => None,
            },
            index: rsm.index,
        };
        let flip = query.child(ns::MAM, "flip-page").is_some();
        Ok(Self {
            queryid,
            filter,
            search_terms,
            ids,
            page,
            flip,
            oldest: oldest.get(),
            max: rsm.max,
        })
    }

    /// This query with its times replaced by positions.
    pub(super) fn by_position(
        &self,
        tx: &mut dyn Tx,
        archive: ArchiveId,
    ) -> Result<Self, StoreError> {
        Ok(Self { filter: archive::narrowed(tx, archive, &self.filter)?, ..self.clone() })
    }

    /// Maximum number of messages on the page.
    pub(super) fn max(&self) -> usize {
        self.max.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)
    }

    /// The range of which the page is the first or the last part. XEP-0313 §9: `before` means paging
    /// backwards. We apply this also together with an `after`, which the XEP leaves open.
    pub(super) fn range(&self) -> (Filter, Direction) {
        let mut range = self.filter.clone();
        range.after = range.after.max(self.page.after.unwrap_or(i64::MIN));
        range.before = range.before.min(self.page.before.unwrap_or(i64::MAX));
        let backward = self.page.before.is_some();
        (range, if backward { Direction::Backward } else { Direction::Forward })
    }
}

/// An `<after/>` next to the `<set/>`, which profanity 0.13 writes. If it were ignored, the query would
/// return the same page again, and each message would be shown twice.
fn astray<'d>(query: Node<'d>, rsm: &Rsm) -> Option<&'d str> {
    let lost = query.child(ns::MAM, "after").filter(|_| *rsm == Rsm::default());
    lost.map(Node::text).filter(|id| !id.is_empty())
}

/// §4.1.1 to §4.1.4
fn filter(
    form: &Form<'_>,
    position: &impl Fn(&str) -> Result<i64, StanzaError>,
) -> Result<Filter, StanzaError> {
    // XEP-0313 §4.1: FORM_TYPE MUST be there.
    if form.form_type() != Some(ns::MAM) || form.values("FORM_TYPE").len() != 1 {
        return Err(StanzaError::bad_request().text("the FORM_TYPE is not urn:xmpp:mam:2"));
    }
    let known =
        |var: &str| var == search_terms::FIELD || FIELDS.iter().any(|(_, name)| *name == var);
    if form.fields().any(|field| !known(field.var)) {
        // §4.1.5
        return Err(StanzaError::feature_not_implemented().text("a field is not supported"));
    }
    let mut filter = Filter { peer: peer(form.value("with")?)?, ..Filter::ALL };
    if let Some(start) = form.value("start")? {
        filter.since = time_from(date(start)?);
    }
    if let Some(end) = form.value("end")? {
        filter.until = time_to(date(end)?);
    }
    if let Some(id) = form.value("after-id")? {
        filter.after = filter.after.max(position(id)?);
    }
    if let Some(id) = form.value("before-id")? {
        filter.before = filter.before.min(position(id)?);
    }
    // Messages of rooms are in no account's archive, so the value makes no difference.
    if form.value(GROUPCHAT)?.is_some_and(|value| !BOOLEANS.contains(&value)) {
        return Err(StanzaError::not_acceptable().text("neither true nor false"));
    }
    Ok(filter)
}

/// The ids of the messages that are requested; an empty list is no restriction.
fn ids(
    form: &Form<'_>,
    position: &impl Fn(&str) -> Result<i64, StanzaError>,
) -> Result<Option<Vec<i64>>, StanzaError> {
    let ids = form.values(IDS);
    if ids.len() > PAGE_MAX {
        return Err(StanzaError::policy_violation().text("too many ids"));
    }
    let mut positions: Vec<i64> = ids.iter().map(|id| position(id)).collect::<Result<_, _>>()?;
    positions.sort_unstable();
    positions.dedup();
    Ok((!positions.is_empty()).then_some(positions))
}

/// §4.1.1: a bare JID matches all its resources. The account's own bare JID matches messages to itself,
/// because only those have it as the peer.
fn peer(with: Option<&str>) -> Result<Peer, StanzaError> {
    let Some(with) = with else { return Ok(Peer::Any) };
    // XEP-0004 §4 requires this error for all invalid values.
    let jid = Jid::parse(with)
        .map_err(|_| StanzaError::not_acceptable().text("the value of `with` is no JID"))?;
    let bare = jid.bare_str().to_owned();
    Ok(match jid.resource() {
        Some(resource) => Peer::Full(bare, resource.to_owned()),
        None => Peer::Bare(bare),
    })
}

fn date(text: &str) -> Result<SystemTime, StanzaError> {
    let wrong = || StanzaError::not_acceptable().text("a time is not as in XEP-0082");
    time::parse(text.trim()).ok_or_else(wrong)
}

/// The first microsecond of a time. Clients see the times of messages in whole milliseconds, so times are
/// compared in milliseconds (§4.1.2: equal or later).
fn time_from(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
    millis.saturating_mul(1_000)
}

/// The last microsecond of a time (§4.1.2: equal or earlier).
fn time_to(at: SystemTime) -> i64 {
    let Ok(since) = at.duration_since(SystemTime::UNIX_EPOCH) else { return -1 };
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    millis.saturating_add(1).saturating_mul(1_000).saturating_sub(1)
}

/// Type and name of the form's fields (§4.1.5).
pub(super) const FIELDS: [(&str, &str); 7] = [
    ("jid-single", "with"),
    ("text-single", "start"),
    ("text-single", "end"),
    ("text-single", "before-id"),
    ("text-single", "after-id"),
    ("list-multi", IDS),
    ("boolean", GROUPCHAT),
];
const IDS: &str = "ids";
const GROUPCHAT: &str = "include-groupchat";
/// XEP-0004 §3.3
const BOOLEANS: [&str; 4] = ["true", "false", "1", "0"];
/// Messages of a page if the client names no number.
const PAGE_DEFAULT: usize = 50;
/// Maximum number of messages of a page, and of ids in one query.
const PAGE_MAX: usize = 250;
/// Its maximum length, because it is repeated in every result.
const QUERYID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_in_the_milliseconds_that_clients_see() {
        for (text, first, last) in [
            ("1970-01-01T00:00:01Z", 1_000_000, 1_000_999),
            ("1970-01-01T01:00:01+01:00", 1_000_000, 1_000_999),
            ("1970-01-01T00:00:01.123Z", 1_123_000, 1_123_999),
            // A message of .1234 is shown as .123, which is earlier than this.
            ("1970-01-01T00:00:01.1235Z", 1_124_000, 1_123_999),
            ("1969-12-31T23:59:59Z", 0, -1),
        ] {
            let at = date(text).unwrap();
            let range = (time_from(at), time_to(at));
            assert_eq!(range, (first, last), "{text}");
        }
        assert!(time_to(date("9999-12-31T23:59:59Z").unwrap()) > 0);
        for wrong in ["", "today", "1970-01-01", "1970-01-01T00:00:00", "19700101T00:00:00"] {
            assert_eq!(date(wrong).unwrap_err().condition.as_str(), "not-acceptable", "{wrong}");
        }
    }

    #[test]
    fn with_is_anybody_a_bare_or_a_full_jid() {
        for (with, expected) in [
            (None, Ok(Peer::Any)),
            (Some("Juliet@Capulet.example"), Ok(Peer::Bare("juliet@capulet.example".to_owned()))),
            (Some("capulet.example"), Ok(Peer::Bare("capulet.example".to_owned()))),
            (Some("a@b/C"), Ok(Peer::Full("a@b".to_owned(), "C".to_owned()))),
            (Some("@b"), Err("not-acceptable")),
            (Some("a b@c"), Err("not-acceptable")),
        ] {
            let got = peer(with).map_err(|error| error.condition.as_str().to_owned());
            assert_eq!(got, expected.map_err(str::to_owned), "{with:?}");
        }
    }
}
