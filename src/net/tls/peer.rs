//! TLS with other servers, on both sides (RFC 6120 §5 and §13.7, XEP-0178 §2, XEP-0368).

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::CommonState;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

pub use super::dane::Dane;
use super::error::TlsError;
use super::facts::{ascii, bare_ip};
use super::host::Host;
pub use super::roots::PeerTrust;
use super::roots::Trusted;
use super::{Tls, dane, verdict};
use crate::session::transport::PeerSecured;
use crate::stream::s2s::certificate::PeerCertificate;

/// The certificates in use, and those that are believed. A clone costs a reference count.
#[derive(Clone)]
pub struct PeerTls {
    tls: Tls,
    trusted: Arc<Trusted>,
}

/// A finished handshake.
pub struct Secured<IO> {
    /// The secured stream.
    pub stream: TlsStream<IO>,
    /// What is known of the peer.
    pub peer: PeerSecured,
}

/// Whom a connection that we open is for.
#[derive(Clone, Copy)]
pub struct Whom<'a> {
    /// The domain of ours whose certificate is shown.
    pub local: &'a str,
    /// The peer's domain, which is the name that it is asked for (XEP-0368 §3: not the SRV target).
    pub remote: &'a str,
    /// Whether TLS begins with the first byte: then ALPN says what is spoken.
    pub direct: bool,
    /// What DNSSEC vouches for.
    pub dane: Option<&'a Dane>,
}

impl PeerTls {
    /// Reads the files of `trust`; the first unusable one is the error.
    pub fn new(tls: Tls, trust: PeerTrust) -> Result<Self, TlsError> {
        Ok(Self { tls, trusted: Arc::new(Trusted::load(trust)?) })
    }

    /// Reads the authorities of the system, which takes a while: on a thread that may wait.
    pub fn prepare(&self) {
        self.trusted.roots();
    }

    /// Reads the believed certificates again. If that fails, they stay as they are, and the log says so.
    pub fn reload(&self) {
        if let Err(error) = self.trusted.reload() {
            tracing::error!(%error, "s2s.trust cannot be read again, and stays as it was");
        }
    }

    /// Performs the handshake of a connection that we opened. The caller bounds its time. It succeeds whatever the
    /// peer's certificate is worth.
    pub async fn connect<IO>(&self, io: IO, whom: Whom<'_>) -> io::Result<Secured<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(whom.remote)?;
        let config = self.ours(whom.local)?.peers.client(whom.direct);
        let connect = TlsConnector::from(config).connect(name, io);
        // What the certificate is worth is found out within the turn: signatures are arithmetic, too.
        let secure = async {
            let stream = connect.await?;
            let peer = self.of_called(stream.get_ref().1, &whom);
            Ok(Secured { stream: stream.into(), peer })
        };
        self.tls.0.turns.take(secure).await
    }

    fn of_called(&self, state: &CommonState, whom: &Whom<'_>) -> PeerSecured {
        let mut certificate = self.judge(state);
        if let (Some(dane), Some(found)) = (whom.dane, &mut certificate) {
            let chain = state.peer_certificates().unwrap_or_default();
            let provider = &self.tls.0.provider;
            if chain.len() <= verdict::CHAIN_MAX
                && let Some(trust) = dane::judge(dane, chain, whom.remote, now(), provider)
            {
                *found = verdict::with_trust(chain, trust);
            }
        }
        secured(state, certificate)
    }

    /// Performs the handshake of a connection that a peer opened; `to` is the domain of the stream header, if there
    /// was one. The caller bounds its time. It succeeds whatever the peer's certificate is worth, and without any.
    pub async fn accept<IO>(&self, io: IO, to: Option<&str>) -> io::Result<Secured<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let sni = start.client_hello().server_name().map(str::to_owned);
        // The stream says for whom it is; before it, SNI does. A peer may put an SRV target there.
        let host = self.ours(to.or(sni.as_deref()).unwrap_or_default())?;
        let config = host.peers.server(to.is_none());
        let secure = async {
            let stream = start.into_stream(config).await?;
            let state = stream.get_ref().1;
            let peer = secured(state, self.judge(state));
            Ok(Secured { stream: stream.into(), peer })
        };
        self.tls.0.turns.take(secure).await
    }

    /// The host whose certificate is for a domain of ours: its own; else, for a service, one that has its name, or
    /// the one that it is below; else the first.
    fn ours(&self, domain: &str) -> io::Result<Arc<Host>> {
        let (hosts, name) = (self.tls.0.hosts.load(), ascii(domain));
        let is_below = |host: &&Arc<Host>| {
            name.strip_suffix(&host.name).is_some_and(|above| above.ends_with('.'))
        };
        hosts
            .iter()
            .find(|host| host.name == name)
            .or_else(|| hosts.iter().find(|host| host.facts.covers_host_name(&name)))
            .or_else(|| hosts.iter().find(is_below))
            .or_else(|| hosts.first())
            .cloned()
            .ok_or_else(|| io::Error::other("no host has a certificate"))
    }

    fn judge(&self, state: &CommonState) -> Option<PeerCertificate> {
        let chain = state.peer_certificates()?;
        verdict::judge(chain, &self.trusted.roots(), now(), &self.tls.0.provider)
    }
}

fn server_name(domain: &str) -> io::Result<ServerName<'static>> {
    let name = bare_ip(domain).map_or_else(|| ascii(domain), |ip| ip.to_string());
    ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn secured(state: &CommonState, certificate: Option<PeerCertificate>) -> PeerSecured {
    PeerSecured { certificate, version: super::version(state), cipher: super::cipher(state) }
}

#[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests;
