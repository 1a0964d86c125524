//! What a session runs over: bytes both ways, and TLS on demand. What the bytes say is the business of
//! `stream::framing`.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::stream::sasl::ChannelBindings;

/// The future of [`Transport::start_tls`].
pub type StartTls<'a> = Pin<Box<dyn Future<Output = io::Result<ChannelBindings>> + Send + 'a>>;

/// A connection to a client. Held boxed: an idle session owns one pointer.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Runs the TLS handshake for the domain that the stream named.
    fn start_tls<'a>(&'a mut self, host: &'a str) -> StartTls<'a>;

    /// It breaks when what is written is not acknowledged for `limits.ping_timeout_secs`, or when the
    /// other side takes nothing for as long: what was written before is at the other end.
    fn notices_loss(&self) -> bool {
        false
    }
}
