//! Roster gets, sets and pushes.

use super::*;
use crate::base::limits::Limits;
use crate::modules::testing::Server;
use crate::stanza::Condition;
use crate::xml::view::Doc;

fn parsed(items: &str) -> Result<Set, Condition> {
    let xml = format!("<query xmlns='jabber:iq:roster'>{items}</query>");
    let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
    parse(doc.root(), "me@x").map_err(|error| error.condition)
}

#[test]
fn sets_are_checked_as_rfc_6121_2_3_3_says() {
    let long = "x".repeat(ROSTER_TEXT_BYTES_MAX + 1);
    let large: String =
        (10..15).map(|n| format!("<group>{n}{}</group>", "x".repeat(1_000))).collect();
    let many: String = (0..=ROSTER_GROUPS_MAX).map(|n| format!("<group>{n}</group>")).collect();
    for (items, expected) in [
        (String::new(), Condition::BadRequest),
        ("<item jid='a@x'/><item jid='b@x'/>".into(), Condition::BadRequest),
        ("<item name='a'/>".into(), Condition::BadRequest),
        ("<item jid='a@x'><group>g</group><group>g</group></item>".into(), Condition::BadRequest),
        ("<item jid='@x'/>".into(), Condition::JidMalformed),
        ("<item jid=''/>".into(), Condition::JidMalformed),
        ("<item jid='ME@x'/>".into(), Condition::NotAllowed),
        ("<item jid='me@x/1'/>".into(), Condition::NotAllowed),
        (format!("<item jid='a@x' name='{long}'/>"), Condition::NotAcceptable),
        ("<item jid='a@x'><group/></item>".into(), Condition::NotAcceptable),
        (format!("<item jid='a@x'><group>{long}</group></item>"), Condition::NotAcceptable),
        (format!("<item jid='a@x'>{large}</item>"), Condition::NotAcceptable),
        (format!("<item jid='a@x'>{many}</item>"), Condition::NotAcceptable),
    ] {
        assert_eq!(parsed(&items), Err(expected), "{items}");
    }
}

#[test]
fn what_is_fine_is_read() {
    let put = |jid: &str, name: Option<&str>, groups: &[&str]| Set::Put {
        jid: jid.to_owned(),
        name: name.map(str::to_owned),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
    };
    for (items, expected) in [
        ("<item jid='A@X'/>", put("a@x", None, &[])),
        ("<item jid='a@x' name=''/>", put("a@x", None, &[])),
        (
            "<item jid='a@x' name='A' subscription='both' ask='subscribe'/>",
            put("a@x", Some("A"), &[]),
        ),
        ("<item jid='a@x'><group>z</group><group>a</group></item>", put("a@x", None, &["a", "z"])),
        ("<x xmlns='urn:y'/><item jid='a@x'/>", put("a@x", None, &[])),
        (
            "<item jid='a@x' subscription='remove'><group/></item>",
            Set::Remove { jid: Jid::parse("a@x").unwrap() },
        ),
    ] {
        assert_eq!(parsed(items), Ok(expected), "{items}");
    }
}

#[tokio::test]
async fn a_set_is_pushed_to_the_interested_and_kept() {
    let server = Server::with(&["a"]).await;
    let (one, two) = (server.connect("a@x/1").await, server.connect("a@x/2").await);
    let third = server.connect("a@x/3").await;
    let account = one.cx.account().unwrap().0;
    let empty = format!("<query xmlns='jabber:iq:roster' ver='{account}-0'/>");
    assert_eq!([one.roster().await, two.roster().await], [empty.clone(), empty]);
    let reply = one.set("<item jid='b@x' name='B'><group>g</group></item>").await;
    assert_eq!(reply.unwrap(), "");
    for client in [&one, &two] {
        let heard = client.raw().await;
        assert_eq!(heard.len(), 1);
        let end = format!(
            "to='{}'><query xmlns='jabber:iq:roster' ver='{account}-1'>\
             <item jid='b@x' name='B' subscription='none'><group>g</group></item></query></iq>",
            client.cx.jid()
        );
        assert!(
            heard[0].starts_with("<iq type='set' id='") && heard[0].ends_with(&end),
            "{heard:?}"
        );
        assert!(!heard[0].contains("from="), "{heard:?}");
    }
    assert!(third.raw().await.is_empty());
    // The item is replaced as a whole (§2.4.1).
    one.set("<item jid='b@x'/>").await.unwrap();
    let whole = third.roster().await;
    assert!(whole.ends_with("-2'><item jid='b@x' subscription='none'/></query>"), "{whole}");
    assert_eq!(two.taken().await, ["push b@x none"]);
    one.set("<item jid='b@x' subscription='remove'/>").await.unwrap();
    assert_eq!(third.taken().await, ["push b@x remove"]);
    assert!(third.roster().await.ends_with("-3'/>"));
}

#[tokio::test]
async fn an_unchanged_version_gets_an_empty_result() {
    let server = Server::with(&["a"]).await;
    let a = server.connect("a@x/1").await;
    a.set("<item jid='b@x'/>").await.unwrap();
    let account = a.cx.account().unwrap().0;
    let ask = |ver: String| {
        let payload = format!("<query xmlns='jabber:iq:roster' ver='{ver}'/>");
        let a = &a;
        async move { a.iq("get", "a@x", &payload).await.unwrap() }
    };
    let whole = a.roster().await;
    assert_eq!(ask(format!("{account}-1")).await, "");
    for ver in [String::new(), format!("{account}-0"), "1".to_owned(), format!("{}-1", account + 1)]
    {
        assert_eq!(ask(ver.clone()).await, whole, "{ver}");
    }
}

#[tokio::test]
async fn rosters_of_others_are_closed() {
    let server = Server::with(&["a", "b"]).await;
    let a = server.connect("a@x/1").await;
    let query = "<query xmlns='jabber:iq:roster'/>";
    let set = "<query xmlns='jabber:iq:roster'><item jid='c@x'/></query>";
    for to in ["b@x", "nobody@x"] {
        assert_eq!(a.iq("set", to, set).await.unwrap_err().condition, Condition::Forbidden);
        assert_eq!(
            a.iq("get", to, query).await.unwrap_err().condition,
            Condition::ServiceUnavailable
        );
    }
    let get = "<query xmlns='jabber:iq:roster'><item jid='b@x'/></query>";
    assert_eq!(a.iq("get", "", get).await.unwrap_err().condition, Condition::BadRequest);
}

#[tokio::test]
async fn a_full_roster_takes_no_more_items() {
    let limits = Limits { roster_items_max: 1, ..Limits::default() };
    let server = Server::bounded(&["a"], limits).await;
    let a = server.connect("a@x/1").await;
    a.set("<item jid='b@x'/>").await.unwrap();
    a.set("<item jid='b@x' name='B'/>").await.unwrap();
    let full = a.set("<item jid='c@x'/>").await.unwrap_err();
    assert_eq!(full.condition, Condition::PolicyViolation);
    for ty in ["subscribe", "subscribed"] {
        let full = a.subscription("c@x", ty).await.unwrap_err();
        assert_eq!(full.condition, Condition::PolicyViolation, "{ty}");
    }
    assert!(a.roster().await.contains("name='B'"));
}

/// RFC 6121 §3.1.3: what strangers ask takes no room from the owner, who can answer as long as there is
/// some.
#[tokio::test]
async fn requests_of_strangers_fill_no_roster() {
    let limits = Limits { roster_items_max: 3, ..Limits::default() };
    let names = ["b", "s0", "s1", "s2", "s3", "s4", "s5"];
    let server = Server::bounded(&names, limits).await;
    let b = server.online("b@x/1").await;
    for stranger in &names[1..] {
        let stranger = server.online(&format!("{stranger}@x/1")).await;
        stranger.subscription("b@x", "subscribe").await.unwrap();
    }
    b.taken().await;
    b.set("<item jid='friend@x'/>").await.unwrap();
    b.subscription("s9@x", "subscribe").await.unwrap();
    b.subscription("s0@x", "subscribed").await.unwrap();
    // It is full now, of what the owner listed: in each of the ways of listing somebody.
    for refused in [
        b.set("<item jid='more@x'/>").await.map(drop),
        b.set("<item jid='s1@x'/>").await.map(drop),
        b.subscription("s1@x", "subscribe").await.map(drop),
        b.subscription("s1@x", "subscribed").await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().condition, Condition::PolicyViolation);
    }
    // Denying needs no room, and the request is still there to be answered.
    b.subscription("s1@x", "unsubscribed").await.unwrap();
    b.set("<item jid='friend@x' subscription='remove'/>").await.unwrap();
    b.subscription("s2@x", "subscribed").await.unwrap();
    let roster = b.roster().await;
    for listed in ["s0@x", "s2@x", "s9@x"] {
        assert!(roster.contains(listed), "{roster}");
    }
    assert!(!roster.contains("s1@x") && !roster.contains("s3@x"), "{roster}");
}

#[tokio::test]
async fn an_account_that_leaves_takes_its_subscriptions_along() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, mut b) = server.friends("a@x/1", "b@x/1").await;
    let c = server.online("c@x/1").await;
    c.subscription("a@x", "subscribe").await.unwrap();
    c.taken().await;
    let account = a.cx.account().unwrap();
    leave(&server.cx.router, &a.cx.bare(), account, Items::Go, a.cx.now).await.unwrap();
    let heard = b.taken().await;
    assert_eq!(heard.last().unwrap(), "push a@x none", "{heard:?}");
    assert_eq!(c.taken().await, ["unsubscribed a@x", "push a@x none"]);
    a.taken().await;
    b.presence("<presence/>").unwrap();
    assert!(a.taken().await.is_empty());
    assert!(a.roster().await.ends_with("'/>"));
    let left = a.cx.store.read(move |tx| {
        Ok(roster::load(tx, account)?.items.len() + roster::requested_by(tx, account)?.len())
    });
    assert_eq!(left.await, Ok(0));
}

#[tokio::test]
async fn an_anonymous_user_has_no_roster_to_change() {
    let server = Server::with(&["a"]).await;
    let mut a = server.connect("a@x/1").await;
    a.is_anonymous();
    let error = a.set("<item jid='b@x'/>").await.unwrap_err();
    assert_eq!(error.condition, Condition::NotAllowed);
    let error = a.subscription("b@x", "subscribe").await.unwrap_err();
    assert_eq!(error.condition, Condition::NotAllowed);
}

#[test]
fn the_feature_is_offered_before_bind() {
    let pipeline = crate::modules::Pipeline::build(
        crate::modules::ALL,
        &Default::default(),
        std::time::SystemTime::UNIX_EPOCH,
    );
    let offered = pipeline.stream_features(Stage::Bind);
    assert!(offered.contains("<ver xmlns='urn:xmpp:features:rosterver'/>"));
    assert!(offered.contains("<sub xmlns='urn:xmpp:features:pre-approval'/>"));
    assert!(!pipeline.stream_features(Stage::Authenticate).contains("rosterver"));
}
