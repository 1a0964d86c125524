//! Authentication (RFC 6120 §6, RFC 5802, 4616, 9266, 5929; XEP-0175, 0440, 0474).

use crate::harness::client::{Client, Outcome, SASL, Security};
use crate::harness::element::Element;
use crate::harness::io::Io;
use crate::harness::process::{Lab, PASSWORD, ends_with, sasl_condition};
use crate::harness::scram::{Challenge, Hash, Scram};
use crate::harness::tls;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

const SCRAMS: [&str; 3] = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"];

async fn auth(client: &mut Client, mechanism: &str, text: &str) -> Outcome<Element> {
    client.send(&format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")).await?;
    client.receive().await
}

fn plain(authzid: &str, user: &str, password: &str) -> String {
    BASE64.encode(format!("{authzid}\0{user}\0{password}"))
}

/// RFC 9266 §2 and RFC 5929 §4.1: the two channel bindings of this connection.
fn bindings(client: &Client) -> [(&'static str, Vec<u8>); 2] {
    let exporter = client.io.tls_exporter().expect("TLS");
    let certificate = tls::certificate(client).expect("a certificate");
    [("tls-exporter", exporter), ("tls-server-end-point", Hash::Sha256.digest(&certificate))]
}

/// The default list; strongest first; nothing of the kind that security.md forbids.
#[tokio::test]
async fn the_default_list_is_scram_with_and_without_binding_and_plain() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for security in [Security::StartTls, Security::Direct] {
        let client = Client::connect(&lab.target, security).await?;
        let mut offered = client.mechanisms();
        offered.sort_unstable();
        assert_eq!(
            offered,
            [
                "PLAIN",
                "SCRAM-SHA-1",
                "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-256",
                "SCRAM-SHA-256-PLUS",
                "SCRAM-SHA-512",
                "SCRAM-SHA-512-PLUS"
            ]
        );
        // XEP-0440 §3: the types of binding for the -PLUS names.
        let list = client.features.child("urn:xmpp:sasl-cb:0", "sasl-channel-binding").unwrap();
        let mut types: Vec<_> = list.children.iter().filter_map(|t| t.attr("type")).collect();
        types.sort_unstable();
        assert_eq!(types, ["tls-exporter", "tls-server-end-point"]);
    }
    Ok(())
}

/// RFC 9266 §3, RFC 8446 §2.2: a resumed TLS session has an exporter of its own, and the certificate of
/// the first one; a login can be bound to either.
#[tokio::test]
async fn a_resumed_tls_session_can_be_bound_to() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let ca = lab.target.ca.clone().expect("a CA");
    for version in [&TLS13, &TLS12] {
        let config = tls::config(&ca, &[version], &[]);
        let mut exporters = Vec::new();
        for (kind, place) in
            [(HandshakeKind::Full, 0), (HandshakeKind::Resumed, 0), (HandshakeKind::Resumed, 1)]
        {
            let mut client = Client::connect(&lab.target, Security::Plain).await?;
            tls::start_tls(&mut client, config.clone(), "localhost").await?;
            client.open().await?;
            let Io::Tls(stream) = &client.io else { return client.fail("no TLS") };
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            exporters.push(client.io.tls_exporter());
            let name = "SCRAM-SHA-256-PLUS";
            // In TLS 1.2 it is for clients of SASL2 (RFC 5802 §6.1, RFC 9266 §3).
            if version == &TLS12 {
                assert_eq!(client.sasl2(name, "alice", "").await?.name, "success", "{version:?}");
                continue;
            }
            let (kind, data) = bindings(&client)[place].clone();
            let scram = Scram::new(name, "alice", PASSWORD).bound(kind, data);
            assert_eq!(scram.run(&mut client).await?.name, "success", "{version:?} {kind}");
        }
        exporters.sort();
        exporters.dedup();
        assert_eq!(exporters.len(), 3, "each connection has its own");
    }
    Ok(())
}

/// RFC 5802 §5: each hash, bound in either way or not at all, lets the right password in, proves the
/// server, and keeps a wrong password out; twice on one stream (RFC 6120 §6.4.5).
#[tokio::test]
async fn each_scram_lets_in_the_right_password_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for name in SCRAMS {
        for bound in [None, Some(0), Some(1)] {
            for security in [Security::StartTls, Security::Direct] {
                let mut client = Client::connect(&lab.target, security).await?;
                let scram = |client: &Client, password: &str| match bound {
                    None => Scram::new(name, "alice", password),
                    Some(which) => {
                        let [exporter, end_point] = bindings(client);
                        let (kind, data) = if which == 0 { exporter } else { end_point };
                        Scram::new(&format!("{name}-PLUS"), "alice", password).bound(kind, data)
                    }
                };
                let wrong = scram(&client, "wrong").run(&mut client).await?;
                assert_eq!(sasl_condition(&wrong), "not-authorized");
                let right = scram(&client, PASSWORD).run(&mut client).await?;
                assert_eq!(right.name, "success", "{name} {bound:?} {security:?}: {right}");
                client.open().await?;
                client.bind(None).await?;
            }
        }
    }
    Ok(())
}

/// RFC 4616 §2, RFC 6120 §6.4.2: PLAIN with and without initial response.
#[tokio::test]
async fn plain_lets_in_the_right_password_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    let wrong = auth(&mut client, "PLAIN", &plain("", "alice", "wrong")).await?;
    assert_eq!(sasl_condition(&wrong), "not-authorized");
    // Without an initial response: an empty challenge asks for it.
    client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'/>")).await?;
    let challenge = client.receive().await?;
    assert_eq!((challenge.name.as_str(), challenge.text.as_str()), ("challenge", ""));
    let response = plain("", "alice", PASSWORD);
    client.send(&format!("<response xmlns='{SASL}'>{response}</response>")).await?;
    assert_eq!(client.receive().await?.name, "success");
    client.open().await?;
    client.bind(None).await?.strip_prefix("alice@localhost/").expect("alice's JID");
    Ok(())
}

/// XEP-0175 §2: switched on, everybody gets an address of a session's life; nobody's twice.
#[tokio::test]
async fn anonymous_is_off_and_can_be_switched_on() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let mut client = lab.connect().await?;
    let refused = auth(&mut client, "ANONYMOUS", "=").await?;
    assert_eq!(sasl_condition(&refused), "invalid-mechanism");
    let lab = Lab::new(&[], &["sasl.mechanisms=ANONYMOUS"]);
    let mut jids = Vec::new();
    for first in ["", "=", "c2lyaGM="] {
        let mut client = lab.connect().await?;
        assert_eq!(client.mechanisms(), ["ANONYMOUS"]);
        assert_eq!(auth(&mut client, "ANONYMOUS", first).await?.name, "success");
        client.open().await?;
        client.bind(Some("r")).await?;
        client.nothing().await?;
        jids.push(client.jid.clone());
    }
    jids.dedup();
    assert_eq!(jids.len(), 3, "{jids:?}");
    Ok(())
}

/// RFC 6120 §6.5.7: only what is offered can be used, whatever the server knows.
#[tokio::test]
async fn a_mechanism_that_is_not_offered_cannot_be_used() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["sasl.mechanisms=SCRAM-SHA-256"]);
    let mut client = lab.connect().await?;
    assert_eq!(client.mechanisms(), ["SCRAM-SHA-256"]);
    for name in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "EXTERNAL", "DIGEST-MD5", ""] {
        let refused = auth(&mut client, name, &plain("", "alice", PASSWORD)).await?;
        assert_eq!(sasl_condition(&refused), "invalid-mechanism", "{name}");
        client = lab.connect().await?;
    }
    Ok(())
}

/// security.md (fake challenge): who does not exist gets the same elements with the same fields, a
/// salt that stays the same and differs from others', and the same failure.
#[tokio::test]
async fn an_unknown_user_looks_like_a_wrong_password() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for name in SCRAMS {
        let mut seen: Vec<(String, Challenge)> = Vec::new();
        for user in ["alice", "nobody", "nobody", "NOBODY", "noone", "alice"] {
            let mut client = lab.connect().await?;
            let challenge = Scram::new(name, user, "x").begin(&mut client).await?;
            assert_eq!(challenge.name, "challenge", "{user}: {challenge}");
            seen.push((user.to_lowercase(), Challenge::parse(&challenge)));
            let mut client = lab.connect().await?;
            let failure = Scram::new(name, user, "x").run(&mut client).await?;
            assert_eq!(failure.to_string(), NOT_AUTHORIZED, "{user}");
        }
        for (user, one) in &seen {
            for (other_user, other) in &seen {
                assert_eq!(one.shape(), other.shape());
                assert_eq!(one.rounds, other.rounds);
                assert_eq!(one.salt.len(), other.salt.len());
                assert_eq!(one.salt == other.salt, user == other_user, "{user} {other_user}");
            }
        }
    }
    for user in ["alice", "nobody", "no body", "@", ""] {
        let mut client = lab.connect().await?;
        let failure = auth(&mut client, "PLAIN", &plain("", user, "x")).await?;
        if user.is_empty() {
            // RFC 4616 §2: an authcid has a character at least.
            assert_eq!(sasl_condition(&failure), "malformed-request");
        } else {
            assert_eq!(failure.to_string(), NOT_AUTHORIZED, "{user}");
        }
    }
    Ok(())
}

const NOT_AUTHORIZED: &str =
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";

/// RFC 6120 §6.4.2, §6.4.4, §6.5: each condition where it belongs, and the stream goes on.
#[tokio::test]
async fn each_failure_has_its_condition_and_leaves_another_try() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let long = "A".repeat(8_000);
    let cases = [
        // §6.5.5
        ("PLAIN", "this is no base64!", "incorrect-encoding"),
        ("PLAIN", "AGFsaWNl=AGI=", "incorrect-encoding"),
        ("PLAIN", "A", "incorrect-encoding"),
        // §6.5.7
        ("X-UNKNOWN", "=", "invalid-mechanism"),
        // §6.5.8
        ("PLAIN", "=", "malformed-request"),
        ("PLAIN", "YWxpY2U=", "malformed-request"),
        ("PLAIN", &long, "malformed-request"),
        ("SCRAM-SHA-256", "=", "malformed-request"),
        ("SCRAM-SHA-256", "YWxpY2U=", "malformed-request"),
    ];
    let two_nuls = BASE64.encode(format!("\0alice\0{PASSWORD}\0"));
    let no_utf8 = BASE64.encode(b"\0alice\0\xff");
    let extension = BASE64.encode("n,,m=x,n=alice,r=abc");
    let more = [
        ("PLAIN", two_nuls.as_str(), "malformed-request"),
        ("PLAIN", no_utf8.as_str(), "malformed-request"),
        ("SCRAM-SHA-256", extension.as_str(), "malformed-request"),
    ];
    for (name, text, condition) in cases.into_iter().chain(more) {
        let mut client = lab.connect().await?;
        let failure = auth(&mut client, name, text).await?;
        let shown = &text[..text.len().min(40)];
        assert_eq!(sasl_condition(&failure), condition, "{name} {shown}");
        let name = client.mechanisms()[0].to_owned();
        assert_eq!(client.authenticate_with(&name, "alice", PASSWORD).await?, Ok(()));
    }
    Ok(())
}

/// RFC 6120 §6.4.4, §6.5.1, and §6.4.2 for a second `<auth/>`.
#[tokio::test]
async fn an_attempt_can_be_aborted_or_begun_anew() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    Scram::new("SCRAM-SHA-256", "alice", PASSWORD).begin(&mut client).await?;
    client.send(&format!("<abort xmlns='{SASL}'/>")).await?;
    assert_eq!(sasl_condition(&client.receive().await?), "aborted");
    // What was aborted cannot be finished.
    Scram::new("SCRAM-SHA-1", "bob", "x").begin(&mut client).await?;
    let done = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).run(&mut client).await?;
    assert_eq!(done.name, "success");
    client.open().await?;
    assert_eq!(client.bind(None).await?.split('/').next(), Some("alice@localhost"));
    Ok(())
}

/// RFC 6120 §6.4.5, security.md: five tries on one stream, whatever was wrong with them.
#[tokio::test]
async fn the_fifth_failure_ends_the_stream() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    for n in 1..=5 {
        assert!(!client.conversation().contains("stream:error"), "before try {n}");
        let failure = match n % 2 {
            0 => auth(&mut client, "PLAIN", "!").await?,
            _ => Scram::new("SCRAM-SHA-256", "alice", "wrong").run(&mut client).await?,
        };
        assert_eq!(failure.name, "failure");
    }
    ends_with(&mut client, "policy-violation").await
}

/// RFC 6120 §6.3.8, security.md rule 1: one may act as oneself alone, however that is written.
#[tokio::test]
async fn the_authorisation_identity_is_ones_own_or_none() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for (authzid, good) in [
        ("", true),
        ("alice@localhost", true),
        ("ALICE@LOCALHOST", true),
        ("bob@localhost", false),
        ("alice@elsewhere.example", false),
        ("localhost", false),
        ("alice@localhost/resource", false),
    ] {
        let mut client = lab.connect().await?;
        let by_plain = auth(&mut client, "PLAIN", &plain(authzid, "alice", PASSWORD)).await?;
        let mut client = lab.connect().await?;
        let gs2 = if authzid.is_empty() { "n,,".into() } else { format!("n,a={authzid},") };
        let scram = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).gs2(&gs2);
        let by_scram = scram.run(&mut client).await?;
        for answer in [by_plain, by_scram] {
            if good {
                assert_eq!(answer.name, "success", "{authzid}: {answer}");
            } else {
                assert_eq!(sasl_condition(&answer), "invalid-authzid", "{authzid}: {answer}");
            }
        }
    }
    Ok(())
}

/// RFC 5802 §6, RFC 5801 §5, security.md: the gs2 flag fits what was offered, and `c=` is the header
/// and the data of this channel, byte for byte.
#[tokio::test]
async fn channel_binding_cannot_be_stripped_or_forged() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    let [(_, exporter), (_, end_point)] = bindings(&client);
    let plain = || Scram::new("SCRAM-SHA-256", "alice", PASSWORD);
    let plus = || Scram::new("SCRAM-SHA-256-PLUS", "alice", PASSWORD);
    let mut stranger = exporter.clone();
    stranger[0] ^= 1;
    let cases = [
        // The client could bind and was told that the server cannot: a downgrade (§6).
        ("y although -PLUS is offered", plain().gs2("y,,"), "not-authorized"),
        ("another channel's data", plus().bound("tls-exporter", stranger), "not-authorized"),
        ("the other type's data", plus().bound("tls-exporter", end_point), "not-authorized"),
        ("no data", plus().bound("tls-exporter", vec![]), "not-authorized"),
        (
            "a type that is not offered",
            plus().bound("tls-unique", exporter.clone()),
            "not-authorized",
        ),
        (
            "p with a plain name",
            plain().bound("tls-exporter", exporter.clone()),
            "malformed-request",
        ),
        ("-PLUS with n", plus(), "malformed-request"),
        ("-PLUS with y", plus().gs2("y,,"), "malformed-request"),
        (
            "c= tells another header",
            Scram { claimed_gs2: Some("y,,".into()), ..plain() },
            "not-authorized",
        ),
        (
            "c= with data nobody asked for",
            Scram { binding: exporter.clone(), ..plain() },
            "not-authorized",
        ),
    ];
    for (what, scram, condition) in cases {
        let mut fresh = lab.connect().await?;
        // Data of *this* connection would differ: what is wrong must be what the case says.
        let scram = match scram.binding == exporter && scram.gs2.starts_with("p=tls-exporter") {
            true => Scram { binding: fresh.io.tls_exporter().expect("TLS"), ..scram },
            false => scram,
        };
        let answer = scram.run(&mut fresh).await?;
        assert_eq!(sasl_condition(&answer), condition, "{what}: {answer}");
    }
    // The binding of one connection on another: the man in the middle.
    let mut other = lab.connect().await?;
    let answer = plus().bound("tls-exporter", exporter.clone()).run(&mut other).await?;
    assert_eq!(sasl_condition(&answer), "not-authorized");
    let answer = plus().bound("tls-exporter", exporter).run(&mut client).await?;
    assert_eq!(answer.name, "success");
    Ok(())
}

/// RFC 6120 §6.4.6: who calls itself somebody in a header under TLS must authenticate as that.
#[tokio::test]
async fn a_header_in_another_name_cannot_be_authenticated() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    for (from, good) in [("alice@localhost/x", true), ("bob@localhost", false)] {
        let mut client = Client::dial(&lab.target, lab.target.c2s_tls.expect("a port")).await?;
        client.handshake(&["xmpp-client"]).await?;
        let header = crate::harness::client::header_to("localhost");
        client.send(&header.replace(" to=", &format!(" from='{from}' to="))).await?;
        client.expect(|e| e.name == "features").await?;
        let response = plain("", "alice", PASSWORD);
        client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{response}</auth>")).await?;
        match good {
            true => assert_eq!(client.receive().await?.name, "success"),
            false => ends_with(&mut client, "invalid-from").await?,
        }
    }
    Ok(())
}

/// RFC 6120 §6.5.11: what we cannot look up is no fault of the client's: it is told to come again,
/// and is no slower for it.
#[tokio::test]
async fn a_store_that_fails_is_a_temporary_failure() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["sasl.delay_first_ms=30000", "sasl.delay_max_ms=30000"]);
    let files = std::fs::read_dir(&lab.data).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|e| e == "db"));
    let database = rusqlite::Connection::open(files.next().expect("a database")).unwrap();
    let rename = |from: &str, to: &str| {
        database.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    rename("credential", "hidden");
    let mut client = lab.connect().await?;
    let tries = [
        ("PLAIN", plain("", "alice", PASSWORD)),
        ("SCRAM-SHA-1", BASE64.encode("n,,n=alice,r=x")),
        ("SCRAM-SHA-256", BASE64.encode("n,,n=alice,r=x")),
    ];
    for (name, first) in tries {
        let failure = auth(&mut client, name, &first).await?;
        assert_eq!(sasl_condition(&failure), "temporary-auth-failure", "{name}");
    }
    rename("hidden", "credential");
    let answer = auth(&mut client, "PLAIN", &plain("", "alice", PASSWORD)).await?;
    assert_eq!(answer.name, "success");
    Ok(())
}

/// What a login was checked against is remembered for the next one from its address, of the same hash,
/// until the keys of anybody change.
#[tokio::test]
async fn a_login_again_asks_the_store_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let files = std::fs::read_dir(&lab.data).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|e| e == "db"));
    let database = rusqlite::Connection::open(files.next().expect("a database")).unwrap();
    let rename = |from: &str, to: &str| {
        database.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    let login = async |user: &str, mechanism: &str, password: &str| {
        let mut client = lab.connect().await?;
        let answer = Scram::new(mechanism, user, password).run(&mut client).await?;
        Outcome::Ok(match answer.name.as_str() {
            "failure" => sasl_condition(&answer).to_owned(),
            name => name.to_owned(),
        })
    };
    assert_eq!(login("alice", "SCRAM-SHA-1", PASSWORD).await?, "success");
    rename("credential", "hidden");
    for (user, mechanism, password, expected) in [
        ("alice", "SCRAM-SHA-1", PASSWORD, "success"),
        ("alice", "SCRAM-SHA-1", "wrong", "not-authorized"),
        ("alice", "SCRAM-SHA-256", PASSWORD, "temporary-auth-failure"),
        ("bob", "SCRAM-SHA-1", PASSWORD, "temporary-auth-failure"),
        ("alice", "SCRAM-SHA-1", PASSWORD, "success"),
    ] {
        assert_eq!(login(user, mechanism, password).await?, expected, "{user} {mechanism}");
    }
    rename("hidden", "credential");
    let data = lab.data.display().to_string();
    let passwd = ["--data-dir", &data, "user", "passwd", "bob@localhost", "--password-stdin"];
    assert!(crate::harness::process::run(&passwd, "other").ok);
    rename("credential", "hidden");
    assert_eq!(login("alice", "SCRAM-SHA-1", PASSWORD).await?, "temporary-auth-failure");
    Ok(())
}

/// RFC 6120 §6.5.2 after the password was right, and as for everybody when it was wrong.
#[tokio::test]
async fn a_disabled_account_is_told_so_only_behind_its_password() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let data = lab.data.display().to_string();
    let disable = ["--data-dir", &data, "user", "disable", "alice@localhost"];
    let said = crate::harness::process::run(&disable, "");
    assert!(said.ok, "{}", said.err);
    for (password, condition) in [(PASSWORD, "account-disabled"), ("wrong", "not-authorized")] {
        let mut client = lab.connect().await?;
        let answer = Scram::new("SCRAM-SHA-256", "alice", password).run(&mut client).await?;
        assert_eq!(sasl_condition(&answer), condition);
        let mut client = lab.connect().await?;
        let answer = auth(&mut client, "PLAIN", &plain("", "alice", password)).await?;
        assert_eq!(sasl_condition(&answer), condition);
    }
    Ok(())
}

/// RFC 7622 §3.3 and RFC 8265 §4: the name is an address's localpart, so case does not matter; the
/// password is itself, as OpaqueString has it.
#[tokio::test]
async fn names_and_passwords_are_prepared() -> Outcome<()> {
    let user = "jürgen@localhost:naïve \u{212b}ngström";
    let lab = Lab::start(&["--user", user]);
    let password = "naïve \u{212b}ngström";
    for (name, password, good) in [
        ("jürgen", password, true),
        ("JÜRGEN", password, true),
        // NFC on both sides (OpaqueString §4.2.2); ANGSTROM SIGN becomes LATIN CAPITAL A WITH RING.
        ("ju\u{308}rgen", "nai\u{308}ve \u{c5}ngstro\u{308}m", true),
        ("jürgen", "NAÏVE \u{212b}ngström", false),
    ] {
        let mut client = lab.connect().await?;
        let answer = auth(&mut client, "PLAIN", &plain("", name, password)).await?;
        assert_eq!(answer.name == "success", good, "{name} {password}: {answer}");
    }
    let mut client = lab.connect().await?;
    let scram = Scram::new("SCRAM-SHA-256", "JÜRGEN", "naïve \u{c5}ngström");
    assert_eq!(scram.run(&mut client).await?.name, "success");
    Ok(())
}

/// SASL in the clear by an explicit key; then without -PLUS, as there is no channel.
#[tokio::test]
async fn tls_can_be_made_optional_in_a_lab() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["c2s.require_tls=false"]);
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    assert!(
        client.features.find("starttls").is_some() && client.features.find("required").is_none()
    );
    assert!(!client.mechanisms().iter().any(|name| name.ends_with("-PLUS")));
    // RFC 6120 §13.8.3: PLAIN not even then; §6.5.4.
    assert!(!client.mechanisms().contains(&"PLAIN"));
    let refused = auth(&mut client, "PLAIN", &plain("", "alice", PASSWORD)).await?;
    assert_eq!(sasl_condition(&refused), "encryption-required");
    assert!(client.features.find("sasl-channel-binding").is_none());
    // Nothing to bind to here: `y` is the truth, not a downgrade.
    let scram = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).gs2("y,,");
    assert_eq!(scram.run(&mut client).await?.name, "success");
    lab.process.logs(&["WARN", "require_tls"]);
    lab.login("alice").await?.nothing().await
}

/// security.md rule 10: failures slow the next try of the address and of the account down, and lock
/// nobody out.
#[tokio::test]
async fn failures_slow_down_and_lock_nobody_out() -> Outcome<()> {
    let set = ["sasl.delay_first_ms=400", "sasl.delay_max_ms=400"];
    let lab = Lab::new(&["alice"], &set);
    for _ in 0..6 {
        let mut client = lab.connect().await?;
        let answer = Scram::new("SCRAM-SHA-256", "alice", "wrong").run(&mut client).await?;
        assert_eq!(sasl_condition(&answer), "not-authorized");
    }
    let mut client = lab.connect().await?;
    let begun = std::time::Instant::now();
    let answer = Scram::new("SCRAM-SHA-256", "alice", PASSWORD).run(&mut client).await?;
    assert_eq!(answer.name, "success");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(300), "{:?}", begun.elapsed());
    Ok(())
}
