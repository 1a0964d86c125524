//! Files on disk: written aside, durable before they have their name, and found by ids alone.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::{DirBuilder, File, OpenOptions};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::base::id::is_random;

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
    file: Arc<std::fs::File>,
    at: PathBuf,
    end: PathBuf,
    is_kept: bool,
    piece: usize,
    /// What comes now.
    buffer: Vec<u8>,
    /// What came before that, on its way to the disk.
    writing: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Bytes that nobody has told the disk to write yet.
    unsynced: usize,
    /// What the disk writes meanwhile.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Part {
    /// An empty one, written so many bytes at a time.
    pub(super) async fn create(folder: &Path, id: &str, piece: usize) -> io::Result<Self> {
        make(folder).await?;
        let at = folder.join(format!("{id}{PART}"));
        // What a crash left of the same slot is overwritten.
        let options =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let file = Arc::new(options.open(&at).await?.into_std().await);
        Ok(Self {
            file,
            at,
            end: path(folder, id),
            is_kept: false,
            piece,
            buffer: Vec::new(),
            writing: None,
            unsynced: 0,
            syncing: None,
        })
    }

    /// Goes on with it. A fault of the disk may be told by a later call.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < self.piece {
            return Ok(());
        }
        self.write_meanwhile().await?;
        let is_free = self.syncing.as_ref().is_none_or(JoinHandle::is_finished);
        if self.unsynced >= SYNC_EVERY && is_free {
            self.sync_meanwhile().await?;
        }
        Ok(())
    }

    /// What came goes to the disk, behind what came before it, while more comes.
    #[allow(clippy::disallowed_methods)] // it waits for the disk, as each call of tokio::fs does
    async fn write_meanwhile(&mut self) -> io::Result<()> {
        let free = self.written().await?;
        let full = std::mem::replace(&mut self.buffer, free);
        self.unsynced = self.unsynced.saturating_add(full.len());
        let file = Arc::clone(&self.file);
        self.writing = Some(spawn_blocking(move || {
            (&*file).write_all(&full)?;
            let mut free = full;
            free.clear();
            Ok(free)
        }));
        Ok(())
    }

    /// Waits until nothing is on its way; an empty buffer.
    async fn written(&mut self) -> io::Result<Vec<u8>> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(io::Error::other)?,
            None => Ok(Vec::new()),
        }
    }

    /// The disk begins to write while more comes: the end is not to wait for all of a big file.
    #[allow(clippy::disallowed_methods)] // it waits for the disk, as each call of tokio::fs does
    async fn sync_meanwhile(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        let file = Arc::clone(&self.file);
        // A fault shows again when the whole is synced, or here.
        match self.syncing.replace(spawn_blocking(move || file.sync_data())) {
            Some(done) => done.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }

    /// It has its name, and a power cut takes neither.
    #[allow(clippy::disallowed_methods)] // it waits for the disk, as each call of tokio::fs does
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        self.write_meanwhile().await?;
        self.written().await?;
        // Linux tells each open handle of a fault of writing once: this one may have been told of it already.
        if let Some(syncing) = self.syncing.take() {
            syncing.await.map_err(io::Error::other)??;
        }
        // With its length and mode.
        let file = Arc::clone(&self.file);
        spawn_blocking(move || file.sync_all()).await.map_err(io::Error::other)??;
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
/// Bytes that are written at a time at least.
pub(super) const PIECE: usize = 65_536;
/// Bytes after which the disk is told to write.
const SYNC_EVERY: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_kept_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = folder.path().join("uploads");
        let names = || std::fs::read_dir(&uploads).unwrap().count();
        let mut part = Part::create(&uploads, "a", PIECE).await.unwrap();
        part.write(b"half").await.unwrap();
        assert_eq!(names(), 1);
        drop(part);
        assert_eq!(names(), 0);
        let mut part = Part::create(&uploads, "a", PIECE).await.unwrap();
        part.write(b"whole").await.unwrap();
        part.settle().await.unwrap();
        part.keep();
        assert_eq!(std::fs::read(path(&uploads, "a")).unwrap(), b"whole");
        let mut part = Part::create(&uploads, "b", PIECE).await.unwrap();
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
