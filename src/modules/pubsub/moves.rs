//! Nodes as XEP-0227 writes them (§4.10): configuration, affiliations, subscriptions, items.

use super::access::{Affiliation, Asker, SubState};
use super::config::{AccessModel, Bound, NodeConfig};
use super::engine;
use super::fields;
use super::forms::{self, Settings};
use super::request::{NS, NewItem, OWNER, Publish, Request};
use super::rows::{self, NodeRow, Stretch};
use super::service::Service;
use crate::base::hash::{hex, sha256};
use crate::jid::Jid;
use crate::modules::api::{Out, Tag, Taken, Taking};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Form, Written};
use crate::store::tx::StoreError;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The element around configurations, and that around items.
pub const AROUND: [(&str, &str); 2] = [(OWNER, "pubsub"), (NS, "pubsub")];
/// The element around the items of one node.
pub const ITEMS: (&str, &str) = (NS, "items");

/// What is refused, for people.
pub fn why(error: &StanzaError) -> String {
    let text = error.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let name = error.application.map_or_else(|| error.condition.as_str(), |(_, name)| name);
    format!("{name}{text}")
}

/// Does requests as the owner of a service, without telling anybody.
pub fn act(
    taking: &mut Taking<'_>,
    service: &Service,
    requests: &[Request],
) -> Result<Result<(), StanzaError>, StoreError> {
    let owner = Asker::owner(Jid::from(&service.jid));
    for request in requests {
        if let Err(error) = engine::handle(taking.tx, service, &owner, request, taking.now)? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// `<configure/>`: makes the node.
pub fn configure(
    taking: &mut Taking<'_>,
    service: &Service,
    element: Node<'_>,
) -> Result<Taken, StoreError> {
    let Some(node) = element.attr("node").filter(|node| !node.is_empty()) else {
        return Ok(Taken::not("a node", "it has no name"));
    };
    if rows::find(taking.tx, service.key, node)?.is_some() {
        return Ok(Taken::There);
    }
    let Ok(form) = Form::moved(element) else {
        return Ok(Taken::not(node, "its form cannot be read"));
    };
    let config = config(service, node, form.as_ref());
    let settings = Some(settings(service, &config));
    let create = Request::Create { node: Some(node.to_owned()), settings };
    Ok(match act(taking, service, &[create])? {
        Ok(()) => Taken::New,
        Err(error) => Taken::not(node, why(&error)),
    })
}

/// The configuration that a form means: options that are not known are left out (§4.10.1); but who may read is never
/// more than it says.
fn config(service: &Service, node: &str, form: Option<&Form<'_>>) -> NodeConfig {
    let mut config = (service.defaults)(node);
    for field in form.into_iter().flat_map(Form::fields) {
        let Some(known) = fields::field(service.kind, field.var) else { continue };
        if !(known.set)(&mut config, &field.values) && known.name == "access_model" {
            config.access_model = AccessModel::Whitelist;
        }
    }
    if !service.kind.supports(config.access_model) {
        config.access_model = AccessModel::Whitelist;
    }
    if !service.kind.sends(config.send_last) {
        config.send_last = super::config::SendLast::OnSub;
    }
    let most = service.limits.items;
    if matches!(config.max_items, Bound::Of(items) if items == 0 || items > most) {
        config.max_items = Bound::Max;
    }
    for bound in [&mut config.item_expire, &mut config.max_payload_size] {
        if *bound == Bound::Of(0) {
            *bound = Bound::Max;
        }
    }
    config.contact.retain(|jid| Jid::parse(jid).is_ok());
    config
}

fn settings(service: &Service, config: &NodeConfig) -> Settings {
    Settings::whole(fields::of(service.kind).map(|field| (field.name, (field.get)(config))))
}

/// `<item/>` of a node.
pub fn item(
    taking: &mut Taking<'_>,
    service: &Service,
    node: &str,
    element: Node<'_>,
) -> Result<Taken, StoreError> {
    let payload = match element.children().next().map(Node::standalone) {
        Some(None) => return Ok(Taken::not(node, "an item declares too many namespaces")),
        Some(Some(payload)) => payload.into_owned().into_bytes(),
        None => Vec::new(),
    };
    let made = || hex(sha256(&payload).get(..16).unwrap_or_default());
    let id = element.attr("id").map_or_else(made, str::to_owned);
    let which = format!("{node} {id}");
    let key = format!("pubsub {node}");
    if let Some(row) = rows::find(taking.tx, service.key, node)? {
        let is_there = rows::item(taking.tx, row.id, &id, i64::MIN)?.is_some();
        // What a node of few items has is newer than what it had elsewhere.
        let is_full = row.items >= u64::from(row.config.max_items.within(service.limits.items));
        if is_there || (is_full && !taking.own.notes.contains_key(&key)) {
            return Ok(Taken::There);
        }
    }
    let item = Some(NewItem { id: Some(id), payload });
    let publish = Request::Publish(Publish { node: node.to_owned(), item, options: None });
    if let Err(error) = act(taking, service, &[publish])? {
        return Ok(Taken::not(which, why(&error)));
    }
    if taking.own.notes.len() < NOTES_MAX {
        taking.own.notes.insert(key, 1);
    }
    Ok(Taken::New)
}

/// `<affiliations/>` and `<subscriptions/>` of a node.
pub fn entities(
    taking: &mut Taking<'_>,
    service: &Service,
    element: Node<'_>,
) -> Result<Taken, StoreError> {
    let name = element.attr("node").unwrap_or_default();
    let Some(node) = rows::find(taking.tx, service.key, name)? else {
        return Ok(Taken::not(name, "there is no such node"));
    };
    let (mut new, mut refused) = (false, None);
    for entry in element.children() {
        match entity(taking, service, &node, entry)? {
            Taken::New => new = true,
            Taken::There => {}
            Taken::Not { which, why } => refused = Some((format!("{name} {which}"), why)),
        }
    }
    Ok(match refused {
        Some((which, why)) => Taken::Not { which, why },
        None if new => Taken::New,
        None => Taken::There,
    })
}

fn entity(
    taking: &mut Taking<'_>,
    service: &Service,
    node: &NodeRow,
    entry: Node<'_>,
) -> Result<Taken, StoreError> {
    let text = entry.attr("jid").unwrap_or_default();
    let Ok(jid) = Jid::parse(text) else { return Ok(Taken::not(text, "this is no address")) };
    let most = service.limits.entities;
    let full = || Ok(Taken::not(text, format!("a node may have {most} of them")));
    if entry.name() == "affiliation" {
        let to = entry.attr("affiliation").and_then(Affiliation::parse);
        let Some(to) = to else { return Ok(Taken::not(text, "there is no such affiliation")) };
        let all = rows::affiliations(taking.tx, node.id)?;
        let bare = jid.bare_str();
        // An account owns its nodes without being listed.
        let is_owner = bare == service.jid.as_str();
        if is_owner || to == Affiliation::None || all.iter().any(|(one, _)| one.as_str() == bare) {
            return Ok(Taken::There);
        }
        if all.len() >= most {
            return full();
        }
        rows::affiliate(taking.tx, node.id, bare, to)?;
        return Ok(Taken::New);
    }
    let state = entry.attr("subscription").and_then(SubState::parse);
    let Some(state) = state else { return Ok(Taken::not(text, "there is no such subscription")) };
    let all = rows::subscriptions(taking.tx, node.id)?;
    if state == SubState::None || all.iter().any(|(one, _)| *one == jid) {
        return Ok(Taken::There);
    }
    if all.len() >= most {
        return full();
    }
    rows::subscribe(taking.tx, node.id, &jid, state)?;
    Ok(Taken::New)
}

/// Gives all nodes of a service but some.
pub fn give(
    tx: &mut dyn crate::store::Tx,
    service: &Service,
    is_out: fn(&str) -> bool,
    out: Out<'_>,
) -> Result<(), StoreError> {
    let mut nodes = rows::list(tx, service.key)?;
    nodes.retain(|node| !is_out(&node.name));
    let [owner, user] = AROUND.map(|(ns, name)| Tag::new(ns, name));
    for node in &nodes {
        out(std::slice::from_ref(&owner), &configuration(service, node))?;
        if let Some(lists) = affiliated(tx, node)? {
            out(std::slice::from_ref(&owner), &lists)?;
        }
        if let Some(lists) = subscribed(tx, node)? {
            out(std::slice::from_ref(&owner), &lists)?;
        }
    }
    for node in &nodes {
        let within = [user.clone(), Tag::new(ITEMS.0, ITEMS.1).with("node", &node.name)];
        let mut stretch = Stretch { node: node.id, from: i64::MIN, to: i64::MAX, after: i64::MIN };
        loop {
            let (items, _) = rows::page(tx, stretch, false, (0, PAGE), PAGE_BYTES)?;
            let Some(last) = items.last() else { break };
            stretch.from = last.seq;
            for placed in &items {
                let mut xml = Xml::new();
                xml.start("item").attr("xmlns", NS).attr("id", &placed.item.id);
                xml.raw(&placed.item.payload).end();
                out(&within, &xml.finish())?;
            }
        }
    }
    Ok(())
}

fn configuration(service: &Service, node: &NodeRow) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("configure").attr("xmlns", OWNER).attr("node", &node.name);
    form::start(&mut xml, Written::Form, forms::NODE_CONFIG);
    for field in fields::of(service.kind) {
        let values = (field.get)(&node.config);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        form::field(&mut xml, field.ty, &format!("pubsub#{}", field.name), &values);
    }
    xml.end().end();
    xml.finish().to_vec()
}

fn affiliated(
    tx: &mut dyn crate::store::Tx,
    node: &NodeRow,
) -> Result<Option<Vec<u8>>, StoreError> {
    let all = rows::affiliations(tx, node.id)?;
    let mut xml = Xml::new();
    xml.start("affiliations").attr("xmlns", OWNER).attr("node", &node.name);
    for (jid, affiliation) in &all {
        xml.start("affiliation").attr("jid", jid.as_str());
        xml.attr("affiliation", affiliation.as_str()).end();
    }
    xml.end();
    Ok((!all.is_empty()).then(|| xml.finish().to_vec()))
}

fn subscribed(
    tx: &mut dyn crate::store::Tx,
    node: &NodeRow,
) -> Result<Option<Vec<u8>>, StoreError> {
    let all = rows::subscriptions(tx, node.id)?;
    let mut xml = Xml::new();
    xml.start("subscriptions").attr("xmlns", OWNER).attr("node", &node.name);
    for (jid, state) in &all {
        xml.start("subscription").attr("jid", jid.as_str());
        xml.attr("subscription", state.as_str()).end();
    }
    xml.end();
    Ok((!all.is_empty()).then(|| xml.finish().to_vec()))
}

/// Items that are read at once, and their bytes.
const PAGE: usize = 50;
const PAGE_BYTES: usize = 4 * 1_048_576;
/// Nodes of one account that are remembered.
const NOTES_MAX: usize = 10_000;
