//! XEP-0045 §13.5: what one person may do to a service of rooms, and to others in a room: so much, and what is more is
//! refused, or slowed. (`muc_quota`: what a room stores.)

use std::time::{Duration, Instant};

use crate::harness::client::{Client, Outcome};
use crate::harness::process::Lab;
use crate::harness::rooms::{
    ADMIN, OWNER, ask, at, codes, configure, enter, entered, found, gathering, knock, sees,
    set_item,
};

async fn leave(client: &mut Client, room: &str) -> Outcome<()> {
    client.send(&format!("<presence type='unavailable' to='{}/x'/>", at(room))).await
}

/// The condition with which the room lets nobody in, or nothing.
async fn tries(client: &mut Client, room: &str, nick: &str) -> Outcome<Option<String>> {
    knock(client, room, nick, "").await?;
    let fits = |from: &str| from.split('/').next() == Some(&*at(room));
    let answer = client
        .expect(|e| {
            e.attr("from").is_some_and(fits)
                && (e.attr("type") == Some("error") || codes(e).contains(&"110".to_owned()))
        })
        .await?;
    Ok(answer.condition().map(str::to_owned))
}

/// §13.5, `rooms_per_account_max`: configured or not, thousands of tries make no more rooms than that; a room that is
/// gone makes place, and nobody else is held by it.
#[tokio::test]
async fn an_account_has_so_many_rooms() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &["modules.muc.rooms_per_account_max=20"]);
    let mut ann = lab.online("ann", "r").await?;
    for n in 0..10 {
        found(&mut ann, &format!("room{n}"), "ann", &[]).await?;
    }
    let all: String = (10..3_000)
        .map(|n| {
            let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
            format!("<presence id='{n}' to='{}/ann'>{x}</presence>", at(&format!("room{n}")))
        })
        .collect();
    ann.send(&all).await?;
    ann.fence().await?;
    let seen = ann.take();
    let made = seen.iter().filter(|one| codes(one).contains(&"201".to_owned())).count();
    let refused: Vec<_> = seen.iter().filter(|one| one.attr("type") == Some("error")).collect();
    assert_eq!((made, refused.len()), (10, 2_980));
    for one in refused {
        assert_eq!(one.condition(), Some("resource-constraint"), "{one}");
    }
    let mut bob = lab.online("bob", "r").await?;
    found(&mut bob, "bobs", "bob", &[]).await?;
    // One that nobody has configured goes with its creator; another is destroyed.
    leave(&mut ann, "room10").await?;
    assert_eq!(tries(&mut ann, "late0", "ann").await?, None);
    assert_eq!(tries(&mut ann, "late1", "ann").await?.as_deref(), Some("resource-constraint"));
    let destroy = format!("<query xmlns='{OWNER}'><destroy/></query>");
    assert_eq!(ask(&mut ann, "set", "room0", &destroy).await?.attr("type"), Some("result"));
    assert_eq!(tries(&mut ann, "late1", "ann").await?, None);
    assert_eq!(tries(&mut ann, "late2", "ann").await?.as_deref(), Some("resource-constraint"));
    Ok(())
}

/// §10.2: what is too long in a configuration is refused, and nothing of it is done.
#[tokio::test]
async fn a_configuration_has_its_length() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &["modules.muc.affiliations_max=50"]);
    let mut ann = gathering(&lab, "hall", &["ann"], &[("roomname", "Hall")]).await?.remove(0);
    let long = "x".repeat(1_025);
    let people =
        |count: usize| (0..count).map(|n| format!("u{n}@x.y")).collect::<Vec<_>>().join(",");
    let (contacts, many, few) = (people(21), people(51), people(50));
    for (var, value, expected) in [
        ("roomname", &long, "not-acceptable"),
        ("roomdesc", &long, "not-acceptable"),
        ("lang", &long, "not-acceptable"),
        ("roomsecret", &long, "not-acceptable"),
        ("muc#roominfo_contactjid", &contacts, "not-acceptable"),
        ("roomadmins", &many, "not-acceptable"),
        // With the owner there is one too many.
        ("roomadmins", &few, "resource-constraint"),
    ] {
        let fields = [("moderatedroom", "1"), (var, value.as_str())];
        let answer = configure(&mut ann, "hall", &fields).await?;
        assert_eq!(answer.condition(), Some(expected), "{var}: {answer}");
    }
    // Thousands of fields, all of them of no meaning.
    let names: Vec<String> = (0..2_000).map(|n| format!("x#{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = configure(&mut ann, "hall", &fields).await?;
    assert_eq!(answer.condition(), Some("bad-request"), "{answer}");
    let form =
        ask(&mut ann, "get", "hall", &format!("<query xmlns='{OWNER}'/>")).await?.to_string();
    assert!(form.contains("Hall") && !form.contains("u0@x.y"), "{form}");
    let info = crate::muc_disco::info(&mut ann, "hall").await?.to_string();
    assert!(info.contains("muc_unmoderated"), "{info}");
    Ok(())
}

/// RFC 8266 §2: what cannot be told from another's nickname is that one's, and what cannot be seen is none.
#[tokio::test]
async fn a_nickname_hides_nothing() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = gathering(&lab, "hall", &["ann"], &[]).await?.remove(0);
    let mut bob = lab.online("bob", "r").await?;
    for (nick, expected) in [
        // In other letters: of full width, capital, with spaces around.
        ("\u{ff21}\u{ff4e}\u{ff4e}", &["conflict"][..]),
        ("aNN", &["conflict"]),
        ("&#xa0;ann ", &["conflict", "jid-malformed"]),
        // With what nobody sees, or what turns the direction of what follows.
        ("a\u{200b}nn", &["jid-malformed", "not-acceptable"]),
        ("ann\u{ad}", &["jid-malformed", "not-acceptable"]),
        ("\u{202e}nna", &["jid-malformed", "not-acceptable"]),
        ("ann\u{2060}", &["jid-malformed", "not-acceptable"]),
        ("ann&#x9;", &["jid-malformed", "not-acceptable", "conflict"]),
        ("ann&#x7f;", &["jid-malformed", "not-acceptable"]),
        ("\u{fdd0}", &["jid-malformed", "not-acceptable"]),
        ("\u{e000}", &["jid-malformed", "not-acceptable"]),
        (" ", &["jid-malformed", "not-acceptable"]),
    ] {
        knock(&mut bob, "hall", nick, "").await?;
        let refused = bob.expect(|e| e.name == "presence" && e.attr("from") != Some("")).await?;
        let condition = refused.condition().unwrap_or("-").to_owned();
        assert!(expected.contains(&&*condition), "{nick:?}: {refused}");
    }
    // A right-to-left name is one.
    enter(&mut bob, "hall", "\u{5d0}\u{5d1}").await?;
    sees(&mut ann, "hall", "\u{5d0}\u{5d1}").await?;
    ann.nothing().await
}

/// Bans hundreds, of some 250 bytes each.
async fn bans(client: &mut Client, from: usize, to: usize) -> Outcome<()> {
    let pad = "x".repeat(200);
    for hundred in from..to {
        let ban = |n: usize| format!("<item affiliation='outcast' jid='{pad}{hundred}.{n}@x.y'/>");
        let items: String = (0..100).map(ban).collect();
        assert_eq!(set_item(client, "hall", &items).await?.attr("type"), Some("result"));
    }
    Ok(())
}

/// A list that does not fit into what waits for a client is refused: its stream goes on.
#[tokio::test]
async fn a_list_cuts_nobody_off() -> Outcome<()> {
    let set = ["limits.stanza_bytes_max=50000", "limits.outbox_bytes_max=150000"];
    let lab = Lab::new(&["ann"], &set);
    let mut ann = gathering(&lab, "hall", &["ann"], &[]).await?.remove(0);
    bans(&mut ann, 0, 4).await?;
    let outcasts = format!("<query xmlns='{ADMIN}'><item affiliation='outcast'/></query>");
    let list = ask(&mut ann, "get", "hall", &outcasts).await?;
    assert_eq!(list.find("query").map(|query| query.children.len()), Some(400));
    bans(&mut ann, 4, 8).await?;
    let refused = ask(&mut ann, "get", "hall", &outcasts).await?;
    assert_eq!(refused.condition(), Some("resource-constraint"), "{refused}");
    ann.fence().await?;
    // The same for who asks as it enters (XEP-0463 §5.2.1); it is in all the same.
    ann.forget();
    knock(&mut ann, "hall", "ann", "<mav xmlns='urn:xmpp:muc:affiliations:1'/>").await?;
    let refused = ann.receive().await?;
    assert_eq!(refused.condition(), Some("resource-constraint"), "{refused}");
    let error = refused.find("error").expect("an error");
    assert_eq!((error.attr("type"), error.attr("by")), (Some("wait"), Some(&*at("hall"))));
    entered(&mut ann, "hall").await?;
    ann.fence().await
}

/// `affiliations_bytes_max`: lists take nothing more before they are longer than that, and are read then.
#[tokio::test]
async fn lists_have_a_bound_in_bytes() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &["modules.muc.affiliations_bytes_max=100000"]);
    let mut ann = gathering(&lab, "hall", &["ann"], &[]).await?.remove(0);
    let reason = "x".repeat(1_000);
    let ban = |n: usize| {
        format!("<item affiliation='outcast' jid='u{n}@x.y'><reason>{reason}</reason></item>")
    };
    let items = |from: usize, to: usize| (from..to).map(ban).collect::<String>();
    assert_eq!(set_item(&mut ann, "hall", &items(0, 90)).await?.attr("type"), Some("result"));
    let refused = set_item(&mut ann, "hall", &items(90, 100)).await?;
    assert_eq!(refused.condition(), Some("resource-constraint"), "{refused}");
    let outcasts = format!("<query xmlns='{ADMIN}'><item affiliation='outcast'/></query>");
    let list = ask(&mut ann, "get", "hall", &outcasts).await?;
    assert_eq!(list.find("query").map(|query| query.children.len()), Some(90));
    // §9.2: what is taken off makes room.
    let off = format!("<item affiliation='none' jid='u1@x.y'/>{}", items(90, 91));
    assert_eq!(set_item(&mut ann, "hall", &off).await?.attr("type"), Some("result"));
    Ok(())
}

/// security.md 17: who makes many hear of its coming, going and being is slowed; nothing of it is lost.
#[tokio::test]
async fn presence_in_a_room_is_slowed_by_what_it_causes() -> Outcome<()> {
    let set = ["limits.stanzas_per_second=50", "limits.stanzas_burst=50"];
    let lab = Lab::new(&["ann", "bob"], &set);
    let mut all = Vec::new();
    for n in 0..60 {
        let mut client = lab.online("ann", &format!("r{n}")).await?;
        match n {
            0 => found(&mut client, "hall", "ann", &[]).await?,
            _ => drop(enter(&mut client, "hall", "ann").await?),
        }
        all.push(client);
    }
    let mut bob = lab.online("bob", "r").await?;
    enter(&mut bob, "hall", "bob").await?;
    let begun = Instant::now();
    let changes =
        |n: usize| format!("<presence to='{}/bob'><status>s{n}</status></presence>", at("hall"));
    bob.send(&(0..60).map(changes).collect::<String>()).await?;
    bob.fence().await?;
    // 60 of them with 61 sessions' fifties each are 120 stanzas: 70 beyond the burst.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}");
    for client in [&mut all[0], &mut bob] {
        for n in 0..60 {
            let status = format!("s{n}");
            client.expect(|e| e.text_of("status") == Some(&*status)).await?;
        }
    }
    // Coming and going: twenty times two stanzas that cost five.
    let begun = Instant::now();
    for _ in 0..20 {
        leave(&mut bob, "hall").await?;
        knock(&mut bob, "hall", "bob", "").await?;
        entered(&mut bob, "hall").await?;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_200), "{took:?}");
    Ok(())
}

/// §7.10: of an anonymous user nothing is left when it goes, and so nothing is kept for it.
#[tokio::test]
async fn an_anonymous_user_registers_with_no_room() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &["sasl.mechanisms=[\"SCRAM-SHA-256\", \"ANONYMOUS\"]"]);
    gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut ghost = lab.connect().await?;
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>";
    ghost.send(auth).await?;
    assert_eq!(ghost.receive().await?.name, "success");
    ghost.open().await?;
    ghost.bind(None).await?;
    // It may be in a room, and makes none.
    enter(&mut ghost, "hall", "ghost").await?;
    assert_eq!(tries(&mut ghost, "den", "ghost").await?.as_deref(), Some("not-allowed"));
    let ns = "jabber:iq:register";
    let form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/muc#register</value></field>\
        <field var='muc#register_roomnick'><value>ghost</value></field></x>";
    for (ty, content) in [("get", ""), ("set", form), ("set", "<remove/>")] {
        let query = format!("<query xmlns='{ns}'>{content}</query>");
        let answer = ask(&mut ghost, ty, "hall", &query).await?;
        assert_eq!(answer.condition(), Some("not-allowed"), "{ty}: {answer}");
    }
    Ok(())
}
