//! What is wrong with requests, over real sockets: each gets a clear status, and the connection a bound.

use crate::harness::bosh::{Bosh, HTTPBIND};
use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::process::{Lab, wrong};
use tokio::time::timeout;

/// A connection for requests by hand.
async fn connect(lab: &Lab) -> Outcome<Client> {
    let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
    client.handshake(&["http/1.1"]).await?;
    Ok(client)
}

/// All that comes until the server ends the connection.
async fn until_the_end(client: &mut Client) -> Outcome<String> {
    let mut read = Vec::new();
    let all = async { while client.io.read(&mut read).await.unwrap_or(0) > 0 {} };
    let ended = timeout(DEADLINE, all).await.is_ok();
    let text = String::from_utf8_lossy(&read).into_owned();
    if ended { Ok(text) } else { wrong(format!("no end came: {text}")) }
}

/// What is answered to this, until the server ends the connection.
pub async fn told(lab: &Lab, text: impl AsRef<[u8]>) -> Outcome<String> {
    let mut client = connect(lab).await?;
    // It may be refused in the middle.
    let _ = client.io.write(text.as_ref()).await;
    until_the_end(&mut client).await
}

/// The statuses in what came.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /http-bind HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// RFC 9112 §6.3, §11.2: lengths that lie, or that two readers read in two ways.
#[tokio::test]
async fn lengths_that_lie_smuggle_nothing() -> Outcome<()> {
    let lab = Lab::new(&[], &["web.body_secs=1", "web.idle_secs=1"]);
    let body = format!("<body rid='1' to='localhost' xmlns='{HTTPBIND}'/>");
    for (headers, body, expected) in [
        // Both: the coding counts, and the connection ends.
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            format!("0\r\n\r\n{NEXT}"),
            &["200"][..],
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            format!("0\r\n\r\n{NEXT}"),
            &["200"],
        ),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", body.clone(), &["400"]),
        ("Content-Length: 5, 6\r\n", body.clone(), &["400"]),
        ("Content-Length: +5\r\n", body.clone(), &["400"]),
        ("Content-Length: -1\r\n", body.clone(), &["400"]),
        ("Content-Length: 0x10\r\n", body.clone(), &["400"]),
        ("Content-Length: 99999999999999999999\r\n", body.clone(), &["400"]),
        ("Content-Length : 5\r\n", body.clone(), &["400"]),
        ("Content-Length: 5\r\n Content-Length: 6\r\n", body.clone(), &["400"]),
        ("Transfer-Encoding: gzip, chunked\r\n", format!("0\r\n\r\n{NEXT}"), &["501"]),
        ("Transfer-Encoding: chunked, chunked\r\n", format!("0\r\n\r\n{NEXT}"), &["501"]),
        ("Transfer-Encoding: identity\r\n", body.clone(), &["400"]),
        ("Transfer-Encoding: xchunked\r\n", body.clone(), &["400"]),
        ("Transfer-Encoding : chunked\r\n", format!("0\r\n\r\n{NEXT}"), &["400"]),
        // A body that is shorter than it says never comes whole.
        ("Content-Length: 5000\r\n", body.clone(), &["200"]),
        ("Content-Length: 18446744073709551614\r\n", body.clone(), &["431"]),
        // And of one that is longer the rest is no request.
        ("Content-Length: 5\r\n", format!("<bodyX{body}\r\n\r\n"), &["200", "400"]),
        ("Transfer-Encoding: chunked\r\n", "zz\r\nabc".to_owned(), &["200"]),
        ("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\nabc".to_owned(), &["200"]),
        ("Transfer-Encoding: chunked\r\n", "5\r\n<body".to_owned(), &["200"]),
        ("Content-Encoding: gzip\r\nContent-Length: 4\r\n", "\u{1f}xx".to_owned(), &["415"]),
        ("Content-Encoding: br, gzip\r\nContent-Length: 0\r\n", String::new(), &["415"]),
    ] {
        let got = told(&lab, post(headers, &body)).await?;
        assert_eq!(statuses(&got), expected, "{headers:?}: {got}");
        let encoding = got.to_lowercase().contains("accept-encoding: identity");
        assert_eq!(encoding, expected == ["415"], "{got}");
        assert!(!got.contains("sid="), "{got}");
    }
    Ok(())
}

/// RFC 9112 §2.2, §3: what is no request at all.
#[tokio::test]
async fn what_is_no_request_is_refused() -> Outcome<()> {
    let lab = Lab::new(&[], &["web.head_secs=1"]);
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(40_000));
    let header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: a\r\n".repeat(101));
    let closing = |text: &str| text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for (text, expected) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400"),
        ("GET https://evil/ws HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET /\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n".to_owned(), "400"),
        ("\x01\x02\x03\x04\r\n\r\n".to_owned(), "400"),
        (path, "431"),
        (header, "431"),
        (many, "431"),
        // And what is one, to see that it is not refused.
        (closing("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "200"),
    ] {
        let got = told(&lab, &text).await?;
        // URIs have a status of their own (RFC 9110 §15.5.15).
        let one_of = |status: &&str| *status == expected || (expected == "431" && *status == "414");
        let got_one = statuses(&got);
        assert!(got_one.len() == 1 && got_one.iter().all(one_of), "{text:.80?}: {got}");
    }
    Ok(())
}

/// RFC 9110 §15.5.6
#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for (path, allowed) in [
        ("/ws", &["GET"][..]),
        ("/http-bind", &["GET", "POST", "OPTIONS"]),
        ("/.well-known/host-meta", &["GET"]),
        ("/.well-known/host-meta.json", &["GET"]),
        ("/upload/a/b", &["GET", "PUT"]),
    ] {
        for method in ["DELETE", "PATCH", "TRACE", "PROPFIND", "NONSENSE"] {
            let text =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let got = told(&lab, text).await?;
            assert_eq!(statuses(&got), ["405"], "{method} {path}: {got}");
            let head = got.to_lowercase();
            let allow = head.split("\r\nallow: ").nth(1).unwrap_or_default();
            let allow = allow.split("\r\n").next().unwrap_or_default().to_uppercase();
            for one in allowed {
                assert!(allow.contains(one), "{method} {path}: {got}");
            }
        }
    }
    for line in ["CONNECT localhost:22", "CONNECT /ws", "OPTIONS *"] {
        let text = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let got = told(&lab, text).await?;
        assert!(matches!(statuses(&got)[..], ["400" | "404" | "405"]), "{line}: {got}");
    }
    Ok(())
}

/// No path leads to another one, or out of a folder.
#[tokio::test]
async fn tricks_with_paths_lead_nowhere() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let secret = lab.data.join("stonechat.db");
    assert!(secret.exists(), "{}", secret.display());
    let tricks = [
        "/../stonechat.db",
        "/%2e%2e/stonechat.db",
        "/%2e%2e%2fstonechat.db",
        "/..%5cstonechat.db",
        "/..;/stonechat.db",
        "/....//stonechat.db",
        "//stonechat.db",
        "/%00",
        "/stonechat.db%00",
        "/%c0%ae%c0%ae/stonechat.db",
        "/%e0%80%ae%e0%80%ae/stonechat.db",
        "/%252e%252e/stonechat.db",
        "/./stonechat.db",
        "/%uff0e%uff0e/stonechat.db",
        "/%ff",
        "/%",
        "/%2",
        "/%zz",
    ];
    let bases = [
        "",
        "/ws",
        "/http-bind",
        "/.well-known",
        "/.well-known/host-meta",
        "/upload",
        "/upload/a",
        "/upload/a/b",
        "/upload/00000000000000000000000000000000",
    ];
    let mut client = connect(&lab).await?;
    for base in bases {
        for trick in tricks {
            let text = format!("GET {base}{trick} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.io.write(text.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            while !read.windows(4).any(|four| four == b"\r\n\r\n") {
                match timeout(DEADLINE, client.io.read(&mut read)).await {
                    Ok(Ok(1..)) => {}
                    ended => return wrong(format!("{text}: {ended:?}")),
                }
            }
            let got = String::from_utf8_lossy(&read).into_owned();
            assert!(matches!(statuses(&got)[..], ["400" | "404"]), "{base}{trick}: {got}");
            assert!(!got.contains("SQLite"), "{got}");
            if got.to_lowercase().contains("connection: close") {
                client = connect(&lab).await?;
            } else {
                drain(&mut client, &got).await?;
            }
        }
    }
    // One that is nearly there is not there.
    for path in
        ["/ws/", "//ws", "/WS", "/%77s", "/x/../ws", "/http-bind/", "/.well-known//host-meta"]
    {
        let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let got = told(&lab, text).await?;
        assert_eq!(statuses(&got), ["404"], "{path}: {got}");
    }
    Ok(())
}

/// The rest of an answer, whose beginning is there.
async fn drain(client: &mut Client, got: &str) -> Outcome<()> {
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let length = head.to_lowercase().split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap_or_default().parse::<usize>().unwrap_or(0)
    });
    let mut rest = body.as_bytes().to_vec();
    while rest.len() < length {
        match timeout(DEADLINE, client.io.read(&mut rest)).await {
            Ok(Ok(1..)) => {}
            ended => return wrong(format!("{ended:?} in {got}")),
        }
    }
    Ok(())
}

/// `web.head_secs`, `web.body_secs`, `web.idle_secs`: who says nothing, or half of something, or a byte now and
/// then, does not hold a connection.
#[tokio::test]
async fn slow_clients_are_cut_off() -> Outcome<()> {
    let set = ["web.head_secs=1", "web.body_secs=1", "web.idle_secs=1", "web.trusted_proxies=[]"];
    let lab = Lab::new(&[], &set);
    let request = "GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (begin, expected) in [
        ("", &[][..]),
        ("GE", &[]),
        ("GET /ws HTTP/1.1\r\nHost: loc", &[]),
        ("PRI * HTTP/2.0\r\n\r\nSM", &[]),
        (request, &["200"]),
        (&post("Content-Length: 5000\r\n", "<body"), &["200"]),
        (&post("Transfer-Encoding: chunked\r\n", "5\r\n<bo"), &["200"]),
    ] {
        let mut client = connect(&lab).await?;
        client.io.write(begin.as_bytes()).await.unwrap();
        let got = until_the_end(&mut client).await?;
        // Some are told that it took too long (RFC 9110 §15.5.9).
        let got: Vec<_> = statuses(&got).into_iter().filter(|status| *status != "408").collect();
        assert_eq!(got, expected, "{begin}");
    }
    // A byte at a time is no progress.
    let mut client = connect(&lab).await?;
    let started = std::time::Instant::now();
    let head = "GET /ws HTTP/1.1\r\nX: ".to_owned() + &"a".repeat(10_000);
    let mut bytes = head.bytes();
    let mut read = Vec::new();
    loop {
        let _ = client.io.write(&[bytes.next().unwrap()]).await;
        match timeout(std::time::Duration::from_millis(20), client.io.read(&mut read)).await {
            Ok(Ok(0) | Err(_)) => break,
            _ => assert!(started.elapsed() < DEADLINE, "still there"),
        }
    }
    Ok(())
}

/// `web.idle_secs`, and not `web.head_secs`, is how long a connection is kept between two requests.
#[tokio::test]
async fn a_connection_is_kept_between_requests() -> Outcome<()> {
    let lab = Lab::new(&[], &["web.head_secs=1", "web.idle_secs=60", "web.trusted_proxies=[]"]);
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut kept = connect(&lab).await?;
    for _ in 0..2 {
        kept.io.write(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            match timeout(DEADLINE, kept.io.read(&mut read)).await {
                Ok(Ok(1..)) => {}
                ended => return wrong(format!("{ended:?}")),
            }
        }
        let got = String::from_utf8_lossy(&read).into_owned();
        assert_eq!(statuses(&got), ["200"], "{got}");
        drain(&mut kept, &got).await?;
        // A head that does not come to its end measures the time.
        let mut slow = connect(&lab).await?;
        slow.io.write(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        until_the_end(&mut slow).await?;
    }
    Ok(())
}

/// RFC 6455 §10.2, and what browsers let a page send without asking.
#[tokio::test]
async fn pages_of_other_origins_are_kept_out() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["web.origins=[\"https://chat.example\"]"]);
    let body = format!("<body rid='1' to='localhost' ver='1.6' xmlns='{HTTPBIND}'/>");
    for (origin, status) in [
        ("https://chat.example", "200"),
        ("https://evil.example", "403"),
        ("http://chat.example", "403"),
        ("https://chat.example.evil.example", "403"),
        ("null", "403"),
    ] {
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let headers = format!(
                "Origin: {origin}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n",
                body.len()
            );
            let got = told(&lab, post(&headers, &body)).await?;
            assert_eq!(statuses(&got), [status], "{origin}: {got}");
            assert_eq!(got.contains("sid="), status == "200", "{got}");
        }
    }
    Ok(())
}

/// XEP-0124 §14.2: numbers that are far away, many at once, end the session and no other.
#[tokio::test]
async fn rids_out_of_the_window_end_their_session() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = Bosh::online(&lab.target, "bob").await?;
    for far in ["0", "-1", "1", "9007199254740992", "18446744073709551616", "1e3", "x"] {
        let (alice, _) = Bosh::open(&lab.target, "").await?;
        let body = alice.body(alice.rid, "", "").replace(&alice.rid.to_string(), far);
        let length = format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
        let got = told(&lab, post(&length, &body)).await?;
        assert!(got.contains("type='terminate'"), "{far}: {got}");
    }
    bob.ask("", "<iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    bob.next(|e| e.attr("id") == Some("p")).await.map(drop)
}
