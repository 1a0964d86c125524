//! What others are told: the messages of XEP-0060, and to whom they go. The caller sends them.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::access::{self, Affiliation, Asker, Standing, SubState};
use super::config::{NodeConfig, NotificationType};
use crate::base::id::{OsRng, short};
use crate::jid::Jid;
use crate::stanza::Frame;
use crate::stanza::delay::delay;
use crate::xml::writer::{Xml, escape_attr};

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The payload of the result; may be empty.
    pub payload: Vec<u8>,
    /// What others are to be told, in this order.
    pub events: Vec<Event>,
}

/// One message, for one or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The node.
    pub node: String,
    /// What happened.
    pub kind: EventKind,
    /// The content of the message.
    pub content: Bytes,
    /// Of which type it is.
    pub headline: bool,
    /// Who gets it.
    pub to: To,
}

impl Event {
    /// The message from a service, to be addressed; `more` stands behind its content.
    pub fn frame(&self, from: &str, more: &[u8]) -> Frame {
        let mut tail = Vec::with_capacity(self.content.len() + more.len() + 16);
        tail.push(b'>');
        tail.extend_from_slice(&self.content);
        tail.extend_from_slice(more);
        tail.extend_from_slice(b"</message>");
        Frame::of(self.head(from), tail)
    }

    /// The same message for somebody else: each has an id of its own (§12.4).
    pub fn again(&self, from: &str, frame: &Frame) -> Frame {
        Frame::of(self.head(from), frame.tail.clone())
    }

    fn head(&self, from: &str) -> String {
        let (from, id) = (escape_attr(from), short(&mut OsRng));
        let ty = if self.headline { " type=\"headline\"" } else { "" };
        format!("<message from=\"{from}\" id=\"{id}\"{ty}")
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// An item was published; its id, if it has one (§7.1.2).
    Published(Option<String>),
    /// The last item, for somebody who is new (§6.1.7).
    Last,
    /// Items were deleted (§7.2.2.1).
    Retracted,
    /// All items were deleted (§8.5.2).
    Purged,
    /// The node was deleted (§8.4.2).
    Deleted,
    /// Its configuration changed (§8.2.5.3).
    Configured,
    /// A subscription changed (§12.14).
    Subscription,
    /// Somebody waits for an owner's approval (§8.6).
    Request,
}

/// Who gets an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// Whoever the node lets in: its subscribers, and those who are so by their presence (§9.1).
    Audience(Arc<Audience>),
    /// These, whatever the node says.
    Only(Vec<Jid>),
}

/// A node's audience as it was when something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The node's configuration.
    pub config: NodeConfig,
    /// Bare JIDs with an affiliation, sorted. A service's own owner may be missing.
    pub affiliations: Vec<(Jid, Affiliation)>,
    /// Who subscribed, by the address to be notified; sorted by the bare JID. Those that are pending are told
    /// of nothing but the node's end (§8.4.2).
    pub subscribers: Vec<(Jid, SubState)>,
}

impl Audience {
    /// Whether somebody is let in: asked for whoever subscribed by presence, and again for each subscriber of
    /// a node that goes by presence or roster, as these change without the node.
    pub fn admits(&self, asker: &Asker) -> bool {
        access::may_retrieve(&self.config, self.standing(asker), asker).is_ok()
    }

    /// What somebody is to the node.
    pub fn standing(&self, asker: &Asker) -> Standing {
        let bare = asker.jid.bare_str();
        let listed = self.affiliations.binary_search_by(|(jid, _)| jid.as_str().cmp(bare));
        let listed = listed.ok().and_then(|index| self.affiliations.get(index));
        let affiliation = match listed {
            _ if asker.is_owner => Affiliation::Owner,
            Some((_, affiliation)) => *affiliation,
            None => Affiliation::None,
        };
        let first = self.subscribers.partition_point(|(jid, _)| jid.bare_str() < bare);
        let own = self.subscribers.iter().skip(first).take_while(|(jid, _)| jid.bare_str() == bare);
        Standing { affiliation, subscription: best(own.map(|(_, state)| *state)) }
    }
}

/// The best of some subscriptions of one entity.
pub(super) fn best(states: impl Iterator<Item = SubState>) -> SubState {
    states.fold(SubState::None, |best, state| match (best, state) {
        (SubState::Subscribed, _) | (_, SubState::Subscribed) => SubState::Subscribed,
        (SubState::Pending, _) | (_, SubState::Pending) => SubState::Pending,
        _ => SubState::None,
    })
}

/// An item as it is told of and retrieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id, of its own within the node.
    pub id: String,
    /// The JID that its publisher is known by.
    pub publisher: String,
    /// When it was published, in microseconds since 1970.
    pub at: i64,
    /// The payload, which declares all namespaces that it uses; may be empty.
    pub payload: Vec<u8>,
}

impl Item {
    /// `<item/>`, with its publisher if the node says so (§7.1.2.3: then everywhere).
    pub(super) fn write(&self, xml: &mut Xml, config: &NodeConfig, with_payload: bool) {
        let shows = config.itemreply == super::config::ItemReply::Publisher;
        xml.start("item").attr("id", &self.id);
        xml.attr_opt("publisher", shows.then_some(self.publisher.as_str()));
        xml.raw(if with_payload { &self.payload } else { &[] }).end();
    }

    /// Bytes of it as it is written with its payload, or some more.
    pub(super) fn written(&self) -> usize {
        let names = escape_attr(&self.id).len() + escape_attr(&self.publisher).len();
        self.payload.len() + names + ELEMENT_BYTES
    }
}

/// `<event/>` around what `inner` writes, for this node.
fn event(inner: impl FnOnce(&mut Xml)) -> Xml {
    let mut xml = Xml::new();
    xml.start("event").attr("xmlns", EVENT);
    inner(&mut xml);
    xml.end();
    xml
}

/// §7.1.2.1, §7.1.2.2; with no item for a node that has neither items nor payloads (§4.3).
pub(super) fn published(node: &str, config: &NodeConfig, item: Option<&Item>) -> Bytes {
    let xml = event(|xml| {
        xml.start("items").attr("node", node);
        if let Some(item) = item {
            item.write(xml, config, config.deliver_payloads);
        }
        xml.end();
    });
    xml.finish()
}

/// §6.1.7: the last item, with the time when it was published.
pub(super) fn last(service: &str, node: &str, config: &NodeConfig, item: &Item) -> Bytes {
    let mut content = published(node, config, Some(item)).to_vec();
    let at: SystemTime = crate::base::time::from_micros(item.at);
    content.extend(delay(service, at));
    content.into()
}

/// §7.2.2.1; several messages, if one would be too long.
pub(super) fn retracted(node: &str, ids: &[String]) -> Vec<Bytes> {
    let mut bytes = 0;
    let parts = ids.chunk_by(|_, next| {
        bytes += written(next);
        let fits = bytes <= MESSAGE_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    });
    let message = |ids: &[String]| {
        let xml = event(|xml| {
            xml.start("items").attr("node", node);
            for id in ids {
                xml.start("retract").attr("id", id).end();
            }
            xml.end();
        });
        xml.finish()
    };
    parts.map(message).collect()
}

/// Bytes of an element that names this and little else.
pub(super) fn written(name: &str) -> usize {
    escape_attr(name).len() + ELEMENT_BYTES
}

/// §8.5.2
pub(super) fn purged(node: &str) -> Bytes {
    event(|xml| _ = xml.start("purge").attr("node", node).end()).finish()
}

/// §8.4.2
pub(super) fn deleted(node: &str, redirect: Option<&str>) -> Bytes {
    let xml = event(|xml| {
        xml.start("delete").attr("node", node);
        if let Some(uri) = redirect {
            xml.start("redirect").attr("uri", uri).end();
        }
        xml.end();
    });
    xml.finish()
}

/// §8.2.5.3; with the form, unless the node only notifies.
pub(super) fn configured(node: &str, form: &[u8]) -> Bytes {
    event(|xml| _ = xml.start("configuration").attr("node", node).raw(form).end()).finish()
}

/// §12.14
pub(super) fn subscription(node: &str, jid: &Jid, state: SubState) -> Bytes {
    let xml = event(|xml| {
        xml.start("subscription").attr("node", node).attr("jid", jid.as_str());
        xml.attr("subscription", state.as_str()).end();
    });
    xml.finish()
}

/// Whether a node's messages are headlines.
pub(super) fn is_headline(config: &NodeConfig) -> bool {
    config.notification_type == NotificationType::Headline
}

/// The namespace of events.
pub const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Bytes of an element of a list beside its names, or some more.
const ELEMENT_BYTES: usize = 60;
/// Bytes of what one message or request lists.
pub(super) const MESSAGE_BYTES: usize = 65_536;
