//! The writer's queue: bounded in jobs and bytes, filled without waiting, drained in order.

use super::commits::Commits;
use super::job::Job;
use super::line::{Counts, Episode, Line, Load, Signs, Waiter, Word};
use super::options::now;
use super::tx::StoreError;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Room for one write, reserved until the write is queued and this is dropped.
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

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    jobs_max: usize,
    bytes_max: usize,
    settled: watch::Sender<u64>,
    signs: Signs,
    counts: Counts,
    /// How the batches that were taken out of it ended.
    pub(super) commits: Commits,
}

#[derive(Default)]
struct State {
    /// The jobs with their sizes.
    jobs: VecDeque<(usize, Box<dyn Job>)>,
    bytes: usize,
    /// When the first of `jobs` was queued, if all of them are patient: the writer lets them wait.
    patient_since: Option<Instant>,
    /// Number of jobs ever queued; [`Queue::settled`] follows it.
    queued: u64,
    /// The write-behinds, each with the number of jobs queued before it: it never overtakes one of those.
    behind: VecDeque<(u64, Box<dyn Job>)>,
    /// When the first of `behind` was queued.
    behind_since: Option<Instant>,
    /// Jobs that no caller waits for yet.
    deferred: Vec<Box<dyn Job>>,
    /// When the first of `deferred` was queued.
    deferred_since: Option<Instant>,
    /// Whether the writer sleeps and has not been woken yet: waking it twice would cost a system call.
    parked: bool,
    closed: bool,
    line: Line<Grant>,
    episode: Episode,
    /// When the writer next tries whether anything can be written again.
    probe: Option<Instant>,
}

/// The jobs of one transaction.
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
            commits: Commits::default(),
        }
    }

    /// `number` is called when the job is certain to be queued, and returns what is queued: numbers taken in
    /// it rise in the order of the queue.
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
        // A job larger than the whole bound is still accepted when it is alone.
        let heavy = state.bytes + bytes > self.bytes_max && !state.jobs.is_empty();
        if state.jobs.len() >= self.jobs_max || heavy {
            drop(state);
            self.overflown();
            return Err((job, StoreError::QueueFull));
        }
        let patient = job.is_patient();
        state.bytes += bytes;
        state.queued += 1;
        state.jobs.push_back((bytes, number(job)));
        let crowded = state.jobs.len() > self.jobs_max / 2 || state.bytes > self.bytes_max / 2;
        if crowded {
            self.signs.crowded.store(true, Ordering::Relaxed);
        }
        let first = state.jobs.len() == 1;
        match patient && !crowded && (first || state.patient_since.is_some()) {
            // The writer looks at the clock once, for the first.
            true if !first => return Ok(()),
            true => state.patient_since = Some(now()),
            false => state.patient_since = None,
        }
        self.wake_writer(state);
        Ok(())
    }

    /// Somebody waits for what is queued.
    pub(super) fn hurry(&self) {
        let mut state = self.lock();
        if state.patient_since.take().is_some() {
            self.wake_writer(state);
        }
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.wake.notify_one();
        }
    }

    /// Like [`Queue::submit`], for a job that no caller waits for yet: it begins when one does
    /// ([`Queue::flush_deferred`]), or after a second.
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

    /// Queues the deferred jobs because a caller waits for them.
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

    /// Counts a job that had no room. That happens only to the server's own work.
    fn overflown(&self) {
        if Counts::add(&self.counts.full) == 1 {
            tracing::error!(
                "the queue of the database is full, and work is left undone; this is said once: \
                 `stonechat status` counts it"
            );
        }
    }

    /// Whether more than half of the queue is in use, or a task waits for room.
    pub(super) fn is_crowded(&self) -> bool {
        self.signs.crowded.load(Ordering::Relaxed)
    }

    /// Whether nothing can be written, as far as the writer knows.
    pub(super) fn is_refusing(&self) -> bool {
        self.signs.refusing.load(Ordering::Relaxed)
    }

    /// Counts a message that was refused because nothing can be written.
    pub(super) fn count_refused(&self) {
        Counts::add(&self.counts.refused);
    }

    /// Notes that the writer lost a batch, or succeeded again. As long as batches are lost, the writer is
    /// woken to try again. Returns the number of messages refused so far.
    pub(super) fn refuse(&self, refusing: bool) -> u64 {
        self.lock().probe = refusing.then(|| now() + PROBE_AFTER);
        self.signs.refusing.store(refusing, Ordering::Relaxed);
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Waits until there is room for a write in the half of the queue that is open to all, after the tasks
    /// that waited before.
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
            state.patient_since = None;
            self.wake.notify_one();
            let waited = Counts::add(&self.counts.waited);
            (state.line.join(bytes), state.episode.begin(waited - 1, now()))
        };
        if let Some(word) = word {
            word.say();
        }
        told.await.map_err(|_| StoreError::Closed)
    }

    /// A write that is larger than the bound is accepted when it is alone.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        let line = &state.line;
        let few = state.jobs.len() + line.granted < self.jobs_max / 2;
        let light = state.bytes + line.granted_bytes + bytes <= self.bytes_max / 2;
        (few && light) || (state.jobs.is_empty() && line.granted == 0)
    }

    /// Releases a grant, whether or not its write was queued.
    pub(super) fn give_back(self: &Arc<Self>, bytes: usize) {
        let mut state = self.lock();
        state.line.give_back(bytes);
        let admitted = self.admit(&mut state);
        drop(state);
        self.tell(admitted);
    }

    /// Takes the tasks out of the line that now have room.
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

    /// Called without the lock: if a waiting task is gone, its grant is released at once.
    fn tell(self: &Arc<Self>, admitted: Vec<Waiter<Grant>>) {
        for Waiter { bytes, tell } in admitted {
            drop(tell.send(Grant::new(self.clone(), bytes)));
        }
    }

    /// The load, for an admin.
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

    /// The report for the log about tasks that waited, if one is due.
    fn word(&self, state: &mut State, now: Instant) -> Option<Word> {
        let waited = self.counts.waited.load(Ordering::Relaxed);
        state.episode.look(self.is_crowded(), waited, now)
    }

    /// Waits for work, and takes at most `most` jobs; `None` once the queue is closed and empty.
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
            // A closed queue needs no probe: no task waits for the result, and the writer is to end.
            let probe = !state.closed && state.probe.is_some_and(|at| at <= now);
            let last = state.closed && !state.behind.is_empty();
            let patient = state.patient_since.map(|since| since + PATIENT_FOR);
            let waits = patient.is_some_and(|until| until > now) && !state.closed;
            if (!state.jobs.is_empty() && !waits) || urgent || probe || last {
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
            let looks = [due, deferred, patient, state.probe, state.episode.due()];
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

    /// Accepts nothing more; the waiting jobs are still done.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.line.dissolve();
        drop(state);
        self.wake.notify_all();
    }

    /// Notes that `jobs` more have their outcome.
    pub(super) fn count_settled(&self, jobs: usize) {
        self.settled.send_modify(|settled| *settled += u64::try_from(jobs).unwrap_or(0));
    }

    /// Whether it takes no more: the store is closed, or its writer has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until all jobs queued before this call have their outcome.
    pub(super) async fn barrier(&self) -> Result<(), StoreError> {
        self.flush_deferred();
        self.begun().await
    }

    /// Like [`Queue::barrier`], but without the deferred jobs.
    pub(super) async fn begun(&self) -> Result<(), StoreError> {
        self.hurry();
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
    /// Moves the deferred jobs to the queue.
    fn flush_deferred(&mut self) {
        self.deferred_since = None;
        self.patient_since = None;
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
        self.patient_since = None;
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

/// Jobs of one transaction. Beyond a few hundred, the fsync costs nothing more per job, while the first job
/// waits for the last.
pub(super) const JOBS_BATCH: usize = 256;
/// Like [`JOBS_BATCH`], for a disk that takes long for each COMMIT: there jobs wait for the disk anyway.
pub(super) const JOBS_BATCH_MAX: usize = 16_384;
/// Bytes of a batch of more than [`JOBS_BATCH`] jobs: they stay in memory until the commit.
const BYTES_BATCH: usize = 8 * 1_048_576;
/// How often the writer tries a disk again that accepts no writes.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// Write-behinds of one transaction; when this many wait, they are written before the second is over.
const BEHIND_BATCH: usize = 256;
/// Maximum number of deferred jobs.
const DEFERRED_MAX: usize = 8_192;
/// Maximum number of waiting write-behinds, reached only when the disk stalls.
const BEHIND_MAX: usize = 16_384;
/// How long a job that nobody waits for waits for others.
const PATIENT_FOR: Duration = Duration::from_millis(500);
/// promise.md 2: the watermark of confirmed messages is at most this late.
const BEHIND_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::tx::Tx;
    use super::*;

    /// A disk that accepted no writes until the end must not keep the writer from ending.
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

    /// Jobs are written before the write-behinds queued after them, in however many batches.
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

    struct Patient;

    impl Job for Patient {
        fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
            Ok(())
        }
        fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
        fn is_patient(&self) -> bool {
            true
        }
    }

    /// Patient jobs wait for one that is not, or for whoever hurries, and keep their places.
    #[test]
    fn patient_jobs_share_the_commit_of_the_next() {
        let queue = Arc::new(Queue::new(16, 1_024));
        let submit = |job: Box<dyn Job>| assert!(queue.submit(job, |job| job).is_ok());
        let waits = || queue.lock().patient_since.is_some();
        let taken = || queue.take(16).map(|batch| batch.jobs.len());
        (0..3).for_each(|_| submit(Box::new(Patient)));
        assert!(waits());
        submit(Box::new(Nothing));
        submit(Box::new(Patient));
        assert!(!waits(), "behind one that does not wait");
        assert_eq!(taken(), Some(5));
        submit(Box::new(Patient));
        assert!(waits());
        queue.hurry();
        assert_eq!((waits(), taken()), (false, Some(1)));
        submit(Box::new(Patient));
        queue.lock().patient_since = Some(now() - PATIENT_FOR);
        assert_eq!(taken(), Some(1), "long enough");
        (0..9).for_each(|_| submit(Box::new(Patient)));
        assert!(!waits(), "more than half of the queue");
        assert_eq!(taken(), Some(9));
        submit(Box::new(Patient));
        queue.close();
        assert_eq!(taken(), Some(1));
    }

    /// A task that wants little room waits behind one that wants much.
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
