//! Streams: how they open, how they end, and which stream error is the answer to what
//! (RFC 6120 §4, §11).

use crate::harness::client::{Client, Outcome, header_to};
use crate::harness::element::{CLIENT, STREAM};
use crate::harness::server::{Place, subject};

/// A header with any part replaced.
fn header(domain: &str, old: &str, new: &str) -> String {
    let header = header_to(domain);
    assert!(header.contains(old), "{old}");
    header.replace(old, new)
}

#[tokio::test]
async fn the_response_header_says_who_and_what() -> Outcome<()> {
    let place = Place::with(&[]).await;
    let mut one = Client::connect(&place.target, crate::harness::client::Security::Plain).await?;
    let two = Client::connect(&place.target, crate::harness::client::Security::Plain).await?;
    // RFC 6120 §4.7: from, id, version; §4.7.3: ids are unique and not to be guessed.
    assert_eq!(one.header.attr("from"), Some(place.target.domain.as_str()));
    assert_eq!(one.header.attr("version"), Some("1.0"));
    let (first, second) = (one.header.attr("id"), two.header.attr("id"));
    assert!(first.is_some_and(|id| id.len() >= 16), "{first:?}");
    assert_ne!(first, second);
    // RFC 6120 §4.4: the closing tag is answered by one.
    one.close().await
}

#[tokio::test]
async fn a_bad_header_is_answered_with_a_header_and_an_error() {
    let place = Place::with(&[]).await;
    let domain = place.target.domain.as_str();
    let cases = [
        // RFC 6120 §4.9.3.6
        (header(domain, &format!("to='{domain}'"), "to='other.example'"), "host-unknown"),
        // §4.9.3.10
        (header(domain, STREAM, "http://wrong.example/"), "invalid-namespace"),
        (header(domain, CLIENT, "jabber:other"), "invalid-namespace"),
        // §4.9.3.13
        (header(domain, "to=", "to"), "not-well-formed"),
        ("hello\n\n".into(), "not-well-formed"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), "not-well-formed"),
        // §11.1, §4.9.3.18
        (header(domain, "<stream:stream", "<!-- x --><stream:stream"), "restricted-xml"),
        (header(domain, "<stream:stream", "<!DOCTYPE x><stream:stream"), "restricted-xml"),
        // §4.7.5, §4.9.3.25
        (header(domain, "version='1.0'>", "version='2.0'>"), ""),
        (header(domain, " version='1.0'>", ">"), "unsupported-version"),
    ];
    for (bytes, condition) in cases {
        let mut client = Client::dial(&place.target, place.target.c2s).await.unwrap();
        client.send(&bytes).await.unwrap();
        // A higher major version is no error: the server answers with its own (§4.7.5).
        if condition.is_empty() {
            client.expect(|e| e.is(STREAM, "features")).await.unwrap();
            continue;
        }
        assert_eq!(client.stream_error().await.unwrap(), condition, "{bytes}");
        // §4.9.1.2: the error comes inside a stream of the server's own.
        assert!(client.header.is(STREAM, "stream"), "{bytes}");
        assert!(client.header.attr("id").is_some(), "{bytes}");
    }
}

#[tokio::test]
async fn what_must_not_be_said_before_authentication() {
    let place = Place::with(&[]).await;
    let cases = [
        // RFC 6120 §4.9.3.12
        ("<message to='a@localhost'><body>x</body></message>", "not-authorized"),
        ("<presence/>", "not-authorized"),
        (
            "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            "not-authorized",
        ),
        // "or other outbound data"
        ("<other xmlns='urn:example:x'/>", "not-authorized"),
    ];
    for (xml, condition) in cases {
        let mut client = place.connect().await;
        client.send(xml).await.unwrap();
        assert_eq!(client.stream_error().await.unwrap(), condition, "{xml}");
    }
}

#[tokio::test]
async fn what_ends_a_bound_stream() {
    let place = Place::with(&["alice"]).await;
    let cases = [
        // RFC 6120 §4.9.3.13
        ("<message><body>x</message></body>", "not-well-formed"),
        ("<message><foo:body>x</foo:body></message>", "not-well-formed"),
        ("<message a='1' a='2'/>", "not-well-formed"),
        ("<message a=1/>", "not-well-formed"),
        ("<message a/>", "not-well-formed"),
        ("<message a='<'/>", "not-well-formed"),
        ("<message><body>]]></body></message>", "not-well-formed"),
        ("<message><body>&nbsp;</body></message>", "restricted-xml|not-well-formed"),
        ("<message><body>&#0;</body></message>", "not-well-formed"),
        ("<message><body>\u{1}</body></message>", "not-well-formed"),
        ("<message><body>\u{fffe}</body></message>", "not-well-formed"),
        ("<1message/>", "not-well-formed"),
        ("text between stanzas", "not-well-formed|bad-format"),
        // §4.9.3.18, §11.1
        ("<message><!-- x --></message>", "restricted-xml"),
        ("<!-- x --><message/>", "restricted-xml"),
        ("<?php x?>", "restricted-xml"),
        ("<message><?php x?></message>", "restricted-xml"),
        ("<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>", "restricted-xml"),
        ("<!ENTITY a 'b'>", "restricted-xml|not-well-formed"),
        // §4.9.3.24
        ("<other xmlns='urn:example:x'/>", "unsupported-stanza-type"),
        ("<other/>", "unsupported-stanza-type"),
        // §4.9.3.9, §8.1.2.1
        ("<message from='juliet@localhost' to='a@localhost'/>", "invalid-from"),
        ("<presence from='somebody@else.example'/>", "invalid-from"),
        // §7.1: the negotiation is over
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", "*"),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "*"),
    ];
    for (xml, conditions) in cases {
        let mut client = place.bound("alice").await;
        client.send(xml).await.unwrap();
        let condition = client.stream_error().await.unwrap();
        let fits = conditions == "*" || conditions.split('|').any(|c| c == condition);
        assert!(fits, "{xml}: {condition} instead of {conditions}");
    }
}

#[tokio::test]
async fn a_stanza_is_the_same_however_it_is_cut() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    let to = client.jid.clone();
    let body = "käse &amp; brot \u{1f40e} <![CDATA[<b>]]> end";
    for step in [1, 2, 3, 7, 64] {
        let xml = format!("<message to='{to}' id='{step}'><body>{body}</body></message>");
        for piece in xml.as_bytes().chunks(step) {
            client.io.write(piece).await.unwrap();
        }
        let got = client.receive().await?;
        assert_eq!(got.attr("id"), Some(step.to_string().as_str()));
        assert_eq!(got.text_of("body"), Some("käse & brot \u{1f40e} <b> end"));
    }
    Ok(())
}

#[tokio::test]
async fn white_space_keeps_a_stream_alive_and_is_no_stanza() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    // RFC 6120 §4.6.1
    client.send(" \n\t\r\n  ").await?;
    client.nothing().await?;
    client.close().await
}

#[tokio::test]
async fn several_stanzas_in_one_piece_are_handled_in_order() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    let to = client.jid.clone();
    // RFC 6120 §10.1
    let stanzas: String = (0..200)
        .map(|n| format!("<message to='{to}' id='{n}'><body>x</body></message>\n"))
        .collect();
    client.send(&stanzas).await?;
    for n in 0..200 {
        assert_eq!(client.receive().await?.attr("id"), Some(n.to_string().as_str()));
    }
    client.nothing().await
}

#[tokio::test]
async fn a_stanza_of_ten_thousand_bytes_is_taken_everywhere() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    // RFC 6120 §13.12: the limit MUST NOT be smaller than 10000 bytes.
    let (to, body) = (client.jid.clone(), "x".repeat(9_800));
    client.send(&format!("<message to='{to}' id='1'><body>{body}</body></message>")).await?;
    assert_eq!(client.receive().await?.text_of("body"), Some(body.as_str()));
    Ok(())
}

#[tokio::test]
async fn too_large_too_deep_too_many() {
    let place = Place::with(&["alice"]).await;
    let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    let many: String = (0..2000).map(|n| format!(" a{n}='1'")).collect();
    let cases = [
        ("large", format!("<message><body>{}</body></message>", "x".repeat(2 << 20))),
        ("large name", format!("<message {}='1'/>", "x".repeat(2 << 20))),
        ("deep", format!("<message>{}</message>", deep(5000))),
        ("many attributes", format!("<message{many}/>")),
    ];
    for (what, xml) in cases {
        // Prosody takes the deep and the many.
        if subject().is_some() && !what.starts_with("large") {
            continue;
        }
        let mut client = place.bound("alice").await;
        // The server may close before all is written.
        let _ = client.io.write(xml.as_bytes()).await;
        match client.stream_error().await {
            // RFC 6120 §4.9.3.14
            Ok(condition) => assert_eq!(condition, "policy-violation", "{what}"),
            // A connection reset may overtake the error that was sent: still an end.
            Err(failure) => assert!(failure.0.starts_with("the stream ended"), "{what}: {failure}"),
        }
    }
}

#[tokio::test]
async fn before_authentication_far_less_is_taken() {
    let place = Place::with(&[]).await;
    let mut client = place.connect().await;
    let huge = "x".repeat(512 << 10);
    let _ = client
        .io
        .write(format!("<auth xmlns='{}'>{huge}", crate::harness::client::SASL).as_bytes())
        .await;
    match client.stream_error().await {
        Ok(condition) => assert_eq!(condition, "policy-violation"),
        Err(failure) => assert!(failure.0.starts_with("the stream ended"), "{failure}"),
    }
}
