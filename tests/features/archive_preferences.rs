//! XEP-0441: accounts choose what is archived.

use crate::archive::{archived, bodies, chat};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::server::{Options, PASSWORD, Place, Server, subject};

fn prefs(default: &str, always: &[&str], never: &[&str]) -> String {
    let list =
        |jids: &[&str]| -> String { jids.iter().map(|jid| format!("<jid>{jid}</jid>")).collect() };
    format!(
        "<iq type='set' id='prefs'><prefs xmlns='urn:xmpp:mam:2' default='{default}'>\
         <always>{}</always><never>{}</never></prefs></iq>",
        list(always),
        list(never)
    )
}

async fn prefer(client: &mut Client, stanza: &str) -> Outcome<()> {
    let answer = client.ask(stanza).await?;
    match answer.attr("type") {
        Some("result") => Ok(()),
        _ => client.fail(format!("no preferences: {answer}")),
    }
}

fn has_id(message: &Element) -> bool {
    message.child("urn:xmpp:sid:0", "stanza-id").is_some()
}

/// §2.3.3, XEP-0313 §3.5: a message that is not archived is delivered, without an archive id. §2.3.2: the
/// preferences do not affect the other side's archive.
#[tokio::test]
async fn each_side_keeps_what_it_wants() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let mut nurse = place.online("nurse").await;
    let (r, j, n) = (place.jid("romeo"), place.jid("juliet"), place.jid("nurse"));
    prefer(&mut juliet, &prefs("always", &[], &[&r.to_uppercase()])).await?;
    romeo.send(&chat(&j, "one", "")).await?;
    let live = juliet.expect(|e| e.name == "message").await?;
    assert!(!has_id(&live), "{live}");
    juliet.send(&chat(&romeo.jid, "two", "")).await?;
    let live = romeo.expect(|e| e.name == "message").await?;
    assert!(has_id(&live), "{live}");
    nurse.send(&chat(&j, "three", "")).await?;
    let live = juliet.expect(|e| e.name == "message").await?;
    assert!(has_id(&live), "{live}");
    assert_eq!(bodies(&mut juliet, "").await?, ["three"]);
    assert_eq!(bodies(&mut romeo, "").await?, ["one", "two"]);
    // Nothing is archived, except messages with one of romeo's resources.
    prefer(&mut juliet, &prefs("never", &[&romeo.jid], &[])).await?;
    romeo.send(&chat(&j, "four", "")).await?;
    nurse.send(&chat(&j, "five", "")).await?;
    juliet.expect(|e| e.text_of("body") == Some("four")).await?;
    juliet.expect(|e| e.text_of("body") == Some("five")).await?;
    for to in [&romeo.jid, &r, &n] {
        juliet.send(&chat(to, "six", "")).await?;
    }
    assert_eq!(bodies(&mut juliet, "").await?, ["three", "four", "six"]);
    romeo.fence().await?;
    romeo.forget();
    assert_eq!(bodies(&mut romeo, "").await?, ["one", "two", "four", "six", "six"]);
    Ok(())
}

/// §2.1.1: contacts according to the roster in memory at that moment.
#[tokio::test]
async fn contacts_alone_are_archived_if_so_wanted() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let (r, j) = (place.jid("romeo"), place.jid("juliet"));
    prefer(&mut juliet, &prefs("roster", &[], &[])).await?;
    let item = |more: &str| {
        format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='{r}' {more}/></query></iq>"
        )
    };
    romeo.send(&chat(&j, "stranger", "")).await?;
    juliet.expect(|e| e.name == "message").await?;
    juliet.ask(&item("name='R'")).await?;
    romeo.send(&chat(&j, "friend", "")).await?;
    juliet.expect(|e| e.name == "message").await?;
    juliet.send(&chat(&r, "answer", "")).await?;
    juliet.ask(&item("subscription='remove'")).await?;
    juliet.send(&chat(&r, "too late", "")).await?;
    // Notes to oneself always count as messages with a contact.
    juliet.send(&chat(&j, "note", "")).await?;
    juliet.fence().await?;
    juliet.forget();
    assert_eq!(bodies(&mut juliet, "").await?, ["friend", "answer", "note"]);
    Ok(())
}

/// promise.md 1: a message that may not be archived is stored until it is delivered; the answer to the
/// preferences is durable.
#[tokio::test]
async fn what_is_kept_out_waits_all_the_same_and_a_kill_forgets_nothing() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let start = |users: &[&str]| {
        let users = users.iter().map(|user| (format!("{user}@localhost"), PASSWORD.to_owned()));
        let options = Options {
            domains: vec!["localhost".into()],
            users: users.collect(),
            set: Vec::new(),
            data: Some(folder.path().to_owned()),
        };
        Server::start(&options).unwrap()
    };
    let mut server = start(&["romeo", "juliet"]);
    let place = Place::of(server.target.clone());
    let mut juliet = place.bound("juliet").await;
    prefer(&mut juliet, &prefs("never", &[], &[])).await?;
    server.kill();
    let mut server = start(&[]);
    let place = Place::of(server.target.clone());
    let mut romeo = place.online("romeo").await;
    for body in ["one", "two"] {
        romeo.send(&chat("juliet@localhost", body, "")).await?;
    }
    romeo.fence().await?;
    server.kill();
    let server = start(&[]);
    let place = Place::of(server.target.clone());
    let mut juliet = place.bound("juliet").await;
    juliet.ignores_presence = true;
    juliet.send("<presence/>").await?;
    for body in ["one", "two"] {
        let waited = juliet.expect(|e| e.name == "message").await?;
        assert_eq!(waited.text_of("body"), Some(body), "{waited}");
        assert!(!has_id(&waited) && waited.child("urn:xmpp:delay", "delay").is_some(), "{waited}");
    }
    assert!(archived(&mut juliet, "").await?.is_empty());
    juliet.close().await?;
    let mut juliet = place.online("juliet").await;
    juliet.nothing().await?;
    let mut romeo = place.online("romeo").await;
    assert_eq!(bodies(&mut romeo, "").await?, ["one", "two"]);
    Ok(())
}
