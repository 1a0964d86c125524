//! promise.md 6 and 11: sessions over a stop of the server, and counts over its death.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, ends_with, run_in};
use crate::harness::sm::{Resumption, Stalled, chat, count, friends, ids, is_delayed, say};
use std::path::Path;
use std::time::{Duration, Instant};

struct Lasting {
    folder: tempfile::TempDir,
    set: Vec<&'static str>,
    lab: Lab,
}

impl Lasting {
    fn new(set: &[&'static str]) -> Lasting {
        let folder = tempfile::tempdir().unwrap();
        let set: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
        let lab = Lab::serve(folder.path(), &set, &["alice", "bob", "carol"]);
        Lasting { folder, set, lab }
    }

    /// SIGTERM, and the end, which is in time.
    fn stop(&mut self) {
        let begun = Instant::now();
        self.lab.process.signal("TERM");
        assert_eq!(self.lab.process.exit().code(), Some(0), "{}", self.lab.process.log());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!self.lab.process.log().contains("did not end in time"));
    }

    fn start(&mut self) {
        self.lab = Lab::serve(self.folder.path(), &self.set, &[]);
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    fn crash(&mut self) {
        self.lab.process.kill();
        self.start();
    }
}

/// promise.md 11: the last count, and the end of the connection, with no word that would end the session.
async fn is_cut(client: &mut Client, h: u32) -> Outcome<()> {
    let closed = client.gone().await?;
    let came = client.take();
    let last = came.last().and_then(count);
    if closed || last != Some(h) || came.iter().any(|e| e.name == "error") {
        return client.fail(format!("a last count of {h} and a cut were expected"));
    }
    Ok(())
}

fn shows<'a>(came: &'a [Element], jid: &str) -> Vec<&'a str> {
    let theirs = came.iter().filter(|e| e.name == "presence" && e.attr("from") == Some(jid));
    theirs.map(|e| e.attr("type").unwrap_or("available")).collect()
}

/// promise.md 11: both counts, what was not acknowledged, what came between the start and the resumption,
/// in order; who is subscribed sees nothing of it, and who logs in sees the hibernating session.
#[tokio::test]
async fn sessions_go_on_after_a_restart() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    friends(&lasting.lab).await?;
    let (mut alice, alice_id) = lasting.lab.managed("alice", "desk").await?;
    let (mut bob, bob_id) = lasting.lab.managed("bob", "phone").await?;
    let mut carol = lasting.lab.login("carol").await?;
    let item = "<query xmlns='jabber:iq:roster'><item jid='carol@localhost'/></query>";
    alice.ask(&format!("<iq type='set' id='s'>{item}</iq>")).await?;
    bob.send(&chat("alice@localhost", "b")).await?;
    alice.expect(|e| e.attr("id") == Some("b")).await?;
    say(&mut alice, "bob@localhost", 0..3).await?;
    bob.expect(|e| e.attr("id") == Some("2")).await?;
    alice.fence().await?;
    let alice_handled = alice.handled;
    alice.a(alice_handled).await?;
    alice.fence().await?;
    bob.a(1).await?;
    bob.send("<presence to='carol@localhost'/>").await?;
    bob.r_until(2).await?;
    alice.forget();
    bob.forget();
    lasting.lab.process.signal("TERM");
    ends_with(&mut carol, "system-shutdown").await?;
    // The set, three messages, three fences.
    is_cut(&mut alice, 7).await?;
    is_cut(&mut bob, 2).await?;
    lasting.stop_ended();
    lasting.start();
    let lab = &lasting.lab;
    lab.process.logs(&["sessions wait to be resumed", "2"]);
    let mut carol = lab.login("carol").await?;
    say(&mut carol, "bob@localhost", 3..5).await?;
    let mut second = lab.authenticated("bob").await?;
    second.bind(Some("second")).await?;
    let item = "<query xmlns='jabber:iq:roster'><item jid='new@localhost'/></query>";
    second.ask(&format!("<iq type='set' id='s'>{item}</iq>")).await?;
    // A contact that logs in anew sees hibernating sessions.
    let mut other = lab.online("alice", "other").await?;
    let came = other.stanzas().await?;
    assert_eq!(shows(&came, "bob@localhost/phone"), ["available"]);
    assert_eq!(shows(&came, "alice@localhost/desk"), ["available"]);
    other.close().await?;
    let (mut bob, h) = lab.resumed("bob", &bob_id, 1).await?;
    assert_eq!(h, 2);
    let came = bob.stanzas().await?;
    let order: Vec<_> = came.iter().filter(|e| e.name == "message").collect();
    let got: Vec<_> = order.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(got, ["1", "2", "3", "4"]);
    let push = came.last().and_then(|e| e.find("item")).and_then(|i| i.attr("jid"));
    assert!(came.iter().any(|e| e.find("item").is_some()), "{push:?} {came:?}");
    assert!(shows(&came, "alice@localhost/desk").is_empty(), "{came:?}");
    let (mut alice, h) = lab.resumed("alice", &alice_id, alice_handled).await?;
    // The fence before the stop was counted, not acknowledged by us.
    assert_eq!(h, 7);
    let came = alice.stanzas().await?;
    assert!(shows(&came, "bob@localhost/phone").is_empty(), "{came:?}");
    // The pushes, the directed presence: they are what they were.
    say(&mut alice, "bob@localhost", 5..6).await?;
    bob.expect(|e| e.attr("id") == Some("5")).await?;
    bob.send("<presence type='unavailable'/>").await?;
    alice.expect(|e| e.attr("type") == Some("unavailable")).await?;
    Ok(())
}

impl Lasting {
    fn stop_ended(&mut self) {
        assert_eq!(self.lab.process.exit().code(), Some(0), "{}", self.lab.process.log());
    }
}

/// promise.md 11: those that cannot be resumed leave, and those that can learn it when they come back.
#[tokio::test]
async fn who_does_not_come_back_is_seen_to_leave() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    friends(&lasting.lab).await?;
    let (mut alice, id) = lasting.lab.managed("alice", "r").await?;
    let _bob = lasting.lab.online("bob", "plain").await?;
    alice.expect(|e| e.attr("from") == Some("bob@localhost/plain")).await?;
    let handled = alice.handled;
    lasting.restart();
    let (mut alice, _) = lasting.lab.resumed("alice", &id, handled).await?;
    let came = alice.stanzas().await?;
    assert_eq!(shows(&came, "bob@localhost/plain"), ["unavailable"]);
    Ok(())
}

/// promise.md 10, 11: one whose time was over before the server came back is gone for all who see it.
#[tokio::test]
async fn who_slept_too_long_is_seen_to_leave() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    friends(&lasting.lab).await?;
    let (mut alice, id) = lasting.lab.managed("alice", "r").await?;
    let mut bob = lasting.lab.online("bob", "r").await?;
    let enabled = bob.enable_with("resume='true' max='1'").await?;
    let bob_id = enabled.attr("id").expect("an id").to_owned();
    bob.send(&chat("alice@localhost", "x")).await?;
    bob.r_until(1).await?;
    alice.expect(|e| e.attr("id") == Some("x")).await?;
    let handled = alice.handled;
    lasting.stop();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    lasting.start();
    let (mut alice, _) = lasting.lab.resumed("alice", &id, handled).await?;
    alice.expect(|e| e.attr("type") == Some("unavailable")).await?;
    let mut bob = lasting.lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&bob_id, 0).await?.not_found(), Some(1));
    Ok(())
}

/// promise.md 10, 11: more sessions stop than may hibernate: who finds no place is gone for all who see it.
#[tokio::test]
async fn who_finds_no_place_is_seen_to_leave() -> Outcome<()> {
    let mut lasting = Lasting::new(&["limits.sleepers_max=1"]);
    friends(&lasting.lab).await?;
    let (alice, alice_id) = lasting.lab.managed("alice", "r").await?;
    let (bob, bob_id) = lasting.lab.managed("bob", "r").await?;
    lasting.restart();
    drop((alice, bob));
    let mut back = Vec::new();
    for (user, id) in [("alice", &alice_id), ("bob", &bob_id)] {
        let mut client = lasting.lab.authenticated(user).await?;
        if let Resumption::Resumed(_) = client.resume(id, 0).await? {
            back.push(client);
        }
    }
    assert_eq!(back.len(), 1);
    back[0].expect(|e| e.attr("type") == Some("unavailable")).await?;
    Ok(())
}

/// promise.md 2, 11: what another device confirmed while it hibernated comes to the session once, and is owed
/// to nobody; a second restart changes nothing.
#[tokio::test]
async fn a_second_restart_finds_it_still_asleep() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    let mut alice = lasting.lab.login("alice").await?;
    let (mut bob, id) = lasting.lab.managed("bob", "phone").await?;
    say(&mut alice, "bob@localhost", 0..2).await?;
    bob.expect(|e| e.attr("id") == Some("1")).await?;
    lasting.restart();
    let mut alice = lasting.lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 2..3).await?;
    let mut desk = lasting.lab.online("bob", "desk").await?;
    let got: Vec<_> = desk.messages().await?;
    assert_eq!(got, ids(0..3), "what only a sleeper has");
    desk.close().await?;
    lasting.restart();
    let mut alice = lasting.lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 3..4).await?;
    lasting.restart();
    let (mut bob, h) = lasting.lab.resumed("bob", &id, 1).await?;
    assert_eq!(h, 0);
    assert_eq!(bob.messages().await?, ["1", "2", "3"]);
    let own = bob.handled;
    bob.a(own).await?;
    bob.close().await?;
    let mut bob = lasting.lab.online("bob", "next").await?;
    assert!(bob.messages().await?.is_empty());
    Ok(())
}

/// promise.md 11: a start that fails leaves the sessions to the next one.
#[tokio::test]
async fn a_start_that_fails_keeps_the_sessions() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    let (mut bob, id) = lasting.lab.managed("bob", "phone").await?;
    bob.fence().await?;
    lasting.stop();
    let data = lasting.folder.path().join("data").display().to_string();
    let mut args = vec!["--data-dir", &data, "--set", "c2s.listen=127.0.0.1:0"];
    args.extend(["--set", "c2s.listen_tls=127.0.0.1:0", "--set", "web.listen=127.0.0.1:0"]);
    args.extend([
        "--set",
        "s2s.listen=[]",
        "--set",
        "metrics.listen=[]",
        "--set",
        "admin.listen=[]",
    ]);
    args.extend(["--set", "admin.socket=/nonexistent/x.sock"]);
    let said = run_in(lasting.folder.path(), &args, "");
    assert!(!said.ok && said.err.contains("admin socket"), "{}", said.err);
    lasting.start();
    lasting.lab.resumed("bob", &id, 0).await?;
    Ok(())
}

/// promise.md 3: a stop in the middle of a drain.
#[tokio::test]
async fn a_drain_goes_on_after_a_restart() -> Outcome<()> {
    let mut lasting = Lasting::new(&["limits.unacked_stanzas_max=60"]);
    let mut alice = lasting.lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..200).await?;
    let mut bob = lasting.lab.login_as("bob", "r").await?;
    let id = bob.enable().await?;
    bob.send("<presence/>").await?;
    bob.expect(|e| e.attr("id") == Some("30")).await?;
    lasting.restart();
    let mut alice = lasting.lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 200..205).await?;
    let mut bob = lasting.lab.authenticated("bob").await?;
    // Presence, and messages up to 29.
    bob.resume(&id, 31).await?.resumed();
    let mut got: Vec<String> = Vec::new();
    while got.last().map(String::as_str) != Some("204") {
        let next = bob.expect(|e| e.name == "message").await?;
        got.push(next.attr("id").unwrap_or_default().to_owned());
        let own = bob.handled;
        bob.a(own).await?;
    }
    assert_eq!(got, ids(30..205));
    Ok(())
}

/// promise.md 2: a stop asks clients without stream management what they have got. Who answers does not
/// get it again, who does not answer does, and holds nobody up.
#[tokio::test]
async fn a_stop_asks_what_has_arrived() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    let mut alice = lasting.lab.login("alice").await?;
    let mut bob = lasting.lab.online("bob", "plain").await?;
    let mut carol = lasting.lab.online("carol", "mute").await?;
    bob.answers_pings = true;
    for to in ["bob@localhost", "carol@localhost"] {
        say(&mut alice, to, 0..5).await?;
    }
    for client in [&mut bob, &mut carol] {
        client.expect(|e| e.attr("id") == Some("4")).await?;
    }
    lasting.lab.process.signal("TERM");
    ends_with(&mut bob, "system-shutdown").await?;
    carol.expect(|e| e.name == "iq").await?;
    carol.expect(|e| e.find("system-shutdown").is_some()).await?;
    lasting.stop_ended();
    lasting.start();
    for (user, again) in [("bob", ids(0..0)), ("carol", ids(0..5))] {
        let mut client = lasting.lab.online(user, "again").await?;
        let came = client.stanzas().await?;
        let came = came.iter().filter(|e| e.name == "message").filter_map(|e| e.attr("id"));
        assert_eq!(came.collect::<Vec<_>>(), again, "{user}");
    }
    Ok(())
}

/// A client that takes nothing does not hold up a stop, and loses nothing by it.
#[tokio::test]
async fn a_client_that_reads_nothing_is_saved_too() -> Outcome<()> {
    let mut lasting =
        Lasting::new(&["limits.outbox_bytes_max=30000000", "limits.bytes_per_second=0"]);
    let mut alice = lasting.lab.login("alice").await?;
    let (bob, id) = lasting.lab.managed("bob", "r").await?;
    let pad = "x".repeat(200_000);
    for n in 0..40 {
        let body = format!("<body>{pad}</body>");
        alice.send(&format!("<message to='bob@localhost' id='{n}'>{body}</message>")).await?;
    }
    alice.fence().await?;
    lasting.restart();
    drop(bob);
    let mut bob = lasting.lab.authenticated("bob").await?;
    bob.resume(&id, 0).await?.resumed();
    for n in ids(0..40) {
        assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some(n.as_str()));
        let own = bob.handled;
        bob.a(own).await?;
    }
    Ok(())
}

/// promise.md 11: a stop while the disk hangs, in time, and nothing that was told is untrue.
#[tokio::test]
async fn a_stop_waits_for_what_is_being_written() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    let mut bob = lasting.lab.login("bob").await?;
    let (mut alice, id) = lasting.lab.managed("alice", "r").await?;
    let stalled = Stalled::new(&lasting.lab);
    alice.send(&chat("bob@localhost", "0")).await?;
    assert_eq!(alice.r().await?, 0);
    lasting.lab.process.signal("TERM");
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(stalled);
    is_cut(&mut alice, 1).await?;
    ends_with(&mut bob, "system-shutdown").await?;
    lasting.stop_ended();
    lasting.start();
    let (_, h) = lasting.lab.resumed("alice", &id, 0).await?;
    assert_eq!(h, 1);
    Ok(())
}

/// promise.md 6, 11: a disk that hangs for longer than the last acknowledgement waits. What the session is
/// written down with covers what was committed meanwhile: or the client would send it again.
#[tokio::test]
async fn a_slow_disk_does_not_have_the_count_fall_behind() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    let (mut alice, id) = lasting.lab.managed("alice", "r").await?;
    let stalled = Stalled::new(&lasting.lab);
    alice.send(&chat("bob@localhost", "0")).await?;
    assert_eq!(alice.r().await?, 0);
    lasting.lab.process.signal("TERM");
    is_cut(&mut alice, 0).await?;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    drop(stalled);
    lasting.stop_ended();
    lasting.start();
    let (_, h) = lasting.lab.resumed("alice", &id, 0).await?;
    assert_eq!(h, 1);
    let mut bob = lasting.lab.online("bob", "r").await?;
    assert_eq!(bob.messages().await?, ["0"]);
    Ok(())
}

/// Mail that waited when the server was upgraded to the release with archives: it comes, and an id in it
/// that claims to be ours, which the older release let pass, does not (XEP-0359 §3 rule 2).
#[tokio::test]
async fn mail_of_an_older_release_comes_without_forged_ids() -> Outcome<()> {
    let mut lasting = Lasting::new(&[]);
    lasting.stop();
    let database = rusqlite::Connection::open(lasting.lab.data.join("stonechat.db")).unwrap();
    let old = "<message from='alice@localhost/r' to='bob@localhost' type='chat' id='old'>\
        <body>old</body><stanza-id xmlns='urn:xmpp:sid:0' by='Bob@LOCALHOST' id='forged'/></message>";
    let put = "INSERT INTO mailbox (seq, account, at, size, stanza)
        SELECT 7, id, 7000000, length(?1), ?1 FROM account WHERE localpart = 'bob'";
    assert_eq!(database.execute(put, [old.as_bytes()]), Ok(1));
    drop(database);
    lasting.start();
    let mut bob = lasting.lab.online("bob", "r").await?;
    let came = bob.expect(|e| e.attr("id") == Some("old")).await?;
    // Nor does it get one of ours: it is in no archive.
    assert!(came.children.iter().all(|child| child.name != "stanza-id"), "{came}");
    assert!(is_delayed(&came));
    Ok(())
}

/// promise.md 6: after a crash the count that comes with the refusal is exact, so that what is sent again
/// is what was lost: each message is there once.
#[tokio::test]
async fn after_a_crash_the_count_is_exact() -> Outcome<()> {
    for (sent, hears) in [(20, true), (20, false), (1, true), (300, false), (300, false)] {
        let mut lasting = Lasting::new(&["limits.stanzas_per_second=0"]);
        let (mut alice, id) = lasting.lab.managed("alice", "r").await?;
        let all = ids(0..sent);
        let stanzas: String = all.iter().map(|n| chat("bob@localhost", n)).collect();
        alice.send(&stanzas).await?;
        let mut told = 0;
        if hears {
            told = u32::try_from(sent).unwrap();
            alice.r_until(told).await?;
        } else {
            // Somewhere in the middle of it.
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        lasting.crash();
        let mut alice = lasting.lab.authenticated("alice").await?;
        let h = alice.resume(&id, 0).await?.not_found().unwrap_or(0);
        assert!(h >= told, "{h} of {told}");
        assert!(!hears || h == told);
        alice.bind(None).await?;
        for n in all.iter().skip(h as usize) {
            alice.send(&chat("bob@localhost", n)).await?;
        }
        alice.fence().await?;
        let mut bob = lasting.lab.login("bob").await?;
        bob.ignores_presence = true;
        bob.send("<presence/>").await?;
        let mut came = bob.stanzas().await?;
        came.retain(|e| e.name == "message");
        let got: Vec<_> = came.iter().filter_map(|e| e.attr("id")).collect();
        assert_eq!(got, all, "{h} were counted");
        assert!(came.iter().all(is_delayed));
    }
    Ok(())
}

/// Security: what shuts an account while the server is down shuts the sessions that hibernate in it.
#[tokio::test]
async fn a_shut_account_does_not_wake() -> Outcome<()> {
    for verb in ["passwd", "disable", "del", "del --now"] {
        let mut lasting = Lasting::new(&[]);
        let (mut bob, id) = lasting.lab.managed("bob", "r").await?;
        bob.send(&chat("alice@localhost", "x")).await?;
        bob.r_until(1).await?;
        lasting.stop();
        shut(lasting.folder.path(), verb, "another password");
        match verb {
            "passwd" => shut(lasting.folder.path(), verb, PASSWORD),
            "disable" => shut(lasting.folder.path(), "enable", ""),
            "del" => shut(lasting.folder.path(), "restore", ""),
            _ => shut(lasting.folder.path(), "add", PASSWORD),
        }
        lasting.start();
        let mut bob = lasting.lab.authenticated("bob").await?;
        let h = bob.resume(&id, 0).await?.not_found();
        assert_eq!(h, (verb != "del --now").then_some(1), "{verb}");
        bob.bind(Some("r")).await?;
        assert!(!lasting.lab.process.log().contains("wait to be resumed"), "{verb}");
    }
    Ok(())
}

fn shut(folder: &Path, verb: &str, input: &str) {
    let data = folder.join("data").display().to_string();
    let mut args = vec!["--data-dir", &data, "--set", "sasl.iterations=4096"];
    args.push("user");
    args.extend(verb.split(' '));
    args.push("bob@localhost");
    if verb == "del --now" {
        args.push("--yes");
    }
    if matches!(verb, "passwd" | "add") {
        args.push("--password-stdin");
    }
    let said = run_in(folder, &args, input);
    assert!(said.ok, "{verb}: {}", said.err);
}
