//! The handle to the database: what runs on its threads, and what is queued for them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

use super::errors::OpenError;
use super::growth::Growth;
use super::line::Load;
use super::node::{AccessChanges, AccessVersion, Sequence};
use super::options::{Clock, Options, micros_now};
use super::queue::{Grant, Job, Queue};
use super::readers::{self, Readers};
use super::sqlite::backup;
use super::sqlite::engine::Engine;
use super::sqlite::open;
use super::tx::{StoreError, Tx};
use super::unindexed::Unindexed;
use super::{archive, mailbox, meta, writer};
use crate::base::archive_id::ArchiveIds;
use crate::base::id::{OsRng, Rng};

/// The handle to the database; clones share it.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

impl Store {
    /// Opens or makes the database and brings its schema up to date. Blocks; no deep check.
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
            aside: backup::Aside::new(options.path.clone(), &lock),
            unindexed: Arc::default(),
            growth: Growth::new(options.grown_bytes),
        };
        if let Err(error) = place(&engine) {
            // A disk that is full, say: what can be read is.
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

    /// Runs `f` on the writer thread; answers once its changes are durable, or undone. Queued at
    /// the first poll, or when there is room; a caller that stops waiting does not stop a queued write.
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

    /// More than half of the queue is in use: who writes for others waits first ([`Store::room`]).
    pub fn is_crowded(&self) -> bool {
        self.inner.queue.is_crowded()
    }

    /// Waits in a line until there is room for a write of so many bytes; it is kept until the answer
    /// is dropped.
    pub async fn room(&self, bytes: usize) -> Result<Grant, StoreError> {
        self.inner.queue.room(bytes).await
    }

    /// The same, without a wait where there is plenty. For small writes.
    pub async fn room_if_crowded(&self) -> Option<Grant> {
        if self.is_crowded() { self.room(0).await.ok() } else { None }
    }

    /// Nothing can be written: the last try failed, and it is tried again every second.
    pub fn is_refusing(&self) -> bool {
        self.inner.queue.is_refusing()
    }

    /// A message was refused for that: it is counted.
    pub fn count_refused(&self) {
        self.inner.queue.count_refused();
    }

    /// What the writer has to do.
    pub fn load(&self) -> Load {
        self.inner.queue.load()
    }

    /// Queues a write now, in the order of the calls. Never waits: callable under a lock.
    pub fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.inner.queue.submit(job, |job| job).map_err(|(_, error)| error)
    }

    /// The same for a write that takes positions of the archive or the mailbox: `number` puts them into
    /// it, from a source of rising ones, and the time. Positions rise in the order of the queue and so of the
    /// commits, so that who reads an archive up to a position never misses one below it; and while nobody
    /// sets the clock back, times rise with them.
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

    /// As [`Store::submit`]; a write that is not taken comes back.
    pub fn submit_or_return<J: Job + 'static>(
        &self,
        job: Box<J>,
    ) -> Result<(), (Box<J>, StoreError)> {
        self.inner.queue.submit(job, |job| job)
    }

    /// As [`Store::submit`], for a write that nobody waits for: it is begun when somebody does
    /// ([`Store::barrier`]), or a second is over, with what else is written then.
    pub fn submit_deferred(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.inner.queue.submit_deferred(job)
    }

    /// A write that nobody waits for. It rides in the next batch, at latest a second from now,
    /// and may be lost in a crash or on a failing disk; a loss without a crash is told to the job,
    /// on this thread if the database takes no more: not to be called under a lock.
    pub fn write_behind(&self, job: Box<dyn Job>) {
        if let Err(refused) = self.inner.queue.submit_behind(job) {
            tracing::debug!("a write behind was refused: the database is closed or too slow");
            refused.settled(Err(StoreError::QueueFull));
        }
    }

    /// Waits until every write queued before has its answer (promise.md 7). Write-behinds are
    /// not waited for.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        self.inner.queue.barrier().await
    }

    /// The same, but for those of [`Store::submit_deferred`] that were not begun.
    pub async fn begun(&self) -> Result<(), StoreError> {
        self.inner.queue.begun().await
    }

    /// Does what is queued, write-behinds too, closes the file and ends the threads. Later calls
    /// get [`StoreError::Closed`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        #[allow(clippy::disallowed_methods)] // joins threads that end with a COMMIT
        let _ = tokio::task::spawn_blocking(move || inner.close()).await;
    }

    /// From which schema to which the next opening upgrades the database, if it does.
    pub fn upgrade_of(path: &Path) -> Result<Option<(i64, i64)>, OpenError> {
        open::upgrade_of(path)
    }

    /// Reads the whole file and says what is wrong with it; an empty answer is a healthy database.
    /// Slow: for `stonechat check --deep`, not for the start.
    pub fn deep_check(path: &Path) -> Result<Vec<String>, OpenError> {
        open::deep_check(path)
    }

    /// Rises with each commit that changes how any account is entered ([`Tx::access_changed`]), before
    /// whoever awaits that commit is told. What was read of such things after this version was taken
    /// holds as long as the version stands.
    pub fn access_version(&self) -> AccessVersion {
        self.inner.access.version()
    }

    /// The position of a new row in the archive or the mailbox: above the last one, whatever the clock says.
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
    pub(super) aside: backup::Aside,
    pub(super) unindexed: Arc<Unindexed>,
    pub(super) growth: Growth,
}

/// The key of archive ids, made at the first start, and the last position that was ever taken.
fn begin(tx: &mut dyn Tx) -> Result<(ArchiveIds, i64), StoreError> {
    let mut fresh = [0; 32];
    OsRng.fill(&mut fresh);
    let secret = meta::get_or_create_secret(tx, "archive-ids", &fresh)?;
    let key = secret.first_chunk().unwrap_or(&[0; 16]);
    // Also above what was deleted: the clock may have been ahead when that was written.
    let last = [mailbox::last_seq(tx)?, archive::last_seq(tx)?, archive::last_indexed(tx)?];
    Ok((ArchiveIds::new(key), last.into_iter().max().unwrap_or(0)))
}

/// Rows that the last run did not come to index.
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

/// The threads end after what is queued; nobody waits for them here, for the last handle may
/// live on one of them.
impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A write whose caller awaits a value.
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
        // No value and no error cannot be: `run` left one of them.
        let Self { value, answer, .. } = *self;
        let _ = answer.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }
}

/// Reads that may wait: more than all sessions ask for at once.
const READS_MAX: usize = 65_536;
