//! The harness itself, held against whatever server is under test.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::{Cutter, Element, Piece};
use crate::harness::server::subject;

#[test]
fn a_stream_is_cut_alike_however_it_is_split() {
    let text = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
        id='1'><message to='a'><body>x &amp; y</body><x xmlns='y' a='1'/></message> <iq/></stream:stream>";
    for split in 0..text.len() {
        let mut cutter = Cutter::new();
        let (left, right) = text.as_bytes().split_at(split);
        let mut pieces = cutter.feed(left).unwrap();
        pieces.extend(cutter.feed(right).unwrap());
        let [Piece::Open(open), Piece::Element(message), Piece::Element(iq), Piece::Close] =
            &pieces[..]
        else {
            panic!("{pieces:?}");
        };
        assert_eq!(open.attr("id"), Some("1"));
        assert_eq!(message.text_of("body"), Some("x & y"));
        assert_eq!(
            message.to_string(),
            "<message to='a'><body>x &amp; y</body><x xmlns='y' a='1'/></message>"
        );
        assert_eq!(iq, &Element::parse("<iq/>").unwrap());
    }
}

/// Every way in that the server offers, through every kind of channel.
#[tokio::test]
async fn every_mechanism_on_offer_lets_in_and_a_wrong_password_does_not() -> Outcome<()> {
    let Some(target) = subject() else { return Ok(()) };
    let user = format!("mech{}", std::process::id());
    Client::connect(&target, Security::StartTls).await?.register(&user, "pencil").await?;
    let mut tried = 0;
    for security in [Security::Plain, Security::StartTls, Security::Direct] {
        let offer = Client::connect(&target, security).await?;
        for mechanism in offer.mechanisms().iter().filter(|name| known(name)) {
            let mut client = Client::connect(&target, security).await?;
            let done = client.authenticate_with(mechanism, &user, "pencil").await?;
            assert_eq!(done, Ok(()), "{security:?} {mechanism}");
            client.open().await?;
            client.bind(Some("r")).await?;
            client.nothing().await?;
            client.close().await?;
            let mut client = Client::connect(&target, security).await?;
            let refused = client.authenticate_with(mechanism, &user, "pencils").await?;
            let failure = refused.expect_err("a wrong password");
            assert!(failure.find("not-authorized").is_some(), "{failure}");
            println!("{security:?} {mechanism}");
            tried += 1;
        }
    }
    assert!(tried > 0, "nothing was on offer");
    Ok(())
}

fn known(mechanism: &str) -> bool {
    mechanism == "PLAIN" || mechanism.starts_with("SCRAM-")
}
