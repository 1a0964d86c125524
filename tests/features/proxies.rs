//! Proxies before the server: who comes through one counts for himself, whatever the proxy speaks, and nobody
//! else is believed.

use crate::harness::bosh::{HTTPBIND, Http};
use crate::harness::client::{Client, DEADLINE, Outcome, Target};
use crate::harness::io::Io;
use crate::harness::process::{Lab, PASSWORD, ends_with, wrong};
use std::net::SocketAddr;
use tokio::time::{Instant, timeout};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: xmpp\r\n";

/// The tests' own address, which nobody believes under TLS unless it is named.
const TRUSTED: &str = "web.trusted_proxies=['127.0.0.1']";

/// The head of the answer to what is written.
async fn answer(io: &mut Io, text: &str) -> Outcome<String> {
    io.write(text.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        match timeout(DEADLINE, io.read(&mut read)).await {
            Ok(Ok(1..)) => {}
            ended => return wrong(format!("{ended:?} after {}", String::from_utf8_lossy(&read))),
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// A WebSocket through a proxy, and the status that it got.
async fn websocket(lab: &Lab, visitor: &str) -> Outcome<(Client, u16)> {
    let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
    client.handshake(&["http/1.1"]).await?;
    let text = format!("{HANDSHAKE}X-Forwarded-For: {visitor}\r\n\r\n");
    let answer = answer(&mut client.io, &text).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((client, status.unwrap_or(0)))
}

/// `limits.streams_per_ip` for WebSockets and sessions of BOSH that come through a trusted proxy.
#[tokio::test]
async fn who_comes_through_a_proxy_counts_for_himself() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.streams_per_ip=2", TRUSTED]);
    // Connections of the proxy count for nobody.
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(Http::open(&lab.target).await?);
    }
    let mut held = Vec::new();
    for (visitor, expected) in [
        ("192.0.2.1", 101),
        ("192.0.2.1", 101),
        ("192.0.2.1", 429),
        ("203.0.113.1, 192.0.2.1", 429),
        ("192.0.2.2", 101),
        ("192.0.2.1, 203.0.113.1", 101),
    ] {
        let (client, status) = websocket(&lab, visitor).await?;
        assert_eq!(status, expected, "{visitor}");
        held.push(client);
    }
    lab.process.logs(&["too many streams from this address", "192.0.2.1"]);
    // BOSH: a session is one, and a request of it.
    let create =
        format!("<body rid='1' to='localhost' hold='1' wait='9' ver='1.6' xmlns='{HTTPBIND}'/>");
    for (visitor, status, expected) in [
        ("192.0.2.1", 429, "too many requests"),
        ("192.0.2.3", 200, "sid='"),
        ("192.0.2.3", 200, "policy-violation"),
        ("192.0.2.4", 200, "sid='"),
    ] {
        let mut http = Http::open(&lab.target).await?;
        http.send("POST /http-bind", &format!("X-Forwarded-For: {visitor}\r\n"), &create).await?;
        let answer = http.receive().await?;
        assert_eq!(answer.status, status, "{visitor}");
        assert!(answer.body.contains(expected), "{visitor}: {}", answer.body);
    }
    // Whoever leaves makes room.
    drop(held);
    let until = Instant::now() + DEADLINE;
    while websocket(&lab, "192.0.2.1").await?.1 != 101 {
        assert!(Instant::now() < until, "no room came back");
    }
    Ok(())
}

/// Who is no trusted proxy names nobody.
#[tokio::test]
async fn a_stranger_counts_whomever_he_names() -> Outcome<()> {
    let set = ["limits.streams_per_ip=2", "web.trusted_proxies=[]"];
    let lab = Lab::new(&["alice"], &set);
    let mut held = Vec::new();
    for visitor in ["192.0.2.1", "192.0.2.2"] {
        held.push(websocket(&lab, visitor).await?);
    }
    assert!(held.iter().all(|(_, status)| *status == 101));
    assert!(websocket(&lab, "192.0.2.3").await.is_err(), "a third stream");
    lab.process.logs(&["too many streams from this address", "127.0.0.1"]);
    Ok(())
}

/// `limits.proxy_connections_max`
#[tokio::test]
async fn the_connections_of_proxies_have_a_bound_too() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.proxy_connections_max=2", TRUSTED]);
    let first = Http::open(&lab.target).await?;
    let _second = Http::open(&lab.target).await?;
    assert!(Http::open(&lab.target).await.is_err(), "a third connection");
    lab.process.logs(&["too many connections of proxies"]);
    drop(first);
    let until = Instant::now() + DEADLINE;
    // A WebSocket is its visitor's: when it is one, the proxy has room again.
    let mut held = Vec::new();
    while held.len() < 3 {
        held.extend(websocket(&lab, "192.0.2.1").await);
        assert!(Instant::now() < until, "no room came back");
    }
    Ok(())
}

const FROM_7: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 5222\r\n";

/// Version 2 (§2.2): from an address of IPv4, with whether the client speaks TLS with the proxy.
fn v2(ip: [u8; 4], tls: bool) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let ssl = [0x20, 0, 5, u8::from(tls), 0, 0, 0, 0];
    let addresses = [&ip[..], &[10, 0, 0, 1, 0x12, 0x67, 0x14, 0x66]].concat();
    [&signature[..], &[0x21, 0x11, 0, 20], &addresses, &ssl].concat()
}

const PROXY: [&str; 2] =
    ["c2s.proxy_protocol=[\"127.0.0.0/8\"]", "web.proxy_protocol=[\"127.0.0.1\"]"];

/// A connection that begins with these bytes.
async fn dial(target: &Target, to: SocketAddr, header: impl AsRef<[u8]>) -> Outcome<Client> {
    let mut client = Client::dial(target, to).await?;
    client.io.write(header.as_ref()).await.unwrap();
    Ok(client)
}

/// Before STARTTLS, before TLS and before HTTPS, in both versions.
#[tokio::test]
async fn the_proxy_protocol_says_who_connects() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &PROXY);
    let (c2s, direct, web) = (lab.target.c2s, lab.target.c2s_tls.unwrap(), lab.target.web.unwrap());
    for header in [FROM_7.as_bytes().to_vec(), v2([192, 0, 2, 7], false)] {
        let mut client = dial(&lab.target, c2s, &header).await?;
        client.open().await?;
        client.start_tls().await?;
        client.authenticate("alice", PASSWORD).await?;
        client.bind(None).await?;
        client.close().await?;
        for to in [direct, web] {
            let mut client = dial(&lab.target, to, &header).await?;
            client.handshake(&["xmpp-client"]).await?;
            client.open().await?;
            client.authenticate("alice", PASSWORD).await?;
            client.bind(None).await?;
            client.close().await?;
        }
        let mut client = dial(&lab.target, web, &header).await?;
        client.handshake(&["http/1.1"]).await?;
        client.io.start_ws("localhost").await.unwrap();
        client.open().await?;
        client.authenticate("alice", PASSWORD).await?;
        client.bind(None).await?;
        client.close().await?;
    }
    lab.process.logs_times(8, &["session started", "peer=192.0.2.7"]);
    // The proxy looks whether the server lives.
    let mut client = dial(&lab.target, c2s, "PROXY UNKNOWN\r\n").await?;
    client.open().await?;
    Ok(())
}

/// The addresses are counted that the header names.
#[tokio::test]
async fn who_is_announced_is_counted() -> Outcome<()> {
    let lab = Lab::new(&[], &[&PROXY[..], &["limits.streams_per_ip=1"]].concat());
    let mut first = dial(&lab.target, lab.target.c2s, FROM_7).await?;
    first.open().await?;
    let mut second = dial(&lab.target, lab.target.c2s, v2([192, 0, 2, 7], false)).await?;
    ends_with(&mut second, "policy-violation").await?;
    let mut third = dial(&lab.target, lab.target.c2s, v2([192, 0, 2, 8], false)).await?;
    third.open().await
}

/// A proxy that ends TLS says whether the client speaks it.
#[tokio::test]
async fn a_proxy_that_ends_tls_says_so() -> Outcome<()> {
    let set = [&PROXY[..], &["web.listen_plain=[\"127.0.0.1:0\"]"]].concat();
    let lab = Lab::new(&[], &set);
    let plain: SocketAddr = lab.process.prints(|text| {
        let ready: serde_json::Value = serde_json::from_str(text.lines().next()?).ok()?;
        ready["http_plain"].as_str()?.strip_prefix("http://")?.parse().ok()
    });
    for (tls, expected) in [(false, "HTTP/1.1 403"), (true, "HTTP/1.1 101")] {
        let mut client = dial(&lab.target, plain, v2([192, 0, 2, 7], tls)).await?;
        // It is the visitor's own word, and no proxy's.
        let text = format!("{HANDSHAKE}X-Forwarded-Proto: https\r\n\r\n");
        let answer = answer(&mut client.io, &text).await?;
        assert!(answer.starts_with(expected), "{answer}");
    }
    Ok(())
}

/// A proxy that says nothing, nonsense, or half of it, is not served; nor for long.
#[tokio::test]
async fn a_proxy_must_announce() -> Outcome<()> {
    let lab = Lab::new(&[], &PROXY);
    let long = format!("PROXY UNKNOWN {}", "x".repeat(300));
    for header in ["<?xml version='1.0'?><stream:stream>", "PROXY TCP4 nobody\r\n", &long, "PROXY "]
    {
        let mut client = dial(&lab.target, lab.target.c2s, header).await?;
        assert!(!client.gone().await?, "{header}");
        assert_eq!(client.header.name, "", "{header}");
    }
    lab.process.logs(&["127.0.0.1", "does not begin with the PROXY protocol"]);
    lab.process.logs(&["127.0.0.1", "did not say in time who connects"]);
    Ok(())
}

/// From everywhere else it is no more than wrong bytes.
#[tokio::test]
async fn nobody_else_is_believed() -> Outcome<()> {
    let lab = Lab::new(&[], &["c2s.proxy_protocol=[\"192.0.2.0/24\"]"]);
    let mut client = dial(&lab.target, lab.target.c2s, FROM_7).await?;
    ends_with(&mut client, "not-well-formed").await?;
    let mut client =
        dial(&lab.target, lab.target.c2s_tls.unwrap(), v2([192, 0, 2, 7], true)).await?;
    assert!(client.handshake(&[]).await.is_err());
    let mut client = dial(&lab.target, lab.target.web.unwrap(), FROM_7).await?;
    let mut answer = Vec::new();
    while client.io.read(&mut answer).await.unwrap_or(0) > 0 {}
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    lab.process.logs(&["stream refused", "peer=127.0.0.1"]);
    assert!(!lab.process.log().contains("peer=192.0.2.7"));
    Ok(())
}
