//! vCards as XEP-0227 writes them (§4.7); the one in a node comes with the nodes.

use super::property::TEMP;
use super::{CURRENT, FOUR_NODE, NEW, OLD, bounded, follow, photo, publish, written};
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking, Untaken};
use crate::modules::avatar;
use crate::modules::pep::moves::service;
use crate::modules::pubsub::{self, Request, ServiceKey, moves};
use crate::store::tx::StoreError;
use crate::xml::view::Node;

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "vCards",
        of: Holder::Account,
        within: &[],
        ns: TEMP,
        name: "vCard",
        take,
    }],
    settle: Some(settle),
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], vcard: Node<'_>) -> Result<Taken, StoreError> {
    let service = service(taking);
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
    Ok(match moves::act(taking, &service, &requests)? {
        Ok(()) => Taken::New,
        Err(error) => Taken::not(own, moves::why(&error)),
    })
}

/// Who had one form has the other, too.
fn settle(taking: &mut Taking<'_>) -> Result<Vec<Untaken>, StoreError> {
    if taking.owner.holder != Holder::Account {
        return Ok(Vec::new());
    }
    let service = service(taking);
    for (from, to) in [(&OLD, &NEW), (&NEW, &OLD)] {
        let has_one = pubsub::newest(taking.tx, service.key, from.node)?.is_some();
        if !has_one || pubsub::newest(taking.tx, service.key, to.node)?.is_some() {
            continue;
        }
        let changed = Request::Publish(pubsub::Publish::default());
        if let Ok(requests) = follow(taking.tx, &service, &changed, (from, to))?
            && let Err(error) = moves::act(taking, &service, &requests)?
        {
            tracing::debug!(
                why = moves::why(&error),
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
