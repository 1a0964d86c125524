//! XEP-0045 §7.8 and §7.13: invitations by way of the room, declines, and asking for voice.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    MUC, USER, at, configure, enter, gathering, hears, item, say, sees, set_item,
};

async fn invite(client: &mut Client, id: &str, invites: &str) -> Outcome<()> {
    let to = at("hall");
    let x = format!("<x xmlns='{USER}'>{invites}</x>");
    client.send(&format!("<message to='{to}' id='{id}'>{x}</message>")).await
}

async fn refused(client: &mut Client, id: &str) -> Outcome<String> {
    let error =
        client.expect(|e| e.attr("id") == Some(id) && e.attr("type") == Some("error")).await?;
    Ok(error.condition().unwrap_or_default().to_owned())
}

async fn invited(client: &mut Client) -> Outcome<Element> {
    client.expect(|e| e.name == "message" && e.find("invite").is_some()).await
}

/// §7.8.2: from the room, to the bare JID, with the inviter's address, reason, `<continue/>` and password.
#[tokio::test]
async fn an_occupant_invites_by_way_of_the_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "dan"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let fields = [("passwordprotectedroom", "1"), ("roomsecret", "pw&amp;")];
    configure(&mut all[0], "hall", &fields).await?;
    let (mut cat, mut dan) = (lab.online("cat", "r").await?, lab.online("dan", "r").await?);
    let both = "<invite to='cat@localhost/x'><reason>Come &lt;here</reason><continue thread='t1'/>\
                </invite><invite to='dan@localhost'/>";
    invite(&mut all[1], "i1", both).await?;
    let got = invited(&mut cat).await?;
    assert_eq!((got.attr("from"), got.attr("to")), (Some(&*at("hall")), Some("cat@localhost")));
    assert_eq!((got.attr("id"), got.attr("type")), (Some("i1"), None));
    let x = got.child(USER, "x").expect("the extension");
    let one = x.child(USER, "invite").expect("an invitation");
    assert_eq!((one.attr("from"), one.attr("to")), (Some("bob@localhost"), None));
    assert_eq!(one.text_of("reason"), Some("Come <here"));
    assert_eq!(one.child(USER, "continue").and_then(|it| it.attr("thread")), Some("t1"));
    assert_eq!(x.text_of("password"), Some("pw&"));
    let got = invited(&mut dan).await?;
    assert!(got.find("reason").is_none() && got.find("continue").is_none());
    // "Invitations sent through an open room MUST NOT trigger the addition" (§9.5).
    let list =
        "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member'/></query>";
    let members = crate::harness::rooms::ask(&mut all[0], "get", "hall", list).await?;
    assert!(members.find("item").is_none());
    // §7.8.2: declined, to who invited and to nobody else.
    let decline = |to: &str| {
        let reason = "<reason>too busy</reason>";
        format!("<decline to='{to}'>{reason}</decline>")
    };
    invite(&mut cat, "d0", &decline("ann@localhost")).await?;
    assert_eq!(refused(&mut cat, "d0").await?, "item-not-found");
    invite(&mut cat, "d1", &decline("bob@localhost")).await?;
    let told = all[1].expect(|e| e.find("decline").is_some()).await?;
    assert_eq!((told.attr("from"), told.attr("id")), (Some(&*at("hall")), Some("d1")));
    let decline_told = told.find("decline").expect("it");
    assert_eq!(decline_told.attr("from"), Some("cat@localhost"));
    assert_eq!(decline_told.text_of("reason"), Some("too busy"));
    // Once.
    invite(&mut cat, "d2", &decline("bob@localhost")).await?;
    assert_eq!(refused(&mut cat, "d2").await?, "item-not-found");
    all[0].forget();
    all[0].nothing().await
}

/// §7.8.2, §9.5: in a room for members only the invited one becomes a member, if the inviter may invite.
#[tokio::test]
async fn an_invitation_lets_into_a_room_for_members() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "dan"], &[]);
    let fields = [("membersonly", "1"), ("allowinvites", "0")];
    let mut all = gathering(&lab, "hall", &["ann"], &fields).await?;
    let (mut bob, mut cat) = (lab.online("bob", "r").await?, lab.online("cat", "r").await?);
    invite(&mut all[0], "i1", "<invite to='bob@localhost'/>").await?;
    invited(&mut bob).await?;
    enter(&mut bob, "hall", "bob").await?;
    let seen = sees(&mut all[0], "hall", "bob").await?;
    assert_eq!(item(&seen).as_deref(), Some("member participant"));
    // A mere member does not, unless the configuration says so.
    invite(&mut bob, "i2", "<invite to='cat@localhost'/>").await?;
    assert_eq!(refused(&mut bob, "i2").await?, "forbidden");
    configure(&mut all[0], "hall", &[("allowinvites", "1")]).await?;
    invite(&mut bob, "i3", "<invite to='cat@localhost'/>").await?;
    invited(&mut cat).await?;
    enter(&mut cat, "hall", "cat").await?;
    // A ban is not lifted by a member.
    set_item(&mut all[0], "hall", "<item affiliation='outcast' jid='dan@localhost'/>").await?;
    invite(&mut bob, "i4", "<invite to='dan@localhost'/>").await?;
    assert_eq!(refused(&mut bob, "i4").await?, "forbidden");
    Ok(())
}

/// What is no invitation, what is too much, and who is not there.
#[tokio::test]
async fn invitations_have_their_form_and_their_bounds() -> Outcome<()> {
    let set = ["modules.muc.invites_max=2", "modules.muc.invites_per_minute=4"];
    let lab = Lab::new(&["ann", "bob", "eve"], &set);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut eve = lab.online("eve", "r").await?;
    invite(&mut eve, "e", "<invite to='bob@localhost'/>").await?;
    assert_eq!(refused(&mut eve, "e").await?, "forbidden", "§17.2 rule 2");
    for (id, invites, expected) in [
        ("a", "<invite/>", "bad-request"),
        ("b", "<invite to='a@b@c'/>", "jid-malformed"),
        ("c", "", "bad-request"),
        ("d", "<invite to='x@y'/><invite to='z@y'/><invite to='u@y'/>", "policy-violation"),
        ("f", "<decline/>", "bad-request"),
    ] {
        invite(&mut all[0], id, invites).await?;
        assert_eq!(refused(&mut all[0], id).await?, expected, "{invites}");
    }
    let long =
        format!("<invite to='eve@localhost'><reason>{}</reason></invite>", "x".repeat(1_025));
    invite(&mut all[0], "g", &long).await?;
    assert_eq!(refused(&mut all[0], "g").await?, "not-acceptable");
    // §17.2 rule 1
    for ty in ["chat", "headline"] {
        let body =
            format!("<message id='t' type='{ty}' to='{}'><body>x</body></message>", at("hall"));
        all[0].send(&body).await?;
        assert_eq!(refused(&mut all[0], "t").await?, "bad-request", "{ty}");
    }
    let two = "<invite to='eve@localhost'/><invite to='bob@localhost'/>";
    for id in ["h", "i"] {
        invite(&mut all[0], id, two).await?;
        invited(&mut eve).await?;
    }
    invite(&mut all[0], "j", two).await?;
    assert_eq!(refused(&mut all[0], "j").await?, "policy-violation", "a flood");
    // Another person's is another count.
    invite(&mut all[1], "k", "<invite to='eve@localhost'/>").await?;
    invited(&mut eve).await?;
    // "If the inviter supplies a non-existent JID": what comes back is passed on.
    invite(&mut all[1], "l", "<invite to='x@nowhere.example'/>").await?;
    assert_eq!(refused(&mut all[1], "l").await?, "item-not-found");
    let locked = format!(
        "<message id='m' to='{}'><x xmlns='{USER}'><invite to='eve@localhost'/></x></message>",
        at("den")
    );
    all[0].send(&format!("<presence to='{}/ann'><x xmlns='{MUC}'/></presence>", at("den"))).await?;
    sees(&mut all[0], "den", "ann").await?;
    all[1].send(&locked).await?;
    assert_eq!(refused(&mut all[1], "m").await?, "item-not-found", "§17.2 rule 3");
    Ok(())
}

/// XEP-0249: between users; the room has no part in it.
#[tokio::test]
async fn a_direct_invitation_passes_untouched() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    let x = format!(
        "<x xmlns='jabber:x:conference' jid='{}' reason='come' password='pw' continue='true' thread='t'/>",
        at("hall")
    );
    all[0].send(&format!("<message to='bob@localhost' id='i'>{x}</message>")).await?;
    let got = hears(&mut bob, "i").await?;
    assert_eq!(got.child("jabber:x:conference", "x"), Some(&Element::parse(&x).expect("XML")));
    Ok(())
}

const REQUEST: &str = "http://jabber.org/protocol/muc#request";

fn voice(fields: &[(&str, &str)]) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = [("FORM_TYPE", REQUEST)].iter().chain(fields).map(field).collect();
    let x = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    format!("<message to='{}' id='v'>{x}</message>", at("hall"))
}

/// §7.13, §8.6: the form goes to moderators, and gives voice to who asked.
#[tokio::test]
async fn a_visitor_asks_for_voice() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "cat", "eve"], &[]);
    let mut all =
        gathering(&lab, "hall", &["ann", "bob", "cat"], &[("moderatedroom", "1")]).await?;
    let request = voice(&[("muc#role", "participant")]);
    all[1].send(&request).await?;
    let form = all[0].expect(|e| e.name == "message" && e.find("x").is_some()).await?;
    assert_eq!(form.attr("from"), Some(&*at("hall")));
    let value = |var: &str| {
        let fields = &form.find("x").expect("a form").children;
        let field = fields.iter().find(|field| field.attr("var") == Some(var));
        field.and_then(|field| field.find("value")).map(|value| value.text.clone())
    };
    for (var, expected) in [
        ("FORM_TYPE", REQUEST),
        ("muc#role", "participant"),
        ("muc#jid", "bob@localhost/r"),
        ("muc#roomnick", "bob"),
        ("muc#request_allow", "false"),
    ] {
        assert_eq!(value(var).as_deref(), Some(expected), "{var}");
    }
    all[2].nothing().await?;
    let answer = |jid: &str, nick: &str, allow: &str| {
        voice(&[
            ("muc#role", "participant"),
            ("muc#jid", jid),
            ("muc#roomnick", nick),
            ("muc#request_allow", allow),
        ])
    };
    all[2].send(&answer("bob@localhost/r", "bob", "true")).await?;
    assert_eq!(refused(&mut all[2], "v").await?, "forbidden");
    // The nickname is another's by now.
    all[0].send(&answer("bob@localhost/r", "cat", "true")).await?;
    assert_eq!(refused(&mut all[0], "v").await?, "item-not-found");
    all[0].send(&answer("bob@localhost/r", "bob", "false")).await?;
    all[0].fence().await?;
    all[1].nothing().await?;
    all[0].send(&answer("bob@localhost/r", "bob", "true")).await?;
    let seen = sees(&mut all[2], "hall", "bob").await?;
    assert_eq!(item(&seen).as_deref(), Some("none participant"));
    say(&mut all[1], "hall", "m", "thanks").await?;
    hears(&mut all[2], "m").await?;
    // Who has voice, who is not there, other roles, and where nobody asks.
    all[1].send(&request).await?;
    assert_eq!(refused(&mut all[1], "v").await?, "bad-request");
    let mut eve = lab.online("eve", "r").await?;
    eve.send(&request).await?;
    assert_eq!(refused(&mut eve, "v").await?, "not-acceptable");
    all[2].send(&voice(&[("muc#role", "moderator")])).await?;
    assert_eq!(refused(&mut all[2], "v").await?, "bad-request");
    configure(&mut all[0], "hall", &[("allow_voice_requests", "0")]).await?;
    all[2].send(&request).await?;
    assert_eq!(refused(&mut all[2], "v").await?, "forbidden");
    Ok(())
}
