//! The state of the server that a transaction on rosters needs.

use std::sync::Arc;
use std::time::SystemTime;

use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::modules::api::Verdict;
use crate::router::Router;
use crate::router::rules::StanzaClass;
use crate::stanza::presence::PresenceType;
use crate::store::ids::AccountId;
use crate::store::roster;
use crate::store::tx::{StoreError, Tx};

/// The state of the server that a transaction needs.
#[derive(Debug, Clone)]
pub(in crate::modules) struct Circumstances {
    router: Arc<Router>,
    /// Microseconds since the epoch.
    pub(super) at: i64,
    /// Whether a guard of either account keeps the account's stanzas from the contact.
    pub(super) parted: bool,
}

impl Circumstances {
    /// At this time, and without guards.
    pub(in crate::modules) fn new(router: &Arc<Router>, now: SystemTime) -> Self {
        Self { router: router.clone(), at: micros(now), parted: false }
    }

    /// Like [`Self::new`], but for a stanza from one account to a contact: applies the guards of both.
    pub(in crate::modules) async fn between(
        mut self,
        own: &Jid,
        peer: &Jid,
    ) -> Result<Self, StoreError> {
        let kind = StanzaClass::Presence(PresenceType::Subscribe);
        let lets_out = self.router.lets_out(own.bare_str(), peer);
        let lets_in = matches!(self.router.guard(kind, own, peer).await?, Verdict::Continue);
        self.parted = !(lets_out && lets_in);
        Ok(self)
    }

    pub(super) fn is_local(&self, jid: &BareJid) -> bool {
        self.router.has_accounts(jid.domain())
    }

    /// Whether a guard keeps the two apart.
    pub(in crate::modules) fn are_parted(&self) -> bool {
        self.parted
    }

    /// Whether this roster has no room for another item.
    pub(in crate::modules) fn is_full(
        &self,
        tx: &mut dyn Tx,
        account: AccountId,
    ) -> Result<bool, StoreError> {
        Ok(roster::count(tx, account)? >= self.router.limits.roster_items_max)
    }

    /// Whether there is no room for another stranger's request (RFC 6121 §3.1.3, the second warning).
    pub(super) fn is_flooded(
        &self,
        tx: &mut dyn Tx,
        account: AccountId,
        peer: &BareJid,
    ) -> Result<bool, StoreError> {
        let limits = &self.router.limits;
        let waiting = roster::requested_by(tx, account)?;
        let domains = waiting.iter().map(|bare| domain_of(bare));
        let (near, far): (Vec<&str>, Vec<&str>) =
            domains.partition(|domain| self.router.has_accounts(domain));
        let all = limits.subscription_requests_max;
        if self.is_local(peer) {
            return Ok(near.len() + far.len() >= all);
        }
        let from = parent(peer.domain());
        let neighbours = far.iter().filter(|domain| parent(domain) == from).count();
        // However many other servers there are, people of this one have room.
        Ok(near.len() + far.len() >= all
            || far.len() >= all.div_ceil(2)
            || neighbours >= limits.subscription_requests_per_domain_max)
    }
}

fn domain_of(bare: &str) -> &str {
    bare.rsplit('@').next().unwrap_or(bare)
}

/// The last two labels of a domain: what is below them one owner can have as many of as they like.
fn parent(domain: &str) -> &str {
    let mut dots = domain.rmatch_indices('.').map(|(at, _)| at);
    let second = dots.nth(1).and_then(|at| domain.get(at + 1..));
    second.unwrap_or(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_their_last_two_labels_in_common() {
        for (domain, wanted) in [
            ("a.example", "a.example"),
            ("x.a.example", "a.example"),
            ("y.x.a.example", "a.example"),
            ("example", "example"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(parent(domain), wanted);
        }
        assert_eq!(domain_of("u@a.example"), "a.example");
    }
}
