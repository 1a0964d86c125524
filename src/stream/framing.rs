//! How a stream is written on its transport: headers, elements and ends to bytes and back. Nobody else
//! knows which transport it is.

pub mod bosh;
mod bounds;
mod frames;
mod item;
mod standalone;
mod tcp;
mod websocket;

use bytes::{Bytes, BytesMut};

pub use item::{Event, Greeting, Item};

use crate::base::limits::Limits;
use crate::stanza::Frame;
use crate::xml::error::XmlError;
use bosh::Bosh;
use tcp::Tcp;
use websocket::WebSocket;

/// The framing of one stream.
pub struct Framing(Kind);

enum Kind {
    Tcp(Tcp),
    WebSocket(WebSocket),
    Bosh(Bosh),
}

impl Framing {
    /// A stream on TCP (RFC 6120 §4) with this content namespace (§4.8.2), whose header has not arrived,
    /// with the limits of an unauthenticated one.
    pub fn tcp(content: &'static str, limits: &Limits) -> Self {
        Self(Kind::Tcp(Tcp::new(content, limits)))
    }

    /// A client's stream on a WebSocket whose handshake is done (RFC 7395).
    pub fn websocket(limits: &Limits) -> Self {
        Self(Kind::WebSocket(WebSocket::new(limits)))
    }

    /// A client's stream in the bodies of HTTP requests (XEP-0206), as [`bosh`] says.
    pub fn bosh(limits: &Limits) -> Self {
        Self(Kind::Bosh(Bosh::new(limits)))
    }

    /// Sets the limits of an authenticated stream.
    pub fn authenticated(&mut self, limits: &Limits) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.authenticated(limits),
            Kind::WebSocket(websocket) => websocket.authenticated(limits),
            Kind::Bosh(bosh) => bosh.authenticated(limits),
        }
    }

    /// Sends the client to this address as soon as the stream has begun; on WebSocket only.
    pub fn moved(&mut self, uri: String) {
        if let Kind::WebSocket(websocket) = &mut self.0 {
            websocket.moved(uri);
        }
    }

    /// Whether the client is sent to another address.
    pub fn has_moved(&self) -> bool {
        matches!(&self.0, Kind::WebSocket(websocket) if websocket.has_moved())
    }

    /// Expects a new header from the peer (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.restart(),
            Kind::WebSocket(websocket) => websocket.restart(),
            Kind::Bosh(bosh) => bosh.restart(),
        }
    }

    /// Cuts the next whole piece off the received bytes. `out` is called with what the transport itself has
    /// to answer.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        out: impl FnMut(Bytes),
    ) -> Result<Option<Event>, XmlError> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.next(buffer),
            Kind::WebSocket(websocket) => websocket.next(buffer, out),
            Kind::Bosh(bosh) => bosh.next(buffer),
        }
    }

    /// Writes an item: calls `out` with its bytes, in order. One call writes one item.
    pub fn write(&mut self, item: Item, out: impl FnMut(Bytes)) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.write(item, out),
            Kind::WebSocket(websocket) => websocket.write(item, out),
            Kind::Bosh(bosh) => bosh.write(item, out),
        }
    }

    /// Writes a stanza, like [`Framing::write`], but in parts: it goes to many recipients and is not copied
    /// together.
    pub fn write_frame(&mut self, frame: Frame, out: impl FnMut(Bytes)) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.write_frame(frame, out),
            Kind::WebSocket(websocket) => websocket.write_frame(frame, out),
            Kind::Bosh(bosh) => bosh.write_frame(frame, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;
    use crate::jid::Jid;
    use crate::stream::error::StreamError;
    use crate::xml::ns;

    fn written(content: &'static str, items: &[Item]) -> Vec<String> {
        let mut framing = Framing::tcp(content, &Limits::default());
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
            let mut framing = Framing::tcp(content, &Limits::default());
            let text = format!(
                "<stream:stream xmlns='{declared}' xmlns:stream='{}'><a/> </stream:stream>",
                ns::STREAM
            );
            let mut buffer = BytesMut::from(text.as_bytes());
            let mut next = || framing.next(&mut buffer, |_| ()).unwrap().unwrap();
            assert!(matches!(next(), Event::Open(_)));
            let Event::Element(got) = next() else { panic!("no element") };
            assert_eq!(got.ns(), element);
            assert!(matches!(next(), Event::Whitespace) && matches!(next(), Event::Close));
        }
    }
}
