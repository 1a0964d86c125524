//! Rosters and the requests of others that wait, as XEP-0227 writes them (§4.4, §4.9).

use std::collections::BTreeSet;

use crate::base::limits::{ROSTER_GROUPS_MAX, ROSTER_ITEM_BYTES_MAX, ROSTER_TEXT_BYTES_MAX};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking};
use crate::store::roster::{self, Item, Subscription};
use crate::store::tx::StoreError;
use crate::xml::ns;
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[
        Moved {
            what: "roster items",
            of: Holder::Account,
            within: &[(ns::ROSTER, "query")],
            ns: ns::ROSTER,
            name: "item",
            take,
        },
        Moved {
            what: "subscription requests",
            of: Holder::Account,
            within: &[],
            ns: ns::CLIENT,
            name: "presence",
            take: take_request,
        },
    ],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], item: Node<'_>) -> Result<Taken, StoreError> {
    let which = item.attr("jid").unwrap_or("an item without an address").to_owned();
    let account = taking.owner.account();
    let new = match read(item) {
        Ok(Some(new)) => new,
        Ok(None) => return Ok(Taken::There),
        Err(why) => return Ok(Taken::not(which, why)),
    };
    if new.jid == taking.owner.jid.as_str() {
        return Ok(Taken::not(which, "it is the account itself"));
    }
    let there = roster::own(taking.tx, account, &new.jid)?;
    let asks = there.as_ref().is_some_and(|there| has_asked(there.state));
    match there {
        // What is listed is its owner's, who may have changed it since.
        Some(there) if there.listed || (!new.listed && there.approved >= new.approved) => {
            return Ok(Taken::There);
        }
        _ => {}
    }
    if new.listed && roster::count(taking.tx, account)? >= taking.limits.roster_items_max {
        let most = taking.limits.roster_items_max;
        return Ok(Taken::not(
            which,
            format!("the roster has {most} items already (limits.roster_items_max)"),
        ));
    }
    let state = if asks { asked(new.state) } else { new.state };
    roster::put(taking.tx, account, &Item { state, ..new })?;
    Ok(Taken::New)
}

/// An item; none of one that says nothing.
fn read(item: Node<'_>) -> Result<Option<Item>, String> {
    let jid = Jid::parse(item.attr("jid").unwrap_or_default());
    let jid = jid.map_err(|error| format!("this is no address ({error})"))?;
    let wants = match item.attr("ask") {
        None | Some("") => false,
        Some("subscribe") => true,
        // RFC 6121 knows no other; older servers wrote this while they waited for an answer.
        Some("unsubscribe") => false,
        Some(other) => return Err(format!("it waits for `{other}`, which nobody can")),
    };
    let state = match (item.attr("subscription").unwrap_or("none"), wants) {
        ("none" | "", false) => Subscription::None,
        ("none" | "", true) => Subscription::NonePendingOut,
        ("to", _) => Subscription::To,
        ("from", false) => Subscription::From,
        ("from", true) => Subscription::FromPendingOut,
        ("both", _) => Subscription::Both,
        ("remove", _) => return Ok(None),
        (other, _) => return Err(format!("there is no subscription `{other}`")),
    };
    let name = item.attr("name").filter(|name| !name.is_empty()).map(str::to_owned);
    let groups = item.children().filter(|child| child.is(ns::ROSTER, "group"));
    let groups: BTreeSet<String> =
        groups.map(|group| group.text().to_owned()).filter(|group| !group.is_empty()).collect();
    let approved = matches!(item.attr("approved"), Some("true" | "1"));
    fits(name.as_deref(), &groups)?;
    // RFC 6121 §3.4: an approval of somebody who is no contact is an item for itself.
    let listed = state != Subscription::None || name.is_some() || !groups.is_empty() || !approved;
    let groups = groups.into_iter().collect();
    Ok(Some(Item {
        jid: jid.as_str().to_owned(),
        name,
        groups,
        state,
        approved,
        listed,
        ..Item::default()
    }))
}

fn fits(name: Option<&str>, groups: &BTreeSet<String>) -> Result<(), String> {
    let texts = || name.into_iter().chain(groups.iter().map(String::as_str));
    if groups.len() > ROSTER_GROUPS_MAX {
        return Err(format!("it is in over {ROSTER_GROUPS_MAX} groups"));
    }
    if texts().any(|text| text.len() > ROSTER_TEXT_BYTES_MAX) {
        return Err(format!("a name in it has over {ROSTER_TEXT_BYTES_MAX} bytes"));
    }
    if texts().map(str::len).sum::<usize>() > ROSTER_ITEM_BYTES_MAX {
        return Err(format!("its names have over {ROSTER_ITEM_BYTES_MAX} bytes"));
    }
    match texts().any(|text| text.contains('\0')) {
        true => Err("a name has a character that no client can write".to_owned()),
        false => Ok(()),
    }
}

/// The same with a request of the contact's that waits.
const fn asked(state: Subscription) -> Subscription {
    match state {
        Subscription::None => Subscription::NonePendingIn,
        Subscription::NonePendingOut => Subscription::NonePendingOutIn,
        Subscription::To => Subscription::ToPendingIn,
        other => other,
    }
}

const fn has_asked(state: Subscription) -> bool {
    matches!(
        state,
        Subscription::NonePendingIn | Subscription::NonePendingOutIn | Subscription::ToPendingIn
    )
}

fn take_request(
    taking: &mut Taking<'_>,
    _: &[Tag],
    presence: Node<'_>,
) -> Result<Taken, StoreError> {
    let which = presence.attr("from").unwrap_or("a request without an address").to_owned();
    if presence.attr("type") != Some("subscribe") {
        return Ok(Taken::not(which, "it is no request for a subscription"));
    }
    let Ok(from) = Jid::parse(&which) else {
        return Ok(Taken::not(which, "this is no address"));
    };
    let (from, account) = (from.bare(), taking.owner.account());
    let there = roster::own(taking.tx, account, from.as_str())?;
    let state = there.as_ref().map(|there| there.state).unwrap_or_default();
    if state.shows_presence() || has_asked(state) {
        return Ok(Taken::There);
    }
    let waiting = roster::requested_by(taking.tx, account)?.len();
    if waiting >= taking.limits.roster_items_max {
        return Ok(Taken::not(
            which,
            format!("{waiting} requests wait already (limits.roster_items_max)"),
        ));
    }
    let stanza = request(presence, from.as_str(), taking.owner.jid.as_str());
    // In the order in which they come.
    let at = micros(taking.now).saturating_add(i64::try_from(waiting).unwrap_or(0));
    roster::put_request(taking.tx, account, from.as_str(), &stanza, at)?;
    let jid = from.as_str().to_owned();
    let item = there.unwrap_or_else(|| Item { jid, ..Item::default() });
    roster::put(taking.tx, account, &Item { state: asked(state), ..item })?;
    Ok(Taken::New)
}

/// The stanza as it is stored: from one bare address to the other.
fn request(presence: Node<'_>, from: &str, to: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("presence").attr("type", "subscribe");
    xml.attr_opt("id", presence.attr("id")).attr_opt("xml:lang", presence.lang());
    xml.attr("from", from).attr("to", to);
    for child in presence.children() {
        if let Some(child) = child.standalone() {
            xml.raw(child.as_bytes());
        }
    }
    xml.end();
    xml.finish().to_vec()
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let account = giving.owner.account();
    let roster = roster::load(giving.tx, account)?;
    let within = [Tag::new(ns::ROSTER, "query")];
    for item in roster.items.values().filter(|item| item.listed || item.approved) {
        (giving.out)(&within, &written(item))?;
    }
    for stanza in roster::requests(giving.tx, account)? {
        if let Some(request) = shown(&stanza, giving.owner.jid.as_str()) {
            (giving.out)(&[], &request)?;
        }
    }
    Ok(())
}

fn written(item: &Item) -> Vec<u8> {
    let (subscription, wants) = match item.state {
        Subscription::None | Subscription::NonePendingIn => ("none", false),
        Subscription::NonePendingOut | Subscription::NonePendingOutIn => ("none", true),
        Subscription::To | Subscription::ToPendingIn => ("to", false),
        Subscription::From => ("from", false),
        Subscription::FromPendingOut => ("from", true),
        Subscription::Both => ("both", false),
    };
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", ns::ROSTER).attr("jid", &item.jid);
    xml.attr_opt("name", item.name.as_deref()).attr("subscription", subscription);
    xml.attr_opt("ask", wants.then_some("subscribe"));
    xml.attr_opt("approved", item.approved.then_some("true"));
    item.groups.iter().for_each(|group| _ = xml.element("group", None, group));
    xml.end();
    xml.finish().to_vec()
}

/// A request that waits, as an element of its own.
fn shown(stanza: &[u8], to: &str) -> Option<Vec<u8>> {
    let doc = Doc::of(stanza, ns::CLIENT).ok()?;
    let presence = doc.root();
    let mut xml = Xml::new();
    xml.start("presence").attr("xmlns", ns::CLIENT).attr("type", "subscribe");
    xml.attr_opt("id", presence.attr("id")).attr_opt("xml:lang", presence.lang());
    xml.attr_opt("from", presence.attr("from")).attr("to", to);
    for child in presence.children() {
        if let Some(child) = child.standalone() {
            xml.raw(child.as_bytes());
        }
    }
    xml.end();
    Some(xml.finish().to_vec())
}
