//! What a client that does not count stanzas has got, and the pings that find it out (promise.md 2).

use std::time::{Duration, Instant};

use super::clock::now;

/// Owed messages that were written to the client and not confirmed. Nothing with stream management,
/// which knows its own.
#[derive(Default)]
pub(super) struct Delivery(Option<Box<Rows>>);

#[derive(Default)]
pub(super) struct Rows {
    /// Oldest first.
    pub(super) unconfirmed: Vec<i64>,
    /// Their bytes, about.
    bytes: u32,
    pub(super) answers: Answers,
    pub(super) since: Option<Instant>,
}

/// What is known of how the client takes pings on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answers {
    /// It was not asked yet, or is being asked for the first time.
    #[default]
    Unknown,
    /// It has answered: what stops doing so hangs.
    Always,
    /// It never did, though its TCP acknowledged the ping: a client that knows none.
    Never,
}

/// A server ping whose answer is awaited.
pub(super) struct Ping {
    pub(super) id: String,
    pub(super) sent: Instant,
    /// So many of the unconfirmed messages were written before it.
    pub(super) covers: usize,
    /// It is on its way when so many bytes of the connection are.
    pub(super) end: u64,
    /// Since when it is.
    pub(super) gone: Option<Instant>,
    /// What was on its way when that was last looked at.
    pub(super) seen: u64,
}

impl Delivery {
    /// A session that was saved over a restart.
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

    /// When the client must be asked, at latest.
    pub(super) fn due(&self) -> Option<Instant> {
        let after = match self.answers() {
            Answers::Unknown => FIRST_ASKED_AFTER,
            Answers::Always | Answers::Never => CONFIRM_AFTER,
        };
        self.0.as_ref()?.since.map(|since| since + after)
    }

    /// All of them, for who closes the stream in order.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<i64> {
        self.take(usize::MAX)
    }

    /// The same, left here.
    pub(super) fn unconfirmed(&self) -> &[i64] {
        self.0.as_ref().map_or(&[], |rows| &rows.unconfirmed)
    }

    /// As much as may be with a client that has not confirmed it.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|rows| rows.bytes >= BYTES_MAX) || self.room() == 0
    }

    /// So many more may.
    pub(super) fn room(&self) -> usize {
        STANZAS_MAX.saturating_sub(self.unconfirmed().len())
    }

    pub(super) fn push(&mut self, seq: i64, bytes: usize) {
        let rows = self.rows();
        rows.unconfirmed.push(seq);
        rows.bytes = rows.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        rows.since.get_or_insert_with(now);
    }

    /// The oldest, so many.
    pub(super) fn take(&mut self, count: usize) -> Vec<i64> {
        let Some(rows) = &mut self.0 else { return Vec::new() };
        let all = rows.unconfirmed.len();
        let count = count.min(all);
        // The average serves: it is a bound for memory.
        let left = u64::from(rows.bytes) * (all - count) as u64 / all.max(1) as u64;
        rows.bytes = u32::try_from(left).unwrap_or(u32::MAX);
        if count == all {
            return std::mem::take(&mut rows.unconfirmed);
        }
        rows.unconfirmed.drain(..count).collect()
    }
}

/// promise.md 2: a message unconfirmed for so long brings a ping.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// The same on a stream that was not asked yet: who answers pings should be known soon.
const FIRST_ASKED_AFTER: Duration = Duration::from_secs(5);
/// Messages sent to a client that has confirmed none of them: with what waits in its outbox they stay
/// under `base::limits::UNCONFIRMED_MESSAGES_MAX`, where their senders would hear of it.
const STANZAS_MAX: usize = 4_000;
/// Their bytes: the same of `UNCONFIRMED_BYTES_MAX`.
const BYTES_MAX: u32 = 33_554_432;
