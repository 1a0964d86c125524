//! Certificates of the tests' own, and TLS clients of a given version.

use super::client::{Client, Outcome};
use super::io::Io;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate authority that a test holds, with its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub ca: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority of {}", folder.display());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let ca = folder.join("authority.pem");
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), ca }
    }

    /// Writes `name.pem` and `name.key` into the folder, good for these domains.
    pub fn put(&self, folder: &Path, name: &str, domains: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let chain = params(domains).signed_by(&key, &self.issuer).unwrap().pem();
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        // The key goes last: a reload between the two sees a pair that does not fit, and waits.
        std::fs::write(&paths.0, chain).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}

impl Authority {
    /// What was asked for, signed, PEM.
    pub fn sign_request(&self, request: CertificateSigningRequestParams) -> String {
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// A certificate as the parameters say, with its key (PKCS #8).
    pub fn sign(&self, params: CertificateParams) -> (CertificateDer<'static>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.serialize_der())
    }
}

/// What a certificate for these domains says.
pub fn params(domains: &[&str]) -> CertificateParams {
    let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
    let mut params = CertificateParams::new(domains).unwrap();
    // Not the name of its authority, too: it would look as if it were signed by itself.
    params.distinguished_name.push(DnType::CommonName, "a server of a test");
    params
}

/// A client that trusts the file and speaks only these versions.
pub fn config(
    ca: &Path,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The server's own certificate on this connection.
pub fn certificate(client: &Client) -> Option<Vec<u8>> {
    let Io::Tls(tls) = &client.io else { return None };
    Some(tls.get_ref().1.peer_certificates()?.first()?.to_vec())
}

/// STARTTLS with a client configuration of one's own; the new stream is not opened.
pub async fn start_tls(client: &mut Client, tls: Arc<ClientConfig>, sni: &str) -> Outcome<()> {
    client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    let answer = client.receive().await?;
    if answer.name != "proceed" {
        return client.fail(format!("refused: {answer}"));
    }
    handshake(client, tls, sni).await
}

/// The handshake alone.
pub async fn handshake(client: &mut Client, tls: Arc<ClientConfig>, sni: &str) -> Outcome<()> {
    match client.io.start_tls(tls, sni).await {
        Ok(()) => Ok(()),
        Err(why) => client.fail(why),
    }
}

/// Believes every certificate, and remembers the last one.
#[derive(Debug, Default)]
pub struct Seen(std::sync::Mutex<Vec<u8>>);

impl Seen {
    pub fn certificate(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
