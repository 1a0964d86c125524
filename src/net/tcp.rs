//! A client's TCP connection, plain or under TLS, as a session's transport.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::tls::{self, Accepted, Bindings, Kind, Tls};
use crate::session::transport::{StartTls, Transport};
use crate::stream::sasl::ChannelBindings;

/// One connection.
pub struct Socket {
    io: Io,
    tls: Tls,
    notices_loss: bool,
    /// What was read to tell protocols apart, and is to be read again.
    unread: Option<Box<Bytes>>,
}

enum Io {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    /// In the middle of STARTTLS, and for good after a failed handshake.
    Gone,
}

impl Socket {
    /// A connection that starts without TLS.
    pub fn plain(stream: TcpStream, tls: Tls, ping_timeout: Duration) -> Self {
        let notices_loss = notice_loss(&stream, ping_timeout);
        Self { io: Io::Plain(stream), tls, notices_loss, unread: None }
    }

    /// A connection that starts with TLS. The caller bounds the time.
    pub async fn secure(
        stream: TcpStream,
        tls: Tls,
        kind: Kind<'_>,
        ping_timeout: Duration,
    ) -> io::Result<Secured> {
        let notices_loss = notice_loss(&stream, ping_timeout);
        let accepted = tls.accept(stream, kind).await?;
        let bindings = told(&accepted);
        let io = Io::Secure(Box::new(accepted.stream));
        let socket = Self { io, tls, notices_loss, unread: None };
        Ok(Secured { socket, bindings, protocol: accepted.protocol })
    }

    /// Gives back what was read from it: the next read gets it first.
    pub fn unread(&mut self, bytes: Bytes) {
        self.unread = (!bytes.is_empty()).then(|| Box::new(bytes));
    }
}

/// A connection that starts with TLS.
pub struct Secured {
    /// The connection.
    pub socket: Socket,
    /// For SASL mechanisms with channel binding.
    pub bindings: ChannelBindings,
    /// The protocol that both sides chose (RFC 7301), if the client named any.
    pub protocol: Option<Vec<u8>>,
}

/// Makes the connection break when sent data is not acknowledged, or the peer's window stays closed,
/// for this long (RFC 5482; TCP_USER_TIMEOUT). Returns false where the system does not support it.
pub(super) fn notice_loss(stream: &TcpStream, after: Duration) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let noticed = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(after)).is_ok();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let noticed = {
        let _ = (stream, after);
        false
    };
    noticed
}

fn told(accepted: &Accepted<TcpStream>) -> ChannelBindings {
    tracing::debug!(host = %accepted.host, version = accepted.version, cipher = %accepted.cipher, "TLS");
    let Bindings { exporter, end_point } = accepted.bindings.clone();
    // RFC 9266 §3; rustls has no tls-unique for TLS 1.2.
    let lacks_default = accepted.version != tls::V1_3 || exporter.is_none();
    ChannelBindings { tls_exporter: exporter, tls_server_end_point: end_point, lacks_default }
}

/// COMPAT(go-xmpp): sends a line feed after `<starttls/>`, which RFC 6120 §5.3.3 does not allow. It is
/// discarded whether it arrives with the element or later; a ClientHello never begins with white space.
async fn skip_white_space(stream: &mut TcpStream) -> io::Result<()> {
    let mut skipped = 0;
    let mut bytes = [0; 64];
    while skipped < WHITE_SPACE_MAX {
        let there = stream.peek(&mut bytes).await?;
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let spaces = bytes.iter().take(there).take_while(is_space).count();
        if spaces == 0 {
            return Ok(());
        }
        skipped += stream.read(bytes.get_mut(..spaces).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Maximum of white space before a handshake.
const WHITE_SPACE_MAX: usize = 1_024;

impl Transport for Socket {
    fn start_tls<'a>(&'a mut self, host: &'a str) -> StartTls<'a> {
        Box::pin(async move {
            let Io::Plain(mut stream) = std::mem::replace(&mut self.io, Io::Gone) else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            skip_white_space(&mut stream).await?;
            let accepted = self.tls.accept(stream, Kind::StartTls { to: Some(host) }).await?;
            let bindings = told(&accepted);
            self.io = Io::Secure(Box::new(accepted.stream));
            Ok(bindings)
        })
    }

    fn notices_loss(&self) -> bool {
        self.notices_loss
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(unread) = &mut self.unread {
            let some = unread.split_to(unread.len().min(buf.remaining()));
            buf.put_slice(&some);
            if !unread.has_remaining() {
                self.unread = None;
            }
            return Poll::Ready(Ok(()));
        }
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Secure(stream) => Pin::new(stream).poll_flush(cx),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}
