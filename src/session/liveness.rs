//! Tracks what a client without stream management has received, by means of pings (promise.md 2).

use std::time::{Duration, Instant};

use super::clock::now;

/// Owed messages that were written to the client and not confirmed. Empty with stream management, which has
/// its own queue.
#[derive(Default)]
pub(super) struct Delivery(Option<Box<Rows>>);

#[derive(Default)]
pub(super) struct Rows {
    /// Oldest first.
    pub(super) unconfirmed: Vec<i64>,
    /// Their size in bytes, roughly.
    bytes: u32,
    pub(super) answers: Answers,
    pub(super) since: Option<Instant>,
}

/// How the client has answered pings on this stream so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answers {
    /// It was not pinged yet, or the first ping is in flight.
    #[default]
    Unknown,
    /// It has answered before: if it stops, it hangs.
    Always,
    /// It never answered, although its TCP acknowledged the ping: it does not support pings.
    Never,
}

/// A server ping whose answer is awaited.
pub(super) struct Ping {
    pub(super) id: String,
    pub(super) sent: Instant,
    /// The number of unconfirmed messages that were written before it.
    pub(super) covers: usize,
    /// The ping has left when this many bytes of the connection were written.
    pub(super) end: u64,
    /// When the ping left.
    pub(super) gone: Option<Instant>,
    /// The bytes written when that was last checked.
    pub(super) seen: u64,
}

impl Delivery {
    /// The rows of a session that was saved over a restart.
    pub(super) fn restored(unconfirmed: Vec<i64>, now: Instant) -> Self {
        match unconfirmed.is_empty() {
            true => Self(None),
            false => {
                Self(Some(Box::new(Rows { unconfirmed, since: Some(now), ..Rows::default() })))
            }
        }
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        self.0.get_or_insert_default()
    }

    pub(super) fn answers(&self) -> Answers {
        self.0.as_ref().map_or(Answers::Unknown, |rows| rows.answers)
    }

    /// When the client must be pinged at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        let after = match self.answers() {
            Answers::Unknown => FIRST_ASKED_AFTER,
            Answers::Always | Answers::Never => CONFIRM_AFTER,
        };
        self.0.as_ref()?.since.map(|since| since + after)
    }

    /// Takes all unconfirmed rows, when the client closes the stream in order.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<i64> {
        self.take(usize::MAX)
    }

    /// The unconfirmed rows, which stay here.
    pub(super) fn unconfirmed(&self) -> &[i64] {
        self.0.as_ref().map_or(&[], |rows| &rows.unconfirmed)
    }

    /// Whether the client has as much as it may have unconfirmed.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|rows| rows.bytes >= BYTES_MAX) || self.room() == 0
    }

    /// How many more messages may be sent unconfirmed.
    pub(super) fn room(&self) -> usize {
        STANZAS_MAX.saturating_sub(self.unconfirmed().len())
    }

    pub(super) fn push(&mut self, seq: i64, bytes: usize) {
        let rows = self.rows();
        rows.unconfirmed.push(seq);
        rows.bytes = rows.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        rows.since.get_or_insert_with(now);
    }

    /// Takes the `count` oldest rows.
    pub(super) fn take(&mut self, count: usize) -> Vec<i64> {
        let Some(rows) = &mut self.0 else { return Vec::new() };
        let all = rows.unconfirmed.len();
        let count = count.min(all);
        // The average is good enough: this only bounds memory.
        let left = u64::from(rows.bytes) * (all - count) as u64 / all.max(1) as u64;
        rows.bytes = u32::try_from(left).unwrap_or(u32::MAX);
        if count == all {
            return std::mem::take(&mut rows.unconfirmed);
        }
        rows.unconfirmed.drain(..count).collect()
    }
}

/// promise.md 2: a message that is unconfirmed for this long triggers a ping.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// Like [`CONFIRM_AFTER`], for the first ping of a stream: it should be known soon whether the client answers
/// pings.
const FIRST_ASKED_AFTER: Duration = Duration::from_secs(5);
/// Maximum number of messages sent to a client that has confirmed none of them. Together with those in its
/// outbox they stay under `base::limits::UNCONFIRMED_MESSAGES_MAX`, above which senders get errors.
const STANZAS_MAX: usize = 4_000;
/// Maximum number of their bytes, likewise below `UNCONFIRMED_BYTES_MAX`.
const BYTES_MAX: u32 = 33_554_432;
