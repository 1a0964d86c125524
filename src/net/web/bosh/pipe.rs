//! Between the requests of a session and its stream: the stream sees a transport.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot, watch};

use super::body::{Condition, Created, Request};
use super::session::Session;
use super::terms::{Answers, Reply, Terms, Waiter};
use crate::net::acceptor::Counted;
use crate::net::web::clock::now;
use crate::session::transport::{StartTls, Transport};
use crate::stream::framing::bosh::said;

/// A session, for its requests.
pub struct Shared {
    /// The Content-Type of its responses.
    pub content: HeaderValue,
    /// Whether its requests must be encrypted (XEP-0124 §19.1).
    pub secure: bool,
    /// How long a request may be held.
    pub wait: Duration,
    /// Woken when [`Shared::expire`] may return something else.
    pub changed: Notify,
    state: Mutex<State>,
    /// Counts it among the streams of its address, with its stream.
    _counted: Arc<Counted>,
}

struct State {
    session: Session<Waiting>,
    /// The beginning of what the stream says next.
    spoken: BytesMut,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A request that waits for its answer.
pub struct Waiting(pub oneshot::Sender<Reply>);

impl Waiter for Waiting {
    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a session begins with.
pub struct Beginning {
    /// What was agreed.
    pub terms: Terms,
    /// What the client is told of it.
    pub created: Created,
    /// The request for it.
    pub request: Request,
    /// Who waits for the answer to that.
    pub waiter: Waiting,
    /// See [`Shared::content`].
    pub content: HeaderValue,
    /// See [`Shared::secure`].
    pub secure: bool,
    /// Counts it.
    pub counted: Arc<Counted>,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
}

/// A new session, and the transport of its stream.
pub fn begin(beginning: Beginning) -> (Arc<Shared>, Pipe) {
    let Beginning { terms, created, request, waiter, content, secure, counted, stopping } =
        beginning;
    let wait = terms.wait;
    let (session, answers) = Session::new(terms, created, request, waiter, now());
    let (spoken, reader, writer) = (BytesMut::new(), None, None);
    let state = Mutex::new(State { session, spoken, reader, writer });
    let changed = Notify::new();
    let shared = Arc::new(Shared { content, secure, wait, changed, state, _counted: counted });
    send(answers);
    (shared.clone(), Pipe { shared, stopping })
}

impl Shared {
    /// Takes a request.
    pub fn request(&self, request: Request, waiter: Waiting) {
        self.with(|session, now| ((), session.request(request, waiter, now)));
    }

    /// Ends it because of a request that cannot be read.
    pub fn refuse(&self, condition: Condition) -> Reply {
        self.with(|session, _| session.refuse(condition))
    }

    /// Looks whose connection is gone.
    pub fn look_who_left(&self) {
        self.changed.notify_one();
        self.with(|session, now| {
            session.look_who_left(now);
            ((), Vec::new())
        });
    }

    /// Answers whoever has waited long enough.
    pub fn look_who_waits(&self) {
        self.with(|session, now| ((), session.look_who_waits(now)));
    }

    /// Ends it if the client is gone. Returns when to look again; none once it is over.
    pub fn expire(&self) -> Option<Instant> {
        self.with(|session, now| (session.expire(now), Vec::new()))
    }

    /// Does something, then what follows of it when the lock is free.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Session<Waiting>, Instant) -> (T, Answers<Waiting>),
    ) -> T {
        let (result, answers, wakers) = {
            let mut state = self.state();
            let (result, answers) = work(&mut state.session, now());
            (result, answers, self.wakers(&mut state))
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        send(answers);
        result
    }

    /// Who can go on now.
    fn wakers(&self, state: &mut State) -> [Option<Waker>; 2] {
        let State { session, reader, writer, .. } = state;
        if session.is_over() || session.is_pausing() {
            self.changed.notify_one();
        }
        let reads = session.input_of_stream().is_none_or(|input| !input.is_empty());
        let writes = session.is_over() || session.output_bytes() < OUTPUT_MAX;
        [reads.then(|| reader.take()).flatten(), writes.then(|| writer.take()).flatten()]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is gone does not hear it; the answer is kept for when the request comes again.
fn send(answers: Answers<Waiting>) {
    answers.into_iter().for_each(|(waiter, reply)| _ = waiter.0.send(reply));
}

/// The transport of the stream.
pub struct Pipe {
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
}

impl Transport for Pipe {
    fn start_tls<'a>(&'a mut self, _: &'a str) -> StartTls<'a> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let condition = match *self.stopping.borrow() {
            true => Condition::SystemShutdown,
            false => Condition::RemoteConnectionFailed,
        };
        self.shared.with(|session, now| ((), session.lost(condition, now)));
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let answers = {
            let mut state = self.shared.state();
            let Some(input) = state.session.input_of_stream() else { return Poll::Ready(Ok(())) };
            if input.is_empty() {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buf.put_slice(&input.split_to(input.len().min(buf.remaining())));
            if input.is_empty() {
                *input = BytesMut::new();
            }
            // Requests may have waited for room.
            state.session.flush(now())
        };
        send(answers);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut answers = Vec::new();
        let written = {
            let mut state = self.shared.state();
            if state.session.output_bytes() >= OUTPUT_MAX {
                answers = state.session.flush(now());
            }
            if state.session.is_over() {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            } else if state.session.output_bytes() >= OUTPUT_MAX {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            } else {
                let State { session, spoken, .. } = &mut *state;
                spoken.extend_from_slice(bytes);
                while let Some(piece) = said(spoken) {
                    session.say(piece);
                }
                if spoken.is_empty() {
                    *spoken = BytesMut::new();
                }
                Poll::Ready(Ok(bytes.len()))
            }
        };
        send(answers);
        written
    }

    /// What was written until now goes in one response.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|session, now| ((), session.flush(now)));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|session, now| ((), session.flush(now)));
        Poll::Ready(Ok(()))
    }
}

/// Bytes that may wait for a request; more stay with the stream.
const OUTPUT_MAX: usize = 65_536;
