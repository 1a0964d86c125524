//! XEP-0191: Blocking Command: an account and the entities that it has blocked cannot reach each other.
//! Stanzas from a blocked entity are stopped before anything else happens to them; stanzas to one are
//! refused.

use std::future::ready;
use std::sync::Arc;

use super::api::{
    AccountPart, Cx, Giving, GuardQuery, Holder, IqRoute, Module, Moved, Moves, On, Persist, Reply,
    Spec, Tag, Taken, Taking, Target, Verdict,
};
use super::{AccountState, ResourceState};
use crate::base::id::{OsRng, short};
use crate::jid::Jid;
use crate::router::contacts::Contacts;
use crate::router::held::Asks;
use crate::router::passage::Side;
use crate::router::presence;
use crate::router::registry::{AccountEntry, Resource};
use crate::router::rules::StanzaClass;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::message::MessageType;
use crate::stanza::{Frame, Kind as Stanzas, StanzaError};
use crate::store::damage::query_sound;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx, query_all};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "blocking",
    specs: &[Spec::whole("XEP-0191", "1.3", "features/blocking.rs")],
    features: &[On::Server(NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "blocklist",
            targets: &[Target::Own],
            handler: |cx, _| Box::pin(ready(blocklist(&cx))),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "block",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(change(cx, iq, Verb::Block)),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "unblock",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(change(cx, iq, Verb::Unblock)),
        },
    ],
    guard: Some(guard),
    sessions: Some(sessions),
    sql: &[CATALOGUE],
    weights: &[WEIGHT],
    moves: MOVES,
    ..Module::EMPTY
};

/// The JIDs that an account has blocked, sorted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct List(Vec<Box<str>>);

impl List {
    /// §6: a full JID matches itself, a bare JID all of its resources, a domain all of its JIDs.
    fn has(&self, jid: &Jid) -> bool {
        let listed = |jid: &str| self.0.binary_search_by(|one| (**one).cmp(jid)).is_ok();
        listed(jid.as_str()) || listed(jid.bare_str()) || listed(jid.domain())
    }

    fn lists(&self, jid: &Jid) -> bool {
        self.0.binary_search_by(|one| (**one).cmp(jid.as_str())).is_ok()
    }

    fn add(&mut self, jid: &Jid) {
        if let Err(index) = self.0.binary_search_by(|one| (**one).cmp(jid.as_str())) {
            self.0.insert(index, jid.as_str().into());
        }
    }

    fn remove(&mut self, jid: &Jid) {
        if let Ok(index) = self.0.binary_search_by(|one| (**one).cmp(jid.as_str())) {
            self.0.remove(index);
        }
    }
}

impl AccountPart for Option<Box<List>> {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let of = ("blocked", account);
        let read = |row: &dyn crate::store::tx::Row| Ok(row.text(0)?.into_boxed_str());
        let mut jids = query_sound(tx, of, ALL, &[account.into()], read)?;
        // Sorted here, because the database may use another collation.
        jids.sort_unstable();
        Ok((!jids.is_empty()).then(|| Box::new(List(jids))))
    }

    fn bytes(&self) -> usize {
        let texts =
            |list: &List| list.0.iter().map(|jid| size_of::<Box<str>>() + jid.len()).sum::<usize>();
        self.as_ref().map_or(0, |list| size_of::<List>() + texts(list))
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// A session's state: whether it requested the list, and so gets pushes of its changes (§3.3).
#[derive(Debug, Default)]
pub struct State {
    asked: bool,
}

impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        vec![u8::from(self.asked)]
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        Some(Self { asked: bytes == [1] })
    }
}

fn list(account: &AccountEntry) -> Option<&List> {
    AccountState::of(account)?.blocking.as_deref()
}

/// §3.3: decides about a stanza between the account and an entity it has blocked. §5: an account cannot block
/// itself.
fn guard(account: &AccountEntry, query: &GuardQuery<'_>) -> Verdict {
    let Some(list) = list(account) else { return Verdict::Continue };
    // Nor can it block its own server, which notifies it when its archive is full.
    let own_server = || query.own.rsplit('@').next() == Some(query.peer.as_str());
    if query.peer.bare_str() == query.own || own_server() || !list.has(query.peer) {
        return Verdict::Continue;
    }
    match (query.side, query.kind) {
        // An error or a result must not be answered with an error.
        (_, StanzaClass::Message(MessageType::Error) | StanzaClass::IqReply) => Verdict::Drop,
        (Side::Incoming, StanzaClass::Presence(_)) => Verdict::Drop,
        (Side::Incoming, StanzaClass::Message(_) | StanzaClass::IqRequest) => {
            Verdict::Bounce(StanzaError::service_unavailable())
        }
        (Side::Outgoing | Side::Returned, _) => {
            Verdict::Bounce(StanzaError::not_acceptable().application(ERRORS, "blocked"))
        }
    }
}

/// If the account has a list, every stanza that its sessions send is checked.
fn sessions(account: &mut AccountEntry, asks: &mut [Asks]) {
    if list(account).is_some() {
        let all = [Stanzas::Message, Stanzas::Presence, Stanzas::Iq].map(Asks::before);
        let all = all.into_iter().fold(Asks::default(), Asks::and);
        asks.iter_mut().for_each(|asks| *asks = asks.and(all));
    }
}

/// §3.2
fn blocklist(cx: &Cx) -> Result<Reply, StanzaError> {
    cx.account()?;
    let list = cx.own(|account| {
        if let Some(state) = account.session_mut(cx.session()).and_then(ResourceState::made) {
            state.blocking.asked = true;
        }
        list(account).cloned().unwrap_or_default()
    });
    let list = list.unwrap_or_default();
    Ok(Reply::payload(written("blocklist", list.0.iter().map(|jid| &**jid))))
}

fn written<'a>(name: &str, jids: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start(name).attr("xmlns", NS);
    for jid in jids {
        xml.start("item").attr("jid", jid).end();
    }
    xml.end();
    xml.finish().to_vec()
}

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Block,
    Unblock,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Unblock => "unblock",
        }
    }
}

/// §3.3 to §3.5. The result follows the commit; sessions that requested the list get the push before it.
async fn change(cx: Cx, iq: Iq, verb: Verb) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let (jids, mut more) = {
        let doc = iq.stanza().element().view();
        let request = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let jids = items(request)?;
        let named = request.children().filter(|child| child.is(NS, "item")).zip(&jids);
        let named = named.filter(|_| verb == Verb::Block);
        let more: Vec<_> = named.flat_map(|(item, jid)| cx.server.blocks(&cx, jid, item)).collect();
        (jids, more)
    };
    let change = match (verb, jids.is_empty()) {
        (Verb::Block, true) => return Err(StanzaError::bad_request().text("nobody is named")),
        (Verb::Block, false) => Change::Block(jids.into()),
        (Verb::Unblock, false) => Change::Unblock(jids.into()),
        (Verb::Unblock, true) => Change::UnblockAll,
    };
    if let Change::Block(jids) = &change {
        let before = cx.own(|account| list(account).cloned()).flatten().unwrap_or_default();
        let new = jids.iter().filter(|jid| !before.lists(jid)).count();
        if before.0.len() + new > cx.router.limits.roster_items_max {
            return Err(StanzaError::policy_violation().text("too many JIDs are blocked"));
        }
    }
    let (rows, entries, work) = (change.clone(), change.clone(), cx.clone());
    cx.finish("blocking", async move {
        let write = move |tx: &mut dyn Tx| {
            rows.save(tx, account)?;
            more.iter_mut().try_for_each(|write| write(tx))
        };
        let pushed = written(verb.as_str(), entries.jids().iter().map(Jid::as_str));
        let apply = move |account: &mut AccountEntry| {
            let before = list(account).cloned().unwrap_or_default();
            AccountState::change(account, |state| entries.apply(&mut state.blocking));
            account.resources.iter().for_each(|resource| push(resource, &pushed));
            let after = list(account).cloned().unwrap_or_default();
            let directed = account.resources.iter().flat_map(|one| one.directed.clone()).collect();
            Seen { before, after, roster: account.roster.clone(), directed }
        };
        if let Some(seen) = work.router.change(work.bare(), write, apply).await? {
            seen.tell(&work);
        }
        Ok(Reply::empty())
    })
    .await
}

/// The change that a request makes.
#[derive(Debug, Clone)]
enum Change {
    Block(Arc<[Jid]>),
    Unblock(Arc<[Jid]>),
    UnblockAll,
}

impl Change {
    fn jids(&self) -> &[Jid] {
        match self {
            Self::Block(jids) | Self::Unblock(jids) => jids,
            Self::UnblockAll => &[],
        }
    }

    fn save(&self, tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
        let sql = match self {
            Self::Block(_) => ADD,
            Self::Unblock(_) => REMOVE,
            Self::UnblockAll => return tx.execute(CLEAR, &[account.into()]).map(drop),
        };
        for jid in self.jids() {
            tx.execute(sql, &[account.into(), jid.as_str().into()])?;
        }
        Ok(())
    }

    fn apply(&self, state: &mut Option<Box<List>>) {
        let list = state.get_or_insert_default();
        match self {
            Self::Block(jids) => jids.iter().for_each(|jid| list.add(jid)),
            Self::Unblock(jids) => jids.iter().for_each(|jid| list.remove(jid)),
            Self::UnblockAll => list.0.clear(),
        }
        if list.0.is_empty() {
            *state = None;
        }
    }
}

fn items(request: Node<'_>) -> Result<Vec<Jid>, StanzaError> {
    let items = || request.children().filter(|child| child.is(NS, "item"));
    if request.children().next().is_some() && items().next().is_none() {
        return Err(StanzaError::bad_request().text("there are no items"));
    }
    if items().nth(ITEMS_MAX).is_some() {
        return Err(StanzaError::policy_violation().text("too many JIDs at once"));
    }
    let jids = items().map(|item| match item.attr("jid") {
        Some(jid) => Jid::parse(jid).map_err(|_| StanzaError::jid_malformed()),
        None => Err(StanzaError::bad_request().text("an item has no jid")),
    });
    jids.collect()
}

/// §3.3. Called under the account's lock, so that pushes are in the order of the commits.
fn push(resource: &Resource, payload: &[u8]) {
    if !ResourceState::of(resource).is_some_and(|state| state.blocking.asked) {
        return;
    }
    let mut xml = Xml::new();
    xml.start("iq").attr("type", "set").attr("id", &short(&mut OsRng));
    xml.attr("to", resource.jid.as_str()).raw(payload).end();
    // A session that is ending needs no push; the next one requests the list.
    let _ = resource.outbox.push(Frame::whole(xml.finish()));
}

/// The state around a change, copied while the lock was held.
struct Seen {
    before: List,
    after: List,
    roster: Arc<Contacts>,
    directed: Vec<Jid>,
}

impl Seen {
    /// §3.3, §3.4: an entity that may see the account's presence gets unavailable presence when it is
    /// blocked, and the current presence when it is unblocked. Other entities get nothing, because it would
    /// reveal who is online.
    fn tell(&self, cx: &Cx) {
        let own = cx.bare();
        for entity in self.audience() {
            match (self.before.has(&entity), self.after.has(&entity)) {
                (false, true) => presence::hide_from(&cx.router, own.as_str(), &entity),
                (true, false) => presence::show_to(&cx.router, own.as_str(), &entity),
                (true, true) | (false, false) => {}
            }
        }
    }

    fn audience(&self) -> Vec<Jid> {
        let subscribers = self.roster.iter().filter(|item| item.state.shows_presence());
        let subscribers = subscribers.filter_map(|item| Jid::parse(item.jid).ok());
        let mut all: Vec<_> = subscribers.chain(self.directed.iter().cloned()).collect();
        all.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        all.dedup();
        // A listed full JID whose bare JID is in the audience.
        let listed = self.before.0.iter().chain(&self.after.0);
        let listed = listed.filter_map(|jid| Jid::parse(jid).ok()).filter(Jid::is_full);
        let knows =
            |jid: &Jid| all.binary_search_by(|known| known.as_str().cmp(jid.bare_str())).is_ok();
        let mut single: Vec<_> = listed.filter(knows).collect();
        single.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        single.dedup();
        all.extend(single);
        all
    }
}

const NS: &str = "urn:xmpp:blocking";
/// Maximum number of items in one request, because they are written in one transaction.
const ITEMS_MAX: usize = 500;
const ERRORS: &str = "urn:xmpp:blocking:errors";

crate::store::sql! {
    ALL = "SELECT jid FROM blocked WHERE account = $1";
    ADD = "INSERT INTO blocked (account, jid) VALUES ($1, $2) ON CONFLICT (account, jid) DO NOTHING";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(jid)), 0), COUNT(*) FROM blocked WHERE account = $1";
    CLEAR = "DELETE FROM blocked WHERE account = $1";
    REMOVE = "DELETE FROM blocked WHERE account = $1 AND jid = $2";
}

/// How its data moves in and out.
const MOVES: Moves = Moves {
    takes: &[
        Moved {
            what: "blocked addresses",
            of: Holder::Account,
            within: &[(NS, "blocklist")],
            ns: NS,
            name: "item",
            take: take_item,
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

fn take_item(taking: &mut Taking<'_>, _: &[Tag], item: Node<'_>) -> Result<Taken, StoreError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jid_is_matched_as_section_6_says() {
        for (listed, jid, matches) in [
            ("a@x/r", "a@x/r", true),
            ("a@x/r", "a@x/R", false),
            ("a@x/r", "a@x", false),
            ("a@x", "a@x", true),
            ("a@x", "a@x/r", true),
            ("a@x", "b@x", false),
            ("x/r", "x/r", true),
            ("x/r", "x", false),
            ("x/r", "a@x/r", false),
            ("x", "x", true),
            ("x", "x/r", true),
            ("x", "a@x", true),
            ("x", "a@x/r", true),
            ("x", "a@y.x", false),
        ] {
            let list = List(vec![listed.into()]);
            assert_eq!(list.has(&Jid::parse(jid).unwrap()), matches, "{listed} {jid}");
        }
    }
}
