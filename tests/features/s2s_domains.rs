//! Several domains of ours on one stream to another server (XEP-0220 §2.6.1).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::peers::One;
use crate::harness::raw_peer::{DIALBACK, DIALBACK_FEATURE, Fake, Raw, SM, SM_FEATURE};
use crate::harness::rooms::{MUC, OWNER, USER};
use crate::harness::sm::chat;

const ROOMS: &str = "conference.a.test";
const ROOM: &str = "room@conference.a.test";

fn features() -> String {
    format!("{SM_FEATURE}{DIALBACK_FEATURE}")
}

/// A stream for alice's messages, with the first of them; another pair may be asked for on it.
async fn stands(fake: &Fake, alice: &mut Client) -> Outcome<Raw> {
    alice.send(&chat("eve@peer.test", "first")).await?;
    let mut raw = fake.accept_as(&features()).await?;
    raw.expect(|e| e.is(SM, "enable")).await?;
    raw.send(&format!("<enabled xmlns='{SM}' id='former' resume='true'/>")).await?;
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("first"));
    Ok(raw)
}

fn is_message(e: &Element) -> bool {
    e.name == "message"
}

/// The next request for a pair is answered like this; from whom it is.
async fn judges(raw: &mut Raw, answer: &str) -> Outcome<String> {
    let asked = raw.expect(|e| e.is(DIALBACK, "result")).await?;
    let from = asked.attr("from").unwrap_or_default().to_owned();
    let ends = format!("from='peer.test' to='{from}'");
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let content = if answer == "error" { error } else { "" };
    raw.send(&format!("<db:result {ends} type='{answer}'>{content}</db:result>")).await?;
    Ok(from)
}

/// Has a domain of ours answer the peer.
async fn asks(one: &One, domain: &str) -> Outcome<Raw> {
    let own = one.identity(&["peer.test"]);
    let mut back = Raw::external(one.site.address, ("peer.test", domain), &own).await?;
    let ends = format!("from='eve@peer.test/x' to='{domain}' id='{domain}'");
    back.send(&format!("<iq type='get' {ends}><ping xmlns='urn:xmpp:ping'/></iq>")).await?;
    Ok(back)
}

#[tokio::test]
async fn domains_of_ours_share_a_stream_where_the_other_server_agrees() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    let mut raw = stands(&fake, &mut alice).await?;
    let _rooms = asks(&one, ROOMS).await?;
    // Nothing of it comes before the peer has agreed.
    assert_eq!(judges(&mut raw, "valid").await?, ROOMS);
    let answer = raw.expect(|e| e.attr("id") == Some(ROOMS)).await?;
    assert_eq!(answer.attr("from"), Some(ROOMS), "{answer}");
    // One that is refused has a stream of its own; the others stay where they are.
    let _nodes = asks(&one, "pubsub.a.test").await?;
    assert_eq!(judges(&mut raw, "error").await?, "pubsub.a.test");
    let mut other = fake.accept_as(SM_FEATURE).await?;
    other.expect(|e| e.is(SM, "enable")).await?;
    other.send(&format!("<enabled xmlns='{SM}'/>")).await?;
    other.expect(|e| e.attr("id") == Some("pubsub.a.test")).await?;
    alice.send(&chat("eve@peer.test", "second")).await?;
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("second"));
    one.lab.process.logs(&["a server is connected", ROOMS, "peer.test", "out", "dialback"]);
    // A stream that ends in the middle of it is no answer, either.
    drop(other);
    let _more = asks(&one, "pubsub.a.test").await?;
    raw.expect(|e| e.is(DIALBACK, "result")).await?;
    drop(raw);
    for _ in 0..2 {
        let mut raw = fake.accept_as("").await?;
        raw.send("</stream:stream>").await?;
    }
    Ok(())
}

/// Where the other server does not say that an error leaves the stream alone, each has its own.
#[tokio::test]
async fn a_server_that_agrees_to_nothing_is_not_asked() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&chat("eve@peer.test", "first")).await?;
    let mut raw = fake.accept_managed().await?;
    hears_first(&mut raw).await?;
    let _rooms = asks(&one, ROOMS).await?;
    let mut other = fake.accept_managed().await?;
    other.expect(|e| e.attr("id") == Some(ROOMS)).await?;
    Ok(())
}

async fn hears_first(raw: &mut Raw) -> Outcome<()> {
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("first"));
    Ok(())
}

/// XEP-0198 §5 on such a stream: each domain has to be agreed on anew, and what the peer has does not come again.
#[tokio::test]
async fn a_shared_stream_that_is_cut_goes_on_for_each() -> Outcome<()> {
    let one = One::new(&[]);
    let fake = one.fake().await;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send(&format!("<presence to='{ROOM}/host'><x xmlns='{MUC}'/></presence>")).await?;
    alice.expect(|e| e.child(USER, "x").is_some()).await?;
    let form = "<x xmlns='jabber:x:data' type='submit'/>";
    let config = format!("<query xmlns='{OWNER}'>{form}</query>");
    alice.ask(&format!("<iq type='set' id='own' to='{ROOM}'>{config}</iq>")).await?;
    let mut raw = stands(&fake, &mut alice).await?;
    let own = one.identity(&["peer.test"]);
    let mut back = Raw::external(one.site.address, ("peer.test", ROOMS), &own).await?;
    let ends = format!("from='eve@peer.test/x' to='{ROOM}/eve'");
    back.send(&format!("<presence {ends}><x xmlns='{MUC}'/></presence>")).await?;
    assert_eq!(judges(&mut raw, "valid").await?, ROOMS);
    let whisper = |id: &str| {
        format!("<message type='chat' id='{id}' to='{ROOM}/eve'><body>{id}</body></message>")
    };
    // All that comes counts.
    let mut count = 1;
    for (id, stanza) in [
        ("w1", whisper("w1")),
        ("m1", chat("eve@peer.test", "m1")),
        ("w2", whisper("w2")),
        ("m2", chat("eve@peer.test", "m2")),
    ] {
        if id == "w1" {
            count += comes(&mut raw, |e| is_message(e) && e.find("subject").is_some()).await?;
        }
        alice.send(&stanza).await?;
        count += comes(&mut raw, |e| e.attr("id") == Some(id)).await?;
    }
    drop(raw);
    let mut raw = fake.accept_as(&features()).await?;
    raw.expect(|e| e.is(SM, "resume")).await?;
    // All but the last two.
    raw.send(&format!("<resumed xmlns='{SM}' previd='former' h='{}'/>", count - 2)).await?;
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("m2"));
    assert_eq!(judges(&mut raw, "valid").await?, ROOMS);
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("w2"));
    alice.send(&whisper("w3")).await?;
    assert_eq!(raw.expect(is_message).await?.attr("id"), Some("w3"));
    Ok(())
}

/// How many stanzas come up to this one.
async fn comes(raw: &mut Raw, is_last: impl Fn(&Element) -> bool) -> Outcome<u32> {
    let mut count = 0;
    loop {
        let one = raw.expect(|e| ["message", "presence", "iq"].contains(&&*e.name)).await?;
        count += 1;
        if is_last(&one) {
            return Ok(count);
        }
    }
}
