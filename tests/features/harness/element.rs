//! A small owned element tree, cut from the wire by rxml: an independent judge of what we send.

use rxml::{Parse, error::EndOrError};
use std::collections::BTreeMap;
use std::fmt;

/// One element with all it holds. Direct text is kept in one piece; its place among children is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub ns: String,
    /// `name`, `xml:lang`, or `{namespace}name` for other prefixed attributes.
    pub attrs: BTreeMap<String, String>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    /// Parses one element (with `jabber:client` as the default namespace and `scansion:` bound).
    pub fn parse(xml: &str) -> Result<Element, String> {
        let mut all = Element::parse_many(xml)?;
        match all.len() {
            1 => Ok(all.remove(0)),
            n => Err(format!("one element expected, {n} found in: {xml}")),
        }
    }

    /// Parses any number of elements standing one after another.
    pub fn parse_many(xml: &str) -> Result<Vec<Element>, String> {
        let mut cutter = Cutter::new();
        let open =
            format!("<r xmlns='{CLIENT}' xmlns:scansion='{SCANSION}' xmlns:stream='{STREAM}'>");
        let pieces = cutter.feed(format!("{open}{xml}</r>").as_bytes())?;
        if !matches!(pieces.last(), Some(Piece::Close)) {
            return Err(format!("unfinished XML: {xml}"));
        }
        let elements = pieces.into_iter().filter_map(|piece| match piece {
            Piece::Element(element) => Some(element),
            _ => None,
        });
        Ok(elements.collect())
    }

    /// The value of an attribute, if it is there.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).map(String::as_str)
    }

    /// The first child of this name and namespace.
    pub fn child(&self, ns: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(ns, name))
    }

    /// The first descendant of this name, of any namespace, in document order.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children
            .iter()
            .find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The text of a child of our own namespace (`body` of a message, say).
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(&self.ns, name).map(|child| child.text.as_str())
    }

    /// The stanza error condition, where there is one.
    pub fn condition(&self) -> Option<&str> {
        let error = self.child(&self.ns, "error")?;
        let condition = error.children.iter().find(|c| c.ns == STANZAS && c.name != "text")?;
        Some(&condition.name)
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, outer: &str) -> fmt::Result {
        write!(out, "<{}", self.name)?;
        if self.ns != outer {
            write!(out, " xmlns='{}'", escape(&self.ns))?;
        }
        for (name, value) in &self.attrs {
            write!(out, " {name}='{}'", escape(value))?;
        }
        if self.children.is_empty() && self.text.is_empty() {
            return out.write_str("/>");
        }
        write!(out, ">{}", escape(&self.text))?;
        for child in &self.children {
            child.write(out, &self.ns)?;
        }
        write!(out, "</{}>", self.name)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(out, CLIENT)
    }
}

/// What a stream is made of.
#[derive(Debug)]
pub enum Piece {
    /// The stream header, without content.
    Open(Element),
    Element(Element),
    Close,
}

/// Cuts a stream into pieces, whatever the reads were.
pub struct Cutter {
    parser: rxml::Parser,
    stack: Vec<Element>,
}

impl Cutter {
    pub fn new() -> Cutter {
        Cutter { parser: rxml::Parser::new(), stack: Vec::new() }
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        loop {
            match self.parser.parse(&mut bytes, false) {
                Ok(Some(event)) => pieces.extend(self.event(event)),
                Ok(None) | Err(EndOrError::NeedMoreData) => return Ok(pieces),
                Err(EndOrError::Error(error)) => return Err(format!("bad XML: {error}")),
            }
        }
    }

    fn event(&mut self, event: rxml::Event) -> Option<Piece> {
        match event {
            rxml::Event::XmlDeclaration(..) => None,
            rxml::Event::StartElement(_, (ns, name), attrs) => {
                let element = Element {
                    name: name.to_string(),
                    ns: ns.to_string(),
                    attrs: attrs.iter().map(|((ns, name), v)| (key(ns, name), v.clone())).collect(),
                    ..Element::default()
                };
                self.stack.push(element.clone());
                (self.stack.len() == 1).then_some(Piece::Open(element))
            }
            rxml::Event::Text(_, text) => {
                self.stack.last_mut()?.text.push_str(&text);
                None
            }
            rxml::Event::EndElement(_) => {
                let done = self.stack.pop()?;
                match self.stack.len() {
                    0 => Some(Piece::Close),
                    1 => Some(Piece::Element(done)),
                    _ => {
                        self.stack.last_mut()?.children.push(done);
                        None
                    }
                }
            }
        }
    }
}

fn key(ns: &str, name: &str) -> String {
    match ns {
        "" => name.to_owned(),
        rxml::XMLNS_XML => format!("xml:{name}"),
        _ => format!("{{{ns}}}{name}"),
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

pub const CLIENT: &str = "jabber:client";
pub const STREAM: &str = "http://etherx.jabber.org/streams";
pub const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
pub const SCANSION: &str = "https://matthewwild.co.uk/projects/scansion";
