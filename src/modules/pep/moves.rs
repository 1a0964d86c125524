//! An account's nodes as XEP-0227 writes them (§4.10).

use super::Owner;
use super::defaults::is_internal;
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking};
use crate::modules::pubsub::Service;
use crate::modules::pubsub::moves::{self, AROUND, ITEMS};
use crate::store::tx::StoreError;
use crate::xml::view::Node;

const OWNER: (&str, &str) = AROUND[0];
const USER: (&str, &str) = AROUND[1];

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[
        owned("nodes", "configure", |taking, _, element| {
            let service = service(taking);
            moves::configure(taking, &service, element)
        }),
        owned("node affiliations", "affiliations", entities),
        owned("node subscriptions", "subscriptions", entities),
        Moved {
            what: "node items",
            of: Holder::Account,
            within: &[USER, ITEMS],
            ns: USER.0,
            name: "item",
            take,
        },
    ],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

const fn owned(what: &'static str, name: &'static str, take: crate::modules::api::Take) -> Moved {
    Moved { what, of: Holder::Account, within: &[OWNER], ns: OWNER.0, name, take }
}

/// The nodes of the account that is being taken.
pub fn service(taking: &Taking<'_>) -> Service {
    let owner = Owner { account: taking.owner.account(), jid: taking.owner.jid.clone() };
    owner.service(taking.config)
}

fn entities(taking: &mut Taking<'_>, _: &[Tag], element: Node<'_>) -> Result<Taken, StoreError> {
    let service = service(taking);
    moves::entities(taking, &service, element)
}

fn take(taking: &mut Taking<'_>, within: &[Tag], item: Node<'_>) -> Result<Taken, StoreError> {
    let service = service(taking);
    match within.last().and_then(|items| items.attr("node")).filter(|node| !node.is_empty()) {
        Some(node) => moves::item(taking, &service, node, item),
        None => Ok(Taken::not("an item", "its node has no name")),
    }
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let owner = Owner { account: giving.owner.account(), jid: giving.owner.jid.clone() };
    let service = owner.service(giving.config);
    moves::give(giving.tx, &service, is_internal, giving.out)
}
