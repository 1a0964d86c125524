//! The operator's verbs over other servers as commands (XEP-0050), beside `stonechat s2s …`.

use crate::commands::{command, result};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, escape};
use crate::harness::peers::{One, Site, lab};
use crate::harness::sm::chat;
use crate::s2s_streams::hears;

const ADMIN: &str = "http://jabber.org/protocol/admin";

/// Runs a command with these fields, in one stage or two.
async fn run(client: &mut Client, verb: &str, fields: &[(&str, &str)]) -> Outcome<Element> {
    let node = format!("node='https://stonechat.im/s2s#{verb}'");
    let first = command(client, "a.test", &node, "").await?;
    let Ok(asked) = result(&first) else { return Ok(first) };
    if asked.attr("status") == Some("completed") {
        return Ok(first);
    }
    let session = asked.attr("sessionid").unwrap();
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='{var}'><value>{}</value></field>", escape(value))
    };
    let fields: String = fields.iter().map(field).collect();
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{ADMIN}</value></field>{fields}</x>"
    );
    let attrs = format!("{node} sessionid='{session}' action='complete'");
    command(client, "a.test", &attrs, &form).await
}

/// The same, which must succeed; the lines that it shows, and its note.
async fn said(
    client: &mut Client,
    verb: &str,
    fields: &[(&str, &str)],
) -> Outcome<(Vec<String>, String)> {
    let answer = run(client, verb, fields).await?;
    let done = result(&answer)?;
    assert_eq!(done.attr("status"), Some("completed"), "{answer}");
    let note = done.text_of("note").unwrap_or_default().to_owned();
    let lines = done.find("x").into_iter().flat_map(|form| &form.children);
    let lines = lines.filter(|field| field.attr("var") == Some("lines"));
    let lines = lines.flat_map(|field| &field.children).map(|value| value.text.clone()).collect();
    Ok((lines, note))
}

const DOMAIN: &[(&str, &str)] = &[("domain", "b.test")];

#[tokio::test]
async fn streams_are_seen_and_tried() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority");
    let sites = ["a.test", "b.test"].map(Site::new);
    let ours = ["admin.operators=alice@a.test"];
    let a = lab(&sites[0], &[&sites[1]], &authority, &["alice", "carol"], &ours);
    let b = lab(&sites[1], &[&sites[0]], &authority, &["bob"], &[]);
    let mut alice = a.online("alice", "x").await?;
    let mut bob = b.online("bob", "x").await?;
    let (lines, note) = said(&mut alice, "list", &[]).await?;
    assert!(lines.is_empty() && note.contains("no streams"), "{lines:?} {note}");
    alice.send(&chat("bob@b.test", "1")).await?;
    hears(&mut bob, "1").await?;
    let (lines, _) = said(&mut alice, "list", &[]).await?;
    assert!(lines.iter().any(|line| line.starts_with("out  a.test  b.test")), "{lines:?}");
    let (lines, note) = said(&mut alice, "test", DOMAIN).await?;
    assert!(lines.iter().any(|line| line.contains("authenticated by external")), "{lines:?}");
    assert!(note.starts_with("REACHED: b.test talks to a.test"), "{note}");
    let from = [DOMAIN, &[("from", "elsewhere.test")]].concat();
    let refused = run(&mut alice, "test", &from).await?;
    assert_eq!(refused.condition(), Some("not-acceptable"), "{refused}");
    let (lines, note) = said(&mut alice, "why", DOMAIN).await?;
    assert!(
        lines.iter().any(|line| line.contains("nothing waits")) && note.contains("stand"),
        "{lines:?}"
    );
    let (_, note) = said(&mut alice, "retry", DOMAIN).await?;
    assert!(note.contains("stands already"), "{note}");
    // Rules count at once, as those of the command line do.
    let (_, note) = said(&mut alice, "deny", DOMAIN).await?;
    assert!(
        note.contains("b.test is kept out") && note.contains("streams that are ended"),
        "{note}"
    );
    let (lines, _) = said(&mut alice, "rules", &[]).await?;
    assert!(lines.iter().any(|line| line.starts_with("b.test  denied since")), "{lines:?}");
    alice.send(&chat("bob@b.test", "2")).await?;
    assert_eq!(hears(&mut alice, "2").await?.condition(), Some("not-allowed"));
    said(&mut alice, "allow", DOMAIN).await?;
    said(&mut alice, "forget", DOMAIN).await?;
    alice.send(&chat("bob@b.test", "3")).await?;
    hears(&mut bob, "3").await?;
    a.process.logs(&["an admin keeps a server out", "alice@a.test", "b.test"]);
    let missing = run(&mut alice, "why", &[]).await?;
    assert_eq!(missing.condition(), Some("bad-request"), "{missing}");
    let wrong = run(&mut alice, "deny", &[("domain", "x@b.test")]).await?;
    assert_eq!(wrong.condition(), Some("not-acceptable"), "{wrong}");
    // Whoever is no admin knows none of it.
    let mut carol = a.online("carol", "x").await?;
    for verb in ["list", "why", "test", "retry", "drop", "allow", "deny", "forget", "rules"] {
        let refused = run(&mut carol, verb, DOMAIN).await?;
        assert_eq!(refused.condition(), Some("forbidden"), "{verb} {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn what_waits_is_given_up() -> Outcome<()> {
    let one = One::new(&["admin.operators=alice@a.test"]);
    let mut alice = one.lab.online("alice", "x").await?;
    let domain = &[("domain", "peer.test")];
    let nothing = run(&mut alice, "drop", domain).await?;
    assert_eq!(nothing.condition(), Some("not-acceptable"), "{nothing}");
    alice.send(&chat("eve@peer.test", "1")).await?;
    one.lab.process.logs(&["no stream with a server", "peer.test"]);
    let (lines, _) = said(&mut alice, "why", domain).await?;
    assert!(lines.iter().any(|line| line.contains("1 message waits")), "{lines:?}");
    let (_, note) = said(&mut alice, "drop", domain).await?;
    assert!(note.contains("1 messages for peer.test are given up"), "{note}");
    assert_eq!(hears(&mut alice, "1").await?.condition(), Some("remote-server-timeout"));
    Ok(())
}
