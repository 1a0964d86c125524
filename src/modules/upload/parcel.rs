//! An upload to a bucket. A task of its own carries it there part by part, one on its way while the next one comes, so
//! that whoever hangs up leaves nothing: without its end the task takes back what it has sent.

use std::io;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::sync::{mpsc, oneshot};

use super::bucket::{Bucket, told};
use crate::router::task::Tasks;

/// A file on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    orders: mpsc::Sender<Order>,
    outcome: Option<oneshot::Receiver<io::Result<()>>>,
    bucket: Arc<Bucket>,
    id: String,
    buffer: Vec<u8>,
    part: usize,
    /// The part that is on its way.
    sending: Option<oneshot::Receiver<()>>,
}

#[derive(Debug)]
enum Order {
    /// One of several, and whom to tell that it is there.
    Part(Vec<u8>, oneshot::Sender<()>),
    /// The last one, or all of it.
    End(Vec<u8>),
}

impl Parcel {
    /// Begins one of this size.
    pub(super) async fn create(
        tasks: &Tasks,
        bucket: Arc<Bucket>,
        id: &str,
        size: u64,
    ) -> io::Result<Self> {
        let part = PART_MIN.max(size.div_ceil(PARTS_MAX));
        let memory = bucket.reserve(size.min(part.saturating_mul(2))).await?;
        let (orders, work) = mpsc::channel(1);
        let (done, outcome) = oneshot::channel();
        let (to, path) = (Arc::clone(&bucket), bucket.path(id));
        tasks.spawn("upload to the bucket", async move {
            let ended = carry(&to, &path, work).await;
            drop(memory);
            let _ = done.send(ended);
        });
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        let id = id.to_owned();
        let (outcome, buffer) = (Some(outcome), Vec::new());
        Ok(Self { orders, outcome, bucket, id, buffer, part, sending: None })
    }

    /// Goes on with it. All parts but the last one are of the same size, as some stores want it.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // What is full is sent when more comes: the last part is never empty.
            if self.buffer.len() >= self.part {
                self.send().await?;
            }
            let room = self.part.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    async fn send(&mut self) -> io::Result<()> {
        self.sent().await?;
        let (done, sending) = oneshot::channel();
        let full = std::mem::take(&mut self.buffer);
        if self.orders.send(Order::Part(full, done)).await.is_err() {
            return self.ended().await;
        }
        self.sending = Some(sending);
        Ok(())
    }

    /// Nothing is on its way.
    async fn sent(&mut self) -> io::Result<()> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        match sending.await {
            Ok(()) => Ok(()),
            Err(_) => self.ended().await,
        }
    }

    async fn ended(&mut self) -> io::Result<()> {
        let lost = || io::Error::other("the upload to the bucket broke off");
        match self.outcome.take() {
            Some(outcome) => outcome.await.map_err(|_| lost())?,
            None => Err(lost()),
        }
    }

    /// The object is there, and whole.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        self.sent().await?;
        // Nobody takes it: then the outcome says why.
        let _ = self.orders.send(Order::End(std::mem::take(&mut self.buffer))).await;
        self.ended().await
    }

    /// It is there, but nobody wants it.
    pub(super) async fn discard(self) {
        self.bucket.delete(&self.id).await;
    }
}

/// Carries it as a whole, or leaves nothing.
async fn carry(bucket: &Bucket, path: &Path, mut work: mpsc::Receiver<Order>) -> io::Result<()> {
    let mut several = None;
    let ended = steps(bucket, path, &mut work, &mut several).await;
    // From now on nobody waits for a part.
    drop(work);
    if ended.is_err()
        && let Some(mut several) = several
        && let Err(error) = several.abort().await
    {
        let error = told(&error);
        tracing::warn!(%error, "parts of an unfinished upload stay in the bucket until its rule for such deletes them");
    }
    ended
}

async fn steps(
    bucket: &Bucket,
    path: &Path,
    work: &mut mpsc::Receiver<Order>,
    several: &mut Option<Box<dyn MultipartUpload>>,
) -> io::Result<()> {
    while let Some(order) = work.recv().await {
        match order {
            Order::Part(bytes, done) => {
                let upload = match several {
                    Some(upload) => upload,
                    None => {
                        let begun = bucket.store.put_multipart(path).await;
                        several.insert(begun.map_err(|error| told(&error))?)
                    }
                };
                upload.put_part(PutPayload::from(bytes)).await.map_err(|error| told(&error))?;
                let _ = done.send(());
            }
            Order::End(bytes) => {
                let done = match several {
                    None => bucket.store.put(path, bytes.into()).await,
                    Some(upload) => match upload.put_part(bytes.into()).await {
                        Ok(()) => upload.complete().await,
                        Err(error) => Err(error),
                    },
                };
                return done.map(drop).map_err(|error| told(&error));
            }
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The least that S3 takes as one of several.
const PART_MIN: u64 = 5 << 20;
/// S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use std::future::poll_fn;
    use std::task::Poll;

    fn bucket() -> Arc<Bucket> {
        Arc::new(Bucket::over(Arc::new(InMemory::new()), "/some/folder/", 64 << 20))
    }

    /// Waits until the tasks of uploads are over: all memory is free.
    async fn idle(bucket: &Bucket) {
        drop(bucket.reserve(u64::MAX).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_settled_is_there_and_what_is_cut_is_not() {
        let (tasks, bucket) = (Tasks::default(), bucket());
        for size in [1, 5 << 20, (5 << 20) + 1, 13 << 20] {
            let content: Vec<u8> = (0..size).map(|at: usize| (at * 7 + at / 251) as u8).collect();
            let whole = content.len() as u64;
            let make = || Parcel::create(&tasks, bucket.clone(), "a", whole);
            let mut parcel = make().await.unwrap();
            for piece in content.chunks(70_001) {
                parcel.write(piece).await.unwrap();
            }
            parcel.settle().await.unwrap();
            let path = bucket.path("a");
            assert_eq!(path.as_ref(), "some/folder/a");
            let read = |from, length| bucket.read(&path, whole, from, length);
            assert!(read(0, whole).await.unwrap() == content, "{size}");
            assert_eq!(read(whole - 1, 1).await.unwrap(), content[content.len() - 1..]);
            let wrong = bucket.read(&path, whole + 1, 0, 1).await.unwrap_err();
            assert!(wrong.to_string().contains("instead of"), "{wrong}");
            parcel.discard().await;
            assert_eq!(read(0, 1).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            // Half of it.
            let mut parcel = make().await.unwrap();
            parcel.write(&content[..size / 2]).await.unwrap();
            drop(parcel);
            idle(&bucket).await;
            assert_eq!(read(0, 1).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        bucket.probe().await.unwrap();
        assert!(bucket.delete("a").await);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let tasks = Tasks::default();
        let bucket = Arc::new(Bucket::over(Arc::new(InMemory::new()), "", 12 << 20));
        let make = || Parcel::create(&tasks, bucket.clone(), "a", 100 << 20);
        let first = make().await.unwrap();
        let mut second = std::pin::pin!(make());
        let waits = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "there is memory for one");
        drop(first);
        second.await.unwrap();
    }
}
