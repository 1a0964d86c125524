//! Changes to the stored data of an account: first in the store, then in its entry.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Router;
use super::account::AccountEntry;
use crate::jid::BareJid;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

impl Router {
    /// Writes data of an account and then changes its entry; when it returns, the change is durable and
    /// in effect, whether the account is in memory, is being read, or is not there. Returns the result of
    /// `apply`, or `None` if no entry is loaded.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        bare: BareJid,
        write: impl FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send + 'static,
        apply: impl FnOnce(&mut AccountEntry) -> T + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let (told, done) = oneshot::channel();
        let (router, room) = (self.clone(), self.store.room_if_crowded().await);
        self.store.submit(Box::new(Change { router, bare, write, apply, told }))?;
        drop(room);
        done.await.unwrap_or(Err(StoreError::Closed))
    }
}

struct Change<W, A, T> {
    router: Arc<Router>,
    bare: BareJid,
    write: W,
    apply: A,
    told: oneshot::Sender<Result<Option<T>, StoreError>>,
}

impl<W, A, T> fmt::Debug for Change<W, A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("bare", &self.bare).finish_non_exhaustive()
    }
}

impl<W, A, T> Job for Change<W, A, T>
where
    W: FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send,
    A: FnOnce(&mut AccountEntry) -> T + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        (self.write)(tx)
    }

    /// Jobs are settled in the order of their commits, so memory follows the store even if others
    /// change the same data.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { router, bare, apply, told, .. } = *self;
        let applied = outcome.map(|()| {
            let applied = router.registry.with_sessions(bare.as_str(), apply);
            if applied.is_none() {
                router.registry.reread(bare.as_str());
            }
            applied
        });
        let _ = told.send(applied);
    }

    fn repeats(&self) -> bool {
        true
    }
}
