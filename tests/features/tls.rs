//! TLS as clients meet it: STARTTLS (RFC 6120 §5), direct TLS (XEP-0368), versions and certificates
//! (RFC 7590), reload without a break.

use crate::harness::client::{Client, Outcome, SASL, Security, TLS, Target};
use crate::harness::process::{Lab, PASSWORD, ends_with, sasl_condition, stream_error};
use crate::harness::tls::{self, Authority};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;

fn direct(lab: &Lab) -> std::net::SocketAddr {
    lab.target.c2s_tls.expect("a port with direct TLS")
}

/// RFC 7590 §3.1, RFC 9325 §3.1.1: 1.2 and 1.3, by STARTTLS and by direct TLS, up to a session; the
/// certificate is proved against the file that the lab names.
#[tokio::test]
async fn both_versions_work_through_both_doors() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let ca = lab.target.ca.clone().expect("a CA");
    for version in [&TLS12, &TLS13] {
        for door in [Security::StartTls, Security::Direct] {
            let mut client;
            if door == Security::StartTls {
                client = Client::connect(&lab.target, Security::Plain).await?;
                tls::start_tls(&mut client, tls::config(&ca, &[version], &[]), "localhost").await?;
            } else {
                client = Client::dial(&lab.target, direct(&lab)).await?;
                let config = tls::config(&ca, &[version], &["xmpp-client"]);
                tls::handshake(&mut client, config, "localhost").await?;
            }
            client.open().await?;
            client.authenticate("alice", PASSWORD).await?;
            client.bind(None).await?;
            client.nothing().await?;
            client.close().await?;
        }
    }
    Ok(())
}

/// `tls.min_version` (RFC 9325 §3.1.1 allows to go beyond it).
#[tokio::test]
async fn a_server_for_1_3_alone_refuses_1_2() -> Outcome<()> {
    let lab = Lab::new(&[], &["tls.min_version=1.3"]);
    let ca = lab.target.ca.clone().expect("a CA");
    let mut client = Client::dial(&lab.target, direct(&lab)).await?;
    let refused = tls::handshake(&mut client, tls::config(&ca, &[&TLS12], &[]), "localhost").await;
    assert!(refused.is_err());
    let mut client = Client::dial(&lab.target, direct(&lab)).await?;
    tls::handshake(&mut client, tls::config(&ca, &[&TLS13], &[]), "localhost").await
}

/// XEP-0368 §4, RFC 7301 §3.2: the protocol, when a client names any, must be ours.
#[tokio::test]
async fn alpn_is_ours_or_nobodys() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let ca = lab.target.ca.clone().expect("a CA");
    for (alpn, good) in [
        (&["xmpp-client"][..], true),
        (&["http/1.1", "xmpp-client"], true),
        (&[], true),
        (&["http/1.1"], false),
        (&["xmpp-server"], false),
    ] {
        let mut client = Client::dial(&lab.target, direct(&lab)).await?;
        let config = tls::config(&ca, &[&TLS12, &TLS13], alpn);
        let done = tls::handshake(&mut client, config, "localhost").await;
        assert_eq!(done.is_ok(), good, "{alpn:?}");
    }
    Ok(())
}

/// RFC 6120 §13.7.1.2 and SNI (RFC 6066 §3): each domain shows its own certificate, by SNI on the
/// direct port, by the stream's `to` with STARTTLS where the client sends no SNI of it.
#[tokio::test]
async fn each_domain_shows_its_own_certificate() -> Outcome<()> {
    let lab = Lab::start(&["--domain", "one.example", "--domain", "two.example"]);
    let ca = lab.target.ca.clone().expect("a CA");
    let mut shown = Vec::new();
    for domain in ["one.example", "two.example"] {
        let target = Target { domain: domain.into(), ..lab.target.clone() };
        let by_direct = Client::connect(&target, Security::Direct).await?;
        let by_starttls = Client::connect(&target, Security::StartTls).await?;
        assert_eq!(tls::certificate(&by_direct), tls::certificate(&by_starttls));
        assert_eq!(by_direct.header.attr("from"), Some(domain));
        shown.push(tls::certificate(&by_direct));
    }
    assert_ne!(shown[0], shown[1]);
    // The right name is proved, not any name.
    let mut client = Client::dial(&lab.target, direct(&lab)).await?;
    let config = tls::config(&ca, &[&TLS13], &[]);
    assert!(tls::handshake(&mut client, config, "three.example").await.is_err());
    Ok(())
}

/// RFC 6120 §5.4.3.1 and CVE-2011-0411: what was pipelined behind `<starttls/>` in the clear is not
/// taken for something said under TLS.
#[tokio::test]
async fn bytes_behind_starttls_are_never_used() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let plain = "AGFsaWNlAHBlbmNpbC1hbmQtcnViYmVy"; // \0alice\0pencil-and-rubber
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
    let injected = format!(
        "<starttls xmlns='{TLS}'/>{header}<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>"
    );
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    client.send(&injected).await?;
    let answer = client.receive().await?;
    assert!(answer.is(TLS, "proceed") || answer.is(TLS, "failure"), "{answer}");
    // Either the connection ends here, or the new stream knows nothing of what was injected.
    if client.handshake(&[]).await.is_ok() {
        client.open().await?;
        assert!(!client.conversation().contains("success"), "{}", client.conversation());
        assert!(client.mechanisms().iter().any(|name| name.starts_with("SCRAM")));
    }
    lab.process.logs(&["starttls"]);
    Ok(())
}

/// RFC 6120 §5.3.3, §6.3.5 forbid white space behind `<starttls/>` and SASL elements; go-xmpp sends a
/// line feed behind each. It is thrown away, never read as a part of the next stream.
#[tokio::test]
async fn a_line_feed_behind_each_step_is_forgiven() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    client.send(&format!("<starttls xmlns='{TLS}'/>\n")).await?;
    assert!(client.receive().await?.is(TLS, "proceed"));
    client.handshake(&[]).await?;
    client.open().await?;
    let plain = "AGFsaWNlAHBlbmNpbC1hbmQtcnViYmVy"; // \0alice\0pencil-and-rubber
    client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>\n")).await?;
    assert!(client.receive().await?.is(SASL, "success"));
    client.open().await?;
    client.bind(None).await.map(|_| ())
}

/// RFC 6120 §6.3.4, §6.5.4, RFC 7590 §3.1: no SASL before TLS, asked for or not; every try counts.
#[tokio::test]
async fn sasl_before_tls_needs_encryption() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.auth_attempts_max=3"]);
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "NONSENSE"] {
        let plain = "AGFsaWNlAHBlbmNpbC1hbmQtcnViYmVy";
        client
            .send(&format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{plain}</auth>"))
            .await?;
        let failure = client.receive().await?;
        assert_eq!(sasl_condition(&failure), "encryption-required", "{failure}");
    }
    ends_with(&mut client, "policy-violation").await
}

/// RFC 6120 §5.4.2.2: STARTTLS where it is not on offer fails, and the stream is over.
#[tokio::test]
async fn starttls_under_tls_fails() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for stage in 0..2 {
        let mut client =
            if stage == 0 { lab.connect().await? } else { lab.authenticated("alice").await? };
        client.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
        let answer = client.receive().await?;
        assert!(answer.is(TLS, "failure"), "{answer}");
        client.ended().await?;
        assert!(client.conversation().contains("</stream:stream>"));
    }
    // Once bound it is a stanza that nobody knows (§4.9.3.24).
    let mut client = lab.login("alice").await?;
    client.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
    assert_eq!(stream_error(&mut client).await?, "unsupported-stanza-type");
    Ok(())
}

/// RFC 6120 §5.4.3.2: a handshake that fails ends the connection, and only that.
#[tokio::test]
async fn a_failed_handshake_ends_the_connection_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = Client::connect(&lab.target, Security::Plain).await?;
    client.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
    client.receive().await?;
    client.send("this is no ClientHello at all, however long one looks at it").await?;
    let mut rest = Vec::new();
    match &mut client.io {
        crate::harness::io::Io::Plain(tcp) => drop(tcp.read_to_end(&mut rest).await),
        _ => unreachable!(),
    }
    assert!(!String::from_utf8_lossy(&rest).contains("stream"), "{rest:?}");
    lab.login("alice").await?.nothing().await
}

/// XEP-0368 §3: the direct port speaks TLS from the first byte, and nothing else.
#[tokio::test]
async fn the_direct_port_answers_nothing_in_the_clear() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let mut client = Client::dial(&lab.target, direct(&lab)).await?;
    assert!(client.open().await.is_err());
    assert!(!client.conversation().contains("stream:features"), "{}", client.conversation());
    Ok(())
}

/// Settings of a lab whose one host has these files.
fn with_files(files: &(std::path::PathBuf, std::path::PathBuf)) -> [String; 4] {
    let key = |name: &str, path: &std::path::Path| format!("host.0.{name}={}", path.display());
    ["--set".into(), key("certificate", &files.0), "--set".into(), key("key", &files.1)]
}

/// Certificates are read again on SIGHUP and when the files change; sessions live on; a
/// broken new file is refused with a line that names it, and the old certificate stays.
#[tokio::test]
async fn certificates_are_reloaded_without_dropping_anybody() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let files = authority.put(folder.path(), "host", &["localhost"]);
    let set = with_files(&files);
    let mut lab = Lab::serve(folder.path(), &set.each_ref().map(String::as_str), &["alice"]);
    lab.target.ca = Some(authority.ca.clone());

    let mut alice = lab.login("alice").await?;
    let first = tls::certificate(&alice);
    // A new pair by SIGHUP.
    authority.put(folder.path(), "host", &["localhost"]);
    lab.process.signal("HUP");
    lab.process.logs(&["certificate reloaded"]);
    let second = tls::certificate(&lab.connect().await?);
    assert_ne!(first, second);
    alice.nothing().await?;

    // A broken one.
    let good = std::fs::read(&files.0).unwrap();
    std::fs::write(&files.0, "not a certificate").unwrap();
    lab.process.signal("HUP");
    lab.process.logs(&["refused", "host.pem"]);
    assert_eq!(tls::certificate(&lab.connect().await?), second);
    alice.nothing().await?;

    // The good one again, and a third, this time found by the server itself.
    std::fs::write(&files.0, good).unwrap();
    lab.process.signal("HUP");
    let before = lab.process.log().matches("certificate reloaded").count();
    authority.put(folder.path(), "host", &["localhost"]);
    let reloaded = |lab: &Lab| lab.process.log().matches("certificate reloaded").count();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while reloaded(&lab) == before && std::time::Instant::now() < until {
        // Each look costs a handshake: the loop waits for the network, not for the clock.
        lab.connect().await?;
    }
    assert_ne!(tls::certificate(&lab.connect().await?), second);
    alice.nothing().await
}
