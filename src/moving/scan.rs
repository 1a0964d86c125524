//! Reads text of other servers byte by byte, and knows where it is: for the parsers of Lua tables and Erlang terms.

use std::io::{self, BufRead};

/// What the parsers must not exceed, for each value at the outermost level.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of its text.
    pub bytes: usize,
    /// Values in it, at all depths.
    pub values: usize,
    /// How deep it may be nested.
    pub depth: usize,
}

impl Bounds {
    /// A roster of ten thousand contacts is 4 MiB, and 80,000 values; a message of 10 MiB, escaped, 40 MiB. Prosody
    /// itself writes nothing that is deeper than 127.
    pub const DEFAULT: Self = Self { bytes: 48 * 1024 * 1024, values: 1_000_000, depth: 130 };
}

/// Why a text cannot be read: what is wrong, and the line (from 1) it is on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// The line.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

/// The bytes of a text, of which one value at a time is read.
#[derive(Debug)]
pub struct Scanner<R> {
    from: R,
    line: u64,
    read: u64,
    bytes: usize,
    values: usize,
    bounds: Bounds,
}

impl<R: BufRead> Scanner<R> {
    /// Begins at line 1.
    pub fn new(from: R, bounds: Bounds) -> Self {
        Self { from, line: 1, read: 0, bytes: 0, values: 0, bounds }
    }

    /// The line of what comes next.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// How many bytes have been read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// A new value at the outermost level begins: its bounds are those of a fresh one.
    pub fn fresh(&mut self) {
        (self.bytes, self.values) = (0, 0);
    }

    /// A value of a value, at this depth.
    pub fn count(&mut self, depth: usize) -> Result<(), Fault> {
        self.values = self.values.saturating_add(1);
        if self.values > self.bounds.values {
            return Err(self.fault(format!("more than {} values in one", self.bounds.values)));
        }
        if depth > self.bounds.depth {
            return Err(self.fault(format!("nested deeper than {}", self.bounds.depth)));
        }
        Ok(())
    }

    /// That something is wrong here.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { line: self.line, what: what.into() }
    }

    /// The next byte, which stays; none at the end.
    pub fn peek(&mut self) -> Result<Option<u8>, Fault> {
        Ok(self.buffer()?.first().copied())
    }

    /// Takes the next byte.
    pub fn take(&mut self) -> Result<u8, Fault> {
        let Some(byte) = self.peek()? else {
            return Err(self.fault("the file ends in the middle of a value"));
        };
        self.pass(1, usize::from(byte == b'\n'))?;
        Ok(byte)
    }

    /// Takes this byte, if it is the next.
    pub fn take_if(&mut self, wanted: u8) -> Result<bool, Fault> {
        let there = self.peek()? == Some(wanted);
        if there {
            self.take()?;
        }
        Ok(there)
    }

    /// Takes this byte; anything else is a fault.
    pub fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        match self.peek()? {
            Some(byte) if byte == wanted => self.take().map(|_| ()),
            Some(byte) => {
                let (wanted, byte) = (char::from(wanted), char::from(byte));
                Err(self.fault(format!("there is {byte:?} instead of {wanted:?}")))
            }
            None => Err(self.fault("the file ends in the middle of a value")),
        }
    }

    /// Passes what is space.
    pub fn space(&mut self) -> Result<(), Fault> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.take()?;
        }
        Ok(())
    }

    /// Takes bytes into `into` until one of the two, which stays.
    pub fn until(&mut self, one: u8, other: u8, into: &mut Vec<u8>) -> Result<(), Fault> {
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Err(self.fault("the file ends in the middle of a text"));
            }
            let end = memchr::memchr2(one, other, buffer);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            into.extend_from_slice(part);
            let (length, lines) = (part.len(), memchr::memchr_iter(b'\n', part).count());
            self.pass(length, lines)?;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// Takes what `wanted` accepts, at most 256 bytes.
    pub fn word(&mut self, wanted: impl Fn(u8) -> bool) -> Result<String, Fault> {
        let mut word = String::new();
        while let Some(byte) = self.peek()?.filter(|byte| byte.is_ascii() && wanted(*byte)) {
            if word.len() == 256 {
                return Err(self.fault("a word or number of more than 256 bytes"));
            }
            word.push(char::from(byte));
            self.take()?;
        }
        Ok(word)
    }

    fn buffer(&mut self) -> Result<&[u8], Fault> {
        let line = self.line;
        loop {
            match self.from.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault { line, what: format!("cannot be read: {error}") }),
            }
        }
        self.from.fill_buf().map_err(|error| Fault { line, what: error.to_string() })
    }

    fn pass(&mut self, bytes: usize, lines: usize) -> Result<(), Fault> {
        self.from.consume(bytes);
        self.read = self.read.saturating_add(bytes as u64);
        self.line = self.line.saturating_add(lines as u64);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bounds.bytes {
            return Err(self.fault(format!("a value of more than {} bytes", self.bounds.bytes)));
        }
        Ok(())
    }
}
