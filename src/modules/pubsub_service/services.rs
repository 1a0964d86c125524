//! The services of the hosted domains, as the engine sees them, and what somebody is to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rows;
use crate::base::role::Role;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::modules::pubsub::{Asker, Feeds, Kind, NodeConfig, Service, ServiceKey};
use crate::stanza::StanzaError;

/// What is kept of the services in memory.
#[derive(Debug, Default)]
pub struct Services {
    /// What is told to whom, in order.
    pub(super) feeds: Feeds,
    /// By domain: as many as are served.
    keys: Mutex<HashMap<String, ServiceKey>>,
    pub(super) purging: Purging,
}

/// Whether nodes are there that delete what somebody published who goes offline: there hardly ever are, and
/// nobody who goes offline is to cost a look into the store.
#[derive(Debug, Default)]
pub(super) struct Purging(AtomicU8);

impl Purging {
    /// None if nobody has looked yet.
    pub(super) fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            known => Some(known == 2),
        }
    }

    /// One was made.
    pub(super) fn begin(&self) {
        self.0.store(2, Ordering::Release);
    }

    /// What was found, unless one was made meanwhile.
    pub(super) fn found(&self, any: bool) {
        let value = if any { 2 } else { 1 };
        let _ = self.0.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Cx {
    /// What is kept of pubsub services.
    pub(super) fn services(&self) -> &Services {
        &self.server.shared().pubsub_service
    }
}

/// The service at this domain, and what the requester is to it.
pub(super) async fn asked(cx: &Cx, at: &BareJid) -> Result<(Service, Asker), StanzaError> {
    let config = &cx.config.pubsub_service;
    let is_operator = cx.role() >= Role::Operator;
    let may_create = cx.is_among(config.create);
    let asker = Asker { may_create, is_owner: is_operator, ..Asker::stranger(cx.jid().clone()) };
    Ok((service(cx, at, is_operator).await?, asker))
}

/// The service at this domain.
pub(super) async fn service(
    cx: &Cx,
    at: &BareJid,
    is_operator: bool,
) -> Result<Service, StanzaError> {
    let key = key(cx, at.domain()).await?;
    let limits = cx.config.pubsub_service.limits(is_operator);
    let defaults = |_: &str| NodeConfig::of_service();
    Ok(Service { key, jid: at.clone(), kind: Kind::Service, limits, defaults })
}

async fn key(cx: &Cx, domain: &str) -> Result<ServiceKey, StanzaError> {
    let keys = &cx.services().keys;
    let known = keys.lock().unwrap_or_else(PoisonError::into_inner).get(domain).copied();
    if let Some(key) = known {
        return Ok(key);
    }
    let of = domain.to_owned();
    let found = cx.store.read(move |tx| rows::find(tx, &of)).await?;
    let key = match found {
        Some(key) => key,
        None => {
            let of = domain.to_owned();
            cx.store.write(move |tx| rows::number(tx, &of)).await?
        }
    };
    keys.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.to_owned(), key);
    Ok(key)
}
