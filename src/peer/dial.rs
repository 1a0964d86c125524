//! How another server is reached. `net::dial` does it; tests have dialers of their own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::transport::PeerSecured;

/// Finds the servers of domains.
pub trait Dialer: Send + Sync {
    /// The servers of `remote`, for streams from `local`; both domains in normal form. Nothing is done before
    /// [`Attempts::next`].
    fn dial(&self, local: &str, remote: &str) -> Box<dyn Attempts>;

    /// Forgets that the servers of this domain were not found a moment ago: an operator wants them tried.
    fn forget(&self, _remote: &str) {}
}

/// The future of [`Attempts::next`].
pub type Next<'a> = Pin<Box<dyn Future<Output = Option<Result<Dialed, DialError>>> + Send + 'a>>;

/// The servers of a domain, tried one after the other.
pub trait Attempts: Send {
    /// Connects to the next one that answers; `None` when all were tried. Addresses are raced (RFC 8305) inside.
    /// When none of those that are left answers, that is one error, the last one's.
    fn next(&mut self) -> Next<'_>;

    /// Each step so far, with its time: for `s2s test`, `s2s why` and the log.
    fn steps(&self) -> &[Step];
}

/// A connection to a server on which nothing was sent yet, but for TLS.
pub struct Dialed {
    /// The connection.
    pub transport: Box<dyn PeerTransport>,
    /// Where it leads.
    pub address: SocketAddr,
    /// With direct TLS (XEP-0368).
    pub secured: Option<PeerSecured>,
}

/// The future of [`PeerTransport::start_tls`].
pub type Securing<'a> = Pin<Box<dyn Future<Output = io::Result<PeerSecured>> + Send + 'a>>;

/// A connection with another server.
pub trait PeerTransport: AsyncRead + AsyncWrite + Unpin + Send {
    /// As the client of STARTTLS (outgoing) or as its server (incoming); offers our certificate of `local`. The
    /// caller bounds the time, and says what a certificate is good for.
    fn start_tls<'a>(&'a mut self, local: &'a str, remote: &'a str) -> Securing<'a>;
}

/// Why a server was not reached; the texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No such domain, no address, or it offers no XMPP (an SRV target of `.`).
    #[error("{0}")]
    NotFound(String),
    /// Nothing answered in time.
    #[error("{0}")]
    Timeout(String),
    /// Refused, unreachable, TLS failed, …
    #[error("{0}")]
    Failed(String),
}

/// Something that was tried, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Such as `SRV _xmpp-server._tcp.example.org: 2 records`.
    pub what: String,
    /// Wall time on the monotonic clock.
    pub took: Duration,
    /// Whether it led nowhere.
    pub failed: bool,
}
