//! XEP-0054: vcard-temp, and XEP-0292: vCard4 Over XMPP. An account has a vCard in both forms, each in a node of
//! its own; who writes one form writes the other, in the same transaction. The photo is the account's avatar
//! (XEP-0398), and in no vCard.

mod convert;
mod property;

use std::time::SystemTime;

use super::api::{
    Answer, Cx, Followed, Giving, Holder, IqRoute, Module, Moved, Moves, NodeMirror, On, Reply,
    Spec, Tag, Taken, Taking, Target, Untaken,
};
use super::avatar::{self, Image};
use super::pep::{self, Owner};
use super::pubsub::{self, Asker, NewItem, Publish, Request, Service, ServiceKey};
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::rsm::Rsm;
use crate::store::StoreError;
use crate::store::tx::Tx;
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;
use property::{FOUR, TEMP};

/// The module.
pub const MODULE: Module = Module {
    name: "vcard",
    specs: &[
        Spec::whole("XEP-0054", "1.3.0", "features/vcard.rs"),
        Spec::whole("XEP-0292", "0.12.0", "features/vcard.rs"),
    ],
    features: &[On::Server(TEMP), On::Account(TEMP), On::Account(FOUR)],
    iqs: &[
        route(IqType::Get, &[Target::Own], |cx, iq| Box::pin(own(cx, iq))),
        route(IqType::Set, &[Target::Own], |cx, iq| Box::pin(set(cx, iq))),
        route(IqType::Get, &[Target::Other], |cx, iq| Box::pin(others(cx, iq))),
        // §3.2: MUST, whether there is such an account or not.
        route(IqType::Set, &[Target::Other], |_, _| {
            Box::pin(std::future::ready(Err(StanzaError::forbidden())))
        }),
    ],
    mirrors: &[
        NodeMirror {
            node: TEMP,
            follow: |tx, service, what| follow(tx, service, what, (&OLD, &NEW)),
        },
        NodeMirror {
            node: FOUR_NODE,
            follow: |tx, service, what| follow(tx, service, what, (&NEW, &OLD)),
        },
    ],
    moves: MOVES,
    ..Module::EMPTY
};

const fn route(
    ty: IqType,
    targets: &'static [Target],
    handler: fn(Cx, Iq) -> Answer<Result<Reply, StanzaError>>,
) -> IqRoute {
    IqRoute { ty, ns: TEMP, name: "vCard", targets, handler }
}

/// §3.1
async fn own(cx: Cx, _: Iq) -> Result<Reply, StanzaError> {
    let owner = Owner::requesting(&cx)?;
    let asker = owner.asker();
    let found = look(&cx, owner, asker).await?;
    found.map(Reply::payload).ok_or_else(StanzaError::item_not_found)
}

/// §3.3: an account without a vCard answers as nobody.
async fn others(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let none = StanzaError::service_unavailable;
    let at = iq.to().ok_or_else(none)?;
    let relation = cx.router.relation(at, cx.jid()).await?.ok_or_else(none)?;
    let owner = Owner { account: relation.account, jid: at.bare() };
    let mut asker = Asker::stranger(cx.jid().clone());
    (asker.sees_presence, asker.groups) = (relation.sees_presence, relation.groups);
    look(&cx, owner, asker).await?.map(Reply::payload).ok_or_else(none)
}

/// The vCard as this asker sees it: with the photo if it has access to the avatar (XEP-0398 §7), and not at all
/// if the owner keeps it from them in its other form.
async fn look(cx: &Cx, owner: Owner, asker: Asker) -> Result<Option<Vec<u8>>, StanzaError> {
    let (service, now) = (owner.service(&cx.config), cx.now);
    let read = move |tx: &mut dyn Tx| {
        let sees = |tx: &mut dyn Tx, node: &str| sees(tx, &service, &asker, node, now);
        let image = match sees(tx, avatar::METADATA)? && sees(tx, avatar::DATA)? {
            true => avatar::current(tx, service.key)?,
            false => None,
        };
        let four = pubsub::node_config(tx, service.key, FOUR_NODE)?;
        let vcard = match four.is_none() || sees(tx, FOUR_NODE)? {
            true => pubsub::newest(tx, service.key, TEMP)?,
            false => None,
        };
        Ok((vcard.map(|vcard| vcard.payload), image))
    };
    let (vcard, image) = cx.store.read(read).await?;
    Ok(written(vcard.as_deref(), image.as_ref()))
}

fn sees(
    tx: &mut dyn Tx,
    service: &Service,
    asker: &Asker,
    node: &str,
    now: SystemTime,
) -> Result<bool, StoreError> {
    let (node, ids) = (node.to_owned(), Vec::new());
    let request = Request::Items { node, ids, newest: Some(1), page: Rsm::default() };
    Ok(pubsub::handle(tx, service, asker, &request, now)?.is_ok())
}

/// A vCard with this photo; none without both.
fn written(vcard: Option<&[u8]>, image: Option<&Image>) -> Option<Vec<u8>> {
    let doc = vcard.and_then(|vcard| Doc::of(vcard, TEMP).ok());
    let vcard = doc.as_ref().map(Doc::root).filter(|root| root.is(TEMP, "vCard"));
    if vcard.is_none() && image.is_none() {
        return None;
    }
    let mut inner = Xml::new();
    let properties = vcard.into_iter().flat_map(Node::children);
    for property in properties.filter(|property| !is_photo(property)) {
        inner.raw(convert::within(property, TEMP).as_bytes());
    }
    if let Some(image) = image {
        inner.start("PHOTO").element("TYPE", None, image.ty());
        inner.element("BINVAL", None, &image.base64()).end();
    }
    let mut xml = Xml::new();
    xml.start("vCard").attr("xmlns", TEMP).raw(&inner.finish()).end();
    Some(xml.finish().to_vec())
}

/// A photo that is in the vCard itself, and not at some address.
fn is_photo(property: &Node<'_>) -> bool {
    property.is(TEMP, "PHOTO") && property.child(TEMP, "EXTVAL").is_none()
}

/// §3.2
async fn set(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let owner = Owner::requesting(&cx)?;
    let (vcard, image) = {
        let doc = iq.stanza().element().view();
        let vcard = doc.root().child(TEMP, "vCard").ok_or_else(StanzaError::bad_request)?;
        bounded(vcard)?;
        let own = vcard.standalone().ok_or_else(StanzaError::bad_request)?;
        (written(Some(own.as_bytes()), None), photo(vcard)?)
    };
    let key = ServiceKey::of(owner.account);
    let known = cx.store.read(move |tx| {
        let mut there = Vec::new();
        for node in [avatar::DATA, avatar::METADATA] {
            there.extend(pubsub::node_config(tx, key, node)?.map(|_| node));
        }
        Ok((there, avatar::current(tx, key)?))
    });
    let (there, before) = known.await?;
    let payload = vcard.ok_or_else(StanzaError::bad_request)?;
    let mut requests = vec![publish(TEMP, CURRENT, payload)];
    // XEP-0153 §4.2 rule 2: a vCard may come with the same photo many times.
    if before != image {
        requests.extend(avatar::publish(image.as_ref(), &there));
    }
    pep::act(&cx, owner, requests).await?;
    Ok(Reply::empty())
}

/// XEP-0153 §3.1; none if it is empty, or at some address.
fn photo(vcard: Node<'_>) -> Result<Option<Image>, StanzaError> {
    let photo = vcard.children().find(is_photo).and_then(|photo| photo.child_text(TEMP, "BINVAL"));
    match photo.map(|photo| Image::read(photo, PHOTO_BYTES_MAX)) {
        None | Some(Err(avatar::NoImage::Empty)) => Ok(None),
        Some(read) => Ok(Some(read?)),
    }
}

fn bounded(vcard: Node<'_>) -> Result<(), StanzaError> {
    match vcard.children().nth(PROPERTIES_MAX) {
        Some(_) => Err(StanzaError::policy_violation().text("the vCard has too many properties")),
        None => Ok(()),
    }
}

/// One form, and how it follows the other (XEP-0292 §11).
struct Form {
    node: &'static str,
    root: (&'static str, &'static str),
    convert: fn(Node<'_>, Option<&[u8]>) -> Vec<u8>,
}

/// vcard-temp.
const OLD: Form = Form { node: TEMP, root: (TEMP, "vCard"), convert: convert::to_four };
/// vCard4.
const NEW: Form = Form { node: FOUR_NODE, root: (FOUR, "vcard"), convert: convert::to_temp };

fn follow(
    tx: &mut dyn Tx,
    service: &Service,
    request: &Request,
    (from, to): (&Form, &Form),
) -> Result<Followed, StoreError> {
    let nothing = Ok(Ok(Vec::new()));
    let is_gone = match request {
        Request::Publish(_) => false,
        Request::Retract { .. } | Request::Purge(_) | Request::Delete { .. } => true,
        _ => return nothing,
    };
    let (ns, name) = from.root;
    let old = pubsub::newest(tx, service.key, to.node)?;
    let new = match is_gone {
        false => pubsub::newest(tx, service.key, from.node)?.map(|new| new.payload),
        true => old.as_ref().map(|_| format!("<{name} xmlns='{ns}'/>").into_bytes()),
    };
    let Some(new) = new else { return nothing };
    let Ok(doc) = Doc::of(&new, ns) else { return nothing };
    if !doc.root().is(ns, name) {
        return nothing;
    }
    if let Err(refused) = bounded(doc.root()) {
        return Ok(Err(refused));
    }
    let payload = (from.convert)(doc.root(), old.as_ref().map(|old| &*old.payload));
    if old.as_ref().is_some_and(|old| old.payload == payload) {
        return nothing;
    }
    let id = old.map_or_else(|| CURRENT.to_owned(), |old| old.id);
    Ok(Ok(vec![publish(to.node, &id, payload)]))
}

fn publish(node: &str, id: &str, payload: Vec<u8>) -> Request {
    let item = Some(NewItem { id: Some(id.to_owned()), payload });
    Request::Publish(Publish { node: node.to_owned(), item, options: None })
}

/// The node of vCard4 (XEP-0292 §4.1).
const FOUR_NODE: &str = "urn:xmpp:vcard4";
/// The id of the only item.
const CURRENT: &str = "current";
/// Maximum number of properties: each is compared with those before.
const PROPERTIES_MAX: usize = 250;
/// Maximum size of a photo in bytes: what an item, and a stanza of the default size, carry with ease.
const PHOTO_BYTES_MAX: usize = 131_072;

/// How its data moves in and out.
const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "vCards",
        of: Holder::Account,
        within: &[],
        ns: TEMP,
        name: "vCard",
        take: take_vcard,
    }],
    settle: Some(settle),
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take_vcard(taking: &mut Taking<'_>, _: &[Tag], vcard: Node<'_>) -> Result<Taken, StoreError> {
    let service = pep::moves::service(taking);
    if pubsub::newest(taking.tx, service.key, TEMP)?.is_some() {
        return Ok(Taken::There);
    }
    let own = taking.owner.jid.to_string();
    let whole = vcard.standalone().filter(|_| bounded(vcard).is_ok());
    let Some(whole) = whole else { return Ok(Taken::not(own, "it has too many properties")) };
    let Some(payload) = written(Some(whole.as_bytes()), None) else { return Ok(Taken::There) };
    let mut requests = vec![publish(TEMP, CURRENT, payload)];
    // The photo is the avatar (XEP-0398), unless there is one.
    if pubsub::newest(taking.tx, service.key, avatar::METADATA)?.is_none()
        && let Ok(Some(image)) = photo(vcard)
    {
        let mut there = Vec::new();
        for node in [avatar::DATA, avatar::METADATA] {
            there.extend(pubsub::node_config(taking.tx, service.key, node)?.map(|_| node));
        }
        requests.extend(avatar::publish(Some(&image), &there));
    }
    Ok(match pubsub::moves::act(taking, &service, &requests)? {
        Ok(()) => Taken::New,
        Err(error) => Taken::not(own, pubsub::moves::why(&error)),
    })
}

/// Who had one form has the other, too.
fn settle(taking: &mut Taking<'_>) -> Result<Vec<Untaken>, StoreError> {
    if taking.owner.holder != Holder::Account {
        return Ok(Vec::new());
    }
    let service = pep::moves::service(taking);
    for (from, to) in [(&OLD, &NEW), (&NEW, &OLD)] {
        let has_one = pubsub::newest(taking.tx, service.key, from.node)?.is_some();
        if !has_one || pubsub::newest(taking.tx, service.key, to.node)?.is_some() {
            continue;
        }
        let changed = Request::Publish(pubsub::Publish::default());
        if let Ok(requests) = follow(taking.tx, &service, &changed, (from, to))?
            && let Err(error) = pubsub::moves::act(taking, &service, &requests)?
        {
            tracing::debug!(
                why = pubsub::moves::why(&error),
                node = FOUR_NODE,
                "a vCard has one form only"
            );
        }
    }
    Ok(Vec::new())
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let key = ServiceKey::of(giving.owner.account());
    match pubsub::newest(giving.tx, key, TEMP)? {
        Some(vcard) => (giving.out)(&[], &vcard.payload),
        None => Ok(()),
    }
}
