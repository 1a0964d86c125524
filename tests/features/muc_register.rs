//! XEP-0045 §7.10, §9.9: registering with a room, and what admins say to it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    ask, at, codes, configure, enter, gathering, item, knock, sees, set_item,
};

const NS: &str = "jabber:iq:register";
const FORM: &str = "http://jabber.org/protocol/muc#register";

fn form(fields: &[(&str, &str)]) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = [("FORM_TYPE", FORM)].iter().chain(fields).map(field).collect();
    format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
}

async fn register(client: &mut Client, nick: &str) -> Outcome<Element> {
    let form = form(&[("muc#register_roomnick", nick)]);
    ask(client, "set", "hall", &format!("<query xmlns='{NS}'>{form}</query>")).await
}

async fn shown(client: &mut Client) -> Outcome<Element> {
    ask(client, "get", "hall", &format!("<query xmlns='{NS}'/>")).await
}

/// §7.10: the form, the nickname, membership; again; and out again.
#[tokio::test]
async fn anybody_registers_with_an_open_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let answer = shown(&mut all[1]).await?;
    assert!(answer.find("registered").is_none());
    let x = answer.find("x").expect("a form");
    let nick = x.children.iter().find(|it| it.attr("var") == Some("muc#register_roomnick"));
    assert!(nick.is_some_and(|nick| nick.find("required").is_some()), "{answer}");
    assert_eq!(register(&mut all[1], "Bobby").await?.attr("type"), Some("result"));
    for client in &mut all {
        assert_eq!(
            item(&sees(client, "hall", "bob").await?).as_deref(),
            Some("member participant")
        );
    }
    let answer = shown(&mut all[1]).await?;
    assert!(answer.find("registered").is_some());
    assert_eq!(answer.find("username").map(|it| &*it.text), Some("Bobby"));
    // Somebody else's, in any spelling; in use by somebody else.
    let mut cat = lab.online("cat", "r").await?;
    for nick in ["BOBBY", "ann"] {
        assert_eq!(register(&mut cat, nick).await?.condition(), Some("conflict"), "{nick}");
    }
    knock(&mut cat, "hall", "bobby", "").await?;
    let refused = cat.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("conflict"));
    // Another one in its place, which sets the first free.
    assert_eq!(register(&mut all[1], "Rob").await?.attr("type"), Some("result"));
    assert_eq!(register(&mut cat, "Bobby").await?.attr("type"), Some("result"));
    // XEP-0077 §3.2
    let remove = format!("<query xmlns='{NS}'><remove/></query>");
    let more = format!("<query xmlns='{NS}'><remove/><username>x</username></query>");
    assert_eq!(ask(&mut all[1], "set", "hall", &more).await?.condition(), Some("bad-request"));
    assert_eq!(ask(&mut all[1], "set", "hall", &remove).await?.attr("type"), Some("result"));
    assert_eq!(item(&sees(&mut all[0], "hall", "bob").await?).as_deref(), Some("none participant"));
    let again = ask(&mut all[1], "set", "hall", &remove).await?;
    assert_eq!(again.condition(), Some("registration-required"));
    assert_eq!(ask(&mut all[0], "set", "hall", &remove).await?.condition(), Some("not-allowed"));
    Ok(())
}

/// Members read what was said: where a password is needed, who does not know it becomes none without being asked.
#[tokio::test]
async fn registering_takes_the_place_of_no_password() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let secret = [("passwordprotectedroom", "1"), ("roomsecret", "fish")];
    let mut ann = gathering(&lab, "hall", &["ann"], &secret).await?.remove(0);
    let mut cat = lab.online("cat", "r").await?;
    assert_eq!(register(&mut cat, "cat").await?.attr("type"), Some("result"));
    ann.expect(|e| e.name == "message" && e.child("jabber:x:data", "x").is_some()).await?;
    assert!(shown(&mut cat).await?.find("registered").is_none());
    let answer = ask(&mut cat, "set", "hall", "<query xmlns='urn:xmpp:mam:2'/>").await?;
    assert_eq!(answer.condition(), Some("forbidden"));
    // Who is in it knows it.
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "bob", "<password>fish</password>").await?;
    sees(&mut bob, "hall", "bob").await?;
    assert_eq!(register(&mut bob, "bob").await?.attr("type"), Some("result"));
    assert!(shown(&mut bob).await?.find("registered").is_some());
    Ok(())
}

/// §7.10: the errors.
#[tokio::test]
async fn who_may_not_register_is_told_why() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let ban = "<item affiliation='outcast' jid='cat@localhost'/>";
    set_item(&mut all[0], "hall", ban).await?;
    let mut cat = lab.online("cat", "r").await?;
    assert_eq!(shown(&mut cat).await?.condition(), Some("not-allowed"));
    assert_eq!(register(&mut cat, "cat").await?.condition(), Some("not-allowed"));
    let get = format!("<query xmlns='{NS}'/>");
    assert_eq!(ask(&mut cat, "get", "nowhere", &get).await?.condition(), Some("item-not-found"));
    let other = form(&[("muc#register_roomnick", "x")]).replace(FORM, "urn:other");
    for (query, expected) in [
        (String::new(), "bad-request"),
        (form(&[]), "bad-request"),
        (other, "bad-request"),
        (form(&[("muc#register_roomnick", "x")]).replace("submit", "form"), "bad-request"),
        (form(&[("muc#register_roomnick", "&#x2028;")]), "not-acceptable"),
    ] {
        let query = format!("<query xmlns='{NS}'>{query}</query>");
        let answer = ask(&mut all[1], "set", "hall", &query).await?;
        assert_eq!(answer.condition(), Some(expected), "{query}");
    }
    // A room that its creator has not configured yet.
    enter(&mut all[0], "den", "ann").await?;
    assert_eq!(ask(&mut all[1], "get", "den", &get).await?.condition(), Some("item-not-found"));
    Ok(())
}

/// §9.9: where members are chosen, or voice is given, admins are asked, in the room or not.
#[tokio::test]
async fn admins_approve_who_registers_with_a_closed_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[("membersonly", "1")]).await?;
    let mut bob = lab.online("bob", "r").await?;
    assert_eq!(register(&mut bob, "Bobby").await?.attr("type"), Some("result"));
    let asked = all[0].expect(|e| e.name == "message" && e.find("x").is_some()).await?;
    assert_eq!((asked.attr("from"), asked.attr("type")), (Some(&*at("hall")), None));
    let mut fields: Vec<(String, String)> = Vec::new();
    for field in &asked.find("x").expect("a form").children {
        if let (Some(var), Some(value)) = (field.attr("var"), field.find("value")) {
            fields.push((var.to_owned(), value.text.clone()));
        }
    }
    assert!(fields.contains(&("muc#register_roomnick".to_owned(), "Bobby".to_owned())));
    assert!(fields.iter().any(|(_, value)| value == "bob@localhost"), "who it is");
    let answer = |allow: &str| {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .filter(|(var, _)| var != "FORM_TYPE")
            .map(|(var, value)| {
                (&**var, if var == "muc#register_allow" { allow } else { &**value })
            })
            .collect();
        format!("<message to='{}' id='ok'>{}</message>", at("hall"), form(&fields))
    };
    // Only admins; and who puts the form aside does nothing.
    bob.send(&answer("1")).await?;
    let refused = bob.expect(|e| e.attr("id") == Some("ok")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    all[0].send(&answer("0")).await?;
    all[0].send(&answer("1").replace("'submit'", "'cancel'")).await?;
    all[0].fence().await?;
    bob.nothing().await?;
    all[0].send(&answer("1")).await?;
    let invited = bob.expect(|e| e.find("invite").is_some()).await?;
    assert_eq!(invited.attr("from"), Some(&*at("hall")));
    let seen = enter(&mut bob, "hall", "Bobby").await?;
    let own = seen.iter().find(|one| codes(one).contains(&"110".to_owned())).expect("its own");
    assert_eq!(item(own).as_deref(), Some("member participant"));
    // In a moderated room registering gives no voice.
    configure(&mut all[0], "hall", &[("membersonly", "0"), ("moderatedroom", "1")]).await?;
    let mut cat = lab.online("cat", "r").await?;
    enter(&mut cat, "hall", "cat").await?;
    assert_eq!(register(&mut cat, "cat").await?.attr("type"), Some("result"));
    assert!(shown(&mut cat).await?.find("registered").is_none());
    all[0].expect(|e| e.find("x").is_some_and(|x| x.ns == "jabber:x:data")).await.map(drop)
}

/// Strangers who register do not take the places that admins need to ban them.
#[tokio::test]
async fn a_room_that_is_full_of_members_can_ban_still() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat"], &["modules.muc.affiliations_max=10"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let members: String =
        (0..7).map(|n| format!("<item affiliation='member' jid='u{n}@x.y'/>")).collect();
    assert_eq!(set_item(&mut all[0], "hall", &members).await?.attr("type"), Some("result"));
    assert_eq!(register(&mut all[1], "bob").await?.attr("type"), Some("result"));
    let mut cat = lab.online("cat", "r").await?;
    assert_eq!(register(&mut cat, "cat").await?.condition(), Some("resource-constraint"));
    // Who is a member changes its nickname still.
    assert_eq!(register(&mut all[1], "rob").await?.attr("type"), Some("result"));
    let ban = "<item affiliation='outcast' jid='cat@localhost'/>";
    assert_eq!(set_item(&mut all[0], "hall", ban).await?.attr("type"), Some("result"));
    Ok(())
}

/// Each of them is written and told to everybody: an outsider may do so now and then.
#[tokio::test]
async fn who_registers_over_and_over_is_held_up() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &["modules.muc.invites_per_minute=4"]);
    gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    for nick in ["A", "B", "A"] {
        assert_eq!(register(&mut bob, nick).await?.attr("type"), Some("result"), "{nick}");
    }
    let remove = format!("<query xmlns='{NS}'><remove/></query>");
    assert_eq!(ask(&mut bob, "set", "hall", &remove).await?.attr("type"), Some("result"));
    let refused = register(&mut bob, "B").await?;
    assert_eq!(refused.condition(), Some("policy-violation"), "{refused}");
    Ok(())
}
