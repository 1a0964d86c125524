//! What the handlers of requests share.

use std::sync::Arc;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

use super::bosh;
use super::settings::Settings;
use super::visitor::{Connection, Visitor};
use crate::session::{Context, Ports};

/// What handlers need.
pub struct Web {
    /// The sessions' world.
    pub context: Arc<Context>,
    /// What the operator set.
    pub settings: Settings,
    /// The ports for XMPP on TCP.
    pub ports: Ports,
    /// The sessions of BOSH.
    pub bosh: bosh::Table,
}

impl Web {
    /// Who sends a request; none if there are too many of that address at once.
    pub fn visitor(&self, connection: Arc<Connection>, headers: &HeaderMap) -> Option<Visitor> {
        Visitor::of(connection, headers, &self.settings)
    }

    /// Where the door is, as the client that sends this request sees it: `https://HOST:PORT`, or `http:` if it
    /// is not `secure`. A host that is not served is not repeated.
    pub fn url(&self, secure: bool, uri: &Uri, headers: &HeaderMap) -> String {
        if !self.settings.url.is_empty() {
            return self.settings.url.trim_end_matches('/').to_owned();
        }
        let authority = authority(uri, headers);
        let hosts = &self.context.policy.hosts;
        let asked = authority.as_ref().map(|authority| authority.host());
        let host = hosts.iter().find(|host| asked == Some(host)).or_else(|| hosts.first());
        let host = host.map_or("localhost", String::as_str);
        let scheme = if secure { "https" } else { "http" };
        match authority.and_then(|authority| authority.port_u16()) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// Where a WebSocket that is opened here should be opened instead (RFC 7395 §3.6.1).
    pub fn elsewhere(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let moved_to = self.settings.moved_to.as_ref()?;
        let place = |authority: &Authority| {
            (authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(443))
        };
        let here = authority(uri, headers).as_ref().map(place);
        (here != moved_to.authority().map(place)).then(|| moved_to.to_string())
    }
}

/// The name and the port that a request is for.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    uri.authority().cloned().or_else(|| named?.parse().ok())
}
