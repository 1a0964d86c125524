//! One HTTP connection, served by hyper within bounds.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Version};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service;

use super::idle::{Activity, Busy, Patience, Quiet};
use super::paced::{Pace, Paced, Received};
use super::requests;
use super::state::Web;
use super::visitor::Connection;
use crate::net::acceptor::Accepted;
use crate::net::tcp::Socket;
use crate::net::tls::Tls;
use crate::router::task::Tasks;

/// Serves what a listener of its own accepted, in plain HTTP, as [`serve`] does.
pub async fn serve_plain(web: &Arc<Web>, routes: Router, tls: &Tls, accepted: Accepted) {
    let Accepted { stream, peer, secured, since, counted } = accepted;
    let socket = Socket::plain(stream, tls.clone(), web.context.router.limits.ping_timeout);
    let (counted, told) = (Arc::new(counted), AtomicBool::new(false));
    let connection = Connection { peer, since, bindings: None, secured, counted, told };
    serve(web.clone(), routes, socket, Arc::new(connection)).await;
}

/// Serves requests until the connection or the server ends, or nobody asks for anything.
pub async fn serve(web: Arc<Web>, routes: Router, socket: Socket, connection: Arc<Connection>) {
    let mut stopping: watch::Receiver<bool> = web.context.stopping.clone();
    let (peer, proxys) = (connection.peer, connection.counted.is_proxys());
    let activity = Activity::new();
    // A proxy's connection carries the requests of many, and says nothing of its own.
    let (pace, patience) = match proxys {
        true => (Pace::unbounded(), PROXY_PATIENCE),
        false => (Pace::new(&web.context.router.limits), 1),
    };
    let idle = web.settings.idle_time * patience;
    let bounds =
        Patience { idle, head: web.settings.head_time * patience, stalled: STALLED * patience };
    let builder = builder(&web);
    let io = TokioIo::new(Paced::new(socket, pace.clone(), activity.clone()));
    let one = One { web, routes, connection, pace };
    let requests = activity.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        if request.version() == Version::HTTP_2 {
            requests.has_no_heads();
        }
        let (one, busy) = (one.clone(), requests.begin());
        async move { Ok::<_, Infallible>(one.answer(request, busy).await) }
    });
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        quiet = activity.quiet(bounds) => {
            tracing::debug!(%peer, ?quiet, "HTTP connection without anything to do");
            if quiet != Quiet::Idle {
                return;
            }
            serving.as_mut().graceful_shutdown();
            // What was answered may be on its way still.
            timeout(idle.max(LAST_REQUESTS), serving).await.unwrap_or(Ok(()))
        }
        () = async { let _ = stopping.wait_for(|stopping| *stopping).await; } => {
            serving.as_mut().graceful_shutdown();
            timeout(LAST_REQUESTS, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

/// What the requests of one connection need.
#[derive(Clone)]
struct One {
    web: Arc<Web>,
    routes: Router,
    connection: Arc<Connection>,
    pace: Arc<Pace>,
}

impl One {
    async fn answer(mut self, request: hyper::Request<Incoming>, busy: Busy) -> Response {
        let version = request.version();
        self.pace.request();
        let mut request: Request = request.map(|body| Received::body(body, self.pace.clone()));
        let counted = self.connection.counted.clone();
        if let Err(refusal) = requests::judge(&request) {
            if self.connection.tells() {
                let reason = refusal.1.trim_end();
                tracing::info!(peer = %self.connection.peer, reason, "request refused");
            }
            return busy.answers(requests::refused(refusal, version), counted);
        }
        let visitor = self.web.visitor(self.connection, version, request.headers());
        let Some(visitor) = visitor else {
            let reason = "too many requests from your address at the same time\n";
            return busy.answers((StatusCode::TOO_MANY_REQUESTS, reason).into_response(), counted);
        };
        let counted = visitor.counted.clone();
        request.extensions_mut().insert(visitor);
        let response = match self.routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        busy.answers(response, counted)
    }
}

/// The bounds of a connection: what a client may make the server hold without being somebody.
fn builder(web: &Web) -> Builder<Spawn> {
    let head_time = web.settings.head_time;
    let mut builder = Builder::new(Spawn(web.context.router.tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // It would count from when nothing is to do; `idle.rs` knows when a head begins.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_time)
        .keep_alive_timeout(head_time)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        // RFC 9113 §10.5: resets that nobody looked at yet (CVE-2023-44487), and those that we are made to
        // send (CVE-2025-8671).
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2);
    builder
}

/// Puts hyper's tasks among those that the server counts and ends.
#[derive(Clone)]
struct Spawn(Tasks);

impl<F> Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        self.0.spawn("http2", async move {
            work.await;
        });
    }
}

/// security.md: headers of at most 16 kB.
const HEAD_BYTES_MAX: usize = 16_384;
const HEADERS_MAX: usize = 100;
const STREAMS_MAX: u32 = 64;
const RESETS_MAX: usize = 20;
/// What a client may send of a body before somebody reads it.
const WINDOW_BYTES: u32 = 1 << 18;
/// What of a response waits for a client to read it, of each stream.
const SEND_BYTES_MAX: usize = 1 << 16;
/// How long a client may take nothing of a response; a slow one takes some at least.
const STALLED: Duration = Duration::from_secs(300);
/// How much longer a proxy's connection may be idle: it closes them itself, and must not meet an end.
const PROXY_PATIENCE: u32 = 10;
/// How long requests may take once the connection or the server ends.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
