//! The read-only view of XML that passed the gate, for payloads: an arena filled by quick-xml, without
//! recursion.
//!
//! quick-xml itself accepts much that is not well-formed, so use the view only for bytes that passed the
//! gate or come from our own writer.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};

use super::error::XmlError;
use super::escape::{decode_attr, decode_cdata, decode_text, reference};
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

    /// Returns the same text with the lifetime of the input: quick-xml lends parts of an event only for the
    /// event's lifetime.
    fn written(&self, part: &str) -> &'a str {
        let start = part.as_ptr().addr().wrapping_sub(self.doc.raw.as_ptr().addr());
        let end = start.saturating_add(part.len());
        let found = self.doc.raw.get(start..end);
        debug_assert!(found.is_some() || part.is_empty(), "an event copied its text");
        found.unwrap_or_default()
    }
}

fn position(reader: &NsReader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

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
