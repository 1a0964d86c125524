//! What all sessions of one server share, and what one begins with.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Semaphore, watch};
use tracing::field::DisplayValue;

use super::clock::wall;
use super::resume_table::ResumeTable;
use super::transport::Transport;
use crate::modules::api::{Cx, Requester};
use crate::modules::{Config, Pipeline};
use crate::router::Router;
use crate::router::registry::Conflict;
use crate::stream::c2s::Policy;
use crate::stream::framing::Framing;
use crate::stream::sasl::ChannelBindings;
use crate::stream::sasl::throttle::Throttle;

/// What all sessions of one server share.
pub struct Context {
    /// Who is where.
    pub router: Arc<Router>,
    /// The module table made ready.
    pub pipeline: Arc<Pipeline>,
    /// Settings of the modules.
    pub config: Arc<Config>,
    /// What negotiation needs to know.
    pub policy: Arc<Policy>,
    /// What happens when a resource is taken.
    pub conflict: Conflict,
    /// Failed logins, by address and by account.
    pub throttle: Mutex<Throttle>,
    /// Password hashing at one time; the rest waits.
    pub workers: Semaphore,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
    /// True once sessions that can be resumed are to be saved.
    pub saving: watch::Receiver<bool>,
    /// The sessions that can be resumed.
    pub resume_table: Arc<ResumeTable>,
    /// Where clients are asked to come back to (XEP-0198 §3).
    pub resume_location: Option<String>,
}

impl Context {
    /// What handlers see, asked now.
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
}

/// The first port of each kind, to tell whoever took the wrong one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Where a stream begins in the clear.
    pub starttls: Option<u16>,
    /// Where it begins with TLS (XEP-0368).
    pub direct: Option<u16>,
}

/// An address for the log: there from debug on.
pub(super) fn named<T: Display + ?Sized>(jid: &T) -> Option<DisplayValue<&T>> {
    tracing::enabled!(tracing::Level::DEBUG).then(|| tracing::field::display(jid))
}

/// A connection that was just accepted.
pub struct NewConnection {
    /// The connection.
    pub transport: Box<dyn Transport>,
    /// How a stream stands on it.
    pub framing: Framing,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Given when TLS was made before the first byte of XMPP (XEP-0368).
    pub direct_tls: Option<ChannelBindings>,
    /// When it was accepted: the deadline of negotiation counts from here.
    pub since: Instant,
    /// Where else it could have come.
    pub ports: Ports,
}
