//! Whose nodes a request is for, and what the asker is to them.

use super::defaults::defaults;
use crate::jid::{BareJid, Jid};
use crate::modules::Config;
use crate::modules::api::Cx;
use crate::modules::pubsub::{Asker, Kind, Service, ServiceKey};
use crate::stanza::StanzaError;
use crate::store::ids::AccountId;

/// An account whose nodes are read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its key.
    pub account: AccountId,
    /// Its address.
    pub jid: BareJid,
}

impl Owner {
    /// The requesting account.
    pub fn requesting(cx: &Cx) -> Result<Self, StanzaError> {
        Ok(Self { account: cx.account()?, jid: cx.bare() })
    }

    /// As the engine sees it.
    pub fn service(&self, config: &Config) -> Service {
        service(self.account, self.jid.clone(), config)
    }

    /// The account as asker of its own.
    pub fn asker(&self) -> Asker {
        Asker::owner(self.jid.clone().into())
    }
}

fn service(account: AccountId, jid: BareJid, config: &Config) -> Service {
    let (key, limits) = (ServiceKey::of(account), config.pep.limits());
    Service { key, jid, kind: Kind::Pep, limits, defaults }
}

/// Somebody's question to an account.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The account; `None` if there is none, or none for this asker.
    pub owner: Option<Owner>,
    /// The account as the engine sees it; without one, a service that has no nodes, so that both are
    /// answered the same.
    pub service: Service,
    /// The asker.
    pub asker: Asker,
}

/// Finds out about an address. Of other accounts the guards are asked first.
pub(super) async fn asked(cx: &Cx, to: Option<&Jid>) -> Result<Asked, StanzaError> {
    let own = cx.client().map(|client| client.jid.bare());
    match to.map(Jid::bare).or_else(|| own.clone()) {
        Some(at) if Some(&at) == own.as_ref() => {
            let owner = Owner { account: cx.account()?, jid: at };
            let service = owner.service(&cx.config);
            Ok(Asked { owner: Some(owner), service, asker: Asker::owner(cx.jid().clone()) })
        }
        Some(at) => of_other(cx, at).await,
        None => Err(StanzaError::item_not_found()),
    }
}

async fn of_other(cx: &Cx, at: BareJid) -> Result<Asked, StanzaError> {
    // Whoever may ask in the account's name is no client of it, but the account all the same.
    let mut asker = match cx.jid().bare() == at {
        true => Asker::owner(cx.jid().clone()),
        false => Asker::stranger(cx.jid().clone()),
    };
    let Some(relation) = cx.router.relation(&at, cx.jid()).await? else {
        let service = service(NOBODY, at, &cx.config);
        return Ok(Asked { owner: None, service, asker });
    };
    (asker.sees_presence, asker.groups) = (relation.sees_presence, relation.groups);
    let owner = Owner { account: relation.account, jid: at };
    Ok(Asked { service: owner.service(&cx.config), owner: Some(owner), asker })
}

/// No account has this key.
const NOBODY: AccountId = AccountId(0);
