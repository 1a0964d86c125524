//! One task per client stream: negotiation first, then the session's loop.

mod admit;
mod binding;
mod confirmed;
mod delivery;
pub mod door;
mod enter;
mod fast;
mod inbound;
mod managed;
mod negotiate;
pub mod pace;
mod run;
pub mod saved;
mod sleep;
pub mod transport;
mod upgrade;
pub mod wire;

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio::sync::{Semaphore, watch};
use tracing::field::DisplayValue;

use crate::modules::api::{Cx, Requester};
use crate::modules::{Config, Pipeline};
use crate::router::Router;
use crate::router::registry::Conflict;
use crate::stream::c2s::Policy;
use crate::stream::sasl::ChannelBindings;
use crate::stream::sasl::throttle::Throttle;
use door::Doors;
use transport::Transport;

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
    /// True once sessions that can be resumed are to be written down.
    pub saving: watch::Receiver<bool>,
    /// The ways to sessions that can be resumed.
    pub doors: Arc<Doors>,
    /// Where clients are asked to come back to (XEP-0198 §3).
    pub resume_location: Option<String>,
}

impl Context {
    /// What handlers see, asked now.
    #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
    pub fn cx(&self, who: Requester) -> Cx {
        Cx {
            who,
            now: SystemTime::now(),
            config: self.config.clone(),
            store: self.router.store.clone(),
            router: self.router.clone(),
            about: self.pipeline.clone(),
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
fn named<T: Display + ?Sized>(jid: &T) -> Option<DisplayValue<&T>> {
    tracing::enabled!(tracing::Level::DEBUG).then(|| tracing::field::display(jid))
}

/// A connection that was just accepted.
pub struct NewConnection {
    /// The connection.
    pub transport: Box<dyn Transport>,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Given when TLS was made before the first byte of XMPP (XEP-0368).
    pub direct_tls: Option<ChannelBindings>,
    /// When it was accepted: the deadline of negotiation counts from here.
    pub since: Instant,
    /// Where else it could have come.
    pub ports: Ports,
}

/// Negotiates, then hands the stream to a task of its own, so that the larger future of the
/// negotiation is freed. `guard` is dropped when the stream ends (it counts streams per address).
pub async fn serve(context: Arc<Context>, connection: NewConnection, guard: impl Send + 'static) {
    let negotiation = negotiate::negotiate(context.clone(), connection, Box::new(guard));
    if let Some(session) = Box::pin(negotiation).await {
        context.router.tasks.spawn("session", run::run(Box::new(session)));
    }
}

#[cfg(test)]
mod tests;
