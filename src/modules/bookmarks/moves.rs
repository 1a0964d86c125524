//! Bookmarks that come as one list in private XML, and what follows from those that came as items.

use super::convert::{BOOKMARKS, STORAGE};
use super::{CURRENT, publish, to_items, to_list, to_notices};
use crate::modules::api::{Holder, Moved, Moves, Tag, Taken, Taking, Untaken};
use crate::modules::pep::moves::service;
use crate::modules::pubsub::{self, Request, Service, moves};
use crate::store::tx::{StoreError, Tx};
use crate::xml::view::Node;

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "bookmark lists",
        of: Holder::Account,
        within: &[("jabber:iq:private", "query")],
        ns: STORAGE,
        name: "storage",
        take,
    }],
    settle: Some(settle),
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], list: Node<'_>) -> Result<Taken, StoreError> {
    let service = service(taking);
    let own = taking.owner.jid.to_string();
    let has_list = pubsub::newest(taking.tx, service.key, STORAGE)?.is_some();
    if has_list || has_items(taking.tx, &service)? {
        return Ok(Taken::There);
    }
    let Some(payload) = list.standalone() else {
        return Ok(Taken::not(own, "it declares too many namespaces"));
    };
    let item = (CURRENT.to_owned(), payload.into_owned().into_bytes());
    Ok(match moves::act(taking, &service, &[publish(STORAGE, item)])? {
        Ok(()) => Taken::New,
        Err(error) => Taken::not(own, moves::why(&error)),
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
    let service = service(taking);
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
        && let Err(error) = moves::act(taking, &service, &requests)?
    {
        tracing::debug!(why = moves::why(&error), "bookmarks have one form only");
    }
    to_notices(taking.tx, &service, &changed(BOOKMARKS)).map(|_| Vec::new())
}
