//! Requests as they are read from the wire (XEP-0060 §17.1, §17.4), before anything is looked up.

use super::access::{Affiliation, SubState};
use super::errors;
use super::event;
use super::forms::Settings;
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::stanza::form::Form;
use crate::stanza::iq::IqType;
use crate::stanza::rsm::Rsm;
use crate::xml::ns;
use crate::xml::view::Node;

/// A request to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// §8.1; without a name the service finds one.
    Create {
        /// The node's name.
        node: Option<String>,
        /// What is not as usual.
        settings: Option<Settings>,
    },
    /// §7.1
    Publish(Publish),
    /// §7.2
    Retract {
        /// The node.
        node: String,
        /// The items; one at least.
        ids: Vec<String>,
        /// Whether subscribers are told, even if the node is not so configured.
        notify: bool,
    },
    /// §6.5
    Items {
        /// The node.
        node: String,
        /// Only these; all if there are none.
        ids: Vec<String>,
        /// The most recent ones (§6.5.7).
        newest: Option<usize>,
        /// The page.
        page: Rsm,
    },
    /// §6.1
    Subscribe {
        /// The node.
        node: String,
        /// The address to be notified.
        jid: Jid,
    },
    /// §6.2
    Unsubscribe {
        /// The node.
        node: String,
        /// The subscribed address.
        jid: Jid,
    },
    /// §5.6; at one node or at all.
    Subscriptions(Option<String>),
    /// §5.7; at one node or at all.
    Affiliations(Option<String>),
    /// §8.3
    Default,
    /// §8.2.1
    Configuration(String),
    /// §8.2.4; no settings if the person cancelled the form.
    Configure {
        /// The node.
        node: String,
        /// What is to change.
        settings: Option<Settings>,
    },
    /// §8.4
    Delete {
        /// The node.
        node: String,
        /// Where to look instead.
        redirect: Option<String>,
    },
    /// §8.5
    Purge(String),
    /// §8.8.1
    NodeSubscriptions(String),
    /// §8.8.2
    SetSubscriptions {
        /// The node.
        node: String,
        /// What is to change.
        changes: Vec<(Jid, SubState)>,
    },
    /// §8.9.1
    NodeAffiliations(String),
    /// §8.9.2
    SetAffiliations {
        /// The node.
        node: String,
        /// What is to change: bare JIDs, each once.
        changes: Vec<(Jid, Affiliation)>,
    },
    /// §8.6: an owner's answer to a request to subscribe, which comes in a message.
    Approve {
        /// The node.
        node: String,
        /// Who asked.
        jid: Jid,
        /// Whether it may.
        allow: bool,
    },
}

/// A publication (§7.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publish {
    /// The node.
    pub node: String,
    /// The item, if there is one.
    pub item: Option<NewItem>,
    /// What must be so (§7.1.5); a node that is made has it so.
    pub options: Option<Settings>,
}

/// An item to be published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewItem {
    /// Its id; the service makes one if there is none.
    pub id: Option<String>,
    /// One element, which declares all namespaces that it uses, or nothing.
    pub payload: Vec<u8>,
}

impl Request {
    /// Reads the `<pubsub/>` element of an IQ.
    pub fn read(ty: IqType, pubsub: Node<'_>) -> Result<Self, StanzaError> {
        let mut verbs = pubsub.children().filter(|child| child.ns() == pubsub.ns());
        let verb = verbs.next().ok_or_else(|| StanzaError::bad_request().text("nothing is asked for"))?;
        let beside = verbs.next();
        if verbs.next().is_some() {
            return Err(StanzaError::bad_request().text("more than one request"));
        }
        match (pubsub.ns(), ty) {
            (NS, IqType::Set) => set(verb, beside),
            // Only requests that change something have a second part (§17.1, §17.4).
            _ if beside.is_some() => Err(StanzaError::bad_request().text("more than one request")),
            (NS, IqType::Get) => ask(verb, pubsub),
            (OWNER, IqType::Get) => own_get(verb),
            (OWNER, IqType::Set) => own_set(verb),
            _ => Err(unknown()),
        }
    }

    /// An owner's answer in a message (§8.6). None if the message has no such form; `Some(Ok(None))` if it was
    /// cancelled, and everything stays as it is.
    pub fn approval(message: Node<'_>) -> Option<Result<Option<Self>, StanzaError>> {
        let form = message.child(ns::DATA_FORM, "x")?;
        let ty = form.children().find(|field| field.attr("var") == Some("FORM_TYPE"))?;
        if ty.child_text(ns::DATA_FORM, "value") != Some(AUTHORIZATION) {
            return None;
        }
        match form.attr("type") {
            Some("submit") => Some(approve(message).map(Some)),
            Some("cancel") => Some(Ok(None)),
            _ => None,
        }
    }

    /// Whether it changes anything: then it needs a transaction that writes.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::Items { .. }
                | Self::Subscriptions(_)
                | Self::Affiliations(_)
                | Self::Default
                | Self::Configuration(_)
                | Self::NodeSubscriptions(_)
                | Self::NodeAffiliations(_)
        )
    }

    /// Whether it gives this field of a node's configuration a value.
    pub fn sets(&self, var: &str) -> bool {
        let settings = match self {
            Self::Create { settings, .. } | Self::Configure { settings, .. } => settings,
            Self::Publish(publish) => &publish.options,
            _ => return false,
        };
        settings.as_ref().is_some_and(|settings| settings.mentions(var))
    }

    /// The node, if it is about one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Create { node, .. } | Self::Subscriptions(node) | Self::Affiliations(node) => {
                node.as_deref()
            }
            Self::Default => None,
            Self::Publish(publish) => Some(&publish.node),
            Self::Configuration(node)
            | Self::Purge(node)
            | Self::NodeSubscriptions(node)
            | Self::NodeAffiliations(node)
            | Self::Retract { node, .. }
            | Self::Items { node, .. }
            | Self::Subscribe { node, .. }
            | Self::Unsubscribe { node, .. }
            | Self::Configure { node, .. }
            | Self::Delete { node, .. }
            | Self::SetSubscriptions { node, .. }
            | Self::SetAffiliations { node, .. }
            | Self::Approve { node, .. } => Some(node),
        }
    }
}

/// No element of a request of this kind (§17).
fn unknown() -> StanzaError {
    StanzaError::bad_request().text("there is no such request")
}

fn no_address() -> StanzaError {
    StanzaError::jid_malformed().text("an entity's 'jid' is no address")
}

fn ask(verb: Node<'_>, pubsub: Node<'_>) -> Result<Request, StanzaError> {
    match verb.name() {
        "items" => items(verb, pubsub),
        "subscriptions" => Ok(Request::Subscriptions(optional_node(verb)?)),
        "affiliations" => Ok(Request::Affiliations(optional_node(verb)?)),
        // Subscriptions have no options (§6.3, §6.4).
        "options" => Err(errors::unsupported("subscription-options")),
        "default" => Err(errors::unsupported("retrieve-default-sub")),
        _ => Err(unknown()),
    }
}

fn set(verb: Node<'_>, beside: Option<Node<'_>>) -> Result<Request, StanzaError> {
    let beside = |name: &str| match beside {
        None => Ok(None),
        Some(element) if element.name() == name => Ok(Some(element)),
        Some(_) => Err(StanzaError::bad_request().text("two requests at once")),
    };
    match verb.name() {
        "publish" => publish(verb, beside("publish-options")?),
        "retract" => retract(verb, beside("")?),
        "create" => {
            let configure = beside("configure")?;
            // §8.1.3: the node has its name from `<create/>`.
            if configure.is_some_and(|element| element.attr("node").is_some()) {
                return Err(StanzaError::bad_request().text("the node is named twice"));
            }
            let settings = configure.map(Settings::configuration).transpose()?.flatten();
            Ok(Request::Create { node: optional_node(verb)?, settings })
        }
        "subscribe" => match beside("options")? {
            Some(_) => Err(errors::unsupported("subscription-options")),
            None => Ok(Request::Subscribe { node: node(verb)?, jid: jid(verb)? }),
        },
        "unsubscribe" => {
            beside("")?;
            Ok(Request::Unsubscribe { node: node(verb)?, jid: jid(verb)? })
        }
        "options" => Err(errors::unsupported("subscription-options")),
        _ => Err(unknown()),
    }
}

fn own_get(verb: Node<'_>) -> Result<Request, StanzaError> {
    match verb.name() {
        // §8.3.2
        "default" if verb.attr("type").is_some_and(|ty| ty != "leaf") => {
            Err(errors::unsupported("collections"))
        }
        "default" => Ok(Request::Default),
        "configure" => Ok(Request::Configuration(node(verb)?)),
        "subscriptions" => Ok(Request::NodeSubscriptions(node(verb)?)),
        "affiliations" => Ok(Request::NodeAffiliations(node(verb)?)),
        _ => Err(unknown()),
    }
}

fn own_set(verb: Node<'_>) -> Result<Request, StanzaError> {
    match verb.name() {
        "configure" => {
            let node = node(verb)?;
            if verb.child(ns::DATA_FORM, "x").is_none() {
                return Err(StanzaError::bad_request().text("there is no form"));
            }
            Ok(Request::Configure { node, settings: Settings::configuration(verb)? })
        }
        "delete" => {
            let redirect = verb.child(OWNER, "redirect").and_then(|it| it.attr("uri"));
            if redirect.is_some_and(|uri| uri.len() > URI_MAX) {
                return Err(StanzaError::bad_request().text("the address is too long"));
            }
            Ok(Request::Delete { node: node(verb)?, redirect: redirect.map(str::to_owned) })
        }
        "purge" => Ok(Request::Purge(node(verb)?)),
        "subscriptions" => {
            let changes = changes(verb, "subscription", SubState::parse)?;
            Ok(Request::SetSubscriptions { node: node(verb)?, changes })
        }
        "affiliations" => {
            let changes = changes(verb, "affiliation", Affiliation::parse)?;
            // §4.1: all of them are of bare JIDs.
            let bare = changes.into_iter().map(|(jid, to)| (Jid::from(jid.bare()), to));
            let changes = once(bare.collect())?;
            Ok(Request::SetAffiliations { node: node(verb)?, changes })
        }
        _ => Err(unknown()),
    }
}

fn publish(verb: Node<'_>, options: Option<Node<'_>>) -> Result<Request, StanzaError> {
    let node = node(verb)?;
    let mut items = verb.children().filter(|child| child.is(NS, "item"));
    let first = items.next();
    // §7.1.1: no longer more than one.
    if items.next().is_some() {
        return Err(StanzaError::bad_request().text("more than one item"));
    }
    let item = first.map(new_item).transpose()?;
    let options = options.map(Settings::options).transpose()?;
    Ok(Request::Publish(Publish { node, item, options }))
}

fn new_item(item: Node<'_>) -> Result<NewItem, StanzaError> {
    let mut payloads = item.children();
    let payload = payloads.next();
    // §7.1.3.6
    if payloads.next().is_some() {
        return Err(errors::invalid_payload());
    }
    let id = item.attr("id").filter(|id| !id.is_empty()).map(item_id).transpose()?;
    let alone = |payload: Node<'_>| payload.standalone().map(|xml| xml.into_owned().into_bytes());
    // §7.1.3.6; with what its ancestors declare it may have too many attributes to be sent to anybody.
    let payload = payload.map(|it| alone(it).ok_or_else(errors::invalid_payload)).transpose()?;
    Ok(NewItem { id, payload: payload.unwrap_or_default() })
}

fn retract(verb: Node<'_>, _: Option<Node<'_>>) -> Result<Request, StanzaError> {
    let node = node(verb)?;
    let notify = match verb.attr("notify") {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(StanzaError::bad_request().text("notify is no boolean")),
    };
    let ids = ids(verb)?;
    // §7.2.3.4
    if ids.is_empty() {
        return Err(errors::item_required());
    }
    Ok(Request::Retract { node, ids, notify })
}

fn items(verb: Node<'_>, pubsub: Node<'_>) -> Result<Request, StanzaError> {
    let newest = match verb.attr("max_items").map(str::parse) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => return Err(StanzaError::bad_request().text("not a number of items")),
    };
    Ok(Request::Items { node: node(verb)?, ids: ids(verb)?, newest, page: Rsm::read(pubsub)? })
}

fn ids(verb: Node<'_>) -> Result<Vec<String>, StanzaError> {
    let items = verb.children().filter(|child| child.is(NS, "item"));
    let ids = items.map(|item| match item.attr("id") {
        Some(id) if !id.is_empty() => item_id(id),
        _ => Err(errors::item_required()),
    });
    let mut ids = ids.take(IDS_MAX + 1).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = ids.iter().map(|id| event::written(id)).sum();
    if ids.len() > IDS_MAX || bytes > event::MESSAGE_BYTES {
        return Err(StanzaError::policy_violation().text("too many items at once"));
    }
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

fn item_id(id: &str) -> Result<String, StanzaError> {
    if id.len() > NAME_MAX {
        return Err(StanzaError::not_acceptable().text("the item's id is too long"));
    }
    Ok(id.to_owned())
}

fn node(verb: Node<'_>) -> Result<String, StanzaError> {
    optional_node(verb)?.ok_or_else(errors::nodeid_required)
}

/// Names are compared as they are written: what a client finds must be what it made.
fn optional_node(verb: Node<'_>) -> Result<Option<String>, StanzaError> {
    match verb.attr("node").filter(|node| !node.is_empty()) {
        Some(node) if node.len() > NAME_MAX => {
            Err(StanzaError::not_acceptable().text("the node's name is too long"))
        }
        node => Ok(node.map(str::to_owned)),
    }
}

fn jid(verb: Node<'_>) -> Result<Jid, StanzaError> {
    let jid = verb.attr("jid").ok_or_else(errors::jid_required)?;
    // §6.1.3.1: what is no JID is not the asker's either.
    Jid::parse(jid).map_err(|_| errors::invalid_jid())
}

/// The entries of an owner's list. One that names no new state changes nothing (§8.8.2.1, §8.9.2.1).
fn changes<T>(
    verb: Node<'_>,
    name: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Vec<(Jid, T)>, StanzaError> {
    let mut changes = Vec::new();
    for entry in verb.children().filter(|child| child.is(OWNER, name)) {
        let jid = entry.attr("jid").ok_or_else(errors::jid_required)?;
        let jid = Jid::parse(jid).map_err(|_| no_address())?;
        let Some(state) = entry.attr(name) else { continue };
        let state = parse(state)
            .ok_or_else(|| StanzaError::not_acceptable().text("there is no such state"))?;
        if changes.len() >= IDS_MAX {
            return Err(StanzaError::policy_violation().text("too many changes at once"));
        }
        changes.push((jid, state));
    }
    once(changes)
}

/// §8.9.2.4: each entity once.
fn once<T>(changes: Vec<(Jid, T)>) -> Result<Vec<(Jid, T)>, StanzaError> {
    let names: std::collections::BTreeSet<_> =
        changes.iter().map(|(jid, _)| jid.as_str()).collect();
    if names.len() < changes.len() {
        return Err(StanzaError::bad_request().text("an entity is there twice"));
    }
    Ok(changes)
}

fn approve(message: Node<'_>) -> Result<Request, StanzaError> {
    let form = Form::submitted(message)?.ok_or_else(StanzaError::bad_request)?;
    let missing = || StanzaError::bad_request().text("the form lacks a field");
    let node = form.value("pubsub#node")?.ok_or_else(missing)?;
    let jid = form.value("pubsub#subscriber_jid")?.ok_or_else(missing)?;
    let jid = Jid::parse(jid).map_err(|_| no_address())?;
    let allow = match form.value("pubsub#allow")? {
        Some("1" | "true") => true,
        Some("0" | "false") => false,
        _ => return Err(missing()),
    };
    Ok(Request::Approve { node: node.to_owned(), jid, allow })
}

/// The namespace of requests.
pub(super) const NS: &str = "http://jabber.org/protocol/pubsub";
/// The namespace of owners' requests.
pub(super) const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// The form of an owner's approval (§16.4.1).
pub(super) const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
/// Bytes of a node's name, and of an item's id.
const NAME_MAX: usize = 1_023;
/// Entries of one request: each is looked up, and written in one transaction.
const IDS_MAX: usize = 500;
/// Bytes of an address to redirect to.
const URI_MAX: usize = 2_000;
