//! Clients that know neither XEP-0198 nor pings (promise.md 2): they are served as long as their TCP
//! acknowledges, and what it acknowledged a while ago counts as theirs. Who answers pings, or takes
//! nothing, is another matter.

use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, stream_error};
use crate::harness::sm::{chat, friends, ids, is_delayed, say};
use std::time::{Duration, Instant};

const SET: [&str; 4] = [
    "limits.ping_timeout_secs=1",
    "limits.ping_after_secs=1",
    "limits.stanzas_per_second=0",
    "limits.bytes_per_second=0",
];

async fn pinged(client: &mut Client) -> Outcome<String> {
    let ping = client.expect(|e| e.find("ping").is_some()).await?;
    Ok(ping.attr("id").unwrap_or_default().to_owned())
}

/// Waits for what was written to count: one ping may be on its way, the next covers all, and another
/// one comes when that is overdue.
async fn counted(client: &mut Client) -> Outcome<()> {
    client.forget();
    pinged(client).await?;
    pinged(client).await.map(drop)
}

/// alice comes, says so much, hears of no error, and goes.
async fn says(lab: &Lab, range: std::ops::Range<usize>) -> Outcome<()> {
    let mut alice = lab.login("alice").await?;
    alice.answers_pings = true;
    say(&mut alice, "bob@localhost", range).await?;
    alice.nothing().await?;
    alice.close().await
}

/// It gets everything, is not cut, nobody hears of it, and nothing comes again.
#[tokio::test]
async fn who_never_answers_pings_is_served_as_long_as_it_is_there() -> Outcome<()> {
    let (with, without) =
        tokio::join!(served("modules.mam.enabled=true"), served("modules.mam.enabled=false"));
    with.and(without)
}

async fn served(archive: &str) -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[&SET[..], &[archive]].concat());
    let mut bob = lab.online("bob", "r").await?;
    for range in [0..100, 100..110] {
        says(&lab, range.clone()).await?;
        for id in ids(range) {
            assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some(&*id));
        }
        counted(&mut bob).await?;
    }
    // It just goes, as such clients do.
    drop(bob);
    lab.online("bob", "r").await?.nothing().await
}

/// The table's row: more than an account may be owed (11,000), at once and all the time.
#[tokio::test]
async fn however_much_it_gets_its_peers_hear_no_error() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &SET);
    let mut alice = lab.login("alice").await?;
    alice.answers_pings = true;
    let mut bob = lab.online("bob", "r").await?;
    const ALL: usize = 14_000;
    let sent = async {
        for first in (0..ALL).step_by(1_000) {
            let some: String =
                ids(first..first + 1_000).iter().map(|id| chat("bob@localhost", id)).collect();
            alice.send(&some).await?;
        }
        Ok(())
    };
    let got = async {
        for id in ids(0..ALL) {
            assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some(&*id));
        }
        Ok(())
    };
    let (sent, got): (Outcome<()>, Outcome<()>) = tokio::join!(sent, got);
    sent?;
    got?;
    alice.nothing().await?;
    counted(&mut bob).await?;
    drop(bob);
    lab.online("bob", "r").await?.nothing().await
}

/// Who has answered once is known to know pings: when it stops it hangs, and gets all of it again.
#[tokio::test]
async fn who_answered_once_and_hangs_is_cut_and_loses_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &SET);
    let mut alice = lab.login("alice").await?;
    alice.answers_pings = true;
    let mut bob = lab.online("bob", "r").await?;
    let ping = pinged(&mut bob).await?;
    bob.send(&format!("<iq type='result' id='{ping}'/>")).await?;
    bob.fence().await?;
    say(&mut alice, "bob@localhost", 0..50).await?;
    for id in ids(0..50) {
        assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some(&*id));
    }
    bob.expect(|e| e.find("ping").is_some()).await?;
    assert_eq!(stream_error(&mut bob).await?, "connection-timeout");
    alice.nothing().await?;
    let mut bob = lab.online("bob", "r").await?;
    for id in ids(0..50) {
        let got = bob.expect(|e| e.name == "message").await?;
        assert_eq!(got.attr("id"), Some(&*id));
        assert!(is_delayed(&got));
    }
    Ok(())
}

/// Whose socket takes no more is cut, whether it ever answered or not, also if it goes on talking.
#[tokio::test]
async fn who_stops_reading_is_cut_and_loses_nothing() -> Outcome<()> {
    let (never, once) = tokio::join!(stops_reading(false), stops_reading(true));
    never.and(once)
}

async fn stops_reading(answered: bool) -> Outcome<()> {
    // Long enough for a busy machine to read all of it at the end, and answer the ping behind it.
    let set = [
        "limits.outbox_bytes_max=30000000",
        "limits.stanza_bytes_max=500000",
        "limits.ping_timeout_secs=3",
    ];
    let lab = Lab::new(&["alice", "bob"], &[&SET[1..], &set].concat());
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    alice.answers_pings = true;
    let mut bob = lab.online("bob", "r").await?;
    if answered {
        let ping = pinged(&mut bob).await?;
        bob.send(&format!("<iq type='result' id='{ping}'/>")).await?;
        bob.fence().await?;
    }
    // More than the sockets hold, and fewer than bring a ping: none is on its way that TCP could take.
    let all = ids(0..30);
    let pad = "x".repeat(400_000);
    for id in &all {
        let message = format!(
            "<message to='bob@localhost' type='chat' id='{id}'><body>{pad}</body></message>"
        );
        alice.send(&message).await?;
    }
    alice.fence().await?;
    let deadline = Instant::now() + 2 * DEADLINE;
    let from = bob.jid.clone();
    let leaves =
        |e: &Element| e.attr("from") == Some(&from) && e.attr("type") == Some("unavailable");
    // From here on the window stays shut. What it says has the kernel wait anew before it looks whether the
    // window is open: it speaks as people do, not all the time.
    let mut talk = tokio::time::interval(Duration::from_millis(250));
    while !alice.take().iter().any(leaves) {
        assert!(Instant::now() < deadline, "{}", lab.process.log());
        talk.tick().await;
        let _ = bob.send(" ").await;
        alice.fence().await?;
    }
    alice.nothing().await?;
    let mut bob = lab.online("bob", "r").await?;
    bob.answers_pings = true;
    let mut got = Vec::new();
    while got.len() < all.len() {
        let message = bob.expect(|e| e.name == "message").await?;
        got.push(message.attr("id").unwrap_or_default().to_owned());
    }
    assert_eq!(got, all);
    Ok(())
}
