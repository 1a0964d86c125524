//! Reads accounts from the store, and applies the changes that are written there.

use super::Router;
use super::account::{AccountStatus, Loaded, RosterChange};
use super::owed::Owed;
use super::registry;
use crate::jid::BareJid;
use crate::store::ids::ArchiveId;
use crate::store::{StoreError, accounts, mailbox, roster};

impl Router {
    /// Reads an account into the registry (existence, roster, what it is owed), if it is not there.
    pub async fn load(&self, bare: &BareJid) -> Result<(), StoreError> {
        if !self.registry.begin_load(bare) {
            return Ok(());
        }
        // promise.md 7: rows may still be queued from when the entry was last in memory. Deferred rows
        // cannot be missed: sessions hold them, so their accounts are in memory.
        self.store.begun().await?;
        let local = bare.local().unwrap_or_default().to_owned();
        let host = bare.domain().to_owned();
        let (store, index_runs) = (self.store.clone(), self.store.index_runs());
        let features = self.features.clone();
        let read = self.store.read(move |tx| {
            let Some(account) = accounts::find(tx, &local, &host)? else { return Ok(None) };
            let behind = store.is_behind(ArchiveId::of(account.id), index_runs);
            let owed = Owed::stored(mailbox::owed(tx, account.id, behind)?);
            let roster = roster::load(tx, account.id)?;
            let features = features.load(tx, account.id)?;
            let loaded = Loaded { role: account.role, roster, owed, features };
            Ok(Some((account.id, loaded)))
        });
        let (account, loaded) = match read.await {
            Ok(Some((id, loaded))) => (AccountStatus::Stored(id), loaded),
            Ok(None) => (AccountStatus::Missing, Loaded::default()),
            Err(error) => {
                self.registry.load_failed(bare.as_str());
                return Err(error);
            }
        };
        self.registry.end_load(bare, account, loaded);
        Ok(())
    }

    /// Makes a committed roster change visible and hands the pushes to `push`, in version order. Returns
    /// changes that came before this one, which they had to wait for.
    pub fn roster_changed(
        &self,
        bare: &str,
        change: RosterChange,
        push: impl Fn(&RosterChange, &registry::Push),
    ) -> Vec<RosterChange> {
        let ver = change.ver;
        let visible = self.registry.roster_changed(bare, change);
        for (change, targets) in &visible {
            targets.iter().for_each(|target| push(change, target));
        }
        visible.into_iter().map(|(change, _)| change).filter(|change| change.ver != ver).collect()
    }
}
