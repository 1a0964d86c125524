//! Connecting over loopback, with a DNS server of the test.

use super::*;
use crate::net::dial::socket::{PeerSocket, Side};
use crate::net::dns::testing::Zone;
use crate::net::tls::Tls;
use crate::net::tls::peer::PeerTrust;
use crate::net::tls::testing::{Authority, settings};
use crate::peer::dial::{DialError, Dialed, PeerTransport};
use crate::session::transport::PeerSecured;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server's certificates; nobody is trusted.
fn tls(domain: &str) -> (TempDir, PeerTls) {
    let folder = tempfile::tempdir().unwrap();
    let host = Authority::new().put(folder.path(), domain, &[domain]);
    let tls = Tls::load(settings(folder.path(), vec![host])).unwrap();
    let peers = PeerTls::new(tls, PeerTrust::default()).unwrap();
    (folder, peers)
}

/// A dialer that asks this zone.
fn dial(zone: &Zone, routes: &[(&str, &str)]) -> (TempDir, Dial) {
    dial_to(zone, routes, true)
}

fn dial_to(zone: &Zone, routes: &[(&str, &str)], private_addresses: bool) -> (TempDir, Dial) {
    let (folder, tls) = tls("a.example");
    let route = |(domain, place): &(&str, &str)| ((*domain).to_owned(), place.parse().unwrap());
    let settings = Settings {
        routes: routes.iter().map(route).collect(),
        private_addresses,
        connect_time: Duration::from_secs(2),
        loss_time: Duration::from_secs(60),
    };
    (folder, Dial::new(settings, Names::new(&[zone.address], false).unwrap(), tls))
}

/// A listener for one connection with this server: STARTTLS begins after `<proceed/>`, which is all that it says.
async fn peer(direct: bool) -> (u16, JoinHandle<Option<PeerSecured>>) {
    peer_at("127.0.0.1:0", direct).await
}

async fn peer_at(place: &str, direct: bool) -> (u16, JoinHandle<Option<PeerSecured>>) {
    let listener = TcpListener::bind(place).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (folder, tls) = tls("b.example");
        let (stream, _) = listener.accept().await.unwrap();
        let socket = PeerSocket::plain(stream, tls, Side::Theirs, Duration::from_secs(60));
        let (mut socket, secured) = if direct {
            socket.direct("", "").await.ok()?
        } else {
            let mut socket = socket;
            socket.write_all(b"<proceed/>").await.ok()?;
            let secured = socket.start_tls("b.example", "a.example").await.ok()?;
            (socket, secured)
        };
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await.ok()?;
        assert_eq!(&heard, b"hello");
        drop(folder);
        Some(secured)
    });
    (port, task)
}

/// A port on which nobody listens.
async fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn greet(dialed: Dialed) -> PeerSecured {
    let Dialed { mut transport, secured, .. } = dialed;
    let secured = match secured {
        Some(secured) => secured,
        None => {
            let mut heard = [0; 10];
            transport.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"<proceed/>");
            transport.start_tls("a.example", "b.example").await.unwrap()
        }
    };
    transport.write_all(b"hello").await.unwrap();
    transport.flush().await.unwrap();
    secured
}

#[tokio::test]
async fn targets_are_tried_in_order_until_one_answers() {
    let (direct, first) = peer(true).await;
    let (starttls, second) = peer(false).await;
    let dead = closed().await;
    let zone = Zone::serve(&format!(
        "_xmpp-server._tcp.b.example SRV 1 0 {dead} one.b.example
         _xmpps-server._tcp.b.example SRV 2 0 {direct} two.b.example
         _xmpp-server._tcp.b.example SRV 3 0 {starttls} two.b.example
         _xmpp-server._tcp.b.example SRV 4 0 {dead} none.b.example
         one.b.example A 127.0.0.1
         two.b.example A 127.0.0.1"
    ))
    .await;
    let (_folder, dial) = dial(&zone, &[]);
    let mut attempts = dial.dial("a.example", "b.example");
    assert!(attempts.steps().is_empty() && zone.asked() == 0);
    let dialed = attempts.next().await.unwrap().unwrap();
    assert_eq!(dialed.address.port(), direct);
    assert_eq!(greet(dialed).await.version, "TLSv1.3");
    // It has seen our certificate.
    assert!(first.await.unwrap().unwrap().certificate.is_some());
    let dialed = attempts.next().await.unwrap().unwrap();
    assert_eq!(dialed.address.port(), starttls);
    assert!(greet(dialed).await.certificate.is_some());
    assert!(second.await.unwrap().unwrap().certificate.is_some());
    let error = attempts.next().await.unwrap().err().unwrap();
    assert!(matches!(error, DialError::NotFound(_)), "{error:?}");
    assert!(attempts.next().await.is_none());
    let steps: Vec<&str> = attempts.steps().iter().map(|step| &step.what[..]).collect();
    assert_eq!(steps[0], "SRV _xmpp-server._tcp.b.example: 3 records");
    assert_eq!(steps[1], "SRV _xmpps-server._tcp.b.example: 1 record");
    assert_eq!(steps[2], "addresses of one.b.example: 127.0.0.1");
    assert!(steps[3].contains("refused") && attempts.steps()[3].failed, "{steps:?}");
    assert_eq!(steps[5], format!("connection to 127.0.0.1:{direct}: connected"));
    assert!(
        steps[6].starts_with("TLS with 127.0.0.1:") && steps[6].contains("TLSv1.3"),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_failed_handshake_leads_to_the_next_target() {
    // It speaks no TLS with the first byte.
    let (wrong, _task) = peer(false).await;
    let (right, task) = peer(true).await;
    let zone = Zone::serve(&format!(
        "_xmpps-server._tcp.b.example SRV 1 0 {wrong} b.example
         _xmpps-server._tcp.b.example SRV 2 0 {right} b.example
         b.example A 127.0.0.1"
    ))
    .await;
    let (_folder, dial) = dial(&zone, &[]);
    let mut attempts = dial.dial("a.example", "b.example");
    let dialed = attempts.next().await.unwrap().unwrap();
    assert_eq!(dialed.address.port(), right);
    greet(dialed).await;
    assert!(task.await.unwrap().is_some());
    assert!(attempts.steps().iter().any(|step| step.failed && step.what.contains("TLS with")));
}

#[tokio::test]
async fn routes_come_before_the_dns() {
    let (port, task) = peer(true).await;
    let zone = Zone::serve("* SILENT").await;
    let place = format!("tls://127.0.0.1:{port}");
    let (_folder, dial) = dial(&zone, &[("b.example", &place)]);
    let dialed = dial.dial("a.example", "b.example").next().await.unwrap().unwrap();
    greet(dialed).await;
    assert!(task.await.unwrap().is_some());
    assert_eq!(zone.asked(), 0);
}

/// RFC 8305: one family that does not answer does not keep the other waiting.
#[tokio::test]
async fn either_family_will_do() {
    let (port, _task) = peer(false).await;
    let zone = Zone::serve(&format!(
        "_xmpp-server._tcp.b.example SRV 1 0 {port} b.example
         b.example AAAA ::1
         b.example A 127.0.0.1"
    ))
    .await;
    let (_folder, dial) = dial(&zone, &[]);
    let dialed = dial.dial("a.example", "b.example").next().await.unwrap().unwrap();
    assert!(dialed.address.is_ipv4());
}

/// A server that has IPv6 alone: by the DNS, by an alias, without SRV records, and by a static route.
#[tokio::test]
async fn ipv6_alone_will_do() {
    let (port, task) = peer_at("[::1]:0", true).await;
    let zone = Zone::serve(&format!(
        "_xmpps-server._tcp.b.example SRV 1 0 {port} six.b.example
         _xmpps-server._tcp.alias.example SRV 1 0 {port} alias.example
         alias.example CNAME six.b.example
         six.b.example AAAA ::1
         bare.example AAAA ::1"
    ))
    .await;
    let place = format!("tls://[::1]:{port}");
    let routes = [("routed.example", &*place), ("bare.example", "tls://bare.example:1")];
    let (_folder, dial) = dial(&zone, &routes);
    let dialed = dial.dial("a.example", "b.example").next().await.unwrap().unwrap();
    assert_eq!(dialed.address, format!("[::1]:{port}").parse().unwrap());
    greet(dialed).await;
    assert!(task.await.unwrap().is_some());
    for domain in ["alias.example", "routed.example"] {
        let mut attempts = dial.dial("a.example", domain);
        // Nobody accepts any more: it was looked for at the right place.
        assert!(attempts.next().await.unwrap().is_err(), "{domain}");
        let told = format!("connection to [::1]:{port}");
        assert!(attempts.steps().iter().any(|step| step.what.contains(&told)), "{domain}");
    }
    let mut attempts = dial.dial("a.example", "bare.example");
    assert!(attempts.next().await.unwrap().is_err());
    assert!(attempts.steps().iter().any(|step| step.what.contains("connection to [::1]:1")));
}

#[tokio::test]
async fn who_is_not_found_is_told_of() {
    let dead = closed().await;
    let zone = Zone::serve(&format!(
        "_xmpp-server._tcp.shut.example SRV 0 0 0 .
         _xmpp-server._tcp.dead.example SRV 0 0 {dead} dead.example
         dead.example A 127.0.0.1
         _xmpp-server._tcp.fails.example FAILS
         _xmpps-server._tcp.fails.example FAILS"
    ))
    .await;
    let (_folder, dial) = dial(&zone, &[]);
    for (domain, expected) in [
        (
            "none.example",
            "NotFound(\"the servers of none.example are not found: none.example: there is no such name",
        ),
        ("shut.example", "NotFound(\"shut.example says that it has no XMPP server"),
        ("dead.example", "Failed(\"the connection was refused\")"),
        ("127.0.0.1", "NotFound(\"an address is not called"),
        ("[::1]", "NotFound(\"an address is not called"),
        ("fails.example", "Failed("),
    ] {
        let mut attempts = dial.dial("a.example", domain);
        let error = attempts.next().await.unwrap().err().unwrap();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        assert!(attempts.next().await.is_none());
        let literal = domain.contains("127") || domain.contains(':');
        assert!(literal || attempts.steps().iter().any(|step| step.failed), "{domain}");
    }
}

/// RFC 1918, RFC 4193: whoever writes the records does not choose among what this machine alone can reach.
#[tokio::test]
async fn records_lead_to_public_addresses_only() {
    let (port, _task) = peer(true).await;
    let zone = Zone::serve(&format!(
        "_xmpps-server._tcp.b.example SRV 0 0 {port} b.example
         b.example A 127.0.0.1
         b.example AAAA fd00::1
         c.example A 169.254.169.254"
    ))
    .await;
    let (_folder, dial) = dial_to(&zone, &[("d.example", "10.0.0.1:1")], false);
    for domain in ["b.example", "c.example"] {
        let mut attempts = dial.dial("a.example", domain);
        let error = attempts.next().await.unwrap().err().unwrap();
        assert_eq!(format!("{error:?}"), "NotFound(\"the server has no public address\")");
        let last = attempts.steps().last().unwrap();
        assert!(last.failed && last.what.ends_with("(s2s.private_addresses)"), "{}", last.what);
    }
    // Where the operator says that a domain is, it may be.
    let (port, task) = peer(true).await;
    let place = format!("tls://127.0.0.1:{port}");
    let (_folder, dial) = dial_to(&zone, &[("d.example", &place)], false);
    greet(dial.dial("a.example", "d.example").next().await.unwrap().unwrap()).await;
    assert!(task.await.unwrap().is_some());
}

#[tokio::test]
async fn each_address_is_called_once_and_of_all_not_many() {
    let dead = closed().await;
    let mut lines = String::new();
    for n in 0..9 {
        lines += &format!("_xmpp-server._tcp.b.example SRV {n} 0 {dead} h{n}.b.example\n");
        lines += &format!("h{n}.b.example A 127.0.0.{}\n", n % 3 + 1);
        // One address and many ports.
        lines += &format!("_xmpp-server._tcp.c.example SRV {n} 0 {} c.example\n", 1 + n);
        // Many addresses.
        for last in 0..3 {
            lines += &format!("_xmpp-server._tcp.d.example SRV {n} 0 {dead} i{n}.d.example\n");
            lines += &format!("i{n}.d.example A 127.1.{n}.{last}\n");
        }
    }
    lines += "c.example A 127.0.0.1\n";
    let zone = Zone::serve(&lines).await;
    let (_folder, dial) = dial(&zone, &[]);
    for (domain, called) in [("b.example", 3), ("c.example", 4), ("d.example", 12)] {
        let mut attempts = dial.dial("a.example", domain);
        while attempts.next().await.is_some() {}
        let steps = attempts.steps().iter();
        let connections = steps.filter(|step| step.what.starts_with("connection to")).count();
        assert_eq!(connections, called, "{domain}: {:?}", attempts.steps());
    }
}
