//! The handle to the database: runs reads on the reader threads and queues writes for the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

use super::commits::Commits;
use super::errors::OpenError;
use super::growth::Growth;
use super::job::Job;
use super::line::Load;
use super::node::{AccessChanges, AccessVersion, Sequence};
use super::options::{Clock, Options, micros_now};
use super::queue::{Grant, Queue};
use super::readers::{self, Readers};
use super::sqlite::aside;
use super::sqlite::engine::Engine;
use super::sqlite::open;
use super::tx::{StoreError, Tx};
use super::unindexed::Unindexed;
use super::{archive, mailbox, meta, peer_queue, writer};
use crate::base::archive_id::ArchiveIds;
use crate::base::id::{OsRng, Rng};

/// The handle to the database; clones share it.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

impl Store {
    /// Opens or creates the database and brings its schema up to date. Blocks; makes no deep check.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (engine, lock) = Engine::open(&options, micros_now())?;
        let lock = Arc::new(lock);
        let (ids, last_seq) = begin(&mut engine.tx()).map_err(|error| OpenError::Other {
            path: options.path.clone(),
            what: error.to_string(),
        })?;
        let readers = Arc::new(Readers::new(READS_MAX));
        let queue = Arc::new(Queue::new(options.queue_max, options.queue_bytes));
        let access = Arc::new(AccessChanges::default());
        let inner = Inner {
            queue: Arc::clone(&queue),
            readers: Arc::clone(&readers),
            threads: Mutex::default(),
            sequence: Sequence::after(last_seq),
            clock: options.clock,
            access: Arc::clone(&access),
            ids,
            aside: aside::Aside::new(options.path.clone(), &lock),
            unindexed: Arc::default(),
            growth: Growth::new(options.grown_bytes, options.room_grown_bytes),
        };
        if let Err(error) = place(&engine) {
            // The disk may be full, for example; reads still work.
            tracing::warn!(%error, "the last rows of the archive are not indexed");
            inner.unindexed.unknown();
        }
        let failed = |source| OpenError::Files { path: options.path.clone(), source };
        for _ in 0..options.readers.max(1) {
            let reader = Engine::reader(&options.path)?;
            let thread = readers::spawn(reader, Arc::clone(&readers), Arc::clone(&lock));
            inner.keep(thread.map_err(failed)?);
        }
        let checkpoint = move || readers.checkpoint();
        let thread = writer::spawn(engine, queue, access, checkpoint, lock).map_err(failed)?;
        inner.keep(thread);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `f` on a reader thread, in a transaction of its own that may not write.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.readers.submit(Box::new(move |engine| {
            let _ = answer.send(readers::run(engine, f));
        }))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `f` on the writer thread; returns once its changes are durable, or undone. It is queued at the
    /// first poll, or when there is room; a caller that stops waiting does not stop a queued write.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let room = self.room_if_crowded().await;
        self.submit(Box::new(Call { f: Some(f), value: None, answer }))?;
        drop(room);
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether more than half of the queue is in use. A task that writes for clients then waits first
    /// ([`Store::room`]).
    pub fn is_crowded(&self) -> bool {
        self.inner.queue.is_crowded()
    }

    /// Waits in line until there is room for a write of this many bytes; the room is reserved until the
    /// [`Grant`] is dropped.
    pub async fn room(&self, bytes: usize) -> Result<Grant, StoreError> {
        self.inner.queue.room(bytes).await
    }

    /// Like [`Store::room`], but without waiting if there is plenty of room. For small writes.
    pub async fn room_if_crowded(&self) -> Option<Grant> {
        if self.is_crowded() { self.room(0).await.ok() } else { None }
    }

    /// Whether nothing can be written: the last attempt failed, and the writer retries every second.
    pub fn is_refusing(&self) -> bool {
        self.inner.queue.is_refusing()
    }

    /// Counts a message that was refused because nothing can be written.
    pub fn count_refused(&self) {
        self.inner.queue.count_refused();
    }

    /// The writer's load.
    pub fn load(&self) -> Load {
        self.inner.queue.load()
    }

    /// Whether the writer is there to take writes; it may fail to write them ([`Store::is_refusing`]).
    pub fn is_alive(&self) -> bool {
        !self.inner.queue.is_closed()
    }

    /// How commits went.
    pub(super) fn commits(&self) -> &Commits {
        &self.inner.queue.commits
    }

    /// Reads that wait for a reader.
    pub(super) fn reads_waiting(&self) -> usize {
        self.inner.readers.waiting()
    }

    /// Sizes of the database's files: the database, and the log of what is not yet copied into it.
    pub(super) fn file_bytes(&self) -> [(&'static str, u64); 2] {
        let path = &self.inner.aside.path;
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |of| of.len());
        [("database", size(path)), ("log", size(Path::new(&log)))]
    }

    /// Queues a write now, in the order of the calls. Never waits: callable under a lock.
    pub fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.inner.queue.submit(job, |job| job).map_err(|(_, error)| error)
    }

    /// Like [`Store::submit`], for a write that takes positions of the archive or the mailbox: `number` sets
    /// them and the time, from a rising source. Positions rise in the order of the queue and so of the
    /// commits: a reader that reads an archive up to a position never misses a lower one. Times rise with
    /// positions as long as the clock is not set back.
    pub fn submit_numbered<J: Job + 'static>(
        &self,
        job: Box<J>,
        number: impl FnOnce(&mut J, i64, &mut dyn FnMut() -> i64),
    ) -> Result<(), StoreError> {
        let queued = self.inner.queue.submit(job, |mut job| {
            let now = (self.inner.clock)();
            number(&mut job, now, &mut || self.inner.sequence.next(now));
            job
        });
        queued.map_err(|(_, error)| error)
    }

    /// Like [`Store::submit`], but gives back a write that is not accepted.
    pub fn submit_or_return<J: Job + 'static>(
        &self,
        job: Box<J>,
    ) -> Result<(), (Box<J>, StoreError)> {
        self.inner.queue.submit(job, |job| job)
    }

    /// Like [`Store::submit`], for a write that no caller waits for: it begins when one does
    /// ([`Store::barrier`]) or after a second, together with the other writes of that moment.
    pub fn submit_deferred(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.inner.queue.submit_deferred(job)
    }

    /// Queues a write that no caller waits for. It is part of the next batch, at the latest a second from
    /// now, and a crash or a failing disk may lose it. The job is notified of a loss without a crash; if the
    /// database accepts no more, that happens on this thread, so this must not be called under a lock.
    pub fn write_behind(&self, job: Box<dyn Job>) {
        if let Err(refused) = self.inner.queue.submit_behind(job) {
            tracing::debug!("a write behind was refused: the database is closed or too slow");
            refused.settled(Err(StoreError::QueueFull));
        }
    }

    /// Somebody waits for the writes that are queued: those that are patient wait no longer ([`Job::is_patient`]).
    pub fn hurry(&self) {
        self.inner.queue.hurry();
    }

    /// Waits until every write queued before has its outcome (promise.md 7). Does not wait for write-behinds.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        self.inner.queue.barrier().await
    }

    /// Like [`Store::barrier`], but without the writes of [`Store::submit_deferred`] that have not begun.
    pub async fn begun(&self) -> Result<(), StoreError> {
        self.inner.queue.begun().await
    }

    /// Finishes what is queued, including write-behinds, closes the file and ends the threads. Later calls
    /// get [`StoreError::Closed`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        #[allow(clippy::disallowed_methods)] // joins threads that end with a COMMIT
        let _ = tokio::task::spawn_blocking(move || inner.close()).await;
    }

    /// Returns the present schema and the one to which the next opening upgrades it; `None` if it does not.
    pub fn upgrade_of(path: &Path) -> Result<Option<(i64, i64)>, OpenError> {
        open::upgrade_of(path)
    }

    /// Runs `f` in one transaction that reads, also while a server has the database. Blocks as long as `f` does.
    /// The schema must be this release's.
    pub fn look<T>(
        path: &Path,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, OpenError> {
        if let Some((from, to)) = open::upgrade_of(path)? {
            let what =
                format!("its schema is {from}, and this release reads {to}; start the server once");
            return Err(OpenError::Other { path: path.to_owned(), what });
        }
        let engine = Engine::reader(path)?;
        Ok(readers::run(&engine, f))
    }

    /// Reads the whole file and returns what is wrong with it; an empty list means a healthy database. Slow:
    /// for `stonechat check --deep`, not for the start.
    pub fn deep_check(path: &Path) -> Result<Vec<String>, OpenError> {
        open::deep_check(path)
    }

    /// A number that rises with each commit that changes how an account is entered ([`Tx::access_changed`]),
    /// before the callers that await the commit get its outcome. Whatever was read about access after this
    /// version was taken stays valid until the version changes.
    pub fn access_version(&self) -> AccessVersion {
        self.inner.access.version()
    }

    /// Returns the position of a new row in the archive or the mailbox: above the last one, whatever the
    /// clock says.
    pub fn next_seq(&self) -> i64 {
        self.inner.sequence.next((self.inner.clock)())
    }
}

pub(super) struct Inner {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    sequence: Sequence,
    clock: Clock,
    access: Arc<AccessChanges>,
    pub(super) ids: ArchiveIds,
    pub(super) aside: aside::Aside,
    pub(super) unindexed: Arc<Unindexed>,
    pub(super) growth: Growth,
}

/// Returns the key of archive ids, made at the first start, and the last position ever taken.
fn begin(tx: &mut dyn Tx) -> Result<(ArchiveIds, i64), StoreError> {
    let mut fresh = [0; 32];
    OsRng.fill(&mut fresh);
    let secret = meta::get_or_create_secret(tx, "archive-ids", &fresh)?;
    let key = secret.first_chunk().unwrap_or(&[0; 16]);
    // This includes the positions of deleted rows: the clock may have been ahead when they were written.
    let last = [
        mailbox::last_seq(tx)?,
        archive::last_seq(tx)?,
        archive::last_indexed(tx)?,
        peer_queue::last_seq(tx)?,
    ];
    Ok((ArchiveIds::new(key), last.into_iter().max().unwrap_or(0)))
}

/// Indexes rows that the last run did not get to.
fn place(engine: &Engine) -> Result<(), StoreError> {
    engine.begin()?;
    let indexed = archive::index_new(&mut engine.tx()).and_then(|()| engine.commit());
    engine.clear()?;
    indexed
}

impl Inner {
    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    fn close(&self) {
        self.stop();
        self.aside.wait();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }

    fn stop(&self) {
        self.aside.stop();
        self.queue.close();
        self.readers.close();
    }
}

/// The threads end after what is queued. The drop does not wait for them, because the last handle may be
/// dropped on one of them.
impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A write whose caller waits for a value.
struct Call<T, F> {
    f: Option<F>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        if let Some(f) = self.f.take() {
            self.value = Some(f(tx)?);
        }
        Ok(())
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        // One of the two is always there: `run` set it.
        let Self { value, answer, .. } = *self;
        let _ = answer.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }
}

/// Reads that may wait: more than all sessions request at once.
const READS_MAX: usize = 65_536;
