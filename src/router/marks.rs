//! Marks of messages that a peer cannot predict.

use std::hash::{BuildHasher, RandomState};

/// Makes marks with a key of this process.
#[derive(Debug, Default)]
pub(super) struct Marks(RandomState);

impl Marks {
    /// Returns the mark of this peer's message with this id.
    pub(super) fn mark(&self, peer: &str, id: &str) -> u64 {
        self.0.hash_one((peer, id))
    }
}
