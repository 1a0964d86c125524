//! Hooks that take note of what an account's devices do not have, under its lock; when that is free, their
//! registrations are queued.
//!
//! A message waits for a device that has no session, whose session hibernates (XEP-0198), or whose client says
//! that nobody looks at it and does not acknowledge the message. Whoever writes at another device has read what came before;
//! a displayed marker (XEP-0333), a read mark (`marks.rs`) or the answer to a call says it of one conversation. That
//! another device has a message says nothing: it may be running in an empty room. So an absent device is woken a moment later if one is connected and in
//! use, and at once if none is.

use std::time::Duration;

use smallvec::SmallVec;

use super::super::Config;
use super::super::api::{Cx, Passage, Passed, Verdict, later};
use super::super::bookmarks::{self, Notice};
use super::alert::{Alert, alert, is_seen, is_written};
use super::queue::{self, Wake};
use super::registration::{self, Place, Registration};
use super::sender::PUBSUB;
use super::waiting::{Held, Last};
use crate::jid::Jid;
use crate::router::held::Asks;
use crate::router::outbox::Outgoing;
use crate::router::passage::Side;
use crate::router::registry::{AccountEntry, AccountStatus, Resource};
use crate::stanza::{Kind, Stanza};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Node;

/// A registration's device is to be woken, so much later.
type Due = SmallVec<[(i64, Alert, Duration); 2]>;

/// A message for the account.
pub(super) fn received(
    config: &Config,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
) -> Verdict {
    if registration::all(account).is_some() && passage.stanza.kind() == Kind::Message {
        dismissed(account, passage);
        wake(config, account, passage);
    }
    Verdict::Continue
}

/// §8: a push service that takes away the account's right to publish at a node wants no more. Nobody else can
/// say that in its name.
fn dismissed(account: &AccountEntry, passage: &mut Passage<'_>) {
    let from = passage.stanza.from();
    let theirs = |node: Option<&str>| {
        let mut all = registration::all(account).into_iter().flat_map(|all| &all.0);
        all.any(|one| one.target.jid == *from && node.is_none_or(|node| one.target.node == node))
    };
    let AccountStatus::Stored(id) = account.account else { return };
    // Most messages are from nobody's push service.
    if !theirs(None) {
        return;
    }
    let doc = passage.stanza.element().view();
    let Some(pubsub) = doc.root().child(PUBSUB, "pubsub") else { return };
    let own = passage.stanza.to().map_or("", Jid::bare_str);
    let takes = |child: Node<'_>| {
        child.is(PUBSUB, "affiliation")
            && child.attr("jid") == Some(own)
            && child.attr("affiliation") == Some("none")
    };
    let Some(node) = pubsub.attr("node").filter(|_| pubsub.children().any(takes)) else { return };
    // Each of these costs a write: of a node that is none of theirs there is nothing to write.
    if !theirs(Some(node)) {
        return;
    }
    let (jid, node) = (from.clone(), node.to_owned());
    later(passage, move |cx, passed| {
        let (router, bare) = (cx.router.clone(), passed.home.bare().clone());
        cx.router.tasks.spawn("push", async move {
            let (of, of_service, of_node) = (jid.clone(), jid.clone(), node.clone());
            let write = move |tx: &mut dyn Tx| {
                registration::disable(tx, id, of.as_str(), Some(&of_node))
            };
            let apply = move |account: &mut AccountEntry| {
                let is = |one: &Registration| one.target.jid == jid && one.target.node == node;
                registration::drop_from(account, is);
            };
            let (account, service) = (bare.clone(), of_service);
            match router.change(bare, write, apply).await {
                Ok(_) => tracing::info!(%account, %service, "a push service takes no more for the account"),
                // It goes by the next error at the latest.
                Err(error) => tracing::warn!(%error, "a push service's leave could not be stored"),
            }
        });
    });
}

fn wake(config: &Config, account: &mut AccountEntry, passage: &mut Passage<'_>) {
    // The user's own words are no news.
    if passage.is_to_self() {
        return;
    }
    let due = due(config, account, passage);
    if due.is_empty() {
        return;
    }
    let earlier = account.unclaimed();
    if let Some(all) = registration::all_mut(account) {
        let due = |one: &&mut Registration| due.iter().any(|(id, ..)| *id == one.id);
        all.0.iter_mut().filter(due).for_each(|one| one.waiting.begin(|| earlier));
    }
    let (peer, last) = (passage.stanza.from().bare_str().into(), last(passage.stanza));
    later(passage, move |cx, passed| note(cx, passed, &due, peer, &last));
}

/// Which registrations are to be notified of a message, and when.
fn due(config: &Config, account: &AccountEntry, passage: &Passage<'_>) -> Due {
    let gets = |session: u64| {
        let copies = passage.copies.iter().flat_map(|copies| &copies.to).map(|(_, taker)| taker);
        passage.takers.iter().chain(copies).any(|taker| taker.session == session)
    };
    let mut due = Due::new();
    for one in registration::all(account).into_iter().flat_map(|all| &all.0) {
        let place = one.target.place(&account.resources);
        let session = match place {
            Place::Here => continue,
            Place::Away => None,
            Place::Asleep(session) | Place::Quiet(session) => Some(session),
        };
        let own = session.and_then(|id| account.resources.iter().find(|one| one.session == id));
        let nick = own.and_then(|own| nick(own, passage.stanza));
        let Some(alert) = alert(passage.stanza, nick) else { continue };
        let urgent = alert == Alert::Urgent;
        // What no device has to get is no reason to wake one that would not.
        let waits = match place {
            Place::Away => passage.owed || urgent,
            Place::Asleep(session) => gets(session),
            Place::Quiet(session) => gets(session) && (passage.owed || urgent),
            Place::Here => false,
        };
        if !waits || !is_wanted(config, account, passage.stanza, alert) {
            continue;
        }
        let elsewhere = || {
            let other =
                |other: &&Resource| !other.hibernating && !other.quiet && !one.target.is_of(other);
            account.resources.iter().filter(other).any(|other| gets(other.session))
        };
        let delay = match place {
            _ if urgent => 0,
            Place::Quiet(_) => config.push.inactive_secs,
            _ if elsewhere() => config.push.elsewhere_secs,
            _ => 0,
        };
        due.push((one.id, alert, Duration::from_secs(delay)));
    }
    due
}

/// XEP-0492: whether the account wants to be told of such a message of a room. Of a room that it is in it is told of
/// all if it says nothing.
fn is_wanted(config: &Config, account: &AccountEntry, stanza: &Stanza, alert: Alert) -> bool {
    let rooms = config.push.rooms;
    match (alert, bookmarks::notice(account, stanza.from().bare_str())) {
        (Alert::Message, _) => true,
        (_, Some(Notice::Never)) => false,
        (Alert::Room, Some(Notice::OnMention)) => false,
        (Alert::Room, _) => rooms,
        (Alert::Urgent, _) => true,
    }
}

/// The user's nickname in the room that a message comes from: the session joined it by presence (XEP-0045
/// §7.2.1).
fn nick<'a>(session: &'a Resource, stanza: &Stanza) -> Option<&'a str> {
    let room = stanza.from().bare_str();
    let joined = session.directed.iter().find(|jid| jid.bare_str() == room);
    joined.and_then(|occupant| occupant.resource())
}

/// What a summary may say of it.
pub(super) fn last(stanza: &Stanza) -> Last {
    let body = stanza.element().child_text(ns::CLIENT, "body");
    let body = body.map(|body| body.chars().take(BODY_MAX).collect());
    Last { sender: stanza.from().as_str().to_owned(), body }
}

/// The message has passed: it waits for these.
fn note(cx: &Cx, passed: &Passed, due: &Due, peer: Box<str>, last: &Last) {
    let (seq, now) = (passed.row.map(|(seq, _)| seq), queue::now());
    cx.router.own(&passed.home, |account| {
        let Some(all) = registration::all_mut(account) else { return };
        for (id, alert, delay) in due {
            let Some(one) = all.get_mut(*id) else { continue };
            let (urgent, due) = (*alert == Alert::Urgent, Some(now + *delay));
            let held = Held { peer: peer.clone(), seq, urgent, due };
            let kept = one.target.summary.of(&cx.config.push, last);
            one.waiting.push(held, kept);
        }
    });
    for (id, alert, delay) in due {
        let wake = Wake { id: *id, delay: *delay, urgent: *alert == Alert::Urgent };
        let (queue, max) = (&cx.server.shared().push, cx.config.push.queue_max);
        queue.put(now, &passed.home, passed.now, wake, max);
    }
}

/// A session of the account has sent a message: its user has seen what came before, or says so.
pub(super) fn sent(account: Option<&mut AccountEntry>, passage: &mut Passage<'_>) -> Verdict {
    let Some(all) = account.and_then(registration::all_mut) else { return Verdict::Continue };
    if passage.side != Side::Outgoing || all.0.iter().all(|one| one.waiting.count() == 0) {
        return Verdict::Continue;
    }
    let doc = passage.stanza.element().view();
    if is_written(doc.root()) {
        all.0.iter_mut().for_each(|one| one.waiting.clear());
    } else if let Some(to) = passage.stanza.to()
        && is_seen(doc.root())
    {
        all.0.iter_mut().for_each(|one| one.waiting.read(to.bare_str()));
    }
    Verdict::Continue
}

/// Sessions came or went: for a device that is there nothing waits.
pub(super) fn sessions(account: &mut AccountEntry, asks: &mut [Asks]) {
    if registration::all(account).is_none() {
        return;
    }
    let after = Asks::after(Kind::Message);
    asks.iter_mut().for_each(|asks| *asks = asks.and(after));
    let places: SmallVec<[Place; 4]> = registration::all(account)
        .into_iter()
        .flat_map(|all| &all.0)
        .map(|one| one.target.place(&account.resources))
        .collect();
    let all = registration::all_mut(account).into_iter().flat_map(|all| &mut all.0);
    let here = all.zip(places).filter(|(_, place)| *place == Place::Here);
    here.for_each(|(one, _)| one.waiting.clear());
}

/// A session lost its connection: what its client did not acknowledge waits for it.
pub(super) fn hibernates(cx: &Cx, unacked: &dyn Fn() -> Vec<Outgoing>) {
    let Some(client) = cx.client() else { return };
    let session = client.session;
    let is_own = |account: &mut AccountEntry| {
        let own = account.resources.iter().find(|one| one.session == session);
        let own = own.filter(|own| {
            registration::all(account)
                .is_some_and(|all| all.0.iter().any(|one| one.target.is_of(own)))
        });
        own.map(|own| own.directed.clone())
    };
    let Some(directed) = cx.own(is_own).flatten() else { return };
    let nick = |stanza: &Stanza| {
        let joined = directed.iter().find(|jid| jid.bare_str() == stanza.from().bare_str());
        joined.and_then(|occupant| occupant.resource().map(str::to_owned))
    };
    // Most connections that break are back in a moment.
    let delay = Duration::from_secs(cx.config.push.interval_secs);
    let (mut missed, now) = (Vec::new(), queue::now());
    let due = Some(now + delay);
    for item in unacked() {
        let Some(stanza) = heard(&item) else { continue };
        let Some(alert) = alert(&stanza, nick(&stanza).as_deref()) else { continue };
        let wanted = |account: &mut AccountEntry| is_wanted(&cx.config, account, &stanza, alert);
        if cx.own(wanted).unwrap_or(false) {
            let urgent = alert == Alert::Urgent;
            let peer = stanza.from().bare_str().into();
            missed.push((Held { peer, seq: item.owed, urgent, due }, last(&stanza)));
        }
    }
    let woken = cx.own(|account| {
        let own = account.resources.iter().position(|one| one.session == session)?;
        let of = |one: &Registration| {
            account.resources.get(own).is_some_and(|own| one.target.is_of(own))
        };
        let own: Vec<i64> =
            registration::all(account)?.0.iter().filter(|one| of(one)).map(|one| one.id).collect();
        let all = registration::all_mut(account)?;
        for one in all.0.iter_mut().filter(|one| own.contains(&one.id)) {
            one.waiting.clear();
            for (held, last) in &missed {
                one.waiting.push(held.clone(), one.target.summary.of(&cx.config.push, last));
            }
        }
        Some(own)
    });
    if missed.is_empty() {
        return;
    }
    for id in woken.flatten().unwrap_or_default() {
        let wake = Wake { id, delay, urgent: false };
        let (queue, max) = (&cx.server.shared().push, cx.config.push.queue_max);
        queue.put(now, &client.home, cx.now, wake, max);
    }
}

/// A message may come to a session at the moment at which it ends: then its device has to be woken, as though there
/// had been no session. One that hibernated was woken before.
pub(super) fn undelivered(cx: &Cx, resource: &Resource, left: &[Outgoing]) {
    let Some(client) = cx.client().filter(|_| !resource.hibernating) else { return };
    let now = queue::now();
    let mut missed = Vec::new();
    for item in left.iter().filter(|item| item.owed.is_some()) {
        let Some(stanza) = heard(item) else { continue };
        let Some(alert) = alert(&stanza, nick(resource, &stanza)) else { continue };
        let urgent = alert == Alert::Urgent;
        let peer = stanza.from().bare_str().into();
        let held = Held { peer, seq: item.owed, urgent, due: Some(now) };
        missed.push((held, last(&stanza)));
    }
    if missed.is_empty() {
        return;
    }
    let woken = cx.own(|account| {
        let all = registration::all_mut(account)?;
        let own = all.0.iter_mut().filter(|one| one.target.is_of(resource));
        let wake = |one: &mut Registration| {
            for (held, last) in &missed {
                one.waiting.push(held.clone(), one.target.summary.of(&cx.config.push, last));
            }
            one.id
        };
        Some(own.map(wake).collect::<Vec<_>>())
    });
    for id in woken.flatten().unwrap_or_default() {
        let wake = Wake { id, delay: Duration::ZERO, urgent: false };
        let (queue, max) = (&cx.server.shared().push, cx.config.push.queue_max);
        queue.put(now, &client.home, cx.now, wake, max);
    }
}

/// The message in it, also from a copy that the server made; none if the user sent it.
fn heard(item: &Outgoing) -> Option<Stanza> {
    if !item.frame.head.starts_with(b"<message") {
        return None;
    }
    let stanza = Stanza::ours(item.frame.to_vec().into())?;
    let to = stanza.to()?;
    if stanza.from().bare_str() != to.bare_str() {
        return Some(stanza);
    }
    let doc = stanza.element().view();
    let copy = doc.root().child(ns::CARBONS, "received").filter(|_| stanza.from().is_bare())?;
    let message = copy.child(ns::FORWARD, "forwarded")?.child(ns::CLIENT, "message")?;
    Stanza::ours(message.raw().to_owned().into())
}

/// Of a body in a summary, in characters.
const BODY_MAX: usize = 200;
