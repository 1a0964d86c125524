//! People on two servers (RFC 6121): what works at one works between two.

use crate::archive::{form, query};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::{Interest, befriend, interested};
use crate::harness::nodes::{self, hears};
use crate::harness::peers::{Site, Two};
use crate::harness::process::Lab;
use crate::harness::sm::chat;
use std::time::Instant;

/// Waits until another server has handled what this client sent there before.
pub async fn across(client: &mut Client, domain: &str) -> Outcome<()> {
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let answer =
        client.ask(&format!("<iq type='get' id='across' to='{domain}'>{ping}</iq>")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(())
}

/// The roster: `jid subscription` of each, with `ask`.
async fn roster(client: &mut Client) -> Outcome<Vec<String>> {
    let get = "<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>";
    let answer = client.ask(get).await?;
    let items = answer.find("query").map(|query| query.children.clone()).unwrap_or_default();
    let shown = |item: &Element| {
        let of = |name: &str| item.attr(name).unwrap_or_default().to_owned();
        let ask = if item.attr("ask").is_some() { " asks" } else { "" };
        format!("{} {}{ask}", of("jid"), of("subscription"))
    };
    Ok(items.iter().map(shown).collect())
}

async fn message(client: &mut Client) -> Outcome<Element> {
    client.expect(|e| e.name == "message").await
}

fn id(one: &Element) -> &str {
    one.attr("id").unwrap_or_default()
}

/// Sent to bare and full addresses, answered with receipts (XEP-0184); the order is that of sending.
#[tokio::test]
async fn messages_go_both_ways_in_order() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "phone").await?;
    let mut bob = two.b.online("bob", "desk").await?;
    let count = 200;
    for n in 0..count {
        let (to_bob, to_alice) = if n % 2 == 0 {
            ("bob@b.test", "alice@a.test")
        } else {
            ("bob@b.test/desk", "alice@a.test/phone")
        };
        alice.send(&chat(to_bob, &format!("a{n}"))).await?;
        bob.send(&chat(to_alice, &format!("b{n}"))).await?;
    }
    for n in 0..count {
        let to_bob = message(&mut bob).await?;
        assert_eq!(to_bob.text_of("body"), Some(&*format!("a{n}")), "{to_bob}");
        assert_eq!(to_bob.attr("from"), Some("alice@a.test/phone"));
        assert!(to_bob.find("delay").is_none(), "{to_bob}");
        assert_eq!(id(&message(&mut alice).await?), format!("b{n}"));
    }
    let request = "<request xmlns='urn:xmpp:receipts'/>";
    let asks =
        format!("<message to='bob@b.test' type='chat' id='r'><body>x</body>{request}</message>");
    alice.send(&asks).await?;
    assert!(message(&mut bob).await?.child("urn:xmpp:receipts", "request").is_some());
    let received = "<received xmlns='urn:xmpp:receipts' id='r'/>";
    bob.send(&format!("<message to='alice@a.test/phone' type='chat'>{received}</message>")).await?;
    assert!(message(&mut alice).await?.child("urn:xmpp:receipts", "received").is_some());
    // RFC 6121 §8.5.1: nobody of that name.
    alice.send(&chat("nobody@b.test", "lost")).await?;
    let lost = message(&mut alice).await?;
    assert_eq!((id(&lost), lost.condition()), ("lost", Some("service-unavailable")), "{lost}");
    assert_eq!(lost.attr("from"), Some("nobody@b.test"));
    Ok(())
}

/// RFC 6121 §3: asked, granted, taken back from either side, refused.
#[tokio::test]
async fn subscriptions_are_asked_for_granted_and_taken_back() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let of =
        |ty: &'static str| move |e: &Element| e.name == "presence" && e.attr("type") == Some(ty);
    let presence = |ty: &str, to: &str| format!("<presence type='{ty}' to='{to}'/>");
    let (to_bob, to_alice) = ("bob@b.test", "alice@a.test");
    alice.send(&presence("subscribe", to_bob)).await?;
    let asked = bob.expect(of("subscribe")).await?;
    assert_eq!(asked.attr("from"), Some("alice@a.test"), "{asked}");
    assert_eq!(roster(&mut alice).await?, ["bob@b.test none asks"]);
    // §3.2.1: refused.
    bob.send(&presence("unsubscribed", to_alice)).await?;
    alice.expect(of("unsubscribed")).await?;
    assert_eq!(roster(&mut alice).await?, ["bob@b.test none"]);
    alice.send(&presence("subscribe", to_bob)).await?;
    bob.expect(of("subscribe")).await?;
    bob.send(&presence("subscribed", to_alice)).await?;
    alice.expect(of("subscribed")).await?;
    let seen = alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
    assert_eq!((&*seen.name, seen.attr("type")), ("presence", None), "{seen}");
    assert_eq!(roster(&mut alice).await?, ["bob@b.test to"]);
    assert_eq!(roster(&mut bob).await?, ["alice@a.test from"]);
    // §3.3: unsubscribed by who had asked.
    alice.send(&presence("unsubscribe", to_bob)).await?;
    let ended = alice.expect(|e| of("unavailable")(e)).await?;
    assert_eq!(ended.attr("from"), Some("bob@b.test/b"), "{ended}");
    bob.expect(of("unsubscribe")).await?;
    assert_eq!(roster(&mut bob).await?, ["alice@a.test none"]);
    // §3.4: granted before it is asked for.
    bob.send(&presence("subscribed", to_alice)).await?;
    bob.fence().await?;
    bob.forget();
    alice.send(&presence("subscribe", to_bob)).await?;
    alice.expect(of("subscribed")).await?;
    alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
    bob.fence().await?;
    assert!(!bob.take().iter().any(of("subscribe")), "he has answered already");
    // §3.2: taken back by who had granted.
    bob.send(&presence("unsubscribed", to_alice)).await?;
    alice.expect(of("unavailable")).await?;
    alice.expect(of("unsubscribed")).await?;
    assert_eq!(roster(&mut alice).await?, ["bob@b.test none"]);
    // §3.1.3: nobody of that name is asked in silence.
    alice.send(&presence("subscribe", "nobody@b.test")).await?;
    across(&mut alice, "b.test").await?;
    // A request waits for who is offline, and the roster's removal ends all.
    befriend(&mut alice, &mut bob).await?;
    let item = "<item jid='bob@b.test' subscription='remove'/>";
    alice
        .ask(&format!("<iq type='set' id='rm'><query xmlns='jabber:iq:roster'>{item}</query></iq>"))
        .await?;
    bob.expect(of("unsubscribe")).await?;
    bob.expect(of("unsubscribed")).await?;
    assert_eq!(roster(&mut bob).await?, ["alice@a.test none"]);
    bob.close().await?;
    alice.send(&presence("subscribe", to_bob)).await?;
    across(&mut alice, "b.test").await?;
    let mut bob = two.b.online("bob", "b").await?;
    assert_eq!(bob.expect(of("subscribe")).await?.attr("from"), Some("alice@a.test"));
    Ok(())
}

/// Where there is no IPv4.
#[tokio::test]
async fn servers_meet_over_ipv6() -> Outcome<()> {
    let two = Two::at([Site::six("a.test"), Site::six("b.test")], &[]);
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    alice.send(&chat("bob@b.test", "there")).await?;
    assert_eq!(id(&message(&mut bob).await?), "there");
    bob.send(&chat("alice@a.test/a", "back")).await?;
    assert_eq!(id(&message(&mut alice).await?), "back");
    two.b.process.logs(&["a server is connected", "a.test", "::1"]);
    Ok(())
}

/// RFC 6121 §4: presence goes to contacts, and whoever comes later learns of it by a probe; of strangers there
/// is the same answer as of nobody.
#[tokio::test]
async fn presence_is_seen_by_contacts_however_late_they_come() -> Outcome<()> {
    let two = Two::new();
    two.friends().await?;
    let mut bob = two.b.online("bob", "b").await?;
    let from_bob = |e: &Element| e.name == "presence" && e.attr("from") == Some("bob@b.test/b");
    for _ in 0..2 {
        let mut alice = two.a.online("alice", "a").await?;
        let seen = alice.expect(from_bob).await?;
        assert_eq!(seen.attr("type"), None, "{seen}");
        bob.expect(|e| e.attr("from") == Some("alice@a.test/a")).await?;
        bob.send("<presence><show>away</show></presence>").await?;
        let away = alice.expect(|e| from_bob(e) && e.text_of("show").is_some()).await?;
        assert_eq!(away.text_of("show"), Some("away"));
        alice.close().await?;
        let gone = bob.expect(|e| e.attr("from") == Some("alice@a.test/a")).await?;
        assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
        bob.send("<presence/>").await?;
        bob.fence().await?;
    }
    // A connection that is cut ends presence, too.
    let alice = two.a.online("alice", "cut").await?;
    bob.expect(|e| e.attr("from") == Some("alice@a.test/cut")).await?;
    drop(alice);
    let gone = bob.expect(|e| e.attr("from") == Some("alice@a.test/cut")).await?;
    assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
    // RFC 6121 §4.3.2 and security.md 16: a stranger's probe is answered as if nobody were there.
    let mut carol = two.a.online("carol", "c").await?;
    for to in ["bob@b.test", "nobody@b.test"] {
        carol.send(&format!("<presence type='probe' to='{to}'/>")).await?;
    }
    across(&mut carol, "b.test").await?;
    let came = carol.take();
    assert!(!came.iter().any(from_bob), "{came:?}");
    Ok(())
}

/// RFC 6121 §4.6
#[tokio::test]
async fn directed_presence_ends_with_the_session() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut dave = two.b.online("dave", "d").await?;
    alice.send("<presence to='dave@b.test/d'><status>here</status></presence>").await?;
    let seen = dave.expect(|e| e.attr("from") == Some("alice@a.test/a")).await?;
    assert_eq!(seen.text_of("status"), Some("here"), "{seen}");
    drop(alice);
    let gone = dave.expect(|e| e.attr("from") == Some("alice@a.test/a")).await?;
    assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
    // And so it does at a server that was away when it began, once that is there.
    let mut alice = two.a.online("alice", "b").await?;
    alice.send("<presence to='nobody@b.test'/>").await?;
    across(&mut alice, "b.test").await?;
    alice.nothing().await
}

/// Requests to domains, accounts and full addresses, from either side.
#[tokio::test]
async fn requests_go_both_ways() -> Outcome<()> {
    let two = Two::new();
    two.friends().await?;
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    for (to, ty) in [
        ("b.test", "result"),
        ("conference.b.test", "result"),
        ("bob@b.test", "result"),
        ("dave@b.test", "error"),
        ("nobody@b.test", "error"),
        ("bob@b.test/away", "error"),
    ] {
        let answer = alice.ask(&format!("<iq type='get' id='i' to='{to}'>{info}</iq>")).await?;
        assert_eq!((answer.attr("type"), answer.attr("from")), (Some(ty), Some(to)), "{answer}");
    }
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let answer = bob.ask(&format!("<iq type='get' id='i' to='a.test'>{items}</iq>")).await?;
    let rooms = |e: &Element| e.attr("jid") == Some("conference.a.test");
    assert!(answer.find("query").is_some_and(|q| q.children.iter().any(rooms)), "{answer}");
    for (asks, answers) in [(&mut alice, &mut bob)] {
        let to = answers.jid.clone();
        let version = "<query xmlns='jabber:iq:version'/>";
        asks.send(&format!("<iq type='get' id='v' to='{to}'>{version}</iq>")).await?;
        let asked = answers.expect(|e| e.child("jabber:iq:version", "query").is_some()).await?;
        let from = asked.attr("from").unwrap_or_default();
        let name = "<query xmlns='jabber:iq:version'><name>x</name></query>";
        answers
            .send(&format!("<iq type='result' id='{}' to='{from}'>{name}</iq>", id(&asked)))
            .await?;
        let answer = asks.expect(|e| id(e) == "v").await?;
        assert_eq!(answer.attr("from"), Some(&*to), "{answer}");
        assert_eq!(answer.find("name").map(|name| &*name.text), Some("x"));
    }
    // What is the account's own is nobody else's.
    for payload in [
        "<query xmlns='jabber:iq:roster'/>",
        "<query xmlns='urn:xmpp:mam:2'/>",
        "<blocklist xmlns='urn:xmpp:blocking'/>",
        "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>",
    ] {
        let ty = if payload.contains("mam") { "set" } else { "get" };
        for to in ["bob@b.test", "b.test"] {
            let answer =
                alice.ask(&format!("<iq type='{ty}' id='o' to='{to}'>{payload}</iq>")).await?;
            assert_eq!(answer.attr("type"), Some("error"), "{to} {answer}");
        }
    }
    bob.fence().await
}

/// XEP-0280 and XEP-0313 at both ends.
#[tokio::test]
async fn other_devices_get_copies_and_both_archives_have_it() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let mut tablets = Vec::new();
    for (lab, user) in [(&two.a, "alice"), (&two.b, "bob")] {
        let mut tablet = lab.online(user, "tablet").await?;
        tablet.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await?;
        tablets.push(tablet);
    }
    alice.send(&chat("bob@b.test/b", "there")).await?;
    message(&mut bob).await?;
    bob.send(&chat("alice@a.test/a", "back")).await?;
    message(&mut alice).await?;
    for (tablet, sides) in tablets.iter_mut().zip([["sent", "received"], ["received", "sent"]]) {
        for (side, id) in sides.iter().zip(["there", "back"]) {
            let carbon = tablet.expect(|e| e.child("urn:xmpp:carbons:2", side).is_some()).await?;
            let inner = carbon.find("forwarded").and_then(|it| it.find("message"));
            assert_eq!(inner.and_then(|it| it.attr("id")), Some(id), "{carbon}");
        }
    }
    for (client, with) in [(&mut alice, "bob@b.test"), (&mut bob, "alice@a.test")] {
        let with = format!("<field var='with'><value>{with}</value></field>");
        client.send(&query("q", &form(&with))).await?;
        let mut found = Vec::new();
        loop {
            let next =
                client.expect(|e| e.find("result").is_some() || e.attr("id") == Some("q")).await?;
            let Some(inner) = next.find("forwarded").and_then(|it| it.find("message")) else {
                break;
            };
            found.push(inner.attr("id").unwrap_or_default().to_owned());
        }
        assert_eq!(found, ["there", "back"]);
    }
    Ok(())
}

/// XEP-0191 with somebody elsewhere, and with all of a server.
#[tokio::test]
async fn the_blocked_of_another_server_are_not_heard() -> Outcome<()> {
    let two = Two::new();
    two.friends().await?;
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
    for whom in ["alice@a.test", "a.test"] {
        let change = |verb: &str| {
            let item = format!("<item jid='{whom}'/>");
            format!("<iq type='set' id='k'><{verb} xmlns='urn:xmpp:blocking'>{item}</{verb}></iq>")
        };
        bob.ask(&change("block")).await?;
        let gone = alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
        assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
        bob.forget();
        alice.send(&chat("bob@b.test", "unheard")).await?;
        let error = alice.expect(|e| id(e) == "unheard").await?;
        assert_eq!(error.condition(), Some("service-unavailable"), "{error}");
        let ping = "<iq type='get' id='p' to='bob@b.test/b'><ping xmlns='urn:xmpp:ping'/></iq>";
        assert_eq!(alice.ask(ping).await?.condition(), Some("service-unavailable"));
        alice.send("<presence><status>x</status></presence>").await?;
        across(&mut alice, "b.test").await?;
        bob.nothing().await?;
        bob.send(&chat("alice@a.test", "own")).await?;
        let error = bob.expect(|e| id(e) == "own").await?;
        assert_eq!(error.condition(), Some("not-acceptable"), "{error}");
        bob.ask(&change("unblock")).await?;
        let back = alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
        assert_eq!(back.attr("type"), None, "{back}");
        alice.send(&chat("bob@b.test", "heard")).await?;
        bob.expect(|e| id(e) == "heard").await?;
        bob.forget();
        alice.forget();
    }
    Ok(())
}

const NICK: &str = "http://jabber.org/protocol/nick";
const DEVICES: &str = "eu.siacs.conversations.axolotl.devicelist";

fn nick(text: &str) -> String {
    format!("<item id='current'><nick xmlns='{NICK}'>{text}</nick></item>")
}

/// XEP-0163 §4: contacts elsewhere hear of what they want to, at once and when they come.
#[tokio::test]
async fn contacts_elsewhere_hear_what_is_published() -> Outcome<()> {
    let two = Two::new();
    two.friends().await?;
    let mut bob = interested(&two.b, "bob", "b", &[NICK]).await?;
    let mut alice = two.a.online("alice", "a").await?;
    alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
    nodes::published(&mut alice, NICK, &nick("Ali")).await?;
    assert_eq!(hears(&mut bob, NICK).await?.1.text, "Ali");
    drop(bob);
    alice.expect(|e| e.attr("type") == Some("unavailable")).await?;
    let mut bob = interested(&two.b, "bob", "c", &[NICK]).await?;
    assert_eq!(hears(&mut bob, NICK).await?.1.text, "Ali");
    bob.presence(&[], "").await
}

/// XEP-0060 and XEP-0163: OMEMO's lists are for all, what is for contacts is for those elsewhere, too.
#[tokio::test]
async fn what_an_account_publishes_is_read_elsewhere() -> Outcome<()> {
    let two = Two::new();
    two.friends().await?;
    let mut bob = two.b.online("bob", "b").await?;
    let mut alice = two.a.online("alice", "a").await?;
    nodes::published(&mut alice, NICK, &nick("Ali")).await?;
    let open = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
                <field var='pubsub#access_model'><value>open</value></field></x></publish-options>";
    let list = "<item id='current'><list xmlns='eu.siacs.conversations.axolotl'><device id='7'/></list></item>";
    nodes::succeeded(&nodes::publish(&mut alice, DEVICES, list, open).await?);
    let mut dave = two.b.online("dave", "d").await?;
    let found = nodes::items(&mut dave, "alice@a.test", DEVICES).await?;
    assert_eq!(found.len(), 1, "a stranger elsewhere reads what is open");
    assert_eq!(found[0].1.find("device").and_then(|device| device.attr("id")), Some("7"));
    assert!(nodes::items(&mut dave, "alice@a.test", NICK).await?.is_empty(), "for contacts only");
    assert_eq!(nodes::items(&mut bob, "alice@a.test", NICK).await?.len(), 1);
    // XEP-0054, for anybody.
    let card = "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>";
    nodes::succeeded(&alice.ask(&format!("<iq type='set' id='vc'>{card}</iq>")).await?);
    let get = "<iq type='get' id='vc' to='alice@a.test'><vCard xmlns='vcard-temp'/></iq>";
    let answer = dave.ask(get).await?;
    assert_eq!(answer.find("FN").map(|name| &*name.text), Some("Alice"), "{answer}");
    Ok(())
}

/// XEP-0379: a token that alice gave to somebody of another server.
#[tokio::test]
async fn an_invitation_makes_contacts_of_people_on_two_servers() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let run =
        "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#invite'/>";
    let answer = alice.ask(&format!("<iq type='set' id='cmd' to='a.test'>{run}</iq>")).await?;
    let text = answer.to_string();
    let token = text.split("preauth=").nth(1).and_then(|rest| rest.split([';', '<']).next());
    let Some(token) = token else { return alice.fail("no invitation") };
    let preauth = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
    bob.send(&format!("<presence type='subscribe' to='alice@a.test'>{preauth}</presence>")).await?;
    bob.expect(|e| e.attr("type") == Some("subscribed")).await?;
    // XEP-0379 §3.3: her server asks him in return, and his client grants it.
    bob.expect(|e| e.attr("type") == Some("subscribe")).await?;
    bob.send("<presence type='subscribed' to='alice@a.test'/>").await?;
    alice.expect(|e| e.attr("from") == Some("bob@b.test/b")).await?;
    assert_eq!(roster(&mut alice).await?, ["bob@b.test both"]);
    assert_eq!(roster(&mut bob).await?, ["alice@a.test both"]);
    Ok(())
}

/// Clients do not wait while another server is spoken to, and both servers stop in time.
#[tokio::test]
async fn both_stop_in_good_order() -> Outcome<()> {
    let Two { mut a, mut b, .. } = {
        let two = Two::new();
        let mut alice = two.a.online("alice", "a").await?;
        across(&mut alice, "b.test").await?;
        two
    };
    let started = Instant::now();
    let stop = |lab: &mut Lab| {
        lab.process.signal("TERM");
        lab.process.exit().success()
    };
    assert!(stop(&mut a), "{}", a.process.log());
    assert!(stop(&mut b), "{}", b.process.log());
    let took = started.elapsed();
    assert!(took.as_secs() < 8, "{took:?}\n{}\n{}", a.process.log(), b.process.log());
    Ok(())
}
