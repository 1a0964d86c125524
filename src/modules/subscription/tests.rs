//! The flows of RFC 6121 §3 between local accounts.

use crate::base::limits::Limits;
use crate::modules::testing::Server;
use crate::modules::testing::client::{Client, befriend};
use crate::stanza::{Condition, Stanza};
use crate::store::roster;

async fn hears(client: &Client, expected: &[&str]) {
    assert_eq!(client.taken().await, expected, "{}", client.cx.jid());
}

#[tokio::test]
async fn a_request_is_approved_and_presence_flows() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    let silent = server.connect("b@x/2").await;
    a.subscription("b@x/somewhere", "subscribe").await.unwrap();
    hears(&a, &["push b@x none ask"]).await;
    hears(&b, &["subscribe a@x"]).await;
    assert!(b.roster().await.ends_with("'/>"), "a request makes no item");
    b.subscription("a@x", "subscribed").await.unwrap();
    // §3.1.6: the stanza, the push, the presence.
    hears(&a, &["subscribed b@x", "push b@x to", "available b@x/1"]).await;
    hears(&b, &["push a@x from"]).await;
    hears(&silent, &[]).await;
}

#[tokio::test]
async fn a_request_is_denied() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    a.subscription("b@x", "subscribe").await.unwrap();
    b.subscription("a@x", "unsubscribed").await.unwrap();
    hears(&a, &["push b@x none ask", "unsubscribed b@x", "push b@x none"]).await;
    hears(&b, &["subscribe a@x"]).await;
    let account = b.cx.account().unwrap();
    let left = b.cx.store.read(move |tx| {
        Ok((roster::requested_by(tx, account)?.len(), roster::load(tx, account)?.items.len()))
    });
    assert_eq!(left.await, Ok((0, 0)));
}

#[tokio::test]
async fn a_subscription_is_cancelled() {
    let server = Server::with(&["a", "b"]).await;
    let (a, mut b) = server.friends("a@x/1", "b@x/1").await;
    b.subscription("a@x", "unsubscribed").await.unwrap();
    // §3.2.2: unavailable first.
    hears(&a, &["unavailable b@x/1", "unsubscribed b@x", "push b@x from"]).await;
    hears(&b, &["push a@x to"]).await;
    b.presence("<presence><show>away</show></presence>").unwrap();
    hears(&a, &[]).await;
    assert_eq!(
        a.probe("b@x").await,
        ["<presence type='unsubscribed' from='b@x' to='a@x/1' id='p'/>"]
    );
}

#[tokio::test]
async fn a_user_unsubscribes() {
    let server = Server::with(&["a", "b"]).await;
    let (a, mut b) = server.friends("a@x/1", "b@x/1").await;
    a.subscription("b@x", "unsubscribe").await.unwrap();
    hears(&a, &["push b@x from", "unavailable b@x/1"]).await;
    hears(&b, &["unsubscribe a@x", "push a@x to"]).await;
    b.presence("<presence/>").unwrap();
    hears(&a, &[]).await;
}

#[tokio::test]
async fn a_removed_item_ends_both_subscriptions() {
    let server = Server::with(&["a", "b"]).await;
    let (mut a, mut b) = server.friends("a@x/1", "b@x/1").await;
    a.set("<item jid='b@x' subscription='remove'/>").await.unwrap();
    hears(&a, &["unavailable b@x/1", "push b@x remove"]).await;
    hears(
        &b,
        &[
            "unsubscribe a@x",
            "push a@x to",
            "unavailable a@x/1",
            "unsubscribed a@x",
            "push a@x none",
        ],
    )
    .await;
    a.presence("<presence/>").unwrap();
    b.presence("<presence/>").unwrap();
    hears(&a, &["available a@x/1"]).await;
    hears(&b, &["available b@x/1"]).await;
    let again = a.set("<item jid='b@x' subscription='remove'/>").await.unwrap_err();
    assert_eq!(again.condition, Condition::ItemNotFound);
}

#[tokio::test]
async fn a_removed_item_withdraws_an_open_request() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    a.subscription("b@x", "subscribe").await.unwrap();
    a.set("<item jid='b@x' subscription='remove'/>").await.unwrap();
    hears(&a, &["push b@x none ask", "push b@x remove"]).await;
    hears(&b, &["subscribe a@x", "unsubscribe a@x"]).await;
    // The answer to a request that is gone is a pre-approval now, and tells nobody.
    b.subscription("a@x", "subscribed").await.unwrap();
    hears(&a, &[]).await;
}

#[tokio::test]
async fn a_pre_approved_request_is_answered_by_the_server() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    b.subscription("a@x", "subscribed").await.unwrap();
    hears(&b, &["push a@x none approved"]).await;
    hears(&a, &[]).await;
    a.subscription("b@x", "subscribe").await.unwrap();
    hears(&a, &["push b@x none ask", "subscribed b@x", "push b@x to", "available b@x/1"]).await;
    hears(&b, &["push a@x from approved"]).await;
}

#[tokio::test]
async fn a_pre_approval_is_taken_back_in_silence() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    b.subscription("a@x", "subscribed").await.unwrap();
    b.subscription("a@x", "unsubscribed").await.unwrap();
    hears(&b, &["push a@x none approved", "push a@x none"]).await;
    a.subscription("b@x", "subscribe").await.unwrap();
    hears(&b, &["subscribe a@x"]).await;
    hears(&a, &["push b@x none ask"]).await;
}

#[tokio::test]
async fn a_request_is_kept_whole_until_it_is_answered() {
    let server = Server::with(&["a", "b"]).await;
    let a = server.online("a@x/1").await;
    let request = "<presence to='b@x' type='subscribe' id='r'><status>Hi</status>\
                   <nick xmlns='urn:n'>A</nick></presence>";
    a.subscribe_with(request).await.unwrap();
    a.subscription("b@x", "subscribe").await.unwrap();
    let kept = "<presence type='subscribe' id='r' from=\"a@x\" to=\"b@x\"><status>Hi</status>\
                <nick xmlns='urn:n'>A</nick></presence>";
    for resource in ["b@x/1", "b@x/2"] {
        let mut b = server.connect(resource).await;
        assert!(b.raw().await.is_empty());
        b.presence("<presence/>").unwrap();
        let heard = b.raw().await;
        assert_eq!(heard.iter().filter(|xml| *xml == kept).count(), 1, "{heard:?}");
        // §3.1.3: at each new presence session, not at each presence.
        b.presence("<presence><show>away</show></presence>").unwrap();
        assert!(!b.taken().await.contains(&"subscribe a@x".to_owned()));
    }
    let b = server.connect("b@x/3").await;
    b.subscription("a@x", "subscribed").await.unwrap();
    let mut late = server.connect("b@x/4").await;
    late.presence("<presence/>").unwrap();
    assert!(!late.taken().await.contains(&"subscribe a@x".to_owned()));
}

#[tokio::test]
async fn nobody_learns_whether_a_contact_exists() {
    let server = Server::with(&["a", "b"]).await;
    let a = server.online("a@x/1").await;
    for ty in ["subscribe", "unsubscribe", "unsubscribed", "subscribed"] {
        let mut heard = Vec::new();
        for contact in ["b@x", "nobody@x"] {
            a.subscription(contact, ty).await.unwrap();
            heard.push(a.taken().await.join("\n").replace(contact, "it"));
        }
        assert_eq!(heard[0], heard[1], "{ty}");
    }
}

#[tokio::test]
async fn a_request_elsewhere_is_an_error_and_leaves_no_item() {
    let server = Server::with(&["a"]).await;
    let a = server.online("a@x/1").await;
    let error = a.subscription("b@elsewhere", "subscribe").await.unwrap_err();
    assert_eq!(error.condition, Condition::RemoteServerNotFound);
    a.subscription("b@elsewhere", "unsubscribe").await.unwrap();
    a.subscription("a@x", "subscribe").await.unwrap();
    hears(&a, &[]).await;
}

#[tokio::test]
async fn a_request_from_elsewhere_is_answered_elsewhere() {
    let mut server = Server::with(&["b"]).await;
    let router = std::sync::Arc::get_mut(&mut server.cx.router).unwrap();
    let elsewhere = router.add_service(["elsewhere.x".to_owned()]);
    let b = server.online("b@x/1").await;
    let mailbox = b.cx.router.mailbox(elsewhere).unwrap();
    b.subscription("a@elsewhere.x", "subscribed").await.unwrap();
    let xml = "<presence from='a@elsewhere.x/1' to='b@x' type='subscribe' id='q'/>";
    let stanza = Stanza::ours(xml.into()).unwrap();
    b.cx.server.subscription_in(b.cx.clone(), stanza).await.unwrap();
    let answer = String::from_utf8(mailbox.next().await.unwrap().to_vec()).unwrap();
    assert_eq!(answer, "<presence from='b@x' to='a@elsewhere.x' id='q' type='subscribed'/>");
    hears(&b, &["push a@elsewhere.x none approved", "push a@elsewhere.x from approved"]).await;
}

#[tokio::test]
async fn requests_are_bounded() {
    let limits = Limits {
        subscription_requests_max: 10,
        subscription_requests_per_domain_max: 4,
        ..Limits::default()
    };
    let server = Server::bounded(&["a", "b", "c"], limits).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    let ask = async |from: &str| {
        let xml = format!("<presence from='{from}' to='b@x' type='subscribe'/>");
        let stanza = Stanza::ours(xml.into()).unwrap();
        assert!(b.cx.server.subscription_in(b.cx.clone(), stanza).await.unwrap().is_empty());
        b.taken().await.len()
    };
    // One server fills its share, and leaves room for others: with its bare domain, and with what is below it. All
    // of them leave half to people of this one.
    for (domain, taken) in
        [("flood.elsewhere", 4), ("x.flood.elsewhere", 0), ("b.elsewhere", 1), ("c.elsewhere", 0)]
    {
        for n in 0..6 {
            let from = if n == 0 { domain.to_owned() } else { format!("u{n}@{domain}") };
            assert_eq!(ask(&from).await, usize::from(n < taken), "{from}");
        }
    }
    // Our own have no share, but all together have a bound.
    for (from, taken) in
        [("o1@x", 1), ("o2@x", 1), ("o3@x", 1), ("o4@x", 1), ("o5@x", 1), ("o6@x", 0)]
    {
        assert_eq!(ask(from).await, taken, "{from}");
    }
    // The one who asks hears what it hears of somebody who does not answer, or does not exist.
    let c = server.online("c@x/1").await;
    for nobody in ["b@x", "nobody@x"] {
        c.subscription(nobody, "subscribe").await.unwrap();
        hears(&c, &[&format!("push {nobody} none ask")]).await;
    }
    // Each answer makes room for one.
    b.subscription("u1@flood.elsewhere", "unsubscribed").await.unwrap();
    assert_eq!(ask("u9@flood.elsewhere").await, 1);
    assert_eq!(ask("u8@flood.elsewhere").await, 0);
    let long =
        format!("<presence to='b@x' type='subscribe'><s>{}</s></presence>", "x".repeat(9000));
    let error = a.subscribe_with(&long).await.unwrap_err();
    assert_eq!(error.condition, Condition::PolicyViolation);
}

#[tokio::test]
async fn store_and_memory_agree_on_both_sides() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = server.friends("a@x/1", "b@x/1").await;
    befriend(&a, &b).await;
    let ids = [a.cx.account().unwrap(), b.cx.account().unwrap()];
    let both = a.cx.store.read(move |tx| {
        Ok([
            roster::load(tx, ids[0])?.items["b@x"].state,
            roster::load(tx, ids[1])?.items["a@x"].state,
        ])
    });
    assert_eq!(both.await, Ok([roster::Subscription::Both; 2]));
    let memory =
        |who: &str, of: &str| a.cx.router.entry(who, |entry| entry.subscription(of)).unwrap();
    assert_eq!(memory("a@x", "b@x"), roster::Subscription::Both);
    assert_eq!(memory("b@x", "a@x"), roster::Subscription::Both);
}
