//! RFC 6121 §2: rosters, with versioning.

mod moves;

use std::sync::Arc;
use std::time::SystemTime;

use super::api::{Answer, Cx, IqRoute, Module, Reply, Spec, Stage, State, Target};
use super::subscription::{self, Circumstances, Half, Refused, Step, item_xml};
use crate::base::limits::{ROSTER_GROUPS_MAX, ROSTER_ITEM_BYTES_MAX, ROSTER_TEXT_BYTES_MAX};
use crate::jid::{BareJid, Jid};
use crate::router::Router;
use crate::router::contacts::Contacts;
use crate::router::registry::{AccountEntry, AccountStatus, RosterChange};
use crate::router::subscription as table;
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::store::ids::AccountId;
use crate::store::roster::{self, Item};
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// Rosters.
pub const MODULE: Module = Module {
    name: "roster",
    specs: &[
        Spec {
            name: "RFC 6121 §2",
            version: "",
            state: State::Complete,
            test: "transcripts/6121-2-roster-get-set.scs",
        },
        Spec {
            name: "RFC 6121 §2.6",
            version: "",
            state: State::Complete,
            test: "transcripts/6121-2.6-roster-versioning.scs",
        },
        Spec {
            name: "XEP-0237",
            version: "1.3",
            state: State::Complete,
            test: "transcripts/6121-2.6-roster-versioning.scs",
        },
    ],
    stream_features: Some(|_, stage| {
        (stage == Stage::Bind).then(|| "<ver xmlns='urn:xmpp:features:rosterver'/>".to_owned())
    }),
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: ns::ROSTER,
            name: "query",
            targets: &[Target::Own],
            handler: get,
        },
        IqRoute {
            ty: IqType::Set,
            ns: ns::ROSTER,
            name: "query",
            targets: &[Target::Own],
            handler: set,
        },
        IqRoute {
            ty: IqType::Set,
            ns: ns::ROSTER,
            name: "query",
            targets: &[Target::Other],
            // RFC 6121 §2.1.5 and §2.3.3: MUST, whether there is such an account or not.
            handler: |_, _| Box::pin(std::future::ready(Err(StanzaError::forbidden()))),
        },
    ],
    moves: moves::MOVES,
    ..Module::EMPTY
};

/// RFC 6121 §2.2 and §2.6.
fn get(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(std::future::ready(answer(&cx, &iq)))
}

fn answer(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    let doc = iq.stanza().element().view();
    let query = doc.root().child(ns::ROSTER, "query").ok_or_else(StanzaError::bad_request)?;
    if query.child(ns::ROSTER, "item").is_some() {
        // RFC 6121 §2.1.3
        return Err(StanzaError::bad_request().text("a roster get has no items"));
    }
    let read = |entry: &mut AccountEntry| {
        // From here on interested: a change after this roster comes as a push (RFC 6121 §2.2).
        let resource = entry.session_mut(cx.session())?;
        resource.interested = true;
        let account = match entry.account {
            AccountStatus::Stored(id) => Some(id),
            _ => None,
        };
        Some((account, entry.roster.clone()))
    };
    let found = cx.own(read).flatten();
    // The session was replaced, or the account deleted, while it asked.
    let (account, roster) = found.ok_or_else(StanzaError::item_not_found)?;
    let ver = subscription::ver(account, roster.ver);
    // RFC 6121 §2.6.3: nothing has changed, so nothing is sent. To send what has changed one would
    // have to keep every removal; the whole roster is as right.
    if query.attr("ver") == Some(&ver) {
        return Ok(Reply::empty());
    }
    Ok(Reply::payload(whole(&roster, &ver)))
}

/// The roster of an account, for somebody else who may read it.
pub(super) fn of_account(entry: &AccountEntry) -> Vec<u8> {
    let account = match entry.account {
        AccountStatus::Stored(id) => Some(id),
        _ => None,
    };
    whole(&entry.roster, &subscription::ver(account, entry.roster.ver))
}

fn whole(roster: &Contacts, ver: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ns::ROSTER).attr("ver", ver);
    roster.iter().filter(|item| item.listed).for_each(|item| item_xml(&mut xml, &item));
    xml.end();
    xml.finish().to_vec()
}

/// What a roster set asks for.
#[derive(Debug, PartialEq, Eq)]
enum Set {
    Put { jid: String, name: Option<String>, groups: Vec<String> },
    Remove { jid: Jid },
}

/// RFC 6121 §2.3 to §2.5. The result follows the commit; the pushes go out before it.
fn set(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    match cx.account() {
        Ok(account) => change(&cx, (cx.bare(), account), &iq),
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

/// The same for the roster of an account, whoever asks.
pub(super) fn change(
    cx: &Cx,
    (owner, account): (BareJid, AccountId),
    iq: &Iq,
) -> Answer<Result<Reply, StanzaError>> {
    let read = || {
        let doc = iq.stanza().element().view();
        let query = doc.root().child(ns::ROSTER, "query").ok_or_else(StanzaError::bad_request)?;
        parse(query, owner.as_str())
    };
    let set = match read() {
        Ok(set) => set,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    let work = cx.clone();
    subscription::detached(&cx.router, "roster set", async move {
        let mut circumstances = Circumstances::new(&work.router, work.now);
        if let Set::Remove { jid } = &set {
            circumstances = circumstances.between(&owner.clone().into(), jid).await?;
        }
        let write = work.store.write(move |tx| match set {
            Set::Put { jid, name, groups } => {
                let put = put(tx, account, jid, name, groups, &circumstances)?;
                let steps = put.map(|change| vec![step(&owner, account, change)]);
                Ok(steps.map_err(subscription::refused))
            }
            Set::Remove { jid } => remove(tx, &owner, account, &jid, &circumstances),
        });
        let steps = write.await??;
        subscription::carry_out(&work.router, &steps);
        Ok(Reply::empty())
    })
}

fn unknown_item() -> StanzaError {
    // RFC 6121 §2.5.3
    StanzaError::item_not_found().text("no such item in the roster")
}

/// RFC 6121 §2.1.5 and §2.3.3, in its order: what makes the request no request, then what is
/// not acceptable.
fn parse(query: Node<'_>, own: &str) -> Result<Set, StanzaError> {
    let bad = |text| Err(StanzaError::bad_request().text(text));
    let mut items = query.children().filter(|child| child.is(ns::ROSTER, "item"));
    let (Some(item), None) = (items.next(), items.next()) else {
        return bad("a roster set has exactly one item");
    };
    let Some(jid) = item.attr("jid") else { return bad("the item has no jid") };
    let jid = Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())?;
    // RFC 6121 §2.1.2.5: any other value is ignored.
    if item.attr("subscription") == Some("remove") {
        return Ok(Set::Remove { jid });
    }
    if jid.bare_str() == own {
        // RFC 6121 §2.3.3, the interoperability note.
        return Err(StanzaError::not_allowed().text("your own address is no roster item"));
    }
    let groups = item.children().filter(|child| child.is(ns::ROSTER, "group"));
    let mut groups: Vec<String> = groups.map(|group| group.text().to_owned()).collect();
    groups.sort();
    if groups.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return bad("the same group twice");
    }
    let not = |text| Err(StanzaError::not_acceptable().text(text));
    if groups.len() > ROSTER_GROUPS_MAX {
        return not("too many groups");
    }
    if groups.iter().any(String::is_empty) {
        return not("a group without a name");
    }
    let name = item.attr("name").unwrap_or_default();
    let lengths = || groups.iter().map(String::len).chain([name.len()]);
    if lengths().any(|len| len > ROSTER_TEXT_BYTES_MAX) {
        return not("a name is too long");
    }
    if lengths().sum::<usize>() > ROSTER_ITEM_BYTES_MAX {
        return not("the item is too large");
    }
    // RFC 6121 §2.4.1: an empty name is no name.
    let name = (!name.is_empty()).then(|| name.to_owned());
    Ok(Set::Put { jid: jid.as_str().to_owned(), name, groups })
}

/// The account may name a contact that is given, and put it into more groups; it cannot take it out of one.
fn put(
    tx: &mut dyn Tx,
    account: AccountId,
    jid: String,
    name: Option<String>,
    groups: Vec<String>,
    circumstances: &Circumstances,
) -> Result<Result<RosterChange, Refused>, StoreError> {
    let before = roster::item(tx, account, &jid)?;
    if before.as_ref().is_none_or(|item| !item.listed) && circumstances.is_full(tx, account)? {
        return Ok(Err(Refused::Full));
    }
    let before = before.unwrap_or_default();
    if let Some(left) = before.given.iter().find(|given| !groups.contains(&given.group)) {
        return Ok(Err(Refused::Given(left.group.clone())));
    }
    let is_given = !before.given.is_empty();
    let mut item = Item { jid: jid.clone(), name, groups, listed: true, ..before };
    item.ver = roster::put(tx, account, &item)?;
    let ver = item.ver;
    let item = if is_given { roster::item(tx, account, &jid)? } else { Some(item) };
    Ok(Ok(RosterChange { ver, jid, item, push: true }))
}

/// RFC 6121 §2.5.2: ends the subscriptions both ways, then the item goes. All in one transaction, with the
/// contact's half if it lives here.
fn remove(
    tx: &mut dyn Tx,
    owner: &BareJid,
    account: AccountId,
    jid: &Jid,
    circumstances: &Circumstances,
) -> Result<Result<Vec<Step>, StanzaError>, StoreError> {
    // An item that is not listed only remembers a request; to the client it is not there.
    let item = roster::item(tx, account, jid.as_str())?.filter(|item| item.listed);
    let Some(item) = item else { return Ok(Err(unknown_item())) };
    if let Some(given) = item.given.first() {
        return Ok(Err(subscription::refused(Refused::Given(given.group.clone()))));
    }
    end(tx, owner, account, jid, &item, circumstances).map(Ok)
}

fn end(
    tx: &mut dyn Tx,
    owner: &BareJid,
    account: AccountId,
    jid: &Jid,
    item: &Item,
    circumstances: &Circumstances,
) -> Result<Vec<Step>, StoreError> {
    let mut steps = part(tx, owner, account, jid, item, circumstances)?;
    for step in steps.iter_mut().filter(|step| step.owner == *owner) {
        // One push says it all: the last.
        if let Some(RosterChange { push, .. }) = &mut step.change {
            *push = false;
        }
    }
    let ver = roster::remove(tx, account, jid.as_str())?;
    let jid = jid.as_str().to_owned();
    steps.push(step(owner, account, RosterChange { ver, jid, item: None, push: item.listed }));
    Ok(steps)
}

/// Ends the subscriptions both ways; the item stays.
fn part(
    tx: &mut dyn Tx,
    owner: &BareJid,
    account: AccountId,
    jid: &Jid,
    item: &Item,
    circumstances: &Circumstances,
) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    let state = table::State { subscription: item.state, approved: item.approved };
    for verb in table::removal(state) {
        let half = Half::made(owner.clone(), account, jid.bare(), verb);
        steps.extend(subscription::outbound(tx, half, circumstances)?.unwrap_or_default());
    }
    Ok(steps)
}

/// What becomes of the roster of an account that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// The names stay, in case the account is restored.
    Stay,
    /// They go.
    Go,
}

/// Ends all subscriptions of an account that is about to be deleted, with all that a removal means to
/// its contacts (RFC 6121 §2.5.2): else whoever gets the name next would see their presence.
pub async fn leave(
    router: &Arc<Router>,
    owner: &BareJid,
    account: AccountId,
    what: Items,
    now: SystemTime,
) -> Result<(), StanzaError> {
    let items = router.store.read(move |tx| roster::load(tx, account)).await?.items;
    let jids: Vec<String> = items.into_keys().collect();
    for jids in jids.chunks(LEAVE_AT_ONCE) {
        let (jids, owner, work) = (jids.to_vec(), owner.clone(), router.clone());
        let part = subscription::detached(router, "roster leave", async move {
            let circumstances = Circumstances::new(&work, now);
            let write = work
                .store
                .write(move |tx| end_all(tx, &owner, account, &jids, what, &circumstances));
            subscription::carry_out(&work, &write.await?);
            Ok(())
        });
        part.await?;
    }
    Ok(())
}

fn end_all(
    tx: &mut dyn Tx,
    owner: &BareJid,
    account: AccountId,
    jids: &[String],
    what: Items,
    circumstances: &Circumstances,
) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    for jid in jids {
        let (Some(item), Ok(jid)) = (roster::item(tx, account, jid)?, Jid::parse(jid)) else {
            continue;
        };
        // One that is not listed is a request of somebody who is told that it came to nothing.
        let one = if what == Items::Stay && item.listed { part } else { end };
        steps.extend(one(tx, owner, account, &jid, &item, circumstances)?);
    }
    Ok(steps)
}

fn step(owner: &BareJid, account: AccountId, change: RosterChange) -> Step {
    Step {
        owner: owner.clone(),
        account,
        peer: owner.clone(),
        change: Some(change),
        deliver: None,
        presence: None,
        leaves: None,
    }
}

/// A write touches some 500 rows at most; an item with its contact's half is up to ten.
const LEAVE_AT_ONCE: usize = 50;

#[cfg(test)]
mod tests;
