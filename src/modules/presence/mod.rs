//! RFC 6121 §4: presence, broadcast and directed, and the answers to probes.
//!
//! The recipients are decided in one place, `router/presence.rs`: the contacts that the sender's roster
//! shows as `from` or `both`, the account's own resources, and everyone who was sent directed presence.

mod directed;
mod probe;
mod syntax;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::api::{Client, Cx, Module, PresenceEffect, Spec, State as Done};
use crate::base::limits::PRESENCE_TAG_BYTES_MAX;
use crate::jid::{FullJid, Jid};
use crate::router::contacts::Contacts;
use crate::router::outbox::Outbox;
use crate::router::presence as fanout;
use crate::router::registry::{Available, Resource};
use crate::router::subscription::asked;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::{accounts, damage, roster};

/// Presence.
pub const MODULE: Module = Module {
    name: "presence",
    specs: &[Spec {
        name: "RFC 6121 §4",
        version: "",
        state: Done::Complete,
        test: "transcripts/6121-4.2-initial-presence.scs",
    }],
    broadcast: Some(broadcast),
    directed: Some(directed::directed),
    resource_removed: Some(resource_removed),
    probe: Some(probe::probe),
    ..Module::EMPTY
};

/// RFC 6121 §4.2.2, §4.4.2 and §4.5.2.
fn broadcast(cx: &Cx, client: &Client, stanza: &Stanza) -> Result<PresenceEffect, StanzaError> {
    if stanza.frame().head.len() > PRESENCE_TAG_BYTES_MAX {
        return Err(StanzaError::policy_violation().text("the presence tag is too long"));
    }
    match PresenceType::parse(stanza.ty().as_deref())? {
        PresenceType::Available => {
            let priority = syntax::check(stanza)?;
            Ok(available(cx, client, stanza, priority))
        }
        PresenceType::Unavailable => Ok(unavailable(cx, client, stanza)),
        // All other types need a recipient.
        _ => Err(StanzaError::bad_request().text("this type of presence needs a 'to' address")),
    }
}

/// The effect of a session's presence, copied out of the registry.
struct PresenceChange {
    frame: Frame,
    initial: bool,
    redelivery: bool,
    own: Vec<Arc<Outbox>>,
    roster: Arc<Contacts>,
}

fn available(cx: &Cx, client: &Client, stanza: &Stanza, priority: i8) -> PresenceEffect {
    let bare = client.jid.bare_str();
    let change = cx.own(|entry| {
        let frame = cx.server.stamped(entry, stanza).frame();
        let kept = Available { priority, frame: frame.clone() };
        let before = entry.session_mut(client.session)?.presence.replace(kept);
        let took = before.as_ref().is_some_and(|before| before.priority >= 0);
        // Checked under the lock under which the session becomes a target of messages: waiting messages
        // were queued before, and it misses none of the later ones (promise.md 9).
        let redelivery = priority >= 0 && !took && entry.has_claims(client.session);
        let (own, roster) = (fanout::available(entry), entry.roster.clone());
        Some(PresenceChange { frame, initial: before.is_none(), redelivery, own, roster })
    });
    // Otherwise a newer session of this resource has replaced it, and its presence counts now.
    let Some(Some(change)) = change else { return PresenceEffect::default() };
    fanout::push(&change.frame.addressed(bare), &change.own);
    let from = (&client.jid, &*client.outbox);
    fanout::to_contacts(&cx.router, from, &change.roster, &change.frame);
    if change.initial {
        gather(cx, client, &change.roster);
    }
    PresenceEffect {
        redelivery: change.redelivery,
        refuses: priority < 0,
        looked_at: change.roster.len(),
    }
}

/// The other side of initial presence: the new resource gets the presence of all its contacts. Local
/// contacts are looked up and not probed (RFC 6121 §4.3.1).
fn gather(cx: &Cx, client: &Client, roster: &Contacts) {
    let own = [(client.jid.clone(), client.outbox.clone())];
    let bare = client.jid.bare_str();
    fanout::show(&cx.router, bare, bare, &own, Some(client.session));
    for contact in roster.iter().filter(|item| item.state.sees_presence()) {
        fanout::show(&cx.router, contact.jid, bare, &own, None);
        fanout::probe(&cx.router, &client.jid, contact.jid);
    }
    // RFC 6121 §3.1.3: at each new presence session until they are answered.
    let waiting: Vec<String> = roster
        .iter()
        .filter(|item| asked(item.state) && is_let_in(cx, client, item.jid))
        .map(|item| item.jid.to_owned())
        .collect();
    if let (Some(account), false) = (client.account, waiting.is_empty()) {
        let (store, outbox) = (cx.store.clone(), client.outbox.clone());
        cx.router.tasks.spawn("subscription requests", async move {
            match store.read(move |tx| roster::requests(tx, account)).await {
                Ok(requests) => deliver_requests(account, requests, &waiting, &outbox),
                Err(error) => tracing::error!(%error, "subscription requests could not be read"),
            }
        });
    }
}

fn is_let_in(cx: &Cx, client: &Client, contact: &str) -> bool {
    Jid::parse(contact).is_ok_and(|from| cx.router.lets_in(client.jid.bare_str(), &from))
}

/// Delivers only the requests that waited when the resource became available; later ones are delivered
/// live.
fn deliver_requests(
    account: AccountId,
    requests: Vec<Vec<u8>>,
    waiting: &[String],
    outbox: &Arc<Outbox>,
) {
    for request in requests {
        let Some(stanza) = Stanza::ours(request.into()) else {
            damage::note((roster::REQUEST_TABLE, account), &"its stanza is broken");
            continue;
        };
        if waiting.iter().any(|jid| jid == stanza.from().as_str()) {
            fanout::push(&stanza.frame(), std::slice::from_ref(outbox));
        }
    }
}

fn unavailable(cx: &Cx, client: &Client, stanza: &Stanza) -> PresenceEffect {
    let bare = client.jid.bare_str();
    let left = cx.own(|entry| {
        let own = fanout::available(entry);
        let roster = entry.roster.clone();
        let resource = entry.session_mut(client.session)?;
        let was_available = resource.presence.take().is_some();
        let directed = std::mem::take(&mut resource.directed);
        let outbox = resource.outbox.clone();
        let nobody_is = was_available && entry.available().next().is_none();
        Some((was_available, nobody_is, directed, (own, outbox), roster))
    });
    let Some(Some((was_available, nobody_is, directed, (own, outbox), roster))) = left else {
        return PresenceEffect::default();
    };
    let from = (&client.jid, &*outbox);
    let frame = stanza.frame();
    if let (true, Some(account)) = (nobody_is, client.account) {
        // RFC 6121 §4.3.2 rule 3: the answer to later probes contains this time.
        accounts::note_left(&cx.store, account, cx.now, syntax::status(stanza).as_deref());
    }
    if was_available {
        // `own` includes this session: RFC 6121 §4.5.2 sends the presence back to it, too.
        fanout::push(&frame.addressed(bare), &own);
        fanout::to_contacts(&cx.router, from, &roster, &frame);
    }
    to_directed(cx, from, &directed, was_available.then_some(&*roster), &frame);
    PresenceEffect { redelivery: false, refuses: true, looked_at: roster.len() + directed.len() }
}

/// RFC 6121 §4.5.2: on behalf of a session that ended, for whatever reason.
fn resource_removed(cx: &Cx, resource: &Resource) {
    let bare = resource.jid.bare_str();
    let seen = cx.own(|entry| {
        // A newer session may have this resource by now, and be available.
        let back = entry.resource(&resource.jid).is_some_and(|new| new.presence.is_some());
        (back, fanout::available(entry), entry.roster.clone())
    });
    let (back, own, roster) = seen.unwrap_or_default();
    let frame = fanout::unavailable_of(&resource.jid);
    let was_available = resource.presence.is_some();
    let from = (&resource.jid, &*resource.outbox);
    if was_available && !back {
        fanout::push(&frame.addressed(bare), &own);
        fanout::to_contacts(&cx.router, from, &roster, &frame);
    }
    to_directed(cx, from, &resource.directed, was_available.then_some(&*roster), &frame);
}

/// RFC 6121 §4.6.3 case 2: recipients of directed presence get unavailable presence. A contact that
/// became a subscriber in the meantime has got it as one.
fn to_directed(
    cx: &Cx,
    from: (&FullJid, &Outbox),
    directed: &[Jid],
    told: Option<&Contacts>,
    frame: &Frame,
) {
    for entity in directed {
        fanout::unlist(&cx.router, entity, from.0);
        let item = told.and_then(|roster| roster.get(entity.bare_str()));
        if item.is_none_or(|item| !item.state.shows_presence()) {
            fanout::to_entity(&cx.router, from, entity, frame);
        }
    }
}
