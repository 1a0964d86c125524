//! Where files are: in the folder of the server, or in a bucket. Who takes, gives and deletes files asks here, and
//! knows of neither.

use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::body::{FileBody, Source};
use super::bucket::Bucket;
use super::config::Config;
use super::parcel::Parcel;
use super::part::{self, Part};
use super::space;
use crate::modules::Pipeline;
use crate::router::task::Tasks;

/// Where the files of a server are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// With a bucket, what was uploaded before there was one is here still.
    folder: PathBuf,
    reserve: u64,
    /// Bytes that are written to the disk at a time.
    piece: usize,
    bucket: Option<Arc<Bucket>>,
}

impl Place {
    /// Of a server with these settings.
    pub(super) fn of(server: &Pipeline, config: &Config) -> Self {
        let upload = &server.shared().upload;
        // Each upload holds two pieces: few may hold large ones, which cost less.
        let piece = if upload.under_way() > FEW { part::PIECE } else { part::PIECE * 4 };
        let (folder, reserve) = (config.folder.clone(), config.free_bytes_min);
        Self { folder, reserve, piece, bucket: upload.bucket() }
    }

    /// Whether so many bytes more leave enough of the disk free. A bucket has no bound that is known here.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bucket.is_some() || space::is_there(&self.folder, bytes, self.reserve)
    }

    /// Bytes that are free on the disk, if files go there and less is free than should be.
    pub(super) fn shortage(&self) -> Option<u64> {
        if self.has_room(0) { None } else { space::free(&self.folder) }
    }

    /// The folder, where files are on the disk alone.
    pub(super) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Looks whether the bucket answers, if there is one.
    pub(super) async fn probe(&self) -> io::Result<()> {
        match &self.bucket {
            Some(bucket) => bucket.probe().await,
            None => Ok(()),
        }
    }

    /// An empty file for an id, which will have this size.
    pub(super) async fn create(&self, tasks: &Tasks, id: &str, size: u64) -> io::Result<NewFile> {
        match &self.bucket {
            None => Part::create(&self.folder, id, self.piece).await.map(NewFile::Disk),
            Some(bucket) => {
                Parcel::create(tasks, Arc::clone(bucket), id, size).await.map(NewFile::Bucket)
            }
        }
    }

    /// So many bytes from a place on, of the file of an id that has this size.
    pub(super) async fn open(
        &self,
        id: &str,
        size: u64,
        from: u64,
        length: u64,
    ) -> io::Result<FileBody> {
        let source = match (&self.bucket, tokio::fs::File::open(part::path(&self.folder, id)).await)
        {
            (Some(bucket), Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Source::Object(Arc::clone(bucket), bucket.path(id), size)
            }
            (_, opened) => {
                let mut file = opened?.into_std().await;
                let there = file.metadata()?.len();
                if there != size {
                    let what = format!("it has {there} bytes instead of {size}");
                    return Err(io::Error::other(what));
                }
                file.seek(SeekFrom::Start(from))?;
                Source::File(Arc::new(file))
            }
        };
        FileBody::open(source, from, length).await
    }

    /// Deletes the file of an id and what is left of its uploads; true if nothing of it is there any more.
    pub(super) async fn delete(&self, id: &str) -> bool {
        let is_gone = match &self.bucket {
            Some(bucket) => bucket.delete(id).await,
            None => true,
        };
        is_gone && part::delete_whole(&self.folder, id).await
    }
}

/// Uploads that go on at a time.
const FEW: usize = 64;

/// A file that is being taken. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub(super) enum NewFile {
    /// Beside the others.
    Disk(Part),
    /// On its way to the bucket.
    Bucket(Parcel),
}

impl NewFile {
    /// Goes on with it. What is wrong may be told by a later call.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Disk(part) => part.write(bytes).await,
            Self::Bucket(parcel) => parcel.write(bytes).await,
        }
    }

    /// It is whole and durable.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(part) => part.settle().await,
            Self::Bucket(parcel) => parcel.settle().await,
        }
    }

    /// It stays.
    pub(super) fn keep(self) {
        if let Self::Disk(part) = self {
            part.keep();
        }
    }

    /// It goes again, settled as it is.
    pub(super) async fn discard(self) {
        if let Self::Bucket(parcel) = self {
            parcel.discard().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;
    use object_store::memory::InMemory;
    use std::future::poll_fn;
    use std::pin::Pin;

    /// All that a body gives, and in how many pieces.
    async fn all_of(mut body: FileBody) -> (Vec<u8>, usize) {
        let (mut all, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            all.extend_from_slice(frame.unwrap().data_ref().unwrap());
            pieces += 1;
        }
        assert!(body.is_end_stream());
        (all, pieces)
    }

    #[tokio::test]
    async fn a_file_is_the_same_wherever_it_is() {
        let home = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let (folder, piece) = (home.path().join("uploads"), part::PIECE);
        let disk = Place { folder, reserve: 0, piece, bucket: None };
        let bucket = Bucket::over(Arc::new(InMemory::new()), "", 64 << 20);
        let both = Place { bucket: Some(Arc::new(bucket)), ..disk.clone() };
        let content: Vec<u8> = (0..3_000_000).map(|at: usize| (at * 7 + at / 251) as u8).collect();
        let size = content.len() as u64;
        for (place, id, pieces) in [(&disk, "a", 23), (&both, "b", 3)] {
            let mut file = place.create(&tasks, id, size).await.unwrap();
            for piece in content.chunks(16_001) {
                file.write(piece).await.unwrap();
            }
            file.settle().await.unwrap();
            file.keep();
            let got = all_of(place.open(id, size, 0, size).await.unwrap()).await;
            assert!(got == (content.clone(), pieces), "{id}: {}", got.1);
            let part = all_of(place.open(id, size, 1_000, 2_000_000).await.unwrap()).await.0;
            assert!(part == content[1_000..2_001_000], "{id}");
            assert!(place.open(id, size + 1, 0, 1).await.is_err(), "it is not that large");
        }
        // Who has a bucket now has what was there before, too; not the other way round.
        assert!(both.open("a", size, 0, 1).await.is_ok());
        assert!(disk.open("b", size, 0, 1).await.is_err());
        for id in ["a", "b"] {
            assert!(both.delete(id).await && both.delete(id).await);
            assert!(both.open(id, size, 0, 1).await.is_err(), "{id}");
        }
        // Nobody wants it: it was settled, and its slot has ended.
        let mut file = both.create(&tasks, "c", 1).await.unwrap();
        file.write(b"c").await.unwrap();
        file.settle().await.unwrap();
        file.discard().await;
        assert!(both.open("c", 1, 0, 1).await.is_err());
        let full = Place { reserve: u64::MAX, ..disk.clone() };
        assert!(!full.has_room(1) && full.shortage().is_some());
        assert!(Place { bucket: both.bucket.clone(), ..full }.has_room(1));
    }
}
