//! Bounds between servers: who sends too fast, who lets us wait, what is too large, and a message that nobody survives.

use crate::harness::client::Outcome;
use crate::harness::element::Element;
use crate::harness::peers::One;
use crate::harness::process::run_in;
use crate::harness::raw_peer::{DIALBACK, Fake, Raw, SM, SM_FEATURE};
use crate::harness::sm::chat;
use crate::s2s_streams::{NAMES, answered, hears, result, to_alice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn id(one: &Element) -> &str {
    one.attr("id").unwrap_or_default()
}

/// `s2s.stanzas_per_second`, `s2s.bytes_per_second`: a peer that sends too fast is read slowly, and nobody else is.
#[tokio::test]
async fn who_sends_too_fast_is_read_slowly() -> Outcome<()> {
    for (set, body) in [("s2s.stanzas_per_second=10", 1), ("s2s.bytes_per_second=10000", 1_000)] {
        let one = One::new(&[set]);
        let mut alice = one.lab.online("alice", "a").await?;
        let mut carol = one.lab.online("carol", "c").await?;
        let own = one.identity(&["peer.test", "other.test"]);
        let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
        let body = format!("<body>{}</body>", "x".repeat(body));
        let message = |n: usize| {
            let id = n.to_string();
            to_alice(&id).replace(&format!("<body>{id}</body>"), &body)
        };
        raw.send(&(0..300).map(message).collect::<String>()).await?;
        hears(&mut alice, "30").await?;
        let mut other = Raw::external(one.site.address, ("other.test", "a.test"), &own).await?;
        let quick =
            to_alice("quick").replace("peer.test", "other.test").replace("alice@", "carol@");
        other.send(&quick).await?;
        hears(&mut carol, "quick").await?;
        alice.fence().await?;
        let got = alice.take().len();
        assert!(got < 200, "{set}: {got} at once");
    }
    Ok(())
}

/// What strangers have us ask and what waits for other servers have connections of their own: neither waits for the
/// other, not even for the same domain.
#[tokio::test]
async fn questions_of_strangers_and_what_waits_have_their_own_attempts() -> Outcome<()> {
    let one = One::new(&["s2s.outgoing_max=1", "s2s.dialback_domains=weak.test"]);
    let mut fake = one.fake().await;
    fake.domain = "weak.test".to_owned();
    let mut alice = one.lab.online("alice", "a").await?;
    for waits in ["other.test", "weak.test"] {
        alice.send(&chat(&format!("eve@{waits}"), waits)).await?;
        // It takes the only attempt, and says nothing.
        let mut silent = fake.accept().await?;
        silent.greeted().await?;
        let mut raw = Raw::secured(one.site.address, ("weak.test", "a.test"), None).await?;
        raw.send(&result("weak.test", "a.test", "key")).await?;
        let mut asks = fake.accept_secured().await?;
        fake.answer(&mut asks, "").await?;
        let verify = asks.expect(|e| e.is(DIALBACK, "verify")).await?;
        let answer =
            format!("<db:verify from='weak.test' to='a.test' id='{}' type='valid'/>", id(&verify));
        asks.send(&answer).await?;
        assert_eq!(answered(&mut raw, "result").await?.0, "valid", "while {waits} is connected to");
        drop(silent);
        if waits == "other.test" {
            one.lab.process.logs(&["no stream with a server", waits]);
        }
    }
    Ok(())
}

/// RFC 6120 §8.1: what a peer ends its stream at does not hold up what is behind it for ever.
#[tokio::test]
async fn a_message_that_ends_each_stream_is_given_up() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "poison")).await?;
    alice.send(&chat("eve@peer.test", "behind")).await?;
    // Pauses grow from stream to stream; an operator who wants it tried at once need not wait.
    let (data, done) = (one.lab.data.clone(), Arc::new(AtomicBool::new(false)));
    let impatient = std::thread::spawn({
        let done = done.clone();
        move || {
            let shown = data.display().to_string();
            while !done.load(Ordering::Relaxed) {
                run_in(&data, &["--data-dir", &shown, "s2s", "retry", "peer.test"], "");
            }
        }
    });
    let outcome = until_given_up(&fake).await;
    done.store(true, Ordering::Relaxed);
    impatient.join().unwrap();
    let (streams, first) = outcome?;
    assert!((5..=20).contains(&streams), "given up after {streams} streams");
    assert_eq!(first, "behind");
    let error = hears(&mut alice, "poison").await?;
    assert_eq!(error.condition(), Some("undefined-condition"), "{error}");
    assert!(error.to_string().contains("ends each stream at this message"), "{error}");
    alice.nothing().await
}

/// Ends each stream that brings `poison`; after how many of them something else came first, and what.
async fn until_given_up(fake: &Fake) -> Outcome<(usize, String)> {
    let mut streams = 0;
    loop {
        let mut raw = fake.accept_managed().await?;
        let first = raw.expect(|e| e.name == "message").await?;
        if id(&first) != "poison" {
            raw.send(&format!("<a xmlns='{SM}' h='1'/>")).await?;
            return Ok((streams, id(&first).to_owned()));
        }
        streams += 1;
        if streams > 20 {
            return raw.fail("it is never given up");
        }
        raw.try_send(
            "<stream:error><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
             </stream:stream>",
        )
        .await;
    }
}

/// XEP-0478 §3: what is larger than the peer takes is refused to its sender; what is around it goes on, in order.
#[tokio::test]
async fn what_a_peer_does_not_take_is_refused_to_its_sender() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "before")).await?;
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>";
    let mut raw = fake.accept_as(&format!("{SM_FEATURE}{limits}")).await?;
    raw.expect(|e| e.is(SM, "enable")).await?;
    raw.send(&format!("<enabled xmlns='{SM}' id='x' resume='true'/>")).await?;
    assert_eq!(id(&raw.expect(|e| e.name == "message").await?), "before");
    let large = chat("eve@peer.test", "large")
        .replace("</body>", &format!("{}</body>", "x".repeat(10_000)));
    let fits =
        chat("eve@peer.test", "fits").replace("</body>", &format!("{}</body>", "x".repeat(9_000)));
    let asks = format!(
        "<iq type='get' id='iq' to='peer.test'><query xmlns='urn:x'>{}</query></iq>",
        "x".repeat(10_000)
    );
    for stanza in [&large, &asks, &fits] {
        alice.send(stanza).await?;
    }
    assert_eq!(id(&raw.expect(|e| e.name == "message").await?), "fits");
    for name in ["large", "iq"] {
        let error = alice.expect(|e| id(e) == name).await?;
        assert_eq!(error.condition(), Some("policy-violation"), "{error}");
    }
    // Neither comes again on the next stream.
    raw.send(&format!("<a xmlns='{SM}' h='2'/>")).await?;
    raw.close().await?;
    alice.send(&chat("eve@peer.test", "after")).await?;
    let mut raw = fake.accept_managed().await?;
    assert_eq!(id(&raw.expect(|e| e.name == "message").await?), "after");
    alice.nothing().await
}

/// `s2s.iq_secs` while a stream that was cut is to be resumed, and the server lets us wait: requests are refused in
/// time, messages wait, and then all goes on where it was (XEP-0198 §5).
#[tokio::test]
async fn patience_ends_while_a_stream_is_to_be_resumed() -> Outcome<()> {
    let one = One::new(&["s2s.iq_secs=1"]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    for id in ["1", "2"] {
        alice.send(&chat("eve@peer.test", id)).await?;
    }
    let mut raw = fake.accept_managed().await?;
    for _ in 0..2 {
        raw.expect(|e| e.name == "message").await?;
    }
    // Whatever it was asked is answered before, so that the cut is the next thing.
    raw.send(&format!("<a xmlns='{SM}' h='1'/>")).await?;
    drop(raw);
    let silent = fake.accept().await?;
    let ping = "<iq type='get' id='p' to='peer.test'><ping xmlns='urn:xmpp:ping'/></iq>";
    alice.send(ping).await?;
    alice.send(&chat("eve@peer.test", "3")).await?;
    let refused = alice.expect(|e| id(e) == "p").await?;
    assert_eq!(refused.condition(), Some("remote-server-timeout"), "{refused}");
    assert!(refused.to_string().contains("could not be reached in 1 seconds"), "{refused}");
    alice.nothing().await?;
    // The connection is answered after all.
    let raw = fake.secured(silent).await?;
    let mut raw = fake.authenticated(raw, SM_FEATURE).await?;
    let resume = raw.expect(|e| e.is(SM, "resume")).await?;
    assert_eq!(resume.attr("previd"), Some("former"), "{resume}");
    raw.send(&format!("<resumed xmlns='{SM}' previd='former' h='1'/>")).await?;
    for want in ["2", "3"] {
        let got = raw.expect(|e| e.name == "message" || e.name == "iq").await?;
        assert_eq!(id(&got), want, "{got}");
    }
    raw.send(&format!("<a xmlns='{SM}' h='3'/>")).await?;
    alice.nothing().await
}
