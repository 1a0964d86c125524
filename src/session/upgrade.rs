//! XEP-0480: the hashes an account has keys for, and new keys made by its client.

use super::negotiate::Negotiation;
use super::stage::Admitted;
use crate::base::credential::{HashName, ScramKeys};
use crate::store::accounts;

impl Negotiation {
    /// Returns the hashes that the account has keys for; all hashes if none can be added.
    pub(super) async fn hashes(&mut self) -> Vec<HashName> {
        let all = HashName::ALL.to_vec();
        let Some(account) = self.stage.admitted().and_then(Admitted::account) else { return all };
        let hashes = self.context.router.store.read(move |tx| accounts::hashes(tx, account));
        hashes.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an account's keys could not be read: it is not upgraded");
            all
        })
    }

    /// Stores keys. Another login may have added such keys meanwhile; they are of the same password. If this
    /// fails, the login is still valid.
    pub(super) async fn add_keys(&mut self, keys: ScramKeys) {
        let login = self.stage.admitted().and_then(|admitted| admitted.login.as_ref());
        // Never after a login by token: the keys would outlive the token.
        let Some(by) = login.map(|login| &login.by).filter(|by| by.token.is_none()) else { return };
        let (account, epoch) = (by.id, by.epoch);
        let write =
            move |tx: &mut dyn crate::store::Tx| accounts::add_keys(tx, account, epoch, &keys);
        if let Err(error) = self.context.router.store.write(write).await {
            tracing::error!(%error, "an account could not be upgraded");
        }
    }
}
