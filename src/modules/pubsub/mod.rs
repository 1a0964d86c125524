//! XEP-0060: Publish-Subscribe, the engine: it reads requests, does them in a transaction, and says who is to
//! be told what. It answers no addresses and sends nothing: that is for accounts (XEP-0163) and services. What both
//! of them need for that is here, too: the order of events (`feed`), and service discovery (`disco`).

use super::api::{Module, Spec};
use crate::jid::BareJid;
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

mod access;
mod config;
mod direct;
pub(super) mod disco;
mod engine;
mod errors;
mod event;
mod feed;
mod fields;
mod forms;
mod manage;
pub mod moves;
mod publish;
pub(super) mod request;
mod retrieve;
mod rows;
pub(super) mod service;
mod subscribe;
mod work;

pub use access::{Affiliation, Asker, Standing, SubState};
pub use config::{
    AccessModel, Bound, ItemReply, NodeConfig, NodeFull, NotificationType, PublishModel, SendLast,
};
pub use direct::{
    audience, delete_all, gone_offline, is_subscribed, item, item_ids, items, last_items, newest,
    node_config, node_info, nodes, nodes_on_presence, owned, pending, purges_offline, recheck,
    unreachable,
};
pub use engine::handle;
pub use event::{Audience, EVENT, Event, EventKind, Item, Outcome, To};
pub use feed::{Batch, Feeds, Telling};
pub use forms::Settings;
pub use request::{NewItem, Publish, Request};
pub use retrieve::Listed;
pub use service::{FEATURES, FEATURES_OF_PEP, Kind, Limits, Service, ServiceKey};

/// The module.
pub const MODULE: Module = Module {
    name: "pubsub",
    specs: &[Spec::partial(
        "XEP-0060",
        "1.30.0",
        "no subscription options and so no digests (§6.3), one subscription for an address (§6.1.6), no \
         collections, no message bodies or XSLT (§12.8), no leases (§12.19)",
        "src/modules/pubsub/tests/mod.rs",
    )],
    sql: &[rows::CATALOGUE, rows::weights::CATALOGUE],
    weights: rows::weights::ALL,
    account_deleted: Some(deleted),
    ..Module::EMPTY
};

/// Its nodes go, and what it is at others' nodes: the next one to have its name is somebody else.
fn deleted(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    rows::delete_all(tx, ServiceKey::of(account))?;
    let Some(Some((local, host))) = accounts::name(tx, account)? else { return Ok(()) };
    match BareJid::from_parts(Some(&local), &host) {
        Ok(jid) => rows::forget(tx, jid.as_str()),
        // A name that is none was never anything anywhere.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
