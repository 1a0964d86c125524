//! STARTTLS and direct TLS (RFC 6120 §5, RFC 7590, XEP-0368).

use crate::harness::client::{Client, Outcome, Security, TLS, header_to};
use crate::harness::io::trust;
use crate::harness::server::{Place, subject};

#[tokio::test]
async fn a_new_stream_follows_the_handshake() -> Outcome<()> {
    let place = Place::with(&[]).await;
    let mut client = Client::connect(&place.target, Security::Plain).await?;
    let plain_id = client.header.attr("id").map(str::to_owned);
    assert!(client.features.child(TLS, "starttls").is_some(), "{}", client.features);
    client.start_tls().await?;
    // RFC 6120 §5.4.3.3: a new id; §5.3.5: STARTTLS is not offered again.
    assert_ne!(client.header.attr("id").map(str::to_owned), plain_id);
    assert!(client.features.child(TLS, "starttls").is_none(), "{}", client.features);
    assert!(!client.mechanisms().is_empty());
    Ok(())
}

#[tokio::test]
async fn no_mechanism_before_tls() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    if subject().is_some() {
        return Ok(()); // It is there to be tested without TLS as well.
    }
    let mut client = Client::connect(&place.target, Security::Plain).await?;
    // RFC 7590 §3, RFC 6120 §5.3.1: <required/>, and SASL only behind it.
    let starttls = client.features.child(TLS, "starttls").expect("starttls");
    assert!(starttls.child(TLS, "required").is_some(), "{}", client.features);
    assert_eq!(client.mechanisms(), Vec::<&str>::new());
    // And not only unoffered: refused.
    let made = crate::harness::sasl::mechanism("PLAIN", "alice", "pencil", None);
    assert!(made.is_ok());
    let refused = client.authenticate_with("PLAIN", "alice", "pencil").await?;
    let failure = refused.expect_err("let in without TLS");
    assert!(failure.find("encryption-required").is_some(), "{failure}");
    Ok(())
}

#[tokio::test]
async fn direct_tls_is_a_stream_at_once() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let user = place.user("alice");
    let mut client =
        Client::login(&place.target, Security::Direct, &user, crate::harness::server::PASSWORD)
            .await?;
    client.nothing().await?;
    client.close().await
}

#[tokio::test]
async fn direct_tls_without_alpn_is_served_and_another_protocol_is_not() -> Outcome<()> {
    let place = Place::with(&[]).await;
    let (target, ca) = (&place.target, place.target.ca.clone().expect("a CA"));
    let addr = target.c2s_tls.expect("direct TLS");
    // XEP-0368 §4: ALPN is the client's choice.
    let mut client = Client::dial(target, addr).await?;
    client.handshake(&[]).await?;
    client.open().await?;
    if subject().is_none() {
        // RFC 7301 §3.2: no_application_protocol, against cross-protocol attacks.
        let mut client = Client::dial(target, addr).await?;
        let tls = trust(&ca, &["http/1.1"]).unwrap();
        let shaken = client.io.start_tls(tls, &target.domain).await;
        assert!(shaken.is_err(), "served as another protocol");
    }
    Ok(())
}

#[tokio::test]
async fn plain_bytes_behind_starttls_are_not_taken_into_tls() -> Outcome<()> {
    let place = Place::with(&[]).await;
    // RFC 6120 §5.4.3.3: nothing said before is kept. An attacker in the middle would put his
    // own stanzas there.
    let injected = "<iq type='get' id='injected'><query xmlns='jabber:iq:register'/></iq>";
    for tail in [injected.to_owned(), format!("{}{injected}", header_to(&place.target.domain))] {
        let mut client = Client::connect(&place.target, Security::Plain).await?;
        client.send(&format!("<starttls xmlns='{TLS}'/>{tail}")).await?;
        let answer = client.receive().await;
        // Either it is cut off, or it goes on and the bytes are gone.
        let proceeds = answer.is_ok_and(|e| e.is(TLS, "proceed"));
        if !proceeds || client.handshake(&[]).await.is_err() || client.open().await.is_err() {
            continue;
        }
        let answered = client.conversation().matches("injected").count();
        assert_eq!(answered, 1, "{}", client.conversation());
        client.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn starttls_in_a_wrong_shape() -> Outcome<()> {
    let place = Place::with(&[]).await;
    let mut client = Client::connect(&place.target, Security::StartTls).await?;
    // RFC 6120 §5.4.2.2: a second one is an error of the client: failure or stream error.
    client.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
    let answer = client.receive().await?;
    assert!(answer.is(TLS, "failure") || answer.name == "error", "{answer}");
    client.gone().await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_authority_does_not_vouch_for_the_server() -> Outcome<()> {
    // The harness must refuse it, or every test of TLS above would prove nothing.
    let place = Place::with(&[]).await;
    let tls = trust(&place.target.ca.clone().expect("a CA"), &[]).unwrap();
    let mut client = Client::connect(&place.target, Security::Plain).await?;
    client.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
    client.receive().await?;
    let shaken = client.io.start_tls(tls, "other.example").await;
    assert!(shaken.as_ref().is_err_and(|e| e.contains("not valid for name")), "{shaken:?}");
    Ok(())
}
