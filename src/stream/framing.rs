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
    /// with the limits of an unauthenticated one. What comes on one of `jabber:server` or `jabber:component:accept`
    /// is turned into `jabber:client`, which is what is routed, and stanzas that go out ([`Framing::write_frame`])
    /// the other way.
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
    use crate::xml::element::Element;
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
            (ns::SERVER, ns::SERVER, ns::CLIENT),
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

    /// The elements of a stream between servers, and what it wrote them as.
    fn from_server(header: &str, elements: &str) -> Vec<Result<Element, XmlError>> {
        let mut framing = Framing::tcp(ns::SERVER, &Limits::default());
        let mut buffer = BytesMut::from([header, elements].concat().as_bytes());
        let opened = framing.next(&mut buffer, |_| ()).unwrap();
        assert!(matches!(opened, Some(Event::Open(_))));
        let mut got = Vec::new();
        while !buffer.is_empty() {
            match framing.next(&mut buffer, |_| ()) {
                Ok(Some(Event::Element(element))) => got.push(Ok(element)),
                Ok(_) => {}
                Err(error) => {
                    got.push(Err(error));
                    break;
                }
            }
        }
        got
    }

    const PEER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
                        xmlns:stream='http://etherx.jabber.org/streams' \
                        xmlns:db='jabber:server:dialback' version='1.0'>";

    /// RFC 6120 §4.8.3, §4.8.5: whatever the header binds and stanzas declare, a client reads the same.
    #[test]
    fn what_a_server_sends_is_right_on_a_clients_wire() {
        let forwarded = "<x:f xmlns:x='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/>\
                         </message></x:f>";
        for (sent, children) in [
            ("<message><body>1</body></message>", [Some(ns::CLIENT), None]),
            ("<message xmlns='jabber:server'><body/></message>", [Some(ns::CLIENT), None]),
            ("<message xmlns='jabber:client'><body/></message>", [Some(ns::CLIENT), None]),
            (
                "<message xmlns='jabber:server'><body xmlns='jabber:server'/></message>",
                [Some(ns::CLIENT), None],
            ),
            (&format!("<message>{forwarded}</message>"), [Some(ns::FORWARD), Some(ns::CLIENT)]),
            (
                &format!("<message>{}</message>", forwarded.replace("client", "server")),
                [Some(ns::FORWARD), Some(ns::CLIENT)],
            ),
        ] {
            let got = from_server(PEER, sent);
            let element = got.into_iter().next().unwrap().unwrap();
            assert_eq!(element.ns(), ns::CLIENT, "{sent}");
            // On a client's stream, whose header declares the content namespace.
            let wire = format!("<s xmlns='{}'>{}</s>", ns::CLIENT, element.as_str());
            let document = roxmltree::Document::parse(&wire).unwrap();
            let spaces: Vec<_> =
                document.root_element().descendants().skip(1).filter(|n| n.is_element()).collect();
            let spaces = spaces.iter().map(|node| node.tag_name().namespace());
            let wanted =
                std::iter::once(Some(ns::CLIENT)).chain(children).take_while(Option::is_some);
            assert!(spaces.clone().take(wanted.clone().count()).eq(wanted), "{sent}");
            assert!(!element.as_str().contains("jabber:server"), "{sent}");
        }
        // RFC 6120 §4.8.5: no prefix for the content namespace, and none from the header.
        for bad in [
            "<s:message xmlns:s='jabber:server'/>",
            "<message xmlns:s='jabber:server'><s:body/></message>",
            "<message><db:result/></message>",
        ] {
            assert!(from_server(PEER, bad).iter().any(Result::is_err), "{bad}");
        }
    }

    /// XEP-0220 §2: the prefix is the one of the header; RFC 6120 §4.8.5 for that of the stream.
    #[test]
    fn elements_of_the_stream_have_the_headers_prefixes() {
        for (stream, db) in [("stream", "db"), ("s", "dialback"), ("db", "stream")] {
            let header = format!(
                "<{stream}:stream xmlns='jabber:server' xmlns:{stream}='{}' xmlns:{db}='{}'>",
                ns::STREAM,
                ns::DIALBACK
            );
            let elements = format!(
                "<{db}:result from='a' to='b' type='error'><error type='cancel'/></{db}:result>\
                 <{stream}:features><a xmlns='urn:a'/></{stream}:features>\
                 <{db}:verify xmlns:{db}='{}'/><message/>",
                ns::DIALBACK
            );
            let got = from_server(&header, &elements);
            let names: Vec<_> = got.iter().flatten().map(|one| (one.ns(), one.name())).collect();
            let wanted = [
                (ns::DIALBACK, "result"),
                (ns::STREAM, "features"),
                (ns::DIALBACK, "verify"),
                (ns::CLIENT, "message"),
            ];
            assert_eq!(names, wanted, "{header}");
            let error = got[0].as_ref().unwrap().children().next().unwrap();
            assert_eq!((error.ns, error.name), (ns::CLIENT, "error"));
        }
        let without = "<stream:stream xmlns='jabber:server' \
                       xmlns:stream='http://etherx.jabber.org/streams'>";
        assert!(from_server(without, "<db:result/>").iter().any(Result::is_err));
    }

    /// RFC 6120 §4.7.3, §4.8.3; XEP-0220 §2.4.1; XEP-0297 §3.2
    #[test]
    fn what_goes_to_a_server_is_a_stream_between_servers() {
        let mut framing = Framing::tcp(ns::SERVER, &Limits::default());
        let mut text = Vec::new();
        let to = Some(Jid::parse("b.example").unwrap());
        let header = Greeting { id: String::new(), from: "a.example".to_owned(), to };
        framing.write(Item::Header(header), |bytes| text.extend_from_slice(&bytes));
        let head = Bytes::from_static(b"<message to='b.example'");
        let tail =
            "><a xmlns='jabber:client'/><f xmlns='urn:f'><message xmlns='jabber:client'/></f>";
        let frame = Frame { head, tail: tail.into(), end: "</message>".into() };
        framing.write_frame(frame, |bytes| text.extend_from_slice(&bytes));
        framing.write(Item::Element("<db:result/>".into()), |bytes| text.extend_from_slice(&bytes));
        framing.write(Item::Close, |bytes| text.extend_from_slice(&bytes));
        let text = String::from_utf8(text).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!((root.attribute("id"), root.attribute("from")), (None, Some("a.example")));
        assert_eq!(
            (root.attribute("to"), root.attribute("version")),
            (Some("b.example"), Some("1.0"))
        );
        let spaces = root.descendants().skip(1).filter_map(|node| node.tag_name().namespace());
        let wanted = [ns::SERVER, ns::SERVER, "urn:f", ns::CLIENT, ns::DIALBACK];
        assert_eq!(spaces.collect::<Vec<_>>(), wanted);
    }
}
