//! XEP-0049: Private XML Storage: elements that the clients of an account keep for themselves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::api::{
    Cx, Giving, Holder, IqRoute, Module, Moved, Moves, On, Reply, Spec, Tag, Taken, Taking, Target,
};
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::store::damage::query_sound;
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, Value, query_all, query_one};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The module. Whoever asks for somebody else's gets `service-unavailable` (§2.3), as from nobody: so there
/// is no route for it.
pub const MODULE: Module = Module {
    name: "private",
    specs: &[Spec::whole("XEP-0049", "1.2", "features/private.rs")],
    features: &[On::Server(NS), On::Account(NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "query",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(get(cx, iq)),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "query",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(set(cx, iq)),
        },
    ],
    sql: &[CATALOGUE],
    weights: &[WEIGHT],
    moves: MOVES,
    ..Module::EMPTY
};

/// `[modules.private]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of elements of one account.
    pub elements_max: usize,
    /// Their maximum size in bytes.
    pub bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { elements_max: 100, bytes_max: 1_048_576 }
    }
}

/// §2.2: what is stored in the namespace that is asked for: first the elements of the same name, of which
/// there is an empty one if nothing was stored (clients wait for it), then the others.
async fn get(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let (ns, name) = {
        let doc = iq.stanza().element().view();
        let mut asked = asked(doc.root())?;
        // §3
        let first = asked.next().ok_or_else(StanzaError::bad_request)?;
        let (ns, name) = stored_as(first)?;
        // §2.3: not more than one namespace. One name is enough, because all of the namespace comes.
        if asked.any(|other| other.ns() != ns) {
            return Err(StanzaError::bad_request().text("one namespace at a time"));
        }
        (ns, name)
    };
    if let Some(elsewhere) = cx.server.private_xml(&ns, &name) {
        let found = (elsewhere.get)(cx).await?;
        return Ok(written(&ns, &name, found.iter(), std::iter::empty()));
    }
    let of = ns.clone();
    let found = cx.store.read(move |tx| {
        query_sound(tx, ("private_xml", account), ALL, &[account.into(), (&of).into()], element)
    });
    let found = found.await?;
    let is_same = |one: &&(String, Vec<u8>)| one.0 == name;
    let same = found.iter().filter(is_same).map(|(_, element)| element);
    let others = found.iter().filter(|one| !is_same(one)).map(|(_, element)| element);
    Ok(written(&ns, &name, same, others))
}

fn empty(ns: &str, name: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.element(name, ns, "");
    xml.finish().to_vec()
}

/// Elements of the name that was asked for, or an empty one, and others.
fn written<'a>(
    ns: &str,
    name: &str,
    same: impl Iterator<Item = &'a Vec<u8>>,
    others: impl Iterator<Item = &'a Vec<u8>>,
) -> Reply {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", NS);
    let mut same = same.peekable();
    if same.peek().is_none() {
        xml.raw(&empty(ns, name));
    }
    same.chain(others).for_each(|element| _ = xml.raw(element));
    xml.end();
    Reply::payload(xml.finish())
}

/// §2.2: each element replaces what was stored by its name and namespace; several of one name stay together.
async fn set(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let elements = {
        let doc = iq.stanza().element().view();
        asked(doc.root())?.map(Stored::new).collect::<Result<Vec<_>, _>>()?
    };
    if elements.is_empty() {
        // §2.3: MUST
        return Err(StanzaError::not_acceptable().text("no element is given"));
    }
    let elsewhere = |one: &Stored| cx.server.private_xml(&one.ns, &one.name);
    match elements.as_slice() {
        [one] => {
            if let Some(owner) = elsewhere(one) {
                let Stored { ns, name, element } = one;
                let element =
                    if element.is_empty() { empty(ns, name) } else { element.clone().into_bytes() };
                (owner.set)(cx, element).await?;
                return Ok(Reply::empty());
            }
        }
        // What is kept in two places cannot be done whole or not at all.
        more if more.iter().any(|one| elsewhere(one).is_some()) => {
            return Err(StanzaError::not_acceptable().text("one of the elements comes alone"));
        }
        _ => {}
    }
    if elements.len() > cx.config.private.elements_max.max(AT_ONCE_MAX) {
        return Err(StanzaError::policy_violation().text("too many elements at once"));
    }
    let work = cx.clone();
    let fits = cx.finish("private XML", async move {
        let config = work.config.private.clone();
        Ok(work.store.write(move |tx| replace(tx, account, &elements, &config)).await?)
    });
    match fits.await? {
        true => Ok(Reply::empty()),
        false => Err(StanzaError::policy_violation().text("too much private XML is stored")),
    }
}

fn asked<'d>(iq: Node<'d>) -> Result<impl Iterator<Item = Node<'d>>, StanzaError> {
    Ok(iq.child(NS, "query").ok_or_else(StanzaError::bad_request)?.children())
}

/// The namespace and the name by which an element is found again.
fn stored_as(element: Node<'_>) -> Result<(String, String), StanzaError> {
    let (ns, name) = (element.ns(), element.name());
    // §2.3: a namespace of its own. §2.3 leaves it open whether others are reserved.
    if ns.is_empty() || ns == NS {
        return Err(StanzaError::not_acceptable().text("an element has no namespace of its own"));
    }
    if ns.len() > NAME_BYTES_MAX || name.len() > NAME_BYTES_MAX {
        return Err(StanzaError::policy_violation().text("a name is too long"));
    }
    Ok((ns.to_owned(), name.to_owned()))
}

/// An element of a request.
struct Stored {
    ns: String,
    name: String,
    /// Empty: it only takes away what was stored, because an element without content is what one gets for
    /// nothing.
    element: String,
}

impl Stored {
    fn new(node: Node<'_>) -> Result<Self, StanzaError> {
        let (ns, name) = stored_as(node)?;
        let is_empty = node.children().next().is_none()
            && node.attrs().next().is_none()
            && node.text().trim().is_empty();
        let whole = || node.standalone().ok_or_else(StanzaError::bad_request);
        let element = if is_empty { String::new() } else { whole()?.into() };
        Ok(Self { ns, name, element })
    }

    fn bytes(&self) -> usize {
        self.ns.len() + self.name.len() + self.element.len()
    }
}

/// Returns false, and writes nothing, if an account would have too much.
fn replace(
    tx: &mut dyn Tx,
    account: AccountId,
    elements: &[Stored],
    config: &Config,
) -> Result<bool, StoreError> {
    let before = weighed(tx, WEIGHT, &[account.into()])?;
    let (mut bytes, mut rows) = before;
    let keys: BTreeSet<_> =
        elements.iter().map(|one| (one.ns.as_str(), one.name.as_str())).collect();
    for (ns, name) in &keys {
        let old = weighed(tx, WEIGHT_OF, &[account.into(), (*ns).into(), (*name).into()])?;
        (bytes, rows) = (bytes.saturating_sub(old.0), rows.saturating_sub(old.1));
    }
    let kept = || elements.iter().filter(|one| !one.element.is_empty());
    bytes += kept().map(Stored::bytes).sum::<usize>();
    rows += kept().count();
    // Less than before is always taken, though the bounds were lowered meanwhile.
    let grows = bytes > before.0 || rows > before.1;
    if grows && (bytes > config.bytes_max || rows > config.elements_max) {
        return Ok(false);
    }
    for (ns, name) in &keys {
        tx.execute(REMOVE, &[account.into(), (*ns).into(), (*name).into()])?;
    }
    for (nth, one) in kept().enumerate() {
        let element = one.element.as_bytes().into();
        tx.execute(
            ADD,
            &[account.into(), (&one.ns).into(), (&one.name).into(), nth.into(), element],
        )?;
    }
    Ok(true)
}

/// Bytes and rows.
fn weighed(tx: &mut dyn Tx, sql: &str, params: &[Value<'_>]) -> Result<(usize, usize), StoreError> {
    let number = |int: i64| usize::try_from(int).unwrap_or(usize::MAX);
    query_one(tx, sql, params, |row| Ok((number(row.int(0)?), number(row.int(1)?))))
}

/// Its name, and all of it.
fn element(row: &dyn Row) -> Result<(String, Vec<u8>), StoreError> {
    Ok((row.text(0)?, row.blob(1)?))
}

const NS: &str = "jabber:iq:private";
/// Maximum length in bytes of a name and of a namespace, which are in an index.
const NAME_BYTES_MAX: usize = 1_000;
/// Elements of one request: each is looked up, and written in one transaction.
const AT_ONCE_MAX: usize = 500;

crate::store::sql! {
    ALL = "SELECT name, element FROM private_xml WHERE account = $1 AND ns = $2 ORDER BY name, nth";
    ALL_OF = "SELECT ns, name, element FROM private_xml WHERE account = $1 ORDER BY ns, name, nth";
    ADD = "INSERT INTO private_xml (account, ns, name, nth, element) VALUES ($1, $2, $3, $4, $5)";
    REMOVE = "DELETE FROM private_xml WHERE account = $1 AND ns = $2 AND name = $3";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(ns) + OCTET_LENGTH(name) + OCTET_LENGTH(element)), 0), COUNT(*) \
        FROM private_xml WHERE account = $1";
    WEIGHT_OF = "SELECT COALESCE(SUM(OCTET_LENGTH(ns) + OCTET_LENGTH(name) + OCTET_LENGTH(element)), 0), COUNT(*) \
        FROM private_xml WHERE account = $1 AND ns = $2 AND name = $3";
}

/// How its data moves in and out.
const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "private XML",
        of: Holder::Account,
        within: &[(NS, "query")],
        ns: "*",
        name: "*",
        take: take_element,
    }],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take_element(
    taking: &mut Taking<'_>,
    _: &[Tag],
    element: Node<'_>,
) -> Result<Taken, StoreError> {
    let which = format!("{{{}}}{}", element.ns(), element.name());
    let Ok(stored) = Stored::new(element) else {
        return Ok(Taken::not(which, "it has no namespace of its own, or a name that is too long"));
    };
    if stored.element.is_empty() {
        return Ok(Taken::There);
    }
    let account = taking.owner.account();
    let all = query_all(taking.tx, ALL_OF, &[account.into()], |row| {
        Ok((row.text(0)?, row.text(1)?, row.blob(2)?))
    })?;
    let same: Vec<_> = all
        .into_iter()
        .filter(|(ns, name, _)| *ns == stored.ns && *name == stored.name)
        .map(|(_, _, element)| element)
        .collect();
    // Several of one name came together; else what is there is newer.
    let key = format!("private {which}");
    let is_mine = taking.own.notes.contains_key(&key);
    if same.iter().any(|one| *one == stored.element.as_bytes()) || (!same.is_empty() && !is_mine) {
        return Ok(Taken::There);
    }
    let mut kept: Vec<Stored> = same
        .into_iter()
        .filter_map(|element| String::from_utf8(element).ok())
        .map(|element| Stored { ns: stored.ns.clone(), name: stored.name.clone(), element })
        .collect();
    kept.push(stored);
    let Config { elements_max, bytes_max } = taking.config.private;
    if !replace(taking.tx, account, &kept, &taking.config.private)? {
        let why = format!(
            "an account may have {elements_max} elements of {bytes_max} bytes together (modules.private)"
        );
        return Ok(Taken::not(which, why));
    }
    taking.own.notes.insert(key, 1);
    Ok(Taken::New)
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let account = giving.owner.account();
    let all = query_all(giving.tx, ALL_OF, &[account.into()], |row| {
        Ok((row.text(0)?, row.text(1)?, row.blob(2)?))
    })?;
    let elsewhere = |ns: &str, name: &str| {
        crate::modules::ALL
            .iter()
            .flat_map(|module| module.private_xml)
            .any(|one| one.ns == ns && one.name == name)
    };
    for (_, _, element) in all.iter().filter(|(ns, name, _)| !elsewhere(ns, name)) {
        (giving.out)(&[Tag::new(NS, "query")], element)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules;

    async fn set(cx: &super::Cx, inner: &str) -> String {
        ask(cx, "set", "", &format!("<query xmlns='jabber:iq:private'>{inner}</query>")).await
    }

    async fn get(cx: &super::Cx, inner: &str) -> String {
        let answer =
            ask(cx, "get", "", &format!("<query xmlns='jabber:iq:private'>{inner}</query>")).await;
        match answer.strip_prefix("<query xmlns='jabber:iq:private'>") {
            Some(rest) => rest.strip_suffix("</query>").unwrap().to_owned(),
            None => answer,
        }
    }

    /// §2.2 and §2.3.
    #[tokio::test]
    async fn elements_are_kept_by_name_and_namespace() {
        let server = Server::with(&["alice", "bob"]).await;
        let cx = server.session("alice@x/a").await;
        assert_eq!(get(&cx, "<p xmlns='n'/>").await, "<p xmlns='n'/>", "never stored");
        assert_eq!(
            set(&cx, "<p xmlns='n'>1</p><p xmlns='n' a='2'/><o xmlns='n'>3</o><p xmlns='m'>4</p>")
                .await,
            ""
        );
        let ps = "<p xmlns='n'>1</p><p xmlns='n' a='2'/>";
        assert_eq!(get(&cx, "<p xmlns='n'/>").await, format!("{ps}<o xmlns='n'>3</o>"));
        assert_eq!(get(&cx, "<o xmlns='n'/>").await, format!("<o xmlns='n'>3</o>{ps}"));
        assert_eq!(
            get(&cx, "<x xmlns='n'/>").await,
            format!("<x xmlns='n'/><o xmlns='n'>3</o>{ps}")
        );
        assert_eq!(get(&cx, "<p xmlns='m'/>").await, "<p xmlns='m'>4</p>");
        // Together with what takes another away: an element without content.
        assert_eq!(set(&cx, "<p xmlns='n'>5</p><o xmlns='n'> </o>").await, "");
        assert_eq!(get(&cx, "<p xmlns='n'/><p xmlns='n'/>").await, "<p xmlns='n'>5</p>");
        let other = server.session("bob@x/b").await;
        assert_eq!(get(&other, "<p xmlns='n'/>").await, "<p xmlns='n'/>");
    }

    /// What was declared outside goes with an element, and all of its text.
    #[tokio::test]
    async fn an_element_means_what_it_meant() {
        let server = Server::with(&["alice"]).await;
        let cx = server.session("alice@x/a").await;
        let query = "<query xmlns='jabber:iq:private' xmlns:p='P'><p:e p:a='&lt;'>1<p:b/>2<![CDATA[&]]></p:e></query>";
        assert_eq!(ask(&cx, "set", "", query).await, "");
        let kept =
            "<p:e xmlns='jabber:iq:private' xmlns:p='P' p:a='&lt;'>1<p:b/>2<![CDATA[&]]></p:e>";
        assert_eq!(get(&cx, "<e xmlns='P'/>").await, kept);
    }

    /// §2.3 and §3.
    #[tokio::test]
    async fn what_cannot_be_meant_is_refused() {
        let server = Server::with(&["alice"]).await;
        let cx = server.session("alice@x/a").await;
        assert_eq!(set(&cx, "<p xmlns='n'>1</p>").await, "");
        let long = format!("<p xmlns='{}'>1</p>", "n".repeat(1_001));
        for (ty, inner, condition) in [
            ("set", "", "not-acceptable"),
            ("set", "<p/>", "not-acceptable"),
            ("set", "<p xmlns=''/>", "not-acceptable"),
            ("set", "<p xmlns='n'>2</p><p>3</p>", "not-acceptable"),
            ("set", &long, "policy-violation"),
            ("get", "", "bad-request"),
            ("get", "<p/>", "not-acceptable"),
            ("get", "<p xmlns='n'/><p xmlns='m'/>", "bad-request"),
            ("get", &long, "policy-violation"),
        ] {
            let answer = if ty == "set" { set(&cx, inner).await } else { get(&cx, inner).await };
            assert_eq!(answer, condition, "{ty} {inner}");
        }
        assert_eq!(get(&cx, "<p xmlns='n'/>").await, "<p xmlns='n'>1</p>", "nothing was changed");
        let nobody = server.session("guest@x/a").await;
        assert_eq!(get(&nobody, "<p xmlns='n'/>").await, "not-allowed", "no account");
    }

    /// All of a request is done, or nothing.
    #[tokio::test]
    async fn what_is_kept_elsewhere_comes_alone() {
        let server = Server::with(&["alice"]).await;
        let cx = server.session("alice@x/a").await;
        let bookmarks = |room: &str| {
            format!("<storage xmlns='storage:bookmarks'><conference jid='{room}'/></storage>")
        };
        let long = format!("<p xmlns='{}'>1</p>", "n".repeat(1_000));
        for beside in ["<p xmlns='n'>1</p>", &long, &bookmarks("b@x")] {
            let both = format!("{}{beside}", bookmarks("a@x"));
            assert_eq!(set(&cx, &both).await, "not-acceptable", "{both}");
        }
        assert_eq!(get(&cx, "<p xmlns='n'/>").await, "<p xmlns='n'/>");
        let list = "<storage xmlns='storage:bookmarks'/>";
        assert_eq!(get(&cx, list).await, list);
        assert_eq!(set(&cx, &bookmarks("a@x")).await, "");
        assert!(get(&cx, list).await.contains("<conference jid='a@x'"));
    }

    #[tokio::test]
    async fn one_request_is_not_thousands() {
        let server = Server::with(&["alice"]).await;
        let cx = server.session("alice@x/a").await;
        let many: String = (0..=super::AT_ONCE_MAX).map(|n| format!("<p{n} xmlns='n'/>")).collect();
        assert_eq!(set(&cx, &many).await, "policy-violation");
    }

    #[tokio::test]
    async fn what_is_stored_is_bounded() {
        let mut config = modules::Config::default();
        (config.private.elements_max, config.private.bytes_max) = (3, 100);
        let server = Server::new(config);
        server.account("alice", &[]).await;
        let cx = server.session("alice@montague.example/a").await;
        let three = "<a xmlns='n'>1</a><a xmlns='n'>2</a><a xmlns='m'>3</a>";
        assert_eq!(set(&cx, three).await, "");
        assert_eq!(set(&cx, "<b xmlns='n'>4</b>").await, "policy-violation");
        assert_eq!(set(&cx, "<b xmlns='n'>4</b><a xmlns='m'/>").await, "", "one for one");
        assert_eq!(get(&cx, "<a xmlns='m'/>").await, "<a xmlns='m'/>");
        let large = format!("<b xmlns='n'>{}</b>", "x".repeat(60));
        assert_eq!(set(&cx, &large).await, "policy-violation");
        assert_eq!(
            get(&cx, "<b xmlns='n'/>").await,
            "<b xmlns='n'>4</b><a xmlns='n'>1</a><a xmlns='n'>2</a>"
        );
        assert_eq!(set(&cx, &format!("<a xmlns='n'/>{large}")).await, "", "in place of others");
    }
}
