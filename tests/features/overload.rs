//! Overload (promise.md 5, security.md rule 17): whoever sends more than the disk takes is slowed, gets
//! no error, and everything arrives once. Bounds are small here, and the disk stands still.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::mount::Mount;
use crate::harness::process::Lab;
use crate::harness::sm::{Stalled, chat, ids};

const FAST: [&str; 2] = ["limits.stanzas_per_second=0", "limits.bytes_per_second=0"];
/// Half of it is for those who send.
const SHORT_QUEUE: &str = "store.queue_jobs_max=16";

/// A message that was delivered, by its id.
fn id(message: &Element) -> String {
    assert_eq!(message.attr("type"), Some("chat"), "{message}");
    message.attr("id").unwrap_or_default().to_owned()
}

/// Reads so many messages, and nothing behind them, whoever sent them.
async fn reads(client: &mut Client, count: usize) -> Outcome<Vec<String>> {
    let mut got = Vec::new();
    while got.len() < count {
        got.push(id(&client.expect(|e| e.name == "message").await?));
    }
    client.fence().await?;
    let more = client.take();
    assert!(!more.iter().any(|e| e.name == "message"), "twice: {more:?}");
    Ok(got)
}

async fn send_all(client: &mut Client, to: &str, ids: &[String]) -> Outcome<()> {
    let all: String = ids.iter().map(|id| chat(to, id)).collect();
    client.send(&all).await
}

/// One stream: with and without an archive, with and without XEP-0198.
#[tokio::test]
async fn a_stream_waits_for_the_disk_and_not_the_others() -> Outcome<()> {
    for (archive, managed) in [(true, false), (true, true), (false, false), (false, true)] {
        let archive = format!("modules.mam.enabled={archive}");
        let set = [&FAST[..], &["limits.uncommitted_stanzas_max=4", &archive]].concat();
        let lab = Lab::new(&["alice", "bob", "carol"], &set);
        let mut alice = lab.login("alice").await?;
        let mut bob = lab.online("bob", "r").await?;
        bob.answers_pings = true;
        let mut carol = lab.login("carol").await?;
        if managed {
            alice.enable().await?;
        }
        let all = ids(0..200);
        let stalled = Stalled::new(&lab);
        send_all(&mut alice, "bob@localhost", &all[..4]).await?;
        if managed {
            // XEP-0198 §4: an answer is not withheld, whatever the stream waits for.
            assert_eq!(alice.r().await?, 0);
        }
        send_all(&mut alice, "bob@localhost", &all[4..]).await?;
        // Others need no disk for this, and it stands still.
        carol.fence().await?;
        if archive.ends_with("true") || managed {
            for id in ids(0..4) {
                assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some(&*id));
            }
            bob.nothing().await?;
            drop(stalled);
            assert_eq!(reads(&mut bob, 196).await?, all[4..], "{archive} {managed}");
        } else {
            // What is not archived and confirmed at once needs no disk either.
            assert_eq!(reads(&mut bob, 200).await?, all);
            drop(stalled);
        }
        match managed {
            true => alice.r_until(200).await?,
            false => alice.fence().await?,
        }
        assert!(alice.take().iter().all(|e| e.name != "message"), "an error");
    }
    Ok(())
}

/// All together: more streams than the queue has room for. What they send waits in a line.
#[tokio::test]
async fn the_queue_is_filled_by_nobody_and_everybody_gets_a_turn() -> Outcome<()> {
    const SENDERS: usize = 12;
    const EACH: usize = 40;
    for archive in ["modules.mam.enabled=true", "modules.mam.enabled=false"] {
        let set = [&FAST[..], &[SHORT_QUEUE, archive]].concat();
        let names: Vec<String> = (0..SENDERS).map(|n| format!("s{n}")).collect();
        let users: Vec<&str> = names.iter().map(String::as_str).chain(["bob", "carol"]).collect();
        let lab = Lab::new(&users, &set);
        let mut senders = Vec::new();
        for name in &names {
            senders.push(lab.login(name).await?);
        }
        let mut carol = lab.login("carol").await?;
        let stalled = Stalled::new(&lab);
        for (n, sender) in senders.iter_mut().enumerate() {
            let ids: Vec<_> = (0..EACH).map(|id| format!("{n}-{id}")).collect();
            send_all(sender, "bob@localhost", &ids).await?;
        }
        carol.fence().await?;
        lab.process.logs(&["those who send wait for it"]);
        drop(stalled);
        for sender in &mut senders {
            sender.fence().await?;
            sender.nothing().await?;
        }
        let mut bob = lab.online("bob", "r").await?;
        bob.answers_pings = true;
        let mut next = [0; SENDERS];
        for id in reads(&mut bob, SENDERS * EACH).await? {
            let (n, id) = id.split_once('-').expect("an id of ours");
            let next = &mut next[n.parse::<usize>().expect("a number")];
            assert_eq!(id.parse(), Ok(*next), "of {n}");
            *next += 1;
        }
        assert_eq!(next, [EACH; SENDERS]);
        let log = lab.process.log();
        assert!(!log.contains("ERROR"), "{log}");
        assert_eq!(log.matches("those who send wait for it").count(), 1);
    }
    Ok(())
}

/// Whatever else is written for a client waits as well: rosters, subscriptions, preferences, what comes
/// at a login, and what a session without a connection got.
#[tokio::test]
async fn no_request_fails_because_much_is_to_be_written() -> Outcome<()> {
    let set = [&FAST[..], &[SHORT_QUEUE]].concat();
    let lab = Lab::new(&["alice", "bob", "carol", "dave"], &set);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.login("bob").await?;
    let mut carol = lab.login("carol").await?;
    let (sleeper, token) = lab.managed("dave", "r").await?;
    drop(sleeper);
    let stalled = Stalled::new(&lab);
    send_all(&mut alice, "bob@localhost", &ids(0..100)).await?;
    lab.process.logs(&["those who send wait for it"]);
    let prefs = "<prefs xmlns='urn:xmpp:mam:2' default='always'/>";
    let item = "<query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query>";
    bob.send(&format!("<iq type='set' id='prefs'>{prefs}</iq>")).await?;
    bob.send(&format!("<iq type='set' id='roster'>{item}</iq>")).await?;
    bob.send("<presence type='subscribe' to='carol@localhost'/>").await?;
    carol.send(&chat("dave@localhost", "for a sleeper")).await?;
    carol.send("<iq type='set' id='roster'><query xmlns='jabber:iq:roster'><item jid='y@localhost'/></query></iq>").await?;
    drop(stalled);
    for id in ["prefs", "roster"] {
        let answer = bob.expect(|e| e.attr("id") == Some(id) && e.name == "iq").await?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    }
    let answer = carol.expect(|e| e.attr("id") == Some("roster")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    for client in [&mut alice, &mut bob, &mut carol] {
        client.fence().await?;
        let came = client.take();
        assert!(came.iter().all(|e| e.attr("type") != Some("error")), "{came:?}");
    }
    let (mut dave, _) = lab.resumed("dave", &token, 0).await?;
    dave.expect(|e| e.attr("id") == Some("for a sleeper")).await?;
    let mut bob = lab.online("bob", "other").await?;
    assert_eq!(reads(&mut bob, 100).await?, ids(0..100));
    Ok(())
}

/// promise.md 5: a message that nobody can keep is refused before it is delivered, and the log says so
/// once; that ends by itself.
#[tokio::test]
async fn while_nothing_can_be_written_nothing_is_delivered_and_refused() -> Outcome<()> {
    for archive in ["modules.mam.enabled=true", "modules.mam.enabled=false"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let Some(mount) = Mount::small(&data, 3) else { return Ok(()) };
        let args = ["--set", FAST[0], "--set", FAST[1], "--set", archive];
        let lab = Lab::serve(folder.path(), &args, &["alice", "bob", "carol"]);
        let mut alice = lab.login("alice").await?;
        let mut bob = lab.online("bob", "r").await?;
        // Somebody who is away fills the disk.
        let pad = "x".repeat(100_000);
        loop {
            let message = format!("<message to='carol@localhost'><body>{pad}</body></message>");
            alice.send(&message).await?;
            alice.fence().await?;
            if alice.take().iter().any(|e| e.condition() == Some("resource-constraint")) {
                break;
            }
        }
        lab.process.logs(&["the database takes no writes"]);
        let all = ids(0..300);
        send_all(&mut alice, "bob@localhost", &all).await?;
        alice.fence().await?;
        let refused: Vec<_> = alice.take().iter().map(|e| e.to_string()).collect();
        assert_eq!(refused.len(), 300);
        assert!(refused.iter().all(|e| e.contains("resource-constraint") && e.contains("wait")));
        bob.nothing().await?;
        // What is not owed needs no disk.
        alice.send("<message to='bob@localhost' type='headline'><body>x</body></message>").await?;
        bob.expect(|e| e.attr("type") == Some("headline")).await?;
        mount.resize(64);
        lab.process.logs(&["the database takes writes again"]);
        alice.send(&chat("bob@localhost", "again")).await?;
        alice.nothing().await?;
        assert_eq!(reads(&mut bob, 1).await?, ["again"]);
        let log = lab.process.log();
        assert_eq!(log.matches("ERROR").count(), 1, "{log}");
        drop(lab);
        drop(mount);
    }
    Ok(())
}
