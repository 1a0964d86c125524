//! Whether anything is done on a connection of HTTP. What the connection itself is told (pings, settings, half a
//! head) does not count: it costs who holds it nothing. And how long the head of a request of HTTP/1.1 takes, which
//! hyper would count from when the connection has nothing to do.

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

use super::clock::now;
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
    /// When the first byte of a request came whose head is not whole.
    head: Option<Instant>,
    /// Whether heads begin with their first bytes: not in HTTP/2, which says more than requests.
    has_heads: bool,
}

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To have no request.
    pub idle: Duration,
    /// For the head of one.
    pub head: Duration,
    /// To take nothing of a response.
    pub stalled: Duration,
}

/// Why a connection is to end.
#[derive(Debug, PartialEq, Eq)]
pub enum Quiet {
    /// It has no requests.
    Idle,
    /// The head of a request does not come to its end.
    Head,
    /// Nobody reads the responses.
    Stalled,
}

impl Activity {
    /// Of a connection that begins now.
    pub fn new() -> Arc<Self> {
        let (sending, since) = (Vec::new(), now());
        let state = State { handling: 0, sending, next: 0, since, head: None, has_heads: true };
        Arc::new(Self { state: Mutex::new(state), handled: Notify::new() })
    }

    /// Notes a request.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.with(|state| {
            state.handling += 1;
            state.head = None;
        });
        Busy { activity: self.clone(), sends: None }
    }

    /// Notes what came. While there is no request it is the beginning of one.
    pub fn came(&self, bytes: &[u8]) {
        let mut state = self.state();
        // The preface of HTTP/2 (RFC 9113 §3.4). Of a connection that says it in pieces the first request is awaited as
        // of any other.
        if bytes.starts_with(b"PRI") {
            state.has_heads = false;
        }
        let begins = state.has_heads && state.handling == 0 && state.sending.is_empty();
        if begins && state.head.is_none() && !bytes.is_empty() {
            state.head = Some(now());
            self.handled.notify_one();
        }
    }

    /// This connection speaks HTTP/2.
    pub fn has_no_heads(&self) {
        let mut state = self.state();
        (state.has_heads, state.head) = (false, None);
    }

    /// Waits until one of these times is over.
    pub async fn quiet(&self, patience: Patience) -> Quiet {
        let Patience { idle, head, stalled } = patience;
        loop {
            let (due, why) = {
                let state = self.state();
                // One response that nobody reads is enough, whatever else is asked for meanwhile.
                let oldest = state.sending.iter().map(|(_, at)| *at + stalled).min();
                let idle = state.since + idle;
                match (oldest, state.handling, state.head.map(|at| at + head)) {
                    (Some(due), ..) => (Some(due), Quiet::Stalled),
                    (None, 0, Some(due)) if due < idle => (Some(due), Quiet::Head),
                    (None, 0, _) => (Some(idle), Quiet::Idle),
                    (None, ..) => (None, Quiet::Idle),
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_is_quiet_between_requests_only() {
        let patience = Patience { idle: SHORT, head: LONG, stalled: LONG };
        let activity = Activity::new();
        assert_eq!(activity.quiet(patience).await, Quiet::Idle);
        let busy = activity.begin();
        let waits = tokio::time::timeout(SHORT * 5, activity.quiet(patience));
        assert!(waits.await.is_err(), "quiet in the middle of a request");
        drop(busy);
        assert_eq!(activity.quiet(patience).await, Quiet::Idle);
    }

    /// Its time begins with its first byte, and that of the connection's idleness does not.
    #[tokio::test]
    async fn a_head_has_a_time_of_its_own() {
        let patience = Patience { idle: LONG, head: SHORT, stalled: LONG };
        let lasts = |activity: Arc<Activity>| async move {
            tokio::time::timeout(SHORT * 5, activity.quiet(patience)).await.is_err()
        };
        let activity = Activity::new();
        assert!(lasts(activity.clone()).await, "nothing has come");
        let busy = activity.begin();
        activity.came(b"the body of a request");
        drop(busy);
        assert!(lasts(activity.clone()).await);
        activity.came(b"G");
        activity.came(b"ET");
        assert_eq!(activity.quiet(patience).await, Quiet::Head);
        drop(activity.begin());
        assert!(lasts(activity.clone()).await, "the head is whole");
        let http2 = Activity::new();
        http2.came(b"PRI * HTTP/2.0");
        http2.came(b"settings");
        assert!(lasts(http2).await);
    }

    /// Other requests do not keep it.
    #[tokio::test]
    async fn a_response_that_nobody_reads_ends_the_connection() {
        let patience = Patience { idle: LONG, head: LONG, stalled: SHORT };
        let activity = Activity::new();
        let mut unread = activity.begin();
        activity.with(|state| {
            state.handling = 0;
            state.sending.push((7, now()));
        });
        unread.sends = Some(7);
        let _other = activity.begin();
        assert_eq!(activity.quiet(patience).await, Quiet::Stalled);
        drop(unread);
        let waits = tokio::time::timeout(SHORT * 5, activity.quiet(patience));
        assert!(waits.await.is_err(), "it is in the middle of the other one");
    }
}
