//! Cuts what a server sends into top-level pieces by scanning bytes: no tree, no allocation.

use memchr::{memchr, memchr3, memmem};
use std::ops::Range;

/// Where the scan of a buffer stands. It trusts its peer to send well-formed XML: a server that does
/// not makes the bench fail elsewhere.
#[derive(Debug, Default)]
pub struct Framer {
    at: usize,
    start: usize,
    depth: usize,
}

impl Framer {
    /// The next whole piece of `buf`: a stanza, a stream's opening or closing tag, or a declaration.
    pub fn next(&mut self, buf: &[u8]) -> Option<Range<usize>> {
        loop {
            let open = self.at + memchr(b'<', buf.get(self.at..)?)?;
            let close = tag_end(buf, open + 1)?;
            let tag = buf.get(open..=close)?;
            if self.depth == 0 {
                self.start = open;
            }
            self.at = close + 1;
            let single = tag.ends_with(b"/>") || tag.starts_with(b"<?") || opens_stream(tag);
            if tag.starts_with(b"</") {
                self.depth = self.depth.saturating_sub(1);
            } else if !single {
                self.depth += 1;
            }
            if self.depth == 0 {
                return Some(self.start..self.at);
            }
        }
    }

    /// So many bytes of a buffer of `len`, for a protocol that is no XML.
    pub fn take_bytes(&mut self, count: usize, len: usize) -> Option<Range<usize>> {
        let from = self.at;
        (from + count <= len).then(|| {
            self.at += count;
            from..self.at
        })
    }

    /// The first byte that is still needed.
    pub fn needed(&self) -> usize {
        if self.depth == 0 { self.at } else { self.start }
    }

    /// The bytes before [`Framer::needed`] are gone.
    pub fn shift(&mut self) {
        let gone = self.needed();
        self.at -= gone;
        self.start = self.start.saturating_sub(gone);
    }
}

/// `>` may stand inside of an attribute's value.
fn tag_end(buf: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + memchr3(b'>', b'\'', b'"', buf.get(at..)?)?;
        match *buf.get(found)? {
            b'>' => return Some(found),
            quote => at = found + 2 + memchr(quote, buf.get(found + 1..)?)?,
        }
    }
}

fn opens_stream(tag: &[u8]) -> bool {
    tag.starts_with(b"<stream:stream")
}

/// True when the piece is an element of this name.
pub fn is(piece: &[u8], name: &str) -> bool {
    let rest = piece.strip_prefix(b"<").and_then(|rest| rest.strip_prefix(name.as_bytes()));
    rest.and_then(<[u8]>::first).is_some_and(|end| b" />\n\t\r".contains(end))
}

/// The value of an attribute of the piece's first tag, as it is written.
pub fn attr<'a>(piece: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let tag = piece.get(..tag_end(piece, 1)?)?;
    let mut at = 1;
    loop {
        let equals = at + memchr(b'=', tag.get(at..)?)?;
        let quote = equals + 1 + tag.get(equals + 1..)?.iter().position(|b| b"'\"".contains(b))?;
        let end = quote + 1 + memchr(*tag.get(quote)?, tag.get(quote + 1..)?)?;
        let before = tag.get(at..equals)?.trim_ascii_end();
        let from = before.iter().rposition(u8::is_ascii_whitespace).map_or(0, |space| space + 1);
        if before.get(from..)? == name.as_bytes() {
            return tag.get(quote + 1..end);
        }
        at = end + 1;
    }
}

/// The text between the first `<name>` or `<name …>` and the next `</name>`.
pub fn text<'a>(piece: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let open = memmem::find(piece, format!("<{name}").as_bytes())?;
    let from = tag_end(piece, open + 1)? + 1;
    let rest = piece.get(from..)?;
    rest.get(..memchr(b'<', rest)?)
}

/// True when these bytes are somewhere in the piece.
pub fn has(piece: &[u8], what: &str) -> bool {
    memmem::find(piece, what.as_bytes()).is_some()
}

/// Answers a request of the server's, as every client answers a ping. True when there was one.
pub fn answer_ping(piece: &[u8], out: &mut Vec<u8>) -> bool {
    let (true, Some(b"get"), Some(id)) = (is(piece, "iq"), attr(piece, "type"), attr(piece, "id"))
    else {
        return false;
    };
    let to = attr(piece, "from").map(|from| [b" to='", from, b"'"].concat()).unwrap_or_default();
    out.extend_from_slice(&[b"<iq type='result' id='", id, b"'", &to, b"/>"].concat());
    true
}
