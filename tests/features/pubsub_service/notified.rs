//! XEP-0060 §12.3, §12.4, §12.6, §12.7: to whom notifications go, in which order, and of which type.

use super::lab;
use crate::harness::client::{Client, Outcome};
use crate::harness::feeds::{FEEDS, create, heard, hears, news, publish, subscribe};

async fn hears_n(client: &mut Client, count: usize) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    while all.len() < count {
        let message = client.expect(|e| e.name == "message" && !news(e).is_empty()).await?;
        all.extend(news(&message));
    }
    Ok(all)
}

/// Each subscriber hears all that is published, in one order: that of the node's items.
#[tokio::test]
async fn all_subscribers_hear_in_the_order_of_the_items() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    create(&mut alice, "n", &[("publish_model", "open")]).await?;
    let mut readers = Vec::new();
    for (user, resource, to_full) in
        [("carol", "one", false), ("carol", "two", false), ("dave", "x", true), ("bob", "y", false)]
    {
        let mut reader = lab.online(user, resource).await?;
        let jid = if to_full { reader.jid.clone() } else { format!("{user}@localhost") };
        assert_eq!(subscribe(&mut reader, "n", &jid).await?, "subscribed");
        readers.push(reader);
    }
    let many = |name: &'static str| (0..30).map(move |number| format!("{name}{number}"));
    let by_alice = async {
        for id in many("a") {
            assert_eq!(publish(&mut alice, "n", &id).await?, "ok");
        }
        Ok::<_, crate::harness::client::Failure>(())
    };
    let by_bob = async {
        for id in many("b") {
            assert_eq!(publish(&mut bob, "n", &id).await?, "ok");
        }
        Ok::<_, crate::harness::client::Failure>(())
    };
    let (a, b) = tokio::join!(by_alice, by_bob);
    a?;
    b?;
    let items = crate::harness::feeds::retrieve(&mut alice, "n").await?;
    let order: Vec<String> = items.split(' ').map(|id| format!("n {id}")).collect();
    assert_eq!(order.len(), 60);
    for reader in &mut readers {
        assert_eq!(hears_n(reader, 60).await?, order, "{}", reader.jid);
        assert!(heard(reader).await?.is_empty(), "each once");
    }
    Ok(())
}

/// §12.3: to the address that is subscribed, and no other; each message has an id of its own (§12.4).
#[tokio::test]
async fn a_notification_is_for_the_address_that_is_subscribed() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    create(&mut alice, "n", &[]).await?;
    let (mut one, mut two) = (lab.online("bob", "one").await?, lab.online("bob", "two").await?);
    let mut three = lab.login_as("bob", "three").await?;
    three.send("<presence><priority>-1</priority></presence>").await?;
    three.fence().await?;
    let full = two.jid.clone();
    assert_eq!(subscribe(&mut two, "n", &full).await?, "subscribed");
    assert_eq!(publish(&mut alice, "n", "1").await?, "ok");
    let told = hears(&mut two, "n 1").await?;
    assert_eq!((told.attr("from"), told.attr("to")), (Some(FEEDS), Some(&*full)));
    assert_eq!(told.attr("type"), Some("headline"));
    assert!(heard(&mut one).await?.is_empty());
    assert_eq!(subscribe(&mut one, "n", "bob@localhost").await?, "subscribed");
    // §6.1.7: the last one, to the address that is new.
    assert!(hears(&mut one, "n 1").await?.find("delay").is_some());
    two.fence().await?;
    two.forget();
    assert_eq!(publish(&mut alice, "n", "2").await?, "ok");
    let to_bare = hears(&mut one, "n 2").await?;
    assert_eq!(to_bare.attr("to"), Some("bob@localhost"));
    two.fence().await?;
    let came = two.take();
    let to: Vec<_> = came.iter().filter_map(|e| e.attr("to")).collect();
    assert_eq!((to.contains(&"bob@localhost"), to.contains(&&*full), to.len()), (true, true, 2));
    assert_ne!(came[0].attr("id"), came[1].attr("id"));
    assert!(heard(&mut three).await?.is_empty(), "RFC 6121 §8.5.2.1.1");
    Ok(())
}

/// §12.7: a headline is for who is there; a normal message waits. §12.6: unless it is for who is online alone.
#[tokio::test]
async fn the_type_says_whether_a_notification_waits() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    for (node, fields) in [
        ("head", &[("notification_type", "headline")][..]),
        ("wait", &[("notification_type", "normal")]),
        ("there", &[("notification_type", "normal"), ("presence_based_delivery", "1")]),
    ] {
        create(&mut alice, node, fields).await?;
        assert_eq!(subscribe(&mut bob, node, "bob@localhost").await?, "subscribed");
        assert_eq!(publish(&mut alice, node, "1").await?, "ok");
    }
    assert_eq!(heard(&mut bob).await?, ["head 1", "wait 1", "there 1"]);
    bob.close().await?;
    for node in ["head", "wait", "there"] {
        assert_eq!(publish(&mut alice, node, "2").await?, "ok");
    }
    let mut bob = lab.online("bob", "b").await?;
    hears(&mut bob, "wait 2").await?;
    assert!(heard(&mut bob).await?.is_empty());
    Ok(())
}

/// A device that hibernates (XEP-0198 §5) hears it once, when it is back; one that nobody looks at (XEP-0352) in
/// its time.
#[tokio::test]
async fn a_sleeping_device_hears_when_it_is_back() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    create(&mut alice, "n", &[]).await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "subscribed");
    let (handled, jid) = (bob.handled, bob.jid.clone());
    drop(bob);
    lab.sleeps(&jid);
    assert_eq!(publish(&mut alice, "n", "1").await?, "ok");
    let (mut bob, _) = lab.resumed("bob", &id, handled).await?;
    hears(&mut bob, "n 1").await?;
    assert!(heard(&mut bob).await?.is_empty());
    Ok(())
}

/// XEP-0191: whoever blocks the service hears nothing of it.
#[tokio::test]
async fn who_blocks_the_service_is_not_told() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    create(&mut alice, "n", &[]).await?;
    let full = bob.jid.clone();
    for jid in ["bob@localhost", &full] {
        assert_eq!(subscribe(&mut bob, "n", jid).await?, "subscribed");
    }
    let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='{FEEDS}'/></block>");
    bob.ask(&format!("<iq type='set' id='b'>{block}</iq>")).await?;
    bob.fence().await?;
    bob.forget();
    assert_eq!(publish(&mut alice, "n", "1").await?, "ok");
    assert!(heard(&mut bob).await?.is_empty());
    Ok(())
}
