//! XEP-0045 §6, §7.12: what service discovery says of rooms, their service and those in them.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{SERVICE, ask, at, configure, found, gathering, hears, set_item};

pub const INFO: &str = "http://jabber.org/protocol/disco#info";
pub const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const RSM: &str = "http://jabber.org/protocol/rsm";

pub async fn info(client: &mut Client, room: &str) -> Outcome<Element> {
    ask(client, "get", room, &format!("<query xmlns='{INFO}'/>")).await
}

pub fn has(answer: &Element, feature: &str) -> bool {
    let query = answer.find("query");
    query.is_some_and(|query| query.children.iter().any(|one| one.attr("var") == Some(feature)))
}

/// The values of a field of the form in an answer.
pub fn values(answer: &Element, var: &str) -> Option<Vec<String>> {
    let form = answer.find("query")?.child("jabber:x:data", "x")?;
    let field = form.children.iter().find(|field| field.attr("var") == Some(var))?;
    Some(field.children.iter().map(|value| value.text.clone()).collect())
}

fn name(answer: &Element) -> Option<&str> {
    answer.find("identity").and_then(|identity| identity.attr("name"))
}

/// The addresses, and the names, in an answer.
fn items(answer: &Element) -> Vec<(String, Option<String>)> {
    let query = answer.find("query").expect("a query");
    let items = query.children.iter().filter(|one| one.name == "item");
    items
        .map(|one| (one.attr("jid").unwrap_or("").to_owned(), one.attr("name").map(str::to_owned)))
        .collect()
}

/// §6.2, §6.3: the public rooms, and no hidden one, nor one that nobody has configured yet.
#[tokio::test]
async fn public_rooms_are_listed() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "heath", "a", &[("roomname", "A Lonely Heath")]).await?;
    found(&mut ann, "cave", "a", &[("publicroom", "0"), ("roomname", "A Cave")]).await?;
    found(&mut ann, "tent", "a", &[("persistentroom", "0")]).await?;
    crate::harness::rooms::enter(&mut ann, "locked", "a").await?;
    let mut bob = lab.online("bob", "r").await?;
    let answer = info(&mut bob, SERVICE).await?;
    for feature in [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "vcard-temp",
        "urn:xmpp:channel-search:0:search",
        "urn:xmpp:rai:0",
    ] {
        assert!(has(&answer, feature), "{feature}: {answer}");
    }
    let list = format!("<query xmlns='{ITEMS}'/>");
    let answer = ask(&mut bob, "get", SERVICE, &list).await?;
    let heath = (at("heath"), Some("A Lonely Heath".to_owned()));
    assert_eq!(items(&answer), [heath.clone(), (at("tent"), None)], "{answer}");
    assert!(answer.find("set").is_none(), "{answer}");
    // A room that is hidden now is not listed any more, nor is one that everybody has left.
    configure(&mut ann, "heath", &[("publicroom", "0")]).await?;
    configure(&mut ann, "cave", &[("publicroom", "1")]).await?;
    ann.send(&format!("<presence type='unavailable' to='{}/a'/>", at("tent"))).await?;
    crate::harness::rooms::sees(&mut ann, "tent", "a").await?;
    let answer = ask(&mut bob, "get", SERVICE, &list).await?;
    assert_eq!(items(&answer), [(at("cave"), Some("A Cave".to_owned()))]);
    let node = format!("<query xmlns='{ITEMS}' node='x'/>");
    assert_eq!(ask(&mut bob, "get", SERVICE, &node).await?.condition(), Some("item-not-found"));
    Ok(())
}

/// §6.3, XEP-0059: a long list comes in pages, in both directions.
#[tokio::test]
async fn a_long_list_comes_in_pages() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    let rooms = ["r0", "r1", "r2", "r3", "r4"];
    for room in rooms {
        found(&mut ann, room, "a", &[]).await?;
    }
    for (set, expected) in [
        ("<max>2</max>", &["r0", "r1"][..]),
        (&format!("<max>2</max><after>{}</after>", at("r1")), &["r2", "r3"]),
        (&format!("<max>2</max><after>{}</after>", at("r3")), &["r4"]),
        (&format!("<max>2</max><after>{}</after>", at("r4")), &[]),
        ("<max>2</max><before/>", &["r3", "r4"]),
        (&format!("<max>2</max><before>{}</before>", at("r3")), &["r1", "r2"]),
        ("<max>0</max>", &[]),
    ] {
        let query = format!("<query xmlns='{ITEMS}'><set xmlns='{RSM}'>{set}</set></query>");
        let answer = ask(&mut ann, "get", SERVICE, &query).await?;
        let expected: Vec<_> = expected.iter().map(|room| (at(room), None)).collect();
        assert_eq!(items(&answer), expected, "{set}");
        let page = answer.find("set").expect("a set");
        let text = |name: &str| page.child(RSM, name).map(|one| one.text.clone());
        assert_eq!(text("count").as_deref(), Some("5"), "{answer}");
        assert_eq!(text("first"), expected.first().map(|(jid, _)| jid.clone()));
        assert_eq!(text("last"), expected.last().map(|(jid, _)| jid.clone()));
    }
    let query = format!("<query xmlns='{ITEMS}'><set xmlns='{RSM}'><index>1</index></set></query>");
    let answer = ask(&mut ann, "get", SERVICE, &query).await?;
    assert_eq!(answer.condition(), Some("feature-not-implemented"));
    Ok(())
}

/// §6.4, §16.3, §16.5.4: what a room is and what it is about.
#[tokio::test]
async fn a_room_says_what_it_is() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let fields = [
        ("roomname", "A Dark Cave"),
        ("roomdesc", "For witches"),
        ("lang", "en"),
        ("changesubject", "1"),
        ("muc#maxhistoryfetch", "7"),
        ("muc#roominfo_contactjid", "crone@localhost"),
    ];
    let mut all = gathering(&lab, "cave", &["ann", "bob"], &fields).await?;
    let subject = format!(
        "<message type='groupchat' id='s' to='{}'><subject>Spells &amp; more</subject></message>",
        at("cave")
    );
    all[1].send(&subject).await?;
    hears(&mut all[0], "s").await?;
    let mut eve = lab.online("eve", "r").await?;
    let answer = info(&mut eve, "cave").await?;
    assert_eq!(name(&answer), Some("A Dark Cave"));
    for feature in [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "urn:xmpp:occupant-id:0",
        "urn:xmpp:sid:0",
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:message-moderate:1",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:message-retract:1#tombstone",
        "urn:xmpp:hats:0",
        "vcard-temp",
        "muc_public",
        "muc_persistent",
        "muc_open",
        "muc_unmoderated",
        "muc_semianonymous",
        "muc_unsecured",
    ] {
        assert!(has(&answer, feature), "{feature}: {answer}");
    }
    for (var, expected) in [
        ("FORM_TYPE", "http://jabber.org/protocol/muc#roominfo"),
        ("muc#roominfo_description", "For witches"),
        ("muc#roominfo_subject", "Spells & more"),
        ("muc#roominfo_subjectmod", "1"),
        ("muc#roomconfig_changesubject", "1"),
        ("muc#roominfo_occupants", "2"),
        ("muc#roominfo_lang", "en"),
        ("muc#maxhistoryfetch", "7"),
        ("muc#roominfo_contactjid", "crone@localhost"),
        ("muc#roominfo_slow_mode_duration", "0"),
    ] {
        assert_eq!(values(&answer, var), Some(vec![expected.to_owned()]), "{var}");
    }
    assert_eq!(values(&answer, "muc#roominfo_avatarhash"), None, "XEP-0486 §4");
    Ok(())
}

/// §6.4, §16.3: another configuration, which is not for everybody's eyes.
#[tokio::test]
async fn a_hidden_room_says_little() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let fields = [("roomname", "A Dark Cave"), ("roomdesc", "For witches")];
    let mut all = gathering(&lab, "cave", &["ann", "bob"], &fields).await?;
    let mut eve = lab.online("eve", "r").await?;
    let other = [
        ("membersonly", "1"),
        ("moderatedroom", "1"),
        ("whois", "anyone"),
        ("passwordprotectedroom", "1"),
        ("roomsecret", "x"),
        ("publicroom", "0"),
        ("persistentroom", "0"),
        ("enablelogging", "0"),
    ];
    configure(&mut all[0], "cave", &other).await?;
    let answer = info(&mut all[0], "cave").await?;
    for feature in [
        "muc_hidden",
        "muc_temporary",
        "muc_membersonly",
        "muc_moderated",
        "muc_nonanonymous",
        "muc_passwordprotected",
    ] {
        assert!(has(&answer, feature), "{feature}: {answer}");
    }
    assert!(!has(&answer, "urn:xmpp:mam:2") && !has(&answer, "urn:xmpp:message-moderate:1"));
    assert!(values(&answer, "muc#roominfo_subject").is_some());
    // The banned of a public room, too.
    let ban = "<item affiliation='outcast' jid='bob@localhost'/>";
    if set_item(&mut all[0], "cave", ban).await?.attr("type") == Some("result") {
        let answer = info(&mut all[1], "cave").await?;
        assert!(name(&answer).is_none() && values(&answer, "FORM_TYPE").is_none(), "{answer}");
    }
    // Whoever can neither find it nor enter it learns what it takes to enter, and nothing else.
    let answer = info(&mut eve, "cave").await?;
    assert!(has(&answer, "muc_membersonly") && name(&answer).is_none(), "{answer}");
    assert_eq!(values(&answer, "FORM_TYPE"), None);
    Ok(())
}

/// §6.4: of a room that there is not, or not yet, there is nothing to say.
#[tokio::test]
async fn what_is_no_room_says_nothing() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let (mut ann, mut bob) = (lab.online("ann", "r").await?, lab.online("bob", "r").await?);
    crate::harness::rooms::enter(&mut ann, "new", "ann").await?;
    for room in ["new", "nowhere"] {
        for ns in [INFO, ITEMS] {
            let answer = ask(&mut bob, "get", room, &format!("<query xmlns='{ns}'/>")).await?;
            assert_eq!(answer.condition(), Some("item-not-found"), "{room} {ns}");
        }
    }
    assert_eq!(info(&mut ann, "new").await?.attr("type"), Some("result"), "it is hers");
    configure(&mut ann, "new", &[]).await?;
    for (node, condition) in [
        // §18.1.1
        ("http://jabber.org/protocol/muc#traffic", "service-unavailable"),
        ("other", "item-not-found"),
    ] {
        let answer =
            ask(&mut bob, "get", "new", &format!("<query xmlns='{INFO}' node='{node}'/>")).await?;
        assert_eq!(answer.condition(), Some(condition), "{node}");
    }
    Ok(())
}

/// §6.5: those in the room may list it, and for others the list is empty.
#[tokio::test]
async fn who_is_in_a_room_is_for_those_in_it() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut eve = lab.online("eve", "r").await?;
    let list = format!("<query xmlns='{ITEMS}'/>");
    let both = ["ann", "bob"].map(|nick| (format!("{}/{nick}", at("hall")), None));
    assert_eq!(items(&ask(&mut all[1], "get", "hall", &list).await?), both);
    let answer = ask(&mut eve, "get", "hall", &list).await?;
    assert_eq!((answer.attr("type"), items(&answer)), (Some("result"), vec![]));
    // §10.1.3 muc#roomconfig_presencebroadcast: whose presence is not shown is not listed either.
    let shown = [("presencebroadcast", "participant")];
    configure(&mut all[0], "hall", &shown).await?;
    all[1].fence().await?;
    assert_eq!(items(&ask(&mut all[1], "get", "hall", &list).await?), both[1..]);
    Ok(())
}

/// §6.6: questions go on to an occupant, and from nobody who is not in the room.
#[tokio::test]
async fn an_occupant_is_asked_by_occupants() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let bob = format!("{}/bob", at("hall"));
    let question = format!("<iq type='get' id='q' to='{bob}'><query xmlns='{INFO}'/></iq>");
    all[0].send(&question).await?;
    let asked = all[1].expect(|e| e.name == "iq" && e.find("query").is_some()).await?;
    let ann = format!("{}/ann", at("hall"));
    assert_eq!(asked.attr("from"), Some(&*ann));
    let id = asked.attr("id").unwrap_or_default();
    let answer = format!(
        "<iq type='result' id='{id}' to='{ann}'><query xmlns='{INFO}'><feature var='f'/></query></iq>"
    );
    all[1].send(&answer).await?;
    let heard = all[0].expect(|e| e.attr("id") == Some("q")).await?;
    assert_eq!((heard.attr("from"), has(&heard, "f")), (Some(&*bob), true));
    let mut eve = lab.online("eve", "r").await?;
    for ns in [INFO, ITEMS] {
        let answer = ask(&mut eve, "get", &bob, &format!("<query xmlns='{ns}'/>")).await?;
        assert_eq!(answer.condition(), Some("bad-request"), "{ns}");
    }
    all[1].nothing().await
}

/// §7.12: no reserved nickname gives an empty answer, before and after one has entered.
#[tokio::test]
async fn who_has_no_nickname_is_told_so() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let node = format!("<query xmlns='{INFO}' node='x-roomuser-item'/>");
    let answer = ask(&mut all[1], "get", "hall", &node).await?;
    let query = answer.find("query").expect("a query");
    assert_eq!(query.attr("node"), Some("x-roomuser-item"));
    assert!(query.children.is_empty(), "{answer}");
    // §7.10: and who has one is told which.
    let form = "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
        <field var='muc#register_roomnick'><value>thirdwitch</value></field></x></query>";
    if ask(&mut all[1], "set", "hall", form).await?.attr("type") == Some("result") {
        let answer = ask(&mut all[1], "get", "hall", &node).await?;
        assert_eq!(name(&answer), Some("thirdwitch"), "{answer}");
        let answer = ask(&mut all[0], "get", "hall", &node).await?;
        assert_eq!(name(&answer), None, "nobody else is told: {answer}");
    }
    Ok(())
}
