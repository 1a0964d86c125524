//! Access to accounts' entries: only code that runs for an account may touch its entry. The entry has
//! one home; code elsewhere sends a stanza, or asks a question that could also cross a network.

use super::Router;
pub use super::account::Home;
use super::account::{AccountEntry, AccountStatus};
use super::passage::{GuardQuery, Side};
use super::rules::StanzaClass;
use crate::jid::{BareJid, FullJid, Jid};
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::ids::AccountId;

/// The part of an account that its presence subscribers may see.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// What stands behind the address.
    pub account: AccountStatus,
    /// Whether some session is bound, available or not.
    pub connected: bool,
    /// Available resources.
    pub available: Vec<FullJid>,
}

impl Router {
    /// Runs `look` on the entry of the caller's own account, if it is still there.
    pub fn own<T>(&self, home: &Home, look: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.registry.with(home.0.as_str(), look)
    }

    /// Like [`Router::own`], but for changes to the features' state of the account or its sessions.
    pub fn own_sessions<T>(
        &self,
        home: &Home,
        change: impl FnOnce(&mut AccountEntry) -> T,
    ) -> Option<T> {
        self.registry.with_sessions(home.0.as_str(), change)
    }

    /// The right to an account's entry, for what is done on its behalf where neither a session nor a stanza of it is
    /// at hand; the entry is read from the store if it is not there. `None` if there is no such account.
    pub async fn home(&self, bare: &BareJid) -> Result<Option<Home>, StoreError> {
        self.load(bare).await?;
        let stored = |entry: &mut AccountEntry| matches!(entry.account, AccountStatus::Stored(_));
        let is_there = self.registry.with(bare.as_str(), stored).unwrap_or(false);
        Ok(is_there.then(|| Home::of(bare.clone())))
    }

    /// Whether the account lets something of this kind of somebody in.
    pub fn admits(&self, home: &Home, kind: StanzaClass, peer: &Jid) -> bool {
        let query = GuardQuery { side: Side::Incoming, kind, own: home.0.as_str(), peer };
        let asked = |entry: &mut AccountEntry| self.features.guard(entry, &query).ended().is_ok();
        self.registry.with(home.0.as_str(), asked).unwrap_or(false)
    }

    /// Whether the account's own guards let something of this kind out to somebody, who is asked for nothing.
    pub fn lets_send(&self, home: &Home, kind: StanzaClass, peer: &Jid) -> bool {
        let query = GuardQuery { side: Side::Outgoing, kind, own: home.0.as_str(), peer };
        let asked = |entry: &mut AccountEntry| self.features.guard(entry, &query).ended().is_ok();
        self.registry.with(home.0.as_str(), asked).unwrap_or(false)
    }

    /// Looks at another account of this server as one of its subscribers may. `None` both for a
    /// stranger and for an account that does not exist, so that the two look the same.
    pub async fn view_account(&self, at: &Jid, asker: &str) -> Result<Viewed, StoreError> {
        let look = |entry: &mut AccountEntry| {
            let known =
                matches!(entry.account, AccountStatus::Stored(_) | AccountStatus::Temporary);
            (known && entry.subscription(asker).shows_presence()).then(|| AccountView {
                account: entry.account,
                connected: !entry.resources.is_empty(),
                available: entry.available().map(|resource| resource.jid.clone()).collect(),
            })
        };
        for _ in 0..2 {
            if let Some(seen) = self.registry.with(at.bare_str(), look) {
                return Ok(Viewed::Done(seen));
            }
            self.load(&at.bare()).await?;
        }
        Ok(Viewed::Loading)
    }

    /// What somebody else is to an account of this server. `None` if there is no such account, or if its
    /// guards let no request of theirs in: that is for the caller to answer in the same way.
    pub async fn relation(&self, at: &Jid, asker: &Jid) -> Result<Option<Relation>, StanzaError> {
        let query = GuardQuery {
            side: Side::Incoming,
            kind: StanzaClass::IqRequest,
            own: at.bare_str(),
            peer: asker,
        };
        let look = |entry: &mut AccountEntry| match entry.account {
            AccountStatus::Loading => None,
            AccountStatus::Missing | AccountStatus::Temporary => Some(None),
            AccountStatus::Stored(account) => {
                Some(self.features.guard(entry, &query).ended().is_ok().then(|| Relation {
                    account,
                    sees_presence: entry.subscription(asker.bare_str()).shows_presence(),
                    groups: groups(entry, asker.bare_str()),
                }))
            }
        };
        for _ in 0..2 {
            if let Some(Some(found)) = self.registry.with(at.bare_str(), look) {
                return Ok(found);
            }
            self.load(&at.bare()).await?;
        }
        Err(StanzaError::resource_constraint().text("the account is being loaded"))
    }

    /// Any account's entry, for tests.
    #[cfg(test)]
    pub fn entry<T>(&self, bare: &str, look: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.registry.with(bare, look)
    }

    /// Whether the entry of this address belongs to this account.
    pub fn is_home_of(&self, bare: &BareJid, account: AccountId) -> bool {
        let known = self.registry.look(bare.as_str(), |entry| entry.account);
        known == Some(AccountStatus::Stored(account))
    }

    /// Whether this address is in use: by an account, or by an anonymous user as long as it is
    /// connected.
    pub fn is_taken(&self, bare: &BareJid) -> bool {
        let taken = |entry: &mut AccountEntry| {
            matches!(entry.account, AccountStatus::Stored(_) | AccountStatus::Temporary)
        };
        self.registry.with(bare.as_str(), taken).unwrap_or(false)
    }
}

/// What somebody else is to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The account.
    pub account: AccountId,
    /// Whether its subscription shows them the account's presence.
    pub sees_presence: bool,
    /// The groups of the account's roster that they are in.
    pub groups: Vec<String>,
}

fn groups(entry: &AccountEntry, contact: &str) -> Vec<String> {
    let item = entry.roster.get(contact);
    item.map(|item| item.groups().map(str::to_owned).collect()).unwrap_or_default()
}

/// The result of [`Router::view_account`].
#[derive(Debug)]
pub enum Viewed {
    /// The visible part; `None` if the asker may see nothing.
    Done(Option<AccountView>),
    /// Another caller is reading the account at this moment.
    Loading,
}
