//! XEP-0045 §8 to §10: what moderators, admins and owners do to others, and who is refused.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    ADMIN, USER, ask, at, codes, enter, gathering, hears, item, knock, real, say, sees, set_item,
};

/// The condition of the answer to these items, or `result`.
async fn wants(client: &mut Client, items: &str) -> Outcome<String> {
    let answer = set_item(client, "hall", items).await?;
    Ok(answer.condition().or(answer.attr("type")).unwrap_or_default().to_owned())
}

/// A list: its items.
async fn list(client: &mut Client, of: &str) -> Outcome<Result<Vec<Element>, String>> {
    let query = format!("<query xmlns='{ADMIN}'><item {of}/></query>");
    let answer = ask(client, "get", "hall", &query).await?;
    Ok(match answer.condition() {
        Some(condition) => Err(condition.to_owned()),
        None => Ok(answer.child(ADMIN, "query").expect("a query").children.clone()),
    })
}

/// One attribute of each.
fn all(items: &[Element], name: &str) -> Vec<String> {
    items.iter().map(|item| item.attr(name).unwrap_or("-").to_owned()).collect()
}

fn told(one: &Element, name: &str) -> Option<String> {
    let child = one.child(USER, "x")?.child(USER, "item")?.child(USER, name)?;
    Some(child.attr("nick").unwrap_or(&child.text).to_owned())
}

/// §8.2: 307 for the kicked one and for the others, with actor and reason; nobody above the moderator.
#[tokio::test]
async fn a_moderator_kicks() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let kick = "<item nick='BOB' role='none'><reason>Avaunt &amp; away</reason></item>";
    assert_eq!(wants(&mut all[2], kick).await?, "forbidden", "a participant");
    assert_eq!(wants(&mut all[0], kick).await?, "result");
    for at in [1, 2] {
        let seen = sees(&mut all[at], "hall", "bob").await?;
        assert_eq!(seen.attr("type"), Some("unavailable"));
        assert_eq!(item(&seen).as_deref(), Some("none none"));
        assert!(codes(&seen).contains(&"307".to_owned()));
        assert_eq!(told(&seen, "actor").as_deref(), Some("ann"));
        assert_eq!(told(&seen, "reason").as_deref(), Some("Avaunt & away"));
    }
    assert_eq!(wants(&mut all[0], kick).await?, "item-not-found", "it is gone");
    // A member who is a moderator kicks no owner.
    let cat = "<item nick='cat' role='moderator'/>";
    assert_eq!(wants(&mut all[0], cat).await?, "result");
    let ann = "<item nick='ann' role='none'/>";
    assert_eq!(wants(&mut all[2], ann).await?, "not-allowed");
    // It may come back.
    enter(&mut all[1], "hall", "bob").await.map(drop)
}

/// §8.2: "After removing the kicked occupant(s), the service MUST then inform the moderator of success", and after that the
/// remaining occupants; §9.1, §9.3, §9.6: the same of bans, members and moderators.
#[tokio::test]
async fn who_asks_is_told_of_success_before_what_came_of_it() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "dan"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat", "dan"], &[]).await?;
    for (items, expected) in [
        ("<item nick='cat' role='moderator'/>", ["iq result", "presence cat"]),
        ("<item affiliation='member' jid='cat@localhost'/>", ["iq result", "presence cat"]),
        ("<item nick='bob' role='none'/>", ["iq result", "presence bob"]),
        ("<item affiliation='outcast' jid='dan@localhost'/>", ["iq result", "presence dan"]),
        // It is out, and then told that this is so.
        ("<item nick='ann' role='none'/>", ["presence ann", "iq result"]),
    ] {
        let query = format!("<query xmlns='{ADMIN}'>{items}</query>");
        let to = at("hall");
        let ann = &mut all[0];
        ann.send(&format!("<iq type='set' id='&lt;1' to='{to}'>{query}</iq>")).await?;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let one = ann.receive().await?;
            seen.push(match &*one.name {
                "iq" => {
                    assert_eq!((one.attr("id"), one.attr("from")), (Some("<1"), Some(&*to)));
                    assert_eq!(one.attr("to"), Some(&*ann.jid));
                    format!("iq {}", one.attr("type").unwrap_or_default())
                }
                name => format!("{name} {}", crate::harness::rooms::nick(&one)),
            });
        }
        assert_eq!(seen, expected, "{items}");
        ann.fence().await?;
        ann.forget();
    }
    Ok(())
}

/// §8.3, §8.4, §9.6, §9.7: voice and moderators, each shown to all.
#[tokio::test]
async fn roles_are_given_and_taken() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all =
        gathering(&lab, "hall", &["ann", "bob", "cat"], &[("moderatedroom", "1")]).await?;
    say(&mut all[1], "hall", "m0", "hi").await?;
    assert_eq!(hears(&mut all[1], "m0").await?.condition(), Some("forbidden"), "no voice yet");
    for (by, nick, role, expected) in [
        (1, "cat", "participant", "forbidden"),
        (0, "bob", "participant", "result"),
        (0, "bob", "visitor", "result"),
        (0, "bob", "moderator", "result"),
        // §9.6 is for admins.
        (1, "cat", "moderator", "forbidden"),
        (1, "cat", "participant", "result"),
        // §8.4: "at or above the moderator's level"; admins and owners keep their voice.
        (1, "cat", "visitor", "not-allowed"),
        (1, "ann", "visitor", "not-allowed"),
        (0, "ann", "participant", "not-allowed"),
        (0, "bob", "participant", "result"),
        (0, "nobody", "visitor", "item-not-found"),
    ] {
        let wanted = format!("<item nick='{nick}' role='{role}'><reason>because</reason></item>");
        assert_eq!(wants(&mut all[by], &wanted).await?, expected, "{by}: {nick} {role}");
        if expected != "result" {
            continue;
        }
        for client in &mut all {
            let seen = sees(client, "hall", nick).await?;
            assert_eq!(item(&seen), Some(format!("none {role}")), "{nick}");
            assert_eq!(told(&seen, "reason").as_deref(), Some("because"));
            // Who becomes a moderator is shown everybody's address.
            client.fence().await?;
            client.forget();
        }
    }
    say(&mut all[1], "hall", "m1", "hi").await?;
    hears(&mut all[0], "m1").await.map(drop)
}

/// §9.1, §9.2: 301, the list, a domain as a whole, and what cannot be banned.
#[tokio::test]
async fn an_admin_bans() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "dan"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat", "dan"], &[]).await?;
    let admin = "<item affiliation='admin' jid='cat@localhost'/>";
    assert_eq!(wants(&mut all[0], admin).await?, "result");
    let ban =
        |jid: &str| format!("<item affiliation='outcast' jid='{jid}'><reason>x</reason></item>");
    for (by, jid, expected) in [
        (1, "dan@localhost", "forbidden"),
        (2, "cat@localhost", "conflict"),
        (2, "ann@localhost", "not-allowed"),
        (0, "ann@localhost", "conflict"),
        (2, "@localhost", "jid-malformed"),
        (2, "bob@localhost/r", "result"),
    ] {
        assert_eq!(wants(&mut all[by], &ban(jid)).await?, expected, "{by}: {jid}");
    }
    for at in [1, 3] {
        let seen = sees(&mut all[at], "hall", "bob").await?;
        assert_eq!(
            (seen.attr("type"), item(&seen)),
            (Some("unavailable"), Some("outcast none".into()))
        );
        assert!(codes(&seen).contains(&"301".to_owned()));
        assert_eq!(told(&seen, "reason").as_deref(), Some("x"));
    }
    knock(&mut all[1], "hall", "bob", "").await?;
    let refused = all[1].expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    let outcasts = list(&mut all[2], "affiliation='outcast'").await?.expect("the list");
    assert_eq!(all_of(&outcasts), ["bob@localhost outcast - -"]);
    assert_eq!(outcasts[0].child(ADMIN, "reason").map(|reason| &*reason.text), Some("x"));
    assert_eq!(list(&mut all[3], "affiliation='outcast'").await?, Err("forbidden".into()));
    // The whole domain: those who have an affiliation stay.
    assert_eq!(wants(&mut all[2], &ban("localhost")).await?, "result");
    let seen = sees(&mut all[3], "hall", "dan").await?;
    assert!(codes(&seen).contains(&"301".to_owned()));
    knock(&mut all[3], "hall", "dan", "").await?;
    let refused = all[3].expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    say(&mut all[2], "hall", "m", "still here").await?;
    hears(&mut all[0], "m").await?;
    // And back.
    let lift =
        "<item affiliation='none' jid='localhost'/><item affiliation='none' jid='bob@localhost'/>";
    assert_eq!(wants(&mut all[2], lift).await?, "result");
    enter(&mut all[1], "hall", "bob").await?;
    enter(&mut all[3], "hall", "dan").await.map(drop)
}

fn all_of(items: &[Element]) -> Vec<String> {
    let one = |item: &Element, name| item.attr(name).unwrap_or("-").to_owned();
    let line = |item| ["jid", "affiliation", "nick", "role"].map(|name| one(item, name)).join(" ");
    items.iter().map(line).collect()
}

/// §9.3 to §9.5: members, with nicknames; in a room for members only who is none any more leaves with 321.
#[tokio::test]
async fn membership_is_given_and_taken() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(
        &lab,
        "hall",
        &["ann"],
        &[("membersonly", "1"), ("roomsecret", "pw"), ("passwordprotectedroom", "1")],
    )
    .await?;
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "bob", "<password>pw</password>").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("registration-required"));
    let member = "<item affiliation='member' jid='bob@localhost' nick='Bobby'/>";
    assert_eq!(wants(&mut all[0], member).await?, "result");
    // §9.5: the new member is invited, and told the password.
    let invited = bob.expect(|e| e.find("invite").is_some()).await?;
    assert_eq!(invited.attr("from"), Some(&*at("hall")));
    let invite = invited.find("invite").expect("an invitation");
    assert_eq!(invite.attr("from"), Some("ann@localhost"));
    assert_eq!(invited.find("password").map(|it| &*it.text), Some("pw"));
    let said = all[0].expect(|e| e.name == "message" && e.find("item").is_some()).await?;
    assert_eq!(said.find("item").and_then(|it| it.attr("jid")), Some("bob@localhost"));
    let members = list(&mut all[0], "affiliation='member'").await?.expect("the list");
    assert_eq!(all_of(&members), ["bob@localhost member Bobby -"]);
    // §7.2.8: the nickname is kept for him.
    let cat = "<item affiliation='member' jid='cat@localhost' nick='BOBBY'/>";
    assert_eq!(wants(&mut all[0], cat).await?, "conflict");
    knock(&mut bob, "hall", "Bobby", "<password>pw</password>").await?;
    sees(&mut bob, "hall", "Bobby").await?;
    assert_eq!(
        item(&sees(&mut all[0], "hall", "Bobby").await?).as_deref(),
        Some("member participant")
    );
    // Unset the nickname, then the membership.
    let unset = "<item affiliation='member' jid='bob@localhost' nick=''/>";
    assert_eq!(wants(&mut all[0], unset).await?, "result");
    assert_eq!(wants(&mut all[0], cat).await?, "result");
    let none = "<item affiliation='none' jid='bob@localhost'/>";
    assert_eq!(wants(&mut all[0], none).await?, "result");
    let gone = bob.expect(|e| e.attr("type") == Some("unavailable")).await?;
    assert_eq!(item(&gone).as_deref(), Some("none none"));
    assert!(codes(&gone).contains(&"321".to_owned()));
    assert_eq!(told(&gone, "actor").as_deref(), Some("ann"));
    Ok(())
}

/// §10.3 to §10.8: owners and admins; the last owner stays.
#[tokio::test]
async fn owners_make_owners_and_admins() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let set = |jid: &str, affiliation: &str| {
        format!("<item affiliation='{affiliation}' jid='{jid}@localhost'/>")
    };
    for (by, jid, affiliation, expected) in [
        (0, "ann", "admin", "conflict"),
        (0, "ann", "none", "conflict"),
        (0, "bob", "admin", "result"),
        (1, "cat", "admin", "forbidden"),
        (1, "cat", "owner", "forbidden"),
        (1, "ann", "member", "forbidden"),
        (1, "cat", "member", "result"),
        (0, "cat", "owner", "result"),
        (2, "bob", "none", "result"),
        (2, "ann", "admin", "result"),
        (2, "cat", "member", "conflict"),
    ] {
        let wanted = set(jid, affiliation);
        assert_eq!(wants(&mut all[by], &wanted).await?, expected, "{by}: {jid} {affiliation}");
        if expected != "result" {
            continue;
        }
        for client in &mut all {
            let seen = sees(client, "hall", jid).await?;
            let role =
                if matches!(affiliation, "owner" | "admin") { "moderator" } else { "participant" };
            assert_eq!(item(&seen), Some(format!("{affiliation} {role}")));
            client.fence().await?;
            client.forget();
        }
    }
    // §10.5: where addresses are hidden, owners alone read who the owners are.
    assert_eq!(list(&mut all[0], "affiliation='owner'").await?, Err("forbidden".into()));
    let owners = list(&mut all[2], "affiliation='owner'").await?.expect("the list");
    assert_eq!(all_of(&owners), ["cat@localhost owner cat -"]);
    // One who is not there: those who see addresses are told.
    assert_eq!(wants(&mut all[2], &set("dan", "owner")).await?, "result");
    let said = all[0].expect(|e| e.name == "message" && e.find("item").is_some()).await?;
    let about = said.find("item").expect("an item");
    assert_eq!(
        (about.attr("jid"), about.attr("affiliation")),
        (Some("dan@localhost"), Some("owner"))
    );
    all[1].nothing().await
}

/// §8.5, §9.8, §17.4 rules 4 to 6: what is read and what is asked in which form.
#[tokio::test]
async fn lists_and_requests_have_their_form() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut both = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let voice = list(&mut both[0], "role='participant'").await?.expect("the voice list");
    assert_eq!(all_of(&voice), ["bob@localhost/r none bob participant"]);
    let moderators = list(&mut both[0], "role='moderator'").await?.expect("the list");
    assert_eq!(all_of(&moderators), ["ann@localhost/r owner ann moderator"]);
    for of in ["role='moderator'", "role='participant'", "affiliation='member'"] {
        assert_eq!(list(&mut both[1], of).await?, Err("forbidden".into()), "{of}");
    }
    for of in [
        "",
        "role='none'",
        "role='king'",
        "affiliation='king'",
        "role='visitor' affiliation='none'",
    ] {
        assert_eq!(list(&mut both[0], of).await?, Err("bad-request".into()), "{of}");
    }
    assert_eq!(
        all(&list(&mut both[0], "affiliation='none'").await?.expect("a list"), "jid").len(),
        0
    );
    for (items, expected) in [
        ("", "bad-request"),
        ("<item nick='bob' role='none' affiliation='none'/>", "bad-request"),
        ("<item nick='bob' role='king'/>", "bad-request"),
        ("<item jid='bob@localhost' affiliation='king'/>", "bad-request"),
        ("<item jid='bob@localhost' role='none'/>", "bad-request"),
        ("<item affiliation='member'/>", "bad-request"),
        ("<item jid='bob@localhost'/>", "bad-request"),
        ("<item jid='a@b@c' affiliation='member'/>", "jid-malformed"),
        ("<item nick='nobody' affiliation='member'/>", "item-not-found"),
        ("<item jid='bob@localhost' affiliation='member' nick='&#x2028;'/>", "not-acceptable"),
        // Of one person both, in two items.
        (
            "<item jid='bob@localhost' affiliation='admin'/><item nick='bob' role='visitor'/>",
            "bad-request",
        ),
    ] {
        assert_eq!(wants(&mut both[0], items).await?, expected, "{items}");
    }
    let long =
        format!("<item nick='bob' role='none'><reason>{}</reason></item>", "x".repeat(1_025));
    assert_eq!(wants(&mut both[0], &long).await?, "not-acceptable");
    let many: String =
        (0..501).map(|n| format!("<item affiliation='outcast' jid='u{n}@x.y'/>")).collect();
    assert_eq!(wants(&mut both[0], &many).await?, "policy-violation");
    // An occupant named by its nickname, as some clients do.
    assert_eq!(wants(&mut both[0], "<item nick='bob' affiliation='member'/>").await?, "result");
    let members = list(&mut both[0], "affiliation='member'").await?.expect("the list");
    assert_eq!(all_of(&members), ["bob@localhost member bob -"]);
    let mut eve = lab.online("bob", "other").await?;
    let answer = ask(&mut eve, "get", "nowhere", &format!("<query xmlns='{ADMIN}'/>")).await?;
    assert_eq!(answer.condition(), Some("item-not-found"));
    Ok(())
}

/// §9.2: "the service SHOULD NOT apply any of the requested changes".
#[tokio::test]
async fn several_items_happen_all_or_not_at_all() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &["modules.muc.affiliations_max=4"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob", "cat"], &[]).await?;
    let ban = |name: &str| format!("<item affiliation='outcast' jid='{name}@localhost'/>");
    let kick = "<item nick='cat' role='none'/><item nick='ann' role='visitor'/>";
    assert_eq!(wants(&mut all[0], kick).await?, "not-allowed");
    let some = format!("{}{}", ban("bob"), ban("ann"));
    assert_eq!(wants(&mut all[0], &some).await?, "conflict");
    // Modules' bounds: a list has its length.
    let many = ["bob", "u1", "u2", "u3"].map(ban).concat();
    assert_eq!(wants(&mut all[0], &many).await?, "resource-constraint");
    all[1].nothing().await?;
    assert_eq!(list(&mut all[0], "affiliation='outcast'").await?, Ok(Vec::new()));
    let fine = format!("{}{}<item nick='bob' role='moderator'/>", ban("u1"), ban("cat"));
    assert_eq!(wants(&mut all[0], &fine).await?, "result");
    assert!(codes(&sees(&mut all[1], "hall", "cat").await?).contains(&"301".to_owned()));
    assert_eq!(item(&sees(&mut all[1], "hall", "bob").await?).as_deref(), Some("none moderator"));
    Ok(())
}

/// §9.5: in a room for members only where all see each other, every member reads who the members are.
#[tokio::test]
async fn members_know_each_other_in_a_group() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let fields = [("membersonly", "1"), ("whois", "anyone")];
    let mut all = gathering(&lab, "hall", &["ann"], &fields).await?;
    let mut bob = lab.online("bob", "r").await?;
    assert_eq!(list(&mut bob, "affiliation='member'").await?, Err("forbidden".into()));
    let member = "<item affiliation='member' jid='bob@localhost'/>";
    assert_eq!(wants(&mut all[0], member).await?, "result");
    // "even if not yet an occupant"
    for (of, expected) in
        [("member", "bob@localhost member - -"), ("owner", "ann@localhost owner ann -")]
    {
        let read = list(&mut bob, &format!("affiliation='{of}'")).await?.expect("the list");
        assert_eq!(all_of(&read), [expected]);
    }
    assert_eq!(list(&mut bob, "affiliation='outcast'").await?, Err("forbidden".into()));
    bob.forget();
    let seen = enter(&mut bob, "hall", "bob").await?;
    assert_eq!(real(&seen[0]), Some("ann@localhost/r"));
    Ok(())
}

/// Durable when it is answered: over a crash, with the nickname.
#[tokio::test]
async fn affiliations_survive_a_crash() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let items = "<item affiliation='outcast' jid='bob@localhost'/>\
                 <item affiliation='member' jid='cat@localhost' nick='Kitty'/>";
    assert_eq!(wants(&mut all[0], items).await?, "result");
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "bob", "").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    let mut ann = lab.online("ann", "r").await?;
    let members = list(&mut ann, "affiliation='member'").await?.expect("the list");
    assert_eq!(all_of(&members), ["cat@localhost member Kitty -"]);
    knock(&mut ann, "hall", "KITTY", "").await?;
    let refused = ann.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("conflict"));
    Ok(())
}

/// A list of 10,000 is read whole; one more is refused, and the room goes on.
#[tokio::test]
async fn a_long_list_is_read_whole_and_has_an_end() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut both = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let ban = |n: usize| format!("<item affiliation='outcast' jid='u{n}@x.y'/>");
    // With the owner there are 10,000.
    for from in (0..9_999).step_by(500) {
        let items: String = (from..(from + 500).min(9_999)).map(ban).collect();
        assert_eq!(wants(&mut both[0], &items).await?, "result", "{from}");
        both[0].forget();
    }
    assert_eq!(wants(&mut both[0], &ban(10_000)).await?, "resource-constraint");
    let outcasts = list(&mut both[0], "affiliation='outcast'").await?.expect("the list");
    assert_eq!(outcasts.len(), 9_999);
    say(&mut both[1], "hall", "m", "hi").await?;
    hears(&mut both[0], "m").await?;
    // What is taken off makes room.
    let change = format!("<item affiliation='none' jid='u7@x.y'/>{}", ban(10_000));
    assert_eq!(wants(&mut both[0], &change).await?, "result");
    Ok(())
}
