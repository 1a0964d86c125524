//! Who gets presence, and above all who does not.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::limits::{Limits, PRESENCE_TAG_BYTES_MAX};
use crate::modules::testing::Server;
use crate::modules::testing::client::{Client, befriend};
use crate::router::{Router, ServiceId};
use crate::stanza::{Condition, Frame, Stanza};
use crate::store::accounts;
use crate::store::mailbox::StoredIn;
use crate::store::roster::{self, Item, Subscription};

async fn hears(client: &Client, expected: &[&str]) {
    assert_eq!(client.taken().await, expected, "{}", client.cx.jid());
}

#[tokio::test]
async fn initial_presence_is_told_and_gathered() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, b) = server.friends("a@x/1", "b@x/1").await;
    let c = server.online("c@x/1").await;
    let mut second = server.connect("a@x/2").await;
    second.presence("<presence id='i'><status>x</status></presence>").unwrap();
    let heard = second.raw().await;
    let own = "<presence id='i' from=\"a@x/2\" to=\"a@x\"><status>x</status></presence>";
    assert_eq!(heard[0], own);
    assert_eq!(
        heard[1..],
        ["<presence from=\"a@x/1\" to=\"a@x\"/>", "<presence from=\"b@x/1\" to=\"a@x\"/>"]
    );
    hears(&a, &["available a@x/2"]).await;
    hears(&b, &["available a@x/2"]).await;
    hears(&c, &[]).await;
    // §4.4.2: the others again, but nothing is gathered.
    second.presence("<presence><show>away</show></presence>").unwrap();
    for client in [&second, &a, &b] {
        hears(client, &["available a@x/2"]).await;
    }
}

#[tokio::test]
async fn one_way_subscriptions_are_one_way() {
    let server = Server::with(&["a", "b"]).await;
    let (mut a, mut b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    befriend(&a, &b).await;
    a.taken().await;
    b.taken().await;
    a.presence("<presence/>").unwrap();
    hears(&b, &[]).await;
    b.presence("<presence/>").unwrap();
    hears(&a, &["available a@x/1", "available b@x/1"]).await;
    let mut other = server.connect("b@x/2").await;
    other.presence("<presence/>").unwrap();
    // b sees its own resources and not a.
    hears(&other, &["available b@x/2", "available b@x/1"]).await;
}

#[tokio::test]
async fn a_roster_that_claims_a_subscription_shows_nothing_by_itself() {
    let server = Server::with(&["a", "b"]).await;
    let _b = server.online("b@x/1").await;
    let account = server.connect("a@x/0").await.cx.account().unwrap();
    server.cx.router.registry.removed("a@x");
    server.cx.router.registry.forget_missing("a@x");
    let state = Subscription::To;
    let item = Item { jid: "b@x".to_owned(), state, listed: true, ..Item::default() };
    server.cx.router.store.write(move |tx| roster::put(tx, account, &item)).await.unwrap();
    let mut a = server.connect("a@x/1").await;
    assert!(a.roster().await.contains("subscription='to'"));
    a.presence("<presence/>").unwrap();
    hears(&a, &["available a@x/1"]).await;
    crate::router::presence::show_to_contact(&server.cx.router, "b@x", "a@x");
    hears(&a, &[]).await;
}

#[tokio::test]
async fn a_connected_resource_is_not_available() {
    let server = Server::with(&["a", "b"]).await;
    let (_a, b) = server.friends("a@x/1", "b@x/1").await;
    let silent = server.connect("a@x/2").await;
    let mut third = server.online("a@x/3").await;
    hears(&b, &["available a@x/3"]).await;
    third.presence("<presence type='unavailable'><status>bye</status></presence>").unwrap();
    let heard = third.raw().await;
    let bye =
        "<presence type='unavailable' from=\"a@x/3\" to=\"a@x\"><status>bye</status></presence>";
    assert_eq!(heard, [bye]);
    hears(&b, &["unavailable a@x/3"]).await;
    // Nothing more to tell.
    third.presence("<presence type='unavailable'/>").unwrap();
    third.cut();
    hears(&b, &[]).await;
    hears(&silent, &[]).await;
    silent.cut();
    hears(&b, &[]).await;
}

#[tokio::test]
async fn a_cut_session_becomes_unavailable() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, b) = server.friends("a@x/1", "b@x/1").await;
    let (second, c) = (server.online("a@x/2").await, server.online("c@x/1").await);
    a.directed("<presence to='c@x/1'/>").unwrap();
    a.directed("<presence to='b@x/1'/>").unwrap();
    for client in [&b, &c] {
        client.taken().await;
    }
    a.cut();
    hears(&b, &["unavailable a@x/1"]).await;
    hears(&c, &["unavailable a@x/1"]).await;
    hears(&second, &["unavailable a@x/1"]).await;
}

#[tokio::test]
async fn directed_presence_ends_with_the_session_and_is_no_subscription() {
    let limits = Limits { directed_presence_max: 2, ..Limits::default() };
    let server = Server::bounded(&["a", "b", "c"], limits).await;
    let (mut a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    a.directed("<presence to='b@x'/>").unwrap();
    a.directed("<presence to='b@x'/>").unwrap();
    hears(&b, &["available a@x/1", "available a@x/1"]).await;
    a.presence("<presence><show>away</show></presence>").unwrap();
    hears(&b, &[]).await;
    a.directed("<presence to='c@x'/>").unwrap();
    let error = a.directed("<presence to='nobody@x'/>").unwrap_err();
    assert_eq!(error.condition, Condition::ResourceConstraint);
    a.directed("<presence to='c@x' type='unavailable'/>").unwrap();
    a.directed("<presence to='nobody@x'/>").unwrap();
    a.presence("<presence type='unavailable'/>").unwrap();
    hears(&b, &["unavailable a@x/1"]).await;
    // §4.6.3 case 3: also without a presence session.
    a.directed("<presence to='b@x/1'/>").unwrap();
    a.cut();
    hears(&b, &["available a@x/1", "unavailable a@x/1"]).await;
}

#[tokio::test]
async fn a_cancellation_ends_directed_presence_too() {
    let server = Server::with(&["a", "b"]).await;
    let (mut a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    a.directed("<presence to='b@x/1'/>").unwrap();
    befriend(&b, &a).await;
    b.taken().await;
    a.subscription("b@x", "unsubscribed").await.unwrap();
    hears(&b, &["unavailable a@x/1", "unsubscribed a@x", "push a@x none"]).await;
    a.presence("<presence type='unavailable'/>").unwrap();
    hears(&b, &[]).await;
}

#[tokio::test]
async fn who_left_first_is_not_told() {
    // §4.6.1: an entity that sends unavailable presence leaves the list.
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    a.directed("<presence to='b@x/1'/>").unwrap();
    b.directed("<presence to='a@x/1'/>").unwrap();
    a.directed("<presence to='b@x/1' type='unavailable'/>").unwrap();
    a.taken().await;
    b.cut();
    hears(&a, &[]).await;
}

#[tokio::test]
async fn strangers_learn_nothing_by_probing() {
    let server = Server::with(&["a", "b"]).await;
    let (a, _b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    let mut answers = Vec::new();
    for to in ["b@x", "b@x/1", "b@x/2", "nobody@x", "nobody@x/1"] {
        let bare = to.split('/').next().unwrap();
        let answer = a.probe(to).await.join("").replace(bare, "it");
        answers.push(answer);
    }
    let expected = "<presence type='unsubscribed' from='it' to='a@x/1' id='p'/>";
    assert!(answers.iter().all(|answer| answer == expected), "{answers:?}");
}

#[tokio::test]
async fn subscribers_are_answered() {
    let server = Server::with(&["a", "b"]).await;
    let (a, mut b) = server.friends("a@x/1", "b@x/1").await;
    b.presence("<presence id='o'><show>dnd</show></presence>").unwrap();
    let full = "<presence id='o' from=\"b@x/1\" to=\"a@x/1\"><show>dnd</show></presence>";
    assert_eq!(a.probe("b@x").await, [full]);
    // §4.3.2: at the full JID only that it is there.
    assert_eq!(a.probe("b@x/1").await, ["<presence from=\"b@x/1\" to=\"a@x/1\"/>"]);
    let gone = "<presence type='unavailable' from='b@x/2' to='a@x/1' id='p'/>";
    assert_eq!(a.probe("b@x/2").await, [gone]);
    let account = b.cx.account().unwrap();
    b.cut();
    let never = "<presence type='unavailable' from='b@x' to='a@x/1' id='p'/>";
    assert_eq!(a.probe("b@x").await, [never]);
    let at = i64::try_from(Duration::from_secs(60).as_micros()).unwrap();
    let note =
        move |tx: &mut dyn crate::store::Tx| accounts::set_last_logout(tx, account, at, None);
    a.cx.store.write(note).await.unwrap();
    let since = "<presence type='unavailable' from='b@x' to='a@x/1' id='p'>\
                 <delay xmlns='urn:xmpp:delay' from='b@x' stamp='1970-01-01T00:01:00Z'/></presence>";
    assert_eq!(a.probe("b@x").await, [since]);
}

#[tokio::test]
async fn directed_presence_authorises_a_probe_of_that_resource() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    let _second = server.online("b@x/2").await;
    b.directed("<presence to='a@x/1'><show>chat</show></presence>").unwrap();
    assert_eq!(a.probe("b@x/1").await, ["<presence from=\"b@x/1\" to=\"a@x/1\"/>"]);
    for to in ["b@x", "b@x/2"] {
        assert!(a.probe(to).await.join("").contains("unsubscribed"), "{to}");
    }
}

#[tokio::test]
async fn owed_messages_wait_for_a_priority_that_takes_them() {
    let server = Server::with(&["a"]).await;
    let mut a = server.connect("a@x/1").await;
    server.cx.router.entry("a@x", |entry| entry.owed.append(1, 10, StoredIn::Archive, []));
    let redelivery = |effect: crate::modules::api::PresenceEffect| effect.redelivery;
    for (xml, drains) in [
        ("<presence><priority>-1</priority></presence>", false),
        ("<presence><priority>0</priority></presence>", true),
        ("<presence><priority>5</priority></presence>", false),
        ("<presence><priority>-5</priority></presence>", false),
        ("<presence type='unavailable'/>", false),
        ("<presence/>", true),
    ] {
        assert_eq!(redelivery(a.presence(xml).unwrap()), drains, "{xml}");
    }
    server.cx.router.entry("a@x", |entry| entry.owed.failed(1));
    a.presence("<presence type='unavailable'/>").unwrap();
    assert!(!redelivery(a.presence("<presence/>").unwrap()));
}

#[tokio::test]
async fn bad_presence_changes_nothing() {
    let server = Server::with(&["a", "b"]).await;
    let (mut a, b) = server.friends("a@x/1", "b@x/1").await;
    for xml in [
        "<presence><priority>200</priority></presence>",
        "<presence><show>busy</show></presence>",
        "<presence type='available'/>",
        "<presence type='subscribe'/>",
        "<presence type='probe'/>",
    ] {
        assert_eq!(a.presence(xml).unwrap_err().condition, Condition::BadRequest, "{xml}");
    }
    hears(&b, &[]).await;
    hears(&a, &[]).await;
}

#[tokio::test]
async fn broadcast_presence_costs_what_it_causes() {
    let server = Server::with(&["a", "b"]).await;
    let (mut a, b) = server.friends("a@x/1", "b@x/1").await;
    for xml in ["<presence/>", "<presence type='unavailable'/>"] {
        assert_eq!(a.presence(xml).unwrap().looked_at, 1, "{xml}");
    }
    b.taken().await;
    // Its tag is made anew for each contact, so it may not be long.
    let long = "x".repeat(PRESENCE_TAG_BYTES_MAX);
    assert!(a.presence(&format!("<presence id='{long}'/>")).is_err());
    hears(&b, &[]).await;
}

/// What reaches a service from those who do not wait for it, in order: `type from to`.
fn put(router: &Router, service: ServiceId) -> Vec<String> {
    let mailbox = router.mailbox(service).unwrap();
    let next = || match pin!(mailbox.next()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame,
        Poll::Pending => None,
    };
    let short = |frame: Frame| {
        mailbox.done();
        let stanza = Stanza::ours(frame.to_vec().into()).unwrap();
        let ty = stanza.ty().unwrap_or("available".into()).into_owned();
        format!("{ty} {} {}", stanza.from(), stanza.to().unwrap())
    };
    std::iter::from_fn(next).map(short).collect()
}

/// RFC 6121 §4.2.2, §4.3.1, §4.5.2, §4.6.3: a service behind an address gets what another server would.
#[tokio::test]
async fn presence_reaches_services() {
    let mut server = Server::with(&["a"]).await;
    let router = std::sync::Arc::get_mut(&mut server.cx.router).unwrap();
    let rooms = router.add_service(["rooms.x".to_owned()]);
    let router = server.cx.router.clone();
    let mut a = server.online("a@x/1").await;
    // Both have subscribed to each other.
    a.subscription("bot@rooms.x", "subscribe").await.unwrap();
    for ty in ["subscribe", "subscribed"] {
        let said = format!("<presence from='bot@rooms.x' to='a@x' type='{ty}'/>");
        a.cx.send(&Stanza::ours(said.into()).unwrap()).await;
    }
    a.subscription("bot@rooms.x", "subscribed").await.unwrap();
    // §3.1.5: the approval comes before the presence that it lets out.
    let approved =
        ["subscribe a@x bot@rooms.x", "subscribed a@x bot@rooms.x", "available a@x/1 bot@rooms.x"];
    assert_eq!(put(&router, rooms), approved);
    a.directed("<presence to='hall@rooms.x/me'/>").unwrap();
    a.presence("<presence><show>away</show></presence>").unwrap();
    assert_eq!(put(&router, rooms), ["available a@x/1 bot@rooms.x"]);
    // §4.6.1: a room that put her out is not told when she goes.
    a.directed("<presence to='den@rooms.x/me'/>").unwrap();
    let out = "<presence from='den@rooms.x/me' to='a@x/1' type='unavailable'/>";
    a.cx.send(&Stanza::ours(out.into()).unwrap()).await;
    let b = server.online("a@x/2").await;
    let initial = ["available a@x/2 bot@rooms.x", "probe a@x bot@rooms.x"];
    assert_eq!(put(&router, rooms), initial);
    a.cut();
    let gone = ["unavailable a@x/1 bot@rooms.x", "unavailable a@x/1 hall@rooms.x/me"];
    assert_eq!(put(&router, rooms), gone);
    b.subscription("bot@rooms.x", "unsubscribed").await.unwrap();
    let withdrawn = ["unavailable a@x/2 bot@rooms.x", "unsubscribed a@x bot@rooms.x"];
    assert_eq!(put(&router, rooms), withdrawn);
    // XEP-0191 §3.3: who is blocked is not asked for its presence either.
    let block = "<block xmlns='urn:xmpp:blocking'><item jid='rooms.x'/></block>";
    b.iq("set", "", block).await.unwrap();
    server.online("a@x/3").await;
    assert_eq!(put(&router, rooms), [""; 0]);
}

/// RFC 6121 §2.5.2, XEP-0077 §3.2: whoever gets the name next inherits nothing of a service either.
#[tokio::test]
async fn an_account_that_goes_ends_its_subscriptions_with_services() {
    let mut server = Server::new(crate::modules::Config::default());
    let router = std::sync::Arc::get_mut(&mut server.cx.router).unwrap();
    let rooms = router.add_service(["rooms.x".to_owned()]);
    let router = server.cx.router.clone();
    let account = server.account("a", &[("bot@rooms.x", Subscription::Both)]).await;
    let bare = crate::jid::BareJid::parse("a@montague.example").unwrap();
    let go = crate::modules::roster::Items::Go;
    crate::modules::roster::leave(&router, &bare, account, go, server.cx.now).await.unwrap();
    let said = put(&router, rooms);
    assert_eq!(said.len(), 2, "{said:?}");
    for ty in ["unsubscribe ", "unsubscribed "] {
        assert!(said.iter().any(|said| said.starts_with(ty)), "{said:?}");
    }
}
