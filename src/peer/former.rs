//! What was sent on a stream that is over, and not acknowledged: kept until the peer says how much of it it has
//! (XEP-0198 §5), or left to the next stream.

use std::collections::VecDeque;
use std::sync::Arc;

use super::sending::{Confirms, Lane, PeerWire, Sending, Sent};
use crate::router::handled_count::HandledCount;
use crate::router::peer_queue::PeerQueue;
use crate::stanza::Frame;
use crate::stream::sm::{Bounds, StreamManagement, TooHigh};

/// What we keep to resume a stream of ours on another connection.
#[derive(Debug)]
pub(super) struct Former {
    /// Its SM-ID.
    pub(super) previd: String,
    /// What came on it, for bidirectional ones.
    pub(super) handled_count: Arc<HandledCount>,
    /// How often the peer was asked and said nothing.
    unanswered: u32,
}

impl Former {
    pub(super) fn new(previd: String, handled_count: Arc<HandledCount>) -> Self {
        Self { previd, handled_count, unanswered: 0 }
    }

    /// The connection was lost before the peer answered. A peer that always hangs up then is not asked for ever.
    pub(super) fn again(self) -> Option<Self> {
        let unanswered = self.unanswered + 1;
        (unanswered < ASKED_MAX).then_some(Self { unanswered, ..self })
    }
}

impl Sending {
    /// Another connection, on which the former stream is resumed: what the peer does not have is sent again.
    pub(super) fn resumed(
        &mut self,
        h: u32,
        wire: &mut PeerWire,
        bounds: Bounds,
    ) -> Result<(), TooHigh> {
        let items = self.sent.acknowledge(h)?;
        self.settle(items);
        if self.bare {
            // The peer counts on from here, whatever comes.
            self.send_anew(self.sent.acked(), bounds);
        } else {
            self.sent.reconnected();
            self.sent.unacked().for_each(|sent| wire.queue_frame(sent.frame.clone()));
        }
        self.confirmed_by(Confirms::Management);
        Ok(())
    }

    /// The connection is gone, and the stream may be resumed.
    pub(super) fn disconnected(&mut self) {
        self.sent.disconnected();
        // Nothing is asked on the next connection.
        self.sent.reconnected();
        self.confirms = Confirms::NotYet;
        self.pong = None;
    }

    /// There is no next connection for now: what was sent is in the store if it has a row, and only the count of it is
    /// kept, by which the peer may still say how much it has. Gives back the requests, as [`Sending::end`] does.
    pub(super) fn keep_counts(&mut self, bounds: Bounds) -> Vec<Frame> {
        let acked = self.sent.acked();
        let former = std::mem::replace(&mut self.sent, StreamManagement::new(acked, bounds));
        let mut sent = std::mem::take(&mut self.before);
        let before = sent.len();
        sent.extend(former.into_unacked());
        let mut frames = Vec::new();
        for (at, mut one) in sent.into_iter().enumerate() {
            frames.extend(request(&one).cloned());
            one.frame = Frame::of("", Vec::new());
            match at < before {
                true => self.before.push(one),
                false => self.sent.push(one, 0),
            }
        }
        self.bare = true;
        frames
    }

    /// All that was written before the peer closed its stream in good order was taken (RFC 6120 §4.4). With XEP-0198
    /// its count alone says so.
    pub(super) fn closed_by_peer(&mut self) {
        if self.confirms == Confirms::Pings {
            let sent = self.sent.sent();
            let _ = self.acknowledged(sent);
        }
    }

    /// The stream is over: what was not acknowledged, and what was not sent, waits for the next one. Gives back its
    /// queues, and requests that were sent: whether they arrived nobody knows, and who asked is told so.
    pub(super) fn end(self) -> (Vec<Arc<PeerQueue>>, Vec<Frame>) {
        let queues = self.queues();
        (queues, requests(self.before.into_iter().chain(self.sent.into_unacked())))
    }

    /// Whether something is not acknowledged, and a count of the peer's would tell what of it it has.
    pub(super) fn is_counted(&self) -> bool {
        self.before.is_empty() && !self.is_settled()
    }

    /// One for each queue, which knows the counts of all: after [`Sending::keep_counts`].
    pub(super) fn split(self, bounds: Bounds) -> Vec<(Arc<PeerQueue>, Self)> {
        let (acked, router) = (self.sent.acked(), self.router.clone());
        let sent: Vec<_> = self.sent.into_unacked().map(|one| (one.lane, one.seq)).collect();
        let part = |(at, lane): (usize, Lane)| {
            let queue = lane.queue.clone();
            queue.seek();
            queue.send_anew();
            let mut part = Self::new(router.clone(), bounds);
            part.sent = StreamManagement::new(acked, bounds);
            for (of, seq) in &sent {
                let lane = if *of == at { 0 } else { usize::MAX };
                part.sent.push(Sent { lane, seq: *seq, frame: Frame::of("", Vec::new()) }, 0);
            }
            part.lanes.push(Lane { page: None, rows: VecDeque::new(), ..lane });
            part.bare = true;
            part.disconnected();
            (queue, part)
        };
        self.lanes.into_iter().enumerate().map(part).collect()
    }

    /// The queues of other tasks.
    pub(super) fn guests(&self) -> impl Iterator<Item = &Arc<PeerQueue>> {
        self.lanes.iter().filter(|lane| lane.place.is_some()).map(|lane| &lane.queue)
    }

    /// Its queues, which wait for the next stream.
    pub(super) fn queues(&self) -> Vec<Arc<PeerQueue>> {
        let waits = |lane: &Lane| {
            lane.queue.seek();
            lane.queue.send_anew();
            lane.queue.clone()
        };
        self.lanes.iter().map(waits).collect()
    }

    /// Forgets what was sent, and begins anew: the former stream could not be resumed. Gives back the requests, as
    /// [`Sending::end`] does.
    pub(super) fn begin_anew(&mut self, bounds: Bounds) -> Vec<Frame> {
        requests(self.send_anew(0, bounds).into_iter())
    }

    /// Messages that were not acknowledged are sent once more, from the store, after so many stanzas. Gives back what
    /// was sent.
    fn send_anew(&mut self, acked: u32, bounds: Bounds) -> Vec<Sent> {
        let former = std::mem::replace(&mut self.sent, StreamManagement::new(acked, bounds));
        let mut sent = std::mem::take(&mut self.before);
        sent.extend(former.into_unacked());
        self.bare = false;
        // They go on from what the peer has, on a stream on which it knows them.
        self.lanes.retain(|lane| lane.place.is_none());
        for lane in &mut self.lanes {
            (lane.page, lane.rows) = (None, VecDeque::new());
            lane.queue.send_anew();
        }
        sent
    }
}

/// Connections on which a peer is asked for the count of one former stream.
const ASKED_MAX: u32 = 3;

fn requests(sent: impl Iterator<Item = Sent>) -> Vec<Frame> {
    sent.filter_map(|sent| request(&sent).cloned()).collect()
}

/// What somebody waits for an answer to: errors and results are none, and get no error.
fn request(sent: &Sent) -> Option<&Frame> {
    (sent.seq.is_none() && sent.frame.head.starts_with(b"<iq")).then_some(&sent.frame)
}
