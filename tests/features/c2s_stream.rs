//! Streams of clients from the first byte to the last (RFC 6120 §4): headers, features, stream
//! errors, the ways to say goodbye.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::{CLIENT, STREAM};
use crate::harness::process::{Lab, ends_with, stream_error};

/// A header with every part of it open to change.
fn header(attributes: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}' {attributes}>"
    )
}

const GOOD: &str = "to='localhost' version='1.0'";

/// RFC 6120 §4.7.1 to §4.7.5: our header says who we are, whom we greet, in which language, under
/// an id that nobody can guess.
#[tokio::test]
async fn our_header_names_both_sides_the_version_and_the_language() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = lab.dial().await?;
        client
            .send(&header("from='juliet@localhost' to='LOCALHOST' version='1.0' xml:lang='de'"))
            .await?;
        client.expect(|e| e.is(STREAM, "features")).await?;
        let ours = &client.header;
        assert!(ours.is(STREAM, "stream"), "{ours:?}");
        assert_eq!(ours.attr("from"), Some("localhost"));
        assert_eq!(ours.attr("to"), Some("juliet@localhost"));
        assert_eq!(ours.attr("version"), Some("1.0"));
        assert!(ours.attr("xml:lang").is_some_and(|lang| !lang.is_empty()), "{ours:?}");
        let id = ours.attr("id").unwrap_or_default().to_owned();
        // §4.7.3: unique, not predictable: 128 bits make 22 characters of base64.
        assert!(id.len() >= 22 && !ids.contains(&id), "{id}");
        ids.push(id);
    }
    // §4.7.3: and another one after each restart of the same stream.
    let client = lab.connect().await?;
    let sent: Vec<_> = client.conversation().match_indices(" id='").map(|(at, _)| at).collect();
    assert_eq!(sent.len(), 2, "{}", client.conversation());
    assert!(!ids.contains(&client.header.attr("id").unwrap_or_default().to_owned()));
    Ok(())
}

/// RFC 6120 §4.7.2, §4.7.5, §4.8, §4.9.3: what is wrong with a header, and what it is called. Each
/// error comes behind a header of ours (§4.9.1.2) and before our closing tag.
#[tokio::test]
async fn a_wrong_header_gets_our_header_then_its_stream_error() -> Outcome<()> {
    let lab = Lab::start(&["--domain", "localhost", "--domain", "other.example"]);
    let prefixed = |xmlns: &str, stream: &str| {
        format!("<stream:stream xmlns='{xmlns}' xmlns:stream='{stream}' {GOOD}>")
    };
    let cases = [
        // §4.9.3.6
        (header("to='elsewhere.example' version='1.0'"), "host-unknown"),
        (header("to='@' version='1.0'"), "host-unknown"),
        // §4.7.2: several domains are served, so one must be named.
        (header("version='1.0'"), "host-unknown"),
        // §4.9.3.25
        (header("to='localhost'"), "unsupported-version"),
        (header("to='localhost' version='0.9'"), "unsupported-version"),
        (header("to='localhost' version='eleven'"), "unsupported-version"),
        // §4.9.3.10
        (prefixed(CLIENT, "http://wrong.namespace.example.org/"), "invalid-namespace"),
        (prefixed("jabber:server", STREAM), "invalid-namespace"),
        (prefixed("http://wrong.namespace.example.org/", STREAM), "invalid-namespace"),
        // §4.9.3.1
        (format!("<stream:flood xmlns='{CLIENT}' xmlns:stream='{STREAM}' {GOOD}>"), "bad-format"),
        // §4.9.3.13
        (format!("<stream:stream xmlns='{CLIENT}' {GOOD}>"), "not-well-formed"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), "not-well-formed"),
        (
            format!("<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}' {GOOD} to='b'>"),
            "not-well-formed",
        ),
        // §4.9.3.18
        (format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", header(GOOD)), "restricted-xml"),
        (format!("<!-- hello -->{}", header(GOOD)), "restricted-xml"),
        // §4.9.3.22
        (
            header(GOOD).replace("version='1.0'?", "version='1.0' encoding='ISO-8859-1'?"),
            "unsupported-encoding",
        ),
    ];
    for (sent, condition) in cases {
        let mut client = lab.dial().await?;
        client.send(&sent).await?;
        ends_with(&mut client, condition).await?;
        // A domain that we do not have must not be answered in its name (§4.9.1.3).
        assert!(matches!(client.header.attr("from"), Some("localhost" | "other.example")));
    }
    Ok(())
}

/// RFC 6120 §4.8.5: what prefix the stream's namespace has is the client's choice; §4.7.5: a later
/// minor version is none of our business.
#[tokio::test]
async fn a_header_may_look_unusual_and_be_right() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for sent in [
        header(GOOD),
        header("to='localhost' version='1.7'"),
        header("version='1.0'"),
        format!("<s:stream xmlns:s='{STREAM}' xmlns='{CLIENT}' {GOOD}>"),
        format!("  \n<stream:stream {GOOD}\n\txmlns=\"{CLIENT}\" xmlns:stream=\"{STREAM}\"\n>"),
        header(GOOD).replace("version='1.0'?", "version='1.0' encoding='utf-8'?"),
    ] {
        let mut client = lab.dial().await?;
        client.send(&sent).await?;
        client.expect(|e| e.is(STREAM, "features")).await?;
    }
    Ok(())
}

/// RFC 6120 §4.8.2: a client may name the namespace of each stanza instead of a default one; what
/// it does not name is then no stanza.
#[tokio::test]
async fn stanzas_may_name_their_namespace_themselves() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for header in [
        format!("<stream xmlns='{STREAM}' {GOOD}>"),
        format!("<stream:stream xmlns:stream='{STREAM}' {GOOD}>"),
        format!("<s:stream xmlns:s='{STREAM}' xmlns='' {GOOD}>"),
    ] {
        let mut bob = lab.login("bob").await?;
        let mut alice = lab.connect().await?;
        let name = alice.mechanisms()[0].to_owned();
        let done =
            alice.authenticate_with(&name, "alice", crate::harness::process::PASSWORD).await?;
        assert_eq!(done, Ok(()));
        alice.restart();
        alice.send(&header).await?;
        alice.expect(|e| e.is(STREAM, "features")).await?;
        let bind = "<iq xmlns='jabber:client' type='set' id='b'>\
                    <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        assert_eq!(alice.ask(bind).await?.attr("type"), Some("result"), "{header}");
        let to = bob.jid.clone();
        // What names us is found in it as in any other.
        let forged =
            "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2001-02-03T04:05:06Z'/>";
        let message =
            format!("<message xmlns='jabber:client' to='{to}'>{forged}<body>x</body></message>");
        alice.send(&message).await?;
        let got = bob.receive().await?;
        assert_eq!((got.ns.as_str(), got.text_of("body")), (CLIENT, Some("x")), "{header}");
        assert!(got.find("delay").is_none(), "{got}");
        alice.send(&format!("<message to='{to}'><body>y</body></message>")).await?;
        ends_with(&mut alice, "unsupported-stanza-type").await?;
        bob.nothing().await?;
    }
    Ok(())
}

/// RFC 6120 §4.7.2: our `to` is the bare form of the client's `from`, whatever becomes of the
/// stream; without one, or with one that is no address, there is none.
#[tokio::test]
async fn our_header_greets_the_bare_address_or_nobody() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for (from, to) in [
        (" from='Juliet@LOCALHOST/balcony'", Some("juliet@localhost")),
        ("", None),
        (" from='@@'", None),
    ] {
        for (rest, good) in [(GOOD, true), ("to='elsewhere.example' version='1.0'", false)] {
            let mut client = lab.dial().await?;
            client.send(&header(&format!("{rest}{from}"))).await?;
            match good {
                true => drop(client.expect(|e| e.is(STREAM, "features")).await?),
                false => ends_with(&mut client, "host-unknown").await?,
            }
            assert_eq!(client.header.attr("to"), to, "{from} {rest}");
        }
    }
    Ok(())
}

/// RFC 6120 §4.9.1.1: a stream error from the client is answered with a closing tag alone.
#[tokio::test]
async fn a_stream_error_from_the_client_ends_the_stream_without_another() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let error = "<stream:error><undefined-condition \
                 xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    for (stage, close) in
        (0..4).flat_map(|stage| ["", "</stream:stream>"].map(|close| (stage, close)))
    {
        let mut client = match stage {
            0 => Client::connect(&lab.target, Security::Plain).await?,
            1 => lab.connect().await?,
            2 => lab.authenticated("alice").await?,
            _ => lab.login("alice").await?,
        };
        client.send(&format!("{error}{close}")).await?;
        client.ended().await?;
        let said = client.conversation();
        assert!(said.contains("<- </stream:stream>"), "stage {stage}: {said}");
        assert!(!said.contains("<- <stream:error"), "stage {stage}: {said}");
    }
    Ok(())
}

/// RFC 6120 §5.4.3.3, §6.4.6: a restart opens a new stream of the same connection, to the same
/// domain (security.md: the host is fixed by the first header).
#[tokio::test]
async fn the_domain_cannot_change_at_a_restart() -> Outcome<()> {
    let password = crate::harness::process::PASSWORD;
    let user = format!("alice@localhost:{password}");
    let lab = Lab::start(&["--domain", "localhost", "--domain", "other.example", "--user", &user]);
    let elsewhere = header("to='other.example' version='1.0'");
    for stage in ["after TLS", "after SASL"] {
        let mut client = Client::connect(&lab.target, Security::Plain).await?;
        match stage {
            "after TLS" => {
                client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
                client.receive().await?;
                client.handshake(&[]).await?;
            }
            _ => {
                client.start_tls().await?;
                let name = client.mechanisms()[0].to_owned();
                assert_eq!(client.authenticate_with(&name, "alice", password).await?, Ok(()));
            }
        }
        client.restart();
        client.send(&elsewhere).await?;
        let condition = stream_error(&mut client).await?;
        assert!(
            ["not-authorized", "host-unknown"].contains(&condition.as_str()),
            "{stage}: {condition}"
        );
    }
    Ok(())
}

/// RFC 6120 §4.9.3.9: after SASL, `from` in the header is the client's own address.
#[tokio::test]
async fn a_header_from_another_account_after_sasl_is_invalid_from() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for (from, good) in
        [("alice@localhost", true), ("Alice@localhost", true), ("bob@localhost", false)]
    {
        let mut client = lab.connect().await?;
        let name = client.mechanisms()[0].to_owned();
        let done =
            client.authenticate_with(&name, "alice", crate::harness::process::PASSWORD).await?;
        assert_eq!(done, Ok(()));
        client.restart();
        client.send(&header(&format!("from='{from}' {GOOD}"))).await?;
        if good {
            client.expect(|e| e.is(STREAM, "features")).await?;
        } else {
            ends_with(&mut client, "invalid-from").await?;
        }
    }
    Ok(())
}

/// RFC 6120 §4.9.3 after resource binding, error by error, with the paragraph that names it.
#[tokio::test]
async fn what_a_bound_stream_may_not_say_ends_it_with_the_right_error() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.depth_max=20", "limits.stanza_bytes_max=10000"]);
    let deep = format!("<message>{}", "<a>".repeat(25));
    let long = format!("<message><body>{}", "x".repeat(11_000));
    let cases = [
        // §4.9.3.2: a prefix for the content namespace; §4.8.5 allows us to refuse it.
        ("<c:message xmlns:c='jabber:client'/>", "bad-namespace-prefix"),
        // §4.9.3.9, §8.1.2.1
        ("<message from='mallory@localhost' to='alice@localhost'/>", "invalid-from"),
        ("<iq from='mallory@localhost/x' type='get' id='1'/>", "invalid-from"),
        // §4.9.3.13
        ("<message><body></message></body>", "not-well-formed"),
        ("<message><body>&</body></message>", "not-well-formed"),
        ("<message a='1' a='2'/>", "not-well-formed"),
        ("<message><x:y/></message>", "not-well-formed"),
        ("<message><body>a ]]> b</body></message>", "not-well-formed"),
        ("garbage", "not-well-formed"),
        // §4.9.3.14: limits of ours
        (&deep, "policy-violation"),
        (&long, "policy-violation"),
        // §4.9.3.18, §11.1
        ("<!-- a comment -->", "restricted-xml"),
        ("<message><!-- a comment --></message>", "restricted-xml"),
        ("<?php echo 1 ?>", "restricted-xml"),
        ("<message><?php echo 1 ?></message>", "restricted-xml"),
        ("<!DOCTYPE foo>", "restricted-xml"),
        ("<message><body>&foo;</body></message>", "restricted-xml"),
        // §4.8.3: a content namespace, but not this stream's
        ("<message xmlns='jabber:server' to='alice@localhost'/>", "invalid-namespace"),
        // §4.9.3.24
        ("<pubsub xmlns='http://jabber.org/protocol/pubsub'/>", "unsupported-stanza-type"),
        ("<jump/>", "unsupported-stanza-type"),
        ("<stream:stream to='localhost' version='1.0'/>", "unsupported-stanza-type"),
    ];
    for (sent, condition) in cases {
        let mut client = lab.login("alice").await?;
        client.send(sent).await?;
        let got = stream_error(&mut client).await?;
        assert_eq!(got, condition, "{}", &sent[..sent.len().min(80)]);
    }
    Ok(())
}

/// RFC 6120 §4.9.3.22: UTF-8 only, and whole.
#[tokio::test]
async fn bytes_that_are_no_utf_8_are_an_unsupported_encoding() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let overlong = b"<message><body>\xc0\xaf</body></message>";
    let surrogate = b"<message><body>\xed\xa0\x80</body></message>";
    for sent in [&overlong[..], &surrogate[..], b"<message><body>\xff</body></message>"] {
        let mut client = lab.login("alice").await?;
        client.io.write(sent).await.unwrap();
        let got = stream_error(&mut client).await?;
        assert!(["unsupported-encoding", "not-well-formed"].contains(&got.as_str()), "{got}");
    }
    let mut client = lab.dial().await?;
    let utf_16: Vec<u8> = header(GOOD).encode_utf16().flat_map(u16::to_be_bytes).collect();
    client.io.write(&[&b"\xfe\xff"[..], &utf_16].concat()).await.unwrap();
    ends_with(&mut client, "unsupported-encoding").await
}

/// RFC 6120 §4.3.5, §6.3.4, §7.1, §4.9.3.12: nothing is handled before its time.
#[tokio::test]
async fn a_stanza_before_its_time_is_not_authorized() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let message = format!("<message to='{}'><body>early</body></message>", bob.jid);
    let ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    let response = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    for early in [&message, "<presence/>", ping, "<wrong/>", response] {
        for stage in 0..3 {
            let mut client = match stage {
                0 => Client::connect(&lab.target, Security::Plain).await?,
                1 => lab.connect().await?,
                _ => lab.authenticated("alice").await?,
            };
            client.send(early).await?;
            ends_with(&mut client, "not-authorized").await?;
        }
    }
    // Once is enough: SASL is over when it is over (§6.4.6).
    for late in [
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>",
        "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    ] {
        let mut client = lab.authenticated("alice").await?;
        client.send(late).await?;
        ends_with(&mut client, "not-authorized").await?;
    }
    bob.nothing().await
}

/// RFC 6120 §4.3.2, §5.3.1, §6.3.1, §7.3.1: what is offered when, and nothing early.
#[tokio::test]
async fn features_come_in_their_order() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let names = |client: &Client| {
        client.features.children.iter().map(|f| f.name.clone()).collect::<Vec<_>>()
    };
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    let offered = names(&client);
    assert_eq!(offered.first().map(String::as_str), Some("starttls"));
    assert!(client.features.find("required").is_some());
    assert!(!offered.iter().any(|name| name == "mechanisms" || name == "bind"), "{offered:?}");
    client.start_tls().await?;
    let offered = names(&client);
    assert!(offered.iter().any(|name| name == "mechanisms"), "{offered:?}");
    assert!(!offered.iter().any(|name| name == "starttls" || name == "bind"), "{offered:?}");
    client.authenticate("alice", crate::harness::process::PASSWORD).await?;
    let offered = names(&client);
    assert_eq!(offered.first().map(String::as_str), Some("bind"));
    assert!(!offered.iter().any(|name| name == "starttls" || name == "mechanisms"), "{offered:?}");
    Ok(())
}

/// XEP-0478 §3: the limits of the moment, smaller before authentication.
#[tokio::test]
async fn limits_are_advertised_and_grow_with_authentication() -> Outcome<()> {
    let set = ["limits.stanza_bytes_max=54321", "limits.stanza_bytes_max_unauthenticated=12345"];
    let lab = Lab::new(&["alice"], &set);
    let mut client = lab.connect().await?;
    let bytes = |client: &Client| {
        let limits = client.features.child("urn:xmpp:stream-limits:0", "limits")?;
        assert!(
            limits.text_of("idle-seconds").is_some_and(|secs| secs.parse::<u32>().unwrap() > 0)
        );
        limits.text_of("max-bytes").map(str::to_owned)
    };
    assert_eq!(bytes(&client).as_deref(), Some("12345"));
    client.authenticate("alice", crate::harness::process::PASSWORD).await?;
    assert_eq!(bytes(&client).as_deref(), Some("54321"));
    Ok(())
}

/// RFC 6120 §4.4: the client closes, the server closes; at every stage, stanzas before it handled.
#[tokio::test]
async fn a_closing_tag_is_answered_with_one_at_every_stage() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let to_bob = bob.jid.clone();
    for stage in 0..4 {
        let mut client = match stage {
            0 => Client::connect(&lab.target, Security::Plain).await?,
            1 => lab.connect().await?,
            2 => lab.authenticated("alice").await?,
            _ => lab.login("alice").await?,
        };
        if stage == 3 {
            let last = format!("<message to='{to_bob}'><body>last words</body></message>");
            client.send(&last).await?;
        }
        client.close().await?;
        let said = client.conversation();
        assert!(said.contains("<- </stream:stream>"), "stage {stage}: {said}");
        assert!(!said.contains("stream:error"), "stage {stage}: {said}");
    }
    let last = bob.expect(|e| e.name == "message").await?;
    assert_eq!(last.text_of("body"), Some("last words"));
    Ok(())
}

/// RFC 6120 §4.4: what was asked before the closing tag is answered before ours.
#[tokio::test]
async fn requests_before_the_closing_tag_are_answered_before_ours() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.login("alice").await?;
    let asks: String = (0..5)
        .map(|n| format!("<iq type='get' id='q{n}'><x xmlns='urn:example:{n}'/></iq>"))
        .collect();
    client.send(&format!("{asks}</stream:stream>")).await?;
    for n in 0..5 {
        let answer = client.receive().await?;
        assert_eq!(answer.attr("id"), Some(format!("q{n}").as_str()));
    }
    client.ended().await
}

/// RFC 6120 §4.4, §4.6.1: whitespace between stanzas is a sign of life and nothing else.
#[tokio::test]
async fn whitespace_between_stanzas_is_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.login("alice").await?;
    client.send(" \n\t\r\n ").await?;
    client.fence().await?;
    client.send(&" ".repeat(300_000)).await?;
    client.nothing().await
}

/// RFC 6120 §4.6.4 (XEP-0199 §4.2): a silent client is asked; an answer keeps the stream, an error
/// as good as a result.
#[tokio::test]
async fn a_silent_client_is_pinged_and_lives_when_it_answers() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.ping_after_secs=1", "limits.ping_timeout_secs=2"]);
    let mut client = lab.login("alice").await?;
    client.answers_pings = false;
    for answer in ["result", "error"] {
        let ping = client.expect(|e| e.find("ping").is_some()).await?;
        assert_eq!((ping.attr("type"), ping.attr("from")), (Some("get"), Some("localhost")));
        assert_eq!(ping.attr("to"), Some(client.jid.as_str()));
        let id = ping.attr("id").unwrap_or_default();
        client.send(&format!("<iq type='{answer}' id='{id}' to='localhost'/>")).await?;
    }
    client.nothing().await
}

/// RFC 6120 §4.9.3.4, §4.6.3: one that answered, and says nothing at all any more, is gone. (One that
/// never answers: `silent.rs`.)
#[tokio::test]
async fn a_client_that_answers_no_ping_is_timed_out() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.ping_after_secs=1", "limits.ping_timeout_secs=1"]);
    let mut client = lab.login("alice").await?;
    let ping = client.expect(|e| e.find("ping").is_some()).await?;
    client.send(&format!("<iq type='result' id='{}'/>", ping.attr("id").unwrap())).await?;
    client.expect(|e| e.find("ping").is_some()).await?;
    ends_with(&mut client, "connection-timeout").await
}

/// RFC 6120 §11.7 and every parser's duty: where the network splits is nobody's business.
#[tokio::test]
async fn input_may_come_byte_by_byte() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.dial().await?;
    for byte in header(GOOD).bytes() {
        client.io.write(&[byte]).await.unwrap();
    }
    client.features = client.expect(|e| e.is(STREAM, "features")).await?;
    client.start_tls().await?;
    client.authenticate("alice", crate::harness::process::PASSWORD).await?;
    client.bind(None).await?;
    let message = format!(
        "<message to='{}' id='ü'><body>naïve – 💡 &amp; &#x41;</body></message>",
        client.jid
    );
    for byte in message.bytes() {
        client.io.write(&[byte]).await.unwrap();
    }
    let got = client.receive().await?;
    assert_eq!((got.attr("id"), got.text_of("body")), (Some("ü"), Some("naïve – 💡 & A")));
    Ok(())
}

/// The same in the other direction: many stanzas in one segment, handled in order, behind binding
/// in the same segment too (RFC 6120 §10.1).
#[tokio::test]
async fn many_stanzas_in_one_segment_keep_their_order() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.authenticated("alice").await?;
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>";
    let messages: String = (0..100)
        .map(|n| format!("<message to='alice@localhost/r' id='m{n}'><body>{n}</body></message>"))
        .collect();
    client.send(&format!("{bind}{messages}")).await?;
    client.expect(|e| e.attr("id") == Some("b")).await?;
    for n in 0..100 {
        let got = client.expect(|e| e.name == "message").await?;
        assert_eq!(got.attr("id"), Some(format!("m{n}").as_str()));
    }
    Ok(())
}

/// RFC 6120 §4.7.4, §8.1.5: a stanza without a language has that of its stream when it arrives.
#[tokio::test]
async fn a_stanza_inherits_the_language_of_its_stream() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let mut alice = lab.connect().await?;
    let name = alice.mechanisms()[0].to_owned();
    assert_eq!(
        alice.authenticate_with(&name, "alice", crate::harness::process::PASSWORD).await?,
        Ok(())
    );
    alice.restart();
    alice.send(&header(&format!("{GOOD} xml:lang='cs'"))).await?;
    alice.expect(|e| e.is(STREAM, "features")).await?;
    alice.bind(None).await?;
    let to = &bob.jid;
    alice.send(&format!("<message to='{to}' id='1'><body>a</body></message>")).await?;
    alice
        .send(&format!("<message to='{to}' id='2' xml:lang='en'><body>b</body></message>"))
        .await?;
    for lang in ["cs", "en"] {
        let got = bob.receive().await?;
        assert_eq!(got.attr("xml:lang"), Some(lang), "{got}");
    }
    Ok(())
}

/// A connection that says nothing, or half a header, is nobody's; the server goes on with others
/// (RFC 6120 §13.12).
#[tokio::test]
async fn half_a_header_and_a_cut_connection_harm_nobody() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for sent in ["", "<", "<?xml version='1.0'?><stream:stream xm", &header(GOOD)] {
        let mut client = lab.dial().await?;
        client.send(sent).await?;
        drop(client);
    }
    lab.login("alice").await?.nothing().await
}

/// IPv4 and IPv6; `[::]` serves both, and a port of its own each where they are listed.
#[tokio::test]
async fn both_families_of_addresses_are_served() -> Outcome<()> {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return Ok(());
    }
    let both = Lab::new(&["alice"], &["c2s.listen=[::]:0"]);
    let port = both.target.c2s.port();
    let listed = Lab::new(&["alice"], &["c2s.listen=[::1]:0"]);
    for (lab, address) in [
        (&both, format!("127.0.0.1:{port}")),
        (&both, format!("[::1]:{port}")),
        (&listed, listed.target.c2s.to_string()),
    ] {
        let address = address.parse().unwrap();
        let mut client = Client::dial(&lab.target, address).await?;
        client.open().await?;
        client.start_tls().await?;
        client.authenticate("alice", crate::harness::process::PASSWORD).await?;
        client.bind(None).await?;
        client.close().await?;
    }
    Ok(())
}
