//! Delivery to a local account: the decision under the shard's lock, the pushes after it.

use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::append::Append;
use super::hop::Hop;
use super::outbox::{Level, Outgoing};
use super::registry::{Account, User};
use super::rules::{self, Decision, Kind, Target};
use super::{Handler, Origin, Routed, Router};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::iq::IqType;
use crate::stanza::message::{MessageType, is_owed};
use crate::stanza::presence::PresenceType;
use crate::stanza::{self, Stanza, StanzaError};
use crate::store::StoreError;

/// Sessions that get a copy, with their numbers.
type Targets = SmallVec<[Hop; 2]>;

enum Plan {
    Push(Targets, Option<i64>),
    Routed(Routed),
}

/// Routes a stanza to an account of this server (RFC 6121 §8.5).
pub(super) fn local(
    router: &Arc<Router>,
    stanza: &Stanza,
    to: &Jid,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Routed {
    let kind = match kind_of(stanza) {
        Ok(kind) => kind,
        Err(error) => return Routed::Bounce(error),
    };
    let plan = router.registry.with(to.bare_str(), |user| {
        let target = Target {
            account: match user.account {
                Account::Missing | Account::Loading => rules::Account::Missing,
                Account::Temporary | Account::Stored(_) => rules::Account::Exists,
            },
            address: match (to.resource(), user.resource(to)) {
                (None, _) => rules::Address::Bare,
                (Some(_), Some(_)) => rules::Address::FullMatch,
                (Some(_), None) => rules::Address::FullNoMatch,
            },
            resources: user.availability(),
            shares_presence: kind == Kind::IqRequest
                && shares_presence(router, user, to, stanza.from()),
        };
        plan(router, user, stanza, rules::decide(kind, &target), now, origin)
    });
    match plan {
        None if needs_no_load(kind) => Routed::Done,
        None => Routed::Load(to.bare()),
        Some(Plan::Routed(routed)) => routed,
        Some(Plan::Push(targets, owed)) => push(router, stanza, to, &targets, owed),
    }
}

/// Presence to an account without sessions reaches nobody (RFC 6121 §8.5.2.2.2), and a reply to a
/// session that is gone has no reader: no reason to read the account from the store.
fn needs_no_load(kind: Kind) -> bool {
    use PresenceType::{Available, Error, Unavailable};
    matches!(kind, Kind::Presence(Available | Unavailable | Error) | Kind::IqReply)
}

fn kind_of(stanza: &Stanza) -> Result<Kind, StanzaError> {
    let ty = stanza.ty();
    Ok(match stanza.kind() {
        stanza::Kind::Message => Kind::Message(MessageType::parse(ty.as_deref())),
        stanza::Kind::Presence => Kind::Presence(PresenceType::parse(ty.as_deref())?),
        stanza::Kind::Iq => match IqType::parse(ty.as_deref()) {
            Some(IqType::Get | IqType::Set) => Kind::IqRequest,
            Some(IqType::Result | IqType::Error) => Kind::IqReply,
            None => return Err(StanzaError::bad_request()),
        },
    })
}

/// RFC 6121 §8.5.3.1: may `asker` know that the resource `to` exists? By subscription, by directed
/// presence, or because it is the same account.
pub(super) fn shares_presence(router: &Router, user: &User, to: &Jid, asker: &Jid) -> bool {
    if asker.bare_str() == to.bare_str() || (asker.is_domain() && router.is_local(asker.domain())) {
        return true;
    }
    if user.subscription(asker.bare_str()).shows_presence() {
        return true;
    }
    // Directed presence to a room's occupant counts for every address of the room.
    let met = |known: &Jid| {
        known == asker
            || (known.bare_str() == asker.bare_str()
                && (known.is_bare() || !router.is_local(known.domain())))
    };
    user.resource(to).is_some_and(|resource| resource.directed.iter().any(met))
}

fn plan(
    router: &Arc<Router>,
    user: &mut User,
    stanza: &Stanza,
    decision: Decision,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Plan {
    let targets: Targets = match decision {
        Decision::ToResource => match stanza.to().and_then(|to| user.resource(to)) {
            Some(resource) => std::iter::once(Hop::to(resource)).collect(),
            None => Targets::new(),
        },
        Decision::ToEachNonNegative => user.non_negative().map(Hop::to).collect(),
        Decision::ToEachAvailable => user.available().map(Hop::to).collect(),
        Decision::Store => Targets::new(),
        Decision::Bounce(condition) => return Plan::Routed(Routed::Bounce(condition.into())),
        Decision::Ignore => return Plan::Routed(Routed::Done),
        Decision::Subscription => return Plan::Routed(Routed::Handle(Handler::Subscription)),
        Decision::Probe => return Plan::Routed(Routed::Handle(Handler::Probe)),
        Decision::Account => return Plan::Routed(Routed::Handle(Handler::Iq)),
    };
    let (Account::Stored(account), true) = (user.account, is_owed(stanza)) else {
        // A message that may not be stored and finds nobody is dropped if it is only a chat state
        // (XEP-0085 §5.1) or asks so (XEP-0334), and bounced for an account that owns no rows.
        let lost = targets.is_empty() && user.account == Account::Temporary && is_owed(stanza);
        return match lost {
            true => Plan::Routed(Routed::Bounce(StanzaError::service_unavailable())),
            false => Plan::Push(targets, None),
        };
    };
    let bytes = stanza.frame().len();
    if !user.owed.has_room(bytes, !targets.is_empty(), &router.limits) {
        return Plan::Routed(Routed::Bounce(
            // XEP-0160 §3: service-unavailable when the offline queue is full.
            StanzaError::service_unavailable().text("too many messages wait for this account"),
        ));
    }
    match append(router, user, account, stanza, now, origin, &targets) {
        Ok(seq) => Plan::Push(targets, Some(seq)),
        Err(error) => Plan::Routed(Routed::Bounce(error.into())),
    }
}

/// Queues the row. Under the shard's lock, so that a session that becomes available sees either
/// the row in the store or itself among the targets (promise.md 9).
fn append(
    router: &Arc<Router>,
    user: &mut User,
    account: crate::store::accounts::AccountId,
    stanza: &Stanza,
    now: SystemTime,
    origin: &mut Origin<'_>,
    targets: &Targets,
) -> Result<i64, StoreError> {
    let seq = router.store.next_seq();
    router.store.submit(Box::new(Append {
        router: router.clone(),
        account,
        bare: stanza.to().map(|to| to.bare_str().to_owned()).unwrap_or_default(),
        seq,
        at: micros(now),
        stanza: stanza.clone(),
        ticket: origin.ticket(),
        sender: origin.outbox(),
    }))?;
    user.owed.append(seq, stanza.frame().len(), targets.iter().filter_map(Hop::session));
    Ok(seq)
}

fn push(
    router: &Arc<Router>,
    stanza: &Stanza,
    to: &Jid,
    targets: &Targets,
    owed: Option<i64>,
) -> Routed {
    let mut routed = Routed::Done;
    let mut lost = false;
    for hop in targets {
        match (hop.push(Outgoing { frame: stanza.frame(), owed }), hop) {
            (Ok(Level::OverHalf), Hop::Session { outbox, .. }) => {
                routed = Routed::Slow(outbox.clone());
            }
            (Ok(_), _) => {}
            // RFC 6121 §8.5.3.2.3: every request gets its answer, also of a session just gone.
            (Err(_), _) if is_request(stanza) => {
                routed = Routed::Bounce(StanzaError::service_unavailable());
            }
            (Err(_), hop) => {
                let held = owed.zip(hop.session());
                let release = |user: &mut User| {
                    held.is_some_and(|(seq, session)| user.owed.release(seq, session))
                };
                lost |= router.registry.with(to.bare_str(), release).unwrap_or(false);
            }
        }
    }
    if lost {
        redeliver(router, to.bare_str());
    }
    routed
}

fn is_request(stanza: &Stanza) -> bool {
    stanza.kind() == stanza::Kind::Iq && matches!(kind_of(stanza), Ok(Kind::IqRequest))
}

/// Rows that no session holds go to a resource that takes messages, if there is one.
pub(super) fn redeliver(router: &Router, bare: &str) {
    let taker = router.registry.with(bare, |user| {
        if user.owed.waiting() == 0 {
            return None;
        }
        let drainer = user.owed.drainer();
        let taker = user.non_negative().find(|r| drainer.is_none_or(|d| d == r.session))?;
        let (session, outbox) = (taker.session, taker.outbox.clone());
        let boundary = router.store.next_seq();
        user.owed.begin_drain(session, boundary).then_some((outbox, boundary))
    });
    if let Some(Some((outbox, boundary))) = taker {
        outbox.ask_drain(boundary);
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{Conflict, Resource};
    use super::*;
    use crate::base::limits::Limits;
    use crate::jid::FullJid;
    use crate::router::outbox::Outbox;
    use crate::stanza::Condition;
    use crate::store::{Options, Store, Synchronous};

    /// Two sessions of an anonymous account, the second of them just gone.
    fn half_gone(folder: &std::path::Path) -> Arc<Router> {
        let mut options = Options::new(folder.join("stonechat.db"));
        options.synchronous = Synchronous::Off;
        let store = Store::open(options).unwrap();
        let router = Arc::new(Router::new(["x".to_owned()], store, Arc::new(Limits::default())));
        for (session, name) in [(1, "a@x/1"), (2, "a@x/2")] {
            let resource = Resource {
                jid: FullJid::parse(name).unwrap(),
                session,
                outbox: Arc::new(Outbox::new(1 << 20)),
                presence: None,
                interested: false,
                directed: Vec::new(),
            };
            if session == 2 {
                resource.outbox.close();
            }
            router.registry.bind(resource, true, Conflict::Replace, 9);
        }
        router
    }

    #[tokio::test]
    async fn a_request_to_a_session_that_just_went_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let router = half_gone(folder.path());
        for (ty, answered) in [("get", true), ("set", true), ("result", false), ("error", false)] {
            let iq = format!("<iq type='{ty}' id='1' from='a@x/1' to='a@x/2'><q xmlns='u'/></iq>");
            let iq = Stanza::ours(iq.into_bytes().into()).unwrap();
            let mut origin = Origin::server();
            match router.route(&iq, SystemTime::UNIX_EPOCH, &mut origin) {
                Routed::Bounce(error) if answered => {
                    assert_eq!(error.condition, Condition::ServiceUnavailable, "{ty}");
                }
                Routed::Done if !answered => {}
                other => panic!("{ty}: {other:?}"),
            }
        }
    }
}
