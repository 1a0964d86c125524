//! XEP-0045: who enters a room, what is said in it, and who leaves.

use crate::harness::client::Outcome;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    ADMIN, ask, at, codes, configure, enter, entered, found, gathering, hears, is_subject, item,
    knock, nick, real, say, sees, set_item,
};

/// §10.1.1, §10.1.2: nobody enters before the creator has taken the configuration, and then everybody.
#[tokio::test]
async fn a_room_is_made_by_who_enters_first() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let (mut ann, mut bob) = (lab.online("ann", "r").await?, lab.online("bob", "r").await?);
    let seen = enter(&mut ann, "hall", "Ann").await?;
    assert_eq!(codes(&seen[0]), ["110", "170", "201"]);
    assert_eq!(item(&seen[0]).as_deref(), Some("owner moderator"));
    assert_eq!(seen[0].attr("id"), Some("in"), "its own id");
    knock(&mut bob, "hall", "Bob", "").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("item-not-found"));
    assert_eq!(configure(&mut ann, "hall", &[]).await?.attr("type"), Some("result"));
    let seen = enter(&mut bob, "hall", "Bob").await?;
    let nicks: Vec<&str> = seen.iter().map(nick).collect();
    assert_eq!(nicks, ["Ann", "Bob", ""], "the others, oneself, the subject");
    assert_eq!(item(&seen[1]).as_deref(), Some("none participant"));
    assert_eq!(codes(&seen[1]), ["110", "170"], "it is said that the room keeps what is said");
    assert_eq!((real(&seen[0]), codes(&seen[0])), (None, Vec::new()));
    let shown = sees(&mut ann, "hall", "Bob").await?;
    assert_eq!(real(&shown), Some("bob@localhost/r"), "a moderator sees who it is");
    Ok(())
}

/// §7.4: under the nickname, with the same id, to each once and in one order.
#[tokio::test]
async fn what_is_said_is_heard_by_all() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    say(&mut all[1], "hall", "m1", "hi &amp; ho").await?;
    let mut ids = Vec::new();
    for client in &mut all {
        let heard = hears(client, "m1").await?;
        assert_eq!((nick(&heard), heard.attr("type")), ("bob", Some("groupchat")));
        assert_eq!(
            (heard.text_of("body"), heard.attr("to")),
            (Some("hi & ho"), Some(&*client.jid))
        );
        let id = heard.child("urn:xmpp:sid:0", "stanza-id").expect("an id");
        assert_eq!(id.attr("by"), Some(&*at("hall")));
        ids.push(id.attr("id").map(str::to_owned));
        assert!(heard.child("urn:xmpp:occupant-id:0", "occupant-id").is_some());
    }
    assert_eq!(ids[0], ids[1]);
    // Who is not in it says nothing there.
    let mut eve = lab.online("eve", "r").await?;
    say(&mut eve, "hall", "m2", "hi").await?;
    assert_eq!(hears(&mut eve, "m2").await?.condition(), Some("not-acceptable"));
    say(&mut eve, "nowhere", "m3", "hi").await?;
    assert_eq!(hears(&mut eve, "m3").await?.condition(), Some("item-not-found"));
    for client in &mut all {
        client.nothing().await?;
    }
    Ok(())
}

/// As the examples of §7.2, §7.5, §7.6 and §8.1 have it: an error names the room as its author, whatever occupant's
/// address it comes from. What another client answers is its own.
#[tokio::test]
async fn errors_say_whose_they_are() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    let hall = at("hall");
    let muc = "<x xmlns='http://jabber.org/protocol/muc'/>";
    let chat = "<body>x</body>";
    for (stanza, condition, by) in [
        (format!("<presence to='{hall}'>{muc}</presence>"), "jid-malformed", Some(&*hall)),
        (format!("<presence to='{hall}/ANN'>{muc}</presence>"), "conflict", Some(&hall)),
        (
            format!("<message type='groupchat' to='{hall}'>{chat}</message>"),
            "not-acceptable",
            Some(&hall),
        ),
        (
            format!("<message type='chat' to='{hall}/ann'>{chat}</message>"),
            "not-acceptable",
            Some(&hall),
        ),
        (
            format!("<iq type='get' id='1' to='{hall}/ann'><ping xmlns='urn:xmpp:ping'/></iq>"),
            "not-acceptable",
            Some(&hall),
        ),
        // §8.2, §9.1: where the address says so, the examples do not.
        (
            format!(
                "<iq type='set' id='1' to='{hall}'><query xmlns='{ADMIN}'>\
                 <item nick='ann' role='none'/></query></iq>"
            ),
            "forbidden",
            None,
        ),
    ] {
        bob.send(&stanza).await?;
        let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
        assert_eq!(refused.condition(), Some(condition), "{stanza}: {refused}");
        let error = refused.find("error").expect("it");
        assert_eq!(error.attr("by"), by, "{stanza}: {refused}");
    }
    all[0].nothing().await
}

/// §7.14: everybody sees it, and the room says so to who leaves; a lost connection is the same.
#[tokio::test]
async fn who_leaves_is_seen_to_leave() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let bye = format!(
        "<presence type='unavailable' to='{}/bob'><status>bye</status></presence>",
        at("hall")
    );
    all[1].send(&bye).await?;
    let own = sees(&mut all[1], "hall", "bob").await?;
    assert_eq!((item(&own).as_deref(), codes(&own)), (Some("none none"), vec!["110".to_owned()]));
    let seen = sees(&mut all[0], "hall", "bob").await?;
    assert_eq!((seen.attr("type"), seen.text_of("status")), (Some("unavailable"), Some("bye")));
    drop(all.pop());
    let seen = sees(&mut all[0], "hall", "cat").await?;
    assert_eq!(seen.attr("type"), Some("unavailable"));
    // §17.3: of who is not in the room, unavailable presence means nothing.
    all[1].send(&bye).await?;
    all[1].nothing().await
}

/// L1, §7.2.8: two sessions of one account under one nickname: each with its own presence and history; they go
/// one by one.
#[tokio::test]
async fn two_sessions_share_a_nickname() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    say(&mut all[0], "hall", "m1", "before").await?;
    hears(&mut all[0], "m1").await?;
    let mut other = lab.online("bob", "other").await?;
    knock(&mut other, "hall", "bob", "").await?;
    let seen = entered(&mut other, "hall").await?;
    let own =
        seen.iter().find(|one| codes(one).contains(&"110".to_owned())).expect("its own presence");
    assert_eq!((own.attr("id"), nick(own)), (Some("in"), "bob"));
    assert!(seen.iter().any(|one| one.attr("id") == Some("m1")), "its own history");
    assert_eq!(real(&sees(&mut all[0], "hall", "bob").await?), Some("bob@localhost/other"));
    all[1].forget();
    say(&mut other, "hall", "m2", "from the other").await?;
    hears(&mut all[1], "m2").await?;
    hears(&mut other, "m2").await?;
    // The first one goes: the nickname stays, and is the other session's.
    drop(all.pop());
    let seen = sees(&mut all[0], "hall", "bob").await?;
    assert_eq!((seen.attr("type"), real(&seen)), (None, Some("bob@localhost/other")));
    drop(other);
    assert_eq!(sees(&mut all[0], "hall", "bob").await?.attr("type"), Some("unavailable"));
    Ok(())
}

/// §7.2.8, L3: nicknames that are somebody else's, in any spelling, or none at all.
#[tokio::test]
async fn a_nickname_is_one_persons() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &["modules.muc.nick_bytes_max=20"]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    for (nick, condition) in [
        ("ANN", "conflict"),
        ("ann%", ""),
        (&"x".repeat(21), "not-acceptable"),
        ("&#x2028;", "jid-malformed"),
    ] {
        knock(&mut bob, "hall", nick, "").await?;
        if condition.is_empty() {
            entered(&mut bob, "hall").await?;
            let leave = format!("<presence type='unavailable' to='{}/{nick}'/>", at("hall"));
            bob.send(&leave).await?;
            sees(&mut bob, "hall", nick).await?;
            continue;
        }
        let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
        assert_eq!(refused.condition(), Some(condition), "{nick}");
        let text = refused.find("error").and_then(|error| error.find("text"));
        assert!(text.is_some(), "for people: {refused}");
    }
    bob.send(&format!(
        "<presence to='{}'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
        at("hall")
    ))
    .await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("jid-malformed"));
    bob.fence().await?;
    all[0].fence().await
}

/// L4, §7.2.3: the room's form of a nickname is told, in the own presence, which comes last.
#[tokio::test]
async fn the_room_may_write_a_nickname_in_its_own_way() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut all = gathering(&lab, "den", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    let seen = enter(&mut bob, "den", "Bob  the   Builder").await?;
    let presence: Vec<_> = seen.iter().filter(|one| one.name == "presence").collect();
    let own = presence.last().expect("presence");
    assert_eq!(
        (nick(own), codes(own)),
        ("Bob the Builder", ["110", "170", "210"].map(str::to_owned).to_vec())
    );
    sees(&mut all[0], "den", "Bob the Builder").await.map(drop)
}

/// §7.6: unavailable with the new nickname and 303, then available; refused if it is somebody's.
#[tokio::test]
async fn a_nickname_changes() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    all[1].send(&format!("<presence to='{}/rob'/>", at("hall"))).await?;
    for (at, own) in [(0, false), (1, true)] {
        let old = sees(&mut all[at], "hall", "bob").await?;
        assert_eq!(old.attr("type"), Some("unavailable"));
        assert_eq!(codes(&old).contains(&"110".to_owned()), own);
        assert!(codes(&old).contains(&"303".to_owned()));
        let named = old.find("item").and_then(|item| item.attr("nick"));
        assert_eq!(named, Some("rob"));
        let new = sees(&mut all[at], "hall", "rob").await?;
        assert_eq!((new.attr("type"), codes(&new).contains(&"110".to_owned())), (None, own));
    }
    all[1].send(&format!("<presence id='n' to='{}/ann'/>", at("hall"))).await?;
    let refused = all[1].expect(|e| e.attr("id") == Some("n")).await?;
    assert_eq!(refused.condition(), Some("conflict"));
    say(&mut all[1], "hall", "m", "still here").await?;
    assert_eq!(nick(&hears(&mut all[0], "m").await?), "rob");
    Ok(())
}

/// §7.2.13 to §7.2.15: what was said, in order, then the subject; as much as was asked for.
#[tokio::test]
async fn who_enters_hears_what_was_said() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    for n in 0..5 {
        say(&mut all[0], "hall", &format!("m{n}"), "words").await?;
        hears(&mut all[0], &format!("m{n}")).await?;
    }
    let subject = format!(
        "<message type='groupchat' id='s' to='{}'><subject>Fish</subject></message>",
        at("hall")
    );
    all[0].send(&subject).await?;
    hears(&mut all[0], "s").await?;
    for (wanted, ids) in [
        ("", &["m0", "m1", "m2", "m3", "m4"][..]),
        ("<history maxstanzas='2'/>", &["m3", "m4"]),
        ("<history maxchars='0'/>", &[]),
        ("<history seconds='0'/>", &[]),
        ("<history since='1970-01-01T00:00:00Z'/>", &["m0", "m1", "m2", "m3", "m4"]),
    ] {
        let mut bob = lab.online("bob", "r").await?;
        knock(&mut bob, "hall", "bob", wanted).await?;
        let seen = entered(&mut bob, "hall").await?;
        let messages: Vec<_> = seen.iter().filter(|one| one.name == "message").collect();
        let (last, said) = messages.split_last().expect("a subject");
        assert_eq!((is_subject(last), last.text_of("subject")), (true, Some("Fish")));
        let delay = last.child("urn:xmpp:delay", "delay").expect("when it was set");
        assert_eq!(delay.attr("from"), Some(&*at("hall")));
        let told: Vec<_> = said.iter().filter_map(|one| one.attr("id")).collect();
        assert_eq!(told, ids, "{wanted}");
        assert!(said.iter().all(|one| one.child("urn:xmpp:delay", "delay").is_some()));
        bob.close().await?;
        sees(&mut all[0], "hall", "bob").await?;
        all[0].forget();
    }
    Ok(())
}

/// §7.5: to one occupant, under the sender's nickname; never as groupchat, and to nobody who is not there.
#[tokio::test]
async fn one_occupant_writes_to_another() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let to = |nick: &str, ty: &str, id: &str| {
        format!(
            "<message type='{ty}' id='{id}' to='{}/{nick}'><body>psst</body></message>",
            at("hall")
        )
    };
    all[0].send(&to("bob", "chat", "p")).await?;
    let heard = hears(&mut all[1], "p").await?;
    assert_eq!((nick(&heard), heard.attr("type")), ("ann", Some("chat")));
    assert!(heard.child("http://jabber.org/protocol/muc#user", "x").is_some());
    for (nick, ty, condition) in
        [("bob", "groupchat", "bad-request"), ("nobody", "chat", "item-not-found")]
    {
        all[0].send(&to(nick, ty, "q")).await?;
        assert_eq!(hears(&mut all[0], "q").await?.condition(), Some(condition));
    }
    let mut eve = lab.online("eve", "r").await?;
    eve.send(&to("bob", "chat", "e")).await?;
    assert_eq!(hears(&mut eve, "e").await?.condition(), Some("not-acceptable"));
    configure(&mut all[0], "hall", &[("allowpm", "moderators")]).await?;
    all[1].send(&to("ann", "chat", "r")).await?;
    assert_eq!(hears(&mut all[1], "r").await?.condition(), Some("forbidden"));
    Ok(())
}

/// XEP-0410: who is in the room hears so; who is not, does not.
#[tokio::test]
async fn an_occupant_finds_itself() -> Outcome<()> {
    let lab = Lab::new(&["ann", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let own = format!("{}/ann", at("hall"));
    assert_eq!(ask(&mut all[0], "get", &own, ping).await?.attr("type"), Some("result"));
    let mut eve = lab.online("eve", "r").await?;
    assert_eq!(ask(&mut eve, "get", &own, ping).await?.condition(), Some("not-acceptable"));
    // §3.2: item-not-found would say that it is in the room still.
    let gone = format!("{}/ann", at("gone"));
    assert_eq!(ask(&mut all[0], "get", &gone, ping).await?.condition(), Some("not-acceptable"));
    enter(&mut all[0], "new", "ann").await?;
    let locked = format!("{}/ann", at("new"));
    assert_eq!(ask(&mut eve, "get", &locked, ping).await?.condition(), Some("not-acceptable"));
    assert_eq!(ask(&mut all[0], "get", &locked, ping).await?.attr("type"), Some("result"));
    Ok(())
}

/// §7.2.18: presence of who thinks that it is in the room is answered so that it knows better.
#[tokio::test]
async fn who_has_lost_its_bearings_is_told() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    bob.send(&format!("<presence to='{}/bob'/>", at("hall"))).await?;
    let told = sees(&mut bob, "hall", "bob").await?;
    assert_eq!(told.attr("type"), Some("unavailable"));
    assert_eq!(codes(&told), ["110", "307", "333"]);
    Ok(())
}

/// promise.md 4: what was acknowledged survives a crash, with its place and its id; the room stays.
#[tokio::test]
async fn a_room_survives_a_crash() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    all[0].send("<enable xmlns='urn:xmpp:sm:3'/>").await?;
    all[0].expect(|e| e.name == "enabled").await?;
    for n in 0..20 {
        say(&mut all[0], "hall", &format!("m{n}"), "words").await?;
    }
    loop {
        all[0].send("<r xmlns='urn:xmpp:sm:3'/>").await?;
        let acked = all[0].expect(|e| e.name == "a").await?;
        if acked.attr("h") == Some("20") {
            break;
        }
    }
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    let seen = enter(&mut bob, "hall", "bob").await?;
    let ids: Vec<_> = seen
        .iter()
        .filter(|one| one.find("body").is_some())
        .filter_map(|one| one.attr("id"))
        .collect();
    assert_eq!(ids, (0..20).map(|n| format!("m{n}")).collect::<Vec<_>>());
    Ok(())
}

/// §7.14: a room that does not stay goes with the last one; one that stays is there for the next.
#[tokio::test]
async fn a_temporary_room_goes_with_the_last_one() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "tent", "ann", &[("persistentroom", "0")]).await?;
    found(&mut ann, "house", "ann", &[("persistentroom", "1")]).await?;
    ann.close().await?;
    let mut bob = lab.online("bob", "r").await?;
    let own = |seen: Vec<crate::harness::element::Element>| {
        seen.iter().any(|one| codes(one).contains(&"201".to_owned()))
    };
    assert!(!own(enter(&mut bob, "house", "bob").await?), "it is there still");
    // The end of her session reaches the room behind the end of her stream.
    for _ in 0..50 {
        if own(enter(&mut bob, "tent", "bob").await?) {
            return Ok(());
        }
        bob.send(&format!("<presence type='unavailable' to='{}/bob'/>", at("tent"))).await?;
        sees(&mut bob, "tent", "bob").await?;
    }
    bob.fail("the room is there still")
}

/// promise.md 11: a session that is resumed after a planned restart is in its room still, without entering anew, and
/// hears what was said meanwhile; who does not come back is seen to leave.
#[tokio::test]
async fn a_restart_is_not_noticed() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob", "cat"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let mut ids = Vec::new();
    for client in all.iter_mut().take(2) {
        client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
        let enabled = client.expect(|e| e.name == "enabled").await?;
        ids.push(enabled.attr("id").expect("an id").to_owned());
        client.handled = 0;
    }
    say(&mut all[0], "hall", "m1", "before").await?;
    for client in &mut all {
        hears(client, "m1").await?;
    }
    lab.process.signal("TERM");
    lab.process.exit();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut back = Vec::new();
    for (at, user) in ["ann", "bob"].iter().enumerate() {
        let mut client = lab.authenticated(user).await?;
        let h = all[at].handled;
        client
            .send(&format!("<resume xmlns='urn:xmpp:sm:3' h='{h}' previd='{}'/>", ids[at]))
            .await?;
        client.expect(|e| e.name == "resumed").await?;
        back.push(client);
    }
    // Cat's session could not be resumed: she has left.
    for client in &mut back {
        assert_eq!(sees(client, "hall", "cat").await?.attr("type"), Some("unavailable"));
    }
    say(&mut back[0], "hall", "m2", "after").await?;
    for client in &mut back {
        assert_eq!(nick(&hears(client, "m2").await?), "ann");
    }
    Ok(())
}

/// XEP-0500: one message in so many seconds, but for who runs the room and for what is no message to speak of.
#[tokio::test]
async fn a_slow_room_lets_everybody_speak_now_and_then() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let slow = [("slow_mode_duration", "3600")];
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &slow).await?;
    say(&mut all[1], "hall", "m1", "first").await?;
    hears(&mut all[0], "m1").await?;
    hears(&mut all[1], "m1").await?;
    say(&mut all[1], "hall", "m2", "second").await?;
    let refused = hears(&mut all[1], "m2").await?;
    assert_eq!(refused.condition(), Some("policy-violation"));
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    all[1]
        .send(&format!("<message type='groupchat' id='t' to='{}'>{typing}</message>", at("hall")))
        .await?;
    hears(&mut all[0], "t").await?;
    for id in ["a1", "a2"] {
        say(&mut all[0], "hall", id, "owners may").await?;
        hears(&mut all[0], id).await?;
    }
    // §8: "clients and servers MUST ignore invalid value".
    for value in ["", "-1", "never"] {
        let answer = configure(&mut all[0], "hall", &[("slow_mode_duration", value)]).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{value}: {answer}");
    }
    // §6: "Room administrators and owners"; other moderators are as slow as all.
    set_item(&mut all[0], "hall", "<item nick='bob' role='moderator'/>").await?;
    say(&mut all[1], "hall", "m3", "third").await?;
    let refused = hears(&mut all[1], "m3").await?;
    assert_eq!(refused.condition(), Some("policy-violation"), "{refused}");
    // Neither by another door nor under another name.
    for nick in ["bob", "rob"] {
        let leave = format!("<presence type='unavailable' to='{}/x'/>", at("hall"));
        all[1].send(&leave).await?;
        enter(&mut all[1], "hall", nick).await?;
        say(&mut all[1], "hall", nick, "again").await?;
        let refused = hears(&mut all[1], nick).await?;
        assert_eq!(refused.condition(), Some("policy-violation"), "{refused}");
    }
    Ok(())
}

/// promise.md 10: what a session left that was replaced is no error of the one that has its address now, and puts it
/// out of no room.
#[tokio::test]
async fn who_takes_over_a_resource_stays_in_the_room_that_it_enters() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    for round in 0..5 {
        let mut old = all.pop().expect("bob");
        old.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
        old.expect(|e| e.name == "enabled").await?;
        let id = format!("m{round}");
        say(&mut all[0], "hall", &id, "not acknowledged").await?;
        hears(&mut old, &id).await?;
        drop(old);
        let mut new = lab.authenticated("bob").await?;
        new.send(&format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>r</resource></bind></iq><presence/>\
             <presence to='{}/bob' id='in'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
            at("hall")
        ))
        .await?;
        entered(&mut new, "hall").await?;
        new.fence().await?;
        let own = format!("{}/bob", at("hall"));
        let ping = "<ping xmlns='urn:xmpp:ping'/>";
        assert_eq!(ask(&mut new, "get", &own, ping).await?.attr("type"), Some("result"));
        new.forget();
        all.push(new);
    }
    Ok(())
}

/// §7.2.8: all sessions of an occupant have a private message, and its archive has it once.
#[tokio::test]
async fn a_private_message_is_kept_once() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut other = lab.online("bob", "other").await?;
    enter(&mut other, "hall", "bob").await?;
    let said =
        format!("<message type='chat' id='p' to='{}/bob'><body>psst</body></message>", at("hall"));
    all[0].send(&said).await?;
    for client in [&mut all[1], &mut other] {
        let heard = hears(client, "p").await?;
        assert_eq!((nick(&heard), heard.text_of("body")), ("ann", Some("psst")));
        assert_eq!(heard.attr("to"), Some(&*client.jid));
    }
    other.forget();
    let answer = other.ask("<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>").await?;
    assert_eq!(answer.attr("type"), Some("result"));
    let kept = other.take().iter().filter(|e| e.find("forwarded").is_some()).count();
    assert_eq!(kept, 1);
    Ok(())
}
