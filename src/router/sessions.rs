//! Ends sessions, and hands the messages that they held to other sessions.

use std::sync::Arc;

use super::account::{AccountEntry, AccountStatus, Resource};
use super::registry::Replaced;
use super::{Router, incoming, outbox};
use crate::base::credential::AgentId;
use crate::jid::{BareJid, FullJid, Jid};
use crate::stanza::Frame;
use crate::stream::error::{StreamError, StreamFailure};

/// An account that has sessions, as the operator may see it.
#[derive(Debug, Clone)]
pub struct Present {
    /// Its address.
    pub bare: BareJid,
    /// What stands behind it.
    pub account: AccountStatus,
    /// Its sessions with their presence.
    pub resources: Vec<(FullJid, Option<Frame>)>,
}

impl Router {
    /// Who has sessions now: copied, and no more than what was there at some moment of the call.
    pub fn online(&self) -> Vec<Present> {
        let of = |(bare, entry): (&BareJid, &AccountEntry)| Present {
            bare: bare.clone(),
            account: entry.account,
            resources: entry
                .resources
                .iter()
                .map(|one| (one.jid.clone(), one.presence.as_ref().map(|it| it.frame.clone())))
                .collect(),
        };
        let mut found = Vec::new();
        for shard in self.registry.locked() {
            let online = shard.entries.iter().filter(|(_, entry)| !entry.resources.is_empty());
            found.extend(online.map(of));
        }
        found
    }

    /// Ends the session of a full JID, or all of a bare one; how many.
    pub fn end_some(&self, jid: &Jid, why: &StreamFailure) -> usize {
        let outboxes = self.registry.with(jid.bare_str(), |entry| {
            let of = |one: &&Resource| jid.is_bare() || one.jid.as_str() == jid.as_str();
            let found = entry.resources.iter().filter(of);
            found.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        });
        let outboxes = outboxes.unwrap_or_default();
        outboxes.iter().for_each(|outbox| outbox.end(outbox::End::Failure(why.clone())));
        outboxes.len()
    }

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
