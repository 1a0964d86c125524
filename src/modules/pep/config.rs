//! What an account may keep in its nodes.

use serde::{Deserialize, Serialize};

use crate::modules::pubsub::Limits;

/// `[modules.pep]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of nodes of an account.
    pub nodes_max: usize,
    /// Maximum number of items in a node.
    pub items_max: u32,
    /// Maximum size of an item in bytes.
    pub item_bytes_max: u32,
    /// Maximum size of all nodes of an account, with everything in them, in bytes.
    pub bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        let Limits { nodes, items, item_bytes, bytes, .. } = Limits::default();
        Self { nodes_max: nodes, items_max: items, item_bytes_max: item_bytes, bytes_max: bytes }
    }
}

impl Config {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            nodes: self.nodes_max,
            items: self.items_max,
            item_bytes: self.item_bytes_max,
            bytes: self.bytes_max,
            ..Limits::default()
        }
    }
}
