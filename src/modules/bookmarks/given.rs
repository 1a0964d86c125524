//! Bookmarks that the server makes for an account: of rooms that it was given.

use super::super::api::Cx;
use super::super::pep::{self, Owner};
use super::super::pubsub::{self, Request, Service};
use super::convert::{self, BOOKMARKS};
use crate::jid::{BareJid, Jid};
use crate::stanza::StanzaError;
use crate::stanza::error::Condition;
use crate::store::ids::ServiceKey;
use crate::store::tx::Tx;
use crate::store::{StoreError, accounts};

/// Whether the account has a bookmark of this room.
pub fn has(tx: &mut dyn Tx, service: &Service, room: &BareJid) -> Result<bool, StoreError> {
    Ok(!ids(tx, service, room)?.is_empty())
}

/// Which of these accounts have a bookmark of this room, in the usual spelling.
pub fn keepers(
    tx: &mut dyn Tx,
    room: &str,
    mut of: Vec<BareJid>,
) -> Result<Vec<BareJid>, StoreError> {
    let mut failed = None;
    of.retain(|jid| match keeps(tx, room, jid) {
        Ok(keeps) => keeps,
        Err(error) => {
            failed.get_or_insert(error);
            false
        }
    });
    failed.map_or(Ok(of), Err)
}

fn keeps(tx: &mut dyn Tx, room: &str, jid: &BareJid) -> Result<bool, StoreError> {
    let Some(local) = jid.local() else { return Ok(false) };
    let Some(account) = accounts::find(tx, local, jid.domain())? else { return Ok(false) };
    Ok(pubsub::item(tx, ServiceKey::of(account.id), BOOKMARKS, room)?.is_some())
}

/// Makes a bookmark, with which clients enter the room by themselves (XEP-0402 §2). A nickname is the account's own
/// matter.
pub async fn put(
    cx: &Cx,
    owner: Owner,
    room: &BareJid,
    (name, password): (&str, Option<&str>),
) -> Result<(), StanzaError> {
    let item = (room.to_string(), convert::joined(name, password));
    pep::act(cx, owner, vec![super::publish(BOOKMARKS, item)]).await.map(drop)
}

/// Takes it away; no error if it is not there any more.
pub async fn take(cx: &Cx, owner: Owner, room: &BareJid) -> Result<(), StanzaError> {
    let (service, wanted) = (owner.service(&cx.config), room.clone());
    let ids = cx.store.read(move |tx| ids(tx, &service, &wanted)).await?;
    if ids.is_empty() {
        return Ok(());
    }
    let retract = Request::Retract { node: BOOKMARKS.to_owned(), ids, notify: true };
    match pep::act(cx, owner, vec![retract]).await {
        Err(error) if error.condition == Condition::ItemNotFound => Ok(()),
        done => done.map(drop),
    }
}

/// The ids of its items, in whatever spelling. Of an account with too many to be read, in our own.
fn ids(tx: &mut dyn Tx, service: &Service, room: &BareJid) -> Result<Vec<String>, StoreError> {
    let is_it = |id: &str| Jid::parse(id).is_ok_and(|id| id.bare_str() == room.as_str());
    if let Some(items) = super::items(tx, service)? {
        return Ok(items.into_iter().map(|(id, _)| id).filter(|id| is_it(id)).collect());
    }
    let item = pubsub::item(tx, service.key, BOOKMARKS, room.as_str())?;
    Ok(item.into_iter().map(|item| item.id).collect())
}
