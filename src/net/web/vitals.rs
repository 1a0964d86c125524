//! Signs of life, for whoever starts the server anew when there are none: `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::state::Web;

/// The two paths.
pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready))
}

/// The runtime has a thread that answers; one that hangs does not.
async fn live() -> Response {
    told(Ok("alive"))
}

/// Whether clients are served: not before the start is over, nor once the server stops or cannot write any more. A
/// full disk is none of that: messages are refused with an error, and all else is served.
async fn ready(State(web): State<Arc<Web>>) -> Response {
    told(judge(&web))
}

fn judge(web: &Web) -> Result<&'static str, &'static str> {
    if !web.started.is_over() {
        return Err("not ready: the server starts");
    }
    if *web.context.stopping.borrow() {
        return Err("not ready: the server stops");
    }
    if !web.context.router.store.is_alive() {
        return Err("not ready: the database takes no writes until the server is started anew");
    }
    Ok("ready")
}

fn told(sign: Result<&'static str, &'static str>) -> Response {
    let (status, text) = match sign {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    (status, [(CACHE_CONTROL, "no-store")], format!("{text}\n")).into_response()
}
