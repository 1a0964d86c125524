//! XEP-0402: PEP Native Bookmarks. The items of one node are the account's bookmarks. What older clients know
//! is the same in other words: one list (XEP-0048) in private XML (XEP-0049) or in a node of its own (XEP-0411).
//! That node is written with the items, in the same transaction.

mod convert;

use super::api::{Cx, Followed, Module, NodeMirror, On, PrivateXml, Spec};
use super::pep::{self, Owner};
use super::pubsub::{
    self, AccessModel, Bound, Limits, NewItem, Publish, Request, Service, ServiceKey, Settings,
};
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::tx::Tx;
use crate::xml::view::Doc;
use convert::{BOOKMARKS, STORAGE};

/// The module.
pub const MODULE: Module = Module {
    name: "bookmarks",
    specs: &[
        Spec::whole("XEP-0402", "1.2.0", "features/bookmarks.rs"),
        Spec::whole("XEP-0048", "1.2", "features/bookmarks.rs"),
        Spec::whole("XEP-0411", "1.1.0", "features/bookmarks.rs"),
    ],
    features: &[
        On::Account("urn:xmpp:bookmarks:1#compat"),
        On::Account("urn:xmpp:bookmarks:1#compat-pep"),
        On::Account("urn:xmpp:bookmarks-conversion:0"),
    ],
    private_xml: &[PrivateXml {
        ns: STORAGE,
        name: "storage",
        get: |cx| Box::pin(get(cx)),
        set: |cx, list| Box::pin(set(cx, list)),
    }],
    mirrors: &[
        NodeMirror { node: BOOKMARKS, follow: |tx, service, _| Ok(Ok(to_list(tx, service)?)) },
        NodeMirror { node: STORAGE, follow: to_items },
    ],
    ..Module::EMPTY
};

/// What is in private XML is the list in the node.
async fn get(cx: Cx) -> Result<Option<Vec<u8>>, StanzaError> {
    let account = Owner::requesting(&cx)?.account;
    let list =
        cx.store.read(move |tx| pubsub::newest(tx, ServiceKey::of(account), STORAGE)).await?;
    Ok(list.map(|list| list.payload))
}

/// §5.3.2: a list replaces the list.
async fn set(cx: Cx, list: Vec<u8>) -> Result<(), StanzaError> {
    let owner = Owner::requesting(&cx)?;
    // XEP-0411 §5: the owner alone has access.
    let options =
        Settings::new(&[("pubsub#persist_items", "true"), ("pubsub#access_model", "whitelist")]);
    let item = Some(NewItem { id: Some(CURRENT.to_owned()), payload: list });
    let publish = Publish { node: STORAGE.to_owned(), item, options: Some(options) };
    pep::act(&cx, owner, vec![Request::Publish(publish)]).await.map(drop)
}

/// §5.3.1
fn to_list(tx: &mut dyn Tx, service: &Service) -> Result<Vec<Request>, StoreError> {
    if !is_private(tx, service, STORAGE)? {
        return Ok(Vec::new());
    }
    let before = pubsub::newest(tx, service.key, STORAGE)?;
    let items = items(tx, service)?;
    let list = convert::list(&items, before.as_ref().map(|before| &*before.payload));
    if before.as_ref().is_some_and(|before| before.payload == list) {
        return Ok(Vec::new());
    }
    // A list that is too long to be kept is rather none than wrong.
    let Limits { item_bytes, .. } = service.limits;
    if u32::try_from(list.len()).is_ok_and(|bytes| bytes <= item_bytes) {
        let id = before.map_or_else(|| CURRENT.to_owned(), |before| before.id);
        return Ok(vec![publish(STORAGE, (id, list))]);
    }
    Ok(before.map(|_| Request::Purge(STORAGE.to_owned())).into_iter().collect())
}

/// §5.3.2: without notifications for what did not change. Who deletes the list has no use for it any more: that
/// takes no bookmark away.
fn to_items(tx: &mut dyn Tx, service: &Service, request: &Request) -> Result<Followed, StoreError> {
    let is_new = matches!(request, Request::Publish(_));
    if !is_new || !is_private(tx, service, BOOKMARKS)? {
        return Ok(Ok(Vec::new()));
    }
    let Some(list) = pubsub::newest(tx, service.key, STORAGE)? else { return Ok(Ok(Vec::new())) };
    let items = items(tx, service)?;
    let Ok(doc) = Doc::of(&list.payload, STORAGE) else { return Ok(Ok(Vec::new())) };
    if !doc.root().is(STORAGE, "storage") {
        return Ok(Ok(Vec::new()));
    }
    let changes = convert::changes(&items, doc.root());
    let mut requests = Vec::new();
    if !changes.retract.is_empty() {
        let (node, ids) = (BOOKMARKS.to_owned(), changes.retract);
        requests.push(Request::Retract { node, ids, notify: true });
    }
    requests.extend(changes.publish.into_iter().map(|item| publish(BOOKMARKS, item)));
    Ok(Ok(requests))
}

fn publish(node: &str, (id, payload): convert::Item) -> Request {
    let item = Some(NewItem { id: Some(id), payload });
    Request::Publish(Publish { node: node.to_owned(), item, options: None })
}

fn items(tx: &mut dyn Tx, service: &Service) -> Result<Vec<convert::Item>, StoreError> {
    let items = pubsub::items(tx, service.key, BOOKMARKS)?;
    Ok(items.into_iter().map(|item| (item.id, item.payload)).collect())
}

/// XEP-0411 §5: whether only the owner may read a node, or will be, if it is not there yet; and whether it
/// keeps what is put there.
fn is_private(tx: &mut dyn Tx, service: &Service, node: &str) -> Result<bool, StoreError> {
    let config = pubsub::node_config(tx, service.key, node)?;
    let config = config.unwrap_or_else(|| (service.defaults)(node));
    let keeps = node != BOOKMARKS || config.max_items != Bound::Of(1);
    Ok(config.access_model == AccessModel::Whitelist && config.persist_items && keeps)
}

/// The id of the list (XEP-0048 §3.1).
const CURRENT: &str = "current";
