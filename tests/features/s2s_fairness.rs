//! Streams with other servers are fair: who does not read holds up no others, a domain is no faster for having many
//! streams, and presence that comes all at once is sent bit by bit.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::peers::One;
use crate::harness::raw_peer::{Raw, SM};
use crate::s2s_streams::{NAMES, hears, to_alice};
use std::time::{Duration, Instant};

fn to(user: &str, id: &str, body: &str) -> String {
    to_alice(id)
        .replace("alice@a.test", &format!("{user}@a.test"))
        .replace(&format!("<body>{id}"), &format!("<body>{body}"))
}

/// Alice stops reading; what the same stream brings for carol comes all the same, and alice has lost nothing.
#[tokio::test]
async fn who_does_not_read_holds_up_no_others() -> Outcome<()> {
    let one = One::new(&["limits.outbox_bytes_max=8000000", "store.synchronous=normal"]);
    let mut alice = one.lab.online("alice", "a").await?;
    let mut carol = one.lab.online("carol", "c").await?;
    let mut raw = Raw::external(one.site.address, NAMES, &one.identity(&["peer.test"])).await?;
    // Until the sockets and half of her box are full: then the stream is slowed.
    let big = "x".repeat(100_000);
    let mut sent = 0;
    loop {
        let started = Instant::now();
        raw.send(&to("alice", &format!("big{sent}"), &big)).await?;
        raw.send(&to("carol", &format!("big{sent}"), "hi")).await?;
        hears(&mut carol, &format!("big{sent}")).await?;
        sent += 1;
        if started.elapsed() > Duration::from_millis(300) && sent > 40 {
            break;
        }
        assert!(sent < 400, "she is never waited for");
    }
    // A second for each of hers would be more than anybody waits.
    let turns: String = (0..60)
        .map(|n| to("alice", &format!("a{n}"), "x") + &to("carol", &format!("c{n}"), "x"))
        .collect();
    raw.send(&turns).await?;
    hears(&mut carol, "c59").await?;
    for id in (0..sent).map(|n| format!("big{n}")).chain((0..60).map(|n| format!("a{n}"))) {
        let next = alice.expect(|e| e.name == "message").await?;
        assert_eq!(next.attr("id"), Some(&*id));
    }
    Ok(())
}

/// `s2s.stanzas_per_second` is a domain's, however many streams it opens; others have their own.
#[tokio::test]
async fn streams_of_one_domain_share_its_pace() -> Outcome<()> {
    let one = One::new(&["s2s.stanzas_per_second=1"]);
    let mut alice = one.lab.online("alice", "a").await?;
    let own = one.identity(&["peer.test", "other.test"]);
    let mut first = Raw::external(one.site.address, NAMES, &own).await?;
    let mut second = Raw::external(one.site.address, NAMES, &own).await?;
    let mut other = Raw::external(one.site.address, ("other.test", "a.test"), &own).await?;
    let many: String = (0..60).map(|n| to_alice(&format!("first{n}"))).collect();
    first.send(&many).await?;
    // The burst is over.
    hears(&mut alice, "first5").await?;
    let some: String = (0..4).map(|n| to_alice(&format!("second{n}"))).collect();
    second.send(&some).await?;
    hears(&mut alice, "second0").await?;
    other.send(&to_alice("other").replace("peer.test", "other.test")).await?;
    hears(&mut alice, "other").await?;
    alice.fence().await?;
    let early = alice.take().iter().any(|e| e.attr("id") == Some("second3"));
    assert!(!early, "a second stream has a burst of its own");
    Ok(())
}

/// Presence for more contacts than the memory of the queue has room for, and probes: all of it goes out.
#[tokio::test]
async fn presence_for_many_is_sent_bit_by_bit() -> Outcome<()> {
    let one = One::new(&["s2s.memory_bytes_max=16384"]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    let mut raw = Raw::external(one.site.address, NAMES, &one.identity(&["peer.test"])).await?;
    raw.send(&format!("<enable xmlns='{SM}'/>")).await?;
    raw.expect(|e| e.is(SM, "enabled")).await?;
    for n in 0..CONTACTS {
        // A request that was approved before it came (RFC 6121 §3.4).
        alice.send(&format!("<presence type='subscribed' to='u{n}@peer.test'/>")).await?;
    }
    alice.fence().await?;
    for n in 0..CONTACTS {
        raw.send(&format!("<presence type='subscribe' from='u{n}@peer.test' to='alice@a.test'/>"))
            .await?;
    }
    let mut came = fake.accept_managed().await?;
    let mut count = 0;
    takes(&mut came, &mut count, |e| e.attr("type") == Some("subscribed")).await?;
    alice.send("<presence type='unavailable'/>").await?;
    takes(&mut came, &mut count, |e| e.attr("type") == Some("unavailable")).await?;
    let status = "x".repeat(300);
    let mut again: Client = one.lab.login_as("alice", "again").await?;
    again.send(&format!("<presence><status>{status}</status></presence>")).await?;
    takes(&mut came, &mut count, |e| e.find("status").is_some()).await
}

const CONTACTS: usize = 150;

/// Takes what is sent, and acknowledges it, until there was one of these for each contact.
async fn takes(raw: &mut Raw, count: &mut u32, fits: impl Fn(&Element) -> bool) -> Outcome<()> {
    let mut left: Vec<String> = (0..CONTACTS).map(|n| format!("u{n}@peer.test")).collect();
    while !left.is_empty() {
        let next = match raw.receive().await {
            Ok(next) => next,
            Err(error) => return raw.fail(format!("{} did not come: {error}", left.len())),
        };
        if next.is(SM, "r") {
            raw.send(&format!("<a xmlns='{SM}' h='{count}'/>")).await?;
            continue;
        }
        if ["message", "presence", "iq"].contains(&&*next.name) {
            *count += 1;
        }
        if next.name == "presence" && fits(&next) {
            left.retain(|to| next.attr("to") != Some(to));
        }
    }
    Ok(())
}
