//! XEP-0280: Message Carbons, as several devices of one account see them.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element};
use crate::harness::process::Lab;
use crate::harness::sm::chat;

const NS: &str = "urn:xmpp:carbons:2";
const SID: &str = "urn:xmpp:sid:0";
const MAM: &str = "urn:xmpp:mam:2";

/// A device that has enabled copies.
async fn reader(lab: &Lab, user: &str, resource: &str) -> Outcome<Client> {
    let mut client = lab.online(user, resource).await?;
    client.ignores_presence = true;
    enable(&mut client).await?;
    Ok(client)
}

/// A device that has not.
async fn plain(lab: &Lab, user: &str, resource: &str) -> Outcome<Client> {
    let mut client = lab.online(user, resource).await?;
    client.ignores_presence = true;
    client.stanzas().await?;
    Ok(client)
}

async fn enable(client: &mut Client) -> Outcome<()> {
    let answer = switch(client, "enable", "").await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    client.stanzas().await.map(drop)
}

async fn switch(client: &mut Client, what: &str, to: &str) -> Outcome<Element> {
    client.ask(&format!("<iq type='set' id='{what}'{to}><{what} xmlns='{NS}'/></iq>")).await
}

/// Side and message of a copy, if its reader may trust it (XEP-0280 §11).
fn copy<'a>(stanza: &'a Element, reader: &Client) -> Option<(&'a str, &'a Element)> {
    let own = reader.jid.split('/').next();
    let side = stanza.children.iter().find(|child| child.ns == NS)?;
    assert_eq!(stanza.attr("to"), Some(&*reader.jid), "{stanza}");
    if stanza.attr("from") != own || !matches!(&*side.name, "received" | "sent") {
        return None;
    }
    let inner = side.child("urn:xmpp:forward:0", "forwarded")?.child(CLIENT, "message")?;
    // XEP-0280 §7, §8
    assert_eq!(stanza.attr("type"), inner.attr("type"), "{stanza}");
    assert_eq!((stanza.children.len(), stanza.attrs.contains_key("id")), (1, false), "{stanza}");
    Some((&side.name, inner))
}

/// The messages received, in short: `id` of a message, `received id` or `sent id` of a copy; `!` for an
/// error.
async fn heard(client: &mut Client) -> Outcome<Vec<String>> {
    let all = client.stanzas().await?;
    let id = |m: &Element| {
        let error = if m.attr("type") == Some("error") { "!" } else { "" };
        format!("{error}{}", m.attr("id").unwrap_or("-"))
    };
    let short = |stanza: &Element| match copy(stanza, client) {
        Some((side, inner)) => format!("{side} {}", id(inner)),
        None => id(stanza),
    };
    Ok(all.iter().filter(|stanza| stanza.name == "message").map(short).collect())
}

/// The archives that gave the message an id, with these ids.
fn stanza_ids(message: &Element) -> Vec<(String, String)> {
    let ids = message.children.iter().filter(|c| c.is(SID, "stanza-id"));
    let text = |c: &Element, name| c.attr(name).unwrap_or_default().to_owned();
    ids.map(|c| (text(c, "by"), text(c, "id"))).collect()
}

/// The ids in the account's archive, each with the id of its message.
async fn archive(client: &mut Client) -> Outcome<Vec<(String, String)>> {
    client.send(&format!("<iq type='set' id='mam'><query xmlns='{MAM}'/></iq>")).await?;
    let mut found = Vec::new();
    loop {
        let next = client.expect(|e| e.name == "message" || e.attr("id") == Some("mam")).await?;
        let Some(result) = next.child(MAM, "result") else { return Ok(found) };
        let message = result.find("forwarded").and_then(|f| f.child(CLIENT, "message"));
        let id = message.and_then(|message| message.attr("id")).unwrap_or("-");
        found.push((result.attr("id").unwrap_or_default().to_owned(), id.to_owned()));
    }
}

/// XEP-0280 §7: each device gets a message once: directly, or as a copy with the account's archive id.
#[tokio::test]
async fn what_one_device_hears_the_others_get_a_copy_of() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let (mut phone, mut desk) =
        (reader(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let mut deaf = plain(&lab, "bob", "deaf").await?;
    alice.send(&chat("bob@localhost/phone", "1")).await?;
    alice.fence().await?;
    let (direct, copies) = (phone.stanzas().await?, desk.stanzas().await?);
    assert_eq!((direct.len(), copies.len()), (1, 1), "{direct:?} {copies:?}");
    let (side, inner) = copy(&copies[0], &desk).expect("a copy");
    assert_eq!((side, inner), ("received", &direct[0]), "as the other device got it");
    let ids = archive(&mut desk).await?;
    assert_eq!(stanza_ids(inner), [("bob@localhost".to_owned(), ids[0].0.clone())]);
    assert_eq!(ids.len(), 1, "archived once");
    assert!(heard(&mut deaf).await?.is_empty());

    // To the bare JID: for all devices of non-negative priority; the others get a copy.
    let mut low = reader(&lab, "bob", "low").await?;
    low.send("<presence><priority>-1</priority></presence>").await?;
    let mut silent = lab.login_as("bob", "silent").await?;
    enable(&mut silent).await?;
    alice.send(&chat("bob@localhost", "2")).await?;
    alice.fence().await?;
    for (client, expected) in [
        (&mut phone, "2"),
        (&mut desk, "2"),
        (&mut deaf, "2"),
        (&mut low, "received 2"),
        (&mut silent, "received 2"),
    ] {
        assert_eq!(heard(client).await?, [expected], "{}", client.jid);
    }
    Ok(())
}

/// XEP-0280 §8: copies are made whether the sending device wants copies or not; it gets none itself.
#[tokio::test]
async fn what_one_device_says_the_others_get_a_copy_of() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    phone.send(&chat("alice@localhost", "1")).await?;
    phone.fence().await?;
    desk.send(&chat("alice@localhost/r", "2")).await?;
    desk.fence().await?;
    let copies = desk.stanzas().await?;
    assert_eq!(copies.len(), 1, "{copies:?}");
    let (side, inner) = copy(&copies[0], &desk).expect("a copy");
    assert_eq!((side, inner.attr("id")), ("sent", Some("1")));
    assert_eq!(inner.attr("from"), Some("bob@localhost/phone"));
    assert_eq!(inner.attr("to"), Some("alice@localhost"));
    let ids = archive(&mut desk).await?;
    assert_eq!(stanza_ids(inner), [("bob@localhost".to_owned(), ids[0].0.clone())]);
    assert!(heard(&mut phone).await?.is_empty(), "wants none");
    assert_eq!(heard(&mut alice).await?, ["1", "2"]);
    // To an account that is offline and not in memory.
    alice.close().await?;
    phone.send(&chat("alice@localhost", "3")).await?;
    phone.send("<message type='chat' id='4' to='alice@localhost/gone'><no-store xmlns='urn:xmpp:hints'/></message>").await?;
    phone.fence().await?;
    assert_eq!(heard(&mut desk).await?, ["sent 3", "sent 4"]);
    Ok(())
}

/// XEP-0280 §4, §5, §10.1, and what service discovery says (§3, §6.2).
#[tokio::test]
async fn copies_are_switched_on_and_off_as_often_as_one_likes() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, plain(&lab, "bob", "desk").await?);
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = desk.ask(&format!("<iq type='get' id='d' to='localhost'>{info}</iq>")).await?;
    for feature in [NS, "urn:xmpp:carbons:rules:0"] {
        let query = answer.find("query").expect("the query");
        assert!(query.children.iter().any(|f| f.attr("var") == Some(feature)), "{answer}");
    }
    for (round, (what, to)) in [
        ("disable", ""),
        ("enable", ""),
        ("enable", " to='bob@localhost'"),
        ("disable", ""),
        ("disable", ""),
        ("enable", ""),
    ]
    .iter()
    .enumerate()
    {
        let answer = switch(&mut desk, what, to).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
        alice.send(&chat("bob@localhost/phone", &round.to_string())).await?;
        alice.fence().await?;
        let expected = if *what == "enable" { vec![format!("received {round}")] } else { vec![] };
        assert_eq!(heard(&mut desk).await?, expected);
        assert_eq!(heard(&mut phone).await?, [round.to_string()]);
    }
    // The answer does not reveal which accounts exist.
    for to in ["alice@localhost", "nobody@localhost"] {
        let answer = switch(&mut desk, "enable", &format!(" to='{to}'")).await?;
        assert_eq!(answer.condition(), Some("not-allowed"), "{answer}");
    }
    Ok(())
}

/// RFC 6121 §8.5.2.1.1, XEP-0313 §3.3.1: a note to oneself is one message; each device gets it once.
#[tokio::test]
async fn a_message_to_oneself_reaches_each_device_once() -> Outcome<()> {
    let lab = Lab::new(&["bob"], &[]);
    let (mut phone, mut desk) =
        (reader(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let (mut low, mut deaf) =
        (reader(&lab, "bob", "low").await?, plain(&lab, "bob", "deaf").await?);
    low.send("<presence><priority>-1</priority></presence>").await?;
    low.fence().await?;
    for to in [" to='bob@localhost'", ""] {
        phone.send(&format!("<message{to} type='chat' id='n'><body>n</body></message>")).await?;
        phone.fence().await?;
        for (client, expected) in
            [(&mut phone, "n"), (&mut desk, "n"), (&mut deaf, "n"), (&mut low, "received n")]
        {
            assert_eq!(heard(client).await?, [expected], "{}", client.jid);
        }
    }
    // From one device to another: the other devices see it once; the sender has it already.
    phone.send(&chat("bob@localhost/desk", "d")).await?;
    phone.fence().await?;
    assert_eq!(heard(&mut phone).await?, [""; 0]);
    assert_eq!(heard(&mut desk).await?, ["d"]);
    assert_eq!(heard(&mut low).await?, ["received d"]);
    let kept = archive(&mut phone).await?;
    assert_eq!(kept.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["n", "n", "d"]);
    Ok(())
}

/// The one table (`stanza/policy.rs`) as devices and archives see it: the message, whether the other devices
/// of both sides get copies, and whether it is archived.
#[tokio::test]
async fn each_kind_of_message_travels_is_copied_and_archived_by_the_one_table() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let (mut alice, mut carol) =
        (plain(&lab, "alice", "r").await?, reader(&lab, "alice", "other").await?);
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let mut kept = Vec::new();
    for (n, (ty, payload, copied, archived)) in TABLE.iter().enumerate() {
        let id = format!("{n}");
        alice
            .send(&format!("<message to='{}' type='{ty}' id='{id}'>{payload}</message>", phone.jid))
            .await?;
        alice.fence().await?;
        let came = phone.stanzas().await?;
        let sent = Element::parse(&format!("<x>{payload}</x>")).expect("a payload").children;
        let as_sent: Vec<_> =
            came.iter().flat_map(|m| &m.children).filter(|c| !c.is(SID, "stanza-id")).collect();
        assert_eq!(as_sent, sent.iter().collect::<Vec<_>>(), "{ty} {payload}");
        let of = |side: &str| if *copied { vec![format!("{side} {id}")] } else { vec![] };
        assert_eq!(heard(&mut desk).await?, of("received"), "{ty} {payload}");
        assert_eq!(heard(&mut carol).await?, of("sent"), "{ty} {payload}");
        kept.extend(archived.then_some(id));
    }
    for client in [&mut carol, &mut desk] {
        let ids: Vec<_> = archive(client).await?.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, kept);
    }
    Ok(())
}

/// Type, payloads, copied, archived.
const TABLE: &[(&str, &str, bool, bool)] = &[
    ("chat", "<body>x</body>", true, true),
    ("normal", "<subject>x</subject><body>x</body>", true, true),
    ("headline", "<body>x</body>", false, false),
    ("groupchat", "<body>x</body>", false, false),
    // XEP-0085
    ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", true, false),
    ("normal", "<paused xmlns='http://jabber.org/protocol/chatstates'/>", true, false),
    // XEP-0184
    ("chat", "<body>x</body><request xmlns='urn:xmpp:receipts'/>", true, true),
    ("normal", "<received xmlns='urn:xmpp:receipts' id='x'/>", true, true),
    // XEP-0308
    ("chat", "<body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='x'/>", true, true),
    // XEP-0333
    ("chat", "<markable xmlns='urn:xmpp:chat-markers:0'/>", true, false),
    ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>", true, true),
    // XEP-0353
    (
        "chat",
        "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/><store xmlns='urn:xmpp:hints'/>",
        true,
        true,
    ),
    ("chat", "<finish xmlns='urn:xmpp:jingle-message:0' id='c'/>", true, true),
    // XEP-0424
    (
        "chat",
        "<retract xmlns='urn:xmpp:message-retract:1' id='x'/><body>x</body>\
         <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>",
        true,
        true,
    ),
    // XEP-0428: describes the payloads next to it.
    ("normal", "<fallback xmlns='urn:xmpp:fallback:0' for='x'/>", false, false),
    // XEP-0444
    (
        "chat",
        "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>+</reaction></reactions>",
        true,
        true,
    ),
    // XEP-0461
    ("chat", "<body>x</body><reply xmlns='urn:xmpp:reply:0' to='a@x' id='x'/>", true, true),
    // XEP-0384: encrypted
    ("chat", "<encrypted xmlns='urn:xmpp:omemo:2'/>", true, true),
    // XEP-0249
    ("normal", "<x xmlns='jabber:x:conference' jid='r@y'/>", true, true),
    // XEP-0334, XEP-0280 §9
    ("chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", true, false),
    ("chat", "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", true, false),
    ("chat", "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>", false, true),
    ("chat", "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>", false, true),
];

/// XEP-0280 §6.1: an error for a message that was copied is copied, whichever entity sends it; no other error
/// is.
#[tokio::test]
async fn errors_are_copied_where_the_message_was() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = plain(&lab, "alice", "r").await?;
    let mut other = reader(&lab, "alice", "other").await?;
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let error = |id: &str| {
        let to = "alice@localhost/r";
        format!(
            "<message to='{to}' type='error' id='{id}'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
    };
    // By the server.
    alice.send(&chat("nobody@localhost", "1")).await?;
    alice.send(&chat("somebody@far.example", "2")).await?;
    alice.send("<message to='nobody@localhost' type='groupchat' id='3'/>").await?;
    alice.fence().await?;
    assert_eq!(heard(&mut alice).await?, ["!1", "!2", "!3"]);
    assert_eq!(heard(&mut other).await?, ["sent 1", "received !1", "sent 2", "received !2"]);
    // By the other client: sent to the bare JID, answered by one of its devices.
    alice.send(&chat("bob@localhost", "4")).await?;
    alice
        .send("<message to='bob@localhost/phone' type='headline' id='5'><body>x</body></message>")
        .await?;
    alice.fence().await?;
    assert_eq!(heard(&mut phone).await?, ["4", "5"]);
    for id in ["4", "5", "6"] {
        phone.send(&error(id)).await?;
    }
    phone.fence().await?;
    assert_eq!(heard(&mut alice).await?, ["!4", "!5", "!6"]);
    assert_eq!(heard(&mut other).await?, ["sent 4", "received !4"]);
    assert_eq!(heard(&mut desk).await?, ["4", "sent !4"]);
    // The device is gone, and the other devices get the error nevertheless.
    alice.send(&chat("bob@localhost/phone", "7")).await?;
    alice.close().await?;
    phone.expect(|e| e.attr("id") == Some("7")).await?;
    phone.send(&error("7")).await?;
    phone.fence().await?;
    assert_eq!(heard(&mut other).await?, ["sent 7", "received !7"]);
    Ok(())
}

/// XEP-0280 §7, §10.3, §11: a copy that another entity wraps comes from its own address; an error for a copy
/// made by the server is dropped.
#[tokio::test]
async fn nobody_makes_copies_but_the_server() -> Outcome<()> {
    let lab = Lab::new(&["mallory", "bob"], &[]);
    let mut mallory = plain(&lab, "mallory", "r").await?;
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let fake = |attributes: &str, side: &str| {
        format!(
            "<message{attributes} type='chat'><{side} xmlns='{NS}'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='juliet@localhost/x' to='bob@localhost/phone' type='chat'>\
             <body>meet me</body></message></forwarded></{side}></message>"
        )
    };
    for side in ["received", "sent"] {
        // From a stranger, and from an own device that poses as the account.
        mallory.send(&fake(" to='bob@localhost/phone'", side)).await?;
        mallory.fence().await?;
        let from = " from='bob@localhost' to='bob@localhost/phone'";
        desk.send(&fake(from, side)).await?;
        desk.fence().await?;
        let came = phone.stanzas().await?;
        let froms: Vec<_> = came.iter().filter_map(|m| m.attr("from")).collect();
        assert_eq!(froms, ["mallory@localhost/r", "bob@localhost/desk"]);
        assert!(came.iter().all(|m| copy(m, &phone).is_none()), "{came:?}");
        let copies = desk.stanzas().await?;
        let (_, inner) = copy(&copies[0], &desk).expect("a copy of the whole");
        assert_eq!((copies.len(), inner.attr("from")), (1, Some("mallory@localhost/r")));
        assert!(inner.child(NS, side).is_some());
    }
    mallory.send(&chat("bob@localhost/phone", "1")).await?;
    mallory.fence().await?;
    assert_eq!(heard(&mut desk).await?, ["received 1"]);
    for id in [" id='1'", ""] {
        let body = "<error type='cancel'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        desk.send(&format!("<message to='bob@localhost' type='error'{id}>{body}</message>"))
            .await?;
    }
    desk.fence().await?;
    assert_eq!(heard(&mut phone).await?, ["1"]);
    assert!(heard(&mut mallory).await?.is_empty() && heard(&mut desk).await?.is_empty());
    Ok(())
}

/// RFC 6121 §8.5.2.2.1, promise.md 3: a message that no session accepts waits for one that does, even if a
/// copy is read before; a session that may become this one gets all messages in order.
#[tokio::test]
async fn what_waits_is_not_settled_by_a_copy() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    alice.send(&chat("bob@localhost", "1")).await?;
    alice.fence().await?;
    let mut low = lab.login_as("bob", "low").await?;
    low.ignores_presence = true;
    low.send("<presence><priority>-1</priority></presence>").await?;
    enable(&mut low).await?;
    let mut silent = lab.login_as("bob", "silent").await?;
    silent.ignores_presence = true;
    enable(&mut silent).await?;
    alice.send(&chat("bob@localhost", "2")).await?;
    alice.fence().await?;
    assert_eq!(heard(&mut low).await?, ["received 2"]);
    low.close().await?;
    assert_eq!(heard(&mut silent).await?, [""; 0]);
    silent.send("<presence/>").await?;
    silent.fence().await?;
    assert_eq!(heard(&mut silent).await?, ["1", "2"]);
    Ok(())
}

/// XEP-0280 §6.1: a room's private messages, which the room copies itself.
#[tokio::test]
async fn private_messages_of_rooms_are_copied_to_who_is_in_the_room() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let x = |inner: &str| format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x>");
    let (mut phone, mut desk) =
        (plain(&lab, "bob", "phone").await?, reader(&lab, "bob", "desk").await?);
    let mut tablet = reader(&lab, "bob", "tablet").await?;
    let pm = |to: &str, id: &str| {
        format!("<message to='{to}' type='chat' id='{id}'><body>x</body>{}</message>", x(""))
    };
    let room = "room@far.example/juliet";
    // No device is known to be in the room, so all get it.
    phone.send(&pm(room, "1")).await?;
    for client in [&mut phone, &mut desk] {
        client.send("<presence to='room@far.example/bob'/>").await?;
        client.fence().await?;
    }
    phone.send(&pm(room, "2")).await?;
    let invitation = x("<invite to='alice@localhost'/>");
    phone.send(&format!("<message to='room@far.example' id='3'>{invitation}</message>")).await?;
    phone.fence().await?;
    let all = |ids: &[&str]| -> Vec<String> {
        ids.iter().flat_map(|id| [format!("sent {id}"), format!("received !{id}")]).collect()
    };
    assert_eq!(heard(&mut desk).await?, all(&["1", "2", "3"]));
    assert_eq!(heard(&mut tablet).await?, all(&["1", "3"]));
    // An account is not a room, whatever its messages contain; and an invitation is copied in any case.
    let mut alice = plain(&lab, "alice", "r").await?;
    alice.send(&pm("bob@localhost/phone", "4")).await?;
    let invitation = x("<invite from='juliet@far.example'/>");
    alice.send(&format!("<message to='bob@localhost/phone' id='5'>{invitation}</message>")).await?;
    alice.fence().await?;
    assert_eq!(heard(&mut desk).await?, ["received 4", "received 5"]);
    Ok(())
}

/// promise.md 2: an acknowledged copy confirms the message; otherwise the message is still owed.
#[tokio::test]
async fn a_copy_that_is_acknowledged_confirms_the_message() -> Outcome<()> {
    for confirms in [true, false] {
        for keeps in ["true", "false"] {
            let lab = Lab::new(&["alice", "bob"], &[&format!("modules.mam.enabled={keeps}")]);
            let mut alice = plain(&lab, "alice", "r").await?;
            let mut phone = plain(&lab, "bob", "phone").await?;
            phone.enable_with("").await?;
            let mut desk = reader(&lab, "bob", "desk").await?;
            desk.enable_with("").await?;
            alice.send(&chat("bob@localhost/phone", "1")).await?;
            alice.fence().await?;
            let copies = desk.stanzas().await?;
            let (_, inner) = copy(&copies[0], &desk).expect("a copy");
            assert_eq!(stanza_ids(inner).len(), usize::from(keeps == "true"));
            if confirms {
                let handled = desk.handled;
                desk.a(handled).await?;
                desk.r().await?;
            }
            // This stream has stream management and acknowledges nothing.
            phone.close().await?;
            assert_eq!(desk.messages().await?, [""; 0], "it has a copy");
            desk.close().await?;
            let mut tablet = lab.login_as("bob", "tablet").await?;
            tablet.ignores_presence = true;
            tablet.send("<presence/>").await?;
            let expected: &[&str] = if confirms { &[] } else { &["1"] };
            assert_eq!(tablet.messages().await?, expected, "{confirms} {keeps}");
        }
    }
    Ok(())
}

/// XEP-0198 §5, promise.md 11: a hibernating session gets its copies after it is resumed, and copies stay
/// enabled.
#[tokio::test]
async fn copies_go_on_after_a_resumption_and_a_restart() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut phone = plain(&lab, "bob", "phone").await?;
    let (mut desk, id) = lab.managed("bob", "desk").await?;
    enable(&mut desk).await?;
    phone.send(&chat("alice@localhost", "1")).await?;
    phone.fence().await?;
    desk.expect(|e| e.name == "message").await?;
    let mut handled = desk.handled;
    let jid = desk.jid.clone();
    drop(desk);
    lab.sleeps(&jid);
    phone.send(&chat("alice@localhost", "2")).await?;
    phone.fence().await?;
    for (round, more) in [("2", "3"), ("4", "5")] {
        let (mut desk, _) = lab.resumed("bob", &id, handled).await?;
        desk.jid = jid.clone();
        desk.ignores_presence = true;
        assert_eq!(heard(&mut desk).await?, [format!("sent {round}")]);
        phone.send(&chat("alice@localhost", more)).await?;
        phone.fence().await?;
        assert_eq!(heard(&mut desk).await?, [format!("sent {more}")]);
        handled = desk.handled;
        if round == "2" {
            desk.a(handled).await?;
            desk.fence().await?;
            handled = desk.handled;
            lab.process.signal("TERM");
            assert_eq!(lab.process.exit().code(), Some(0), "{}", lab.process.log());
            lab = Lab::serve(folder.path(), &[], &[]);
            phone = plain(&lab, "bob", "phone").await?;
            phone.send(&chat("alice@localhost", "4")).await?;
            phone.fence().await?;
        }
    }
    Ok(())
}
