//! What a connection of HTTP may be told beside the bodies of requests. Handlers read bodies as fast as they like;
//! heads, resets, pings and settings (RFC 9113 §10.5) cost more than their sender pays for them, so they come at
//! `limits.bytes_per_second` at most, as on a stream: a flood waits in its sender's own socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::clock::now;
use super::idle::Activity;
use crate::base::limits::Limits;
use crate::net::tcp::Socket;
use crate::session::pace::Bucket;

/// How much was read beside bodies.
pub struct Pace(Mutex<(Bucket, Instant)>);

impl Pace {
    /// With the bounds of the configuration.
    pub fn new(limits: &Limits) -> Arc<Self> {
        let burst = limits.bytes_burst.max(BURST_MIN);
        Arc::new(Self(Mutex::new((Bucket::new(limits.bytes_per_second, burst), now()))))
    }

    /// Without a bound.
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Bucket::new(0, 0), now()))))
    }

    /// Counts what was read; returns how long to pause.
    fn read(&self, bytes: usize) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bucket, at) = &mut *state;
        let now = now();
        bucket.pass(now.saturating_duration_since(*at).as_secs_f32());
        *at = now;
        bucket.take(amount(bytes));
        Duration::from_secs_f32(bucket.wait().min(PAUSE_MAX))
    }

    /// Counts a request, however few bytes it came in.
    pub fn request(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.take(amount(REQUEST_BYTES));
    }

    /// Takes back what was of a body.
    fn was_body(&self, bytes: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.take(-amount(bytes));
    }
}

#[allow(clippy::cast_precision_loss)] // a bucket need not be exact
fn amount(bytes: usize) -> f32 {
    bytes as f32
}

/// A connection that is read no faster than that.
pub struct Paced {
    socket: Socket,
    pace: Arc<Pace>,
    activity: Arc<Activity>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// A connection.
    pub fn new(socket: Socket, pace: Arc<Pace>, activity: Arc<Activity>) -> Self {
        Self { socket, pace, activity, pause: None }
    }

    /// The connection itself, which becomes something else than HTTP.
    pub fn into_inner(self) -> Socket {
        self.socket
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default();
        self.activity.came(came);
        let wait = self.pace.read(came.len());
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep(wait)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The body of a request, whose bytes somebody wants.
pub struct Received {
    body: Incoming,
    pace: Arc<Pace>,
}

impl Received {
    /// A body for handlers.
    pub fn body(body: Incoming, pace: Arc<Pace>) -> Body {
        Body::new(Self { body, pace })
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.pace.was_body(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a request counts as beside its head: it is worked for.
const REQUEST_BYTES: usize = 1_024;
/// More than a body may have in flight, whatever the configuration says.
const BURST_MIN: u32 = 1 << 20;
/// In seconds: a body that was read meanwhile is noticed by then.
const PAUSE_MAX: f32 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_free_and_the_rest_is_not() {
        let pace = Pace::new(&Limits::default());
        for _ in 0..100 {
            assert_eq!(pace.read(1_000_000), Duration::ZERO);
            pace.was_body(1_000_000);
        }
        pace.read(1_000_000);
        assert!(pace.read(100_000) > Duration::ZERO);
        assert_eq!(Pace::unbounded().read(usize::MAX), Duration::ZERO);
    }
}
