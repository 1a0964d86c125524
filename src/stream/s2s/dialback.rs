//! Server dialback (XEP-0220): its keys (XEP-0185) and its two elements.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::hash::{hex, same_secret, sha256};
use crate::jid::prep;
use crate::stanza::{Condition, ErrorType, StanzaError};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// What the keys of this server are made of (XEP-0185 §2): all its machines must have the same.
pub struct DialbackSecret([u8; KEY_BYTES]);

/// What came of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The key is the sender domain's.
    Valid,
    /// It is not.
    Invalid,
    /// Nobody knows (XEP-0220 §2.5).
    Error(StanzaError),
}

/// One of the two elements, which are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialback {
    /// Which one.
    pub kind: Kind,
    /// The sender of this element, a domain in normal form.
    pub from: String,
    /// Its recipient, a domain in normal form.
    pub to: String,
    /// The id of the stream that it is about; of `<db:verify/>` only.
    pub id: String,
    /// Its content.
    pub content: Content,
}

/// The elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<db:result/>`: between the initiating and the receiving server.
    Result,
    /// `<db:verify/>`: between the receiving and the authoritative server.
    Verify,
}

/// What an element says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A request: the key.
    Key(String),
    /// The answer.
    Answer(Outcome),
}

/// Why an element cannot be read, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl DialbackSecret {
    /// Makes it of a text that nobody else knows, and that may be as long as it likes.
    pub fn new(secret: &[u8]) -> Self {
        // XEP-0185 §2: the hash is written in hexadecimal digits before it is used as the key.
        let mut key = [0; KEY_BYTES];
        for (to, from) in key.iter_mut().zip(hex(&sha256(secret)).into_bytes()) {
            *to = from;
        }
        Self(key)
    }

    /// The key with which `originating` shows itself on the stream of this id, which `receiving` gave it.
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        for part in [receiving, " ", originating, " ", stream_id] {
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }

    /// Whether this is that key.
    pub fn is_key(&self, key: &str, receiving: &str, originating: &str, stream_id: &str) -> bool {
        same_secret(self.key(receiving, originating, stream_id).as_bytes(), key.as_bytes())
    }
}

impl fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialbackSecret")
    }
}

impl Dialback {
    /// Reads an element of the namespace `jabber:server:dialback`.
    pub fn read(element: &Element) -> Result<Self, Unreadable> {
        let kind = match element.name() {
            "result" => Kind::Result,
            "verify" => Kind::Verify,
            _ => return Err(Unreadable("unknown element of dialback")),
        };
        let domain = |name| {
            let domain = element.attr(name)?;
            prep::domainpart(&domain).ok().map(std::borrow::Cow::into_owned)
        };
        let (Some(from), Some(to)) = (domain("from"), domain("to")) else {
            return Err(Unreadable("'from' and 'to' must be domains"));
        };
        let id = element.attr("id").map(std::borrow::Cow::into_owned).unwrap_or_default();
        if kind == Kind::Verify && !(1..=ID_BYTES_MAX).contains(&id.len()) {
            return Err(Unreadable("no id of a stream"));
        }
        let view = element.view();
        let content = match element.attr("type").as_deref() {
            None => {
                let key = view.root().text().trim_matches([' ', '\t', '\r', '\n']);
                if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
                    return Err(Unreadable("no key"));
                }
                Content::Key(key.to_owned())
            }
            Some("valid") => Content::Answer(Outcome::Valid),
            Some("invalid") => Content::Answer(Outcome::Invalid),
            Some("error") => Content::Answer(Outcome::Error(read_error(view.root()))),
            Some(_) => return Err(Unreadable("unknown type")),
        };
        Ok(Self { kind, from, to, id, content })
    }

    /// The answer to this request.
    pub fn answer(&self, outcome: Outcome) -> Self {
        let (from, to) = (self.to.clone(), self.from.clone());
        Self { kind: self.kind, from, to, id: self.id.clone(), content: Content::Answer(outcome) }
    }

    /// The element, with the prefix that our headers declare.
    pub fn to_xml(&self) -> Bytes {
        let mut xml = Xml::new();
        xml.start(match self.kind {
            Kind::Result => "db:result",
            Kind::Verify => "db:verify",
        });
        xml.attr("from", &self.from).attr("to", &self.to);
        if self.kind == Kind::Verify {
            xml.attr("id", &self.id);
        }
        match &self.content {
            Content::Key(key) => xml.text(key),
            Content::Answer(Outcome::Valid) => xml.attr("type", "valid"),
            Content::Answer(Outcome::Invalid) => xml.attr("type", "invalid"),
            Content::Answer(Outcome::Error(error)) => {
                xml.attr("type", "error").raw(error.to_xml().as_bytes())
            }
        };
        xml.end();
        xml.finish()
    }
}

/// XEP-0220 §2.5: as stanzas' errors are. Without a condition it is `undefined-condition`.
fn read_error(dialback: Node<'_>) -> StanzaError {
    // COMPAT: "implicitly qualified by jabber:server", which is jabber:client here; some qualify it otherwise.
    let error = dialback.children().find(|child| child.name() == "error");
    let Some(error) = error else { return Condition::UndefinedCondition.into() };
    let named = || error.children().filter(|child| child.ns() == ns::STANZAS_ERR);
    let condition = named().find(|child| child.name() != "text");
    let condition = condition.map_or(Condition::UndefinedCondition, |condition| {
        Condition::parse(condition.name(), condition.text())
    });
    let mut read = StanzaError::from(condition);
    if let Some(kind) = error.attr("type").and_then(ErrorType::parse) {
        read.kind = kind;
    }
    match named().find(|child| child.name() == "text").map(Node::text) {
        Some(text) if !text.is_empty() => {
            read.text(text.chars().take(TEXT_CHARS_MAX).collect::<String>())
        }
        _ => read,
    }
}

/// 32 bytes in hexadecimal digits: a block of SHA-256, so it is used as it is (RFC 2104 §2).
const KEY_BYTES: usize = 64;
/// A hash needs a fraction of it; other servers' keys are their own affair (XEP-0185 is a recommendation).
const KEY_BYTES_MAX: usize = 512;
/// As of [`super::header`]'s.
const ID_BYTES_MAX: usize = super::header::ID_BYTES_MAX;
/// Of what a peer says for the log.
const TEXT_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    fn read(xml: &str) -> Result<Dialback, Unreadable> {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        let element = gate::check(xml.to_owned().into(), &rules).unwrap();
        Dialback::read(&element)
    }

    /// XEP-0185 §3, XEP-0220 §2.1.1 and §2.2.2
    #[test]
    fn keys_are_those_of_the_examples() {
        for (secret, receiving, originating, id, key) in [
            (
                "s3cr3tf0rd14lb4ck",
                "xmpp.example.com",
                "example.org",
                "D60000229F",
                "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643",
            ),
            (
                "s3cr3tf0rd14lb4ck",
                "montague.example",
                "capulet.example",
                "D60000229F",
                "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
            ),
            (
                "d14lb4ck43v3r",
                "capulet.example",
                "montague.example",
                "417GAF25",
                "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
            ),
        ] {
            let made = DialbackSecret::new(secret.as_bytes());
            assert_eq!(made.key(receiving, originating, id), key);
            assert!(made.is_key(key, receiving, originating, id));
            for (a, b, c) in [
                (originating, receiving, id),
                (receiving, originating, "other"),
                (receiving, "other", id),
            ] {
                assert!(!made.is_key(key, a, b, c));
            }
            assert!(!made.is_key("", receiving, originating, id));
            assert!(!DialbackSecret::new(b"other").is_key(key, receiving, originating, id));
            assert_eq!(format!("{made:?}"), "DialbackSecret");
        }
    }

    /// XEP-0220 §2
    #[test]
    fn elements_go_both_ways() {
        let timeout = StanzaError::remote_server_timeout().text("nobody answers");
        let contents = [
            Content::Key("1e701f120f66824b".to_owned()),
            Content::Answer(Outcome::Valid),
            Content::Answer(Outcome::Invalid),
            Content::Answer(Outcome::Error(StanzaError::item_not_found())),
            Content::Answer(Outcome::Error(timeout)),
        ];
        for (kind, id) in [(Kind::Result, ""), (Kind::Verify, "a'b")] {
            for content in contents.clone() {
                let (from, to) = ("a.example".to_owned(), "bücher.example".to_owned());
                let one = Dialback { kind, from, to, id: id.to_owned(), content };
                let xml = String::from_utf8(one.to_xml().to_vec()).unwrap();
                let declared = xml.replacen(' ', " xmlns:db='jabber:server:dialback' ", 1);
                assert_eq!(read(&declared), Ok(one));
            }
        }
        let asked = read(
            "<db:verify xmlns:db='jabber:server:dialback' from='A.Example' \
                          to='xn--bcher-kva.example' id='7'>\n k \n</db:verify>",
        )
        .unwrap();
        assert_eq!(asked.content, Content::Key("k".to_owned()));
        let answer = asked.answer(Outcome::Valid);
        assert_eq!((&*answer.from, &*answer.to, &*answer.id), ("bücher.example", "a.example", "7"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for xml in [
            "<db:result from='a' to='b'/>",
            "<db:result from='a' to='b'> \n </db:result>",
            "<db:result from='a'>k</db:result>",
            "<db:result to='b'>k</db:result>",
            "<db:result from='' to='b'>k</db:result>",
            "<db:result from='x@a' to='b'>k</db:result>",
            "<db:result from='a/x' to='b'>k</db:result>",
            "<db:result from='a' to='b' type='maybe'>k</db:result>",
            "<db:verify from='a' to='b'>k</db:verify>",
            "<db:verify from='a' to='b' id=''>k</db:verify>",
            "<db:other from='a' to='b'>k</db:other>",
            &format!("<db:result from='a' to='b'>{long}</db:result>"),
        ] {
            let declared = xml.replacen(" from", " xmlns:db='jabber:server:dialback' from", 1);
            let declared =
                declared.replacen("result to", "result xmlns:db='jabber:server:dialback' to", 1);
            assert!(read(&declared).is_err(), "{xml}");
        }
    }

    /// XEP-0220 §2.5
    #[test]
    fn errors_are_read_however_they_are_written() {
        for (inner, condition) in [
            ("", "undefined-condition"),
            ("<error/>", "undefined-condition"),
            ("<error><not-authorized/></error>", "undefined-condition"),
            (
                "<error type='auth'><not-authorized \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                "not-authorized",
            ),
            (
                "<error xmlns='jabber:server:dialback'><x:forbidden \
                 xmlns:x='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                "forbidden",
            ),
            (
                "<error type='x'><remote-connection-failed \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                "undefined-condition",
            ),
        ] {
            let xml = format!(
                "<db:result xmlns:db='jabber:server:dialback' from='a' to='b' type='error'>{inner}\
                 </db:result>"
            );
            let Content::Answer(Outcome::Error(error)) = read(&xml).unwrap().content else {
                panic!("no error")
            };
            assert_eq!(error.condition.as_str(), condition, "{inner}");
        }
    }
}
