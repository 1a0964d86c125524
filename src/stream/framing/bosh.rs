//! A client's stream over BOSH (XEP-0206). Whoever has the HTTP requests puts what clients send, and takes what
//! they are sent, as pieces: a byte that says what it is, a length, and the bytes. So no border is guessed.

use bytes::{Buf, Bytes, BytesMut};

use super::bounds::Bounds;
use super::item::{Event, Item};
use super::standalone::{self, Parts};
use crate::base::limits::Limits;
use crate::stanza::Frame;
use crate::xml::error::XmlError;
use crate::xml::gate;
use crate::xml::header::Header;
use crate::xml::ns;

/// The framing of one stream over BOSH.
pub struct Bosh {
    bounds: Bounds,
    element_max: usize,
    /// The next piece must be a header.
    fresh: bool,
}

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A header, as the `<open/>` of RFC 7395 §3.4.
    Open(&'a [u8]),
    /// An element, which the gate has yet to see.
    Element(&'a [u8]),
    /// A request without content.
    Keepalive,
    /// The end of the stream.
    Close,
}

/// What a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The id of the server's header.
    Id(Bytes),
    /// The features, with the prefix `stream`.
    Features(Bytes),
    /// An element that declares its namespace.
    Element(Bytes),
    /// A stream error, with the prefix `stream`; [`Said::Close`] follows.
    Failure(Bytes),
    /// The end of the stream.
    Close,
}

impl Bosh {
    /// A stream whose header has not arrived, with the limits of an unauthenticated one.
    pub fn new(limits: &Limits) -> Self {
        let element_max = limits.stanza_bytes_max_unauthenticated;
        Self { bounds: Bounds::of(limits), element_max, fresh: true }
    }

    /// Sets the limits of an authenticated stream.
    pub fn authenticated(&mut self, limits: &Limits) {
        self.element_max = limits.stanza_bytes_max;
    }

    /// Expects a new header from the peer (XEP-0206 §5).
    pub fn restart(&mut self) {
        self.fresh = true;
    }

    /// The next piece among what was heard.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, XmlError> {
        let Some((kind, bytes)) = cut(buffer) else { return Ok(None) };
        if bytes.len() > self.element_max {
            return Err(XmlError::TooLarge { max: self.element_max });
        }
        Ok(Some(match kind {
            KEEPALIVE => Event::Whitespace,
            CLOSE => Event::Close,
            OPEN => {
                self.fresh = false;
                let open = gate::check(bytes, &self.bounds.rules(ns::CLIENT))?;
                Event::Open(standalone::header(&open))
            }
            // COMPAT(XEP-0206 §2): a stanza without a namespace is what it would be on TCP.
            _ => {
                let element = gate::check(bytes, &self.bounds.rules(ns::CLIENT))?;
                match std::mem::take(&mut self.fresh) {
                    // The judge of headers says what is wrong with it.
                    true => Event::Open(Header {
                        ns: element.ns().to_owned(),
                        local: element.name().to_owned(),
                        ..Header::default()
                    }),
                    false => Event::Element(element),
                }
            }
        }))
    }

    /// Writes an item as one piece.
    pub fn write(&self, item: Item, out: impl FnMut(Bytes)) {
        let kind = match &item {
            Item::Header(greeting) => {
                let id = Bytes::copy_from_slice(greeting.id.as_bytes());
                return piece(OPEN, &[id], out);
            }
            Item::Features(_) => FEATURES,
            Item::Element(_) => ELEMENT,
            Item::Failure(_) => FAILURE,
            Item::Close => return piece(CLOSE, &[], out),
        };
        piece(kind, &standalone::item(item), out);
    }

    /// Writes a stanza as one piece.
    pub fn write_frame(&self, frame: Frame, out: impl FnMut(Bytes)) {
        let parts: Parts = standalone::frame(frame);
        piece(ELEMENT, &parts, out);
    }
}

/// Puts what the client sends.
pub fn hear(heard: Heard<'_>, into: &mut BytesMut) {
    let (kind, bytes) = match heard {
        Heard::Open(bytes) => (OPEN, bytes),
        Heard::Element(bytes) => (ELEMENT, bytes),
        Heard::Keepalive => (KEEPALIVE, &[][..]),
        Heard::Close => (CLOSE, &[][..]),
    };
    into.extend_from_slice(&head(kind, bytes.len()));
    into.extend_from_slice(bytes);
}

/// Takes the next whole piece of what the client is sent.
pub fn said(buffer: &mut BytesMut) -> Option<Said> {
    let (kind, bytes) = cut(buffer)?;
    Some(match kind {
        OPEN => Said::Id(bytes),
        FEATURES => Said::Features(bytes),
        FAILURE => Said::Failure(bytes),
        CLOSE => Said::Close,
        _ => Said::Element(bytes),
    })
}

fn piece(kind: u8, parts: &[Bytes], mut out: impl FnMut(Bytes)) {
    let length = parts.iter().map(Bytes::len).sum();
    out(Bytes::copy_from_slice(&head(kind, length)));
    parts.iter().cloned().for_each(out);
}

fn head(kind: u8, length: usize) -> [u8; HEAD] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [kind, a, b, c, d]
}

/// Cuts off the next whole piece.
fn cut(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let &[kind, a, b, c, d] = buffer.first_chunk::<HEAD>()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if buffer.len() - HEAD < length {
        return None;
    }
    buffer.advance(HEAD);
    Some((kind, buffer.split_to(length).freeze()))
}

const HEAD: usize = 5;
const OPEN: u8 = b'o';
const ELEMENT: u8 = b'e';
const FEATURES: u8 = b'f';
const FAILURE: u8 = b'x';
const KEEPALIVE: u8 = b'k';
const CLOSE: u8 = b'c';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::error::StreamError;

    /// XEP-0206 §5: a header, then elements; nothing of two pieces runs together.
    #[test]
    fn pieces_come_out_as_they_went_in() {
        let mut bosh = Bosh::new(&Limits::default());
        let mut heard = BytesMut::new();
        let open = format!("<open xmlns='{}' to='x' version='1.0'/>", standalone::FRAMING);
        for one in [
            Heard::Open(open.as_bytes()),
            Heard::Element(b"<iq id='1'/>"),
            Heard::Keepalive,
            Heard::Element(b"<iq"),
            Heard::Close,
        ] {
            hear(one, &mut heard);
        }
        let (mut buffer, mut told) = (BytesMut::new(), Vec::new());
        for byte in heard {
            buffer.extend_from_slice(&[byte]);
            match bosh.next(&mut buffer) {
                Ok(None) => {}
                Ok(Some(Event::Open(header))) => told.push(header.to.unwrap()),
                Ok(Some(Event::Element(element))) => told.push(element.ns().to_owned()),
                Ok(Some(Event::Whitespace)) => told.push(" ".to_owned()),
                Ok(Some(Event::Close)) => told.push("end".to_owned()),
                Ok(Some(Event::Gone)) => panic!("gone"),
                Err(error) => told.push(error.to_string()),
            }
        }
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!((&*told[0], &*told[1], &*told[2], &*told[4]), ("x", ns::CLIENT, " ", "end"));
    }

    /// Case L15: the error declares the namespace of its prefix.
    #[test]
    fn what_is_said_can_stand_alone() {
        let bosh = Bosh::new(&Limits::default());
        let mut buffer = BytesMut::new();
        for item in [
            Item::Features("<a xmlns='urn:a'/>".into()),
            Item::Element("<iq type='get'/>".into()),
            Item::Failure(StreamError::Reset.into()),
        ] {
            bosh.write(item, |bytes| buffer.extend_from_slice(&bytes));
        }
        bosh.write(Item::Close, |bytes| buffer.extend_from_slice(&bytes));
        for space in [ns::STREAM, ns::CLIENT, ns::STREAM] {
            let Some(Said::Features(xml) | Said::Element(xml) | Said::Failure(xml)) =
                said(&mut buffer)
            else {
                panic!("nothing said");
            };
            let xml = std::str::from_utf8(&xml).unwrap();
            let document = roxmltree::Document::parse(xml).unwrap();
            assert_eq!(document.root_element().tag_name().namespace(), Some(space));
        }
        assert_eq!((said(&mut buffer), said(&mut buffer)), (Some(Said::Close), None));
    }
}
