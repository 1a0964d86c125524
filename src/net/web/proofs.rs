//! Where an authority looks for proofs by http-01 (RFC 8555 §8.3).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::state::Web;

/// The path of proofs.
pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/.well-known/acme-challenge/{token}", get(proof))
}

/// The listener that has nothing else; whoever looks for more is led to where that is, if the operator has said.
pub(super) fn alone(web: Arc<Web>) -> Router {
    routes().fallback(elsewhere).with_state(web)
}

async fn proof(State(web): State<Arc<Web>>, Path(token): Path<String>) -> Response {
    let found = web.keeper.as_ref().and_then(|keeper| keeper.answers().get(&token));
    match found {
        Some(answer) => {
            let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")];
            (headers, answer).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such proof is asked for\n").into_response(),
    }
}

async fn elsewhere(State(web): State<Arc<Web>>, uri: Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match web.settings.url.trim_end_matches('/') {
        "" => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
        url => Redirect::permanent(&format!("{url}{path}")).into_response(),
    }
}
