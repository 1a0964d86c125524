//! Service discovery of an account's nodes (XEP-0060 §5, XEP-0163 §6): each asker sees those that it may
//! retrieve from.

use super::defaults::is_internal;
use super::owner::asked;
use crate::jid::BareJid;
use crate::modules::api::{Answer, Cx, NodeInfo, NodeItems};
use crate::modules::pubsub::{self, FEATURES, FEATURES_OF_PEP, disco};
use crate::stanza::StanzaError;
use crate::stanza::rsm::Rsm;
use crate::store::tx::Tx;
use crate::xml::writer::escape_attr;

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
        let features = [FEATURES, FEATURES_OF_PEP].concat();
        disco::info(&cx, (asked.service, asked.asker), node, features).await
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
        if let Some(node) = node {
            return disco::items(&cx, (asked.service, asked.asker), node, &rsm).await;
        }
        let read = move |tx: &mut dyn Tx| pubsub::nodes(tx, &asked.service, &asked.asker);
        let mut nodes = cx.store.read(read).await?;
        nodes.retain(|node| !is_internal(&node.node));
        // All nodes are named; what they are called as long as there is room.
        let mut left = TITLES_BYTES;
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
        Ok(Some(NodeItems { items, set: Vec::new() }))
    })
}

/// Bytes of the titles of nodes in one answer, as they are written.
const TITLES_BYTES: usize = 262_144;
