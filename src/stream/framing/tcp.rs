//! A stream on TCP (RFC 6120 §4): one document, whose root is open as long as the stream is.

use bytes::{Bytes, BytesMut};

use super::bounds::Bounds;
use super::item::{Event, Greeting, Item};
use crate::base::limits::{Limits, PEER_BYTES_MAX_UNAUTHENTICATED};
use crate::stanza::{Frame, content};
use crate::stream::error::StreamFailure;
use crate::xml::error::XmlError;
use crate::xml::framer::{Framer, FramerLimits, Piece};
use crate::xml::gate::{self, Rules};
use crate::xml::header::Header;
use crate::xml::ns;
use crate::xml::writer::escape_attr;

/// The framing of one stream over TCP.
pub struct Tcp {
    /// The content namespace: `jabber:client`, `jabber:server` or `jabber:component:accept`.
    content: &'static str,
    framer: Framer,
    default_ns: DefaultNs,
    bounds: Bounds,
    /// Of a stream between servers.
    server: Option<Box<Prefixes>>,
}

/// What the header of a server binds that its elements use (RFC 6120 §4.8.5, XEP-0220 §2).
#[derive(Default)]
struct Prefixes {
    dialback: Option<String>,
    /// Other than `stream`, which the gate knows.
    stream: Option<String>,
}

/// The namespace of an element that declares none (RFC 6120 §4.8.2).
enum DefaultNs {
    Content,
    Stream,
    Nothing,
}

impl Tcp {
    /// A stream whose header has not arrived, with the limits of an unauthenticated one.
    pub fn new(content: &'static str, limits: &Limits) -> Self {
        let bounds = Bounds::of(limits);
        let mut bytes_max = limits.stanza_bytes_max_unauthenticated;
        if content == ns::SERVER {
            bytes_max = bytes_max.min(PEER_BYTES_MAX_UNAUTHENTICATED);
        }
        let framer = Framer::new(FramerLimits { bytes_max, depth_max: limits.depth_max });
        let server = (content == ns::SERVER).then(Box::default);
        Self { content, framer, default_ns: DefaultNs::Content, bounds, server }
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
            Some(Piece::Element(raw)) => {
                let raw = match &self.server {
                    Some(prefixes) => prefixes.alone(content::to_client(raw)),
                    None if self.is_component() => content::component_to_client(raw),
                    None => raw,
                };
                Some(Event::Element(gate::check(raw, &self.rules())?))
            }
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
        if let Some(prefixes) = &mut self.server {
            prefixes.dialback.clone_from(&header.dialback);
            let is_stream = header.ns == ns::STREAM;
            prefixes.stream = header.prefix.clone().filter(|it| is_stream && it != "stream");
        }
        Ok(header)
    }

    fn rules(&self) -> Rules {
        self.bounds.rules(match self.default_ns {
            // What servers and components send is turned into what clients would send.
            DefaultNs::Content => ns::CLIENT,
            DefaultNs::Stream => ns::STREAM,
            DefaultNs::Nothing => "",
        })
    }

    /// Writes an item: calls `out` with its bytes, in order.
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

    /// Writes a stanza, which goes to many recipients and is not copied together.
    pub fn write_frame(&self, frame: Frame, mut out: impl FnMut(Bytes)) {
        let frame = match self.server {
            Some(_) => content::to_server(&frame),
            None if self.is_component() => content::to_component(&frame),
            None => frame,
        };
        out(frame.head);
        out(frame.tail);
        out(frame.end);
    }

    fn is_component(&self) -> bool {
        self.content == ns::COMPONENT
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
        if self.server.is_some() {
            // XEP-0220 §2.4.1
            push("xmlns:db", ns::DIALBACK);
        }
        if !greeting.id.is_empty() {
            push("id", &escape_attr(&greeting.id));
        }
        if !greeting.from.is_empty() {
            push("from", &escape_attr(&greeting.from));
        }
        if let Some(to) = &greeting.to {
            push("to", &escape_attr(to.bare_str()));
        }
        if !self.is_component() {
            // XEP-0114 §3: neither has a version, so no features follow (RFC 6120 §4.7.5).
            push("version", "1.0");
            push("xml:lang", "en");
        }
        text.push('>');
        text
    }
}

impl Prefixes {
    /// The element with the declaration that the header made for it.
    fn alone(&self, raw: Bytes) -> Bytes {
        let bound = [(&self.dialback, ns::DIALBACK), (&self.stream, ns::STREAM)];
        bound.into_iter().fold(raw, |raw, (prefix, namespace)| match prefix {
            Some(prefix) => content::declared(raw, prefix, namespace),
            None => raw,
        })
    }
}

/// Writes the error with the prefix of the server's header.
fn error(failure: &StreamFailure) -> String {
    ["<stream:error>", &failure.children(), "</stream:error>"].concat()
}
