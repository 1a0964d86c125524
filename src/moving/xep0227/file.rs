//! One XML file, read tag by tag in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::modules::api::Tag;
use crate::moving::piece::{PART_BYTES_MAX, PART_DEPTH_MAX, SourceError};
use crate::xml::escape::{decode_attr, escape_attr};

/// What is read of a file next.
#[derive(Debug)]
pub(super) enum Mark {
    /// A tag was opened.
    Open(Opened),
    /// The last open tag is closed.
    Close,
    /// The file is at its end.
    End,
}

/// An open tag.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) tag: Tag,
    /// As it is written, without `<` and `>`.
    raw: String,
    /// `<tag/>`
    pub(super) is_empty: bool,
    /// Which prefixes it declares.
    declares: Vec<String>,
}

/// A whole element, or why it is left out.
pub(super) type Whole = Result<Vec<u8>, String>;

/// A file that is being read.
pub(super) struct XmlFile {
    reader: Reader<Metered>,
    buffer: Vec<u8>,
    pub(super) path: PathBuf,
    size: u64,
    /// Prefix, namespace and depth of what is declared.
    scope: Vec<(String, String, usize)>,
    depth: usize,
}

impl XmlFile {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |what: String| SourceError { place: path.display().to_string(), what };
        // Whoever opens a pipe waits for who writes into it.
        let is_file = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.is_file();
        if !is_file {
            return Err(failed("this is no file".to_owned()));
        }
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let size = file.metadata().map_or(0, |data| data.len());
        let reader = Reader::from_reader(Metered::new(file));
        let (buffer, scope) = (Vec::new(), Vec::new());
        Ok(Self { reader, buffer, path: path.to_owned(), size, scope, depth: 0 })
    }

    /// The file and the line.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.reader.get_ref().lines + 1)
    }

    pub(super) fn progress(&self) -> Option<u32> {
        let done = self.reader.buffer_position().saturating_mul(1_000).checked_div(self.size)?;
        u32::try_from(done).ok().map(|done| done.min(1_000))
    }

    fn error(&self, what: impl Into<String>) -> SourceError {
        SourceError { place: self.place(), what: what.into() }
    }

    /// The next tag; what is between tags is passed over.
    pub(super) fn next(&mut self) -> Result<Mark, SourceError> {
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            self.reader.get_mut().left = TOKEN_MAX;
            let event = match self.reader.read_event_into(&mut buffer) {
                Ok(event) => event,
                Err(error) => return Err(self.error(error.to_string())),
            };
            let mark = match event {
                Event::Start(tag) => Some(Mark::Open(opened(&tag, false))),
                Event::Empty(tag) => Some(Mark::Open(opened(&tag, true))),
                Event::End(_) => Some(Mark::Close),
                Event::Eof => Some(Mark::End),
                Event::DocType(_) => return Err(self.error(DOCTYPE)),
                _ => None,
            };
            self.buffer = buffer;
            match mark {
                Some(Mark::Open(mut opened)) => {
                    self.enter(&mut opened)?;
                    return Ok(Mark::Open(opened));
                }
                Some(Mark::Close) => {
                    self.leave();
                    return Ok(Mark::Close);
                }
                Some(Mark::End) if self.depth > 0 => {
                    return Err(self.error("the file ends within an element"));
                }
                Some(Mark::End) => return Ok(Mark::End),
                None => {}
            }
        }
    }

    fn enter(&mut self, opened: &mut Opened) -> Result<(), SourceError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("elements are nested over {DEPTH_MAX} deep")));
        }
        let depth = self.depth;
        let attrs = std::mem::take(&mut opened.tag.attrs);
        for (name, value) in attrs {
            match name.strip_prefix("xmlns") {
                Some("") => self.scope.push((String::new(), value, depth)),
                Some(prefix) if prefix.starts_with(':') => {
                    self.scope.push((prefix.trim_start_matches(':').to_owned(), value, depth));
                }
                _ => opened.tag.attrs.push((name, value)),
            }
        }
        let declared = self.scope.iter().filter(|(.., at)| *at == depth);
        opened.declares = declared.map(|(prefix, ..)| prefix.clone()).collect();
        let (prefix, local) = match opened.tag.name.split_once(':') {
            Some((prefix, local)) => (prefix.to_owned(), local.to_owned()),
            None => (String::new(), opened.tag.name.clone()),
        };
        opened.tag.ns = self.bound(&prefix).unwrap_or_default().to_owned();
        opened.tag.name = local;
        if opened.is_empty {
            self.leave();
        }
        Ok(())
    }

    fn leave(&mut self) {
        let depth = self.depth;
        self.scope.retain(|(.., at)| *at < depth);
        self.depth = self.depth.saturating_sub(1);
    }

    fn bound(&self, prefix: &str) -> Option<&str> {
        let found = self.scope.iter().rev().find(|(known, ..)| known == prefix);
        found.map(|(_, ns, _)| ns.as_str())
    }

    /// The rest of an element that was just opened, with its open tag and all declarations that it needs.
    pub(super) fn whole(&mut self, opened: &Opened) -> Result<Whole, SourceError> {
        let mut text = format!("<{}", opened.raw);
        let name_end = text.find([' ', '\t', '\r', '\n', '/']).unwrap_or(text.len());
        if opened.is_empty {
            text.push_str("/>");
        } else {
            text.push('>');
            if let Err(why) = self.content(&mut text)? {
                return Ok(Err(why));
            }
        }
        let mut declarations = String::new();
        let mut known: Vec<&str> = opened.declares.iter().map(String::as_str).collect();
        let default = (String::new(), String::new(), 0);
        for (prefix, ns, _) in self.scope.iter().rev().chain([&default]) {
            let is_used = prefix.is_empty() || text.contains(&format!("{prefix}:"));
            if known.contains(&prefix.as_str()) || !is_used {
                continue;
            }
            let colon = if prefix.is_empty() { "" } else { ":" };
            declarations.push_str(&format!(" xmlns{colon}{prefix}='{}'", escape_attr(ns)));
            known.push(prefix);
        }
        text.insert_str(name_end, &declarations);
        Ok(Ok(text.into_bytes()))
    }

    /// Everything up to the end tag of the element that is open. What is too large is read and dropped.
    fn content(&mut self, text: &mut String) -> Result<Whole, SourceError> {
        let (mut depth, mut refused) = (1_usize, None);
        while depth > 0 {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            self.reader.get_mut().left = TOKEN_MAX;
            let event = match self.reader.read_event_into(&mut buffer) {
                Ok(event) => event,
                Err(error) => return Err(self.error(error.to_string())),
            };
            let mut add = |before: &str, inside: &str, after: &str| {
                text.extend([before, inside, after]);
            };
            match &event {
                Event::Start(tag) => {
                    depth += 1;
                    add("<", tag, ">");
                }
                Event::Empty(tag) => add("<", tag, "/>"),
                Event::End(tag) => {
                    depth -= 1;
                    add("</", tag, ">");
                }
                Event::Text(inside) => add("", inside, ""),
                Event::CData(inside) => add("<![CDATA[", inside, "]]>"),
                Event::GeneralRef(inside) => add("&", inside, ";"),
                Event::DocType(_) => return Err(self.error(DOCTYPE)),
                Event::Eof => return Err(self.error("the file ends within an element")),
                _ => {}
            }
            drop(event);
            self.buffer = buffer;
            if depth > DEPTH_MAX {
                return Err(self.error(format!("elements are nested over {DEPTH_MAX} deep")));
            }
            if depth > PART_DEPTH_MAX {
                refused = Some(format!("its elements are nested over {PART_DEPTH_MAX} deep"));
            }
            if text.len() > PART_BYTES_MAX {
                refused = Some(format!("it has over {PART_BYTES_MAX} bytes"));
            }
            if refused.is_some() {
                *text = String::new();
            }
        }
        self.leave();
        Ok(refused.map_or(Ok(Vec::new()), Err))
    }
}

fn opened(tag: &BytesStart<'_>, is_empty: bool) -> Opened {
    let name = tag.name();
    let mut attrs = tag.attributes();
    let attrs = attrs.with_checks(false).filter_map(Result::ok);
    let attrs = attrs.map(|attr| (attr.key.0.to_owned(), decode_attr(&attr.value).into_owned()));
    let tag_of = Tag { ns: String::new(), name: name.0.to_owned(), attrs: attrs.collect() };
    Opened { tag: tag_of, raw: tag.to_string(), is_empty, declares: Vec::new() }
}

const DOCTYPE: &str =
    "a document type declaration is not allowed: with it a few bytes can stand for any number";
/// Bytes of one tag or text.
const TOKEN_MAX: usize = PART_BYTES_MAX + 65_536;
/// How deep elements may be nested at all.
const DEPTH_MAX: usize = 1_000;

/// A reader that gives so many bytes and no more: what a parser collects before it says something is bounded.
struct Metered {
    inner: BufReader<File>,
    left: usize,
    lines: usize,
}

impl Metered {
    fn new(file: File) -> Self {
        Self { inner: BufReader::with_capacity(BUFFER, file), left: TOKEN_MAX, lines: 0 }
    }
}

impl Read for Metered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        for (to, from) in out.iter_mut().zip(available) {
            *to = *from;
        }
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Metered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!("one tag or text has over {TOKEN_MAX} bytes")));
        }
        let left = self.left;
        let available = self.inner.fill_buf()?;
        Ok(available.get(..left).unwrap_or(available))
    }

    fn consume(&mut self, count: usize) {
        let passed = self.inner.buffer().get(..count).unwrap_or_default();
        self.lines += memchr::memchr_iter(b'\n', passed).count();
        self.left = self.left.saturating_sub(count);
        self.inner.consume(count);
    }
}

const BUFFER: usize = 65_536;
