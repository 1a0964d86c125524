//! What the registry remembers of an account's last logins.

use super::Router;
use super::access::Access;
use super::account::{AccountEntry, AccountStatus};
use crate::base::credential::{AgentId, HashName, ScramKeys};
use crate::store::AccessVersion;
use crate::store::ids::AccountId;
use crate::stream::sasl::throttle::Key;

impl Router {
    /// Whether one of the account's last logins was from this address.
    pub fn was_entered_from(&self, bare: &str, from: &Key) -> bool {
        let is_from =
            |entry: &mut AccountEntry| entry.access.as_ref().is_some_and(|one| one.is_from(from));
        self.registry.with(bare, is_from).unwrap_or(false)
    }

    /// Returns what the last login of this account from this address left: account, epoch and keys.
    pub fn remembered(
        &self,
        bare: &str,
        version: AccessVersion,
        from: &Key,
        hash: HashName,
    ) -> Option<(AccountId, i64, ScramKeys)> {
        self.registry.with(bare, |entry| {
            let access = entry.access.as_ref()?;
            let keys = access.keys(version, from, hash)?;
            let same = entry.account == AccountStatus::Stored(access.account);
            same.then_some((access.account, access.epoch, keys))
        })?
    }

    /// Records a login from this address. `access` has its keys; `None` for a token or remembered keys.
    pub fn entered(&self, bare: &str, from: &Key, access: Option<Access>) {
        self.registry.with(bare, |entry| match access {
            Some(access) => entry.access = Some(Box::new(access.after(entry.access.as_deref()))),
            None => entry.access.iter_mut().for_each(|access| access.also_from(from)),
        });
    }

    /// The devices of the account that have a session.
    pub fn devices_online(&self, bare: &str) -> Vec<AgentId> {
        let agents =
            |entry: &mut AccountEntry| entry.resources.iter().filter_map(|one| one.agent).collect();
        self.registry.with(bare, agents).unwrap_or_default()
    }
}
