//! Block lists as they move: a list of XEP-0191, or what privacy lists (XEP-0016; XEP-0227 §4.8) say of the same.

use super::{ADD, ALL, NS};
use crate::jid::Jid;
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking};
use crate::store::tx::{StoreError, query_all};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[
        Moved {
            what: "blocked addresses",
            of: Holder::Account,
            within: &[(NS, "blocklist")],
            ns: NS,
            name: "item",
            take,
        },
        Moved {
            what: "privacy lists",
            of: Holder::Account,
            within: &[(PRIVACY, "query")],
            ns: PRIVACY,
            name: "*",
            take: take_list,
        },
    ],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], item: Node<'_>) -> Result<Taken, StoreError> {
    block(taking, item.attr("jid").unwrap_or_default())
}

fn block(taking: &mut Taking<'_>, text: &str) -> Result<Taken, StoreError> {
    let Ok(jid) = Jid::parse(text) else {
        return Ok(Taken::not(text, "this is no address"));
    };
    let account = taking.owner.account();
    let there = query_all(taking.tx, ALL, &[account.into()], |row| row.text(0))?;
    if there.iter().any(|one| one == jid.as_str()) {
        return Ok(Taken::There);
    }
    let most = taking.limits.roster_items_max;
    if there.len() >= most {
        return Ok(Taken::not(
            text,
            format!("{most} are blocked already (limits.roster_items_max)"),
        ));
    }
    taking.tx.execute(ADD, &[account.into(), jid.as_str().into()])?;
    Ok(Taken::New)
}

/// A privacy list that keeps single addresses out, and nothing else, is a block list: any other cannot be one.
fn take_list(taking: &mut Taking<'_>, _: &[Tag], list: Node<'_>) -> Result<Taken, StoreError> {
    match list.name() {
        "default" | "active" => {
            let name = list.attr("name").unwrap_or_default().to_owned();
            taking.own.notes.insert(format!("blocking {name}"), 1);
            return Ok(Taken::There);
        }
        "list" => {}
        other => return Ok(Taken::not(other, "privacy lists have nothing of this name")),
    }
    let name = list.attr("name").unwrap_or("without a name").to_owned();
    let items: Vec<Node<'_>> = list.children().filter(|item| item.is(PRIVACY, "item")).collect();
    if !items.iter().any(|item| item.attr("action") == Some("deny")) {
        return Ok(Taken::not(name, "it keeps nobody out"));
    }
    let is_simple = |item: &&Node<'_>| {
        item.attr("type") == Some("jid")
            && item.attr("action") == Some("deny")
            && item.children().next().is_none_or(|_| item.children().count() == KINDS)
    };
    let is_rest =
        |item: &&Node<'_>| item.attr("type").is_none() && item.attr("action") == Some("allow");
    if !items.iter().all(|item| is_simple(&item) || is_rest(&item)) {
        return Ok(Taken::not(
            name,
            "it does more than to keep addresses out, which is all that we can do",
        ));
    }
    if taking.own.notes.get(&format!("blocking {name}")) != Some(&1) {
        return Ok(Taken::not(name, "it is not the default list"));
    }
    let mut new = false;
    for item in items.iter().filter(is_simple) {
        match block(taking, item.attr("value").unwrap_or_default())? {
            Taken::New => new = true,
            Taken::There => {}
            not @ Taken::Not { .. } => return Ok(not),
        }
    }
    Ok(if new { Taken::New } else { Taken::There })
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let account = giving.owner.account();
    let mut jids = query_all(giving.tx, ALL, &[account.into()], |row| row.text(0))?;
    jids.sort_unstable();
    for jid in jids {
        let mut xml = Xml::new();
        xml.start("item").attr("xmlns", NS).attr("jid", &jid).end();
        (giving.out)(&[Tag::new(NS, "blocklist")], &xml.finish())?;
    }
    Ok(())
}

const PRIVACY: &str = "jabber:iq:privacy";
/// Messages, presence in and out, and IQs: an item that names all four keeps all out.
const KINDS: usize = 4;
