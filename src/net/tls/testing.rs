//! Certificates, clients and handshakes for the tests of this folder.

mod any_certificate;

use self::any_certificate::AnyCertificate;
use super::{Accepted, HostCertificate, Kind, MinVersion, Source, Tls, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SupportedProtocolVersion};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::DuplexStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority that the tests hold in memory.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(Issuer::new(params, KeyPair::generate().unwrap()))
    }

    /// Chain and key as PEM, valid for a year.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_until(names, SystemTime::now() + Duration::from_secs(365 * 86_400))
    }

    pub(crate) fn issue_until(&self, names: &[&str], until: SystemTime) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = until.into();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a new certificate for `domain` into `folder`, which contains `names`.
    pub(crate) fn put(&self, folder: &Path, domain: &str, names: &[&str]) -> HostCertificate {
        put(folder, domain, &self.issue(names))
    }
}

/// Writes chain and key of `domain` into `folder`.
pub(crate) fn put(folder: &Path, domain: &str, pair: &(String, String)) -> HostCertificate {
    let (chain, key) = (folder.join(format!("{domain}.pem")), folder.join(format!("{domain}.key")));
    std::fs::write(&chain, &pair.0).unwrap();
    std::fs::write(&key, &pair.1).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    HostCertificate { domain: domain.to_owned(), source: Source::Files { chain, key } }
}

pub(crate) fn settings(folder: &Path, hosts: Vec<HostCertificate>) -> TlsSettings {
    TlsSettings { hosts, data_dir: folder.to_owned(), min_version: MinVersion::Tls12 }
}

pub(crate) fn keys_of(chain: &str, key: &str) -> CertifiedKey {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap()
}

/// A client that accepts any certificate, so that a test can look at it.
pub(crate) fn client(version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_of(version, aws_lc_rs::default_provider())
}

/// Like [`client`], but with another provider.
pub(crate) fn client_of(
    version: &'static SupportedProtocolVersion,
    provider: CryptoProvider,
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth()
}

/// Both ends of one connection in memory.
pub(crate) type Ends = (io::Result<Accepted<DuplexStream>>, io::Result<TlsStream<DuplexStream>>);

pub(crate) async fn handshake(
    tls: &Tls,
    kind: Kind<'_>,
    client: &Arc<ClientConfig>,
    sni: &str,
) -> Ends {
    let (near, far) = tokio::io::duplex(65_536);
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let connect = TlsConnector::from(client.clone()).connect(name, far);
    tokio::join!(tls.accept(near, kind), connect)
}
