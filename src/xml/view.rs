//! The read-only view of XML that passed the gate, for payloads: an arena filled by quick-xml, without
//! recursion.
//!
//! quick-xml itself accepts much that is not well-formed, so use the view only for bytes that passed the
//! gate or come from our own writer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};

use super::error::XmlError;
use super::escape::{decode_attr, decode_cdata, decode_text, escape_attr, reference};
use super::ns;

/// A parsed element with all its descendants.
#[derive(Debug, Clone)]
pub struct Doc<'a> {
    raw: &'a str,
    nodes: Vec<NodeData<'a>>,
    attrs: Vec<AttrData<'a>>,
    namespaces: Vec<String>,
}

/// One element of a [`Doc`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'d> {
    doc: &'d Doc<'d>,
    data: &'d NodeData<'d>,
}

#[derive(Debug, Clone, Default)]
struct NodeData<'a> {
    name: &'a str,
    /// Index into [`Doc::namespaces`].
    ns: usize,
    text: Cow<'a, str>,
    attrs: Range<usize>,
    span: Range<usize>,
    first_child: Option<usize>,
    next_sibling: Option<usize>,
}

#[derive(Debug, Clone)]
struct AttrData<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

impl<'a> Doc<'a> {
    /// Reads one element that the server stored after the gate, or wrote itself. Elements that declare no
    /// namespace are in `content_ns`.
    pub fn of(raw: &'a [u8], content_ns: &str) -> Result<Self, XmlError> {
        let raw = simdutf8::basic::from_utf8(raw)
            .map_err(|_| XmlError::UnsupportedEncoding("not valid UTF-8"))?;
        Builder::new(raw).run(content_ns)
    }

    /// Like [`Doc::of`], but for bytes that passed the gate: it accepts nothing that quick-xml refuses
    /// (fuzzed).
    pub(super) fn of_proved(raw: &'a str, content_ns: &str) -> Self {
        let doc = Builder::new(raw).run(content_ns);
        debug_assert!(doc.is_ok(), "the gate let pass what quick-xml refuses: {doc:?}");
        doc.unwrap_or_else(|_| Builder::new("").empty())
    }

    /// The outermost element.
    pub fn root(&self) -> Node<'_> {
        Node { doc: self, data: self.nodes.first().unwrap_or(&NOTHING) }
    }

    /// The bytes that the view reads.
    pub fn raw(&self) -> &'a str {
        self.raw
    }
}

impl<'d> Node<'d> {
    /// The name without its prefix.
    pub fn name(self) -> &'d str {
        self.data.name
    }

    /// The resolved namespace; empty when there is none.
    pub fn ns(self) -> &'d str {
        self.doc.namespaces.get(self.data.ns).map_or("", String::as_str)
    }

    /// Whether it is this element.
    pub fn is(self, ns: &str, name: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// An attribute by its name as written, decoded and normalised.
    pub fn attr(self, name: &str) -> Option<&'d str> {
        self.attrs().find(|(written, _)| *written == name).map(|(_, value)| value)
    }

    /// All attributes except namespace declarations: name as written, value decoded.
    pub fn attrs(self) -> impl Iterator<Item = (&'d str, &'d str)> {
        let attrs = self.doc.attrs.get(self.data.attrs.clone()).unwrap_or_default();
        attrs.iter().map(|attr| (attr.name, attr.value.as_ref()))
    }

    /// `xml:lang` of this element itself.
    pub fn lang(self) -> Option<&'d str> {
        self.attr("xml:lang")
    }

    /// All direct character data, decoded and joined.
    pub fn text(self) -> &'d str {
        &self.data.text
    }

    /// The child elements in order.
    pub fn children(self) -> impl Iterator<Item = Node<'d>> {
        let doc = self.doc;
        let at = |index: Option<usize>| {
            index.and_then(|i| doc.nodes.get(i)).map(|data| Node { doc, data })
        };
        std::iter::successors(at(self.data.first_child), move |node| at(node.data.next_sibling))
    }

    /// The first child element of any name.
    pub fn first_child(self) -> Option<Node<'d>> {
        self.children().next()
    }

    /// The first child element of this name.
    pub fn child(self, ns: &str, name: &str) -> Option<Node<'d>> {
        self.children().find(|child| child.is(ns, name))
    }

    /// The text of the first child element of this name.
    pub fn child_text(self, ns: &str, name: &str) -> Option<&'d str> {
        self.child(ns, name).map(Node::text)
    }

    /// Offsets of the element, both tags included, in the bytes that the view reads.
    pub fn span(self) -> Range<usize> {
        self.data.span.clone()
    }

    /// The element as written. Prefixes and the default namespace may be declared in an ancestor.
    pub fn raw(self) -> &'d str {
        self.doc.raw.get(self.span()).unwrap_or_default()
    }

    /// The element as it can stand anywhere else: as written, but with the declarations of its ancestors that
    /// it may need. None if that is more attributes than any element of a stanza may have.
    pub fn standalone(self) -> Option<Cow<'d, str>> {
        let raw = self.raw();
        let own = declarations(raw);
        let root = self.doc.root();
        // What the stream declares.
        let content = if root.raw().starts_with(&format!("<{}", root.name())) {
            root.ns()
        } else {
            ns::CLIENT
        };
        let mut scope = BTreeMap::from([("", Cow::Borrowed(content))]);
        let (from, to) = (self.data.span.start, self.data.span.end);
        let before = self.doc.nodes.iter().take_while(|node| node.span.start < from);
        for ancestor in before.filter(|node| node.span.end >= to) {
            let tag = self.doc.raw.get(ancestor.span.clone()).unwrap_or_default();
            scope.extend(declarations(tag));
        }
        // What looks like a prefix; more of them do no harm.
        let used =
            raw.match_indices(':').filter_map(|(at, _)| raw.get(..at)?.rsplit(DELIMITERS).next());
        let used: BTreeSet<&str> = used.chain([""]).collect();
        scope.retain(|prefix, _| used.contains(prefix));
        own.iter().for_each(|(prefix, _)| _ = scope.remove(prefix));
        let name = raw.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(raw.len());
        let (Some(start), Some(rest), false) = (raw.get(..name), raw.get(name..), scope.is_empty())
        else {
            return Some(Cow::Borrowed(raw));
        };
        if self.attrs().count() + own.len() + scope.len() > ATTRIBUTES_MAX {
            return None;
        }
        let mut out = start.to_owned();
        for (prefix, name) in scope {
            out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            out.push_str(prefix);
            out.push_str("='");
            out.push_str(&escape_attr(&name));
            out.push('\'');
        }
        out.push_str(rest);
        Some(Cow::Owned(out))
    }
}

/// The namespaces that an element's own tag declares, by prefix; the default one has none.
fn declarations(raw: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut reader = quick_xml::Reader::from_str(raw);
    let Ok(Event::Start(tag) | Event::Empty(tag)) = reader.read_event() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for attr in tag.attributes().with_checks(false).flatten() {
        let prefix = match attr.key.as_namespace_binding() {
            Some(PrefixDeclaration::Default) => "",
            Some(PrefixDeclaration::Named(prefix)) => part(raw, prefix),
            None => continue,
        };
        found.push((prefix, decode_attr(part(raw, &attr.value))));
    }
    found
}

/// Returns the same text with the lifetime of the input: quick-xml lends parts of an event only for the
/// event's lifetime.
fn part<'a>(raw: &'a str, part: &str) -> &'a str {
    let start = part.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
    let end = start.saturating_add(part.len());
    let found = raw.get(start..end);
    debug_assert!(found.is_some() || part.is_empty(), "an event copied its text");
    found.unwrap_or_default()
}

struct Builder<'a> {
    doc: Doc<'a>,
    /// The open elements, each with its last child so far.
    open: Vec<(usize, Option<usize>)>,
}

impl<'a> Builder<'a> {
    fn new(raw: &'a str) -> Self {
        let doc = Doc { raw, nodes: Vec::new(), attrs: Vec::new(), namespaces: Vec::new() };
        Self { doc, open: Vec::new() }
    }

    fn empty(self) -> Doc<'a> {
        self.doc
    }

    fn run(mut self, content_ns: &str) -> Result<Doc<'a>, XmlError> {
        const REFUSED: XmlError = XmlError::NotWellFormed("refused by the payload reader");
        let mut reader = NsReader::from_str(self.doc.raw);
        let resolver = reader.resolver_mut();
        let content = resolver.add(PrefixDeclaration::Default, Namespace(content_ns));
        // The gate accepts `<stream:error>` without a declaration; see there.
        let stream = resolver.add(PrefixDeclaration::Named("stream"), Namespace(ns::STREAM));
        content.and(stream).map_err(|_| REFUSED)?;
        loop {
            let from = position(&reader);
            let (bound, event) = reader.read_resolved_event().map_err(|_| REFUSED)?;
            match event {
                Event::Start(tag) => {
                    let index = self.element(&tag, &bound, from)?;
                    self.open.push((index, None));
                }
                Event::Empty(tag) => {
                    let index = self.element(&tag, &bound, from)?;
                    self.close(index, position(&reader));
                }
                Event::End(_) => {
                    let (index, _) = self.open.pop().ok_or(REFUSED)?;
                    self.close(index, position(&reader));
                }
                Event::Text(text) => self.text(decode_text(self.written(&text))),
                Event::CData(text) => self.text(decode_cdata(self.written(&text))),
                Event::GeneralRef(inner) => {
                    let c = reference(&inner).ok_or(REFUSED)?;
                    self.text(Cow::Owned(c.to_string()));
                }
                Event::Eof => break,
                _ => return Err(REFUSED),
            }
        }
        if self.doc.nodes.is_empty() { Err(REFUSED) } else { Ok(self.doc) }
    }

    fn element(
        &mut self,
        tag: &BytesStart<'_>,
        bound: &ResolveResult<'_>,
        start: usize,
    ) -> Result<usize, XmlError> {
        let ns = match bound {
            ResolveResult::Bound(Namespace(ns)) => ns,
            ResolveResult::Unbound => "",
            ResolveResult::Unknown(_) => {
                return Err(XmlError::NotWellFormed("prefix without declaration"));
            }
        };
        let ns = self.intern(ns);
        let from = self.doc.attrs.len();
        for attr in tag.attributes().with_checks(false) {
            let attr = attr.map_err(|_| XmlError::NotWellFormed("bad attribute"))?;
            if attr.key.as_namespace_binding().is_none() {
                let name = self.written(attr.key.0);
                let value = decode_attr(self.written(&attr.value));
                self.doc.attrs.push(AttrData { name, value });
            }
        }
        let index = self.doc.nodes.len();
        self.doc.nodes.push(NodeData {
            name: self.written(tag.local_name().into_inner()),
            ns,
            attrs: from..self.doc.attrs.len(),
            span: start..start,
            ..NodeData::default()
        });
        self.hang(index)?;
        Ok(index)
    }

    /// Adds a new node to the innermost open one.
    fn hang(&mut self, index: usize) -> Result<(), XmlError> {
        let Some((parent, last)) = self.open.last_mut() else {
            let only = index == 0;
            return if only { Ok(()) } else { Err(XmlError::NotWellFormed("two root elements")) };
        };
        let previous = last.replace(index);
        if let Some(node) = self.doc.nodes.get_mut(previous.unwrap_or(*parent)) {
            match previous {
                Some(_) => node.next_sibling = Some(index),
                None => node.first_child = Some(index),
            }
        }
        Ok(())
    }

    fn close(&mut self, index: usize, end: usize) {
        if let Some(node) = self.doc.nodes.get_mut(index) {
            node.span.end = end;
        }
    }

    fn text(&mut self, piece: Cow<'a, str>) {
        let Some(&(index, _)) = self.open.last() else { return };
        let Some(node) = self.doc.nodes.get_mut(index) else { return };
        if node.text.is_empty() {
            node.text = piece;
        } else {
            node.text.to_mut().push_str(&piece);
        }
    }

    fn intern(&mut self, ns: &str) -> usize {
        // Comparing with only a few keeps many different namespaces from taking quadratic time.
        let known = self.doc.namespaces.iter().enumerate().rev().take(INTERN_WINDOW);
        if let Some((index, _)) = known.into_iter().find(|(_, known)| *known == ns) {
            return index;
        }
        self.doc.namespaces.push(ns.to_owned());
        self.doc.namespaces.len() - 1
    }

    fn written(&self, text: &str) -> &'a str {
        part(self.doc.raw, text)
    }
}

fn position(reader: &NsReader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// What stands before a prefix.
const DELIMITERS: [char; 11] = [' ', '\t', '\r', '\n', '<', '>', '/', '=', ':', '"', '\''];
/// As the gate has it ([`super::gate::Rules::attributes_max`]).
const ATTRIBUTES_MAX: usize = 64;
const INTERN_WINDOW: usize = 16;

static NOTHING: NodeData<'static> = NodeData {
    name: "",
    ns: usize::MAX,
    text: Cow::Borrowed(""),
    attrs: 0..0,
    span: 0..0,
    first_child: None,
    next_sibling: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'d>(node: Node<'d>, name: &str) -> Option<Node<'d>> {
        let below = || node.children().find_map(|child| found(child, name));
        if node.name() == name { Some(node) } else { below() }
    }

    /// Names and namespaces of all elements.
    fn names(node: Node<'_>) -> String {
        let below: String = node.children().map(names).collect();
        format!("{{{}}}{}({below})", node.ns(), node.name())
    }

    #[test]
    fn an_element_stands_alone_with_what_its_ancestors_declared() {
        for (stanza, alone) in [
            ("<iq><a xmlns='u'><x xmlns='v'><y/></x></a></iq>", "<x xmlns='v'><y/></x>"),
            ("<iq><a xmlns='u'><x><y/></x></a></iq>", "<x xmlns='u'><y/></x>"),
            ("<iq><a xmlns='u'><x/></a></iq>", "<x xmlns='u'/>"),
            ("<iq><x b='c'/></iq>", "<x xmlns='jabber:client' b='c'/>"),
            ("<iq xmlns:p='w'><a xmlns='u'><x xmlns='v'/></a></iq>", "<x xmlns='v'/>"),
            (
                "<iq xmlns:p='w&amp;\"'><a xmlns='u'><x xmlns='v' p:q='1'/></a></iq>",
                "<x xmlns:p='w&amp;&quot;' xmlns='v' p:q='1'/>",
            ),
            (
                "<iq xmlns:p='1'><a xmlns='u' xmlns:p='2'><p:x><z/></p:x></a></iq>",
                "<p:x xmlns='u' xmlns:p='2'><z/></p:x>",
            ),
            // A prefix in a value, in either kind of quotes: a qualified name in a data type, say.
            (
                "<iq xmlns:p='1' xmlns:q='2'><x xmlns='v' a='p:y' b=\"q:y\"/></iq>",
                "<x xmlns:p='1' xmlns:q='2' xmlns='v' a='p:y' b=\"q:y\"/>",
            ),
            ("<iq><a xmlns=''><x/></a></iq>", "<x xmlns=''/>"),
            ("<iq><a xmlns='u'><x xmlns=\"it's\"/></a></iq>", "<x xmlns=\"it's\"/>"),
        ] {
            let doc = Doc::of(stanza.as_bytes(), ns::CLIENT).unwrap();
            let node = found(doc.root(), "x").unwrap();
            assert_eq!(node.standalone().as_deref(), Some(alone), "{stanza}");
            let elsewhere = format!("<m xmlns='other'>{alone}</m>");
            let other = Doc::of(elsewhere.as_bytes(), "").unwrap();
            assert_eq!(names(found(other.root(), "x").unwrap()), names(node), "{stanza}");
        }
    }

    #[test]
    fn no_element_gets_more_attributes_than_stanzas_may_have() {
        for (more, fits) in [(2, true), (3, false)] {
            let declared: String = (0..more).map(|n| format!(" xmlns:p{n}='u{n}'")).collect();
            let used: String = (0..more).map(|n| format!(" p{n}:a='1'")).collect();
            let own: String = (0..60 - more).map(|n| format!(" a{n}='1'")).collect();
            // Of its own 60, and with what `a` declares 62 or 63; two more are its own declarations.
            let stanza = format!(
                "<iq><a xmlns='u'{declared}><x xmlns='v' xmlns:w='w'{own}{used}/></a></iq>"
            );
            let doc = Doc::of(stanza.as_bytes(), ns::CLIENT).unwrap();
            assert_eq!(found(doc.root(), "x").unwrap().standalone().is_some(), fits, "{stanza}");
        }
    }
}
