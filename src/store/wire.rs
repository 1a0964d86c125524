//! The one place where a store's failure becomes what a peer sees.

use super::StoreError;
use crate::stanza::StanzaError;

impl From<StoreError> for StanzaError {
    /// What passes (a disk that takes no writes, a stop) the sender may try again (`wait`): the store
    /// itself says that once, however many it meets. The rest is ours to mend.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::QueueFull | StoreError::Busy | StoreError::Closed => {}
            _ if error.is_of_the_disk() => {}
            _ => {
                tracing::error!(%error, "the store failed; the client is told");
                return Self::internal_server_error();
            }
        }
        tracing::debug!(%error, "the store failed; the client is told");
        Self::resource_constraint().text("the server cannot store this now")
    }
}

impl std::fmt::Debug for super::Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
