//! Files on disk: written aside, durable before they have their name, and found by ids alone.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::fs::{DirBuilder, File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::task::{JoinHandle, spawn_blocking};

use super::figures::Moved;
use crate::base::id::is_random;
use crate::modules::Pipeline;

/// What goes on with files, for the whole server.
#[derive(Debug, Default)]
pub struct Uploading {
    /// The ids of files that somebody writes or deletes just now.
    ids: Mutex<HashSet<String>>,
    /// Bytes of uploads that go on and may not be on the disk yet.
    promised: Arc<AtomicU64>,
    /// What was moved since the start.
    pub(super) moved: Moved,
}

impl Uploading {
    /// How many files somebody writes or deletes just now.
    pub(super) fn under_way(&self) -> usize {
        self.ids().len()
    }

    /// Whether somebody writes or deletes it just now.
    pub(super) fn is_under_way(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    /// Bytes that running uploads may take of the disk yet.
    pub(super) fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }

    /// Room on the disk for an upload: who looks from now on whether there is room counts it.
    pub(super) fn promise(&self, bytes: u64) -> Promise {
        self.promised.fetch_add(bytes, Ordering::SeqCst);
        Promise { of_all: self.promised.clone(), bytes }
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room on the disk that an upload may still take.
#[derive(Debug)]
pub(super) struct Promise {
    of_all: Arc<AtomicU64>,
    bytes: u64,
}

impl Promise {
    /// The rest is on the disk.
    pub(super) fn lower_to(&mut self, bytes: u64) {
        let written = self.bytes.saturating_sub(bytes);
        self.of_all.fetch_sub(written, Ordering::SeqCst);
        self.bytes -= written;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.lower_to(0);
    }
}

/// The right to write or delete the file of an id.
#[derive(Debug)]
pub(super) struct Claim {
    server: Arc<Pipeline>,
    id: String,
}

impl Claim {
    /// None if somebody else has it, or too many are at work.
    pub(super) fn of(server: &Arc<Pipeline>, id: &str) -> Option<Self> {
        let mut ids = server.shared().upload.ids();
        let is_free = ids.len() < AT_ONCE && ids.insert(id.to_owned());
        is_free.then(|| Self { server: server.clone(), id: id.to_owned() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.server.shared().upload.ids().remove(&self.id);
    }
}

/// Whether it is the name of a file that was never finished.
pub(super) fn is_part(name: &str) -> bool {
    name.strip_suffix(PART).is_some_and(is_random)
}

/// Where the file of an id is.
pub(super) fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(id)
}

/// A file that is deleted unless it is kept.
#[derive(Debug)]
pub(super) struct Part {
    file: BufWriter<File>,
    at: PathBuf,
    end: PathBuf,
    is_kept: bool,
    /// Bytes that nobody has told the disk to write yet.
    unsynced: usize,
    /// What the disk writes meanwhile.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Part {
    /// An empty one.
    pub(super) async fn create(folder: &Path, id: &str) -> io::Result<Self> {
        make(folder).await?;
        let at = folder.join(format!("{id}{PART}"));
        // What a crash left of the same slot is overwritten.
        let options =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let file = options.open(&at).await?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let end = path(folder, id);
        Ok(Self { file, at, end, is_kept: false, unsynced: 0, syncing: None })
    }

    /// Goes on with it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.unsynced = self.unsynced.saturating_add(bytes.len());
        let is_free = self.syncing.as_ref().is_none_or(JoinHandle::is_finished);
        if self.unsynced >= SYNC_EVERY && is_free {
            self.sync_meanwhile().await?;
        }
        Ok(())
    }

    /// The disk begins to write while more comes: the end is not to wait for all of a big file.
    #[allow(clippy::disallowed_methods)] // it waits for the disk, as each call of tokio::fs does
    async fn sync_meanwhile(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        let file = self.file.get_ref().try_clone().await?.into_std().await;
        // A fault shows again when the whole is synced, or here.
        match self.syncing.replace(spawn_blocking(move || file.sync_data())) {
            Some(done) => done.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }

    /// It has its name, and a power cut takes neither.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        // Linux tells each open handle of a fault of writing once: this one may have been told of it alone.
        if let Some(syncing) = self.syncing.take() {
            syncing.await.map_err(io::Error::other)??;
        }
        self.file.get_ref().sync_all().await?;
        tokio::fs::rename(&self.at, &self.end).await?;
        self.at.clone_from(&self.end);
        match self.end.parent() {
            Some(folder) => sync(folder).await,
            None => Ok(()),
        }
    }

    /// It stays.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_file(&self.at)
        {
            tracing::warn!(%error, "an unfinished upload could not be deleted");
        }
    }
}

/// Deletes a file; true if it is not there any more.
pub(super) async fn delete(folder: &Path, name: &str) -> bool {
    match tokio::fs::remove_file(folder.join(name)).await {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(%error, "an uploaded file could not be deleted; tried again later");
            false
        }
    }
}

/// Deletes the file of an id, and what an upload that ended while it opened its file has left; true if neither is
/// there any more.
pub(super) async fn delete_whole(folder: &Path, id: &str) -> bool {
    delete(folder, &format!("{id}{PART}")).await && delete(folder, id).await
}

async fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent).await,
            _ => sync(Path::new(".")).await,
        },
    }
}

async fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder).await?.sync_all().await
}

const PART: &str = ".part";
/// What is written at a time.
const BUFFER: usize = 65_536;
/// Bytes after which the disk is told to write.
const SYNC_EVERY: usize = 8 << 20;
/// Uploads that go on at a time; each holds two buffers and a file.
const AT_ONCE: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_counted_until_it_is_written() {
        let uploading = Uploading::default();
        let mut first = uploading.promise(10);
        let second = uploading.promise(5);
        assert_eq!(uploading.promised(), 15);
        first.lower_to(4);
        first.lower_to(7);
        assert_eq!(uploading.promised(), 9);
        drop(first);
        assert_eq!(uploading.promised(), 5);
        drop(second);
        assert_eq!(uploading.promised(), 0);
    }

    #[tokio::test]
    async fn what_is_not_kept_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = folder.path().join("uploads");
        let names = || std::fs::read_dir(&uploads).unwrap().count();
        let mut part = Part::create(&uploads, "a").await.unwrap();
        part.write(b"half").await.unwrap();
        assert_eq!(names(), 1);
        drop(part);
        assert_eq!(names(), 0);
        let mut part = Part::create(&uploads, "a").await.unwrap();
        part.write(b"whole").await.unwrap();
        part.settle().await.unwrap();
        part.keep();
        assert_eq!(std::fs::read(path(&uploads, "a")).unwrap(), b"whole");
        let mut part = Part::create(&uploads, "b").await.unwrap();
        part.settle().await.unwrap();
        drop(part);
        assert_eq!(names(), 1);
        assert!(delete(&uploads, "a").await && delete(&uploads, "a").await);
        for name in ["a", "a.part"] {
            std::fs::write(uploads.join(name), b"x").unwrap();
        }
        assert!(delete_whole(&uploads, "a").await && delete_whole(&uploads, "a").await);
        assert_eq!(names(), 0);
    }
}
