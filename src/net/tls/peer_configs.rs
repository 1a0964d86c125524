//! How a host does TLS with other servers: it shows its certificate on both sides, asks for that of the other side,
//! and finishes the handshake whatever that is worth. What it is worth is decided later (`verdict`): a certificate
//! that is not valid may still do for dialback, and the peer is told by the stream what is wrong.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

use super::{MinVersion, pair};

/// The configurations of one host.
pub(super) struct PeerConfigs {
    client: Arc<ClientConfig>,
    client_direct: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    server_direct: Arc<ServerConfig>,
}

impl PeerConfigs {
    pub(super) fn new(
        certified: &Arc<CertifiedKey>,
        min_version: MinVersion,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let versions = pair::versions(min_version);
        let anybody = Arc::new(Anybody(provider.clone()));
        let ours = Arc::new(SingleCertAndKey::from(certified.clone()));
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(anybody.clone())
            .with_client_cert_resolver(ours.clone());
        // A stream between servers lives long. Without tickets none costs memory, and each handshake shows what the
        // certificate is now.
        client.resumption = Resumption::disabled();
        client.require_ems = true;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(anybody)
            .with_cert_resolver(ours);
        server.ignore_client_order = true;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        server.require_ems = true;
        // XEP-0368 §4: where TLS begins with the first byte. RFC 7301 is of no use inside a stream.
        let (mut client_direct, mut server_direct) = (client.clone(), server.clone());
        client_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        server_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        Ok(Self {
            client: Arc::new(client),
            client_direct: Arc::new(client_direct),
            server: Arc::new(server),
            server_direct: Arc::new(server_direct),
        })
    }

    /// For connections that we open.
    pub(super) fn client(&self, direct: bool) -> Arc<ClientConfig> {
        if direct { self.client_direct.clone() } else { self.client.clone() }
    }

    /// For connections that others open.
    pub(super) fn server(&self, direct: bool) -> Arc<ServerConfig> {
        if direct { self.server_direct.clone() } else { self.server.clone() }
    }
}

/// Takes every certificate, on either side, of whoever has its key: the signatures of the handshake are checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl Anybody {
    fn tls12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a peer shows the certificate that it has, whoever issued it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Registered by XEP-0368 §7.
pub(super) const ALPN_SERVER: &[u8] = b"xmpp-server";
