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
use crate::modules::pubsub::EVENT;
use crate::router::registry::AccountEntry;
use crate::stanza::{Kind, Stanza};

/// Hears of a contact's client in what its server tells an account.
pub(super) fn heard(_: &Config, entry: &mut AccountEntry, passage: &mut Passage<'_>) -> Verdict {
    let from = passage.stanza.from();
    if !from.is_full() || !passage.is_elsewhere(from) {
        return Verdict::Continue;
    }
    match (passage.stanza.kind(), passage.stanza.ty().as_deref()) {
        // RFC 6121 §4.2.2, XEP-0115 §7: presence of somebody whom the account does not see is asked nothing, as
        // the question would tell a stranger that there is such an account, and that it is online.
        (Kind::Presence, None) if entry.subscription(from.bare_str()).sees_presence() => {
            let presence = passage.stanza.clone();
            later(passage, move |cx, _| {
                let gone = caps::heard(cx, &presence, |cx, client| greet(&cx, &cx.bare(), client));
                gone.iter().for_each(|client| cx.server.shared().pep.abroad.forget(client));
            });
        }
        (Kind::Presence, Some("unavailable")) => {
            let client = from.clone();
            later(passage, move |cx, _| {
                caps::remote(cx).forget(&client);
                cx.server.shared().pep.abroad.forget(&client);
            });
        }
        // An event that comes back was not heard; what others of this server sent is their own matter.
        (Kind::Message, Some("error")) if is_event(passage.stanza) => {
            let client = from.clone();
            later(passage, move |cx, _| {
                cx.server.shared().pep.abroad.missed(&cx.bare(), &client);
            });
        }
        _ => {}
    }
    Verdict::Continue
}

/// Whether an error carries back an event (RFC 6120 §8.3.1).
fn is_event(stanza: &Stanza) -> bool {
    stanza.element().view().root().child(EVENT, "event").is_some()
}

/// A contact was let see the account's presence: it is a new subscriber (XEP-0060 §9.1).
pub(super) fn approved(cx: &Cx, owner: &BareJid, contact: &BareJid) {
    if cx.router.serves(contact.domain()) {
        return last::approved(cx, owner, contact);
    }
    for client in caps::remote(cx).all_of(contact.as_str()) {
        greet(cx, owner, client);
    }
}

/// Sends a client of a contact the last items of what it wants, once.
fn greet(cx: &Cx, owner: &BareJid, client: Jid) {
    let nodes = caps::remote(cx).nodes(&client);
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

    /// A client has not heard what an account sent: it hears the last items when its presence comes again.
    pub(super) fn missed(&self, owner: &BareJid, client: &Jid) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = all.get_mut(client).and_then(|of_client| of_client.get_mut(owner)) {
            heard.forget();
        }
    }

    fn forget(&self, client: &Jid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(client);
    }
}

/// Accounts of which one client hears the last items.
const OWNERS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_account_sent_in_vain_others_have_sent_all_the_same() {
        let abroad = Abroad::default();
        let (a, b) = (BareJid::parse("a@x").unwrap(), BareJid::parse("b@x").unwrap());
        let client = Jid::parse("u@far.example/r").unwrap();
        let nodes = [Arc::<str>::from("n")];
        for owner in [&a, &b] {
            assert!(abroad.want(owner, &client, &nodes));
            assert!(abroad.next(owner, &client).is_some() && abroad.next(owner, &client).is_none());
        }
        abroad.missed(&a, &client);
        assert!(abroad.want(&a, &client, &nodes), "once more");
        assert!(!abroad.want(&b, &client, &nodes));
    }

    #[test]
    fn an_event_is_known_when_it_comes_back() {
        let error = |payload: &str| {
            let xml = format!("<message type='error' from='u@far.example/r'>{payload}</message>");
            is_event(&Stanza::ours(xml.into()).unwrap())
        };
        assert!(error(&format!("<event xmlns='{EVENT}'/><error type='cancel'/>")));
        assert!(!error("<body>hi</body><error type='cancel'/>"));
    }
}
