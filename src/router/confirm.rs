//! Confirmed messages leave the store, behind (promise.md 2).

use std::sync::Arc;

use super::Router;
use super::registry::{Account, User};
use crate::store::accounts::AccountId;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError, mailbox};

/// Until the deletion is durable the rows stay in the account's books, as confirmed: a drain that
/// reads them passes them over, and a deletion that failed is tried again with the next one.
pub(super) fn confirm(router: &Arc<Router>, bare: &str, seqs: &[i64]) {
    let confirmed = router.registry.with(bare, |user| {
        let Account::Stored(account) = user.account else { return None };
        seqs.iter().for_each(|seq| user.owed.confirm(*seq));
        let seqs = user.owed.to_delete();
        (!seqs.is_empty()).then_some((account, seqs))
    });
    if let Some(Some((account, seqs))) = confirmed {
        let (router, bare) = (router.clone(), bare.to_owned());
        let store = router.store.clone();
        store.write_behind(Box::new(Deletion { router, account, bare, seqs }));
    }
}

struct Deletion {
    router: Arc<Router>,
    account: AccountId,
    bare: String,
    seqs: Vec<i64>,
}

impl Job for Deletion {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        mailbox::confirm(tx, self.account, &self.seqs).map(drop)
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = &outcome {
            tracing::warn!(%error, "confirmed messages could not be deleted; tried again later");
        }
        let settle = |user: &mut User| {
            self.seqs.iter().for_each(|seq| user.owed.deleted(*seq, outcome.is_ok()));
        };
        // No entry: the account is gone.
        self.router.registry.with(&self.bare, settle);
    }
}
