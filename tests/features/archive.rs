//! The archive (XEP-0313) as its owner sees it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element};
use crate::harness::server::{Place, subject};

const NS: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";

pub fn query(id: &str, content: &str) -> String {
    format!("<iq type='set' id='{id}'><query xmlns='{NS}'>{content}</query></iq>")
}

pub fn form(fields: &str) -> String {
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{NS}</value></field>{fields}</x>"
    )
}

#[tokio::test]
async fn an_account_says_that_it_has_an_archive_and_which_fields_a_query_may_have() -> Outcome<()> {
    let place = Place::with(&["romeo"]).await;
    let mut romeo = place.online("romeo").await;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let jid = place.jid("romeo");
    let answer = romeo.ask(&format!("<iq type='get' id='d' to='{jid}'>{info}</iq>")).await?;
    let query = answer.find("query").expect("the query");
    for feature in [
        NS,
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:mam:2#groupchat-field",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:message-retract:1#tombstone",
    ] {
        assert!(query.children.iter().any(|f| f.attr("var") == Some(feature)), "{answer}");
    }
    // §4.1.5
    let answer = romeo.ask(&format!("<iq type='get' id='f'><query xmlns='{NS}'/></iq>")).await?;
    let form = answer.find("query").and_then(|query| query.child("jabber:x:data", "x"));
    let form = form.expect("the form");
    assert_eq!(form.attr("type"), Some("form"), "{answer}");
    for (ty, var) in [
        ("hidden", "FORM_TYPE"),
        ("jid-single", "with"),
        ("text-single", "start"),
        ("text-single", "end"),
        ("text-single", "before-id"),
        ("text-single", "after-id"),
        ("list-multi", "ids"),
        ("boolean", "include-groupchat"),
    ] {
        let field = form.children.iter().find(|field| field.attr("var") == Some(var));
        let field = field.unwrap_or_else(|| panic!("no {var}: {answer}"));
        assert_eq!(field.attr("type"), Some(ty), "{answer}");
        assert!(field.child("jabber:x:data", "required").is_none(), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_query_must_not_be_is_answered_in_the_specs_words() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo"]).await;
    let mut romeo = place.online("romeo").await;
    let set = |inner: &str| format!("<set xmlns='{RSM}'>{inner}</set>");
    let field = |var: &str, value: &str| {
        form(&format!("<field var='{var}'><value>{value}</value></field>"))
    };
    for (content, condition) in [
        (set("<max>-1</max>"), "bad-request"),
        (set("<max>many</max>"), "bad-request"),
        (set("") + &set(""), "bad-request"),
        (set("<after>28482-98726-73623</after>"), "item-not-found"),
        (set("<before>AAAAAAAAAAAAAAAAAAAAAA</before>"), "item-not-found"),
        (field("before-id", "x"), "item-not-found"),
        (field("ids", "x"), "item-not-found"),
        (field("colour", "red"), "feature-not-implemented"),
        (field("start", "yesterday"), "not-acceptable"),
        (field("include-groupchat", "maybe"), "not-acceptable"),
        (form("").replace(NS, "urn:xmpp:mam:0"), "bad-request"),
    ] {
        let answer = romeo.ask(&query("q", &content)).await?;
        assert_eq!(answer.condition(), Some(condition), "{content}: {answer}");
    }
    // The stream is not affected.
    let answer = romeo.ask(&query("q", &set("<max>99999999999999999999</max>"))).await?;
    let fin = answer.child(NS, "fin").expect("the end");
    assert_eq!(fin.attr("complete"), Some("true"), "{answer}");
    assert!(fin.child(RSM, "set").is_some(), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_domain_without_archives_does_not_speak_of_them() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    for key in ["modules.mam.enabled", "host.0.archive"] {
        let place = Place::set(&["romeo"], &[(key, "false")]).await;
        let mut romeo = place.online("romeo").await;
        let answer = romeo.ask(&query("q", "")).await?;
        assert_eq!(answer.condition(), Some("service-unavailable"), "{answer}");
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let answer = romeo.ask(&format!("<iq type='get' id='d'>{info}</iq>")).await?;
        let query = answer.find("query").expect("the query");
        let named = |f: &&crate::harness::element::Element| {
            f.attr("var").is_some_and(|var| var.starts_with(NS))
        };
        assert!(!query.children.iter().any(|f| named(&f)), "{answer}");
    }
    Ok(())
}

/// The messages in the archive, with one peer or with all: id and message, in order.
pub async fn archived(client: &mut Client, content: &str) -> Outcome<Vec<(String, Element)>> {
    client.send(&query("mam", content)).await?;
    let mut found = Vec::new();
    loop {
        let next = client.expect(|e| e.name == "message" || e.attr("id") == Some("mam")).await?;
        if next.name == "iq" {
            if next.child(NS, "fin").is_none() {
                return client.fail(format!("no end: {next}"));
            }
            return Ok(found);
        }
        let Some(result) = next.child(NS, "result") else { continue };
        let id = result.attr("id").unwrap_or_default().to_owned();
        let forwarded = result.find("forwarded").and_then(|f| f.child(CLIENT, "message"));
        found.push((id, forwarded.expect("a message").clone()));
    }
}

pub async fn bodies(client: &mut Client, content: &str) -> Outcome<Vec<String>> {
    let all = archived(client, content).await?;
    Ok(all.iter().map(|(_, m)| m.text_of("body").unwrap_or("-").to_owned()).collect())
}

pub fn with(jid: &str) -> String {
    form(&format!("<field var='with'><value>{jid}</value></field>"))
}

pub fn chat(to: &str, body: &str, more: &str) -> String {
    format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body>{more}</message>")
}

/// XEP-0313 §3.3.1, §3.5: the message is once in either archive, with a different id in each. The recipient
/// gets the id of its own archive and no other.
#[tokio::test]
async fn a_message_is_in_both_archives_once() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let (r, j) = (place.jid("romeo"), place.jid("juliet"));
    romeo.send(&chat(&j, "one", "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>")).await?;
    let live = juliet.expect(|e| e.name == "message").await?;
    juliet.send(&chat(&romeo.jid, "two", "")).await?;
    let back = romeo.expect(|e| e.name == "message").await?;
    let ids = |m: &Element| -> Vec<(String, String)> {
        let mine = m.children.iter().filter(|c| c.is("urn:xmpp:sid:0", "stanza-id"));
        let text = |c: &Element, name| c.attr(name).unwrap_or_default().to_owned();
        mine.map(|c| (text(c, "by"), text(c, "id"))).collect()
    };
    let (of_juliet, of_romeo) = (archived(&mut juliet, "").await?, archived(&mut romeo, "").await?);
    assert_eq!(ids(&live), [(j.clone(), of_juliet[0].0.clone())]);
    assert_eq!(ids(&back), [(r.clone(), of_romeo[1].0.clone())]);
    for all in [&of_juliet, &of_romeo] {
        let (one, two) = (&all[0].1, &all[1].1);
        assert_eq!(all.len(), 2);
        assert_eq!((one.attr("from"), one.attr("to")), (Some(&*romeo.jid), Some(&*j)));
        assert_eq!((two.attr("from"), two.attr("to")), (Some(&*juliet.jid), Some(&*romeo.jid)));
        assert_eq!((one.text_of("body"), one.attr("id")), (Some("one"), Some("one")));
        assert!(one.child("urn:xmpp:sid:0", "origin-id").is_some());
    }
    assert_ne!(of_juliet[0].0, of_romeo[0].0);
    Ok(())
}

/// The table of `stanza::policy` as peers see it, and the 'with' filter of XEP-0313 §4.1.1.
#[tokio::test]
async fn what_is_worth_keeping_is_found_again_by_who_said_it_to_whom() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let mut romeo = place.online("romeo").await;
    let (r, j, n) = (place.jid("romeo"), place.jid("juliet"), place.jid("nurse"));
    let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    for stanza in [
        chat(&j, "kept", ""),
        chat(&format!("{j}/phone"), "to-phone", ""),
        chat(&n, "to-nurse", ""),
        chat(&j, "secret", &hint("no-store")),
        chat(&j, "passing", &hint("no-permanent-store")),
        format!("<message to='{j}' type='chat'>{typing}</message>"),
        format!("<message to='{j}' type='headline' id='h'><body>news</body></message>"),
        format!("<message to='{j}'><received xmlns='urn:xmpp:receipts' id='x'/></message>"),
        // For a room that does not exist; a message to it does not belong to a conversation of two.
        format!("<message to='{j}' type='groupchat'><body>all</body></message>"),
        chat(&r, "note", ""),
    ] {
        romeo.send(&stanza).await?;
    }
    romeo.fence().await?;
    romeo.forget();
    assert_eq!(bodies(&mut romeo, "").await?, ["kept", "to-phone", "to-nurse", "-", "note"]);
    assert_eq!(bodies(&mut romeo, &with(&j)).await?, ["kept", "to-phone", "-"]);
    assert_eq!(bodies(&mut romeo, &with(&format!("{j}/phone"))).await?, ["to-phone"]);
    assert_eq!(bodies(&mut romeo, &with(&r)).await?, ["note"], "to oneself");
    let mut juliet = place.bound("juliet").await;
    juliet.ignores_presence = true;
    assert_eq!(bodies(&mut juliet, "").await?, ["kept", "to-phone", "-"]);
    juliet.send("<presence/>").await?;
    // Messages that may not be archived were nevertheless stored for delivery.
    let mut waited: Vec<_> = Vec::new();
    while waited.len() < 4 {
        let next = juliet.expect(|e| e.name == "message").await?;
        waited.push(next.text_of("body").unwrap_or("-").to_owned());
    }
    assert_eq!(waited, ["kept", "to-phone", "passing", "-"]);
    juliet.nothing().await
}

/// promise.md 1: without an archive, messages are stored until they are delivered, and no longer.
#[tokio::test]
async fn a_domain_without_archives_still_delivers() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::set(&["romeo", "juliet"], &[("modules.mam.enabled", "false")]).await;
    let mut romeo = place.online("romeo").await;
    romeo.send(&chat(&place.jid("juliet"), "one", "")).await?;
    romeo.fence().await?;
    let mut juliet = place.online("juliet").await;
    assert_eq!(juliet.expect(|e| e.name == "message").await?.text_of("body"), Some("one"));
    juliet.close().await?;
    let mut juliet = place.online("juliet").await;
    juliet.nothing().await?;
    let file = place.server.as_ref().map(|server| server.data.join("stonechat.db"));
    let rows = rusqlite::Connection::open(file.expect("ours")).and_then(|conn| {
        conn.query_row("SELECT COUNT(*) FROM archive", [], |row| row.get::<_, i64>(0))
    });
    assert_eq!(rows, Ok(0));
    Ok(())
}

/// promise.md 7: a query right after a message finds it, even while other accounts write many.
#[tokio::test]
async fn what_was_sent_before_the_query_is_in_the_answer() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let mut romeo = place.online("romeo").await;
    let (mut sent, to) = (Vec::new(), place.jid("juliet"));
    for round in 0..10 {
        for n in 0..7 {
            sent.push(format!("{round}-{n}"));
            romeo.send(&chat(&to, &sent[sent.len() - 1], "")).await?;
        }
        // The last page only: `max` counts from the end.
        let set = format!("<set xmlns='{RSM}'><max>7</max><before/></set>");
        assert_eq!(bodies(&mut romeo, &set).await?, sent[sent.len() - 7..], "round {round}");
    }
    Ok(())
}
