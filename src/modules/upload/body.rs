//! Files as bodies: read piece by piece, one ahead of what is being sent.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use object_store::path::Path;
use tokio::task::spawn_blocking;

use super::bucket::Bucket;

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file, which is where the reading begins.
    File(Arc<std::fs::File>),
    /// An object, and its size.
    Object(Arc<Bucket>, Path, u64),
}

type Piece = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

impl Source {
    /// So many bytes from a place on, the next ones of a file; fewer are an error.
    pub(super) fn read(&self, from: u64, length: u64) -> Piece {
        match self {
            Self::File(file) => of_file(Arc::clone(file), length),
            Self::Object(bucket, path, size) => {
                let (bucket, path, size) = (Arc::clone(bucket), path.clone(), *size);
                Box::pin(async move { bucket.read(&path, size, from, length).await })
            }
        }
    }

    /// Bytes that are read at a time. Each download holds two pieces, and what the connection has of a third.
    fn piece(&self) -> u64 {
        match self {
            Self::File(_) => 128 << 10,
            // Each is a request of its own: a client that is slow holds no connection to the store.
            Self::Object(..) => 1 << 20,
        }
    }
}

#[allow(clippy::disallowed_methods)] // it waits for the disk, as each call of tokio::fs does
fn of_file(file: Arc<std::fs::File>, length: u64) -> Piece {
    let read = spawn_blocking(move || {
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&*file).take(length).read_to_end(&mut piece)?;
        match u64::try_from(piece.len()) {
            Ok(came) if came == length => Ok(Bytes::from(piece)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    });
    Box::pin(async move { read.await.map_err(io::Error::other)? })
}

/// What is left of a file to be sent.
pub(super) struct FileBody {
    source: Source,
    /// Where the piece begins that is read next.
    at: u64,
    /// Bytes that nobody began to read.
    unread: u64,
    /// Bytes that were not given out yet.
    left: u64,
    /// The piece that is being read.
    next: Option<Piece>,
}

impl FileBody {
    /// So many bytes from a place on. Reads the first piece, which shows whether there is something to send.
    pub(super) async fn open(source: Source, from: u64, length: u64) -> io::Result<Self> {
        let mut body = Self { source, at: from, unread: length, left: length, next: None };
        body.read_on();
        if let Some(first) = body.next.take() {
            let first = first.await?;
            body.next = Some(Box::pin(std::future::ready(Ok(first))));
        }
        Ok(body)
    }

    /// Begins with the next piece.
    fn read_on(&mut self) {
        let length = self.unread.min(self.source.piece());
        self.next = (length > 0).then(|| self.source.read(self.at, length));
        self.at = self.at.saturating_add(length);
        self.unread = self.unread.saturating_sub(length);
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = &mut *self;
        let Some(next) = &mut body.next else { return Poll::Ready(None) };
        let Poll::Ready(piece) = next.as_mut().poll(cx) else { return Poll::Pending };
        body.next = None;
        if let Ok(bytes) = &piece {
            body.left = body.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            body.read_on();
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
