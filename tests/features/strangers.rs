//! Messages of people who are not among an account's contacts: delivered, held, refused.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::sm::friends;

const COMMANDS: &str = "http://jabber.org/protocol/commands";

async fn chat(from: &mut Client, to: &str, id: &str) -> Outcome<()> {
    from.send(&format!("<message type='chat' id='{id}' to='{to}'><body>{id}</body></message>"))
        .await
}

/// Runs a command of the own account: its one form with these answers, and what it says.
async fn run(client: &mut Client, node: &str, answers: &[(&str, &str)]) -> Outcome<Element> {
    let first = format!("<command xmlns='{COMMANDS}' node='{node}'/>");
    let form = client.ask(&format!("<iq type='set' id='c1'>{first}</iq>")).await?;
    let command = form.child(COMMANDS, "command");
    let Some(session) = command.and_then(|command| command.attr("sessionid")) else {
        return Ok(form);
    };
    if answers.is_empty() {
        return Ok(form);
    }
    let fields: String = answers
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    let second = format!(
        "<command xmlns='{COMMANDS}' node='{node}' sessionid='{session}'>\
         <x xmlns='jabber:x:data' type='submit'>{fields}</x></command>"
    );
    client.ask(&format!("<iq type='set' id='c2'>{second}</iq>")).await
}

async fn chooses(client: &mut Client, policy: &str) -> Outcome<()> {
    let said = run(client, "strangers-policy", &[("messages", policy)]).await?;
    assert!(said.to_string().contains("completed"), "{said}");
    Ok(())
}

/// The ids of the messages that came, and the conditions of errors.
async fn came(client: &mut Client) -> Outcome<Vec<String>> {
    client.fence().await?;
    let messages = client.take().into_iter().filter(|e| e.name == "message");
    Ok(messages
        .map(|e| match e.condition() {
            Some(condition) => condition.to_owned(),
            None => e.attr("id").unwrap_or_default().to_owned(),
        })
        .collect())
}

/// By default nothing is different; a host's policy holds for all who have not chosen, and one's own goes
/// before it.
#[tokio::test]
async fn strangers_are_refused_and_nobody_else_is() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &["modules.strangers.messages=refuse"]);
    friends(&lab).await?;
    let mut alice = lab.online("alice", "a").await?;
    let (mut bob, mut carol) = (lab.online("bob", "b").await?, lab.online("carol", "c").await?);
    for client in [&mut alice, &mut bob, &mut carol] {
        client.fence().await?;
        client.forget();
    }
    // A contact; a stranger, as though nobody were there (RFC 6121 §8.5.1).
    chat(&mut bob, "alice@localhost", "b1").await?;
    for to in ["alice@localhost", "alice@localhost/a", "nobody@localhost"] {
        chat(&mut carol, to, "c1").await?;
        assert_eq!(came(&mut carol).await?, ["service-unavailable"], "{to}");
    }
    assert_eq!(came(&mut alice).await?, ["b1"]);
    // What is worth nothing later is dropped; an own device is no stranger.
    let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    carol.send(&format!("<message type='chat' to='alice@localhost/a'>{state}</message>")).await?;
    carol.send("<message type='headline' to='alice@localhost/a'><body>x</body></message>").await?;
    assert!(came(&mut carol).await?.is_empty());
    let mut other = lab.online("alice", "other").await?;
    chat(&mut other, "alice@localhost/a", "own").await?;
    alice.expect(|e| e.attr("id") == Some("own")).await?;
    assert!(came(&mut alice).await?.is_empty());
    // Who is written to answers, after a restart of the session's account, too; directed presence does as well.
    chooses(&mut carol, "deliver").await?;
    chat(&mut alice, "carol@localhost", "a1").await?;
    carol.expect(|e| e.attr("id") == Some("a1")).await?;
    chat(&mut carol, "alice@localhost", "c2").await?;
    alice.expect(|e| e.attr("id") == Some("c2")).await?;
    chat(&mut carol, "bob@localhost", "c3").await?;
    assert_eq!(came(&mut carol).await?, ["service-unavailable"]);
    bob.send("<presence to='carol@localhost'/>").await?;
    bob.fence().await?;
    chat(&mut carol, "bob@localhost", "c4").await?;
    bob.expect(|e| e.attr("id") == Some("c4")).await.map(drop)
}

/// What is held is nowhere else, and comes when its sender is let in, in order and with its time.
#[tokio::test]
async fn what_is_held_comes_when_its_sender_is_let_in() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice", "bob", "carol"]);
    let mut alice = lab.online("alice", "a").await?;
    let (mut bob, mut carol) = (lab.online("bob", "b").await?, lab.online("carol", "c").await?);
    chooses(&mut alice, "hold").await?;
    for id in ["1", "2"] {
        chat(&mut bob, "alice@localhost/a", id).await?;
    }
    chat(&mut carol, "alice@localhost", "3").await?;
    assert!(came(&mut bob).await?.is_empty() && came(&mut carol).await?.is_empty());
    assert!(came(&mut alice).await?.is_empty());
    let query = "<query xmlns='urn:xmpp:mam:2'/>";
    alice.ask(&format!("<iq type='set' id='q'>{query}</iq>")).await?;
    assert!(came(&mut alice).await?.is_empty());
    // It is on disk: a message that was taken is not lost.
    alice.close().await?;
    drop(lab);
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut alice = lab.online("alice", "a").await?;
    assert!(came(&mut alice).await?.is_empty());
    let form = run(&mut alice, "strangers-requests", &[]).await?.to_string();
    assert!(
        form.contains("bob@localhost (2 messages") && form.contains("carol@localhost (1 m"),
        "{form}"
    );
    let answers = [("strangers", "nobody@localhost"), ("what", "let-in")];
    let wrong = run(&mut alice, "strangers-requests", &answers).await?;
    assert_eq!(wrong.condition(), Some("bad-request"), "{wrong}");
    let answers = [("strangers", "bob@localhost"), ("what", "let-in")];
    run(&mut alice, "strangers-requests", &answers).await?;
    let first = alice.expect(|e| e.attr("id") == Some("1")).await?;
    assert!(first.child("urn:xmpp:delay", "delay").is_some(), "{first}");
    alice.expect(|e| e.attr("id") == Some("2")).await?;
    let answers = [("strangers", "carol@localhost"), ("what", "delete")];
    run(&mut alice, "strangers-requests", &answers).await?;
    let none = run(&mut alice, "strangers-requests", &[]).await?.to_string();
    assert!(none.contains("Nobody waits"), "{none}");
    alice.fence().await?;
    alice.forget();
    let (mut bob, mut carol) = (lab.online("bob", "b").await?, lab.online("carol", "c").await?);
    chat(&mut bob, "alice@localhost", "4").await?;
    chat(&mut carol, "alice@localhost", "5").await?;
    carol.fence().await?;
    alice.expect(|e| e.attr("id") == Some("4")).await?;
    assert!(came(&mut alice).await?.is_empty());
    // The other way round: everything comes.
    chooses(&mut alice, "server").await?;
    chat(&mut carol, "alice@localhost", "6").await?;
    alice.expect(|e| e.attr("id") == Some("6")).await.map(drop)
}
