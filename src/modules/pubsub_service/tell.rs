//! Who is told of an event (XEP-0060 §12.3): each subscribed address, as it stands in its subscription.

use std::sync::Arc;

use crate::jid::{BareJid, Jid};
use crate::modules::api::Cx;
use crate::modules::pubsub::{Asker, Audience, Event, EventKind, SubState, To};
use crate::router::outbox::Outbox;
use crate::router::rules::StanzaClass;
use crate::router::{HandedOut, Leads};
use crate::stanza::Stanza;
use crate::stanza::message::MessageType;

/// Tells of a service until nothing is left.
pub(super) async fn tell(cx: &Cx, at: &BareJid) {
    let mut telling = cx.services().feeds.telling(at);
    while let Some(batch) = telling.take() {
        let mut slow = Vec::new();
        for event in &batch.events {
            slow.extend(tell_of(cx, at, event).await);
        }
        let _ = batch.told.send(slow);
    }
}

/// Gives the boxes that have little room now.
async fn tell_of(cx: &Cx, at: &BareJid, event: &Event) -> Vec<Arc<Outbox>> {
    let to = match &event.to {
        To::Only(jids) => jids.clone(),
        To::Audience(audience) => meant(cx, event, audience),
    };
    let frame = event.frame(at.as_str(), if waits(event) { STORE } else { b"" });
    let from = Jid::from(at);
    let class = StanzaClass::Message(MessageType::Headline);
    let mut slow = Vec::new();
    for jid in to {
        let frame = event.again(at.as_str(), &frame);
        // One text for all who are there; what may have to wait for somebody goes its own way.
        if event.headline && cx.router.leads(&jid) == Leads::Account {
            let mut handed = HandedOut::default();
            let to = std::slice::from_ref(&jid);
            cx.router.hand_out((&from, class), &frame, to, cx.now, &mut handed);
            cx.router.nudge(&mut handed);
            slow.append(&mut handed.slow);
        } else if let Some(stanza) = Stanza::ours(frame.addressed(jid.as_str()).to_vec().into()) {
            slow.extend(cx.send_watched(&stanza, None).await);
        }
    }
    slow
}

/// §12.7: what is no headline is for who comes later, too, unless the node says that only those online are told.
fn waits(event: &Event) -> bool {
    match &event.to {
        _ if event.headline => false,
        To::Audience(audience) => !audience.config.presence_based_delivery,
        To::Only(_) => true,
    }
}

/// XEP-0334 §4.4: events of themselves are stored by nobody.
const STORE: &[u8] = b"<store xmlns=\"urn:xmpp:hints\"/>";

/// The subscribers that the node lets in now.
fn meant(cx: &Cx, event: &Event, audience: &Audience) -> Vec<Jid> {
    let is_end = event.kind == EventKind::Deleted;
    let is_meant = |(jid, state): &&(Jid, SubState)| {
        // §8.4.2: of the node's end those hear, too, who wait to be let in.
        is_end || *state == SubState::Subscribed && audience.admits(&Asker::stranger(jid.clone()))
    };
    let meant = audience.subscribers.iter().filter(is_meant).map(|(jid, _)| jid.clone());
    match audience.config.presence_based_delivery {
        true => meant.filter(|jid| is_online(cx, jid)).collect(),
        false => meant.collect(),
    }
}

/// §12.6: of addresses elsewhere the service does not know it, and so they are not told.
fn is_online(cx: &Cx, jid: &Jid) -> bool {
    if cx.router.leads(jid) != Leads::Account {
        return false;
    }
    match jid.is_full() {
        true => cx.router.is_there(jid, |_| true),
        false => !cx.router.resources(&jid.bare(), |_| Some(())).is_empty(),
    }
}
