//! Items as documents of their own, which is how they travel on WebSocket (RFC 7395 §3.3.3) and BOSH
//! (XEP-0124 §6): the namespaces that a stream's root declares on TCP are declared by each of them.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::item::{Greeting, Item};
use crate::stanza::Frame;
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The bytes of one item.
pub type Parts = SmallVec<[Bytes; 4]>;

/// The namespace of the headers (RFC 7395 §3.3.2).
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

/// One item of a client's stream.
pub fn item(item: Item) -> Parts {
    match item {
        Item::Header(greeting) => smallvec![opening(&greeting)],
        Item::Features(children) => {
            let mut xml = Xml::new();
            xml.start("stream:features").attr("xmlns:stream", ns::STREAM);
            xml.raw(children.as_bytes()).end();
            smallvec![xml.finish()]
        }
        Item::Element(element) => content(element),
        Item::Failure(failure) => {
            let mut xml = Xml::new();
            xml.start("stream:error").attr("xmlns:stream", ns::STREAM);
            xml.raw(failure.children().as_bytes()).end();
            smallvec![xml.finish()]
        }
        Item::Close => close(None),
    }
}

/// The end of a stream; the client may be sent to another address (RFC 7395 §3.6.1).
pub fn close(see_other_uri: Option<&str>) -> Parts {
    let mut xml = Xml::new();
    xml.start("close").attr("xmlns", FRAMING).attr_opt("see-other-uri", see_other_uri).end();
    smallvec![xml.finish()]
}

/// One stanza of a client's stream.
pub fn frame(frame: Frame) -> Parts {
    let mut parts = content(frame.head);
    parts.extend([frame.tail, frame.end]);
    parts
}

/// The header that `<open/>` stands for (RFC 7395 §3.3.1).
pub fn header(open: &Element) -> Header {
    let attr = |name| open.attr(name).map(std::borrow::Cow::into_owned);
    Header {
        from: attr("from"),
        to: attr("to"),
        id: attr("id"),
        version: attr("version"),
        lang: open.lang().map(std::borrow::Cow::into_owned),
        ns: ns::STREAM.to_owned(),
        local: "stream".to_owned(),
        prefix: None,
        default_ns: Some(ns::CLIENT.to_owned()),
        dialback: None,
    }
}

/// RFC 7395 §3.4
fn opening(greeting: &Greeting) -> Bytes {
    let mut xml = Xml::new();
    xml.start("open").attr("xmlns", FRAMING);
    xml.attr("id", &greeting.id).attr("from", &greeting.from);
    xml.attr_opt("to", greeting.to.as_ref().map(|to| to.bare_str()));
    xml.attr("version", "1.0").attr("xml:lang", "en").end();
    xml.finish()
}

/// An element, or the open tag of one without its end, with its namespace: a stanza is kept without.
fn content(element: Bytes) -> Parts {
    let name = 1 + element.iter().skip(1).take_while(|byte| byte.is_ascii_lowercase()).count();
    let declared = match element.get(..name) {
        Some(b"<message") => MESSAGE,
        Some(b"<presence") => PRESENCE,
        Some(b"<iq") => IQ,
        _ => return smallvec![element],
    };
    match declares(element.get(name..).unwrap_or_default()) {
        true => smallvec![element],
        false => smallvec![Bytes::from_static(declared), element.slice(name..)],
    }
}

const MESSAGE: &[u8] = b"<message xmlns='jabber:client'";
const PRESENCE: &[u8] = b"<presence xmlns='jabber:client'";
const IQ: &[u8] = b"<iq xmlns='jabber:client'";

/// Whether the attributes that follow a tag's name declare a default namespace.
fn declares(mut attributes: &[u8]) -> bool {
    loop {
        let spaces = attributes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        attributes = attributes.get(spaces..).unwrap_or_default();
        let Some(equals) = attributes.iter().position(|&byte| byte == b'=') else { return false };
        if attributes.iter().take(equals).any(|byte| matches!(byte, b'>' | b'/')) {
            return false;
        }
        if attributes.get(..equals).unwrap_or_default().trim_ascii_end() == b"xmlns" {
            return true;
        }
        let value = attributes.get(equals..).unwrap_or_default();
        let Some(open) = value.iter().position(|byte| matches!(byte, b'\'' | b'"')) else {
            return false;
        };
        let quote = value.get(open).copied().unwrap_or_default();
        let rest = value.get(open + 1..).unwrap_or_default();
        let Some(close) = rest.iter().position(|&byte| byte == quote) else { return false };
        attributes = rest.get(close + 1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: Parts) -> String {
        String::from_utf8(parts.concat()).unwrap()
    }

    /// RFC 7395 §3.3.3: "complete with all relevant namespace and language declarations"
    #[test]
    fn a_stanza_declares_its_namespace_once() {
        for (kept, sent) in [
            ("<message><body/></message>", "<message xmlns='jabber:client'><body/></message>"),
            ("<iq type='get'/>", "<iq xmlns='jabber:client' type='get'/>"),
            ("<presence/>", "<presence xmlns='jabber:client'/>"),
            ("<iq id='a' xmlns='jabber:client'/>", "<iq id='a' xmlns='jabber:client'/>"),
            ("<iq id=\"' xmlns='\"/>", "<iq xmlns='jabber:client' id=\"' xmlns='\"/>"),
            ("<iq><q xmlns='urn:q'/></iq>", "<iq xmlns='jabber:client'><q xmlns='urn:q'/></iq>"),
            ("<r xmlns='urn:xmpp:sm:3'/>", "<r xmlns='urn:xmpp:sm:3'/>"),
            ("<messages/>", "<messages/>"),
        ] {
            let sent_as = text(item(Item::Element(Bytes::copy_from_slice(kept.as_bytes()))));
            assert_eq!(sent_as, sent);
            let document = roxmltree::Document::parse(&sent_as).unwrap();
            assert!(
                kept == "<messages/>" || document.root_element().tag_name().namespace().is_some()
            );
        }
        let parts = frame(Frame::of("<message to='a@b'", "><body/></message>"));
        assert_eq!(text(parts), "<message xmlns='jabber:client' to='a@b'><body/></message>");
    }
}
