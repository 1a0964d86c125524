//! What a client says of its capabilities in presence: a hash, and where to ask what it stands for.

use super::server::NS;
use crate::base::hash::{base64, sha1, sha3_256, sha256, sha512, unbase64};
use crate::stanza::Stanza;
use crate::xml::view::Node;

/// XEP-0390 §11.1
pub const NS_2: &str = "urn:xmpp:caps";

/// The hash functions that are known (XEP-0300 §4), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    Sha1,
    Sha256,
    Sha512,
    Sha3,
}

/// How the text is made that is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// XEP-0115 §5.1
    One,
    /// XEP-0390 §4.1
    Two,
}

/// A hash that can be verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub method: Method,
    pub function: Function,
    pub value: Box<[u8]>,
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// None: it cannot be verified, so what it stands for is this session's alone.
    pub key: Option<Key>,
    /// The node to ask at; none: without one.
    pub node: Option<String>,
    /// Tells it from others.
    pub mark: Mark,
}

/// Half a hash: enough to see that a client says the same as before.
pub type Mark = [u8; 16];

impl Said {
    /// What a presence says; none if it says nothing, or what nobody can say so long. The new way goes first
    /// (XEP-0390 §7.2).
    pub fn of(stanza: &Stanza) -> Option<Self> {
        let named = [(NS_2, "c"), (NS, "c")];
        if !named.iter().any(|(ns, name)| stanza.element().has_child(ns, name)) {
            return None;
        }
        let doc = stanza.element().view();
        let root = doc.root();
        let two = root.child(NS_2, "c").and_then(Self::two);
        two.or_else(|| root.child(NS, "c").and_then(Self::one))
    }

    /// XEP-0115 §4, and its old form without a hash (§5.4 rule 1).
    fn one(c: Node<'_>) -> Option<Self> {
        let (ver, node) = (c.attr("ver")?, c.attr("node")?);
        let (hash, ext) = (c.attr("hash"), c.attr("ext").unwrap_or_default());
        if [ver, node, ext, hash.unwrap_or_default()].iter().any(|text| text.len() > TEXT_MAX) {
            return None;
        }
        let function = hash.and_then(Function::named);
        let key = function.and_then(|function| Key::of(Method::One, function, ver));
        Some(Self {
            key,
            // Of old, a node stood for a part of the features: asked without one, a client tells them all.
            node: hash.map(|_| format!("{node}#{ver}")),
            mark: mark(&["1", ver, node, hash.unwrap_or_default(), ext]),
        })
    }

    /// XEP-0390 §5.4: of several hashes the strongest that is known.
    fn two(c: Node<'_>) -> Option<Self> {
        let hashes = c.children().filter(|child| child.is("urn:xmpp:hashes:2", "hash"));
        let known = hashes.take(HASHES_MAX).filter_map(|hash| {
            let name = hash.attr("algo")?;
            // SHA-1 must not be used (XEP-0300 §4).
            let function = Function::named(name).filter(|function| *function != Function::Sha1)?;
            Some((Key::of(Method::Two, function, hash.text())?, name))
        });
        let (key, name) = known.max_by_key(|(key, _)| key.function)?;
        let value = base64(&key.value);
        Some(Self {
            // §4.3
            node: Some(format!("{NS_2}#{name}.{value}")),
            mark: mark(&["2", name, &value]),
            key: Some(key),
        })
    }
}

impl Function {
    /// By the names of IANA's registry.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sha-1" => Self::Sha1,
            "sha-256" => Self::Sha256,
            "sha-512" => Self::Sha512,
            "sha3-256" => Self::Sha3,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3 => 32,
            Self::Sha512 => 64,
        }
    }

    fn is(self, value: &[u8], text: &[u8]) -> bool {
        match self {
            Self::Sha1 => value == sha1(text),
            Self::Sha256 => value == sha256(text),
            Self::Sha512 => value == sha512(text),
            Self::Sha3 => value == sha3_256(text),
        }
    }
}

impl Key {
    fn of(method: Method, function: Function, text: &str) -> Option<Self> {
        let value = (text.len() <= TEXT_MAX).then(|| unbase64(text)).flatten()?;
        let fits = value.len() == function.bytes();
        fits.then(|| Self { method, function, value: value.into() })
    }

    /// Whether this is the text that was hashed.
    pub fn is_of(&self, text: &[u8]) -> bool {
        self.function.is(&self.value, text)
    }
}

/// No attribute of XML 1.0 has a zero byte.
fn mark(parts: &[&str]) -> Mark {
    let hash = sha256(parts.join("\0").as_bytes());
    let mut mark = Mark::default();
    mark.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    mark
}

/// Bytes of each of the attributes.
const TEXT_MAX: usize = 1_024;
/// Hashes that are looked at in one set.
const HASHES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "QgayPKawpkPSDYmwT/WM94uAlu0=";
    const SHA256: &str = "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=";
    const SHA3: &str = "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=";

    fn said(payload: &str) -> Option<Said> {
        let xml = format!("<presence from='a@x/1'>{payload}</presence>");
        Said::of(&Stanza::ours(xml.into()).unwrap())
    }

    fn one(attrs: &str) -> String {
        format!("<c xmlns='{NS}' {attrs}/>")
    }

    fn two(hashes: &[(&str, &str)]) -> String {
        let hashes = hashes.iter().map(|(algo, value)| {
            format!("<hash xmlns='urn:xmpp:hashes:2' algo='{algo}'>{value}</hash>")
        });
        format!("<c xmlns='{NS_2}'>{}</c>", hashes.collect::<String>())
    }

    /// Method and function, node.
    type Short = (Option<(Method, Function)>, Option<String>);

    fn short(payload: &str) -> Option<Short> {
        let said = said(payload)?;
        Some((said.key.map(|key| (key.method, key.function)), said.node))
    }

    #[test]
    fn the_strongest_hash_that_is_known_counts() {
        let old = one(&format!("hash='sha-1' node='http://e' ver='{SHA1}'"));
        let node = |text: &str| Some(text.to_owned());
        let old_says = (Some((Method::One, Function::Sha1)), node(&format!("http://e#{SHA1}")));
        assert_eq!(short(&old), Some(old_says.clone()));
        let both = two(&[("sha-256", SHA256), ("sha3-256", SHA3)]);
        let node_3 = node(&format!("urn:xmpp:caps#sha3-256.{SHA3}"));
        let both_say = Some((Some((Method::Two, Function::Sha3)), node_3));
        assert_eq!(short(&both), both_say);
        assert_eq!(short(&format!("{old}{both}")), both_say);
        // One that is unknown, broken, too short, or too weak is none.
        for broken in [("md5", SHA256), ("sha3-256", "!"), ("sha3-256", SHA1), ("sha-1", SHA1)] {
            let found = short(&two(&[("sha-256", SHA256), broken])).unwrap();
            assert_eq!(found.0, Some((Method::Two, Function::Sha256)), "{broken:?}");
            assert_eq!(short(&format!("{}{old}", two(&[broken]))), Some(old_says.clone()));
            assert_eq!(short(&two(&[broken])), None);
        }
    }

    #[test]
    fn what_cannot_be_verified_is_asked_for_all_the_same() {
        // XEP-0115 §5.4 rules 1 and 2; a value that is no hash.
        for (attrs, node) in [
            ("node='n' ver='1.0' ext='a b'", None),
            ("hash='sha-3' node='n' ver='x'", Some("n#x")),
            ("hash='sha-1' node='n' ver='x'", Some("n#x")),
        ] {
            assert_eq!(short(&one(attrs)), Some((None, node.map(str::to_owned))), "{attrs}");
        }
        for none in ["node='n'", "ver='1'", ""] {
            assert_eq!(short(&one(none)), None, "{none}");
        }
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(said(&one(&format!("node='{long}' ver='1'"))), None);
        assert_eq!(said("<show>away</show>"), None);
    }

    #[test]
    fn each_is_told_from_others() {
        let all = [
            "node='n' ver='1.0'",
            "node='n' ver='1.0' ext='a'",
            "node='n' ver='1.1'",
            "node='n' ver='1.0' hash='sha-1'",
            "node='m' ver='1.0'",
        ];
        let marks: Vec<Mark> = all.iter().map(|attrs| said(&one(attrs)).unwrap().mark).collect();
        for (at, mark) in marks.iter().enumerate() {
            assert_eq!(marks.iter().position(|other| other == mark), Some(at));
        }
    }
}
