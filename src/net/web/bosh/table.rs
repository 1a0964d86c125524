//! The sessions of the server, by their sids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pipe::Shared;

/// The sessions. Each is counted among the streams of its address, which bounds them.
#[derive(Default)]
pub struct Table(Mutex<HashMap<String, Arc<Shared>>>);

impl Table {
    /// The session with this sid.
    pub(super) fn find(&self, sid: &str) -> Option<Arc<Shared>> {
        self.sessions().get(sid).cloned()
    }

    /// Adds one.
    pub(super) fn insert(&self, sid: String, session: Arc<Shared>) {
        self.sessions().insert(sid, session);
    }

    /// Forgets one that is over.
    pub(super) fn remove(&self, sid: &str) {
        self.sessions().remove(sid);
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
