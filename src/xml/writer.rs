//! The one writer: every element the server makes itself is written here.

use bytes::Bytes;

pub use super::escape::{escape_attr, escape_text};

/// Builds XML from front to back; [`Xml::end`] closes the elements that [`Xml::start`] opens.
///
/// ```
/// # use stonechat::xml::Xml;
/// let mut xml = Xml::new();
/// xml.start("iq").attr("type", "result").element("ping", "urn:xmpp:ping", "").end();
/// assert_eq!(xml.into_string(), "<iq type='result'><ping xmlns='urn:xmpp:ping'/></iq>");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Xml {
    out: Vec<u8>,
    /// Where in `out` the names of the open elements are.
    open: Vec<(u32, u32)>,
    in_tag: bool,
}

impl Xml {
    /// An empty document.
    pub fn new() -> Self {
        Self { out: Vec::with_capacity(256), open: Vec::new(), in_tag: false }
    }

    /// Opens an element. The name, with or without prefix, is the server's, never a peer's.
    #[allow(clippy::cast_possible_truncation)] // nothing we write comes near 4 GiB
    pub fn start(&mut self, name: &str) -> &mut Self {
        debug_assert!(!name.is_empty() && !name.contains(['<', '>', ' ', '/', '&', '\'', '"']));
        self.end_tag();
        self.out.push(b'<');
        let from = self.out.len() as u32;
        self.out.extend_from_slice(name.as_bytes());
        self.open.push((from, self.out.len() as u32));
        self.in_tag = true;
        self
    }

    /// Writes an attribute of the element that was just opened.
    pub fn attr(&mut self, name: &str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "attribute outside an open tag");
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        self.out.extend_from_slice(escape_attr(value).as_bytes());
        self.out.push(b'\'');
        self
    }

    /// Writes an attribute if it has a value.
    pub fn attr_opt(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Writes character data. Empty text writes nothing.
    pub fn text(&mut self, value: &str) -> &mut Self {
        if !value.is_empty() {
            self.end_tag();
            self.out.extend_from_slice(escape_text(value).as_bytes());
        }
        self
    }

    /// Writes bytes that have passed the gate or this writer. Empty bytes write nothing.
    pub fn raw(&mut self, proved: &[u8]) -> &mut Self {
        if !proved.is_empty() {
            self.end_tag();
            self.out.extend_from_slice(proved);
        }
        self
    }

    /// Closes the innermost element, as `<a/>` if it is empty.
    pub fn end(&mut self) -> &mut Self {
        let Some((from, to)) = self.open.pop() else {
            debug_assert!(false, "end without start");
            return self;
        };
        if self.in_tag {
            self.in_tag = false;
            self.out.extend_from_slice(b"/>");
        } else {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_within(from as usize..to as usize);
            self.out.push(b'>');
        }
        self
    }

    /// Writes a whole element with text only; without a namespace it is in that of its parent.
    pub fn element<'n>(
        &mut self,
        name: &str,
        ns: impl Into<Option<&'n str>>,
        text: &str,
    ) -> &mut Self {
        self.start(name).attr_opt("xmlns", ns.into()).text(text).end()
    }

    /// Returns the bytes written so far. It closes nothing: all elements should be closed.
    pub fn finish(self) -> Bytes {
        debug_assert!(self.open.is_empty(), "an element is still open");
        Bytes::from(self.out)
    }

    /// Like [`Xml::finish`], but as a string.
    pub fn into_string(self) -> String {
        debug_assert!(self.open.is_empty(), "an element is still open");
        match String::from_utf8(self.out) {
            Ok(text) => text,
            // Only `raw` could have brought in other bytes, and those passed the gate.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    fn end_tag(&mut self) {
        if self.in_tag {
            self.in_tag = false;
            self.out.push(b'>');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_nest_and_empty_ones_close_themselves() {
        let mut xml = Xml::new();
        xml.start("message")
            .attr("to", "a'b<c>\"&")
            .attr_opt("id", None)
            .attr_opt("type", Some("chat"));
        xml.element("body", None, "1 < 2\r").start("x").attr("xmlns", "u").text("").raw(b"").end();
        xml.raw(b"<p/>").end();
        assert_eq!(
            xml.into_string(),
            "<message to='a&apos;b&lt;c&gt;&quot;&amp;' type='chat'><body>1 &lt; 2&#xD;</body>\
             <x xmlns='u'/><p/></message>"
        );
    }
}
