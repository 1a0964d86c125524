//! How a stream is written on its transport: headers, elements and ends to bytes and back. Everything
//! specific to TCP (RFC 6120 §4) is in here; RFC 7395 has another form for each of these things, with the
//! same meaning.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::error::StreamFailure;
use crate::base::limits::Limits;
use crate::jid::Jid;
use crate::stanza::Frame;
use crate::xml::element::Element;
use crate::xml::error::XmlError;
use crate::xml::framer::{Framer, FramerLimits, Piece};
use crate::xml::gate::{self, Rules};
use crate::xml::header::Header;
use crate::xml::ns;
use crate::xml::writer::escape_attr;

/// What the server writes on a stream: a first-level element, or the start or end tag of the root.
#[derive(Debug, Clone)]
pub enum Item {
    /// The server's header.
    Header(Greeting),
    /// The current offer (RFC 6120 §4.3.2): the children of `<features/>`.
    Features(ByteString),
    /// A whole element that declares its namespace, or is in the content namespace.
    Element(Bytes),
    /// The stream cannot continue (RFC 6120 §4.9); [`Item::Close`] follows.
    Failure(StreamFailure),
    /// The end of the stream from this side (RFC 6120 §4.4).
    Close,
}

/// The content of the server's header (RFC 6120 §4.7).
#[derive(Debug, Clone)]
pub struct Greeting {
    /// The stream's id.
    pub id: String,
    /// The host that sends it.
    pub from: String,
    /// The sender of the header that it answers, if that had a `from`: the bare address.
    pub to: Option<Jid>,
}

/// A whole piece of what the peer sends.
pub enum Event {
    /// The peer's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// Keepalive between elements.
    Whitespace,
    /// The end of the peer's stream.
    Close,
}

/// The framing of one stream over TCP.
pub struct Framing {
    /// The content namespace: `jabber:client` or `jabber:server`.
    content: &'static str,
    framer: Framer,
    default_ns: DefaultNs,
    depth_max: u32,
    attributes_max: u32,
    children_max: u32,
}

/// The namespace of an element that declares none (RFC 6120 §4.8.2).
enum DefaultNs {
    Content,
    Stream,
    Nothing,
}

impl Framing {
    /// The framing of a stream with this content namespace (RFC 6120 §4.8.2) whose header has not arrived,
    /// with the limits of an unauthenticated stream.
    pub fn new(content: &'static str, limits: &Limits) -> Self {
        let Limits { depth_max, attributes_max, children_max, .. } = *limits;
        let bytes_max = limits.stanza_bytes_max_unauthenticated;
        let framer = Framer::new(FramerLimits { bytes_max, depth_max });
        // Every session has one of these: small.
        let bound = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
        Self {
            content,
            framer,
            default_ns: DefaultNs::Content,
            depth_max: bound(depth_max),
            attributes_max: bound(attributes_max),
            children_max: bound(children_max),
        }
    }

    /// Sets the limits of an authenticated stream.
    pub fn authenticated(&mut self, limits: &Limits) {
        let (bytes_max, depth_max) = (limits.stanza_bytes_max, limits.depth_max);
        self.framer.set_limits(FramerLimits { bytes_max, depth_max });
    }

    /// Expects a new header from the peer (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {
        self.framer.restart();
    }

    /// Cuts the next whole piece off the received bytes.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, XmlError> {
        Ok(match self.framer.next(buffer)? {
            None => None,
            Some(Piece::Open(raw)) => Some(Event::Open(self.header(&raw)?)),
            Some(Piece::Element(raw)) => Some(Event::Element(gate::check(raw, &self.rules())?)),
            Some(Piece::Whitespace(_)) => Some(Event::Whitespace),
            Some(Piece::Close) => Some(Event::Close),
        })
    }

    fn header(&mut self, raw: &[u8]) -> Result<Header, XmlError> {
        let header = gate::check_header(raw, &self.rules())?;
        self.default_ns = match header.default_ns.as_deref() {
            Some(ns::STREAM) => DefaultNs::Stream,
            Some(default) if default == self.content => DefaultNs::Content,
            _ => DefaultNs::Nothing,
        };
        Ok(header)
    }

    fn rules(&self) -> Rules {
        Rules {
            content_ns: match self.default_ns {
                DefaultNs::Content => self.content,
                DefaultNs::Stream => ns::STREAM,
                DefaultNs::Nothing => "",
            },
            depth_max: self.depth_max as usize,
            attributes_max: self.attributes_max as usize,
            children_max: self.children_max as usize,
        }
    }

    /// Writes an item: calls `out` with its bytes, in order. One call writes one item, which WebSocket
    /// carries as one message (RFC 7395 §3.3).
    pub fn write(&self, item: Item, mut out: impl FnMut(Bytes)) {
        match item {
            Item::Header(greeting) => out(self.opening(&greeting).into()),
            Item::Features(children) if children.is_empty() => {
                out(Bytes::from_static(b"<stream:features/>"));
            }
            Item::Features(children) => {
                out(Bytes::from_static(b"<stream:features>"));
                out(children.into_bytes());
                out(Bytes::from_static(b"</stream:features>"));
            }
            Item::Element(element) => out(element),
            Item::Failure(failure) => out(error(&failure).into()),
            Item::Close => out(Bytes::from_static(b"</stream:stream>")),
        }
    }

    /// Writes a stanza, like [`Framing::write`], but in parts: it goes to many recipients and is not copied
    /// together.
    pub fn write_frame(&self, frame: Frame, mut out: impl FnMut(Bytes)) {
        out(frame.head);
        out(frame.tail);
        out(frame.end);
    }

    fn opening(&self, greeting: &Greeting) -> String {
        let mut text = String::with_capacity(256);
        text.push_str("<?xml version='1.0'?><stream:stream");
        let mut push = |name: &str, value: &str| {
            for part in [" ", name, "='", value, "'"] {
                text.push_str(part);
            }
        };
        push("xmlns", self.content);
        push("xmlns:stream", ns::STREAM);
        push("id", &escape_attr(&greeting.id));
        push("from", &escape_attr(&greeting.from));
        if let Some(to) = &greeting.to {
            push("to", &escape_attr(to.bare_str()));
        }
        push("version", "1.0");
        push("xml:lang", "en");
        text.push('>');
        text
    }
}

/// Writes the error with the prefix of the server's header.
fn error(failure: &StreamFailure) -> String {
    ["<stream:error>", &failure.children(), "</stream:error>"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::error::StreamError;

    fn written(content: &'static str, items: &[Item]) -> Vec<String> {
        let framing = Framing::new(content, &Limits::default());
        let write = |item: &Item| {
            let mut text = Vec::new();
            framing.write(item.clone(), |bytes| text.extend_from_slice(&bytes));
            String::from_utf8(text).unwrap()
        };
        items.iter().map(write).collect()
    }

    /// RFC 6120 §4.2, §4.7, §4.9.1.1
    #[test]
    fn what_is_said_makes_one_document() {
        let to = Some(Jid::parse("a@x/r").unwrap());
        let items = [
            Item::Header(Greeting { id: "1'2".to_owned(), from: "x".to_owned(), to }),
            Item::Features(ByteString::new()),
            Item::Features("<a xmlns='urn:a'/>".into()),
            Item::Element("<iq type='get'/>".into()),
            Item::Failure(StreamError::Reset.text("why")),
            Item::Close,
        ];
        for content in [ns::CLIENT, ns::SERVER] {
            let written = written(content, &items);
            let text = written.concat();
            let document = roxmltree::Document::parse(&text).unwrap();
            let document = document.root_element();
            assert!(document.has_tag_name((ns::STREAM, "stream")));
            assert_eq!(document.attribute("to"), Some("a@x"));
            assert_eq!(document.attribute("id"), Some("1'2"));
            let names = document.children().map(|child| child.tag_name().namespace());
            let stream = Some(ns::STREAM);
            assert!(names.eq([stream, stream, Some(content), stream]), "{written:?}");
        }
    }

    /// RFC 6120 §4.8.2
    #[test]
    fn an_element_without_a_namespace_is_in_what_the_header_declares() {
        for (content, declared, element) in [
            (ns::CLIENT, ns::CLIENT, ns::CLIENT),
            (ns::SERVER, ns::SERVER, ns::SERVER),
            (ns::SERVER, ns::CLIENT, ""),
            (ns::CLIENT, ns::STREAM, ns::STREAM),
        ] {
            let mut framing = Framing::new(content, &Limits::default());
            let text = format!(
                "<stream:stream xmlns='{declared}' xmlns:stream='{}'><a/> </stream:stream>",
                ns::STREAM
            );
            let mut buffer = BytesMut::from(text.as_bytes());
            let mut next = || framing.next(&mut buffer).unwrap().unwrap();
            assert!(matches!(next(), Event::Open(_)));
            let Event::Element(got) = next() else { panic!("no element") };
            assert_eq!(got.ns(), element);
            assert!(matches!(next(), Event::Whitespace) && matches!(next(), Event::Close));
        }
    }
}
