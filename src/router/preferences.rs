//! What an account wants to have archived (XEP-0441), in memory beside the store.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Origin, Router};
use crate::jid::BareJid;
use crate::stanza::Stanza;
use crate::store::accounts::AccountId;
use crate::store::preferences::{self, Preferences};
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

impl Router {
    /// Stores what an account wants; durable, and heeded, when it answers. To be called for an account
    /// that has a session, so that its entry is in memory and whoever reads it anew finds this write
    /// queued.
    pub async fn prefer(
        self: &Arc<Self>,
        bare: BareJid,
        account: AccountId,
        preferences: Preferences,
    ) -> Result<(), StoreError> {
        let (told, done) = oneshot::channel();
        let router = self.clone();
        self.store.submit(Box::new(Prefer { router, bare, account, preferences, told }))?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Does the sender's archive keep it? Asked for with the account's lock, but only where the session
    /// knows that there is something to ask.
    pub(super) fn prefers_sent(&self, stanza: &Stanza, origin: &Origin<'_>) -> bool {
        let choosy = origin.sender.is_some_and(|(_, outbox)| outbox.is_choosy());
        let Some(to) = stanza.to().filter(|_| choosy) else { return true };
        self.registry.with(stanza.from().bare_str(), |user| user.keeps(to)).unwrap_or(true)
    }
}

struct Prefer {
    router: Arc<Router>,
    bare: BareJid,
    account: AccountId,
    preferences: Preferences,
    told: oneshot::Sender<Result<(), StoreError>>,
}

impl Job for Prefer {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        preferences::save(tx, self.account, &self.preferences)
    }

    /// Jobs are told in the order of their commits, so memory follows the store whoever else changes
    /// the same.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if outcome.is_ok() {
            let wanted = Some(self.preferences).filter(|wanted| !wanted.is_default());
            let wanted = wanted.map(Box::new);
            self.router.registry.with(self.bare.as_str(), |user| {
                user.resources.iter().for_each(|each| each.outbox.set_choosy(wanted.is_some()));
                user.preferences = wanted;
            });
        }
        let _ = self.told.send(outcome);
    }

    fn repeats(&self) -> bool {
        true
    }
}
