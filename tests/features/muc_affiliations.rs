//! XEP-0463: a client that comes back hears what changed of a room's affiliations.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    USER, at, codes, configure, entered, gathering, item, knock, sees, set_item,
};

const MAV: &str = "urn:xmpp:muc:affiliations:1";

fn mav(one: &Element) -> Option<&Element> {
    one.child(USER, "x")?.child(MAV, "mav")
}

fn since(one: &Element) -> Option<&str> {
    mav(one)?.attr("since")
}

fn until(one: &Element) -> &str {
    mav(one).and_then(|mav| mav.attr("until")).unwrap_or_default()
}

/// The items of an answer: `jid affiliation`.
fn people(one: &Element) -> Vec<String> {
    let x = one.child(USER, "x").expect("the extension");
    let items = x.children.iter().filter(|child| child.name == "item");
    let line = |item: &Element| {
        format!("{} {}", item.attr("jid").unwrap_or("-"), item.attr("affiliation").unwrap_or("-"))
    };
    items.map(line).collect()
}

/// Enters with what it knows; what comes of it up to the subject.
async fn back(client: &mut Client, known: Option<&str>) -> Outcome<Vec<Element>> {
    // Invitations, of which this is not.
    client.fence().await?;
    client.forget();
    let since = known.map(|known| format!(" since='{known}'")).unwrap_or_default();
    knock(client, "hall", "bob", &format!("<mav xmlns='{MAV}'{since}/>")).await?;
    entered(client, "hall").await
}

fn own(seen: &[Element]) -> &Element {
    seen.iter().find(|one| codes(one).contains(&"110".to_owned())).expect("its own presence")
}

async fn leave(client: &mut Client) -> Outcome<()> {
    client.send(&format!("<presence type='unavailable' to='{}/bob'/>", at("hall"))).await?;
    sees(client, "hall", "bob").await?;
    client.fence().await?;
    client.forget();
    Ok(())
}

/// §5.2.1: everything at first, then what changed, then nothing.
#[tokio::test]
async fn what_changed_is_told_before_any_presence() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let fields = [("membersonly", "1"), ("whois", "anyone")];
    let mut all = gathering(&lab, "hall", &["ann"], &fields).await?;
    let members = "<item affiliation='member' jid='bob@localhost'/>\
                   <item affiliation='member' jid='cat@localhost'/>\
                   <item affiliation='outcast' jid='eve@localhost'/>";
    set_item(&mut all[0], "hall", members).await?;
    let mut bob = lab.online("bob", "r").await?;
    let seen = back(&mut bob, None).await?;
    let first = &seen[0];
    assert_eq!((&*first.name, since(first)), ("message", None), "before any presence");
    // Who is banned is for admins to know (§5.2.3).
    assert_eq!(
        people(first),
        ["ann@localhost owner", "bob@localhost member", "cat@localhost member"]
    );
    let known = until(own(&seen)).to_owned();
    assert_eq!(until(first), known);
    assert!(!known.is_empty());
    leave(&mut bob).await?;
    // The present version: no message, only its name.
    let seen = back(&mut bob, Some(&known)).await?;
    assert!(seen.iter().all(|one| one.name == "presence" || one.find("subject").is_some()));
    assert_eq!(until(own(&seen)), known);
    leave(&mut bob).await?;
    all[0].fence().await?;
    all[0].forget();
    let changes = "<item affiliation='none' jid='cat@localhost'/>\
                   <item affiliation='admin' jid='dan@localhost'/>";
    set_item(&mut all[0], "hall", changes).await?;
    // Over a crash, too.
    drop(all);
    drop(bob);
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    let seen = back(&mut bob, Some(&known)).await?;
    assert_eq!(since(&seen[0]), Some(&*known));
    assert_eq!(people(&seen[0]), ["cat@localhost none", "dan@localhost admin"]);
    assert_eq!(until(&seen[0]), until(own(&seen)));
    leave(&mut bob).await?;
    // A version that nobody was told: everything.
    for made_up in ["1.AAAAAAAAAAAA", "x", "99"] {
        let seen = back(&mut bob, Some(made_up)).await?;
        assert_eq!((since(&seen[0]), people(&seen[0]).len()), (None, 3), "{made_up}");
        leave(&mut bob).await?;
    }
    Ok(())
}

/// §5.2.2: each change has its place in the chain, for who is there and who is not.
#[tokio::test]
async fn each_change_says_between_which_versions_it_is() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let items = "<item affiliation='member' jid='bob@localhost'/>\
                 <item affiliation='member' jid='cat@localhost'/>\
                 <item affiliation='outcast' jid='bob@localhost'/>";
    set_item(&mut all[0], "hall", items).await?;
    let one = sees(&mut all[0], "hall", "bob").await?;
    let two = all[0].expect(|e| e.name == "message" && mav(e).is_some()).await?;
    let three = sees(&mut all[0], "hall", "bob").await?;
    assert_eq!(item(&one).as_deref(), Some("member participant"));
    assert_eq!(people(&two), ["cat@localhost member"]);
    assert_eq!(item(&three).as_deref(), Some("outcast none"));
    assert_eq!(since(&two), Some(until(&one)));
    assert_eq!(since(&three), Some(until(&two)));
    // What is no change of an affiliation has none; nor does anybody see what another asked.
    set_item(&mut all[0], "hall", "<item affiliation='none' jid='bob@localhost'/>").await?;
    all[0].fence().await?;
    all[0].forget();
    knock(&mut all[1], "hall", "bob", &format!("<mav xmlns='{MAV}'/>")).await?;
    assert!(mav(&sees(&mut all[0], "hall", "bob").await?).is_none());
    all[1].fence().await?;
    all[1].forget();
    set_item(&mut all[0], "hall", "<item nick='bob' role='visitor'/>").await?;
    // "without a `mav` element … must consider any previous affiliation data to be outdated"
    let own = sees(&mut all[1], "hall", "bob").await?;
    assert_eq!((since(&own), until(&own).is_empty()), (None, false));
    assert!(mav(&sees(&mut all[0], "hall", "bob").await?).is_none());
    Ok(())
}

/// §5.2.3: who may not read the lists is told so, and enters all the same.
#[tokio::test]
async fn who_may_not_read_the_lists_is_told_so() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann"], &[]).await?;
    let mut bob = lab.online("bob", "r").await?;
    knock(&mut bob, "hall", "bob", &format!("<mav xmlns='{MAV}'/>")).await?;
    let error = bob.receive().await?;
    assert_eq!((&*error.name, error.condition()), ("message", Some("forbidden")));
    assert_eq!((error.attr("from"), error.attr("id")), (Some(&*at("hall")), Some("in")));
    let seen = entered(&mut bob, "hall").await?;
    assert!(!until(own(&seen)).is_empty());
    // An owner who struck others off in the form: one version each.
    configure(&mut all[0], "hall", &[("roomadmins", "bob@localhost,cat@localhost")]).await?;
    all[0].forget();
    configure(&mut all[0], "hall", &[("roomadmins", "")]).await?;
    let one = sees(&mut all[0], "hall", "bob").await?;
    let two = all[0].expect(|e| e.name == "message" && mav(e).is_some()).await?;
    assert_eq!(since(&two), Some(until(&one)));
    Ok(())
}

/// §5.2.2: "When any affiliation list is modified": a nickname in it, too (XEP-0045 §9.5), in the room or not.
#[tokio::test]
async fn a_nickname_in_a_list_is_a_change_of_it() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let fields = [("membersonly", "1"), ("whois", "anyone")];
    let mut all = gathering(&lab, "hall", &["ann"], &fields).await?;
    set_item(&mut all[0], "hall", "<item affiliation='member' jid='bob@localhost'/>").await?;
    let mut bob = lab.online("bob", "r").await?;
    let known = until(own(&back(&mut bob, None).await?)).to_owned();
    all[0].fence().await?;
    all[0].forget();
    let nick = "<item affiliation='member' jid='bob@localhost' nick='Bobby'/>";
    set_item(&mut all[0], "hall", nick).await?;
    for client in [&mut all[0], &mut bob] {
        let told = client.expect(|e| e.name == "message" && mav(e).is_some()).await?;
        assert_eq!((since(&told), people(&told).len()), (Some(&*known), 1), "{told}");
        assert_eq!(item(&told).as_deref(), Some("member participant"));
        assert_ne!(until(&told), known);
    }
    leave(&mut bob).await?;
    let seen = back(&mut bob, Some(&known)).await?;
    assert_eq!(people(&seen[0]), ["bob@localhost member"]);
    let listed = seen[0].child(USER, "x").and_then(|x| x.child(USER, "item"));
    assert_eq!(listed.and_then(|item| item.attr("nick")), Some("Bobby"));
    // The same once more is none.
    let now = until(own(&seen)).to_owned();
    set_item(&mut all[0], "hall", nick).await?;
    leave(&mut bob).await?;
    assert_eq!(until(own(&back(&mut bob, Some(&now)).await?)), now);
    Ok(())
}

/// §5.2.2: "When broadcasting an affiliation change": where the presence of those whom it is about is not shown, a
/// message says it, once to each.
#[tokio::test]
async fn a_change_that_presence_does_not_show_is_told() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    for (members_only, after) in [("0", "none"), ("1", "outcast")] {
        let fields = [
            ("presencebroadcast", "moderator"),
            ("whois", "anyone"),
            ("getmemberlist", "moderator,participant"),
            ("membersonly", members_only),
        ];
        let mut ann = gathering(&lab, "hall", &["ann"], &fields).await?.remove(0);
        set_item(&mut ann, "hall", "<item affiliation='member' jid='bob@localhost'/>").await?;
        let first = ann.expect(|e| e.name == "message" && mav(e).is_some()).await?;
        let mut bob = lab.online("bob", "r").await?;
        let known = until(own(&back(&mut bob, None).await?)).to_owned();
        assert_eq!(until(&first), known);
        let change = format!("<item affiliation='{after}' jid='bob@localhost'/>");
        set_item(&mut ann, "hall", &change).await?;
        let told = ann.expect(|e| e.name == "message" && mav(e).is_some()).await?;
        assert_eq!(
            (since(&told), people(&told)),
            (Some(&*known), vec![format!("bob@localhost {after}")])
        );
        // Whether it is there is not said.
        assert_eq!(item(&told).as_deref(), Some(&*format!("{after} none")));
        let own = sees(&mut bob, "hall", "bob").await?;
        assert_eq!((since(&own), until(&own)), (Some(&*known), until(&told)));
        bob.fence().await?;
        assert!(bob.take().iter().all(|one| mav(one).is_none()), "once");
        let destroy = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
        crate::harness::rooms::ask(&mut ann, "set", "hall", destroy).await?;
    }
    Ok(())
}
