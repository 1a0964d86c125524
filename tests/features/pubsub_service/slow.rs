//! Whoever publishes faster than its subscribers read is slowed, and nobody gets an error (promise.md 5).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::feeds::{FEEDS, PUBSUB, create, news, subscribe};
use crate::harness::process::Lab;

const ITEMS: usize = 250;
const ITEM_BYTES: usize = 60_000;
/// Of the subscriber's outbox.
const BOX_BYTES: usize = 600_000;
/// Round trips of somebody else after which the publisher is known to wait.
const PATIENCE: usize = 20;

/// The subscriber reads only while the publisher waits. So either of them gets on by the other, and the box never
/// overflows, which would end the subscriber's stream.
#[tokio::test]
async fn a_slow_subscriber_slows_the_publisher() -> Outcome<()> {
    let bound = format!("limits.outbox_bytes_max={BOX_BYTES}");
    let set = ["limits.stanzas_per_second=0", "limits.bytes_per_second=0", &bound];
    let lab = Lab::new(&["alice", "bob", "carol"], &set);
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    let mut carol = lab.login("carol").await?;
    create(&mut alice, "n", &[("max_items", "1")]).await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "subscribed");
    bob.fence().await?;
    bob.forget();
    let (mut heard, mut waits) = (Vec::new(), 0);
    for n in 0..ITEMS {
        let payload = format!("<x xmlns='urn:x'>{}</x>", "x".repeat(ITEM_BYTES));
        let publish = format!("<publish node='n'><item id='{n}'>{payload}</item></publish>");
        let pubsub = format!("<pubsub xmlns='{PUBSUB}'>{publish}</pubsub>");
        alice.send(&format!("<iq type='set' id='p{n}' to='{FEEDS}'>{pubsub}</iq>")).await?;
        let answer = loop {
            if let Some(answer) = answered(&mut alice, &mut carol).await? {
                if answer.attr("id") == Some(&*format!("p{n}")) {
                    break answer;
                }
                continue;
            }
            waits += 1;
            heard.extend(news(&bob.expect(|e| e.name == "message").await?));
        };
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    }
    while heard.len() < ITEMS {
        heard.extend(news(&bob.expect(|e| e.name == "message").await?));
    }
    let all: Vec<String> = (0..ITEMS).map(|n| format!("n {n}")).collect();
    assert_eq!(heard, all, "each once, in order");
    assert!(waits > 0, "the publisher never waited");
    Ok(())
}

/// The publisher's answer, unless it takes longer than so many round trips of somebody else.
async fn answered(publisher: &mut Client, other: &mut Client) -> Outcome<Option<Element>> {
    let mut trips = std::pin::pin!(async {
        for _ in 0..PATIENCE {
            other.fence().await?;
        }
        Ok(())
    });
    tokio::select! {
        biased;
        answer = publisher.next() => match answer? {
            Some(answer) => Ok(Some(answer)),
            None => publisher.fail("the stream ended"),
        },
        done = &mut trips => done.map(|()| None),
    }
}
