//! The only place that spawns: tasks are named, counted, and drained at shutdown.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tracing::Instrument;

/// Counts the tasks of one server.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    /// How many of these wait for the others to end.
    parked: AtomicUsize,
    idle: Notify,
}

/// Held by a task that waits until the others have ended.
pub struct Parked(Arc<Count>);

struct Running(Arc<Count>);

/// Drops the work before it counts as ended.
struct Counted {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    _running: Running,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.work.as_mut().poll(cx)
    }
}

impl Tasks {
    /// Runs the future on the runtime; `name` is its span in the log.
    #[allow(clippy::disallowed_methods)]
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(self.0.clone());
        let span = tracing::debug_span!("task", name);
        // No `async` block: it would have room for the work twice, and a session's work is most of what an
        // idle session costs.
        tokio::spawn(Counted { work: Box::pin(work.instrument(span)), _running: running });
    }

    /// How many tasks run now.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Relaxed)
    }

    /// Counts the calling task as one that waits for the others to end.
    pub fn park(&self) -> Parked {
        self.0.parked.fetch_add(1, Ordering::AcqRel);
        self.0.idle.notify_waiters();
        Parked(self.0.clone())
    }

    /// Waits until no task runs. The caller bounds the wait.
    pub async fn ended(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.running() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits until no task runs except the parked ones. The caller bounds the wait.
    pub async fn drained(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.running() <= self.0.parked.load(Ordering::Acquire) {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.parked.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let left = self.0.running.fetch_sub(1, Ordering::AcqRel) - 1;
        if left <= self.0.parked.load(Ordering::Acquire) {
            self.0.idle.notify_waiters();
        }
    }
}
