//! XEP-0402: PEP Native Bookmarks. The items of one node are the account's bookmarks. What older clients know
//! is the same in other words: one list (XEP-0048) in private XML (XEP-0049) or in a node of its own (XEP-0411).
//! That node is written with the items, in the same transaction; so is what a bookmark says of notifications
//! (XEP-0492).

mod convert;
pub mod given;
mod notices;

use super::api::{
    Cx, Followed, Holder, Module, Moved, Moves, NodeMirror, NodeWatch, On, PrivateXml, Spec, Tag,
    Taken, Taking, Untaken,
};
use super::pep::{self, Owner};
use super::pubsub::{
    self, AccessModel, Bound, Limits, NewItem, Publish, Request, Service, Settings,
};
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::tx::Tx;
use crate::xml::view::{Doc, Node};
use convert::{BOOKMARKS, STORAGE};

pub use notices::{Notice, Notices, listeners, notice};

/// The module.
pub const MODULE: Module = Module {
    name: "bookmarks",
    specs: &[
        Spec::whole("XEP-0402", "1.2.0", "features/bookmarks.rs"),
        Spec::whole("XEP-0048", "1.2", "features/bookmarks.rs"),
        Spec::whole("XEP-0411", "1.1.0", "features/bookmarks.rs"),
        Spec::partial(
            "XEP-0492",
            "0.2.0",
            "for push of rooms, without `<advanced/>`",
            "features/muc_phones.rs",
        ),
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
        NodeMirror { node: BOOKMARKS, follow: to_list },
        NodeMirror { node: STORAGE, follow: to_items },
        NodeMirror { node: BOOKMARKS, follow: to_notices },
        NodeMirror { node: STORAGE, follow: to_notices },
    ],
    watches: &[watch(BOOKMARKS), watch(STORAGE)],
    sql: &[notices::CATALOGUE],
    weights: notices::WEIGHTS,
    moves: MOVES,
    ..Module::EMPTY
};

const fn watch(node: &'static str) -> NodeWatch {
    NodeWatch { node, changed: |cx, account, owner| Box::pin(notices::changed(cx, account, owner)) }
}

/// What is in private XML is the list in the node. If a client has deleted that one, the bookmarks are there
/// still: whoever changes the list must know them.
async fn get(cx: Cx) -> Result<Option<Vec<u8>>, StanzaError> {
    let service = Owner::requesting(&cx)?.service(&cx.config);
    let read = move |tx: &mut dyn Tx| {
        if let Some(list) = pubsub::newest(tx, service.key, STORAGE)? {
            return Ok(Ok(Some(list.payload)));
        }
        Ok(match items(tx, &service)? {
            Some(items) if items.is_empty() => Ok(None),
            items => listed(&service, items.as_deref(), None).map(Some).ok_or_else(too_many),
        })
    };
    cx.store.read(read).await?
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
fn to_list(tx: &mut dyn Tx, service: &Service, request: &Request) -> Result<Followed, StoreError> {
    let is_change = matches!(
        request,
        Request::Publish(_)
            | Request::Retract { .. }
            | Request::Purge(_)
            | Request::Delete { .. }
            | Request::Create { .. }
            | Request::Configure { .. }
    );
    if !is_change || !is_private(tx, service, STORAGE)? {
        return Ok(Ok(Vec::new()));
    }
    let before = pubsub::newest(tx, service.key, STORAGE)?;
    let items = items(tx, service)?;
    let list = listed(service, items.as_deref(), before.as_ref().map(|before| &*before.payload));
    let request = match (list, before) {
        (Some(list), Some(before)) if list == before.payload => None,
        (Some(list), before) => {
            let id = before.map_or_else(|| CURRENT.to_owned(), |before| before.id);
            Some(publish(STORAGE, (id, list)))
        }
        // A list that is too long to be kept is rather none than wrong.
        (None, before) => before.map(|_| Request::Purge(STORAGE.to_owned())),
    };
    Ok(Ok(request.into_iter().collect()))
}

/// The list of all items; `None` if it is too long to be kept.
fn listed(
    service: &Service,
    items: Option<&[convert::Item]>,
    before: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let list = convert::list(items?, before);
    let Limits { item_bytes, .. } = service.limits;
    u32::try_from(list.len()).is_ok_and(|bytes| bytes <= item_bytes).then_some(list)
}

/// §5.3.2: without notifications for what did not change. Who deletes the list has no use for it any more: that
/// takes no bookmark away. Nor does a list that cannot have all of them: its client never saw them.
fn to_items(tx: &mut dyn Tx, service: &Service, request: &Request) -> Result<Followed, StoreError> {
    let is_new = matches!(request, Request::Publish(_));
    if !is_new || !is_private(tx, service, BOOKMARKS)? {
        return Ok(Ok(Vec::new()));
    }
    let Some(list) = pubsub::newest(tx, service.key, STORAGE)? else { return Ok(Ok(Vec::new())) };
    let Ok(doc) = Doc::of(&list.payload, STORAGE) else { return Ok(Ok(Vec::new())) };
    if !doc.root().is(STORAGE, "storage") {
        return Ok(Ok(Vec::new()));
    }
    let items = items(tx, service)?;
    if listed(service, items.as_deref(), None).is_none() {
        return Ok(Err(too_many()));
    }
    let changes = convert::changes(&items.unwrap_or_default(), doc.root());
    if changes.publish.len() > NEW_MAX {
        return Ok(Err(StanzaError::policy_violation().text("too many bookmarks at once")));
    }
    let mut requests = Vec::new();
    if !changes.retract.is_empty() {
        let (node, ids) = (BOOKMARKS.to_owned(), changes.retract);
        requests.push(Request::Retract { node, ids, notify: true });
    }
    requests.extend(changes.publish.into_iter().map(|item| publish(BOOKMARKS, item)));
    Ok(Ok(requests))
}

/// XEP-0492
fn to_notices(
    tx: &mut dyn Tx,
    service: &Service,
    request: &Request,
) -> Result<Followed, StoreError> {
    let items = items(tx, service)?;
    notices::follow(tx, service, request, items.as_deref())
}

fn too_many() -> StanzaError {
    StanzaError::policy_violation().text("there are more bookmarks than a list can have")
}

fn publish(node: &str, (id, payload): convert::Item) -> Request {
    let item = Some(NewItem { id: Some(id), payload });
    Request::Publish(Publish { node: node.to_owned(), item, options: None })
}

/// All items; `None` if they are more than a list can have. They are read with each change, so they are few.
fn items(tx: &mut dyn Tx, service: &Service) -> Result<Option<Vec<convert::Item>>, StoreError> {
    let most = usize::try_from(service.limits.item_bytes).unwrap_or(usize::MAX);
    let items = pubsub::items(tx, service.key, BOOKMARKS, most)?;
    Ok(items.map(|items| items.into_iter().map(|item| (item.id, item.payload)).collect()))
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
/// Maximum number of bookmarks that one list brings: each is an item, and all are written in one transaction.
const NEW_MAX: usize = 1_000;

/// How its data moves in and out.
const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "bookmark lists",
        of: Holder::Account,
        within: &[("jabber:iq:private", "query")],
        ns: STORAGE,
        name: "storage",
        take: take_list,
    }],
    settle: Some(settle),
    ..Moves::NONE
};

fn take_list(taking: &mut Taking<'_>, _: &[Tag], list: Node<'_>) -> Result<Taken, StoreError> {
    let service = pep::moves::service(taking);
    let own = taking.owner.jid.to_string();
    let has_list = pubsub::newest(taking.tx, service.key, STORAGE)?.is_some();
    if has_list || has_items(taking.tx, &service)? {
        return Ok(Taken::There);
    }
    let Some(payload) = list.standalone() else {
        return Ok(Taken::not(own, "it declares too many namespaces"));
    };
    let item = (CURRENT.to_owned(), payload.into_owned().into_bytes());
    Ok(match pubsub::moves::act(taking, &service, &[publish(STORAGE, item)])? {
        Ok(()) => Taken::New,
        Err(error) => Taken::not(own, pubsub::moves::why(&error)),
    })
}

fn has_items(tx: &mut dyn Tx, service: &Service) -> Result<bool, StoreError> {
    Ok(pubsub::newest(tx, service.key, BOOKMARKS)?.is_some())
}

/// A list without items becomes items, and items without a list a list.
fn settle(taking: &mut Taking<'_>) -> Result<Vec<Untaken>, StoreError> {
    if taking.owner.holder != Holder::Account {
        return Ok(Vec::new());
    }
    let service = pep::moves::service(taking);
    let has_list = pubsub::newest(taking.tx, service.key, STORAGE)?.is_some();
    let has_items = has_items(taking.tx, &service)?;
    let changed = |node: &str| {
        let node = node.to_owned();
        Request::Publish(pubsub::Publish { node, ..pubsub::Publish::default() })
    };
    let followed = match (has_list, has_items) {
        (false, false) => return Ok(Vec::new()),
        (true, false) => to_items(taking.tx, &service, &changed(STORAGE))?,
        (false, true) => to_list(taking.tx, &service, &changed(BOOKMARKS))?,
        (true, true) => Ok(Vec::new()),
    };
    if let Ok(requests) = followed
        && let Err(error) = pubsub::moves::act(taking, &service, &requests)?
    {
        tracing::debug!(why = pubsub::moves::why(&error), "bookmarks have one form only");
    }
    to_notices(taking.tx, &service, &changed(BOOKMARKS)).map(|_| Vec::new())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules;
    use crate::modules::api::Cx;

    const ALICE: &str = "alice@montague.example/a";

    async fn server(item_bytes_max: u32) -> (Server, Cx) {
        let mut config = modules::Config::default();
        config.pep.item_bytes_max = item_bytes_max;
        let server = Server::new(config);
        server.account("alice", &[]).await;
        let cx = server.session(ALICE).await;
        (server, cx)
    }

    async fn pubsub(cx: &Cx, part: &str, inner: &str) -> String {
        let ns = format!("http://jabber.org/protocol/pubsub{part}");
        ask(cx, "set", "", &format!("<pubsub xmlns='{ns}'>{inner}</pubsub>")).await
    }

    async fn publish(cx: &Cx, room: &str) {
        let item = format!("<item id='{room}'><conference xmlns='urn:xmpp:bookmarks:1'/></item>");
        let publish = format!("<publish node='urn:xmpp:bookmarks:1'>{item}</publish>");
        let answer = pubsub(cx, "", &publish).await;
        assert!(answer.starts_with("<pubsub"), "{answer}");
    }

    /// What is in private XML, or what was refused.
    async fn list(cx: &Cx) -> String {
        let get = "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>";
        ask(cx, "get", "", get).await
    }

    async fn set(cx: &Cx, inner: &str) -> String {
        let storage = format!("<storage xmlns='storage:bookmarks'>{inner}</storage>");
        ask(cx, "set", "", &format!("<query xmlns='jabber:iq:private'>{storage}</query>")).await
    }

    async fn rooms(cx: &Cx) -> usize {
        let items = "<items node='urn:xmpp:bookmarks:1'/>";
        let get = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>");
        ask(cx, "get", "", &get).await.matches("<item ").count()
    }

    /// A client that was shown no list would replace all bookmarks by the one that it adds.
    #[tokio::test]
    async fn a_list_that_cannot_have_all_takes_none_away() {
        let (_server, cx) = server(500).await;
        for room in 0..10 {
            publish(&cx, &format!("r{room}@rooms.example")).await;
        }
        assert_eq!(list(&cx).await, "policy-violation");
        assert_eq!(set(&cx, "<conference jid='new@rooms.example'/>").await, "policy-violation");
        assert_eq!(rooms(&cx).await, 10);
        for room in 0..7 {
            let item = format!("<item id='r{room}@rooms.example'/>");
            let retract = format!("<retract node='urn:xmpp:bookmarks:1'>{item}</retract>");
            assert_eq!(pubsub(&cx, "", &retract).await, "");
        }
        assert_eq!(list(&cx).await.matches("<conference ").count(), 3);
        assert_eq!(set(&cx, "<conference jid='new@rooms.example'/>").await, "");
        assert_eq!(rooms(&cx).await, 1);
    }

    #[tokio::test]
    async fn without_the_node_of_the_list_there_is_a_list() {
        let (_server, cx) = server(10_000).await;
        publish(&cx, "r@rooms.example").await;
        let known = list(&cx).await;
        assert_eq!(known.matches("<conference ").count(), 1, "{known}");
        assert_eq!(pubsub(&cx, "#owner", "<delete node='storage:bookmarks'/>").await, "");
        assert_eq!(list(&cx).await, known);
        assert_eq!(pubsub(&cx, "#owner", "<delete node='urn:xmpp:bookmarks:1'/>").await, "");
        assert_eq!(list(&cx).await.matches("<conference ").count(), 0);
    }

    /// One stanza is not some ten thousand items.
    #[tokio::test]
    async fn a_list_brings_no_more_than_so_many() {
        let (_server, cx) = server(262_144).await;
        let rooms_of = |numbers: std::ops::Range<usize>| {
            numbers.map(|n| format!("<conference jid='r{n}@x'/>")).collect::<String>()
        };
        assert_eq!(set(&cx, &rooms_of(0..super::NEW_MAX + 1)).await, "policy-violation");
        assert_eq!(rooms(&cx).await, 0);
        assert_eq!(set(&cx, &rooms_of(0..600)).await, "");
        assert_eq!(set(&cx, &rooms_of(0..1_200)).await, "", "some were there");
    }
}
