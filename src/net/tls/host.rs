//! One host's certificate in use, and the file metadata by which a change is noticed.

use super::error::{TlsError, TlsProblem};
use super::facts::{Facts, ascii};
use super::kind::Kind;
use super::peer_configs::PeerConfigs;
use super::{HostCertificate, HostInfo, MinVersion, Source, Warning, pair};
use crate::base::time::{is_plausible, stamp};
use crate::net::local_ca::{self, LocalCa};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ServerConfig};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) struct Host {
    /// As the settings spell it.
    pub(super) domain: String,
    /// In the form of SNI.
    pub(super) name: String,
    streams: Configs,
    web: Configs,
    any: Configs,
    pub(super) peers: PeerConfigs,
    pub(super) facts: Facts,
    /// Equal chains have equal public keys, so the chain alone shows whether a reload changes anything.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) stamp: Stamp,
}

impl Host {
    pub(super) fn load(
        host: &HostCertificate,
        ca: Option<&LocalCa>,
        min_version: MinVersion,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let (chain_file, key_file) = match (&host.source, ca) {
            (Source::Files { chain, key }, _) => (chain.clone(), key.clone()),
            (Source::Local | Source::Kept { .. }, Some(ca)) => ca.certificate(&host.domain, now)?,
            (Source::Kept { file }, None) => (file.clone(), file.clone()),
            (Source::Local, None) => {
                return Err(TlsProblem::Missing.at(Path::new(&host.domain)));
            }
        };
        // Taken before the files are read: a change in between then counts as one and is not missed.
        let mut stamp = Stamp::take(chain_file, key_file);
        let pair = pair::load(&stamp.chain_file, &stamp.key_file, provider)?;
        if ca.is_some() {
            stamp.good = Some(local_ca::good(&pair.facts));
        }
        let chain = pair.certified.cert.clone();
        let setup =
            |error: rustls::Error| TlsProblem::Setup(error.to_string()).at(&stamp.chain_file);
        let certified = Arc::new(pair.certified);
        let config = pair::server_config(certified.clone(), min_version, provider.clone());
        let config = config.map_err(setup)?;
        let peers = PeerConfigs::new(&certified, min_version, provider).map_err(setup)?;
        Ok(Self {
            domain: host.domain.clone(),
            name: ascii(&host.domain),
            streams: Configs::new(&config, &[pair::ALPN_CLIENT]),
            web: Configs::new(&config, &ALPN_WEB),
            any: Configs::new(&config, &[&[pair::ALPN_CLIENT][..], &ALPN_WEB[..]].concat()),
            peers,
            facts: pair.facts,
            chain,
            stamp,
        })
    }

    /// The configuration for a client that offers these suites.
    pub(super) fn config_for(&self, kind: Kind<'_>, offered: &[CipherSuite]) -> Arc<ServerConfig> {
        match kind {
            Kind::StartTls { .. } | Kind::Direct => self.streams.choose(offered),
            Kind::Web => self.web.choose(offered),
            Kind::Any => self.any.choose(offered),
        }
    }

    /// Whether the local authority signed it.
    pub(super) fn is_own(&self) -> bool {
        self.stamp.good.is_some()
    }

    pub(super) fn warnings(&self, now: SystemTime) -> Vec<Warning> {
        let Self { domain, facts, stamp, .. } = self;
        let file = stamp.chain_file.display();
        let mut found = Vec::new();
        if let Some(Warning { refused, text }) = validity_warning(facts, now) {
            let text = format!("the certificate of {domain} ({file}) {text}");
            found.push(Warning { refused, text });
        }
        if !facts.covers(domain) {
            let names: Vec<String> = facts.names.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let text = format!(
                "the certificate of {domain} ({file}) is valid for {names} and not for {domain}: \
                 clients will refuse it; order one with DNS:{}",
                self.name
            );
            found.push(Warning { refused: true, text });
        }
        found.extend(stamp.warnings().into_iter().map(|text| Warning { refused: false, text }));
        found
    }

    pub(super) fn info(&self) -> HostInfo {
        HostInfo {
            domain: self.domain.clone(),
            subject: self.facts.subject.clone(),
            names: self.facts.names.iter().map(ToString::to_string).collect(),
            issuer: self.facts.issuer.clone(),
            not_after: self.facts.not_after,
            chain_file: self.stamp.chain_file.clone(),
            is_own: self.is_own(),
            fingerprint_sha256: self.facts.fingerprint_sha256.clone(),
        }
    }
}

/// Whether the local authority has to sign for a host: it always does, or what this server is to keep is not there yet.
pub fn needs_authority(host: &HostCertificate) -> bool {
    match &host.source {
        Source::Local => true,
        Source::Files { .. } => false,
        Source::Kept { file } => !pair::load(file, file, &pair::provider())
            .is_ok_and(|pair| pair.facts.covers(&host.domain)),
    }
}

/// The protocols of HTTPS, the better one first (RFC 9113 §3.2, RFC 7301 §6).
pub(super) const ALPN_WEB: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a listener does in its handshakes.
struct Configs {
    ours: Arc<ServerConfig>,
    /// Follows the client's order of cipher suites.
    theirs: Arc<ServerConfig>,
}

impl Configs {
    fn new(config: &ServerConfig, protocols: &[&[u8]]) -> Self {
        let mut ours = config.clone();
        ours.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let mut theirs = ours.clone();
        theirs.ignore_client_order = false;
        Self { ours: Arc::new(ours), theirs: Arc::new(theirs) }
    }

    /// A client that prefers ChaCha20 most likely lacks AES instructions and runs on a battery, so it gets
    /// ChaCha20. For all others the suites are equally good.
    fn choose(&self, offered: &[CipherSuite]) -> Arc<ServerConfig> {
        let known = &self.ours.crypto_provider().cipher_suites;
        let first = offered.iter().find(|offer| known.iter().any(|suite| suite.suite() == **offer));
        match first.and_then(|suite| suite.as_str()) {
            Some(name) if name.contains("CHACHA20") => self.theirs.clone(),
            _ => self.ours.clone(),
        }
    }
}

fn validity_warning(facts: &Facts, now: SystemTime) -> Option<Warning> {
    let until = stamp(facts.not_after);
    let warning = |refused, text| Some(Warning { refused, text });
    if now < facts.not_before {
        let from = stamp(facts.not_before);
        return warning(
            true,
            format!("is valid only from {from}; check the clock of this machine"),
        );
    }
    match facts.not_after.duration_since(now) {
        Err(_) => warning(true, format!("expired on {until}: clients will refuse it; renew it")),
        Ok(left) if left < EXPIRY_WARNING => {
            let days = left.as_secs() / 86_400;
            warning(false, format!("expires in {days} days, on {until}: renew it"))
        }
        Ok(_) => None,
    }
}

/// Metadata of a host's files, to notice a change without reading them.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    pub(super) chain_file: PathBuf,
    pub(super) key_file: PathBuf,
    looks: [Option<Look>; 2],
    /// Period outside of which the local authority should make a new certificate.
    good: Option<(SystemTime, SystemTime)>,
}

/// Device, inode, length, and time of the last change in seconds and nanoseconds.
type Look = (u64, u64, u64, i64, i64);

impl Stamp {
    fn take(chain_file: PathBuf, key_file: PathBuf) -> Self {
        let looks = [look(&chain_file), look(&key_file)];
        Self { chain_file, key_file, looks, good: None }
    }

    /// The current metadata. An overdue renewal is tried again only in a day, so that a full disk does
    /// not cause an error every few seconds.
    pub(super) fn again(&self, now: SystemTime) -> Self {
        let fresh = Self::take(self.chain_file.clone(), self.key_file.clone());
        let good = self.good.map(|(from, until)| (from.min(now), until.max(now + RENEW_RETRY)));
        Self { good, ..fresh }
    }

    pub(super) fn stale(&self, now: SystemTime) -> bool {
        self.looks != [look(&self.chain_file), look(&self.key_file)]
            || self
                .good
                .is_some_and(|(from, until)| is_plausible(now) && (now < from || until <= now))
    }

    fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if fs::metadata(&self.key_file).is_ok_and(|meta| meta.mode() & 0o004 != 0) {
            let file = self.key_file.display();
            found.push(format!(
                "everybody on this machine can read the key {file}: chmod o= {file}"
            ));
        }
        // These are certbot's file names; with cert.pem alone many clients cannot build the chain.
        let full = self.chain_file.with_file_name("fullchain.pem");
        if self.chain_file.ends_with("cert.pem") && full.exists() {
            found.push(format!(
                "{} lacks the intermediate certificates: use {}",
                self.chain_file.display(),
                full.display()
            ));
        }
        found
    }
}

/// Follows symbolic links, because ACME clients replace those.
fn look(file: &Path) -> Option<Look> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);
const RENEW_RETRY: Duration = Duration::from_secs(86_400);
