//! What the server itself asks of a service: for discovery, for who comes online, and for modules that keep
//! something at an account's nodes.

use std::sync::Arc;
use std::time::SystemTime;

use super::access::{Affiliation, Asker, SubState};
use super::config::{NodeConfig, SendLast};
use super::errors::settled;
use super::event::{self, Audience, Event, EventKind, Item, To};
use super::retrieve::{self, Listed};
use super::rows;
use super::service::{Service, ServiceKey};
use super::subscribe;
use super::work::{Work, notice};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::store::tx::{StoreError, Tx};

/// The nodes that the asker may know of (§5.2).
pub fn nodes(tx: &mut dyn Tx, service: &Service, asker: &Asker) -> Result<Vec<Listed>, StoreError> {
    let mut work = Work { tx, service, asker, now: 0 };
    Ok(settled(retrieve::listed(&mut work))?.unwrap_or_default())
}

/// The form for disco#info of a node (§5.4), whose identity is `pubsub/leaf`.
pub fn node_info(
    tx: &mut dyn Tx,
    service: &Service,
    asker: &Asker,
    node: &str,
) -> Result<Result<Vec<u8>, StanzaError>, StoreError> {
    settled(retrieve::meta_data(&mut Work { tx, service, asker, now: 0 }, node))
}

/// The names for disco#items of a node (§5.5).
pub fn item_ids(
    tx: &mut dyn Tx,
    service: &Service,
    asker: &Asker,
    node: &str,
    now: SystemTime,
) -> Result<Result<Vec<String>, StanzaError>, StoreError> {
    settled(retrieve::item_ids(&mut Work { tx, service, asker, now: micros(now) }, node))
}

/// The last items of those of these nodes that send theirs to who comes online (XEP-0163 §4.3.4), each with
/// the audience: the caller asks it whom to let in ([`Audience::admits`]).
pub fn last_items(
    tx: &mut dyn Tx,
    service: &Service,
    nodes: &[&str],
    now: SystemTime,
) -> Result<Vec<Event>, StoreError> {
    let owner = Asker::owner((&service.jid).into());
    let work = Work { tx, service, asker: &owner, now: micros(now) };
    let mut events = Vec::new();
    for name in nodes {
        let Some(node) = rows::find(work.tx, service.key, name)? else { continue };
        let config = &node.config;
        if !config.deliver_notifications || config.send_last != SendLast::OnSubAndPresence {
            continue;
        }
        let after = work.alive(config);
        let Some(item) = rows::newest(work.tx, node.id, after)? else { continue };
        let content = event::last(service.jid.as_str(), name, config, &item);
        let audience = Audience {
            config: node.config.clone(),
            affiliations: rows::affiliations(work.tx, node.id)?,
            subscribers: rows::subscriptions(work.tx, node.id)?,
        };
        let to = To::Audience(Arc::new(audience));
        events.push(notice(&node, EventKind::Last, content, to));
    }
    Ok(events)
}

/// The names of all nodes whose last items are sent to who comes online.
pub fn nodes_on_presence(tx: &mut dyn Tx, service: ServiceKey) -> Result<Vec<String>, StoreError> {
    let sends = |node: &rows::NodeRow| {
        node.config.deliver_notifications && node.config.send_last == SendLast::OnSubAndPresence
    };
    let nodes = rows::list(tx, service)?.into_iter();
    Ok(nodes.filter(|node| sends(node) && node.items > 0).map(|node| node.name).collect())
}

/// An item of a node, whoever may see it.
pub fn item(
    tx: &mut dyn Tx,
    service: ServiceKey,
    node: &str,
    id: &str,
) -> Result<Option<Item>, StoreError> {
    let Some(node) = rows::find(tx, service, node)? else { return Ok(None) };
    Ok(rows::item(tx, node.id, id, i64::MIN)?.map(|placed| placed.item))
}

/// All items of a node in order, whoever may see them; none if there is no node. `None` if they are more than so
/// many bytes, as they are written.
pub fn items(
    tx: &mut dyn Tx,
    service: ServiceKey,
    node: &str,
    bytes: usize,
) -> Result<Option<Vec<Item>>, StoreError> {
    let Some(node) = rows::find(tx, service, node)? else { return Ok(Some(Vec::new())) };
    let all = rows::Stretch { node: node.id, from: i64::MIN, to: i64::MAX, after: i64::MIN };
    let (items, is_cut) = rows::page(tx, all, false, (0, usize::MAX), bytes)?;
    Ok((!is_cut).then(|| items.into_iter().map(|placed| placed.item).collect()))
}

/// The item of a node that was published last, whoever may see it.
pub fn newest(
    tx: &mut dyn Tx,
    service: ServiceKey,
    node: &str,
) -> Result<Option<Item>, StoreError> {
    let Some(node) = rows::find(tx, service, node)? else { return Ok(None) };
    rows::newest(tx, node.id, i64::MIN)
}

/// Whom the events of a node go to; none if there is no node.
pub fn audience(
    tx: &mut dyn Tx,
    service: ServiceKey,
    node: &str,
) -> Result<Option<Audience>, StoreError> {
    let Some(node) = rows::find(tx, service, node)? else { return Ok(None) };
    let (affiliations, subscribers) =
        (rows::affiliations(tx, node.id)?, rows::subscriptions(tx, node.id)?);
    Ok(Some(Audience { config: node.config, affiliations, subscribers }))
}

/// A node's configuration; none if there is no node.
pub fn node_config(
    tx: &mut dyn Tx,
    service: ServiceKey,
    node: &str,
) -> Result<Option<NodeConfig>, StoreError> {
    Ok(rows::find(tx, service, node)?.map(|node| node.config))
}

/// Whether some address of this entity subscribed to a node of the service, or asked to.
pub fn is_subscribed(tx: &mut dyn Tx, service: ServiceKey, jid: &Jid) -> Result<bool, StoreError> {
    Ok(!rows::subscriptions_at(tx, service, jid.bare_str())?.is_empty())
}

/// Ends the subscriptions of somebody who lost access to an account's nodes: what the roster says of them
/// changed (XEP-0163 §7.1).
pub fn recheck(
    tx: &mut dyn Tx,
    service: &Service,
    contact: &Jid,
    now: SystemTime,
) -> Result<Vec<Event>, StoreError> {
    let owner = Asker::owner((&service.jid).into());
    let mut work = Work { tx, service, asker: &owner, now: micros(now) };
    Ok(settled(subscribe::recheck(&mut work, contact))?.unwrap_or_default())
}

/// Ends all subscriptions of an address that cannot be reached any more (§12.4).
pub fn unreachable(tx: &mut dyn Tx, service: ServiceKey, jid: &Jid) -> Result<(), StoreError> {
    for (node, address, _) in rows::subscriptions_at(tx, service, jid.bare_str())? {
        if address == *jid
            && let Some(node) = rows::find(tx, service, &node)?
        {
            rows::subscribe(tx, node.id, jid, SubState::None)?;
        }
    }
    Ok(())
}

/// Whether some node deletes what a publisher published when it goes offline (`purge_offline`).
pub fn purges_offline(tx: &mut dyn Tx, service: ServiceKey) -> Result<bool, StoreError> {
    Ok(rows::list(tx, service)?.iter().any(|node| node.config.purge_offline))
}

/// The nodes that an entity owns.
pub fn owned(tx: &mut dyn Tx, service: ServiceKey, jid: &Jid) -> Result<Vec<String>, StoreError> {
    let all = rows::affiliations_of(tx, service, jid.bare_str())?.into_iter();
    Ok(all.filter(|(_, of)| *of == Affiliation::Owner).map(|(node, _)| node).collect())
}

/// What an owner is asked about a node, again (§8.7).
pub fn pending(
    tx: &mut dyn Tx,
    service: &Service,
    asker: &Asker,
    node: &str,
) -> Result<Result<Vec<Event>, StanzaError>, StoreError> {
    settled(subscribe::pending(&mut Work { tx, service, asker, now: 0 }, node))
}

/// Deletes what a publisher published at nodes that want it so, now that it is offline (`purge_offline`).
pub fn gone_offline(
    tx: &mut dyn Tx,
    service: &Service,
    publisher: &Asker,
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    for node in rows::list(tx, service.key)?.into_iter().filter(|node| node.config.purge_offline) {
        let gone = rows::take_of(tx, node.id, publisher.jid.bare_str())?;
        if gone.is_empty() || !node.config.notify_retract || !node.config.deliver_notifications {
            continue;
        }
        let mut work = Work { tx: &mut *tx, service, asker: publisher, now: 0 };
        let Ok(audience) = settled(work.audience(&node))? else { continue };
        let to = To::Audience(audience);
        let parts = event::retracted(&node.name, &gone).into_iter();
        events.extend(parts.map(|part| notice(&node, EventKind::Retracted, part, to.clone())));
    }
    Ok(events)
}

/// Deletes all nodes of a service.
pub fn delete_all(tx: &mut dyn Tx, service: ServiceKey) -> Result<(), StoreError> {
    rows::delete_all(tx, service)
}
