//! Service discovery of an account's nodes (XEP-0060 §5, XEP-0163 §6): each asker sees those that it may
//! retrieve from.

use super::owner::asked;
use crate::jid::BareJid;
use crate::modules::api::{Answer, Cx, Identity, NodeInfo, NodeItems};
use crate::modules::pubsub::{self, FEATURES, FEATURES_OF_PEP};
use crate::stanza::StanzaError;
use crate::stanza::rsm::{Rsm, Set};
use crate::store::tx::Tx;
use crate::xml::writer::{Xml, escape_attr};

/// What a node is.
pub(super) fn info(
    cx: Cx,
    at: BareJid,
    node: String,
) -> Answer<Result<Option<NodeInfo>, StanzaError>> {
    Box::pin(async move {
        if cx.account().is_err() {
            return Ok(None);
        }
        let asked = asked(&cx, Some(&at)).await?;
        let read =
            move |tx: &mut dyn Tx| pubsub::node_info(tx, &asked.service, &asked.asker, &node);
        let found = cx.store.read(read).await?;
        Ok(found.ok().map(|forms| NodeInfo {
            identities: vec![Identity { category: "pubsub", ty: "leaf", name: None }],
            features: [FEATURES, FEATURES_OF_PEP].concat(),
            forms,
        }))
    })
}

/// The nodes of an account, or the items of one.
pub(super) fn items(
    cx: Cx,
    at: BareJid,
    node: Option<String>,
    rsm: Rsm,
) -> Answer<Result<Option<NodeItems>, StanzaError>> {
    Box::pin(async move {
        if cx.account().is_err() {
            return Ok(None);
        }
        let asked = asked(&cx, Some(&at)).await?;
        let now = cx.now;
        let Some(node) = node else {
            let read = move |tx: &mut dyn Tx| pubsub::nodes(tx, &asked.service, &asked.asker);
            let nodes = cx.store.read(read).await?;
            // All nodes are named; what they are called as long as there is room.
            let mut left = PAGE_BYTES;
            let mut titled = |title: &String| {
                let bytes = escape_attr(title).len();
                let fits = bytes <= left;
                left -= if fits { bytes } else { 0 };
                fits
            };
            let (names, titles): (Vec<_>, Vec<_>) =
                nodes.into_iter().map(|node| (Some(node.node), node.title)).unzip();
            let titles = titles.into_iter().map(|title| title.filter(&mut titled));
            let items = names.into_iter().zip(titles).collect();
            return Ok(Some(NodeItems { items, set: Vec::new() }));
        };
        let read =
            move |tx: &mut dyn Tx| pubsub::item_ids(tx, &asked.service, &asked.asker, &node, now);
        let Ok(ids) = cx.store.read(read).await? else { return Ok(None) };
        page(&ids, &rsm).map(Some)
    })
}

/// XEP-0059: the names of items by name, of which there may be thousands.
fn page(ids: &[String], rsm: &Rsm) -> Result<NodeItems, StanzaError> {
    let place = |id: &String| ids.iter().position(|known| known == id);
    let max = rsm.max.unwrap_or(PAGE).min(PAGE);
    let (from, to) = match (&rsm.after, &rsm.before, rsm.index) {
        (Some(after), ..) => {
            let from = place(after).ok_or_else(StanzaError::item_not_found)? + 1;
            (from, from.saturating_add(max))
        }
        (None, Some(before), _) => {
            let to = match before.is_empty() {
                true => ids.len(),
                false => place(before).ok_or_else(StanzaError::item_not_found)?,
            };
            (to.saturating_sub(max), to)
        }
        (None, None, index) => {
            let from = index.unwrap_or(0);
            (from, from.saturating_add(max))
        }
    };
    let (from, to) = (from.min(ids.len()), to.min(ids.len()));
    let page = ids.get(from..to).unwrap_or_default();
    let mut left = PAGE_BYTES;
    let mut fits = |id: &&String| {
        let rest = left.checked_sub(escape_attr(id).len());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    // The page is cut at the end that the next request goes on from.
    let (from, page) = match (&rsm.after, &rsm.before) {
        (None, Some(_)) => {
            let number = page.iter().rev().take_while(&mut fits).count();
            let from = to.saturating_sub(number);
            (from, ids.get(from..to).unwrap_or_default())
        }
        _ => {
            let number = page.iter().take_while(&mut fits).count();
            (from, page.get(..number).unwrap_or_default())
        }
    };
    let mut xml = Xml::new();
    if *rsm != Rsm::default() || page.len() < ids.len() {
        let edges = page.first().zip(page.last());
        let edges = edges.map(|(first, last)| (first.as_str(), last.as_str()));
        let index = edges.map(|_| from);
        Set { edges, index, count: Some(ids.len()) }.write(&mut xml);
    }
    let items = page.iter().map(|id| (None, Some(id.clone()))).collect();
    Ok(NodeItems { items, set: xml.finish().to_vec() })
}

/// Names in one answer, and their bytes as they are written: each comes with the account's address.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_items_are_paged() {
        let ids: Vec<String> = (0..1_200).map(|n| format!("i{n:04}")).collect();
        let names = |rsm: Rsm| {
            let page = page(&ids, &rsm).unwrap();
            let name =
                |at: Option<&(Option<String>, Option<String>)>| at.unwrap().1.clone().unwrap();
            let set = String::from_utf8(page.set).unwrap();
            assert!(set.contains("<count>1200</count>"), "{set}");
            (page.items.len(), name(page.items.first()), name(page.items.last()))
        };
        let of = |first: &str, last: &str, len| (len, first.to_owned(), last.to_owned());
        assert_eq!(names(Rsm::default()), of("i0000", "i0499", 500));
        let after = Rsm { after: Some("i0499".into()), max: Some(2), ..Rsm::default() };
        assert_eq!(names(after), of("i0500", "i0501", 2));
        let last = Rsm { before: Some(String::new()), max: Some(3), ..Rsm::default() };
        assert_eq!(names(last), of("i1197", "i1199", 3));
        assert_eq!(names(Rsm { index: Some(1_190), ..Rsm::default() }), of("i1190", "i1199", 10));
        let unknown = Rsm { after: Some("x".into()), ..Rsm::default() };
        assert!(page(&ids, &unknown).is_err());
        assert!(page(&ids[..3], &Rsm::default()).unwrap().set.is_empty());
    }

    #[test]
    fn a_page_of_long_names_is_shorter() {
        let ids: Vec<String> = (0..100).map(|n| format!("{}{n:02}", "'".repeat(1_000))).collect();
        let all = page(&ids, &Rsm::default()).unwrap().items;
        assert_eq!((all.len(), all.first().unwrap().1.as_ref()), (43, ids.first()));
        let last = Rsm { before: Some(String::new()), ..Rsm::default() };
        let last = page(&ids, &last).unwrap().items;
        assert_eq!((last.len(), last.last().unwrap().1.as_ref()), (43, ids.last()));
    }
}
