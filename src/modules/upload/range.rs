//! Parts of a file (RFC 9110 §14), and files as bodies.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// What of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// So many bytes from a place on.
    Part(u64, u64),
    /// What is not in it.
    Nothing,
}

impl Wanted {
    /// Of a `Range` header, for a file of this size. Several ranges, and what is none, get the whole (§14.2).
    pub(super) fn of(header: &str, size: u64) -> Self {
        let Some(range) = header.trim().strip_prefix("bytes=") else { return Self::Whole };
        let Some((from, to)) = range.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        };
        let last = size.saturating_sub(1);
        let (from, to) = match (number(from), number(to)) {
            (Some(from), None) if to.is_empty() => (from, last),
            (Some(from), Some(to)) if from <= to => (from, to.min(last)),
            (None, Some(0)) if from.is_empty() => return Self::Nothing,
            (None, Some(length)) if from.is_empty() => (size.saturating_sub(length), last),
            _ => return Self::Whole,
        };
        if from >= size {
            return Self::Nothing;
        }
        Self::Part(from, to.saturating_sub(from).saturating_add(1))
    }
}

/// The next bytes of a file, read as they are taken.
#[derive(Debug)]
pub(super) struct FileBody {
    file: File,
    left: u64,
    buffer: Box<[u8]>,
}

impl FileBody {
    /// So many bytes from where the file is.
    pub(super) fn new(file: File, left: u64) -> Self {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        Self { file, left, buffer: vec![0; length].into_boxed_slice() }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { file, left, buffer } = &mut *self;
        if *left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(*left).unwrap_or(CHUNK).min(buffer.len());
        let mut read = ReadBuf::new(buffer.get_mut(..length).unwrap_or_default());
        if let Err(error) = ready!(Pin::new(file).poll_read(cx, &mut read)) {
            return Poll::Ready(Some(Err(error)));
        }
        let bytes = Bytes::copy_from_slice(read.filled());
        if bytes.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What is read at a time.
const CHUNK: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::Wanted::{Nothing, Part, Whole};
    use super::*;

    #[test]
    fn a_range_is_within_the_file() {
        for (header, wanted) in [
            ("bytes=0-9", Part(0, 10)),
            ("bytes=5-", Part(5, 95)),
            ("bytes=-5", Part(95, 5)),
            ("bytes=-500", Part(0, 100)),
            ("bytes=90-500", Part(90, 10)),
            ("bytes=99-99", Part(99, 1)),
            ("bytes=100-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=0-99999999999999999999999", Part(0, 100)),
            ("bytes=9-5", Whole),
            ("bytes=-", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-5", Whole),
            ("lines=0-9", Whole),
        ] {
            assert_eq!(Wanted::of(header, 100), wanted, "{header}");
        }
    }
}
