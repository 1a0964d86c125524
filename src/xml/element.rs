//! One top-level element that passed the gate: its own bytes and an index into them.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::escape::decode_attr;
use super::ns;
use super::scan::Span;
use super::view::Doc;

/// A top-level element that passed the gate. Only [`super::gate::check`] makes one.
#[derive(Debug, Clone)]
pub struct Element {
    raw: ByteString,
    content_ns: &'static str,
    index: Index,
}

/// A top-level payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child<'a> {
    /// Its name without the prefix.
    pub name: &'a str,
    /// Its namespace, resolved; empty when it was undeclared by `xmlns=''`.
    pub ns: &'a str,
    /// Its bytes, both tags included, as offsets into [`Element::raw`].
    pub span: Range<usize>,
}

/// An attribute of the element's own open tag, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawAttr<'a> {
    /// The name with its prefix.
    pub name: &'a str,
    /// The value without quotes, undecoded.
    pub value: &'a str,
    /// All of it, e.g. `id='x'`.
    pub whole: &'a str,
}

/// Where the text of a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NsSpan {
    #[default]
    Content,
    Stream,
    Raw(Span),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AttrSpan {
    pub(super) whole: Span,
    pub(super) name_end: u32,
    pub(super) value_start: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ChildSpan {
    pub(super) span: Span,
    pub(super) name: Span,
    pub(super) ns: NsSpan,
}

impl Element {
    pub(super) fn new(raw: ByteString, content_ns: &'static str, index: Index) -> Self {
        Self { raw, content_ns, index }
    }

    /// The bytes as received, except that a lone CR has become the LF that it means.
    pub fn raw(&self) -> &Bytes {
        self.raw.as_bytes()
    }

    /// The bytes as text; the gate has proved the UTF-8.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The name without its prefix.
    pub fn name(&self) -> &str {
        self.text(self.index.name)
    }

    /// The name as written.
    pub fn tag_name(&self) -> &str {
        self.text(Span { start: 1, end: self.index.name.end })
    }

    /// The namespace: the stream's content namespace unless the open tag says otherwise.
    pub fn ns(&self) -> &str {
        self.ns_text(self.index.ns)
    }

    /// An unprefixed attribute, decoded and normalised.
    pub fn attr(&self, name: &str) -> Option<Cow<'_, str>> {
        debug_assert!(!name.contains(':'), "prefixed attributes have their own accessors");
        self.value_of(name).map(decode_attr)
    }

    /// `xml:lang` of the element itself, decoded.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        self.value_of("xml:lang").map(decode_attr)
    }

    /// The attributes as written, namespace declarations included, so that an open tag can be
    /// rebuilt from them.
    pub fn attributes(&self) -> impl Iterator<Item = RawAttr<'_>> {
        self.index.attrs.iter().map(|attr| RawAttr {
            name: self.text(Span { start: attr.whole.start, end: attr.name_end }),
            value: self.text(Span { start: attr.value_start, end: attr.whole.end - 1 }),
            whole: self.text(attr.whole),
        })
    }

    /// Offset of the `>` or `/>` that ends the open tag, after any white space before it.
    pub fn tag_end(&self) -> usize {
        self.index.tag_end as usize
    }

    /// Whether it is written `<presence/>`.
    pub fn is_empty_tag(&self) -> bool {
        self.index.content_end == self.index.tag_end
    }

    /// Offset of `</name>`; in an empty tag, of `/>`.
    pub fn content_end(&self) -> usize {
        self.index.content_end as usize
    }

    /// The top-level payloads in order.
    pub fn children(&self) -> impl Iterator<Item = Child<'_>> {
        self.index.children.iter().map(|child| Child {
            name: self.text(child.name),
            ns: self.ns_text(child.ns),
            span: child.span.start as usize..child.span.end as usize,
        })
    }

    /// Whether there is a top-level payload of this name.
    pub fn has_child(&self, ns: &str, name: &str) -> bool {
        self.children().any(|child| child.name == name && child.ns == ns)
    }

    /// The direct text of the first top-level payload of this name.
    pub fn child_text(&self, ns: &str, name: &str) -> Option<Cow<'_, str>> {
        if !self.has_child(ns, name) {
            return None;
        }
        let doc = self.view();
        let child = doc.root().child(ns, name)?;
        Some(Cow::Owned(child.text().to_owned()))
    }

    /// The whole element as a tree, to read payloads from.
    pub fn view(&self) -> Doc<'_> {
        Doc::of_proved(&self.raw, self.content_ns)
    }

    /// The value, as written, of the attribute with this name, as written.
    fn value_of(&self, name: &str) -> Option<&str> {
        let attr =
            self.index.attrs.iter().find(|attr| {
                self.text(Span { start: attr.whole.start, end: attr.name_end }) == name
            })?;
        Some(self.text(Span { start: attr.value_start, end: attr.whole.end - 1 }))
    }

    fn text(&self, span: Span) -> &str {
        self.raw.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn ns_text(&self, ns: NsSpan) -> &str {
        match ns {
            NsSpan::Content => self.content_ns,
            NsSpan::Stream => ns::STREAM,
            NsSpan::Raw(span) => self.text(span),
        }
    }
}

/// The index that the gate builds while it checks the element.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) ns: NsSpan,
    /// Without the prefix.
    pub(super) name: Span,
    pub(super) tag_end: u32,
    pub(super) content_end: u32,
    pub(super) attrs: SmallVec<[AttrSpan; 6]>,
    pub(super) children: SmallVec<[ChildSpan; 6]>,
}
