//! Work beside the writer and the readers: backups of a database that is in use, one at a time.

use super::backup::{Existing, Snapshot, Stop, refuse_reserved, snapshot};
use super::{files, uploaded};
use crate::store::errors::BackupError;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Work that runs in addition to the writer and the readers.
pub(in crate::store) struct Aside {
    pub(in crate::store) path: PathBuf,
    stop: Stop,
    /// Held while a backup is made.
    busy: Mutex<()>,
    /// Whether one takes uploaded files along.
    takes_files: AtomicBool,
    /// The lock of the database; each owner of a connection holds it.
    lock: Weak<File>,
}

impl Aside {
    pub(in crate::store) fn new(path: PathBuf, lock: &Arc<File>) -> Self {
        let (stop, busy, takes_files) = (Stop::default(), Mutex::default(), false.into());
        Self { path, stop, busy, takes_files, lock: Arc::downgrade(lock) }
    }

    pub(in crate::store) fn stop(&self) {
        self.stop.set();
    }

    /// Waits until a backup that was stopped has ended.
    pub(in crate::store) fn wait(&self) {
        drop(self.busy.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether a backup may need any uploaded file: none is deleted meanwhile.
    pub(in crate::store) fn takes_files(&self) -> bool {
        self.takes_files.load(Ordering::SeqCst)
    }

    pub(in crate::store) fn backup(&self, target: &Path) -> Result<Snapshot, BackupError> {
        let Some(_lock) = self.lock.upgrade() else { return Err(BackupError::Stopped) };
        let _one = match self.busy.try_lock() {
            Ok(one) => one,
            Err(std::sync::TryLockError::Poisoned(one)) => one.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return Err(BackupError::Busy),
        };
        refuse_reserved(&self.path, target)?;
        let conn = files::open_reader(&self.path)?;
        // Before the state is pinned: what is deleted from now on is there in it.
        let _all_stay = Taking::begin(&self.takes_files);
        let files = uploaded::of_database(&self.path);
        let made = snapshot(&conn, target, &self.stop, Existing::Refuse, Some(&files));
        match &made {
            Ok(made) => tracing::info!(
                path = %made.path.display(),
                bytes = made.bytes,
                ms = made.took.as_millis(),
                "backup made"
            ),
            Err(error) => tracing::warn!(%error, "no backup"),
        }
        made
    }

    pub(in crate::store) fn parts(&self) -> (PathBuf, Stop, Option<Arc<File>>) {
        (self.path.clone(), self.stop.clone(), self.lock.upgrade())
    }
}

/// As long as a backup takes uploaded files along.
struct Taking<'a>(&'a AtomicBool);

impl<'a> Taking<'a> {
    fn begin(is_so: &'a AtomicBool) -> Self {
        is_so.store(true, Ordering::SeqCst);
        Self(is_so)
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
