//! Rooms whose occupants are on two servers (XEP-0045).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::peers::Two;
use crate::harness::rooms::{ADMIN, MUC, USER, codes, is_subject};
use crate::harness::sm::chat;
use crate::s2s::across;

/// Enters, up to the subject.
async fn enter(client: &mut Client, room: &str, nick: &str) -> Outcome<Vec<Element>> {
    client.send(&format!("<presence to='{room}/{nick}'><x xmlns='{MUC}'/></presence>")).await?;
    let mut seen = Vec::new();
    loop {
        let one =
            client.expect(|e| e.attr("from").is_some_and(|from| from.starts_with(room))).await?;
        assert_ne!(one.attr("type"), Some("error"), "{one}");
        let last = is_subject(&one);
        seen.push(one);
        if last {
            return Ok(seen);
        }
    }
}

async fn sees(client: &mut Client, from: &str) -> Outcome<Element> {
    client.expect(|e| e.name == "presence" && e.attr("from") == Some(from)).await
}

async fn hears(client: &mut Client, id: &str) -> Outcome<Element> {
    client.expect(|e| e.name == "message" && e.attr("id") == Some(id)).await
}

async fn say(client: &mut Client, room: &str, id: &str) -> Outcome<()> {
    let body = format!("<body>{id}</body>");
    client.send(&format!("<message type='groupchat' id='{id}' to='{room}'>{body}</message>")).await
}

/// A new room with its owner in it (§10.1.2).
async fn found(host: &mut Client, room: &str) -> Outcome<()> {
    let seen = enter(host, room, "host").await?;
    assert!(seen.iter().any(|one| codes(one).contains(&"110".to_owned())));
    let config = "<query xmlns='http://jabber.org/protocol/muc#owner'>\
                  <x xmlns='jabber:x:data' type='submit'/></query>";
    host.ask(&format!("<iq type='set' id='own' to='{room}'>{config}</iq>")).await.map(drop)
}

/// A room at the host's server, with one of its people and a guest of the other server.
async fn used(host: &mut Client, guest: &mut Client, room: &str) -> Outcome<()> {
    found(host, room).await?;
    let seen = enter(guest, room, "guest").await?;
    assert!(seen.iter().any(|one| one.attr("from") == Some(&*format!("{room}/host"))));
    sees(host, &format!("{room}/guest")).await?;
    for n in 0..20 {
        say(host, room, &format!("h{n}")).await?;
        say(guest, room, &format!("g{n}")).await?;
    }
    // The order is one for both.
    let mut orders = Vec::new();
    for client in [&mut *host, &mut *guest] {
        let mut order = Vec::new();
        while order.len() < 40 {
            let said = client.expect(|e| e.attr("type") == Some("groupchat")).await?;
            assert!(said.find("stanza-id").is_some(), "{said}");
            order.push(said.attr("id").unwrap_or_default().to_owned());
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    host.send(&format!("<message type='groupchat' to='{room}'><subject>tea</subject></message>"))
        .await?;
    let subject = guest.expect(is_subject).await?;
    assert_eq!(subject.text_of("subject"), Some("tea"));
    let private = format!("<x xmlns='{USER}'/><body>psst</body>");
    guest
        .send(&format!("<message type='chat' id='pm' to='{room}/host'>{private}</message>"))
        .await?;
    assert_eq!(hears(host, "pm").await?.attr("from"), Some(&*format!("{room}/guest")));
    host.send(&format!("<message type='chat' id='mp' to='{room}/guest'>{private}</message>"))
        .await?;
    assert_eq!(hears(guest, "mp").await?.attr("from"), Some(&*format!("{room}/host")));
    // XEP-0410, and a request from one occupant to another.
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let own = guest.ask(&format!("<iq type='get' id='s' to='{room}/guest'>{ping}</iq>")).await?;
    assert_eq!(own.attr("type"), Some("result"), "{own}");
    guest.send(&format!("<iq type='get' id='o' to='{room}/host'>{ping}</iq>")).await?;
    let asked = host.expect(|e| e.child("urn:xmpp:ping", "ping").is_some()).await?;
    let of = |name: &str| asked.attr(name).unwrap_or_default().to_owned();
    host.send(&format!("<iq type='result' id='{}' to='{}'/>", of("id"), of("from"))).await?;
    let answer = guest.expect(|e| e.attr("id") == Some("o")).await?;
    assert_eq!(answer.attr("from"), Some(&*format!("{room}/host")), "{answer}");
    // §8.2
    let kick = format!("<query xmlns='{ADMIN}'><item nick='guest' role='none'/></query>");
    let kicked = host.ask(&format!("<iq type='set' id='kick' to='{room}'>{kick}</iq>")).await?;
    assert_eq!(kicked.attr("type"), Some("result"), "{kicked}");
    let gone = sees(guest, &format!("{room}/guest")).await?;
    assert!(codes(&gone).contains(&"307".to_owned()), "{gone}");
    let outside =
        guest.ask(&format!("<iq type='get' id='s2' to='{room}/guest'>{ping}</iq>")).await?;
    assert_eq!(outside.condition(), Some("not-acceptable"), "{outside}");
    host.forget();
    guest.forget();
    Ok(())
}

#[tokio::test]
async fn rooms_are_joined_in_both_directions() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    used(&mut alice, &mut bob, "hall@conference.a.test").await?;
    used(&mut bob, &mut alice, "hall@conference.b.test").await
}

/// §7.8.2 and XEP-0249
#[tokio::test]
async fn people_of_another_server_are_invited() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let room = "den@conference.a.test";
    enter(&mut alice, room, "host").await?;
    let members = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' \
                   type='submit'><field var='FORM_TYPE'>\
                   <value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                   <field var='muc#roomconfig_membersonly'><value>1</value></field></x></query>";
    let set = alice.ask(&format!("<iq type='set' id='own' to='{room}'>{members}</iq>")).await?;
    assert_eq!(set.attr("type"), Some("result"), "{set}");
    let invite = "<invite to='bob@b.test'><reason>come</reason></invite>";
    alice.send(&format!("<message to='{room}'><x xmlns='{USER}'>{invite}</x></message>")).await?;
    let invited = bob.expect(|e| e.child(USER, "x").is_some()).await?;
    assert_eq!(invited.attr("from"), Some(room), "{invited}");
    let by = invited.find("invite").and_then(|invite| invite.attr("from")).unwrap_or_default();
    assert!(by.starts_with("alice@a.test"), "{invited}");
    enter(&mut bob, room, "guest").await?;
    sees(&mut alice, &format!("{room}/guest")).await?;
    let direct = format!("<x xmlns='jabber:x:conference' jid='{room}'/>");
    alice.send(&format!("<message to='dave@b.test'>{direct}</message>")).await?;
    let mut dave = two.b.online("dave", "d").await?;
    dave.expect(|e| e.child("jabber:x:conference", "x").is_some()).await.map(drop)
}

/// An occupant whose server is gone leaves the room once it is spoken to, and comes back by itself.
#[tokio::test]
async fn whose_server_is_gone_leaves_the_room() -> Outcome<()> {
    let mut two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let room = "hall@conference.a.test";
    found(&mut alice, room).await?;
    enter(&mut bob, room, "guest").await?;
    sees(&mut alice, &format!("{room}/guest")).await?;
    two.b.process.kill();
    // The first one may be on its way when the connection is lost.
    say(&mut alice, room, "one").await?;
    hears(&mut alice, "one").await?;
    two.a.process.logs(&["no stream with a server", "b.test"]);
    say(&mut alice, room, "two").await?;
    let gone = sees(&mut alice, &format!("{room}/guest")).await?;
    assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
    // Nobody here is hurt.
    let mut carol = two.a.online("carol", "c").await?;
    carol.send(&chat("alice@a.test", "local")).await?;
    hears(&mut alice, "local").await?;
    let refused =
        carol.ask("<iq type='get' id='x' to='b.test'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
    assert_eq!(refused.condition(), Some("remote-server-timeout"), "{refused}");
    let text = refused.child("jabber:client", "error").and_then(|error| error.find("text"));
    assert!(text.is_some_and(|text| text.text.contains("b.test")), "{refused}");
    Ok(())
}

/// A guest that closes its session is not in the room any more.
#[tokio::test]
async fn who_ends_a_session_elsewhere_leaves_the_room() -> Outcome<()> {
    let two = Two::new();
    let mut alice = two.a.online("alice", "a").await?;
    let mut bob = two.b.online("bob", "b").await?;
    let room = "hall@conference.a.test";
    found(&mut alice, room).await?;
    enter(&mut bob, room, "guest").await?;
    sees(&mut alice, &format!("{room}/guest")).await?;
    across(&mut bob, "a.test").await?;
    drop(bob);
    let gone = sees(&mut alice, &format!("{room}/guest")).await?;
    assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
    Ok(())
}
