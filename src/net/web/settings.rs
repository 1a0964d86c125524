//! What an operator sets for the web door.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;

use crate::net::proxies::Proxies;

/// The settings, in normal form.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether XMPP is served on the same listeners.
    pub xmpp: bool,
    /// Proxies whose word on a visitor's address counts.
    pub proxies: Proxies,
    /// The origins whose pages may open WebSockets; empty for all (RFC 6455 §10.2).
    pub origins: Vec<String>,
    /// Whether a stream may come over plain HTTP from somebody who is no trusted proxy.
    pub cleartext: bool,
    /// Where the door is seen from outside, `https://chat.example.org`; empty: as the request says.
    pub url: String,
    /// Where clients are sent that open a WebSocket elsewhere (RFC 7395 §3.6.1).
    pub moved_to: Option<Uri>,
    /// Whether BOSH is served.
    pub bosh: bool,
    /// How long a request of BOSH may be held.
    pub bosh_wait_max: Duration,
    /// How long a session of BOSH lives without a request.
    pub bosh_inactivity: Duration,
    /// Whether there are pages for people.
    pub pages: bool,
    /// The folder of a web client, which need not be there.
    pub converse: PathBuf,
    /// How long the head of a request may take.
    pub head_time: Duration,
    /// How long the body of a request of BOSH may take.
    pub body_time: Duration,
    /// How long a connection may be open without a request.
    pub idle_time: Duration,
}
