//! The web door: one listener for HTTPS, WebSocket, BOSH and, if wanted, XMPP itself.
//!
//! A connection is told apart by its first byte and by ALPN (RFC 7301), then served by hyper, whose requests
//! go to `routes`; a WebSocket leaves it again and becomes a session.

mod bosh;
mod door;
mod host_meta;
mod http;
mod idle;
mod paced;
mod requests;
mod routes;
mod settings;
mod state;
mod visitor;
mod websocket;

pub use bosh::Table as BoshTable;
pub use door::{Door, Entrance};
pub use settings::Settings;
pub use state::Web;
