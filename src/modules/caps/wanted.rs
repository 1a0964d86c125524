//! The nodes whose news a client wants.

use std::sync::Arc;

/// Nodes, sorted and each once. Shared by all sessions that said the same hash.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted(Box<[Arc<str>]>);

impl Wanted {
    /// Of features or of the parts of a hashed text: those that end in `+notify` (XEP-0163 §4.2). No more
    /// than there may be: the first ones in their order, whoever says them.
    pub fn among<'a>(features: impl Iterator<Item = &'a str>) -> Self {
        Self::of(features.filter_map(|feature| feature.strip_suffix("+notify")))
    }

    /// Of nodes.
    pub fn of<'a>(nodes: impl Iterator<Item = &'a str>) -> Self {
        let is_node = |node: &&str| !node.is_empty() && node.len() <= NODE_BYTES_MAX;
        let mut nodes: Vec<&str> = nodes.filter(is_node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(NODES_MAX);
        Self(nodes.into_iter().map(Arc::from).collect())
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Whether it has this one.
    pub fn has(&self, node: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(node)).is_ok()
    }
}

/// Nodes of one client: those that do most name twenty or thirty.
const NODES_MAX: usize = 128;
/// Bytes of a node's name.
const NODE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_notify_is_wanted() {
        let features = ["b+notify", "a", "+notify", "a+notify", "b+notify", "c+notify+x"];
        let wanted = Wanted::among(features.into_iter());
        assert_eq!(wanted.nodes().iter().map(|node| &**node).collect::<Vec<_>>(), ["a", "b"]);
        assert!(wanted.has("a") && wanted.has("b") && !wanted.has("c"));
    }

    #[test]
    fn it_is_bounded() {
        let many: Vec<String> = (0..999).map(|n| format!("{n:03}+notify")).collect();
        let wanted = Wanted::among(many.iter().map(String::as_str).rev());
        assert_eq!(wanted.nodes().len(), NODES_MAX);
        assert!(wanted.has("127") && !wanted.has("128"));
        let long = format!("{}+notify", "x".repeat(NODE_BYTES_MAX + 1));
        assert!(Wanted::among([&*long].into_iter()).nodes().is_empty());
    }
}
