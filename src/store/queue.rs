//! The writer's queue: bounded in jobs and bytes, filled without waiting, drained in order.

use super::handled::Seal;
use super::tx::{StoreError, Tx};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::watch;

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
    fn seal(&self) -> Option<Seal> {
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
    idle: Vec<Box<dyn Job>>,
    /// When the first of `idle` came.
    idle_since: Option<Instant>,
    /// The writer waits, and nobody woke it yet: to wake it again costs a system call.
    parked: bool,
    closed: bool,
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
        Self { state: Mutex::default(), wake: Condvar::new(), jobs_max, bytes_max, settled }
    }

    /// `number` is called when the job is sure of its place, and makes it what is queued: numbers
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
            return Err((job, StoreError::QueueFull));
        }
        state.bytes += bytes;
        state.queued += 1;
        state.jobs.push_back((bytes, number(job)));
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// As [`Queue::submit`], for a job that nobody waits for yet: it is not begun before somebody does
    /// ([`Queue::hurry`]), or a second is over.
    pub(super) fn submit_idle(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let bytes = job.bytes();
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.bytes + bytes > self.bytes_max {
            return Err(StoreError::QueueFull);
        }
        state.bytes += bytes;
        state.idle.push(job);
        let first = state.idle_since.is_none();
        state.idle_since.get_or_insert_with(now);
        let many = state.idle.len() >= IDLE_MAX;
        if many {
            state.hurry();
        }
        drop(state);
        if first || many {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Somebody waits for what idles.
    pub(super) fn hurry(&self) {
        let mut state = self.lock();
        if !state.idle.is_empty() {
            state.hurry();
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Gives the write back when the bound is reached, or the store is closed.
    pub(super) fn submit_behind(&self, write: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let mut state = self.lock();
        if state.closed || state.behind.len() >= BEHIND_MAX {
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

    /// Waits for work; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let now = now();
            if state.closed || state.idle_since.is_some_and(|since| since + BEHIND_AFTER <= now) {
                state.hurry();
            }
            let due = state.behind_since.map(|since| since + BEHIND_AFTER);
            let urgent = state.behind.len() >= BEHIND_BATCH || due.is_some_and(|due| due <= now);
            if !state.jobs.is_empty() || urgent || (state.closed && !state.behind.is_empty()) {
                return Some(state.take());
            }
            if state.closed {
                return None;
            }
            let idle = state.idle_since.map(|since| since + BEHIND_AFTER);
            state.parked = true;
            state = match due.into_iter().chain(idle).min() {
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
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// The writer tells that `jobs` more have their answer.
    pub(super) fn count_settled(&self, jobs: usize) {
        self.settled.send_modify(|settled| *settled += u64::try_from(jobs).unwrap_or(0));
    }

    /// Waits until all jobs queued before this call have their answer.
    pub(super) async fn barrier(&self) -> Result<(), StoreError> {
        self.hurry();
        self.begun().await
    }

    /// The same without those that idle.
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
    /// What idles becomes work.
    fn hurry(&mut self) {
        self.idle_since = None;
        for job in std::mem::take(&mut self.idle) {
            self.queued += 1;
            self.jobs.push_back((job.bytes(), job));
        }
    }

    fn take(&mut self) -> Batch {
        let mut bytes = 0;
        let taken = self.jobs.drain(..self.jobs.len().min(JOBS_BATCH));
        let weigh = |(weight, job)| {
            bytes += weight;
            job
        };
        let jobs: Vec<_> = taken.map(weigh).collect();
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

/// The writer's clock: it measures its own work and the age of what waits, nothing that a peer sees.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Jobs of one transaction: beyond a few hundred the fsync costs nothing more per job, and the
/// first one waits for the last.
const JOBS_BATCH: usize = 256;
/// Write-behinds of one transaction; as many waiting are not kept for the second.
const BEHIND_BATCH: usize = 256;
/// Jobs that may idle.
const IDLE_MAX: usize = 8_192;
/// Write-behinds that may wait; they reach it only when the disk stands still.
const BEHIND_MAX: usize = 16_384;
/// promise.md 2: the mark of what was confirmed is at most this late.
const BEHIND_AFTER: Duration = Duration::from_secs(1);
