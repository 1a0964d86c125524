//! Delivery to a local account: the decision under the shard's lock, the pushes after it.

use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::append::{Append, Received, Sent};
use super::copies::{self, Readers};
use super::hop::Hop;
use super::idle::{Idler, Untaken};
use super::outbox::{Level, Outbox, Outgoing};
use super::registry::{Account, Resource, User};
use super::rules::{self, Decision, Kind, Target};
use super::{Handler, Origin, Routed, Router};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::fate::Fate;
use crate::stanza::ids::stanza_id;
use crate::stanza::iq::IqType;
use crate::stanza::message::MessageType;
use crate::stanza::presence::PresenceType;
use crate::stanza::{self, Stanza, StanzaError};
use crate::store::StoreError;
use crate::store::accounts::AccountId;
use crate::store::archive::Kind as Archived;
use crate::store::mailbox::Place;

/// Sessions that get a copy, with their numbers.
type Targets = SmallVec<[Hop; 2]>;

enum Plan {
    Push(Push),
    Routed(Routed),
}

/// Who gets a stanza.
#[derive(Default)]
struct Push {
    targets: Targets,
    /// Who gets a copy of it (XEP-0280).
    readers: Readers,
    kept: Option<Kept>,
}

impl From<Routed> for Plan {
    fn from(routed: Routed) -> Self {
        Self::Routed(routed)
    }
}

/// A message that has a row.
struct Kept {
    account: AccountId,
    seq: i64,
    /// When it came, in microseconds since 1970.
    at: i64,
    /// promise.md 1
    owed: bool,
    /// Nobody holds it, not who gets a copy either.
    waits: bool,
    archived: bool,
    untaken: Untaken,
}

/// Routes a stanza to an account of this server (RFC 6121 §8.5).
pub(super) fn local(
    router: &Arc<Router>,
    stanza: &Stanza,
    to: &Jid,
    fate: Fate,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Routed {
    let kind = match kind_of(stanza) {
        Ok(kind) => kind,
        Err(error) => return Routed::Bounce(error),
    };
    let handed = router.registry.with(to.bare_str(), |user| {
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
        let decision = rules::decide(kind, &target);
        match plan(router, user, stanza, fate, decision, now, origin) {
            Plan::Routed(routed) => Handed::of(routed),
            // Under the lock too: the order of an archive is the order in which devices see messages.
            Plan::Push(push) => hand_on(router, user, stanza, to, push, now),
        }
    });
    match handed {
        None if needs_no_load(kind) => Routed::Done,
        None => Routed::Load(to.bare()),
        Some(Handed { routed, wake, lost, untaken }) => {
            untaken.settle();
            wake.iter().for_each(|outbox| outbox.nudge());
            if lost {
                redeliver(router, to.bare_str());
            }
            routed
        }
    }
}

/// What is left to do when the shard's lock is free again.
struct Handed {
    routed: Routed,
    wake: SmallVec<[Arc<Outbox>; 2]>,
    /// Somebody who was to hold the message did not get it.
    lost: bool,
    untaken: Untaken,
}

impl Handed {
    fn of(routed: Routed) -> Self {
        Self { routed, wake: SmallVec::new(), lost: false, untaken: Untaken::default() }
    }

    fn put(&mut self, user: &mut User, stanza: &Stanza, hop: Hop, item: Outgoing) {
        let owed = item.owed;
        match (hop.put(item), hop) {
            (Ok(put), Hop::Session { outbox, .. }) => {
                if put.level == Level::OverHalf {
                    self.routed = Routed::Slow(outbox.clone());
                }
                if put.wake {
                    self.wake.push(outbox);
                }
            }
            (Ok(_), _) => {}
            // RFC 6121 §8.5.3.2.3: every request gets its answer, also of a session just gone.
            (Err(_), _) if is_request(stanza) => {
                self.routed = Routed::Bounce(StanzaError::service_unavailable());
            }
            (Err(_), hop) => {
                let held = owed.zip(hop.session());
                self.lost |= held.is_some_and(|(seq, session)| user.owed.release(seq, session));
            }
        }
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
    fate: Fate,
    decision: Decision,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Plan {
    let heard = decision != Decision::Ignore;
    // What waits for a device that takes messages is owed to that one, whoever reads it before.
    let stored = matches!(user.account, Account::Stored(_));
    let waits = decision == Decision::Store && fate.owed && stored;
    let targets = match targets(user, stanza, decision) {
        Ok(targets) => targets,
        Err(routed) => return routed.into(),
    };
    let whom = copies::Whom { but: &targets, waits };
    let readers = copies::readers(router, user, stanza, fate, whom, origin);
    let on_its_way = !targets.is_empty() || !(readers.is_empty() || waits);
    let Account::Stored(account) = user.account else {
        // A message that may not be stored and finds nobody is dropped if it is only a chat state
        // (XEP-0085 §5.1) or asks so (XEP-0334), and bounced for an account that owns no rows.
        return match !on_its_way && user.account == Account::Temporary && fate.owed {
            true => Routed::Bounce(StanzaError::service_unavailable()).into(),
            false => Plan::Push(Push { targets, readers, kept: None }),
        };
    };
    let archived = fate.archived
        && stanza
            .to()
            .is_some_and(|to| router.archives(to) && user.keeps(to.bare_str(), stanza.from()));
    if !heard || (!fate.owed && !archived) {
        return Plan::Push(Push { targets, readers, kept: None });
    }
    let bytes = stanza.len();
    if fate.owed && !user.owed.has_room(bytes, on_its_way, &router.limits) {
        // XEP-0160 §3: service-unavailable when the offline queue is full.
        let full =
            StanzaError::service_unavailable().text("too many messages wait for this account");
        return Routed::Bounce(full).into();
    }
    let kind = archived.then_some(if fate.owed { Archived::Owed } else { Archived::Received });
    let mut job = append(router, stanza, now, origin);
    job.received = Some(Received { account, seq: 0, kind });
    // Nobody asks for the row of a message that is with its addressee and goes into no archive, unless
    // it is not confirmed soon.
    let idles = !archived && !targets.is_empty() && job.sent.is_none() && origin.may_idle();
    let room = idles.then(|| router.registry.broom.room(bytes)).flatten();
    let mut untaken = Untaken::default();
    let (seq, at) = match room {
        Some(room) => {
            let (seq, at) = (router.store.next_seq(), job.at);
            job.number(at, &mut || seq);
            if !user.idle.push(seq, Idler { row: Box::new(job), room }) {
                untaken = user.idle.begin(&router.store);
            }
            (seq, at)
        }
        None => match queue(router, job, origin) {
            Ok(numbered) => numbered,
            Err(StoreError::QueueFull) if origin.sender.is_some() => return Routed::Crowded.into(),
            Err(error) => return Routed::Bounce(error.into()).into(),
        },
    };
    if fate.owed {
        let place = if archived { Place::Archive } else { Place::Mailbox };
        // promise.md 2: a copy confirms the message, too.
        let reading = readers.iter().filter(|_| !waits).map(|(_, hop)| hop);
        let hops = targets.iter().chain(reading);
        user.owed.append(seq, bytes, place, hops.filter_map(Hop::session));
    }
    let kept = Some(Kept { account, seq, at, owed: fate.owed, waits, archived, untaken });
    Plan::Push(Push { targets, readers, kept })
}

/// The sessions that the decision names; else what is to be done instead.
fn targets(user: &User, stanza: &Stanza, decision: Decision) -> Result<Targets, Routed> {
    match decision {
        Decision::ToResource => {
            let resource = stanza.to().and_then(|to| user.resource(to));
            Ok(resource.map(Hop::to).into_iter().collect())
        }
        Decision::ToEachNonNegative => Ok(user.non_negative().map(Hop::to).collect()),
        Decision::ToEachAvailable => Ok(user.available().map(Hop::to).collect()),
        Decision::Store => Ok(Targets::new()),
        // An error to a session that is gone is heard by those who read along (XEP-0280 §7).
        Decision::Ignore if stanza.kind() == stanza::Kind::Message => Ok(Targets::new()),
        Decision::Ignore => Err(Routed::Done),
        Decision::Bounce(condition) => Err(Routed::Bounce(condition.into())),
        Decision::Subscription => Err(Routed::Handle(Handler::Subscription)),
        Decision::Probe => Err(Routed::Handle(Handler::Probe)),
        Decision::Account => Err(Routed::Handle(Handler::Iq)),
    }
}

/// The rows of a message: the sender's, if it keeps one; the addressee's is for the caller to add.
fn append(
    router: &Arc<Router>,
    stanza: &Stanza,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Append {
    Append {
        router: router.clone(),
        stanza: stanza.clone(),
        at: micros(now),
        sent: origin.sent.take().map(|account| Sent { account, seq: 0 }),
        received: None,
        ticket: origin.ticket(),
        sender: origin.outbox(),
    }
}

/// Queues the rows, and gives the place of the addressee's and the time. Under the shard's lock, so that a session
/// that becomes available sees either the row in the store or itself among the targets (promise.md 9).
fn queue(router: &Router, job: Append, origin: &mut Origin<'_>) -> Result<(i64, i64), StoreError> {
    let (mut place, mut at) = (0, 0);
    if let Some(ticket) = &job.ticket {
        origin.full |= ticket.weigh(job.stanza.len());
    }
    router.store.submit_numbered(Box::new(job), |job, now, next| {
        job.number(now, next);
        at = now;
        place = job.received.as_ref().map_or(0, |received| received.seq);
        origin.kept = job.sent.as_ref().map(|sent| (sent.account, sent.seq));
    })?;
    Ok((place, at))
}

/// The sender's own copy of a message of which the addressee has no row here.
pub(super) fn keep_sent(
    router: &Arc<Router>,
    stanza: &Stanza,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Result<(), StoreError> {
    match origin.sent {
        Some(_) => {
            let job = append(router, stanza, now, origin);
            queue(router, job, origin).map(drop)
        }
        None => Ok(()),
    }
}

fn hand_on(
    router: &Router,
    user: &mut User,
    stanza: &Stanza,
    to: &Jid,
    push: Push,
    now: SystemTime,
) -> Handed {
    let Push { targets, readers, kept } = push;
    let mut handed = Handed::of(Routed::Done);
    let owed = kept.as_ref().filter(|kept| kept.owed).map(|kept| kept.seq);
    let frame = match &kept {
        Some(kept) if kept.archived && !(targets.is_empty() && readers.is_empty()) => {
            // XEP-0313 §3.5: where and under what id the message is stored.
            let id = router.store.ids().seal(kept.account.0, kept.seq);
            stanza.frame_with(&stanza_id(to.bare_str(), &id))
        }
        _ => stanza.frame(),
    };
    let waits = kept.as_ref().is_some_and(|kept| kept.waits);
    // Any message may have to wait, for a connection to be resumed above all (XEP-0203 §1).
    let at = match &kept {
        Some(kept) => kept.at,
        None if stanza.kind() == stanza::Kind::Message => micros(now),
        None => 0,
    };
    handed.untaken = kept.map(|kept| kept.untaken).unwrap_or_default();
    if !readers.is_empty() {
        let copy = copies::received(stanza, to, &frame);
        for (jid, hop) in readers {
            let owed = owed.filter(|_| !waits);
            let item = Outgoing { frame: copy.addressed(jid.as_str()), owed, at };
            handed.put(user, stanza, hop, item);
        }
    }
    for hop in targets {
        handed.put(user, stanza, hop, Outgoing { frame: frame.clone(), owed, at });
    }
    handed
}

fn is_request(stanza: &Stanza) -> bool {
    stanza.kind() == stanza::Kind::Iq && matches!(kind_of(stanza), Ok(Kind::IqRequest))
}

/// Rows that no session holds go to a resource that takes messages, if there is one awake.
pub(super) fn redeliver(router: &Router, bare: &str) {
    let taker = router.registry.with(bare, |user| {
        let awake = |resource: &&Resource| !resource.asleep;
        let taker = user.non_negative().find(awake).filter(|_| user.owed.waiting() > 0)?;
        Some(taker.outbox.clone())
    });
    if let Some(Some(outbox)) = taker {
        outbox.ask_drain();
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
                asleep: false,
                carbons: false,
                agent: None,
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
