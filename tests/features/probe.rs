//! Presence probes (RFC 6121 §4.3.2) of those who are not available.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::sm::friends;

async fn unavailable(client: &mut Client, from: &str) -> Outcome<Element> {
    client.expect(|e| e.attr("type") == Some("unavailable") && e.attr("from") == Some(from)).await
}

/// The stamp of the answer to a probe, which is all that it says.
async fn since(client: &mut Client) -> Outcome<Option<String>> {
    client.send("<presence type='probe' id='p' to='alice@localhost'/>").await?;
    let answer = client.expect(|e| e.attr("id") == Some("p")).await?;
    assert_eq!(answer.attr("type"), Some("unavailable"), "{answer}");
    assert!(answer.find("status").is_none(), "{answer}");
    let delay = answer.child("urn:xmpp:delay", "delay");
    assert_eq!(answer.children.len(), usize::from(delay.is_some()), "{answer}");
    Ok(delay.and_then(|delay| delay.attr("stamp")).map(ToOwned::to_owned))
}

/// §4.3.2 rule 3: since when, "in any case": while the contact is connected, and in the moment in which it
/// leaves.
#[tokio::test]
async fn who_is_not_available_has_a_time() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    friends(&lab).await?;
    let mut bob = lab.online("bob", "r").await?;
    let before = since(&mut bob).await?.expect("when she left last");
    let mut alice = lab.online("alice", "r").await?;
    let mut second = lab.online("alice", "second").await?;
    let (first_jid, second_jid) = (alice.jid.clone(), second.jid.clone());
    alice.send("<presence type='unavailable'/>").await?;
    unavailable(&mut bob, &first_jid).await?;
    second.send("<presence type='unavailable'><status>bye</status></presence>").await?;
    unavailable(&mut bob, &second_jid).await?;
    let still_connected = since(&mut bob).await?.expect("a time");
    assert_ne!(still_connected, before, "not the time of the logout before");
    assert_eq!(since(&mut bob).await?.as_ref(), Some(&still_connected), "it stands");
    // Said again it is no news.
    second.send("<presence type='unavailable'/>").await?;
    second.fence().await?;
    assert_eq!(since(&mut bob).await?.as_ref(), Some(&still_connected));
    // Back, and gone without a word.
    alice.send("<presence/>").await?;
    bob.expect(|e| {
        e.name == "presence" && e.attr("from") == Some(&first_jid) && e.attr("type").is_none()
    })
    .await?;
    drop(alice);
    unavailable(&mut bob, &first_jid).await?;
    let cut = since(&mut bob).await?.expect("a time");
    assert_ne!(cut, still_connected);
    Ok(())
}
