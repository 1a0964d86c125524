//! Marks of messages that nobody outside can foresee.

use std::hash::{BuildHasher, RandomState};

/// Makes them, by a key of this process.
#[derive(Debug, Default)]
pub(super) struct Marks(RandomState);

impl Marks {
    /// A mark for a message of this peer, which nobody outside can foresee.
    pub(super) fn mark(&self, peer: &str, id: &str) -> u64 {
        self.0.hash_one((peer, id))
    }
}
