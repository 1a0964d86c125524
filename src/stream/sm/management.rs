//! One end of a stream with XEP-0198 enabled.

use std::time::{Duration, Instant};

use super::TooHigh;
use super::sent::{Ask, Sent};

/// One end of a stream that counts. The caller reports what is sent and received, and is given what to send
/// and when. `T` is what the server remembers of a stanza until the peer acknowledges it.
#[derive(Debug)]
pub struct StreamManagement<T> {
    sent: Sent<T>,
    /// The peer's `<r/>` that came before its earlier stanzas were handled.
    answer: Option<Answer>,
    bounds: Bounds,
}

/// The bounds on a peer.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Maximum number of stanzas that it is sent without acknowledging any of them.
    pub stanzas: usize,
    /// Like `stanzas`, but in bytes.
    pub bytes: usize,
    /// The peer's time to answer an `<r/>`.
    pub answers_within: Duration,
    /// Stanzas after which it is asked without a pause: `ASK_STANZAS` of a client.
    pub asks_after: usize,
}

#[derive(Debug)]
struct Answer {
    /// The number of stanzas that had come before the `<r/>`.
    stanzas: u64,
    /// promise.md 5: the time at which it is answered with the count so far; none if that is done.
    until: Option<Instant>,
}

/// What it means that an `<r/>` of ours was not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// The peer sent nothing else either.
    Silent,
    /// The peer sends, but acknowledges nothing: there is no more room to remember what it was sent.
    Full,
}

impl<T> StreamManagement<T> {
    /// A stream of which the peer has acknowledged this many stanzas: none when it begins.
    pub fn new(acked: u32, bounds: Bounds) -> Self {
        Self { sent: Sent::restored(acked).asking_after(bounds.asks_after), answer: None, bounds }
    }

    /// Notes a stanza that is being sent.
    pub fn push(&mut self, item: T, bytes: usize) {
        self.sent.push(item, bytes);
    }

    /// Takes the count of the peer's `<resume/>`, and returns what it acknowledges.
    pub fn acknowledge(&mut self, h: u32) -> Result<Vec<T>, TooHigh> {
        self.sent.acknowledge(h)
    }

    /// Like [`Self::acknowledge`], but for the count of an `<a/>`, requested or not.
    pub fn answered(&mut self, h: u32) -> Result<Vec<T>, TooHigh> {
        self.sent.answered();
        let items = self.sent.acknowledge(h)?;
        if self.is_full() {
            // The stream waits for the next `<a/>`.
            self.sent.unanswered();
        }
        Ok(items)
    }

    /// Whether the peer was sent as much as it may have without acknowledging any of it.
    pub fn is_full(&self) -> bool {
        let (stanzas, bytes) = self.sent.waiting();
        stanzas >= self.bounds.stanzas || bytes >= self.bounds.bytes
    }

    /// The number of stanzas that may be sent before the peer must acknowledge some.
    pub fn room(&self) -> usize {
        self.bounds.stanzas.saturating_sub(self.sent.waiting().0)
    }

    /// The bytes of the stanzas that are not acknowledged.
    pub fn unacked_bytes(&self) -> usize {
        self.sent.waiting().1
    }

    /// The stanzas that are not acknowledged, oldest first.
    pub fn unacked(&self) -> impl Iterator<Item = &T> {
        self.sent.unacked()
    }

    /// Ends the stream: returns the stanzas that were not acknowledged, to be delivered another way.
    pub fn into_unacked(self) -> impl Iterator<Item = T> {
        self.sent.into_unacked()
    }

    /// The number of stanzas that the peer was sent, wrapping.
    pub fn sent(&self) -> u32 {
        self.sent.sent()
    }

    /// The peer's count.
    pub fn acked(&self) -> u32 {
        self.sent.acked()
    }
}

/// The peer's requests.
impl<T> StreamManagement<T> {
    /// Handles an `<r/>` that came after `came` stanzas, of which `handled` are handled. True if it is to
    /// be answered now, because all of them are; otherwise it is answered when they are, or within a moment
    /// (promise.md 5).
    pub fn requested(&mut self, came: u64, handled: u64, now: Instant) -> bool {
        let earlier = self.answer.take().and_then(|answer| answer.until);
        if handled >= came {
            return true;
        }
        let until = Some(earlier.unwrap_or(now + ANSWER_WITHIN));
        self.answer = Some(Answer { stanzas: came, until });
        false
    }

    /// The number of stanzas that must be handled before the peer is answered.
    pub fn awaits(&self) -> Option<u64> {
        self.answer.as_ref().map(|answer| answer.stanzas)
    }

    /// Notes that they are handled. True if the peer is to be answered now.
    pub fn reached(&mut self) -> bool {
        self.answer.take().is_some()
    }

    /// Whether the peer is to be answered now, with the count so far. XEP-0198 §4: an answer must not be
    /// withheld. The peer gets the rest of the count when the stanzas are handled.
    pub fn answer_is_due(&mut self, now: Instant) -> bool {
        let answer = self.answer.as_mut();
        answer.is_some_and(|answer| answer.until.take_if(|until| *until <= now).is_some())
    }
}

/// Our requests.
impl<T> StreamManagement<T> {
    /// Called after each write. True if an `<r/>` goes with it.
    pub fn asks(&mut self, now: Instant) -> bool {
        let asks = self.sent.policy(now) == Ask::Now;
        if asks {
            self.sent.ask(now);
        }
        asks
    }

    /// The request could not be sent after all: it is sent again in a while.
    pub fn not_asked(&mut self) {
        self.sent.unanswered();
    }

    /// Called when the peer is silent. True if an `<r/>` is to show whether it is there: every peer answers
    /// one.
    pub fn asks_silent(&mut self, now: Instant) -> bool {
        let asks = self.sent.asked().is_none();
        if asks {
            self.sent.ask(now);
        }
        asks
    }

    /// When to call [`Self::asks`] or [`Self::answer_is_due`] next, if nothing comes before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let ask = match self.sent.policy(now) {
            Ask::At(at) => Some(at),
            Ask::Now | Ask::No => None,
        };
        let answer = self.answer.as_ref().and_then(|answer| answer.until);
        ask.into_iter().chain(answer).min()
    }

    /// When our `<r/>` becomes overdue. While we do not read (`listens` is false), it does not: the answer
    /// may be waiting.
    pub fn overdue_at(&self, listens: bool, now: Instant) -> Option<Instant> {
        let asked = self.sent.asked()?;
        Some(if listens { asked } else { now } + self.bounds.answers_within)
    }

    /// What it means that the `<r/>` is overdue; none if it is not, or if we will ask again in a while.
    /// `heard` is when anything last came from the peer.
    pub fn overdue(&mut self, heard: Instant, listens: bool, now: Instant) -> Option<Overdue> {
        let asked = self.sent.asked()?;
        self.overdue_at(listens, now).filter(|at| *at <= now)?;
        match (heard <= asked, self.is_full()) {
            (true, _) => Some(Overdue::Silent),
            (false, true) => Some(Overdue::Full),
            (false, false) => {
                self.sent.unanswered();
                None
            }
        }
    }

    /// We have not read since then: the peer gets that much more time.
    pub fn unheard(&mut self, since: Instant, now: Instant) {
        self.sent.unheard(since, now);
    }
}

/// Another connection (XEP-0198 §5).
impl<T> StreamManagement<T> {
    /// The connection is gone, and with it the peer's request.
    pub fn disconnected(&mut self) {
        self.answer = None;
    }

    /// There is another connection, on which nothing is requested yet.
    pub fn reconnected(&mut self) {
        self.sent.reconnected();
    }
}

/// promise.md 5
const ANSWER_WITHIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        stanzas: 3,
        bytes: 100,
        answers_within: Duration::from_secs(60),
        asks_after: super::super::ASK_STANZAS,
    };

    struct Clock(Instant);

    impl Clock {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn stream() -> (StreamManagement<&'static str>, Clock) {
        (StreamManagement::new(0, BOUNDS), Clock(Instant::now()))
    }

    /// promise.md 5
    #[test]
    fn a_count_is_told_when_it_is_whole_or_after_a_moment() {
        let (mut sm, clock) = stream();
        assert!(sm.requested(4, 4, clock.at(0)), "nothing hangs");
        assert_eq!((sm.awaits(), sm.due(clock.at(0))), (None, None));
        assert!(!sm.requested(5, 4, clock.at(0)));
        assert_eq!((sm.awaits(), sm.due(clock.at(0))), (Some(5), Some(clock.at(50))));
        assert!(!sm.requested(6, 4, clock.at(40)), "asked again, and waits no longer for that");
        assert_eq!((sm.awaits(), sm.due(clock.at(40))), (Some(6), Some(clock.at(50))));
        assert!(!sm.answer_is_due(clock.at(49)) && sm.answer_is_due(clock.at(50)));
        assert!(!sm.answer_is_due(clock.at(51)), "once");
        assert_eq!((sm.awaits(), sm.due(clock.at(51))), (Some(6), None), "the rest is still told");
        assert!(sm.reached() && !sm.reached());
        assert!(!sm.requested(7, 6, clock.at(60)));
        assert!(sm.requested(7, 7, clock.at(61)), "handled meanwhile");
        assert!(!sm.reached(), "which answers both");
        assert!(!sm.requested(8, 7, clock.at(70)));
        sm.disconnected();
        assert!(!sm.reached(), "who asked is gone");
    }

    #[test]
    fn a_peer_is_sent_so_much_without_acknowledging_it() {
        let (mut sm, clock) = stream();
        for item in ["a", "b"] {
            sm.push(item, 1);
        }
        assert_eq!((sm.is_full(), sm.room()), (false, 1));
        sm.push("c", 1);
        assert_eq!((sm.is_full(), sm.room()), (true, 0));
        assert!(sm.asks(clock.at(0)) && !sm.asks(clock.at(1)), "asked once");
        assert_eq!(sm.answered(0), Ok(vec![]), "it has handled none");
        assert_eq!(sm.due(clock.at(2)), Some(clock.at(500)), "asked again, as it is full");
        assert_eq!(sm.answered(2), Ok(vec!["a", "b"]));
        assert_eq!((sm.is_full(), sm.room(), sm.acked()), (false, 2, 2));
        assert_eq!(sm.answered(4), Err(TooHigh { h: 4, sent: 3 }));
        sm.push("d", 100);
        assert_eq!((sm.is_full(), sm.room(), sm.unacked_bytes()), (true, 1, 101), "much");
        assert_eq!(sm.into_unacked().collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn who_does_not_answer_is_silent_or_full_or_asked_again() {
        let (mut sm, clock) = stream();
        sm.push("a", 1);
        assert_eq!(sm.overdue_at(true, clock.at(0)), None);
        assert!(sm.asks(clock.at(0)));
        let minute = 60_000;
        assert_eq!(sm.overdue_at(true, clock.at(9)), Some(clock.at(minute)));
        assert_eq!(sm.overdue_at(false, clock.at(9)), Some(clock.at(minute + 9)), "nobody listens");
        assert_eq!(sm.overdue(clock.at(0), true, clock.at(minute - 1)), None);
        assert_eq!(sm.overdue(clock.at(0), false, clock.at(minute)), None);
        assert_eq!(sm.overdue(clock.at(0), true, clock.at(minute)), Some(Overdue::Silent));
        sm.unheard(clock.at(minute - 10), clock.at(minute));
        assert_eq!(sm.overdue(clock.at(0), true, clock.at(minute)), None, "it could not be heard");
        let late = clock.at(minute + 10);
        sm.push("b", 1);
        sm.push("c", 1);
        assert_eq!(sm.overdue(clock.at(50), true, late), Some(Overdue::Full));
        assert_eq!(sm.acknowledge(1), Ok(vec!["a"]));
        assert_eq!(sm.overdue(clock.at(50), true, late), None);
        assert!(sm.asks(late), "it talks: again");
    }

    #[test]
    fn who_is_silent_is_asked_once() {
        let (mut sm, clock) = stream();
        assert!(sm.asks_silent(clock.at(0)) && !sm.asks_silent(clock.at(1)));
        assert_eq!(sm.answered(0), Ok(vec![]));
        assert!(sm.asks_silent(clock.at(2)));
        sm.push("a", 1);
        sm.reconnected();
        assert!(sm.asks(clock.at(3)), "on another connection nothing is asked yet");
    }
}
