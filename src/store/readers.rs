//! A few reader threads on one queue. In WAL mode they neither wait for the writer nor hold it up.

use super::sqlite::engine::Engine;
use super::tx::{StoreError, Tx};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Task = Box<dyn FnOnce(&Engine) + Send>;

/// The queue that the reader threads share.
pub(super) struct Readers {
    state: Mutex<State>,
    wake: Condvar,
    tasks_max: usize,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    checkpoint: bool,
    closed: bool,
}

impl Readers {
    pub(super) fn new(tasks_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), tasks_max }
    }

    pub(super) fn submit(&self, task: Task) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.tasks.len() >= self.tasks_max {
            return Err(StoreError::QueueFull);
        }
        state.tasks.push_back(task);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Makes one of the readers copy the log into the database, so that the writer need not.
    pub(super) fn checkpoint(&self) {
        self.lock().checkpoint = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            if state.closed {
                return None;
            }
            if std::mem::take(&mut state.checkpoint) {
                return Some(Box::new(copy_log));
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts one thread; `held` is dropped with its connection.
pub(super) fn spawn(
    engine: Engine,
    readers: Arc<Readers>,
    held: impl Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store-reader".to_owned()).spawn(move || {
        while let Some(task) = readers.take() {
            task(&engine);
        }
        drop(engine);
        drop(held);
    })
}

/// Runs `f` in a transaction of its own, so that all its queries see the same state.
pub(super) fn run<T>(
    engine: &Engine,
    f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    engine.begin_read()?;
    let mut tx = engine.tx();
    let outcome =
        catch_unwind(AssertUnwindSafe(|| f(&mut tx))).unwrap_or(Err(StoreError::Panicked));
    engine.clear()?;
    outcome
}

fn copy_log(engine: &Engine) {
    if let Err(error) = engine.copy_log() {
        tracing::warn!(%error, "a checkpoint of the database failed");
    }
}
