//! XEP-0490: what the user has read at another device, by the marks that it published, is no news for one that is
//! away.

use std::collections::BTreeSet;

use super::super::pubsub::{self, ServiceKey};
use super::registration;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::router::registry::AccountEntry;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Doc;

/// The node.
pub(super) const NODE: &str = "urn:xmpp:mds:displayed:0";

/// The marks changed: looks at those of the chats in which something waits.
pub(super) async fn changed(cx: Cx, account: AccountId, owner: BareJid) {
    // Nobody else may publish there; what a guest of the node did is looked at with the next one.
    if cx.bare() != owner {
        return;
    }
    let peers = cx.own(waiting).unwrap_or_default();
    if peers.is_empty() {
        return;
    }
    let read = move |tx: &mut dyn Tx| {
        let mut found = Vec::new();
        for peer in &peers {
            let item = pubsub::item(tx, ServiceKey::of(account), NODE, peer)?;
            found.extend(item.map(|item| (peer.clone(), item.payload)));
        }
        Ok(found)
    };
    let marks = match cx.store.read(read).await {
        Ok(marks) => marks,
        // The device is told of something that was read, as it would be without marks.
        Err(error) => return tracing::warn!(%error, "read marks could not be looked at for push"),
    };
    let position = |payload: &[u8]| {
        let doc = Doc::of(payload, NODE).ok()?;
        let id = doc.root().child(ns::STANZA_ID, "stanza-id")?;
        // §4.2: in rooms it is the room's, which tells nothing here.
        let id = id.attr("id").filter(|_| id.attr("by") == Some(owner.as_str()))?;
        cx.store.position_of_id(ArchiveId::of(account), id)
    };
    let marks = marks.into_iter().filter_map(|(peer, payload)| Some((peer, position(&payload)?)));
    let marks: Vec<(Box<str>, i64)> = marks.collect();
    cx.own(|entry| {
        let all = registration::all_mut(entry).into_iter().flat_map(|all| &mut all.0);
        for one in all {
            marks.iter().for_each(|(peer, seq)| one.waiting.read_to(peer, *seq));
        }
    });
}

fn waiting(entry: &mut AccountEntry) -> BTreeSet<Box<str>> {
    let all = registration::all(entry).into_iter().flat_map(|all| &all.0);
    all.flat_map(|one| one.waiting.peers()).map(Box::from).collect()
}
