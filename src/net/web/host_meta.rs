//! Where clients that cannot ask the DNS find WebSocket and BOSH (XEP-0156 §3, RFC 6415, RFC 7395 §4).

use axum::extract::{Extension, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

use super::state::Web;
use super::visitor::Visitor;
use crate::xml::writer::Xml;

/// `/.well-known/host-meta`
pub async fn xrd(
    State(web): State<Arc<Web>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut xml = Xml::new();
    xml.start("XRD").attr("xmlns", "http://docs.oasis-open.org/ns/xri/xrd-1.0");
    for (rel, href) in links(&web, &web.url(visitor.secure, &uri, &headers)) {
        xml.start("Link").attr("rel", rel).attr("href", &href).end();
    }
    xml.end();
    let document = format!("<?xml version='1.0' encoding='utf-8'?>\n{}\n", xml.into_string());
    // XEP-0156 §3: browsers read it from pages of other origins.
    let headers = [(CONTENT_TYPE, "application/xrd+xml"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, document).into_response()
}

/// `/.well-known/host-meta.json`
pub async fn json(
    State(web): State<Arc<Web>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let links = links(&web, &web.url(visitor.secure, &uri, &headers));
    let links: Vec<_> =
        links.into_iter().map(|(rel, href)| json!({ "rel": rel, "href": href })).collect();
    let headers = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, json!({ "links": links }).to_string()).into_response()
}

fn links(web: &Web, url: &str) -> Vec<(&'static str, String)> {
    let mut links = vec![("urn:xmpp:alt-connections:websocket", web.socket(url))];
    if web.settings.bosh {
        links.push(("urn:xmpp:alt-connections:xbosh", web.bosh_address(url)));
    }
    links
}
