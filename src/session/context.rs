//! What all sessions of one server share, and what a new one gets.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Semaphore, watch};
use tracing::field::DisplayValue;

use super::clock::wall;
use super::counts::Counts;
use super::resume_table::ResumeTable;
use super::transport::Transport;
use crate::modules::api::{Cx, Requester, Via, WebCx};
use crate::modules::{Config, Pipeline};
use crate::router::Router;
use crate::router::registry::Conflict;
use crate::stream::c2s::Policy;
use crate::stream::framing::Framing;
use crate::stream::sasl::ChannelBindings;
use crate::stream::sasl::throttle::Throttle;

/// What all sessions of one server share.
pub struct Context {
    /// The router.
    pub router: Arc<Router>,
    /// The module table made ready.
    pub pipeline: Arc<Pipeline>,
    /// Settings of the modules.
    pub config: Arc<Config>,
    /// Settings of the negotiation.
    pub policy: Arc<Policy>,
    /// What happens when a resource is taken.
    pub conflict: Conflict,
    /// Failed logins, by address and by account.
    pub throttle: Mutex<Throttle>,
    /// Bounds how many passwords are hashed at a time; further ones wait.
    pub workers: Semaphore,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
    /// True once sessions that can be resumed are to be saved.
    pub saving: watch::Receiver<bool>,
    /// The sessions that can be resumed.
    pub resume_table: Arc<ResumeTable>,
    /// Where clients are asked to come back to (XEP-0198 §3).
    pub resume_location: Option<String>,
    /// What is counted of all sessions.
    pub counts: Counts,
}

impl Context {
    /// Makes what handlers get, with the time of now.
    pub fn cx(&self, who: Requester) -> Cx {
        Cx {
            who,
            now: wall(),
            config: self.config.clone(),
            store: self.router.store.clone(),
            router: self.router.clone(),
            server: self.pipeline.clone(),
        }
    }

    /// Makes what modules' handlers of HTTP requests get.
    pub fn web_cx(&self) -> WebCx {
        WebCx {
            clock: wall,
            config: self.config.clone(),
            store: self.router.store.clone(),
            router: self.router.clone(),
            server: self.pipeline.clone(),
        }
    }
}

/// The first port of each kind, for the error to a client that took the wrong one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Where a stream starts in the clear.
    pub starttls: Option<u16>,
    /// Where it starts with TLS (XEP-0368).
    pub direct: Option<u16>,
}

/// An address for the log; only if debug logs are on.
pub(super) fn named<T: Display + ?Sized>(jid: &T) -> Option<DisplayValue<&T>> {
    tracing::enabled!(tracing::Level::DEBUG).then(|| tracing::field::display(jid))
}

/// A connection that was just accepted.
pub struct NewConnection {
    /// The connection.
    pub transport: Box<dyn Transport>,
    /// How streams are framed on it.
    pub framing: Framing,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Set if TLS was set up before the first byte of XMPP (XEP-0368).
    pub direct_tls: Option<ChannelBindings>,
    /// When it was accepted: the deadline of negotiation counts from here.
    pub since: Instant,
    /// The ports it could have used instead.
    pub ports: Ports,
    /// How it came.
    pub via: Via,
}
