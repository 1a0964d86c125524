//! What a handler may do with what it sees.

use std::future::Future;

use super::module::{Cx, Target};
use super::requester::Client;
use crate::jid::{BareJid, Jid};
use crate::router::Leads;
use crate::router::home::{AccountView, Viewed};
use crate::router::registry::AccountEntry;
use crate::stanza::StanzaError;
use crate::store::ids::AccountId;

impl Cx {
    /// The address that asks.
    pub fn jid(&self) -> &Jid {
        self.who.jid()
    }

    /// The asking account's address.
    pub fn bare(&self) -> BareJid {
        self.jid().bare()
    }

    /// The asking session, if it is one of this server.
    pub fn client(&self) -> Option<&Client> {
        self.who.client()
    }

    /// Its number in the registry; 0 for whoever is no session.
    pub fn session(&self) -> u64 {
        self.client().map_or(0, |client| client.session)
    }

    /// The asking account, or `not-allowed` for whoever owns nothing: anonymous users, other entities.
    pub fn account(&self) -> Result<AccountId, StanzaError> {
        self.client().and_then(|client| client.account).ok_or_else(StanzaError::not_allowed)
    }

    /// Which [`Target`] an address is for this session; `None` when it is not the server's to answer.
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

    /// Runs `look` on the entry of the asking account; none for whoever has none, and when it is gone.
    pub fn own<T>(&self, look: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.router.own(&self.client()?.home, look)
    }

    /// The same for changes of what modules keep for the account or its sessions.
    pub fn own_sessions<T>(&self, change: impl FnOnce(&mut AccountEntry) -> T) -> Option<T> {
        self.router.own_sessions(&self.client()?.home, change)
    }

    /// Looks at another local account as one of its subscribers may. `None` for a stranger and for
    /// an account that does not exist, so that nobody can tell one from the other.
    pub async fn look(&self, at: &Jid) -> Result<Option<AccountView>, StanzaError> {
        match self.router.view_account(at, self.jid().bare_str()).await? {
            Viewed::Done(seen) => Ok(seen),
            Viewed::Loading => {
                Err(StanzaError::resource_constraint().text("the account is being loaded"))
            }
        }
    }

    /// Runs `work` to its end, also when the session that asked goes away meanwhile.
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
