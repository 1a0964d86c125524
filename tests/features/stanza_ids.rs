//! XEP-0359: the server's ids are the server's, and say the same each time.

use crate::harness::client::Outcome;
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::sm::{chat, is_delayed};

const SID: &str = "urn:xmpp:sid:0";

/// Givers and ids.
fn ids_of(message: &Element) -> Vec<(&str, &str)> {
    let all = message.children.iter().filter(|child| child.is(SID, "stanza-id"));
    all.map(|id| (id.attr("by").unwrap_or("-"), id.attr("id").unwrap_or("-"))).collect()
}

/// XEP-0359 §3, XEP-0313 §3.5: one id, by the addressee's account, the same live, sent again and from the
/// store, for each device.
#[tokio::test]
async fn a_message_has_one_id_for_ever() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let (mut phone, id) = lab.managed("bob", "phone").await?;
    let mut desk = lab.online("bob", "desk").await?;
    alice.send(&chat("bob@localhost", "1")).await?;
    alice.send(&chat(&phone.jid, "2")).await?;
    let message = |n: &'static str| move |e: &Element| e.attr("id") == Some(n);
    let first = phone.expect(message("1")).await?;
    let second = phone.expect(message("2")).await?;
    let [(by, given)] = ids_of(&first)[..] else { panic!("one id was expected: {first}") };
    assert_eq!(by, "bob@localhost");
    assert!(given.len() >= 16, "{given}");
    assert_ne!(ids_of(&first), ids_of(&second));
    let other = desk.expect(message("1")).await?;
    assert_eq!(ids_of(&other), ids_of(&first), "on another device");
    drop(phone);
    let (mut phone, _) = lab.resumed("bob", &id, 0).await?;
    for sent in [&first, &second] {
        let again = phone.expect(|e| e.attr("id") == sent.attr("id")).await?;
        assert_eq!(ids_of(&again), ids_of(sent), "sent again");
    }
    phone.close().await?;
    drop(desk);
    let mut tablet = lab.online("bob", "tablet").await?;
    for sent in [&first, &second] {
        let stored = tablet.expect(|e| e.attr("id") == sent.attr("id")).await?;
        assert!(is_delayed(&stored), "{stored}");
        assert_eq!(ids_of(&stored), ids_of(sent), "from the store");
    }
    Ok(())
}

/// XEP-0313 §3.5: the id names a place in the archive. What may not be kept there (XEP-0334) has none: neither
/// live nor from the mailbox.
#[tokio::test]
async fn what_is_in_no_archive_has_no_id() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let passing = chat("bob@localhost", "1")
        .replace("</message>", "<no-permanent-store xmlns='urn:xmpp:hints'/></message>");
    alice.send(&passing).await?;
    let live = bob.expect(|e| e.attr("id") == Some("1")).await?;
    assert_eq!(ids_of(&live), []);
    // Unconfirmed, as the connection is cut.
    drop(bob);
    let mut bob = lab.online("bob", "r").await?;
    let stored = bob.expect(|e| e.attr("id") == Some("1")).await?;
    assert!(is_delayed(&stored), "{stored}");
    assert_eq!(ids_of(&stored), []);
    Ok(())
}

/// XEP-0359 §3 rule 2, §6: what claims to be ours is taken out before anybody sees it, now or later.
#[tokio::test]
async fn forged_ids_are_gone_and_others_stay() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let forged: String = [
        "by='bob@localhost'",
        "by='BOB@LocalHost'",
        "by='bob@localhost/r'",
        "by='&#98;ob@localhost'",
        "by='alice@localhost'",
        "by='localhost'",
        "by='room@localhost'",
        "by=''",
        "",
    ]
    .iter()
    .map(|by| format!("<stanza-id xmlns='{SID}' id='forged' {by}/>"))
    .collect();
    let prefixed = format!("<s:stanza-id xmlns:s='{SID}' s:x='1' id='forged' by='bob@localhost'/>");
    let kept = format!(
        "<stanza-id xmlns='{SID}' id='kept' by='room@rooms.example'/>\
         <origin-id xmlns='{SID}' id='mine'/>\
         <wrapped xmlns='urn:x'><stanza-id xmlns='{SID}' id='inner' by='bob@localhost'/></wrapped>"
    );
    let before = "<body>a &amp; b</body>";
    let payloads = format!("{forged}{before}{prefixed}{kept}{forged}<thread>t</thread>");
    alice
        .send(&format!("<message to='bob@localhost' type='chat' id='f'>{payloads}</message>"))
        .await?;
    let live = bob.expect(|e| e.name == "message").await?;
    drop(bob);
    let mut bob = lab.online("bob", "again").await?;
    let stored = bob.expect(|e| e.name == "message").await?;
    for message in [&live, &stored] {
        let ids = ids_of(message);
        assert_eq!(ids.len(), 2, "{message}");
        assert_eq!(ids[0], ("room@rooms.example", "kept"));
        assert_eq!((ids[1].0, ids[1].1 == "forged"), ("bob@localhost", false));
        assert_eq!(message.child(SID, "origin-id").and_then(|o| o.attr("id")), Some("mine"));
        assert!(message.find("wrapped").is_some_and(|w| w.find("stanza-id").is_some()));
        assert_eq!(message.text_of("body"), Some("a & b"));
        assert_eq!(message.text_of("thread"), Some("t"));
    }
    assert_eq!(ids_of(&live), ids_of(&stored));
    Ok(())
}
