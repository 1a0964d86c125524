//! XEP-0045 §7.2 and §10: who is let into a room, how it is configured, and what its occupants hear of it.

use std::collections::BTreeMap;

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD};
use crate::harness::rooms::{
    MUC, OWNER, USER, ask, at, codes, configure, enter, entered, found, gathering, item, knock,
    nick, real, sees, set_item,
};

/// What becomes of who wants to enter: the condition, or `in`.
async fn tries(client: &mut Client, nick: &str, x: &str) -> Outcome<String> {
    knock(client, "hall", nick, x).await?;
    let own = format!("{}/", at("hall"));
    let is_end = |e: &Element| {
        let is_its =
            e.name == "presence" && e.attr("from").is_some_and(|from| from.starts_with(&own));
        is_its && (e.attr("type") == Some("error") || codes(e).contains(&"110".to_owned()))
    };
    let end = client.expect(is_end).await?;
    let Some(condition) = end.condition() else {
        client.send(&format!("<presence type='unavailable' to='{}/{nick}'/>", at("hall"))).await?;
        client
            .expect(|e| {
                e.attr("type") == Some("unavailable") && codes(e).contains(&"110".to_owned())
            })
            .await?;
        client.fence().await?;
        client.forget();
        return Ok("in".to_owned());
    };
    assert_eq!(end.attr("id"), Some("in"));
    Ok(condition.to_owned())
}

/// §7.2.5 to §7.2.10, each for itself and in the order in which they tell.
#[tokio::test]
async fn a_room_refuses_with_the_reason() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let (mut bob, mut cat) = (lab.online("bob", "r").await?, lab.online("cat", "r").await?);
    // §7.2.5
    let protected = [("passwordprotectedroom", "1"), ("roomsecret", "pw")];
    configure(&mut all[0], "hall", &protected).await?;
    for (x, expected) in [
        ("", "not-authorized"),
        ("<password/>", "not-authorized"),
        ("<password>PW</password>", "not-authorized"),
        ("<password>pw</password>", "in"),
    ] {
        assert_eq!(tries(&mut bob, "bob", x).await?, expected, "{x}");
    }
    // §7.2.6; a member needs the password still.
    configure(&mut all[0], "hall", &[("membersonly", "1")]).await?;
    assert_eq!(tries(&mut bob, "bob", "<password>pw</password>").await?, "registration-required");
    set_item(&mut all[0], "hall", "<item affiliation='member' jid='bob@localhost' nick='Bobby'/>")
        .await?;
    assert_eq!(tries(&mut bob, "bob", "").await?, "not-authorized");
    assert_eq!(tries(&mut bob, "bob", "<password>pw</password>").await?, "in");
    configure(&mut all[0], "hall", &[("membersonly", "0"), ("passwordprotectedroom", "0")]).await?;
    assert_eq!(tries(&mut cat, "cat", "").await?, "in");
    // §7.2.8: in use, and kept for a member.
    for nick in ["ann", "ANN", "bobby"] {
        assert_eq!(tries(&mut cat, nick, "").await?, "conflict", "{nick}");
    }
    assert_eq!(tries(&mut bob, "BOBBY", "").await?, "in", "its own");
    // §7.2.7
    set_item(&mut all[0], "hall", "<item affiliation='outcast' jid='cat@localhost'/>").await?;
    assert_eq!(tries(&mut cat, "cat", "").await?, "forbidden");
    Ok(())
}

/// §7.2.9: a room that is full, and seats for admins above it.
#[tokio::test]
async fn admins_enter_a_full_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "dan"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[("maxusers", "2")]).await?;
    let mut cat = lab.online("cat", "r").await?;
    knock(&mut cat, "hall", "cat", "").await?;
    let refused = cat.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("service-unavailable"));
    let error = refused.find("error").expect("an error");
    assert_eq!(error.attr("type"), Some("wait"));
    // Another session of who is there takes no seat.
    let mut other = lab.online("bob", "other").await?;
    enter(&mut other, "hall", "bob").await?;
    set_item(&mut all[0], "hall", "<item affiliation='admin' jid='cat@localhost'/>").await?;
    enter(&mut cat, "hall", "cat").await?;
    let mut dan = lab.online("dan", "r").await?;
    assert_eq!(tries(&mut dan, "dan", "").await?, "service-unavailable");
    Ok(())
}

/// §7.2.10; and who cancels the first form has made no room (§10.1.2).
#[tokio::test]
async fn a_locked_room_is_none_for_others() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let (mut ann, mut bob) = (lab.online("ann", "r").await?, lab.online("bob", "r").await?);
    enter(&mut ann, "hall", "ann").await?;
    assert_eq!(tries(&mut bob, "bob", "").await?, "item-not-found");
    let cancel = format!("<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='cancel'/></query>");
    assert_eq!(ask(&mut bob, "set", "hall", &cancel).await?.condition(), Some("forbidden"));
    assert_eq!(ask(&mut ann, "set", "hall", &cancel).await?.attr("type"), Some("result"));
    let seen = sees(&mut ann, "hall", "ann").await?;
    assert!(seen.find("destroy").is_some(), "{seen}");
    let seen = enter(&mut bob, "hall", "bob").await?;
    assert!(codes(&seen[0]).contains(&"201".to_owned()), "it is there for anybody to make");
    Ok(())
}

/// `var` and values of each field of a form.
fn fields(form: &Element) -> BTreeMap<String, Vec<String>> {
    let x = form.find("x").expect("a form");
    let named = x.children.iter().filter_map(|field| Some((field.attr("var")?, field)));
    let values = |field: &Element| {
        let values = field.children.iter().filter(|child| child.name == "value");
        values.map(|value| value.text.clone()).filter(|value| !value.is_empty()).collect()
    };
    named.map(|(var, field)| (var.to_owned(), values(field))).collect()
}

async fn form(client: &mut Client, room: &str) -> Outcome<BTreeMap<String, Vec<String>>> {
    let answer = ask(client, "get", room, &format!("<query xmlns='{OWNER}'/>")).await?;
    Ok(fields(&answer))
}

/// §10.1.3, §10.2: what is sent comes back, over a crash too; what is missing stays; what is wrong changes nothing.
#[tokio::test]
async fn a_configuration_comes_back_as_it_was_sent() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[]).await?;
    let before = form(&mut ann, "hall").await?;
    let wanted = [
        ("muc#roomconfig_roomname", "Great Hall"),
        ("muc#roomconfig_roomdesc", "of &lt;kings&gt;"),
        ("muc#roomconfig_lang", "en"),
        ("muc#roomconfig_persistentroom", "1"),
        ("muc#roomconfig_publicroom", "0"),
        ("muc#roomconfig_membersonly", "1"),
        ("muc#roomconfig_moderatedroom", "1"),
        ("muc#roomconfig_passwordprotectedroom", "1"),
        ("muc#roomconfig_roomsecret", "pw"),
        ("muc#roomconfig_whois", "anyone"),
        ("muc#roomconfig_allowinvites", "0"),
        ("muc#roomconfig_changesubject", "1"),
        ("muc#roomconfig_allowpm", "participants"),
        ("muc#roomconfig_getmemberlist", "moderator,participant"),
        ("muc#roomconfig_presencebroadcast", "moderator,participant"),
        ("muc#roomconfig_maxusers", "30"),
        ("muc#roomconfig_enablelogging", "0"),
        ("muc#maxhistoryfetch", "7"),
        ("muc#roomconfig_allow_voice_requests", "0"),
        ("muc#roomconfig_slow_mode_duration", "3"),
        ("muc#roominfo_contactjid", "help@localhost"),
        ("muc#roomconfig_roomadmins", "bob@localhost"),
        ("muc#roomconfig_roomowners", "ann@localhost"),
    ];
    assert_eq!(configure(&mut ann, "hall", &wanted).await?.attr("type"), Some("result"));
    let now = form(&mut ann, "hall").await?;
    for (var, value) in wanted {
        let mut sent: Vec<String> = value.split(',').map(str::to_owned).collect();
        let mut got = now[var].clone();
        sent.sort();
        got.sort();
        let sent: Vec<_> =
            sent.iter().map(|it| it.replace("&lt;", "<").replace("&gt;", ">")).collect();
        assert_eq!(got, sent, "{var}");
    }
    let same: Vec<_> = before.keys().filter(|var| before[*var] == now[*var]).collect();
    let expected = ["FORM_TYPE", "muc#roomconfig_persistentroom", "muc#roomconfig_roomowners"];
    assert_eq!(same, expected, "every field was changed but these");
    for (var, value, condition) in [
        ("membersonly", "maybe", "bad-request"),
        ("whois", "nobody", "bad-request"),
        ("maxusers", "many", "bad-request"),
        ("roomadmins", "@", "jid-malformed"),
        ("roomowners", "", "conflict"),
        ("roomname", &"x".repeat(1_025), "not-acceptable"),
        ("roomsecret", "", "not-acceptable"),
    ] {
        let answer = configure(&mut ann, "hall", &[("changesubject", "0"), (var, value)]).await?;
        assert_eq!(answer.condition(), Some(condition), "{var}");
    }
    assert_eq!(form(&mut ann, "hall").await?, now);
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut ann = lab.online("ann", "r").await?;
    assert_eq!(form(&mut ann, "hall").await?, now);
    let mut bob = lab.online("bob", "r").await?;
    let get = format!("<query xmlns='{OWNER}'/>");
    assert_eq!(
        ask(&mut bob, "get", "hall", &get).await?.condition(),
        Some("forbidden"),
        "an admin"
    );
    assert_eq!(configure(&mut bob, "hall", &[]).await?.condition(), Some("forbidden"));
    Ok(())
}

/// The presets: offered in the first form and taken by name; an instant room gets that of the configuration.
#[tokio::test]
async fn a_preset_is_a_whole_configuration() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &["modules.muc.preset=private"]);
    let mut ann = lab.online("ann", "r").await?;
    let preset = "{https://stonechat.im/muc}preset";
    // (§7.2.12: 170) members only, who sees addresses, stays, is kept, can be found.
    for (name, expected) in [
        ("private", "1 anyone 1 1 0"),
        ("public", "0 moderators 1 1 1"),
        ("temporary", "0 moderators 0 0 1"),
        ("", "1 anyone 1 1 0"),
    ] {
        let room = format!("room-{name}");
        enter(&mut ann, &room, "ann").await?;
        let first = form(&mut ann, &room).await?;
        assert!(first.contains_key(preset));
        let form_of = |fields: &str| {
            let ty = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>";
            format!(
                "<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>{ty}{fields}</x></query>"
            )
        };
        let field = match name {
            "" => String::new(),
            name => format!("<field var='{preset}'><value>{name}</value></field>"),
        };
        let other = format!("<field var='{preset}'><value>palace</value></field>");
        let refused = ask(&mut ann, "set", &room, &form_of(&other)).await?;
        assert_eq!(refused.condition(), Some("bad-request"));
        assert_eq!(
            ask(&mut ann, "set", &room, &form_of(&field)).await?.attr("type"),
            Some("result")
        );
        let now = form(&mut ann, &room).await?;
        assert!(!now.contains_key(preset), "it is for the beginning");
        let vars = ["membersonly", "whois", "persistentroom", "enablelogging", "publicroom"];
        let values = vars.map(|var| now[&format!("muc#roomconfig_{var}")].join(","));
        assert_eq!(values.join(" "), expected, "{name}");
    }
    Ok(())
}

/// §10.1.2: what nobody configures is a private group, into which others are invited (§9.3: that makes them members).
#[tokio::test]
async fn an_instant_room_is_for_its_members() -> Outcome<()> {
    let users = ["ann", "bob"].map(|user| format!("{user}@localhost:{PASSWORD}"));
    let mut args: Vec<&str> = users.iter().flat_map(|user| ["--user", user]).collect();
    args.extend(["--set", "sasl.iterations=4096"]);
    let lab = Lab::start(&args);
    let mut ann = lab.online("ann", "r").await?;
    enter(&mut ann, "hall", "ann").await?;
    let instant =
        format!("<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'/></query>");
    assert_eq!(ask(&mut ann, "set", "hall", &instant).await?.attr("type"), Some("result"));
    let now = form(&mut ann, "hall").await?;
    let vars = ["membersonly", "whois", "persistentroom", "enablelogging", "publicroom"];
    let values = vars.map(|var| now[&format!("muc#roomconfig_{var}")].join(","));
    assert_eq!(values.join(" "), "1 anyone 1 1 0");
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "bob", "").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("registration-required"));
    let invite = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='bob@localhost'/></x>";
    ann.send(&format!("<message to='{}'>{invite}</message>", at("hall"))).await?;
    bob.expect(|e| e.name == "message" && e.find("invite").is_some()).await?;
    enter(&mut bob, "hall", "bob").await.map(drop)
}

/// §10.2.1: what concerns privacy has a code of its own, everything else 104.
#[tokio::test]
async fn occupants_hear_of_changes() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    for (fields, expected) in [
        (&[("enablelogging", "0")][..], &["171"][..]),
        (&[("enablelogging", "1")], &["170"]),
        (&[("whois", "anyone")], &["172"]),
        (&[("whois", "moderators")], &["173"]),
        (&[("roomname", "Hall")], &["104"]),
        (&[("whois", "anyone"), ("enablelogging", "0"), ("roomdesc", "x")], &["104", "171", "172"]),
    ] {
        configure(&mut all[0], "hall", fields).await?;
        for client in &mut all {
            let told = client.expect(|e| e.name == "message" && !codes(e).is_empty()).await?;
            assert_eq!(
                (told.attr("type"), told.attr("from")),
                (Some("groupchat"), Some(&*at("hall")))
            );
            let mut codes = codes(&told);
            codes.sort();
            assert_eq!(codes, expected, "{fields:?}");
        }
    }
    // What changes nothing is not told.
    all[0].fence().await?;
    all[0].forget();
    all[1].fence().await?;
    all[1].forget();
    configure(&mut all[0], "hall", &[("roomdesc", "x")]).await?;
    all[0].nothing().await?;
    all[1].nothing().await?;
    // §7.2.3, §7.2.12: who enters is warned.
    configure(&mut all[0], "hall", &[("enablelogging", "1")]).await?;
    let mut other = lab.online("bob", "other").await?;
    knock(&mut other, "hall", "bob", "").await?;
    let seen = entered(&mut other, "hall").await?;
    let own = seen.iter().find(|one| codes(one).contains(&"110".to_owned())).expect("its own");
    assert_eq!(codes(own), ["100", "110", "170"]);
    assert!(seen.iter().any(|one| nick(one) == "ann" && real(one) == Some("ann@localhost/r")));
    Ok(())
}

/// §10.2: who is no member leaves with 322; an owner who becomes an admin by the form is one.
#[tokio::test]
async fn a_room_becomes_one_for_members() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let owners = [("roomowners", "ann@localhost,bob@localhost")];
    configure(&mut all[0], "hall", &owners).await?;
    assert_eq!(item(&sees(&mut all[2], "hall", "bob").await?).as_deref(), Some("owner moderator"));
    let admin = [("roomowners", "ann@localhost"), ("roomadmins", "bob@localhost")];
    configure(&mut all[0], "hall", &admin).await?;
    assert_eq!(item(&sees(&mut all[2], "hall", "bob").await?).as_deref(), Some("admin moderator"));
    configure(&mut all[0], "hall", &[("membersonly", "1")]).await?;
    for client in &mut all {
        let seen = client.expect(|e| e.attr("type") == Some("unavailable")).await?;
        assert_eq!(nick(&seen), "cat");
        assert!(codes(&seen).contains(&"322".to_owned()));
    }
    assert_eq!(tries(&mut all[2], "cat", "").await?, "registration-required");
    Ok(())
}

/// §10.2: who becomes an admin in the same form may stay.
#[tokio::test]
async fn a_new_admin_stays_in_a_room_that_becomes_one_for_members() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let both = [("membersonly", "1"), ("roomadmins", "bob@localhost")];
    configure(&mut all[0], "hall", &both).await?;
    let seen = sees(&mut all[1], "hall", "bob").await?;
    assert_eq!((seen.attr("type"), item(&seen).as_deref()), (None, Some("admin moderator")));
    all[1].fence().await?;
    let left = all[1].take().into_iter().find(|one| one.attr("type") == Some("unavailable"));
    assert_eq!(left, None);
    Ok(())
}

/// §10.9: each hears of its own end, where to go, and why; then there is no such room.
#[tokio::test]
async fn a_room_is_destroyed() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let destroy = |jid: &str| {
        let more = "<reason>Macbeth doth come.</reason><password>pw</password>";
        format!("<query xmlns='{OWNER}'><destroy jid='{jid}'>{more}</destroy></query>")
    };
    let venue = at("coven");
    let wanted = destroy(&venue);
    assert_eq!(ask(&mut all[1], "set", "hall", &wanted).await?.condition(), Some("forbidden"));
    let bad = destroy("a@b@c");
    assert_eq!(ask(&mut all[0], "set", "hall", &bad).await?.condition(), Some("jid-malformed"));
    let long = wanted.replace("Macbeth", &"x".repeat(1_025));
    assert_eq!(ask(&mut all[0], "set", "hall", &long).await?.condition(), Some("not-acceptable"));
    assert_eq!(ask(&mut all[0], "set", "hall", &wanted).await?.attr("type"), Some("result"));
    for (client, own) in all.iter_mut().zip(["ann", "bob"]) {
        let seen = client.expect(|e| e.attr("type") == Some("unavailable")).await?;
        assert_eq!((nick(&seen), item(&seen).as_deref()), (own, Some("none none")));
        let destroyed = seen.child(USER, "x").and_then(|x| x.child(USER, "destroy"));
        let destroyed = destroyed.expect("the reason");
        assert_eq!(destroyed.attr("jid"), Some(&*venue));
        assert_eq!(destroyed.text_of("reason"), Some("Macbeth doth come."));
        assert_eq!(destroyed.text_of("password"), Some("pw"));
        client.nothing().await?;
    }
    let gone = ask(&mut all[0], "set", "hall", &wanted).await?;
    assert_eq!(gone.condition(), Some("item-not-found"));
    let seen = enter(&mut all[1], "hall", "bob").await?;
    assert!(codes(&seen[0]).contains(&"201".to_owned()), "made anew");
    Ok(())
}

/// Clients wait for an error of this form: it has the `<x/>` that they sent (§7.2.5 and on).
#[tokio::test]
async fn a_refusal_has_the_extension_in_it() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let _all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "ann", "<password>pw</password>").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("conflict"));
    let x = refused.child(MUC, "x").expect("the extension");
    assert!(x.children.is_empty(), "no password in it");
    Ok(())
}
