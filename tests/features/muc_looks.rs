//! XEP-0486, XEP-0317: the avatar of a room, and the hats of those in it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{ask, at, codes, configure, enter, gathering, sees};
use crate::muc_disco::{info, values};

const HATS: &str = "urn:xmpp:hats:0";
/// base64 of "a", its SHA-1, and that of "b" for the second format.
const A: (&str, &str) = ("YQ==", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8");
const B: (&str, &str) = ("Yg==", "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98");

fn vcard(photos: &[&str]) -> String {
    let photos: String = photos
        .iter()
        .map(|photo| format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{photo}</BINVAL></PHOTO>"))
        .collect();
    format!("<vCard xmlns='vcard-temp'>{photos}</vCard>")
}

async fn get_vcard(client: &mut Client, room: &str) -> Outcome<Element> {
    ask(client, "get", room, "<vCard xmlns='vcard-temp'/>").await
}

/// The hash in presence of the room itself.
async fn shown(client: &mut Client) -> Outcome<String> {
    let room = at("hall");
    let one = client.expect(|e| e.name == "presence" && e.attr("from") == Some(&room)).await?;
    let x = one.child("vcard-temp:x:update", "x").expect("an update");
    Ok(x.find("photo").expect("a photo").text.clone())
}

/// XEP-0486 §3, §5: set by owners, seen by all who may find the room, in it or not; told when it changes.
#[tokio::test]
async fn a_room_has_an_avatar() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob", "eve"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut eve = lab.online("eve", "r").await?;
    assert_eq!(get_vcard(&mut eve, "hall").await?.condition(), Some("item-not-found"));
    for client in [&mut all[1], &mut eve] {
        let answer = ask(client, "set", "hall", &vcard(&[A.0])).await?;
        assert_eq!(answer.condition(), Some("forbidden"));
    }
    let answer = ask(&mut all[0], "set", "hall", &vcard(&[A.0, B.0])).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    for client in &mut all {
        let told = client.expect(|e| e.name == "message" && !codes(e).is_empty()).await?;
        assert_eq!((codes(&told), told.attr("from")), (vec!["104".to_owned()], Some(&*at("hall"))));
        assert_eq!(shown(client).await?, A.1);
    }
    let answer = info(&mut eve, "hall").await?;
    assert_eq!(
        values(&answer, "muc#roominfo_avatarhash"),
        Some(vec![A.1.to_owned(), B.1.to_owned()])
    );
    let answer = get_vcard(&mut eve, "hall").await?;
    assert_eq!(answer.find("BINVAL").map(|one| &*one.text), Some(A.0), "{answer}");
    // Who enters is told before it sees itself.
    let seen = enter(&mut eve, "hall", "eve").await?;
    assert_eq!(seen[0].attr("from"), Some(&*at("hall")));
    assert_eq!(seen[0].find("photo").map(|one| &*one.text), Some(A.1));
    // Another configuration leaves it, and so does a crash.
    configure(&mut all[0], "hall", &[("roomname", "Hall")]).await?;
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let (mut ann, mut eve) = (lab.online("ann", "r").await?, lab.online("eve", "r").await?);
    assert_eq!(get_vcard(&mut eve, "hall").await?.find("BINVAL").map(|one| &*one.text), Some(A.0));
    assert!(values(&info(&mut eve, "hall").await?, "muc#roominfo_avatarhash").is_some());
    // An empty one takes it away.
    enter(&mut ann, "hall", "ann").await?;
    ann.forget();
    ask(&mut ann, "set", "hall", &vcard(&[])).await?;
    assert_eq!(shown(&mut ann).await?, "");
    assert_eq!(get_vcard(&mut eve, "hall").await?.condition(), Some("item-not-found"));
    assert_eq!(values(&info(&mut eve, "hall").await?, "muc#roominfo_avatarhash"), None);
    Ok(())
}

/// Bounded, of configured rooms only, and not for those who may neither find nor enter the room.
#[tokio::test]
async fn an_avatar_has_its_bounds() -> Outcome<()> {
    let lab = Lab::new(&["ann", "eve"], &["modules.muc.vcard_bytes_max=1000"]);
    let (mut ann, mut eve) = (lab.online("ann", "r").await?, lab.online("eve", "r").await?);
    enter(&mut ann, "hall", "ann").await?;
    let answer = ask(&mut ann, "set", "hall", &vcard(&[A.0])).await?;
    assert_eq!(answer.condition(), Some("not-allowed"), "not configured yet");
    assert_eq!(get_vcard(&mut eve, "hall").await?.condition(), Some("item-not-found"));
    configure(&mut ann, "hall", &[("publicroom", "0"), ("membersonly", "1")]).await?;
    for (photo, condition) in [(&*"AAAA".repeat(250), "not-acceptable"), ("A!", "bad-request")] {
        let answer = ask(&mut ann, "set", "hall", &vcard(&[photo])).await?;
        assert_eq!(answer.condition(), Some(condition));
    }
    ask(&mut ann, "set", "hall", &vcard(&[A.0])).await?;
    assert_eq!(get_vcard(&mut eve, "hall").await?.condition(), Some("forbidden"));
    assert_eq!(get_vcard(&mut ann, "hall").await?.attr("type"), Some("result"));
    Ok(())
}

/// XEP-0054 §3.2 through a room: the vCard of who stands behind a nickname, from its server.
#[tokio::test]
async fn an_occupants_vcard_is_its_accounts() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let own = "<vCard xmlns='vcard-temp'><FN>Bob</FN></vCard>";
    all[1].ask(&format!("<iq type='set' id='v'>{own}</iq>")).await?;
    let answer = get_vcard(&mut all[0], &format!("{}/bob", at("hall"))).await?;
    assert_eq!(answer.find("FN").map(|one| &*one.text), Some("Bob"), "{answer}");
    assert_eq!(answer.attr("from"), Some(&*format!("{}/bob", at("hall"))));
    Ok(())
}

fn command(node: &str, form: &[(&str, &str)]) -> String {
    let fields: String = form
        .iter()
        .map(|(var, value)| format!("<field var='hats#{var}'><value>{value}</value></field>"))
        .collect();
    let form = match form {
        [] => String::new(),
        _ => format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>urn:xmpp:hats:commands</value></field>{fields}</x>"
        ),
    };
    format!(
        "<command xmlns='http://jabber.org/protocol/commands' action='execute' \
         node='urn:xmpp:hats:commands:{node}'>{form}</command>"
    )
}

fn status(answer: &Element) -> Option<&str> {
    answer.find("command").and_then(|command| command.attr("status"))
}

fn titles(one: &Element) -> Vec<&str> {
    let hats = one.child(HATS, "hats").into_iter().flat_map(|hats| &hats.children);
    hats.filter_map(|hat| hat.attr("title")).collect()
}

/// XEP-0317 §2, §3: made by owners, worn in presence, for newcomers too, and kept.
#[tokio::test]
async fn people_wear_hats() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob", "eve"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let form = ask(&mut all[0], "set", "hall", &command("create", &[])).await?;
    assert_eq!(status(&form), Some("executing"), "{form}");
    assert!(form.find("field").is_some());
    let hat = [("title", "Host"), ("uri", "u:host"), ("hue", "327.25")];
    let answer = ask(&mut all[0], "set", "hall", &command("create", &hat)).await?;
    assert_eq!(status(&answer), Some("completed"), "{answer}");
    let told = all[1].expect(|e| e.name == "message" && !codes(e).is_empty()).await?;
    assert_eq!(codes(&told), ["104"]);
    assert!(values(&info(&mut all[1], "hall").await?, "hats#hash").is_some());
    let given = [("jid", "bob@localhost"), ("uri", "u:host")];
    assert_eq!(
        status(&ask(&mut all[0], "set", "hall", &command("assign", &given)).await?),
        Some("completed")
    );
    for client in &mut all {
        let seen = sees(client, "hall", "bob").await?;
        assert_eq!(titles(&seen), ["Host"], "{seen}");
        let hat = seen.find("hat").expect("it");
        assert_eq!((hat.attr("uri"), hat.attr("hue")), (Some("u:host"), Some("327.25")));
    }
    // §3.4, §3.7
    let list = ask(&mut all[1], "set", "hall", &command("list", &[])).await?;
    assert!(list.to_string().contains("u:host"), "{list}");
    let worn = ask(&mut all[0], "set", "hall", &command("list-assigned", &[])).await?;
    assert!(worn.to_string().contains("bob@localhost"), "{worn}");
    let items = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>";
    for (who, count) in [(0, 6), (1, 1)] {
        let answer = ask(&mut all[who], "get", "hall", items).await?;
        assert_eq!(answer.find("query").map(|query| query.children.len()), Some(count), "{answer}");
    }
    // Only those who run the room.
    for (node, form, condition) in [
        ("create", &hat[..], "forbidden"),
        ("assign", &given, "forbidden"),
        ("list-assigned", &[], "forbidden"),
        ("other", &[], "item-not-found"),
    ] {
        let answer = ask(&mut all[1], "set", "hall", &command(node, form)).await?;
        assert_eq!(answer.condition(), Some(condition), "{node}");
    }
    for (node, form, condition) in [
        ("create", &[("title", "x")][..], "bad-request"),
        ("create", &[("title", "x"), ("uri", "x")], "not-acceptable"),
        ("assign", &[("jid", "@"), ("uri", "u:host")], "jid-malformed"),
        ("assign", &[("jid", "bob@localhost"), ("uri", "u:none")], "item-not-found"),
        ("destroy", &[("uri", "u:none")], "item-not-found"),
    ] {
        let answer = ask(&mut all[0], "set", "hall", &command(node, form)).await?;
        assert_eq!(answer.condition(), Some(condition), "{node} {form:?}");
    }
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let (mut bob, mut ann) = (lab.online("bob", "r").await?, lab.online("ann", "r").await?);
    enter(&mut bob, "hall", "bob").await?;
    let seen = enter(&mut ann, "hall", "ann").await?;
    assert_eq!(titles(&seen[0]), ["Host"], "{}", seen[0]);
    ann.forget();
    ask(&mut ann, "set", "hall", &command("destroy", &[("uri", "u:host")])).await?;
    assert!(titles(&sees(&mut ann, "hall", "bob").await?).is_empty());
    Ok(())
}

/// XEP-0317: nobody puts on a hat by itself.
#[tokio::test]
async fn a_forged_hat_is_taken_off() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let forged = format!("<hats xmlns='{HATS}'><hat title='Host' uri='u:host'/></hats>");
    all[1]
        .send(&format!("<presence to='{}/bob'><status>x</status>{forged}</presence>", at("hall")))
        .await?;
    let seen = sees(&mut all[0], "hall", "bob").await?;
    assert_eq!(seen.text_of("status"), Some("x"));
    assert!(seen.find("hats").is_none(), "{seen}");
    Ok(())
}
