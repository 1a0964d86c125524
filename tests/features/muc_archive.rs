//! XEP-0313 of rooms: what is kept, and who may read it; and that nobody speaks for the room (security.md).

use crate::archive::form;
use crate::harness::client::{Client, Outcome, Security, Target};
use crate::harness::element::Element;
use crate::harness::process::{Lab, OPEN_ROOMS, PASSWORD};
use crate::harness::rooms::{
    USER, ask, at, configure, enter, found, gathering, hears, say, set_item,
};

const NS: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";

/// The answer to a query, and the messages before it.
pub async fn queried(
    client: &mut Client,
    room: &str,
    content: &str,
) -> Outcome<(Vec<Element>, Element)> {
    let answer =
        ask(client, "set", room, &format!("<query xmlns='{NS}'>{content}</query>")).await?;
    let mut results = Vec::new();
    let mut rest = Vec::new();
    for one in client.take() {
        match one.child(NS, "result") {
            Some(result) => {
                assert_eq!(one.attr("from"), Some(&*at(room)), "{one}");
                results.push(result.clone());
            }
            None => rest.push(one),
        }
    }
    Ok((results, answer))
}

/// The messages of a room's archive with their ids.
pub async fn archived(client: &mut Client, room: &str) -> Outcome<Vec<(String, Element)>> {
    let (results, answer) = queried(client, room, "").await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(results.iter().map(unwrapped).collect())
}

fn unwrapped(result: &Element) -> (String, Element) {
    let id = result.attr("id").unwrap_or_default().to_owned();
    (id, result.find("message").expect("a message").clone())
}

fn ids(results: &[Element]) -> Vec<String> {
    results.iter().map(|one| unwrapped(one).1.attr("id").unwrap_or("-").to_owned()).collect()
}

/// A groupchat message with these payloads.
pub async fn tell(client: &mut Client, room: &str, id: &str, payloads: &str) -> Outcome<()> {
    let to = at(room);
    client
        .send(&format!("<message type='groupchat' id='{id}' to='{to}'>{payloads}</message>"))
        .await
}

/// §6.1.2: each message once, under its occupant's address and without 'to', with the id that was sent with it;
/// subject changes too, and no private messages.
#[tokio::test]
async fn what_is_said_is_in_the_archive() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    say(&mut all[1], "hall", "m1", "one").await?;
    let id = hears(&mut all[0], "m1").await?;
    let id =
        id.child("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attr("id")).map(str::to_owned);
    tell(&mut all[0], "hall", "s1", "<subject>Fish</subject>").await?;
    hears(&mut all[0], "s1").await?;
    all[1]
        .send(&format!(
            "<message type='chat' id='p1' to='{}/ann'><body>psst</body></message>",
            at("hall")
        ))
        .await?;
    hears(&mut all[0], "p1").await?;
    let found = archived(&mut all[1], "hall").await?;
    let told: Vec<_> = found.iter().filter_map(|(_, one)| one.attr("id")).collect();
    assert_eq!(told, ["m1", "s1"]);
    let (place, first) = &found[0];
    assert_eq!(Some(place), id.as_ref());
    assert_eq!(
        (first.attr("from"), first.attr("to")),
        (Some(&*format!("{}/bob", at("hall"))), None)
    );
    assert_eq!((first.attr("type"), first.text_of("body")), (Some("groupchat"), Some("one")));
    assert!(first.child("urn:xmpp:occupant-id:0", "occupant-id").is_some());
    // §5, §4.1.5
    let answer = ask(&mut all[1], "get", "hall", &format!("<metadata xmlns='{NS}'/>")).await?;
    let start = answer.find("start").and_then(|start| start.attr("id"));
    assert_eq!(start, id.as_deref(), "{answer}");
    let answer = ask(&mut all[1], "get", "hall", &format!("<query xmlns='{NS}'/>")).await?;
    assert!(answer.find("field").is_some(), "{answer}");
    // XEP-0441 is of accounts.
    for ty in ["get", "set"] {
        let prefs = format!("<prefs xmlns='{NS}' default='always'/>");
        let answer = ask(&mut all[0], ty, "hall", &prefs).await?;
        assert_eq!(answer.condition(), Some("service-unavailable"));
    }
    // What was read there is not said again in the reader's own archive.
    let own = all[1].ask(&crate::archive::query("own", "")).await?;
    let kept: Vec<_> =
        all[1].take().iter().filter_map(|one| Some(one.child(NS, "result")?.to_string())).collect();
    assert_eq!(own.attr("type"), Some("result"));
    assert!(kept.iter().all(|one| one.matches("urn:xmpp:mam:2").count() == 1), "{kept:?}");
    Ok(())
}

/// L6, §4: an empty page is complete; pages, times and nicknames select; a hint stores what has no body, and one
/// leaves out what has one (XEP-0334 §4).
#[tokio::test]
async fn a_page_is_what_was_asked_for() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let (results, answer) = queried(&mut all[1], "hall", "").await?;
    let fin = answer.find("fin").expect("an end");
    assert_eq!((results.len(), fin.attr("complete")), (0, Some("true")), "{answer}");
    for (who, id, payloads) in [
        (0, "m0", "<body>a</body>"),
        (1, "m1", "<body>b</body>"),
        (1, "state", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        (
            1,
            "hint",
            "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>",
        ),
        (1, "lost", "<body>c</body><no-store xmlns='urn:xmpp:hints'/>"),
        (0, "m2", "<body>d</body>"),
    ] {
        tell(&mut all[who], "hall", id, payloads).await?;
        hears(&mut all[1], id).await?;
    }
    let (results, _) = queried(&mut all[1], "hall", "").await?;
    assert_eq!(ids(&results), ["m0", "m1", "hint", "m2"]);
    let first = unwrapped(&results[0]).0;
    let field = |var: &str, value: &str| {
        form(&format!("<field var='{var}'><value>{value}</value></field>"))
    };
    let nick = format!("{}/bob", at("hall"));
    for (content, expected, complete) in [
        (format!("<set xmlns='{RSM}'><max>2</max></set>"), &["m0", "m1"][..], "false"),
        (format!("<set xmlns='{RSM}'><max>2</max><before/></set>"), &["hint", "m2"], "false"),
        (format!("<set xmlns='{RSM}'><after>{first}</after></set>"), &["m1", "hint", "m2"], "true"),
        (field("with", &nick), &["m1", "hint"], "true"),
        (field("with", &at("hall")), &["m0", "m1", "hint", "m2"], "true"),
        (field("with", &format!("{}/cat", at("hall"))), &[], "true"),
        (field("start", "2999-01-01T00:00:00Z"), &[], "true"),
        (field("ids", &first), &["m0"], "true"),
    ] {
        let (results, answer) = queried(&mut all[1], "hall", &content).await?;
        assert_eq!(ids(&results), expected, "{content}");
        assert_eq!(answer.find("fin").and_then(|fin| fin.attr("complete")), Some(complete));
    }
    for (content, condition) in [
        // §4.1.1: not to be used to find out who somebody is.
        (field("with", "ann@localhost"), "feature-not-implemented"),
        (field("with", "@"), "not-acceptable"),
        (field("colour", "red"), "feature-not-implemented"),
        (field("ids", "x"), "item-not-found"),
        (format!("<set xmlns='{RSM}'><after>x</after></set>"), "item-not-found"),
    ] {
        let (results, answer) = queried(&mut all[1], "hall", &content).await?;
        assert_eq!((results.len(), answer.condition()), (0, Some(condition)), "{content}");
    }
    Ok(())
}

/// §4.3: as many as a page has, and no more; and the words of messages (XEP-0431), until they are taken back.
#[tokio::test]
async fn a_long_archive_is_read_and_searched() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let ann = &mut all[0];
    for n in 0..260 {
        let body = if n == 7 { "herring in the harbour" } else { "water" };
        say(ann, "hall", &format!("m{n}"), body).await?;
        hears(ann, &format!("m{n}")).await?;
    }
    let all_of_it = format!("<set xmlns='{RSM}'><max>1000</max></set>");
    let (results, answer) = queried(ann, "hall", &all_of_it).await?;
    let expected: Vec<_> = (0..250).map(|n| format!("m{n}")).collect();
    assert_eq!(ids(&results), expected);
    assert_eq!(answer.find("fin").and_then(|fin| fin.attr("complete")), Some("false"));
    let words =
        form("<field var='{urn:xmpp:fulltext:0}fulltext'><value>harbour herring</value></field>");
    let (results, answer) = queried(ann, "hall", &words).await?;
    assert_eq!(ids(&results), ["m7"], "{answer}");
    let retract =
        format!("<retract xmlns='urn:xmpp:message-retract:1' id='{}'/>", unwrapped(&results[0]).0);
    tell(ann, "hall", "gone", &retract).await?;
    hears(ann, "gone").await?;
    assert!(queried(ann, "hall", &words).await?.0.is_empty());
    Ok(())
}

/// L6: an account of any hosted domain reads the archive, and is in the room.
#[tokio::test]
async fn people_of_all_hosted_domains_read_it() -> Outcome<()> {
    let users = ["ann@localhost", "bob@other.example"].map(|user| format!("{user}:{PASSWORD}"));
    let [ann, bob] = [&*users[0], &*users[1]];
    let set = ["--set", "sasl.iterations=4096", "--set", OPEN_ROOMS];
    let lab = Lab::start(&[&["--user", ann, "--user", bob], &set[..]].concat());
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    say(&mut all[0], "hall", "m1", "one").await?;
    hears(&mut all[0], "m1").await?;
    let there = Target { domain: "other.example".to_owned(), ..lab.target.clone() };
    let mut bob = Client::login(&there, Security::StartTls, "bob", PASSWORD).await?;
    assert!(bob.jid.starts_with("bob@other.example/"));
    assert_eq!(archived(&mut bob, "hall").await?.len(), 1);
    enter(&mut bob, "hall", "bob").await?;
    bob.forget();
    assert_eq!(archived(&mut bob, "hall").await?.len(), 1);
    Ok(())
}

/// §6.1.2: whoever may enter may read, whether there or not; whoever may not, may not.
#[tokio::test]
async fn the_archive_is_for_those_who_may_enter() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve", "mia"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut ann = all.remove(0);
    say(&mut ann, "hall", "m1", "one").await?;
    hears(&mut ann, "m1").await?;
    let (mut eve, mut mia) = (lab.online("eve", "r").await?, lab.online("mia", "r").await?);
    let answer =
        set_item(&mut ann, "hall", "<item affiliation='member' jid='mia@localhost'/>").await?;
    let are_lists = answer.attr("type") == Some("result");
    let condition = |answer: &(Vec<Element>, Element)| {
        (answer.0.len(), answer.1.condition().unwrap_or("").to_owned())
    };
    let refused = (0, "forbidden".to_owned());
    let read = (1, String::new());
    assert_eq!(condition(&queried(&mut eve, "hall", "").await?), read, "an open room");
    for fields in [
        &[("membersonly", "1")][..],
        &[("membersonly", "0"), ("passwordprotectedroom", "1"), ("roomsecret", "x")],
    ] {
        configure(&mut ann, "hall", fields).await?;
        ann.forget();
        assert_eq!(condition(&queried(&mut eve, "hall", "").await?), refused, "{fields:?}");
        for payload in ["query", "metadata"] {
            let answer =
                ask(&mut eve, "get", "hall", &format!("<{payload} xmlns='{NS}'/>")).await?;
            assert_eq!(answer.condition(), Some("forbidden"));
        }
        assert_eq!(condition(&queried(&mut ann, "hall", "").await?), read);
        if are_lists {
            assert_eq!(condition(&queried(&mut mia, "hall", "").await?), read, "a member, absent");
        }
    }
    configure(&mut ann, "hall", &[("passwordprotectedroom", "0")]).await?;
    if are_lists {
        set_item(&mut ann, "hall", "<item affiliation='outcast' jid='eve@localhost'/>").await?;
        assert_eq!(condition(&queried(&mut eve, "hall", "").await?), refused, "an outcast");
    }
    assert_eq!(queried(&mut mia, "nowhere", "").await?.1.condition(), Some("item-not-found"));
    enter(&mut mia, "new", "mia").await?;
    assert_eq!(queried(&mut ann, "new", "").await?.1.condition(), Some("item-not-found"));
    configure(&mut ann, "hall", &[("enablelogging", "0")]).await?;
    let answer = queried(&mut mia, "hall", "").await?.1;
    assert_eq!(answer.condition(), Some("service-unavailable"), "nothing is kept");
    Ok(())
}

/// §6.1.2: real addresses for moderators, and for all of what was said while all could see them.
#[tokio::test]
async fn the_archive_does_not_say_who_somebody_is() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut eve = lab.online("eve", "r").await?;
    let forged = format!(
        "<x xmlns='{USER}'><item jid='x@y'/></x>\
        <speaker xmlns='urn:x-stonechat:speaker:0' jid='x@y' known='1'/>"
    );
    tell(&mut all[1], "hall", "m1", &format!("<body>1</body>{forged}")).await?;
    let heard = hears(&mut all[0], "m1").await?;
    assert!(heard.find("item").is_none() && heard.find("speaker").is_none(), "{heard}");
    configure(&mut all[0], "hall", &[("whois", "anyone")]).await?;
    tell(&mut all[1], "hall", "m2", "<body>2</body>").await?;
    hears(&mut all[0], "m2").await?;
    let real = |found: &[(String, Element)]| -> Vec<Option<String>> {
        assert!(found.iter().all(|(_, one)| one.find("speaker").is_none()));
        let jid = |one: &Element| Some(one.child(USER, "x")?.find("item")?.attr("jid")?.to_owned());
        let only = |one: &Element| one.children.iter().filter(|x| x.is(USER, "x")).count() <= 1;
        assert!(found.iter().all(|(_, one)| only(one)));
        found.iter().map(|(_, one)| jid(one)).collect()
    };
    let bob = Some("bob@localhost/r".to_owned());
    all.iter_mut().for_each(Client::forget);
    assert_eq!(real(&archived(&mut all[0], "hall").await?), [bob.clone(), bob.clone()]);
    assert_eq!(real(&archived(&mut all[1], "hall").await?), [None, bob.clone()]);
    assert_eq!(real(&archived(&mut eve, "hall").await?), [None, bob.clone()]);
    configure(&mut all[0], "hall", &[("whois", "moderators")]).await?;
    all.iter_mut().for_each(Client::forget);
    assert_eq!(real(&archived(&mut eve, "hall").await?), [None, None]);
    assert_eq!(real(&archived(&mut all[0], "hall").await?), [bob.clone(), bob]);
    Ok(())
}

/// promise.md 4: the archive and the history that newcomers get are the same after a crash, and say no more than
/// before it.
#[tokio::test]
async fn the_archive_survives_a_crash() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    tell(&mut all[0], "hall", "s", "<subject>Fish</subject>").await?;
    tell(&mut all[0], "hall", "m1", "<body>1</body>").await?;
    hears(&mut all[0], "m1").await?;
    let before = archived(&mut all[0], "hall").await?;
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    let seen = enter(&mut bob, "hall", "bob").await?;
    let told: Vec<_> = seen.iter().filter(|one| one.name == "message").collect();
    let ids: Vec<_> = told.iter().map(|one| one.attr("id")).collect();
    assert_eq!(ids, [Some("m1"), Some("s")], "the subject once, and last");
    assert!(told.iter().all(|one| one.find("speaker").is_none()));
    bob.forget();
    let after = archived(&mut bob, "hall").await?;
    assert_eq!(
        after.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        before.iter().map(|(id, _)| id).collect::<Vec<_>>()
    );
    Ok(())
}

/// What clients say of messages reaches all and is kept: corrections (XEP-0308), reactions (XEP-0444), explicit
/// mentions (XEP-0513).
#[tokio::test]
async fn what_clients_say_of_messages_passes_and_is_kept() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let payloads = [
        ("c", "replace", "<body>b</body><replace xmlns='urn:xmpp:message-correct:0' id='m'/>"),
        (
            "r",
            "reactions",
            "<reactions xmlns='urn:xmpp:reactions:0' id='m'><reaction>!</reaction></reactions>",
        ),
        (
            "m",
            "mention",
            "<body>Hi ann</body><mention xmlns='urn:xmpp:mentions:0' begin='3' end='6' occupantid='o'/>",
        ),
    ];
    for (id, name, text) in payloads {
        tell(&mut all[1], "hall", id, text).await?;
        assert!(hears(&mut all[0], id).await?.find(name).is_some(), "{name}");
    }
    let found = archived(&mut all[0], "hall").await?;
    for ((_, one), (id, name, _)) in found.iter().zip(payloads) {
        assert!(one.attr("id") == Some(id) && one.find(name).is_some(), "{one}");
    }
    assert_eq!(found.len(), payloads.len());
    Ok(())
}

/// security.md, rule 14: what only the room says is not said by others: neither live, nor in the archive, nor to
/// newcomers.
#[tokio::test]
async fn nobody_speaks_for_the_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let room = at("hall");
    let forged = [
        format!("<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='{room}'/>"),
        format!("<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='{}'/>", room.to_uppercase()),
        format!("<s:stanza-id xmlns:s='urn:xmpp:sid:0' id='forged' by='{room}/bob'/>"),
        "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>".repeat(2),
        "<o:occupant-id xmlns:o='urn:xmpp:occupant-id:0' id='forged'/>".to_owned(),
        format!("<x xmlns='{USER}'><status code='307'/><item role='none' nick='forged'/></x>"),
        format!("<x xmlns='{USER}'><invite from='forged@x'/></x>"),
        "<x xmlns='http://jabber.org/protocol/muc'><password>forged</password></x>".to_owned(),
        "<hats xmlns='urn:xmpp:hats:0'><hat title='forged' uri='u:forged'/></hats>".to_owned(),
        format!(
            "<delay xmlns='urn:xmpp:delay' from='{room}' stamp='1970-01-01T00:00:00Z'>forged</delay>"
        ),
        "<retracted xmlns='urn:xmpp:message-retract:1' id='forged'/>".to_owned(),
        format!(
            "<retract xmlns='urn:xmpp:message-retract:1' id='forged'><moderated by='{room}/ann' \
             xmlns='urn:xmpp:message-moderate:1'/></retract>"
        ),
        format!(
            "<apply-to xmlns='urn:xmpp:fasten:0' id='forged'><moderated by='{room}/ann' \
             xmlns='urn:xmpp:message-moderate:0'/></apply-to>"
        ),
        "<moderated xmlns='urn:xmpp:message-moderate:0' by='forged'/>".to_owned(),
    ];
    for (n, forged) in forged.iter().enumerate() {
        tell(&mut all[1], "hall", &format!("m{n}"), &format!("<body>{n}</body>{forged}")).await?;
        let heard = hears(&mut all[0], &format!("m{n}")).await?;
        honest(&heard, n);
    }
    for (n, (_, one)) in archived(&mut all[0], "hall").await?.iter().enumerate() {
        assert!(!one.to_string().contains("forged"), "{n}: {one}");
        assert!(one.find("moderated").is_none() && one.find("retracted").is_none(), "{one}");
    }
    let mut eve = lab.online("eve", "r").await?;
    let seen = enter(&mut eve, "hall", "eve").await?;
    let said = seen.iter().filter(|one| one.find("body").is_some());
    assert_eq!(said.clone().count(), forged.len());
    said.enumerate().for_each(|(n, one)| honest(one, n));
    Ok(())
}

/// One id of the room, one of the occupant, and nothing that was forged.
fn honest(one: &Element, n: usize) {
    let count = |name: &str| one.children.iter().filter(|child| child.name == name).count();
    assert!(!one.to_string().contains("forged"), "{n}: {one}");
    assert_eq!((count("stanza-id"), count("occupant-id")), (1, 1), "{n}: {one}");
}

/// A room that was not found again has an archive of its own.
#[tokio::test]
async fn a_room_of_the_same_name_has_another_archive() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[]).await?;
    say(&mut ann, "hall", "m1", "one").await?;
    hears(&mut ann, "m1").await?;
    let old = archived(&mut ann, "hall").await?[0].0.clone();
    let destroy = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
    assert_eq!(ask(&mut ann, "set", "hall", destroy).await?.attr("type"), Some("result"));
    ann.forget();
    found(&mut ann, "hall", "ann", &[]).await?;
    assert!(archived(&mut ann, "hall").await?.is_empty());
    let page = format!("<set xmlns='{RSM}'><after>{old}</after></set>");
    let answer = queried(&mut ann, "hall", &page).await?.1;
    assert_eq!(answer.condition(), Some("item-not-found"), "the id is the old one's");
    Ok(())
}
