//! The web door: one listener for HTTPS, WebSocket, BOSH and, if wanted, XMPP itself; one for whoever watches the
//! server; and one for the operator's API.
//!
//! A connection is told apart by its first byte and by ALPN (RFC 7301), then served by hyper, whose requests
//! go to `routes`; a WebSocket leaves it again and becomes a session.

mod api;
mod bosh;
mod clock;
mod door;
mod host_meta;
mod http;
mod idle;
mod metrics;
mod paced;
mod pages;
mod process;
mod proofs;
mod requests;
mod routes;
mod settings;
mod state;
mod visitor;
mod vitals;
mod websocket;

pub use api::{ApiCounts, ApiSettings, Desk};
pub use bosh::Table as BoshTable;
pub use door::{Door, Entrance};
pub use metrics::Watchers;
pub use pages::{CONVERSE_SCRIPT, CONVERSE_STYLE};
pub use settings::Settings;
pub use state::{Started, Web};
