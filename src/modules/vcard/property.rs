//! One property of a vCard, as vcard-temp (XEP-0054) and vCard4 (RFC 6351) both know it.

use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// A property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    map: &'static Mapping,
    /// Of the types that both forms have: by their place in [`TYPES`].
    types: Vec<&'static str>,
    preferred: bool,
    /// The texts, in the order of the mapping's parts; of a list, as many as there are.
    values: Vec<String>,
}

/// How a property is written in each form.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    temp: &'static str,
    four: &'static str,
    shape: Shape,
}

/// What is in a property.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    /// A text, in an element of this name in vCard4.
    Text(&'static str),
    /// A text in vcard-temp; in vCard4 a URI with this in front.
    Uri(&'static str),
    /// The same, but in vcard-temp it is in an element of this name, and has types.
    TypedUri(&'static str, &'static str),
    /// A text that has types: the name of its element in vcard-temp.
    Typed(&'static str),
    /// Texts in the same order: the elements in vcard-temp and in vCard4.
    Parts(&'static [(&'static str, &'static str)]),
    /// The same, with types.
    TypedParts(&'static [(&'static str, &'static str)]),
    /// Any number of texts; in vcard-temp the first has the first name.
    List(&'static str, &'static str),
    /// Latitude and longitude.
    Geo,
    /// Bytes with a type, or a URI: a `data:` URI in vCard4 (§11.4).
    Binary,
}

use Shape::{Binary, Geo, List, Parts, Text, Typed, TypedParts, TypedUri, Uri};

/// XEP-0292 §11: what both forms have. Of two that are the same in one form the first is written.
/// CLASS, LABEL, MAILER (§11.5) and inline AGENTs (§11.3.2) have no counterpart; the photo is the avatar's.
const MAPPINGS: &[Mapping] = &[
    map("FN", "fn", Text("text")),
    map("N", "n", Parts(NAME)),
    map("NICKNAME", "nickname", Text("text")),
    map("BDAY", "bday", Text("date")),
    map("ADR", "adr", TypedParts(ADDRESS)),
    map("TEL", "tel", TypedUri("NUMBER", "tel:")),
    map("EMAIL", "email", Typed("USERID")),
    // §11.1.2
    map("JABBERID", "impp", Uri("xmpp:")),
    map("TZ", "tz", Text("text")),
    map("GEO", "geo", Geo),
    map("TITLE", "title", Text("text")),
    map("ROLE", "role", Text("text")),
    map("LOGO", "logo", Binary),
    // RFC 6351 has a list here, so units need not be lost.
    map("ORG", "org", List("ORGNAME", "ORGUNIT")),
    map("CATEGORIES", "categories", List("KEYWORD", "KEYWORD")),
    // §11.1.1
    map("DESC", "note", Text("text")),
    map("NOTE", "note", Text("text")),
    map("PRODID", "prodid", Text("text")),
    map("REV", "rev", Text("timestamp")),
    map("SOUND", "sound", Binary),
    map("UID", "uid", Text("uri")),
    map("URL", "url", Text("uri")),
    map("KEY", "key", Parts(&[("CRED", "text")])),
];

const fn map(temp: &'static str, four: &'static str, shape: Shape) -> Mapping {
    Mapping { temp, four, shape }
}

const NAME: &[(&str, &str)] = &[
    ("FAMILY", "surname"),
    ("GIVEN", "given"),
    // §11.1.3
    ("MIDDLE", "additional"),
    ("PREFIX", "prefix"),
    ("SUFFIX", "suffix"),
];

const ADDRESS: &[(&str, &str)] = &[
    ("POBOX", "pobox"),
    ("EXTADD", "ext"),
    ("STREET", "street"),
    ("LOCALITY", "locality"),
    ("REGION", "region"),
    ("PCODE", "code"),
    ("CTRY", "country"),
];

/// The types that both forms have (§11.3.1, §11.3.5).
const TYPES: &[(&str, &str)] = &[
    ("HOME", "home"),
    ("WORK", "work"),
    ("VOICE", "voice"),
    ("FAX", "fax"),
    ("CELL", "cell"),
    ("VIDEO", "video"),
    ("PAGER", "pager"),
];

/// What a value may stand in, in vCard4.
const VALUES: &[&str] = &["text", "uri", "date", "date-time", "timestamp", "utc-offset"];

impl Property {
    /// Reads an element of vcard-temp; `None` if vCard4 has no counterpart.
    pub fn of_temp(node: Node<'_>) -> Option<Self> {
        let map = MAPPINGS.iter().find(|map| node.is(TEMP, map.temp))?;
        let text = |name: &str| node.child_text(TEMP, name).unwrap_or_default().trim().to_owned();
        let values = match map.shape {
            Text(_) | Uri(_) => vec![node.text().trim().to_owned()],
            Typed(name) | TypedUri(name, _) => vec![text(name)],
            Parts(parts) | TypedParts(parts) => parts.iter().map(|(temp, _)| text(temp)).collect(),
            List(first, others) => {
                let of = |name| node.children().filter(move |child| child.is(TEMP, name));
                let rest = of(others).skip(usize::from(first == others));
                of(first).take(1).chain(rest).map(|one| one.text().trim().to_owned()).collect()
            }
            Geo => vec![text("LAT"), text("LON")],
            Binary => match (text("EXTVAL"), text("BINVAL")) {
                (uri, _) if !uri.is_empty() => vec![uri],
                (_, bytes) if bytes.is_empty() => vec![String::new()],
                (_, bytes) => {
                    let bytes: String = bytes.split_ascii_whitespace().collect();
                    vec![format!("data:{};base64,{bytes}", text("TYPE"))]
                }
            },
        };
        let has = |temp: &str| map.shape.has_types() && node.child(TEMP, temp).is_some();
        let types = TYPES.iter().filter(|(temp, _)| has(temp)).map(|(temp, _)| *temp).collect();
        Some(Self { map, types, preferred: has("PREF"), values })
    }

    /// Reads a property of vCard4; `None` if vcard-temp has no counterpart.
    pub fn of_four(node: Node<'_>) -> Option<Self> {
        let map = MAPPINGS.iter().find(|map| node.is(FOUR, map.four))?;
        let text = |name: &str| node.child_text(FOUR, name).unwrap_or_default().trim().to_owned();
        let value = || {
            let found = VALUES.iter().find_map(|name| node.child_text(FOUR, name));
            found.unwrap_or_default().trim().to_owned()
        };
        let values = match map.shape {
            Text(_) | Typed(_) | Binary => vec![value()],
            // A person may have other addresses, and telephone numbers without being URIs.
            Uri(scheme) => vec![value().strip_prefix(scheme)?.to_owned()],
            TypedUri(_, scheme) => {
                let value = value();
                vec![value.strip_prefix(scheme).unwrap_or(&value).to_owned()]
            }
            Parts(parts) | TypedParts(parts) => parts.iter().map(|(_, four)| text(four)).collect(),
            List(..) => {
                let all = node.children().filter(|child| child.is(FOUR, "text"));
                all.map(|one| one.text().trim().to_owned()).collect()
            }
            Geo => {
                let value = value();
                let mut numbers = value.strip_prefix("geo:")?.split([',', ';']);
                let mut number = || numbers.next().map(str::to_owned);
                vec![number()?, number()?]
            }
        };
        let parameters = node.child(FOUR, "parameters").filter(|_| map.shape.has_types());
        let types = parameters.and_then(|parameters| parameters.child(FOUR, "type"));
        let types: Vec<_> = types.into_iter().flat_map(Node::children).map(Node::text).collect();
        let has = |four: &str| types.iter().any(|ty| ty.trim().eq_ignore_ascii_case(four));
        let types = TYPES.iter().filter(|(_, four)| has(four)).map(|(temp, _)| *temp).collect();
        let preferred = parameters.is_some_and(|all| all.child(FOUR, "pref").is_some());
        Some(Self { map, types, preferred, values })
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(String::is_empty)
    }

    /// Whether both say the same. Two elements of vcard-temp may stand for one of vCard4.
    pub fn says(&self, other: &Self) -> bool {
        self.map.four == other.map.four
            && (&self.types, self.preferred, &self.values)
                == (&other.types, other.preferred, &other.values)
    }

    /// Writes it in the form of vcard-temp.
    pub fn write_temp(&self, xml: &mut Xml) {
        xml.start(self.map.temp);
        for ty in &self.types {
            xml.start(ty).end();
        }
        if self.preferred {
            xml.start("PREF").end();
        }
        let value = self.values.first().map_or("", String::as_str);
        match self.map.shape {
            Text(_) | Uri(_) => _ = xml.text(value),
            Typed(name) | TypedUri(name, _) => _ = xml.element(name, None, value),
            Parts(parts) | TypedParts(parts) => {
                for ((temp, _), value) in parts.iter().zip(&self.values) {
                    xml.element(temp, None, value);
                }
            }
            List(first, others) => {
                for (nth, value) in self.values.iter().enumerate() {
                    xml.element(if nth == 0 { first } else { others }, None, value);
                }
            }
            Geo => {
                for (name, value) in ["LAT", "LON"].iter().zip(&self.values) {
                    xml.element(name, None, value);
                }
            }
            Binary => {
                let data = value.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
                match data {
                    Some((ty, bytes)) => {
                        xml.element("TYPE", None, ty).element("BINVAL", None, bytes);
                    }
                    None => _ = xml.element("EXTVAL", None, value),
                }
            }
        }
        xml.end();
    }

    /// Writes it in the form of vCard4.
    pub fn write_four(&self, xml: &mut Xml) {
        xml.start(self.map.four);
        if self.preferred || !self.types.is_empty() {
            xml.start("parameters");
            if !self.types.is_empty() {
                xml.start("type");
                let known = TYPES.iter().filter(|(temp, _)| self.types.contains(temp));
                known.for_each(|(_, four)| _ = xml.element("text", None, four));
                xml.end();
            }
            if self.preferred {
                xml.start("pref").element("integer", None, "1").end();
            }
            xml.end();
        }
        let value = self.values.first().map_or("", String::as_str);
        match self.map.shape {
            // RFC 6351 appendix A: a birthday may have a time.
            Text("date") if value.contains('T') => _ = xml.element("date-time", None, value),
            Text(name) => _ = xml.element(name, None, value),
            Typed(_) => _ = xml.element("text", None, value),
            Uri(scheme) | TypedUri(_, scheme) => {
                xml.element("uri", None, &format!("{scheme}{value}"));
            }
            Parts(parts) | TypedParts(parts) => {
                for ((_, four), value) in parts.iter().zip(&self.values) {
                    xml.element(four, None, value);
                }
            }
            List(..) => self.values.iter().for_each(|value| _ = xml.element("text", None, value)),
            Geo => _ = xml.element("uri", None, &format!("geo:{}", self.values.join(","))),
            Binary => _ = xml.element("uri", None, value),
        }
        xml.end();
    }
}

impl Shape {
    fn has_types(&self) -> bool {
        matches!(self, Typed(_) | TypedUri(..) | TypedParts(_))
    }
}

/// The namespace of vcard-temp.
pub const TEMP: &str = "vcard-temp";
/// The namespace of vCard4.
pub const FOUR: &str = "urn:ietf:params:xml:ns:vcard-4.0";
