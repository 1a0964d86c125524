//! The way to a service for those who cannot wait for it: presence on behalf of sessions, subscription
//! stanzas after their commit, errors to what the service sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::stanza::Frame;

/// Stanzas for one service, in order. One task takes them; sessions that send directly wait for those that
/// were put before.
#[derive(Debug)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    /// Stanzas put since the start, and those of them that were handled: whoever sends directly looks at these two
    /// alone, mostly.
    put: AtomicU64,
    done: AtomicU64,
    /// A stanza was put, or the mailbox was closed.
    filled: Notify,
    /// A stanza was handled.
    handled: Notify,
    stanzas_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(stanzas_max: usize, bytes_max: usize) -> Self {
        let (filled, handled) = (Notify::new(), Notify::new());
        let (put, done) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { waiting: Mutex::default(), put, done, filled, handled, stanzas_max, bytes_max }
    }

    /// Puts an addressed frame. Beyond the bytes presence loses its content and keeps its meaning; all else,
    /// and what is beyond the stanzas, is dropped, and the log says so at the first and then ever more rarely.
    pub fn put(&self, to: &str, frame: Frame) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        let heavy = waiting.bytes + frame.len() > self.bytes_max;
        let frame = match heavy && !frame.tail.is_empty() && frame.head.starts_with(b"<presence") {
            true => Frame::of(frame.head, "/>"),
            false => frame,
        };
        let bare = frame.head.len() + 2 >= frame.len();
        if waiting.frames.len() >= self.stanzas_max || (heavy && !bare) {
            waiting.dropped += 1;
            let dropped = waiting.dropped;
            drop(waiting);
            if dropped.is_power_of_two() {
                tracing::warn!(
                    to,
                    dropped,
                    "a service has too much to do: stanzas for it were dropped"
                );
            }
            return;
        }
        waiting.bytes += frame.len();
        // Under the lock: nobody takes it before it is counted.
        self.put.fetch_add(1, Ordering::AcqRel);
        waiting.frames.push_back(frame);
        drop(waiting);
        self.filled.notify_one();
    }

    /// The next stanza; none when the mailbox is closed and empty. To be followed by [`Mailbox::done`].
    pub async fn next(&self) -> Option<Frame> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(frame) = waiting.frames.pop_front() {
                    waiting.bytes -= frame.len();
                    return Some(frame);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// What was taken is handled.
    pub fn done(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
        self.handled.notify_waiters();
    }

    /// Waits until all that was put so far is handled.
    pub async fn caught_up(&self) {
        let put = self.put.load(Ordering::Acquire);
        while self.done.load(Ordering::Acquire) < put {
            let handled = self.handled.notified();
            if self.done.load(Ordering::Acquire) >= put {
                return;
            }
            handled.await;
        }
    }

    /// Stanzas that wait, with the one that is being handled, and how many were dropped since the start.
    pub fn load(&self) -> (u64, u64) {
        let dropped = self.lock().dropped;
        let done = self.done.load(Ordering::Acquire);
        (self.put.load(Ordering::Acquire).saturating_sub(done), dropped)
    }

    /// Takes no more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn frame(text: &str) -> Frame {
        Frame::of(format!("<presence id='{text}'"), "><status>much</status></presence>")
    }

    fn ready<T>(work: impl Future<Output = T>) -> Option<T> {
        match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn too_many_bytes_cost_the_content_and_too_many_stanzas_the_rest() {
        let mailbox = Mailbox::new(3, frame("1").len() + 5);
        (1..=4).for_each(|n| mailbox.put("s", frame(&n.to_string())));
        let text = |frame: Frame| String::from_utf8(frame.to_vec()).unwrap();
        let taken: Vec<_> =
            (0..3).map(|_| text(ready(mailbox.next()).flatten().unwrap())).collect();
        assert!(taken[0].contains("much"));
        assert_eq!(taken[1..], ["<presence id='2'/>", "<presence id='3'/>"]);
        assert!(ready(mailbox.next()).is_none());
        mailbox.close();
        assert!(ready(mailbox.next()).unwrap().is_none());
    }

    /// A message without its text or an answer without its payload would say something else.
    #[test]
    fn what_is_no_presence_is_whole_or_not_there() {
        let mailbox = Mailbox::new(9, frame("1").len() + 5);
        mailbox.put("s", frame("1"));
        mailbox.put("s", Frame::of("<message id='2'", "><body>much</body></message>"));
        mailbox.put("s", Frame::of("<iq id='3'", "><query xmlns='x'/></iq>"));
        mailbox.close();
        assert!(ready(mailbox.next()).flatten().is_some());
        assert!(ready(mailbox.next()).unwrap().is_none());
    }

    #[test]
    fn who_sends_directly_waits_for_what_was_put_before() {
        let mailbox = Mailbox::new(9, 999);
        assert!(ready(mailbox.caught_up()).is_some());
        mailbox.put("s", frame("1"));
        let mut waiting = pin!(mailbox.caught_up());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        mailbox.put("s", frame("2"));
        assert!(ready(mailbox.next()).is_some());
        assert!(waiting.as_mut().poll(&mut cx).is_pending(), "taken is not handled");
        mailbox.done();
        assert!(waiting.as_mut().poll(&mut cx).is_ready(), "what came later is not waited for");
    }
}
