//! Ends sessions, and hands the messages that they held to other sessions.

use std::sync::Arc;

use super::account::Resource;
use super::registry::Replaced;
use super::{Router, incoming, outbox};
use crate::base::credential::AgentId;
use crate::stream::error::{StreamError, StreamFailure};

impl Router {
    /// Called after a session ended: owed rows that no session holds go to another resource, if there is
    /// one.
    pub fn redeliver(&self, bare: &str) {
        incoming::redeliver(self, bare);
    }

    /// Ends a session that lost its resource to a newer one (RFC 6120 §7.7.2.2).
    pub fn replaced(self: &Arc<Self>, replaced: &Replaced) {
        let why = StreamError::Conflict.text("replaced by a new session with this resource");
        self.superseded(replaced, why);
    }

    /// Ends a session that is out of the registry already.
    pub fn superseded(&self, replaced: &Replaced, why: StreamFailure) {
        replaced.resource.outbox.end(outbox::End::Failure(why));
    }

    /// Ends all sessions of an account.
    pub fn end_sessions(&self, bare: &str, why: &StreamFailure) {
        let outboxes = self.registry.with(bare, |entry| {
            entry.resources.iter().map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        });
        for outbox in outboxes.into_iter().flatten() {
            outbox.end(outbox::End::Failure(why.clone()));
        }
    }

    /// Ends all sessions of one device of an account, except `but`, which ends itself.
    pub fn end_device(&self, bare: &str, device: &AgentId, but: u64, why: &StreamFailure) {
        let outboxes = self.registry.with(bare, |entry| {
            let of = |one: &&Resource| one.agent.as_ref() == Some(device) && one.session != but;
            let found = entry.resources.iter().filter(of);
            found.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        });
        for outbox in outboxes.into_iter().flatten() {
            outbox.end(outbox::End::Failure(why.clone()));
        }
    }
}
