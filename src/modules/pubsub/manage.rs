//! Owners' requests (XEP-0060 §8).

use super::access::{self, Affiliation, SubState};
use super::config::{AccessModel, NodeConfig};
use super::errors::{self, Step};
use super::event::{self, Event, EventKind, Outcome, To};
use super::forms::{self, Settings};
use super::publish;
use super::request::OWNER;
use super::rows::{self, NodeRow};
use super::service::Kind;
use super::subscribe::{settle, stays};
use super::work::{Work, notice};
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::xml::writer::Xml;

fn form(work: &Work<'_>, name: &str, node: Option<&str>, config: &NodeConfig) -> Outcome {
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", OWNER).start(name).attr_opt("node", node);
    forms::write(&mut xml, work.service.kind, config);
    xml.end().end();
    Outcome { payload: xml.finish().to_vec(), events: Vec::new() }
}

/// §8.3
pub(super) fn defaults(work: &Work<'_>) -> Outcome {
    form(work, "default", None, &(work.service.defaults)(""))
}

/// §8.2.1
pub(super) fn configuration(work: &mut Work<'_>, name: &str) -> Step<Outcome> {
    let node = work.owned(name)?;
    Ok(form(work, "configure", Some(name), &node.config))
}

/// §8.2.4
pub(super) fn configure(
    work: &mut Work<'_>,
    name: &str,
    settings: Option<&Settings>,
) -> Step<Outcome> {
    let before = work.owned(name)?;
    let Some(settings) = settings else { return Ok(Outcome::default()) };
    let mut config = before.config.clone();
    settings.apply(work.service.kind, &mut config)?;
    forms::check(work.service, &config)?;
    if config == before.config {
        return Ok(Outcome::default());
    }
    let (old, new) = (before.config.store().len(), config.store().len());
    work.has_room(&before.creator, new.saturating_sub(old) as u64)?;
    rows::configure(work.tx, &before, &config)?;
    // Fewer items may be kept now.
    publish::trim(work, name, &config)?;
    let node = NodeRow { config, ..before.clone() };
    let mut events = readmit(work, &before.config, &node)?;
    if node.config.notify_config && node.config.deliver_notifications {
        let mut xml = Xml::new();
        if node.config.deliver_payloads {
            forms::write_public(&mut xml, work.service.kind, &node.config);
        }
        let content = event::configured(name, &xml.finish());
        let to = To::Audience(work.audience(&node)?);
        events.push(notice(&node, EventKind::Configured, content, to));
    }
    Ok(Outcome { payload: Vec::new(), events })
}

/// Another access model, or other groups, hold for those who subscribed before, too.
fn readmit(work: &mut Work<'_>, before: &NodeConfig, node: &NodeRow) -> Step<Vec<Event>> {
    let model = node.config.access_model;
    let same_groups = node.config.roster_groups_allowed == before.roster_groups_allowed;
    if model == before.access_model && (same_groups || model != AccessModel::Roster) {
        return Ok(Vec::new());
    }
    let mut events = Vec::new();
    for (jid, state) in rows::subscriptions(work.tx, node.id)? {
        let affiliation = rows::affiliation(work.tx, node.id, jid.bare_str())?;
        let is_account = Jid::from(&work.service.jid) == Jid::from(jid.bare());
        let is_listed = is_account && work.service.kind == Kind::Pep || is_reader(affiliation);
        let to = match (state, model) {
            _ if is_listed => SubState::Subscribed,
            (_, AccessModel::Whitelist) => SubState::None,
            // Nobody has to be asked any more; whether presence lets them in they can try.
            (SubState::Pending, AccessModel::Open) => SubState::Subscribed,
            (SubState::Pending, AccessModel::Presence | AccessModel::Roster) => SubState::None,
            (_, AccessModel::Presence | AccessModel::Roster) => {
                match stays(work, node, &jid, state)? {
                    true => state,
                    false => SubState::None,
                }
            }
            (state, _) => state,
        };
        if to != state {
            events.extend(settle(work, node, &jid, to)?);
        }
    }
    Ok(events)
}

fn is_reader(affiliation: Affiliation) -> bool {
    matches!(affiliation, Affiliation::Owner | Affiliation::Publisher | Affiliation::Member)
}

/// §8.4
pub(super) fn delete(work: &mut Work<'_>, name: &str, redirect: Option<&str>) -> Step<Outcome> {
    let node = work.owned(name)?;
    let mut events = Vec::new();
    if node.config.notify_delete && node.config.deliver_notifications {
        let to = To::Audience(work.audience(&node)?);
        events.push(notice(&node, EventKind::Deleted, event::deleted(name, redirect), to));
    }
    rows::delete(work.tx, node.id)?;
    Ok(Outcome { payload: Vec::new(), events })
}

/// §8.5: one notification, however many items there were.
pub(super) fn purge(work: &mut Work<'_>, name: &str) -> Step<Outcome> {
    let node = work.owned(name)?;
    // §8.5.3.3
    if !node.config.persist_items {
        return Err(errors::unsupported("persistent-items").into());
    }
    rows::purge(work.tx, node.id)?;
    let mut events = Vec::new();
    if node.config.notify_retract && node.config.deliver_notifications {
        let to = To::Audience(work.audience(&node)?);
        events.push(notice(&node, EventKind::Purged, event::purged(name), to));
    }
    Ok(Outcome { payload: Vec::new(), events })
}

/// §8.8.1: pending ones are not shown.
pub(super) fn subscriptions(work: &mut Work<'_>, name: &str) -> Step<Outcome> {
    let node = work.owned(name)?;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", OWNER).start("subscriptions").attr("node", name);
    for (jid, state) in rows::subscriptions(work.tx, node.id)? {
        if state == SubState::Subscribed {
            xml.start("subscription").attr("jid", jid.as_str());
            xml.attr("subscription", state.as_str()).end();
        }
    }
    xml.end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

/// §8.8.2: all of the changes or none.
pub(super) fn set_subscriptions(
    work: &mut Work<'_>,
    name: &str,
    changes: &[(Jid, SubState)],
) -> Step<Outcome> {
    let node = work.owned(name)?;
    let known = rows::subscriptions(work.tx, node.id)?;
    let before = |jid: &Jid| known.iter().find(|(one, _)| one == jid).map(|(_, state)| *state);
    let mut new = 0;
    for (jid, to) in changes {
        let affiliation = rows::affiliation(work.tx, node.id, jid.bare_str())?;
        let is_barred = matches!(affiliation, Affiliation::Outcast | Affiliation::PublishOnly);
        let refused = match (to, before(jid)) {
            (SubState::None, _) => false,
            (SubState::Pending, _) => true,
            (SubState::Subscribed, Some(_)) => is_barred,
            // An account's events are not for those who never asked: each event would be so many messages.
            (SubState::Subscribed, None) => is_barred || work.service.kind == Kind::Pep,
        };
        if refused {
            return Err(StanzaError::not_acceptable().text("a subscription cannot be so").into());
        }
        new += usize::from(*to == SubState::Subscribed && before(jid).is_none());
    }
    if new > 0 && known.len() + new > work.service.limits.entities {
        return Err(errors::list_full().into());
    }
    let added = changes.iter().filter(|(jid, to)| *to != SubState::None && before(jid).is_none());
    add(work, &node, added.map(|(jid, _)| jid))?;
    let mut events = Vec::new();
    for (jid, to) in changes {
        if before(jid).unwrap_or(SubState::None) != *to {
            events.extend(settle(work, &node, jid, *to)?);
        }
    }
    Ok(Outcome { payload: Vec::new(), events })
}

/// §8.9.1
pub(super) fn affiliations(work: &mut Work<'_>, name: &str) -> Step<Outcome> {
    let node = work.owned(name)?;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", OWNER).start("affiliations").attr("node", name);
    let mut entry = |jid: &str, affiliation: Affiliation| {
        xml.start("affiliation").attr("jid", jid);
        xml.attr("affiliation", affiliation.as_str()).end();
    };
    if work.service.kind == Kind::Pep {
        entry(work.service.jid.as_str(), Affiliation::Owner);
    }
    for (jid, affiliation) in rows::affiliations(work.tx, node.id)? {
        entry(jid.as_str(), affiliation);
    }
    xml.end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

/// §8.9.2: all of the changes or none.
pub(super) fn set_affiliations(
    work: &mut Work<'_>,
    name: &str,
    changes: &[(Jid, Affiliation)],
) -> Step<Outcome> {
    let node = work.owned(name)?;
    let known = rows::affiliations(work.tx, node.id)?;
    let is_account =
        |jid: &Jid| work.service.kind == Kind::Pep && jid.as_str() == work.service.jid.as_str();
    let before = |jid: &Jid| match known.iter().find(|(one, _)| one == jid) {
        _ if is_account(jid) => Affiliation::Owner,
        Some((_, affiliation)) => *affiliation,
        None => Affiliation::None,
    };
    for (jid, to) in changes {
        let is_self = jid.as_str() == work.asker.jid.bare_str();
        let may = access::may_become(before(jid), *to, is_self, work.asker.is_owner);
        if !may || (is_account(jid) && *to != Affiliation::Owner) {
            return Err(StanzaError::not_acceptable().text("an affiliation cannot be so").into());
        }
    }
    let changed: Vec<_> = changes.iter().filter(|(jid, to)| before(jid) != *to).collect();
    // §8.9.2.4: one owner must be left.
    let to = |jid: &Jid| changed.iter().find(|(one, _)| one == jid).map(|(_, to)| *to);
    let kept = known.iter().filter(|(jid, of)| to(jid).unwrap_or(*of) == Affiliation::Owner);
    let new = changed
        .iter()
        .filter(|(jid, to)| *to == Affiliation::Owner && before(jid) == Affiliation::None);
    if work.service.kind == Kind::Service && kept.count() + new.count() == 0 {
        return Err(StanzaError::not_acceptable().text("the node would have no owner").into());
    }
    let added = changed.iter().filter(|(jid, _)| before(jid) == Affiliation::None);
    let more = added.clone().count();
    if more > 0 && known.len() + more > work.service.limits.entities {
        return Err(errors::list_full().into());
    }
    add(work, &node, added.map(|(jid, _)| jid))?;
    let mut events = Vec::new();
    for (jid, to) in changed {
        rows::affiliate(work.tx, node.id, jid.as_str(), *to)?;
        events.extend(resubscribe(work, &node, jid, *to)?);
    }
    Ok(Outcome { payload: Vec::new(), events })
}

/// Whether there is room for these in a list.
fn add<'j>(work: &mut Work<'_>, node: &NodeRow, jids: impl Iterator<Item = &'j Jid>) -> Step<()> {
    let mut more = 0_u64;
    for jid in jids {
        work.fits_in_list(jid)?;
        more = more.saturating_add(rows::entry_weight(jid));
    }
    work.has_room(&node.creator, more)
}

/// §8.7.4: another affiliation answers what was asked, and ends what it does not allow.
fn resubscribe(
    work: &mut Work<'_>,
    node: &NodeRow,
    bare: &Jid,
    affiliation: Affiliation,
) -> Step<Vec<Event>> {
    let mut events = Vec::new();
    for (jid, state) in rows::subscriptions_of(work.tx, node.id, bare.as_str())? {
        let is_closed = node.config.access_model == AccessModel::Whitelist;
        let to = match affiliation {
            Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => {
                SubState::Subscribed
            }
            Affiliation::Outcast | Affiliation::PublishOnly => SubState::None,
            Affiliation::None if is_closed => SubState::None,
            Affiliation::None => state,
        };
        if to != state {
            events.extend(settle(work, node, &jid, to)?);
        }
    }
    Ok(events)
}
