//! XMPP over WebSocket (RFC 7395) and its discovery (XEP-0156).

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::Element;
use crate::harness::io::Io;
use crate::harness::process::{Lab, PASSWORD};
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

/// RFC 7395 §3: logins with channel binding, chat both ways with a client on TCP
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
    assert!(client.mechanisms().contains(&"SCRAM-SHA-256-PLUS"), "{:?}", client.mechanisms());
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
