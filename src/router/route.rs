//! Finds where a stanza leads, and routes it there.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::domains::Leads;
use super::fates::Fate;
use super::origin::Origin;
use super::outbox::Outbox;
use super::routed::{Handler, Routed};
use super::{Router, incoming, outgoing, remote, sent};
use crate::stanza::policy::{MessagePolicy, policy_of};
use crate::stanza::{Kind, Stanza, StanzaError};

impl Router {
    /// Routes a stanza: every one that has an addressee passes here. Never waits.
    pub fn route(
        self: &Arc<Self>,
        stanza: &Stanza,
        now: SystemTime,
        origin: &mut Origin<'_>,
    ) -> Routed {
        let routed = self.route_once(stanza, now, origin);
        if stanza.kind() == Kind::Message {
            match &routed {
                Routed::Bounce(_) => self.fates.count(Fate::Bounced),
                Routed::Handle(Handler::Service(_)) => self.fates.count(Fate::Service),
                // Those that an account got are counted there; the others come here again, or were answers.
                _ => {}
            }
        }
        routed
    }

    fn route_once(
        self: &Arc<Self>,
        stanza: &Stanza,
        now: SystemTime,
        origin: &mut Origin<'_>,
    ) -> Routed {
        if self.questions.take(stanza) {
            return Routed::Done;
        }
        let policy = policy_of(stanza);
        if (policy.owed || policy.archived)
            && let Some(held_up) = origin.held_up(&self.store)
        {
            return held_up;
        }
        if let Err(routed) = outgoing::begin(self, stanza, policy, origin) {
            return routed;
        }
        let routed = self.route_on(stanza, policy, now, origin);
        if matches!(routed, Routed::Load(_) | Routed::Crowded) {
            return routed;
        }
        match incoming::keep_sent(self, stanza, now, origin) {
            Ok(()) => sent::end(self, stanza, policy, now, origin, routed),
            Err(error) => Routed::Bounce(error.into()),
        }
    }

    fn route_on(
        self: &Arc<Self>,
        stanza: &Stanza,
        policy: MessagePolicy,
        now: SystemTime,
        origin: &mut Origin<'_>,
    ) -> Routed {
        let Some(to) = stanza.to() else { return Routed::Handle(Handler::Iq) };
        match self.leads(to) {
            Leads::Account => incoming::pass(self, stanza, to, policy, now, origin),
            Leads::Server => to_domain(stanza),
            Leads::Service(service) => Routed::Handle(Handler::Service(service)),
            Leads::Elsewhere => remote::pass(self, stanza, to, policy, now, origin),
        }
    }

    /// Called when the session that sent the stanza gets this error from the server itself: other sessions
    /// of the account may get a copy.
    pub fn bounced(
        self: &Arc<Self>,
        stanza: &Stanza,
        reply: &Bytes,
        sender: &Arc<Outbox>,
        now: SystemTime,
    ) {
        sent::returned(self, stanza, reply, sender, now);
    }
}

fn to_domain(stanza: &Stanza) -> Routed {
    match (stanza.kind(), stanza.ty().as_deref()) {
        (Kind::Iq, Some("get" | "set")) => Routed::Handle(Handler::Iq),
        // RFC 6121 §8.4 leaves messages to the domain open; nobody reads them here.
        (Kind::Message, ty) if ty != Some("error") => {
            Routed::Bounce(StanzaError::service_unavailable())
        }
        _ => Routed::Done,
    }
}
