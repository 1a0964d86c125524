//! Inside the server stanzas are in `jabber:client`, on streams between servers in `jabber:server` (RFC 6120
//! §4.8.3), and on those of components in `jabber:component:accept` (XEP-0114). The first two names have the same
//! length, so a declaration of one becomes one of the other where it stands.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::Frame;
use crate::xml::ns;

/// Turns an element of another server's stream into what is routed: wherever it declares `jabber:server`, it
/// declares `jabber:client` instead. The gate has not seen it yet; what it would refuse may come out as it was.
/// Copies nothing if there is no such declaration.
pub fn to_client(raw: Bytes) -> Bytes {
    replaced(raw, ns::SERVER, ns::CLIENT, usize::MAX)
}

/// The same for what a component sends, in `jabber:component:accept` (XEP-0114): that name is longer, so what
/// declares it is written anew. Most components declare nothing.
pub fn component_to_client(raw: Bytes) -> Bytes {
    replaced(raw, ns::COMPONENT, ns::CLIENT, usize::MAX)
}

/// Turns a stanza into what a component is sent: see [`to_server`].
pub fn to_component(frame: &Frame) -> Frame {
    outward(frame, ns::COMPONENT)
}

/// Turns a stanza into what another server is sent: what the stanza and its payloads themselves declare to be
/// `jabber:client` is `jabber:server` there. What is deeper inside (a forwarded stanza, XEP-0297 §3.2) stays what
/// it is. Copies nothing if there is no such declaration.
pub fn to_server(frame: &Frame) -> Frame {
    outward(frame, ns::SERVER)
}

fn outward(frame: &Frame, content: &str) -> Frame {
    let parts = [&frame.head, &frame.tail, &frame.end];
    if !parts.iter().any(|part| memmem::find(part, ns::CLIENT.as_bytes()).is_some()) {
        return frame.clone();
    }
    let whole = Bytes::from(frame.to_vec());
    let mut changes = false;
    scan(&whole, PAYLOADS, |declaration| changes |= declaration.value == ns::CLIENT.as_bytes());
    match changes {
        true => Frame::whole(replaced(whole, ns::CLIENT, content, PAYLOADS)),
        false => frame.clone(),
    }
}

/// Lets an element stand alone whose name has a prefix that only the header of its stream declares (RFC 6120
/// §4.8.5): adds the declaration. Anything else comes out as it was.
pub fn declared(raw: Bytes, prefix: &str, namespace: &str) -> Bytes {
    let name_end = raw.iter().position(|&byte| ends_name(byte)).unwrap_or(raw.len());
    let name = raw.get(1..name_end).unwrap_or_default();
    let rest = name.strip_prefix(prefix.as_bytes());
    if !rest.is_some_and(|rest| rest.starts_with(b":")) {
        return raw;
    }
    let mut has = false;
    scan(&raw, 1, |declaration| has |= declaration.prefix == prefix.as_bytes());
    if has {
        return raw;
    }
    let (before, after) = raw.split_at(name_end);
    let declaration = [" xmlns:", prefix, "='", namespace, "'"].concat();
    [before, declaration.as_bytes(), after].concat().into()
}

/// Replaces these declarations down to this depth: where they stand, if the others have the same length.
fn replaced(raw: Bytes, from: &str, to: &str, depth_max: usize) -> Bytes {
    if memmem::find(&raw, from.as_bytes()).is_none() {
        return raw;
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    scan(&raw, depth_max, |declaration| {
        if declaration.value == from.as_bytes() {
            found.push(declaration.at);
        }
    });
    if found.is_empty() {
        return raw;
    }
    if from.len() != to.len() {
        return spliced(&raw, &found, to);
    }
    let mut changed = BytesMut::from(raw);
    for at in found {
        if let Some(value) = changed.get_mut(at) {
            value.copy_from_slice(to.as_bytes());
        }
    }
    changed.freeze()
}

/// The bytes with `to` at these places, which are in order.
fn spliced(raw: &[u8], places: &[Range<usize>], to: &str) -> Bytes {
    let mut changed = BytesMut::with_capacity(raw.len() + places.len() * to.len());
    let mut from = 0;
    for at in places {
        changed.extend_from_slice(raw.get(from..at.start).unwrap_or_default());
        changed.extend_from_slice(to.as_bytes());
        from = at.end;
    }
    changed.extend_from_slice(raw.get(from..).unwrap_or_default());
    changed.freeze()
}

/// A namespace declaration in a tag.
struct Declaration<'a> {
    /// Empty for the default.
    prefix: &'a [u8],
    value: &'a [u8],
    /// Where the value is.
    at: Range<usize>,
}

/// Calls `found` with the declarations of all elements down to this depth; the outermost has 1. Stops where the
/// gate will, or has.
fn scan<'a>(raw: &'a [u8], depth_max: usize, mut found: impl FnMut(Declaration<'a>)) {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(next) = raw.get(at..).and_then(|rest| memchr(b'<', rest)) {
        at += next + 1;
        let rest = raw.get(at..).unwrap_or_default();
        if let Some(text) = rest.strip_prefix(b"![CDATA[") {
            let Some(end) = memmem::find(text, b"]]>") else { return };
            at = raw.len() - text.len() + end + 3;
        } else if rest.starts_with(b"/") {
            depth = depth.saturating_sub(1);
        } else {
            let mut tag = Tag { raw, at };
            tag.skip(|byte| !ends_name(byte));
            let level = depth + 1;
            let Some(open) = tag.attributes(|one| {
                if level <= depth_max {
                    found(one);
                }
            }) else {
                return;
            };
            depth += usize::from(open);
            at = tag.at;
        }
    }
}

/// A cursor in an open tag.
struct Tag<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Tag<'a> {
    /// Reads up to the end of the tag; whether the element has content. `None`: it is no tag.
    fn attributes(&mut self, mut found: impl FnMut(Declaration<'a>)) -> Option<bool> {
        loop {
            self.skip(is_space);
            match self.raw.get(self.at)? {
                b'>' => return Some(true),
                b'/' => return Some(false),
                _ => {}
            }
            let name = self.skip(|byte| !ends_name(byte) && byte != b'=');
            self.skip(is_space);
            self.expect(|byte| byte == b'=')?;
            self.skip(is_space);
            let quote = self.expect(|byte| matches!(byte, b'\'' | b'"'))?;
            let from = self.at;
            let value = self.skip(|byte| byte != quote);
            self.expect(|byte| byte == quote)?;
            let prefix = match name.strip_prefix(b"xmlns") {
                Some(b"") => Some(&b""[..]),
                Some(rest) => rest.strip_prefix(b":"),
                None => None,
            };
            if let Some(prefix) = prefix {
                found(Declaration { prefix, value, at: from..from + value.len() });
            }
        }
    }

    fn skip(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| !fits(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn expect(&mut self, fits: impl Fn(u8) -> bool) -> Option<u8> {
        let byte = self.raw.get(self.at).copied().filter(|&byte| fits(byte))?;
        self.at += 1;
        Some(byte)
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

const fn ends_name(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'>' | b'/')
}

/// The depth of a stanza's own payloads.
const PAYLOADS: usize = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(raw: &str) -> String {
        String::from_utf8(to_client(raw.to_owned().into()).to_vec()).unwrap()
    }

    fn server(raw: &str) -> String {
        String::from_utf8(to_server(&Frame::whole(raw.to_owned().into())).to_vec()).unwrap()
    }

    /// RFC 6120 §4.8.3
    #[test]
    fn what_servers_declare_is_what_clients_read() {
        for (raw, want) in [
            ("<message xmlns='jabber:server'/>", "<message xmlns='jabber:client'/>"),
            ("<message xmlns = \"jabber:server\" >", "<message xmlns = \"jabber:client\" >"),
            (
                "<message a='>' xmlns='jabber:server' xmlns:p='jabber:server'><a/></message>",
                "<message a='>' xmlns='jabber:client' xmlns:p='jabber:client'><a/></message>",
            ),
            (
                "<m><x xmlns='u'><message\n\txmlns='jabber:server'/></x></m>",
                "<m><x xmlns='u'><message\n\txmlns='jabber:client'/></x></m>",
            ),
        ] {
            assert_eq!(client(raw), want);
        }
    }

    /// XEP-0114 §3
    #[test]
    fn what_components_declare_is_what_clients_read() {
        let component = |raw: &str| {
            String::from_utf8(component_to_client(raw.to_owned().into()).to_vec()).unwrap()
        };
        for (raw, want) in [
            ("<message><body/></message>", "<message><body/></message>"),
            ("<message xmlns='jabber:component:accept'/>", "<message xmlns='jabber:client'/>"),
            (
                "<iq xmlns=\"jabber:component:accept\" a='b'><q xmlns='u'>\
                 <message xmlns='jabber:component:accept'>jabber:component:accept</message></q></iq>",
                "<iq xmlns=\"jabber:client\" a='b'><q xmlns='u'>\
                 <message xmlns='jabber:client'>jabber:component:accept</message></q></iq>",
            ),
            ("<message xmlns='jabber:client'/>", "<message xmlns='jabber:client'/>"),
        ] {
            assert_eq!(component(raw), want);
        }
        let frame = Frame::of("<iq to='c'", "><error xmlns='jabber:client'/></iq>");
        let sent = to_component(&frame).to_vec();
        assert_eq!(sent, b"<iq to='c'><error xmlns='jabber:component:accept'/></iq>");
    }

    #[test]
    fn nothing_else_is_touched() {
        for raw in [
            "",
            "<",
            "<m",
            "<m xmlns='jabber:server",
            "<m xmlns=jabber:server/>",
            "<m><body>xmlns='jabber:server'</body></m>",
            "<m><body>jabber:server</body></m>",
            "<m a='jabber:server' xml='jabber:server' xmlnsx='jabber:server'/>",
            "<m a=\"x xmlns='jabber:server'\"/>",
            "<m xmlns='jabber:server:dialback'/>",
            "<m xmlns=' jabber:server'/>",
            "<m><![CDATA[<a xmlns='jabber:server'/>]]></m>",
            "<m><![CDATA[<a xmlns='jabber:server'/>",
            "<m></a xmlns='jabber:server'></m>",
        ] {
            assert_eq!(client(raw), raw);
            let shared = Bytes::from(raw.to_owned());
            assert_eq!(to_client(shared.clone()).as_ptr(), shared.as_ptr(), "{raw} was copied");
        }
    }

    /// XEP-0297 §3.2: what is forwarded was never on a stream between servers.
    #[test]
    fn what_clients_declare_is_what_servers_read() {
        for (raw, want) in [
            ("<message xmlns='jabber:client'/>", "<message xmlns='jabber:server'/>"),
            (
                "<iq><a xmlns='jabber:client'/><b><c xmlns='jabber:client'/></b>\
                 <d xmlns='jabber:client'><e xmlns='jabber:client'/></d></iq>",
                "<iq><a xmlns='jabber:server'/><b><c xmlns='jabber:client'/></b>\
                 <d xmlns='jabber:server'><e xmlns='jabber:client'/></d></iq>",
            ),
            (
                "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>\
                 <body/></message></forwarded></message>",
                "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>\
                 <body/></message></forwarded></message>",
            ),
            (
                "<message><body>jabber:client</body></message>",
                "<message><body>jabber:client</body></message>",
            ),
        ] {
            assert_eq!(server(raw), want);
        }
        let head = Bytes::from_static(b"<message to='a'");
        let frame =
            Frame { head, tail: "><a xmlns='jabber:client'/>".into(), end: "</message>".into() };
        let whole = String::from_utf8(to_server(&frame).to_vec()).unwrap();
        assert_eq!(whole, "<message to='a'><a xmlns='jabber:server'/></message>");
    }

    /// RFC 6120 §4.8.5, XEP-0220 §2
    #[test]
    fn an_element_can_stand_alone() {
        for (raw, want) in [
            ("<db:result a='b'>k</db:result>", "<db:result xmlns:db='u' a='b'>k</db:result>"),
            ("<db:result/>", "<db:result xmlns:db='u'/>"),
            ("<db:result>k</db:result>", "<db:result xmlns:db='u'>k</db:result>"),
            ("<db:result xmlns:db='v'/>", "<db:result xmlns:db='v'/>"),
            ("<d:result/>", "<d:result/>"),
            ("<db/>", "<db/>"),
            ("<message db:a='b'/>", "<message db:a='b'/>"),
            ("", ""),
            ("<", "<"),
        ] {
            let alone = declared(raw.to_owned().into(), "db", "u");
            assert_eq!(alone, want.as_bytes(), "{raw}");
        }
    }

    fn element() -> impl Strategy<Value = String> {
        let declaration = prop_oneof![
            Just(String::new()),
            Just(" xmlns='jabber:server'".to_owned()),
            Just(" xmlns=\"jabber:client\"".to_owned()),
            Just(" xmlns='u' a='jabber:server' b='>'".to_owned()),
        ];
        let text = prop_oneof![
            Just(String::new()),
            Just("jabber:server".to_owned()),
            Just("<![CDATA[<x xmlns='jabber:server'>]]>".to_owned()),
        ];
        let leaf = (declaration.clone(), text).prop_map(|(declared, text)| match text.is_empty() {
            true => format!("<a{declared}/>"),
            false => format!("<a{declared}>{text}</a>"),
        });
        leaf.prop_recursive(5, 32, 4, move |inner| {
            (declaration.clone(), prop::collection::vec(inner, 0..4))
                .prop_map(|(declared, inner)| format!("<a{declared}>{}</a>", inner.concat()))
        })
    }

    fn namespaces(node: roxmltree::Node<'_, '_>, depth: usize, out: &mut Vec<(usize, String)>) {
        out.push((depth, node.tag_name().namespace().unwrap_or_default().to_owned()));
        node.children().filter(|c| c.is_element()).for_each(|c| namespaces(c, depth + 1, out));
    }

    proptest! {
        /// An independent parser sees no `jabber:server` any more, and all else as it was.
        #[test]
        fn every_declaration_is_found(xml in element()) {
            let changed = client(&xml);
            let read = |xml: &str| {
                let document = roxmltree::Document::parse(xml).unwrap();
                let mut out = Vec::new();
                namespaces(document.root_element(), 1, &mut out);
                let text: Vec<_> = document.descendants().filter_map(|n| n.text()).map(str::to_owned).collect();
                (out, text)
            };
            let (mut before, text) = read(&xml);
            for (_, ns) in &mut before {
                if ns == ns::SERVER { *ns = ns::CLIENT.to_owned(); }
            }
            prop_assert_eq!((before, text), read(&changed));
        }

        #[test]
        fn nothing_panics(raw in "[<>/!\\[\\]CDATx'\"= a:]{0,40}") {
            client(&raw);
            server(&raw);
            declared(raw.into(), "a", "u");
        }
    }
}
