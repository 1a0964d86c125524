//! How long one stream waits for addressees who do not read what it brings: others wait behind them.
//!
//! As long as all that comes is for one addressee, whoever sends it may be slowed as a client is. Where others are
//! served by the same stream, the waits have a bound for all together; beyond it the slow one's box fills, as that of
//! any client who does not read: its session ends, and what it is owed stays in its mailbox (promise.md).

use std::time::{Duration, Instant};

use crate::session::pace::Bucket;

/// The patience of one stream.
#[derive(Debug)]
pub(super) struct Patience {
    /// In milliseconds.
    left: Bucket,
    at: Instant,
    /// The account that was waited for last, by its bare JID.
    slow: Option<Box<str>>,
    /// When anything last came for somebody else.
    others: Option<Instant>,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: Bucket::new(SHARE, BURST), at: now, slow: None, others: None }
    }

    /// Something came for this bare JID.
    pub(super) fn came(&mut self, to: &str, now: Instant) {
        if self.slow.as_deref().is_some_and(|slow| slow != to) {
            self.others = Some(now);
        }
    }

    /// How long this one may be waited for.
    pub(super) fn for_one(&mut self, to: &str, now: Instant) -> Duration {
        if self.slow.as_deref() != Some(to) {
            self.slow = Some(to.into());
        }
        let lately = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        if !self.others.is_some_and(lately) {
            return ALONE;
        }
        self.pass(now);
        Duration::from_secs_f32(self.left.left() / 1_000.0)
    }

    /// So long was waited, until now.
    pub(super) fn waited(&mut self, time: Duration, now: Instant) {
        self.pass(now);
        self.left.take((time.as_secs_f32() * 1_000.0).min(self.left.left()));
    }

    fn pass(&mut self, now: Instant) {
        self.left.pass(now.saturating_duration_since(self.at).as_secs_f32());
        self.at = now;
    }
}

/// Milliseconds of each second that a stream may wait on average while others are served by it, and those that it
/// may wait at once.
const SHARE: u32 = 100;
const BURST: u32 = 500;
/// How long whoever sends to one addressee alone may be slowed for each stanza.
const ALONE: Duration = Duration::from_secs(1);
/// Others are served by a stream that brought something for them within this time.
const REMEMBERED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::clock::now;

    const A_BIT: Duration = Duration::from_millis(1);

    #[test]
    fn one_alone_is_waited_for_and_among_others_little() {
        let start = now();
        let mut patience = Patience::new(start);
        for _ in 0..10 {
            patience.came("slow@x", start);
            assert_eq!(patience.for_one("slow@x", start), ALONE);
            patience.waited(ALONE, start);
        }
        patience.came("other@x", start);
        assert_eq!(patience.for_one("slow@x", start), Duration::ZERO, "nothing is left");
        let later = start + Duration::from_secs(1);
        assert!(patience.for_one("slow@x", later).abs_diff(Duration::from_millis(100)) < A_BIT);
        patience.waited(Duration::from_millis(100), later);
        // The burst bounds what is saved.
        let later = start + Duration::from_secs(200);
        patience.came("other@x", later);
        assert_eq!(patience.for_one("slow@x", later), Duration::from_millis(500));
        // Another slow one is one of the others.
        patience.waited(Duration::from_millis(500), later);
        patience.came("second@x", later);
        assert_eq!(patience.for_one("second@x", later), Duration::ZERO);
        // When nobody else has come for a while, it is alone again.
        assert_eq!(patience.for_one("slow@x", later + REMEMBERED), ALONE);
    }
}
