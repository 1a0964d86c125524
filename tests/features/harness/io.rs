//! A connection that may become TLS on the way, and how a certificate is trusted.

use super::ws::Ws;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The transport under a stream.
pub enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// RFC 7395; to the test it looks like TCP.
    Ws(Box<Ws>),
    /// Between the two, and after a failed handshake.
    Gone,
}

impl Io {
    pub async fn read(&mut self, buf: &mut Vec<u8>) -> std::io::Result<usize> {
        match self {
            Io::Plain(io) => io.read_buf(buf).await,
            Io::Tls(io) => io.read_buf(buf).await,
            Io::Ws(io) => io.read(buf).await,
            Io::Gone => Ok(0),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Io::Plain(io) => io.write_all(bytes).await,
            Io::Tls(io) => {
                io.write_all(bytes).await?;
                io.flush().await
            }
            Io::Ws(io) => io.write(bytes).await,
            Io::Gone => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends our direction (with close_notify under TLS).
    pub async fn shutdown(&mut self) -> std::io::Result<()> {
        match self {
            Io::Plain(io) => io.shutdown().await,
            Io::Tls(io) => io.shutdown().await,
            Io::Ws(io) => io.close().await,
            Io::Gone => Ok(()),
        }
    }

    /// The TLS handshake on this connection, the certificate proved for `domain`.
    pub async fn start_tls(&mut self, tls: Arc<ClientConfig>, domain: &str) -> Result<(), String> {
        let Io::Plain(tcp) = std::mem::replace(self, Io::Gone) else {
            return Err("TLS inside TLS".into());
        };
        let name = ServerName::try_from(domain.to_owned()).map_err(|e| e.to_string())?;
        let stream = Box::pin(TlsConnector::from(tls).connect(name, tcp)).await;
        *self = Io::Tls(Box::new(stream.map_err(|e| format!("TLS: {e}"))?));
        Ok(())
    }

    /// The handshake of RFC 6455 on this connection, which is TLS.
    pub async fn start_ws(&mut self, domain: &str) -> Result<(), String> {
        let Io::Tls(tls) = std::mem::replace(self, Io::Gone) else {
            return Err("WebSocket without TLS".into());
        };
        *self = Io::Ws(Box::new(Box::pin(Ws::open(*tls, domain)).await?));
        Ok(())
    }

    /// RFC 9266 §2: the exporter with this label and an empty context, 32 bytes.
    pub fn tls_exporter(&self) -> Option<Vec<u8>> {
        let tls = match self {
            Io::Tls(tls) => tls,
            Io::Ws(ws) => ws.tls(),
            Io::Plain(_) | Io::Gone => return None,
        };
        let export =
            tls.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        export.ok().map(|bytes| bytes.to_vec())
    }
}

/// A client configuration that trusts what stands in `ca` and nothing else.
pub fn trust(ca: &Path, alpn: &[&str]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::pem_file_iter(ca).map_err(|e| format!("{}: {e}", ca.display()))?;
    for certificate in pem {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
