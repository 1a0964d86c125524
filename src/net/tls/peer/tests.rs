//! Handshakes between two servers, over pipes in memory: what each learns of the other's certificate.

use super::*;
use crate::net::dns::Tlsa;
use crate::net::tls::testing::{put, settings};
use crate::stream::s2s::certificate::{CertName, Trust};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    OtherNameValue, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256, Sha512};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, with its certificate as PEM.
struct Ca(Issuer<'static, KeyPair>, String);

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Chain and key of a certificate for `b.example` that differs by `change`.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = params(change);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["b.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "b");
    params.not_after = (SystemTime::now() + DAY * 90).into();
    change(&mut params);
    params
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params(change).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A server of `domain` with this certificate, which trusts these.
fn server(folder: &TempDir, domain: &str, pair: &(String, String), trust: &[&str]) -> PeerTls {
    let host = put(folder.path(), domain, pair);
    let tls = Tls::load(settings(folder.path(), vec![host])).unwrap();
    let file = folder.path().join(format!("{domain}.trust"));
    std::fs::write(&file, trust.concat()).unwrap();
    let files = if trust.is_empty() { Vec::new() } else { vec![file] };
    PeerTls::new(tls, PeerTrust { files, system: false }).unwrap()
}

/// Whom `a` calls.
fn whom(dane: Option<&Dane>) -> Whom<'_> {
    Whom { local: "a.example", remote: "b.example", direct: false, dane }
}

type Ends = (io::Result<Secured<DuplexStream>>, io::Result<Secured<DuplexStream>>);

async fn handshake(caller: &PeerTls, called: &PeerTls, whom: Whom<'_>) -> Ends {
    let (near, far) = tokio::io::duplex(65_536);
    let to = (!whom.direct).then_some(whom.remote);
    tokio::join!(caller.connect(near, whom), called.accept(far, to))
}

/// What `a` knows of `b`, called and calling.
async fn known(a: &PeerTls, b: &PeerTls, dane: Option<&Dane>) -> [PeerCertificate; 2] {
    let (called, _) = handshake(a, b, whom(dane)).await;
    let back = Whom { local: "b.example", remote: "a.example", direct: false, dane: None };
    let (_, calling) = handshake(b, a, back).await;
    [called, calling].map(|end| end.unwrap().peer.certificate.unwrap())
}

fn other_name(oid: &[u64], text: &str) -> SanType {
    SanType::OtherName((oid.to_vec(), OtherNameValue::Utf8String(text.to_owned())))
}

const ID_ON: [u64; 8] = [1, 3, 6, 1, 5, 5, 7, 8];

/// RFC 6120 §13.7.2, XEP-0178 §2: the handshake succeeds, and the verdict says why it is not enough.
#[tokio::test]
async fn each_certificate_has_its_verdict_on_both_sides() {
    let (ours, stranger) = (Ca::new("Ours"), Ca::new("Stranger"));
    let now = SystemTime::now();
    let pinned = self_signed(|_| {});
    let old_pinned = self_signed(|params| params.not_after = (now - DAY).into());
    let usage = |usage| {
        move |params: &mut CertificateParams| {
            params.extended_key_usages = vec![usage];
        }
    };
    let cases = [
        ("valid", ours.issue(|_| {}), ""),
        ("only for servers", ours.issue(usage(ExtendedKeyUsagePurpose::ServerAuth)), ""),
        (
            "only for clients",
            ours.issue(usage(ExtendedKeyUsagePurpose::ClientAuth)),
            "not made for servers",
        ),
        ("expired", ours.issue(|params| params.not_after = (now - DAY).into()), "expired on 20"),
        (
            "early",
            ours.issue(|params| params.not_before = (now + DAY).into()),
            "valid only from 20",
        ),
        (
            "unknown",
            stranger.issue(|_| {}),
            "issued by \"CN=Stranger\", whom this server does not know",
        ),
        ("self-signed", self_signed(|_| {}), "signed by itself"),
        (
            "self-signed authority",
            self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            "signed by itself",
        ),
        ("named itself", pinned.clone(), ""),
        ("named itself, and old", old_pinned.clone(), "expired on 20"),
    ];
    for (case, pair, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let trust = [&ours.1[..], &pinned.0, &old_pinned.0];
        let a = server(&folder, "a.example", &ours.issue(|_| {}), &trust);
        let b = server(&folder, "b.example", &pair, &[]);
        for found in known(&a, &b, None).await {
            assert_eq!(found.names, [CertName::Dns("b.example".to_owned())], "{case}");
            match (&found.trust, expected) {
                (Trust::Valid, "") => assert_eq!(found.proves("b.example"), Ok(()), "{case}"),
                (Trust::Untrusted(why), _) if !expected.is_empty() => {
                    assert!(why.contains(expected), "{case}: {why}");
                    assert!(found.proves("b.example").is_err(), "{case}");
                }
                other => panic!("{case}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn names_are_read_whatever_their_kind() {
    let ca = Ca::new("Ours");
    let folder = tempfile::tempdir().unwrap();
    let pair = ca.issue(|params| {
        let dns = |name: &str| SanType::DnsName(Ia5String::try_from(name).unwrap());
        params.subject_alt_names = vec![
            dns("*.Wild.example"),
            SanType::IpAddress([192, 0, 2, 1].into()),
            other_name(&[&ID_ON[..], &[7]].concat(), "_xmpp-server.srv.example"),
            other_name(&[&ID_ON[..], &[5]].concat(), "addr.example"),
            other_name(&[1, 2, 3], "unknown.example"),
        ];
    });
    let a = server(&folder, "a.example", &ca.issue(|_| {}), &[&ca.1]);
    let b = server(&folder, "b.example", &pair, &[]);
    for found in known(&a, &b, None).await {
        let expected = [
            CertName::Dns("*.wild.example".to_owned()),
            CertName::Srv("_xmpp-server.srv.example".to_owned()),
            CertName::XmppAddr("addr.example".to_owned()),
        ];
        assert_eq!(found.names, expected);
        for (domain, proven) in [
            ("x.wild.example", true),
            ("srv.example", true),
            ("addr.example", true),
            ("b.example", false),
        ] {
            assert_eq!(found.proves(domain).is_ok(), proven, "{domain}");
        }
    }
}

/// XEP-0368 §4: the name is the domain's, and ALPN says what is spoken; a client's is refused (RFC 7301 §3.2).
#[tokio::test]
async fn direct_tls_names_its_protocol() {
    let ca = Ca::new("Ours");
    let folder = tempfile::tempdir().unwrap();
    let a = server(&folder, "a.example", &ca.issue(|_| {}), &[&ca.1]);
    let b = server(&folder, "b.example", &ca.issue(|_| {}), &[&ca.1]);
    let (ours, theirs) = handshake(&a, &b, Whom { direct: true, ..whom(None) }).await;
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    let TlsStream::Server(stream) = &theirs.stream else { panic!("the server's side") };
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"xmpp-server"[..]));
    assert_eq!(stream.get_ref().1.server_name(), Some("b.example"));
    assert_eq!(ours.peer.version, "TLSv1.3");
    assert!(ours.peer.cipher.starts_with("TLS13_"), "{}", ours.peer.cipher);
    ours.stream.write_all(b"<stream>").await.unwrap();
    ours.stream.flush().await.unwrap();
    let mut heard = [0; 8];
    theirs.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"<stream>");

    let mut client = crate::net::tls::testing::client(&rustls::version::TLS13);
    client.alpn_protocols = vec![b"xmpp-client".to_vec()];
    let (near, far) = tokio::io::duplex(65_536);
    let name = ServerName::try_from("b.example").unwrap();
    let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
    let (connected, accepted) = tokio::join!(connect, b.accept(far, None));
    assert!(connected.is_err() && accepted.is_err());
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_secured_and_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let b = server(&folder, "b.example", &self_signed(|_| {}), &[]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(crate::net::tls::testing::client(version));
        let (near, far) = tokio::io::duplex(65_536);
        let name = ServerName::try_from("b.example").unwrap();
        let connect = TlsConnector::from(client).connect(name, near);
        let (connected, accepted) = tokio::join!(connect, b.accept(far, Some("b.example")));
        connected.unwrap();
        assert_eq!(accepted.unwrap().peer.certificate, None);
    }
}

/// A certificate is public: whoever shows it without its key is found out by the handshake, on both sides.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    let ca = Ca::new("Ours");
    let folder = tempfile::tempdir().unwrap();
    let (stolen, own) = (ca.issue(|_| {}).0, self_signed(|_| {}).1);
    let chain = vec![CertificateDer::from_pem_slice(stolen.as_bytes()).unwrap()];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::from_pem_slice(own.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let thief = Arc::new(CertifiedKey::new(chain, key));
    let b = server(&folder, "b.example", &self_signed(|_| {}), &[&ca.1]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = crate::net::tls::testing::client(version);
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(thief.clone()));
        let (near, far) = tokio::io::duplex(65_536);
        let name = ServerName::try_from("b.example").unwrap();
        let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
        let (_, accepted) = tokio::join!(connect, b.accept(far, Some("b.example")));
        assert!(accepted.is_err());

        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(thief.clone())));
        let (near, far) = tokio::io::duplex(65_536);
        let accept = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far);
        let call = Whom { local: "b.example", remote: "b.example", direct: false, dane: None };
        let (connected, _) = tokio::join!(b.connect(near, call), accept);
        assert!(connected.is_err());
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn key_of(pem: &str) -> Vec<u8> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let der = der(pem);
    X509Certificate::from_der(&der).unwrap().1.public_key().raw.to_vec()
}

/// RFC 7671 §5, RFC 7673 §4.
#[tokio::test]
async fn tlsa_records_decide_where_there_are_any() {
    let (ca, folder) = (Ca::new("Nobody's"), tempfile::tempdir().unwrap());
    let old = self_signed(|params| params.not_after = (SystemTime::now() - DAY).into());
    let named = |name: &str| {
        let name = name.to_owned();
        let (own, key) = ca.issue(move |params| {
            *params = CertificateParams::new(vec![name]).unwrap();
        });
        (format!("{own}{}", ca.1), key)
    };
    let (target, other) = (named("xmpp.b.example"), named("other.example"));
    let record = |usage, selector, matching, data: &[u8]| {
        let data = match matching {
            1 => Sha256::digest(data).to_vec(),
            2 => Sha512::digest(data).to_vec(),
            _ => data.to_vec(),
        };
        Tlsa { usage, selector, matching, data }
    };
    let (dane, refused) = ("Dane", "TLSA");
    let cases = [
        (&old, vec![record(3, 1, 1, &key_of(&old.0))], dane),
        (&old, vec![record(3, 1, 2, &key_of(&old.0))], dane),
        (&old, vec![record(3, 0, 0, &der(&old.0))], dane),
        (&old, vec![record(3, 1, 1, b"else"), record(3, 0, 1, &der(&old.0))], dane),
        (&old, vec![record(3, 1, 1, b"else")], refused),
        // Not for this usage, or not usable.
        (&old, vec![record(2, 1, 1, &key_of(&old.0))], refused),
        (&old, vec![record(1, 1, 1, &key_of(&old.0))], "expired"),
        (&old, vec![record(3, 9, 1, &key_of(&old.0))], "expired"),
        (&old, vec![], "expired"),
        (&target, vec![record(2, 1, 1, &key_of(&ca.1))], dane),
        (&target, vec![record(2, 0, 1, &der(&ca.1))], dane),
        (&other, vec![record(2, 1, 1, &key_of(&ca.1))], refused),
        (&other, vec![record(3, 1, 1, &key_of(&other.0))], dane),
        (&target, vec![record(2, 1, 1, b"else")], refused),
    ];
    let a = server(&folder, "a.example", &self_signed(|_| {}), &[]);
    for (number, (pair, records, expected)) in cases.into_iter().enumerate() {
        let b = server(&folder, "b.example", pair, &[]);
        let dane = Dane { host: "xmpp.b.example".to_owned(), records };
        let (called, _) = handshake(&a, &b, whom(Some(&dane))).await;
        let found = called.unwrap().peer.certificate.unwrap();
        assert!(format!("{:?}", found.trust).contains(expected), "{number}: {:?}", found.trust);
    }
}

#[tokio::test]
async fn trust_is_read_again() {
    let (first, second) = (Ca::new("First"), Ca::new("Second"));
    let folder = tempfile::tempdir().unwrap();
    let a = server(&folder, "a.example", &first.issue(|_| {}), &[&first.1]);
    let b = server(&folder, "b.example", &second.issue(|_| {}), &[]);
    let trusted = async || known(&a, &b, None).await.map(|found| found.trust == Trust::Valid);
    assert_eq!(trusted().await, [false; 2]);
    let file = folder.path().join("a.example.trust");
    std::fs::write(&file, &second.1).unwrap();
    a.reload();
    assert_eq!(trusted().await, [true; 2]);
    std::fs::write(&file, "rubbish").unwrap();
    a.reload();
    assert_eq!(trusted().await, [true; 2], "what is there stays");
    let missing = PeerTrust { files: vec![folder.path().join("none.pem")], system: false };
    let error = PeerTls::new(a.tls.clone(), missing).err().unwrap();
    assert!(error.to_string().contains("none.pem"), "{error}");
}

/// A service below a host shows the host's certificate.
#[test]
fn a_service_has_its_hosts_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| {
        let name = name.to_owned();
        put(
            folder.path(),
            &name.clone(),
            &self_signed(move |params| {
                *params = CertificateParams::new(vec![name]).unwrap();
            }),
        )
    };
    let hosts = vec![named("first.example"), named("b.example"), named("*.c.example")];
    let tls = Tls::load(settings(folder.path(), hosts)).unwrap();
    let peers = PeerTls::new(tls, PeerTrust::default()).unwrap();
    for (domain, host) in [
        ("b.example", "b.example"),
        ("rooms.b.example", "b.example"),
        ("notb.example", "first.example"),
        ("rooms.c.example", "*.c.example"),
        ("", "first.example"),
    ] {
        assert_eq!(peers.ours(domain).unwrap().domain, host, "{domain}");
    }
}
