//! Who is told of an event (XEP-0163 §4): the account's own devices, contacts that see its presence and want
//! to hear of the node, and whoever subscribed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::jid::{BareJid, FullJid, Jid};
use crate::modules::api::Cx;
use crate::modules::caps;
use crate::modules::pubsub::{Asker, Audience, Event, EventKind, SubState, To};
use crate::router::Notified;
use crate::router::contacts::Contact;
use crate::router::outbox::Outbox;
use crate::router::registry::Resource;
use crate::stanza::{Frame, Stanza};
use crate::xml::writer::Xml;

/// Tells everybody of one event of an account. `by` is the account's session that caused it.
/// Gives the boxes that have little room now.
pub(super) async fn fan_out(
    cx: &Cx,
    owner: &BareJid,
    event: &Event,
    by: Option<&Jid>,
) -> Vec<Arc<Outbox>> {
    match &event.to {
        To::Only(jids) => {
            for jid in cx.router.notifiable(owner, jids.clone()) {
                send(cx, owner, &jid, event).await;
            }
            Vec::new()
        }
        To::Audience(audience) => {
            let Notified { to, slow } = to_presence(cx, owner, event, audience, by);
            to_subscribers(cx, owner, event, audience, &to).await;
            slow
        }
    }
}

/// §4.3.2 rule 3: each available resource that wants to hear of the node, of the account itself and of
/// contacts that the node lets in.
fn to_presence(
    cx: &Cx,
    owner: &BareJid,
    event: &Event,
    audience: &Audience,
    by: Option<&Jid>,
) -> Notified {
    let frame = frame(owner, event, replies_to(cx, by).as_ref());
    let wants = |resource: &Resource| caps::wants(resource, &event.node);
    let mut notified = Notified::default();
    cx.router.notify(owner, owner.as_str(), &frame, wants, &mut notified);
    let abroad = caps::remote(cx);
    for contact in contacts(cx, owner, audience) {
        if abroad.is_empty() || cx.router.serves(contact.domain()) {
            cx.router.notify(owner, contact.as_str(), &frame, wants, &mut notified);
            continue;
        }
        for client in abroad.wanting(contact.as_str(), &event.node) {
            let frame = frame.addressed(client.as_str());
            match cx.router.peers.send(owner.domain(), client.domain(), frame) {
                Ok(_) => notified.to.extend(client.to_full()),
                // Whoever cannot be reached gets the last item when it comes back.
                Err(_) => cx.server.shared().pep.abroad.missed(owner, &client),
            }
        }
    }
    notified
}

/// Contacts that may see the presence of the account and are let in by the node.
fn contacts(cx: &Cx, owner: &BareJid, audience: &Audience) -> Vec<Jid> {
    let roster = cx.router.roster(owner);
    let admitted = |item: Contact<'_>| {
        let asker = item.state.shows_presence().then(|| as_contact(Some(item), item.address()))?;
        audience.admits(&asker).then_some(asker.jid)
    };
    let admitted = roster.iter().filter_map(admitted).collect();
    cx.router.notifiable(owner, admitted)
}

/// §4.3.2 rules 1 and 2: an address that subscribed gets one notification, where its resources did not say
/// by their capabilities what they want.
async fn to_subscribers(
    cx: &Cx,
    owner: &BareJid,
    event: &Event,
    audience: &Audience,
    told: &[FullJid],
) {
    if audience.subscribers.is_empty() {
        return;
    }
    let told: HashSet<&str> = told.iter().flat_map(|jid| [jid.as_str(), jid.bare_str()]).collect();
    let is_meant = |state: SubState| {
        // XEP-0060 §8.4.2: of the node's end those hear, too, who wait to be let in.
        state == SubState::Subscribed || event.kind == EventKind::Deleted
    };
    let meant = audience.subscribers.iter().filter(|(_, state)| is_meant(*state));
    let meant = meant.filter(|(jid, _)| !told.contains(jid.as_str()));
    let meant: Vec<Jid> = meant.map(|(jid, _)| jid.clone()).collect();
    let roster = cx.router.roster(owner);
    for jid in cx.router.notifiable(owner, meant) {
        // §7.1: what presence or roster let in once may be over.
        let asker = match jid.bare_str() == owner.as_str() {
            true => Asker::owner(jid.clone()),
            false => as_contact(roster.get(jid.bare_str()), jid.clone()),
        };
        if event.kind == EventKind::Deleted || audience.admits(&asker) {
            send(cx, owner, &jid, event).await;
        }
    }
}

/// Somebody as the account's roster has them.
fn as_contact(item: Option<Contact<'_>>, jid: Jid) -> Asker {
    let sees_presence = item.is_some_and(|item| item.state.shows_presence());
    let groups = item.map(|item| item.groups().map(str::to_owned).collect()).unwrap_or_default();
    Asker { sees_presence, groups, ..Asker::stranger(jid) }
}

/// §4.3.1 rule 3: contacts learn which resource published, if they see it.
fn replies_to(cx: &Cx, by: Option<&Jid>) -> Option<Jid> {
    let by = by.filter(|by| by.is_full())?;
    cx.router.is_there(by, |_| true).then(|| by.clone())
}

/// A message from the account, to be addressed.
pub(super) fn frame(owner: &BareJid, event: &Event, by: Option<&Jid>) -> Frame {
    event.frame(owner.as_str(), &by.map(reply_to).unwrap_or_default())
}

/// XEP-0033 §4.1.4
fn reply_to(by: &Jid) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("addresses").attr("xmlns", ADDRESS);
    xml.start("address").attr("type", "replyto").attr("jid", by.as_str()).end().end();
    xml.finish().to_vec()
}

async fn send(cx: &Cx, owner: &BareJid, to: &Jid, event: &Event) {
    let frame = frame(owner, event, None).addressed(to.as_str());
    if let Some(stanza) = Stanza::ours(frame.to_vec().into()) {
        cx.send(&stanza).await;
    }
}

const ADDRESS: &str = "http://jabber.org/protocol/address";
