//! Authentication (RFC 6120 §6, RFC 5802, RFC 9266).

use crate::harness::client::{Client, Outcome, SASL, Security};
use crate::harness::element::Element;
use crate::harness::sasl::mechanism;
use crate::harness::server::{PASSWORD, Place, subject};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

fn auth(mechanism: &str, text: &str) -> String {
    format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
}

fn response(text: &str) -> String {
    format!("<response xmlns='{SASL}'>{text}</response>")
}

fn condition(failure: &Element) -> &str {
    assert!(failure.is(SASL, "failure"), "{failure}");
    let mut conditions = failure.children.iter().filter(|c| c.ns == SASL && c.name != "text");
    &conditions.next().expect("a condition").name
}

#[tokio::test]
async fn every_mechanism_on_offer_lets_in_and_a_wrong_password_does_not() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let user = place.user("alice");
    let mut tried = Vec::new();
    for security in [Security::Plain, Security::StartTls, Security::Direct] {
        let offer = Client::connect(&place.target, security).await?;
        let known = |name: &&&str| **name == "PLAIN" || name.starts_with("SCRAM-");
        for name in offer.mechanisms().iter().filter(known) {
            let mut client = Client::connect(&place.target, security).await?;
            let done = client.authenticate_with(name, &user, PASSWORD).await?;
            assert_eq!(done, Ok(()), "{security:?} {name}");
            client.open().await?;
            client.bind(Some("r")).await?;
            client.nothing().await?;
            client.close().await?;
            let mut client = Client::connect(&place.target, security).await?;
            let refused = client.authenticate_with(name, &user, "pencils").await?;
            assert_eq!(condition(&refused.expect_err("a wrong password")), "not-authorized");
            tried.push(format!("{security:?} {name}"));
        }
    }
    println!("{tried:?}");
    assert!(!tried.is_empty(), "nothing was on offer");
    Ok(())
}

/// RFC 6120 §6.5: a failure of this name, and the stream lives on.
#[tokio::test]
async fn failures_have_the_names_of_the_rfc() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let plain = |text: &str| auth("PLAIN", &BASE64.encode(text));
    let user = place.user("alice");
    let cases = [
        // §6.5.7
        (auth("NO-SUCH-MECHANISM", "="), "invalid-mechanism"),
        // §6.5.5
        (auth("PLAIN", "@@@"), "incorrect-encoding"),
        (auth("SCRAM-SHA-1", "biwsbj1hL HI9Ynl5"), "incorrect-encoding"),
        // §6.5.8: no user, one NUL, three NULs
        (plain("nonsense"), "malformed-request"),
        (plain("a\0b"), "malformed-request"),
        (plain("\0a\0b\0c"), "malformed-request|not-authorized"),
        (auth("SCRAM-SHA-1", &BASE64.encode("n,,x")), "malformed-request"),
        (auth("SCRAM-SHA-1", &BASE64.encode("n,,r=abc,n=user")), "malformed-request"),
        // §6.5.10, also for who does not exist
        (plain(&format!("\0{user}\0wrong")), "not-authorized"),
        (plain("\0nobody-at-all\0wrong"), "not-authorized"),
        (plain("\0\0wrong"), "not-authorized|malformed-request"),
        // §6.5.6: acting as another
        (plain(&format!("bob@{}\0{user}\0{PASSWORD}", place.target.domain)), "invalid-authzid"),
        // RFC 5802 §6: binding claimed to be missing though -PLUS is offered is a downgrade; where
        // none is offered, `y` is fine and a challenge comes instead.
        (
            auth("SCRAM-SHA-1", &BASE64.encode("p=tls-made-up,,n=a,r=bcdefghijk")),
            "malformed-request|not-authorized",
        ),
    ];
    for (xml, expected) in cases {
        let mut client = place.connect().await;
        client.send(&xml).await?;
        let failure = client.receive().await?;
        let got = condition(&failure);
        assert!(expected.split('|').any(|c| c == got), "{xml}: {got}, not {expected}");
        // §6.4.5: another try is allowed on the same stream.
        let done = client.authenticate_with("SCRAM-SHA-1", &user, PASSWORD).await?;
        assert_eq!(done, Ok(()), "after {xml}");
    }
    Ok(())
}

#[tokio::test]
async fn an_exchange_can_be_aborted() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.connect().await;
    client.send(&auth("SCRAM-SHA-1", &BASE64.encode("n,,n=alice,r=abcdefghijklmnop"))).await?;
    assert!(client.receive().await?.is(SASL, "challenge"));
    // RFC 6120 §6.4.4, §6.5.1
    client.send(&format!("<abort xmlns='{SASL}'/>")).await?;
    assert_eq!(condition(&client.receive().await?), "aborted");
    client.authenticate(&place.user("alice"), PASSWORD).await
}

#[tokio::test]
async fn who_does_not_exist_gets_a_challenge_like_anybody() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    if subject().is_some() {
        return Ok(());
    }
    // Else a name could be tried for existence. The salt must stay the same from try to try.
    let mut salts = Vec::new();
    for _ in 0..2 {
        let mut client = place.connect().await;
        client
            .send(&auth("SCRAM-SHA-256", &BASE64.encode("n,,n=nobody,r=abcdefghijklmnop")))
            .await?;
        let challenge = client.receive().await?;
        assert!(challenge.is(SASL, "challenge"), "{challenge}");
        let text = String::from_utf8(BASE64.decode(&challenge.text).unwrap()).unwrap();
        let salt = text.split(',').find(|part| part.starts_with("s=")).map(str::to_owned);
        salts.push(salt.expect("a salt"));
        client.send(&response(&BASE64.encode("c=biws,r=x,p=AAAA"))).await?;
        assert_eq!(condition(&client.receive().await?), "not-authorized");
    }
    assert_eq!(salts[0], salts[1]);
    Ok(())
}

#[tokio::test]
async fn five_failures_end_the_stream() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    if subject().is_some() {
        return Ok(());
    }
    let mut client = place.connect().await;
    // RFC 6120 §6.4.5: between 2 and 5 tries, then policy-violation.
    let wrong = auth("PLAIN", &BASE64.encode("\0alice\0wrong"));
    for attempt in 0..6 {
        client.send(&wrong).await?;
        let answer = client.receive().await?;
        if answer.name == "error" {
            assert!(attempt >= 2, "{attempt}");
            assert!(answer.find("policy-violation").is_some(), "{answer}");
            return Ok(());
        }
        assert_eq!(condition(&answer), "not-authorized");
        if attempt == 4 {
            assert_eq!(client.stream_error().await?, "policy-violation");
            return Ok(());
        }
    }
    client.fail("still there after six wrong passwords")
}

#[tokio::test]
async fn a_stripped_plus_is_noticed() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = Client::connect(&place.target, Security::StartTls).await?;
    if !client.mechanisms().iter().any(|name| name.ends_with("-PLUS")) {
        return Ok(());
    }
    // RFC 5802 §6: `y` while -PLUS is offered means somebody took it out of the list.
    client.send(&auth("SCRAM-SHA-256", &BASE64.encode("y,,n=alice,r=abcdefghijklmnop"))).await?;
    let mut answer = client.receive().await?;
    if answer.is(SASL, "challenge") {
        // Noticed at the end at the latest, whatever the proof.
        client.send(&response(&BASE64.encode("c=eSws,r=abcdefghijklmnop,p=AAAA"))).await?;
        answer = client.receive().await?;
    }
    condition(&answer);
    Ok(())
}

#[tokio::test]
async fn a_binding_of_another_channel_is_refused() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = Client::connect(&place.target, Security::StartTls).await?;
    let plus = client.mechanisms().iter().find(|n| n.ends_with("-PLUS")).map(|n| (*n).to_owned());
    let Some(plus) = plus else { return Ok(()) };
    // RFC 9266: the exporter of another connection, as a man in the middle would have.
    let other = Client::connect(&place.target, Security::StartTls).await?;
    assert_ne!(other.io.tls_exporter(), client.io.tls_exporter());
    let mut made = mechanism(&plus, "alice", PASSWORD, other.io.tls_exporter()).unwrap();
    client.send(&auth(&plus, &BASE64.encode(made.initial()))).await?;
    let challenge = client.receive().await?;
    let answer = made.response(&BASE64.decode(&challenge.text).unwrap()).unwrap();
    client.send(&response(&BASE64.encode(answer))).await?;
    assert_eq!(condition(&client.receive().await?), "not-authorized");
    Ok(())
}

#[tokio::test]
async fn names_are_prepared_before_they_are_compared() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let user = place.user("alice");
    // RFC 6120 §6.3.8 with RFC 7622 §3.3: ALICE is alice, and is bound as alice.
    let mut client = place.connect().await;
    let done = client.authenticate_with("PLAIN", &user.to_uppercase(), PASSWORD).await?;
    assert_eq!(done, Ok(()));
    client.open().await?;
    let jid = client.bind(Some("r")).await?;
    assert_eq!(jid, format!("{}/r", place.jid("alice")));
    Ok(())
}
