//! A client's stream on a WebSocket (RFC 7395): each item is one message, and a document of its own.

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::coding::CloseCode;

use super::bounds::Bounds;
use super::frames::{Frames, Received, Violation};
use super::item::{Event, Item};
use super::standalone::{self, FRAMING};
use crate::base::limits::Limits;
use crate::stanza::Frame;
use crate::xml::error::XmlError;
use crate::xml::gate;
use crate::xml::header::Header;
use crate::xml::ns;

/// The framing of one stream over WebSocket.
pub struct WebSocket {
    frames: Frames,
    bounds: Bounds,
    /// The next message must be a header.
    fresh: bool,
    /// How the connection will be closed.
    code: CloseCode,
    /// Where the client is sent (RFC 7395 §3.6.1).
    moved: Option<Box<str>>,
}

impl WebSocket {
    /// A stream whose header has not arrived, with the limits of an unauthenticated one.
    pub fn new(limits: &Limits) -> Self {
        let frames = Frames::new(limits.stanza_bytes_max_unauthenticated);
        Self {
            frames,
            bounds: Bounds::of(limits),
            fresh: true,
            code: CloseCode::Normal,
            moved: None,
        }
    }

    /// Says with the end of the stream where the client should go (RFC 7395 §3.6.1).
    pub fn moved(&mut self, uri: String) {
        self.moved = Some(uri.into());
    }

    /// Whether the client is sent to another address.
    pub fn has_moved(&self) -> bool {
        self.moved.is_some()
    }

    /// Sets the limits of an authenticated stream.
    pub fn authenticated(&mut self, limits: &Limits) {
        self.frames.set_message_max(limits.stanza_bytes_max);
    }

    /// Expects a new header from the peer (RFC 7395 §3.7).
    pub fn restart(&mut self) {
        self.fresh = true;
    }

    /// The next message among the received bytes; `out` is called with answers to control frames.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        out: impl FnMut(Bytes),
    ) -> Result<Option<Event>, XmlError> {
        let event = match self.frames.next(buffer, out) {
            Ok(None) => return Ok(None),
            Ok(Some(Received::Close)) => Ok(Event::Gone),
            Ok(Some(Received::Text(text))) => self.event(text.clone()).map_err(|error| {
                // RFC 6455 §8.1: whatever else is wrong with it.
                if simdutf8::basic::from_utf8(&text).is_err() {
                    self.code = CloseCode::Invalid;
                    return XmlError::UnsupportedEncoding("a message that is not UTF-8");
                }
                error
            }),
            Err(violation) => {
                self.code = match violation {
                    Violation::Protocol(_) => CloseCode::Protocol,
                    Violation::Binary => CloseCode::Unsupported,
                    Violation::TooLarge => CloseCode::Size,
                };
                Err(match violation {
                    Violation::Protocol(what) => XmlError::BadFormat(what),
                    Violation::Binary => XmlError::BadFormat("a WebSocket message that is no text"),
                    Violation::TooLarge => XmlError::TooLarge { max: self.frames.message_max() },
                })
            }
        };
        event.map(Some)
    }

    /// RFC 7395 §3.3: each message is one element.
    fn event(&mut self, text: Bytes) -> Result<Event, XmlError> {
        let text = without_declaration(text);
        if text.first() != Some(&b'<') {
            return Err(XmlError::NotWellFormed("a message that does not begin with <"));
        }
        // COMPAT: a stanza without a namespace is what it would be on TCP, as with other servers.
        let element = gate::check(text, &self.bounds.rules(ns::CLIENT))?;
        let is_framing = element.ns() == FRAMING;
        Ok(match element.name() {
            "open" if is_framing => {
                self.fresh = false;
                Event::Open(standalone::header(&element))
            }
            "close" if is_framing => Event::Close,
            // The judge of headers says what is wrong with it (RFC 7395 §3.3.2, §3.4).
            _ if std::mem::take(&mut self.fresh) => Event::Open(Header {
                ns: element.ns().to_owned(),
                local: element.name().to_owned(),
                ..Header::default()
            }),
            "open" | "close" if element.ns() == ns::CLIENT => {
                return Err(XmlError::InvalidNamespace("a header that is not of RFC 7395"));
            }
            _ => Event::Element(element),
        })
    }

    /// Writes an item as one message; the close frame follows the end of the stream.
    pub fn write(&mut self, item: Item, mut out: impl FnMut(Bytes)) {
        let ends = matches!(item, Item::Close);
        let parts = match (&self.moved, ends) {
            (Some(moved), true) => standalone::close(Some(moved)),
            _ => standalone::item(item),
        };
        self.frames.text(parts, &mut out);
        if ends {
            self.frames.close(Some(self.code), out);
        }
    }

    /// Writes a stanza as one message.
    pub fn write_frame(&mut self, frame: Frame, out: impl FnMut(Bytes)) {
        self.frames.text(standalone::frame(frame), out);
    }
}

/// RFC 7395 §3.3.3 does not recommend XML declarations, nor forbid them.
fn without_declaration(mut text: Bytes) -> Bytes {
    if text.starts_with(b"<?xml ")
        && let Some(end) = memchr::memmem::find(&text, b"?>")
    {
        let rest = text.split_off(end + 2);
        let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        return rest.slice(spaces..);
    }
    text
}
