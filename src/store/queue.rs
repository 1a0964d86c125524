//! The writer's queue: bounded in jobs and bytes, filled without waiting, drained in order.

use super::handled::DurableCount;
use super::line::{Counts, Episode, Line, Load, Signs, Waiter, Word};
use super::options::now;
use super::tx::{StoreError, Tx};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Room for one write, kept until it is queued and this is dropped.
pub struct Grant {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Grant {
    pub(super) fn new(queue: Arc<Queue>, bytes: usize) -> Self {
        Self { queue, bytes }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.queue.give_back(self.bytes);
    }
}

/// A write with an owner who wants to know how it ended.
pub trait Job: Send {
    /// Runs inside the batch's transaction: an error or a panic undoes this job's changes only.
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError>;

    /// Told once, after the COMMIT of the batch or its failure, on the writer's thread: keep it
    /// short. `Ok` means durable.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>);

    /// The same, with the tasks that are to be woken when the whole batch is told: once each.
    fn settled_with(
        self: Box<Self>,
        outcome: Result<(), StoreError>,
        _wake: &mut dyn FnMut(Waker),
    ) {
        self.settled(outcome);
    }

    /// What it weighs in the queue.
    fn bytes(&self) -> usize {
        0
    }

    /// How far the stream it is for is handled with it: written in the same transaction.
    fn durable_count(&self) -> Option<DurableCount> {
        None
    }

    /// It may be run again after its changes were undone. Such jobs share a savepoint, which costs a
    /// copy of every page they touch; when one fails, all are undone and each runs in its own.
    fn repeats(&self) -> bool {
        false
    }

    /// Who it is, for the log.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    jobs_max: usize,
    bytes_max: usize,
    settled: watch::Sender<u64>,
    signs: Signs,
    counts: Counts,
}

#[derive(Default)]
struct State {
    /// With what they weigh.
    jobs: VecDeque<(usize, Box<dyn Job>)>,
    bytes: usize,
    /// How many jobs were ever queued; [`Queue::settled`] follows it.
    queued: u64,
    /// With the number of jobs queued before: a write-behind never overtakes a job.
    behind: VecDeque<(u64, Box<dyn Job>)>,
    /// When the first of `behind` came.
    behind_since: Option<Instant>,
    /// Jobs that nobody waits for yet.
    deferred: Vec<Box<dyn Job>>,
    /// When the first of `deferred` came.
    deferred_since: Option<Instant>,
    /// The writer waits, and nobody woke it yet: to wake it again costs a system call.
    parked: bool,
    closed: bool,
    line: Line<Grant>,
    episode: Episode,
    /// When the writer tries whether something can be written again.
    probe: Option<Instant>,
}

/// What one transaction takes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Box<dyn Job>>,
    pub(super) behind: Vec<Box<dyn Job>>,
}

impl Queue {
    pub(super) fn new(jobs_max: usize, bytes_max: usize) -> Self {
        let (settled, _) = watch::channel(0);
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            jobs_max,
            bytes_max,
            settled,
            signs: Signs::default(),
            counts: Counts::default(),
        }
    }

    /// `number` is called when the job is sure of its turn, and makes it what is queued: numbers
    /// taken in there rise in the order of the queue.
    pub(super) fn submit<J: Job + ?Sized>(
        &self,
        job: Box<J>,
        number: impl FnOnce(Box<J>) -> Box<dyn Job>,
    ) -> Result<(), (Box<J>, StoreError)> {
        let bytes = job.bytes();
        let mut state = self.lock();
        if state.closed {
            return Err((job, StoreError::Closed));
        }
        // A job heavier than the whole bound still passes when it is alone.
        let heavy = state.bytes + bytes > self.bytes_max && !state.jobs.is_empty();
        if state.jobs.len() >= self.jobs_max || heavy {
            drop(state);
            self.overflown();
            return Err((job, StoreError::QueueFull));
        }
        state.bytes += bytes;
        state.queued += 1;
        state.jobs.push_back((bytes, number(job)));
        if state.jobs.len() > self.jobs_max / 2 || state.bytes > self.bytes_max / 2 {
            self.signs.crowded.store(true, Ordering::Relaxed);
        }
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// As [`Queue::submit`], for a job that nobody waits for yet: it is not begun before somebody does
    /// ([`Queue::flush_deferred`]), or a second is over.
    pub(super) fn submit_deferred(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let bytes = job.bytes();
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.bytes + bytes > self.bytes_max {
            return Err(StoreError::QueueFull);
        }
        state.bytes += bytes;
        state.deferred.push(job);
        let first = state.deferred_since.is_none();
        state.deferred_since.get_or_insert_with(now);
        let many = state.deferred.len() >= DEFERRED_MAX;
        if many {
            state.flush_deferred();
        }
        drop(state);
        if first || many {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Somebody waits for what is deferred.
    pub(super) fn flush_deferred(&self) {
        let mut state = self.lock();
        if !state.deferred.is_empty() {
            state.flush_deferred();
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Gives the write back when the bound is reached, or the store is closed.
    pub(super) fn submit_behind(&self, write: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let mut state = self.lock();
        if state.closed || state.behind.len() >= BEHIND_MAX {
            let full = !state.closed;
            drop(state);
            if full {
                self.overflown();
            }
            return Err(write);
        }
        state.behind_since.get_or_insert_with(now);
        let after = state.queued;
        state.behind.push_back((after, write));
        let wake = state.behind.len() == 1 || state.behind.len() == BEHIND_BATCH;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Only work of the server's own comes so far.
    fn overflown(&self) {
        if Counts::add(&self.counts.full) == 1 {
            tracing::error!(
                "the queue of the database is full, and work is left undone; this is said once: \
                 `stonechat status` counts it"
            );
        }
    }

    /// Over half of it is in use, or somebody waits for room.
    pub(super) fn is_crowded(&self) -> bool {
        self.signs.crowded.load(Ordering::Relaxed)
    }

    /// Nothing can be written, as far as the writer knows.
    pub(super) fn is_refusing(&self) -> bool {
        self.signs.refusing.load(Ordering::Relaxed)
    }

    /// A message was not taken for that.
    pub(super) fn count_refused(&self) {
        Counts::add(&self.counts.refused);
    }

    /// The writer lost a batch, or wrote one again. While it is losing them it is woken to try. What was
    /// refused so far.
    pub(super) fn refuse(&self, refusing: bool) -> u64 {
        self.lock().probe = refusing.then(|| now() + PROBE_AFTER);
        self.signs.refusing.store(refusing, Ordering::Relaxed);
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Waits until there is room for a write in the half of the queue that is for all, behind those who
    /// came before.
    pub(super) async fn room(self: &Arc<Self>, bytes: usize) -> Result<Grant, StoreError> {
        let (told, word) = {
            let mut state = self.lock();
            if state.closed {
                return Err(StoreError::Closed);
            }
            if state.line.is_empty() && self.fits(&state, bytes) {
                state.line.grant(bytes);
                return Ok(Grant::new(self.clone(), bytes));
            }
            self.signs.crowded.store(true, Ordering::Relaxed);
            let waited = Counts::add(&self.counts.waited);
            (state.line.join(bytes), state.episode.begin(waited - 1, now()))
        };
        if let Some(word) = word {
            word.say();
        }
        told.await.map_err(|_| StoreError::Closed)
    }

    /// What is heavier than it should be passes alone.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        let line = &state.line;
        let few = state.jobs.len() + line.granted < self.jobs_max / 2;
        let light = state.bytes + line.granted_bytes + bytes <= self.bytes_max / 2;
        (few && light) || (state.jobs.is_empty() && line.granted == 0)
    }

    /// Somebody has queued what it had room for, or has not.
    pub(super) fn give_back(self: &Arc<Self>, bytes: usize) {
        let mut state = self.lock();
        state.line.give_back(bytes);
        let admitted = self.admit(&mut state);
        drop(state);
        self.tell(admitted);
    }

    /// Those in the line for whom there is room now.
    fn admit(&self, state: &mut State) -> Vec<Waiter<Grant>> {
        let mut admitted = Vec::new();
        if !self.is_crowded() {
            return admitted;
        }
        while let Some(bytes) = state.line.first() {
            if !self.fits(state, bytes) {
                return admitted;
            }
            admitted.extend(state.line.admit());
        }
        if self.fits(state, 0) {
            self.signs.crowded.store(false, Ordering::Relaxed);
        }
        admitted
    }

    /// Without the lock: who is gone gives its grant back at once.
    fn tell(self: &Arc<Self>, admitted: Vec<Waiter<Grant>>) {
        for Waiter { bytes, tell } in admitted {
            drop(tell.send(Grant::new(self.clone(), bytes)));
        }
    }

    /// For an admin.
    pub(super) fn load(&self) -> Load {
        let state = self.lock();
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        Load {
            queued: state.jobs.len() + state.deferred.len(),
            bytes: state.bytes,
            waiting: state.line.len(),
            waited: count(&self.counts.waited),
            full: count(&self.counts.full),
            refused: count(&self.counts.refused),
            refusing: self.is_refusing(),
        }
    }

    /// What there is to be said of those who waited.
    fn word(&self, state: &mut State, now: Instant) -> Option<Word> {
        let waited = self.counts.waited.load(Ordering::Relaxed);
        state.episode.look(self.is_crowded(), waited, now)
    }

    /// Waits for work, and takes so many jobs at most; `None` once the queue is closed and empty.
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let now = now();
            if let Some(word) = self.word(&mut state, now) {
                drop(state);
                word.say();
                state = self.lock();
                continue;
            }
            if state.closed || state.deferred_since.is_some_and(|since| since + BEHIND_AFTER <= now)
            {
                state.flush_deferred();
            }
            let due = state.behind_since.map(|since| since + BEHIND_AFTER);
            let urgent = state.behind.len() >= BEHIND_BATCH || due.is_some_and(|due| due <= now);
            // Once closed there is nobody left to probe for: the writer is to end.
            let probe = !state.closed && state.probe.is_some_and(|at| at <= now);
            let last = state.closed && !state.behind.is_empty();
            if !state.jobs.is_empty() || urgent || probe || last {
                let batch = state.take(most);
                let admitted = self.admit(&mut state);
                drop(state);
                self.tell(admitted);
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            let deferred = state.deferred_since.map(|since| since + BEHIND_AFTER);
            let looks = [due, deferred, state.probe, state.episode.due()];
            state.parked = true;
            state = match looks.into_iter().flatten().min() {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    let woken = self.wake.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.parked = false;
        }
    }

    /// Nothing more comes in; what waits is still done.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.line.dissolve();
        drop(state);
        self.wake.notify_all();
    }

    /// The writer tells that `jobs` more have their answer.
    pub(super) fn count_settled(&self, jobs: usize) {
        self.settled.send_modify(|settled| *settled += u64::try_from(jobs).unwrap_or(0));
    }

    /// Waits until all jobs queued before this call have their answer.
    pub(super) async fn barrier(&self) -> Result<(), StoreError> {
        self.flush_deferred();
        self.begun().await
    }

    /// The same without those that are deferred.
    pub(super) async fn begun(&self) -> Result<(), StoreError> {
        let queued = self.lock().queued;
        let mut settled = self.settled.subscribe();
        settled.wait_for(|settled| *settled >= queued).await.map_err(|_| StoreError::Closed)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What was deferred becomes work.
    fn flush_deferred(&mut self) {
        self.deferred_since = None;
        for job in std::mem::take(&mut self.deferred) {
            self.queued += 1;
            self.jobs.push_back((job.bytes(), job));
        }
    }

    fn take(&mut self, most: usize) -> Batch {
        let mut bytes = 0;
        let mut jobs = Vec::with_capacity(self.jobs.len().min(most));
        while jobs.len() < most
            && (bytes < BYTES_BATCH || jobs.len() < JOBS_BATCH)
            && let Some((weight, job)) = self.jobs.pop_front()
        {
            bytes += weight;
            jobs.push(job);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        let taken = self.queued - self.jobs.len() as u64;
        let ready = self.behind.iter().take(BEHIND_BATCH).take_while(|(after, _)| *after <= taken);
        let ready = ready.count();
        let behind = self.behind.drain(..ready).map(|(_, write)| write).collect();
        if self.behind.is_empty() {
            self.behind_since = None;
        }
        Batch { jobs, behind }
    }
}

/// Jobs of one transaction: beyond a few hundred the fsync costs nothing more per job, and the
/// first one waits for the last.
pub(super) const JOBS_BATCH: usize = 256;
/// The same where the disk takes long for each: there the waiting is for the disk.
pub(super) const JOBS_BATCH_MAX: usize = 16_384;
/// Bytes of more than [`JOBS_BATCH`] jobs: they stay in memory until the commit.
const BYTES_BATCH: usize = 8 * 1_048_576;
/// How often a disk that takes no writes is tried again.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// Write-behinds of one transaction; as many waiting are not kept for the second.
const BEHIND_BATCH: usize = 256;
/// Jobs that may be deferred.
const DEFERRED_MAX: usize = 8_192;
/// Write-behinds that may wait; they reach it only when the disk stands still.
const BEHIND_MAX: usize = 16_384;
/// promise.md 2: the watermark of what was confirmed is at most this late.
const BEHIND_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that took no writes until the end must not keep the writer from ending.
    #[test]
    fn a_closed_queue_probes_no_more() {
        let queue = Arc::new(Queue::new(16, 1_024));
        queue.refuse(true);
        queue.lock().probe = Some(now());
        queue.close();
        assert!(queue.take(1).is_none());
    }

    struct Nothing;

    impl Job for Nothing {
        fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
            Ok(())
        }
        fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    /// What was queued before it is written before it, in however many batches.
    #[test]
    fn what_is_written_behind_overtakes_no_job() {
        let queue = Arc::new(Queue::new(16, 1_024));
        for _ in 0..2 {
            assert!(queue.submit(Box::new(Nothing), |job| job as Box<dyn Job>).is_ok());
        }
        assert!(queue.submit_behind(Box::new(Nothing)).is_ok());
        let taken = || queue.take(1).map(|batch| (batch.jobs.len(), batch.behind.len()));
        assert_eq!((taken(), taken()), (Some((1, 0)), Some((1, 1))));
    }

    /// Who wants little waits behind who wants much.
    #[tokio::test]
    async fn nobody_passes_the_line() {
        let queue = Arc::new(Queue::new(16, 1_000));
        let _half = queue.room(400).await;
        for waiting in 1..=2 {
            let (queue, bytes) = (queue.clone(), [400, 10][waiting - 1]);
            tokio::spawn(async move { drop(queue.room(bytes).await) });
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.load().waiting, 2);
    }
}
