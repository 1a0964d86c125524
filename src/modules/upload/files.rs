//! What goes on with files: who writes or deletes which one, and the bucket that they may be in.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::{Bucket, Fault};
use super::config::Config;
use super::figures::Moved;
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
    /// Set once, at the start; none: files are in the folder.
    bucket: Mutex<Option<Arc<Bucket>>>,
}

impl Uploading {
    /// From now on new files go to the bucket that the settings name, if they name one. Nothing is sent to it yet.
    pub fn open(&self, config: &Config) -> Result<(), Fault> {
        let bucket = Bucket::of(&config.bucket)?;
        self.set_bucket(bucket.map(Arc::new));
        Ok(())
    }

    pub(super) fn set_bucket(&self, bucket: Option<Arc<Bucket>>) {
        *self.bucket.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    /// Where new files go, if not to the folder.
    pub(super) fn bucket(&self) -> Option<Arc<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

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

/// Uploads that go on at a time; each holds two buffers, and a file or a connection.
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
}
