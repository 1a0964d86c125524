//! The strict check: the only way for bytes from a peer to become an [`Element`].
//!
//! An element that passes is forwarded byte by byte into other clients' streams. So nothing may pass that a
//! strict parser at the other end would refuse, or that two parsers could read differently (RFC 6120 §11.1,
//! §11.3, §11.6; XML 1.0; Namespaces in XML 1.0).

use std::mem;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::element::{AttrSpan, ChildSpan, Element, Index, NsSpan};
use super::error::XmlError;
use super::header::Header;
use super::names::has_forbidden_char;
use super::ns;
use super::scan::{
    Attr, Attrs, Binding, QName, Scanner, Span, TagEnd, check_declaration, declared_prefix,
};

/// The rules for the elements of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The namespace of elements that declare none, e.g. `jabber:client`.
    pub content_ns: &'static str,
    /// Maximum nesting, the top-level element included.
    pub depth_max: usize,
    /// Maximum number of attributes of one element, namespace declarations included.
    pub attributes_max: usize,
    /// Maximum number of top-level payloads.
    pub children_max: usize,
}

/// Checks one complete top-level element, and indexes it in the same pass.
///
/// The slice must be complete in itself: the prefixes of the stream header do not apply, because the
/// recipient's stream has another header (RFC 6120 §4.8.5). The one exception is an element of the stream
/// itself, `<stream:error>` or `<stream:features>`, which is never routed.
pub fn check(raw: Bytes, rules: &Rules) -> Result<Element, XmlError> {
    let raw = unify_line_ends(raw);
    if u32::try_from(raw.len()).is_err() {
        return Err(XmlError::TooLarge { max: u32::MAX as usize });
    }
    let raw = ByteString::try_from(raw).map_err(|_| BROKEN_UTF8)?;
    check_chars(&raw)?;
    let index = {
        let mut gate = Gate::new(&raw, rules);
        gate.run()?;
        gate.index
    };
    Ok(Element::new(raw, rules.content_ns, index))
}

/// Turns a lone CR into the LF that it means by XML 1.0 §2.11. All parsers should do so, but rxml, which
/// several clients use, fails on `a='\r1'`.
fn unify_line_ends(raw: Bytes) -> Bytes {
    let alone = |&at: &usize| raw.get(at + 1) != Some(&b'\n');
    let Some(first) = memchr::memchr_iter(b'\r', &raw).find(alone) else { return raw };
    let mut unified = raw.to_vec();
    for at in memchr::memchr_iter(b'\r', &raw).filter(|&at| at >= first).filter(alone) {
        if let Some(byte) = unified.get_mut(at) {
            *byte = b'\n';
        }
    }
    unified.into()
}

/// Checks the open tag of a stream and returns its content; the stream floor decides whether to accept it.
pub fn check_header(raw: &[u8], rules: &Rules) -> Result<Header, XmlError> {
    let text = simdutf8::basic::from_utf8(raw).map_err(|_| BROKEN_UTF8)?;
    check_chars(text)?;
    let mut gate = Gate::new(text, rules);
    gate.header()
}

/// RFC 6120 §4.9.3.22 counts broken UTF-8 as an encoding error.
const BROKEN_UTF8: XmlError = XmlError::UnsupportedEncoding("not valid UTF-8");

fn check_chars(text: &str) -> Result<(), XmlError> {
    match has_forbidden_char(text.as_bytes()) {
        true => Err(XmlError::NotWellFormed("character that XML forbids")),
        false => Ok(()),
    }
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
            0 => self.index_root(&name, bound, end),
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

    /// Ends an element; the cursor is after it.
    fn close(&mut self, bindings: usize) {
        self.bindings.truncate(bindings);
        if self.open.len() == 1
            && let Some(child) = self.index.children.last_mut()
        {
            child.span.end = Span::new(0, self.scanner.at).end;
        }
    }

    fn index_root(&mut self, name: &QName<'a>, ns: Option<&'a str>, end: TagEnd) {
        let name_end = 1 + name.whole.len();
        self.index.name = Span::new(name_end - name.local.len(), name_end);
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

    /// Adds the declarations of the current tag to the scope.
    fn declare(&mut self) -> Result<(), XmlError> {
        for Attr { name, value, .. } in &self.attrs {
            let Some(prefix) = declared_prefix(name) else { continue };
            check_declaration(prefix, value)?;
            // Without a limit, many bindings times many prefixes would take quadratic time.
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
            // RFC 6120 §4.8.5: a namespace declared in the stream header applies to the stream only;
            // extended content that depends on it is invalid-namespace.
            ("stream", None) => {
                Err(XmlError::InvalidNamespace("prefix declared by the stream header only"))
            }
            // RFC 6120 §4.9.3.13: namespace-well-formedness.
            _ => Err(XmlError::NotWellFormed("prefix without declaration")),
        }
    }

    /// Returns `None` for the content namespace, if nothing declares another.
    fn resolve_element(&self, name: &QName<'a>) -> Result<Option<&'a str>, XmlError> {
        if name.prefix.is_empty() {
            return Ok(self.find(""));
        }
        check_element_prefix(name.prefix)?;
        let bound = self.resolve_prefix(name.prefix)?;
        // RFC 6120 §4.8.5: no prefixes for the content namespace of either kind of stream, because stanzas
        // pass from one to the other.
        let content = bound == self.rules.content_ns && bound != ns::STREAM;
        if content || matches!(bound, ns::CLIENT | ns::SERVER) {
            return Err(XmlError::BadNamespacePrefix("prefix for the content namespace"));
        }
        Ok(Some(bound))
    }

    /// Resolves prefixed attributes; two with the same name are duplicates (Namespaces in XML §6.3).
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

    /// Finds where in the slice a namespace is, so that the index needs no copy of it.
    fn ns_span(&self, bound: Option<&'a str>) -> NsSpan {
        let Some(bound) = bound else { return NsSpan::Content };
        let base = self.scanner.text.as_ptr().addr();
        let start = bound.as_ptr().addr().wrapping_sub(base);
        let end = start.saturating_add(bound.len());
        // Only the implied namespace of the stream is outside the slice.
        if end <= self.scanner.text.len() {
            NsSpan::Raw(Span::new(start, end))
        } else {
            NsSpan::Stream
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
        check_element_prefix(name.prefix)?;
        self.check_attributes()?;
        Ok(Header::new(&name, self.find(name.prefix), self.find(""), &self.attrs))
    }
}

fn check_element_prefix(prefix: &str) -> Result<(), XmlError> {
    match prefix {
        // Namespaces in XML §3: element names must not have the prefix xmlns.
        "xmlns" => Err(XmlError::NotWellFormed("element with the prefix xmlns")),
        // Legal, but no such element exists, and some parsers refuse it (roxmltree).
        "xml" => Err(XmlError::InvalidNamespace("element in the namespace of xml:lang")),
        _ => Ok(()),
    }
}

/// Maximum number of namespace declarations in scope; quick-xml, which reads payloads, stops at 128.
const BINDINGS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::XmlError as E;
    use super::*;

    pub(super) const RULES: Rules =
        Rules { content_ns: ns::CLIENT, depth_max: 6, attributes_max: 8, children_max: 4 };

    fn gate(raw: &str) -> Result<Element, E> {
        check(Bytes::copy_from_slice(raw.as_bytes()), &RULES)
    }

    /// The name of the variant, from which the stream floor chooses the condition.
    fn kind(error: E) -> &'static str {
        match error {
            E::NotWellFormed(_) => "not-well-formed",
            E::RestrictedXml(_) => "restricted-xml",
            E::UnsupportedEncoding(_) => "unsupported-encoding",
            E::BadNamespacePrefix(_) => "bad-namespace-prefix",
            E::InvalidNamespace(_) => "invalid-namespace",
            E::BadFormat(_) => "bad-format",
            E::TooLarge { .. } => "large",
            E::TooDeep { .. } => "deep",
            E::TooManyAttributes { .. } => "attributes",
            E::TooManyChildren { .. } => "children",
        }
    }

    fn refused(raw: &str) -> &'static str {
        match gate(raw) {
            Ok(_) => "accepted",
            Err(error) => kind(error),
        }
    }

    fn table(expected: &str, cases: &[&str]) {
        for raw in cases {
            assert_eq!(refused(raw), expected, "{raw:?}");
        }
    }

    // Input that quick-xml accepts, and similar legal input: RFC 6120 §11.3.
    #[test]
    #[allow(clippy::too_many_lines)] // a table
    fn what_is_not_well_formed_is_refused() {
        table(
            "not-well-formed",
            &[
                "",
                "a",
                "<",
                "<a",
                "<a>",
                "<a/",
                "<>",
                "</a>",
                "<a></b>",
                "<a><b></a></b>",
                "<a></a",
                "<a></a x='1'>",
                "<a></ a>",
                "<a></ab>",
                "<ab></a>",
                "<a/>x",
                "<a/> ",
                "<a/><b/>",
                "<a></a></a>",
                " <a/>",
                "< a/>",
                "<a/ >",
                "<a / >",
                "<a b>",
                "<a b/>",
                "<a b=1/>",
                "<a b='1/>",
                "<a b='1\"/>",
                "<a 'b'/>",
                "<a ='1'/>",
                "<a b='1'c='2'/>",
                "<a b='1' b='2'/>",
                "<a xml:lang='1' xml:lang='2'/>",
                "<a /b='1'>",
                "<a b='<'/>",
                "<a b<c='1'/>",
                "<a <b/></a>",
                "<a>&</a>",
                "<a>& </a>",
                "<a>&;</a>",
                "<a>&lt</a>",
                "<a b='&'/>",
                "<a>&#0;</a>",
                "<a>&#1;</a>",
                "<a>&#x1F;</a>",
                "<a>&#xFFFE;</a>",
                "<a>&#xD800;</a>",
                "<a>&#x110000;</a>",
                "<a>&#X41;</a>",
                "<a>&#+65;</a>",
                "<a b='&#0;'/>",
                "<a>\u{0}</a>",
                "<a>\u{1}</a>",
                "<a>\u{B}</a>",
                "<a>\u{FFFE}</a>",
                "<a>\u{FFFF}</a>",
                "<a b='\u{1F}'/>",
                "<a b='\u{FFFE}'/>",
                "<a>]]></a>",
                "<a>x]]]]></a>",
                "<a><![CDATA[x]]</a>",
                "<1a/>",
                "<-a/>",
                "<.a/>",
                "<a$b/>",
                "<a b$='1'/>",
                "<a 1b='1'/>",
                "<\u{D7}/>",
                "<\u{FEFF}a/>",
                "<\u{2160}\u{FF41}/>",
                "<a\u{2190}/>",
                "<\u{B7}a/>",
                "<\u{1F600}\u{F0000}/>",
            ],
        );
    }

    #[test]
    fn what_is_well_formed_passes() {
        table(
            "accepted",
            &[
                "<a/>",
                "<a />",
                "<a\t\r\n/>",
                "<a></a>",
                "<a ></a >",
                "<a></a\n>",
                "<a b='1' c='2'/>",
                "<a b = \"1\"\nc='\"'/>",
                "<a b='>'/>",
                "<a>></a>",
                "<a>]] ></a>",
                "<a>]]&gt;</a>",
                "<a>]&#93;></a>",
                "<a><![CDATA[<x>&nope;]]]]></a>",
                "<a><![CDATA[]]>]]</a>",
                "<a><![CDATA[x]]>></a>",
                "<a>&lt;&gt;&amp;&apos;&quot;</a>",
                "<a>&#9;&#10;&#13;&#x10FFFF;&#00000000065;</a>",
                "<a b='&lt;&#x41;'/>",
                "<a>\t\r\n\u{7F}\u{85}\u{FFFD}\u{FEFF}\u{1F600}</a>",
                "<_a-1.b/>",
                "<élan é='1'/>",
                "<a:b xmlns:a='urn:x' a:c='1' c='2'/>",
                "<a><b><a/></b></a>",
            ],
        );
    }

    // Namespaces in XML; RFC 6120 §4.9.3.13 gives the unbound prefix as its example.
    #[test]
    fn what_is_not_namespace_well_formed_is_refused() {
        table(
            "not-well-formed",
            &[
                "<message><foo:body>What is this foo?</foo:body></message>",
                "<a b:c='1'/>",
                "<a:b:c xmlns:a='urn:x'/>",
                "<:a/>",
                "<a:/>",
                "<a :b='1'/>",
                "<a b:='1'/>",
                "<a:1b xmlns:a='urn:x'/>",
                "<a xmlns:p=''/>",
                "<a xmlns:='urn:x'/>",
                "<xmlns:a/>",
                "<a xmlns:xmlns='urn:x'/>",
                "<a xmlns:xml='urn:x'/>",
                "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
                "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
                "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
                "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
                "<a xmlns='urn:x' xmlns='urn:y'/>",
                "<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='1' q:b='2'/>",
                "<a><b xmlns:p='urn:x'/><p:c/></a>",
                "<a><b xmlns:p='urn:x'></b><p:c/></a>",
            ],
        );
        table(
            "accepted",
            &[
                "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>",
                "<a xmlns=''/>",
                "<a><b xmlns='urn:x'><c xmlns=''/></b></a>",
                "<a xmlns:p='urn:x' xmlns:q='urn:y' p:b='1' q:b='2' b='3'/>",
                "<a><p:b xmlns:p='urn:x'><p:c p:d='1'/></p:b></a>",
            ],
        );
    }

    #[test]
    fn what_xmpp_forbids_is_refused() {
        // RFC 6120 §11.1
        table(
            "restricted-xml",
            &[
                "<!-- x --><a/>",
                "<a><!-- x --></a>",
                "<a><?x y?></a>",
                "<?xml version='1.0'?><a/>",
                "<a><!DOCTYPE x></a>",
                "<!DOCTYPE x><a/>",
                "<a>&nbsp;</a>",
                "<a b='&x;'/>",
                // One namespace must not have two spellings.
                "<a><b xmlns='urn:xmpp:carbons&#58;2'/></a>",
                "<a><b xmlns:p='urn:&amp;'/></a>",
            ],
        );
        // RFC 6120 §4.8.5
        table(
            "bad-namespace-prefix",
            &[
                "<foo:message xmlns:foo='jabber:client'><foo:body>foo</foo:body></foo:message>",
                "<message><f:body xmlns:f='jabber:client'/></message>",
                "<message><f:body xmlns:f='jabber:server'/></message>",
            ],
        );
        table(
            "invalid-namespace",
            &[
                "<message><stream:x/></message>",
                "<message stream:x='1'/>",
                "<xml:a/>",
                "<a><xml:b/></a>",
                "<a><b xmlns='a b'/></a>",
                "<a><b xmlns='a}b'/></a>",
                "<a><b xmlns='a\nb'/></a>",
            ],
        );
        table("bad-format", &["<a xml:lang='aaaaaaaaaabbbbbbbbbbccccccccccdddddd'/>"]);
        table(
            "accepted",
            &[
                "<a xml:lang='aaaaaaaaaabbbbbbbbbbccccccccccddddd'/>",
                "<a xml:lang='aaaaaaaaaabbbbbbbbbbcccccccccc&#100;'/>",
                "<message xmlns='jabber:client'/>",
                "<stream:error><x xmlns='urn:x'/></stream:error>",
                "<stream:features><stream:y/></stream:features>",
                "<s:error xmlns:s='http://etherx.jabber.org/streams'/>",
            ],
        );
    }

    #[test]
    fn only_strict_utf8_passes() {
        let cases: &[&[u8]] = &[
            b"<a>\x80</a>",
            b"<a>\xC0\xAF</a>",
            b"<a>\xE0\x80\xAF</a>",
            b"<a>\xED\xA0\x80</a>",
            b"<a>\xED\xA0\xBD\xED\xB8\x80</a>",
            b"<a>\xF4\x90\x80\x80</a>",
            b"<a>\xC3</a>",
            b"<a b='\xFF'/>",
        ];
        for raw in cases {
            let error = check(Bytes::from_static(raw), &RULES).unwrap_err();
            assert_eq!(kind(error), "unsupported-encoding", "{raw:?}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        table("deep", &["<a><a><a><a><a><a><a/></a></a></a></a></a></a>"]);
        table("accepted", &["<a><a><a><a><a><a/></a></a></a></a></a>"]);
        table("children", &["<a><b/><b/><b/><b/><b/></a>"]);
        table("accepted", &["<a><b/><b/><b/><b><c/><c/><c/><c/><c/></b></a>"]);
        table("attributes", &["<a a='' b='' c='' d='' e='' f='' g='' h='' i=''/>"]);
        table("accepted", &["<a a='' b='' c='' d='' e='' f='' g='' h=''/>"]);
    }

    #[test]
    fn bindings_in_scope_are_bounded() {
        let rules = Rules { depth_max: 1000, attributes_max: 1000, ..RULES };
        let many = |n: usize| {
            let inner: String = (0..n).map(|i| format!(" xmlns:p{i}='urn:x'")).collect();
            check(Bytes::from(format!("<a{inner}/>")), &rules).err().map(kind)
        };
        assert_eq!(many(BINDINGS_MAX), None);
        assert_eq!(many(BINDINGS_MAX + 1), Some("attributes"));
    }

    #[test]
    fn the_index_describes_the_bytes() {
        let raw = "<message to='a&amp;b' \n id=\"x\ty\" xml:lang='en' xmlns:p='urn:p' ><body>1 &lt; \
                   <![CDATA[<2>]]></body>\n<p:x y='1'><body/></p:x><z xmlns='urn:z'/></message >";
        let element = gate(raw).unwrap();
        assert_eq!((element.name(), element.ns()), ("message", ns::CLIENT));
        assert_eq!(element.attr("to").as_deref(), Some("a&b"));
        assert_eq!(element.attr("id").as_deref(), Some("x y"));
        assert_eq!(element.attr("from"), None);
        assert_eq!(element.lang().as_deref(), Some("en"));
        let attrs: Vec<_> = element.attributes().map(|a| (a.name, a.value, a.whole)).collect();
        assert_eq!(
            attrs,
            [
                ("to", "a&amp;b", "to='a&amp;b'"),
                ("id", "x\ty", "id=\"x\ty\""),
                ("xml:lang", "en", "xml:lang='en'"),
                ("xmlns:p", "urn:p", "xmlns:p='urn:p'"),
            ]
        );
        let children: Vec<_> = element.children().map(|c| (c.name, c.ns, &raw[c.span])).collect();
        assert_eq!(
            children,
            [
                ("body", ns::CLIENT, "<body>1 &lt; <![CDATA[<2>]]></body>"),
                ("x", "urn:p", "<p:x y='1'><body/></p:x>"),
                ("z", "urn:z", "<z xmlns='urn:z'/>"),
            ]
        );
        assert!(raw[element.tag_end()..].starts_with("><body"));
        assert_eq!(&raw[element.content_end()..], "</message >");
        assert!(!element.is_empty_tag());
        assert!(element.has_child("urn:z", "z") && !element.has_child("urn:z", "body"));
        assert_eq!(element.child_text(ns::CLIENT, "body").as_deref(), Some("1 < <2>"));
        assert_eq!(element.as_str(), raw);
    }

    // XML 1.0 §2.11
    #[test]
    fn a_lone_carriage_return_is_a_line_feed() {
        let element = gate("<a b='\r1\r\n2'\rc='3'>\r4\r\r\n\r<![CDATA[\r]]></a>").unwrap();
        assert_eq!(element.as_str(), "<a b='\n1\r\n2'\nc='3'>\n4\n\r\n\n<![CDATA[\n]]></a>");
        assert_eq!(element.attr("b").as_deref(), Some(" 1 2"));
        assert_eq!(element.view().root().text(), "\n4\n\n\n\n");
        assert_eq!(gate("<a>&#13;</a>").unwrap().view().root().text(), "\r");
    }

    #[test]
    fn empty_tags_and_odd_roots_are_indexed_too() {
        for (raw, name, ns, tag_end, content_end) in [
            ("<presence/>", "presence", ns::CLIENT, 9, 9),
            ("<presence />", "presence", ns::CLIENT, 10, 10),
            ("<presence></presence>", "presence", ns::CLIENT, 9, 10),
            ("<auth xmlns='urn:x'/>", "auth", "urn:x", 19, 19),
            ("<r xmlns=''/>", "r", "", 11, 11),
            ("<stream:error/>", "error", ns::STREAM, 13, 13),
            ("<x:y xmlns:x='urn:x'/>", "y", "urn:x", 20, 20),
        ] {
            let element = gate(raw).unwrap();
            assert_eq!((element.name(), element.ns()), (name, ns), "{raw}");
            assert_eq!((element.tag_end(), element.content_end()), (tag_end, content_end), "{raw}");
            assert_eq!(element.is_empty_tag(), raw.ends_with("/>"), "{raw}");
            let doc = element.view();
            assert!(doc.root().is(ns, name), "{raw}");
        }
    }

    #[test]
    fn the_header_is_reported_not_judged() {
        let raw = "<stream:stream from='juliet@im.example.com' to='im.example.com' version='1.0'
            xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
        let header = check_header(raw.as_bytes(), &RULES).unwrap();
        assert_eq!(
            header,
            Header {
                from: Some("juliet@im.example.com".into()),
                to: Some("im.example.com".into()),
                id: None,
                version: Some("1.0".into()),
                lang: Some("en".into()),
                ns: ns::STREAM.into(),
                local: "stream".into(),
                prefix: Some("stream".into()),
                default_ns: Some(ns::CLIENT.into()),
                dialback: None,
            }
        );
        for (raw, ns, prefix) in [
            ("<stream>", "", None),
            ("<stream:stream>", "", Some("stream")),
            ("<stream xmlns='http://etherx.jabber.org/streams'>", ns::STREAM, None),
            ("<f:stream xmlns:f='urn:x'>", "urn:x", Some("f")),
        ] {
            let header = check_header(raw.as_bytes(), &RULES).unwrap();
            assert_eq!((header.ns.as_str(), header.prefix.as_deref()), (ns, prefix), "{raw}");
        }
        for raw in
            ["", "stream>", "<stream", "<stream/>", "<stream> ", "<s a='1' a='2'>", "<s p:a=''>"]
        {
            assert!(check_header(raw.as_bytes(), &RULES).is_err(), "{raw}");
        }
    }
}
