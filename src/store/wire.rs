//! The one place where a store's failure becomes what a peer sees.

use super::StoreError;
use crate::stanza::StanzaError;

impl From<StoreError> for StanzaError {
    /// Full disks and queues pass, so the sender may try again (`wait`); the rest is ours to mend.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed; the client is told");
        match error {
            StoreError::Full | StoreError::QueueFull | StoreError::Busy => {
                Self::resource_constraint().text("the server cannot store this now")
            }
            _ => Self::internal_server_error(),
        }
    }
}

impl std::fmt::Debug for super::Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
