//! The JSON API of the operator's verbs, on addresses of its own: plain HTTP on loopback, for programs of this machine
//! and for a proxy before it.
//!
//! A request passes `guard.rs` (whose page sent it, how many come from there), then `bearer.rs` (who it is), then
//! `call.rs`, which makes a verb of it. [`VERBS`] says which there are; nothing here knows one by name.

mod bearer;
mod call;
mod counts;
mod guard;
mod problem;
mod rates;
mod settings;
mod state;

pub use counts::ApiCounts;
pub use settings::ApiSettings;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use axum::{Extension, Router};
use tokio::net::TcpStream;

use super::http;
use super::state::Web;
use super::visitor::Visitor;
use crate::admin::{Method, Operators, VERBS, openapi};
use crate::net::acceptor::{Accepted, Protocol};
use crate::net::proxies::Proxies;
use crate::net::tls::Tls;
use guard::Guard;
use problem::Trouble;
use state::Api;

/// The API on its listeners.
pub struct Desk {
    web: Arc<Web>,
    routes: Router,
    tls: Tls,
    proxies: Proxies,
}

impl Desk {
    /// For all listeners of `admin.listen`.
    pub fn new(web: Arc<Web>, operators: Operators, settings: ApiSettings, tls: Tls) -> Self {
        let api = Arc::new(Api { operators, web: web.clone(), guard: Guard::new(settings) });
        let judged = from_fn_with_state(api.clone(), judge);
        let routes = routes(api).layer(judged);
        // Nobody is believed who says that somebody else is behind: each proxy counts as one.
        Self { web, routes, tls, proxies: Proxies::default() }
    }
}

/// All paths.
fn routes(api: Arc<Api>) -> Router {
    let mut routes = Router::new().route(&format!("{BASE}/openapi.json"), get(document));
    for verb in VERBS {
        let method = match verb.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        };
        let handler = move |state, visitor, parts, request| {
            call::answer(verb, state, visitor, parts, request)
        };
        routes = routes.route(&format!("{BASE}{}", verb.path), on(method, handler));
    }
    routes
        .fallback(|| async { Trouble::NO_PATH })
        .method_not_allowed_fallback(|| async { Trouble::NO_METHOD })
        .with_state(api)
}

/// Judges a request before its path is looked at.
async fn judge(
    State(api): State<Arc<Api>>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
    next: Next,
) -> Response {
    let domains = &api.web.context.policy.hosts;
    let mut response = match api.guard.refusal(&visitor, &request, domains) {
        Some(trouble) => {
            ApiCounts::one(&api.web.api.refused);
            trouble.into_response()
        }
        None => next.run(request).await,
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What the API is, for programs; no secret, so nobody has to say who they are.
async fn document() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
    (headers, openapi::text())
}

impl Protocol for Desk {
    fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        http::serve_plain(&self.web, self.routes.clone(), &self.tls, accepted).await;
    }

    async fn refuse(self: Arc<Self>, _: TcpStream) {}
}

/// Before the paths of all verbs.
const BASE: &str = openapi::BASE;
