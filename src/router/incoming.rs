//! A stanza's way through the account it is for: the decision and what features add, under the shard's
//! lock; what wakes others after it.

use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::account::{AccountEntry, AccountStatus, Home};
use super::append::{Append, Place, Received};
use super::deferred::{DeferredWrite, RefusedWrites};
use super::fates::Fate;
use super::outbox::{Level, Outbox, Outgoing};
use super::passage::{
    Event, GuardQuery, Part, Passage, Passed, RowWrite, Side, Taker, Takers, Verdict,
};
use super::rules::{self, Decision, StanzaClass, Target};
use super::{Handler, Leads, Origin, Routed, Router};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::iq::IqType;
use crate::stanza::message::MessageType;
use crate::stanza::policy::MessagePolicy;
use crate::stanza::presence::PresenceType;
use crate::stanza::{self, Frame, Stanza, StanzaError};
use crate::store::StoreError;
use crate::store::archive::RowKind;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::mailbox::StoredIn;

/// Routes a stanza to an account of this server (RFC 6121 §8.5).
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
    let sender = origin.sender.map(|(_, outbox)| outbox);
    let handed = router.registry.with(to.bare_str(), |account| {
        let mut passage = Passage::new(router.here(), stanza, policy, Side::Incoming, sender);
        let query =
            GuardQuery { side: Side::Incoming, kind, own: to.bare_str(), peer: stanza.from() };
        if let Err(routed) = router.features.guard(account, &query).ended() {
            return HandedOn::of(routed);
        }
        passage.decision = decide(router, account, stanza, to, kind);
        match through(router, account, &mut passage, now, origin) {
            Err(routed) => HandedOn::of(routed),
            // Under the lock too: the order of an archive is the order in which devices see messages.
            Ok(kept) => {
                if kind == StanzaClass::Presence(PresenceType::Unavailable) {
                    forget_directed(account, to, stanza.from());
                }
                hand_on(router, account, passage, kept, to, now)
            }
        }
    });
    match handed {
        None if needs_no_load(kind) && !router.features.follows(stanza) => Routed::Done,
        None => Routed::Load(to.bare()),
        Some(HandedOn { routed, wake, lost, refused_writes, events, row, fate }) => {
            let taken = matches!(routed, Routed::Done | Routed::Slow(_));
            if taken && stanza.kind() == stanza::Kind::Message {
                router.fates.count(fate);
            }
            refused_writes.settle();
            origin.call(wake);
            if lost {
                redeliver(router, to.bare_str());
            }
            router.passed(events, || Passed { home: Home::of(to.bare()), now, row });
            routed
        }
    }
}

/// RFC 6121 §4.6.1: whoever is gone need not be told when directed presence to it ends.
fn forget_directed(account: &mut AccountEntry, to: &Jid, gone: &Jid) {
    let hears = |jid: &Jid| to.is_bare() || jid == to;
    for resource in account.resources.iter_mut().filter(|resource| hears(&resource.jid)) {
        resource.directed.retain(|jid| jid != gone);
    }
}

fn decide(
    router: &Router,
    account: &AccountEntry,
    stanza: &Stanza,
    to: &Jid,
    kind: StanzaClass,
) -> Decision {
    let target = Target {
        account: match account.account {
            AccountStatus::Missing | AccountStatus::Loading => rules::Account::Missing,
            AccountStatus::Temporary | AccountStatus::Stored(_) => rules::Account::Exists,
        },
        address: match (to.resource(), account.resource(to)) {
            (None, _) => rules::Address::Bare,
            (Some(_), Some(_)) => rules::Address::FullMatch,
            (Some(_), None) => rules::Address::FullNoMatch,
        },
        resources: account.availability(),
        shares_presence: kind == StanzaClass::IqRequest
            && shares_presence(router, account, to, stanza.from()),
    };
    rules::decide(kind, &target)
}

/// All phases in order; what comes of them, if the stanza goes on to anybody.
fn through(
    router: &Arc<Router>,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Result<Option<StoredRow>, Routed> {
    passage.takers = match takers(account, passage.stanza, &passage.decision) {
        Err(Routed::Done) if router.features.follows(passage.stanza) => Takers::new(),
        taken => taken?,
    };
    router.features.pass(Part::Receiving, Some(account), passage).ended()?;
    keep(router, account, passage, now, origin)
}

/// A message that has a row.
struct StoredRow {
    archive: ArchiveId,
    seq: i64,
    /// When it came, in microseconds since 1970.
    at: i64,
    refused_writes: RefusedWrites,
}

/// Gives a message its row, where it is owed or archived.
fn keep(
    router: &Arc<Router>,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Result<Option<StoredRow>, Routed> {
    let AccountStatus::Stored(id) = account.account else {
        // A message that may not be stored and finds nobody is dropped if it is only a chat state
        // (XEP-0085 §5.1) or asks so (XEP-0334), and bounced for an account that owns no rows.
        let reaches_nobody = passage.takers.is_empty() && passage.copies.is_empty();
        let bounces =
            reaches_nobody && account.account == AccountStatus::Temporary && passage.policy.owed;
        (passage.owed, passage.archive) = (false, None);
        return match bounces {
            true => Err(Routed::Bounce(StanzaError::service_unavailable())),
            false => Ok(None),
        };
    };
    if let Some(write) = passage.kept_by {
        keep_elsewhere(router, id, write, passage, now, origin)?;
        return Ok(None);
    }
    let (owed, archived) = (passage.owed, passage.archive.is_some());
    if passage.decision == Decision::Ignore || !(owed || archived) {
        (passage.owed, passage.archive) = (false, None);
        return Ok(None);
    }
    let (bytes, waits) = (passage.stanza.len(), passage.waits());
    let on_its_way = !passage.takers.is_empty() || !(passage.copies.is_empty() || waits);
    if owed && !account.owed.has_room(bytes, on_its_way, &router.limits) {
        // As RFC 6121 §8.5.2.2.1 has it where offline messages cannot be stored.
        let full =
            StanzaError::service_unavailable().text("too many messages wait for this account");
        return Err(Routed::Bounce(full));
    }
    let place = match (archived, owed) {
        (true, true) => Place::Archive(RowKind::Owed),
        (true, false) => Place::Archive(RowKind::Received),
        (false, _) => Place::Mailbox,
    };
    let row_writes = std::mem::take(&mut passage.row_writes);
    let mut job = append(router, passage.stanza, now, origin);
    job.received = Some(Received { account: id, seq: 0, place, row_writes });
    // Nobody asks for the row of a message that is with its addressee and goes into no archive, unless
    // it is not confirmed soon.
    let defers =
        !archived && !passage.takers.is_empty() && job.sent.is_none() && origin.may_defer();
    let room = defers.then(|| router.registry.flusher.room(bytes)).flatten();
    let mut refused_writes = RefusedWrites::default();
    let (seq, at) = match room {
        Some(room) => {
            let (seq, at) = (router.store.next_seq(), job.at);
            job.number(at, &mut || seq);
            if !account.deferred.push(seq, DeferredWrite { row: Box::new(job), room }) {
                refused_writes = account.deferred.flush(&router.store);
            }
            (seq, at)
        }
        None => match queue(router, job, origin) {
            Ok(numbered) => numbered,
            Err(StoreError::QueueFull) if origin.sender.is_some() => return Err(Routed::Crowded),
            Err(error) => return Err(Routed::Bounce(error.into())),
        },
    };
    if owed {
        let stored_in = if archived { StoredIn::Archive } else { StoredIn::Mailbox };
        // promise.md 2: a copy confirms the message, too.
        let copies = passage.copies.iter().filter(|_| !waits).flat_map(|copies| &copies.to);
        let takers = passage.takers.iter().chain(copies.map(|(_, taker)| taker));
        account.owed.append(seq, bytes, stored_in, takers.map(|taker| taker.session));
    }
    Ok(Some(StoredRow { archive: ArchiveId::of(id), seq, at, refused_writes }))
}

/// A feature keeps the message, and nobody gets it now.
fn keep_elsewhere(
    router: &Arc<Router>,
    account: AccountId,
    write: RowWrite,
    passage: &mut Passage<'_>,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Result<(), Routed> {
    (passage.owed, passage.archive) = (false, None);
    passage.takers.clear();
    passage.copies.clear();
    passage.events.clear();
    let mut job = append(router, passage.stanza, now, origin);
    let (place, row_writes) = (Place::Feature, vec![write]);
    job.received = Some(Received { account, seq: 0, place, row_writes });
    match queue(router, job, origin) {
        Ok(_) => Ok(()),
        Err(StoreError::QueueFull) if origin.sender.is_some() => Err(Routed::Crowded),
        Err(error) => Err(Routed::Bounce(error.into())),
    }
}

/// What is left to do when the shard's lock is free again.
struct HandedOn {
    routed: Routed,
    wake: SmallVec<[Arc<Outbox>; 2]>,
    /// Somebody who was to hold the message did not get it.
    lost: bool,
    refused_writes: RefusedWrites,
    events: Vec<Event>,
    /// As in [`Passed`].
    row: Option<(i64, bool)>,
    /// Of a message that is not bounced.
    fate: Fate,
}

impl HandedOn {
    fn of(routed: Routed) -> Self {
        Self {
            routed,
            wake: SmallVec::new(),
            lost: false,
            refused_writes: RefusedWrites::default(),
            events: Vec::new(),
            row: None,
            fate: Fate::Dropped,
        }
    }

    fn put(&mut self, account: &mut AccountEntry, stanza: &Stanza, taker: &Taker, item: Outgoing) {
        let owed = item.owed;
        match taker.put(item) {
            Ok(put) => {
                self.fate = Fate::Delivered;
                if put.level == Level::OverHalf {
                    self.routed = Routed::Slow(taker.outbox.clone());
                }
                if put.wake {
                    self.wake.push(taker.outbox.clone());
                }
            }
            // RFC 6121 §8.5.3.2.3: every request gets its answer, also of a session just gone.
            Err(_) if is_request(stanza) => {
                self.routed = Routed::Bounce(StanzaError::service_unavailable());
            }
            Err(_) => {
                self.lost |= owed.is_some_and(|seq| account.owed.release(seq, taker.session));
            }
        }
    }
}

fn hand_on(
    router: &Router,
    account: &mut AccountEntry,
    mut passage: Passage<'_>,
    kept: Option<StoredRow>,
    to: &Jid,
    now: SystemTime,
) -> HandedOn {
    let mut handed = HandedOn::of(Routed::Done);
    let stanza = passage.stanza;
    handed.events = std::mem::take(&mut passage.events);
    handed.row = kept.as_ref().map(|kept| (kept.seq, passage.archive.is_some()));
    let owed = kept.as_ref().filter(|_| passage.owed).map(|kept| kept.seq);
    if owed.is_some() || passage.kept_by.is_some() {
        // Unless a session takes it now.
        handed.fate = Fate::Held;
    }
    let frame = framed(router, &passage, kept.as_ref(), to);
    // Any message may have to wait, for a connection to be resumed above all (XEP-0203 §1).
    let at = match &kept {
        Some(kept) => kept.at,
        None if stanza.kind() == stanza::Kind::Message => micros(now),
        None => 0,
    };
    handed.refused_writes = kept.map(|kept| kept.refused_writes).unwrap_or_default();
    let held = owed.filter(|_| !passage.waits());
    for copies in &passage.copies {
        let copy = (copies.wrap)(Side::Incoming, stanza, &frame);
        for (jid, taker) in &copies.to {
            let item = Outgoing { frame: copy.addressed(jid.as_str()), owed: held, at };
            handed.put(account, stanza, taker, item);
        }
    }
    for taker in &passage.takers {
        handed.put(account, stanza, taker, Outgoing { frame: frame.clone(), owed, at });
    }
    handed
}

/// The stanza as sessions get it: an archived one says where it is kept.
fn framed(router: &Router, passage: &Passage<'_>, kept: Option<&StoredRow>, to: &Jid) -> Frame {
    let reaches_nobody = passage.takers.is_empty() && passage.copies.is_empty();
    match kept.zip(passage.archive) {
        Some((kept, stamp)) if !reaches_nobody => {
            let stamp = stamp(&router.store, kept.archive, kept.seq, to.bare_str());
            passage.stanza.frame_with(&stamp)
        }
        _ => passage.stanza.frame(),
    }
}

impl Router {
    /// May a stanza of this kind go from one address to another, which a handler answers and nobody
    /// delivers? Asks the addressee's guards; reads it from the store, if need be.
    pub async fn guard(
        &self,
        kind: StanzaClass,
        from: &Jid,
        to: &Jid,
    ) -> Result<Verdict, StoreError> {
        if self.leads(to) != Leads::Account {
            return Ok(Verdict::Continue);
        }
        let query = GuardQuery { side: Side::Incoming, kind, own: to.bare_str(), peer: from };
        let of = |account: &mut AccountEntry| self.features.guard(account, &query);
        for _ in 0..2 {
            if let Some(verdict) = self.registry.with(to.bare_str(), of) {
                return Ok(verdict);
            }
            self.load(&to.bare()).await?;
        }
        // Being read for somebody else at this moment: what is not known does not pass.
        Ok(self.registry.with(to.bare_str(), of).unwrap_or(Verdict::Drop))
    }
}

/// Presence to an account without sessions reaches nobody (RFC 6121 §8.5.2.2.2), and a reply to a
/// session that is gone has no reader: no reason to read the account from the store.
fn needs_no_load(kind: StanzaClass) -> bool {
    use PresenceType::{Available, Error, Unavailable};
    matches!(kind, StanzaClass::Presence(Available | Unavailable | Error) | StanzaClass::IqReply)
}

pub(super) fn kind_of(stanza: &Stanza) -> Result<StanzaClass, StanzaError> {
    let ty = stanza.ty();
    Ok(match stanza.kind() {
        stanza::Kind::Message => StanzaClass::Message(MessageType::parse(ty.as_deref())),
        stanza::Kind::Presence => StanzaClass::Presence(PresenceType::parse(ty.as_deref())?),
        stanza::Kind::Iq => match IqType::parse(ty.as_deref()) {
            Some(IqType::Get | IqType::Set) => StanzaClass::IqRequest,
            Some(IqType::Result | IqType::Error) => StanzaClass::IqReply,
            None => return Err(StanzaError::bad_request()),
        },
    })
}

/// RFC 6121 §8.5.3.1: may `asker` know that the resource `to` exists? By subscription, by directed
/// presence, or because it is the same account.
pub(super) fn shares_presence(
    router: &Router,
    entry: &AccountEntry,
    to: &Jid,
    asker: &Jid,
) -> bool {
    if asker.bare_str() == to.bare_str()
        || (asker.is_domain() && router.has_accounts(asker.domain()))
    {
        return true;
    }
    if entry.subscription(asker.bare_str()).shows_presence() {
        return true;
    }
    // Directed presence to a room's occupant counts for every address of the room.
    let met = |known: &Jid| {
        known == asker
            || (known.bare_str() == asker.bare_str()
                && (known.is_bare() || !router.has_accounts(known.domain())))
    };
    entry.resource(to).is_some_and(|resource| resource.directed.iter().any(met))
}

/// The sessions that the decision names; else what is to be done instead.
fn takers(account: &AccountEntry, stanza: &Stanza, decision: &Decision) -> Result<Takers, Routed> {
    match decision {
        Decision::ToResource => {
            let resource = stanza.to().and_then(|to| account.resource(to));
            Ok(resource.map(Taker::of).into_iter().collect())
        }
        Decision::ToEachNonNegative => Ok(account.non_negative().map(Taker::of).collect()),
        Decision::ToEachAvailable => Ok(account.available().map(Taker::of).collect()),
        Decision::Store => Ok(Takers::new()),
        // An error to a session that is gone is heard by those who read along (XEP-0280 §7).
        Decision::Ignore if stanza.kind() == stanza::Kind::Message => Ok(Takers::new()),
        Decision::Ignore => Err(Routed::Done),
        Decision::Bounce(condition) => Err(Routed::Bounce(condition.clone().into())),
        Decision::Subscription => Err(Routed::Handle(Handler::Subscription)),
        Decision::Probe => Err(Routed::Handle(Handler::Probe)),
        Decision::Account => Err(Routed::Handle(Handler::Iq)),
    }
}

/// The rows of a message: the sender's, if it keeps one; the addressee's is for the caller to add.
pub(super) fn append(
    router: &Arc<Router>,
    stanza: &Stanza,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Append {
    Append {
        router: router.clone(),
        stanza: stanza.clone(),
        at: micros(now),
        sent: origin.sent.take(),
        received: None,
        outbound: None,
        ticket: origin.ticket(),
        sender: origin.outbox(),
        // A server that wants to know how far we are asks: then [`Router::flush_deferred`] is called.
        patient: origin.foreign && origin.sender.is_some(),
    }
}

/// Queues the rows, and gives the position of the addressee's and the time. Under the shard's lock, so that
/// a session that becomes available sees either the row in the store or itself among the targets
/// (promise.md 9).
fn queue(router: &Router, job: Append, origin: &mut Origin<'_>) -> Result<(i64, i64), StoreError> {
    let (mut seq, mut at) = (0, 0);
    if let Some(ticket) = &job.ticket {
        origin.full |= ticket.weigh(job.stanza.len());
    }
    router.store.submit_numbered(Box::new(job), |job, now, next| {
        job.number(now, next);
        at = now;
        seq = job.received.as_ref().map_or(0, |received| received.seq);
        origin.kept = job.sent.as_ref().map(|sent| (ArchiveId::of(sent.account), sent.seq));
    })?;
    Ok((seq, at))
}

/// The sender's own copy of a message of which the addressee has no row here.
pub(super) fn keep_sent(
    router: &Arc<Router>,
    stanza: &Stanza,
    now: SystemTime,
    origin: &mut Origin<'_>,
) -> Result<(), StoreError> {
    match &origin.sent {
        Some(_) => {
            let job = append(router, stanza, now, origin);
            queue(router, job, origin).map(drop)
        }
        None => Ok(()),
    }
}

fn is_request(stanza: &Stanza) -> bool {
    stanza.kind() == stanza::Kind::Iq && matches!(kind_of(stanza), Ok(StanzaClass::IqRequest))
}

/// Rows that no session holds go to a resource that takes messages, if there is one connected.
pub(super) fn redeliver(router: &Router, bare: &str) {
    let taker = router.registry.with(bare, |entry| {
        let awake = |resource: &&super::registry::Resource| !resource.hibernating;
        let taker = entry.non_negative().find(awake).filter(|_| entry.owed.waiting() > 0)?;
        Some(taker.outbox.clone())
    });
    if let Some(Some(outbox)) = taker {
        outbox.ask_redelivery();
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
            let jid = FullJid::parse(name).unwrap();
            let resource = Resource::new(jid, session, Arc::new(Outbox::new(1 << 20)));
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
