//! The image that presence shows, once an account's nodes are taken.

use super::nodes::METADATA;
use super::stored;
use crate::modules::api::{Holder, Moves, Taking, Untaken};
use crate::modules::pubsub::moves;
use crate::modules::pubsub::{Kind, Limits, NodeConfig, Request, Service, ServiceKey};
use crate::store::tx::StoreError;

/// Nothing of its own.
pub(super) const MOVES: Moves = Moves { settle: Some(settle), ..Moves::NONE };

fn settle(taking: &mut Taking<'_>) -> Result<Vec<Untaken>, StoreError> {
    if taking.owner.holder != Holder::Account {
        return Ok(Vec::new());
    }
    let service = Service {
        key: ServiceKey::of(taking.owner.account()),
        jid: taking.owner.jid.clone(),
        kind: Kind::Pep,
        limits: Limits::default(),
        defaults: |_| NodeConfig::of_pep(),
    };
    let changed = Request::Purge(METADATA.to_owned());
    match stored::follow(taking.tx, &service, &changed)? {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            tracing::debug!(why = moves::why(&error), "an avatar is not shown");
            Ok(Vec::new())
        }
    }
}
