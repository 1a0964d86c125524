//! XMPP over WebSocket (RFC 7395) and its discovery (XEP-0156).

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::Element;
use crate::harness::frames::{CLOSE, Chop, FIN, Frames, Got, TEXT, frame};
use crate::harness::io::Io;
use crate::harness::process::{Lab, PASSWORD};
use crate::harness::sm::friends;
use crate::harness::ws::FRAMING;
use tokio_tungstenite::tungstenite::Message;

/// Logged in and bound over WebSocket.
async fn online(lab: &Lab, user: &str) -> Outcome<Client> {
    let mut client = Client::login(&lab.target, Security::WebSocket, user, PASSWORD).await?;
    client.answers_pings = false;
    client.become_available().await?;
    Ok(client)
}

fn body(message: &Element) -> Option<&str> {
    message.find("body").map(|body| &*body.text)
}

/// Sends one message exactly as it is.
async fn say(client: &mut Client, message: impl Into<Message>) {
    let Io::Ws(ws) = &mut client.io else { panic!("no WebSocket") };
    ws.say(message.into()).await.unwrap();
}

/// RFC 7395 §3: logins, chat both ways with a client on TCP
#[tokio::test]
async fn both_transports_are_one_server() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = online(&lab, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    alice
        .send(
            "<message xmlns='jabber:client' to='bob@localhost' id='1'><body>hello</body></message>",
        )
        .await?;
    let got = bob.expect(|e| e.name == "message").await?;
    assert_eq!((got.attr("id"), body(&got)), (Some("1"), Some("hello")));
    bob.send(
        "<message to='alice@localhost' id='2'><body>you too</body><x xmlns='urn:x'/></message>",
    )
    .await?;
    let got = alice.expect(|e| e.name == "message").await?;
    assert_eq!((got.attr("id"), body(&got)), (Some("2"), Some("you too")));
    alice.close().await?;
    bob.nothing().await
}

/// RFC 7395 §3.9: TLS is no feature of the stream.
#[tokio::test]
async fn tls_is_not_offered_again() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let client = Client::connect(&lab.target, Security::WebSocket).await?;
    assert!(client.features.child("urn:ietf:params:xml:ns:xmpp-tls", "starttls").is_none());
    Ok(())
}

/// A page cannot bind to its channel, and a library that takes the first name it knows would not get in. Whoever
/// comes by SASL2 is told what can be bound to (XEP-0440 §3).
#[tokio::test]
async fn pages_are_not_offered_what_they_cannot_do() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = Client::connect(&lab.target, Security::WebSocket).await?;
    let names = client.mechanisms();
    assert!(names.contains(&"SCRAM-SHA-256"), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with("-PLUS")), "{names:?}");
    let success = client.sasl2("SCRAM-SHA-256-PLUS", "alice", "").await?;
    assert_eq!(success.name, "success", "{success}");
    Ok(())
}

/// RFC 7395 §3.3, §3.4
#[tokio::test]
async fn messages_that_are_no_frames_of_the_stream_end_it() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for (message, condition) in [
        ("<a xmlns='urn:a'/><b xmlns='urn:b'/>", "not-well-formed"),
        (" <a xmlns='urn:a'/>", "not-well-formed"),
        ("<a xmlns='urn:a'>", "not-well-formed"),
        ("", "not-well-formed"),
        ("<!-- no --><a xmlns='urn:a'/>", "restricted-xml"),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><a xmlns='urn:a'>&x;</a>", "restricted-xml"),
        ("<open xmlns='jabber:client' to='localhost' version='1.0'/>", "invalid-namespace"),
        ("<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>", "not-well-formed"),
    ] {
        let mut client = Client::connect(&lab.target, Security::WebSocket).await?;
        say(&mut client, message).await;
        assert_eq!(client.stream_error().await?, condition, "{message}");
    }
    let mut client = Client::connect(&lab.target, Security::WebSocket).await?;
    say(&mut client, Message::binary("<a xmlns='urn:a'/>")).await;
    assert_eq!(client.stream_error().await?, "bad-format");
    Ok(())
}

/// RFC 7395 §3.3.2, §3.4: the first message is a header.
#[tokio::test]
async fn a_stream_begins_with_its_header() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for (first, condition) in [
        ("<iq xmlns='jabber:client' type='get' id='1'/>".to_owned(), "invalid-namespace"),
        ("<open xmlns='urn:else' to='localhost' version='1.0'/>".to_owned(), "invalid-namespace"),
        (format!("<open xmlns='{FRAMING}' to='other.example' version='1.0'/>"), "host-unknown"),
        (format!("<open xmlns='{FRAMING}' to='localhost'/>"), "unsupported-version"),
    ] {
        let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
        client.handshake(&["http/1.1"]).await?;
        client.io.start_ws("localhost").await.unwrap();
        say(&mut client, first.as_str()).await;
        assert_eq!(client.stream_error().await?, condition, "{first}");
    }
    Ok(())
}

/// RFC 6455 §5.4, §5.5: fragments; pings are answered.
#[tokio::test]
async fn pings_are_answered() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = online(&lab, "alice").await?;
    say(&mut alice, Message::Ping("hello".into())).await;
    alice.nothing().await
}

/// Case L14, RFC 7395 §3.6, XEP-0198 §5: a page that is loaded anew closes its WebSocket without ending the
/// stream, and goes on with it on another transport.
#[tokio::test]
async fn a_page_that_is_loaded_anew_goes_on() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = online(&lab, "bob").await?;
    bob.fence().await?;
    bob.forget();
    let id = bob.enable().await?;
    alice.fence().await?;
    alice.forget();
    let jid = bob.jid.clone();
    bob.io.shutdown().await.unwrap();
    assert!(!bob.gone().await?, "the stream was ended");
    lab.sleeps(&jid);
    alice
        .send(&format!("<message to='{jid}' type='chat' id='1'><body>hi</body></message>"))
        .await?;
    alice.nothing().await?;
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    assert_eq!(bob.expect(|e| e.name == "message").await?.attr("id"), Some("1"));
    // And from TCP to WebSocket.
    let (mut bob, id) = lab.managed("bob", "other").await?;
    let jid = bob.jid.clone();
    drop(bob);
    lab.sleeps(&jid);
    bob = Client::connect(&lab.target, Security::WebSocket).await?;
    bob.authenticate("bob", PASSWORD).await?;
    assert_eq!(bob.resume(&id, 0).await?.resumed(), 0);
    bob.fence().await
}

/// Case L14: unavailable to all once it has not come back in time.
#[tokio::test]
async fn a_page_that_stays_away_is_seen_to_leave() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.resume_secs=1"]);
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = online(&lab, "bob").await?;
    bob.enable().await?;
    let jid = bob.jid.clone();
    bob.io.shutdown().await.unwrap();
    let leaves =
        |e: &Element| e.attr("from") == Some(&jid) && e.attr("type") == Some("unavailable");
    alice.expect(leaves).await.map(drop)
}

/// Case L14: who is silent is asked.
#[tokio::test]
async fn a_silent_client_is_pinged() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.ping_after_secs=1"]);
    let mut alice = online(&lab, "alice").await?;
    alice.expect(|e| e.find("ping").is_some()).await.map(drop)
}

/// What a request on a connection of its own is answered with.
async fn request(lab: &Lab, alpn: &[&str], text: &str) -> Outcome<String> {
    let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
    client.handshake(alpn).await?;
    client.io.write(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while client.io.read(&mut answer).await.unwrap_or(0) > 0 {}
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat, xmpp\r\nOrigin: https://pages.example\r\n\r\n";

/// RFC 6455 §4.2, RFC 7395 §3.1
#[tokio::test]
async fn handshakes_that_are_none_are_refused() -> Outcome<()> {
    let lab = Lab::new(&[], &["web.origins=[\"https://pages.example\"]"]);
    for (from, to, status) in [
        ("keep-alive, Upgrade", "close", "426"),
        ("Upgrade: WebSocket", "Upgrade: h2c", "426"),
        ("Version: 13", "Version: 8", "426"),
        ("chat, xmpp", "chat", "400"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", "400"),
        ("https://pages.example", "https://evil.example", "403"),
        ("GET /ws", "POST /ws", "405"),
        ("GET /ws", "GET /elsewhere", "404"),
    ] {
        let text = HANDSHAKE.replace(from, to).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answer = request(&lab, &["http/1.1"], &text).await?;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{from} -> {to}: {answer}");
        if status == "426" {
            assert!(answer.to_lowercase().contains("sec-websocket-version: 13"), "{answer}");
        }
    }
    Ok(())
}

/// XEP-0156 §3
#[tokio::test]
async fn browsers_find_the_way_in() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let at = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost:9443\r\nConnection: close\r\n\r\n")
    };
    let json = request(&lab, &["http/1.1"], &at("/.well-known/host-meta.json")).await?;
    assert!(json.to_lowercase().contains("access-control-allow-origin: *"), "{json}");
    assert!(json.contains("\"urn:xmpp:alt-connections:websocket\""), "{json}");
    assert!(json.contains("wss://localhost:9443/ws"), "{json}");
    let xrd = request(&lab, &["http/1.1"], &at("/.well-known/host-meta")).await?;
    let body = xrd.split("\r\n\r\n").nth(1).unwrap_or_default();
    let document = roxmltree::Document::parse(
        body.trim_start_matches("<?xml version='1.0' encoding='utf-8'?>"),
    );
    let document = document.expect(body);
    let link = document.descendants().find(|e| e.tag_name().name() == "Link").expect("a link");
    assert_eq!(link.attribute("href"), Some("wss://localhost:9443/ws"));
    // A host that is not served is not repeated.
    let other = at("/.well-known/host-meta.json").replace("localhost", "evil.example");
    assert!(!request(&lab, &["http/1.1"], &other).await?.contains("evil"));
    Ok(())
}

/// One port for all: by ALPN, by the first byte inside TLS, by the first byte of all.
#[tokio::test]
async fn one_port_is_enough() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let web = lab.target.web.unwrap();
    for alpn in [&["xmpp-client"][..], &[]] {
        let mut direct = Client::dial(&lab.target, web).await?;
        direct.handshake(alpn).await?;
        direct.open().await?;
        direct.authenticate("alice", PASSWORD).await?;
        direct.bind(None).await?;
        direct.close().await?;
    }
    let mut starttls = Client::dial(&lab.target, web).await?;
    starttls.open().await?;
    assert!(starttls.mechanisms().is_empty(), "a login in the clear");
    starttls.start_tls().await?;
    starttls.authenticate("alice", PASSWORD).await?;
    starttls.bind(None).await?;
    let mut plain = Client::dial(&lab.target, web).await?;
    plain
        .io
        .write(b"GET /ws?a=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while plain.io.read(&mut answer).await.unwrap_or(0) > 0 {}
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(answer.contains("location: https://localhost/ws?a=b"), "{answer}");
    // Only the web, if that is wanted.
    let lab = Lab::new(&["alice"], &["web.xmpp=false"]);
    let mut direct = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
    assert!(direct.handshake(&["xmpp-client"]).await.is_err());
    Ok(())
}

/// RFC 7395 §3.6.1: who comes to where the server was is told where it is.
#[tokio::test]
async fn a_client_is_sent_to_another_address() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["web.moved_to=\"wss://chat.example:8443/ws\""]);
    let open = format!("<open xmlns='{FRAMING}' to='localhost' version='1.0'/>");
    let at = "GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let found = request(&lab, &["http/1.1"], at).await?;
    assert!(found.contains("wss://chat.example:8443/ws"), "{found}");
    for (host, moves) in [
        ("localhost", true),
        ("chat.example", true),
        ("chat.example:443", true),
        ("chat.example:8443", false),
        ("CHAT.example:8443", false),
    ] {
        let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
        client.handshake(&["http/1.1"]).await?;
        let text = HANDSHAKE.replace("Host: localhost", &format!("Host: {host}"));
        client.io.write(text.as_bytes()).await.unwrap();
        client.io.write(&frame(FIN | TEXT, &open)).await.unwrap();
        let mut read = Vec::new();
        let has = |read: &[u8], what: &str| String::from_utf8_lossy(read).contains(what);
        while !moves && !has(&read, "</stream:features>") {
            assert!(client.io.read(&mut read).await.unwrap() > 0, "the end");
        }
        if !moves {
            continue;
        }
        // RFC 7395 §3.4: instead of a header; and then the closing handshake.
        while client.io.read(&mut read).await.unwrap_or(0) > 0 {
            if has(&read, "<close ") {
                let closing = [
                    frame(FIN | TEXT, format!("<close xmlns='{FRAMING}'/>")),
                    frame(FIN | CLOSE, []),
                ];
                let _ = client.io.write(&closing.concat()).await;
            }
        }
        assert!(!has(&read, "<open "), "{host}");
        let close =
            format!("<close xmlns='{FRAMING}' see-other-uri='wss://chat.example:8443/ws'/>");
        assert!(has(&read, &close), "{host}: {}", String::from_utf8_lossy(&read));
        assert!(read.ends_with(&[0x88, 2, 3, 0xe8]), "{read:02x?}");
    }
    Ok(())
}

/// RFC 7395 §3.6: the stream is closed, then the connection, whoever begins.
#[tokio::test]
async fn a_stream_is_closed_in_both_directions() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut frames = Frames::of(&mut Client::connect(&lab.target, Security::WebSocket).await?);
    let close = format!("<close xmlns='{FRAMING}'/>");
    frames.send(&[frame(FIN | TEXT, &close)], Chop::None).await;
    assert_eq!(frames.next().await?, Got::Text(close));
    assert_eq!(frames.next().await?, Got::Close(Some(1000)));
    frames.send(&[frame(FIN | CLOSE, 1000_u16.to_be_bytes())], Chop::None).await;
    assert_eq!(frames.next().await?, Got::End);
    Ok(())
}
