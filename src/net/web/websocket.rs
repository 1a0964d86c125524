//! XMPP over WebSocket (RFC 7395): the handshake of RFC 6455 §4.2, then a session on the same socket.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::{Parts, downcast};
use sha1::{Digest, Sha1};

use super::clock::now;
use super::paced::Paced;
use super::state::Web;
use super::visitor::Visitor;
use crate::modules::api::Via;
use crate::session::{self, NewConnection};
use crate::stream::framing::Framing;
use crate::stream::sasl::ChannelBindings;

/// Why a handshake is refused, for the person who looks at the client.
type Refusal = (StatusCode, &'static str);

/// `/ws`
pub async fn open(
    State(web): State<Arc<Web>>,
    Extension(visitor): Extension<Visitor>,
    mut request: Request,
) -> Response {
    let accept = match judge(&web, &visitor, &request) {
        Ok(accept) => accept,
        Err(refusal) => {
            let (status, reason) = refusal;
            if visitor.connection.tells() {
                tracing::info!(peer = %visitor.ip, reason, "WebSocket refused");
            }
            // RFC 6455 §4.4
            let headers = [(SEC_WEBSOCKET_VERSION, "13")];
            return (status, headers, format!("{reason}\n")).into_response();
        }
    };
    if !visitor.wait_its_turn().await {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server stops\n").into_response();
    }
    let elsewhere = web.elsewhere(request.uri(), request.headers());
    let upgraded = hyper::upgrade::on(&mut request);
    let tasks = web.context.router.tasks.clone();
    tasks.spawn("websocket", async move {
        match upgraded.await {
            Ok(upgraded) => serve(web, visitor, elsewhere, upgraded).await,
            Err(error) => tracing::info!(peer = %visitor.ip, %error, "WebSocket handshake failed"),
        }
    });
    let headers = [
        (UPGRADE, HeaderValue::from_static("websocket")),
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(XMPP)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

async fn serve(web: Arc<Web>, visitor: Visitor, elsewhere: Option<String>, upgraded: Upgraded) {
    let Ok(Parts { io, read_buf, .. }) = downcast::<TokioIo<Paced>>(upgraded) else {
        return tracing::error!("a WebSocket on an unknown kind of connection");
    };
    let mut socket = io.into_inner().into_inner();
    socket.unread(read_buf);
    let Visitor { ip, connection, counted, .. } = visitor;
    let mut framing = Framing::websocket(&web.context.router.limits);
    if let Some(uri) = elsewhere {
        tracing::info!(peer = %ip, uri, "a client is told where the WebSocket is now");
        framing.moved(uri);
    }
    // No browser tells a page what it could bind to, and stanza.js takes the first name it knows, -PLUS or not:
    // here the default binding of RFC 5802 §6.1 is missing. Who reads the list of SASL2 can bind (XEP-0440 §3).
    let bindings = connection.bindings.clone().unwrap_or_default();
    let bindings = ChannelBindings { lacks_default: true, ..bindings };
    let connection_of = NewConnection {
        transport: Box::new(socket),
        framing,
        peer: ip,
        // RFC 7395 §3.9: TLS is outside, here or at the proxy, and is not offered again.
        direct_tls: Some(bindings),
        since: now(),
        ports: web.ports,
        via: Via::WebSocket,
    };
    // Of a proxy's connection only the visitor's part goes on.
    drop(connection);
    session::serve(web.context.clone(), connection_of, Box::new(counted)).await;
}

/// RFC 6455 §4.2.1, RFC 7395 §3.1; the value of `Sec-WebSocket-Accept`.
fn judge(web: &Web, visitor: &Visitor, request: &Request) -> Result<HeaderValue, Refusal> {
    let headers = request.headers();
    if !has(headers, &CONNECTION, "upgrade") || !has(headers, &UPGRADE, "websocket") {
        return Err((StatusCode::UPGRADE_REQUIRED, "this is the address of XMPP over WebSocket"));
    }
    if request.version() != Version::HTTP_11 {
        return Err((StatusCode::BAD_REQUEST, "a WebSocket begins with HTTP/1.1"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here"));
    }
    if !has(headers, &SEC_WEBSOCKET_PROTOCOL, XMPP) {
        return Err((StatusCode::BAD_REQUEST, "the WebSocket's subprotocol must be xmpp"));
    }
    if !visitor.secure && !web.settings.cleartext {
        return Err((
            StatusCode::FORBIDDEN,
            "this WebSocket is not encrypted: use wss:, or have the proxy before this server, which \
             web.trusted_proxies names, send X-Forwarded-Proto: https",
        ));
    }
    // RFC 6455 §10.2
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let allowed = &web.settings.origins;
    if origin.is_some_and(|origin| !allowed.is_empty() && !allowed.iter().any(|one| one == origin))
    {
        return Err((StatusCode::FORBIDDEN, "pages of this origin may not connect here"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64.decode(key).map(|nonce| nonce.len()) != Ok(16) {
        return Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::from_str(&BASE64.encode(hash))
        .map_err(|_| (StatusCode::BAD_REQUEST, "Sec-WebSocket-Key cannot be answered"))
}

/// Whether the word is one of a header's list.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// The subprotocol (RFC 7395 §5.1).
const XMPP: &str = "xmpp";
/// RFC 6455 §1.3
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
