//! Handshakes that prove to an authority that a name is ours (RFC 8737): they carry a proof, and nothing is said in them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::ClientHello;

/// The proofs that are asked for now, by the name in the handshake.
#[derive(Default)]
pub struct Challenges(Mutex<HashMap<String, Arc<ServerConfig>>>);

impl Challenges {
    /// Answers handshakes for a name, until [`Self::forget`].
    pub(crate) fn answer(&self, name: String, config: Arc<ServerConfig>) {
        self.all().insert(name, config);
    }

    /// Answers them no longer.
    pub(crate) fn forget(&self, name: &str) {
        self.all().remove(name);
    }

    /// How to answer a client that asks for a proof and nothing else (RFC 8737 §3).
    pub(super) fn asked(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        if protocols.next() != Some(ALPN_ACME) || protocols.next().is_some() {
            return None;
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        self.all().get(&name).cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<ServerConfig>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 8737 §6.2
pub const ALPN_ACME: &[u8] = b"acme-tls/1";
