//! Whether the client is there, and what it has got, without stream management: pings, and what becomes
//! of them (promise.md 2).

use std::time::{Duration, Instant};

use super::bound::Session;
use super::clock::now;
use super::ending::Ending;
use super::liveness::{Answers, Ping};
use crate::base::id::{self, OsRng};
use crate::stanza::Frame;
use crate::stream::error::StreamError;
use crate::xml::writer::Xml;

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
            if self.flow.is_leaving() {
                self.stop(now());
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
        self.flow.reconnect();
    }

    fn confirm_oldest(&mut self, count: usize) {
        let confirmed = self.delivery.take(count);
        if let Some(ping) = &mut self.ping {
            ping.covers = ping.covers.saturating_sub(confirmed.len());
        }
        self.confirm(&confirmed);
        self.flow.reconnect();
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
            _ if !self.flow.is_listening() => now + time,
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

    /// While nobody listens, time stands still for what the client is to answer.
    pub(super) fn listen(&mut self, now: Instant) {
        let Some(since) = self.flow.listen(now) else { return };
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
    pub(super) fn stop(&mut self, now: Instant) {
        if !self.flow.is_leaving() && self.sm.is_none() && !self.delivery.unconfirmed().is_empty() {
            self.flow.leave();
            self.stop_redelivery();
            self.send_ping();
        }
        if self.stop_deadline().is_none_or(|until| until <= now) {
            self.fail(StreamError::SystemShutdown.into());
        }
    }

    /// Until when the answer to the last ping is waited for.
    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        let ping = self.ping.as_ref().filter(|_| self.flow.is_leaving())?;
        Some(ping.sent + LAST_ANSWER)
    }
}

/// Unconfirmed messages that bring a ping at once.
const UNCONFIRMED_MANY: usize = 32;
/// Who never answered, and was sent as much as may be without an answer, is waited for no longer.
const FOUND_OUT_AFTER: Duration = Duration::from_secs(10);
/// How long a stopping server waits for confirmations.
const LAST_ANSWER: Duration = Duration::from_secs(2);
