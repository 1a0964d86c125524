//! A stanza is its original bytes plus an index; it is checked once, at the gate, and never edited in place.
//!
//! Routing rebuilds only the open tag ([`Stanza::from_client`] stamps `from`). The rest is the sender's
//! bytes, shared by all recipients.

pub mod claims;
pub mod content;
pub mod delay;
pub mod error;
pub mod files;
pub mod form;
pub mod forward;
pub mod ids;
pub mod iq;
pub mod message;
pub mod policy;
pub mod presence;
pub mod retract;
pub mod rsm;

use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub use error::{Condition, ErrorType, StanzaError};

use crate::jid::{FullJid, Jid};
use crate::xml::element::{Child, Element};
use crate::xml::gate::{self, Rules};
use crate::xml::ns;
use crate::xml::writer::{Xml, escape_attr};

/// The three kinds of stanza (RFC 6120 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

impl Kind {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }

    /// The kind of a top-level element; `None` means `unsupported-stanza-type` (RFC 6120 §4.9.3.24).
    pub fn of(element: &Element) -> Option<Self> {
        if element.ns() != ns::CLIENT {
            return None;
        }
        match element.name() {
            "message" => Some(Self::Message),
            "presence" => Some(Self::Presence),
            "iq" => Some(Self::Iq),
            _ => None,
        }
    }
}

/// A stanza as it is sent to a session: the rewritten open tag and the shared rest. Cloning only counts
/// references.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Everything up to, not including, the `>` or `/>` of the open tag; or a whole element.
    pub head: Bytes,
    /// The rest, possibly empty; without the end tag if `end` has it.
    pub tail: Bytes,
    /// Payloads added by the server and the end tag after them; empty if there are none.
    pub end: Bytes,
}

impl Frame {
    /// A whole element in one piece.
    pub fn whole(bytes: Bytes) -> Self {
        Self { head: bytes, tail: Bytes::new(), end: Bytes::new() }
    }

    /// An open tag and the rest.
    pub fn of(head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Self {
        Self { head: head.into(), tail: tail.into(), end: Bytes::new() }
    }

    /// Its number of bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len() + self.end.len()
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the stanza with a `to` added; the head must be an open tag without one. Presence is stored
    /// once and addressed anew for each recipient.
    pub fn addressed(&self, to: &str) -> Self {
        let to = escape_attr(to);
        // Exactly as long, or it would be allocated twice.
        let mut head = BytesMut::with_capacity(self.head.len() + to.len() + 6);
        head.put_slice(&self.head);
        head.put_slice(b" to=\"");
        head.put_slice(to.as_bytes());
        head.put_u8(b'"');
        Self { head: head.freeze(), tail: self.tail.clone(), end: self.end.clone() }
    }

    /// Returns the stanza with one more payload before its end tag; unchanged if it has no end tag.
    pub fn with(&self, payload: &[u8]) -> Self {
        let (tail, end) = match memchr::memrchr(b'<', &self.tail) {
            _ if !self.end.is_empty() => (self.tail.clone(), self.end.clone()),
            // No unescaped `<` can follow that of the end tag.
            Some(at) => (self.tail.slice(..at), self.tail.slice(at..)),
            None => return self.clone(),
        };
        let mut with = BytesMut::with_capacity(payload.len() + end.len());
        with.put_slice(payload);
        with.put_slice(&end);
        Self { head: self.head.clone(), tail, end: with.freeze() }
    }

    /// Returns one contiguous copy, for the store.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.tail);
        out.extend_from_slice(&self.end);
        out
    }
}

/// A checked stanza with its addresses read and its sender stamped. Cloning only counts references, so rows
/// and handlers can hold it while it is being delivered.
#[derive(Debug, Clone)]
pub struct Stanza(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    from: Jid,
    to: Option<Jid>,
    element: Element,
    head: Bytes,
    /// The stream's language, if the stanza names none.
    lang: Option<Arc<str>>,
}

impl Stanza {
    /// Takes a client's element: reads `to`, stamps the sender's full JID as `from` whatever the client wrote
    /// (RFC 6120 §8.1.2.1), drops the redundant `xmlns`, and adds the stream's `xml:lang` if the stanza has
    /// none (RFC 6120 §8.1.5). `last_to` is the addressee of the previous stanza: if it is the same, the
    /// address need not be prepared again.
    pub fn from_client(
        kind: Kind,
        element: Element,
        from: &FullJid,
        lang: Option<&Arc<str>>,
        last_to: Option<&Jid>,
    ) -> Result<Self, Refused> {
        let read = |to: &str| match last_to {
            Some(last) if last.as_str() == to => Ok(last.clone()),
            _ => Jid::parse(to),
        };
        let to = match element.attr("to").map(|to| read(&to)) {
            // RFC 6120 §10.3.1: a message without `to` is for the sender's own bare JID.
            None if kind == Kind::Message => Some(Jid::from(from.bare())),
            None => None,
            Some(Ok(to)) => Some(to),
            // RFC 6120 §8.3.3.8
            Some(Err(_)) => {
                return Err(Refused {
                    element: Box::new(element),
                    error: StanzaError::jid_malformed().text("'to' is no valid address"),
                });
            }
        };
        let from = Jid::from(from.clone());
        let lang = lang.filter(|_| element.lang().is_none()).cloned();
        let head = open_tag(kind, &element, Some(from.as_str()), to.as_ref(), lang.as_deref());
        Ok(Self(Arc::new(Parts { kind, from, to, element, head, lang })))
    }

    /// Takes another server's element, whose `from` and `to` must be there (RFC 6120 §8.1.2.2): whether the
    /// server may speak for that domain is for the stream to say. `lang` is the stream's (§8.1.5). None if an
    /// address is malformed.
    pub fn from_peer(kind: Kind, element: Element, lang: Option<&Arc<str>>) -> Option<Self> {
        let from = Jid::parse(&element.attr("from")?).ok()?;
        let to = Some(Jid::parse(&element.attr("to")?).ok()?);
        let lang = lang.filter(|_| element.lang().is_none()).cloned();
        let head = open_tag(kind, &element, Some(from.as_str()), to.as_ref(), lang.as_deref());
        Some(Self(Arc::new(Parts { kind, from, to, element, head, lang })))
    }

    /// Reads a stanza that this server made or stored, which has `from` and `to` already.
    pub fn ours(bytes: Bytes) -> Option<Self> {
        let element = gate::check(bytes, &OUR_RULES).ok()?;
        let kind = Kind::of(&element)?;
        let from = Jid::parse(&element.attr("from")?).ok()?;
        let to = match element.attr("to") {
            Some(to) => Some(Jid::parse(&to).ok()?),
            None => None,
        };
        let head = element.raw().slice(..element.tag_end());
        Some(Self(Arc::new(Parts { kind, from, to, element, head, lang: None })))
    }

    /// The kind: message, presence or iq.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stamped sender.
    pub fn from(&self) -> &Jid {
        &self.0.from
    }

    /// The addressee, if the sender named one.
    pub fn to(&self) -> Option<&Jid> {
        self.0.to.as_ref()
    }

    /// The `id` attribute.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.0.element.attr("id")
    }

    /// The `type` attribute.
    pub fn ty(&self) -> Option<Cow<'_, str>> {
        self.0.element.attr("type")
    }

    /// Its language: its own, or that of the stream it came by (RFC 6120 §8.1.5).
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        let of_stream = || self.0.lang.as_deref().map(Cow::Borrowed);
        self.0.element.lang().or_else(of_stream)
    }

    /// The checked bytes with their index.
    pub fn element(&self) -> &Element {
        &self.0.element
    }

    /// The number of bytes of [`Stanza::frame`].
    #[allow(clippy::len_without_is_empty)] // there is no empty one
    pub fn len(&self) -> usize {
        self.0.head.len() + self.0.element.raw().len() - self.0.element.tag_end()
    }

    /// Returns the frame to deliver; copies nothing.
    pub fn frame(&self) -> Frame {
        Frame::of(self.0.head.clone(), self.tail())
    }

    /// Returns the frame with other addresses: a new open tag before the same tail.
    pub fn frame_as(&self, from: &str, to: &Jid) -> Frame {
        let head =
            open_tag(self.0.kind, &self.0.element, Some(from), Some(to), self.0.lang.as_deref());
        Frame::of(head, self.tail())
    }

    /// Returns the frame from another sender and without a recipient, for [`Frame::addressed`], with payloads
    /// before its end tag. Copies only these.
    pub fn frame_from(&self, from: &str, payload: &[u8]) -> Frame {
        let Parts { kind, element, lang, .. } = &*self.0;
        let head = open_tag(*kind, element, Some(from), None, lang.as_deref());
        Frame { head, ..self.frame_with(payload) }
    }

    /// Returns the stanza with another sender and recipient, to be routed; its content is shared.
    pub fn readdressed(&self, from: &Jid, to: &Jid) -> Self {
        let Parts { kind, element, lang, .. } = &*self.0;
        let head = open_tag(*kind, element, Some(from.as_str()), Some(to), lang.as_deref());
        let (kind, element, lang) = (*kind, element.clone(), lang.clone());
        let (from, to) = (from.clone(), Some(to.clone()));
        Self(Arc::new(Parts { kind, from, to, element, head, lang }))
    }

    /// Returns the frame with payloads before the end tag (an id, a delay stamp). Copies only these.
    pub fn frame_with(&self, payload: &[u8]) -> Frame {
        let raw = self.0.element.raw();
        let tail = if self.0.element.is_empty_tag() {
            Bytes::from_static(b">")
        } else {
            raw.slice(self.0.element.tag_end()..self.0.element.content_end())
        };
        let end_tag = end_tag(self.0.kind);
        let mut end = BytesMut::with_capacity(payload.len() + end_tag.len());
        end.put_slice(payload);
        end.put_slice(end_tag);
        Frame { head: self.0.head.clone(), tail, end: end.freeze() }
    }

    /// Returns the stanza with this payload of ours in place of all of this name; unchanged if it would be no
    /// stanza any more.
    #[must_use]
    pub fn with_own(&self, ns: &str, name: &str, payload: &[u8]) -> Self {
        let same = |child: &Child<'_>| child.ns == ns && child.name == name;
        let spans: Vec<_> =
            self.0.element.children().filter(same).map(|child| child.span).collect();
        let bare = if spans.is_empty() { Some(self.clone()) } else { self.without(&spans) };
        let bare = bare.unwrap_or_else(|| self.clone());
        let Frame { head: _, tail, end } = bare.frame_with(payload);
        // The element keeps the attributes as they came; the stamped ones are in the head.
        let raw = bare.0.element.raw();
        let Some(tag) = raw.get(..bare.0.element.tag_end()) else { return self.clone() };
        let whole = [tag, &tail, &end].concat();
        let Ok(element) = gate::check(whole.into(), &OUR_RULES) else { return self.clone() };
        let Parts { kind, from, to, head, lang, .. } = &*self.0;
        let (from, to, head, lang) = (from.clone(), to.clone(), head.clone(), lang.clone());
        Self(Arc::new(Parts { kind: *kind, from, to, element, head, lang }))
    }

    /// Returns the stanza without some of its top-level payloads.
    pub fn without_payloads(&self, is_out: impl Fn(&Child<'_>) -> bool) -> Option<Self> {
        let out = self.element().children().filter(is_out).map(|child| child.span);
        self.without(&out.collect::<Vec<_>>())
    }

    /// Returns the stanza without the payloads at these ranges, which are in order.
    fn without(&self, spans: &[Range<usize>]) -> Option<Self> {
        let raw = self.0.element.raw();
        let mut kept = BytesMut::with_capacity(raw.len());
        let mut from = 0;
        for span in spans {
            kept.put_slice(raw.get(from..span.start)?);
            from = span.end;
        }
        kept.put_slice(raw.get(from..)?);
        // Rare: only for payloads that no client may send. The index is built again.
        let element = gate::check(kept.freeze(), &OUR_RULES).ok()?;
        let Parts { kind, from, to, head, lang, .. } = &*self.0;
        let (from, to, head, lang) = (from.clone(), to.clone(), head.clone(), lang.clone());
        Some(Self(Arc::new(Parts { kind: *kind, from, to, element, head, lang })))
    }

    fn tail(&self) -> Bytes {
        self.0.element.raw().slice(self.0.element.tag_end()..)
    }
}

/// A stanza that was refused; the sender gets the error.
#[derive(Debug)]
pub struct Refused {
    /// The offending element.
    pub element: Box<Element>,
    /// The error to send.
    pub error: StanzaError,
}

/// The error reply of RFC 6120 §8.3.1: `to` and `from` exchanged, `id` kept. `None` if the stanza is itself
/// an error or an IQ result, which must never be answered.
pub fn error_reply(
    element: &Element,
    from: Option<&str>,
    to: &Jid,
    error: &StanzaError,
) -> Option<Bytes> {
    let kind = Kind::of(element)?;
    let ty = element.attr("type");
    match (kind, ty.as_deref()) {
        (_, Some("error")) | (Kind::Iq, Some("result")) => return None,
        _ => {}
    }
    let addressed = element.attr("to");
    let mut xml = Xml::new();
    xml.start(kind.as_str())
        .attr("type", "error")
        .attr_opt("from", from.or(addressed.as_deref()))
        .attr("to", to.as_str())
        .attr_opt("id", element.attr("id").as_deref())
        .raw(error.to_xml().as_bytes())
        .end();
    Some(xml.finish())
}

fn end_tag(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Message => b"</message>",
        Kind::Presence => b"</presence>",
        Kind::Iq => b"</iq>",
    }
}

fn open_tag(
    kind: Kind,
    element: &Element,
    from: Option<&str>,
    to: Option<&Jid>,
    lang: Option<&str>,
) -> Bytes {
    let mut out = String::with_capacity(element.tag_end() + 96);
    out.push('<');
    out.push_str(kind.as_str());
    for attribute in element.attributes() {
        if !matches!(attribute.name, "xmlns" | "from" | "to") {
            out.push(' ');
            out.push_str(attribute.whole);
        }
    }
    let mut add = |name: &str, value: &str| {
        out.push_str(name);
        out.push_str(&escape_attr(value));
        out.push('"');
    };
    if let Some(from) = from {
        add(" from=\"", from);
    }
    if let Some(to) = to {
        add(" to=\"", to.as_str());
    }
    if let Some(lang) = lang {
        add(" xml:lang=\"", lang);
    }
    out.into()
}

/// Our own and stored stanzas passed the configured limits when they came, and those may have been wider than
/// today's. A stanza that was accepted must stay readable, so only its size bounds it.
const OUR_RULES: Rules = Rules {
    content_ns: ns::CLIENT,
    depth_max: 1 << 20,
    attributes_max: 1 << 20,
    children_max: 1 << 20,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_ours_replaces_those_of_its_name() {
        for (given, left) in [
            ("", ""),
            ("<show>away</show>", "<show>away</show>"),
            (
                "<x xmlns='u'>a</x><y xmlns='u'/><x xmlns='u'/><x xmlns='v'/>",
                "<y xmlns='u'/><x xmlns='v'/>",
            ),
        ] {
            for (open, close) in [(">", "</presence>"), ("/>", "")] {
                if close.is_empty() && !given.is_empty() {
                    continue;
                }
                let xml = format!("<presence from='a@x/r' id='1'{open}{given}{close}");
                let stanza = Stanza::ours(xml.into()).unwrap();
                let own = stanza.with_own("u", "x", b"<x xmlns='u'>ours</x>");
                let wanted =
                    format!("<presence from='a@x/r' id='1'>{left}<x xmlns='u'>ours</x></presence>");
                assert_eq!(String::from_utf8(own.frame().to_vec()).unwrap(), wanted, "{given}");
                assert_eq!(own.element().child_text("u", "x").as_deref(), Some("ours"));
                assert_eq!(own.id().as_deref(), Some("1"));
            }
        }
    }
}
