//! Streams that other servers open (RFC 6120, XEP-0178, XEP-0220, XEP-0288, XEP-0198), as the other server sees
//! them.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, STREAM};
use crate::harness::peers::One;
use crate::harness::raw_peer::{DIALBACK, Identity, Raw, SASL, SM, TLS, header};
use crate::harness::sm::{Stalled, chat};
use crate::harness::tls::{Authority, params};

pub const NAMES: (&str, &str) = ("peer.test", "a.test");

/// A message of the peer to alice.
pub fn to_alice(id: &str) -> String {
    format!(
        "<message from='eve@peer.test/x' to='alice@a.test' type='chat' id='{id}'>\
         <body>{id}</body></message>"
    )
}

pub async fn hears(client: &mut Client, id: &str) -> Outcome<Element> {
    client.expect(|e| e.name == "message" && e.attr("id") == Some(id)).await
}

/// `<db:result/>` with a key, or the answer to one.
pub fn result(from: &str, to: &str, key: &str) -> String {
    format!("<db:result from='{from}' to='{to}'>{key}</db:result>")
}

/// The type of the answer, with the condition of an error.
pub async fn answered(raw: &mut Raw, name: &str) -> Outcome<(String, String)> {
    let answer = raw.expect(|e| e.is(DIALBACK, name)).await?;
    let condition = answer.find("error").and_then(|error| error.children.first());
    let condition = condition.map(|condition| condition.name.clone()).unwrap_or_default();
    Ok((answer.attr("type").unwrap_or_default().to_owned(), condition))
}

/// RFC 6120 §5.3.1: TLS and nothing else; §4.9.3.12 for who does not want it.
#[tokio::test]
async fn nothing_goes_without_tls() -> Outcome<()> {
    let one = One::new(&[]);
    let mut raw = Raw::dial(one.site.address).await?;
    raw.open("peer.test", "a.test").await?;
    assert_eq!(raw.features.children.len(), 1, "{}", raw.features);
    let starttls = raw.features.child(TLS, "starttls");
    assert!(starttls.is_some_and(|it| it.find("required").is_some()), "{}", raw.features);
    raw.send(&to_alice("early")).await?;
    raw.ends_with("not-authorized").await?;
    let mut raw = Raw::dial(one.site.address).await?;
    raw.open("peer.test", "a.test").await?;
    raw.send(&result("peer.test", "a.test", "key")).await?;
    raw.ends_with("policy-violation").await?;
    let mut raw = Raw::dial(one.site.address).await?;
    raw.open("peer.test", "a.test").await?;
    raw.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")).await?;
    raw.stream_error().await?;
    // RFC 6120 §5.4.3.3: what stands behind the request is not taken as if it were protected.
    let mut raw = Raw::dial(one.site.address).await?;
    raw.open("peer.test", "a.test").await?;
    raw.send(&format!("<starttls xmlns='{TLS}'/>{}", header("peer.test", "a.test", ""))).await?;
    raw.expect(|e| e.is(TLS, "proceed")).await?;
    raw.gone().await?;
    Ok(())
}

/// RFC 6120 §4.7 and §4.9.3: the error says what is wrong with the header, behind one of ours.
#[tokio::test]
async fn headers_are_judged() -> Outcome<()> {
    let one = One::new(&[]);
    let good = header("peer.test", "a.test", "");
    for (bad, condition) in [
        (good.replace("to='a.test'", "to='elsewhere.test'"), "host-unknown"),
        (good.replace("to='a.test'", ""), "improper-addressing"),
        (good.replace("from='peer.test'", ""), "improper-addressing"),
        (good.replace("from='peer.test'", "from='a.test'"), "invalid-from"),
        (good.replace("from='peer.test'", "from='x@peer.test'"), "invalid-from"),
        (good.replace("xmlns='jabber:server'", "xmlns='jabber:client'"), "invalid-namespace"),
        (good.replace(" version='1.0'>", ">"), "unsupported-version"),
        (good.replace("streams'", "other'"), "invalid-namespace"),
    ] {
        let mut raw = Raw::dial(one.site.address).await?;
        raw.send(&bad).await?;
        let header = raw.greeted().await?;
        assert!(header.attr("id").is_some_and(|id| id.len() >= 16), "{header}");
        assert_eq!(raw.stream_error().await?, condition, "{bad}");
    }
    Ok(())
}

/// XEP-0178 §3: who the certificate proves, with an authorization identity or without.
#[tokio::test]
async fn a_valid_certificate_authenticates() -> Outcome<()> {
    let one = One::new(&[]);
    let mut alice = one.lab.online("alice", "a").await?;
    let own = one.identity(&["peer.test"]);
    for (n, authzid) in ["=", "", "cGVlci50ZXN0"].into_iter().enumerate() {
        let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
        raw.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>{authzid}</auth>")).await?;
        if authzid.is_empty() {
            raw.expect(|e| e.is(SASL, "challenge")).await?;
            raw.send(&format!("<response xmlns='{SASL}'/>")).await?;
        }
        raw.expect(|e| e.is(SASL, "success")).await?;
        raw.open(NAMES.0, NAMES.1).await?;
        assert!(raw.features.child(SASL, "mechanisms").is_none(), "{}", raw.features);
        // XEP-0478 and XEP-0198 are for who is known.
        assert!(raw.features.find("max-bytes").is_some(), "{}", raw.features);
        assert!(raw.features.child(SM, "sm").is_some(), "{}", raw.features);
        raw.send(&to_alice(&n.to_string())).await?;
        assert_eq!(hears(&mut alice, &n.to_string()).await?.attr("from"), Some("eve@peer.test/x"));
    }
    // Somebody else than the certificate says, and than the header says.
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    for (mechanism, authzid, condition) in [
        ("EXTERNAL", "b3RoZXIudGVzdA==", "invalid-authzid"),
        ("EXTERNAL", "!", "incorrect-encoding"),
        ("PLAIN", "=", "invalid-mechanism"),
    ] {
        raw.send(&format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{authzid}</auth>")).await?;
        let failed = raw.expect(|e| e.is(SASL, "failure")).await?;
        assert!(failed.child(SASL, condition).is_some(), "{failed}");
    }
    raw.authenticate(NAMES).await?;
    // A stream is for whom it was opened.
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    raw.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")).await?;
    raw.expect(|e| e.is(SASL, "success")).await?;
    raw.restart();
    raw.send(&header("other.test", "a.test", "")).await?;
    raw.ends_with("not-authorized").await
}

/// Certificates that prove nothing: EXTERNAL is not offered, dialback is refused, and the log says why.
#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused() -> Outcome<()> {
    let one = One::new(&[]);
    let stranger = tempfile::tempdir().unwrap();
    let mut expired = params(&["c.test"]);
    expired.not_before = rcgen::date_time_ymd(2019, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    // The log names a domain once in a while: so each has its own.
    for (domain, own, said) in [
        ("a1.test", None, "no certificate"),
        ("b.test", Some(one.identity(&["other.test", "*.b.test"])), "not for b.test"),
        ("c.test", Some(Identity::made(&one.authority, expired)), "expired"),
        ("d.test", Some(Identity::of(&Authority::new(stranger.path()), &["d.test"])), "authority"),
        ("e.test", Some(Identity::alone(&["e.test"])), "signed by itself"),
    ] {
        let names = (domain, "a.test");
        let mut raw = Raw::secured(one.site.address, names, own.as_ref()).await?;
        assert!(raw.features.child(SASL, "mechanisms").is_none(), "{said}: {}", raw.features);
        raw.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")).await?;
        let failed = raw.expect(|e| e.is(SASL, "failure")).await?;
        assert!(failed.child(SASL, "not-authorized").is_some(), "{failed}");
        raw.send(&result(domain, "a.test", "key")).await?;
        let answer = answered(&mut raw, "result").await?;
        assert_eq!(answer, ("error".to_owned(), "not-authorized".to_owned()), "{said}");
        one.lab.process.logs(&["no stream with a server", domain, said]);
        raw.send(&to_alice("never").replace("peer.test", domain)).await?;
        raw.ends_with("not-authorized").await?;
    }
    let mut alice = one.lab.online("alice", "a").await?;
    alice.nothing().await
}

/// XEP-0344 §2.4 and XEP-0220 §2.6: a certificate is as good as a key, for all of its domains and ours.
#[tokio::test]
async fn a_certificate_answers_dialback_for_many_domains() -> Outcome<()> {
    let one = One::new(&["s2s.domains_per_stream_max=3"]);
    let mut alice = one.lab.online("alice", "a").await?;
    let own = one.identity(&["peer.test", "other.test", "third.test", "weak.test"]);
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    for (from, to) in
        [("peer.test", "a.test"), ("other.test", "a.test"), ("peer.test", "conference.a.test")]
    {
        raw.send(&result(from, to, "any")).await?;
        assert_eq!(answered(&mut raw, "result").await?.0, "valid", "{from} {to}");
    }
    raw.send(&to_alice("1")).await?;
    hears(&mut alice, "1").await?;
    raw.send(&to_alice("2").replace("peer.test", "other.test")).await?;
    assert_eq!(hears(&mut alice, "2").await?.attr("from"), Some("eve@other.test/x"));
    // Our limit, a domain that is none of ours, and one that the certificate does not have.
    for (from, to, condition) in [
        ("third.test", "a.test", "resource-constraint"),
        ("peer.test", "elsewhere.test", "item-not-found"),
        ("evil.test", "a.test", "resource-constraint"),
    ] {
        raw.send(&result(from, to, "any")).await?;
        assert_eq!(answered(&mut raw, "result").await?.1, condition, "{from} {to}");
    }
    // Pairs are pairs.
    raw.send(&to_alice("3").replace("eve@peer.test", "eve@third.test")).await?;
    raw.ends_with("invalid-from").await
}

/// XEP-0220 §2.2: who may use dialback is asked for at its own address, with the key and the stream's id.
#[tokio::test]
async fn a_key_is_verified_where_the_domain_is() -> Outcome<()> {
    let one = One::new(&["s2s.dialback_domains=weak.test"]);
    let mut fake = one.fake().await;
    fake.domain = "weak.test".to_owned();
    fake.identity = Identity::alone(&["weak.test"]);
    let mut alice = one.lab.online("alice", "a").await?;
    for outcome in ["valid", "invalid", "error", ""] {
        let mut raw = Raw::secured(one.site.address, ("weak.test", "a.test"), None).await?;
        let feature = raw.features.child("urn:xmpp:features:dialback", "dialback");
        assert!(feature.is_some_and(|it| it.find("errors").is_some()), "{}", raw.features);
        let id = raw.header.as_ref().and_then(|header| header.attr("id")).map(str::to_owned);
        raw.send(&result("weak.test", "a.test", "the-key")).await?;
        let mut asks = fake.accept_secured().await?;
        fake.answer(&mut asks, "").await?;
        let verify = asks.expect(|e| e.is(DIALBACK, "verify")).await?;
        assert_eq!(verify.text.trim(), "the-key");
        assert_eq!(verify.attr("id"), id.as_deref());
        assert_eq!((verify.attr("from"), verify.attr("to")), (Some("a.test"), Some("weak.test")));
        let id = id.unwrap_or_default();
        // Answers that nobody asked for, first.
        let about = |from: &str, id: &str, ty: &str| {
            format!("<db:verify from='{from}' to='a.test' id='{id}' type='{ty}'/>")
        };
        asks.send(&about("other.test", &id, "valid")).await?;
        asks.send(&about("weak.test", "another", "valid")).await?;
        match outcome {
            "" => drop(asks),
            _ => asks.send(&about("weak.test", &id, outcome)).await?,
        }
        let (answer, _) = answered(&mut raw, "result").await?;
        assert_eq!(answer, if outcome.is_empty() { "error" } else { outcome });
        match outcome {
            "valid" => {
                raw.send(&to_alice("1").replace("peer.test", "weak.test")).await?;
                hears(&mut alice, "1").await?;
            }
            "invalid" => assert!(raw.gone().await?),
            _ => {
                raw.send(&to_alice("2").replace("peer.test", "weak.test")).await?;
                raw.ends_with("not-authorized").await?;
            }
        }
    }
    alice.fence().await?;
    assert!(!alice.take().iter().any(|e| e.name == "message"));
    Ok(())
}

/// XEP-0288: answers come back on the stream that the peer opened.
#[tokio::test]
async fn a_stream_in_both_directions_needs_no_second_one() -> Outcome<()> {
    let one = One::new(&[]);
    let mut alice = one.lab.online("alice", "a").await?;
    let mut raw = Raw::bidi(one.site.address, NAMES, &one.identity(&["peer.test"])).await?;
    raw.send("<iq type='get' id='p' from='eve@peer.test/x' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    let answer = raw.expect(|e| e.name == "iq").await?;
    assert_eq!((answer.attr("type"), answer.attr("to")), (Some("result"), Some("eve@peer.test/x")));
    alice.send(&chat("eve@peer.test", "back")).await?;
    let message = raw.expect(|e| e.name == "message").await?;
    assert_eq!(message.attr("from"), Some("alice@a.test/a"), "{message}");
    assert_eq!(message.ns, "jabber:server");
    raw.close().await
}

/// XEP-0198 §4 and promise.md 4: counted is what is durable, and only that.
#[tokio::test]
async fn what_is_acknowledged_to_a_server_is_durable() -> Outcome<()> {
    let one = One::new(&[]);
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    raw.send(&format!("<enable xmlns='{SM}' resume='true'/>")).await?;
    let enabled = raw.expect(|e| e.is(SM, "enabled")).await?;
    let previd = enabled.attr("id").unwrap_or_default().to_owned();
    assert_eq!(enabled.attr("resume"), Some("true"), "{enabled}");
    // The account is in memory before the disk hangs.
    raw.send(&to_alice("0")).await?;
    raw.counted(1).await?;
    let stalled = Stalled::new(&one.lab);
    raw.send(&format!("{}<r xmlns='{SM}'/>", to_alice("1"))).await?;
    let early = raw.expect(|e| e.is(SM, "a")).await?;
    assert_eq!(early.attr("h"), Some("1"), "not before it is durable");
    drop(stalled);
    // The count is told by itself, too (promise.md 5).
    raw.expect(|e| e.is(SM, "a") && e.attr("h") == Some("2")).await?;
    // §5: cut, resumed; what was counted is not lost, and not there twice.
    raw.send(&to_alice("2")).await?;
    raw.counted(3).await?;
    drop(raw);
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    let resume = format!("<resume xmlns='{SM}' previd='{previd}' h='0'/>");
    raw.send(&resume).await?;
    let resumed = raw.expect(|e| e.ns == SM).await?;
    assert_eq!((&*resumed.name, resumed.attr("h")), ("resumed", Some("3")), "{resumed}");
    raw.send(&to_alice("3")).await?;
    raw.counted(4).await?;
    // Somebody else's stream is nobody's.
    let other = one.identity(&["other.test"]);
    let mut thief = Raw::external(one.site.address, ("other.test", "a.test"), &other).await?;
    thief.send(&resume).await?;
    assert!(thief.expect(|e| e.ns == SM).await?.is(SM, "failed"));
    let mut alice = one.lab.online("alice", "a").await?;
    let mut got = Vec::new();
    while got.len() < 4 {
        let message = alice.expect(|e| e.name == "message").await?;
        got.push(message.attr("id").unwrap_or_default().to_owned());
    }
    assert_eq!(got, ["0", "1", "2", "3"]);
    alice.nothing().await
}

/// promise.md 1: without XEP-0198 an error says, as any answer does, that what came before it is durable.
#[tokio::test]
async fn an_error_to_a_server_says_that_all_before_it_is_durable() -> Outcome<()> {
    let one = One::new(&[]);
    let mut alice = one.lab.online("alice", "a").await?;
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::bidi(one.site.address, NAMES, &own).await?;
    let ask = |id: &str, payload: &str| {
        format!("<iq type='get' from='eve@peer.test/x' to='{id}' id='{id}'>{payload}</iq>")
    };
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for (to, payload) in
        [("alice@a.test/nobody", ping), ("nobody@a.test", ping), ("alice@a.test", "")]
    {
        let stalled = Stalled::new(&one.lab);
        raw.send(&to_alice(to)).await?;
        raw.send(&ask(to, payload)).await?;
        hears(&mut alice, to).await?;
        // Another stream has nothing to wait for; its answer comes by this one.
        let mut other = Raw::external(one.site.address, NAMES, &own).await?;
        other.send(&ask("a.test", ping)).await?;
        raw.expect(|e| e.attr("id") == Some("a.test")).await?;
        let early = raw.take();
        assert!(early.iter().all(|e| e.attr("id") != Some(to)), "{early:?}");
        drop(stalled);
        let refused = raw.expect(|e| e.attr("id") == Some(to)).await?;
        assert_eq!(refused.attr("type"), Some("error"), "{refused}");
    }
    Ok(())
}

/// RFC 6121 §4.3: a probe that finds nobody says so too late, if somebody comes while the time of the last logout is
/// read. What is said last is true.
#[tokio::test]
async fn a_probe_is_not_overtaken_by_who_comes_meanwhile() -> Outcome<()> {
    let one = One::new(&[]);
    let mut alice = one.lab.online("alice", "a").await?;
    let mut raw = Raw::bidi(one.site.address, NAMES, &one.identity(&["peer.test"])).await?;
    raw.send("<presence type='subscribe' from='eve@peer.test' to='alice@a.test'/>").await?;
    alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    alice.send("<presence type='subscribed' to='eve@peer.test'/>").await?;
    let said = async |raw: &mut Raw, ty: Option<&str>| {
        raw.expect(|e| e.name == "presence" && e.attr("type") == ty).await
    };
    said(&mut raw, Some("subscribed")).await?;
    said(&mut raw, None).await?;
    alice.send("<presence type='unavailable'/>").await?;
    said(&mut raw, Some("unavailable")).await?;
    let stalled = Stalled::new(&one.lab);
    // Something has to be written for the probe to wait for.
    alice.send("<message to='alice@a.test'><body>x</body></message>").await?;
    raw.send("<presence type='probe' from='eve@peer.test' to='alice@a.test'/>").await?;
    let ping = |id: &str| {
        let to = format!("from='eve@peer.test/x' to='a.test' id='{id}'");
        format!("<iq type='get' {to}><ping xmlns='urn:xmpp:ping'/></iq>")
    };
    raw.send(&ping("behind")).await?;
    // Another stream of the peer's waits for nothing: by now the probe was looked at.
    let mut other = Raw::external(one.site.address, NAMES, &one.identity(&["peer.test"])).await?;
    other.send(&ping("beside")).await?;
    raw.expect(|e| e.attr("id") == Some("beside")).await?;
    alice.send("<presence><status>back</status></presence>").await?;
    let back = said(&mut raw, None).await?;
    assert_eq!(back.text_of("status"), Some("back"), "{back}");
    drop(stalled);
    raw.expect(|e| e.attr("id") == Some("behind")).await?;
    let late: Vec<_> = raw.take().into_iter().filter(|e| e.name == "presence").collect();
    assert!(late.last().is_none_or(|e| e.attr("type").is_none()), "{late:?}");
    Ok(())
}

/// XEP-0368: TLS from the first byte, for `xmpp-server` only.
#[tokio::test]
async fn tls_may_begin_with_the_first_byte() -> Outcome<()> {
    let place = crate::harness::peers::place();
    let one = One::new(&[&format!("s2s.listen_tls={place}")]);
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::dial(place).await?;
    raw.handshake("a.test", Some(&own), &["xmpp-server"]).await?;
    raw.open(NAMES.0, NAMES.1).await?;
    assert!(raw.features.child(TLS, "starttls").is_none(), "{}", raw.features);
    raw.authenticate(NAMES).await?;
    let mut alice = one.lab.online("alice", "a").await?;
    raw.send(&to_alice("1")).await?;
    hears(&mut alice, "1").await?;
    let mut raw = Raw::dial(place).await?;
    assert!(raw.handshake("a.test", Some(&own), &["xmpp-client"]).await.is_err());
    Ok(())
}

/// XEP-0478 and RFC 6120 §4.9.3.14: what is larger than the limit ends the stream; and the stream's other errors.
#[tokio::test]
async fn an_authenticated_stream_has_its_rules() -> Outcome<()> {
    let one = One::new(&["limits.stanza_bytes_max=20000"]);
    let own = one.identity(&["peer.test"]);
    let large = format!(
        "<message from='x@peer.test' to='alice@a.test'><body>{}</body></message>",
        "x".repeat(30_000)
    );
    for (bad, condition) in [
        (large, "policy-violation"),
        (to_alice("1").replace("from='eve@peer.test/x'", ""), "improper-addressing"),
        (to_alice("1").replace("to='alice@a.test'", ""), "improper-addressing"),
        (to_alice("1").replace("alice@a.test", "x@elsewhere.test"), "host-unknown"),
        (to_alice("1").replace("eve@peer.test/x", "eve@a.test"), "invalid-from"),
        ("<x xmlns='urn:x'/>".to_owned(), "unsupported-stanza-type"),
        ("<message".to_owned() + "><!-- x --></message>", "restricted-xml"),
        ("<message></iq>".to_owned(), "not-well-formed"),
        ("<db:result from='peer.test' to='a.test' type='valid'/>".to_owned(), "not-authorized"),
        (header("peer.test", "a.test", ""), "restricted-xml"),
    ] {
        let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
        raw.send(&bad).await?;
        assert_eq!(raw.stream_error().await?, condition, "{bad}");
    }
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    let limits = raw.features.find("max-bytes").map(|max| max.text.clone());
    assert_eq!(limits.as_deref(), Some("20000"));
    raw.close().await?;
    assert!(raw.header.is_some_and(|header| header.ns == STREAM));
    Ok(())
}
