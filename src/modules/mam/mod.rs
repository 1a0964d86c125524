//! XEP-0313: Message Archive Management: accounts query their own archives.

mod config;
mod keep;
pub mod moves;
mod policy;
mod preferences;
mod query;
mod retention;
mod search;
mod search_terms;
mod select;

pub use config::{Config, HostRule};
pub use policy::Preferences;

use std::time::Duration;

use bytes::Bytes;

use super::api::{Cx, IqHandler, IqRoute, Module, On, Phase, Reply, Spec, Target};
use crate::base::time::{from_micros, stamp};
use crate::stanza::form::{self, Written};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::rsm::Set;
use crate::stanza::{Stanza, StanzaError, delay, forward};
use crate::store::Store;
use crate::store::archive::{self, Archived};
use crate::store::damage;
use crate::store::ids::ArchiveId;
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::writer::Xml;
use query::{Query, no_such_message};
use search::Notes;
use select::{Bounds, Found, Selection};

/// The module.
pub const MODULE: Module = Module {
    name: "mam",
    serves: Some(|config, account| config.mam.archives(account)),
    specs: &[
        Spec::partial(
            "XEP-0313",
            "1.1.3",
            "no archives of nodes; those of rooms are searched by nicknames, not by real addresses \
             (§4.1.1); an id of ours whose message a crash lost is a position and not unknown, for a device \
             may have seen it; strangers get service-unavailable, who may not know of an archive",
            "src/modules/mam/tests.rs",
        ),
        Spec::partial(
            "XEP-0441",
            "0.2.0",
            "no command node for more settings (§2.2, optional)",
            "features/archive_preferences.rs",
        ),
        Spec::partial(
            "XEP-0059",
            "1.0",
            "pages that are asked for backwards come without an index (§2.1, optional in XEP-0313 §4.3.2): \
             slixmpp 1.17 takes one as the end of the way back and stops",
            "src/modules/mam/tests.rs",
        ),
        Spec::partial(
            "XEP-0004",
            "2.13.2",
            "no forms with several items (§3.4)",
            "src/stanza/form.rs",
        ),
        Spec::whole("XEP-0297", "1.0", "src/stanza/forward.rs"),
    ],
    shown: Some(|config| config.mam.archives_all()),
    active: Some(|config| config.mam.enabled),
    account_deleted: Some(|tx, account| archive::leave(tx, ArchiveId::of(account))),
    sql: &[policy::CATALOGUE],
    // §7: on the JIDs that have archives. The domain has none, but profanity looks only there.
    features: &[
        On::Server(ns::MAM),
        On::Account(ns::MAM),
        On::Account(EXTENDED),
        On::Account(GROUPCHAT_FIELD),
        // XEP-0424 §2: retractions are archived.
        On::Server(ns::RETRACT),
        On::Account(ns::RETRACT),
        On::Account(ns::RSM),
    ],
    iqs: &[
        own(IqType::Set, "query", |cx, iq| {
            Box::pin(async move { answer(cx.clone(), Source::own(&cx)?, iq).await })
        }),
        own(IqType::Get, "query", |cx, iq| Box::pin(async move { fields(&cx, &iq) })),
        own(IqType::Get, "metadata", |cx, iq| Box::pin(metadata(cx, iq))),
        own(IqType::Get, "prefs", |cx, _| Box::pin(async move { preferences::get(&cx) })),
        own(IqType::Set, "prefs", |cx, iq| Box::pin(preferences::set(cx, iq))),
    ],
    bound: Some(|cx| Box::pin(at_login(cx))),
    incoming: &[(Phase::Archive, keep::received)],
    outgoing: &[(Phase::Archive, keep::sent)],
    sessions: Some(keep::sessions),
    every: Some((Duration::from_secs(3_600), retention::run)),
    moves: moves::MOVES,
    ..Module::EMPTY
};

/// Requests to another account's archive are refused in the same way whether that account exists or not, so
/// that its existence is not revealed (RFC 6121 §8.5.1).
const fn own(ty: IqType, name: &'static str, handler: IqHandler) -> IqRoute {
    IqRoute { ty, ns: ns::MAM, name, targets: &[Target::Own], handler }
}

/// An archive, and the bare JID that it belongs to.
pub(in crate::modules) struct Source {
    /// Its key.
    pub(in crate::modules) archive: ArchiveId,
    /// The 'from' of its results.
    pub(in crate::modules) address: String,
    /// A stored message as this requester may see it.
    pub(in crate::modules) show: fn(&Stanza) -> Bytes,
}

impl Source {
    /// The requester's own archive.
    fn own(cx: &Cx) -> Result<Self, StanzaError> {
        let archive = ArchiveId::of(cx.account()?);
        let show = |stanza: &Stanza| stanza.element().raw().clone();
        Ok(Self { archive, address: cx.jid().bare_str().to_owned(), show })
    }
}

/// Answers a query with the messages of a page, followed by the result (§4). The caller has checked that the
/// requester may read the archive.
pub(in crate::modules) async fn answer(
    cx: Cx,
    source: Source,
    iq: Iq,
) -> Result<Reply, StanzaError> {
    let archive = source.archive;
    without_node(&iq)?;
    let mut query = Query::read(&iq, |id| cx.store.position_of_id(archive, id))?;
    let writer = Results { cx: &cx, source, queryid: query.queryid.clone() };
    let bounds = writer.bounds(query.max());
    let flip = query.flip;
    let (found, notes) = match query.search_terms.take() {
        Some(search_terms) => search::run(&cx, archive, query, search_terms, bounds).await?,
        None => {
            // promise.md 7: a message that was sent before the query is found.
            cx.store.archive_indexed(archive).await?;
            let select = move |tx: &mut dyn Tx| select::select(tx, archive, &query, bounds);
            (cx.store.read(select).await?, Notes::default())
        }
    };
    match found {
        Found::Page(selection) => Ok(writer.reply(selection, flip, notes)),
        Found::NoSuchMessage => Err(no_such_message()),
        // XEP-0059 §2.6
        Found::TooDeep => {
            Err(StanzaError::feature_not_implemented().text("the index is too large"))
        }
    }
}

/// §5
async fn metadata(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let archive = ArchiveId::of(cx.account()?);
    metadata_of(&cx, archive, &iq).await
}

/// The same, of an archive that the caller has checked.
pub(in crate::modules) async fn metadata_of(
    cx: &Cx,
    archive: ArchiveId,
    iq: &Iq,
) -> Result<Reply, StanzaError> {
    without_node(iq)?;
    Ok(Reply::payload(describe(&cx.store, archive).await?))
}

/// XEP-0386 §3.2: the same metadata in `<bound/>`; nothing for a requester without an archive.
async fn at_login(cx: Cx) -> Vec<u8> {
    let described = async { describe(&cx.store, ArchiveId::of(cx.account()?)).await };
    match described.await {
        Ok(metadata) => metadata.into(),
        Err(error) => {
            tracing::debug!(%error, "no metadata of the archive for a login");
            Vec::new()
        }
    }
}

async fn describe(store: &Store, archive: ArchiveId) -> Result<Bytes, StanzaError> {
    store.archive_indexed(archive).await?;
    let bounds = store.read(move |tx| archive::bounds(tx, archive)).await?;
    let mut xml = Xml::new();
    xml.start("metadata").attr("xmlns", ns::MAM);
    if let Some((first, last)) = bounds {
        for (name, point) in [("start", first), ("end", last)] {
            let id = store.id_of_position(archive, point.seq);
            let at = stamp(from_micros(point.at));
            xml.start(name).attr("id", &id).attr("timestamp", &at).end();
        }
    }
    xml.end();
    Ok(xml.finish())
}

/// §4.1.5
fn fields(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    cx.account()?;
    fields_of(cx, iq)
}

/// The same, of any archive.
pub(in crate::modules) fn fields_of(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    without_node(iq)?;
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ns::MAM);
    form::start(&mut xml, Written::Form, ns::MAM);
    for (ty, var) in query::FIELDS {
        xml.start("field").attr("type", ty).attr("var", var);
        if ty == "list-multi" {
            // An open list, which accepts other values too (XEP-0122 §3.2.2).
            xml.start("validate").attr("xmlns", VALIDATE).attr("datatype", "xs:string");
            xml.start("open").end().end();
        }
        xml.end();
    }
    if cx.config.search.enabled {
        form::field(&mut xml, "text-single", search_terms::FIELD, &[]);
    }
    xml.end().end();
    Ok(Reply::payload(xml.finish()))
}

/// §7: what an entity with an archive says in service discovery.
pub(in crate::modules) fn features(cx: &Cx) -> impl Iterator<Item = &'static str> {
    let searched = cx.config.search.enabled.then_some("urn:xmpp:fulltext:0");
    [ns::MAM, EXTENDED, ns::RSM].into_iter().chain(searched)
}

/// §6.1.3: a node would mean a pubsub archive.
fn without_node(iq: &Iq) -> Result<(), StanzaError> {
    let doc = iq.stanza().element().view();
    let node = doc.root().first_child().and_then(|query| query.attr("node"));
    match node {
        None | Some("") => Ok(()),
        Some(_) => Err(StanzaError::feature_not_implemented().text("there are no nodes here")),
    }
}

/// Writes the results of a query.
struct Results<'a> {
    cx: &'a Cx,
    source: Source,
    queryid: Option<String>,
}

impl Results<'_> {
    /// The bounds of a page. It must fit into the client's outbox, whatever the length of its addresses and
    /// its `queryid`, which are repeated in each message.
    fn bounds(&self, max: usize) -> Bounds {
        let page = PAGE_BYTES_MAX.min(self.cx.router.limits.outbox_bytes_max / 2);
        let jid = self.cx.jid().as_str().len();
        let each = 512 + 4 * jid + 2 * self.queryid.as_deref().map_or(0, str::len);
        let messages = if max == 0 { 0 } else { max.min(page / 4 / each).max(1) };
        Bounds { messages, bytes: page / 4 * 3 }
    }

    /// §4.2: the messages, followed by the end of the page (§4.3.2).
    fn reply(&self, selection: Selection, flip: bool, notes: Notes) -> Reply {
        let mut ids = [selection.rows.first(), selection.rows.last()]
            .map(|row| row.map(|row| self.id(row.seq)).unwrap_or_default());
        let [first, last] = &mut ids;
        let set = Set {
            edges: (!selection.rows.is_empty()).then_some((first.as_str(), last.as_str())),
            index: selection.index,
            count: selection.count,
        };
        let complete = if selection.more { "false" } else { "true" };
        let mut xml = Xml::new();
        xml.start("fin").attr("xmlns", ns::MAM).attr("complete", complete);
        xml.attr_opt("stable", notes.stable());
        set.write(&mut xml);
        notes.write(&mut xml);
        xml.end();
        let mut ahead: Vec<Bytes> =
            selection.rows.into_iter().filter_map(|row| self.message(row)).collect();
        if flip {
            // §4.3.4: the order on the wire changes; the page stays the same.
            ahead.reverse();
        }
        Reply { ahead, ..Reply::payload(xml.finish()) }
    }

    /// `None` for a damaged message. The page still names its position, so that paging continues behind it.
    fn message(&self, row: Archived) -> Option<Bytes> {
        // Bytes from the store are sent to a client only after the gate has checked them.
        let Some(stanza) = Stanza::ours(row.stanza.into()) else {
            let what = format_args!("no stanza is at the place {}", row.seq);
            damage::note((archive::TABLE, self.source.archive), &what);
            return None;
        };
        let archive = &*self.source.address;
        let delay = delay::delay(archive, from_micros(row.at));
        let mut xml = Xml::new();
        xml.start("message").attr("from", archive).attr("to", self.cx.jid().as_str());
        xml.start("result")
            .attr("xmlns", ns::MAM)
            .attr_opt("queryid", self.queryid.as_deref())
            .attr("id", &self.id(row.seq))
            .raw(&forward::forwarded(&delay, &(self.source.show)(&stanza)))
            .end()
            .end();
        Some(xml.finish())
    }

    fn id(&self, position: i64) -> String {
        self.cx.store.id_of_position(self.source.archive, position)
    }
}

/// §7: the field is supported, although no archive contains such messages.
const GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
const EXTENDED: &str = "urn:xmpp:mam:2#extended";
const VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// Bytes of one page, including the wrappers.
const PAGE_BYTES_MAX: usize = 1_048_576;

#[cfg(test)]
mod tests;
