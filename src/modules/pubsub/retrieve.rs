//! What is only read: items (XEP-0060 §6.5), an entity's subscriptions and affiliations (§5.6, §5.7), nodes
//! and what they are (§5.2 to §5.5).

use super::access::{self, Affiliation, Asker, Standing};
use super::errors::{self, Step};
use super::event::{self, Outcome};
use super::forms;
use super::request::NS;
use super::rows::{self, NodeRow, Placed, Stretch};
use super::service::Kind;
use super::work::Work;
use crate::stanza::StanzaError;
use crate::stanza::rsm::{Rsm, Set};
use crate::xml::writer::Xml;

/// §6.5
pub(super) fn items(
    work: &mut Work<'_>,
    name: &str,
    ids: &[String],
    newest: Option<usize>,
    page: &Rsm,
) -> Step<Outcome> {
    let node = readable(work, name)?;
    let after = work.alive(&node.config);
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("items").attr("node", name);
    if ids.is_empty() {
        let page = Page::read(work, &node, after, newest, page)?;
        page.items.iter().for_each(|placed| placed.item.write(&mut xml, &node.config, true));
        xml.end();
        page.write_set(&mut xml);
    } else {
        // §6.5.9.12: what is not there is left out.
        let mut left = work.service.limits.answer_bytes;
        for id in ids {
            let Some(placed) = rows::item(work.tx, node.id, id, after)? else { continue };
            let bytes = placed.item.written();
            placed.item.write(&mut xml, &node.config, true);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                // One item alone is always given.
                None if ids.len() == 1 => {}
                None => {
                    return Err(StanzaError::policy_violation()
                        .text("that is too much at once: request fewer items")
                        .into());
                }
            }
        }
        xml.end();
    }
    xml.end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

/// The node, if the asker may retrieve its items, and there can be any (§6.5.9).
fn readable(work: &mut Work<'_>, name: &str) -> Step<NodeRow> {
    let node = work.node(name)?;
    let standing = work.standing(node.id)?;
    access::may_retrieve(&node.config, standing, work.asker)?;
    // §6.5.9.4, and not §6.5.5.
    if !node.config.persist_items && node.items == 0 {
        return Err(errors::unsupported("persistent-items").into());
    }
    Ok(node)
}

struct Page {
    items: Vec<Placed>,
    /// The place of its first item, and how many there are; given if the asker pages, or has to.
    place: Option<(usize, usize)>,
}

impl Page {
    fn read(
        work: &mut Work<'_>,
        node: &NodeRow,
        after: i64,
        newest: Option<usize>,
        rsm: &Rsm,
    ) -> Step<Self> {
        let bytes = work.service.limits.answer_bytes;
        let cap = work.service.limits.items as usize;
        let all = Stretch { node: node.id, from: i64::MIN, to: i64::MAX, after };
        // §6.5.7, the older way.
        if let (Some(number), true) = (newest, *rsm == Rsm::default()) {
            let (items, is_cut) = rows::page(work.tx, all, true, (0, number.min(cap)), bytes)?;
            return Self::placed(work, all, items, is_cut);
        }
        let mut stretch = all;
        if let Some(id) = &rsm.after {
            stretch.from = place(work, node, id)?;
        }
        if let Some(id) = rsm.before.as_ref().filter(|id| !id.is_empty()) {
            stretch.to = place(work, node, id)?;
        }
        let most = rsm.max.unwrap_or(cap).min(cap);
        // XEP-0059 §2.5: pages backwards.
        let back = rsm.before.is_some();
        let skip = rsm.index.unwrap_or(0).min(cap);
        let (items, is_cut) = rows::page(work.tx, stretch, back, (skip, most), bytes)?;
        // §6.5.4: whoever does not page is told that there is more.
        let pages = *rsm != Rsm::default();
        Self::placed(work, all, items, pages || is_cut)
    }

    fn placed(work: &mut Work<'_>, all: Stretch, items: Vec<Placed>, pages: bool) -> Step<Self> {
        if !pages {
            return Ok(Self { items, place: None });
        }
        let count = rows::count(work.tx, all)?;
        let index = match items.first() {
            Some(first) => rows::count(work.tx, Stretch { to: first.seq, ..all })?,
            None => 0,
        };
        Ok(Self { items, place: Some((index, count)) })
    }

    fn write_set(&self, xml: &mut Xml) {
        let Some((index, count)) = self.place else { return };
        let edges = self.items.first().zip(self.items.last());
        let edges = edges.map(|(first, last)| (first.item.id.as_str(), last.item.id.as_str()));
        let index = edges.map(|_| index);
        Set { edges, index, count: Some(count) }.write(xml);
    }
}

/// XEP-0059 §2.2: an item that is not there is `item-not-found`.
fn place(work: &mut Work<'_>, node: &NodeRow, id: &str) -> Step<i64> {
    let found = rows::item(work.tx, node.id, id, i64::MIN)?;
    Ok(found.ok_or_else(|| StanzaError::item_not_found().text("the page begins at no item"))?.seq)
}

/// §5.6: all of the asker's addresses.
pub(super) fn subscriptions(work: &mut Work<'_>, node: Option<&str>) -> Step<Outcome> {
    let bare = work.asker.jid.bare_str();
    let all = rows::subscriptions_at(work.tx, work.service.key, bare)?;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("subscriptions").attr_opt("node", node);
    for (name, jid, state) in all.iter().filter(|(name, ..)| node.is_none_or(|only| only == name)) {
        xml.start("subscription").attr("node", name).attr("jid", jid.as_str());
        xml.attr("subscription", state.as_str()).end();
    }
    xml.end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

/// §5.7
pub(super) fn affiliations(work: &mut Work<'_>, node: Option<&str>) -> Step<Outcome> {
    let bare = work.asker.jid.bare_str();
    // Whoever administers a service has the rights of owners, and is not listed as one.
    let all = match work.asker.is_owner && work.service.kind == Kind::Pep {
        true => {
            let nodes = rows::list(work.tx, work.service.key)?.into_iter();
            nodes.map(|node| (node.name, Affiliation::Owner)).collect()
        }
        false => rows::affiliations_of(work.tx, work.service.key, bare)?,
    };
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", NS).start("affiliations").attr_opt("node", node);
    for (name, affiliation) in all.iter().filter(|(name, _)| node.is_none_or(|only| only == name)) {
        xml.start("affiliation").attr("node", name);
        xml.attr("affiliation", affiliation.as_str()).end();
    }
    xml.end().end();
    Ok(Outcome { payload: xml.finish().to_vec(), events: Vec::new() })
}

/// A node in a list of all (§5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub node: String,
    /// Its title, if it has one.
    pub title: Option<String>,
}

/// The nodes that the asker may subscribe to, or retrieve items from (XEP-0163 §6.2: and no others).
pub(super) fn listed(work: &mut Work<'_>) -> Step<Vec<Listed>> {
    let (bare, key) = (work.asker.jid.bare_str(), work.service.key);
    let affiliations = match work.asker.is_owner {
        true => Vec::new(),
        false => rows::affiliations_of(work.tx, key, bare)?,
    };
    let subscriptions = rows::subscriptions_at(work.tx, key, bare)?;
    let standing = |name: &str| {
        let listed = affiliations.iter().find(|(node, _)| node == name).map(|(_, of)| *of);
        let own = subscriptions.iter().filter(|(node, ..)| node == name);
        Standing {
            affiliation: match work.asker.is_owner {
                true => Affiliation::Owner,
                false => listed.unwrap_or(Affiliation::None),
            },
            subscription: event::best(own.map(|(.., state)| *state)),
        }
    };
    let nodes = rows::list(work.tx, key)?.into_iter();
    let shown = nodes.filter(|node| is_shown(node, standing(&node.name), work.asker));
    let listed = shown.map(|node| {
        let title = Some(node.config.title).filter(|title| !title.is_empty());
        Listed { node: node.name, title }
    });
    Ok(listed.collect())
}

fn is_shown(node: &NodeRow, standing: Standing, asker: &Asker) -> bool {
    access::may_retrieve(&node.config, standing, asker).is_ok()
        || access::may_subscribe(&node.config, standing, asker).is_ok()
}

/// The node's meta-data form (§5.4). For who may not even subscribe there is no such node.
pub(super) fn meta_data(work: &mut Work<'_>, name: &str) -> Step<Vec<u8>> {
    let node = work.node(name)?;
    let standing = work.standing(node.id)?;
    if !is_shown(&node, standing, work.asker) {
        return Err(StanzaError::item_not_found().into());
    }
    let audience = work.audience(&node)?;
    Ok(forms::meta_data(&node.creator, node.created, &audience))
}

/// The ids of a node's items (§5.5).
pub(super) fn item_ids(work: &mut Work<'_>, name: &str) -> Step<Vec<String>> {
    let node = work.node(name)?;
    let standing = work.standing(node.id)?;
    access::may_retrieve(&node.config, standing, work.asker)?;
    let after = work.alive(&node.config);
    Ok(rows::ids(work.tx, node.id, after)?)
}
