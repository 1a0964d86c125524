//! Directed presence (RFC 6121 §4.6): the list of entities that must get unavailable presence when it ends.

use crate::jid::Jid;
use crate::modules::api::{Client, Cx};
use crate::router::presence as fanout;
use crate::router::registry::AccountEntry;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Stanza, StanzaError};

/// RFC 6121 §4.6.3: maintains the list; the router then delivers the stanza.
pub(super) fn directed(cx: &Cx, client: &Client, stanza: &Stanza) -> Result<(), StanzaError> {
    let Some(to) = stanza.to() else { return Ok(()) };
    let ty = PresenceType::parse(stanza.ty().as_deref())?;
    cx.router.guard_sent(stanza, &client.outbox).refused()?;
    let max = cx.router.limits.directed_presence_max;
    let own = client.jid.bare_str();
    if ty == PresenceType::Unavailable {
        fanout::unlist(&cx.router, to, &client.jid);
    }
    let note = |entry: &mut AccountEntry| match ty {
        // An account always sees its own presence.
        PresenceType::Available if to.bare_str() == own => Ok(()),
        PresenceType::Available => add(entry, client.session, to, max),
        PresenceType::Unavailable => {
            if let Some(resource) = entry.session_mut(client.session) {
                resource.directed.retain(|jid| jid != to);
            }
            Ok(())
        }
        _ => Ok(()),
    };
    cx.own(note).unwrap_or(Ok(()))
}

fn add(entry: &mut AccountEntry, session: u64, to: &Jid, max: usize) -> Result<(), StanzaError> {
    let subscribed = entry.subscription(to.bare_str()).shows_presence();
    let Some(resource) = entry.session_mut(session) else { return Ok(()) };
    // Case 1: a subscriber gets unavailable presence by broadcast. Case 3: but not from a session that was
    // never available.
    if (subscribed && resource.presence.is_some()) || resource.directed.contains(to) {
        return Ok(());
    }
    if resource.directed.len() >= max {
        let error = StanzaError::resource_constraint();
        return Err(error.text("directed presence to too many entities"));
    }
    resource.directed.push(to.clone());
    Ok(())
}
