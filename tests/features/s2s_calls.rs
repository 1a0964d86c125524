//! Streams that our server opens to others, as those see them.

use crate::harness::client::Outcome;
use crate::harness::peers::One;
use crate::harness::raw_peer::{
    BIDI_FEATURE, DIALBACK, DIALBACK_FEATURE, EXTERNAL_FEATURE, Fake, Identity, Raw, SASL, SM,
    SM_FEATURE, TLS,
};
use crate::harness::sm::chat;
use crate::harness::tls::{Authority, params};
use crate::s2s_streams::{answered, hears, result, to_alice};

const PING: &str = "<iq type='get' id='p' to='peer.test'><ping xmlns='urn:xmpp:ping'/></iq>";

async fn messages(raw: &mut Raw, count: usize) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let message = raw.expect(|e| e.name == "message").await?;
        ids.push(message.attr("id").unwrap_or_default().to_owned());
    }
    Ok(ids)
}

/// XEP-0178 §3: our certificate and our name; stanzas are of `jabber:server`.
#[tokio::test]
async fn a_stream_is_opened_with_our_certificate() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "1")).await?;
    let mut raw = fake.accept_secured().await?;
    assert!(raw.shown() > 0, "a certificate was shown");
    assert_eq!(fake.answer(&mut raw, EXTERNAL_FEATURE).await?, "a.test");
    let auth = raw.expect(|e| e.is(SASL, "auth")).await?;
    assert_eq!((auth.attr("mechanism"), &*auth.text), (Some("EXTERNAL"), "YS50ZXN0"), "{auth}");
    raw.restart();
    raw.send(&format!("<success xmlns='{SASL}'/>")).await?;
    fake.answer(&mut raw, "").await?;
    let message = raw.expect(|e| e.name == "message").await?;
    assert_eq!((&*message.ns, message.attr("from")), ("jabber:server", Some("alice@a.test/a")));
    Ok(())
}

/// XEP-0220 §2.1: without EXTERNAL, or refused by it, there is a key; and we answer for it on another connection.
#[tokio::test]
async fn a_key_of_ours_is_ours() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "1")).await?;
    let mut raw = fake.accept_secured().await?;
    fake.answer(&mut raw, &format!("{EXTERNAL_FEATURE}{DIALBACK_FEATURE}")).await?;
    raw.expect(|e| e.is(SASL, "auth")).await?;
    raw.send(&format!("<failure xmlns='{SASL}'><not-authorized/></failure>")).await?;
    let asked = raw.expect(|e| e.is(DIALBACK, "result")).await?;
    assert_eq!((asked.attr("from"), asked.attr("to")), (Some("a.test"), Some("peer.test")));
    let key = asked.text.trim().to_owned();
    // XEP-0220 §2.2: as the receiving server, on a stream that is authenticated for nothing.
    let mut asks = Raw::secured(one.site.address, ("peer.test", "a.test"), None).await?;
    for (to, id, key, outcome) in [
        ("a.test", "fake", &*key, "valid"),
        ("a.test", "other", &*key, "invalid"),
        ("a.test", "fake", "0123", "invalid"),
        ("conference.a.test", "fake", &*key, "invalid"),
        ("elsewhere.test", "fake", &*key, "error"),
    ] {
        let verify = format!("<db:verify from='peer.test' to='{to}' id='{id}'>{key}</db:verify>");
        asks.send(&verify).await?;
        assert_eq!(answered(&mut asks, "verify").await?.0, outcome, "{to} {id}");
    }
    asks.close().await?;
    raw.send("<db:result from='peer.test' to='a.test' type='valid'/>").await?;
    assert_eq!(messages(&mut raw, 1).await?, ["1"]);
    Ok(())
}

/// The answers to our key that are none.
#[tokio::test]
async fn a_key_that_is_refused_bounces_requests_with_the_reason() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(PING).await?;
    let mut raw = fake.accept_secured().await?;
    fake.answer(&mut raw, DIALBACK_FEATURE).await?;
    raw.expect(|e| e.is(DIALBACK, "result")).await?;
    raw.send("<db:result from='peer.test' to='a.test' type='invalid'/>").await?;
    let refused = alice.expect(|e| e.attr("id") == Some("p")).await?;
    assert_eq!(refused.attr("type"), Some("error"), "{refused}");
    let text = refused.find("text").map(|text| text.text.clone()).unwrap_or_default();
    assert!(text.contains("peer.test"), "{refused}");
    Ok(())
}

/// RFC 6120 §13.7.2: to somebody else nothing is said, not even whom we want.
#[tokio::test]
async fn nothing_is_said_to_the_wrong_server() -> Outcome<()> {
    let stranger = tempfile::tempdir().unwrap();
    let foreign = Authority::new(stranger.path());
    let mut expired = params(&["peer.test"]);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let one = One::new(&[]);
    for (domain, identity) in [
        ("peer.test", Identity::of(&one.authority, &["evil.test"])),
        ("weak.test", Identity::of(&foreign, &["weak.test"])),
        ("other.test", Identity::made(&one.authority, expired)),
        ("conference.peer.test", Identity::alone(&["conference.peer.test"])),
    ] {
        let fake = Fake::new(one.peer.address, domain, identity).await;
        let mut alice = one.lab.online("alice", "a").await?;
        let ping = PING.replace("peer.test", domain);
        alice.send(&ping).await?;
        let mut raw = fake.accept_secured().await?;
        raw.gone().await?;
        assert!(raw.header.is_none() && raw.take().is_empty(), "{domain}: nothing is said");
        let refused = alice.expect(|e| e.attr("id") == Some("p")).await?;
        let condition = refused.condition().unwrap_or_default();
        assert!(condition.starts_with("remote-server"), "{refused}");
        let text = refused.find("text").map(|text| text.text.clone()).unwrap_or_default();
        assert!(text.contains("certificate"), "{refused}");
    }
    Ok(())
}

/// A peer without STARTTLS, or whose header is not its own, is none.
#[tokio::test]
async fn nothing_is_said_in_the_clear() -> Outcome<()> {
    let one = One::new(&["s2s.certificates=dialback"]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(PING).await?;
    let mut raw = fake.accept().await?;
    fake.answer(&mut raw, DIALBACK_FEATURE).await?;
    let refused = alice.expect(|e| e.attr("id") == Some("p")).await?;
    assert_eq!(refused.attr("type"), Some("error"), "{refused}");
    raw.gone().await?;
    assert!(raw.take().iter().all(|e| e.ns != DIALBACK), "no key in the clear");
    // STARTTLS that is offered and then refused.
    alice.send(&PING.replace("peer.test", "other.test")).await?;
    let mut fake = fake;
    fake.domain = "other.test".to_owned();
    let mut raw = fake.accept().await?;
    fake.answer(&mut raw, &format!("<starttls xmlns='{TLS}'/>{DIALBACK_FEATURE}")).await?;
    raw.expect(|e| e.is(TLS, "starttls")).await?;
    raw.send(&format!("<failure xmlns='{TLS}'/></stream:stream>")).await?;
    let refused = alice.expect(|e| e.attr("id") == Some("p")).await?;
    assert_eq!(refused.attr("type"), Some("error"), "{refused}");
    Ok(())
}

/// XEP-0288 from our side: what the peer says comes on the same stream.
#[tokio::test]
async fn a_stream_of_ours_is_used_in_both_directions() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(PING).await?;
    let mut raw = fake.accept_as(BIDI_FEATURE).await?;
    raw.expect(|e| e.is("urn:xmpp:bidi", "bidi")).await?;
    let asked = raw.expect(|e| e.name == "iq" && e.attr("id") == Some("p")).await?;
    assert_eq!(asked.attr("to"), Some("peer.test"));
    raw.send("<iq type='result' id='p' from='peer.test' to='alice@a.test/a'/>").await?;
    alice.expect(|e| e.attr("id") == Some("p") && e.attr("type") == Some("result")).await?;
    raw.send(&to_alice("1")).await?;
    hears(&mut alice, "1").await?;
    raw.send(&to_alice("2").replace("eve@peer.test/x", "eve@other.test")).await?;
    raw.ends_with("invalid-from").await?;
    // Without it, a stream of ours has one direction.
    alice.send(&PING.replace("id='p'", "id='q'")).await?;
    let mut raw = fake.accept_as("").await?;
    raw.expect(|e| e.attr("id") == Some("q")).await?;
    raw.send(&to_alice("3")).await?;
    raw.stream_error().await?;
    alice.fence().await?;
    assert!(!alice.take().iter().any(|e| e.name == "message"));
    Ok(())
}

/// XEP-0198 §5: after a cut, what the peer has not counted comes again, and nothing else.
#[tokio::test]
async fn a_stream_of_ours_is_resumed() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    for id in ["1", "2", "3"] {
        alice.send(&chat("eve@peer.test", id)).await?;
    }
    let mut raw = fake.accept_managed().await?;
    assert_eq!(messages(&mut raw, 3).await?, ["1", "2", "3"]);
    drop(raw);
    let mut raw = fake.accept_as(SM_FEATURE).await?;
    let resume = raw.expect(|e| e.is(SM, "resume")).await?;
    assert_eq!((resume.attr("previd"), resume.attr("h")), (Some("former"), Some("0")));
    alice.send(&chat("eve@peer.test", "4")).await?;
    alice.fence().await?;
    raw.send(&format!("<resumed xmlns='{SM}' previd='former' h='1'/>")).await?;
    assert_eq!(messages(&mut raw, 3).await?, ["2", "3", "4"]);
    // The peer has forgotten it: all that it did not count comes on the new stream.
    raw.send(&format!("<a xmlns='{SM}' h='2'/>")).await?;
    drop(raw);
    let mut raw = fake.accept_as(SM_FEATURE).await?;
    raw.expect(|e| e.is(SM, "resume")).await?;
    let gone = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    raw.send(&format!("<failed xmlns='{SM}' h='3'>{gone}</failed>")).await?;
    raw.expect(|e| e.is(SM, "enable")).await?;
    raw.send(&format!("<enabled xmlns='{SM}'/>")).await?;
    assert_eq!(messages(&mut raw, 1).await?, ["4"]);
    raw.send(&format!("<a xmlns='{SM}' h='1'/>")).await?;
    // A count that cannot be ends the stream (§4).
    raw.send(&format!("<a xmlns='{SM}' h='9'/>")).await?;
    raw.ends_with("undefined-condition").await?;
    // Nothing is left for another one.
    alice.send(&chat("eve@peer.test", "5")).await?;
    let mut raw = fake.accept_managed().await?;
    assert_eq!(messages(&mut raw, 1).await?, ["5"]);
    Ok(())
}

/// A peer without XEP-0198: the answer to a ping that came behind the messages counts.
#[tokio::test]
async fn a_ping_acknowledges_where_nothing_else_does() -> Outcome<()> {
    let one = One::new(&["limits.ping_timeout_secs=2"]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "1")).await?;
    let mut raw = fake.accept_as("").await?;
    assert_eq!(messages(&mut raw, 1).await?, ["1"]);
    raw.expect(|e| e.child("urn:xmpp:ping", "ping").is_some()).await?;
    // Not answered: it comes again on another stream.
    drop(raw);
    let mut raw = fake.accept_as("").await?;
    assert_eq!(messages(&mut raw, 1).await?, ["1"]);
    let ping = raw.expect(|e| e.child("urn:xmpp:ping", "ping").is_some()).await?;
    let of = |name: &str| ping.attr(name).unwrap_or_default().to_owned();
    // Answered on a stream of the peer's own, as it has one direction.
    let own = one.identity(&["peer.test"]);
    let mut back = Raw::external(one.site.address, ("peer.test", "a.test"), &own).await?;
    // Somebody else's answer is none.
    let other = one.identity(&["other.test"]);
    let mut liar = Raw::external(one.site.address, ("other.test", "a.test"), &other).await?;
    liar.send(&format!(
        "<iq type='result' id='{}' from='other.test' to='{}'/>",
        of("id"),
        of("from")
    ))
    .await?;
    let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    back.send(&format!(
        "<iq type='error' id='{}' from='{}' to='{}'>{error}</iq>",
        of("id"),
        of("to"),
        of("from")
    ))
    .await?;
    back.send(&to_alice("settled")).await?;
    hears(&mut alice, "settled").await?;
    drop(raw);
    alice.send(&chat("eve@peer.test", "2")).await?;
    let mut raw = fake.accept_as("").await?;
    assert_eq!(messages(&mut raw, 1).await?, ["2"]);
    Ok(())
}

/// XEP-0368 from our side.
#[tokio::test]
async fn tls_begins_with_the_first_byte_where_the_route_says_so() -> Outcome<()> {
    let one = One::reached(&[], "tls://");
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "1")).await?;
    let mut raw = fake.accept().await?;
    raw.accept_tls(&fake.identity).await?;
    fake.answer(&mut raw, DIALBACK_FEATURE).await?;
    let asked = raw.expect(|e| e.is(DIALBACK, "result")).await?;
    assert!(!asked.text.trim().is_empty() && !result("", "", "").is_empty());
    raw.send("<db:result from='peer.test' to='a.test' type='valid'/>").await?;
    assert_eq!(messages(&mut raw, 1).await?, ["1"]);
    Ok(())
}
