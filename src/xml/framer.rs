//! Cuts top-level pieces out of a growing buffer (RFC 6120 §4.2 and §11).
//!
//! The framer knows just enough XML to find where a top-level element ends, and refuses early what it must
//! never wait for: comments, processing instructions, DTDs, other encodings, and elements that are too
//! large or too deep while still incomplete. All other rules of well-formedness are the gate's. Each idle
//! session has a framer, so it is small.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use smallvec::SmallVec;

use super::error::XmlError;
use super::names::{is_space, may_start_name};

/// The bounds of one top-level element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramerLimits {
    /// Maximum size of one top-level element, of the stream header, or of the XML declaration.
    pub bytes_max: usize,
    /// Maximum nesting inside one top-level element, that element included.
    pub depth_max: usize,
}

/// A piece that the framer cut off the front of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The open tag of the root, `<stream:stream …>`, without the XML declaration.
    Open(Bytes),
    /// One complete top-level element.
    Element(Bytes),
    /// The number of bytes of white space that were dropped between elements. If the input comes in parts,
    /// one run of white space may be reported in several of these.
    Whitespace(usize),
    /// The root's end tag. Bytes after it are ignored.
    Close,
}

/// A resumable scanner; the bytes of an unfinished piece stay in the caller's buffer.
#[derive(Debug, Clone)]
pub struct Framer {
    bytes_max: u32,
    depth_max: u16,
    /// The number of bytes at the front of the buffer that belong to the unfinished piece and were scanned.
    scanned: u32,
    depth: u16,
    state: State,
    phase: Phase,
    /// The root's name, by which its end tag is recognised; stored as text if it is not one of the usual
    /// two.
    root: Root,
    /// The open elements of the unfinished piece, while it waits for more bytes.
    tags: Option<Box<Tags>>,
}

/// Where names begin in the buffer. They let the framer refuse a wrong end tag at once: waiting for the
/// right one would leave the peer without an answer (RFC 6120 §4.9.3.13).
#[derive(Debug, Clone, Default)]
struct Tags {
    open: SmallVec<[u32; 14]>,
    end: u32,
}

/// The phase of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No byte was seen: only here may an XML declaration come.
    Fresh,
    /// Like `Fresh`, but after a restart, where white space may still belong to the previous stream:
    /// go-xmpp ends each SASL element with a line feed, although RFC 6120 §6.3.5 forbids it.
    Again,
    /// The header is expected, a declaration no longer.
    Header,
    /// Between or in top-level elements.
    Open,
    /// After the end tag or an error.
    Closed,
}

/// The position of the next byte inside markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// After `<`.
    Less,
    /// In an open tag, outside quotes.
    Tag,
    /// After `/` in an open tag: only `>` may follow.
    Slash,
    Apos,
    Quot,
    End,
    /// After `<!`.
    Bang,
    /// After this many bytes of `<![CDATA[`.
    CdataOpen(u8),
    Cdata,
    /// After `<?` of what may be the XML declaration.
    Declaration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    Prefixed,
    Bare,
    Other(Box<[u8]>),
}

/// The result of scanning one markup construct.
enum Cut {
    More,
    Declaration,
    Open,
    Element,
    Close,
}

impl Framer {
    /// A framer that expects a stream header.
    pub fn new(limits: FramerLimits) -> Self {
        let mut framer = Self {
            bytes_max: 0,
            depth_max: 0,
            scanned: 0,
            depth: 0,
            state: State::Text,
            phase: Phase::Fresh,
            root: Root::Prefixed,
            tags: None,
        };
        framer.set_limits(limits);
        framer
    }

    /// Sets other bounds from the next call on (authentication raises them).
    pub fn set_limits(&mut self, limits: FramerLimits) {
        self.bytes_max = u32::try_from(limits.bytes_max).unwrap_or(u32::MAX);
        self.depth_max = u16::try_from(limits.depth_max).unwrap_or(u16::MAX);
    }

    /// Restarts the stream (RFC 6120 §4.3.3): a new header is expected. Bytes that the peer sent early stay
    /// in the buffer and are read as the new stream.
    pub fn restart(&mut self) {
        self.scanned = 0;
        self.depth = 0;
        self.state = State::Text;
        self.phase = Phase::Again;
        self.root = Root::Prefixed;
        self.tags = None;
    }

    /// Whether no partial piece is buffered. If so, an idle session may drop its buffer.
    pub fn is_between(&self) -> bool {
        self.scanned == 0
    }

    /// Cuts off the next piece, or returns `None` when more bytes are needed. After an error or the end tag
    /// there are no further pieces, and all input is dropped.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Piece>, XmlError> {
        if self.phase == Phase::Closed {
            buf.clear();
            return Ok(None);
        }
        let piece = self.cut(buf);
        if matches!(piece, Err(_) | Ok(Some(Piece::Close))) {
            self.phase = Phase::Closed;
            self.scanned = 0;
        }
        piece
    }

    fn cut(&mut self, buf: &mut BytesMut) -> Result<Option<Piece>, XmlError> {
        loop {
            if self.scanned == 0 {
                let spaces = buf.iter().take_while(|&&b| is_space(b)).count();
                if spaces > 0 {
                    buf.advance(spaces);
                    if self.phase == Phase::Fresh {
                        self.phase = Phase::Header;
                    }
                    return Ok(Some(Piece::Whitespace(spaces)));
                }
                let Some(&first) = buf.first() else { return Ok(None) };
                self.begin(first)?;
            }
            // Most pieces arrive whole: the tags of these never leave the stack.
            let mut tags = self.tags.take().map_or_else(Tags::default, |tags| *tags);
            let cut = self.scan(buf, &mut tags)?;
            let length = self.scanned as usize;
            if matches!(cut, Cut::More) {
                self.tags = (!tags.open.is_empty()).then(|| Box::new(tags));
                return Ok(None);
            }
            self.scanned = 0;
            self.state = State::Text;
            match cut {
                Cut::More => return Ok(None),
                Cut::Declaration => {
                    check_declaration(&buf.split_to(length))?;
                    self.phase = Phase::Header;
                }
                Cut::Open => {
                    let tag = buf.split_to(length).freeze();
                    self.root = Root::of(&tag);
                    self.phase = Phase::Open;
                    return Ok(Some(Piece::Open(tag)));
                }
                Cut::Element => return Ok(Some(Piece::Element(cut_out(buf, length).freeze()))),
                Cut::Close => {
                    self.root.check_end(&buf.split_to(length))?;
                    return Ok(Some(Piece::Close));
                }
            }
        }
    }

    /// Checks the first byte of a piece, which must open a tag.
    fn begin(&mut self, first: u8) -> Result<(), XmlError> {
        if first == b'<' {
            self.scanned = 1;
            self.state = State::Less;
            return Ok(());
        }
        if self.phase == Phase::Open {
            return Err(XmlError::NotWellFormed("text between elements"));
        }
        // RFC 6120 §11.6: UTF-8 only. 0xFE and 0xFF begin UTF-16's byte order marks; a NUL means UTF-16 or
        // UTF-32 without one. UTF-8's own mark is treated like any other character.
        if matches!(first, 0xFE | 0xFF | 0) {
            return Err(XmlError::UnsupportedEncoding("only UTF-8"));
        }
        Err(XmlError::NotWellFormed("text before the stream header"))
    }

    /// Scans from where the last call stopped, never beyond the limit in bytes, so that the result does not
    /// depend on how the input was split.
    fn scan(&mut self, buf: &[u8], tags: &mut Tags) -> Result<Cut, XmlError> {
        let max = self.bytes_max as usize;
        let seen = buf.get(..buf.len().min(max)).unwrap_or_default();
        while let Some(rest) = seen.get(self.scanned as usize..).filter(|rest| !rest.is_empty()) {
            let (used, cut) = self.step(seen, rest, tags)?;
            self.scanned += u32::try_from(used).unwrap_or(u32::MAX);
            if !matches!(cut, Cut::More) {
                return Ok(cut);
            }
        }
        if buf.len() > max { Err(XmlError::TooLarge { max }) } else { Ok(Cut::More) }
    }

    /// Consumes at least one byte of `rest`, the part of `seen` that was not scanned yet.
    fn step(
        &mut self,
        seen: &[u8],
        rest: &[u8],
        tags: &mut Tags,
    ) -> Result<(usize, Cut), XmlError> {
        match self.state {
            State::Text => Ok((self.until(b'<', rest, State::Less), Cut::More)),
            State::Apos => Ok((self.until(b'\'', rest, State::Tag), Cut::More)),
            State::Quot => Ok((self.until(b'"', rest, State::Tag), Cut::More)),
            State::Less => self.less(rest, tags),
            State::Tag => self.tag(seen, rest, tags),
            State::Slash => match rest.first() {
                Some(b'>') => {
                    tags.open.pop();
                    self.element_end(1)
                }
                _ => Err(XmlError::NotWellFormed("stray / in a tag")),
            },
            State::End => match memchr(b'>', rest) {
                Some(at) if self.depth == 0 => Ok((at + 1, Cut::Close)),
                Some(at) => {
                    check_names(seen, self.scanned as usize + at, tags)?;
                    self.element_end(at + 1)
                }
                None => Ok((rest.len(), Cut::More)),
            },
            State::Bang => self.bang(rest),
            State::CdataOpen(matched) => self.cdata_open(matched, rest),
            State::Cdata => self.cdata(seen, rest),
            State::Declaration => declaration(seen, rest),
        }
    }

    /// Skips to the end of the next `byte`; if it is found, the state becomes `next`.
    fn until(&mut self, byte: u8, rest: &[u8], next: State) -> usize {
        match memchr(byte, rest) {
            Some(at) => {
                self.state = next;
                at + 1
            }
            None => rest.len(),
        }
    }

    /// Determines the kind of markup from the byte after `<`.
    fn less(&mut self, rest: &[u8], tags: &mut Tags) -> Result<(usize, Cut), XmlError> {
        let here = self.scanned;
        self.state = match rest.first() {
            Some(b'/') if self.phase == Phase::Open => {
                tags.end = here + 1;
                State::End
            }
            Some(b'!') => State::Bang,
            Some(b'?') if matches!(self.phase, Phase::Fresh | Phase::Again) => State::Declaration,
            Some(b'?') => {
                return Err(XmlError::RestrictedXml("processing instruction"));
            }
            Some(0) => {
                return Err(XmlError::UnsupportedEncoding("only UTF-8"));
            }
            Some(&byte) if may_start_name(byte) => {
                if self.depth >= self.depth_max {
                    return Err(XmlError::TooDeep { max: self.depth_max as usize });
                }
                self.depth += 1;
                if self.phase == Phase::Open {
                    tags.open.push(here);
                }
                State::Tag
            }
            _ => return Err(XmlError::NotWellFormed("no name after <")),
        };
        Ok((1, Cut::More))
    }

    fn tag(&mut self, seen: &[u8], rest: &[u8], tags: &Tags) -> Result<(usize, Cut), XmlError> {
        // Names and the space between attributes are short: a plain loop beats memchr.
        let Some(at) = rest.iter().position(|b| matches!(b, b'>' | b'/' | b'\'' | b'"' | b'<'))
        else {
            return Ok((rest.len(), Cut::More));
        };
        match rest.get(at) {
            Some(b'\'') => self.state = State::Apos,
            Some(b'"') => self.state = State::Quot,
            Some(b'/') => self.state = State::Slash,
            Some(b'>') if self.phase != Phase::Open => {
                self.depth = 0;
                return Ok((at + 1, Cut::Open));
            }
            Some(b'>') => {
                self.check_header(seen, tags)?;
                self.state = State::Text;
            }
            _ => return Err(XmlError::NotWellFormed("< in a tag")),
        }
        Ok((at + 1, Cut::More))
    }

    /// Refuses a second header in an open stream, which would be an element that never ends.
    fn check_header(&self, seen: &[u8], tags: &Tags) -> Result<(), XmlError> {
        match tags.open.first() {
            Some(open) if self.depth == 1 && name_at(seen, *open) == self.root.name() => {
                Err(XmlError::BadFormat("a second stream header"))
            }
            _ => Ok(()),
        }
    }

    fn element_end(&mut self, used: usize) -> Result<(usize, Cut), XmlError> {
        if self.phase != Phase::Open {
            return Err(XmlError::NotWellFormed("stream header without content"));
        }
        self.depth = self.depth.saturating_sub(1);
        self.state = State::Text;
        Ok((used, if self.depth == 0 { Cut::Element } else { Cut::More }))
    }

    fn bang(&mut self, rest: &[u8]) -> Result<(usize, Cut), XmlError> {
        if rest.first() != Some(&b'[') {
            return Err(XmlError::RestrictedXml("comment or document type"));
        }
        if self.depth == 0 {
            return Err(XmlError::NotWellFormed("CDATA between elements"));
        }
        self.state = State::CdataOpen(3);
        Ok((1, Cut::More))
    }

    fn cdata_open(&mut self, matched: u8, rest: &[u8]) -> Result<(usize, Cut), XmlError> {
        if rest.first() != CDATA_OPEN.get(matched as usize) {
            return Err(XmlError::NotWellFormed("broken CDATA section"));
        }
        let matched = matched + 1;
        self.state = if matched as usize == CDATA_OPEN.len() {
            State::Cdata
        } else {
            State::CdataOpen(matched)
        };
        Ok((1, Cut::More))
    }

    fn cdata(&mut self, seen: &[u8], rest: &[u8]) -> Result<(usize, Cut), XmlError> {
        let used = memchr(b'>', rest).map_or(rest.len(), |at| at + 1);
        // `<![CDATA[` itself does not end in `]`, so looking back stays inside the section.
        if ends_with(seen, self.scanned as usize + used, b"]]>") {
            self.state = State::Text;
        }
        Ok((used, Cut::More))
    }
}

fn declaration(seen: &[u8], rest: &[u8]) -> Result<(usize, Cut), XmlError> {
    let used = memchr(b'>', rest).map_or(rest.len(), |at| at + 1);
    let end = seen.len() - rest.len() + used;
    let done = ends_with(seen, end, b"?>") && end > DECLARATION_OPEN.len();
    Ok((used, if done { Cut::Declaration } else { Cut::More }))
}

fn ends_with(seen: &[u8], end: usize, tail: &[u8]) -> bool {
    seen.get(..end).is_some_and(|seen| seen.ends_with(tail))
}

/// The end tag whose `>` is at `close` must name the innermost open element. The gate decides which bytes
/// may form a name; here it ends at white space, `/` or `>`.
fn check_names(seen: &[u8], close: usize, tags: &mut Tags) -> Result<(), XmlError> {
    let Some(open) = tags.open.pop() else { return Ok(()) };
    let seen = seen.get(..close).unwrap_or_default();
    if name_at(seen, open) == name_at(seen, tags.end) {
        return Ok(());
    }
    Err(XmlError::NotWellFormed("an end tag that does not match"))
}

/// The bytes of the name that begins at this offset.
fn name_at(seen: &[u8], from: u32) -> &[u8] {
    let bytes = seen.get(from as usize..).unwrap_or_default();
    let ends = |byte: &u8| is_space(*byte) || matches!(byte, b'/' | b'>');
    let length = bytes.iter().position(ends).unwrap_or(bytes.len());
    bytes.get(..length).unwrap_or_default()
}

impl Root {
    fn of(tag: &[u8]) -> Self {
        let name = tag.get(1..).unwrap_or_default();
        let end = name.iter().position(|&b| is_space(b) || b == b'>').unwrap_or(name.len());
        match name.get(..end).unwrap_or_default() {
            b"stream:stream" => Self::Prefixed,
            b"stream" => Self::Bare,
            other => Self::Other(other.into()),
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Self::Prefixed => b"stream:stream",
            Self::Bare => b"stream",
            Self::Other(name) => name,
        }
    }

    /// `</stream:stream >` ends `<stream:stream>`, and nothing else does.
    fn check_end(&self, tag: &[u8]) -> Result<(), XmlError> {
        let rest = tag.strip_prefix(b"</").and_then(|tag| tag.strip_prefix(self.name()));
        let rest = rest.and_then(|rest| rest.strip_suffix(b">"));
        match rest {
            Some(rest) if rest.iter().all(|&b| is_space(b)) => Ok(()),
            _ => Err(XmlError::NotWellFormed("end tag does not match the stream header")),
        }
    }
}

/// RFC 6120 §11.5, §11.6 and §11.8: XML 1.0 in UTF-8; `standalone` has no meaning.
fn check_declaration(raw: &[u8]) -> Result<(), XmlError> {
    const BROKEN: XmlError = XmlError::NotWellFormed("broken XML declaration");
    let body = raw.strip_prefix(DECLARATION_OPEN).and_then(|raw| raw.strip_suffix(b"?>"));
    let Some(mut body) = body.filter(|body| body.first().is_some_and(|&b| is_space(b))) else {
        return Err(XmlError::RestrictedXml("processing instruction"));
    };
    let version = pseudo_attribute(&mut body, b"version").ok_or(BROKEN)?;
    if version != b"1.0" {
        return Err(XmlError::UnsupportedEncoding("only XML 1.0"));
    }
    if let Some(encoding) = pseudo_attribute(&mut body, b"encoding")
        && !encoding.eq_ignore_ascii_case(b"UTF-8")
    {
        return Err(XmlError::UnsupportedEncoding("only UTF-8"));
    }
    if let Some(standalone) = pseudo_attribute(&mut body, b"standalone")
        && !matches!(standalone, b"yes" | b"no")
    {
        return Err(BROKEN);
    }
    if body.iter().all(|&b| is_space(b)) { Ok(()) } else { Err(BROKEN) }
}

/// Takes ` name = 'value'` off the front; leaves the body unchanged if it does not begin with that.
fn pseudo_attribute<'a>(body: &mut &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = body.trim_ascii_start();
    if rest.len() == body.len() {
        return None;
    }
    let rest = rest.strip_prefix(name)?.trim_ascii_start();
    let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
    let (&quote, rest) = rest.split_first()?;
    if !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let end = memchr(quote, rest)?;
    *body = rest.get(end + 1..)?;
    rest.get(..end)
}

const CDATA_OPEN: &[u8] = b"<![CDATA[";
const DECLARATION_OPEN: &[u8] = b"<?xml";

/// Takes the first bytes of the buffer. An element may be held for long (in an outbox, as a session's
/// presence), and a slice holds everything that was read with it. A small element is therefore copied, so
/// that the memory held for a session is what the server counts.
pub fn cut_out(buf: &mut BytesMut, length: usize) -> BytesMut {
    if length >= SHARED_MIN {
        return buf.split_to(length);
    }
    let piece = BytesMut::from(buf.get(..length).unwrap_or_default());
    buf.advance(length);
    piece
}

/// Minimum size of an element that stays a slice of the buffer, which is at most a few times as large.
const SHARED_MIN: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FramerLimits = FramerLimits { bytes_max: 200, depth_max: 4 };

    #[test]
    fn a_small_element_does_not_keep_what_was_read_with_it() {
        let limits = FramerLimits { bytes_max: 300_000, depth_max: 4 };
        let mut framer = Framer::new(limits);
        let long = format!("<stream><a b='{}'/><a/>", "x".repeat(SHARED_MIN));
        let mut buf = BytesMut::from(long.as_str());
        let mut whole = || framer.next(&mut buf).unwrap();
        let (_, large, small) = (whole(), whole(), whole());
        let alone = |piece| match piece {
            Some(Piece::Element(bytes)) => Bytes::is_unique(&bytes),
            other => panic!("{other:?}"),
        };
        // The large one is a slice, which may hold others; only the large one is expensive to copy.
        assert_eq!((alone(large), alone(small)), (false, true));
    }

    /// The result: pieces, with runs of white space joined, and the error if any.
    type Outcome = (Vec<Piece>, Option<XmlError>);

    /// Feeds the input in chunks and takes all pieces.
    fn run<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut framer = Framer::new(LIMITS);
        let mut buf = BytesMut::new();
        let mut pieces = Vec::new();
        for chunk in chunks {
            buf.extend_from_slice(chunk);
            loop {
                match framer.next(&mut buf) {
                    Ok(Some(Piece::Whitespace(n))) => match pieces.last_mut() {
                        Some(Piece::Whitespace(sum)) => *sum += n,
                        _ => pieces.push(Piece::Whitespace(n)),
                    },
                    Ok(Some(piece)) => pieces.push(piece),
                    Ok(None) => break,
                    Err(error) => return (pieces, Some(error)),
                }
            }
        }
        (pieces, None)
    }

    fn whole(input: &[u8]) -> Outcome {
        let outcome = run([input]);
        for size in [1, 2, 3, 7] {
            assert_eq!(run(input.chunks(size)), outcome, "in chunks of {size}: {input:?}");
        }
        outcome
    }

    fn open(tag: &'static str) -> Piece {
        Piece::Open(Bytes::from_static(tag.as_bytes()))
    }

    fn element(raw: &'static str) -> Piece {
        Piece::Element(Bytes::from_static(raw.as_bytes()))
    }

    #[test]
    fn a_stream_is_cut_into_its_pieces() {
        let input = "<?xml version='1.0' encoding='utf-8' ?>\n<stream:stream a='>' b=\"/>\">\
            <a/> \r\n<b x='</b>' y=\"<\"><c/>text > <![CDATA[</b>]]]>]]></b >\t</stream:stream >junk";
        let (pieces, error) = whole(input.as_bytes());
        assert_eq!(error, None);
        assert_eq!(
            pieces,
            [
                Piece::Whitespace(1),
                open("<stream:stream a='>' b=\"/>\">"),
                element("<a/>"),
                Piece::Whitespace(3),
                element("<b x='</b>' y=\"<\"><c/>text > <![CDATA[</b>]]]>]]></b >"),
                Piece::Whitespace(1),
                Piece::Close,
            ]
        );
    }

    #[test]
    fn what_must_not_be_waited_for_is_refused_at_once() {
        use XmlError as E;
        let cases: &[(&str, &str)] = &[
            ("not well-formed", "x"),
            ("not well-formed", "<a/>"),
            ("not well-formed", "</a>"),
            ("not well-formed", "<>"),
            ("not well-formed", "< "),
            ("not well-formed", "<1"),
            ("not well-formed", "<s>x"),
            ("not well-formed", "<s>\u{FEFF}"),
            ("not well-formed", "<s><![CDATA[x]]>"),
            ("not well-formed", "<s><![C"),
            ("not well-formed", "<s><a><![CDAT["),
            ("not well-formed", "<s><a><>"),
            ("not well-formed", "<s><a/ >"),
            ("not well-formed", "<s><a <"),
            ("not well-formed", "<s><a></a>x"),
            ("not well-formed", "<s><a><b></a>"),
            ("not well-formed", "<s><a><b/></b>"),
            ("not well-formed", "<s><a><b x='</b>'></c >"),
            ("bad format", "<s><s x='1'>"),
            ("not well-formed", "<s></t>"),
            ("not well-formed", "<s></ss>"),
            ("not well-formed", "<s></s x>"),
            ("not well-formed", "<s></ s>"),
            ("not well-formed", "<?xml?>"),
            ("not well-formed", "<?xml ?>"),
            ("not well-formed", "<?xml encoding='utf-8'?>"),
            ("not well-formed", "<?xml version='1.0'x?>"),
            ("not well-formed", "<?xml version='1.0'encoding='utf-8'?>"),
            ("not well-formed", "<?xml version='1.0' encoding='utf-8' version='1.0'?>"),
            ("not well-formed", "<?xml version='1.0' standalone='x'?>"),
            ("restricted XML", "<!--"),
            ("restricted XML", "<!DOCTYPE"),
            ("restricted XML", "<?php ?>"),
            ("restricted XML", "<?xmlx version='1.0'?>"),
            ("restricted XML", " <?xml version='1.0'?>"),
            ("restricted XML", "<?xml version='1.0'?><?xml version='1.0'?>"),
            ("restricted XML", "<s><!-"),
            ("restricted XML", "<s><?xml"),
            ("restricted XML", "<s><a><!D"),
            ("restricted XML", "<s><a><?x"),
            ("not well-formed", "\u{FEFF}<s>"),
            ("unsupported encoding", "<\0s\0"),
            ("unsupported encoding", "\0<\0s"),
            ("unsupported encoding", "<?xml version='1.1'?>"),
            ("unsupported encoding", "<?xml version='1.0' encoding='UTF-16'?>"),
            ("unsupported encoding", "<?xml version='1.0' encoding='iso-8859-1'?>"),
        ];
        for (condition, input) in cases {
            let (_, error) = whole(input.as_bytes());
            let text = error.map(|e| e.to_string()).unwrap_or_default();
            let expected = match *input {
                "<?xml?>" => "restricted XML", // a declaration must have its space
                _ => *condition,
            };
            assert!(text.starts_with(expected), "{input:?}: {text}");
        }
        for utf16 in [&b"\xFE\xFF\0<"[..], b"\xFF\xFE<\0"] {
            assert!(matches!(whole(utf16).1, Some(E::UnsupportedEncoding(_))));
        }
    }

    #[test]
    fn declarations_that_say_the_same_are_taken() {
        for input in [
            "<?xml version='1.0'?><s>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s>",
            "<?xml  version = '1.0'\nencoding='utf-8' standalone='no' ?><s>",
            "<s>",
            " \n<s>",
        ] {
            let (pieces, error) = whole(input.as_bytes());
            assert_eq!((pieces.last(), error), (Some(&open("<s>")), None), "{input}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded_before_the_element_is_complete() {
        let fits = format!("<s><a b='{}'/>", "x".repeat(LIMITS.bytes_max - 9));
        assert_eq!(whole(fits.as_bytes()).0.len(), 2);
        let large = format!("<s><a b='{}'/>", "x".repeat(LIMITS.bytes_max - 8));
        let error = Some(XmlError::TooLarge { max: LIMITS.bytes_max });
        assert_eq!(whole(large.as_bytes()).1, error);
        assert_eq!(whole(b"<").1, None);
        assert_eq!(whole(format!("<s a='{}", "x".repeat(200)).as_bytes()).1, error);
        assert_eq!(whole(format!("<?xml {}", " ".repeat(200)).as_bytes()).1, error);
        assert_eq!(whole(b"<s><a><b><c><d/></c></b></a>").1, None);
        let error = Some(XmlError::TooDeep { max: LIMITS.depth_max });
        assert_eq!(whole(b"<s><a><b><c><d><e").1, error);
    }

    #[test]
    fn a_restart_awaits_a_new_header_in_the_bytes_that_are_there() {
        let mut framer = Framer::new(LIMITS);
        let mut buf = BytesMut::from("<s><auth/>\n<?xml version='1.0'?><s x=''><iq");
        assert_eq!(framer.next(&mut buf), Ok(Some(open("<s>"))));
        assert_eq!(framer.next(&mut buf), Ok(Some(element("<auth/>"))));
        assert!(framer.is_between());
        assert_eq!(framer.next(&mut buf), Ok(Some(Piece::Whitespace(1))));
        framer.restart();
        assert_eq!(framer.next(&mut buf), Ok(Some(open("<s x=''>"))));
        assert_eq!(framer.next(&mut buf), Ok(None));
        assert!(!framer.is_between());
        assert_eq!(&buf[..], b"<iq");
    }

    #[test]
    fn white_space_of_the_stream_before_may_precede_a_restarted_one() {
        let mut framer = Framer::new(LIMITS);
        let mut buf = BytesMut::from("<s><auth/>");
        assert_eq!(framer.next(&mut buf), Ok(Some(open("<s>"))));
        assert_eq!(framer.next(&mut buf), Ok(Some(element("<auth/>"))));
        framer.restart();
        buf.extend_from_slice(b"\n");
        assert_eq!(framer.next(&mut buf), Ok(Some(Piece::Whitespace(1))));
        buf.extend_from_slice(b"<?xml version='1.0'?><s x=''>");
        assert_eq!(framer.next(&mut buf), Ok(Some(open("<s x=''>"))));
        // In a first stream there is none before it (XML 1.0 §2.8).
        let mut buf = BytesMut::from("\n<?xml version='1.0'?><s>");
        let mut first = Framer::new(LIMITS);
        assert_eq!(first.next(&mut buf), Ok(Some(Piece::Whitespace(1))));
        assert!(first.next(&mut buf).is_err());
    }

    #[test]
    fn nothing_comes_after_the_end_or_an_error() {
        let mut framer = Framer::new(LIMITS);
        let mut buf = BytesMut::from("<s><!--x--><a/>");
        assert_eq!(framer.next(&mut buf), Ok(Some(open("<s>"))));
        assert!(framer.next(&mut buf).is_err());
        assert_eq!(framer.next(&mut buf), Ok(None));
        assert!(buf.is_empty());
    }

    #[test]
    fn an_idle_framer_is_small() {
        assert!(size_of::<Framer>() <= 48, "{}", size_of::<Framer>());
    }
}
