//! Confirmed messages, which reach the store by write-behind (promise.md 2).

use std::sync::Arc;

use super::Router;
use super::account::{AccountEntry, AccountStatus};
use crate::store::ids::AccountId;
use crate::store::mailbox::{self, Settled};
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

impl Router {
    /// Notes that a session of the account confirmed these rows: they are no longer owed.
    pub fn confirm(self: &Arc<Self>, bare: &str, seqs: &[i64]) {
        confirm(self, bare, seqs);
    }
}

/// Marks the rows as no longer owed. Changes that the store needs are written within a second, once for
/// all confirmations until then.
fn confirm(router: &Arc<Router>, bare: &str, seqs: &[i64]) {
    let settled = router.registry.with(bare, |entry| {
        // Rows whose write has not begun need not be written at all.
        let needless: Vec<_> = seqs.iter().map(|seq| entry.deferred.cancel(*seq)).collect();
        for (seq, needless) in seqs.iter().zip(&needless) {
            entry.owed.confirm(*seq, needless.is_none());
        }
        // The caller drops this after the lock is released: it wakes the tasks that wait for the rows'
        // tickets.
        (needless, unsaved(entry))
    });
    if let Some((_, Some((account, settled)))) = settled {
        save(router, bare, account, settled);
    }
}

fn unsaved(entry: &mut AccountEntry) -> Option<(AccountId, Settled)> {
    let AccountStatus::Stored(account) = entry.account else { return None };
    entry.owed.save().map(|settled| (account, settled))
}

fn save(router: &Arc<Router>, bare: &str, account: AccountId, settled: Settled) {
    let (router, bare) = (router.clone(), bare.to_owned());
    let store = router.store.clone();
    store.write_behind(Box::new(Save { router, account, bare, settled }));
}

struct Save {
    router: Arc<Router>,
    account: AccountId,
    bare: String,
    settled: Settled,
}

impl Job for Save {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        mailbox::settle(tx, self.account, &self.settled)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { router, bare, settled, .. } = *self;
        if let Err(error) = &outcome {
            // The store itself logs once that it takes no writes.
            tracing::debug!(%error, "what was confirmed could not be saved; tried again later");
        }
        let durable = outcome.is_ok();
        // No entry: the account is gone.
        router.registry.with(&bare, |entry: &mut AccountEntry| entry.owed.saved(settled, durable));
        if durable {
            // Confirmations made meanwhile. After a failure only the next confirmation tries again.
            if let Some(Some((account, settled))) = router.registry.with(&bare, unsaved) {
                save(&router, &bare, account, settled);
            }
        }
    }
}
