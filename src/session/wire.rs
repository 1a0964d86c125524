//! The bytes of one connection, in both directions; the framing interprets them. An idle wire holds no
//! buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::transport::{StartTls, Transport};
use crate::base::limits::Limits;
use crate::stanza::Frame;
use crate::stream::framing::{Event, Framing, Item};
use crate::xml::error::XmlError;

/// One connection with its partly read input and partly written output: a client's, or another server's.
pub struct Wire<T: ?Sized = dyn Transport> {
    transport: Box<T>,
    framing: Framing,
    buffer: BytesMut,
    /// `buffer` belongs to the thread, and goes back to it before any wait.
    lent: bool,
    outgoing: VecDeque<Bytes>,
    /// Bytes in `outgoing`.
    queued: usize,
    /// Bytes that left `outgoing` since the connection began.
    written: u64,
    /// TLS may hold bytes that left `outgoing`.
    unflushed: bool,
    /// Bytes of `written` that were not counted yet.
    uncounted: u32,
}

/// What [`Wire::io`] achieved.
#[derive(Debug, PartialEq, Eq)]
pub enum Io {
    /// The number of bytes read; 0 is the end of the connection.
    Read(usize),
    /// Everything queued was written.
    Written,
}

impl Wire {
    /// No connection at all.
    pub fn disconnected() -> Self {
        Self::new(Box::new(Disconnected), Framing::tcp("", &Limits::default()))
    }

    /// See [`Transport::notices_loss`].
    pub fn notices_loss(&self) -> bool {
        self.transport.notices_loss()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + ?Sized> Wire<T> {
    /// Creates a wire over a connection on which nothing was sent yet.
    pub fn new(transport: Box<T>, framing: Framing) -> Self {
        Self {
            transport,
            framing,
            buffer: BytesMut::new(),
            lent: false,
            outgoing: VecDeque::new(),
            queued: 0,
            written: 0,
            unflushed: false,
            uncounted: 0,
        }
    }

    /// The next whole piece among the bytes read so far.
    pub fn piece(&mut self) -> Result<Option<Event>, XmlError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let Self { framing, buffer, outgoing, queued, .. } = self;
        let event = framing.next(buffer, |bytes| push(outgoing, queued, bytes));
        if self.buffer.is_empty() || matches!(event, Ok(None)) {
            self.give_back();
        }
        event
    }

    /// Whether the input begins with a TLS handshake record (RFC 8446 §5.1) instead of XML.
    pub fn begins_with_tls(&self) -> bool {
        self.buffer.first() == Some(&0x16)
    }

    /// Applies the limits of an authenticated stream, which restarts (RFC 6120 §4.3.3) or does not (XEP-0388
    /// §2.6.1).
    pub fn authenticated(&mut self, limits: &Limits, restart: bool) {
        self.framing.authenticated(limits);
        if restart {
            self.framing.restart();
        }
    }

    /// Expects a new stream header next.
    pub fn restart(&mut self) {
        self.framing.restart();
    }

    /// False if there are unread bytes: before TLS starts there must be none (RFC 6120 §5.4.3.1, the
    /// injection of CVE-2011-0411). White space is dropped, as the transport does with later white space:
    /// go-xmpp ends `<starttls/>` with a line feed, although RFC 6120 §5.3.3 forbids it.
    pub fn nothing_unread(&mut self) -> bool {
        let nothing = self.buffer.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        self.buffer.clear();
        self.give_back();
        nothing
    }

    /// The connection, for the TLS handshake.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Queues an item of the stream.
    pub fn say(&mut self, item: Item) {
        let Self { framing, outgoing, queued, .. } = self;
        framing.write(item, |bytes| push(outgoing, queued, bytes));
    }

    /// Queues an element.
    pub fn queue(&mut self, element: Bytes) {
        self.say(Item::Element(element));
    }

    /// Queues a stanza.
    pub fn queue_frame(&mut self, frame: Frame) {
        let Self { framing, outgoing, queued, .. } = self;
        framing.write_frame(frame, |bytes| push(outgoing, queued, bytes));
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes that were written since the connection began.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were written since the last call.
    pub fn take_written(&mut self) -> u32 {
        std::mem::take(&mut self.uncounted)
    }

    /// Whether the first `bytes` bytes have reached the system, and none are left in TLS.
    pub fn is_flushed_to(&self, bytes: u64) -> bool {
        self.written >= bytes && !self.unflushed
    }

    /// True while queued bytes are not all written.
    pub fn is_writing(&self) -> bool {
        !self.outgoing.is_empty() || self.unflushed
    }

    /// Writes queued bytes and, if `read` is set, reads; returns when either is done. Cancel-safe.
    pub async fn io(&mut self, read: bool) -> io::Result<Io> {
        poll_fn(|cx| {
            if self.is_writing()
                && let Poll::Ready(written) = self.poll_write(cx)
            {
                return Poll::Ready(written.map(|()| Io::Written));
            }
            if read { self.poll_read(cx).map_ok(Io::Read) } else { Poll::Pending }
        })
        .await
    }

    /// Writes as much as the connection takes without waiting.
    pub async fn write_now(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.is_writing() {
            true => Poll::Ready(match self.poll_write(cx) {
                Poll::Ready(written) => written,
                Poll::Pending => Ok(()),
            }),
            false => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Writes everything queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.give_back();
        while self.is_writing() {
            self.io(false).await?;
        }
        Ok(())
    }

    /// Closes the connection under the stream (TLS close_notify, TCP FIN).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.give_back();
        poll_fn(|cx| Pin::new(&mut *self.transport).poll_shutdown(cx)).await
    }

    /// Reads and drops until the client ends the connection too.
    pub async fn linger(&mut self) -> io::Result<()> {
        while let Io::Read(1..) = self.io(true).await? {
            self.buffer.clear();
            self.give_back();
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // One buffer per thread: a session that waits for input holds none. Most input is complete, and is
        // consumed before the session waits again.
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.reserve(READ_BYTES);
            let bytes = ready!(pin!(self.transport.read_buf(scratch)).poll(cx))?;
            if self.buffer.is_empty() {
                std::mem::swap(&mut self.buffer, scratch);
                self.lent = true;
            } else {
                self.buffer.extend_from_slice(scratch);
            }
            Poll::Ready(Ok(bytes))
        })
    }

    /// Gives the thread's buffer back; called before each wait. Unread bytes are saved.
    pub fn give_back(&mut self) {
        let kept = match self.buffer.is_empty() {
            true => BytesMut::new(),
            false if self.lent => BytesMut::from(&*self.buffer),
            false => return,
        };
        let buffer = std::mem::replace(&mut self.buffer, kept);
        if std::mem::take(&mut self.lent) {
            SCRATCH.set(buffer);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(self.poll_write_some(cx))?;
            self.unflushed = true;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.outgoing.capacity() > 16 {
            self.outgoing = VecDeque::new();
        }
        ready!(Pin::new(&mut *self.transport).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let transport = Pin::new(&mut *self.transport);
        if self.outgoing.len() > 1 && self.queued <= JOIN_BYTES {
            // For the kernel and for TLS, several small pieces cost more than one large one.
            return JOINED.with_borrow_mut(|joined| {
                joined.clear();
                self.outgoing.iter().for_each(|bytes| joined.extend_from_slice(bytes));
                transport.poll_write(cx, joined)
            });
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.outgoing) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        transport.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, mut written: usize) {
        self.queued = self.queued.saturating_sub(written);
        self.written += written as u64;
        self.uncounted = self.uncounted.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
        while let Some(front) = self.outgoing.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.outgoing.pop_front();
        }
    }
}

fn push(outgoing: &mut VecDeque<Bytes>, queued: &mut usize, bytes: Bytes) {
    if !bytes.is_empty() {
        *queued += bytes.len();
        outgoing.push_back(bytes);
    }
}

/// The connection of a session that has none.
struct Disconnected;

impl Transport for Disconnected {
    fn start_tls<'a>(&'a mut self, _: &'a str) -> StartTls<'a> {
        Box::pin(std::future::ready(Err(io::ErrorKind::NotConnected.into())))
    }
}

impl AsyncRead for Disconnected {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

impl AsyncWrite for Disconnected {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The number of bytes requested by one system call.
const READ_BYTES: usize = 16_384;
/// Up to this many bytes are joined before they are written.
const JOIN_BYTES: usize = 4_096;
/// Maximum number of pieces in one system call.
const SLICES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts all bytes at once, but is slow to send them, like TLS over a full socket.
    struct Sticky {
        flushes: usize,
    }

    impl Transport for Sticky {
        fn start_tls<'a>(&'a mut self, _: &'a str) -> StartTls<'a> {
            Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
        }
    }

    impl AsyncRead for Sticky {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Sticky {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 3 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_tls_holds_is_not_written_yet() {
        let mut wire =
            Wire::new(Box::new(Sticky { flushes: 0 }), Framing::tcp("", &Limits::default()));
        wire.queue(Bytes::from_static(b"<a/>"));
        wire.write_now().await.unwrap();
        assert!(wire.is_writing() && wire.queued() == 0);
        assert_eq!(wire.io(true).await.unwrap(), Io::Written);
        assert!(!wire.is_writing());
    }
}
