//! XEP-0480: what an account has keys for, and the keys that its client made for it.

use super::negotiate::Negotiation;
use super::stage::Admitted;
use crate::base::credential::{HashName, ScramKeys};
use crate::store::accounts;

impl Negotiation {
    /// The hashes that the account has keys for; all, where none can be added.
    pub(super) async fn hashes(&mut self) -> Vec<HashName> {
        let all = HashName::ALL.to_vec();
        let Some(account) = self.stage.admitted().and_then(Admitted::account) else { return all };
        let hashes = self.context.router.store.read(move |tx| accounts::hashes(tx, account));
        hashes.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an account's keys could not be read: it is not upgraded");
            all
        })
    }

    /// Keeps keys. Somebody else may have added such keys meanwhile: they are of the same password. The
    /// login is as good without.
    pub(super) async fn add_keys(&mut self, keys: ScramKeys) {
        let login = self.stage.admitted().and_then(|admitted| admitted.login.as_ref());
        // Never by token: what it makes would outlive it.
        let Some(by) = login.map(|login| &login.by).filter(|by| by.token.is_none()) else { return };
        let (account, epoch) = (by.id, by.epoch);
        let write =
            move |tx: &mut dyn crate::store::Tx| accounts::add_keys(tx, account, epoch, &keys);
        if let Err(error) = self.context.router.store.write(write).await {
            tracing::error!(%error, "an account could not be upgraded");
        }
    }
}
