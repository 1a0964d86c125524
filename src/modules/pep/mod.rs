//! XEP-0163: Personal Eventing Protocol. Every account is a pubsub service (XEP-0060) of its own: whoever
//! sees its presence is a subscriber, and says by its capabilities (XEP-0115) which nodes it wants to hear of.
//!
//! [`crate::modules::pubsub`] decides and writes, and has the order of what is told. Here is who asks (`owner`),
//! to whom it goes (`fan_out`), and what somebody hears who comes online (`last`).

mod act;
mod approval;
mod config;
mod defaults;
mod disco;
mod fan_out;
mod heard;
mod last;
mod lost;
pub mod moves;
mod owner;
mod remote;

pub use act::act;
pub use config::Config;
pub use heard::Heard;
pub use owner::Owner;

use super::api::{AccountNodes, Identity, IqRoute, Module, On, Phase, Spec, Target};
use super::pubsub::{FEATURES, FEATURES_OF_PEP, Feeds};
use remote::Abroad;
use crate::stanza::iq::IqType;

/// What was told, and is to be told, of all accounts.
#[derive(Debug, Default)]
pub struct Told {
    /// The order of events.
    pub(super) feeds: Feeds,
    /// What clients of other servers have heard.
    pub(super) abroad: Abroad,
}

/// The module.
pub const MODULE: Module = Module {
    name: "pep",
    specs: &[
        Spec::whole("XEP-0163", "1.2.2", "transcripts/0163-pep.scs"),
        Spec::whole("XEP-0222", "1.0.1", "transcripts/0222-public.scs"),
        Spec::whole("XEP-0223", "1.1.1", "transcripts/0223-private.scs"),
        // What a person says of itself is an item, and no more to the server.
        Spec::whole("XEP-0080", "1.10.0", "features/vcard.rs"),
        Spec::whole("XEP-0107", "1.2.2", "features/vcard.rs"),
        Spec::whole("XEP-0108", "1.3", "features/vcard.rs"),
        Spec::whole("XEP-0118", "1.3.0", "features/vcard.rs"),
        Spec::whole("XEP-0172", "1.1", "transcripts/0172-nick.scs"),
        Spec::whole("XEP-0277", "0.6.5", "features/vcard.rs"),
        Spec::whole("XEP-0472", "0.2.1", "features/vcard.rs"),
    ],
    account_identities: &[Identity { category: "pubsub", ty: "pep", name: None }],
    features: &ON_ACCOUNTS,
    nodes: Some(AccountNodes { info: disco::info, items: disco::items }),
    iqs: &[
        route(IqType::Get, PUBSUB),
        route(IqType::Set, PUBSUB),
        route(IqType::Get, OWNER),
        route(IqType::Set, OWNER),
    ],
    approved: Some(remote::approved),
    contact_changed: Some(lost::contact_changed),
    incoming: &[(Phase::Notify, approval::heard), (Phase::Notify, remote::heard)],
    wanted_changed: Some(last::wanted),
    presence_changed: Some(|cx, client, stanza| {
        if stanza.ty().as_deref() == Some("unavailable") {
            last::unavailable(cx, client);
        }
    }),
    moves: moves::MOVES,
    ..Module::EMPTY
};

const fn route(ty: IqType, ns: &'static str) -> IqRoute {
    let targets = &[Target::Own, Target::Other];
    IqRoute { ty, ns, name: "pubsub", targets, handler: act::answer }
}

/// What the engine can do, and what accounts add (XEP-0060 §10).
#[allow(clippy::indexing_slicing)] // the compiler itself runs it
const ON_ACCOUNTS: [On; FEATURES.len() + FEATURES_OF_PEP.len()] = {
    let mut all = [On::Account(""); FEATURES.len() + FEATURES_OF_PEP.len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = On::Account(match index.checked_sub(FEATURES.len()) {
            Some(own) => FEATURES_OF_PEP[own],
            None => FEATURES[index],
        });
        index += 1;
    }
    all
};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
