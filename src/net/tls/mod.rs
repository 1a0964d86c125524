//! TLS for clients and other servers: certificates per host, reload without a dropped session, channel bindings.
//! RFC 6120 §5 and §13.7, RFC 7590, RFC 9325, XEP-0368 (direct TLS), RFC 9266 and RFC 5929 §4.

mod challenges;
mod dane;
pub(crate) mod error;
pub(crate) mod facts;
mod host;
mod kind;
pub(crate) mod pair;
pub mod peer;
mod peer_configs;
mod roots;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod turns;
mod verdict;

pub use challenges::{ALPN_ACME, Challenges};
pub use error::{TlsError, TlsProblem};
pub use facts::{ascii as in_certificates, bare_ip};
pub use host::needs_authority;
pub use kind::Kind;
pub use settings::{HostCertificate, HostInfo, MinVersion, Source, TlsSettings, Warning};

use super::local_ca::LocalCa;
use arc_swap::ArcSwap;
use facts::ascii;
use host::{Host, Stamp};
use rustls::crypto::CryptoProvider;
use rustls::server::Acceptor;
use rustls::{CommonState, ServerConnection};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, LazyConfigAcceptor};
use turns::Turns;

/// The certificates in use. A clone costs a reference count; all clones see each reload.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    hosts: ArcSwap<Vec<Arc<Host>>>,
    /// Metadata of the files when they were last read, successfully or not.
    stamps: ArcSwap<Vec<Stamp>>,
    ca_file: Option<PathBuf>,
    minted: bool,
    ca_renewed: Option<String>,
    /// Held during a reload: two at once could make two certificates for one domain.
    reloading: Mutex<()>,
    turns: Turns,
    challenges: Challenges,
}

/// A finished handshake.
pub struct Accepted<IO> {
    /// The secured stream.
    pub stream: TlsStream<IO>,
    /// For SASL mechanisms with channel binding.
    pub bindings: Bindings,
    /// The name that the client asked for (RFC 6066 §3).
    pub sni: Option<String>,
    /// The host whose certificate the client got, as the settings spell it.
    pub host: String,
    /// The protocol that both sides chose (RFC 7301), if the client named any.
    pub protocol: Option<Vec<u8>>,
    /// Such as `TLSv1.3`.
    pub version: &'static str,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// Channel binding data of one TLS session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `tls-exporter` (RFC 9266)
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4); `None` where the certificate defines none.
    pub end_point: Option<Vec<u8>>,
}

/// The outcome of a reload for one host.
#[derive(Debug)]
pub enum Reloaded {
    /// New connections get a new certificate.
    Changed,
    /// The files contain the certificate that is already in use.
    Unchanged,
    /// The new files are broken; the old certificate stays in use.
    Refused(TlsError),
}

/// The outcome of a reload for each host, in the order of the settings.
#[derive(Debug)]
pub struct ReloadReport {
    /// Domain and outcome.
    pub hosts: Vec<(String, Reloaded)>,
}

impl Tls {
    /// Reads every certificate; the first unusable one is the error. Expired certificates and names
    /// that are not covered are only reported by [`Self::warnings`].
    #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        Self::load_at(settings, SystemTime::now())
    }

    fn load_at(settings: TlsSettings, now: SystemTime) -> Result<Self, TlsError> {
        if settings.hosts.is_empty() {
            return Err(TlsProblem::NoHosts.at(&settings.data_dir));
        }
        let provider = Arc::new(pair::provider());
        let ca = match settings.hosts.iter().any(needs_authority) {
            true => Some(LocalCa::open(&settings.data_dir, now, provider.clone())?),
            false => None,
        };
        let mut hosts = Vec::with_capacity(settings.hosts.len());
        for host in &settings.hosts {
            let ca = ca.as_ref().filter(|_| needs_authority(host));
            let host = Host::load(host, ca, settings.min_version, &provider, now)?;
            hosts.push(Arc::new(host));
        }
        let stamps = hosts.iter().map(|host| host.stamp.clone()).collect();
        Ok(Self(Arc::new(Inner {
            settings,
            provider,
            hosts: ArcSwap::from_pointee(hosts),
            stamps: ArcSwap::from_pointee(stamps),
            ca_file: ca.as_ref().map(|ca| ca.ca_file().to_owned()),
            minted: ca.as_ref().is_some_and(|ca| ca.minted()),
            ca_renewed: ca.and_then(|ca| ca.renewed().map(str::to_owned)),
            reloading: Mutex::new(()),
            turns: Turns::default(),
            challenges: Challenges::default(),
        })))
    }

    /// Performs the whole handshake of one connection. The caller bounds its time.
    pub async fn accept<IO>(&self, io: IO, kind: Kind<'_>) -> io::Result<Accepted<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        if let Some(proof) = self.0.challenges.asked(&start.client_hello()) {
            return Box::pin(self.prove(start.into_stream(proof))).await;
        }
        let sni = start.client_hello().server_name().map(str::to_owned);
        let host = self.choose(sni.as_deref(), kind)?;
        let config = host.config_for(kind, start.client_hello().cipher_suites());
        let stream = self.0.turns.take(start.into_stream(config)).await?;
        let (_, conn) = stream.get_ref();
        Ok(Accepted {
            bindings: channel_bindings(conn, host.facts.end_point.as_deref()),
            version: version(conn),
            cipher: cipher(conn),
            host: host.domain.clone(),
            protocol: conn.alpn_protocol().map(<[u8]>::to_vec),
            sni,
            stream,
        })
    }

    /// Ends a handshake that was a proof: nothing follows (RFC 8737 §3).
    async fn prove<IO>(&self, handshake: Accept<IO>) -> io::Result<Accepted<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = self.0.turns.take(handshake).await?;
        let _ = stream.shutdown().await;
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an authority looked at a proof"))
    }

    /// Chooses a host by SNI. A client may put an SRV target there, so an unknown name is no error:
    /// next come the stream's `to`, then any certificate with that name, then the first host.
    fn choose(&self, sni: Option<&str>, kind: Kind<'_>) -> io::Result<Arc<Host>> {
        let hosts = self.0.hosts.load();
        let named = |name: &str| {
            let name = ascii(name);
            hosts.iter().find(|host| host.name == name)
        };
        let to = match kind {
            Kind::StartTls { to } => to,
            Kind::Direct | Kind::Web | Kind::Any => None,
        };
        sni.and_then(named)
            .or_else(|| to.and_then(named))
            .or_else(|| sni.and_then(|sni| hosts.iter().find(|h| h.facts.covers_host_name(sni))))
            .or_else(|| hosts.first())
            .cloned()
            .ok_or_else(|| io::Error::other("no host has a certificate"))
    }

    /// Reads all files again. Existing sessions are not affected; only new ones see the change.
    #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
    pub fn reload(&self) -> ReloadReport {
        self.reload_at(SystemTime::now())
    }

    fn reload_at(&self, now: SystemTime) -> ReloadReport {
        let inner = &self.0;
        let _one = inner.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let old = inner.hosts.load_full();
        let mut stamps = Vec::with_capacity(old.len());
        let mut hosts = Vec::with_capacity(old.len());
        let mut report = Vec::with_capacity(old.len());
        for (settings, old) in inner.settings.hosts.iter().zip(old.iter()) {
            // Taken before the attempt: files that are repaired meanwhile count as changed.
            let refused = old.stamp.again(now);
            let (host, stamp, outcome) = match self.load_again(settings, old, now) {
                Ok(new) if new.chain == old.chain => (old.clone(), new.stamp, Reloaded::Unchanged),
                Ok(new) => {
                    let stamp = new.stamp.clone();
                    (Arc::new(new), stamp, Reloaded::Changed)
                }
                Err(error) => (old.clone(), refused, Reloaded::Refused(error)),
            };
            log(&settings.domain, &outcome);
            hosts.push(host);
            stamps.push(stamp);
            report.push((settings.domain.clone(), outcome));
        }
        inner.hosts.store(Arc::new(hosts));
        inner.stamps.store(Arc::new(stamps));
        ReloadReport { hosts: report }
    }

    fn load_again(
        &self,
        host: &HostCertificate,
        old: &Host,
        now: SystemTime,
    ) -> Result<Host, TlsError> {
        let inner = &self.0;
        // What an authority signed does not give way to what the server makes itself.
        let ca = match old.is_own() && needs_authority(host) {
            true => Some(LocalCa::open(&inner.settings.data_dir, now, inner.provider.clone())?),
            false => None,
        };
        Host::load(host, ca.as_ref(), inner.settings.min_version, &inner.provider, now)
    }

    /// Whether a reload is due: a file has changed since it was last read, or a certificate of the
    /// local authority must be renewed. Cheap: two `stat` calls per host.
    #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
    pub fn files_changed(&self) -> bool {
        self.files_changed_at(SystemTime::now())
    }

    fn files_changed_at(&self, now: SystemTime) -> bool {
        self.0.stamps.load().iter().any(|stamp| stamp.stale(now))
    }

    /// Problems that an operator should fix soon, for the startup log and `stonechat check`.
    pub fn warnings(&self, now: SystemTime) -> Vec<Warning> {
        self.0.hosts.load().iter().flat_map(|host| host.warnings(now)).collect()
    }

    /// The certificates in use, in the order of the settings.
    pub fn certificate_info(&self) -> Vec<HostInfo> {
        self.0.hosts.load().iter().map(|host| host.info()).collect()
    }

    /// The proofs that an authority is to find.
    pub fn challenges(&self) -> &Challenges {
        &self.0.challenges
    }

    /// Whether one of the certificates is for this domain, so that other servers believe it (RFC 6125 §6).
    pub fn has_name(&self, domain: &str) -> bool {
        self.0.hosts.load().iter().any(|host| host.facts.covers_host_name(domain))
    }

    /// The PEM file that devices have to trust, if any host uses the local authority.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.0.ca_file.clone()
    }

    /// Why this run renewed the certificate of the local authority, if it did.
    pub fn ca_renewed(&self) -> Option<&str> {
        self.0.ca_renewed.as_deref()
    }

    /// Whether this run made the local authority.
    pub fn minted(&self) -> bool {
        self.0.minted
    }
}

/// The channel bindings of a finished handshake; `end_point` is the hash of the certificate that was
/// served.
pub fn channel_bindings(conn: &ServerConnection, end_point: Option<&[u8]>) -> Bindings {
    // RFC 9266 §2: this label, a zero-length context, 32 bytes. Every configuration requires the
    // extended master secret, so TLS 1.2 has unique secrets too (§4.2).
    let exporter = conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
    Bindings {
        exporter: exporter.ok().map(|bytes| bytes.to_vec()),
        end_point: end_point.map(<[u8]>::to_vec),
    }
}

/// [`Accepted::version`] of TLS 1.3.
pub const V1_3: &str = "TLSv1.3";

fn version(conn: &CommonState) -> &'static str {
    match conn.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => V1_3,
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

fn cipher(conn: &CommonState) -> String {
    conn.negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn log(domain: &str, outcome: &Reloaded) {
    match outcome {
        Reloaded::Changed => tracing::info!(domain, "new certificate in use"),
        Reloaded::Unchanged => tracing::debug!(domain, "certificate unchanged"),
        Reloaded::Refused(error) => {
            tracing::error!(domain, %error, "new certificate refused, the old one stays in use");
        }
    }
}
