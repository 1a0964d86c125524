//! The Extensible SASL Profile (XEP-0388), and authentication ahead of the features (XEP-0509).

use crate::harness::client::{Client, Failure, Outcome, SASL, Security, header_to};
use crate::harness::element::{CLIENT, Element, STREAM};
use crate::harness::process::{Lab, PASSWORD, ends_with, run};
use crate::harness::sasl2::{BIND2, PHONE, SASL2, agent, bind, first, plain};
use crate::harness::scram::{Challenge, Hash, NONCE};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

const IAP: &str = "urn:xmpp:iap:0";

fn authentication(client: &Client) -> Option<&Element> {
    client.features.child(SASL2, "authentication")
}

fn offered(client: &Client) -> Vec<&str> {
    let list = authentication(client).into_iter().flat_map(|offer| &offer.children);
    list.filter(|m| m.is(SASL2, "mechanism")).map(|m| m.text.as_str()).collect()
}

/// §2.6.2: a condition of RFC 6120 in a failure of this namespace.
#[track_caller]
fn refused(failure: &Element, condition: &str) {
    assert!(failure.is(SASL2, "failure"), "{failure}");
    assert!(failure.child(SASL, condition).is_some(), "{condition}: {failure}");
}

/// §2.1, §3: beside the older profile, under TLS and nowhere else.
#[tokio::test]
async fn it_is_offered_under_tls_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["c2s.require_tls=false"]);
    for security in [Security::StartTls, Security::Direct] {
        let client = Client::connect(&lab.target, security).await?;
        assert_eq!(offered(&client), client.mechanisms());
        assert!(offered(&client).contains(&"SCRAM-SHA-256-PLUS"));
        let inline = authentication(&client).and_then(|a| a.child(SASL2, "inline")).unwrap();
        assert!(inline.child("urn:xmpp:sm:3", "sm").is_some(), "{inline}");
        let bind = inline.child(BIND2, "bind").and_then(|b| b.child(BIND2, "inline")).unwrap();
        assert!(bind.children.iter().all(|f| f.is(BIND2, "feature")), "{bind}");
        assert!(bind.children.iter().any(|f| f.attr("var") == Some("urn:xmpp:sm:3")), "{bind}");
        // XEP-0440 §2: where it is for the older profile.
        assert!(client.features.child("urn:xmpp:sasl-cb:0", "sasl-channel-binding").is_some());
    }
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    assert!(!client.mechanisms().is_empty() && authentication(&client).is_none());
    assert!(client.features.child(IAP, "config-version").is_none());
    // Nothing of what stands in it is done.
    client.send(&plain("alice", PASSWORD, &bind(""))).await?;
    refused(&client.receive().await?, "encryption-required");
    client.send(&first("SCRAM-SHA-1", b"n,,n=alice,r=x", "")).await?;
    refused(&client.receive().await?, "encryption-required");
    client
        .send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        .await?;
    ends_with(&mut client, "not-authorized").await?;
    // §2.1: not without a mechanism.
    let lab = Lab::new(&[], &["c2s.require_tls=true"]);
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    client.open().await?;
    assert!(authentication(&client).is_none());
    Ok(())
}

/// §2.6.1: a bare address, features at once, and no restart; then all goes its old way.
#[tokio::test]
async fn each_mechanism_lets_in_without_a_restart() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for name in [
        "PLAIN",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-512-PLUS",
    ] {
        let mut client = lab.connect().await?;
        let success = client.sasl2(name, "alice", &agent(PHONE)).await?;
        assert!(success.is(SASL2, "success"), "{success}");
        assert_eq!(success.child(SASL2, "additional-data").is_some(), name != "PLAIN");
        assert_eq!(client.jid, "alice@localhost");
        let features = &client.features;
        assert!(features.child("urn:ietf:params:xml:ns:xmpp-bind", "bind").is_some(), "{features}");
        assert!(features.child(SASL2, "authentication").is_none(), "{features}");
        // §2.3: nobody is told what the client says of itself.
        assert!(!client.bind(None).await?.contains(PHONE));
        client.nothing().await?;
    }
    Ok(())
}

/// §2.3, §2.5: without an initial response an empty challenge asks for it.
#[tokio::test]
async fn an_initial_response_may_come_later() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    client.send(&format!("<authenticate xmlns='{SASL2}' mechanism='PLAIN'/>")).await?;
    let challenge = client.receive().await?;
    assert!(challenge.is(SASL2, "challenge") && challenge.text.is_empty(), "{challenge}");
    let response = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    // Base64 as the examples of the XEP print it.
    client.send(&format!("<response xmlns='{SASL2}'>\n  {response}\n</response>")).await?;
    assert!(client.receive().await?.is(SASL2, "success"));
    // XEP-0175: an empty initial response is one.
    let lab = Lab::new(&[], &["sasl.mechanisms=ANONYMOUS"]);
    let mut client = lab.connect().await?;
    let success = client.sasl2("ANONYMOUS", "", "").await?;
    assert!(success.is(SASL2, "success"), "{success}");
    Ok(())
}

/// §2.6.2, RFC 6120 §6.5: each condition where it belongs; nothing that was asked for with it is done;
/// the stream goes on, in either profile.
#[tokio::test]
async fn each_failure_has_its_condition_and_leaves_another_try() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let raw = |text: &str| {
        format!(
            "<authenticate xmlns='{SASL2}' mechanism='PLAIN'>\
             <initial-response>{text}</initial-response></authenticate>"
        )
    };
    let from_other = first("PLAIN", format!("bob@localhost\0alice\0{PASSWORD}").as_bytes(), "");
    for (sent, condition) in [
        (plain("alice", "wrong", &bind("")), "not-authorized"),
        (plain("nobody", "wrong", ""), "not-authorized"),
        (first("EXTERNAL", b"", ""), "invalid-mechanism"),
        (first("", b"", ""), "invalid-mechanism"),
        (raw("no base64!"), "incorrect-encoding"),
        // §5.1: `=` is no special case here.
        (raw("="), "incorrect-encoding"),
        (raw(&"A".repeat(8_000)), "malformed-request"),
        (first("PLAIN", b"", ""), "malformed-request"),
        (first("SCRAM-SHA-1", b"alice", ""), "malformed-request"),
        (from_other, "invalid-authzid"),
        (format!("<abort xmlns='{SASL2}'><text>no</text></abort>"), "aborted"),
    ] {
        let mut client = lab.connect().await?;
        client.send(&sent).await?;
        refused(&client.receive().await?, condition);
        match condition.len() % 2 {
            0 => assert!(client.sasl2("PLAIN", "alice", "").await?.is(SASL2, "success")),
            _ => assert_eq!(client.authenticate_with("PLAIN", "alice", PASSWORD).await?, Ok(())),
        }
    }
    Ok(())
}

/// RFC 6120 §6.4.5: both profiles share the tries.
#[tokio::test]
async fn the_fifth_failure_ends_the_stream() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    for n in 1..=5 {
        assert!(!client.conversation().contains("stream:error"), "before try {n}");
        match n % 2 {
            0 => client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>!</auth>")).await?,
            _ => client.send(&plain("alice", "wrong", "")).await?,
        }
        assert_eq!(client.receive().await?.name, "failure");
    }
    ends_with(&mut client, "policy-violation").await?;
    // And the throttle, and the log by which others are told.
    lab.process.logs(&["failed login"]);
    Ok(())
}

/// security.md: a wrong password costs time, whichever profile it is tried in.
#[tokio::test]
async fn failures_of_either_profile_slow_the_next_try_of_the_other() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["sasl.delay_first_ms=30000", "sasl.delay_max_ms=30000"]);
    for _ in 0..4 {
        let mut client = lab.connect().await?;
        client.send(&plain("alice", "wrong", "")).await?;
        refused(&client.receive().await?, "not-authorized");
    }
    let mut client = lab.connect().await?;
    client.send(&plain("alice", PASSWORD, "")).await?;
    let auth = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    let mut other = lab.connect().await?;
    other.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{auth}</auth>")).await?;
    // As long as a login of somebody else's takes, who is slowed down by the address alone, nothing.
    for client in [&mut client, &mut other] {
        let mut bytes = Vec::new();
        let soon = std::time::Duration::from_millis(300);
        let read = tokio::time::timeout(soon, client.io.read(&mut bytes)).await;
        assert!(read.is_err(), "answered at once");
    }
    Ok(())
}

/// The one gate: whoever is disabled learns it only with the right password.
#[tokio::test]
async fn a_disabled_account_stays_outside() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let data = lab.data.display().to_string();
    let said = run(&["--data-dir", &data, "user", "disable", "alice@localhost"], "");
    assert!(said.ok, "{}", said.err);
    for (password, condition) in [("wrong", "not-authorized"), (PASSWORD, "account-disabled")] {
        let mut client = lab.connect().await?;
        client.send(&plain("alice", password, &bind(""))).await?;
        refused(&client.receive().await?, condition);
    }
    Ok(())
}

/// XEP-0474 §6.1: the hash covers the list of this profile, and the channel bindings.
#[tokio::test]
async fn a_stripped_list_can_be_seen() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    let mut names = offered(&client);
    names.sort_unstable();
    let list = client.features.child("urn:xmpp:sasl-cb:0", "sasl-channel-binding").unwrap();
    let mut types: Vec<_> = list.children.iter().filter_map(|t| t.attr("type")).collect();
    types.sort_unstable();
    let text = format!("{}\x1f{}", names.join("\x1e"), types.join("\x1e"));
    let wanted = format!(",h={}", BASE64.encode(Hash::Sha256.digest(text.as_bytes())));
    let message = format!("n,,n=alice,r={NONCE}");
    client.send(&first("SCRAM-SHA-256", message.as_bytes(), "")).await?;
    let challenge = Challenge::parse(&client.receive().await?);
    assert!(challenge.text.contains(&wanted), "{challenge:?}");
    // RFC 5802 §6: -PLUS was taken out of what the client saw.
    let mut client = lab.connect().await?;
    client.send(&first("SCRAM-SHA-256", b"y,,n=alice,r=x", "")).await?;
    refused(&client.receive().await?, "not-authorized");
    Ok(())
}

/// §2.4: while an attempt is under way, all but an answer or an abort ends the stream.
#[tokio::test]
async fn nothing_else_may_come_during_an_attempt() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let begin = first("SCRAM-SHA-1", b"n,,n=alice,r=x", "");
    for stray in [
        plain("alice", PASSWORD, ""),
        format!("<auth xmlns='{SASL}' mechanism='PLAIN'>=</auth>"),
        format!("<response xmlns='{SASL}'>biws</response>"),
        format!("<abort xmlns='{SASL}'/>"),
        format!("<next xmlns='{SASL2}' task='UPGR-SCRAM-SHA-256'/>"),
        format!("<task-data xmlns='{SASL2}'/>"),
        format!("<success xmlns='{SASL2}'/>"),
        "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>".into(),
        "<presence/>".into(),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".into(),
        "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>".into(),
        "<x xmlns='urn:x'/>".into(),
    ] {
        let mut client = lab.connect().await?;
        client.send(&begin).await?;
        assert!(client.receive().await?.is(SASL2, "challenge"));
        client.send(&stray).await?;
        ends_with(&mut client, "not-authorized").await?;
    }
    // And answers to nothing, or to the other profile.
    for (begin, stray) in [
        ("", format!("<response xmlns='{SASL2}'/>")),
        ("", format!("<next xmlns='{SASL2}' task='x'/>")),
        ("", format!("<task-data xmlns='{SASL2}'/>")),
        ("SCRAM-SHA-1", format!("<response xmlns='{SASL2}'>biws</response>")),
        ("SCRAM-SHA-1", format!("<abort xmlns='{SASL2}'/>")),
        ("SCRAM-SHA-1", plain("alice", PASSWORD, "")),
    ] {
        let mut client = lab.connect().await?;
        if !begin.is_empty() {
            let message = BASE64.encode("n,,n=alice,r=x");
            let auth = format!("<auth xmlns='{SASL}' mechanism='{begin}'>{message}</auth>");
            client.send(&auth).await?;
            assert!(client.receive().await?.is(SASL, "challenge"));
        }
        client.send(&stray).await?;
        ends_with(&mut client, "not-authorized").await?;
    }
    Ok(())
}

/// §4.8: once is enough, bound or not.
#[tokio::test]
async fn a_second_login_on_a_stream_ends_it() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for (inner, condition) in [("", "not-authorized"), (&*bind(""), "unsupported-stanza-type")] {
        let mut client = lab.connect().await?;
        assert!(client.sasl2("PLAIN", "alice", inner).await?.is(SASL2, "success"));
        client.send(&plain("bob", PASSWORD, "")).await?;
        ends_with(&mut client, condition).await?;
    }
    Ok(())
}

/// §4.5
#[tokio::test]
async fn an_attempt_can_be_aborted() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    client.send(&first("SCRAM-SHA-1", b"n,,n=bob,r=x", &bind(""))).await?;
    assert!(client.receive().await?.is(SASL2, "challenge"));
    client.send(&format!("<abort xmlns='{SASL2}'/>")).await?;
    refused(&client.receive().await?, "aborted");
    // What stood in the aborted request is forgotten with it.
    let success = client.sasl2("SCRAM-SHA-1", "alice", "").await?;
    assert!(success.is(SASL2, "success") && success.child(BIND2, "bound").is_none(), "{success}");
    assert_eq!(client.jid, "alice@localhost");
    Ok(())
}

/// §2.1, §2.3: the header's `from` is one's own, or none.
#[tokio::test]
async fn a_header_in_another_name_cannot_be_authenticated() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for (from, good) in
        [("alice@localhost", true), ("alice@localhost/x", true), ("bob@localhost", false)]
    {
        let mut client = direct(&lab).await?;
        let header = header_to("localhost").replace(" to=", &format!(" from='{from}' to="));
        client.send(&format!("{header}{}", plain("alice", PASSWORD, ""))).await?;
        client.expect(|e| e.is(STREAM, "features")).await?;
        match good {
            true => assert!(client.receive().await?.is(SASL2, "success")),
            false => refused(&client.receive().await?, "invalid-authzid"),
        }
    }
    let mut client = direct(&lab).await?;
    client.send(&header_to("localhost").replace(" to=", " from='alice@elsewhere' to=")).await?;
    ends_with(&mut client, "invalid-from").await
}

async fn direct(lab: &Lab) -> Outcome<Client> {
    let mut client = Client::dial(&lab.target, lab.target.c2s_tls.expect("a port")).await?;
    client.handshake(&["xmpp-client"]).await?;
    Ok(client)
}

const PING: &str = "<iq type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";

/// One write brings a client with one message from TLS to its first answer, in the right order: header,
/// features, success, features, answers. However the bytes are cut.
#[tokio::test]
async fn all_of_it_may_come_in_one_write() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let roster = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";
    let all = format!(
        "{}{}{roster}<presence/><message to='alice@localhost' id='m'><body>1</body></message>{PING}",
        header_to("localhost"),
        plain("alice", PASSWORD, &bind("<enable xmlns='urn:xmpp:sm:3'/>")),
    );
    for cut in [all.len(), 1_000, 100, 7] {
        let mut client = direct(&lab).await?;
        for piece in all.as_bytes().chunks(cut) {
            client.send(std::str::from_utf8(piece).unwrap()).await?;
        }
        client.expect(|e| e.is(STREAM, "features")).await?;
        let success = client.receive().await?;
        assert!(success.find("enabled").is_some(), "{success}");
        client.entered(&success).await?;
        let mut came = Vec::new();
        for _ in 0..4 {
            came.push(client.expect(|e| e.ns == CLIENT).await?);
        }
        // The message comes to the sender itself, who is available.
        came[2..].sort_by_key(|e| e.name.clone());
        let names: Vec<_> = came.iter().map(|e| e.attr("id").unwrap_or(&e.name)).collect();
        assert_eq!(names, ["r", "presence", "ping", "m"]);
        // All four were counted.
        client.r_until(4).await?;
        client.a(4).await?;
        client.close().await?;
    }
    Ok(())
}

/// Two round trips from TLS to ready with SCRAM: one write each, the stanzas with the second.
#[tokio::test]
async fn scram_takes_two_round_trips() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = direct(&lab).await?;
    let name = "SCRAM-SHA-256-PLUS";
    let made = crate::harness::sasl::mechanism(name, "alice", PASSWORD, client.io.tls_exporter());
    let mut mechanism = made.map_err(Failure)?;
    let request = first(name, &mechanism.initial(), &bind("<tag>T</tag>"));
    client.send(&format!("{}{request}", header_to("localhost"))).await?;
    client.expect(|e| e.is(STREAM, "features")).await?;
    let challenge = client.receive().await?;
    assert!(challenge.is(SASL2, "challenge"), "{challenge}");
    let response = mechanism.response(&BASE64.decode(&challenge.text).unwrap()).unwrap();
    let response = BASE64.encode(response);
    client.send(&format!("<response xmlns='{SASL2}'>{response}</response>{PING}")).await?;
    let success = client.receive().await?;
    client.entered(&success).await?;
    assert!(client.jid.starts_with("alice@localhost/T/"), "{success}");
    assert_eq!(client.receive().await?.attr("id"), Some("ping"));
    assert_eq!(client.conversation().matches("-> ").count(), 2, "{}", client.conversation());
    Ok(())
}

/// What comes behind a failed attempt is not handled as though it had not failed.
#[tokio::test]
async fn what_follows_a_failure_is_not_let_in() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = direct(&lab).await?;
    let request = plain("alice", "wrong", &bind(""));
    client.send(&format!("{}{request}<presence/>{PING}", header_to("localhost"))).await?;
    client.expect(|e| e.is(STREAM, "features")).await?;
    refused(&client.receive().await?, "not-authorized");
    ends_with(&mut client, "not-authorized").await
}

/// XEP-0509: a request made for other features than these is refused without prejudice.
#[tokio::test]
async fn a_request_for_other_features_is_refused_without_prejudice() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["sasl.delay_first_ms=30000", "sasl.delay_max_ms=30000"]);
    let mut client = direct(&lab).await?;
    let version =
        |value: &str| format!("<config-version xmlns='{IAP}' scheme='opaque' value='{value}'/>");
    let old = plain("alice", PASSWORD, &version("b2xk"));
    client.send(&format!("{}{old}", header_to("localhost"))).await?;
    client.features = client.expect(|e| e.is(STREAM, "features")).await?;
    for n in 1..5 {
        let failure = client.receive().await?;
        refused(&failure, "aborted");
        assert!(failure.child(IAP, "config-version-mismatch").is_some(), "{failure}");
        if n < 4 {
            client.send(&old).await?;
        }
    }
    let now = client.features.child(IAP, "config-version").unwrap();
    assert_eq!(now.attr("scheme"), Some("opaque"));
    let now = version(now.attr("value").unwrap());
    client.send(&plain("alice", PASSWORD, &now)).await?;
    assert!(client.receive().await?.is(SASL2, "success"));
    // But not for ever.
    let mut stubborn = lab.connect().await?;
    for _ in 0..5 {
        stubborn.send(&old).await?;
        refused(&stubborn.receive().await?, "aborted");
    }
    ends_with(&mut stubborn, "policy-violation").await?;
    // The same for the next stream, which pipelines, and another where more is offered.
    let mut next = direct(&lab).await?;
    next.send(&format!("{}{}", header_to("localhost"), plain("alice", PASSWORD, &now))).await?;
    next.expect(|e| e.is(STREAM, "features")).await?;
    assert!(next.receive().await?.is(SASL2, "success"));
    let other = Lab::new(&[], &["sasl.mechanisms=PLAIN"]);
    let other = other.connect().await?;
    let there = other.features.child(IAP, "config-version").unwrap().attr("value").unwrap();
    assert!(!now.contains(there));
    Ok(())
}

/// The limits of a stranger hold until the success: none but small elements before it.
#[tokio::test]
async fn large_stanzas_may_come_behind_the_success_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let large = "x".repeat(20_000);
    let mut client = lab.connect().await?;
    let stanza = format!("<message to='alice@localhost'><body>{large}</body></message>{PING}");
    client.send(&format!("{}{stanza}", plain("alice", PASSWORD, &bind("")))).await?;
    let success = client.receive().await?;
    client.entered(&success).await?;
    client.expect(|e| e.attr("id") == Some("ping")).await?;
    let mut client = lab.connect().await?;
    client.send(&plain("alice", PASSWORD, &format!("<x xmlns='urn:x'>{large}</x>"))).await?;
    ends_with(&mut client, "policy-violation").await
}
