//! Service discovery of the service's nodes (XEP-0060 §5).

use super::pending;
use super::services::asked;
use crate::jid::BareJid;
use crate::modules::api::{Answer, Cx, NodeInfo, NodeItems};
use crate::modules::pubsub::{FEATURES, disco};
use crate::stanza::StanzaError;
use crate::stanza::rsm::Rsm;

/// What a node is.
pub(super) fn info(
    cx: Cx,
    at: BareJid,
    node: String,
) -> Answer<Result<Option<NodeInfo>, StanzaError>> {
    Box::pin(async move {
        if let Some(command) = pending::info(&node) {
            return Ok(Some(command));
        }
        disco::info(&cx, asked(&cx, &at).await?, node, FEATURES.to_vec()).await
    })
}

/// The nodes, or the items of one.
pub(super) fn items(
    cx: Cx,
    at: BareJid,
    node: Option<String>,
    rsm: Rsm,
) -> Answer<Result<Option<NodeItems>, StanzaError>> {
    Box::pin(async move {
        if let Some(commands) = node.as_deref().and_then(pending::items) {
            return Ok(Some(commands));
        }
        let of = asked(&cx, &at).await?;
        match node {
            Some(node) => disco::items(&cx, of, node, &rsm).await,
            None => disco::nodes(&cx, of, &rsm).await.map(Some),
        }
    })
}
