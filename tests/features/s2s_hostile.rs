//! Servers that mean ill or are broken (case L17, and "Bad input" of federation): their stream ends or their stanza is
//! dropped, and neither clients nor other servers feel it.

use crate::archive::{form, query};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::peers::One;
use crate::harness::raw_peer::{DIALBACK, Raw, SASL, SM, header};
use crate::harness::sm::chat;
use crate::s2s_streams::{NAMES, answered, hears, result, to_alice};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Two people of ours, and another server that behaves: they must not notice anything.
struct Others {
    alice: Client,
    carol: Client,
    friend: Raw,
    turn: u32,
}

impl Others {
    async fn of(one: &One) -> Outcome<Others> {
        let own = one.identity(&["other.test"]);
        let mut friend = Raw::external(one.site.address, ("other.test", "a.test"), &own).await?;
        friend.send(&format!("<enable xmlns='{SM}'/>")).await?;
        friend.expect(|e| e.is(SM, "enabled")).await?;
        let alice = one.lab.online("alice", "a").await?;
        let carol = one.lab.online("carol", "c").await?;
        Ok(Others { alice, carol, friend, turn: 0 })
    }

    /// They are served, at once, and got nothing else.
    async fn are_well(&mut self) -> Outcome<()> {
        let started = Instant::now();
        self.turn += 1;
        let (local, remote) = (format!("l{}", self.turn), format!("r{}", self.turn));
        self.carol.send(&chat("alice@a.test", &local)).await?;
        hears(&mut self.alice, &local).await?;
        self.friend.send(&to_alice(&remote).replace("peer.test", "other.test")).await?;
        hears(&mut self.alice, &remote).await?;
        self.friend.counted(self.turn).await?;
        self.alice.fence().await?;
        let came = self.alice.take();
        // The server asks whether messages have arrived.
        let pings = |e: &Element| e.child("urn:xmpp:ping", "ping").is_some();
        assert!(came.iter().all(pings), "{came:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        Ok(())
    }
}

/// L17: garbage behind the header, an error alone, and what else ends a stream.
#[tokio::test]
async fn broken_servers_end_their_own_stream_only() -> Outcome<()> {
    let one = One::new(&[]);
    let mut others = Others::of(&one).await?;
    let own = one.identity(&["peer.test"]);
    for garbage in [
        "\u{0}\u{1}\u{2}",
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "<<<<",
        "<!DOCTYPE x [<!ENTITY y 'z'>]>",
        "</stream:stream><message/>",
        "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "<stream:error/>",
        "<stream:features/>",
        "&#0;",
        "text between",
        "<message xmlns:x='urn:x' x:a='1' x:a='2'/>",
        "<iq/>",
        "<presence from='peer.test'/>",
    ] {
        // Before TLS, after it, and authenticated.
        let mut raw = Raw::dial(one.site.address).await?;
        raw.open(NAMES.0, NAMES.1).await?;
        raw.send(garbage).await?;
        raw.gone().await?;
        let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
        raw.send(garbage).await?;
        raw.gone().await?;
        let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
        raw.send(garbage).await?;
        assert!(raw.gone().await?, "{garbage}: closed in good order");
    }
    // Without a header.
    for first in
        ["garbage", "<message/>", "\u{16}\u{3}\u{1}\u{0}\u{5}hello", "<?xml version='1.1'?>"]
    {
        let mut raw = Raw::dial(one.site.address).await?;
        raw.send(first).await?;
        raw.gone().await?;
    }
    others.are_well().await
}

/// L17: a malformed address is one user's affair; the stream lives, and counts it (XEP-0198).
#[tokio::test]
async fn malformed_addresses_do_not_end_a_stream() -> Outcome<()> {
    let one = One::new(&[]);
    let mut others = Others::of(&one).await?;
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    raw.send(&format!("<enable xmlns='{SM}'/>")).await?;
    raw.expect(|e| e.is(SM, "enabled")).await?;
    let long = "x".repeat(1_100);
    let mut count = 0;
    for (from, to) in [
        ("a b@peer.test", "alice@a.test"),
        ("@peer.test", "alice@a.test"),
        ("eve@peer.test/", "alice@a.test"),
        ("eve@peer.test", "al ice@a.test"),
        ("eve@peer.test", "@a.test"),
        ("eve@peer.test", "alice@a.test/"),
        ("eve@peer.test", "ali\u{200b}&quot;ce@a.test"),
        (&*format!("{long}@peer.test"), "alice@a.test"),
        ("eve@peer.test", &*format!("alice@a.test/{long}")),
        ("eve@peer.test/\u{e000}", "alice@a.test/\u{7}".trim_end_matches('\u{7}')),
    ] {
        for name in ["message", "presence", "iq type='get' id='1'"] {
            let close = name.split(' ').next().unwrap_or_default();
            raw.send(&format!("<{name} from='{from}' to='{to}'><x xmlns='urn:x'/></{close}>"))
                .await?;
            count += 1;
        }
    }
    // IQs without type or id, results that nobody asked for, errors about nothing.
    for odd in [
        "<iq from='eve@peer.test' to='alice@a.test'/>",
        "<iq from='eve@peer.test' to='alice@a.test' type='get'/>",
        "<iq from='eve@peer.test' to='a.test' type='other' id='1'/>",
        "<iq from='eve@peer.test' to='a.test' type='result' id='1'/>",
        "<iq from='eve@peer.test' to='alice@a.test' type='result' id='roster'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq from='peer.test' to='alice@a.test' type='error' id='1'/>",
        "<iq from='peer.test' to='a.test' type='set' id='1'/>",
        "<message from='peer.test' to='a.test' type='error'/>",
        "<message from='peer.test' to='alice@a.test/none' type='error'/>",
        "<presence from='eve@peer.test' to='alice@a.test' type='odd'/>",
        "<presence from='eve@peer.test' to='alice@a.test' type='subscribed'/>",
        "<presence from='eve@peer.test' to='alice@a.test' type='unsubscribed'/>",
        "<presence from='eve@peer.test' to='alice@a.test' type='error'/>",
        "<presence from='eve@peer.test' to='a.test' type='probe'/>",
    ] {
        raw.send(odd).await?;
        count += 1;
    }
    raw.counted(count).await?;
    raw.send(&to_alice("alive")).await?;
    hears(&mut others.alice, "alive").await?;
    let came = others.alice.take();
    let ours = |e: &&Element| e.attr("from").is_some_and(|from| from.ends_with("a.test"));
    assert_eq!(came.iter().filter(ours).count(), 0, "{came:?}");
    // A roster push is the server's alone (RFC 6121 §2.1.6), and nobody granted himself anything.
    let get = "<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>";
    let roster = others.alice.ask(get).await?;
    assert!(roster.find("item").is_none(), "{roster}");
    others.alice.forget();
    others.are_well().await
}

/// security.md 14: what only we say, or our rooms and accounts, does not come from outside; in any spelling, both
/// delivered and archived.
#[tokio::test]
async fn nothing_of_ours_is_forged() -> Outcome<()> {
    let one = One::new(&[]);
    let mut alice = one.lab.online("alice", "a").await?;
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    let forged = "<stanza-id xmlns='urn:xmpp:sid:0' by='alice@a.test' id='forged'/>\
                  <s:stanza-id xmlns:s='urn:xmpp:sid:0' by='ALICE@A.test' id='forged'/>\
                  <stanza-id xmlns='urn:xmpp:sid:0' by='a.test' id='forged'/>\
                  <delay xmlns='urn:xmpp:delay' from='a.test' stamp='2001-01-01T00:00:00Z'/>\
                  <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
                  <privilege xmlns='urn:xmpp:privilege:2'/>";
    raw.send(&to_alice("f").replace("</message>", &format!("{forged}</message>"))).await?;
    let got = hears(&mut alice, "f").await?;
    let with = "<field var='with'><value>eve@peer.test</value></field>";
    alice.send(&query("q", &form(with))).await?;
    let archived = alice.expect(|e| e.find("result").is_some()).await?;
    let archived = archived.find("forwarded").and_then(|it| it.find("message")).cloned();
    let archived = archived.expect("it is archived");
    for message in [&got, &archived] {
        let ids: Vec<_> = message.children.iter().filter(|c| c.name == "stanza-id").collect();
        assert!(
            ids.len() <= 1 && ids.iter().all(|id| id.attr("id") != Some("forged")),
            "{message}"
        );
        assert!(message.child("urn:xmpp:delay", "delay").is_none(), "{message}");
    }
    // A copy that another server makes is none of ours: its sender says so (XEP-0280 §11).
    let inner = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='carol@a.test' \
                 to='alice@a.test'><body>x</body></message></forwarded>";
    let carbon = format!("<received xmlns='urn:xmpp:carbons:2'>{inner}</received>");
    raw.send(&to_alice("c").replace("<body>c</body>", &carbon)).await?;
    raw.send(&to_alice("end")).await?;
    hears(&mut alice, "end").await?;
    let carbons = |e: &Element| e.find("received").is_some();
    assert!(
        alice
            .take()
            .iter()
            .filter(|e| carbons(e))
            .all(|e| e.attr("from") == Some("eve@peer.test/x"))
    );
    // Another user's name, another domain's, ours.
    for from in
        ["carol@a.test", "a.test", "eve@other.test", "eve@a.peer.test", "eve@peer.test.a.test"]
    {
        let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
        raw.send(&to_alice("g").replace("eve@peer.test/x", from)).await?;
        raw.ends_with("invalid-from").await?;
    }
    alice.fence().await?;
    assert!(!alice.take().iter().any(|e| e.attr("id") == Some("g")));
    Ok(())
}

/// A stream that says it is us, or asks for a domain that is not the peer's.
#[tokio::test]
async fn nobody_is_who_it_is_not() -> Outcome<()> {
    let one = One::new(&[]);
    let mut others = Others::of(&one).await?;
    let own = one.identity(&["peer.test", "a.test"]);
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    for from in ["a.test", "conference.a.test"] {
        raw.send(&result(from, "a.test", "key")).await?;
        assert_eq!(answered(&mut raw, "result").await?.0, "error", "{from}");
    }
    raw.send(&to_alice("us").replace("eve@peer.test", "carol@a.test")).await?;
    raw.ends_with("not-authorized").await?;
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    raw.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>YS50ZXN0</auth>")).await?;
    assert!(raw.expect(|e| e.ns == SASL).await?.is(SASL, "failure"));
    // Guesses have an end.
    for _ in 0..6 {
        raw.try_send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>YS50ZXN0</auth>")).await;
    }
    raw.ends_with("policy-violation").await?;
    others.are_well().await
}

/// Whoever floods with domains is refused, and we connect to nobody for it.
#[tokio::test]
async fn floods_of_domains_are_bounded() -> Outcome<()> {
    let one = One::new(&["s2s.dialback_domains=weak.test", "s2s.domains_per_stream_max=5"]);
    let fake = one.fake().await;
    let mut others = Others::of(&one).await?;
    let mut raw = Raw::secured(one.site.address, ("weak.test", "a.test"), None).await?;
    for n in 0..1_000 {
        raw.try_send(&result(&format!("d{n}.peer.test"), "a.test", "key")).await;
    }
    let mut refused = 0;
    let condition = loop {
        let next = raw.receive().await?;
        match next.is(DIALBACK, "result") {
            true => assert_eq!(next.attr("type"), Some("error"), "{next}"),
            false => break next,
        }
        refused += 1;
    };
    assert!(
        condition.find("policy-violation").is_some() && refused <= 101,
        "{refused} {condition}"
    );
    others.are_well().await?;
    // The same pair again and again, while it is asked for: one question.
    let mut raw = Raw::secured(one.site.address, ("weak.test", "a.test"), None).await?;
    for _ in 0..20 {
        raw.send(&result("weak.test", "a.test", "key")).await?;
    }
    for _ in 0..19 {
        assert_eq!(answered(&mut raw, "result").await?.0, "error");
    }
    let asks = fake.accept().await?;
    let second = tokio::time::timeout(Duration::from_millis(300), fake.accept()).await;
    assert!(second.is_err(), "one connection for one question");
    drop(asks);
    answered(&mut raw, "result").await?;
    others.are_well().await
}

/// Strangers that say nothing: few per address, none for long.
#[tokio::test]
async fn silent_strangers_have_a_small_corner() -> Outcome<()> {
    let set = ["s2s.streams_unauthenticated_per_ip_max=3", "limits.unauthenticated_secs=2"];
    let one = One::new(&set);
    let mut others = Others::of(&one).await?;
    let started = Instant::now();
    let own = one.identity(&["peer.test"]);
    let mut silent = Raw::dial(one.site.address).await?;
    let mut greeted = Raw::dial(one.site.address).await?;
    greeted.open(NAMES.0, NAMES.1).await?;
    // It asks for TLS, and does not go on.
    let mut hanging = Raw::dial(one.site.address).await?;
    hanging.open(NAMES.0, NAMES.1).await?;
    hanging.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    hanging.receive().await?;
    let mut fourth = Raw::dial(one.site.address).await?;
    fourth.try_send(&header(NAMES.0, NAMES.1, "")).await;
    let refused = fourth.stream_error().await?;
    assert!(["policy-violation", "resource-constraint"].contains(&&*refused), "{refused}");
    others.are_well().await?;
    // Another address has its own corner.
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
    let mut other = Raw::dial_from(Some(elsewhere), one.site.address).await?;
    other.open(NAMES.0, NAMES.1).await?;
    other.secure(NAMES.1, Some(&own)).await?;
    other.open(NAMES.0, NAMES.1).await?;
    // Whitespace is no progress.
    greeted.send(" \n ").await?;
    silent.gone().await?;
    greeted.ends_with("connection-timeout").await?;
    hanging.gone().await?;
    other.ends_with("connection-timeout").await?;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    // There is room again, and who is authenticated is no stranger.
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(Raw::external(one.site.address, NAMES, &own).await?);
    }
    others.are_well().await
}

/// An authoritative server that never answers.
#[tokio::test]
async fn an_answer_that_never_comes_ends_one_stream() -> Outcome<()> {
    let set = ["s2s.dialback_domains=weak.test", "limits.unauthenticated_secs=2"];
    let one = One::new(&set);
    let mut fake = one.fake().await;
    fake.domain = "weak.test".to_owned();
    let mut others = Others::of(&one).await?;
    let mut raw = Raw::secured(one.site.address, ("weak.test", "a.test"), None).await?;
    raw.send(&result("weak.test", "a.test", "key")).await?;
    let mut asks = fake.accept_secured().await?;
    fake.answer(&mut asks, "").await?;
    asks.expect(|e| e.is(DIALBACK, "verify")).await?;
    others.are_well().await?;
    raw.gone().await?;
    asks.gone().await?;
    others.are_well().await
}

/// security.md 5: before authentication little is read, however it is wrapped.
#[tokio::test]
async fn a_huge_first_stanza_is_not_read() -> Outcome<()> {
    let one = One::new(&[]);
    let mut others = Others::of(&one).await?;
    let own = one.identity(&["peer.test"]);
    let huge =
        format!("<db:result from='peer.test' to='a.test'>{}</db:result>", "k".repeat(1 << 20));
    let mut raw = Raw::secured(one.site.address, NAMES, Some(&own)).await?;
    raw.try_send(&huge).await;
    raw.gone().await?;
    let mut raw = Raw::dial(one.site.address).await?;
    raw.try_send(&header(&"x".repeat(1 << 20), "a.test", "")).await;
    raw.gone().await?;
    let mut raw = Raw::dial(one.site.address).await?;
    raw.open(NAMES.0, NAMES.1).await?;
    raw.send(&format!("<message from='eve@peer.test' to='alice@a.test'>{}", "x".repeat(9_000)))
        .await?;
    raw.try_send(&"y".repeat(9_000)).await;
    raw.ends_with("policy-violation").await?;
    others.are_well().await
}

/// Requests of strangers: bounded per domain, and the victim's next login is not longer for them.
#[tokio::test]
async fn subscription_requests_of_strangers_are_bounded() -> Outcome<()> {
    let one = One::new(&["limits.subscription_requests_per_domain_max=25"]);
    let mut others = Others::of(&one).await?;
    others.alice.close().await?;
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::external(one.site.address, NAMES, &own).await?;
    raw.send(&format!("<enable xmlns='{SM}'/>")).await?;
    raw.expect(|e| e.is(SM, "enabled")).await?;
    let count = 400;
    for n in 0..count {
        let status = "x".repeat(500);
        raw.send(&format!(
            "<presence from='u{n}@peer.test' to='alice@a.test' type='subscribe'><status>{status}</status></presence>"
        ))
        .await?;
    }
    raw.counted(count).await?;
    others.alice = one.lab.online("alice", "a").await?;
    let asks = |e: &Element| e.attr("type") == Some("subscribe");
    others.alice.expect(asks).await?;
    others.alice.fence().await?;
    let asked = 1 + others.alice.take().into_iter().filter(asks).count();
    assert!((1..=25).contains(&asked), "{asked} of {count}");
    others.are_well().await
}
