//! Contacts at other servers: their presence says what they want to hear of, and they get the last items when
//! they come (XEP-0163 §4.3.4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::heard::Heard;
use super::last;
use crate::jid::{BareJid, Jid};
use crate::modules::Config;
use crate::modules::api::{Cx, Passage, Verdict, later};
use crate::modules::caps;
use crate::router::registry::AccountEntry;
use crate::stanza::Kind;

/// Hears of a contact's client in what its server tells an account.
pub(super) fn heard(_: &Config, _: &mut AccountEntry, passage: &mut Passage<'_>) -> Verdict {
    let from = passage.stanza.from();
    let (kind, ty) = (passage.stanza.kind(), passage.stanza.ty());
    if kind == Kind::Iq || !from.is_full() || !passage.is_elsewhere(from) {
        return Verdict::Continue;
    }
    let (comes, goes) = match (kind, ty.as_deref()) {
        (Kind::Presence, None) => (true, false),
        // An event that comes back finds nobody there any more.
        (Kind::Presence, Some("unavailable")) | (Kind::Message, Some("error")) => (false, true),
        _ => (false, false),
    };
    if comes {
        let presence = passage.stanza.clone();
        later(passage, move |cx, _| {
            caps::heard(cx, &presence, |cx, client| greet(&cx, &cx.bare(), client));
        });
    } else if goes {
        let client = from.clone();
        later(passage, move |cx, _| {
            cx.server.shared().caps.remote.forget(&client);
            cx.server.shared().pep.abroad.forget(&client);
        });
    }
    Verdict::Continue
}

/// A contact was let see the account's presence: it is a new subscriber (XEP-0060 §9.1).
pub(super) fn approved(cx: &Cx, owner: &BareJid, contact: &BareJid) {
    if cx.router.serves(contact.domain()) {
        return last::approved(cx, owner, contact);
    }
    for client in cx.server.shared().caps.remote.all_of(contact.as_str()) {
        greet(cx, owner, client);
    }
}

/// Sends a client of a contact the last items of what it wants, once.
fn greet(cx: &Cx, owner: &BareJid, client: Jid) {
    let nodes = cx.server.shared().caps.remote.nodes(&client);
    if nodes.is_empty() || !cx.server.shared().pep.abroad.want(owner, &client, &nodes) {
        return;
    }
    let (cx, owner) = (cx.clone(), owner.clone());
    cx.router.clone().tasks.spawn("last items", async move {
        while let Some(nodes) = cx.server.shared().pep.abroad.next(&owner, &client) {
            last::send_abroad(&cx, &owner, &client, &nodes).await;
        }
    });
}

/// Of which nodes clients of other servers have heard the last items: by client, then by account.
#[derive(Debug, Default)]
pub struct Abroad(Mutex<HashMap<Jid, HashMap<BareJid, Heard>>>);

impl Abroad {
    fn want(&self, owner: &BareJid, client: &Jid, nodes: &[Arc<str>]) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = all.entry(client.clone()).or_default();
        if of_client.len() >= OWNERS_MAX && !of_client.contains_key(owner) {
            return false;
        }
        of_client.entry(owner.clone()).or_default().want(nodes)
    }

    fn next(&self, owner: &BareJid, client: &Jid) -> Option<Vec<Arc<str>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(client)?.get_mut(owner)?.next()
    }

    fn forget(&self, client: &Jid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(client);
    }
}

/// Accounts of which one client hears the last items.
const OWNERS_MAX: usize = 500;
