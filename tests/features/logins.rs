//! Logging in with what people have: old clients, mistyped passwords, one address for many (RFC 6120 §6.4.5,
//! RFC 5802 §6, security.md rule 10), and what the log says of it.
//!
//! Where a delay must not come, it is 30 s: more than these tests wait for an answer.

use crate::harness::client::{Client, Outcome, SASL, Security, TLS, header_to};
use crate::harness::element::{Element, STREAM};
use crate::harness::process::{Lab, PASSWORD, ends_with, sasl_condition};
use crate::harness::sasl2::{PHONE, SASL2, agent, first, plain};
use crate::harness::scram::Scram;
use crate::harness::tls;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rustls::version::TLS12;
use std::time::Duration;

const SLOW: [&str; 2] = ["sasl.delay_first_ms=30000", "sasl.delay_max_ms=30000"];
const SCRAMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];

/// The log says so of each answer that waits for what the address failed.
const WAITS: &str = "the answer to a login waits";

async fn send_plain(client: &mut Client, user: &str, password: &str) -> Outcome<()> {
    let text = BASE64.encode(format!("\0{user}\0{password}"));
    client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{text}</auth>")).await
}

async fn by_plain(client: &mut Client, user: &str, password: &str) -> Outcome<Element> {
    send_plain(client, user, password).await?;
    client.receive().await
}

/// A wrong password by all mechanisms in turn, as slixmpp does it.
async fn mistype(client: &mut Client, user: &str) -> Outcome<()> {
    for name in SCRAMS {
        let answer = Scram::new(name, user, "wrong").run(client).await?;
        assert_eq!(sasl_condition(&answer), "not-authorized", "{name}");
    }
    let answer = by_plain(client, user, "wrong").await?;
    assert_eq!(sasl_condition(&answer), "not-authorized");
    Ok(())
}

/// Nothing comes: the server waits before it answers.
async fn is_delayed(client: &mut Client) {
    let mut bytes = Vec::new();
    let soon = Duration::from_millis(300);
    let read = tokio::time::timeout(soon, client.io.read(&mut bytes)).await;
    assert!(read.is_err(), "answered at once: {}", String::from_utf8_lossy(&bytes));
}

/// A password that is sent, seen to be looked at, and not waited for; the `nth` whose answer waits.
async fn hang_up_on(lab: &Lab, user: &str, password: &str, nth: usize) -> Outcome<()> {
    let mut client = lab.connect().await?;
    send_plain(&mut client, user, password).await?;
    lab.process.logs_times(nth, &[WAITS]);
    Ok(())
}

/// One wrong password each, from here: these are answered at once.
async fn fail(lab: &Lab, users: &[&str]) -> Outcome<()> {
    for user in users {
        let mut client = lab.connect().await?;
        let answer = by_plain(&mut client, user, "wrong").await?;
        assert_eq!(sasl_condition(&answer), "not-authorized");
    }
    Ok(())
}

async fn gets_in(lab: &Lab, user: &str) -> Outcome<()> {
    let mut client = lab.connect().await?;
    assert_eq!(by_plain(&mut client, user, PASSWORD).await?.name, "success", "{user}");
    Ok(())
}

async fn waits(lab: &Lab, user: &str, password: &str) -> Outcome<()> {
    let mut client = lab.connect().await?;
    send_plain(&mut client, user, password).await?;
    is_delayed(&mut client).await;
    Ok(())
}

/// XEP-0440 §4: slixmpp 1.8.3 (Debian 12) on TLS 1.3 binds to tls-unique, which is not there, says `y`
/// without -PLUS, which RFC 5802 §6 forbids, and gets in by the seventh mechanism; so it does each time.
#[tokio::test]
async fn a_client_that_goes_through_all_mechanisms_gets_in_at_once() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &SLOW);
    for _ in 0..5 {
        let mut client = lab.connect().await?;
        for name in SCRAMS {
            let scram = Scram::new(&format!("{name}-PLUS"), "alice", PASSWORD);
            let answer = scram.bound("tls-unique", vec![1; 12]).run(&mut client).await?;
            assert_eq!(sasl_condition(&answer), "not-authorized", "{name}");
        }
        for name in SCRAMS {
            let scram = Scram::new(name, "alice", PASSWORD).gs2("y,,");
            assert_eq!(sasl_condition(&scram.run(&mut client).await?), "not-authorized", "{name}");
        }
        assert_eq!(by_plain(&mut client, "alice", PASSWORD).await?.name, "success");
    }
    lab.process.logs(&["login attempt refused", "SCRAM-SHA-256-PLUS", "tls-unique"]);
    lab.process.logs(&["login attempt refused", "mechanism=\"SCRAM-SHA-1\"", "old client"]);
    Ok(())
}

/// What ends before a secret is looked at feeds no delay; it is bounded on each stream (RFC 6120 §6.4.5).
#[tokio::test]
async fn what_is_no_guess_slows_nobody_down() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &SLOW);
    let begin = BASE64.encode("n,,n=alice,r=abc");
    let token = format!("{}<fast xmlns='urn:xmpp:fast:0'/>", agent(PHONE));
    for (what, sent, bound) in [
        ("not offered", format!("<auth xmlns='{SASL}' mechanism='X-NONE'>=</auth>"), 5),
        ("no base64", format!("<auth xmlns='{SASL}' mechanism='PLAIN'>!</auth>"), 5),
        ("nothing to abort", format!("<abort xmlns='{SASL}'/>"), 5),
        ("malformed", format!("<auth xmlns='{SASL}' mechanism='PLAIN'>=</auth>"), 6),
        (
            "aborted",
            format!(
                "<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{begin}</auth><abort xmlns='{SASL}'/>"
            ),
            6,
        ),
        (
            "malformed in SASL2",
            format!(
                "<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response/></authenticate>"
            ),
            6,
        ),
        ("nobody's name", plain("no body", "wrong", ""), 6),
        ("nobody's password", plain("alice", "\u{7}", ""), 6),
        ("nobody's token", first("HT-SHA-256-NONE", b"no body\0mac", &token), 5),
    ] {
        let mut client = lab.connect().await?;
        for n in 1..=bound {
            assert!(!client.conversation().contains("stream:error"), "{what}, before try {n}");
            client.send(&sent).await?;
            client.expect(|e| e.name == "failure").await?;
        }
        ends_with(&mut client, "policy-violation").await?;
    }
    let mut client = lab.connect().await?;
    assert_eq!(by_plain(&mut client, "alice", PASSWORD).await?.name, "success");
    lab.process.logs(&["left without a login", "malformed-request"]);
    assert!(!lab.process.log().contains("failed login"), "{}", lab.process.log());
    Ok(())
}

/// RFC 6120 §6.4.5: on one stream each mechanism may fail, and a password be mistyped twice; the throttle
/// takes it for two mistakes and not for eight. Then each try counts, and the next one waits.
#[tokio::test]
async fn a_mistyped_password_is_one_mistake() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &SLOW);
    let mut client = lab.connect().await?;
    for name in SCRAMS {
        let scram = Scram::new(&format!("{name}-PLUS"), "alice", PASSWORD);
        scram.bound("tls-unique", vec![1; 12]).run(&mut client).await?;
    }
    mistype(&mut client, "alice").await?;
    mistype(&mut client, "alice").await?;
    let answer = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).run(&mut client).await?;
    assert_eq!(answer.name, "success");
    // Another stream, without a success between.
    let mut client = lab.connect().await?;
    mistype(&mut client, "alice").await?;
    let mut client = lab.connect().await?;
    assert_eq!(by_plain(&mut client, "alice", PASSWORD).await?.name, "success");
    // The fourth mistake at this address; alice would be spared.
    let mut client = lab.connect().await?;
    by_plain(&mut client, "bob", "wrong").await?;
    let guess = BASE64.encode("\0bob\0guess");
    client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{guess}</auth>")).await?;
    is_delayed(&mut client).await;
    Ok(())
}

/// XEP-0175 §3: who has no account and greets as somebody guesses at nothing.
#[tokio::test]
async fn who_logs_in_as_nobody_is_no_guesser() -> Outcome<()> {
    let set = ["sasl.mechanisms=[\"PLAIN\", \"ANONYMOUS\"]"];
    let lab = Lab::new(&["alice"], &[&SLOW[..], &set[..]].concat());
    let header = header_to("localhost").replace(" to=", " from='zoe@localhost' to=");
    let mut client = Client::dial(&lab.target, lab.target.c2s_tls.unwrap()).await?;
    client.handshake(&["xmpp-client"]).await?;
    client.send(&header).await?;
    client.expect(|e| e.name == "features").await?;
    for _ in 0..5 {
        client.send(&format!("<authenticate xmlns='{SASL2}' mechanism='ANONYMOUS'/>")).await?;
        let answer = client.expect(|e| e.name == "failure").await?;
        assert_eq!(sasl_condition(&answer), "invalid-authzid");
    }
    gets_in(&lab, "alice").await
}

/// One account that fails at an address does not hold up another that got in from there before; a third,
/// of which nobody knows, waits. Who is spared and fails is not spared for long.
#[tokio::test]
async fn the_delay_of_an_address_spares_who_got_in_from_there() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &SLOW);
    for user in ["alice", "bob"] {
        gets_in(&lab, user).await?;
    }
    // An old phone, with a password that is over.
    fail(&lab, &["carol"; 4]).await?;
    gets_in(&lab, "bob").await?;
    hang_up_on(&lab, "dave", "guess", 1).await?;
    // What the account itself failed is forgiven by a success; what it failed here is not.
    hang_up_on(&lab, "bob", "guess", 2).await?;
    hang_up_on(&lab, "bob", "guess", 3).await?;
    gets_in(&lab, "bob").await?;
    hang_up_on(&lab, "bob", "guess", 4).await?;
    hang_up_on(&lab, "bob", "guess", 5).await?;
    gets_in(&lab, "alice").await?;
    waits(&lab, "bob", PASSWORD).await
}

/// security.md, "Guessing": the delay of an address tells nobody there which accounts get in from it. All
/// names are challenged at once, and all wrong passwords wait; the right one of an account that was not here
/// waits as they do.
#[tokio::test]
async fn the_delay_of_an_address_does_not_list_its_accounts() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &SLOW);
    gets_in(&lab, "alice").await?;
    fail(&lab, &["n1", "n2", "n3", "n4"]).await?;
    for user in ["alice", "bob", "nobody"] {
        let mut client = lab.connect().await?;
        let scram = Scram::new("SCRAM-SHA-256", user, "wrong");
        assert_eq!(scram.begin(&mut client).await?.name, "challenge", "{user}");
        client.send(&format!("<abort xmlns='{SASL}'/>")).await?;
        assert_eq!(sasl_condition(&client.receive().await?), "aborted", "{user}");
        let challenge = scram.begin(&mut client).await?;
        scram.prove(&mut client, &challenge).await?;
        is_delayed(&mut client).await;
        waits(&lab, user, "wrong").await?;
    }
    // Nor does a binding to another channel tell a right password before its time.
    let mut client = lab.connect().await?;
    let other = Scram { binding: vec![1], ..Scram::new("SCRAM-SHA-1", "bob", PASSWORD) };
    let challenge = other.begin(&mut client).await?;
    other.prove(&mut client, &challenge).await?;
    is_delayed(&mut client).await;
    waits(&lab, "bob", PASSWORD).await?;
    gets_in(&lab, "alice").await
}

/// A right password counts as a wrong one while its answer waits: another stream does not tell them apart.
#[tokio::test]
async fn a_right_password_is_not_seen_by_what_comes_after() -> Outcome<()> {
    for password in [PASSWORD, "wrong"] {
        let lab = Lab::new(&["dave"], &SLOW);
        fail(&lab, &["dave", "dave", "dave", "n1"]).await?;
        let scram = Scram::new("SCRAM-SHA-256", "dave", "");
        let mut other = lab.connect().await?;
        assert_eq!(scram.begin(&mut other).await?.name, "challenge", "three are free");
        hang_up_on(&lab, "dave", password, 1).await?;
        let mut other = lab.connect().await?;
        let begin = BASE64.encode("n,,n=dave,r=abc");
        other.send(&format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{begin}</auth>")).await?;
        is_delayed(&mut other).await;
    }
    Ok(())
}

/// RFC 6120 §6.4.5: a password that is mistyped by four mechanisms is one mistake here as well, and the
/// account goes on to be spared.
#[tokio::test]
async fn one_mistake_does_not_end_the_sparing() -> Outcome<()> {
    let lab = Lab::new(&["bob"], &SLOW);
    gets_in(&lab, "bob").await?;
    mistype(&mut lab.connect().await?, "bob").await?;
    fail(&lab, &["n1", "n2", "n3"]).await?;
    waits(&lab, "n4", "wrong").await?;
    gets_in(&lab, "bob").await
}

/// What is spared is bounded, and what is no guess, or does not wait, gives nothing of it back.
#[tokio::test]
async fn what_is_spared_is_not_given_back_by_noise() -> Outcome<()> {
    let users = ["alice", "bob", "carol", "dave"];
    let lab = Lab::new(&users, &SLOW);
    for user in users {
        gets_in(&lab, user).await?;
    }
    fail(&lab, &["n1", "n2", "n3", "n4"]).await?;
    let guesses = users[..3].iter().cycle().take(9);
    for (nth, user) in guesses.enumerate() {
        hang_up_on(&lab, user, "guess", nth + 1).await?;
        if nth == 6 {
            gets_in(&lab, "dave").await?;
        }
    }
    waits(&lab, "dave", PASSWORD).await?;
    for nth in 0..10 {
        let mut client = lab.connect().await?;
        by_plain(&mut client, "n1", "\u{7}").await?;
        hang_up_on(&lab, &format!("m{nth}"), "guess", nth + 11).await?;
    }
    waits(&lab, "dave", PASSWORD).await
}

/// RFC 5802 §6.1, RFC 9266 §3: a channel of TLS 1.2 binds to tls-unique where the client was not told of
/// anything else; we have none. Clients of SASL2 are told (XEP-0440), and bind to what there is.
#[tokio::test]
async fn plus_on_tls_1_2_is_for_clients_that_read_what_there_is() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let config = tls::config(&lab.target.ca.clone().expect("a CA"), &[&TLS12], &[]);
    let connect = async || {
        let mut client = Client::connect(&lab.target, Security::Plain).await?;
        tls::start_tls(&mut client, config.clone(), "localhost").await?;
        client.open().await?;
        Outcome::Ok(client)
    };
    let mut client = connect().await?;
    assert!(!client.mechanisms().iter().any(|name| name.ends_with("-PLUS")));
    let new = client.features.child(SASL2, "authentication").unwrap();
    assert!(new.children.iter().any(|one| one.text == "SCRAM-SHA-256-PLUS"), "{new}");
    assert!(client.features.child("urn:xmpp:sasl-cb:0", "sasl-channel-binding").is_some());
    let exporter = client.io.tls_exporter().unwrap();
    let refused = Scram::new("SCRAM-SHA-256-PLUS", "alice", PASSWORD);
    let refused = refused.bound("tls-exporter", exporter).run(&mut client).await?;
    assert_eq!(sasl_condition(&refused), "invalid-mechanism");
    // The client saw none: that is no downgrade.
    let scram = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).gs2("y,,");
    assert_eq!(scram.run(&mut client).await?.name, "success");
    let mut client = connect().await?;
    let success = client.sasl2("SCRAM-SHA-256-PLUS", "alice", "").await?;
    assert!(success.is(SASL2, "success"), "{success}");
    Ok(())
}

/// The log tells an operator which account, by what, and why; names from debug on alone.
#[tokio::test]
async fn a_failed_login_is_told_in_the_log() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    Scram::new("SCRAM-SHA-256", "alice", "wrong").run(&mut client).await?;
    by_plain(&mut client, "nobody", "wrong").await?;
    let other = Scram { binding: vec![1], ..Scram::new("SCRAM-SHA-1", "alice", PASSWORD) };
    other.run(&mut client).await?;
    let (alice, nobody) = ("alice@localhost", "nobody@localhost");
    for words in [
        &["failed login", alice, "SCRAM-SHA-256", "wrong password"],
        &["failed login", nobody, "PLAIN", "no such account"],
        &["failed login", alice, "SCRAM-SHA-1", "bound to another channel"],
    ] {
        lab.process.logs(words);
    }
    let lab = Lab::new(&["alice"], &["log.level=info"]);
    let mut client = lab.connect().await?;
    by_plain(&mut client, "alice", "wrong").await?;
    lab.process.logs(&["failed login", "127.0.0.1", "PLAIN", "wrong password"]);
    assert!(!lab.process.log().contains("alice"), "{}", lab.process.log());
    Ok(())
}

/// The first mistake of who sets up a server: the client asks for another domain (RFC 6120 §4.9.3.6).
#[tokio::test]
async fn a_domain_that_is_not_served_is_told_in_the_log() -> Outcome<()> {
    let lab = Lab::new(&[], &["log.level=info"]);
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    client.send(&header_to("alice@chat.example.org")).await?;
    ends_with(&mut client, "host-unknown").await?;
    lab.process.logs(&[
        "not served here",
        "chat.example.org",
        "localhost",
        "127.0.0.1",
        "[[host]]",
    ]);
    let log = lab.process.log();
    assert!(!log.contains("alice") && log.matches("not served here").count() == 1, "{log}");
    // Only a name: whose it is, who knows.
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    client.send(&header_to("alice")).await?;
    ends_with(&mut client, "host-unknown").await?;
    lab.process.logs(&["not served here", "a name without a dot"]);
    assert!(!lab.process.log().contains("alice"), "{}", lab.process.log());
    Ok(())
}

/// RFC 8446 §5.1: a handshake record where a stream should be; and a stream where that should be.
#[tokio::test]
async fn a_client_at_the_wrong_door_is_told_in_the_log() -> Outcome<()> {
    let lab = Lab::new(&[], &["log.level=info"]);
    let direct = lab.target.c2s_tls.expect("a port");
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    assert!(client.handshake(&[]).await.is_err());
    lab.process.logs(&["began with TLS", &format!("direct TLS is on port {}", direct.port())]);
    // Strangers are told what is wrong, not where the other port is.
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    client.io.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.expect("sent");
    let told = client.expect(|e| e.is(STREAM, "error")).await?.to_string();
    assert!(told.contains("looks like TLS"), "{told}");
    assert!(!told.contains(&direct.port().to_string()), "{told}");
    let mut client = Client::dial(&lab.target, direct).await?;
    assert!(client.open().await.is_err());
    lab.process.logs(&["no TLS", &format!("STARTTLS is on port {}", lab.target.c2s.port())]);
    let lab = Lab::new(&[], &["c2s.listen_tls=[]"]);
    let mut client = Client::dial(&lab.target, lab.target.c2s).await?;
    assert!(client.handshake(&[]).await.is_err());
    lab.process.logs(&["began with TLS", "switched off (c2s.listen_tls)"]);
    Ok(())
}

/// RFC 6120 §5.3.3, §6.3.5 and XEP-0388 §2.4 want no white space between the elements; go-xmpp sends line
/// feeds. They are thrown away, however the bytes are cut (docs/conformance-rfc6120.md).
#[tokio::test]
async fn white_space_is_thrown_away_however_it_is_cut() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for (with, alone) in [("\n", ""), ("", "\n"), (" ", "\r\n\t"), ("", "")] {
        let told = format!("{with:?} with the element, {alone:?} alone");
        let mut client = Client::connect(&lab.target, Security::Plain).await?;
        client.send(&format!("<starttls xmlns='{TLS}'/>{with}")).await?;
        // Before `<proceed/>` is read as after it: the server has asked for the handshake already.
        client.send(alone).await?;
        assert!(client.receive().await?.is(TLS, "proceed"), "{told}");
        client.send(alone).await?;
        client.handshake(&[]).await.map_err(|error| panic!("{told}: {error:?}")).ok();
        client.open().await?;
        let scram = Scram::new("SCRAM-SHA-1", "alice", "wrong");
        assert_eq!(scram.begin(&mut client).await?.name, "challenge");
        client.send(&format!("{with}<abort xmlns='{SASL}'/>{with}")).await?;
        client.send(alone).await?;
        assert_eq!(sasl_condition(&client.receive().await?), "aborted", "{told}");
        let begin = BASE64.encode("n,,n=alice,r=abc");
        let begin = format!(
            "<authenticate xmlns='{SASL2}' mechanism='SCRAM-SHA-1'>\
             <initial-response>{begin}</initial-response></authenticate>"
        );
        client.send(&format!("{begin}{with}")).await?;
        client.send(alone).await?;
        assert!(client.receive().await?.is(SASL2, "challenge"), "{told}");
        client.send(alone).await?;
        client.send(&format!("{with}<abort xmlns='{SASL2}'/>{with}")).await?;
        client.send(alone).await?;
        assert_eq!(sasl_condition(&client.receive().await?), "aborted", "{told}");
        let auth = BASE64.encode(format!("\0alice\0{PASSWORD}"));
        client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{auth}</auth>{with}")).await?;
        client.send(alone).await?;
        assert!(client.receive().await?.is(SASL, "success"), "{told}");
        client.send(alone).await?;
        client.open().await?;
        client.bind(None).await?;
    }
    Ok(())
}

/// RFC 6120 §5.4.3.1, CVE-2011-0411: what is no white space ends the connection, in either cut.
#[tokio::test]
async fn what_is_no_white_space_behind_starttls_ends_the_connection() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let auth = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    let injected =
        format!("\n{}<auth xmlns='{SASL}' mechanism='PLAIN'>{auth}</auth>", header_to("localhost"));
    for (with, alone) in [(&*injected, ""), ("", &*injected), ("\n", &*injected), ("\u{c}", "")] {
        let mut client = Client::connect(&lab.target, Security::Plain).await?;
        client.send(&format!("<starttls xmlns='{TLS}'/>{with}")).await?;
        client.receive().await?;
        // The server may have hung up by now.
        let _ = client.send(alone).await;
        assert!(client.handshake(&[]).await.is_err());
    }
    assert!(!lab.process.log().contains("session started"));
    Ok(())
}
