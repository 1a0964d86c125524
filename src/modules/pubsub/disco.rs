//! Service discovery of nodes (XEP-0060 §5), for accounts and services: each asker sees what it may.

use std::ops::Range;

use super::access::Asker;
use super::direct;
use super::service::Service;
use crate::modules::api::{Cx, Identity, NodeInfo, NodeItems};
use crate::stanza::StanzaError;
use crate::stanza::rsm::{Rsm, Set};
use crate::store::tx::Tx;
use crate::xml::writer::{Xml, escape_attr};

/// What a node is (§5.3, §5.4); none if the asker may not know of it.
pub async fn info(
    cx: &Cx,
    (service, asker): (Service, Asker),
    node: String,
    features: Vec<&'static str>,
) -> Result<Option<NodeInfo>, StanzaError> {
    let read = move |tx: &mut dyn Tx| direct::node_info(tx, &service, &asker, &node);
    let found = cx.store.read(read).await?;
    Ok(found.ok().map(|forms| NodeInfo {
        identities: vec![Identity { category: "pubsub", ty: "leaf", name: None }],
        features,
        forms,
    }))
}

/// The items of a node by name (§5.5), of which there may be thousands; none if the asker may not see them.
pub async fn items(
    cx: &Cx,
    (service, asker): (Service, Asker),
    node: String,
    rsm: &Rsm,
) -> Result<Option<NodeItems>, StanzaError> {
    let now = cx.now;
    let read = move |tx: &mut dyn Tx| direct::item_ids(tx, &service, &asker, &node, now);
    let Ok(ids) = cx.store.read(read).await? else { return Ok(None) };
    let (range, set) = page(&ids, String::as_str, |id| escape_attr(id).len(), rsm)?;
    let page = ids.get(range).unwrap_or_default();
    let items = page.iter().map(|id| (None, Some(id.clone()))).collect();
    Ok(Some(NodeItems { items, set }))
}

/// The nodes of a service (§5.2).
pub async fn nodes(
    cx: &Cx,
    (service, asker): (Service, Asker),
    rsm: &Rsm,
) -> Result<NodeItems, StanzaError> {
    let read = move |tx: &mut dyn Tx| direct::nodes(tx, &service, &asker);
    let nodes = cx.store.read(read).await?;
    let title = |node: &super::Listed| node.title.as_deref().map_or(0, |it| escape_attr(it).len());
    let weight = |node: &super::Listed| escape_attr(&node.node).len() + title(node);
    let (range, set) = page(&nodes, |node| &node.node, weight, rsm)?;
    let page = nodes.get(range).unwrap_or_default();
    let items = page.iter().map(|node| (Some(node.node.clone()), node.title.clone())).collect();
    Ok(NodeItems { items, set })
}

/// XEP-0059: which of all are given, and the set.
fn page<T>(
    all: &[T],
    name: impl Fn(&T) -> &str,
    weight: impl Fn(&T) -> usize,
    rsm: &Rsm,
) -> Result<(Range<usize>, Vec<u8>), StanzaError> {
    let place = |id: &String| all.iter().position(|known| name(known) == id);
    let max = rsm.max.unwrap_or(PAGE).min(PAGE);
    let (from, to) = match (&rsm.after, &rsm.before, rsm.index) {
        (Some(after), ..) => {
            let from = place(after).ok_or_else(StanzaError::item_not_found)? + 1;
            (from, from.saturating_add(max))
        }
        (None, Some(before), _) => {
            let to = match before.is_empty() {
                true => all.len(),
                false => place(before).ok_or_else(StanzaError::item_not_found)?,
            };
            (to.saturating_sub(max), to)
        }
        (None, None, index) => {
            let from = index.unwrap_or(0);
            (from, from.saturating_add(max))
        }
    };
    let (from, to) = (from.min(all.len()), to.min(all.len()));
    let page = all.get(from..to).unwrap_or_default();
    let mut left = PAGE_BYTES;
    let mut fits = |one: &&T| {
        let rest = left.checked_sub(weight(one));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    // The page is cut at the end that the next request goes on from.
    let range = match (&rsm.after, &rsm.before) {
        (None, Some(_)) => {
            let number = page.iter().rev().take_while(&mut fits).count();
            to.saturating_sub(number)..to
        }
        _ => from..from.saturating_add(page.iter().take_while(&mut fits).count()),
    };
    let mut xml = Xml::new();
    if *rsm != Rsm::default() || range.len() < all.len() {
        let page = all.get(range.clone()).unwrap_or_default();
        let edges = page.first().zip(page.last()).map(|(first, last)| (name(first), name(last)));
        let index = edges.map(|_| range.start);
        Set { edges, index, count: Some(all.len()) }.write(&mut xml);
    }
    Ok((range, xml.finish().to_vec()))
}

/// Names in one answer, and their bytes as they are written: each comes with the service's address.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    fn paged(ids: &[String], rsm: &Rsm) -> Result<(Vec<String>, String), StanzaError> {
        let (range, set) = page(ids, String::as_str, |id| escape_attr(id).len(), rsm)?;
        Ok((ids[range].to_vec(), String::from_utf8(set).unwrap()))
    }

    #[test]
    fn many_items_are_paged() {
        let ids: Vec<String> = (0..1_200).map(|n| format!("i{n:04}")).collect();
        let names = |rsm: Rsm| {
            let (page, set) = paged(&ids, &rsm).unwrap();
            assert!(set.contains("<count>1200</count>"), "{set}");
            (page.len(), page[0].clone(), page[page.len() - 1].clone())
        };
        let of = |first: &str, last: &str, len| (len, first.to_owned(), last.to_owned());
        assert_eq!(names(Rsm::default()), of("i0000", "i0499", 500));
        let after = Rsm { after: Some("i0499".into()), max: Some(2), ..Rsm::default() };
        assert_eq!(names(after), of("i0500", "i0501", 2));
        let last = Rsm { before: Some(String::new()), max: Some(3), ..Rsm::default() };
        assert_eq!(names(last), of("i1197", "i1199", 3));
        assert_eq!(names(Rsm { index: Some(1_190), ..Rsm::default() }), of("i1190", "i1199", 10));
        let none = paged(&ids, &Rsm { max: Some(0), ..Rsm::default() }).unwrap();
        assert!(none.0.is_empty() && none.1.contains("<count>1200</count>"), "{none:?}");
        let unknown = Rsm { after: Some("x".into()), ..Rsm::default() };
        assert!(paged(&ids, &unknown).is_err());
        assert!(paged(&ids[..3], &Rsm::default()).unwrap().1.is_empty());
    }

    #[test]
    fn a_page_of_long_names_is_shorter() {
        let ids: Vec<String> = (0..100).map(|n| format!("{}{n:02}", "'".repeat(1_000))).collect();
        let all = paged(&ids, &Rsm::default()).unwrap().0;
        assert_eq!((all.len(), all.first()), (43, ids.first()));
        let last = Rsm { before: Some(String::new()), ..Rsm::default() };
        let last = paged(&ids, &last).unwrap().0;
        assert_eq!((last.len(), last.last()), (43, ids.last()));
    }
}
