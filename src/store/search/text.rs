//! Extracts the searchable text of a stored message.

use crate::xml::ns;
use crate::xml::view::Doc;

/// A message as a search sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// Its subjects and bodies in all languages, the first 32 KB of them.
    pub texts: Vec<String>,
    /// Whether it has content that only its recipients can read: a body next to that is not what was said.
    pub encrypted: bool,
}

impl Texts {
    /// Reads a stanza of the archive.
    pub fn read(stanza: &[u8]) -> Self {
        // A stanza that the gate of an earlier release accepted and this one cannot read has no text.
        let Ok(doc) = Doc::of(stanza, ns::CLIENT) else { return Self::default() };
        let (mut said, mut left) = (Self::default(), TEXT_BYTES_MAX);
        for child in doc.root().children() {
            let text = child.ns() == ns::CLIENT && ["body", "subject"].contains(&child.name());
            let (read, _) = child.text().split_at(child.text().floor_char_boundary(left));
            if text && !read.is_empty() {
                left -= read.len();
                said.texts.push(read.to_owned());
            }
            said.encrypted |=
                is_encryption(child.ns(), child.name()) || (text && child.text().starts_with(OTR));
        }
        if said.encrypted {
            said.texts.clear();
        }
        said
    }
}

fn is_encryption(ns: &str, name: &str) -> bool {
    ENCRYPTION.contains(&(ns, name))
}

/// Namespace and name of the elements that stand for encrypted content.
const ENCRYPTION: [(&str, &str); 6] = [
    // XEP-0380: it marks the message as encrypted, by whatever method.
    ("urn:xmpp:eme:0", "encryption"),
    // XEP-0384, and its version 0.3, which most clients use.
    ("urn:xmpp:omemo:2", "encrypted"),
    ("urn:xmpp:omemo:1", "encrypted"),
    ("eu.siacs.conversations.axolotl", "encrypted"),
    // XEP-0373, XEP-0027
    ("urn:xmpp:openpgp:0", "openpgp"),
    ("jabber:x:encrypted", "x"),
];
/// Maximum number of bytes of one message that are searchable, however many bodies it has.
const TEXT_BYTES_MAX: usize = 32_768;
/// XEP-0364 §3
const OTR: &str = "?OTR";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_a_message_are_read_and_no_others() {
        let body = "<body>hello</body>";
        for (content, texts, encrypted) in [
            (body, &["hello"][..], false),
            (
                "<subject>s</subject><body>a&amp;<![CDATA[<b>]]>&#x4eac;</body>",
                &["s", "a&<b>京"],
                false,
            ),
            ("<body>one</body><body xml:lang='fr'>un</body>", &["one", "un"], false),
            ("<body/><thread>t</thread>", &[], false),
            ("<body xmlns='urn:x'>other</body>", &[], false),
            // A forwarded message of another sender, or a copy of this one.
            (
                "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>\
                 <body>x</body></message></forwarded>",
                &[],
                false,
            ),
            ("<body>?OTRv23? let us talk</body>", &[], true),
            ("<received xmlns='urn:xmpp:receipts' id='x'/>", &[], false),
        ] {
            let stanza = format!("<message from='a@x/r' to='b@x' type='chat'>{content}</message>");
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(Texts::read(stanza.as_bytes()), Texts { texts, encrypted }, "{content}");
        }
        for (ns, name) in ENCRYPTION {
            let stanza = format!("<message><{name} xmlns='{ns}'>b64</{name}>{body}</message>");
            let said = Texts { texts: vec![], encrypted: true };
            assert_eq!(Texts::read(stanza.as_bytes()), said, "{ns}");
        }
        let bodies =
            |text: &str| format!("<message>{}</message>", format!("<body>{text}</body>").repeat(9));
        let all = Texts::read(bodies(&"北".repeat(4_000)).as_bytes());
        let lengths: Vec<usize> = all.texts.iter().map(String::len).collect();
        assert_eq!(lengths, [12_000, 12_000, 8_766], "all of them together");
        assert_eq!(Texts::read(b"<message>"), Texts::default());
        assert_eq!(Texts::read(b""), Texts::default());
    }
}
