//! The transport of a session: bytes in both directions, and TLS on demand. `stream::framing` interprets the
//! bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::stream::s2s::certificate::PeerCertificate;
use crate::stream::sasl::ChannelBindings;

/// The future of [`Transport::start_tls`].
pub type StartTls<'a> = Pin<Box<dyn Future<Output = io::Result<ChannelBindings>> + Send + 'a>>;

/// A connection to a client. Held boxed: an idle session owns one pointer.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Runs the TLS handshake for the domain that the stream named.
    fn start_tls<'a>(&'a mut self, host: &'a str) -> StartTls<'a>;

    /// Whether the connection breaks when written bytes are not acknowledged, or the other side takes none,
    /// for `limits.ping_timeout_secs`. If it has not broken by then, earlier bytes have arrived.
    fn notices_loss(&self) -> bool {
        false
    }
}

/// TLS with another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSecured {
    /// What is known of its certificate, if it showed one.
    pub certificate: Option<PeerCertificate>,
    /// Such as `TLSv1.3`.
    pub version: &'static str,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}
