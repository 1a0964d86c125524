//! Connecting to other servers: where they are, by static routes or the DNS, and the first of their addresses that
//! answers, with TLS where it begins with the first byte.

mod public;
mod race;
mod route;
mod settings;
pub mod socket;
#[cfg(test)]
mod tests;
mod tries;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::tries::{Shared, Tries};
use super::dns::Names;
use super::tls::peer::PeerTls;
use crate::peer::dial::{Attempts, Dialer};

pub use route::Route;
pub use settings::Settings;

/// Finds servers by static routes and the DNS.
pub struct Dial(Arc<Shared>);

impl Dial {
    /// Connects with the certificates of `tls`.
    pub fn new(settings: Settings, names: Names, tls: PeerTls) -> Self {
        Self(Arc::new(Shared { settings, names, tls, met: ArcSwap::default() }))
    }

    /// Says where these domains (in normal form) are, beside the routes of the settings. For servers of one process,
    /// which know their ports only when they listen.
    pub fn meet(&self, places: impl IntoIterator<Item = (String, SocketAddr)>) {
        let route = |(domain, place): (String, SocketAddr)| (domain, Route::to(place));
        let places: BTreeMap<_, _> = places.into_iter().map(route).collect();
        self.0.met.store(Arc::new(places));
    }
}

impl Dialer for Dial {
    fn dial(&self, local: &str, remote: &str) -> Box<dyn Attempts> {
        Box::new(Tries::new(self.0.clone(), local, remote))
    }

    fn forget(&self, remote: &str) {
        self.0.names.forget(remote);
    }
}
