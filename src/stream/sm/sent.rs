//! The stanzas sent on a stream that counts, until they are acknowledged, and when to request that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What was sent on a stream with stream management. `T` is what the server remembers of a stanza.
#[derive(Debug)]
pub(super) struct Sent<T> {
    /// Stanzas of ours that the peer reported as handled, wrapping at 2^32 (XEP-0198 §4).
    acked: u32,
    /// Like `acked`, but without wrapping, up to the most that a count can be behind.
    reach: u32,
    /// Stanzas sent and not acknowledged, oldest first, each with its bytes.
    unacked: VecDeque<(T, usize)>,
    bytes: usize,
    /// When the `<r/>` in flight was sent, moved on by the time in which we did not read.
    asked: Option<Instant>,
    /// When we last sent an `<r/>`, answered or not.
    last_asked: Option<Instant>,
    /// Stanzas and bytes sent since then.
    unasked: usize,
    unasked_bytes: usize,
    /// Whether to request again for stanzas that an earlier `<r/>` covered.
    again: bool,
    /// Stanzas after which an `<r/>` is sent without a pause.
    asks_after: usize,
}

/// The peer reports that it handled more than it was sent (XEP-0198 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooHigh {
    /// The peer's count.
    pub h: u32,
    /// The number of stanzas that it was sent.
    pub sent: u32,
}

/// Whether to send `<r/>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// No, not for what was sent so far.
    No,
    /// Yes, with this write.
    Now,
    /// At this time, if nothing more is sent until then.
    At(Instant),
}

#[cfg(test)]
impl<T> Default for Sent<T> {
    fn default() -> Self {
        Self::restored(0)
    }
}

impl<T> Sent<T> {
    /// A stream of which this many stanzas are acknowledged.
    pub fn restored(acked: u32) -> Self {
        Self {
            acked,
            reach: acked.min(REACH_MAX),
            unacked: VecDeque::new(),
            bytes: 0,
            asked: None,
            last_asked: None,
            unasked: 0,
            unasked_bytes: 0,
            again: false,
            asks_after: ASK_STANZAS,
        }
    }

    /// The same, that asks without a pause after so many stanzas.
    pub fn asking_after(self, asks_after: usize) -> Self {
        Self { asks_after, ..self }
    }

    /// The peer's count of the stanzas it acknowledged.
    pub fn acked(&self) -> u32 {
        self.acked
    }

    /// The number of stanzas that the peer was sent, wrapping.
    pub fn sent(&self) -> u32 {
        // The queue is bounded far below 2^32.
        self.acked.wrapping_add(u32::try_from(self.unacked.len()).unwrap_or(u32::MAX))
    }

    /// Notes a stanza that is being sent.
    pub fn push(&mut self, item: T, bytes: usize) {
        self.unacked.push_back((item, bytes));
        self.bytes += bytes;
        self.unasked += 1;
        self.unasked_bytes += bytes;
    }

    /// Takes the peer's count from `<a/>` or `<resume/>`, and returns the stanzas that it newly
    /// acknowledges. A count that is too low, but that the stream once had, is ignored: clients miscount
    /// (promise.md 6). All other counts are too high, wherever in the range of 2^32 they are.
    pub fn acknowledge(&mut self, h: u32) -> Result<Vec<T>, TooHigh> {
        let ahead = h.wrapping_sub(self.acked);
        let waiting = self.unacked.len();
        let news = match usize::try_from(ahead) {
            Ok(news) if news <= waiting => news,
            _ if self.acked.wrapping_sub(h) <= self.reach => 0,
            _ => return Err(TooHigh { h, sent: self.sent() }),
        };
        // Usually it acknowledges all of them: this frees their memory too, so that an idle session owns
        // none.
        let items: Vec<_> = match news == waiting {
            true => std::mem::take(&mut self.unacked).into(),
            false => self.unacked.drain(..news).collect(),
        };
        self.bytes -= items.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let news = u32::try_from(news).unwrap_or(0);
        self.acked = self.acked.wrapping_add(news);
        self.reach = self.reach.saturating_add(news).min(REACH_MAX);
        Ok(items.into_iter().map(|(item, _)| item).collect())
    }

    /// An `<a/>` answers the `<r/>` in flight.
    pub fn answered(&mut self) {
        self.asked = None;
    }

    /// The stanzas that are not acknowledged, oldest first.
    pub fn unacked(&self) -> impl Iterator<Item = &T> {
        self.unacked.iter().map(|(item, _)| item)
    }

    /// Ends the stream: returns the stanzas that were not acknowledged, to be delivered another way.
    pub fn into_unacked(self) -> impl Iterator<Item = T> {
        self.unacked.into_iter().map(|(item, _)| item)
    }

    /// Stanzas and bytes that are not acknowledged.
    pub fn waiting(&self) -> (usize, usize) {
        (self.unacked.len(), self.bytes)
    }

    /// When the `<r/>` whose answer is awaited was sent.
    pub fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// We have not read since then: an answer gets that much more time.
    pub fn unheard(&mut self, since: Instant, now: Instant) {
        if let Some(asked) = &mut self.asked {
            *asked += now.saturating_duration_since(since.max(*asked));
        }
    }

    /// Notes that an `<r/>` is being sent.
    pub fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
        self.last_asked = Some(now);
        self.unasked = 0;
        self.unasked_bytes = 0;
        self.again = false;
    }

    /// Notes that no answer came, or one that did not help: we will ask again in a while.
    pub fn unanswered(&mut self) {
        self.asked = None;
        self.again = true;
    }

    /// The stream has another connection, on which nothing is requested yet.
    pub fn reconnected(&mut self) {
        self.unanswered();
        self.last_asked = None;
    }

    /// Called after each write. A lone stanza is sent with an `<r/>` at once, as XEP-0198 §8.2 advises for
    /// mobile networks; in a conversation only every few stanzas are; and none while an answer is awaited.
    pub fn policy(&self, now: Instant) -> Ask {
        let again = self.again && !self.unacked.is_empty();
        if self.asked.is_some() || (self.unasked == 0 && !again) {
            return Ask::No;
        }
        let quiet = self.last_asked.map_or(now, |last| last + ASK_PAUSE);
        let many = self.unasked >= self.asks_after || self.unasked_bytes >= ASK_BYTES;
        if many || quiet <= now { Ask::Now } else { Ask::At(quiet) }
    }
}

/// Half of the range: a count further behind than this is ahead.
const REACH_MAX: u32 = u32::MAX / 2;
/// The pause between two requests when little is sent.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// Stanzas after which a client is asked without a pause.
pub const ASK_STANZAS: usize = 10;
/// Like [`ASK_STANZAS`], but in bytes.
const ASK_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ack_gives_out_what_it_covers() {
        let mut sent = Sent::default();
        for item in 1..=5 {
            sent.push(item, 10);
        }
        assert_eq!(sent.acknowledge(2), Ok(vec![1, 2]));
        assert_eq!(sent.acknowledge(1), Ok(vec![]), "too low: the last true one");
        assert_eq!(sent.acknowledge(6), Err(TooHigh { h: 6, sent: 5 }));
        assert_eq!(sent.waiting(), (3, 30), "a lie changes nothing");
        assert_eq!(sent.acknowledge(5), Ok(vec![3, 4, 5]));
        assert_eq!((sent.acked(), sent.waiting()), (5, (0, 0)));
    }

    /// XEP-0198 §6: a count that the stream never had is wrong, wherever in the range it is.
    #[test]
    fn behind_is_only_what_was_acknowledged() {
        let mut sent = Sent::default();
        (1..=3).for_each(|item| sent.push(item, 1));
        let lies = [4, 1 << 20, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX];
        for h in lies {
            assert_eq!(sent.acknowledge(h), Err(TooHigh { h, sent: 3 }), "nothing acknowledged");
        }
        assert_eq!(sent.acknowledge(2), Ok(vec![1, 2]));
        for h in [0, 1, 2] {
            assert_eq!(sent.acknowledge(h), Ok(vec![]), "one that it had");
        }
        for h in lies {
            assert_eq!(sent.acknowledge(h), Err(TooHigh { h, sent: 3 }));
        }
        // Restored after a restart.
        let mut sent = Sent::<()>::restored(10);
        assert_eq!(sent.acknowledge(0), Ok(vec![]));
        assert_eq!(sent.acknowledge(u32::MAX), Err(TooHigh { h: u32::MAX, sent: 10 }));
        // One that has wrapped.
        let mut sent = Sent::restored(u32::MAX);
        sent.push((), 1);
        assert_eq!(sent.acknowledge(0), Ok(vec![()]));
        assert_eq!(sent.acknowledge(u32::MAX), Ok(vec![]));
        assert_eq!(sent.acknowledge(1), Err(TooHigh { h: 1, sent: 0 }));
    }

    #[test]
    fn counts_wrap() {
        let mut sent = Sent::restored(u32::MAX - 1);
        for item in 1..=4 {
            sent.push(item, 1);
        }
        assert_eq!(sent.sent(), 2);
        assert_eq!(sent.acknowledge(3), Err(TooHigh { h: 3, sent: 2 }));
        assert_eq!(sent.acknowledge(u32::MAX), Ok(vec![1]));
        assert_eq!(sent.acknowledge(u32::MAX - 5), Ok(vec![]));
        assert_eq!(sent.acknowledge(1), Ok(vec![2, 3]));
        assert_eq!(sent.acknowledge(u32::MAX), Ok(vec![]));
        assert_eq!(sent.acknowledge(2), Ok(vec![4]));
    }

    #[test]
    fn a_lone_stanza_is_asked_about_at_once_and_a_stream_of_them_now_and_then() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut sent = Sent::default();
        assert_eq!(sent.policy(start), Ask::No);
        sent.push((), 1);
        assert_eq!(sent.policy(start), Ask::Now);
        sent.ask(start);
        sent.push((), 1);
        assert_eq!(sent.policy(at(10)), Ask::No, "an answer is on its way");
        sent.answered();
        assert_eq!(sent.policy(at(10)), Ask::At(at(500)));
        assert_eq!(sent.policy(at(500)), Ask::Now);
        for _ in 1..ASK_STANZAS {
            sent.push((), 1);
        }
        assert_eq!(sent.policy(at(10)), Ask::Now, "many");
        sent.ask(at(10));
        sent.answered();
        sent.push((), ASK_BYTES);
        assert_eq!(sent.policy(at(10)), Ask::Now, "much");
        sent.ask(at(10));
        assert_eq!(sent.policy(at(600)), Ask::No, "asked about all");
        sent.unanswered();
        assert_eq!(sent.policy(at(20)), Ask::At(at(510)), "not without end");
        sent.ask(at(510));
        sent.reconnected();
        assert_eq!(sent.policy(at(10)), Ask::Now, "another connection");
    }

    proptest! {
        /// Against a model that counts without wrapping.
        #[test]
        fn the_queue_is_what_was_sent_less_what_was_acknowledged(
            start in prop_oneof![Just(0_u32), Just(u32::MAX - 20), any::<u32>()],
            steps in prop::collection::vec((any::<bool>(), -40_i64..40), 1..200),
        ) {
            let mut sent = Sent::restored(start);
            let (mut total, mut acked) = (0_i64, 0_i64);
            for (push, offset) in steps {
                if push {
                    sent.push(total, 1);
                    total += 1;
                    continue;
                }
                let says = acked + offset;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let h = (i64::from(start) + says).rem_euclid(1 << 32) as u32;
                let got = sent.acknowledge(h);
                if says > total || i64::from(start) + says < 0 {
                    prop_assert_eq!(got, Err(TooHigh { h, sent: sent.sent() }));
                } else {
                    let news: Vec<i64> = (acked..says.max(acked)).collect();
                    prop_assert_eq!(got, Ok(news));
                    acked = acked.max(says);
                }
                let left: Vec<i64> = sent.unacked().copied().collect();
                prop_assert_eq!(left, (acked..total).collect::<Vec<_>>());
            }
        }
    }
}
