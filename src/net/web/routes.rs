//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Redirect;
use axum::routing::{get, post};

use super::state::Web;
use super::{bosh, host_meta, websocket};

/// All paths.
pub fn routes(web: Arc<Web>) -> Router {
    let mut routes = Router::new()
        .route("/ws", get(websocket::open))
        .route("/.well-known/host-meta", get(host_meta::xrd))
        .route("/.well-known/host-meta.json", get(host_meta::json));
    if web.settings.bosh {
        let methods = post(bosh::answer).options(bosh::preflight).get(bosh::visited);
        routes = routes.route("/http-bind", methods);
    }
    routes.with_state(web)
}

/// The answer to all who speak plain HTTP where TLS should be.
pub fn to_https(web: Arc<Web>) -> Router {
    let redirect = |State(web): State<Arc<Web>>, uri: Uri, headers: HeaderMap| async move {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Redirect::permanent(&format!("{}{path}", web.url(&uri, &headers)))
    };
    Router::new().fallback(redirect).with_state(web)
}
