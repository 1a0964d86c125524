//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Redirect;
use axum::routing::{get, post};

use super::state::Web;
use super::{bosh, host_meta, pages, proofs, vitals, websocket};

/// All paths.
pub fn routes(web: Arc<Web>) -> Router {
    let cx = web.context.web_cx();
    let mut own = vitals::routes()
        .route("/ws", get(websocket::open))
        .route("/.well-known/host-meta", get(host_meta::xrd))
        .route("/.well-known/host-meta.json", get(host_meta::json));
    if web.settings.bosh {
        let methods = post(bosh::answer).options(bosh::preflight).get(bosh::visited);
        own = own.route("/http-bind", methods);
    }
    let modules = cx.server.modules().iter().filter_map(|module| module.web);
    let own = own.merge(proofs::routes());
    let own = own.with_state(web.clone()).merge(pages::routes(web));
    modules.fold(own, |all, routes| all.merge(routes(&cx)))
}

/// The answer to all who speak plain HTTP where TLS should be.
pub fn to_https(web: Arc<Web>) -> Router {
    let redirect = |State(web): State<Arc<Web>>, uri: Uri, headers: HeaderMap| async move {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Redirect::permanent(&format!("{}{path}", web.url(true, &uri, &headers)))
    };
    Router::new().fallback(redirect).with_state(web)
}
