//! Publishers' requests (XEP-0060 §7), and how a node comes to be (§8.1).

use super::access::{self, Affiliation, Standing};
use super::config::{NodeConfig, NodeFull, SendLast};
use super::errors::{self, Step};
use super::event::{self, Event, EventKind, Item, Outcome, To};
use super::forms::{self, Settings};
use super::request::{NS, NewItem, Publish};
use super::rows::{self, NodeRow};
use super::service::Kind;
use super::work::{Work, notice};
use crate::base::id::{OsRng, random, short};
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::xml::writer::Xml;

/// §8.1
pub(super) fn create(
    work: &mut Work<'_>,
    name: Option<&str>,
    settings: Option<&Settings>,
) -> Step<Outcome> {
    if !work.asker.may_create {
        return Err(StanzaError::forbidden().text("you may not create nodes here").into());
    }
    let made;
    let name = match name {
        Some(name) => name,
        None => {
            made = random(&mut OsRng);
            made.as_str()
        }
    };
    if rows::find(work.tx, work.service.key, name)?.is_some() {
        return Err(StanzaError::conflict().text("there is a node of this name").into());
    }
    let mut config = (work.service.defaults)(name);
    if let Some(settings) = settings {
        settings.apply(work.service.kind, &mut config)?;
    }
    let weight = rows::node_weight(name, work.asker.jid.bare_str(), &config);
    let creator = work.asker.jid.bare_str();
    work.has_room(creator, weight)?;
    new_node(work, name, config)?;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("create").attr("node", name).end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

fn new_node(work: &mut Work<'_>, name: &str, config: NodeConfig) -> Step<NodeRow> {
    forms::check(work.service, &config)?;
    let (key, limits, creator) =
        (work.service.key, &work.service.limits, work.asker.jid.bare_str());
    let (nodes, _) = rows::totals(work.tx, key)?;
    let (own, _) = match limits.creator_nodes < limits.nodes {
        true => rows::totals_of(work.tx, key, creator)?,
        false => (0, 0),
    };
    if nodes >= limits.nodes || own >= limits.creator_nodes {
        return Err(errors::max_nodes_exceeded().into());
    }
    let node = rows::insert(work.tx, key, name, creator, work.now, config)?;
    // An account owns all of its nodes and needs no row.
    if work.service.kind == Kind::Service {
        rows::affiliate(work.tx, node.id, creator, Affiliation::Owner)?;
    }
    Ok(node)
}

/// §7.1
pub(super) fn publish(work: &mut Work<'_>, request: &Publish) -> Step<Outcome> {
    let name = &request.node;
    let found = rows::find(work.tx, work.service.key, name)?;
    let (config, standing) = allowed(work, found.as_ref(), request)?;
    fits(work, &config, request.item.as_ref())?;
    let item = request.item.as_ref().map(|item| stamped(work, standing, item));
    let kept = item.as_ref().filter(|_| most(work, &config) > 0);
    if let Some(item) = kept {
        may_keep(work, found.as_ref(), &config, standing, item)?;
    }
    let more = weighs(work, &request.node, found.as_ref(), &config, kept)?;
    let creator = found.as_ref().map_or(work.asker.jid.bare_str(), |node| &node.creator);
    work.has_room(creator, more)?;
    // From here on it is done.
    let node = match found {
        Some(node) => node,
        None => new_node(work, name, config)?,
    };
    let gone = match kept {
        Some(item) => keep(work, &node, item)?,
        None => Vec::new(),
    };
    let events = told(work, &node, item.as_ref(), &gone)?;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("publish").attr("node", name);
    if let Some(item) = &item {
        xml.start("item").attr("id", &item.id).end();
    }
    xml.end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events })
}

/// What the node is, or will be, and what the asker is to it, if it may publish there and the options are met.
fn allowed(
    work: &mut Work<'_>,
    node: Option<&NodeRow>,
    request: &Publish,
) -> Step<(NodeConfig, Standing)> {
    let (options, kind) = (request.options.as_ref(), work.service.kind);
    if let Some(node) = node {
        let standing = work.standing(node.id)?;
        if !access::may_publish(&node.config, standing, work.asker) {
            return Err(StanzaError::forbidden().text(NO_PUBLISHER).into());
        }
        // §7.1.5, the first two cases
        let met = options.map_or(Ok(true), |options| options.are_met(kind, &node.config))?;
        return match met {
            true => Ok((node.config.clone(), standing)),
            false => Err(errors::precondition_not_met().into()),
        };
    }
    // §7.1.3.3: for who may not make nodes there is none.
    if !work.asker.may_create {
        return Err(StanzaError::item_not_found().into());
    }
    // §7.1.5, the third case
    let mut config = (work.service.defaults)(&request.node);
    options.map_or(Ok(()), |options| options.require(kind, &mut config))?;
    forms::check(work.service, &config)?;
    Ok((config, Standing { affiliation: Affiliation::Owner, ..Standing::NONE }))
}

/// The events of a publication, and of what had to go for it.
fn told(
    work: &mut Work<'_>,
    node: &NodeRow,
    item: Option<&Item>,
    gone: &[String],
) -> Step<Vec<Event>> {
    let config = &node.config;
    if !config.deliver_notifications {
        return Ok(Vec::new());
    }
    let to = To::Audience(work.audience(node)?);
    let mut events = Vec::new();
    let tells = config.publish_node_full == NodeFull::RetractOldest
        && config.notify_retract
        // Where there is only ever one, the next one says it.
        && most(work, config) > 1;
    if tells {
        let parts = event::retracted(&node.name, gone).into_iter();
        events.extend(parts.map(|part| notice(node, EventKind::Retracted, part, to.clone())));
    }
    let content = event::published(&node.name, config, item);
    let kind = EventKind::Published(item.map(|item| item.id.clone()));
    events.push(notice(node, kind, content, to));
    Ok(events)
}

/// §4.3, §7.1.3.5 to §7.1.3.7: what the node's kind of event wants.
fn fits(work: &Work<'_>, config: &NodeConfig, item: Option<&NewItem>) -> Result<(), StanzaError> {
    match (config.persist_items, config.deliver_payloads, item) {
        (false, false, Some(_)) => return Err(errors::item_forbidden()),
        (false, false, None) => return Ok(()),
        (_, _, None) => return Err(errors::item_required()),
        (_, true, Some(item)) if item.payload.is_empty() => {
            return Err(errors::payload_required());
        }
        _ => {}
    }
    let most = config.max_payload_size.within(work.service.limits.item_bytes);
    let bytes = item.map_or(0, |item| item.payload.len());
    if bytes > usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(errors::payload_too_big());
    }
    Ok(())
}

/// The item with an id, and with the JID that its publisher is known by: the bare one of who has an
/// affiliation, the full one of anyone else (§7.1.2.3).
fn stamped(work: &Work<'_>, standing: Standing, item: &NewItem) -> Item {
    let jid = &work.asker.jid;
    let publisher = match standing.affiliation {
        Affiliation::None => jid.as_str(),
        _ => jid.bare_str(),
    };
    let id = item.id.clone().unwrap_or_else(|| short(&mut OsRng));
    Item { id, publisher: publisher.to_owned(), at: work.now, payload: item.payload.clone() }
}

/// How many items the node keeps. Of one that keeps none the last is cached (§12.10).
pub(super) fn most(work: &Work<'_>, config: &NodeConfig) -> u64 {
    if !config.persist_items {
        return u64::from(config.send_last != SendLast::Never);
    }
    u64::from(config.max_items.within(work.service.limits.items))
}

/// Whether the item may be stored: it is no other publisher's (a service that let anyone write over it would
/// let anyone delete it), and the node takes it (§7.1.3.4).
fn may_keep(
    work: &mut Work<'_>,
    node: Option<&NodeRow>,
    config: &NodeConfig,
    standing: Standing,
    item: &Item,
) -> Step<()> {
    let before = match node {
        Some(node) => rows::item(work.tx, node.id, &item.id, i64::MIN)?.map(|placed| placed.item),
        None => None,
    };
    if let Some(before) = &before {
        let publisher = Jid::parse(&before.publisher).ok();
        if !access::may_replace(config, standing, work.asker, publisher.as_ref()) {
            return Err(StanzaError::forbidden().text(OF_ANOTHER).into());
        }
    }
    if let Some(node) = node
        && before.is_none()
        && config.persist_items
        && config.publish_node_full == NodeFull::Reject
    {
        let after = work.alive(config);
        let stretch = rows::Stretch { node: node.id, from: i64::MIN, to: i64::MAX, after };
        if rows::count(work.tx, stretch)? as u64 >= most(work, config) {
            return Err(errors::node_full().into());
        }
    }
    Ok(())
}

/// How much heavier the service is with this item, and the node if it is made for it.
fn weighs(
    work: &mut Work<'_>,
    name: &str,
    node: Option<&NodeRow>,
    config: &NodeConfig,
    item: Option<&Item>,
) -> Step<u64> {
    let own = item.map_or(0, rows::weight);
    let Some(node) = node else {
        return Ok(own.saturating_add(rows::node_weight(name, work.asker.jid.bare_str(), config)));
    };
    let Some(item) = item else { return Ok(0) };
    let before = rows::item(work.tx, node.id, &item.id, i64::MIN)?;
    let freed = match before {
        Some(before) => rows::weight(&before.item),
        // What the node itself gives up for it counts, or a full service could not change anything.
        None if most(work, config) == 1 => rows::items_weight(work.tx, node.id)?,
        None => 0,
    };
    Ok(own.saturating_sub(freed))
}

/// Stores an item; the ids of those that had to go for it.
fn keep(work: &mut Work<'_>, node: &NodeRow, item: &Item) -> Step<Vec<String>> {
    let alive = work.alive(&node.config);
    if alive > i64::MIN {
        rows::take_expired(work.tx, node.id, alive)?;
    }
    rows::put(work.tx, node.id, item)?;
    trim(work, &node.name, &node.config)
}

/// Deletes the oldest items of a node that has too many; their ids.
pub(super) fn trim(work: &mut Work<'_>, name: &str, config: &NodeConfig) -> Step<Vec<String>> {
    let Some(node) = rows::find(work.tx, work.service.key, name)? else { return Ok(Vec::new()) };
    let excess = node.items.saturating_sub(most(work, config));
    Ok(rows::take_oldest(work.tx, node.id, excess)?)
}

/// §7.2
pub(super) fn retract(
    work: &mut Work<'_>,
    name: &str,
    ids: &[String],
    notify: bool,
) -> Step<Outcome> {
    let node = work.node(name)?;
    let standing = work.standing(node.id)?;
    // §7.2.3.1 first: who may do nothing learns nothing of what is there.
    if !access::may_publish(&node.config, standing, work.asker) {
        return Err(StanzaError::forbidden().text(NO_PUBLISHER).into());
    }
    // §7.2.3.5
    if !node.config.persist_items && !node.config.deliver_payloads {
        return Err(errors::unsupported("persistent-items").into());
    }
    // §12.11: all or none of them.
    let after = work.alive(&node.config);
    for id in ids {
        let found = rows::item(work.tx, node.id, id, after)?;
        let Some(placed) = found else {
            return Err(StanzaError::item_not_found().text("there is no such item").into());
        };
        let publisher = Jid::parse(&placed.item.publisher).ok();
        if !access::may_replace(&node.config, standing, work.asker, publisher.as_ref()) {
            return Err(StanzaError::forbidden().text(OF_ANOTHER).into());
        }
    }
    for id in ids {
        rows::take(work.tx, node.id, id)?;
    }
    let mut events = Vec::new();
    if node.config.deliver_notifications && (notify || node.config.notify_retract) {
        let to = To::Audience(work.audience(&node)?);
        let parts = event::retracted(name, ids).into_iter();
        events.extend(parts.map(|part| notice(&node, EventKind::Retracted, part, to.clone())));
    }
    Ok(Outcome { payload: Vec::new(), events })
}

const NO_PUBLISHER: &str = "you may not publish at this node";
const OF_ANOTHER: &str = "the item is somebody else's";
