//! XEP-0084: User Avatar. An account's image is in its nodes; vcard-temp and presence (XEP-0153) show the same
//! one (XEP-0398).

mod image;
mod moves;
mod nodes;
mod shown;
mod stored;

use super::api::{AccountPart, Cx, Module, NodeMirror, NodeWatch, On, Spec};
use super::pubsub::{NewItem, Publish, Request, Settings};
use crate::jid::BareJid;
use crate::store::ids::AccountId;
pub use image::{Image, NoImage};
pub use nodes::{DATA, METADATA};
pub use stored::{Current, State, current};

/// The module.
pub const MODULE: Module = Module {
    name: "avatar",
    specs: &[
        Spec::whole("XEP-0084", "1.1.4", "features/avatar.rs"),
        Spec::whole("XEP-0153", "1.1.1", "features/avatar.rs"),
        Spec::whole("XEP-0398", "1.0.0", "features/avatar.rs"),
    ],
    // XEP-0398 §2
    features: &[On::Account("urn:xmpp:pep-vcard-conversion:0")],
    broadcast: Some(shown::note),
    stamp: Some(shown::stamp),
    mirrors: &[
        NodeMirror { node: METADATA, follow: stored::follow },
        NodeMirror { node: DATA, follow: stored::follow },
    ],
    watches: &[
        NodeWatch {
            node: METADATA,
            changed: |cx, account, jid| Box::pin(changed(cx, account, jid)),
        },
        NodeWatch { node: DATA, changed: |cx, account, jid| Box::pin(changed(cx, account, jid)) },
    ],
    sql: &[stored::CATALOGUE],
    weights: stored::WEIGHTS,
    moves: moves::MOVES,
    ..Module::EMPTY
};

/// XEP-0398 §3.2: what publishes this image, or says that there is none. Nodes that are not among those that are
/// there are made open to all, as vCards are.
pub fn publish(image: Option<&Image>, there: &[&str]) -> Vec<Request> {
    let publish = |node: &str, item| {
        let open = || Settings::new(&[("pubsub#access_model", "open")]);
        let options = (!there.contains(&node)).then(open);
        Request::Publish(Publish { node: node.to_owned(), item: Some(item), options })
    };
    let Some(image) = image else {
        let payload = format!("<metadata xmlns='{METADATA}'/>").into_bytes();
        let item = Some(NewItem { id: None, payload });
        return vec![Request::Publish(Publish { node: METADATA.to_owned(), item, options: None })];
    };
    let id = Some(image.id());
    vec![
        publish(DATA, NewItem { id: id.clone(), payload: image.data() }),
        publish(METADATA, NewItem { id, payload: image.metadata() }),
    ]
}

/// XEP-0398 §4: presence is sent again when the image changed.
async fn changed(cx: Cx, account: AccountId, jid: BareJid) {
    match cx.store.read(move |tx| Current::load(tx, account)).await {
        Ok(image) => shown::show(&cx, jid, image).await,
        Err(error) => tracing::warn!(%error, "presence shows an old avatar"),
    }
}
