//! Resource binding (RFC 6120 §7).

use crate::harness::client::{BIND, Outcome, STREAMS};
use crate::harness::element::STREAM;
use crate::harness::server::{PASSWORD, Place, subject};

#[tokio::test]
async fn the_server_makes_a_resource_or_takes_the_clients() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut seen = Vec::new();
    for asked in [None, None, Some("phone"), Some("Küche \u{1f40e}")] {
        let mut client = place.connect().await;
        client.authenticate(&place.user("alice"), PASSWORD).await?;
        assert!(client.features.child(BIND, "bind").is_some(), "{}", client.features);
        let jid = client.bind(asked).await?;
        let (bare, resource) = jid.split_once('/').expect("a full JID");
        assert_eq!(bare, place.jid("alice"));
        // §7.6: unique and not to be guessed where the server makes it.
        match asked {
            Some(asked) => assert_eq!(resource, asked),
            None => assert!(resource.len() >= 8 && !seen.contains(&jid), "{jid}"),
        }
        seen.push(jid);
        client.nothing().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_resource_that_cannot_be() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    // RFC 6120 §7.7.2.1, RFC 7622 §3.4: at most 1023 bytes.
    for bad in ["x".repeat(1024), "a\u{7}b".replace('\u{7}', "&#x85;")] {
        let mut client = place.connect().await;
        client.authenticate(&place.user("alice"), PASSWORD).await?;
        let iq = format!(
            "<iq type='set' id='b'><bind xmlns='{BIND}'><resource>{bad}</resource></bind></iq>"
        );
        let answer = client.ask(&iq).await?;
        // The server may as well give another one.
        let fine = answer.condition().is_some() || answer.find("jid").is_some();
        assert!(fine && !answer.to_string().contains(&bad), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn stanzas_before_binding_are_refused() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    for xml in [
        format!("<message to='{}'><body>x</body></message>", place.jid("alice")),
        "<presence/>".to_owned(),
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>".to_owned(),
    ] {
        let mut client = place.connect().await;
        client.authenticate(&place.user("alice"), PASSWORD).await?;
        client.send(&xml).await?;
        // RFC 6120 §7.1: not before; with which error is said for the stream (§4.9.3.12) and is
        // seen for the stanza as well.
        let answer = client.receive().await?;
        assert!(answer.find("not-authorized").is_some(), "{xml}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn one_stream_has_one_resource() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    let answer =
        client.ask(&format!("<iq type='set' id='again'><bind xmlns='{BIND}'/></iq>")).await?;
    // RFC 6120 §7.1 no longer has more than one.
    assert_eq!(answer.attr("type"), Some("error"), "{answer}");
    client.nothing().await
}

#[tokio::test]
async fn the_newer_stream_wins_a_resource() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut old = place.connect().await;
    old.authenticate(&place.user("alice"), PASSWORD).await?;
    let jid = old.bind(Some("phone")).await?;
    let mut new = place.connect().await;
    new.authenticate(&place.user("alice"), PASSWORD).await?;
    assert_eq!(new.bind(Some("phone")).await?, jid);
    // RFC 6120 §7.7.2.2, choice 2: conflict for the old one, and its end.
    let error = old.expect(|e| e.is(STREAM, "error")).await?;
    assert!(error.child(STREAMS, "conflict").is_some(), "{error}");
    old.gone().await?;
    // What is sent to the JID now comes to the new one.
    new.send(&format!("<message to='{jid}' id='1'><body>x</body></message>")).await?;
    assert_eq!(new.receive().await?.attr("id"), Some("1"));
    new.nothing().await?;
    if subject().is_none() {
        new.close().await?;
    }
    Ok(())
}
