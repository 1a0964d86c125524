//! Real handshakes against [`Tls`], over pipes in memory.

use super::testing::{Authority, client, client_of, handshake, put, settings};
use super::*;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, HandshakeKind};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::client::TlsStream as ClientStream;

const NO_TO: Kind<'static> = Kind::StartTls { to: None };
const DAY: Duration = Duration::from_secs(86_400);

/// A server of a.example and b.example.
fn two_hosts() -> (TempDir, Authority, Tls) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let a = authority.put(folder.path(), "a.example", &["a.example"]);
    let b = authority.put(folder.path(), "b.example", &["b.example", "xmpp.b.example"]);
    let tls = Tls::load(settings(folder.path(), vec![a, b])).unwrap();
    (folder, authority, tls)
}

fn leaf(client: &ClientStream<DuplexStream>) -> CertificateDer<'static> {
    client.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// The client's own value must equal the one that the server offers to SASL.
fn assert_bindings_agree(server: &Accepted<DuplexStream>, client: &ClientStream<DuplexStream>) {
    let label = b"EXPORTER-Channel-Binding";
    let exported = client.get_ref().1.export_keying_material([0; 32], label, Some(b"")).unwrap();
    assert_eq!(server.bindings.exporter.as_deref(), Some(&exported[..]));
    let hash = Sha256::digest(leaf(client));
    assert_eq!(server.bindings.end_point.as_deref(), Some(&hash[..]));
}

/// Also gives the client the time to take its ticket.
async fn assert_talks(
    server: &mut Accepted<DuplexStream>,
    client: &mut ClientStream<DuplexStream>,
) {
    server.stream.write_all(b"<features/>").await.unwrap();
    server.stream.flush().await.unwrap();
    let mut heard = [0; 11];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"<features/>");
    client.write_all(b"<auth/>").await.unwrap();
    client.flush().await.unwrap();
    let mut heard = [0; 7];
    server.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"<auth/>");
}

async fn connect(
    tls: &Tls,
    kind: Kind<'_>,
    client: &Arc<ClientConfig>,
    sni: &str,
) -> (Accepted<DuplexStream>, ClientStream<DuplexStream>) {
    let (server, client) = handshake(tls, kind, client, sni).await;
    (server.unwrap(), client.unwrap())
}

#[tokio::test]
async fn both_versions_connect_and_bind_alike_at_both_ends() {
    let (_folder, _, tls) = two_hosts();
    for (version, name) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
        let config = Arc::new(client(version));
        for kind in [NO_TO, Kind::Direct] {
            let (mut server, mut client) = connect(&tls, kind, &config, "a.example").await;
            assert_eq!(server.version, name);
            assert!(server.cipher.starts_with("TLS"), "{}", server.cipher);
            assert_eq!(server.sni.as_deref(), Some("a.example"));
            assert_bindings_agree(&server, &client);
            assert_talks(&mut server, &mut client).await;
        }
    }
}

/// The server's order of suites decides, except for clients that prefer ChaCha20.
#[tokio::test]
async fn the_cheapest_suite_is_chosen() {
    let (_folder, _, tls) = two_hosts();
    for version in [&TLS13, &TLS12] {
        for (favourite, chosen) in
            [("AES_256", "AES_128_GCM_SHA256"), ("AES_128", "AES_128"), ("CHACHA20", "CHACHA20")]
        {
            let mut provider = aws_lc_rs::default_provider();
            let liked = |name: &str| !name.contains(favourite);
            provider.cipher_suites.sort_by_key(|suite| liked(suite.suite().as_str().unwrap()));
            let config = Arc::new(client_of(version, provider));
            // Once with a full handshake, and once resumed.
            for _ in 0..2 {
                let (mut server, mut client) = connect(&tls, NO_TO, &config, "a.example").await;
                assert!(server.cipher.contains(chosen), "{favourite}: {}", server.cipher);
                assert_bindings_agree(&server, &client);
                assert_talks(&mut server, &mut client).await;
            }
        }
    }
}

#[tokio::test]
async fn an_old_version_is_refused_when_the_minimum_is_newer() {
    let (folder, authority, _) = two_hosts();
    let a = authority.put(folder.path(), "a.example", &["a.example"]);
    let settings =
        TlsSettings { min_version: MinVersion::Tls13, ..settings(folder.path(), vec![a]) };
    let tls = Tls::load(settings).unwrap();
    let (server, client_end) =
        handshake(&tls, Kind::Direct, &Arc::new(client(&TLS12)), "a.example").await;
    assert_eq!(alert(client_end.unwrap_err()), Some(AlertDescription::ProtocolVersion));
    assert!(server.is_err());
    connect(&tls, Kind::Direct, &Arc::new(client(&TLS13)), "a.example").await;
}

fn alert(error: io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// RFC 7301 §3.2, XEP-0368 §3 rules 7 and 8.
#[tokio::test]
async fn alpn_is_enforced_when_it_is_sent() {
    let (_folder, _, tls) = two_hosts();
    let chosen = |name: &'static str| Ok(Some(name.as_bytes().to_vec()));
    let refused = Err(Some(AlertDescription::NoApplicationProtocol));
    let cases: [(&[&str], _); 5] = [
        (&[], Ok(None)),
        (&["xmpp-client"], chosen("xmpp-client")),
        (&["h2", "xmpp-client"], chosen("xmpp-client")),
        (&["h2", "http/1.1"], refused.clone()),
        (&["xmpp-server"], refused),
    ];
    for (version, kind) in [(&TLS13, NO_TO), (&TLS12, NO_TO), (&TLS13, Kind::Direct)] {
        for (offered, expected) in &cases {
            let mut config = client(version);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let (server, client) = handshake(&tls, kind, &Arc::new(config), "a.example").await;
            assert_eq!(server.is_ok(), expected.is_ok());
            let got = client
                .map(|client| client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
                .map_err(alert);
            assert_eq!(&got, expected, "{offered:?}");
        }
    }
}

#[tokio::test]
async fn sni_then_the_stream_header_then_the_first_host_choose() {
    let (_folder, _, tls) = two_hosts();
    let to = |to| Kind::StartTls { to: Some(to) };
    let cases = [
        ("a.example", Kind::Direct, "a.example"),
        ("b.example", Kind::Direct, "b.example"),
        ("B.example", Kind::Direct, "b.example"),
        ("b.example", to("a.example"), "b.example"),
        ("srv.host.example", to("b.example"), "b.example"),
        ("srv.host.example", to("B.EXAMPLE"), "b.example"),
        ("srv.host.example", Kind::Direct, "a.example"),
        ("srv.host.example", to("c.example"), "a.example"),
        ("xmpp.b.example", Kind::Direct, "b.example"),
        ("xmpp.b.example", to("a.example"), "a.example"),
        // A client sends no SNI for an address (RFC 6066 §3).
        ("192.0.2.1", Kind::Direct, "a.example"),
        ("192.0.2.1", to("b.example"), "b.example"),
    ];
    let chain = |domain| {
        let hosts = tls.0.hosts.load();
        hosts.iter().find(|host| host.domain == domain).unwrap().chain[0].clone()
    };
    for (sni, kind, expected) in cases {
        let (server, client) = connect(&tls, kind, &Arc::new(client(&TLS13)), sni).await;
        assert_eq!(server.host, expected, "{sni} {kind:?}");
        assert_eq!(leaf(&client), chain(expected));
        assert_bindings_agree(&server, &client);
    }
}

#[tokio::test]
async fn an_internationalised_domain_is_found_by_its_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = authority.put(folder.path(), "a.example", &["a.example"]);
    let idn = authority.put(folder.path(), "bücher.example", &["xn--bcher-kva.example"]);
    let tls = Tls::load(settings(folder.path(), vec![first, idn])).unwrap();
    assert_eq!(tls.warnings(SystemTime::now()), Vec::<Warning>::new());
    let config = Arc::new(client(&TLS13));
    let (server, _) = connect(&tls, Kind::Direct, &config, "xn--bcher-kva.example").await;
    assert_eq!(server.host, "bücher.example");
}

/// The pitfall: a resumed session shows the client the certificate of the first session.
#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_drops_nobody() {
    for version in [&TLS13, &TLS12] {
        let (folder, authority, tls) = two_hosts();
        let config = Arc::new(client(version));
        let (mut old_server, mut old_client) = connect(&tls, NO_TO, &config, "a.example").await;
        assert_talks(&mut old_server, &mut old_client).await;

        let (mut server, mut resumed) = connect(&tls, NO_TO, &config, "a.example").await;
        assert_eq!(server.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_bindings_agree(&server, &resumed);
        assert_ne!(server.bindings.exporter, old_server.bindings.exporter);
        assert_talks(&mut server, &mut resumed).await;

        authority.put(folder.path(), "a.example", &["a.example"]);
        let clone = tls.clone();
        assert!(clone.files_changed());
        let report = clone.reload();
        assert!(matches!(&report.hosts[0], (host, Reloaded::Changed) if host == "a.example"));
        assert!(matches!(&report.hosts[1], (host, Reloaded::Unchanged) if host == "b.example"));
        assert!(!tls.files_changed());

        let (mut server, mut fresh) = connect(&tls, NO_TO, &config, "a.example").await;
        assert_ne!(server.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_ne!(leaf(&fresh), leaf(&old_client));
        assert_bindings_agree(&server, &fresh);
        assert_talks(&mut server, &mut fresh).await;
        assert_talks(&mut old_server, &mut old_client).await;
    }
}

#[tokio::test]
async fn a_session_of_one_host_is_not_resumed_at_another() {
    let (_folder, _, tls) = two_hosts();
    let config = Arc::new(client(&TLS13));
    let to = |to| Kind::StartTls { to: Some(to) };
    let (mut server, mut first) = connect(&tls, to("a.example"), &config, "srv.example").await;
    assert_talks(&mut server, &mut first).await;
    let (server, second) = connect(&tls, to("b.example"), &config, "srv.example").await;
    assert_ne!(server.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_bindings_agree(&server, &second);
}

#[tokio::test]
async fn a_broken_new_file_keeps_the_old_certificate_of_that_host_only() {
    let (folder, authority, tls) = two_hosts();
    let before = tls.certificate_info();
    std::fs::write(folder.path().join("a.example.pem"), "not a certificate").unwrap();
    authority.put(folder.path(), "b.example", &["b.example"]);
    assert!(tls.files_changed());
    let report = tls.reload();
    let (_, Reloaded::Refused(error)) = &report.hosts[0] else { panic!("{report:?}") };
    assert!(matches!(error.problem, TlsProblem::NotPem(_)), "{error}");
    assert!(matches!(report.hosts[1].1, Reloaded::Changed));
    let after = tls.certificate_info();
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1].fingerprint_sha256, before[1].fingerprint_sha256);
    assert!(!tls.files_changed(), "the same broken file is told once");
    let (server, client_end) =
        connect(&tls, Kind::Direct, &Arc::new(client(&TLS13)), "a.example").await;
    assert_bindings_agree(&server, &client_end);

    // An ACME client writes the chain first and the key after it.
    let pair = authority.issue(&["a.example"]);
    std::fs::write(folder.path().join("a.example.pem"), &pair.0).unwrap();
    let report = tls.reload();
    let (_, Reloaded::Refused(error)) = &report.hosts[0] else { panic!("{report:?}") };
    assert!(matches!(error.problem, TlsProblem::Mismatch(_)), "{error}");
    std::fs::write(folder.path().join("a.example.key"), &pair.1).unwrap();
    assert!(tls.files_changed());
    assert!(matches!(tls.reload().hosts[0].1, Reloaded::Changed));
    std::fs::remove_file(folder.path().join("a.example.key")).unwrap();
    assert!(tls.files_changed());
    let report = tls.reload();
    let (_, Reloaded::Refused(error)) = &report.hosts[0] else { panic!("{report:?}") };
    assert!(matches!(error.problem, TlsProblem::Missing), "{error}");
}

#[test]
fn warnings_tell_of_dates_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let now = SystemTime::now();
    let check = |names: &[&str], until: SystemTime, expected: &[&str]| {
        let host = put(folder.path(), "a.example", &authority.issue_until(names, until));
        let tls = Tls::load(settings(folder.path(), vec![host])).unwrap();
        let found = tls.warnings(now);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        // A certificate is not refused only because it soon ends.
        let refused = |found: &Warning| found.refused != found.text.contains("expires in");
        assert!(found.iter().all(refused), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.text.contains(expected), "{expected:?} in {found:?}");
        }
    };
    check(&["a.example"], now + DAY * 15, &[]);
    check(&["a.example"], now + DAY * 10 + DAY / 2, &["expires in 10 days"]);
    check(&["a.example"], now - DAY, &["expired on"]);
    check(&["b.example"], now + DAY * 90, &["is valid for DNS:b.example and not for a.example"]);
    check(&["*.example"], now + DAY * 90, &["not for a.example"]);
    check(&["b.example"], now - DAY, &["expired on", "not for a.example"]);
}

#[test]
fn warnings_tell_of_an_open_key_and_of_a_chain_cut_short() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (cert, secret) = Authority::new().issue(&["a.example"]);
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("privkey.pem"));
    std::fs::write(&chain, &cert).unwrap();
    std::fs::write(&key, secret).unwrap();
    std::fs::write(folder.path().join("fullchain.pem"), cert).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let host =
        HostCertificate { domain: "a.example".to_owned(), source: Source::Files { chain, key } };
    let found = Tls::load(settings(folder.path(), vec![host])).unwrap().warnings(SystemTime::now());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].text.contains("chmod o="), "{found:?}");
    assert!(found[1].text.contains("fullchain.pem"), "{found:?}");
}

#[test]
fn no_host_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tls::load(settings(folder.path(), Vec::new())).err().unwrap();
    assert!(matches!(error.problem, TlsProblem::NoHosts));
}

fn local(domain: &str) -> HostCertificate {
    HostCertificate { domain: domain.to_owned(), source: Source::Local }
}

#[tokio::test]
async fn a_client_that_trusts_the_local_authority_connects() {
    use rustls::pki_types::pem::PemObject;
    let folder = tempfile::tempdir().unwrap();
    let hosts = || vec![local("localhost"), local("bücher.example"), local("ca")];
    let tls = Tls::load(settings(folder.path(), hosts())).unwrap();
    assert!(tls.minted());
    assert_eq!(tls.warnings(SystemTime::now()), Vec::<Warning>::new());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.ca_file().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for name in ["localhost", "127.0.0.1", "::1", "xn--bcher-kva.example", "ca"] {
        let (server, client) = connect(&tls, Kind::Direct, &config, name).await;
        assert_bindings_agree(&server, &client);
    }
    assert!(handshake(&tls, Kind::Direct, &config, "else.example").await.1.is_err());

    let again = Tls::load(settings(folder.path(), hosts())).unwrap();
    assert!(!again.minted());
    assert_eq!(again.certificate_info(), tls.certificate_info());
}

#[test]
fn a_running_server_renews_its_local_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    // When 30 days are left of its 820, less an hour.
    let then = now + DAY * 790;
    let tls = Tls::load_at(settings(folder.path(), vec![local("a.example")]), now).unwrap();
    let old = tls.certificate_info();
    assert!(!tls.files_changed_at(now) && tls.files_changed_at(then));
    assert!(matches!(tls.reload_at(then).hosts[0].1, Reloaded::Changed));
    assert_ne!(tls.certificate_info(), old);
    assert!(!tls.files_changed_at(then));
    assert!(matches!(tls.reload_at(then).hosts[0].1, Reloaded::Unchanged));

    // If that fails, the old one stays and the next attempt comes later.
    let tls = Tls::load_at(settings(folder.path(), vec![local("b.example")]), now).unwrap();
    assert!(tls.files_changed_at(then));
    std::fs::remove_file(folder.path().join("tls/ca.key")).unwrap();
    let report = tls.reload_at(then);
    let (_, Reloaded::Refused(error)) = &report.hosts[0] else { panic!("{report:?}") };
    assert!(matches!(error.problem, TlsProblem::BrokenCa(_)), "{error}");
    assert!(!tls.files_changed_at(then));
    assert_eq!(tls.certificate_info().len(), 1);
}

/// The clock is ahead at the first start and is corrected while the server runs.
#[test]
fn a_running_server_follows_a_clock_that_is_set_right() {
    let now = SystemTime::now();
    for wrong in [now + DAY * 365 * 14, SystemTime::UNIX_EPOCH] {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::load_at(settings(folder.path(), vec![local("a.example")]), wrong).unwrap();
        assert!(!tls.files_changed_at(wrong));
        if tls.files_changed_at(now) {
            assert!(matches!(tls.reload_at(now).hosts[0].1, Reloaded::Changed));
        }
        assert_eq!(tls.warnings(now), Vec::<Warning>::new());
        // A clock that cannot be right discards nothing.
        assert!(!tls.files_changed_at(SystemTime::UNIX_EPOCH));
    }
}

#[tokio::test]
async fn rubbish_and_silence_end_the_handshake() {
    let (_folder, _, tls) = two_hosts();
    for bytes in [&b"<?xml version='1.0'?><stream:stream to='a.example'>"[..], b""] {
        let (near, mut far) = tokio::io::duplex(4_096);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(tls.accept(near, Kind::Direct).await.is_err());
    }
}

/// What an authority signed is used once it is there, and gives way to nothing that the server makes itself.
#[test]
fn a_kept_certificate_takes_the_place_of_the_servers_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.pem");
    let source = || Source::Kept { file: file.clone() };
    let hosts = || vec![HostCertificate { domain: "a.example".to_owned(), source: source() }];
    let tls = Tls::load(settings(folder.path(), hosts())).unwrap();
    assert!(tls.certificate_info()[0].is_own && tls.ca_file().is_some());
    let authority = Authority::new();
    let put = |names: &[&str]| {
        let (chain, key) = authority.issue(names);
        std::fs::write(&file, format!("{key}{chain}")).unwrap();
    };
    // One for somebody else is of no use.
    put(&["b.example"]);
    assert!(matches!(tls.reload().hosts[0].1, Reloaded::Unchanged));
    put(&["a.example"]);
    assert!(matches!(tls.reload().hosts[0].1, Reloaded::Changed));
    assert!(!tls.certificate_info()[0].is_own);
    let used = tls.certificate_info();
    for broken in ["", "-----BEGIN CERTIFICATE-----"] {
        std::fs::write(&file, broken).unwrap();
        assert!(matches!(tls.reload().hosts[0].1, Reloaded::Refused(_)), "{broken}");
        assert_eq!(tls.certificate_info(), used);
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(tls.reload().hosts[0].1, Reloaded::Refused(_)));
    put(&["a.example"]);
    let again = Tls::load(settings(folder.path(), hosts())).unwrap();
    assert!(!again.certificate_info()[0].is_own && again.ca_file().is_none());
}
