//! The gate's scanner: one tag, one attribute or one run of text at a time, all strict.

use smallvec::SmallVec;

use super::error::XmlError;
use super::escape::{decode_attr, reference};
use super::names::{is_space, ncname_len};
use super::ns;
use crate::base::limits::LANG_BYTES_MAX;

/// Offsets into the slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    // The slice's length was checked at the beginning.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }
}

/// A name as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct QName<'a> {
    pub(super) whole: &'a str,
    /// Empty if there is no colon.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// One attribute of the current open tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attr<'a> {
    pub(super) name: QName<'a>,
    /// The text between the quotes, undecoded.
    pub(super) value: &'a str,
    pub(super) start: usize,
    /// Offset after the closing quote.
    pub(super) end: usize,
}

/// The attributes of one open tag.
pub(super) type Attrs<'a> = SmallVec<[Attr<'a>; 8]>;

/// A resolved namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding<'a> {
    pub(super) prefix: &'a str,
    pub(super) ns: &'a str,
}

/// A cursor over valid UTF-8.
pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// How an open tag ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagEnd {
    /// `>`
    Open,
    /// `/>`
    Empty,
}

impl<'a> Scanner<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Skips white space; returns whether there was any.
    pub(super) fn spaces(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at > start
    }

    fn expect(&mut self, byte: u8, detail: &'static str) -> Result<(), XmlError> {
        if self.peek() != Some(byte) {
            return Err(XmlError::NotWellFormed(detail));
        }
        self.at += 1;
        Ok(())
    }

    /// Namespaces in XML §4: `NCName` or `NCName:NCName`.
    pub(super) fn qname(&mut self) -> Result<QName<'a>, XmlError> {
        let start = self.at;
        let first = self.ncname()?;
        if self.peek() != Some(b':') {
            return Ok(QName { whole: first, prefix: "", local: first });
        }
        self.at += 1;
        let local = self.ncname()?;
        Ok(QName { whole: self.slice(start, self.at), prefix: first, local })
    }

    fn ncname(&mut self) -> Result<&'a str, XmlError> {
        let rest = self.rest();
        match ncname_len(rest) {
            0 => Err(XmlError::NotWellFormed("bad name")),
            length => {
                self.at += length;
                Ok(rest.get(..length).unwrap_or_default())
            }
        }
    }

    /// Reads the attributes and the end of an open tag; moves the cursor from after the name to after `>`.
    pub(super) fn attributes(
        &mut self,
        attrs: &mut Attrs<'a>,
        max: usize,
    ) -> Result<TagEnd, XmlError> {
        attrs.clear();
        loop {
            let spaced = self.spaces();
            match self.peek() {
                Some(b'>') => {
                    self.at += 1;
                    return Ok(TagEnd::Open);
                }
                Some(b'/') => {
                    self.at += 1;
                    self.expect(b'>', "stray / in a tag")?;
                    return Ok(TagEnd::Empty);
                }
                _ if !spaced => return Err(XmlError::NotWellFormed("no space before attribute")),
                _ => {}
            }
            if attrs.len() >= max {
                return Err(XmlError::TooManyAttributes { max });
            }
            let attr = self.attribute()?;
            if attrs.iter().any(|other| other.name.whole == attr.name.whole) {
                return Err(XmlError::NotWellFormed("duplicate attribute"));
            }
            attrs.push(attr);
        }
    }

    fn attribute(&mut self) -> Result<Attr<'a>, XmlError> {
        let start = self.at;
        let name = self.qname()?;
        self.spaces();
        self.expect(b'=', "attribute without value")?;
        self.spaces();
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            _ => return Err(XmlError::NotWellFormed("attribute value without quotes")),
        };
        self.at += 1;
        let from = self.at;
        loop {
            let rest = self.rest();
            let Some(found) = memchr::memchr3(quote, b'<', b'&', rest.as_bytes()) else {
                return Err(XmlError::NotWellFormed("attribute value without end"));
            };
            self.at += found;
            match self.peek() {
                Some(b'&') => self.reference()?,
                Some(b'<') => return Err(XmlError::NotWellFormed("< in an attribute value")),
                _ => break,
            }
        }
        let value = self.slice(from, self.at);
        self.at += 1;
        if name.whole == "xml:lang" && value.len() > LANG_BYTES_MAX {
            check_lang(value)?;
        }
        Ok(Attr { name, value, start, end: self.at })
    }

    /// Reads a reference; moves the cursor from `&` to after `;`.
    fn reference(&mut self) -> Result<(), XmlError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let window = bytes.get(..bytes.len().min(REFERENCE_BYTES_MAX)).unwrap_or_default();
        let Some(end) = memchr::memchr(b';', window) else {
            return Err(XmlError::NotWellFormed("reference without end"));
        };
        let inner = rest.get(1..end).unwrap_or_default();
        if reference(inner).is_none() {
            // RFC 6120 §11.1: entity references other than the predefined ones are restricted.
            let named = !inner.is_empty() && ncname_len(inner) == inner.len();
            return Err(if named {
                XmlError::RestrictedXml("entity reference")
            } else {
                XmlError::NotWellFormed("bad character reference")
            });
        }
        self.at += end + 1;
        Ok(())
    }

    /// Reads character data up to `<` or the end of the slice.
    pub(super) fn character_data(&mut self) -> Result<(), XmlError> {
        loop {
            let bytes = self.rest().as_bytes();
            let Some(found) = memchr::memchr3(b'<', b'&', b'>', bytes) else {
                self.at = self.text.len();
                return Ok(());
            };
            self.at += found;
            match self.peek() {
                Some(b'<') => return Ok(()),
                Some(b'&') => self.reference()?,
                // XML 1.0 §2.4: `]]>` may only end a CDATA section. The text follows a `>`, so looking back
                // does not leave it.
                _ if self.slice(0, self.at).ends_with("]]") => {
                    return Err(XmlError::NotWellFormed("]]> in text"));
                }
                _ => self.at += 1,
            }
        }
    }

    /// Reads `</name >`, which must end `open`; the cursor is on `<`.
    pub(super) fn end_tag(&mut self, open: &str) -> Result<(), XmlError> {
        self.at += 2;
        let Some(rest) = self.rest().strip_prefix(open) else {
            return Err(XmlError::NotWellFormed("end tag does not match"));
        };
        self.at = self.text.len() - rest.len();
        self.spaces();
        self.expect(b'>', "end tag does not match")
    }

    /// Reads `<!…`, of which only a CDATA section is allowed; the cursor is on `<`.
    pub(super) fn cdata(&mut self) -> Result<(), XmlError> {
        let Some(content) = self.rest().strip_prefix("<![CDATA[") else {
            return Err(XmlError::RestrictedXml("comment or document type"));
        };
        let Some(end) = memchr::memmem::find(content.as_bytes(), b"]]>") else {
            return Err(XmlError::NotWellFormed("CDATA section without end"));
        };
        self.at = self.text.len() - content.len() + end + 3;
        Ok(())
    }
}

/// Returns the prefix that this attribute declares ("" for the default), if it is a namespace declaration.
pub(super) fn declared_prefix<'a>(name: &QName<'a>) -> Option<&'a str> {
    match (name.prefix, name.local) {
        ("", "xmlns") => Some(""),
        ("xmlns", prefix) => Some(prefix),
        _ => None,
    }
}

/// Checks a declaration by Namespaces in XML §3 and §2.2, and refuses a few more, so that namespaces can be
/// compared as written.
pub(super) fn check_declaration(prefix: &str, value: &str) -> Result<(), XmlError> {
    match (prefix, value) {
        ("xml", ns::XML) => return Ok(()),
        ("xml" | "xmlns", _) | (_, ns::XML | ns::XMLNS) => {
            return Err(XmlError::NotWellFormed("reserved namespace"));
        }
        ("", "") => return Ok(()),
        (_, "") => return Err(XmlError::NotWellFormed("prefix bound to nothing")),
        _ => {}
    }
    // A reference is another spelling of the same namespace: `urn:xmpp:carbons&#58;2` would pass our
    // filters, but the recipient would read it as carbons.
    if value.bytes().all(is_uri_byte) {
        return Ok(());
    }
    if value.contains('&') {
        return Err(XmlError::RestrictedXml("reference in a namespace declaration"));
    }
    // Parsers that join namespace and name with a separator (expat) fail on a namespace that contains it;
    // RFC 3986 allows none of these characters.
    Err(XmlError::InvalidNamespace("namespace name is no URI"))
}

/// Whether this byte may occur in a namespace name. Bytes above ASCII may (IRIs); `&` is handled
/// separately.
const fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(byte, b':' | b'/' | b'#' | b'.' | b'-' | b'_' | b'~' | b'?' | b'@' | b'%')
        || matches!(byte, b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
        || matches!(byte, b'[' | b']')
}

fn check_lang(value: &str) -> Result<(), XmlError> {
    if decode_attr(value).len() > LANG_BYTES_MAX {
        return Err(XmlError::BadFormat("xml:lang too long"));
    }
    Ok(())
}

/// Maximum number of bytes from `&` to `;`: leaves room for a character reference with leading zeros.
const REFERENCE_BYTES_MAX: usize = 32;
