//! What is kept of an account changes: in the store first, then in its entry.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Router;
use super::registry::User;
use crate::jid::BareJid;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

impl Router {
    /// Writes something of an account, and then changes its entry; durable, and heeded, when it answers.
    /// To be called for an account that has a session, so that its entry is in memory and whoever reads
    /// it anew finds this write queued.
    pub async fn change(
        self: &Arc<Self>,
        bare: BareJid,
        write: impl FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send + 'static,
        apply: impl FnOnce(&mut User) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (told, done) = oneshot::channel();
        let (router, room) = (self.clone(), self.store.room_if_crowded().await);
        self.store.submit(Box::new(Change { router, bare, write, apply, told }))?;
        drop(room);
        done.await.unwrap_or(Err(StoreError::Closed))
    }
}

struct Change<W, A> {
    router: Arc<Router>,
    bare: BareJid,
    write: W,
    apply: A,
    told: oneshot::Sender<Result<(), StoreError>>,
}

impl<W, A> fmt::Debug for Change<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("bare", &self.bare).finish_non_exhaustive()
    }
}

impl<W, A> Job for Change<W, A>
where
    W: FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send,
    A: FnOnce(&mut User) + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        (self.write)(tx)
    }

    /// Jobs are told in the order of their commits, so memory follows the store whoever else changes
    /// the same.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { router, bare, apply, told, .. } = *self;
        if outcome.is_ok() {
            router.registry.with_sessions(bare.as_str(), apply);
        }
        let _ = told.send(outcome);
    }

    fn repeats(&self) -> bool {
        true
    }
}
