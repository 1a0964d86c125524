//! The promise: what is acknowledged is durable, and nothing owed is lost (promise.md 1 to 3, 9;
//! XEP-0160, XEP-0203).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD};
use crate::harness::sm::Stalled;

fn lab_over(folder: &std::path::Path, users: &[&str]) -> Lab {
    let shown = folder.display().to_string();
    let users: Vec<String> = users.iter().map(|u| format!("{u}@localhost:{PASSWORD}")).collect();
    let mut args = vec!["--data-dir", &shown, "--set", "sasl.iterations=4096"];
    args.extend(users.iter().flat_map(|user| ["--user", user]));
    Lab::start(&args)
}

fn message(to: &str, id: &str) -> String {
    format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body></message>")
}

fn is_delayed(message: &Element) -> bool {
    // XEP-0203 §3: stamped by the server.
    let delay = message.child("urn:xmpp:delay", "delay");
    delay.is_some_and(|d| d.attr("from") == Some("localhost") && d.attr("stamp").is_some())
}

async fn next_message(client: &mut Client) -> Outcome<Element> {
    client.expect(|e| e.name == "message").await
}

/// promise.md 1: the answer to what follows a message says that the message is in the store.
#[tokio::test]
async fn a_message_survives_a_kill_once_what_follows_it_is_answered() -> Outcome<()> {
    for by_close in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = lab_over(folder.path(), &["alice", "bob"]);
        let mut alice = lab.login("alice").await?;
        for n in 0..20 {
            alice.send(&message("bob@localhost", &format!("m{n}"))).await?;
        }
        if by_close {
            alice.close().await?;
        } else {
            alice.fence().await?;
        }
        lab.process.kill();
        let lab = lab_over(folder.path(), &[]);
        let mut bob = lab.online("bob", "r").await?;
        for n in 0..20 {
            let got = next_message(&mut bob).await?;
            assert_eq!(got.attr("id"), Some(format!("m{n}").as_str()), "by close: {by_close}");
            assert_eq!(got.attr("from"), Some(alice.jid.as_str()));
            assert!(is_delayed(&got), "{got}");
        }
        bob.nothing().await?;
    }
    Ok(())
}

/// promise.md 1: so does an error, whoever it comes from: the router, a handler, or the search for an account.
#[tokio::test]
async fn a_refusal_says_that_all_before_it_is_in_the_store() -> Outcome<()> {
    for to in ["bob@localhost/nobody", "nobody@localhost", "room@conference.localhost/x"] {
        let mut lab = Lab::new(&["alice", "bob"], &[]);
        let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "r").await?);
        let ping = format!("<iq type='get' id='{to}' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>");
        for stalls in [false, true] {
            let stalled = stalls.then(|| Stalled::new(&lab));
            alice.send(&message("bob@localhost", to)).await?;
            alice.send(&ping).await?;
            assert_eq!(next_message(&mut bob).await?.attr("id"), Some(to));
            if !stalls {
                let refused = alice.expect(|e| e.attr("id") == Some(to)).await?;
                assert_eq!(refused.attr("type"), Some("error"), "{refused}");
            }
            bob.fence().await?;
            drop(stalled.inspect(|_| lab.process.kill()));
        }
        while let Ok(Some(early)) = alice.next().await {
            assert_ne!(early.attr("id"), Some(to), "{early}");
        }
    }
    Ok(())
}

/// promise.md 2, 3: what was written to a socket that died is owed still; it comes again with the
/// same id and a stamp, once.
#[tokio::test]
async fn an_unconfirmed_message_comes_again_after_a_cut() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    alice.send(&message("bob@localhost", "one")).await?;
    let live = next_message(&mut bob).await?;
    assert!(!is_delayed(&live), "{live}");
    drop(bob);
    let mut bob = lab.online("bob", "r").await?;
    let again = next_message(&mut bob).await?;
    assert_eq!((again.attr("id"), again.text_of("body")), (Some("one"), Some("one")));
    assert!(is_delayed(&again), "{again}");
    bob.nothing().await
}

/// promise.md 3 and 9: the cut takes nothing from what comes after it; the order holds.
#[tokio::test]
async fn what_comes_between_the_cut_and_the_return_keeps_its_place() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    alice.send(&message("bob@localhost", "0")).await?;
    next_message(&mut bob).await?;
    drop(bob);
    for n in 1..30 {
        alice.send(&message("bob@localhost", &n.to_string())).await?;
    }
    alice.fence().await?;
    let mut bob = lab.online("bob", "r").await?;
    for n in 0..30 {
        assert_eq!(next_message(&mut bob).await?.attr("id"), Some(n.to_string().as_str()));
    }
    bob.nothing().await
}

/// promise.md 2: a clean close confirms; nothing comes twice.
#[tokio::test]
async fn after_a_clean_close_nothing_comes_again() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    for online in [true, false] {
        let mut bob = lab.online("bob", "r").await?;
        if online {
            alice.send(&message("bob@localhost", "live")).await?;
            next_message(&mut bob).await?;
        } else {
            bob.nothing().await?;
        }
        bob.close().await?;
    }
    // The same for messages that waited.
    alice.send(&message("bob@localhost", "waiting")).await?;
    alice.fence().await?;
    let mut bob = lab.online("bob", "r").await?;
    assert_eq!(next_message(&mut bob).await?.attr("id"), Some("waiting"));
    bob.close().await?;
    lab.online("bob", "r").await?.nothing().await
}

/// promise.md 2: any session of the account confirms, by answering a ping that was written after
/// the message; then it is owed to none of them.
#[tokio::test]
async fn one_device_confirms_for_all() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.ping_after_secs=1"]);
    let mut alice = lab.login("alice").await?;
    let mut phone = lab.online("bob", "phone").await?;
    let mut desk = lab.online("bob", "desk").await?;
    alice.send(&message("bob@localhost", "both")).await?;
    for client in [&mut phone, &mut desk] {
        assert_eq!(next_message(client).await?.attr("id"), Some("both"));
    }
    let ping = desk.expect(|e| e.find("ping").is_some()).await?;
    let id = ping.attr("id").unwrap_or_default();
    desk.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
    desk.fence().await?;
    drop((phone, desk));
    lab.online("bob", "phone").await?.nothing().await
}

/// promise.md 2: an answer to a ping that was written before the message says nothing of it.
#[tokio::test]
async fn an_older_ping_confirms_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.ping_after_secs=1"]);
    let mut bob = lab.online("bob", "r").await?;
    let ping = bob.expect(|e| e.find("ping").is_some()).await?;
    let mut alice = lab.login("alice").await?;
    alice.send(&message("bob@localhost", "later")).await?;
    next_message(&mut bob).await?;
    let id = ping.attr("id").unwrap_or_default();
    bob.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
    bob.fence().await?;
    drop(bob);
    let mut bob = lab.online("bob", "r").await?;
    assert_eq!(next_message(&mut bob).await?.attr("id"), Some("later"));
    Ok(())
}

/// promise.md 3: what waited comes before what is live, whatever happens at the moment of coming.
#[tokio::test]
async fn waiting_messages_come_before_live_ones() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    for n in 0..200 {
        alice.send(&message("bob@localhost", &n.to_string())).await?;
    }
    alice.fence().await?;
    let mut bob = lab.login_as("bob", "r").await?;
    bob.send("<presence/>").await?;
    // Some of these find bob there, in the middle of what waited for him.
    for n in 200..300 {
        alice.send(&message("bob@localhost", &n.to_string())).await?;
    }
    for n in 0..300 {
        let got = next_message(&mut bob).await?;
        assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
        assert!(n >= 200 || is_delayed(&got), "{got}");
    }
    Ok(())
}

/// promise.md 1: what is never owed does not come again (XEP-0160 §3, XEP-0334, XEP-0085 §5.1).
#[tokio::test]
async fn what_is_not_owed_is_not_kept() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let body = "<body>x</body>";
    for lost in [
        format!("<message to='bob@localhost' type='headline' id='h'>{body}</message>"),
        format!("<message to='bob@localhost' type='chat' id='n'>{body}<no-store xmlns='urn:xmpp:hints'/></message>"),
        "<message to='bob@localhost' type='chat' id='c'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>".to_owned(),
    ] {
        alice.send(&lost).await?;
    }
    alice.send(&message("bob@localhost", "kept")).await?;
    alice.fence().await?;
    let mut bob = lab.online("bob", "r").await?;
    assert_eq!(next_message(&mut bob).await?.attr("id"), Some("kept"));
    bob.nothing().await
}

/// XEP-0160 §3: a full mailbox is told to the sender, and what is in it stays.
#[tokio::test]
async fn a_full_mailbox_is_told_to_the_sender() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.offline_messages_max=3"]);
    let mut alice = lab.login("alice").await?;
    for n in 0..5 {
        alice.send(&message("bob@localhost", &n.to_string())).await?;
    }
    for n in 3..5 {
        let bounce = alice.expect(|e| e.attr("type") == Some("error")).await?;
        assert_eq!(bounce.attr("id"), Some(n.to_string().as_str()));
        assert_eq!(bounce.condition(), Some("service-unavailable"));
    }
    let mut bob = lab.online("bob", "r").await?;
    for n in 0..3 {
        assert_eq!(next_message(&mut bob).await?.attr("id"), Some(n.to_string().as_str()));
    }
    bob.nothing().await
}

/// promise.md 2: a kill of the server takes no confirmation back that is older than a second, and
/// loses nothing that was not confirmed.
#[tokio::test]
async fn unconfirmed_messages_survive_a_kill_of_the_server() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = lab_over(folder.path(), &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    alice.send(&message("bob@localhost", "seen")).await?;
    alice.fence().await?;
    next_message(&mut bob).await?;
    lab.process.kill();
    let lab = lab_over(folder.path(), &[]);
    let mut bob = lab.online("bob", "r").await?;
    let again = next_message(&mut bob).await?;
    assert_eq!(again.attr("id"), Some("seen"));
    assert!(is_delayed(&again), "{again}");
    bob.nothing().await
}

async fn fill(lab: &Lab, to: &str, count: usize) -> Outcome<Client> {
    let mut alice = lab.login("alice").await?;
    for n in 0..count {
        alice.send(&message(to, &n.to_string())).await?;
    }
    alice.fence().await?;
    Ok(alice)
}

/// The ids of all messages so far, behind which nothing waits in the server.
async fn came(client: &mut Client) -> Outcome<Vec<usize>> {
    client.ignores_presence = true;
    client.fence().await?;
    let ids = client.take().into_iter().filter(|e| e.name == "message");
    Ok(ids.filter_map(|e| e.attr("id").and_then(|id| id.parse().ok())).collect())
}

/// promise.md 8: what a session confirmed comes to no other one, though its row is deleted a
/// little later.
#[tokio::test]
async fn a_confirmed_message_comes_to_no_other_device() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.ping_after_secs=1"]);
    let mut alice = lab.login("alice").await?;
    let mut desk = lab.login_as("bob", "desk").await?;
    desk.answers_pings = false;
    desk.send("<presence><priority>-1</priority></presence>").await?;
    desk.fence().await?;
    alice.send(&message("bob@localhost/desk", "1")).await?;
    next_message(&mut desk).await?;
    alice.send(&message("bob@localhost", "2")).await?;
    alice.fence().await?;
    let mut phone = lab.login_as("bob", "phone").await?;
    // The ping was written after the message; its answer is worth a deletion within a second.
    let ping = desk.expect(|e| e.find("ping").is_some()).await?;
    let id = ping.attr("id").unwrap_or_default();
    desk.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
    desk.fence().await?;
    phone.send("<presence/>").await?;
    assert_eq!(came(&mut phone).await?, [2]);
    Ok(())
}

/// promise.md 3: the first session gets what waits, all of it and in order.
#[tokio::test]
async fn what_waits_is_not_split_between_two_that_come_at_once() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    fill(&lab, "bob@localhost", 300).await?;
    let mut phone = lab.login_as("bob", "phone").await?;
    let mut desk = lab.login_as("bob", "desk").await?;
    phone.send("<presence/>").await?;
    desk.send("<presence/>").await?;
    let got = [came(&mut phone).await?, came(&mut desk).await?];
    let all: Vec<usize> = (0..300).collect();
    assert!(got == [all.clone(), vec![]] || got == [vec![], all], "{got:?}");
    Ok(())
}

/// RFC 6121 §8.5.2.2.1: a priority that falls below zero stops the drain, and one that rises again
/// goes on with it: nothing is lost or doubled, and the order holds.
#[tokio::test]
async fn a_priority_that_falls_and_rises_during_the_drain_loses_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    fill(&lab, "bob@localhost", 300).await?;
    let mut bob = lab.login_as("bob", "r").await?;
    let low = "<presence><priority>-1</priority></presence>";
    bob.send(&format!("<presence/>{low}<presence/>{low}")).await?;
    let before = came(&mut bob).await?;
    assert!(before.len() < 300, "the drain stopped");
    bob.send(&format!("<presence/>{low}<presence type='unavailable'/><presence/>")).await?;
    let all = [before, came(&mut bob).await?].concat();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
    Ok(())
}

/// promise.md 3: a drain that is cut off goes to another session, from what was not confirmed.
#[tokio::test]
async fn a_drain_that_is_cut_goes_on_elsewhere() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = fill(&lab, "bob@localhost", 200).await?;
    let mut phone = lab.login_as("bob", "phone").await?;
    let mut desk = lab.login_as("bob", "desk").await?;
    desk.answers_pings = false;
    desk.send("<presence/>").await?;
    assert_eq!(came(&mut desk).await?, (0..200).collect::<Vec<_>>());
    phone.send("<presence/>").await?;
    phone.fence().await?;
    assert!(came(&mut phone).await?.is_empty(), "the desk has them");
    drop(desk);
    // The phone is told as soon as the desk is known to be gone.
    let last = phone.expect(|e| e.attr("id") == Some("199")).await?;
    assert!(is_delayed(&last));
    alice.send(&message("bob@localhost", "200")).await?;
    phone.expect(|e| e.attr("id") == Some("200")).await?;
    Ok(())
}
