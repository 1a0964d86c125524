//! A write, as the writer's queue holds it.

use std::task::Waker;

use super::handled::DurableCount;
use super::tx::{StoreError, Tx};

/// A write whose caller is notified of its outcome.
pub trait Job: Send {
    /// Runs inside the batch's transaction: an error or a panic undoes this job's changes only.
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError>;

    /// Called once, after the COMMIT of the batch or its failure, on the writer's thread: keep it short. `Ok`
    /// means durable.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>);

    /// Like [`Job::settled`], but may leave tasks to be woken once each, after the whole batch is settled.
    fn settled_with(
        self: Box<Self>,
        outcome: Result<(), StoreError>,
        _wake: &mut dyn FnMut(Waker),
    ) {
        self.settled(outcome);
    }

    /// Its size in the queue.
    fn bytes(&self) -> usize {
        0
    }

    /// The handled count of the job's stream once this job is done: written in the same transaction.
    fn durable_count(&self) -> Option<DurableCount> {
        None
    }

    /// Whether nobody waits for it yet, so that it may wait a moment for others to share its commit: until
    /// somebody does ([`super::Store::hurry`]), or another job comes. It keeps its place in the queue.
    fn is_patient(&self) -> bool {
        false
    }

    /// Whether it may run again after its changes were undone. Such jobs share a savepoint, which costs a
    /// copy of every page they touch; when one fails, all are undone and each runs in its own.
    fn repeats(&self) -> bool {
        false
    }

    /// Its name for the log.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}
