//! Where presence goes: the only file that hands somebody's presence to somebody else. The guards of both
//! accounts are asked each time, as they are of stanzas that are routed.
//!
//! Two registry locks are never held together, so what is read of one account may be old when it
//! reaches another; [`show`] looks again until what it said last is true.

use std::sync::Arc;

use super::Router;
use super::account::{AccountEntry, AccountStatus, Resource};
use super::contacts::Contacts;
use super::held::Asks;
use super::outbox::Outbox;
use super::passage::{GuardQuery, Side};
use super::remote::Beyond;
use super::rules;
use super::subscription::Audience;
use crate::jid::{FullJid, Jid};
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Kind};
use crate::store::StoreError;
use crate::store::ids::AccountId;
use crate::xml::writer::escape_attr;

/// Pushes a frame. A box that is closed or full belongs to a session that ends: it needs none.
pub fn push(frame: &Frame, targets: &[impl AsRef<Outbox>]) {
    for outbox in targets {
        let _ = outbox.as_ref().push(frame.clone());
    }
}

/// To every contact that may see it (RFC 6121 §4.2.2, §4.4.2, §4.5.2). `from` is the resource whose
/// presence it is, and `outbox` its box.
pub fn to_contacts(router: &Router, from: (&FullJid, &Outbox), roster: &Contacts, frame: &Frame) {
    let contacts = || roster.iter().filter(|item| item.state.shows_presence()).map(|item| item.jid);
    let lets_out =
        |contact: &str| Jid::parse(contact).is_ok_and(|to| router.lets_out(from.0.bare_str(), &to));
    let told: Option<Vec<&str>> =
        is_guarded(from.1).then(|| contacts().filter(|contact| lets_out(contact)).collect());
    match &told {
        Some(told) => told.iter().for_each(|contact| to_bare(router, from, contact, frame)),
        None => contacts().for_each(|contact| to_bare(router, from, contact, frame)),
    }
    if !is_guarded(from.1) {
        return;
    }
    // Whoever was hidden from meanwhile may have been told so before it got this.
    let told = told.unwrap_or_else(|| contacts().collect());
    for contact in told.into_iter().filter(|contact| !lets_out(contact)) {
        to_all(router, from.0, contact, &unavailable_of(from.0));
    }
}

/// The account of this session has guards that look at presence.
fn is_guarded(outbox: &Outbox) -> bool {
    outbox.asks().has(Asks::before(Kind::Presence))
}

impl Router {
    /// Does the account's presence go to this address, for its own guards?
    pub fn lets_out(&self, own: &str, to: &Jid) -> bool {
        let of = |entry: &AccountEntry| may_pass(self, entry, Side::Outgoing, own, to);
        self.registry.look(own, of).unwrap_or(true)
    }

    /// Does presence from this address come to the account, for its own guards?
    pub fn lets_in(&self, own: &str, from: &Jid) -> bool {
        let of = |entry: &AccountEntry| may_pass(self, entry, Side::Incoming, own, from);
        self.registry.look(own, of).unwrap_or(true)
    }
}

fn may_pass(router: &Router, account: &AccountEntry, side: Side, own: &str, peer: &Jid) -> bool {
    let kind = rules::StanzaClass::Presence(PresenceType::Available);
    router.features.guard(account, &GuardQuery { side, kind, own, peer }).ended().is_ok()
}

/// RFC 6121 §4.6.1: `entity` hears that `from` is unavailable, so it need not be told any more when
/// its own directed presence to that resource ends.
pub fn unlist(router: &Router, entity: &Jid, from: &FullJid) {
    let hears = |jid: &FullJid| entity.is_bare() || jid.as_str() == entity.as_str();
    router.registry.with(entity.bare_str(), |entry| {
        for resource in entry.resources.iter_mut().filter(|resource| hears(&resource.jid)) {
            resource.directed.retain(|jid| jid.as_str() != from.as_str());
        }
    });
}

/// To who got directed presence: a bare JID's available resources, or one session.
pub fn to_entity(router: &Router, from: (&FullJid, &Outbox), entity: &Jid, frame: &Frame) {
    if is_guarded(from.1) && !router.lets_out(from.0.bare_str(), entity) {
        return;
    }
    match entity.is_bare() {
        true => to_bare(router, from, entity.as_str(), frame),
        false => to_one(router, from.0, entity, frame),
    }
}

fn to_one(router: &Router, from: &FullJid, entity: &Jid, frame: &Frame) {
    if let Some(beyond) = router.beyond(entity.bare_str()) {
        let to = entity.as_str();
        return router.put_beyond(beyond, from.domain(), to, frame.addressed(to));
    }
    let from = Jid::from(from.clone());
    let session = router.registry.look(entity.bare_str(), |entry| {
        let meets = may_pass(router, entry, Side::Incoming, entity.bare_str(), &from);
        entry.resource(entity).filter(|_| meets).map(|resource| resource.outbox.clone())
    });
    if let Some(Some(outbox)) = session {
        push(&frame.addressed(entity.as_str()), &[outbox]);
    }
}

/// To whatever stands behind a bare JID: a service, another server, or the available resources that meet this
/// one. The frame is addressed once for all of them.
fn to_bare(router: &Router, from: (&FullJid, &Outbox), contact: &str, frame: &Frame) {
    if let Some(beyond) = router.beyond(contact) {
        return router.put_beyond(beyond, from.0.domain(), contact, frame.addressed(contact));
    }
    if !is_guarded(from.1) {
        return to_sessions(router, from.0, contact, frame);
    }
    let mut targets = seeing(router, from.0, contact);
    targets.retain(|(jid, _)| router.lets_out(from.0.bare_str(), &Jid::from(jid.clone())));
    let targets: Vec<_> = targets.into_iter().map(|(_, outbox)| outbox).collect();
    push(&frame.addressed(contact), &targets);
}

/// The same without a question to the sender's own guards.
fn to_all(router: &Router, from: &FullJid, contact: &str, frame: &Frame) {
    if let Some(beyond) = router.beyond(contact) {
        return router.put_beyond(beyond, from.domain(), contact, frame.addressed(contact));
    }
    to_sessions(router, from, contact, frame);
}

fn to_sessions(router: &Router, from: &FullJid, contact: &str, frame: &Frame) {
    // Mostly nobody is there, and then no guard is asked.
    if !router.registry.online.may_have(contact) {
        return;
    }
    let targets = router.registry.look(contact, |entry| {
        let is_there = entry.available().next().is_some();
        match is_there && may_pass(router, entry, Side::Incoming, contact, from) {
            true => available(entry),
            false => Vec::new(),
        }
    });
    if let Some(targets) = targets
        && !targets.is_empty()
    {
        push(&frame.addressed(contact), &targets);
    }
}

/// A resource that may be shown presence, and the way to it.
pub type Viewer = (FullJid, Arc<Outbox>);

fn seeing(router: &Router, from: &FullJid, contact: &str) -> Vec<Viewer> {
    let from = Jid::from(from.clone());
    let of = |entry: &AccountEntry| match may_pass(router, entry, Side::Incoming, contact, &from) {
        true => viewers(entry),
        false => Vec::new(),
    };
    router.registry.look(contact, of).unwrap_or_default()
}

fn viewers(entry: &AccountEntry) -> Vec<Viewer> {
    entry.available().map(|resource| (resource.jid.clone(), resource.outbox.clone())).collect()
}

/// The boxes of an account's available resources.
pub fn available(entry: &AccountEntry) -> Vec<Arc<Outbox>> {
    entry.available().map(|resource| resource.outbox.clone()).collect()
}

/// Generated, as the client said nothing; without `to`, for [`Frame::addressed`].
pub fn unavailable_of(jid: &FullJid) -> Frame {
    open(jid.as_str(), Some("unavailable"))
}

/// RFC 6121 §3.1.5: a contact was approved and gets the current presence of every available
/// resource. Nothing, if the approval was taken back meanwhile.
pub fn show_to_contact(router: &Router, owner: &str, contact: &str) {
    if let Some(beyond) = router.beyond(contact) {
        return show_beyond(router, beyond, owner, contact);
    }
    let viewers = router.registry.look(contact, viewers);
    show(router, owner, contact, &viewers.unwrap_or_default(), None);
}

/// The same for a service or another server, which has no sessions here. What is read here may be old when it is put, as with
/// [`show`]; the broadcast that made it so is put behind it or was, so it is looked at once more.
fn show_beyond(router: &Router, beyond: Beyond, owner: &str, contact: &str) {
    if !Jid::parse(contact).is_ok_and(|to| router.lets_out(owner, &to)) {
        return;
    }
    let mut told: Vec<Frame> = Vec::new();
    for _ in 0..LOOKS {
        let shown = router.registry.look(owner, |entry| {
            let sees = entry.subscription(contact).shows_presence();
            let shown = entry.available().filter(|_| sees);
            shown.filter_map(|resource| Some(resource.presence.as_ref()?.frame.clone())).collect()
        });
        let shown: Vec<Frame> = shown.unwrap_or_default();
        let same = |old: &Frame, new: &Frame| old.head == new.head && old.tail == new.tail;
        let news: Vec<_> =
            shown.iter().filter(|new| !told.iter().any(|old| same(old, new))).collect();
        if news.is_empty() {
            return;
        }
        for frame in news {
            router.put_beyond(beyond, domain_of(owner), contact, frame.addressed(contact));
        }
        told = shown;
    }
}

/// RFC 6121 §4.3.1: an account that has an available resource asks a contact for presence that lives
/// elsewhere, bare JID to bare JID. Those of accounts here are looked at ([`show`]).
pub fn probe(router: &Router, from: &FullJid, contact: &str) {
    if let Some(beyond) = router.beyond(contact)
        && Jid::parse(contact).is_ok_and(|to| router.lets_out(from.bare_str(), &to))
    {
        let asked = open(from.bare_str(), Some("probe")).addressed(contact);
        router.put_beyond(beyond, from.domain(), contact, asked);
    }
}

/// RFC 6121 §3.2.2 and §3.3.3: a contact may no longer see the account, and gets unavailable
/// presence from every resource that it saw. To be called when the roster says so already, lest
/// a broadcast follow. A cancellation takes precedence over directed presence (§4.6.1).
pub fn withdraw_from_contact(router: &Router, owner: &str, contact: &str) {
    let seen = router.registry.with(owner, |entry| forget_directed(entry, contact));
    // Who was hidden from saw nothing, and is not to learn who is there by this.
    if !Jid::parse(contact).is_ok_and(|to| router.lets_out(owner, &to)) {
        return;
    }
    for jid in seen.unwrap_or_default() {
        to_all(router, &jid, contact, &unavailable_of(&jid));
    }
}

/// Somebody sees nothing of the account's any more, though its subscription stands: what it saw so far is
/// unavailable to it. The account's own guards know of it already and are not asked.
pub fn hide_from(router: &Router, owner: &str, peer: &Jid) {
    let seen = router.registry.with(owner, |entry| {
        let subscribed = entry.subscription(peer.bare_str()).shows_presence();
        let sees = |resource: &&Resource| {
            let met = |known: &Jid| known == peer || known.as_str() == peer.bare_str();
            resource.directed.iter().any(met) || (subscribed && resource.presence.is_some())
        };
        entry.resources.iter().filter(sees).map(|one| one.jid.clone()).collect::<Vec<_>>()
    });
    for jid in seen.unwrap_or_default() {
        match peer.is_bare() {
            true => to_all(router, &jid, peer.as_str(), &unavailable_of(&jid)),
            false => to_one(router, &jid, peer, &unavailable_of(&jid)),
        }
    }
}

/// The reverse: it sees again what its subscription lets it see.
pub fn show_to(router: &Router, owner: &str, peer: &Jid) {
    if let Some(beyond) = router.beyond(peer.bare_str()) {
        return show_beyond(router, beyond, owner, peer.bare_str());
    }
    let viewers = router.registry.with(peer.bare_str(), |entry| {
        let mut viewers = viewers(entry);
        viewers.retain(|(jid, _)| peer.is_bare() || jid.as_str() == peer.as_str());
        viewers
    });
    show(router, owner, peer.bare_str(), &viewers.unwrap_or_default(), None);
}

fn domain_of(bare: &str) -> &str {
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

fn forget_directed(entry: &mut AccountEntry, contact: &str) -> Vec<FullJid> {
    let mut seen = Vec::new();
    for resource in &mut entry.resources {
        let before = resource.directed.len();
        resource.directed.retain(|jid| jid.bare_str() != contact);
        if resource.presence.is_some() || resource.directed.len() != before {
            seen.push(resource.jid.clone());
        }
    }
    seen
}

/// A resource as somebody else may see it.
struct Seen {
    session: u64,
    jid: FullJid,
    frame: Frame,
}

/// Tells `viewers`, all of them `viewer`'s, about each available resource of `owner` that
/// `viewer` may see, and looks again: a change in between may have been broadcast before this
/// got there, and what comes last must be the latest.
pub fn show(router: &Router, owner: &str, viewer: &str, viewers: &[Viewer], except: Option<u64>) {
    let guarded = viewers.iter().any(|(_, outbox)| is_guarded(outbox));
    let mut targets: Option<Vec<Arc<Outbox>>> = None;
    let mut told: Vec<Seen> = Vec::new();
    if viewers.is_empty() {
        return;
    }
    for _ in 0..LOOKS {
        let now = visible(router, owner, (viewer, guarded), except);
        let left = told.iter().filter(|old| now.iter().all(|new| new.jid != old.jid));
        let news = now.iter().filter(|new| !told.iter().any(|old| same(old, new)));
        let frames: Vec<Frame> = left
            .map(|old| unavailable_of(&old.jid))
            .chain(news.map(|new| new.frame.clone()))
            .collect();
        if frames.is_empty() {
            return;
        }
        let targets = targets.get_or_insert_with(|| allowed(router, owner, viewer, viewers));
        frames.iter().for_each(|frame| push(&frame.addressed(viewer), targets));
        told = now;
    }
}

/// Those of the viewers to whom the owner's guards show presence.
fn allowed(router: &Router, owner: &str, viewer: &str, viewers: &[Viewer]) -> Vec<Arc<Outbox>> {
    let shown =
        |(jid, _): &&Viewer| owner == viewer || router.lets_out(owner, &Jid::from(jid.clone()));
    viewers.iter().filter(shown).map(|(_, outbox)| outbox.clone()).collect()
}

/// The one question whether presence may be seen: by the account itself, and by a contact whose
/// subscription is `from` or `both`, if the guards of neither stand between them.
fn visible(
    router: &Router,
    owner: &str,
    (viewer, viewer_guarded): (&str, bool),
    except: Option<u64>,
) -> Vec<Seen> {
    let own = owner == viewer;
    if !router.registry.online.may_have(owner) {
        return Vec::new();
    }
    let mut guarded = false;
    let look = |entry: &mut AccountEntry| {
        // Most contacts are not there, and their rosters need not be searched.
        let is_there = entry.available().next().is_some();
        if !is_there || !(own || entry.subscription(viewer).shows_presence()) {
            return Vec::new();
        }
        guarded = !own && entry.available().any(|resource| is_guarded(&resource.outbox));
        let others = entry.available().filter(|resource| Some(resource.session) != except);
        let seen = others.filter_map(|r| {
            let frame = r.presence.as_ref()?.frame.clone();
            Some(Seen { session: r.session, jid: r.jid.clone(), frame })
        });
        seen.collect()
    };
    let mut seen = router.registry.with(owner, look).unwrap_or_default();
    if guarded && !Jid::parse(viewer).is_ok_and(|to| router.lets_out(owner, &to)) {
        return Vec::new();
    }
    if viewer_guarded && !own && !seen.is_empty() {
        router.registry.with(viewer, |entry| {
            seen.retain(|one| {
                may_pass(router, entry, Side::Incoming, viewer, &Jid::from(one.jid.clone()))
            });
        });
    }
    seen
}

fn same(a: &Seen, b: &Seen) -> bool {
    a.session == b.session && a.frame.head == b.frame.head && a.frame.tail == b.frame.tail
}

/// An empty presence stanza without `to`, for [`Frame::addressed`].
pub fn open(from: &str, ty: Option<&str>) -> Frame {
    let mut head = format!("<presence from=\"{}\"", escape_attr(from));
    if let Some(ty) = ty {
        head.push_str(&format!(" type=\"{ty}\""));
    }
    Frame::of(head, "/>")
}

/// To some sessions of an account.
pub fn deliver_to(router: &Router, owner: &str, frame: &Frame, to: Audience) {
    let is_meant = |resource: &&Resource| match to {
        Audience::Interested => resource.interested,
        Audience::Available => resource.presence.is_some(),
    };
    let boxes = router.registry.with(owner, |entry| {
        let chosen = entry.resources.iter().filter(is_meant);
        chosen.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
    });
    // A box that refuses belongs to a session that ends; a request waits for the next one.
    push(frame, &boxes.unwrap_or_default());
}

/// What the prober may learn.
#[derive(Debug)]
pub enum Finding {
    /// Presence stanzas without `to`.
    Present(Vec<Frame>),
    /// Nobody is there; the account, for the time since when.
    Absent(Option<AccountId>),
    /// Nothing, not even whether the account exists.
    Stranger,
}

impl Router {
    /// What somebody learns who probes an account of this server (RFC 6121 §4.3.2, §4.6.6).
    pub async fn probed(&self, to: &Jid, asker: &Jid) -> Result<Finding, StoreError> {
        let find = |entry: &mut AccountEntry| find(entry, to, asker);
        if let Some(found) = self.registry.with(to.bare_str(), find) {
            return Ok(found);
        }
        self.load(&to.bare()).await?;
        Ok(self.registry.with(to.bare_str(), find).unwrap_or(Finding::Stranger))
    }
}

fn find(entry: &mut AccountEntry, to: &Jid, asker: &Jid) -> Finding {
    let account = match entry.account {
        AccountStatus::Loading | AccountStatus::Missing => return Finding::Stranger,
        AccountStatus::Temporary => None,
        AccountStatus::Stored(id) => Some(id),
    };
    let own = asker.bare_str() == to.bare_str();
    if !own && !entry.subscription(asker.bare_str()).shows_presence() {
        // RFC 6121 §4.6.6: mere presence, to exactly who was sent some, from exactly that resource.
        let met = entry.resource(to).is_some_and(|resource| resource.directed.contains(asker));
        return if met { mere(to) } else { Finding::Stranger };
    }
    if to.is_full() {
        // RFC 6121 §4.3.2: only the fact.
        let there = entry.resource(to).is_some_and(|resource| resource.presence.is_some());
        return if there { mere(to) } else { Finding::Absent(None) };
    }
    let frames: Vec<Frame> =
        entry.available().filter_map(|r| Some(r.presence.as_ref()?.frame.clone())).collect();
    if frames.is_empty() { Finding::Absent(account) } else { Finding::Present(frames) }
}

fn mere(to: &Jid) -> Finding {
    Finding::Present(vec![open(to.as_str(), None)])
}

/// A contact that changes its presence more often than this between two looks, each a few
/// microseconds, is told about the rest by its own broadcasts.
const LOOKS: usize = 4;
