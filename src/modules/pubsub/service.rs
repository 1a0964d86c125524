//! What a pubsub service is to the engine: an account, or a service with a domain of its own.

use super::config::{AccessModel, NodeConfig, SendLast};
use crate::jid::BareJid;
pub use crate::store::ids::ServiceKey;

/// A service that nodes are at.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its key in the store.
    pub key: ServiceKey,
    /// Its address: the account's bare JID, or a domain.
    pub jid: BareJid,
    /// Whether it is an account.
    pub kind: Kind,
    /// What it may hold.
    pub limits: Limits,
    /// What a node of this name is, if nobody says otherwise (§8.3; XEP-0163 §5).
    pub defaults: fn(&str) -> NodeConfig,
}

/// The two kinds of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An account (§9, XEP-0163): the account owns all of its nodes, and there is presence and a roster.
    Pep,
    /// A service at a domain: whoever creates a node owns it, and there is neither presence nor roster.
    Service,
}

impl Kind {
    /// Whether nodes can have this access model: without presence and roster two of them mean nothing.
    pub fn supports(self, model: AccessModel) -> bool {
        self == Self::Pep || !matches!(model, AccessModel::Presence | AccessModel::Roster)
    }

    /// Whether last items can be sent at these moments: a service hears of nobody who comes online.
    pub fn sends(self, last: SendLast) -> bool {
        self == Self::Pep || last != SendLast::OnSubAndPresence
    }

    /// Whether a form offers this word of a field.
    pub(super) fn offers(self, field: &str, word: &str) -> bool {
        match field {
            "access_model" => AccessModel::parse(word).is_some_and(|model| self.supports(model)),
            "send_last_published_item" => {
                SendLast::parse(word).is_some_and(|last| self.sends(last))
            }
            _ => true,
        }
    }
}

/// What a service may hold. Everything that a peer can make longer is bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes of the service.
    pub nodes: usize,
    /// Items of a node; what `max` means (§16.4.4).
    pub items: u32,
    /// Bytes of an item's payload.
    pub item_bytes: u32,
    /// Bytes of everything that the service stores: nodes, items, lists.
    pub bytes: u64,
    /// Affiliations of a node, and likewise its subscriptions.
    pub entities: usize,
    /// Subscriptions of one entity at all nodes.
    pub subscriptions: usize,
    /// Nodes that one entity created.
    pub creator_nodes: usize,
    /// Bytes of everything in the nodes that one entity created.
    pub creator_bytes: u64,
    /// Bytes of items in one answer, as they are written, and about so many of any other list: well below
    /// half of what waits for a client at most. What is left out is requested with a result set (§6.5.4).
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 250,
            items: 5_000,
            item_bytes: 262_144,
            bytes: 64 * 1_048_576,
            entities: 1_000,
            // An account creates all of its nodes, and each of them has a list of its own.
            subscriptions: usize::MAX,
            creator_nodes: usize::MAX,
            creator_bytes: u64::MAX,
            answer_bytes: 524_288,
        }
    }
}

/// What every service can do (§16.3), for disco#info.
pub const FEATURES: &[&str] = &[
    "http://jabber.org/protocol/pubsub",
    "http://jabber.org/protocol/pubsub#access-authorize",
    "http://jabber.org/protocol/pubsub#access-open",
    "http://jabber.org/protocol/pubsub#access-whitelist",
    "http://jabber.org/protocol/pubsub#auto-create",
    "http://jabber.org/protocol/pubsub#config-node",
    "http://jabber.org/protocol/pubsub#config-node-max",
    "http://jabber.org/protocol/pubsub#create-and-configure",
    "http://jabber.org/protocol/pubsub#create-nodes",
    "http://jabber.org/protocol/pubsub#delete-items",
    "http://jabber.org/protocol/pubsub#delete-nodes",
    "http://jabber.org/protocol/pubsub#instant-nodes",
    "http://jabber.org/protocol/pubsub#item-ids",
    "http://jabber.org/protocol/pubsub#manage-subscriptions",
    "http://jabber.org/protocol/pubsub#member-affiliation",
    "http://jabber.org/protocol/pubsub#meta-data",
    "http://jabber.org/protocol/pubsub#modify-affiliations",
    "http://jabber.org/protocol/pubsub#multi-items",
    "http://jabber.org/protocol/pubsub#outcast-affiliation",
    "http://jabber.org/protocol/pubsub#persistent-items",
    "http://jabber.org/protocol/pubsub#publish",
    "http://jabber.org/protocol/pubsub#publish-node-full",
    "http://jabber.org/protocol/pubsub#publish-only-affiliation",
    "http://jabber.org/protocol/pubsub#publish-options",
    "http://jabber.org/protocol/pubsub#publisher-affiliation",
    "http://jabber.org/protocol/pubsub#purge-nodes",
    "http://jabber.org/protocol/pubsub#retract-items",
    "http://jabber.org/protocol/pubsub#retrieve-affiliations",
    "http://jabber.org/protocol/pubsub#retrieve-default",
    "http://jabber.org/protocol/pubsub#retrieve-items",
    "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
    "http://jabber.org/protocol/pubsub#rsm",
    "http://jabber.org/protocol/pubsub#subscribe",
    "http://jabber.org/protocol/pubsub#subscription-notifications",
];

/// What accounts can do besides, if the caller does its part: who sees presence is subscribed (§9.1), and is
/// told of what its client wants to hear (§9.2).
pub const FEATURES_OF_PEP: &[&str] = &[
    "http://jabber.org/protocol/pubsub#access-presence",
    "http://jabber.org/protocol/pubsub#access-roster",
    "http://jabber.org/protocol/pubsub#auto-subscribe",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#presence-notifications",
    "http://jabber.org/protocol/pubsub#presence-subscribe",
];
