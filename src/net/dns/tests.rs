//! The resolver against a server of the test.

use super::testing::Zone;
use super::*;
use std::time::Instant;

/// Asks a zone, and gives up soon.
fn asking(zone: &Zone) -> Names {
    let mut names = Names::new(&[zone.address], false).unwrap();
    names.lookup_time = Duration::from_millis(600);
    names
}

async fn targets(zone: &Zone, domain: &str) -> String {
    let found = asking(zone).targets(domain, &mut Vec::new()).await;
    match found {
        Ok(found) => {
            let tls = |begin| if begin == Begin::Direct { "+tls" } else { "" };
            let one = |t: &Target| format!("{}:{}{}", t.host, t.port, tls(t.begin));
            found.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("{error:?}"),
    }
}

/// XEP-0368 §3 and RFC 6120 §3.2.
#[tokio::test]
async fn both_services_are_asked_for() {
    let zone = Zone::serve(
        "_xmpp-server._tcp.both.example SRV 10 0 5269 B.both.example
         _xmpps-server._tcp.both.example SRV 5 0 443 a.both.example
         _xmpp-server._tcp.old.example SRV 1 0 5299 xmpp.old.example
         _xmpps-server._tcp.new.example SRV 1 0 5270 xmpp.new.example
         _xmpp-server._tcp.shut.example SRV 0 0 0 .
         _xmpp-server._tcp.half.example SRV 0 0 0 .
         _xmpps-server._tcp.half.example SRV 0 0 443 half.example
         _xmpp-server._tcp.port.example SRV 0 0 0 port.example
         _xmpp-server._tcp.ip.example SRV 0 0 5269 127.0.0.1
         _xmpp-server._tcp.xn--bcher-kva.example SRV 0 0 5269 xmpp.xn--bcher-kva.example
         none.example A 127.0.0.1",
    )
    .await;
    for (domain, expected) in [
        ("both.example", "a.both.example:443+tls b.both.example:5269"),
        ("old.example", "xmpp.old.example:5299"),
        ("new.example", "xmpp.new.example:5270+tls"),
        ("shut.example", "NotOffered"),
        ("half.example", "half.example:443+tls"),
        ("port.example", "Useless"),
        ("ip.example", "Useless"),
        ("bücher.example", "xmpp.xn--bcher-kva.example:5269"),
        ("none.example", "none.example:5269"),
        ("a b.example", "NoDomain"),
        ("a..example", "NoDomain"),
        ("", "NoDomain"),
    ] {
        assert_eq!(targets(&zone, domain).await, expected, "{domain}");
    }
    let long = format!("{}.example", "a.".repeat(120));
    assert_eq!(targets(&zone, &long).await, "NoDomain");
    assert!(zone.names().iter().all(|name| name.is_ascii()), "{:?}", zone.names());
}

#[tokio::test]
async fn silence_has_an_end_and_is_remembered() {
    let zone = Zone::serve("* SILENT").await;
    let names = asking(&zone);
    let (mut asked, start) = (Vec::new(), Instant::now());
    assert_eq!(names.targets("a.example", &mut asked).await, Err(DnsError::Timeout));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(asked.iter().all(|one| one.failed && one.what.contains("no answer")), "{asked:?}");
    let before = zone.asked();
    assert_eq!(names.targets("A.example", &mut asked).await, Err(DnsError::Timeout));
    assert_eq!(zone.asked(), before);
    assert!(asked[3].what.contains("a moment ago"), "{asked:?}");
}

#[tokio::test]
async fn what_was_not_asked_for_is_no_answer() {
    let lies = Zone::serve(
        "* LIES
         _xmpp-server._tcp.else.example SRV 0 0 5269 evil.example
         evil.example A 192.0.2.66",
    )
    .await;
    // None of its records is for the name that was asked.
    assert!(!targets(&lies, "a.example").await.contains("evil"));
    let found = asking(&lies).addresses("host.example", &mut Vec::new()).await;
    assert!(found.is_err(), "{found:?}");
    let forged = Zone::serve(
        "_xmpp-server._tcp.a.example FORGES
         _xmpps-server._tcp.a.example FORGES
         _xmpp-server._tcp.a.example SRV 0 0 5269 evil.example",
    )
    .await;
    assert!(!targets(&forged, "a.example").await.contains("evil"));
    let failing = Zone::serve("* FAILS").await;
    let told = targets(&failing, "a.example").await;
    assert!(told.starts_with("Failed"), "{told}");
}

#[tokio::test]
async fn aliases_lead_somewhere_or_end() {
    let zone = Zone::serve(
        "a.example CNAME b.example
         b.example CNAME a.example
         self.example CNAME self.example
         alias.example CNAME real.example
         real.example A 127.0.0.9
         real.example AAAA ::9
         nowhere.example A 0.0.0.0
         nowhere.example AAAA ff02::1",
    )
    .await;
    let names = asking(&zone);
    for host in ["a.example", "self.example", "nowhere.example", "none.example"] {
        let found = names.addresses(host, &mut Vec::new()).await;
        assert!(found.is_err(), "{host}: {found:?}");
    }
    assert!(zone.asked() < 100, "{} questions", zone.asked());
    let mut asked = Vec::new();
    let found = names.addresses("alias.example", &mut asked).await.unwrap();
    let expected: [IpAddr; 2] = ["::9".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    assert_eq!(found, Addresses { all: expected.to_vec(), secure: false });
    assert_eq!(asked[0].what, "addresses of alias.example: ::9, 127.0.0.9");
}

/// RFC 2782 wants no aliases, but there are some: of the services, and of the targets. Told with what is behind them, as
/// recursive servers do, or without.
#[tokio::test]
async fn services_and_targets_may_be_aliases() {
    let lines = "_xmpp-server._tcp.a.example CNAME _one.b.example
         _one.b.example CNAME _two.c.example
         _two.c.example SRV 1 0 5269 t.example
         _two.c.example SRV 2 0 5270 u.example
         t.example CNAME t2.example
         t2.example CNAME t3.example
         t3.example AAAA ::9
         u.example A 127.0.0.8
         _xmpp-server._tcp.loop.example CNAME _a.loop.example
         _a.loop.example CNAME _b.loop.example
         _b.loop.example CNAME _a.loop.example
         _xmpp-server._tcp.self.example CNAME _xmpp-server._tcp.self.example
         _xmpp-server._tcp.void.example CNAME _nothing.void.example
         loop.example A 127.0.0.7
         self.example A 127.0.0.7
         void.example A 127.0.0.7";
    let names = ["_xmpp-server._tcp.a", "_one.b", "_two.c", "t", "t2", "_a.loop", "_b.loop"];
    let alone: String = names.iter().map(|name| format!("\n{name}.example ALONE")).collect();
    for lines in [lines.to_owned(), format!("{lines}{alone}")] {
        let zone = Zone::serve(&lines).await;
        assert_eq!(targets(&zone, "a.example").await, "t.example:5269 u.example:5270");
        let found = asking(&zone).addresses("t.example", &mut Vec::new()).await.unwrap();
        assert_eq!(found.all, ["::9".parse::<IpAddr>().unwrap()]);
        // What leads nowhere is no service; the domain itself may be there.
        for domain in ["loop.example", "self.example", "void.example"] {
            assert_eq!(targets(&zone, domain).await, format!("{domain}:5269"));
        }
        assert!(zone.asked() < 100, "{} questions", zone.asked());
    }
    let long: String =
        (0..40).map(|n| format!("_{n}.l.example CNAME _{}.l.example\n", n + 1)).collect();
    let first = "_xmpp-server._tcp.l.example CNAME _0.l.example";
    let zone = Zone::serve(&format!("{long}{first}\n_40.l.example SRV 0 0 1 t.example")).await;
    assert_ne!(targets(&zone, "l.example").await, "t.example:1");
    assert!(zone.asked() < 100, "{} questions", zone.asked());
}

#[tokio::test]
async fn answers_are_bounded() {
    let srv = |n| format!("_xmpp-server._tcp.m.example SRV {n} 0 5269 h{n}.m.example\n");
    let a = |n| format!("h.m.example A 192.0.2.{n}\n");
    let lines: String = (1..25).map(srv).chain((1..20).map(a)).collect();
    let zone = Zone::serve(&lines).await;
    let found = targets(&zone, "m.example").await;
    assert_eq!(found.split(' ').count(), select::TARGETS_MAX);
    let found = asking(&zone).addresses("h.m.example", &mut Vec::new()).await.unwrap();
    assert_eq!(found.all.len(), ADDRESSES_MAX);
}

/// Without validation nothing is secure, and TLSA records are not even asked for (RFC 7673 §3).
#[tokio::test]
async fn tlsa_counts_only_with_dnssec() {
    let zone = Zone::serve("a.example A 127.0.0.1").await;
    let names = asking(&zone);
    assert_eq!(names.tlsa("a.example", 5269, &mut Vec::new()).await, Ok(Vec::new()));
    assert_eq!(zone.asked(), 0);
    // A server that knows nothing of DNSSEC, asked by one that validates: nothing it says is secure.
    let mut strict = Names::new(&[zone.address], true).unwrap();
    strict.lookup_time = Duration::from_millis(600);
    let found = strict.addresses("a.example", &mut Vec::new()).await;
    assert!(!found.is_ok_and(|found| found.secure));
}

/// RFC 7673 §3: what is signed is known as such, and a forgery is no answer.
#[tokio::test]
async fn signatures_are_checked() {
    let lines = "_xmpp-server._tcp.a.example SRV 0 0 5269 h.a.example
                 _xmpps-server._tcp.a.example SRV 0 0 5270 h.a.example
                 h.a.example A 127.0.0.1
                 h.a.example AAAA ::1
                 _5269._tcp.h.a.example TLSA 3 1 1 00ff";
    let (zone, anchors) = Zone::signed(lines).await;
    let names = Names::with_anchors(&[zone.address], Some(anchors)).unwrap();
    let mut asked = Vec::new();
    let found = names.targets("a.example", &mut asked).await.unwrap();
    assert!(found.len() == 2 && found.iter().all(|target| target.secure), "{found:?}");
    assert!(names.addresses("h.a.example", &mut asked).await.unwrap().secure);
    let tlsa = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0, 255] };
    assert_eq!(names.tlsa("h.a.example", 5269, &mut asked).await, Ok(vec![tlsa]));
    assert!(asked.iter().all(|one| one.what.ends_with("(DNSSEC)")), "{asked:?}");

    // Signed by somebody else.
    let (_other, strange) = Zone::signed(lines).await;
    let mut names = Names::with_anchors(&[zone.address], Some(strange)).unwrap();
    names.lookup_time = Duration::from_secs(2);
    let found = names.targets("a.example", &mut Vec::new()).await;
    assert!(!found.is_ok_and(|found| found.iter().any(|target| target.secure)));
    let found = names.tlsa("h.a.example", 5269, &mut Vec::new()).await;
    assert!(found.is_err() || found == Ok(Vec::new()), "{found:?}");
}
