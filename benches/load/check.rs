//! That each message comes once and in its order; and the messages that allow to see it.

use super::fault::{Res, fault};
use super::framer::{attr, has, text};
use std::collections::BTreeSet;

/// What came of one row of numbered messages.
#[derive(Debug, Default)]
pub struct Seen {
    first: u64,
    next: u64,
    missing: BTreeSet<u64>,
    doubled: u64,
    reordered: u64,
    strange: Option<String>,
}

impl Seen {
    /// Nothing yet; the first will have this number.
    pub fn from(first: u64) -> Self {
        Self { first, next: first, ..Self::default() }
    }

    /// A message with this number came. False when it is one more of the same.
    pub fn note(&mut self, number: u64) -> bool {
        if number >= self.next.saturating_add(GAP_MAX) || number < self.first {
            self.strange.get_or_insert(format!("number {number} where {} was due", self.next));
            return false;
        }
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return true;
        }
        if self.missing.remove(&number) {
            self.reordered += 1;
            return true;
        }
        self.doubled += 1;
        false
    }

    /// Different messages that came.
    pub fn count(&self) -> u64 {
        self.next - self.first - self.missing.len() as u64
    }

    /// All of `sent` messages came, each once, in their order.
    pub fn verdict(&self, what: &str, sent: u64) -> Res<()> {
        let lost = sent.saturating_sub(self.count());
        let Self { doubled, reordered, .. } = self;
        if let Some(strange) = &self.strange {
            return fault(format!("{what}: a message of nobody's: {strange}"));
        }
        if lost + doubled + reordered == 0 {
            return Ok(());
        }
        let due = self.missing.first().copied().unwrap_or(self.next) - self.first;
        let due = if lost > 0 { format!("; message {due} is waited for") } else { String::new() };
        fault(format!(
            "{what}: of {sent} messages {lost} lost, {doubled} doubled, {reordered} reordered{due}"
        ))
    }
}

/// More than this ahead is no gap: the message belongs to another row.
const GAP_MAX: u64 = 1 << 20;

/// Messages of one sender to one recipient, all alike but for number and time.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the number stands.
    numbers: Vec<usize>,
    stamp: usize,
}

impl Template {
    /// A chat message with a body of 200 bytes, and these payloads behind it.
    pub fn message(to: &str, payloads: &str) -> Self {
        let head = format!("<message type='chat' to='{to}' id='");
        let text: String = FILLER.chars().cycle().take(BODY_BYTES - DIGITS).collect();
        let (zero, id, body) = ("0".repeat(DIGITS), head.len(), "'><body>");
        let inner = id + 2 * DIGITS + 1 + body.len();
        let bytes = format!("{head}{zero}-{zero}{body}{zero}{text}</body>{payloads}</message>");
        Self { bytes: bytes.into(), numbers: vec![id, inner], stamp: id + DIGITS + 1 }
    }

    /// A frame of 200 bytes for the relay.
    pub fn raw() -> Self {
        Self { bytes: vec![b'x'; BODY_BYTES], numbers: vec![0], stamp: DIGITS }
    }

    /// Appends the message with this number, sent at this time.
    pub fn write(&mut self, out: &mut Vec<u8>, number: u64, stamp: u64) {
        for at in self.numbers.clone() {
            self.digits(at, number);
        }
        self.digits(self.stamp, stamp);
        out.extend_from_slice(&self.bytes);
    }

    fn digits(&mut self, at: usize, mut value: u64) {
        for digit in self.bytes.iter_mut().skip(at).take(DIGITS).rev() {
            let nibble = (value & 15) as u8;
            *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
            value >>= 4;
        }
    }
}

/// Reads a message made by [`Template::message`]: its number and its time.
pub fn read_message(piece: &[u8]) -> Res<(u64, u64)> {
    let told = || format!("not what was sent: {}", String::from_utf8_lossy(piece));
    if attr(piece, "type") == Some(b"error") {
        return fault(format!("bounced: {}", String::from_utf8_lossy(piece)));
    }
    let id = attr(piece, "id").and_then(|id| Some((number(id)?, number(id.get(DIGITS + 1..)?)?)));
    let body = text(piece, "body").filter(|body| body.len() == BODY_BYTES);
    match (id, body.and_then(number)) {
        (Some((seq, stamp)), Some(inner)) if seq == inner && has(piece, "</body>") => {
            Ok((seq, stamp))
        }
        _ => fault(told()),
    }
}

/// Reads a frame made by [`Template::raw`].
pub fn read_raw(frame: &[u8]) -> Res<(u64, u64)> {
    match (number(frame), frame.get(DIGITS..).and_then(number)) {
        (Some(seq), Some(stamp)) => Ok((seq, stamp)),
        _ => fault("the relay sent what nobody gave it"),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let digit =
        |value: u64, byte: &u8| Some(value << 4 | u64::from(char::from(*byte).to_digit(16)?));
    text.get(..DIGITS)?.iter().try_fold(0, digit)
}

/// Bytes of a body, and of a frame for the relay.
pub const BODY_BYTES: usize = 200;
const DIGITS: usize = 16;
const FILLER: &str = "But soft, what light through yonder window breaks? ";
