//! XEP-0297: Stanza Forwarding.

use crate::xml::ns;
use crate::xml::writer::Xml;

/// `<forwarded/>` with a delay stamp ([`super::delay::delay`], or nothing) and the stanza, in the namespace
/// `jabber:client` as on its stream (§3.2 rule 3). The stanza has passed the gate.
pub fn forwarded(delay: &[u8], stanza: &[u8]) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("forwarded").attr("xmlns", ns::FORWARD).raw(delay);
    let (name, rest) = stanza.split_at(declaration_at(stanza).unwrap_or(stanza.len()));
    if rest.is_empty() {
        xml.raw(stanza);
    } else {
        xml.raw(name).raw(DECLARATION).raw(rest);
    }
    xml.end();
    xml.finish().to_vec()
}

/// Where the declaration goes; `None` if the open tag has one already. Stored stanzas have none, because they
/// were in the stream's content namespace, but one that has it must not do harm.
fn declaration_at(stanza: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>');
    let name_end = stanza.iter().position(ends)?;
    let mut quote = None;
    let mut previous = b'<';
    for (at, &byte) in stanza.iter().enumerate().skip(name_end) {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'>') => break,
            (None, b'x') if previous.is_ascii_whitespace() => {
                let rest = stanza.get(at..).unwrap_or_default().strip_prefix(b"xmlns");
                let next = rest.and_then(|rest| rest.iter().find(|b| !b.is_ascii_whitespace()));
                if next == Some(&b'=') {
                    return None;
                }
            }
            _ => {}
        }
        previous = byte;
    }
    Some(name_end)
}

const DECLARATION: &[u8] = b" xmlns='jabber:client'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::view::Doc;

    #[test]
    fn the_namespace_is_declared_once() {
        for (stanza, expected) in [
            ("<message/>", "<message xmlns='jabber:client'/>"),
            ("<message>x</message>", "<message xmlns='jabber:client'>x</message>"),
            (
                "<message to='a'><b/></message>",
                "<message xmlns='jabber:client' to='a'><b/></message>",
            ),
            ("<message\n id='1'/>", "<message xmlns='jabber:client'\n id='1'/>"),
            ("<message xmlns='jabber:client'/>", "<message xmlns='jabber:client'/>"),
            (
                "<message id='1' xmlns = \"jabber:client\"/>",
                "<message id='1' xmlns = \"jabber:client\"/>",
            ),
            // Only a real declaration counts.
            (
                "<message id=' xmlns=' xmlns:x='urn:x'><x xmlns='y'/></message>",
                "<message xmlns='jabber:client' id=' xmlns=' xmlns:x='urn:x'><x xmlns='y'/></message>",
            ),
            ("<message id=\"'> xmlns='\"/>", "<message xmlns='jabber:client' id=\"'> xmlns='\"/>"),
        ] {
            let out = String::from_utf8(forwarded(b"", stanza.as_bytes())).unwrap();
            let expected = format!("<forwarded xmlns='urn:xmpp:forward:0'>{expected}</forwarded>");
            assert_eq!(out, expected, "{stanza}");
            let doc = Doc::of(out.as_bytes(), ns::SERVER).unwrap();
            assert!(doc.root().first_child().unwrap().is(ns::CLIENT, "message"));
        }
    }

    #[test]
    fn the_delay_comes_first() {
        let at = std::time::SystemTime::UNIX_EPOCH;
        let delay = super::super::delay::delay("a@b", at);
        assert_eq!(
            String::from_utf8(forwarded(&delay, b"<message/>")).unwrap(),
            "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' from='a@b' \
             stamp='1970-01-01T00:00:00Z'/><message xmlns='jabber:client'/></forwarded>"
        );
    }
}
