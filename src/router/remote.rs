//! The way of stanzas to other servers and to components (RFC 6120 §10.4).

use std::sync::Arc;
use std::time::SystemTime;

use super::Router;
use super::append::Append;
use super::deferred::{DeferredWrite, RefusedWrites, Room};
use super::domains::{Leads, ServiceId};
use super::fates::Fate;
use super::incoming::{append, kind_of};
use super::origin::Origin;
use super::peer_queue::{NotQueued, Queued};
use super::routed::Routed;
use super::rules::StanzaClass;
use crate::jid::Jid;
use crate::stanza::message::MessageType;
use crate::stanza::policy::{MessagePolicy, policy_of};
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Kind, Stanza, StanzaError};
use crate::store::StoreError;
use crate::store::ids::ArchiveId;

/// Routes a stanza to another server.
pub(super) fn pass(
    router: &Arc<Router>,
    stanza: &Stanza,
    to: &Jid,
    policy: MessagePolicy,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Routed {
    let kind = match kind_of(stanza) {
        Ok(kind) => kind,
        Err(error) => return Routed::Bounce(error),
    };
    if is_kept(kind, policy, origin) {
        return keep(router, stanza, to, now, origin);
    }
    match router.peers.put(stanza.from().domain(), to.domain(), stanza.frame()) {
        Ok(queued) => routed(router, kind, queued),
        // Errors and results are dropped, because no error may answer them, and so is unavailable presence,
        // because nobody waits for an answer.
        Err(error) if is_answerable(kind) => Routed::Bounce(error),
        Err(_) => Routed::Done,
    }
}

/// Whether the message has a row until the other server has acknowledged it (promise.md). What a room or
/// another service says to many has none: its archive keeps it.
fn is_kept(kind: StanzaClass, policy: MessagePolicy, origin: &Origin<'_>) -> bool {
    match kind {
        StanzaClass::Message(MessageType::Groupchat) => origin.sender.is_some(),
        StanzaClass::Message(_) => policy.owed,
        StanzaClass::Presence(_) => is_subscription(kind),
        StanzaClass::IqRequest | StanzaClass::IqReply => false,
    }
}

fn is_subscription(kind: StanzaClass) -> bool {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    matches!(kind, StanzaClass::Presence(Subscribe | Subscribed | Unsubscribe | Unsubscribed))
}

fn keep(
    router: &Arc<Router>,
    stanza: &Stanza,
    to: &Jid,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Routed {
    let queue = match router.peers.to(stanza.from().domain(), to.domain()) {
        Ok(queue) => queue,
        Err(error) => return Routed::Bounce(error),
    };
    // What is refused leaves the sender's own row to the router, as any message that comes back.
    let mut refused_writes = RefusedWrites::default();
    let queued = queue.put_message(stanza.frame(), |deferred, goes| {
        let mut job = append(router, stanza, now, origin);
        job.outbound = Some((0, queue.clone()));
        if let Some(room) = room(router, &job, goes && origin.may_defer()) {
            let (seq, at) = (router.store.next_seq(), job.at);
            job.number(at, &mut || seq);
            if !deferred.push(seq, DeferredWrite { row: Box::new(job), room }) {
                refused_writes = deferred.flush(&router.store);
            }
            return Ok((seq, at));
        }
        // Rows are written in the order of their positions.
        refused_writes = deferred.flush(&router.store);
        origin.full |= job.ticket.as_ref().is_some_and(|ticket| ticket.weigh(stanza.len()));
        let (mut seq, mut at) = (0, 0);
        router.store.submit_numbered(Box::new(job), |job, now, next| {
            job.number(now, next);
            at = now;
            seq = job.outbound.as_ref().map_or(0, |(seq, _)| *seq);
            if let Some(sent) = &job.sent {
                origin.kept = Some((ArchiveId::of(sent.account), sent.seq));
            }
        })?;
        Ok((seq, at))
    });
    refused_writes.settle();
    router.peers.call(&queue);
    match queued {
        Ok((queued, news)) => {
            if news {
                router.peers.defers(&queue);
                router.registry.flusher.want();
            }
            routed(router, StanzaClass::Message(MessageType::Normal), queued)
        }
        Err(NotQueued::Bounce(error)) => Routed::Bounce(error),
        Err(NotQueued::Store(StoreError::QueueFull)) if origin.sender.is_some() => Routed::Crowded,
        Err(NotQueued::Store(error)) => Routed::Bounce(error.into()),
    }
}

/// Room to defer the row of a message that is about to be sent: nobody asks for it before its sender asks for an
/// acknowledgement, unless the peer does not acknowledge it soon. What the server says of itself is behind something
/// that was told already.
fn room(router: &Router, job: &Append, may_defer: bool) -> Option<Room> {
    let is_message = job.stanza.kind() == Kind::Message;
    let defers = may_defer && is_message && job.sent.is_none() && job.sender.is_some();
    defers.then(|| router.registry.flusher.room(job.stanza.len())).flatten()
}

fn routed(router: &Router, kind: StanzaClass, queued: Queued) -> Routed {
    if matches!(kind, StanzaClass::Message(_)) {
        router.fates.count(Fate::Remote);
    }
    match queued {
        Queued::Easy => Routed::Done,
        Queued::Slow(outbox) => Routed::Slow(outbox),
    }
}

fn is_answerable(kind: StanzaClass) -> bool {
    use PresenceType::{Error, Unavailable};
    !matches!(
        kind,
        StanzaClass::IqReply
            | StanzaClass::Message(MessageType::Error)
            | StanzaClass::Presence(Error | Unavailable)
    )
}

/// Whatever stands behind an address that is no account of this server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beyond {
    /// A service of this server.
    Service(ServiceId),
    /// Another server, or a component.
    Peer,
}

impl Router {
    /// What stands behind a bare JID, unless it is an account's of this server, or the server itself.
    pub(super) fn beyond(&self, bare: &str) -> Option<Beyond> {
        let (_, domain) = bare.split_once('@').unwrap_or(("", bare));
        match self.domains.leads_by(domain) {
            Leads::Service(service) => Some(Beyond::Service(service)),
            Leads::Elsewhere => Some(Beyond::Peer),
            Leads::Account | Leads::Server => None,
        }
    }

    /// Hands on what a domain of this server says to somebody beyond: nobody waits for it.
    pub(super) fn put_beyond(&self, beyond: Beyond, local: &str, to: &str, frame: Frame) {
        match beyond {
            Beyond::Service(service) => self.put(service, to, frame),
            Beyond::Peer => {
                let bare = to.split_once('/').map_or(to, |(bare, _)| bare);
                let (_, domain) = bare.split_once('@').unwrap_or(("", bare));
                // Whoever cannot be reached hears nothing of presence.
                let _ = self.peers.put_presence(local, domain, frame);
            }
        }
    }

    /// Hands on what is said for an account, to whatever stands behind an address that is none of this
    /// server's: nobody waits for it. A subscription stanza is kept until it has arrived.
    pub fn hand_over(self: &Arc<Self>, from: &Jid, to: &Jid, frame: Frame) {
        match self.leads(to) {
            Leads::Service(service) => self.put(service, to.as_str(), frame),
            Leads::Elsewhere => {
                let Some(stanza) = Stanza::ours(frame.to_vec().into()) else { return };
                let mut origin = Origin::server();
                // The store gives the row its time.
                let now = SystemTime::UNIX_EPOCH;
                if let Routed::Bounce(error) =
                    pass(self, &stanza, to, policy_of(&stanza), now, &mut origin)
                {
                    tracing::debug!(%from, %to, %error, "what an account says could not be handed on");
                }
            }
            Leads::Account | Leads::Server => {}
        }
    }

    /// Whether stanzas from this domain may go there: this server serves it, or another one may be reached.
    pub fn may_reach(&self, local: &str, domain: &str) -> Result<(), StanzaError> {
        if self.serves(domain) { Ok(()) } else { self.peers.may_reach(local, domain) }
    }
}
