//! XEP-0045 with XEP-0357: members of a room that are not in it are told by their devices, as they wish (XEP-0492);
//! groups that are made for phones.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::nodes::published;
use crate::harness::process::Lab;
use crate::harness::push_service::{accepted, enable, gone, pushed};
use crate::harness::rooms::{USER, at, codes, configure, enter, entered, found, hears, knock, say};

const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const OMEMO: &str = "eu.siacs.conversations.axolotl";

/// `app` is the push service.
fn lab(users: &[&str], set: &[&str]) -> Lab {
    let quick = ["modules.push.interval_secs=1", "modules.push.elsewhere_secs=0"];
    Lab::new(users, &[&quick[..], set].concat())
}

/// A device that was in the room as `nick`, enabled notifications and is gone; what comes to `seen_by` of it is
/// forgotten.
async fn was_here(
    lab: &Lab,
    (user, nick): (&str, &str),
    forms: &str,
    seen_by: &mut Client,
) -> Outcome<Vec<Element>> {
    let mut client = lab.online(user, "phone").await?;
    accepted(&mut client, &enable(user, forms)).await?;
    let seen = enter(&mut client, "hall", nick).await?;
    client.close().await?;
    seen_by
        .expect(|e| {
            e.attr("from") == Some(&*format!("{}/{nick}", at("hall")))
                && e.attr("type") == Some("unavailable")
        })
        .await?;
    Ok(seen)
}

/// Sets what the bookmark of the hall says.
async fn wishes(lab: &Lab, user: &str, setting: &str) -> Outcome<()> {
    let mut client = lab.online(user, "desk").await?;
    let notify = format!("<notify xmlns='urn:xmpp:notification-settings:1'><{setting}/></notify>");
    let item = format!(
        "<item id='{}'><conference xmlns='{BOOKMARKS}' autojoin='true'><extensions>{notify}\
         </extensions></conference></item>",
        at("hall")
    );
    published(&mut client, BOOKMARKS, &item).await?;
    client.close().await
}

async fn tell(client: &mut Client, id: &str, payload: &str) -> Outcome<()> {
    let to = at("hall");
    client.send(&format!("<message type='groupchat' id='{id}' to='{to}'>{payload}</message>")).await
}

/// The notifications that come for these nodes, until each has this count.
async fn counts(app: &mut Client, expected: &[(&str, &str)]) -> Outcome<()> {
    let mut open: Vec<(&str, &str)> = expected.to_vec();
    while !open.is_empty() {
        let push = pushed(app).await?;
        assert!(expected.iter().any(|(node, _)| *node == push.node), "{push:?}");
        open.retain(|(node, count)| *node != push.node || *count != push.count);
    }
    Ok(())
}

/// By the nickname that it had last, as a word of its own; by occupant id or address (XEP-0513 §3.1), by an answer
/// (XEP-0461); not by what is said to all or by who is only talked about.
#[tokio::test]
async fn a_member_that_is_away_is_woken_when_it_is_mentioned() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[("roomadmins", "bob@localhost")]).await?;
    let seen = was_here(&lab, ("bob", "Bobby"), "", &mut ann).await?;
    let own = seen.iter().find(|e| codes(e).contains(&"110".to_owned())).expect("own presence");
    let id = own.child("urn:xmpp:occupant-id:0", "occupant-id").and_then(|id| id.attr("id"));
    let id = id.expect("an occupant id");
    say(&mut ann, "hall", "1", "hello bobbys").await?;
    say(&mut ann, "hall", "2", "@bobby, hello").await?;
    let push = pushed(&mut app).await?;
    assert_eq!((&*push.node, &*push.count), ("bob", "1"), "{}", push.request);
    assert_eq!((push.sender, push.body), (None, None));
    let mention = |attributes: &str, more: &str| {
        format!("<body>x</body><mention xmlns='urn:xmpp:mentions:0' {attributes}>{more}</mention>")
    };
    let quiet = "<noping xmlns='urn:xmpp:mentions:0'/>";
    tell(&mut ann, "3", &mention(&format!("occupantid='{id}'"), quiet)).await?;
    tell(&mut ann, "4", &mention("occupantid='other'", "")).await?;
    let mut count = 1;
    for (n, payload) in [
        mention(&format!("occupantid='{id}'"), ""),
        mention("jid='bob@localhost'", ""),
        mention(&format!("jid='{}/Bobby'", at("hall")), ""),
        format!("<body>x</body><reply xmlns='urn:xmpp:reply:0' to='{}/Bobby' id='9'/>", at("hall")),
    ]
    .iter()
    .enumerate()
    {
        tell(&mut ann, &format!("m{n}"), payload).await?;
        count += 1;
        assert_eq!(pushed(&mut app).await?.count, count.to_string(), "{payload}");
    }
    // What has no words wakes nobody, though it be kept.
    let reaction = format!(
        "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>!</reaction></reactions>\
         <mention xmlns='urn:xmpp:mentions:0' occupantid='{id}'/>"
    );
    tell(&mut ann, "5", &reaction).await?;
    say(&mut ann, "hall", "6", "bobby").await?;
    count += 1;
    assert_eq!(pushed(&mut app).await?.count, count.to_string());
    // It comes back, and has it all.
    let mut bob = lab.online("bob", "phone").await?;
    let seen = enter(&mut bob, "hall", "Bobby").await?;
    assert_eq!(seen.iter().filter(|e| e.find("body").is_some()).count(), 9);
    say(&mut ann, "hall", "7", "bobby").await?;
    hears(&mut bob, "7").await?;
    app.nothing().await
}

/// XEP-0492: all, none, or mentions; that is what counts where nothing is said.
#[tokio::test]
async fn a_member_is_told_of_what_its_bookmark_says() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "cat", "dan", "eve", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    let members = "bob@localhost,cat@localhost,dan@localhost,eve@localhost";
    found(&mut ann, "hall", "ann", &[("roomadmins", members)]).await?;
    for user in ["bob", "cat", "dan", "eve"] {
        was_here(&lab, (user, user), "", &mut ann).await?;
    }
    wishes(&lab, "bob", "always").await?;
    wishes(&lab, "cat", "never").await?;
    wishes(&lab, "dan", "on-mention").await?;
    say(&mut ann, "hall", "1", "hello").await?;
    say(&mut ann, "hall", "2", "cat, dan and eve: hello").await?;
    counts(&mut app, &[("bob", "2"), ("dan", "1"), ("eve", "1")]).await?;
    // It changes its mind.
    wishes(&lab, "bob", "never").await?;
    wishes(&lab, "cat", "always").await?;
    say(&mut ann, "hall", "3", "bob?").await?;
    counts(&mut app, &[("cat", "1")]).await?;
    app.nothing().await
}

/// What the server does not allow nobody gets: of messages that mention nobody no device is woken then.
#[tokio::test]
async fn an_admin_may_have_mentions_alone_wake() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "app"], &["modules.push.rooms=false"]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[("roomadmins", "bob@localhost")]).await?;
    was_here(&lab, ("bob", "bob"), "", &mut ann).await?;
    wishes(&lab, "bob", "always").await?;
    say(&mut ann, "hall", "1", "hello").await?;
    say(&mut ann, "hall", "2", "hello bob").await?;
    assert_eq!(pushed(&mut app).await?.count, "1");
    app.nothing().await
}

/// The occupant's address, if the client asked for it and the server allows it (XEP-0357 §9).
#[tokio::test]
async fn a_summary_says_the_room_and_the_nickname_if_it_is_asked_for() -> Outcome<()> {
    let wish = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>urn:xmpp:push:summary</value></field>\
        <field var='last-message-sender'><value>1</value></field></x>";
    let lab = lab(&["ann", "bob", "app"], &["modules.push.sender=true"]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "Ann", &[("roomadmins", "bob@localhost")]).await?;
    was_here(&lab, ("bob", "bob"), wish, &mut ann).await?;
    say(&mut ann, "hall", "1", "bob!").await?;
    let push = pushed(&mut app).await?;
    assert_eq!(push.sender, Some(format!("{}/Ann", at("hall"))), "{}", push.request);
    assert_eq!(push.body, None);
    Ok(())
}

/// XEP-0492 §3: "In the absence of any notification settings [...] 'always' SHOULD be assumed for [...] private group chats,
/// and 'on-mention' for public group chats"; here for groups of few, and each may choose otherwise.
#[tokio::test]
async fn of_a_small_private_group_its_members_are_told_of_all() -> Outcome<()> {
    let set = ["modules.muc.push_all_up_to=3"];
    let lab = lab(&["ann", "bob", "cat", "dan", "app"], &set);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    let private = [("membersonly", "1"), ("whois", "anyone")];
    let members = [("roomadmins", "bob@localhost,cat@localhost")];
    found(&mut ann, "hall", "ann", &[&private[..], &members].concat()).await?;
    was_here(&lab, ("bob", "bob"), "", &mut ann).await?;
    was_here(&lab, ("cat", "cat"), "", &mut ann).await?;
    wishes(&lab, "cat", "on-mention").await?;
    say(&mut ann, "hall", "1", "hello").await?;
    counts(&mut app, &[("bob", "1")]).await?;
    // With one more it is not a group of few any more; and where others may enter it is not private.
    let dan = "<item affiliation='member' jid='dan@localhost'/>";
    crate::harness::rooms::set_item(&mut ann, "hall", dan).await?;
    say(&mut ann, "hall", "2", "hello all").await?;
    say(&mut ann, "hall", "3", "hello bob").await?;
    counts(&mut app, &[("bob", "2")]).await?;
    let dan = "<item affiliation='none' jid='dan@localhost'/>";
    crate::harness::rooms::set_item(&mut ann, "hall", dan).await?;
    configure(&mut ann, "hall", &[("membersonly", "0")]).await?;
    say(&mut ann, "hall", "4", "hello all").await?;
    say(&mut ann, "hall", "5", "hello bob").await?;
    counts(&mut app, &[("bob", "3")]).await?;
    configure(&mut ann, "hall", &[("membersonly", "1")]).await?;
    say(&mut ann, "hall", "6", "hello").await?;
    counts(&mut app, &[("bob", "4")]).await?;
    app.nothing().await
}

/// XEP-0045 §7.8.2: an invitation goes to the account, and its devices are woken.
#[tokio::test]
async fn who_is_invited_is_woken() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[("membersonly", "1")]).await?;
    gone(&lab, "bob", "phone", "").await?;
    let invite = format!("<x xmlns='{USER}'><invite to='bob@localhost'/></x>");
    ann.send(&format!("<message to='{}' id='i'>{invite}</message>", at("hall"))).await?;
    let push = pushed(&mut app).await?;
    assert_eq!((&*push.node, &*push.count), ("phone", "1"), "{}", push.request);
    // It is there when the phone comes, which may enter.
    let mut bob = lab.online("bob", "phone").await?;
    let came = bob.expect(|e| e.find("invite").is_some()).await?;
    assert_eq!(came.attr("from"), Some(&*at("hall")));
    enter(&mut bob, "hall", "bob").await?;
    app.nothing().await
}

/// §7.10: by the nickname that is reserved for a member, though it was never in the room.
#[tokio::test]
async fn a_member_is_woken_by_its_registered_nickname() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[]).await?;
    let mut bob = lab.online("bob", "phone").await?;
    accepted(&mut bob, &enable("phone", "")).await?;
    let form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/muc#register</value></field>\
        <field var='muc#register_roomnick'><value>Sir Robert</value></field></x>";
    let query = format!("<query xmlns='jabber:iq:register'>{form}</query>");
    let answer = crate::harness::rooms::ask(&mut bob, "set", "hall", &query).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    bob.close().await?;
    say(&mut ann, "hall", "1", "where is bob, where is Robert?").await?;
    say(&mut ann, "hall", "2", "where is sir robert?").await?;
    let push = pushed(&mut app).await?;
    assert_eq!((&*push.node, &*push.count), ("phone", "1"), "{}", push.request);
    app.nothing().await
}

/// Not: who is no member, who is in the room with another device, who blocks the room; nor of a room that does not
/// stay.
#[tokio::test]
async fn others_are_left_alone() -> Outcome<()> {
    let users = ["ann", "bob", "cat", "dan", "eve", "app"];
    let lab = lab(&users, &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    let members = "cat@localhost,dan@localhost,eve@localhost";
    found(&mut ann, "hall", "ann", &[("roomadmins", members)]).await?;
    for user in ["bob", "cat", "dan", "eve"] {
        was_here(&lab, (user, user), "", &mut ann).await?;
    }
    let mut cat = lab.online("cat", "desk").await?;
    enter(&mut cat, "hall", "cat").await?;
    let mut dan = lab.online("dan", "desk").await?;
    let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='{}'/></block>", at("hall"));
    accepted(&mut dan, &format!("<iq type='set' id='b'>{block}</iq>")).await?;
    dan.close().await?;
    say(&mut ann, "hall", "1", "bob, cat, dan").await?;
    hears(&mut cat, "1").await?;
    say(&mut ann, "hall", "2", "eve").await?;
    counts(&mut app, &[("eve", "1")]).await?;
    assert_eq!(configure(&mut ann, "hall", &[("persistentroom", "0")]).await?.condition(), None);
    say(&mut ann, "hall", "3", "eve").await?;
    hears(&mut cat, "3").await?;
    assert_eq!(configure(&mut ann, "hall", &[("persistentroom", "1")]).await?.condition(), None);
    say(&mut ann, "hall", "4", "eve").await?;
    assert_eq!(pushed(&mut app).await?.count, "2", "the third was not told");
    app.nothing().await
}

/// Names, wishes and registrations are durable: after a kill, with nobody having been in the room since.
#[tokio::test]
async fn it_is_known_after_a_kill_who_is_away() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "modules.push.interval_secs=1"];
    let mut lab = Lab::serve(folder.path(), &set, &["ann", "bob", "cat", "app"]);
    let mut ann = lab.online("ann", "r").await?;
    let members = "bob@localhost,cat@localhost";
    found(&mut ann, "hall", "ann", &[("roomadmins", members)]).await?;
    was_here(&lab, ("bob", "Robert"), "", &mut ann).await?;
    was_here(&lab, ("cat", "Kitty"), "", &mut ann).await?;
    wishes(&lab, "cat", "always").await?;
    // What is said later is durable later.
    ann.enable().await?;
    say(&mut ann, "hall", "0", "bye").await?;
    ann.r_until(1).await?;
    lab.process.kill();
    lab = Lab::serve(folder.path(), &set, &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    enter(&mut ann, "hall", "ann").await?;
    say(&mut ann, "hall", "1", "where is robert?").await?;
    counts(&mut app, &[("bob", "1"), ("cat", "1")]).await?;
    app.nothing().await
}

/// XEP-0198: a session that hibernates in the room gets its messages, and its device is woken as it is for others; but
/// for a room of which it wants to hear nothing.
#[tokio::test]
async fn a_session_that_hibernates_in_the_room_is_woken() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    found(&mut ann, "hall", "ann", &[("roomadmins", "bob@localhost")]).await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    accepted(&mut bob, &enable("n", "")).await?;
    enter(&mut bob, "hall", "bob").await?;
    bob.r().await?;
    let handled = u32::try_from(bob.take().len()).unwrap_or_default();
    bob.a(bob.handled + handled).await?;
    bob.fence().await?;
    let jid = bob.jid.clone();
    drop(bob);
    lab.sleeps(&jid);
    say(&mut ann, "hall", "1", "hello").await?;
    let push = pushed(&mut app).await?;
    assert_eq!(push.node, "n");
    wishes(&lab, "bob", "never").await?;
    say(&mut ann, "hall", "2", "hello bob").await?;
    hears(&mut ann, "2").await?;
    app.nothing().await?;
    wishes(&lab, "bob", "on-mention").await?;
    say(&mut ann, "hall", "3", "hello").await?;
    say(&mut ann, "hall", "4", "hello bob").await?;
    pushed(&mut app).await?;
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    let missed = bob.messages().await?;
    assert!(missed.ends_with(&["1", "2", "3", "4"].map(str::to_owned)), "{missed:?}");
    Ok(())
}

/// An instant room (XEP-0045 §10.1.2) of the preset for OMEMO groups (XEP-0384 §5.8): members only, who see each
/// other; it stays, and a member that was away finds what was said. Of what is encrypted nobody can see whom it
/// mentions: its members are told of it (XEP-0492 §3).
#[tokio::test]
async fn a_private_group_is_made_for_phones() -> Outcome<()> {
    let set = ["modules.muc.preset=private", "modules.muc.push_all_up_to=1"];
    let lab = lab(&["ann", "bob", "eve", "app"], &set);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    let seen = enter(&mut ann, "hall", "ann").await?;
    assert!(codes(&seen[0]).contains(&"201".to_owned()), "{}", seen[0]);
    let instant = "<query xmlns='http://jabber.org/protocol/muc#owner'>\
        <x xmlns='jabber:x:data' type='submit'/></query>";
    let to = at("hall");
    accepted(&mut ann, &format!("<iq type='set' id='i' to='{to}'>{instant}</iq>")).await?;
    let mut eve = lab.online("eve", "r").await?;
    knock(&mut eve, "hall", "eve", "").await?;
    let refused = eve.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("registration-required"), "members only");
    let admins = [("roomadmins", "bob@localhost")];
    assert_eq!(configure(&mut ann, "hall", &admins).await?.attr("type"), Some("result"));
    let seen = was_here(&lab, ("bob", "bob"), "", &mut ann).await?;
    let own = seen.iter().find(|e| codes(e).contains(&"110".to_owned())).expect("own presence");
    assert_eq!(codes(own), ["100", "110", "170"], "non-anonymous, archived");
    let real = seen[0].child(USER, "x").and_then(|x| x.child(USER, "item"));
    assert_eq!(real.and_then(|item| item.attr("jid")), Some("ann@localhost/r"));
    say(&mut ann, "hall", "1", "in the clear").await?;
    let sealed =
        |inner: &str| format!("<encrypted xmlns='{OMEMO}'><header sid='1'/>{inner}</encrypted>");
    tell(&mut ann, "2", &sealed("")).await?;
    tell(&mut ann, "3", &sealed("<payload>x</payload>")).await?;
    assert_eq!(pushed(&mut app).await?.count, "1", "the one that may be for him");
    // Nobody is left in it; it is there still, with what was said.
    ann.close().await?;
    let mut bob = lab.online("bob", "phone").await?;
    knock(&mut bob, "hall", "bob", "").await?;
    let seen = entered(&mut bob, "hall").await?;
    assert!(!seen.iter().any(|e| codes(e).contains(&"201".to_owned())));
    let kept: Vec<&str> =
        seen.iter().filter_map(|e| e.attr("id")).filter(|id| id.len() == 1).collect();
    assert_eq!(kept, ["1", "2", "3"]);
    app.nothing().await
}

/// XEP-0492 §3 speaks of one's own groups: whom others made a member is not woken by all that they say, before it was
/// in the room or has it among its bookmarks.
#[tokio::test]
async fn nobody_is_woken_by_a_group_that_others_put_it_in() -> Outcome<()> {
    let lab = lab(&["ann", "bob", "cat", "app"], &[]);
    let mut app = lab.online("app", "s").await?;
    let mut ann = lab.online("ann", "r").await?;
    let members = "bob@localhost,cat@localhost";
    let private = [("membersonly", "1"), ("whois", "anyone"), ("roomadmins", members)];
    found(&mut ann, "hall", "ann", &private).await?;
    was_here(&lab, ("cat", "cat"), "", &mut ann).await?;
    gone(&lab, "bob", "phone", "").await?;
    say(&mut ann, "hall", "1", "hello").await?;
    counts(&mut app, &[("cat", "1")]).await?;
    let mut bob = lab.online("bob", "desk").await?;
    let item = format!(
        "<item id='{}'><conference xmlns='{BOOKMARKS}' autojoin='true'/></item>",
        at("hall")
    );
    published(&mut bob, BOOKMARKS, &item).await?;
    bob.close().await?;
    say(&mut ann, "hall", "2", "hello").await?;
    counts(&mut app, &[("phone", "1"), ("cat", "2")]).await?;
    // Who is no member any more and is made one again has not come to that one.
    for affiliation in ["none", "member"] {
        let item = format!("<item affiliation='{affiliation}' jid='cat@localhost'/>");
        crate::harness::rooms::set_item(&mut ann, "hall", &item).await?;
    }
    pushed(&mut app).await?;
    say(&mut ann, "hall", "3", "hello").await?;
    counts(&mut app, &[("phone", "2")]).await?;
    app.nothing().await
}
