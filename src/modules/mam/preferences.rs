//! XEP-0441: Message Archive Management Preferences: accounts choose what is archived.

use std::sync::Arc;

use super::super::AccountState;
use super::super::api::{Cx, Reply};
use super::keep::preferred;
use super::policy::{self, Policy, Preferences};
use crate::jid::{BareJid, Jid};
use crate::router::Router;
use crate::stanza::StanzaError;
use crate::stanza::iq::Iq;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// §2.1: returns the preferences.
pub(super) fn get(cx: &Cx) -> Result<Reply, StanzaError> {
    cx.account()?;
    let held = cx.own(|entry| preferred(entry).cloned());
    Ok(written(&held.flatten().unwrap_or_default()))
}

/// §2.1: sets the preferences. The result contains those that apply, and they are durable by then.
pub(super) async fn set(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let wanted = {
        let doc = iq.stanza().element().view();
        read(doc.root().first_child().ok_or_else(StanzaError::bad_request)?)?
    };
    prefer(&cx.router, cx.bare(), account, wanted.clone()).await?;
    Ok(written(&wanted))
}

async fn prefer(
    router: &Arc<Router>,
    bare: BareJid,
    account: AccountId,
    wanted: Preferences,
) -> Result<(), StoreError> {
    let held = Some(Box::new(wanted.clone())).filter(|wanted| !wanted.is_default());
    let write = move |tx: &mut dyn Tx| policy::save(tx, account, &wanted);
    router
        .change(bare, write, |entry| AccountState::change(entry, |state| state.mam = held))
        .await
        .map(drop)
}

fn read(prefs: Node<'_>) -> Result<Preferences, StanzaError> {
    // §2.1.1: it MUST be one of three values.
    let policy = prefs.attr("default").and_then(Policy::parse);
    let policy = policy
        .ok_or_else(|| StanzaError::bad_request().text("`default` is always, never or roster"))?;
    let (always, never) = (list(prefs, "always")?, list(prefs, "never")?);
    if always.len() + never.len() > LISTED_MAX {
        return Err(StanzaError::policy_violation().text("too many JIDs are listed"));
    }
    Ok(Preferences::new(policy, &always, &never))
}

/// §2.1.2: a missing list is empty.
fn list(prefs: Node<'_>, name: &str) -> Result<Vec<Jid>, StanzaError> {
    let mut lists = prefs.children().filter(|child| child.is(ns::MAM, name));
    let Some(list) = lists.next() else { return Ok(Vec::new()) };
    if lists.next().is_some() {
        return Err(StanzaError::bad_request().text("a list is there twice"));
    }
    let jids = list.children().filter(|child| child.is(ns::MAM, "jid"));
    let jids = jids.map(|jid| Jid::parse(jid.text().trim()));
    jids.collect::<Result<_, _>>().map_err(|_| StanzaError::jid_malformed())
}

/// Writes both lists, even if they are empty.
fn written(preferences: &Preferences) -> Reply {
    let mut xml = Xml::new();
    xml.start("prefs").attr("xmlns", ns::MAM).attr("default", preferences.policy.as_str());
    for (name, kept) in [("always", true), ("never", false)] {
        xml.start(name);
        for jid in preferences.listed(kept) {
            xml.element("jid", None, jid);
        }
        xml.end();
    }
    xml.end();
    Reply::payload(xml.finish())
}

/// Maximum number of JIDs in both lists: they are in memory as long as the account's entry.
const LISTED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Server, ask};
    use super::*;
    use crate::jid::FullJid;
    use crate::modules;
    use crate::router::held::Asks;
    use crate::router::outbox::Outbox;
    use crate::router::registry::{BindOutcome, Conflict, Resource};
    use crate::stanza::Kind;

    const SET: &str = "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always>\
        <jid>Romeo@Montague.lit</jid></always><never><jid>montague@montague.lit/R</jid></never></prefs>";

    #[tokio::test]
    async fn what_was_set_is_what_one_gets() {
        let server = Server::new(modules::Config::default());
        server.account("juliet", &[]).await;
        let (balcony, phone) = (
            server.session("juliet@montague.example/balcony").await,
            server.session("juliet@montague.example/phone").await,
        );
        let get = "<prefs xmlns='urn:xmpp:mam:2'/>";
        let none =
            "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>".to_owned();
        assert_eq!(ask(&balcony, "get", "", get).await, none);
        let normal = SET.replace("Romeo@Montague.lit", "romeo@montague.lit");
        assert_eq!(ask(&balcony, "set", "juliet@montague.example", SET).await, normal);
        let choosy = |cx: &Cx| is_choosy(&cx.client().unwrap().outbox);
        assert!(choosy(&balcony) && choosy(&phone));
        assert_eq!(ask(&phone, "get", "", get).await, normal);
        let later = server.session("juliet@montague.example/later").await;
        assert!(choosy(&later));
        assert_eq!(ask(&later, "set", "", &none).await, none);
        assert_eq!(ask(&phone, "get", "", get).await, none);
        let held =
            server.cx.router.entry("juliet@montague.example", |entry| preferred(entry).is_some());
        assert_eq!((choosy(&phone), held), (false, Some(false)), "nothing is held of nothing");
    }

    #[tokio::test]
    async fn what_cannot_be_meant_changes_nothing() {
        let server = Server::new(modules::Config::default());
        server.account("juliet", &[]).await;
        let cx = server.session("juliet@montague.example/balcony").await;
        let before = ask(&cx, "set", "", SET).await;
        let many = |count| "<jid>a@x</jid>".repeat(count);
        let lists = |always: usize, never: usize| {
            let (always, never) = (many(always), many(never));
            format!("default='never'><always>{always}</always><never>{never}</never></prefs>")
        };
        for (rest, condition) in [
            ("/>".to_owned(), "bad-request"),
            ("default=''/>".to_owned(), "bad-request"),
            ("default='sometimes'/>".to_owned(), "bad-request"),
            ("default='never'><always/><always/></prefs>".to_owned(), "bad-request"),
            ("default='never'><never><jid>@</jid></never></prefs>".to_owned(), "jid-malformed"),
            ("default='never'><never><jid/></never></prefs>".to_owned(), "jid-malformed"),
            (lists(200, 57), "policy-violation"),
        ] {
            let set = format!("<prefs xmlns='urn:xmpp:mam:2' {rest}");
            assert_eq!(ask(&cx, "set", "", &set).await, condition, "{rest}");
        }
        assert_eq!(ask(&cx, "get", "", "<prefs xmlns='urn:xmpp:mam:2'/>").await, before);
        let most = format!("<prefs xmlns='urn:xmpp:mam:2' {}", lists(200, 56));
        // A JID in both lists is never archived.
        let left = "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/>\
                    <never><jid>a@x</jid></never></prefs>";
        assert_eq!(ask(&cx, "set", "", &most).await, left);
        let guest = server.session("guest@montague.example/x").await;
        for (cx, to, condition) in
            [(&guest, "", "not-allowed"), (&cx, "romeo@montague.example", "service-unavailable")]
        {
            assert_eq!(ask(cx, "set", to, SET).await, condition);
            let get = "<prefs xmlns='urn:xmpp:mam:2'/>";
            assert_eq!(ask(cx, "get", to, get).await, condition);
        }
    }

    fn is_choosy(outbox: &Outbox) -> bool {
        outbox.asks().has(Asks::before(Kind::Message))
    }

    /// However many requests change them at once, memory matches the store, and a new session is asked
    /// accordingly.
    #[tokio::test]
    async fn memory_follows_the_store() {
        let server = Server::new(modules::Config::default());
        let account = server.account("romeo", &[]).await;
        let (router, store) = (server.cx.router.clone(), server.cx.store.clone());
        let bare = BareJid::parse("romeo@montague.example").unwrap();
        router.load(&bare).await.unwrap();
        let bind = |session, resource: &str| {
            let jid = FullJid::parse(&format!("romeo@montague.example/{resource}")).unwrap();
            let outbox = Arc::new(Outbox::new(9));
            let resource = Resource::new(jid, session, outbox.clone());
            let bound = router.registry.bind(resource, false, Conflict::Replace, 9);
            assert!(matches!(bound, BindOutcome::Done(_, None)));
            outbox
        };
        let first = bind(1, "one");
        assert!(!is_choosy(&first));
        for round in 0..10 {
            let wanted = (0..9).map(|n| {
                let never = [Jid::parse(&format!("foe-{round}-{n}@x")).unwrap()];
                Preferences::new(Policy::ALL[n % 3], &[], &never)
            });
            let mut changes = tokio::task::JoinSet::new();
            for wanted in wanted {
                let (router, bare) = (router.clone(), bare.clone());
                changes.spawn(async move { prefer(&router, bare, account, wanted).await });
            }
            while let Some(changed) = changes.join_next().await {
                changed.unwrap().unwrap();
            }
            let stored = store.read(move |tx| policy::load(tx, account)).await.unwrap();
            let held = router.entry(bare.as_str(), |entry| preferred(entry).cloned());
            assert_eq!(held.flatten(), stored);
        }
        assert!(is_choosy(&first) && is_choosy(&bind(2, "two")));
        prefer(&router, bare, account, Preferences::default()).await.unwrap();
        assert!(!is_choosy(&first) && !is_choosy(&bind(3, "three")));
    }
}
