//! XEP-0437: Room Activity Indicators.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    SERVICE, at, configure, enter, entered, found, hears, knock, say, sees, set_item,
};

const NS: &str = "urn:xmpp:rai:0";

async fn subscribe(client: &mut Client) -> Outcome<()> {
    client.send(&format!("<presence to='{SERVICE}' id='rai'><rai xmlns='{NS}'/></presence>")).await
}

/// Ends a subscription (§3.2) and makes another one.
async fn anew(client: &mut Client) -> Outcome<()> {
    client.send(&format!("<presence type='unavailable' to='{SERVICE}'/>")).await?;
    subscribe(client).await
}

/// The rooms of an indicator.
fn rooms(one: &Element) -> Option<Vec<String>> {
    let rai = one.child(NS, "rai").filter(|_| one.name == "message")?;
    assert_eq!(one.attr("from"), Some(SERVICE), "{one}");
    Some(rai.children.iter().map(|room| room.text.clone()).collect())
}

/// The rooms of the next indicator.
async fn told(client: &mut Client) -> Outcome<Vec<String>> {
    let one = client.expect(|e| rooms(e).is_some()).await?;
    Ok(rooms(&one).unwrap_or_default())
}

/// It was in the room, and has left it.
async fn visit(client: &mut Client, room: &str, nick: &str) -> Outcome<()> {
    enter(client, room, nick).await?;
    leave(client, room, nick).await
}

async fn leave(client: &mut Client, room: &str, nick: &str) -> Outcome<()> {
    client.send(&format!("<presence type='unavailable' to='{}/{nick}'/>", at(room))).await?;
    let gone = |e: &Element| {
        e.attr("type") == Some("unavailable")
            && e.attr("from") == Some(&*format!("{}/{nick}", at(room)))
    };
    client.expect(gone).await.map(drop)
}

/// A service tells that it can.
#[tokio::test]
async fn the_service_says_so() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = crate::harness::rooms::ask(&mut ann, "get", SERVICE, info).await?;
    let query = answer.find("query").expect("it");
    assert!(query.children.iter().any(|one| one.attr("var") == Some(NS)), "{answer}");
    Ok(())
}

/// §3.1, §4: one message says where something was said since the member was there; then each room is told of once.
#[tokio::test]
async fn a_member_is_told_where_something_was_said() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    for room in ["r1", "r2", "r3"] {
        found(&mut ann, room, "ann", &[("roomadmins", "bob@localhost")]).await?;
        say(&mut ann, room, &format!("before-{room}"), "x").await?;
        hears(&mut ann, &format!("before-{room}")).await?;
        visit(&mut bob, room, "bob").await?;
    }
    say(&mut ann, "r1", "m1", "x").await?;
    say(&mut ann, "r3", "m2", "x").await?;
    hears(&mut ann, "m2").await?;
    bob.forget();
    subscribe(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("r1"), at("r3")]);
    // What says nothing is no activity.
    let state = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
    ann.send(&format!("<message type='groupchat' to='{}' id='s'>{state}</message>", at("r2")))
        .await?;
    hears(&mut ann, "s").await?;
    say(&mut ann, "r1", "m3", "again").await?;
    say(&mut ann, "r2", "m4", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("r2")], "r1 was told of");
    // Whoever was in a room is told of it again. What it has, is not asked for once more.
    visit(&mut bob, "r1", "bob").await?;
    subscribe(&mut bob).await?;
    bob.fence().await?;
    bob.forget();
    say(&mut ann, "r2", "m5", "x").await?;
    say(&mut ann, "r1", "m6", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("r1")], "r2 was told of");
    // A new subscription begins anew, with what is still unseen.
    anew(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("r1"), at("r2"), at("r3")]);
    bob.nothing().await
}

/// §3.1: not of rooms in which the session is; §3.2: no more after unavailable presence, whoever sends it.
#[tokio::test]
async fn who_is_in_the_room_or_has_gone_is_told_nothing() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    for room in ["r1", "r2"] {
        found(&mut ann, room, "ann", &[("roomadmins", "bob@localhost")]).await?;
    }
    let mut here = lab.online("bob", "here").await?;
    let mut away = lab.online("bob", "away").await?;
    enter(&mut here, "r1", "bob").await?;
    subscribe(&mut here).await?;
    subscribe(&mut away).await?;
    for client in [&mut here, &mut away] {
        client.fence().await?;
        client.forget();
    }
    say(&mut ann, "r1", "m1", "x").await?;
    assert_eq!(told(&mut away).await?, [at("r1")]);
    hears(&mut here, "m1").await?;
    say(&mut ann, "r2", "m2", "x").await?;
    assert_eq!(told(&mut here).await?, [at("r2")], "r1 is not among them");
    assert_eq!(told(&mut away).await?, [at("r2")]);
    // Another session of its account is in r1.
    anew(&mut away).await?;
    assert_eq!(told(&mut away).await?, [at("r1"), at("r2")]);
    // It was in r1 all the time, and was not told of it yet.
    leave(&mut here, "r1", "bob").await?;
    say(&mut ann, "r1", "m3", "x").await?;
    assert_eq!(told(&mut here).await?, [at("r1")]);
    anew(&mut here).await?;
    assert_eq!(told(&mut here).await?, [at("r1"), at("r2")]);
    // One by its own word, the other by its server's.
    found(&mut ann, "r3", "ann", &[("roomadmins", "bob@localhost")]).await?;
    here.send(&format!("<presence type='unavailable' to='{SERVICE}'/>")).await?;
    here.fence().await?;
    here.forget();
    away.close().await?;
    let mut third = lab.online("bob", "third").await?;
    subscribe(&mut third).await?;
    told(&mut third).await?;
    say(&mut ann, "r3", "m4", "x").await?;
    assert_eq!(told(&mut third).await?, [at("r3")]);
    here.fence().await?;
    assert!(!here.take().iter().any(|e| rooms(e).is_some()));
    Ok(())
}

/// §4: "A server MUST NOT send activity notifications to a user from a room that the user would not be allowed to
/// join"; §5.1: here to those who have an affiliation alone.
#[tokio::test]
async fn strangers_to_a_room_hear_nothing_of_it() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    found(&mut ann, "secret", "ann", &[("membersonly", "1"), ("publicroom", "0")]).await?;
    found(&mut ann, "open", "ann", &[]).await?;
    found(&mut ann, "own", "ann", &[("roomadmins", "bob@localhost")]).await?;
    for room in ["secret", "open"] {
        say(&mut ann, room, &format!("a-{room}"), "x").await?;
        hears(&mut ann, &format!("a-{room}")).await?;
    }
    subscribe(&mut bob).await?;
    bob.nothing().await?;
    for room in ["secret", "open"] {
        say(&mut ann, room, &format!("b-{room}"), "x").await?;
        hears(&mut ann, &format!("b-{room}")).await?;
    }
    say(&mut ann, "own", "c", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("own")]);
    // A member from now on, and then banned.
    let make =
        |affiliation: &str| format!("<item affiliation='{affiliation}' jid='bob@localhost'/>");
    set_item(&mut ann, "secret", &make("member")).await?;
    bob.expect(|e| e.find("invite").is_some()).await?;
    say(&mut ann, "secret", "d", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("secret")]);
    anew(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("own"), at("secret")]);
    set_item(&mut ann, "secret", &make("outcast")).await?;
    anew(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("own")]);
    say(&mut ann, "secret", "e", "x").await?;
    hears(&mut ann, "e").await?;
    bob.nothing().await
}

/// What was said since is known after a kill, and of rooms that nobody is in; a room without an archive is known of
/// while it is in memory.
#[tokio::test]
async fn it_is_known_after_a_kill_where_something_was_said() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut ann = lab.online("ann", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    for room in ["r1", "r2"] {
        found(&mut ann, room, "ann", &[("roomadmins", "bob@localhost")]).await?;
        visit(&mut bob, room, "bob").await?;
    }
    found(&mut ann, "r3", "ann", &[("roomadmins", "bob@localhost")]).await?;
    configure(&mut ann, "r3", &[("enablearchiving", "0")]).await?;
    visit(&mut bob, "r3", "bob").await?;
    ann.enable().await?;
    say(&mut ann, "r3", "m0", "x").await?;
    say(&mut ann, "r2", "m1", "x").await?;
    ann.r_until(2).await?;
    subscribe(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("r2"), at("r3")]);
    bob.fence().await?;
    lab.process.kill();
    lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    subscribe(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("r2")]);
    bob.nothing().await
}

/// §6: "only permitting a sensible number of active subscriptions".
#[tokio::test]
async fn there_are_so_many_subscriptions() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &["modules.muc.activity_subscribers_max=1"]);
    let mut ann = lab.online("ann", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    subscribe(&mut ann).await?;
    subscribe(&mut ann).await?;
    ann.fence().await?;
    subscribe(&mut bob).await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("resource-constraint"));
    ann.send(&format!("<presence type='unavailable' to='{SERVICE}'/>")).await?;
    ann.fence().await?;
    subscribe(&mut bob).await?;
    found(&mut ann, "hall", "ann", &[("roomadmins", "bob@localhost")]).await?;
    knock(&mut bob, "hall", "bob", "").await?;
    entered(&mut bob, "hall").await?;
    sees(&mut ann, "hall", "bob").await?;
    leave(&mut bob, "hall", "bob").await?;
    say(&mut ann, "hall", "m1", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("hall")]);
    Ok(())
}

/// §4: what came to a session that nobody came back to was seen by nobody.
#[tokio::test]
async fn what_a_lost_session_got_was_not_seen() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &["limits.resume_secs=1"]);
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[("roomadmins", "bob@localhost")]).await?;
    let (mut bob, _) = lab.managed("bob", "phone").await?;
    enter(&mut bob, "hall", "bob").await?;
    sees(&mut ann, "hall", "bob").await?;
    let jid = bob.jid.clone();
    drop(bob);
    lab.sleeps(&jid);
    say(&mut ann, "hall", "m1", "x").await?;
    let gone = |e: &Element| {
        e.attr("type") == Some("unavailable")
            && e.attr("from") == Some(&*format!("{}/bob", at("hall")))
    };
    ann.expect(gone).await?;
    let mut bob = lab.online("bob", "desk").await?;
    subscribe(&mut bob).await?;
    assert_eq!(told(&mut bob).await?, [at("hall")]);
    Ok(())
}

/// promise.md 11: a session that is resumed after a planned restart is told as before, and of no room twice.
#[tokio::test]
async fn a_restart_ends_no_subscription() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut ann = lab.online("ann", "r").await?;
    for room in ["r1", "r2"] {
        found(&mut ann, room, "ann", &[("roomadmins", "bob@localhost")]).await?;
    }
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    subscribe(&mut bob).await?;
    bob.fence().await?;
    say(&mut ann, "r1", "m1", "x").await?;
    assert_eq!(told(&mut bob).await?, [at("r1")]);
    lab.process.signal("TERM");
    lab.process.exit();
    lab = Lab::serve(folder.path(), &[], &[]);
    let (mut back, _) = lab.resumed("bob", &id, bob.handled).await?;
    let mut ann = lab.online("ann", "r").await?;
    for room in ["r1", "r2"] {
        enter(&mut ann, room, "ann").await?;
        say(&mut ann, room, &format!("again-{room}"), "x").await?;
    }
    assert_eq!(told(&mut back).await?, [at("r2")], "r1 was told of");
    Ok(())
}
