//! The strict check: the only way for foreign bytes to become an [`Element`].
//!
//! What passes here is forwarded byte by byte into other people's streams, so nothing may pass
//! that a strict parser at the other end would refuse, and nothing that two parsers read
//! differently (RFC 6120 §11.1, §11.3, §11.6; XML 1.0; Namespaces in XML 1.0).

use std::mem;

use bytes::Bytes;
use smallvec::SmallVec;

use super::element::{AttrSpan, ChildSpan, Element, NsSpan};
use super::error::XmlError;
use super::header::Header;
use super::names::has_forbidden_char;
use super::ns;
use super::scan::{
    Attr, Attrs, Binding, QName, Scanner, Span, TagEnd, check_declaration, declared_prefix,
};

/// What the stream says about the elements on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The namespace of elements without any declaration, e.g. `jabber:client`.
    pub content_ns: &'static str,
    /// Nesting, the top-level element included.
    pub depth_max: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes_max: usize,
    /// Top-level payloads of the element.
    pub children_max: usize,
}

/// Proves one complete top-level element, and indexes it in the same pass.
///
/// The slice must stand for itself: the stream header's prefixes do not reach in, since the
/// recipient has another header (RFC 6120 §4.8.5). The one exception is an element of the
/// stream itself, `<stream:error>` or `<stream:features>`, which is never routed.
pub fn check(raw: Bytes, rules: &Rules) -> Result<Element, XmlError> {
    let index = {
        let text = check_chars(&raw)?;
        let mut gate = Gate::new(text, rules);
        gate.run()?;
        gate.index
    };
    Ok(Element::new(raw, rules.content_ns, index))
}

/// Proves the open tag of a stream, and reports what it says; the stream floor judges it.
pub fn check_header(raw: &[u8], rules: &Rules) -> Result<Header, XmlError> {
    let text = check_chars(raw)?;
    let mut gate = Gate::new(text, rules);
    gate.header()
}

fn check_chars(raw: &[u8]) -> Result<&str, XmlError> {
    if u32::try_from(raw.len()).is_err() {
        return Err(XmlError::TooLarge { max: u32::MAX as usize });
    }
    // RFC 6120 §4.9.3.22 counts broken UTF-8 as an encoding error.
    let text = simdutf8::basic::from_utf8(raw)
        .map_err(|_| XmlError::UnsupportedEncoding("not valid UTF-8"))?;
    if has_forbidden_char(raw) {
        return Err(XmlError::NotWellFormed("character that XML forbids"));
    }
    Ok(text)
}

/// What the pass collects for [`Element`].
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) ns: NsSpan,
    pub(super) tag_end: u32,
    pub(super) content_end: u32,
    pub(super) attrs: SmallVec<[AttrSpan; 6]>,
    pub(super) children: SmallVec<[ChildSpan; 6]>,
}

struct OpenElement<'a> {
    name: &'a str,
    /// Bindings in scope before its open tag.
    bindings: usize,
}

struct Gate<'a, 'r> {
    scanner: Scanner<'a>,
    rules: &'r Rules,
    open: SmallVec<[OpenElement<'a>; 8]>,
    bindings: SmallVec<[Binding<'a>; 8]>,
    attrs: Attrs<'a>,
    index: Index,
}

impl<'a, 'r> Gate<'a, 'r> {
    fn new(text: &'a str, rules: &'r Rules) -> Self {
        Self {
            scanner: Scanner { text, at: 0 },
            rules,
            open: SmallVec::new(),
            bindings: SmallVec::new(),
            attrs: Attrs::new(),
            index: Index::default(),
        }
    }

    fn run(&mut self) -> Result<(), XmlError> {
        loop {
            if self.scanner.peek() != Some(b'<') {
                return Err(XmlError::NotWellFormed("element without end"));
            }
            match self.scanner.text.as_bytes().get(self.scanner.at + 1) {
                Some(b'/') => self.end_tag()?,
                Some(b'!') if !self.open.is_empty() => self.scanner.cdata()?,
                Some(b'!') => return Err(XmlError::RestrictedXml("comment or document type")),
                Some(b'?') => return Err(XmlError::RestrictedXml("processing instruction")),
                _ => self.open_tag()?,
            }
            if self.open.is_empty() {
                break;
            }
            self.scanner.character_data()?;
        }
        if self.scanner.at != self.scanner.text.len() {
            return Err(XmlError::NotWellFormed("text after the element"));
        }
        Ok(())
    }

    fn open_tag(&mut self) -> Result<(), XmlError> {
        let start = self.scanner.at;
        let depth = self.open.len();
        if depth >= self.rules.depth_max {
            return Err(XmlError::TooDeep { max: self.rules.depth_max });
        }
        self.scanner.at += 1;
        let name = self.scanner.qname()?;
        let bindings = self.bindings.len();
        let end = self.scanner.attributes(&mut self.attrs, self.rules.attributes_max)?;
        self.declare()?;
        if depth == 0 && name.prefix == "stream" && self.find("stream").is_none() {
            // RFC 6120 §4.8.5: elements of the stream itself use the header's prefix.
            self.bindings.push(Binding { prefix: "stream", ns: ns::STREAM });
        }
        let bound = self.resolve_element(&name)?;
        self.check_attributes()?;
        match depth {
            0 => self.index_root(bound, end),
            1 => self.index_child(start, &name, bound)?,
            _ => {}
        }
        if end == TagEnd::Open {
            self.open.push(OpenElement { name: name.whole, bindings });
        } else {
            self.close(bindings);
        }
        Ok(())
    }

    fn end_tag(&mut self) -> Result<(), XmlError> {
        let start = self.scanner.at;
        let Some(open) = self.open.pop() else {
            return Err(XmlError::NotWellFormed("end tag without open tag"));
        };
        self.scanner.end_tag(open.name)?;
        if self.open.is_empty() {
            self.index.content_end = Span::new(start, start).start;
        }
        self.close(open.bindings);
        Ok(())
    }

    /// An element has ended, with the cursor behind it.
    fn close(&mut self, bindings: usize) {
        self.bindings.truncate(bindings);
        if self.open.len() == 1
            && let Some(child) = self.index.children.last_mut()
        {
            child.span.end = Span::new(0, self.scanner.at).end;
        }
    }

    fn index_root(&mut self, ns: Option<&'a str>, end: TagEnd) {
        let closing = if end == TagEnd::Open { 1 } else { 2 };
        let tag_end = self.scanner.at - closing;
        self.index.ns = self.ns_span(ns);
        self.index.tag_end = Span::new(tag_end, tag_end).start;
        self.index.content_end = self.index.tag_end;
        let spans = self.attrs.iter().map(|attr| AttrSpan {
            whole: Span::new(attr.start, attr.end),
            name_end: Span::new(0, attr.start + attr.name.whole.len()).end,
            value_start: Span::new(attr.end - 1 - attr.value.len(), 0).start,
        });
        self.index.attrs.extend(spans);
    }

    fn index_child(
        &mut self,
        start: usize,
        name: &QName<'a>,
        bound: Option<&'a str>,
    ) -> Result<(), XmlError> {
        let max = self.rules.children_max;
        if self.index.children.len() >= max {
            return Err(XmlError::TooManyChildren { max });
        }
        let local = start + 1 + name.whole.len() - name.local.len();
        let child = ChildSpan {
            span: Span::new(start, start),
            name: Span::new(local, local + name.local.len()),
            ns: self.ns_span(bound),
        };
        self.index.children.push(child);
        Ok(())
    }

    /// Puts the declarations of the tag at hand in scope.
    fn declare(&mut self) -> Result<(), XmlError> {
        for Attr { name, value, .. } in &self.attrs {
            let Some(prefix) = declared_prefix(name) else { continue };
            check_declaration(prefix, value)?;
            // Without a bound, many bindings times many prefixes would cost quadratic time.
            if self.bindings.len() >= BINDINGS_MAX {
                return Err(XmlError::TooManyAttributes { max: BINDINGS_MAX });
            }
            self.bindings.push(Binding { prefix, ns: value });
        }
        Ok(())
    }

    fn find(&self, prefix: &str) -> Option<&'a str> {
        self.bindings.iter().rev().find(|binding| binding.prefix == prefix).map(|found| found.ns)
    }

    fn resolve_prefix(&self, prefix: &str) -> Result<&'a str, XmlError> {
        match (prefix, self.find(prefix)) {
            ("xml", _) => Ok(ns::XML),
            (_, Some(ns)) => Ok(ns),
            // RFC 6120 §4.8.5: a namespace declared in the stream header applies to the stream
            // only; extended content that leans on it is invalid-namespace.
            ("stream", None) => {
                Err(XmlError::InvalidNamespace("prefix declared by the stream header only"))
            }
            // RFC 6120 §4.9.3.13: namespace-well-formedness.
            _ => Err(XmlError::NotWellFormed("prefix without declaration")),
        }
    }

    /// `None`: the content namespace, because nothing declares another.
    fn resolve_element(&self, name: &QName<'a>) -> Result<Option<&'a str>, XmlError> {
        if name.prefix.is_empty() {
            return Ok(self.find(""));
        }
        if name.prefix == "xmlns" {
            // Namespaces in XML §3: element names must not have the prefix xmlns.
            return Err(XmlError::NotWellFormed("element with the prefix xmlns"));
        }
        let bound = self.resolve_prefix(name.prefix)?;
        // RFC 6120 §4.8.5: no prefixes for the content namespace, of neither kind of stream,
        // since stanzas cross from one to the other.
        let content = bound == self.rules.content_ns && bound != ns::STREAM;
        if content || matches!(bound, ns::CLIENT | ns::SERVER) {
            return Err(XmlError::BadNamespacePrefix("prefix for the content namespace"));
        }
        Ok(Some(bound))
    }

    /// Resolves prefixed attributes; two of one name are a duplicate (Namespaces in XML §6.3).
    fn check_attributes(&self) -> Result<(), XmlError> {
        let mut seen: SmallVec<[(&str, &str); 4]> = SmallVec::new();
        for Attr { name, .. } in &self.attrs {
            if name.prefix.is_empty() || name.prefix == "xmlns" {
                continue;
            }
            let resolved = (self.resolve_prefix(name.prefix)?, name.local);
            if seen.contains(&resolved) {
                return Err(XmlError::NotWellFormed("duplicate attribute"));
            }
            seen.push(resolved);
        }
        Ok(())
    }

    /// Where in the slice a namespace stands, so that the index needs no copy of it.
    fn ns_span(&self, bound: Option<&'a str>) -> NsSpan {
        let Some(bound) = bound else { return NsSpan::Content };
        let base = self.scanner.text.as_ptr().addr();
        let start = bound.as_ptr().addr().wrapping_sub(base);
        let inside = start.checked_add(bound.len()).is_some_and(|e| e <= self.scanner.text.len());
        if inside {
            NsSpan::Raw(Span::new(start, start + bound.len()))
        } else {
            // Only two namespaces stand outside: the stream's, implied, and that of `xml:`.
            if bound == ns::XML { NsSpan::Xml } else { NsSpan::Stream }
        }
    }

    fn header(&mut self) -> Result<Header, XmlError> {
        if self.scanner.peek() != Some(b'<') {
            return Err(XmlError::NotWellFormed("no stream header"));
        }
        self.scanner.at = 1;
        let name = self.scanner.qname()?;
        let mut attrs = mem::take(&mut self.attrs);
        let end = self.scanner.attributes(&mut attrs, self.rules.attributes_max)?;
        if end == TagEnd::Empty || self.scanner.at != self.scanner.text.len() {
            return Err(XmlError::NotWellFormed("stream header without content"));
        }
        self.attrs = attrs;
        self.declare()?;
        if name.prefix == "xmlns" {
            return Err(XmlError::NotWellFormed("element with the prefix xmlns"));
        }
        self.check_attributes()?;
        let root_ns = if name.prefix == "xml" { Some(ns::XML) } else { self.find(name.prefix) };
        Ok(Header::new(&name, root_ns, self.find(""), &self.attrs))
    }
}

/// Namespace declarations in scope at one place; quick-xml, which reads payloads, stops at 128.
const BINDINGS_MAX: usize = 120;
