//! Whether the client is there, and what it has got, without stream management: pings, and what becomes
//! of them (promise.md 2).

use std::time::{Duration, Instant};

use super::clock::now;
use super::ending::Ending;
use super::run::Session;
use crate::base::id::{self, OsRng};
use crate::stanza::Frame;
use crate::stream::error::StreamError;
use crate::xml::writer::Xml;

/// Owed messages that were written to the client and not confirmed. Nothing for a managed stream,
/// which knows its own.
#[derive(Default)]
pub(super) struct Delivery(Option<Box<Rows>>);

#[derive(Default)]
struct Rows {
    /// Oldest first.
    unconfirmed: Vec<i64>,
    /// Their bytes, about.
    bytes: u32,
    answers: Answers,
    since: Option<Instant>,
}

/// What is known of how the client takes pings on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Answers {
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
    id: String,
    pub(super) sent: Instant,
    /// So many of the unconfirmed messages were written before it.
    covers: usize,
    /// It is on its way when so many bytes of the connection are.
    end: u64,
    /// Since when it is.
    gone: Option<Instant>,
    /// What was on its way when that was last looked at.
    seen: u64,
}

impl Delivery {
    /// A session that slept over a restart.
    pub(super) fn restored(unconfirmed: Vec<i64>, now: Instant) -> Self {
        match unconfirmed.is_empty() {
            true => Self(None),
            false => {
                Self(Some(Box::new(Rows { unconfirmed, since: Some(now), ..Rows::default() })))
            }
        }
    }

    fn rows(&mut self) -> &mut Rows {
        self.0.get_or_insert_default()
    }

    fn answers(&self) -> Answers {
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

    fn push(&mut self, seq: i64, bytes: usize) {
        let rows = self.rows();
        rows.unconfirmed.push(seq);
        rows.bytes = rows.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        rows.since.get_or_insert_with(now);
    }

    /// The oldest, so many.
    fn take(&mut self, count: usize) -> Vec<i64> {
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

impl Session {
    pub(super) fn written(&mut self, seq: i64, bytes: usize) {
        self.delivery.push(seq, bytes);
    }

    /// Many unconfirmed messages: do not wait half a minute to ask.
    pub(super) fn ping_if_owed(&mut self) {
        if self.delivery.unconfirmed().len() >= UNCONFIRMED_MANY && self.ping.is_none() {
            self.send_ping();
        }
        let mute = self.sm.is_none() && self.delivery.answers() == Answers::Never;
        if mute && self.delivery.is_full() {
            // The newest half is still kept in case the connection breaks.
            self.confirm_oldest(self.delivery.unconfirmed().len() / 2);
        }
    }

    pub(super) fn send_ping(&mut self) {
        let id = id::short(&mut OsRng);
        let who = &self.binding.client;
        let mut xml = Xml::new();
        xml.start("iq").attr("type", "get").attr("id", &id);
        xml.attr("from", who.jid.domain()).attr("to", who.jid.as_str());
        xml.start("ping").attr("xmlns", crate::xml::ns::PING).end().end();
        self.send(Frame::whole(xml.finish()).into());
        let covers = self.delivery.unconfirmed().len();
        let (seen, end) =
            (self.link.wire.written(), self.link.wire.written() + self.link.wire.queued() as u64);
        self.ping = Some(Box::new(Ping { id, sent: now(), covers, end, gone: None, seen }));
    }

    /// An answer, result or error, to a request of ours. Confirms what was written before the
    /// ping (promise.md 2).
    pub(super) fn reply_to_us(&mut self, id: Option<&str>) {
        if let Some(ping) = self.ping.take_if(|ping| Some(ping.id.as_str()) == id) {
            self.delivery.rows().answers = Answers::Always;
            self.covered(&ping);
            if self.leaving {
                self.take_leave(now());
            }
        }
    }

    /// What was written before the ping is confirmed.
    fn covered(&mut self, ping: &Ping) {
        let confirmed = self.delivery.take(ping.covers);
        self.confirm(&confirmed);
        let rows = self.delivery.rows();
        rows.since = (!rows.unconfirmed.is_empty()).then_some(ping.sent);
        // The outbox may have waited for room.
        self.woken = true;
    }

    fn confirm_oldest(&mut self, count: usize) {
        let confirmed = self.delivery.take(count);
        if let Some(ping) = &mut self.ping {
            ping.covers = ping.covers.saturating_sub(confirmed.len());
        }
        self.confirm(&confirmed);
        self.woken = true;
    }

    /// Notes when the ping left for the network.
    pub(super) fn look_after_ping(&mut self, now: Instant) {
        if let Some(ping) = &mut self.ping
            && ping.gone.is_none()
            && self.link.wire.is_flushed_to(ping.end)
        {
            ping.gone = Some(now);
        }
    }

    /// When something is to be done about an answer that does not come.
    pub(super) fn answer_overdue(&self, now: Instant) -> Option<Instant> {
        let ping = self.ping.as_ref()?;
        let time = self.binding.context().router.limits.ping_timeout;
        Some(match ping.gone {
            // It is not listened to.
            _ if self.deaf_since.is_some() => now + time,
            // Its senders wait for it, and it took all this without an answer.
            Some(gone) if self.may_be_mute() && self.delivery.is_full() => {
                gone + FOUND_OUT_AFTER.min(time + time / 2)
            }
            // Later than a connection breaks that acknowledges nothing.
            Some(gone) if self.may_be_mute() => gone + time + time / 2,
            _ => ping.sent + time,
        })
    }

    /// It never answered a ping on this stream, and its connection would break if nobody were there.
    fn may_be_mute(&self) -> bool {
        // With stream management only an acknowledgement confirms (promise.md 2).
        self.sm.is_none()
            && self.delivery.answers() != Answers::Always
            && self.link.wire.notices_loss()
    }

    /// It is overdue.
    pub(super) fn unanswered(&mut self, now: Instant) {
        let mute = self.may_be_mute();
        let Some(mut ping) = self.ping.take() else { return };
        let talks = self.heard > ping.sent;
        if mute && ping.gone.is_some() {
            // promise.md 2: it has what its TCP acknowledged, which is also a sign of life.
            self.delivery.rows().answers = Answers::Never;
            self.heard = now;
            return self.covered(&ping);
        }
        if mute && self.link.wire.written() > ping.seen {
            // It reads, slowly.
            ping.seen = self.link.wire.written();
            ping.sent = now;
            self.ping = Some(ping);
        } else if mute || !talks {
            self.lost();
        } else if self.delivery.is_full() {
            // As with stream management: there is no more room to remember what it was sent.
            self.fail(StreamError::PolicyViolation.text("pings unanswered"));
        } else {
            // It talks, and answers no longer: what it was sent stays owed, and it is asked again with more.
            self.delivery.rows().since = None;
        }
    }

    /// Nothing is read for now, for reasons of ours.
    fn is_deaf(&self) -> bool {
        self.pending.is_some() || self.slow.is_some() || self.paused_until.is_some()
    }

    /// While nobody listens, time stands still for what the client is to answer. It does so until the next
    /// turn, in which what there is gets read first.
    pub(super) fn listen(&mut self, now: Instant) {
        if self.is_deaf() {
            self.deaf_since.get_or_insert(now);
            return;
        }
        // A stop waits for nobody.
        let Some(since) = self.deaf_since.take().filter(|_| !self.leaving) else { return };
        let later = |at: &mut Instant| *at += now.saturating_duration_since(since.max(*at));
        later(&mut self.heard);
        if let Some(ping) = &mut self.ping {
            later(&mut ping.sent);
            ping.gone.iter_mut().for_each(later);
        }
        if let Some(sm) = &mut self.sm {
            sm.unheard(since, now);
        }
    }

    /// No sign of life: the connection is given up. A session that can be resumed is not told, as a
    /// stream error would end it (promise.md 11).
    pub(super) fn lost(&mut self) {
        if self.is_resumable() {
            self.ending = Some(Ending::Cut);
        } else {
            self.fail(StreamError::ConnectionTimeout.text("no answer to a ping"));
        }
    }

    /// The server stops, and this stream ends with it. Nothing new is sent, but what the client got
    /// it may confirm by the answer to a last ping: else all of it would come again (promise.md 2).
    pub(super) fn take_leave(&mut self, now: Instant) {
        if !self.leaving && self.sm.is_none() && !self.delivery.unconfirmed().is_empty() {
            self.leaving = true;
            self.stop_drain();
            self.send_ping();
        }
        if self.leaves().is_none_or(|until| until <= now) {
            self.fail(StreamError::SystemShutdown.into());
        }
    }

    /// Until when the answer to the last ping is waited for.
    pub(super) fn leaves(&self) -> Option<Instant> {
        let ping = self.ping.as_ref().filter(|_| self.leaving)?;
        Some(ping.sent + LAST_ANSWER)
    }
}

/// promise.md 2: a message unconfirmed for so long brings a ping.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// The same on a stream that was not asked yet: who answers pings should be known soon.
const FIRST_ASKED_AFTER: Duration = Duration::from_secs(5);
/// Unconfirmed messages that bring a ping at once.
const UNCONFIRMED_MANY: usize = 32;
/// Who never answered, and was sent as much as may be without an answer, is waited for no longer.
const FOUND_OUT_AFTER: Duration = Duration::from_secs(10);
/// How long a stopping server waits for confirmations.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// Messages sent to a client that has confirmed none of them: with what waits in its outbox they stay
/// under `base::limits::UNCONFIRMED_MESSAGES_MAX`, where their senders would hear of it.
const STANZAS_MAX: usize = 4_000;
/// Their bytes: the same of `UNCONFIRMED_BYTES_MAX`.
const BYTES_MAX: u32 = 33_554_432;
