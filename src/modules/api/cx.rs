//! What a handler can do with its context.

use std::future::Future;

use super::create::Create;
use super::module::{Cx, Target};
use super::requester::Client;
use crate::base::role::Role;
use crate::jid::{BareJid, Jid};
use crate::router::Leads;
use crate::router::home::{AccountView, Viewed};
use crate::router::registry::AccountEntry;
use crate::stanza::StanzaError;
use crate::store::ids::AccountId;

impl Cx {
    /// The address of the requester.
    pub fn jid(&self) -> &Jid {
        self.who.jid()
    }

    /// The bare JID of the requesting account.
    pub fn bare(&self) -> BareJid {
        self.jid().bare()
    }

    /// Whether the requester is one of those who may create something.
    pub fn is_among(&self, creators: Create) -> bool {
        match creators {
            Create::Anyone => true,
            Create::Accounts => self.account().is_ok(),
            Create::Operators => self.role() >= Role::Operator,
        }
    }

    /// The requesting session, if it is a client of this server.
    pub fn client(&self) -> Option<&Client> {
        self.who.client()
    }

    /// Its number in the registry; 0 if the requester is not a session.
    pub fn session(&self) -> u64 {
        self.client().map_or(0, |client| client.session)
    }

    /// The requesting account, or `not-allowed` for a requester without one: anonymous users, other entities.
    pub fn account(&self) -> Result<AccountId, StanzaError> {
        self.client().and_then(|client| client.account).ok_or_else(StanzaError::not_allowed)
    }

    /// What the requester may do to the server: what its account was given, or the configuration says.
    /// Known in memory, and changed while the session lasts; a user's for whoever has no account.
    pub fn role(&self) -> Role {
        if self.account().is_err() {
            return Role::User;
        }
        let given = self.own(|entry| entry.role).unwrap_or_default();
        given.max(self.config.admins.role(self.jid().bare_str()))
    }

    /// The requester's role, or `forbidden` if it is less than that.
    pub fn at_least(&self, role: Role) -> Result<Role, StanzaError> {
        let own = self.role();
        if own >= role { Ok(own) } else { Err(StanzaError::forbidden()) }
    }

    /// The [`Target`] that an address is for this session; `None` if the server does not answer for it.
    pub fn target(&self, to: Option<&Jid>) -> Option<Target> {
        let Some(to) = to else { return self.client().map(|_| Target::Own) };
        match self.router.leads(to) {
            Leads::Server => Some(Target::Server),
            Leads::Service(_) if to.is_domain() && to.is_bare() => Some(Target::Service),
            Leads::Account if to.is_bare() => {
                let own = self.client().is_some_and(|client| to.as_str() == client.jid.bare_str());
                Some(if own { Target::Own } else { Target::Other })
            }
            Leads::Account | Leads::Service(_) | Leads::Elsewhere => None,
        }
    }

    /// Runs `look` on the entry of the requesting account. `None` if the requester has no account, or its
    /// entry is gone.
    pub fn own<T>(&self, look: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.router.own(&self.client()?.home, look)
    }

    /// Like [`Self::own`], for changes of what modules hold for the account or its sessions.
    pub fn own_sessions<T>(&self, change: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.router.own_sessions(&self.client()?.home, change)
    }

    /// Reads another local account as one of its subscribers may. `None` both for a requester that is no
    /// subscriber and for an account that does not exist, so that the two cannot be told apart.
    pub async fn look(&self, at: &Jid) -> Result<Option<AccountView>, StanzaError> {
        match self.router.view_account(at, self.jid().bare_str()).await? {
            Viewed::Done(seen) => Ok(seen),
            Viewed::Loading => {
                Err(StanzaError::resource_constraint().text("the account is being loaded"))
            }
        }
    }

    /// Runs `work` to completion, even if the requesting session ends meanwhile.
    pub async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StanzaError>> + Send + 'static,
    ) -> Result<T, StanzaError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.router.tasks.spawn(name, async move {
            let _ = done.send(work.await);
        });
        outcome.await.unwrap_or_else(|_| Err(StanzaError::internal_server_error()))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::role::Role;
    use crate::jid::BareJid;
    use crate::modules::Config;
    use crate::modules::testing::Server;
    use crate::store::accounts;
    use crate::store::tx::Tx;

    /// Given by the store, taken live, and named by the configuration.
    #[tokio::test]
    async fn a_role_is_known_without_the_store_and_changes_live() {
        let mut config = Config::default();
        config.admins.operators.push("juliet@montague.example".to_owned());
        config.admins.owners.push("ghost@montague.example".to_owned());
        let server = Server::new(config);
        let id = server.account("romeo", &[]).await;
        server.account("juliet", &[]).await;
        let give = move |role| {
            move |tx: &mut dyn Tx| accounts::set_role(tx, id, role).map(|there| assert!(there))
        };
        server.store().write(give(Role::Operator)).await.unwrap();
        let romeo = server.session("romeo@montague.example/orchard").await;
        let juliet = server.session("juliet@montague.example/balcony").await;
        assert_eq!((romeo.role(), juliet.role()), (Role::Operator, Role::Operator));
        let bare = BareJid::parse("romeo@montague.example").unwrap();
        for role in [Role::Owner, Role::User] {
            let applied = romeo.router.change(bare.clone(), give(role), move |e| e.role = role);
            assert_eq!(applied.await.unwrap(), Some(()));
            assert_eq!(romeo.role(), role);
        }
        assert!(romeo.at_least(Role::Operator).is_err() && juliet.at_least(Role::Owner).is_err());
        // Neither a stranger nor an anonymous user of a name that the configuration has is an admin.
        assert_eq!(server.cx.role(), Role::User);
        let ghost = server.session("ghost@montague.example/x").await;
        assert_eq!(ghost.role(), Role::User);
    }
}
