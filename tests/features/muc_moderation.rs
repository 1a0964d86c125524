//! XEP-0425, XEP-0424: what was said in a room is taken back, by moderators or its author.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{ask, at, configure, enter, gathering, hears, nick, say};
use crate::muc_archive::{archived, tell};

const RETRACT: &str = "urn:xmpp:message-retract:1";
const MODERATE: &str = "urn:xmpp:message-moderate:1";
const OCCUPANT: &str = "urn:xmpp:occupant-id:0";

/// The room's id of a message.
fn place(heard: &Element) -> String {
    let id = heard.child("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attr("id"));
    id.unwrap_or_else(|| panic!("no id: {heard}")).to_owned()
}

fn occupant(heard: &Element) -> Option<&str> {
    heard.child(OCCUPANT, "occupant-id").and_then(|one| one.attr("id"))
}

/// Says something; its id, as the other hears it.
async fn said(all: &mut [Client], who: usize, other: usize, id: &str) -> Outcome<Element> {
    say(&mut all[who], "hall", id, "secret").await?;
    hears(&mut all[who], id).await?;
    hears(&mut all[other], id).await
}

fn moderate(id: &str, inner: &str) -> String {
    format!("<moderate id='{id}' xmlns='{MODERATE}'><retract xmlns='{RETRACT}'/>{inner}</moderate>")
}

/// §3, §4: all are told, also those with the older version; the archive has a tombstone, and newcomers hear nothing
/// of it but that it was taken back.
#[tokio::test]
async fn a_moderator_takes_back_what_somebody_said() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let heard = said(&mut all, 1, 0, "m1").await?;
    said(&mut all, 1, 0, "m2").await?;
    let (id, author) = (place(&heard), occupant(&heard).map(str::to_owned));
    let own = said(&mut all, 0, 1, "m3").await?;
    let moderator = occupant(&own).map(str::to_owned);
    let answer = ask(&mut all[0], "set", "hall", &moderate(&id, "<reason>rude</reason>")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let by = format!("{}/ann", at("hall"));
    let mut announced = Vec::new();
    for client in &mut all {
        let told = client.expect(|e| e.child(RETRACT, "retract").is_some()).await?;
        assert_eq!((told.attr("from"), told.attr("type")), (Some(&*at("hall")), Some("groupchat")));
        let retract = told.child(RETRACT, "retract").expect("it");
        assert_eq!(retract.attr("id"), Some(&*id));
        let moderated = retract.child(MODERATE, "moderated").expect("by whom");
        assert_eq!((moderated.attr("by"), occupant(moderated)), (Some(&*by), moderator.as_deref()));
        assert_eq!(retract.child(RETRACT, "reason").map(|one| &*one.text), Some("rude"));
        // Version 0.2, for Gajim and Converse.js.
        let older = told.child("urn:xmpp:fasten:0", "apply-to").expect("the older form");
        assert_eq!(older.attr("id"), Some(&*id));
        let older = older.child("urn:xmpp:message-moderate:0", "moderated").expect("it");
        assert_eq!(older.attr("by"), Some(&*by));
        assert!(older.child("urn:xmpp:message-retract:0", "retract").is_some());
        announced.push((told.attr("id").map(str::to_owned), place(&told)));
    }
    assert_eq!(announced[0], announced[1]);
    let found = archived(&mut all[1], "hall").await?;
    let (gone_id, gone) = &found[0];
    assert_eq!((gone_id, gone.attr("id"), nick(gone)), (&id, Some("m1"), "bob"), "{gone}");
    assert!(!gone.to_string().contains("secret"), "{gone}");
    assert_eq!(occupant(gone), author.as_deref(), "whose it was is still to be seen");
    let retracted = gone.child(RETRACT, "retracted").expect("a tombstone");
    assert_eq!(retracted.attr("id").map(str::to_owned), announced[0].0);
    assert!(retracted.attr("stamp").is_some());
    let moderated = retracted.child(MODERATE, "moderated").expect("by whom");
    assert_eq!((moderated.attr("by"), occupant(moderated)), (Some(&*by), moderator.as_deref()));
    assert!(gone.child("urn:xmpp:message-moderate:0", "moderated").is_some());
    let last = found.last().expect("the announcement");
    assert_eq!((&last.0, last.1.child(RETRACT, "retract").is_some()), (&announced[0].1, true));
    assert_eq!(found.len(), 4);
    let mut eve = lab.online("eve", "r").await?;
    let seen = enter(&mut eve, "hall", "eve").await?;
    let history: Vec<_> = seen.iter().filter_map(|one| one.attr("id")).collect();
    assert!(history.contains(&"m2") && !history.contains(&"m1"), "{history:?}");
    assert!(seen.iter().any(|one| one.child(RETRACT, "retract").is_some()));
    // Another moderator is late, and nobody is told twice.
    for client in &mut all {
        client.fence().await?;
        client.forget();
    }
    let answer = ask(&mut all[0], "set", "hall", &moderate(&id, "")).await?;
    assert_eq!(answer.attr("type"), Some("result"));
    all[1].nothing().await
}

/// Version 0.2 of the request.
#[tokio::test]
async fn the_older_request_is_understood() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let id = place(&said(&mut all, 1, 0, "m1").await?);
    let request = format!(
        "<apply-to id='{id}' xmlns='urn:xmpp:fasten:0'><moderate xmlns='urn:xmpp:message-moderate:0'>\
         <retract xmlns='urn:xmpp:message-retract:0'/><reason>rude</reason></moderate></apply-to>"
    );
    assert_eq!(ask(&mut all[0], "set", "hall", &request).await?.attr("type"), Some("result"));
    let told = all[1].expect(|e| e.child(RETRACT, "retract").is_some()).await?;
    assert_eq!(told.find("reason").map(|one| &*one.text), Some("rude"));
    assert!(archived(&mut all[1], "hall").await?[0].1.child(RETRACT, "retracted").is_some());
    Ok(())
}

/// §3.2, §5: who may not, and what cannot be taken back.
#[tokio::test]
async fn what_may_not_be_taken_back_stays() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut eve = lab.online("eve", "r").await?;
    let id = place(&said(&mut all, 0, 1, "m1").await?);
    let gone = place(&said(&mut all, 0, 1, "m0").await?);
    ask(&mut all[0], "set", "hall", &moderate(&gone, "")).await?;
    let lasting = place(&all[0].expect(|e| e.child(RETRACT, "retract").is_some()).await?);
    let request = moderate(&id, "");
    for client in [&mut all[1], &mut eve] {
        let answer = ask(client, "set", "hall", &request).await?;
        assert_eq!(answer.condition(), Some("forbidden"));
    }
    let long = format!("<reason>{}</reason>", "x".repeat(1_025));
    for (request, condition) in [
        (moderate("unknown", ""), "item-not-found"),
        (moderate("", ""), "bad-request"),
        (moderate(&id, &long), "not-acceptable"),
        (moderate(&lasting, ""), "not-allowed"),
        (format!("<moderate id='{id}' xmlns='{MODERATE}'/>"), "bad-request"),
        (
            format!("<moderate xmlns='{MODERATE}'><retract xmlns='{RETRACT}'/></moderate>"),
            "bad-request",
        ),
        (format!("<apply-to id='{id}' xmlns='urn:xmpp:fasten:0'/>"), "service-unavailable"),
    ] {
        let answer = ask(&mut all[0], "set", "hall", &request).await?;
        assert_eq!(answer.condition(), Some(condition), "{request}");
    }
    let answer = ask(&mut all[0], "set", "nowhere", &request).await?;
    assert_eq!(answer.condition(), Some("item-not-found"));
    // An id of another room is none of this one.
    let mut other = gathering(&lab, "den", &["eve"], &[]).await?;
    assert_eq!(
        ask(&mut other[0], "set", "den", &request).await?.condition(),
        Some("item-not-found")
    );
    configure(&mut all[0], "hall", &[("enablelogging", "0")]).await?;
    let answer = ask(&mut all[0], "set", "hall", &request).await?;
    assert_eq!(answer.condition(), Some("item-not-found"), "nothing is kept");
    Ok(())
}

/// XEP-0425 §3: words that go with a retraction, of something or nothing, are taken back like others; that it takes
/// back another stays (XEP-0424 §5).
#[tokio::test]
async fn a_retraction_shields_no_words() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let rude = format!("<body>rude</body><retract xmlns='{RETRACT}' id='none'/>");
    tell(&mut all[1], "hall", "r1", &rude).await?;
    let id = place(&hears(&mut all[0], "r1").await?);
    let answer = ask(&mut all[0], "set", "hall", &moderate(&id, "")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    let (_, left) = &archived(&mut all[1], "hall").await?[0];
    assert!(left.child(RETRACT, "retracted").is_some(), "{left}");
    assert!(left.child(RETRACT, "retract").is_some() && !left.to_string().contains("rude"));
    Ok(())
}

/// XEP-0424 §3, §4, §5: an author takes back its own words by the room's id of them, and nobody else's.
#[tokio::test]
async fn an_author_takes_back_its_own_words() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let id = place(&said(&mut all, 1, 0, "m1").await?);
    let other = place(&said(&mut all, 0, 1, "m2").await?);
    for (who, message, target) in
        [(1, "r1", &other), (0, "r2", &id), (1, "r3", &id), (1, "r4", &id)]
    {
        let retract = format!("<retract xmlns='{RETRACT}' id='{target}'/>");
        tell(&mut all[who], "hall", message, &retract).await?;
        let heard = hears(&mut all[0], message).await?;
        assert_eq!(heard.find("retract").and_then(|one| one.attr("id")), Some(&**target));
    }
    // Without an id of its own, no tombstone could name it.
    let bare = format!(
        "<message type='groupchat' to='{}'><retract xmlns='{RETRACT}' id='{other}'/></message>",
        at("hall")
    );
    all[0].send(&bare).await?;
    all[0].fence().await?;
    all[0].forget();
    let found = archived(&mut all[0], "hall").await?;
    let by = |at: usize| found[at].1.child(RETRACT, "retracted").and_then(|one| one.attr("id"));
    assert_eq!((by(0), by(1)), (Some("r3"), None), "the first that was its author's");
    assert_eq!(found[1].1.text_of("body"), Some("secret"));
    assert!(!found[0].1.to_string().contains("secret"));
    let left: Vec<_> = found.iter().skip(2).filter_map(|(_, one)| one.attr("id")).collect();
    assert_eq!(left, ["r1", "r2", "r3", "r4"], "retractions stay, for those who were not there");
    let mut eve = lab.online("eve", "r").await?;
    let seen = enter(&mut eve, "hall", "eve").await?;
    let history: Vec<_> = seen.iter().filter_map(|one| one.attr("id")).collect();
    assert!(history.contains(&"m2") && !history.contains(&"m1"), "{history:?}");
    Ok(())
}

/// The same author under another nickname (XEP-0421), and after a crash: the history that is read anew has no
/// tombstones either.
#[tokio::test]
async fn what_was_taken_back_stays_so() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &[], &["ann", "bob"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let id = place(&said(&mut all, 1, 0, "m1").await?);
    let second = place(&said(&mut all, 1, 0, "m2").await?);
    all[1].send(&format!("<presence to='{}/rob'/>", at("hall"))).await?;
    crate::harness::rooms::sees(&mut all[1], "hall", "rob").await?;
    tell(&mut all[1], "hall", "r1", &format!("<retract xmlns='{RETRACT}' id='{id}'/>")).await?;
    hears(&mut all[0], "r1").await?;
    let answer = ask(&mut all[0], "set", "hall", &moderate(&second, "")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "durable from here on");
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    let seen = enter(&mut bob, "hall", "bob").await?;
    assert!(!seen.iter().any(|one| matches!(one.attr("id"), Some("m1" | "m2"))));
    assert!(seen.iter().any(|one| one.attr("id") == Some("r1")));
    bob.forget();
    let found = archived(&mut bob, "hall").await?;
    assert!(found.iter().take(2).all(|(_, one)| one.child(RETRACT, "retracted").is_some()));
    assert!(found.iter().all(|(_, one)| !one.to_string().contains("secret")));
    Ok(())
}
