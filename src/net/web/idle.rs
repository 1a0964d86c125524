//! Whether anything is done on a connection of HTTP. What the connection itself is told (pings, settings, half a
//! head) does not count: it costs who holds it nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::net::acceptor::Counted;

/// The requests of one connection.
pub struct Activity {
    state: Mutex<State>,
    handled: Notify,
}

struct State {
    /// Requests that are not answered yet.
    handling: usize,
    /// When somebody took of a response last, of each that is on its way.
    sending: Vec<(u64, Instant)>,
    /// Numbers responses.
    next: u64,
    /// When something was done last.
    since: Instant,
}

/// Why a connection is to end.
#[derive(Debug, PartialEq, Eq)]
pub enum Quiet {
    /// It has no requests.
    Idle,
    /// Nobody reads the responses.
    Stalled,
}

impl Activity {
    /// Of a connection that begins now.
    pub fn new() -> Arc<Self> {
        let state = State { handling: 0, sending: Vec::new(), next: 0, since: now() };
        Arc::new(Self { state: Mutex::new(state), handled: Notify::new() })
    }

    /// Notes a request.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.with(|state| state.handling += 1);
        Busy { activity: self.clone(), sends: None }
    }

    /// Waits until there was no request for `idle`, or nobody took of a response for `stalled`.
    pub async fn quiet(&self, idle: Duration, stalled: Duration) -> Quiet {
        loop {
            let (due, why) = {
                let state = self.state();
                // One response that nobody reads is enough, whatever else is asked for meanwhile.
                let oldest = state.sending.iter().map(|(_, at)| *at + stalled).min();
                match (oldest, state.handling) {
                    (Some(due), _) => (Some(due), Quiet::Stalled),
                    (None, 0) => (Some(state.since + idle), Quiet::Idle),
                    (None, _) => (None, Quiet::Idle),
                }
            };
            match due {
                Some(due) if due <= now() => return why,
                Some(due) => tokio::select! {
                    () = sleep_until(due.into()) => {}
                    () = self.handled.notified() => {}
                },
                None => self.handled.notified().await,
            }
        }
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.since = now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, until the last of its response is sent.
pub struct Busy {
    activity: Arc<Activity>,
    /// The number of its response.
    sends: Option<u64>,
}

impl Busy {
    /// The response, which the request and what counts it go with.
    pub fn answers(mut self, response: Response, counted: Arc<Counted>) -> Response {
        let mut number = 0;
        self.activity.with(|state| {
            state.handling = state.handling.saturating_sub(1);
            (number, state.next) = (state.next, state.next.wrapping_add(1));
            state.sending.push((number, now()));
        });
        self.sends = Some(number);
        self.activity.handled.notify_one();
        response.map(|body| Body::new(Sending { body, busy: self, _counted: counted }))
    }
}

impl Busy {
    fn is_read(&self) {
        let number = self.sends;
        self.activity.with(|state| {
            for (_, at) in state.sending.iter_mut().filter(|(one, _)| Some(*one) == number) {
                *at = now();
            }
        });
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let sends = self.sends;
        self.activity.with(|state| match sends {
            Some(number) => state.sending.retain(|(one, _)| *one != number),
            None => state.handling = state.handling.saturating_sub(1),
        });
        self.activity.handled.notify_one();
    }
}

/// The body of a response.
struct Sending {
    body: Body,
    busy: Busy,
    _counted: Arc<Counted>,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // There is room for more: somebody reads.
        self.busy.is_read();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_quiet_between_requests_only() {
        let (idle, stalled) = (Duration::from_millis(20), Duration::from_secs(60));
        let activity = Activity::new();
        assert_eq!(activity.quiet(idle, stalled).await, Quiet::Idle);
        let busy = activity.begin();
        let waits = tokio::time::timeout(idle * 5, activity.quiet(idle, stalled));
        assert!(waits.await.is_err(), "quiet in the middle of a request");
        drop(busy);
        assert_eq!(activity.quiet(idle, stalled).await, Quiet::Idle);
    }

    /// Other requests do not keep it.
    #[tokio::test]
    async fn a_response_that_nobody_reads_ends_the_connection() {
        let (idle, stalled) = (Duration::from_secs(60), Duration::from_millis(20));
        let activity = Activity::new();
        let mut unread = activity.begin();
        activity.with(|state| {
            state.handling = 0;
            state.sending.push((7, now()));
        });
        unread.sends = Some(7);
        let _other = activity.begin();
        assert_eq!(activity.quiet(idle, stalled).await, Quiet::Stalled);
        drop(unread);
        let waits = tokio::time::timeout(stalled * 5, activity.quiet(idle, stalled));
        assert!(waits.await.is_err(), "it is in the middle of the other one");
    }
}
