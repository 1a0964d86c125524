//! What the handlers of requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version};

use super::api::ApiCounts;
use super::bosh;
use super::settings::Settings;
use super::visitor::{Connection, Visitor};
use crate::net::acme::Keeper;
use crate::net::tls::facts::ascii;
use crate::peer::Federation;
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
    /// Whether the start is over.
    pub started: Started,
    /// The streams with other servers, for the figures.
    pub peers: Arc<Federation>,
    /// Whoever orders certificates.
    pub keeper: Option<Arc<Keeper>>,
    /// What the operator's API counts.
    pub api: ApiCounts,
}

/// Whether the start is over.
#[derive(Debug, Default)]
pub struct Started(AtomicBool);

impl Started {
    /// It is: the database is up to date, and all addresses are listened on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Web {
    /// Who sends a request; none if there are too many of that address at once.
    pub fn visitor(
        &self,
        connection: Arc<Connection>,
        version: Version,
        headers: &HeaderMap,
    ) -> Option<Visitor> {
        Visitor::of(connection, version, headers, &self.settings)
    }

    /// Where the door is, as the client that sends this request sees it: `https://HOST:PORT`, or `http:` if it
    /// is not `secure`. A host that is not served is not repeated.
    pub fn url(&self, secure: bool, uri: &Uri, headers: &HeaderMap) -> String {
        if !self.settings.url.is_empty() {
            return self.settings.url.trim_end_matches('/').to_owned();
        }
        let host = ascii(self.host(uri, headers));
        let scheme = if secure { "https" } else { "http" };
        match authority(uri, headers).and_then(|authority| authority.port_u16()) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// The served domain that a request is for: the one that it names, or the first.
    pub fn host(&self, uri: &Uri, headers: &HeaderMap) -> &str {
        let hosts = &self.context.policy.hosts;
        let authority = authority(uri, headers);
        let asked = authority.as_ref().map(Authority::host);
        // Browsers ask for what stands in certificates.
        let is_asked =
            |host: &&String| asked.is_some_and(|asked| asked.eq_ignore_ascii_case(&ascii(host)));
        let host = hosts.iter().find(is_asked).or_else(|| hosts.first());
        host.map_or("localhost", String::as_str)
    }

    /// The address of the WebSocket of a door that is there.
    pub fn socket(&self, url: &str) -> String {
        let moved_to = self.settings.moved_to.as_ref();
        match moved_to.filter(|uri| uri.scheme_str() == Some("wss")) {
            Some(uri) => uri.to_string(),
            None => format!("{}/ws", url.replacen("http", "ws", 1)),
        }
    }

    /// The address of BOSH of a door that is there.
    pub fn bosh_address(&self, url: &str) -> String {
        let moved_to = self.settings.moved_to.as_ref();
        let there = moved_to.filter(|uri| uri.scheme_str() == Some("wss")).and_then(Uri::authority);
        match there {
            Some(there) => format!("https://{there}{BOSH}"),
            None => format!("{url}{BOSH}"),
        }
    }

    /// Where a session of BOSH that is asked for here should be asked for instead (XEP-0124 §17.2): on the same
    /// machine as the WebSocket.
    pub fn bosh_elsewhere(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        self.elsewhere(uri, headers).map(|_| self.bosh_address(""))
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

/// The path of BOSH.
pub const BOSH: &str = "/http-bind";

/// Where a request says that it is going: `:authority` in HTTP/2, `Host` in HTTP/1.1.
pub fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    uri.authority().cloned().or_else(|| named?.parse().ok())
}
