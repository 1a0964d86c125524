//! Writes what readers found in other servers' data as elements of XEP-0227: one place for their forms.

use std::borrow::Cow;
use std::path::Path;

use super::piece::Piece;
use crate::base::time;
use crate::modules::api::Tag;
use crate::xml::{Xml, ns};

const ROSTER: &str = "jabber:iq:roster";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
const BLOCKING: &str = "urn:xmpp:blocking";

/// A contact.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contact<'a> {
    /// Its address.
    pub jid: &'a str,
    /// What its owner calls it; may be empty.
    pub name: &'a str,
    /// `none`, `to`, `from` or `both`.
    pub subscription: &'a str,
    /// Whether a request of its owner waits for an answer.
    pub asks: bool,
    /// Whether its owner said yes before it was asked (RFC 6121 §3.4).
    pub approved: bool,
    /// The groups that it is in.
    pub groups: &'a [&'a str],
}

/// What a client would see of a setting: its name in the form, and its values.
pub type Field = (String, Vec<String>);

fn part(within: &[Tag], xml: Xml) -> Piece {
    Piece::Part { within: within.to_vec(), xml: xml.finish().to_vec() }
}

/// An item of the roster.
pub fn contact(it: Contact<'_>) -> Piece {
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", ROSTER).attr("jid", it.jid);
    xml.attr_opt("name", Some(it.name).filter(|name| !name.is_empty()));
    xml.attr("subscription", it.subscription);
    xml.attr_opt("ask", it.asks.then_some("subscribe"));
    xml.attr_opt("approved", it.approved.then_some("true"));
    for group in it.groups {
        xml.element("group", None, group);
    }
    xml.end();
    part(&[Tag::new(ROSTER, "query")], xml)
}

/// Somebody's request to see the owner's presence, with what they said about it.
pub fn request(from: &str, status: &str) -> Piece {
    let mut xml = Xml::new();
    xml.start("presence").attr("xmlns", ns::CLIENT).attr("type", "subscribe").attr("from", from);
    if !status.is_empty() {
        xml.element("status", None, status);
    }
    xml.end();
    part(&[], xml)
}

/// A whole element that stands in the account or room itself: a request with all that it had, a vCard.
pub fn whole(xml: String) -> Piece {
    Piece::Part { within: Vec::new(), xml: xml.into_bytes() }
}

/// A message that waits for its addressee; it declares its namespace, and has a delay.
pub fn waiting(message: String) -> Piece {
    let within = vec![Tag::new("urn:xmpp:pie:0", "offline-messages")];
    Piece::Part { within, xml: message.into_bytes() }
}

/// A message of an archive. `at`: microseconds since 1970; the message declares its namespace.
pub fn archived(id: &str, at: i64, message: &str) -> Piece {
    let mut xml = Xml::new();
    xml.start("result").attr("xmlns", "urn:xmpp:mam:2").attr("id", id);
    xml.start("forwarded").attr("xmlns", "urn:xmpp:forward:0");
    xml.start("delay").attr("xmlns", "urn:xmpp:delay").attr("stamp", &stamp(at)).end();
    xml.raw(message.as_bytes());
    xml.end().end();
    part(&[Tag::new("urn:xmpp:pie:0#mam", "archive")], xml)
}

/// A time as XEP-0082 writes it; `at`: microseconds since 1970.
pub fn stamp(at: i64) -> String {
    time::stamp(time::from_micros(at))
}

/// What is archived of whom. `default`: `always`, `never` or `roster`.
pub fn preferences(default: &str, always: &[String], never: &[String]) -> Piece {
    let mut xml = Xml::new();
    xml.start("prefs").attr("xmlns", "urn:xmpp:mam:2").attr("default", default);
    for (name, jids) in [("always", always), ("never", never)] {
        xml.start(name);
        for jid in jids {
            xml.element("jid", None, jid);
        }
        xml.end();
    }
    xml.end();
    part(&[], xml)
}

/// How a node is set.
pub fn node(name: &str, fields: &[Field]) -> Piece {
    let mut xml = Xml::new();
    xml.start("configure").attr("xmlns", PUBSUB_OWNER).attr("node", name);
    form(&mut xml, NODE_CONFIG, fields);
    xml.end();
    part(&[Tag::new(PUBSUB_OWNER, "pubsub")], xml)
}

/// What people are to a node: addresses with `owner`, `publisher`, `member` …
pub fn node_affiliations(name: &str, people: &[(String, String)]) -> Piece {
    let mut xml = Xml::new();
    xml.start("affiliations").attr("xmlns", PUBSUB_OWNER).attr("node", name);
    for (jid, affiliation) in people {
        xml.start("affiliation").attr("jid", jid).attr("affiliation", affiliation).end();
    }
    xml.end();
    part(&[Tag::new(PUBSUB_OWNER, "pubsub")], xml)
}

/// An item of a node; the payload declares its namespace.
pub fn node_item(name: &str, id: &str, publisher: Option<&str>, payload: &str) -> Piece {
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", PUBSUB).attr("id", id).attr_opt("publisher", publisher);
    xml.raw(payload.as_bytes()).end();
    part(&[Tag::new(PUBSUB, "pubsub"), Tag::new(PUBSUB, "items").with("node", name)], xml)
}

/// An element of the private storage; it declares its namespace.
pub fn private(xml: String) -> Piece {
    Piece::Part { within: vec![Tag::new("jabber:iq:private", "query")], xml: xml.into_bytes() }
}

/// An address that is blocked.
pub fn blocked(jid: &str) -> Piece {
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", BLOCKING).attr("jid", jid).end();
    part(&[Tag::new(BLOCKING, "blocklist")], xml)
}

/// How a room is set.
pub fn room(fields: &[Field]) -> Piece {
    let mut xml = Xml::new();
    form(&mut xml, ROOM_CONFIG, fields);
    part(&[Tag::new(MUC_OWNER, "query")], xml)
}

/// What somebody is to a room, and the nick that is reserved for them.
pub fn room_affiliation(
    jid: &str,
    affiliation: &str,
    nick: Option<&str>,
    reason: Option<&str>,
) -> Piece {
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", MUC_ADMIN).attr("jid", jid).attr("affiliation", affiliation);
    xml.attr_opt("nick", nick);
    if let Some(reason) = reason.filter(|it| !it.is_empty()) {
        xml.element("reason", None, reason);
    }
    xml.end();
    part(&[Tag::new(MUC_ADMIN, "query")], xml)
}

/// A room's subject; `from`: who set it, as an occupant. `at`: microseconds since 1970.
pub fn room_subject(from: &str, subject: &str, at: Option<i64>) -> Piece {
    let mut xml = Xml::new();
    xml.start("message").attr("xmlns", ns::CLIENT).attr("type", "groupchat").attr("from", from);
    xml.element("subject", None, subject);
    if let Some(at) = at {
        xml.start("delay").attr("xmlns", "urn:xmpp:delay").attr("stamp", &stamp(at)).end();
    }
    xml.end();
    part(&[], xml)
}

fn form(xml: &mut Xml, kind: &str, fields: &[Field]) {
    xml.start("x").attr("xmlns", "jabber:x:data").attr("type", "form");
    xml.start("field").attr("var", "FORM_TYPE").attr("type", "hidden");
    xml.element("value", None, kind).end();
    for (name, values) in fields {
        xml.start("field").attr("var", name);
        for value in values {
            // Also an empty value is one.
            xml.start("value").text(value).end();
        }
        xml.end();
    }
    xml.end();
}

/// A field with one value.
pub fn field(name: &str, value: impl Into<String>) -> Field {
    (name.to_owned(), vec![value.into()])
}

/// What cannot be taken.
pub fn untaken(what: &str, which: impl Into<String>, why: impl Into<String>) -> Piece {
    Piece::Untaken { what: what.to_owned(), which: which.into(), why: why.into() }
}

/// Whether a text can be the name of an element or attribute, with or without a prefix, and nothing else.
pub fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|it| it.is_alphabetic() || it == '_');
    let is_part = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | ':' | '·');
    first && name.len() <= 256 && name.chars().all(is_part)
}

/// An element that a database has as text, with the namespace that it has for a stream declared, if it declares none
/// itself. What is no element is given back as it is: who proves it refuses it.
pub fn declared<'a>(text: &'a str, namespace: &str) -> Cow<'a, str> {
    let text = text.trim();
    let Some(tag) = open_tag(text) else { return Cow::Borrowed(text) };
    if declares(tag) {
        return Cow::Borrowed(text);
    }
    let name = tag.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(tag.len());
    let (start, rest) = text.split_at(name);
    let namespace = crate::xml::writer::escape_attr(namespace);
    Cow::Owned(format!("{start} xmlns='{namespace}'{rest}"))
}

/// The first tag of a text, up to its `>`.
fn open_tag(text: &str) -> Option<&str> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return text.get(..=at).filter(|tag| tag.starts_with('<')),
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether a tag has `xmlns=` outside of its attributes' values.
fn declares(tag: &str) -> bool {
    let mut rest = tag;
    while let Some(at) = rest.find(['\'', '"']) {
        let (before, quoted) = rest.split_at(at);
        let name = before.trim_end().trim_end_matches('=').trim_end();
        if name.rsplit([' ', '\t', '\r', '\n']).next() == Some("xmlns") {
            return true;
        }
        let mut chars = quoted.chars();
        let quote = chars.next().unwrap_or('"');
        rest = chars.as_str().split_once(quote).map_or("", |(_, after)| after);
    }
    false
}

/// The same element, from somebody else, and to nobody: as a room's archive has it, or with the address that a
/// database has beside it.
pub fn sent_by(element: &str, from: &str) -> String {
    let Some(tag) = open_tag(element) else { return element.to_owned() };
    let name = tag.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(tag.len());
    let (start, mut rest) = tag.split_at(name);
    let mut kept = format!("{start} from='{}'", crate::xml::writer::escape_attr(from));
    while let Some(at) = rest.find(['\'', '"']) {
        let (before, quoted) = rest.split_at(at);
        let quote = quoted.chars().next().unwrap_or('"');
        let Some(end) = quoted.char_indices().skip(1).find(|(_, it)| *it == quote) else { break };
        let (value, after) = quoted.split_at(end.0.saturating_add(1));
        let name = before.trim_end().trim_end_matches('=').trim();
        if !matches!(name, "from" | "to") {
            kept.push_str(before);
            kept.push_str(value);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept.push_str(element.get(tag.len()..).unwrap_or_default());
    kept
}

/// The domain that a file is named after, as `example.org.xml`: for those that do not say of which domain they are.
pub fn named_domain(path: &Path) -> Option<&str> {
    path.file_stem().and_then(|it| it.to_str()).filter(|it| it.contains('.'))
}

/// The same message with a delay (XEP-0203) behind all else: when it came, by the word of `host`.
pub fn delayed(message: &str, at: i64, host: &str) -> String {
    let mut delay = Xml::new();
    delay.start("delay").attr("xmlns", "urn:xmpp:delay").attr("from", host);
    delay.attr("stamp", &stamp(at)).end();
    let delay = delay.into_string();
    let message = message.trim_end();
    if let Some(before) = message.strip_suffix("/>").filter(|it| open_tag(it).is_none()) {
        return format!("{before}>{delay}</message>");
    }
    match message.strip_suffix("</message>") {
        Some(before) => format!("{before}{delay}</message>"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: Piece) -> String {
        match piece {
            Piece::Part { xml, .. } => String::from_utf8(xml).expect("UTF-8"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_odd_is_escaped() {
        let groups = ["a<b>&'\"", ""];
        let it = Contact {
            jid: "o'b@x",
            name: "N",
            subscription: "to",
            asks: true,
            groups: &groups,
            approved: false,
        };
        assert_eq!(
            text(contact(it)),
            "<item xmlns='jabber:iq:roster' jid='o&apos;b@x' name='N' subscription='to' ask='subscribe'>\
             <group>a&lt;b&gt;&amp;'\"</group><group/></item>"
        );
    }

    #[test]
    fn a_namespace_is_declared_only_where_there_is_none() {
        for (given, wanted) in [
            (
                "<message to='a'><body/></message>",
                "<message xmlns='jabber:client' to='a'><body/></message>",
            ),
            ("<a xmlns=\"x\"/>", "<a xmlns=\"x\"/>"),
            ("<a b=\"xmlns='x'\"/>", "<a xmlns='jabber:client' b=\"xmlns='x'\"/>"),
            ("<a b='>' xmlns = 'x'/>", "<a b='>' xmlns = 'x'/>"),
            ("<a/>", "<a xmlns='jabber:client'/>"),
            ("<a>", "<a xmlns='jabber:client'>"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(declared(given, "jabber:client"), wanted);
        }
    }

    #[test]
    fn a_delay_stands_in_the_message() {
        let wanted =
            "<delay xmlns='urn:xmpp:delay' from='h' stamp='1970-01-01T00:00:01Z'/></message>";
        for (given, before) in [
            ("<message a='/>'><body/></message>", "<message a='/>'><body/>"),
            ("<message a='b'/>", "<message a='b'>"),
        ] {
            assert_eq!(delayed(given, 1_000_000, "h"), format!("{before}{wanted}"));
        }
    }

    #[test]
    fn an_element_gets_another_sender() {
        for (given, wanted) in [
            (
                "<message to='a' id=\"from='x'\" from=\"b\"><b/></message>",
                "<message from='r/n' id=\"from='x'\"><b/></message>",
            ),
            ("<m/>", "<m from='r/n'/>"),
            ("<m>", "<m from='r/n'>"),
            ("<m a='b", "<m a='b"),
        ] {
            assert_eq!(sent_by(given, "r/n"), wanted);
        }
    }

    #[test]
    fn a_name_is_nothing_but_a_name() {
        for good in ["a", "xml:lang", "N-1", "_x", "ü"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "1", "a b", "a>", "a='x'", "a/", "<a", "a\0"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
