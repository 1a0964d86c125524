//! What a service keeps, and what goes with whom.

use super::lab;
use crate::harness::client::Outcome;
use crate::harness::feeds::{
    OWNER, PUBSUB, ask, configure, create, heard, hears, own_set, publish, retrieve, said,
    subscribe,
};
use crate::harness::process::Lab;

/// promise.md: a result means that it is on disk; a kill right behind it takes nothing.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    create(&mut alice, "n", &[("title", "N"), ("access_model", "authorize")]).await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "pending");
    for id in ["1", "2", "3"] {
        assert_eq!(publish(&mut alice, "n", id).await?, "ok");
    }
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    assert_eq!(retrieve(&mut alice, "n").await?, "1 2 3");
    assert_eq!(
        subscribe(&mut bob, "n", "bob@localhost").await?,
        "not-authorized pending-subscription"
    );
    let let_in = "<affiliations node='n'><affiliation jid='bob@localhost' affiliation='member'/></affiliations>";
    assert_eq!(own_set(&mut alice, let_in).await?, "ok");
    hears(&mut bob, "n subscribed").await?;
    hears(&mut bob, "n 3").await?;
    Ok(())
}

/// Whoever has the name next is nobody at the service.
#[tokio::test]
async fn an_account_that_goes_is_nothing_at_the_service_any_more() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    create(&mut alice, "n", &[("access_model", "whitelist")]).await?;
    let member = "<affiliations node='n'><affiliation jid='bob@localhost' affiliation='owner'/></affiliations>";
    assert_eq!(own_set(&mut alice, member).await?, "ok");
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "subscribed");
    bob.send("<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>")
        .await?;
    bob.ended().await?;
    for request in ["<subscriptions node='n'/>", "<affiliations node='n'/>"] {
        let list = ask(&mut alice, "get", OWNER, request).await?;
        assert!(!list.to_string().contains("bob@"), "{list}");
    }
    Ok(())
}

/// `purge_offline`: what somebody published goes when the last of its sessions does.
#[tokio::test]
async fn a_publisher_that_goes_offline_takes_its_items_along() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut carol) = (lab.login("alice").await?, lab.online("carol", "c").await?);
    // Before there is such a node, and after: who goes meanwhile was looked at, too.
    lab.online("dave", "d").await?.close().await?;
    create(&mut alice, "n", &[("publish_model", "open")]).await?;
    assert_eq!(configure(&mut alice, "n", &[("purge_offline", "1")]).await?, "ok");
    assert_eq!(subscribe(&mut carol, "n", "carol@localhost").await?, "subscribed");
    let (mut one, two) = (lab.online("bob", "one").await?, lab.online("bob", "two").await?);
    assert_eq!(publish(&mut one, "n", "b").await?, "ok");
    assert_eq!(publish(&mut alice, "n", "a").await?, "ok");
    let mut two = two;
    two.close().await?;
    assert_eq!(heard(&mut carol).await?, ["n b", "n a"]);
    one.send("<presence type='unavailable'/>").await?;
    hears(&mut carol, "n -b").await?;
    assert_eq!(retrieve(&mut alice, "n").await?, "a");
    Ok(())
}

/// Nodes of accounts are not the service's, whatever they are called.
#[tokio::test]
async fn an_account_has_other_nodes_than_the_service() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    create(&mut alice, "n", &[]).await?;
    let items = format!("<pubsub xmlns='{PUBSUB}'><items node='n'/></pubsub>");
    let own = alice.ask(&format!("<iq type='get' id='o'>{items}</iq>")).await?;
    assert_eq!(said(&own), "item-not-found");
    Ok(())
}
