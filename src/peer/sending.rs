//! What we send to another server on one stream: taken from the queues of its pairs of domains, and remembered
//! until the peer has acknowledged it (promise.md).
//!
//! The peer acknowledges by XEP-0198, or by answering a ping that was written behind what it acknowledges.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::clock;
use super::dial::PeerTransport;
use super::rows::{PAGE_ROWS, Page, page, settle, stamped};
use crate::base::id::{self, OsRng};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::router::Router;
use crate::router::outbox::Outgoing;
use crate::router::peer_queue::{Next, PeerQueue};
use crate::session::wire::Wire;
use crate::stanza::Frame;
use crate::store::StoreError;
use crate::store::peer_queue::PeerRow;
use crate::stream::sm::{self, Bounds, Overdue, StreamManagement, TooHigh};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The connection under a stream with another server.
pub(super) type PeerWire = Wire<dyn PeerTransport>;

/// The queues that one stream serves.
pub(super) struct Sending {
    pub(super) router: Arc<Router>,
    pub(super) lanes: Vec<Lane>,
    /// Counts the turns.
    turn: usize,
    /// What was sent and not acknowledged.
    pub(super) sent: StreamManagement<Sent>,
    /// Of that, only the counts and positions are left.
    pub(super) bare: bool,
    /// What was sent before the peer enabled XEP-0198, and not acknowledged: its first count says that it has them.
    pub(super) before: Vec<Sent>,
    pub(super) confirms: Confirms,
    pub(super) pong: Option<Pong>,
    /// Bytes of one stanza that the peer takes (XEP-0478).
    stanza_bytes_max: usize,
    /// What it does not take, for its senders.
    too_large: Vec<Frame>,
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

pub(super) type Pong = Pin<Box<dyn Future<Output = Ponged> + Send>>;

/// What came of a ping.
pub(super) enum Ponged {
    /// The peer has handled so many stanzas.
    Answered(u32),
    /// It said nothing in time.
    Late,
    /// The server has too many questions open, or stops: to be asked again.
    Busy,
}

/// One pair of domains.
pub(super) struct Lane {
    pub(super) queue: Arc<PeerQueue>,
    /// Messages that are being read from the store: up to this position.
    pub(super) page: Option<(i64, Page)>,
    /// Those that were read, and the position that is reached when they are sent.
    pub(super) rows: VecDeque<PeerRow>,
    pub(super) read_to: i64,
    /// A guest's: dropped with this.
    pub(super) place: Option<oneshot::Sender<()>>,
}

/// A stanza that was sent.
pub(super) struct Sent {
    pub(super) lane: usize,
    pub(super) seq: Option<i64>,
    pub(super) frame: Frame,
}

impl Sending {
    pub(super) fn new(router: Arc<Router>, bounds: Bounds) -> Self {
        let sent = StreamManagement::new(0, bounds);
        Self {
            router,
            lanes: Vec::new(),
            turn: 0,
            sent,
            bare: false,
            before: Vec::new(),
            confirms: Confirms::NotYet,
            pong: None,
            stanza_bytes_max: usize::MAX,
            too_large: Vec::new(),
            pinged: (0, 0),
            answers: false,
            asker: None,
            uncounted: 0,
        }
    }

    /// The peer takes no larger stanzas (XEP-0478 §3).
    pub(super) fn bound(&mut self, stanza_bytes_max: u64) {
        self.stanza_bytes_max = usize::try_from(stanza_bytes_max).unwrap_or(usize::MAX);
    }

    /// Stanzas that the peer does not take.
    pub(super) fn take_too_large(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.too_large)
    }

    /// The same for a component: this domain of ours asks.
    pub(super) fn asking_as(self, asker: &str) -> Self {
        Self { asker: Some(asker.into()), ..self }
    }

    /// Serves this queue, too.
    pub(super) fn add(&mut self, queue: Arc<PeerQueue>) {
        queue.opened(micros(clock::wall()));
        self.lanes.push(Lane { queue, page: None, rows: VecDeque::new(), read_to: 0, place: None });
    }

    /// Serves this queue of another task's, too, which learns by `place` when it is served no more.
    pub(super) fn add_guest(&mut self, queue: Arc<PeerQueue>, place: oneshot::Sender<()>) {
        self.add(queue);
        if let Some(lane) = self.lanes.last_mut() {
            lane.place = Some(place);
        }
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

    /// The peer enables XEP-0198 in the middle of the stream, or resumes a former one on which it has handled `h`
    /// stanzas: what was sent before is not counted. True if it is to be asked for its count, which says that it has
    /// that, too.
    pub(super) fn counts_from_here(&mut self, h: u32, bounds: Bounds) -> bool {
        let earlier = std::mem::replace(&mut self.sent, StreamManagement::new(h, bounds));
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
        // Each pair begins in its turn, so that none waits for another that has much.
        let lanes = self.lanes.len();
        self.turn = self.turn.wrapping_add(1) % lanes.max(1);
        let first = self.turn;
        for at in (first..lanes).chain(0..first) {
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
        // Not more than one page has: what is read is all that there is up to its end.
        match lane.queue.next(WRITE_BYTES, room.min(PAGE_ROWS), wall) {
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
        if bytes > self.stanza_bytes_max {
            return self.too_large(lane, item.owed, frame);
        }
        self.uncounted += 1;
        self.sent.push(Sent { lane, seq: item.owed, frame: frame.clone() }, bytes);
        wire.queue_frame(frame);
    }

    /// Its row goes with those of later messages, or now, if nothing before it is on its way.
    fn too_large(&mut self, lane: usize, seq: Option<i64>, frame: Frame) {
        self.too_large.push(frame);
        if let (Some(lane), Some(seq), true) = (self.lanes.get(lane), seq, self.is_settled()) {
            settle(&self.router, &lane.queue, seq);
        }
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
        // What a component's silence means is for its stream to say.
        let patience = if self.asker.is_some() { FOR_EVER } else { router.limits.ping_timeout };
        self.pinged = (sent, wire.written() + wire.queued() as u64);
        // The question is open before the ping is written: this is polled first.
        self.pong = Some(Box::pin(async move {
            let Some(question) = router.questions.open(&local, &remote, &id) else {
                sleep(ASK_AGAIN).await;
                return Ponged::Busy;
            };
            match timeout(patience, question.answered()).await {
                Ok(Some(_)) => Ponged::Answered(sent),
                Ok(None) => Ponged::Busy,
                Err(_) => Ponged::Late,
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

    pub(super) fn settle(&mut self, items: Vec<Sent>) {
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
            ponged = pong => Woken::Pong(ponged),
            woken = called => woken,
        }
    }

    /// Takes what [`Sending::wait`] found. False if the peer did not answer.
    pub(super) fn on(&mut self, woken: Woken) -> bool {
        match woken {
            Woken::Queue => true,
            Woken::Pong(ponged) => {
                self.pong = None;
                match ponged {
                    Ponged::Answered(sent) => {
                        self.answers = true;
                        self.acknowledged(sent).is_ok()
                    }
                    Ponged::Late => false,
                    Ponged::Busy => {
                        self.sent.not_asked();
                        true
                    }
                }
            }
            Woken::Page(at, to, rows) => {
                let Some(lane) = self.lanes.get_mut(at) else { return true };
                match rows {
                    Ok(rows) => {
                        lane.read_to = to;
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
    pub(super) fn due(&self, listens: bool, now: Instant) -> Option<Instant> {
        if self.confirms == Confirms::NotYet {
            return None;
        }
        let ask = self.sent.due(now).filter(|_| self.pong.is_none());
        // A ping has its own time.
        let managed = self.confirms == Confirms::Management;
        let overdue = self.sent.overdue_at(listens, now).filter(|_| managed);
        ask.into_iter().chain(overdue).min()
    }

    /// Whether the peer has not answered in time. While we do not read, it may have.
    pub(super) fn is_overdue(&mut self, heard: Instant, listens: bool, now: Instant) -> bool {
        if self.confirms == Confirms::NotYet {
            return false;
        }
        let overdue = self.sent.overdue(heard, listens, now);
        if overdue.is_none() && self.asker.is_some() && self.sent.overdue_at(true, now).is_none() {
            // A component that talks is asked again.
            self.pong = None;
        }
        matches!(overdue, Some(Overdue::Silent | Overdue::Full))
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
}

/// What [`Sending::wait`] found.
pub(super) enum Woken {
    /// Something is queued.
    Queue,
    /// Something came of a ping.
    Pong(Ponged),
    /// Messages were read from the store.
    Page(usize, i64, Result<Vec<PeerRow>, StoreError>),
}

/// Bytes that are given to the connection at a time.
const WRITE_BYTES: usize = 65_536;
/// When to ask again if no question can be asked now.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longer than a component's silence means nothing.
const FOR_EVER: Duration = Duration::from_secs(86_400);
