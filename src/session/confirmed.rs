//! Finds out, without stream management, whether the client is there and what it has received: pings and
//! their outcome (promise.md 2).

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

    /// Pings at once if many messages are unconfirmed, instead of half a minute later.
    pub(super) fn ping_if_owed(&mut self) {
        if self.delivery.unconfirmed().len() >= UNCONFIRMED_MANY && self.ping.is_none() {
            self.send_ping();
        }
        let mute = self.sm.is_none() && self.delivery.answers() == Answers::Never;
        if mute && self.delivery.is_full() {
            // The newest half stays unconfirmed, in case the connection breaks.
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

    /// Handles an answer, result or error, to a request of the server. It confirms what was written before
    /// the ping (promise.md 2).
    pub(super) fn reply_to_us(&mut self, id: Option<&str>) {
        if let Some(ping) = self.ping.take_if(|ping| Some(ping.id.as_str()) == id) {
            self.delivery.rows().answers = Answers::Always;
            self.covered(&ping);
            if self.flow.is_leaving() {
                self.stop(now());
            }
        }
    }

    /// Confirms what was written before the ping.
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

    /// When a missing answer must be dealt with.
    pub(super) fn answer_overdue(&self, now: Instant) -> Option<Instant> {
        let ping = self.ping.as_ref()?;
        let time = self.binding.context().router.limits.ping_timeout;
        Some(match ping.gone {
            // The server is not reading from the client.
            _ if !self.flow.is_listening() => now + time,
            // Senders wait for this session, and it took all this without an answer.
            Some(gone) if self.may_be_mute() && self.delivery.is_full() => {
                gone + FOUND_OUT_AFTER.min(time + time / 2)
            }
            // Later than the time after which a connection that acknowledges nothing breaks.
            Some(gone) if self.may_be_mute() => gone + time + time / 2,
            _ => ping.sent + time,
        })
    }

    /// Whether the client never answered a ping on this stream, but its connection would break if it were
    /// gone.
    fn may_be_mute(&self) -> bool {
        // With stream management only an acknowledgement confirms (promise.md 2).
        self.sm.is_none()
            && self.delivery.answers() != Answers::Always
            && self.link.wire.notices_loss()
    }

    /// Handles an overdue answer.
    pub(super) fn unanswered(&mut self, now: Instant) {
        let mute = self.may_be_mute();
        let Some(mut ping) = self.ping.take() else { return };
        let talks = self.heard > ping.sent;
        if mute && ping.gone.is_some() {
            // promise.md 2: the client has what its TCP acknowledged, which is also a sign of life.
            self.delivery.rows().answers = Answers::Never;
            self.heard = now;
            return self.covered(&ping);
        }
        if mute && self.link.wire.written() > ping.seen {
            // The client reads, but slowly.
            ping.seen = self.link.wire.written();
            ping.sent = now;
            self.ping = Some(ping);
        } else if mute || !talks {
            self.lost();
        } else if self.delivery.is_full() {
            // As with stream management: there is no room left to remember what was sent to the client.
            self.fail(StreamError::PolicyViolation.text("pings unanswered"));
        } else {
            // The client sends stanzas but no longer answers: what it was sent stays owed, and a later ping
            // covers more.
            self.delivery.rows().since = None;
        }
    }

    /// Does not count the time in which nothing was read against the client.
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

    /// Gives up the connection, without a sign of life. A session that can be resumed gets no stream error,
    /// because that would end it (promise.md 11).
    pub(super) fn lost(&mut self) {
        if self.is_resumable() {
            self.ending = Some(Ending::Cut);
        } else {
            self.fail(StreamError::ConnectionTimeout.text("no answer to a ping"));
        }
    }

    /// Ends the stream as the server stops. Nothing new is sent, but the client may confirm what it got by
    /// the answer to a last ping: otherwise all of it would come again (promise.md 2).
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

    /// How long to wait for the answer to the last ping.
    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        let ping = self.ping.as_ref().filter(|_| self.flow.is_leaving())?;
        Some(ping.sent + LAST_ANSWER)
    }
}

/// Number of unconfirmed messages that bring a ping at once.
const UNCONFIRMED_MANY: usize = 32;
/// How long to wait for a client that never answered and was sent the most it may get without an answer.
const FOUND_OUT_AFTER: Duration = Duration::from_secs(10);
/// How long a stopping server waits for confirmations.
const LAST_ANSWER: Duration = Duration::from_secs(2);
