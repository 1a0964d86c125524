//! The one place where an error of the store becomes a stanza error.

use super::StoreError;
use crate::stanza::StanzaError;

impl From<StoreError> for StanzaError {
    /// For a temporary error (a disk that accepts no writes, a stop) the sender may try again (`wait`); the
    /// store logs it once, however many stanzas it affects. Any other error is the server's own fault.
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
