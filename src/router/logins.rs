//! What the last logins of an account left, asked and told.

use super::Router;
use super::access::Access;
use super::account::{Account, User};
use crate::base::credential::{AgentId, HashName, ScramKeys};
use crate::store::AccessVersion;
use crate::store::ids::AccountId;
use crate::stream::sasl::throttle::Key;

impl Router {
    /// Whether one of the account's last logins was from this address.
    pub fn was_entered_from(&self, bare: &str, from: &Key) -> bool {
        let is_from = |user: &mut User| user.access.as_ref().is_some_and(|one| one.is_from(from));
        self.registry.with(bare, is_from).unwrap_or(false)
    }

    /// What the last login of this account from this address left: its key, its epoch, and what opens it.
    pub fn remembered(
        &self,
        bare: &str,
        version: AccessVersion,
        from: &Key,
        hash: HashName,
    ) -> Option<(AccountId, i64, ScramKeys)> {
        self.registry.with(bare, |user| {
            let access = user.access.as_ref()?;
            let keys = access.keys(version, from, hash)?;
            let same = user.account == Account::Stored(access.account);
            same.then_some((access.account, access.epoch, keys))
        })?
    }

    /// A login succeeded from this address: by these keys, or by a token or as the last time.
    pub fn entered(&self, bare: &str, from: &Key, access: Option<Access>) {
        self.registry.with(bare, |user| match access {
            Some(access) => user.access = Some(Box::new(access.after(user.access.as_deref()))),
            None => user.access.iter_mut().for_each(|access| access.also_from(from)),
        });
    }

    /// The devices of the account that have a session.
    pub fn devices_online(&self, bare: &str) -> Vec<AgentId> {
        let agents = |user: &mut User| user.resources.iter().filter_map(|one| one.agent).collect();
        self.registry.with(bare, agents).unwrap_or_default()
    }
}
