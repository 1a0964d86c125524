//! Bounds (RFC 6120 §13.12): what is too much is refused, what is too fast is slowed,
//! and nothing is dropped.

use crate::harness::client::{Client, DEADLINE, Outcome, SASL, Security};
use crate::harness::process::{Lab, ends_with, stream_error};
use std::time::{Duration, Instant};

/// RFC 6120 §13.12, §4.9.3.14: counted while it comes, so an element without an end is refused too.
#[tokio::test]
async fn an_element_before_authentication_is_bounded_more_narrowly() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.stanza_bytes_max_unauthenticated=10000"]);
    let long = "A".repeat(10_100);
    for sent in [
        format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{long}"),
        format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{long}</auth>"),
        format!("<a {long}"),
    ] {
        let mut client = lab.connect().await?;
        client.send(&sent).await?;
        ends_with(&mut client, "policy-violation").await?;
    }
    let mut client = lab.dial().await?;
    client.send(&format!("<?xml version='1.0'?><stream:stream to='{long}")).await?;
    ends_with(&mut client, "policy-violation").await?;
    // RFC 6120 §13.12: 10,000 bytes must pass.
    let mut client = lab.connect().await?;
    let head = format!("<auth xmlns='{SASL}' mechanism='PLAIN'>");
    let text = "A".repeat(10_000 - head.len() - "</auth>".len());
    client.send(&format!("{head}{text}</auth>")).await?;
    assert_eq!(client.receive().await?.name, "failure");
    Ok(())
}

/// The same after it, to the byte.
#[tokio::test]
async fn a_stanza_may_have_just_so_many_bytes() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.stanza_bytes_max=20000"]);
    for (bytes, good) in [(20_000, true), (20_001, false)] {
        let mut alice = lab.login("alice").await?;
        let (head, tail) = (format!("<message to='{}'><body>", alice.jid), "</body></message>");
        let text = "x".repeat(bytes - head.len() - tail.len());
        alice.send(&format!("{head}{text}{tail}")).await?;
        if good {
            assert_eq!(alice.receive().await?.text_of("body"), Some(text.as_str()));
        } else {
            ends_with(&mut alice, "policy-violation").await?;
        }
    }
    Ok(())
}

/// security.md rule 4: depth, attributes, children; at the bound it passes, beyond it does not.
#[tokio::test]
async fn depth_attributes_and_children_are_bounded() -> Outcome<()> {
    let set = ["limits.depth_max=20", "limits.attributes_max=20", "limits.children_max=20"];
    let lab = Lab::new(&["alice"], &set);
    let nested = |n: usize| format!("{}{}", "<a xmlns=''>".repeat(n), "</a>".repeat(n));
    let attributes = |n: usize| {
        let list: String = (0..n).map(|n| format!(" a{n}='v'")).collect();
        format!("<x{list}/>")
    };
    let children = |n: usize| "<c/>".repeat(n);
    // The stanza itself is one level.
    for (payload, good) in [
        (nested(19), true),
        (nested(20), false),
        (attributes(20), true),
        (attributes(21), false),
        (children(20), true),
        (children(21), false),
    ] {
        let mut alice = lab.login("alice").await?;
        let to = alice.jid.clone();
        alice.send(&format!("<message to='{to}'>{payload}</message>")).await?;
        if good {
            assert_eq!(alice.receive().await?.name, "message");
        } else {
            assert_eq!(stream_error(&mut alice).await?, "policy-violation", "{payload}");
        }
    }
    Ok(())
}

/// Who sends too fast is read more slowly; nothing is lost and nothing changes places.
#[tokio::test]
async fn a_fast_sender_is_slowed_and_loses_nothing() -> Outcome<()> {
    let stanzas = ["limits.stanzas_per_second=50", "limits.stanzas_burst=10"];
    let bytes = ["limits.bytes_per_second=20000", "limits.bytes_burst=4000"];
    for set in [stanzas, bytes] {
        let lab = Lab::new(&["alice"], &set);
        let mut alice = lab.login("alice").await?;
        let to = alice.jid.clone();
        let pad = "x".repeat(300);
        let all: String = (0..70)
            .map(|n| format!("<message to='{to}' id='{n}'><body>{pad}</body></message>"))
            .collect();
        let begun = Instant::now();
        alice.send(&all).await?;
        for n in 0..70 {
            let got = alice.expect(|e| e.name == "message").await?;
            assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
        }
        // 60 stanzas at 50 a second; 24 kB beyond the burst at 20 kB a second.
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(700), "{took:?}: {set:?}");
    }
    Ok(())
}

/// security.md: a bound per address; the one too many is told so (RFC 6120 §4.9.3.14) and whoever
/// leaves makes room.
#[tokio::test]
async fn streams_from_one_address_are_counted() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.streams_per_ip=3"]);
    let mut first = lab.login("alice").await?;
    let second = lab.connect().await?;
    let third = Client::connect(&lab.target, Security::Direct).await?;
    let mut fourth = lab.dial().await?;
    ends_with(&mut fourth, "policy-violation").await?;
    // RFC 6120 §4.7.1, §4.7.3
    assert_eq!(fourth.header.attr("from"), Some("localhost"));
    assert!(fourth.header.attr("id").is_some_and(|id| id.len() >= 22), "{:?}", fourth.header);
    let direct = lab.target.c2s_tls.expect("direct TLS");
    let mut fourth = Client::dial(&lab.target, direct).await?;
    assert!(fourth.handshake(&[]).await.is_err());
    lab.process.logs(&["too many streams"]);
    let told = lab.process.log().matches("too many streams").count();
    assert_eq!(told, 1, "who is refused must not fill the log");
    drop((second, third));
    first.close().await?;
    // The server sees the ends in its own time: try until there is room.
    let until = Instant::now() + DEADLINE;
    while lab.connect().await.is_err() {
        assert!(Instant::now() < until, "no room came back");
    }
    Ok(())
}

/// The same of a connection whose session goes on over another one: it counts until it is closed.
#[tokio::test]
async fn a_connection_that_was_left_counts_until_it_is_closed() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.streams_per_ip=2"]);
    let (old, previd) = lab.managed("alice", "phone").await?;
    let (mut alice, _) = lab.resumed("alice", &previd, 0).await?;
    // The old client neither reads nor closes: the server waits for its end.
    let mut third = lab.dial().await?;
    ends_with(&mut third, "policy-violation").await?;
    drop(old);
    let until = Instant::now() + DEADLINE;
    while lab.connect().await.is_err() {
        assert!(Instant::now() < until, "no room came back");
    }
    alice.fence().await
}

/// security.md: handshakes cost the processor before anybody is known; who opens streams too fast
/// waits its turn and is served.
#[tokio::test]
async fn connections_that_come_too_fast_wait_their_turn() -> Outcome<()> {
    let set = ["limits.connections_per_second=2", "limits.connections_burst=1"];
    let lab = Lab::new(&["alice"], &set);
    let begun = Instant::now();
    for _ in 0..3 {
        lab.connect().await?;
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    Ok(())
}

/// security.md rule 6: the deadline is absolute, whatever arrives before it.
#[tokio::test]
async fn the_deadline_of_negotiation_holds_though_data_trickles() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.unauthenticated_secs=2"]);
    let begun = Instant::now();
    let mut silent = lab.dial().await?;
    let mut trickling = lab.connect().await?;
    let mut authenticated = lab.authenticated("alice").await?;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    // A write may fail once the server has closed; the last words are in the buffer all the same.
    while begun.elapsed() < Duration::from_millis(2_500) {
        tick.tick().await;
        let _ = trickling.io.write(b" ").await;
        let _ = authenticated.io.write(b" ").await;
    }
    for client in [&mut silent, &mut trickling, &mut authenticated] {
        ends_with(client, "connection-timeout").await?;
    }
    assert!(begun.elapsed() < Duration::from_secs(6));
    lab.login("alice").await?.nothing().await
}

/// The same for a client that takes nothing of what it asks for: its stream ends like any other
/// (security.md: connection cost is bounded).
#[tokio::test]
async fn a_direct_connection_without_a_handshake_ends() -> Outcome<()> {
    let lab = Lab::new(&[], &["limits.unauthenticated_secs=1"]);
    let mut client = Client::dial(&lab.target, lab.target.c2s_tls.expect("a port")).await?;
    client.ended().await
}

/// security.md: bytes on their way to one session are bounded. Who does not read is ended with
/// `resource-constraint` (RFC 6120 §4.9.3.17), the others go on, and what it is owed is kept.
#[tokio::test]
async fn a_reader_that_stops_reading_is_ended_and_keeps_what_it_is_owed() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.outbox_bytes_max=600000"]);
    let mut bob = lab.online("bob", "r").await?;
    let mut alice = lab.login("alice").await?;
    let pad = "x".repeat(200_000);
    let mut sent = 0;
    while !lab.process.log().contains("resource-constraint") {
        assert!(sent < 200, "bob never got too much");
        alice
            .send(&format!("<message to='bob@localhost' id='{sent}'><body>{pad}</body></message>"))
            .await?;
        alice.fence().await?;
        sent += 1;
    }
    let got = stream_error(&mut bob).await?;
    assert_eq!(got, "resource-constraint");
    alice.nothing().await?;
    // Nothing was confirmed: all of it comes again, in order.
    let mut bob = lab.online("bob", "r").await?;
    for n in 0..sent {
        let got = bob.expect(|e| e.name == "message").await?;
        assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
    }
    Ok(())
}

/// security.md: the answers too. Who asks without end and takes no answer is not read any further,
/// and loses nothing when it reads again.
#[tokio::test]
async fn a_client_that_takes_no_answers_may_not_ask_for_ever() -> Outcome<()> {
    let set = ["limits.outbox_bytes_max=300000", "log.level=error"];
    let lab = Lab::new(&["alice"], &set);
    let mut alice = lab.login("alice").await?;
    let pad = "x".repeat(6_000);
    let mut asked = 0;
    loop {
        assert!(asked < 13_000, "80 MB of answers wait for somebody who does not read");
        let iq = format!("<iq type='get' id='{asked}-{pad}'><x xmlns='urn:example'/></iq>");
        let write = alice.io.write(iq.as_bytes());
        asked += 1;
        if tokio::time::timeout(Duration::from_secs(2), write).await.is_err() {
            break;
        }
    }
    // All but the one whose writing was given up.
    for n in 0..asked - 1 {
        let answer = alice.expect(|e| e.name == "iq").await?;
        assert!(answer.attr("id").is_some_and(|id| id.starts_with(&format!("{n}-"))));
    }
    Ok(())
}

/// The same without presence: a session that is written to by its full JID and reads nothing.
#[tokio::test]
async fn a_stuck_session_is_ended_by_a_conflict_too() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.outbox_bytes_max=30000000"]);
    let mut stuck = lab.login_as("alice", "r").await?;
    let mut other = lab.login_as("alice", "s").await?;
    let pad = "x".repeat(200_000);
    for n in 0..70 {
        other
            .send(&format!("<message to='alice@localhost/r' id='{n}'><body>{pad}</body></message>"))
            .await?;
    }
    other.fence().await?;
    let mut new = lab.login_as("alice", "r").await?;
    lab.process.logs(&["stream ended", "conflict"]);
    new.nothing().await?;
    // It gets the rest and the reason when it reads in time, or finds itself cut off.
    let _ = stuck.expect(|e| e.name == "error").await;
    Ok(())
}

/// security.md, 'one stanza -> thousands': presence counts for more, the more contacts hear of it.
#[tokio::test]
async fn presence_is_slowed_by_what_it_causes() -> Outcome<()> {
    let set = ["limits.stanzas_per_second=100", "limits.stanzas_burst=100"];
    let lab = Lab::new(&["alice"], &set);
    let mut alice = lab.online("alice", "r").await?;
    for n in 0..100 {
        let item = format!("<item jid='c{n}@elsewhere.example'/>");
        let set = format!("<query xmlns='jabber:iq:roster'>{item}</query>");
        alice.ask(&format!("<iq type='set' id='s{n}'>{set}</iq>")).await?;
    }
    let begun = Instant::now();
    for n in 0..60 {
        alice.send(&format!("<presence><status>{n}</status></presence>")).await?;
    }
    alice.fence().await?;
    // 60 of them with two contacts' fifties each are 180 stanzas: 80 beyond the burst at least.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}");
    Ok(())
}
