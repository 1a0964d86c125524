//! Tickets: which of a stream's stanzas still have writes on the way (promise.md 4).
//!
//! A stanza that causes a write takes a ticket; whoever queues the write clones it into the job.
//! When the last clone is dropped the stanza counts as handled. `handled` is the length of the
//! unbroken run, what XEP-0198 calls `h`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One stream's account of its stanzas. Shared with the tickets it issued.
#[derive(Debug, Default)]
pub struct Ledger {
    runs: Mutex<Runs>,
    /// `handled` grew.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Runs {
    /// Stanzas before this one are all handled.
    handled: u64,
    /// From `handled` on: is each released?
    open: VecDeque<bool>,
}

/// Held by everyone who still writes for one stanza. Dropping the last clone releases it.
#[derive(Debug, Clone)]
pub struct Ticket {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Ticket {
    /// Waits until every earlier stanza of the stream is handled.
    pub async fn predecessors(&self) {
        let Held { ledger, number } = &*self.held;
        loop {
            let wake = ledger.moved.notified();
            if ledger.handled() >= *number {
                return;
            }
            wake.await;
        }
    }
}

impl Ledger {
    /// A ticket for the stream's next stanza.
    pub fn issue(self: &Arc<Self>) -> Ticket {
        let mut runs = self.lock();
        let number = runs.handled + runs.open.len() as u64;
        runs.open.push_back(false);
        drop(runs);
        Ticket { held: Arc::new(Held { ledger: self.clone(), number }) }
    }

    /// Counts a stanza that owes nothing; it never overtakes an earlier one.
    pub fn pass(&self) {
        let mut runs = self.lock();
        if runs.open.is_empty() {
            runs.handled += 1;
        } else {
            runs.open.push_back(true);
        }
    }

    /// The unbroken run of handled stanzas.
    pub fn handled(&self) -> u64 {
        self.lock().handled
    }

    /// True when every stanza so far is handled.
    pub fn is_settled(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Waits until nothing is open. The caller bounds the wait.
    pub async fn settled(&self) {
        loop {
            let wake = self.moved.notified();
            if self.is_settled() {
                return;
            }
            wake.await;
        }
    }

    fn release(&self, number: u64) {
        let mut runs = self.lock();
        let place = usize::try_from(number - runs.handled).unwrap_or(usize::MAX);
        if let Some(open) = runs.open.get_mut(place) {
            *open = true;
        }
        let before = runs.handled;
        while runs.open.front() == Some(&true) {
            runs.open.pop_front();
            runs.handled += 1;
        }
        let moved = runs.handled > before;
        if runs.open.is_empty() {
            runs.open.shrink_to_fit();
        }
        drop(runs);
        if moved {
            self.moved.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.release(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_breaks_at_the_first_open_ticket() {
        let ledger = Arc::new(Ledger::default());
        let first = ledger.issue();
        ledger.pass();
        let third = ledger.issue();
        let clone = third.clone();
        drop(third);
        assert_eq!(ledger.handled(), 0);
        drop(first);
        assert_eq!(ledger.handled(), 2);
        drop(clone);
        assert_eq!(ledger.handled(), 3);
        ledger.pass();
        assert_eq!(ledger.handled(), 4);
    }

    #[tokio::test]
    async fn a_ticket_waits_for_those_before_it_and_no_others() {
        let ledger = Arc::new(Ledger::default());
        let (first, second) = (ledger.issue(), ledger.issue());
        let third = ledger.issue();
        first.predecessors().await;
        tokio::join!(second.predecessors(), async move { drop(first) });
        tokio::join!(async { drop(second) }, third.predecessors());
    }
}
