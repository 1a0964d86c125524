//! What a stream with another server waits for.

use std::future::pending;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::clock;
use super::stream::{Managed, Occurred, Resumption, Stream};
use crate::base::time::micros;

impl Stream {
    /// Takes what is to be sent.
    pub(super) fn fill(&mut self, now: Instant) {
        self.fills_at = None;
        self.sending.fill(&mut self.wire, now, micros(clock::wall()));
        let sent = self.sending.sent_since();
        if sent > 0 {
            self.filled = now;
        }
        self.federation.counts.went(sent);
    }

    /// Something is to be sent. Where stanzas come one after the other, several go into one write.
    pub(super) async fn queued(&mut self) {
        let bytes = self.sending.lanes.iter().map(|lane| lane.queue.outbox().bytes());
        if bytes.sum::<usize>() >= RECORD_BYTES {
            return;
        }
        let at = self.filled + GATHER;
        match at > clock::now() {
            true => self.fills_at = Some(at),
            // What others are about to queue goes with it.
            false => yield_now().await,
        }
    }

    /// Waits for whatever comes first. Output goes before new input.
    pub(super) async fn wait(&mut self, now: Instant) -> Occurred {
        let reading = self.receiving.may_read() && self.resuming.is_none() && !self.is_choked();
        if !self.receiving.may_read() {
            self.deaf.get_or_insert(now);
        }
        let writing = self.wire.is_writing();
        let awaits = self.sending.management().awaits();
        // One entry in the runtime's timer for the whole stream: it is reset when a deadline comes nearer, or when it
        // fires too early.
        let due = self.due(now).into();
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        let handled_count = awaits.map(|stanzas| (self.receiving.handled_count.clone(), stanzas));
        let failures = self.receiving.outbox();
        let end = match &self.managed {
            Managed::On(Some(Resumption::Theirs(_, end))) => Some(end.clone()),
            _ => None,
        };
        let Self {
            wire, receiving, sending, verified, resuming, listed, timer, stops, guests, ..
        } = self;
        tokio::select! {
            biased;
            woken = sending.wait() => Occurred::Sending(woken),
            io = wire.io(reading), if writing || reading => Occurred::Io(io),
            () = receiving.eased() => Occurred::Eased,
            input = async { match verified { Some((_, input)) => input.recv().await, None => pending().await } }
                => Occurred::Verified(input),
            () = failures.ready() => Occurred::Failed,
            () = async { match &handled_count { Some((count, stanzas)) => count.reached(*stanzas).await, None => pending().await } }
                => Occurred::Reached,
            resumed = async { match resuming { Some(resuming) => resuming.await, None => pending().await } }
                => Occurred::Resumed(resumed),
            () = async { match &end { Some(end) => end.notified().await, None => pending().await } }
                => Occurred::Taken,
            guest = async { match guests { Some(guests) => guests.recv().await, None => pending().await } }
                => Occurred::Asked(guest),
            () = listed.dismissed() => Occurred::Dismissed,
            _ = stops.wait_for(|stops| *stops) => Occurred::Stop,
            () = timer => Occurred::Timer,
        }
    }

    /// The nearest deadline.
    fn due(&self, now: Instant) -> Instant {
        let idle = self.federation.settings.idle;
        let quiet =
            self.heard.max(self.used) + if self.machine.is_outgoing() { idle } else { idle * 2 };
        let sending = self.sending.due(self.receiving.may_read(), now);
        let deadlines = [self.deadline, self.manage_by, sending, self.fills_at];
        deadlines.into_iter().flatten().fold(quiet, Instant::min)
    }
}

/// As much as one record of TLS takes waits for nothing more.
const RECORD_BYTES: usize = 16_384;
/// How long what is to be sent waits for more after a write.
const GATHER: Duration = Duration::from_millis(1);
