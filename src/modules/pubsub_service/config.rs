//! What a service may hold, and who may create nodes.

use serde::{Deserialize, Serialize};

use crate::modules::api::Create;
use crate::modules::pubsub::Limits;

/// `[modules.pubsub_service]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What stands in front of each hosted domain; empty: there is no such service.
    pub label: String,
    /// Who may create nodes.
    pub create: Create,
    /// Maximum number of nodes.
    pub nodes_max: usize,
    /// Maximum number of nodes that one account creates; operators may create more.
    pub nodes_per_creator_max: usize,
    /// Maximum number of items in a node.
    pub items_max: u32,
    /// Maximum size of an item in bytes.
    pub item_bytes_max: u32,
    /// Maximum size of all nodes, with everything in them, in bytes.
    pub bytes_max: u64,
    /// Maximum size of all nodes that one account creates, with everything in them, in bytes.
    pub bytes_per_creator_max: u64,
    /// Maximum number of subscriptions of a node, and likewise of its affiliations.
    pub subscriptions_per_node_max: usize,
    /// Maximum number of nodes and addresses with which one account is subscribed.
    pub subscriptions_per_account_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let Limits { items, item_bytes, bytes, entities, .. } = Limits::default();
        Self {
            label: "pubsub".to_owned(),
            create: Create::default(),
            nodes_max: 5_000,
            nodes_per_creator_max: 100,
            items_max: items,
            item_bytes_max: item_bytes,
            bytes_max: 16 * bytes,
            bytes_per_creator_max: bytes,
            subscriptions_per_node_max: entities,
            subscriptions_per_account_max: 500,
        }
    }
}

impl Config {
    /// What the service allows; of one creator only who is no operator is held to bounds.
    pub(super) fn limits(&self, is_operator: bool) -> Limits {
        Limits {
            nodes: self.nodes_max,
            items: self.items_max,
            item_bytes: self.item_bytes_max,
            bytes: self.bytes_max,
            entities: self.subscriptions_per_node_max,
            subscriptions: self.subscriptions_per_account_max,
            creator_nodes: if is_operator { usize::MAX } else { self.nodes_per_creator_max },
            creator_bytes: if is_operator { u64::MAX } else { self.bytes_per_creator_max },
            ..Limits::default()
        }
    }
}
