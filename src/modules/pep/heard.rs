//! What is kept for a session: of which nodes it has heard the last items.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::modules::api::Persist;

/// The nodes of which a session was sent the last items since it became available, or is being sent them.
/// Dropped at a restart: then a client that changes its mind hears them once more.
#[derive(Debug, Default)]
pub struct Heard(Option<Box<Nodes>>);

#[derive(Debug, Default)]
struct Nodes {
    /// Hashes of the names, sorted: half of what the names would take, though they are shared.
    heard: Vec<u64>,
    /// Those of them that are still to be sent; the names are shared with what is known of capabilities.
    waiting: Vec<Arc<str>>,
    /// A task is at it.
    is_sending: bool,
}

impl Heard {
    /// These are wanted now; true if nobody sends to the session yet, so that the caller has to.
    pub(super) fn want(&mut self, now: &[Arc<str>]) -> bool {
        let known = |node: &&Arc<str>| match &self.0 {
            Some(nodes) => nodes.heard.binary_search(&hash(node)).is_err(),
            None => true,
        };
        let new: Vec<Arc<str>> = now.iter().filter(known).take(NODES_MAX).cloned().collect();
        if new.is_empty() {
            return false;
        }
        let nodes = self.0.get_or_insert_default();
        // A client that always wants others hears nothing more unasked.
        if nodes.heard.len() + new.len() > NODES_MAX {
            return false;
        }
        nodes.heard.extend(new.iter().map(hash));
        nodes.heard.sort_unstable();
        nodes.waiting.extend(new);
        !std::mem::replace(&mut nodes.is_sending, true)
    }

    /// What is to be sent next; with nothing, the task ends.
    pub(super) fn next(&mut self) -> Option<Vec<Arc<str>>> {
        let nodes = self.0.as_mut()?;
        let next = std::mem::take(&mut nodes.waiting);
        nodes.is_sending = !next.is_empty();
        nodes.is_sending.then_some(next)
    }

    /// The client is unavailable: it starts anew.
    pub(super) fn forget(&mut self) {
        if let Some(nodes) = &mut self.0 {
            nodes.heard.clear();
            nodes.waiting.clear();
        }
    }
}

impl Persist for Heard {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn load(_: &[u8]) -> Option<Self> {
        Some(Self::default())
    }
}

/// The same for all sessions: who makes two names meet misses an item of its own.
fn hash(node: &Arc<str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

/// Nodes of one session between two times when it is unavailable.
const NODES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn each_node_is_sent_once_and_by_one_task() {
        let mut heard = Heard::default();
        assert!(!heard.want(&[]));
        assert!(heard.want(&nodes(&["a", "c"])));
        assert!(!heard.want(&nodes(&["b", "c"])), "somebody is at it");
        assert_eq!(heard.next(), Some(nodes(&["a", "c", "b"])));
        assert_eq!(heard.next(), None);
        for again in [&["a", "b"][..], &[], &["c"]] {
            assert!(!heard.want(&nodes(again)), "XEP-0163 §4.3.3: not with later presence");
        }
        heard.forget();
        assert!(heard.want(&nodes(&["a"])), "after it was unavailable");
    }

    #[test]
    fn a_session_that_wants_ever_others_is_bounded() {
        let mut heard = Heard::default();
        for round in 0..99 {
            let names: Vec<String> = (0..100).map(|n| format!("{round}-{n}")).collect();
            heard.want(&nodes(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        let sent = heard.next().map_or(0, |nodes| nodes.len());
        assert!(sent <= NODES_MAX, "{sent}");
    }
}
