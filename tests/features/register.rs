//! In-band registration (XEP-0077) as a stranger and as an account's owner see it.

use crate::harness::client::{Client, Outcome, STREAMS, Security};
use crate::harness::element::{Element, STREAM};
use crate::harness::server::{PASSWORD, Place, subject};

const NS: &str = "jabber:iq:register";

fn set(id: &str, content: &str) -> String {
    format!("<iq type='set' id='{id}'><query xmlns='{NS}'>{content}</query></iq>")
}

fn form(user: &str, password: &str) -> String {
    format!("<username>{user}</username><password>{password}</password>")
}

#[tokio::test]
async fn a_closed_server_offers_nothing_and_takes_nobody() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::set(&[], &[("modules.register.mode", "closed")]).await;
    let mut client = place.connect().await;
    assert!(client.features.find("register").is_none(), "{}", client.features);
    // §3.1
    let answer = client.ask(&format!("<iq type='get' id='g'><query xmlns='{NS}'/></iq>")).await?;
    assert_eq!(answer.condition(), Some("service-unavailable"), "{answer}");
    let answer = client.ask(&set("s", &form("new", PASSWORD))).await?;
    assert_eq!(answer.condition(), Some("service-unavailable"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_stranger_becomes_an_account() -> Outcome<()> {
    let place = Place::with(&["taken"]).await;
    let mut client = place.connect().await;
    // §8: the stream feature
    assert!(client.features.find("register").is_some(), "{}", client.features);
    let fields = client.ask(&format!("<iq type='get' id='g'><query xmlns='{NS}'/></iq>")).await?;
    let query = fields.child(NS, "query").expect("the fields");
    assert!(query.child(NS, "username").is_some() && query.child(NS, "password").is_some());
    // §3.1, examples 5 and 6: conflict, also in another spelling; not-acceptable.
    let (new, taken) = (place.user("new"), place.user("taken"));
    for (user, password, conditions) in [
        (taken.clone(), PASSWORD, "conflict"),
        (taken.to_uppercase(), PASSWORD, "conflict"),
        (String::new(), PASSWORD, "not-acceptable|bad-request"),
        (new.clone(), "", "not-acceptable|bad-request"),
        ("with space".into(), PASSWORD, "not-acceptable|jid-malformed"),
        ("an@other".into(), PASSWORD, "not-acceptable|jid-malformed"),
        ("a/b".into(), PASSWORD, "not-acceptable|jid-malformed"),
        ("x".repeat(1024), PASSWORD, "not-acceptable|jid-malformed"),
    ] {
        if subject().is_some() && conditions.contains("jid-malformed") {
            continue;
        }
        let answer = client.ask(&set("s", &form(&user, password))).await?;
        let got = answer.condition().unwrap_or("none");
        assert!(conditions.split('|').any(|c| c == got), "{user:.40}: {answer}");
    }
    let answer = client.ask(&set("s2", &form(&new.to_uppercase(), PASSWORD))).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    // On the same stream, under the name in its normal form.
    client.authenticate(&new, PASSWORD).await?;
    let jid = client.bind(Some("r")).await?;
    assert_eq!(jid, format!("{}/r", place.jid("new")));
    // §3.1: who is registered is told so.
    let told = client.ask(&format!("<iq type='get' id='g2'><query xmlns='{NS}'/></iq>")).await?;
    let query = told.child(NS, "query").expect("the query");
    assert!(query.child(NS, "registered").is_some(), "{told}");
    Ok(())
}

/// Others would take their owner for whoever runs the server (RFC 2142).
#[tokio::test]
async fn a_stranger_gets_no_reserved_name() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&[]).await;
    let mut client = place.connect().await;
    for name in ["admin", "ADMIN", "postmaster", "abuse", "root", "xmpp", "\u{ff41}dmin"] {
        // XEP-0077 §3.1: as one that is taken.
        let answer = client.ask(&set("s", &form(name, PASSWORD))).await?;
        assert_eq!(answer.condition(), Some("conflict"), "{name}: {answer}");
        assert!(answer.find("text").is_some(), "{name}: {answer}");
    }
    let answer = client.ask(&set("s", &form("administrative", PASSWORD))).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let place = Place::set(&["admin"], &[("modules.register.reserved_names", "[\"boss\"]")]).await;
    let mut client = place.connect().await;
    let answer = client.ask(&set("s", &form("root", PASSWORD))).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let answer = client.ask(&set("s", &form("Boss", PASSWORD))).await?;
    assert_eq!(answer.condition(), Some("conflict"), "{answer}");
    Ok(())
}

/// Short passwords are the first that anybody tries.
#[tokio::test]
async fn a_short_password_is_refused_with_the_reason() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::set(&["alice"], &[("modules.register.password_length_min", "8")]).await;
    let mut client = place.connect().await;
    let answer = client.ask(&set("s", &form("new", "1234567"))).await?;
    assert_eq!(answer.condition(), Some("not-acceptable"), "{answer}");
    assert!(answer.find("text").is_some_and(|text| text.text.contains("8 characters")), "{answer}");
    let answer = client.ask(&set("s", &form("new", "12345678"))).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let mut alice = place.bound("alice").await;
    let answer = alice.ask(&set("c", &form("alice", "1234567"))).await?;
    assert_eq!(answer.condition(), Some("not-acceptable"), "{answer}");
    Ok(())
}

/// What somebody removes in a client can be restored too, and is nobody's until then.
#[tokio::test]
async fn a_removed_account_keeps_its_name_for_a_while() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::set(&["alice"], &[("modules.register.grace_days", "7")]).await;
    let mut alice = place.bound("alice").await;
    alice.send(&set("gone", "<remove/>")).await?;
    alice.expect(|e| e.is(STREAM, "error")).await?;
    let mut back = place.connect().await;
    assert!(back.authenticate_with("SCRAM-SHA-1", "alice", PASSWORD).await?.is_err());
    let answer = back.ask(&set("s", &form("alice", "another secret"))).await?;
    assert_eq!(answer.condition(), Some("conflict"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn no_password_is_taken_without_tls() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&[]).await;
    let mut client = Client::connect(&place.target, Security::Plain).await?;
    assert!(client.features.find("register").is_none(), "{}", client.features);
    client.send(&set("s", &form("new", PASSWORD))).await?;
    let answer = client.receive().await?;
    assert!(answer.is(STREAM, "error") || answer.condition().is_some(), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_password_is_changed_by_its_owner() -> Outcome<()> {
    let place = Place::with(&["alice", "bob"]).await;
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let mut client = place.bound("alice").await;
    // §3.3: another's is not hers to change.
    let answer = client.ask(&set("c1", &form(&bob, "new secret"))).await?;
    assert_eq!(answer.attr("type"), Some("error"), "{answer}");
    let answer = client.ask(&set("c2", &form(&alice, ""))).await?;
    assert_eq!(answer.attr("type"), Some("error"), "{answer}");
    let answer = client.ask(&set("c3", &form(&alice, "new secret"))).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let mut old = place.connect().await;
    assert!(old.authenticate_with("SCRAM-SHA-1", &alice, PASSWORD).await?.is_err());
    let mut new = place.connect().await;
    new.authenticate(&alice, "new secret").await?;
    let mut other = place.connect().await;
    other.authenticate(&bob, PASSWORD).await?;
    // Who changed it stays.
    client.nothing().await
}

#[tokio::test]
async fn an_account_that_goes_leaves_nothing_behind() -> Outcome<()> {
    let place = Place::with(&["alice", "bob"]).await;
    let mut alice = place.online("alice").await;
    let mut phone = place.online("alice").await;
    let mut bob = place.online("bob").await;
    bob.send(&format!("<presence type='subscribe' to='{}'/>", place.jid("alice"))).await?;
    alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    alice.send(&format!("<presence type='subscribed' to='{}'/>", place.jid("bob"))).await?;
    bob.expect(|e| e.attr("type") == Some("subscribed")).await?;
    alice.fence().await?;
    bob.fence().await?;
    bob.forget();
    // §3.2: every session of the account ends, not-authorized.
    alice.send(&set("gone", "<remove/>")).await?;
    for client in [&mut alice, &mut phone] {
        let error = client.expect(|e| e.is(STREAM, "error")).await?;
        assert!(error.child(STREAMS, "not-authorized").is_some(), "{error}");
    }
    // "SHOULD also cancel all existing presence subscriptions"
    let gone = |e: &Element| e.attr("type") == Some("unsubscribed");
    assert_eq!(bob.expect(gone).await?.attr("from"), Some(place.jid("alice").as_str()));
    let mut back = place.connect().await;
    let refused = back.authenticate_with("SCRAM-SHA-1", &place.user("alice"), PASSWORD).await?;
    assert!(refused.is_err(), "a removed account logs in");
    // The name is free again, and the one who takes it finds nothing of the other.
    bob.send(&format!(
        "<message to='{}' type='chat'><body>late</body></message>",
        place.jid("alice")
    ))
    .await?;
    bob.fence().await?;
    back.register(&place.user("alice"), "another secret").await?;
    back.authenticate(&place.user("alice"), "another secret").await?;
    back.bind(None).await?;
    let roster = back.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    assert!(roster.find("item").is_none(), "{roster}");
    back.ignores_presence = true;
    back.send("<presence/>").await?;
    back.nothing().await
}
