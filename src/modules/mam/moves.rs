//! Archives and preferences as XEP-0227 writes them (§4.11), of accounts and of rooms.

use super::policy::{self, Policy, Preferences};
use crate::base::time::{exact, micros, parse};
use crate::jid::Jid;
use crate::modules::api::{Giving, Holder, Moved, Moves, Owner, Tag, Take, Taken, Taking};
use crate::stanza::{Kind, Stanza};
use crate::store::archive::{self, Archived, Direction, Entry, Filter, RowKind};
use crate::store::tx::StoreError;
use crate::xml::gate::{self, Rules};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::{Xml, escape_attr};
use bytes::Bytes;

/// The element around the messages of an archive (XEP-0227 §4.11).
pub const ARCHIVE: (&str, &str) = ("urn:xmpp:pie:0#mam", "archive");

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[
        archived(Holder::Account, "archived messages", take_message),
        Moved {
            what: "archive preferences",
            of: Holder::Account,
            within: &[],
            ns: ns::MAM,
            name: "prefs",
            take: take_preferences,
        },
    ],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

/// Messages of an archive.
pub const fn archived(of: Holder, what: &'static str, take: Take) -> Moved {
    Moved { what, of, within: &[ARCHIVE], ns: ns::MAM, name: "result", take }
}

/// Writes a message of an archive.
pub fn take_message(
    taking: &mut Taking<'_>,
    _: &[Tag],
    result: Node<'_>,
) -> Result<Taken, StoreError> {
    match read(taking, result) {
        Ok(message) => write(taking, &message),
        Err(why) => Ok(Taken::not(result.attr("id").unwrap_or("a message"), why)),
    }
}

/// A message out of another archive.
struct Message {
    /// Its position, if this program gave it.
    seq: Option<i64>,
    at: i64,
    kind: RowKind,
    peer: Jid,
    stanza: Vec<u8>,
    id: Option<String>,
}

fn read(taking: &Taking<'_>, result: Node<'_>) -> Result<Message, String> {
    let forwarded = result.child(ns::FORWARD, "forwarded").ok_or("no message is in it")?;
    let message = forwarded.child(ns::CLIENT, "message").ok_or("what is in it is no message")?;
    let stamp = forwarded.child(ns::DELAY, "delay").and_then(|delay| delay.attr("stamp"));
    let at = stamp.and_then(parse).ok_or("it does not say when it was sent")?;
    let at = micros(at.min(taking.now));
    let stanza = stored(message, taking.owner)?;
    let (kind, peer) = side(&stanza, taking.owner)?;
    let id = stanza.id().map(std::borrow::Cow::into_owned);
    let seq = result.attr("id").and_then(position);
    // As it stands in the store: without the namespace that is its stream's.
    let stanza = match taking.owner.holder {
        Holder::Account => stanza.frame().to_vec(),
        Holder::Room => stanza.element().raw().to_vec(),
    };
    Ok(Message { seq, at, kind, peer, stanza, id })
}

/// Which way it went, and the other side.
fn side(stanza: &Stanza, owner: &Owner) -> Result<(RowKind, Jid), String> {
    let own = owner.jid.as_str();
    let (from, to) = (stanza.from(), stanza.to());
    match owner.holder {
        Holder::Room if from.bare_str() == own => Ok((RowKind::Received, from.clone())),
        Holder::Room => Err(format!("it is from {from}, which is not in this room")),
        // XEP-0313 §3.3.1: what an account sends to itself it receives.
        Holder::Account if to.is_some_and(|to| to.bare_str() == own) => {
            Ok((RowKind::Received, from.clone()))
        }
        Holder::Account => match to {
            Some(to) if from.bare_str() == own => Ok((RowKind::Sent, to.clone())),
            _ => Err(format!("it is from {from} to somebody else")),
        },
    }
}

/// A message as it is stored: with both addresses, of a room without `to`; without what this server itself says when
/// it shows it.
pub fn stored(message: Node<'_>, owner: &Owner) -> Result<Stanza, String> {
    let text = message.standalone().ok_or("it declares too many namespaces")?;
    let own = owner.jid.as_str();
    let is_room = owner.holder == Holder::Room;
    let mut text = text.into_owned();
    if is_room || message.attr("from").is_none() || message.attr("to").is_none() {
        text = addressed(&text, own, is_room)?;
    }
    let element = gate::check(Bytes::from(text), &RULES).map_err(|error| error.to_string())?;
    if element.tag_name() != "message" {
        return Err("its name has a prefix".to_owned());
    }
    let stanza = match is_room {
        true => Stanza::ours(element.raw().clone()),
        false => Stanza::from_peer(Kind::Message, element, None),
    };
    let stanza = stanza.ok_or("an address in it is none")?;
    let is_own_id =
        |child: &crate::xml::Child<'_>| child.ns == ns::STANZA_ID && child.name == "stanza-id";
    match stanza.element().has_child(ns::STANZA_ID, "stanza-id") {
        false => Ok(stanza),
        true => stanza
            .without_payloads(|child| {
                is_own_id(child) && given_by(stanza.element().as_str(), child.span.clone(), own)
            })
            .ok_or_else(|| "without the id of its archive it is no message".to_owned()),
    }
}

/// Whether a `<stanza-id/>` says that this address gave it.
fn given_by(text: &str, span: std::ops::Range<usize>, own: &str) -> bool {
    let id = text.get(span).unwrap_or_default();
    let doc = crate::xml::view::Doc::of(id.as_bytes(), ns::CLIENT);
    doc.is_ok_and(|doc| doc.root().attr("by") == Some(own))
}

/// The element with another open tag: addresses that are missing are the owner's; of a room's message there is no
/// `to`, and no namespace, as it is its stream's.
fn addressed(text: &str, own: &str, is_room: bool) -> Result<String, String> {
    let element = gate::check(Bytes::copy_from_slice(text.as_bytes()), &RULES);
    let element = element.map_err(|error| error.to_string())?;
    let mut tag = format!("<{}", element.tag_name());
    let has = |name: &str| element.attr(name).is_some();
    for name in ["from", "to"] {
        let is_left_out = is_room && name == "to";
        if !has(name) && !is_left_out {
            tag.push_str(&format!(" {name}='{}'", escape_attr(own)));
        }
    }
    for attr in element.attributes() {
        let is_out = is_room && (attr.name == "to" || attr.name == "xmlns");
        if !is_out {
            tag.push(' ');
            tag.push_str(attr.whole.trim());
        }
    }
    let rest = element.as_str().get(element.tag_end()..).unwrap_or_default();
    tag.push_str(rest);
    Ok(tag)
}

/// Writes a message, unless it is there.
fn write(taking: &mut Taking<'_>, message: &Message) -> Result<Taken, StoreError> {
    let archive = taking.owner.archive();
    let Message { at, kind, .. } = *message;
    if let Some(seq) = message.seq
        && let Some(there) = archive::get(taking.tx, archive, seq)?
        && (there.at, &there.stanza) == (at, &message.stanza)
    {
        return Ok(found(taking, seq, at));
    }
    // Within one moment the order is that of the source.
    let after = if at == taking.own.at { taking.own.last } else { at.saturating_sub(1) };
    let same = archive::of_moment(taking.tx, archive, at, after)?;
    if let Some(there) = same.iter().find(|there| there.stanza == message.stanza) {
        return Ok(found(taking, there.seq, at));
    }
    let from = if at >= taking.own.at { at.max(taking.own.last.saturating_add(1)) } else { at };
    let mut seq = message.seq.unwrap_or(from);
    seq = archive::free_from(taking.tx, seq.clamp(1, micros(taking.now).max(1)))?;
    let (peer, resource) = (message.peer.bare_str(), message.peer.resource().unwrap_or_default());
    let entry = Entry { seq, at, archive, peer, resource, kind, stanza: &message.stanza };
    archive::append_old(taking.tx, &entry, message.id.as_deref())?;
    (taking.own.last, taking.own.at) = (seq, at);
    Ok(Taken::New)
}

fn found(taking: &mut Taking<'_>, seq: i64, at: i64) -> Taken {
    (taking.own.last, taking.own.at) = (seq, at);
    Taken::There
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    give_preferences(giving)?;
    give_archive(giving)
}

/// Gives a whole archive, page by page.
pub fn give_archive(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let archive = giving.owner.archive();
    let within = [Tag::new(ARCHIVE.0, ARCHIVE.1)];
    let mut filter = Filter::ALL;
    loop {
        let page =
            archive::page(giving.tx, archive, &filter, Direction::Forward, PAGE, PAGE_BYTES)?;
        for row in &page.rows {
            if let Some(result) = result(row) {
                (giving.out)(&within, &result)?;
            }
        }
        match page.rows.last() {
            Some(last) if page.more => filter.after = last.seq,
            _ => return Ok(()),
        }
    }
}

/// `<result/>`; none of what cannot be read.
fn result(row: &Archived) -> Option<Vec<u8>> {
    if row.stanza.is_empty() {
        return None;
    }
    let mut delay = Xml::new();
    delay.start("delay").attr("xmlns", ns::DELAY).attr("stamp", &exact(row.at)).end();
    let forwarded = crate::stanza::forward::forwarded(&delay.finish(), &row.stanza);
    let mut xml = Xml::new();
    xml.start("result").attr("xmlns", ns::MAM).attr("id", &named(row.seq));
    xml.raw(&forwarded).end();
    Some(xml.finish().to_vec())
}

/// The id of a position in a file; [`position`] reads it.
pub fn named(seq: i64) -> String {
    format!("{OURS}{seq}")
}

/// The reverse of [`named`]; none for ids that another program gave.
pub fn position(id: &str) -> Option<i64> {
    id.strip_prefix(OURS)?.parse().ok()
}

fn take_preferences(
    taking: &mut Taking<'_>,
    _: &[Tag],
    prefs: Node<'_>,
) -> Result<Taken, StoreError> {
    let account = taking.owner.account();
    if policy::load(taking.tx, account)?.is_some() {
        return Ok(Taken::There);
    }
    let Some(policy) = prefs.attr("default").and_then(Policy::parse) else {
        return Ok(Taken::not("the default", "it is neither always, never nor roster"));
    };
    let mut lists = [Vec::new(), Vec::new()];
    for (list, name) in lists.iter_mut().zip(["always", "never"]) {
        for jid in prefs.child(ns::MAM, name).into_iter().flat_map(Node::children) {
            match Jid::parse(jid.text().trim()) {
                Ok(jid) if list.len() < LISTED_MAX => list.push(jid),
                Ok(_) => return Ok(Taken::not(name, format!("over {LISTED_MAX} addresses"))),
                Err(_) => return Ok(Taken::not(jid.text().trim(), "this is no address")),
            }
        }
    }
    let [always, never] = lists;
    let preferences = Preferences::new(policy, &always, &never);
    if preferences.is_default() {
        return Ok(Taken::There);
    }
    policy::save(taking.tx, account, &preferences)?;
    Ok(Taken::New)
}

fn give_preferences(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let Some(preferences) = policy::load(giving.tx, giving.owner.account())? else { return Ok(()) };
    let mut xml = Xml::new();
    xml.start("prefs").attr("xmlns", ns::MAM).attr("default", preferences.policy.as_str());
    for (name, kept) in [("always", true), ("never", false)] {
        xml.start(name);
        preferences.listed(kept).for_each(|jid| _ = xml.element("jid", None, jid));
        xml.end();
    }
    xml.end();
    (giving.out)(&[], &xml.finish())
}

/// What the gate allows in a stored message.
const RULES: Rules =
    Rules { content_ns: ns::CLIENT, depth_max: 128, attributes_max: 100, children_max: 1_000 };
/// Ids that begin so are positions.
const OURS: &str = "stonechat-";
/// Messages that are read at once, and their bytes.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 * 1_048_576;
/// Addresses in a list of the preferences.
const LISTED_MAX: usize = 256;
