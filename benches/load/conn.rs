//! A connection to a server under test: plain or TLS, one buffer, pieces cut out of it.

use super::bosh::Bosh;
use super::fault::{Res, fault};
use super::framer::Framer;
use super::tls;
use super::websocket::WebSocket;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocket>),
    Bosh(Box<Bosh>),
    /// While one becomes the other, and after the end.
    None,
}

/// An open connection.
pub struct Conn {
    wire: Wire,
    buf: Vec<u8>,
    framer: Framer,
}

impl Conn {
    /// Connects, in the clear.
    pub async fn open(address: SocketAddr) -> Res<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { wire: Wire::Plain(tcp), buf: Vec::new(), framer: Framer::default() })
    }

    /// On a WebSocket.
    pub fn websocket(socket: WebSocket) -> Self {
        let wire = Wire::WebSocket(Box::new(socket));
        Self { wire, buf: Vec::new(), framer: Framer::default() }
    }

    /// By BOSH.
    pub fn bosh(bosh: Bosh) -> Self {
        let wire = Wire::Bosh(Box::new(bosh));
        Self { wire, buf: Vec::new(), framer: Framer::default() }
    }

    /// Turns to TLS 1.3; a full handshake each time.
    pub async fn secure(&mut self, connector: &tls::Connector, domain: &str) -> Res<()> {
        let Wire::Plain(tcp) = std::mem::replace(&mut self.wire, Wire::None) else {
            return fault("TLS inside of TLS");
        };
        self.wire = Wire::Tls(Box::new(tls::connect(connector, tcp, domain).await?));
        self.buf.clear();
        self.framer = Framer::default();
        Ok(())
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> Res<()> {
        match &mut self.wire {
            Wire::Plain(tcp) => tcp.write_all(bytes).await?,
            Wire::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await?;
            }
            Wire::WebSocket(socket) => socket.send(bytes).await?,
            Wire::Bosh(bosh) => bosh.send(bytes).await?,
            Wire::None => return fault("the connection is closed"),
        }
        Ok(())
    }

    /// Reads what is there, waiting for the first of it. An end of the stream is a failure.
    pub async fn fill(&mut self) -> Res<()> {
        let gone = self.framer.needed();
        self.framer.shift();
        self.buf.drain(..gone);
        if self.buf.is_empty() && self.buf.capacity() > KEPT_BYTES {
            self.buf = Vec::new();
        }
        self.buf.reserve(READ_BYTES);
        let read = match &mut self.wire {
            Wire::Plain(tcp) => tcp.read_buf(&mut self.buf).await?,
            Wire::Tls(tls) => tls.read_buf(&mut self.buf).await?,
            Wire::WebSocket(socket) => socket.fill(&mut self.buf).await?,
            Wire::Bosh(bosh) => bosh.fill(&mut self.buf).await?,
            Wire::None => 0,
        };
        if read == 0 { fault("the server closed the connection") } else { Ok(()) }
    }

    /// Reads what is there, or writes some of the bytes: whatever is possible first. How much was written.
    pub async fn write_or_fill(&mut self, bytes: &[u8]) -> Res<usize> {
        match &mut self.wire {
            Wire::Plain(tcp) => Self::either(tcp, &mut self.buf, &mut self.framer, bytes).await,
            Wire::Tls(tls) => {
                Self::either(&mut **tls, &mut self.buf, &mut self.framer, bytes).await
            }
            Wire::WebSocket(_) | Wire::Bosh(_) => fault("not over the web"),
            Wire::None => fault("the connection is closed"),
        }
    }

    async fn either<T: AsyncRead + AsyncWrite + Unpin>(
        io: &mut T,
        kept: &mut Vec<u8>,
        framer: &mut Framer,
        bytes: &[u8],
    ) -> Res<usize> {
        let gone = framer.needed();
        framer.shift();
        kept.drain(..gone);
        poll_fn(|cx| {
            let mut scratch = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut scratch);
            if let Poll::Ready(done) = Pin::new(&mut *io).poll_read(cx, &mut read) {
                return Poll::Ready(match (done, read.filled()) {
                    (Err(error), _) => Err(error.into()),
                    (Ok(()), []) => fault("the server closed the connection"),
                    (Ok(()), came) => {
                        kept.extend_from_slice(came);
                        Ok(0)
                    }
                });
            }
            let written = match bytes.is_empty() {
                true => Poll::Pending,
                false => Pin::new(&mut *io).poll_write(cx, bytes),
            };
            let _ = Pin::new(&mut *io).poll_flush(cx);
            written.map(|written| Ok(written?))
        })
        .await
    }

    /// A whole piece that was read already.
    pub fn take(&mut self) -> Option<Range<usize>> {
        self.framer.next(&self.buf)
    }

    /// The bytes of a piece, until the next [`Conn::fill`].
    pub fn piece(&self, range: Range<usize>) -> &[u8] {
        self.buf.get(range).unwrap_or_default()
    }

    /// So many bytes, for a protocol that is no XML.
    pub fn take_bytes(&mut self, count: usize) -> Option<Range<usize>> {
        self.framer.take_bytes(count, self.buf.len())
    }

    /// The next piece, waited for.
    pub async fn next(&mut self) -> Res<Vec<u8>> {
        loop {
            if let Some(range) = self.take() {
                return Ok(self.piece(range).to_vec());
            }
            self.fill().await?;
        }
    }

    /// The first piece that is meant; others are passed over.
    pub async fn until(&mut self, meant: impl Fn(&[u8]) -> bool) -> Res<Vec<u8>> {
        loop {
            let piece = self.next().await?;
            if meant(&piece) {
                return Ok(piece);
            }
            if super::framer::is(&piece, "stream:error") {
                return fault(format!("stream error: {}", String::from_utf8_lossy(&piece)));
            }
        }
    }

    /// Closes the stream as RFC 6120 §4.4 wants and waits for the server's closing tag.
    pub async fn close(mut self) -> Res<()> {
        self.send(b"</stream:stream>").await?;
        let closing = |piece: &[u8]| piece == b"</stream:stream>";
        let closed = async {
            while !self.take().is_some_and(|range| closing(self.piece(range))) {
                if self.fill().await.is_err() {
                    return;
                }
            }
        };
        closed.await;
        Ok(())
    }
}

const READ_BYTES: usize = 4096;
const KEPT_BYTES: usize = 16_384;
