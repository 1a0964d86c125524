//! What we send to another server on one stream: taken from the queues of its pairs of domains, and remembered
//! until the peer has acknowledged it (promise.md).
//!
//! The peer acknowledges by XEP-0198, or by answering a ping that was written behind what it acknowledges.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::dial::PeerTransport;
use crate::base::id::{self, OsRng};
use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::modules::api::Cx;
use crate::router::Router;
use crate::router::outbox::Outgoing;
use crate::router::peer_queue::{Next, PeerQueue};
use crate::session::wire::Wire;
use crate::stanza::delay::delay;
use crate::stanza::{Frame, Kind, Stanza, StanzaError, error_reply};
use crate::store::peer_queue::{self, PeerRow};
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};
use crate::stream::sm::{self, Bounds, Overdue, StreamManagement, TooHigh};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The connection under a stream with another server.
pub(super) type PeerWire = Wire<dyn PeerTransport>;

/// The queues that one stream serves.
pub(super) struct Sending {
    router: Arc<Router>,
    lanes: Vec<Lane>,
    /// What was sent and not acknowledged.
    sent: StreamManagement<Sent>,
    /// What was sent before the peer enabled XEP-0198, and not acknowledged: its first count says that it has them.
    before: Vec<Sent>,
    confirms: Confirms,
    pong: Option<Pong>,
    /// The last ping: the stanzas before it, and the bytes of the connection up to its end.
    pinged: (u32, u64),
    /// The peer has answered a ping.
    answers: bool,
    /// Who asks, where stanzas come from many domains of ours: on a component's stream.
    asker: Option<Box<str>>,
    /// Stanzas that were sent and not counted yet.
    uncounted: u64,
}

/// How the peer acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirms {
    /// Nothing is sent yet.
    NotYet,
    /// By XEP-0198.
    Management,
    /// By answers to pings.
    Pings,
}

type Pong = Pin<Box<dyn Future<Output = (u32, bool)> + Send>>;
type Page = Pin<Box<dyn Future<Output = Result<Vec<PeerRow>, StoreError>> + Send>>;

/// One pair of domains.
struct Lane {
    queue: Arc<PeerQueue>,
    /// Messages that are being read from the store: up to this position.
    page: Option<(i64, Page)>,
    /// Those that were read, and the position that is reached when they are sent.
    rows: VecDeque<PeerRow>,
    read_to: i64,
}

/// A stanza that was sent.
pub(super) struct Sent {
    lane: usize,
    seq: Option<i64>,
    frame: Frame,
}

impl Sending {
    pub(super) fn new(router: Arc<Router>, bounds: Bounds) -> Self {
        let sent = StreamManagement::new(0, bounds);
        Self {
            router,
            lanes: Vec::new(),
            sent,
            before: Vec::new(),
            confirms: Confirms::NotYet,
            pong: None,
            pinged: (0, 0),
            answers: false,
            asker: None,
            uncounted: 0,
        }
    }

    /// The same for a component: this domain of ours asks.
    pub(super) fn asking_as(self, asker: &str) -> Self {
        Self { asker: Some(asker.into()), ..self }
    }

    /// Serves this queue, too.
    pub(super) fn add(&mut self, queue: Arc<PeerQueue>) {
        queue.opened();
        self.lanes.push(Lane { queue, page: None, rows: VecDeque::new(), read_to: 0 });
    }

    /// Begins, or goes on, to send.
    pub(super) fn confirmed_by(&mut self, confirms: Confirms) {
        self.confirms = confirms;
        self.lanes.iter().for_each(|lane| lane.queue.outbox().nudge());
    }

    /// How many stanzas were sent since this was last asked.
    pub(super) fn sent_since(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }

    /// Whether nothing waits for an acknowledgement.
    pub(super) fn is_settled(&self) -> bool {
        self.before.is_empty() && self.sent.unacked().next().is_none()
    }

    /// The peer enables XEP-0198 in the middle of the stream: what was sent before is not counted. True if it is to
    /// be asked for its count, which says that it has that, too.
    pub(super) fn counts_from_here(&mut self, bounds: Bounds) -> bool {
        let earlier = std::mem::replace(&mut self.sent, StreamManagement::new(0, bounds));
        self.before.extend(earlier.into_unacked());
        self.pong = None;
        self.confirmed_by(Confirms::Management);
        !self.before.is_empty()
    }

    /// Writes what there is room for.
    pub(super) fn fill(&mut self, wire: &mut PeerWire, now: Instant, wall: i64) {
        if self.confirms == Confirms::NotYet {
            return;
        }
        for at in 0..self.lanes.len() {
            while wire.queued() < WRITE_BYTES && !self.sent.is_full() {
                if !self.fill_from(at, wire, wall) {
                    break;
                }
            }
        }
        self.ask(wire, now);
    }

    /// One turn of one lane. False if it has nothing now.
    fn fill_from(&mut self, at: usize, wire: &mut PeerWire, wall: i64) -> bool {
        let room = self.sent.room();
        let Some(lane) = self.lanes.get_mut(at) else { return false };
        if let Some(row) = lane.rows.pop_front() {
            let (seq, sent_at) = (row.seq, row.at);
            if lane.rows.is_empty() {
                lane.queue.read_to(lane.read_to);
            }
            // Whole in the tail: a stamp goes before the end tag.
            let frame = Frame::of("", row.stanza);
            self.send(at, wire, Outgoing { frame, owed: Some(seq), at: sent_at }, wall);
            return true;
        }
        if lane.page.is_some() {
            return false;
        }
        match lane.queue.next(WRITE_BYTES, room) {
            Next::Batch(taken) => {
                let some = !taken.batch.is_empty();
                taken.batch.into_iter().for_each(|item| self.send(at, wire, item, wall));
                some
            }
            Next::Stored(from, to) => {
                lane.page = Some((to, page(&self.router, &lane.queue, (from, to))));
                false
            }
        }
    }

    fn send(&mut self, lane: usize, wire: &mut PeerWire, item: Outgoing, wall: i64) {
        let frame = match self.lanes.get(lane) {
            Some(lane) => {
                let local = self.asker.as_deref().unwrap_or(&lane.queue.pair.local);
                stamped(local, item.frame, item.at, wall)
            }
            None => item.frame,
        };
        let bytes = frame.len();
        self.uncounted += 1;
        self.sent.push(Sent { lane, seq: item.owed, frame: frame.clone() }, bytes);
        wire.queue_frame(frame);
    }

    /// Asks the peer how far it is, if it is time.
    fn ask(&mut self, wire: &mut PeerWire, now: Instant) {
        if self.pong.is_some() || !self.sent.asks(now) {
            return;
        }
        match self.confirms {
            Confirms::NotYet => {}
            Confirms::Management => wire.queue(sm::request()),
            Confirms::Pings => self.ping(wire),
        }
    }

    fn ping(&mut self, wire: &mut PeerWire) {
        let Some(lane) = self.lanes.first() else { return };
        let pair = &lane.queue.pair;
        let Ok(remote) = Jid::parse(&pair.remote) else { return };
        let local = self.asker.clone().unwrap_or_else(|| pair.local.clone());
        let id = id::short(&mut OsRng);
        let mut xml = Xml::new();
        xml.start("iq").attr("type", "get").attr("id", &id).attr("from", &local);
        xml.attr("to", remote.as_str());
        xml.start("ping").attr("xmlns", ns::PING).end().end();
        wire.queue_frame(Frame::whole(xml.finish()));
        let (router, sent) = (self.router.clone(), self.sent.sent());
        self.pinged = (sent, wire.written() + wire.queued() as u64);
        // The question is open before the ping is written: this is polled first.
        self.pong = Some(Box::pin(async move {
            let question = router.questions.open(&local, &remote, &id);
            match question {
                Some(question) => (sent, question.answered().await.is_some()),
                None => (sent, false),
            }
        }));
    }

    /// The peer's count, from `<a/>` or `<resumed/>`.
    pub(super) fn acknowledged(&mut self, h: u32) -> Result<(), TooHigh> {
        let items = self.sent.answered(h)?;
        let earlier = std::mem::take(&mut self.before);
        self.settle(earlier);
        self.settle(items);
        Ok(())
    }

    fn settle(&mut self, items: Vec<Sent>) {
        for (at, lane) in self.lanes.iter().enumerate() {
            let of_lane = items.iter().filter(|item| item.lane == at);
            if let Some(last) = of_lane.filter_map(|item| item.seq).max() {
                settle(&self.router, &lane.queue, last);
            }
        }
    }

    /// Waits for what the next [`Sending::fill`] is for. Cancel-safe.
    pub(super) async fn wait(&mut self) -> Woken {
        let Self { lanes, pong, .. } = self;
        let called = poll_fn(|cx| {
            for (at, lane) in lanes.iter_mut().enumerate() {
                if let Some((to, page)) = &mut lane.page
                    && let Poll::Ready(rows) = page.as_mut().poll(cx)
                {
                    let to = *to;
                    lane.page = None;
                    return Poll::Ready(Woken::Page(at, to, rows));
                }
                if pin!(lane.queue.ready()).poll(cx).is_ready() {
                    return Poll::Ready(Woken::Queue);
                }
            }
            Poll::Pending
        });
        let pong = async {
            match pong {
                Some(pong) => pong.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (sent, answered) = pong => Woken::Pong(sent, answered),
            woken = called => woken,
        }
    }

    /// Takes what [`Sending::wait`] found. False if the peer did not answer.
    pub(super) fn on(&mut self, woken: Woken) -> bool {
        match woken {
            Woken::Queue => true,
            Woken::Pong(sent, answered) => {
                self.pong = None;
                self.answers |= answered;
                answered && self.acknowledged(sent).is_ok()
            }
            Woken::Page(at, to, rows) => {
                let Some(lane) = self.lanes.get_mut(at) else { return true };
                match rows {
                    Ok(rows) => {
                        let short = rows.len() < PAGE_ROWS;
                        lane.read_to = match rows.last() {
                            Some(last) if !short => last.seq,
                            _ => to,
                        };
                        if rows.is_empty() {
                            lane.queue.read_to(to);
                        }
                        lane.rows = rows.into();
                        true
                    }
                    Err(error) => {
                        tracing::error!(%error, "what waits for another server could not be read");
                        false
                    }
                }
            }
        }
    }

    /// The nearest deadline, if nothing else happens.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let ask = self.sent.due(now).filter(|_| self.pong.is_none());
        ask.into_iter().chain(self.sent.overdue_at(true, now)).min()
    }

    /// Whether the peer has not answered in time.
    pub(super) fn is_overdue(&mut self, heard: Instant, now: Instant) -> bool {
        match self.sent.overdue(heard, true, now) {
            None => {
                // It talks, and is asked again.
                if self.confirms == Confirms::Pings && self.sent.overdue_at(true, now).is_none() {
                    self.pong = None;
                }
                false
            }
            Some(Overdue::Silent | Overdue::Full) => true,
        }
    }

    /// Until when an answer should come, and the bytes of the connection up to the end of the question; `None` if
    /// there is none.
    pub(super) fn asked(&self, now: Instant) -> Option<(Instant, u64)> {
        Some((self.sent.overdue_at(true, now)?, self.pinged.1))
    }

    /// When the next question is due.
    pub(super) fn asks_at(&self, now: Instant) -> Option<Instant> {
        self.sent.due(now).filter(|_| self.pong.is_none())
    }

    /// Whether the peer has ever answered a ping.
    pub(super) fn is_answered(&self) -> bool {
        self.answers
    }

    /// The peer answers no pings, but has taken the last one: all before it counts as acknowledged.
    pub(super) fn assume_pinged(&mut self) {
        self.pong = None;
        let _ = self.acknowledged(self.pinged.0);
    }

    /// The same for the oldest half of what was sent, if it is as much as may be.
    pub(super) fn assume_half(&mut self) {
        if self.sent.is_full() {
            let waiting = self.sent.sent().wrapping_sub(self.sent.acked());
            let half = self.sent.acked().wrapping_add(waiting.div_ceil(2));
            if let Ok(items) = self.sent.acknowledge(half) {
                self.settle(items);
            }
        }
    }

    /// XEP-0198 §4, for what the peer asks.
    pub(super) fn management(&mut self) -> &mut StreamManagement<Sent> {
        &mut self.sent
    }

    /// Another connection, on which the former stream is resumed: what the peer does not have is sent again.
    pub(super) fn resumed(&mut self, h: u32, wire: &mut PeerWire) -> Result<(), TooHigh> {
        let items = self.sent.acknowledge(h)?;
        self.settle(items);
        self.sent.reconnected();
        self.sent.unacked().for_each(|sent| wire.queue_frame(sent.frame.clone()));
        self.confirmed_by(Confirms::Management);
        Ok(())
    }

    /// The connection is gone, and the stream may be resumed.
    pub(super) fn disconnected(&mut self) {
        self.sent.disconnected();
        self.confirms = Confirms::NotYet;
        self.pong = None;
    }

    /// All that was written before the peer closed its stream in good order was taken (RFC 6120 §4.4).
    pub(super) fn closed_by_peer(&mut self) {
        let sent = self.sent.sent();
        let _ = self.acknowledged(sent);
    }

    /// The stream is over: what was not acknowledged, and what was not sent, waits for the next one. Gives back its
    /// queues.
    pub(super) fn end(self) -> Vec<Arc<PeerQueue>> {
        let waits = |lane: Lane| {
            lane.queue.seek();
            lane.queue.send_anew();
            lane.queue
        };
        self.lanes.into_iter().map(waits).collect()
    }

    /// Forgets what was sent, and begins anew: the former stream could not be resumed.
    pub(super) fn begin_anew(&mut self, bounds: Bounds) {
        self.sent = StreamManagement::new(0, bounds);
        self.before = Vec::new();
        for lane in &mut self.lanes {
            (lane.page, lane.rows) = (None, VecDeque::new());
            lane.queue.send_anew();
        }
    }
}

/// What [`Sending::wait`] found.
pub(super) enum Woken {
    /// Something is queued.
    Queue,
    /// The ping behind so many stanzas was answered, or will not be.
    Pong(u32, bool),
    /// Messages were read from the store.
    Page(usize, i64, Result<Vec<PeerRow>, StoreError>),
}

fn page(router: &Arc<Router>, queue: &Arc<PeerQueue>, span: (i64, i64)) -> Page {
    let (store, queue) = (router.store.clone(), queue.clone());
    Box::pin(async move {
        // Those that were queued a moment ago are there, too (promise.md 7).
        store.barrier().await?;
        store
            .read(move |tx| {
                let pair = (&*queue.pair.local, &*queue.pair.remote);
                peer_queue::page(tx, pair, span, PAGE_ROWS)
            })
            .await
    })
}

/// The peer has acknowledged the messages of a queue up to this one, or they were given up.
pub(super) fn settle(router: &Router, queue: &Arc<PeerQueue>, seq: i64) {
    if let Some(span) = queue.settle(seq) {
        router.store.write_behind(Box::new(Settled { queue: queue.clone(), span }));
    }
}

/// Rows that are not needed any more.
struct Settled {
    queue: Arc<PeerQueue>,
    span: (i64, i64),
}

impl Job for Settled {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let pair = &self.queue.pair;
        peer_queue::delete(tx, (&pair.local, &pair.remote), self.span)
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            // They are sent once more after a restart, which promise.md 8 allows.
            tracing::debug!(%error, "rows of acknowledged messages were not deleted");
        }
    }
}

/// A message that has waited says since when (XEP-0203).
fn stamped(local: &str, frame: Frame, at: i64, wall: i64) -> Frame {
    let late = at > 0 && wall.saturating_sub(at) > LATE_MICROS;
    let is_message = frame.head.starts_with(b"<message")
        || (frame.head.is_empty() && frame.tail.starts_with(b"<message"));
    match late && is_message && (frame.tail.ends_with(b"</message>") || !frame.end.is_empty()) {
        true => frame.with(&delay(local, from_micros(at))),
        false => frame,
    }
}

/// Tells whoever waits for an answer that there is none.
pub(super) async fn give_up(cx: &Cx, stanzas: impl IntoIterator<Item = Frame>, why: &StanzaError) {
    for frame in stanzas {
        let Some(stanza) = Stanza::ours(frame.to_vec().into()) else { continue };
        if stanza.kind() == Kind::Presence {
            continue;
        }
        let from = stanza.to().map(Jid::as_str);
        let reply = error_reply(stanza.element(), from, stanza.from(), why);
        if let Some(reply) = reply.and_then(Stanza::ours) {
            cx.send(&reply).await;
        }
    }
}

/// Bytes that are given to the connection at a time.
const WRITE_BYTES: usize = 65_536;
/// Messages that are read from the store at a time.
const PAGE_ROWS: usize = 64;
/// A message is late that waited for so many microseconds.
const LATE_MICROS: i64 = 10_000_000;
