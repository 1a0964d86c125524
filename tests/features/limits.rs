//! Bounds: each is reached, says so in the words of the specifications, and harms nobody else.

use crate::harness::client::{Client, Outcome, STREAMS};
use crate::harness::element::{Element, STREAM};
use crate::harness::server::{PASSWORD, Place, subject};
use std::time::{Duration, Instant};

/// Our own server with these settings; none where another one is under test.
async fn with(users: &[&str], set: &[(&str, &str)]) -> Option<Place> {
    match subject() {
        Some(_) => None,
        None => Some(Place::set(users, set).await),
    }
}

#[tokio::test]
async fn who_does_not_authenticate_is_shown_out() -> Outcome<()> {
    let Some(place) = with(&[], &[("limits.unauthenticated_secs", "1")]).await else {
        return Ok(());
    };
    // Said nothing at all; opened a stream; talks without end.
    let mut silent = Client::dial(&place.target, place.target.c2s).await?;
    let mut opened = place.connect().await;
    let started = Instant::now();
    silent.gone().await?;
    opened.expect(|e| e.is(STREAM, "error")).await?;
    opened.gone().await?;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_given_up() -> Outcome<()> {
    let set = [("limits.ping_after_secs", "1"), ("limits.ping_timeout_secs", "1")];
    let Some(place) = with(&["alice"], &set).await else { return Ok(()) };
    let mut alive = place.online("alice").await;
    let mut dead = place.online("alice").await;
    dead.answers_pings = false;
    // The other one answers, as it is read all the while.
    let left = |e: &Element| e.attr("type") == Some("unavailable");
    let (given_up, seen) = tokio::join!(dead.stream_error(), alive.expect(left));
    // RFC 6120 §4.9.3.4
    assert_eq!(given_up?, "connection-timeout");
    seen?;
    alive.fence().await
}

#[tokio::test]
async fn streams_from_one_address() -> Outcome<()> {
    let Some(place) = with(&[], &[("limits.streams_per_ip", "2")]).await else { return Ok(()) };
    let one = place.connect().await;
    let _two = place.connect().await;
    let mut three = Client::dial(&place.target, place.target.c2s).await?;
    assert!(three.open().await.is_err(), "a third stream");
    // A place that is given up is free again.
    drop(one);
    for _ in 0..50 {
        let mut four = Client::dial(&place.target, place.target.c2s).await?;
        if four.open().await.is_ok() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    three.fail("the place is not free again")
}

#[tokio::test]
async fn resources_of_one_account() -> Outcome<()> {
    let Some(place) = with(&["alice"], &[("limits.resources_per_account", "2")]).await else {
        return Ok(());
    };
    let mut one = place.bound("alice").await;
    let _two = place.bound("alice").await;
    let mut three = place.connect().await;
    three.authenticate(&place.user("alice"), PASSWORD).await?;
    let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
    let answer = three.ask(&format!("<iq type='set' id='b'>{bind}</iq>")).await?;
    // RFC 6120 §7.6.2.1
    assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    one.nothing().await
}

#[tokio::test]
async fn items_of_one_roster() -> Outcome<()> {
    let Some(place) = with(&["alice"], &[("limits.roster_items_max", "3")]).await else {
        return Ok(());
    };
    let mut alice = place.bound("alice").await;
    for n in 0..4 {
        let query =
            format!("<query xmlns='jabber:iq:roster'><item jid='c{n}@example.com'/></query>");
        let answer = alice.ask(&format!("<iq type='set' id='s{n}'>{query}</iq>")).await?;
        let expected = if n < 3 { "result" } else { "error" };
        assert_eq!(answer.attr("type"), Some(expected), "{answer}");
    }
    // What is there can still be changed.
    let query = "<query xmlns='jabber:iq:roster'><item jid='c0@example.com' name='x'/></query>";
    let answer = alice.ask(&format!("<iq type='set' id='u'>{query}</iq>")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn messages_for_one_absent_account() -> Outcome<()> {
    let set = [("limits.offline_messages_max", "3")];
    let Some(place) = with(&["alice", "bob"], &set).await else { return Ok(()) };
    let mut alice = place.bound("alice").await;
    for n in 0..4 {
        alice
            .send(&format!(
                "<message to='{}' type='chat' id='m{n}'><body>x</body></message>",
                place.jid("bob")
            ))
            .await?;
    }
    // XEP-0160 §2: an error where it cannot be stored; never a silent loss.
    let refused = alice.receive().await?;
    assert_eq!(
        (refused.attr("id"), refused.attr("type")),
        (Some("m3"), Some("error")),
        "{refused}"
    );
    alice.nothing().await?;
    let mut bob = place.bound("bob").await;
    bob.ignores_presence = true;
    bob.send("<presence/>").await?;
    bob.fence().await?;
    let got = bob.take();
    let ids: Vec<_> = got.iter().filter_map(|m| m.attr("id")).collect();
    assert_eq!(ids, ["m0", "m1", "m2"]);
    Ok(())
}

#[tokio::test]
async fn a_stanza_over_the_limit() -> Outcome<()> {
    let Some(place) = with(&["alice"], &[("limits.stanza_bytes_max", "20000")]).await else {
        return Ok(());
    };
    let mut alice = place.bound("alice").await;
    let message = |n: usize| {
        format!("<message to='{}'><body>{}</body></message>", place.jid("bob"), "x".repeat(n))
    };
    alice.send(&message(19_000)).await?;
    alice.fence().await?;
    alice.send(&message(20_001)).await?;
    let error = alice.expect(|e| e.is(STREAM, "error")).await?;
    assert!(error.child(STREAMS, "policy-violation").is_some(), "{error}");
    Ok(())
}

#[tokio::test]
async fn who_writes_too_fast_is_slowed_and_loses_nothing() -> Outcome<()> {
    let set = [("limits.bytes_per_second", "50000"), ("limits.bytes_burst", "20000")];
    let Some(place) = with(&["alice"], &set).await else { return Ok(()) };
    let mut alice = place.bound("alice").await;
    let to = alice.jid.clone();
    let started = Instant::now();
    let body = "x".repeat(1_000);
    for n in 0..100 {
        alice.send(&format!("<message to='{to}' id='{n}'><body>{body}</body></message>")).await?;
    }
    for n in 0..100 {
        let got = alice.receive().await?;
        assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
    }
    // 100 kB at 50 kB a second, less the burst.
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_harms_only_itself() -> Outcome<()> {
    let set = [("limits.outbox_bytes_max", "262144"), ("limits.bytes_per_second", "0")];
    let Some(place) = with(&["alice", "bob"], &set).await else { return Ok(()) };
    let mut alice = place.bound("alice").await;
    let bob = place.bound("bob").await;
    let body = "x".repeat(50_000);
    // Far more than the socket's buffers and the outbox hold; bob reads nothing.
    for n in 0..400 {
        alice
            .send(&format!(
                "<message to='{}' type='headline' id='{n}'><body>{body}</body></message>",
                bob.jid
            ))
            .await?;
    }
    // She is served all the same, and is not slower than the deadline allows.
    alice.fence().await?;
    let mut third = place.bound("bob").await;
    third.nothing().await
}
