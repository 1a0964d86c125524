//! XEP-0424: senders retract messages.

use crate::archive::{archived, bodies, chat};
use crate::harness::client::Outcome;
use crate::harness::element::Element;
use crate::harness::server::{Place, subject};

const NS: &str = "urn:xmpp:message-retract:1";

fn retract(to: &str, id: &str, target: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='{id}'><retract id='{target}' xmlns='{NS}'/>\
         <body>/me retracted a message</body><store xmlns='urn:xmpp:hints'/></message>"
    )
}

/// The id with the body, or with the retraction that removed it.
fn told(all: &[(String, Element)]) -> Vec<(&str, String)> {
    let each = |m: &'_ Element| match m.child(NS, "retracted") {
        Some(gone) => format!("gone by {}", gone.attr("id").unwrap_or("-")),
        None => m.text_of("body").unwrap_or("-").to_owned(),
    };
    all.iter().map(|(_, m)| (m.attr("id").unwrap_or("-"), each(m))).collect()
}

/// §4: the tombstone is in both archives, under the message's ids, with its addresses and nothing else.
#[tokio::test]
async fn a_tombstone_is_left_in_both_archives() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let j = place.jid("juliet");
    for body in ["one", "two", "three"] {
        romeo.send(&chat(&j, body, "<thread>t</thread>")).await?;
        juliet.expect(|e| e.name == "message").await?;
    }
    // With indexed and with unindexed rows: the search before the retraction indexes them.
    let before = (archived(&mut romeo, "").await?, archived(&mut juliet, "").await?);
    romeo.send(&chat(&j, "four", "")).await?;
    romeo.send(&retract(&j, "r1", "two")).await?;
    romeo.send(&retract(&j, "r2", "four")).await?;
    let live = juliet.expect(|e| e.attr("id") == Some("r1")).await?;
    assert_eq!(live.child(NS, "retract").and_then(|r| r.attr("id")), Some("two"), "{live}");
    juliet.expect(|e| e.attr("id") == Some("r2")).await?;
    for (client, before) in [(&mut romeo, before.0), (&mut juliet, before.1)] {
        let after = archived(client, "").await?;
        let expected = [
            ("one", "one"),
            ("two", "gone by r1"),
            ("three", "three"),
            ("four", "gone by r2"),
            ("r1", "/me retracted a message"),
            ("r2", "/me retracted a message"),
        ];
        let expected = expected.map(|(id, told)| (id, told.to_owned()));
        assert_eq!(told(&after), expected);
        assert_eq!(after[1].0, before[1].0, "it keeps its place");
        let (gone, was) = (&after[1].1, &before[1].1);
        for name in ["from", "to", "type", "id"] {
            assert_eq!(gone.attr(name), was.attr(name), "{gone}");
        }
        assert_eq!(gone.children.len(), 1, "{gone}");
        assert!(gone.child(NS, "retracted").and_then(|r| r.attr("stamp")).is_some(), "{gone}");
    }
    Ok(())
}

/// §5: a sender can retract only its own messages, and a retraction cannot be retracted.
#[tokio::test]
async fn only_ones_own_words_are_taken_back() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let mut nurse = place.online("nurse").await;
    let (r, j, n) = (place.jid("romeo"), place.jid("juliet"), place.jid("nurse"));
    romeo.send(&chat(&j, "his", "")).await?;
    juliet.expect(|e| e.name == "message").await?;
    juliet.send(&chat(&r, "hers", "")).await?;
    romeo.expect(|e| e.name == "message").await?;
    // Retractions by the peer, by a stranger, in another conversation, repeated, and of a retraction.
    juliet.send(&retract(&r, "r1", "his")).await?;
    romeo.expect(|e| e.name == "message").await?;
    nurse.send(&retract(&j, "r2", "his")).await?;
    juliet.expect(|e| e.name == "message").await?;
    romeo.send(&retract(&n, "r3", "his")).await?;
    nurse.expect(|e| e.name == "message").await?;
    juliet.send(&retract(&r, "r4", "r1")).await?;
    romeo.expect(|e| e.name == "message").await?;
    assert_eq!(
        told(&archived(&mut juliet, "").await?)[..2],
        [("his", "his".to_owned()), ("hers", "hers".to_owned())]
    );
    juliet.send(&retract(&r, "r5", "hers")).await?;
    juliet.send(&retract(&r, "r6", "hers")).await?;
    romeo.expect(|e| e.attr("id") == Some("r6")).await?;
    for client in [&mut juliet, &mut romeo] {
        let all = archived(client, "").await?;
        let all = told(&all);
        assert!(all.contains(&("his", "his".to_owned())), "{all:?}");
        assert!(all.contains(&("hers", "gone by r5".to_owned())), "{all:?}");
        assert!(all.contains(&("r1", "/me retracted a message".to_owned())), "{all:?}");
    }
    // Another resource counts as the same sender; a note to oneself is in one archive only.
    let mut phone = place.online("romeo").await;
    phone.send(&retract(&j, "r7", "his")).await?;
    juliet.expect(|e| e.attr("id") == Some("r7")).await?;
    assert!(told(&archived(&mut juliet, "").await?).contains(&("his", "gone by r7".to_owned())));
    phone.send(&chat(&r, "note", "")).await?;
    phone.send(&retract(&r, "r8", "note")).await?;
    phone.expect(|e| e.attr("id") == Some("r8")).await?;
    assert!(told(&archived(&mut phone, "").await?).contains(&("note", "gone by r8".to_owned())));
    Ok(())
}

/// The recipient cannot prevent the tombstone by answers with the same id.
#[tokio::test]
async fn answers_of_the_same_id_hide_nothing() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let (r, j) = (place.jid("romeo"), place.jid("juliet"));
    romeo.send(&chat(&j, "his", "")).await?;
    juliet.expect(|e| e.name == "message").await?;
    for _ in 0..40 {
        juliet.send(&chat(&r, "his", "")).await?;
        romeo.expect(|e| e.name == "message").await?;
    }
    romeo.send(&retract(&j, "r1", "his")).await?;
    juliet.expect(|e| e.attr("id") == Some("r1")).await?;
    for client in [&mut juliet, &mut romeo] {
        let all = archived(client, "").await?;
        let gone = told(&all).iter().map(|(_, told)| told == "gone by r1").collect::<Vec<_>>();
        assert_eq!(gone.iter().filter(|gone| **gone).count(), 1);
        assert!(gone[0]);
    }
    Ok(())
}

/// §5: the service SHOULD NOT distribute it further: a recipient that was offline gets the tombstone and the
/// retraction, each in its place. Messages in no archive are treated in the same way.
#[tokio::test]
async fn who_was_away_does_not_see_what_was_said() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let mut romeo = place.online("romeo").await;
    let j = place.jid("juliet");
    romeo.send(&chat(&j, "kept", "")).await?;
    let hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
    romeo.send(&chat(&j, "passing", hint)).await?;
    romeo.send(&chat(&j, "stays", "")).await?;
    romeo.send(&retract(&j, "r1", "kept")).await?;
    romeo.send(&retract(&j, "r2", "passing")).await?;
    romeo.fence().await?;
    let mut juliet = place.bound("juliet").await;
    juliet.ignores_presence = true;
    juliet.send("<presence/>").await?;
    let mut waited = Vec::new();
    for _ in 0..5 {
        waited.push((String::new(), juliet.expect(|e| e.name == "message").await?));
    }
    let expected = [
        ("kept", "gone by r1"),
        ("passing", "gone by r2"),
        ("stays", "stays"),
        ("r1", "/me retracted a message"),
        ("r2", "/me retracted a message"),
    ];
    assert_eq!(told(&waited), expected.map(|(id, told)| (id, told.to_owned())));
    for (_, message) in &waited {
        assert!(message.child("urn:xmpp:delay", "delay").is_some(), "{message}");
        let has_id = message.child("urn:xmpp:sid:0", "stanza-id").is_some();
        assert_eq!(has_id, message.attr("id") != Some("passing"), "{message}");
    }
    Ok(())
}

/// A retraction that is not archived has no effect on that archive, because no tombstone is without its
/// retraction; and an administrator may switch tombstones off.
#[tokio::test]
async fn without_the_retraction_there_is_no_tombstone() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let mut romeo = place.online("romeo").await;
    let j = place.jid("juliet");
    romeo.send(&chat(&j, "one", "")).await?;
    let hidden = retract(&j, "r", "one").replace("<store ", "<no-permanent-store ");
    romeo.send(&hidden).await?;
    assert_eq!(bodies(&mut romeo, "").await?, ["one"]);
    let place = Place::set(&["romeo"], &[("modules.mam.tombstones", "false")]).await;
    let mut romeo = place.online("romeo").await;
    let r = place.jid("romeo");
    romeo.send(&chat(&r, "one", "")).await?;
    romeo.send(&retract(&r, "r", "one")).await?;
    romeo.expect(|e| e.attr("id") == Some("r")).await?;
    assert_eq!(bodies(&mut romeo, "").await?, ["one", "/me retracted a message"]);
    Ok(())
}
