//! A TCP connection with another server, plain or under TLS, whoever opened it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::net::tcp::notice_loss;
use crate::net::tls::peer::{Dane, PeerTls, Secured, Whom};
use crate::peer::dial::{PeerTransport, Securing};
use crate::session::transport::PeerSecured;

/// One connection.
pub struct PeerSocket {
    io: Io,
    tls: PeerTls,
    side: Side,
}

/// Who opened a connection.
#[derive(Debug, Clone)]
pub enum Side {
    /// We did.
    Ours {
        /// What DNSSEC vouches for.
        dane: Option<Box<Dane>>,
    },
    /// The peer did.
    Theirs,
}

enum Io {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    /// In the middle of STARTTLS, and for good after a failed handshake.
    Gone,
}

impl PeerSocket {
    /// A connection that starts without TLS. It breaks when sent bytes are not acknowledged for `loss_time`.
    pub fn plain(stream: TcpStream, tls: PeerTls, side: Side, loss_time: Duration) -> Self {
        // A socket that refuses an option still works.
        let _ = stream.set_nodelay(true);
        notice_loss(&stream, loss_time);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Self { io: Io::Plain(stream), tls, side }
    }

    /// A connection that starts with TLS (XEP-0368). The caller bounds the time.
    pub async fn direct(self, local: &str, remote: &str) -> io::Result<(Self, PeerSecured)> {
        let Self { io, tls, side } = self;
        let Io::Plain(stream) = io else { return Err(io::ErrorKind::NotConnected.into()) };
        let secured = match &side {
            Side::Ours { dane } => {
                let whom = Whom { local, remote, direct: true, dane: dane.as_deref() };
                tls.connect(stream, whom).await?
            }
            Side::Theirs => tls.accept(stream, None).await?,
        };
        let Secured { stream, peer } = secured;
        Ok((Self { io: Io::Secure(Box::new(stream)), tls, side }, peer))
    }
}

impl PeerTransport for PeerSocket {
    fn start_tls<'a>(&'a mut self, local: &'a str, remote: &'a str) -> Securing<'a> {
        Box::pin(async move {
            let Io::Plain(stream) = std::mem::replace(&mut self.io, Io::Gone) else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let secured = match &self.side {
                Side::Ours { dane } => {
                    let whom = Whom { local, remote, direct: false, dane: dane.as_deref() };
                    self.tls.connect(stream, whom).await?
                }
                Side::Theirs => self.tls.accept(stream, Some(local)).await?,
            };
            let Secured { stream, peer } = secured;
            self.io = Io::Secure(Box::new(stream));
            Ok(peer)
        })
    }
}

impl AsyncRead for PeerSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for PeerSocket {
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

#[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
pub(super) fn now() -> Instant {
    Instant::now()
}

/// After so much silence the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(300);
