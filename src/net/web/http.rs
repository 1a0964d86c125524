//! One HTTP connection, served by hyper within bounds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service;

use super::state::Web;
use super::visitor::Connection;
use crate::net::tcp::Socket;
use crate::router::task::Tasks;

/// Serves requests until the connection or the server ends.
pub async fn serve(web: Arc<Web>, routes: Router, socket: Socket, connection: Arc<Connection>) {
    let tasks = web.context.router.tasks.clone();
    let mut stopping: watch::Receiver<bool> = web.context.stopping.clone();
    let peer = connection.peer;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        web.introduce(connection.clone(), &mut request);
        routes.clone().call(request)
    });
    let builder = builder(tasks);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = async { let _ = stopping.wait_for(|stopping| *stopping).await; } => {
            serving.as_mut().graceful_shutdown();
            timeout(LAST_REQUESTS, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

/// The bounds of a connection: what a client may make the server hold without being somebody.
fn builder(tasks: Tasks) -> Builder<Spawn> {
    let mut builder = Builder::new(Spawn(tasks));
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also how long a connection may idle between two requests.
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIME)
        .keep_alive_timeout(HEAD_TIME)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        // RFC 9113 §10.5: resets that nobody looked at yet (CVE-2023-44487).
        .max_pending_accept_reset_streams(RESETS_MAX)
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
const HEAD_TIME: Duration = Duration::from_secs(30);
const STREAMS_MAX: u32 = 64;
const RESETS_MAX: usize = 20;
/// What a client may send of a body before somebody reads it.
const WINDOW_BYTES: u32 = 1 << 18;
/// How long requests may take once the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
