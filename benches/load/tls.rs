//! TLS of the bench: 1.3 alone, a full handshake each time, any certificate.

// Who the server is matters to no figure.
#[path = "../../src/net/tls/testing/any_certificate.rs"]
mod any_certificate;

use self::any_certificate::AnyCertificate;
use super::fault::{Fault, Res, fault};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What makes a connection a TLS connection.
pub type Connector = tokio_rustls::TlsConnector;

/// A connector that resumes no session.
pub fn connector() -> Connector {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
    let trusting = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut config = trusting.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config).into()
}

/// Shakes hands.
pub async fn connect(
    connector: &Connector,
    tcp: TcpStream,
    domain: &str,
) -> Res<TlsStream<TcpStream>> {
    let Ok(name) = ServerName::try_from(domain.to_owned()) else {
        return fault(format!("{domain} is no server name"));
    };
    connector.connect(name, tcp).await.map_err(|e| Fault(format!("TLS: {e}")))
}

/// The relay's side: a certificate (P-256) of its own, as the servers have one.
pub fn acceptor() -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["bench.localhost".to_owned()]);
    let made = made.expect("a certificate can be made");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
    let config = builder
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("the certificate fits its key");
    Arc::new(config).into()
}
