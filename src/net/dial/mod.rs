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

use std::sync::Arc;

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
        Self(Arc::new(Shared { settings, names, tls }))
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
