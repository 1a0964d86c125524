//! What [`super::pubsub`] implements, at a domain of its own: nodes for bots and feeds, created, published to and
//! subscribed to by anybody whom they let in.
//!
//! The engine decides and writes. Here is where a service's nodes are (`services`), who asks and how it is
//! done (`act`), and who is told (`tell`).

mod act;
mod config;
mod disco;
mod offline;
mod pending;
mod rows;
mod services;
mod tell;

pub use config::Config;
pub use services::Services;

use super::api::{AccountNodes, Identity, IqHandler, IqRoute, Module, Service, Target};
use super::pubsub::FEATURES;
use crate::stanza::iq::IqType;
use crate::xml::ns;

/// The module.
pub const MODULE: Module = Module {
    name: "pubsub_service",
    service: Some(Service {
        label: |config| Some(&*config.pubsub_service.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "pubsub", ty: "service", name: Some("Feeds") },
        features: &OWN_FEATURES,
        message: act::message,
        presence: act::presence,
        iq: act::iq,
    }),
    service_nodes: Some(AccountNodes { info: disco::info, items: disco::items }),
    iqs: &[
        route(IqType::Get, PUBSUB, "pubsub", act::answer),
        route(IqType::Set, PUBSUB, "pubsub", act::answer),
        route(IqType::Get, OWNER, "pubsub", act::answer),
        route(IqType::Set, OWNER, "pubsub", act::answer),
        route(IqType::Set, ns::COMMANDS, "command", pending::command),
    ],
    presence_changed: Some(|cx, client, stanza| {
        if stanza.ty().as_deref() == Some("unavailable") {
            offline::gone(cx, &client.jid.bare());
        }
    }),
    resource_removed: Some(|cx, resource| offline::gone(cx, &resource.jid.bare())),
    sql: &[rows::CATALOGUE],
    ..Module::EMPTY
};

const fn route(ty: IqType, ns: &'static str, name: &'static str, handler: IqHandler) -> IqRoute {
    IqRoute { ty, ns, name, targets: &[Target::Service], handler }
}

/// What the engine can do, and the service besides.
#[allow(clippy::indexing_slicing)] // the compiler itself runs it
const OWN_FEATURES: [&str; FEATURES.len() + 2] = {
    let mut all = [ns::COMMANDS; FEATURES.len() + 2];
    let mut index = 0;
    while index < FEATURES.len() {
        all[index] = FEATURES[index];
        index += 1;
    }
    all[index] = pending::NODE;
    all
};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";

#[cfg(test)]
mod tests;
