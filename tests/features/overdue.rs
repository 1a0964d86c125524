//! Answers that the server waits for (promise.md 2): how late they are is counted while it listens, on the
//! connection on which it asked, and only for clients that must answer.

use crate::harness::client::{Client, Outcome};
use crate::harness::process::Lab;
use crate::harness::sm::{Stalled, is_delayed, say};

const SET: [&str; 3] =
    ["limits.ping_timeout_secs=1", "limits.ping_after_secs=1", "limits.bytes_per_second=0"];

const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// The next ping of the server's.
async fn pinged(client: &mut Client) -> Outcome<String> {
    let ping = client.expect(|e| e.find("ping").is_some()).await?;
    Ok(ping.attr("id").unwrap_or_default().to_owned())
}

async fn answer(client: &mut Client, id: &str) -> Outcome<()> {
    client.send(&format!("<iq type='result' id='{id}'/>")).await
}

/// Two seconds go by, or more: who is silent is pinged after each. No answer is awaited for longer than
/// one and a half.
async fn time_passes(silent: &mut Client) -> Outcome<()> {
    silent.fence().await?;
    for old in silent.take().iter().filter(|e| e.find("ping").is_some()) {
        answer(silent, old.attr("id").unwrap_or_default()).await?;
    }
    for _ in 0..2 {
        let id = pinged(silent).await?;
        answer(silent, &id).await?;
    }
    Ok(())
}

/// bob has got one message, and has answered a ping before or none.
async fn told(lab: &Lab, answered: bool) -> Outcome<Client> {
    let mut bob = lab.online("bob", "r").await?;
    if answered {
        let id = pinged(&mut bob).await?;
        answer(&mut bob, &id).await?;
    }
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    bob.expect(|e| e.name == "message").await?;
    alice.close().await?;
    Ok(bob)
}

/// His message was not confirmed: it comes again.
async fn is_owed(lab: &Lab) -> Outcome<()> {
    let mut bob = lab.online("bob", "another").await?;
    let message = bob.expect(|e| e.name == "message").await?;
    assert!(is_delayed(&message), "{message}");
    Ok(())
}

/// Ended in order for TCP, without a word of XMPP: all that was said before is there to be read.
async fn hangs_up(client: &mut Client) {
    let _ = client.io.shutdown().await;
}

/// A client whose request waits for the disk, while nothing of it is read; a ping was sent to it two seconds
/// ago.
async fn deaf(lab: &Lab, answered: bool) -> Outcome<(Client, String, Stalled)> {
    let mut carol = lab.login("carol").await?;
    let mut bob = told(lab, answered).await?;
    let stalled = Stalled::new(lab);
    let item = "<query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query>";
    bob.send(&format!("<iq type='set' id='waits'>{item}</iq>")).await?;
    let id = pinged(&mut bob).await?;
    time_passes(&mut carol).await?;
    Ok((bob, id, stalled))
}

/// What came meanwhile is read before anybody is given up, also when it is more than one turn's.
#[tokio::test]
async fn what_came_while_nobody_listened_is_read_first() -> Outcome<()> {
    let lab = Lab::new(&USERS, &SET);
    let (mut bob, _, stalled) = deaf(&lab, false).await?;
    bob.send(&"<iq type='result' id='none'/>".repeat(100)).await?;
    hangs_up(&mut bob).await;
    drop(stalled);
    is_owed(&lab).await
}

/// Who has not answered has the rest of its time when it is listened to again.
#[tokio::test]
async fn no_answer_is_late_for_the_time_in_which_nobody_listened() -> Outcome<()> {
    let (unknown, known) = tokio::join!(
        async {
            let lab = Lab::new(&USERS, &SET);
            let (mut bob, _, stalled) = deaf(&lab, false).await?;
            drop(stalled);
            bob.expect(|e| e.attr("id") == Some("waits")).await?;
            hangs_up(&mut bob).await;
            is_owed(&lab).await
        },
        async {
            let lab = Lab::new(&USERS, &SET);
            let (mut bob, id, stalled) = deaf(&lab, true).await?;
            drop(stalled);
            bob.expect(|e| e.attr("id") == Some("waits")).await?;
            answer(&mut bob, &id).await?;
            bob.fence().await?;
            hangs_up(&mut bob).await;
            lab.online("bob", "another").await?.nothing().await
        }
    );
    unknown.and(known)
}

/// Nor while a client that sent too much is read slowly: its answer is behind the rest.
#[tokio::test]
async fn no_answer_is_late_while_its_client_is_slowed() -> Outcome<()> {
    let rate = ["limits.stanzas_per_second=20", "limits.stanzas_burst=20"];
    let lab = Lab::new(&USERS, &[&SET[..], &rate].concat());
    let mut carol = lab.login("carol").await?;
    let mut bob = told(&lab, false).await?;
    // Eight seconds of it.
    bob.send(&"<iq type='result' id='none'/>".repeat(180)).await?;
    pinged(&mut bob).await?;
    time_passes(&mut carol).await?;
    hangs_up(&mut bob).await;
    is_owed(&lab).await
}

/// promise.md 2: with stream management nothing is confirmed but by an acknowledgement, what was written
/// before it neither.
#[tokio::test]
async fn a_managed_client_is_never_taken_for_mute() -> Outcome<()> {
    let lab = Lab::new(&USERS, &SET);
    let mut carol = lab.login("carol").await?;
    let mut bob = told(&lab, false).await?;
    pinged(&mut bob).await?;
    bob.enable_with("").await?;
    time_passes(&mut carol).await?;
    hangs_up(&mut bob).await;
    is_owed(&lab).await
}

/// XEP-0198 §5: what the lost connection owed is no reason to end the session that waits for another one.
#[tokio::test]
async fn a_hibernating_session_owes_no_answer() -> Outcome<()> {
    // The next deadline there is shall be the one of the answer.
    let set =
        ["limits.ping_timeout_secs=1", "limits.ping_after_secs=2", "limits.unacked_stanzas_max=5"];
    let lab = Lab::new(&USERS, &set);
    let mut carol = lab.login("carol").await?;
    let mut alice = lab.login("alice").await?;
    alice.answers_pings = true;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    say(&mut alice, "bob@localhost", 0..5).await?;
    for _ in 0..5 {
        bob.expect(|e| e.name == "message").await?;
    }
    bob.asked().await?;
    // It talks, acknowledges nothing, and is gone before that is too late.
    bob.send(" ").await?;
    hangs_up(&mut bob).await;
    lab.sleeps(&bob.jid);
    time_passes(&mut carol).await?;
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    for _ in 0..5 {
        bob.expect(|e| e.name == "message").await?;
    }
    Ok(())
}
