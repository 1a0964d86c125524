//! The line of tasks that wait for room in the writer's queue: first come, first served, without exception.
//! They wait to write for clients; half of the queue stays free for the server's own work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The waiting tasks, and the grants already given out.
pub(super) struct Line<G> {
    waiting: VecDeque<Waiter<G>>,
    /// Number of grants that are out, and their bytes.
    pub(super) granted: usize,
    pub(super) granted_bytes: usize,
}

/// A waiting task, with the size of what it wants to queue.
pub(super) struct Waiter<G> {
    pub(super) bytes: usize,
    pub(super) tell: oneshot::Sender<G>,
}

impl<G> Default for Line<G> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), granted: 0, granted_bytes: 0 }
    }
}

impl<G> Line<G> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn join(&mut self, bytes: usize) -> oneshot::Receiver<G> {
        let (tell, told) = oneshot::channel();
        self.waiting.push_back(Waiter { bytes, tell });
        told
    }

    pub(super) fn grant(&mut self, bytes: usize) {
        self.granted += 1;
        self.granted_bytes += bytes;
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.granted -= 1;
        self.granted_bytes -= bytes;
    }

    /// The size of what the first task that still waits wants to queue.
    pub(super) fn first(&mut self) -> Option<usize> {
        while self.waiting.pop_front_if(|waiter| waiter.tell.is_closed()).is_some() {}
        self.waiting.front().map(|waiter| waiter.bytes)
    }

    /// Takes the first task out of the line and counts its grant.
    pub(super) fn admit(&mut self) -> Option<Waiter<G>> {
        let waiter = self.waiting.pop_front()?;
        self.grant(waiter.bytes);
        Some(waiter)
    }

    /// Ends the line because the queue is closed.
    pub(super) fn dissolve(&mut self) {
        self.waiting = VecDeque::new();
    }
}

/// Read for each message and rarely written, so it has a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
pub(super) struct Signs {
    /// More than half of the queue is in use, or a task waits for room.
    pub(super) crowded: AtomicBool,
    /// The last batch was lost, and nothing was written since.
    pub(super) refusing: AtomicBool,
}

/// Counts since the start.
#[derive(Default)]
pub(super) struct Counts {
    /// Writes that waited for room.
    pub(super) waited: AtomicU64,
    /// Writes for which there was no room.
    pub(super) full: AtomicU64,
    /// Messages refused because nothing could be written.
    pub(super) refused: AtomicU64,
}

impl Counts {
    pub(super) fn add(count: &AtomicU64) -> u64 {
        count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The load of the writer, for an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Writes that wait, and their bytes.
    pub queued: usize,
    /// See `queued`.
    pub bytes: usize,
    /// Tasks that wait for room.
    pub waiting: usize,
    /// Writes that had to wait for room since the start.
    pub waited: u64,
    /// Writes for which there was no room.
    pub full: u64,
    /// Messages refused since the start because nothing could be written.
    pub refused: u64,
    /// Whether nothing can be written now.
    pub refusing: bool,
}

/// An overload as the log reports it: once when it begins, and once when it has been over for a while.
#[derive(Default)]
pub(super) struct Episode {
    /// When it began, when it was last seen, and how many writes had waited before it.
    said: Option<(Instant, Instant, u64)>,
}

/// A report for the log.
pub(super) enum Word {
    /// The overload begins.
    Begins,
    /// It is over: how many writes waited, and for how long it lasted.
    Ended(u64, Duration),
}

impl Word {
    pub(super) fn say(self) {
        match self {
            Self::Begins => tracing::warn!(
                "more is to be written than the disk takes: those who send wait for it"
            ),
            Self::Ended(waited, took) => tracing::info!(
                waited,
                secs = took.as_secs(),
                "the disk keeps up again: nobody waits for it"
            ),
        }
    }
}

impl Episode {
    /// Notes that a task waits; returns a report if that begins an overload.
    pub(super) fn begin(&mut self, waited: u64, now: Instant) -> Option<Word> {
        let news = self.said.is_none();
        let (_, last, _) = self.said.get_or_insert((now, now, waited));
        *last = now;
        news.then_some(Word::Begins)
    }

    /// Returns a report if the overload has been over for a while.
    pub(super) fn look(&mut self, crowded: bool, waited: u64, now: Instant) -> Option<Word> {
        let (since, last, before) = self.said.as_mut()?;
        if crowded {
            *last = now;
        }
        if now < *last + CALM {
            return None;
        }
        let ended = Word::Ended(waited - *before, *last - *since);
        self.said = None;
        Some(ended)
    }

    /// When to look again, if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.said.map(|(_, last, _)| last + CALM)
    }
}

/// An overload is over when none was seen for this long.
const CALM: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::options::now;
    use super::*;

    #[test]
    fn an_overload_is_said_when_it_begins_and_when_it_was_over_for_a_while() {
        let (mut episode, start) = (Episode::default(), now());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(episode.look(true, 0, at(0)).is_none() && episode.due().is_none());
        assert!(matches!(episode.begin(5, at(0)), Some(Word::Begins)));
        assert!(episode.begin(6, at(1)).is_none());
        assert!(episode.look(false, 7, at(2)).is_none());
        assert!(episode.look(true, 8, at(4)).is_none());
        assert_eq!(episode.due(), Some(at(14)));
        assert!(episode.look(false, 9, at(13)).is_none());
        match episode.look(false, 9, at(14)) {
            Some(Word::Ended(4, took)) => assert_eq!(took, Duration::from_secs(4)),
            _ => panic!("not ended"),
        }
        assert!(episode.look(false, 9, at(30)).is_none());
        assert!(matches!(episode.begin(9, at(31)), Some(Word::Begins)));
    }
}
