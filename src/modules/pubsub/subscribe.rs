//! Subscribers' requests (XEP-0060 §6.1, §6.2), and owners' answers to them (§8.6). An address is subscribed
//! once to a node, so there are no subscription ids: one that a request names is ignored (§6.2.3.5).

use super::access::{self, Affiliation, Asker, Standing, SubState};
use super::errors::{self, Step};
use super::event::{Event, EventKind, Outcome, To};
use super::request::{AUTHORIZATION, NS};
use super::rows::{self, NodeRow};
use super::work::{Work, notice, tell_owners};
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::store::ids::Owner;
use crate::store::roster;
use crate::xml::writer::Xml;

/// §6.1
pub(super) fn subscribe(work: &mut Work<'_>, name: &str, jid: &Jid) -> Step<Outcome> {
    // §6.1.3.1
    if jid.bare_str() != work.asker.jid.bare_str() {
        return Err(errors::invalid_jid().into());
    }
    let node = work.node(name)?;
    let standing = work.standing(node.id)?;
    let state = access::may_subscribe(&node.config, standing, work.asker)?;
    let own = rows::subscriptions_of(work.tx, node.id, jid.bare_str())?;
    let before = own.iter().find(|(known, _)| known == jid).map(|(_, state)| *state);
    match (before, state) {
        // §6.1.3.7
        (Some(SubState::Pending), SubState::Pending) => {
            return Err(errors::pending_subscription().into());
        }
        // §6.1.6: one that exists is as though it were just approved.
        (Some(SubState::Subscribed), _) => {
            return Ok(answer(name, jid, SubState::Subscribed, Vec::new()));
        }
        _ => {}
    }
    // §6.1.3.9
    if before.is_none() {
        if own.len() >= ADDRESSES_MAX || has_too_many(work, &node, jid)? {
            return Err(errors::too_many_subscriptions().into());
        }
        work.fits_in_list(jid)?;
        work.has_room(&node.creator, rows::entry_weight(jid))?;
    }
    rows::subscribe(work.tx, node.id, jid, state)?;
    let mut events = Vec::new();
    if state == SubState::Pending {
        let to = To::Only(work.owners(node.id)?);
        events.push(notice(&node, EventKind::Request, request(&node, jid), to));
    } else {
        events.extend(tell_owners(work, &node, jid, state)?);
        events.extend(work.last_for(&node, jid)?);
    }
    Ok(answer(name, jid, state, events))
}

/// Whether the node, or whoever subscribes, has as many subscriptions as it may.
fn has_too_many(work: &mut Work<'_>, node: &NodeRow, jid: &Jid) -> Step<bool> {
    let limits = &work.service.limits;
    if rows::subscribers(work.tx, node.id)? >= limits.entities {
        return Ok(true);
    }
    if limits.subscriptions == usize::MAX {
        return Ok(false);
    }
    let all = rows::subscriptions_at(work.tx, work.service.key, jid.bare_str())?;
    Ok(all.len() >= limits.subscriptions)
}

/// §6.2
pub(super) fn unsubscribe(work: &mut Work<'_>, name: &str, jid: &Jid) -> Step<Outcome> {
    let node = work.node(name)?;
    // §6.2.3.3
    if jid.bare_str() != work.asker.jid.bare_str() {
        return Err(StanzaError::forbidden().text("this is a subscription of somebody else").into());
    }
    let own = rows::subscriptions_of(work.tx, node.id, jid.bare_str())?;
    if !own.iter().any(|(known, _)| known == jid) {
        return Err(errors::no_such_subscriber().into());
    }
    rows::subscribe(work.tx, node.id, jid, SubState::None)?;
    let events = tell_owners(work, &node, jid, SubState::None)?.into_iter().collect();
    Ok(answer(name, jid, SubState::None, events))
}

fn answer(node: &str, jid: &Jid, state: SubState, events: Vec<Event>) -> Outcome {
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("subscription").attr("node", node);
    xml.attr("jid", jid.as_str()).attr("subscription", state.as_str()).end().end();
    Outcome { payload: xml.finish().to_vec(), events }
}

/// §8.6: the form that owners get.
fn request(node: &NodeRow, jid: &Jid) -> bytes::Bytes {
    let mut xml = Xml::new();
    // For clients that know no such forms; and what has a body waits for an owner who is offline.
    xml.element("body", None, &format!("{jid} wants to subscribe to your node {}.", node.name));
    form::start(&mut xml, Written::Form, AUTHORIZATION);
    xml.element("title", None, "Someone wants to subscribe to a node");
    form::field(&mut xml, "text-single", "pubsub#node", &[&node.name]);
    form::field(&mut xml, "jid-single", "pubsub#subscriber_jid", &[jid.as_str()]);
    xml.start("field").attr("type", "boolean").attr("var", "pubsub#allow");
    xml.attr("label", "Allow this JID to subscribe?").element("value", None, "false").end();
    xml.end();
    xml.finish()
}

/// §8.6: the first answer of an owner counts.
pub(super) fn approve(work: &mut Work<'_>, name: &str, jid: &Jid, allow: bool) -> Step<Outcome> {
    let node = work.owned(name)?;
    let own = rows::subscriptions_of(work.tx, node.id, jid.bare_str())?;
    if !own.iter().any(|one| *one == (jid.clone(), SubState::Pending)) {
        return Err(StanzaError::item_not_found().text("nobody waits for that").into());
    }
    let state = if allow { SubState::Subscribed } else { SubState::None };
    Ok(Outcome { payload: Vec::new(), events: settle(work, &node, jid, state)? })
}

/// Gives an address another subscription, and tells it (§12.14).
pub(super) fn settle(
    work: &mut Work<'_>,
    node: &NodeRow,
    jid: &Jid,
    state: SubState,
) -> Step<Vec<Event>> {
    rows::subscribe(work.tx, node.id, jid, state)?;
    let mut events = vec![work.tell_subscription(node, jid, state)];
    if state == SubState::Subscribed {
        events.extend(work.last_for(node, jid)?);
    }
    Ok(events)
}

/// XEP-0163 §7.1: ends the subscriptions of somebody who lost access.
pub(super) fn recheck(work: &mut Work<'_>, contact: &Jid) -> Step<Vec<Event>> {
    let mut events = Vec::new();
    for (name, jid, state) in rows::subscriptions_at(work.tx, work.service.key, contact.bare_str())?
    {
        let node = work.node(&name)?;
        if !stays(work, &node, &jid, state)? {
            events.extend(settle(work, &node, &jid, SubState::None)?);
        }
    }
    Ok(events)
}

/// Whether a node lets an address in, as the account's roster has it now.
pub(super) fn stays(work: &mut Work<'_>, node: &NodeRow, jid: &Jid, state: SubState) -> Step<bool> {
    let asker = as_contact(work, jid)?;
    let affiliation = match asker.is_owner {
        true => Affiliation::Owner,
        false => rows::affiliation(work.tx, node.id, jid.bare_str())?,
    };
    let standing = Standing { affiliation, subscription: state };
    Ok(match state {
        SubState::Pending => access::may_subscribe(&node.config, standing, &asker).is_ok(),
        _ => access::may_retrieve(&node.config, standing, &asker).is_ok(),
    })
}

fn as_contact(work: &mut Work<'_>, jid: &Jid) -> Step<Asker> {
    let Owner::Account(account) = work.service.key.owner() else {
        return Ok(Asker::stranger(jid.clone()));
    };
    if jid.bare_str() == work.service.jid.as_str() {
        return Ok(Asker::owner(jid.clone()));
    }
    let item = roster::item(work.tx, account, jid.bare_str())?;
    let sees_presence = item.as_ref().is_some_and(|item| item.state.shows_presence());
    let groups = item.map(|item| item.groups.into_iter().collect()).unwrap_or_default();
    Ok(Asker { sees_presence, groups, ..Asker::stranger(jid.clone()) })
}

/// §8.7: what owners are asked about a node, again.
pub(super) fn pending(work: &mut Work<'_>, name: &str) -> Step<Vec<Event>> {
    let node = work.owned(name)?;
    let waiting = rows::subscriptions(work.tx, node.id)?.into_iter();
    let waiting = waiting.filter(|(_, state)| *state == SubState::Pending);
    let asker = work.asker.jid.clone();
    let event = |(jid, _): (Jid, SubState)| {
        let to = To::Only(vec![asker.clone()]);
        notice(&node, EventKind::Request, request(&node, &jid), to)
    };
    Ok(waiting.map(event).collect())
}

/// Addresses of one account that may be subscribed to one node.
const ADDRESSES_MAX: usize = 20;
