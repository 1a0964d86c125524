//! XEP-0060 §5.6, §5.7, §6: subscribers, and what each access model lets them do.

use super::lab;
use crate::harness::client::Outcome;
use crate::harness::feeds::{
    PUBSUB, ask, configure, create, form, heard, hears, own_set, publish, retrieve, said, set,
    subscribe, unsubscribe,
};
use crate::harness::process::Lab;

fn affiliation(node: &str, jid: &str, to: &str) -> String {
    format!(
        "<affiliations node='{node}'><affiliation jid='{jid}' affiliation='{to}'/></affiliations>"
    )
}

/// §6.1.3, §6.2.3, §6.3, §6.4: each error.
#[tokio::test]
async fn what_cannot_be_subscribed_gets_the_error_of_its_section() -> Outcome<()> {
    let set_to = [
        "modules.pubsub_service.subscriptions_per_account_max=3",
        "modules.pubsub_service.subscriptions_per_node_max=2",
    ];
    let lab = Lab::new(&["alice", "bob", "carol", "dave"], &set_to);
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    for (node, fields) in [
        ("open", &[][..]),
        ("listed", &[("access_model", "whitelist")]),
        ("asked", &[("access_model", "authorize")]),
        ("shut", &[("subscribe", "0")]),
        ("barred", &[]),
    ] {
        create(&mut alice, node, fields).await?;
    }
    assert_eq!(
        own_set(&mut alice, &affiliation("barred", "bob@localhost", "outcast")).await?,
        "ok"
    );
    let bob_jid = "bob@localhost";
    for (node, jid, expected) in [
        ("open", "alice@localhost", "bad-request invalid-jid"),
        ("open", "@", "bad-request invalid-jid"),
        ("listed", bob_jid, "not-allowed closed-node"),
        ("barred", bob_jid, "forbidden"),
        ("shut", bob_jid, "feature-not-implemented unsupported subscribe"),
        ("nothing", bob_jid, "item-not-found"),
        ("asked", bob_jid, "pending"),
        ("asked", bob_jid, "not-authorized pending-subscription"),
        ("open", bob_jid, "subscribed"),
        // §6.1.6: once more changes nothing.
        ("open", bob_jid, "subscribed"),
        ("open", "bob@localhost/x", "subscribed"),
        ("open", "bob@localhost/y", "policy-violation too-many-subscriptions"),
    ] {
        assert_eq!(subscribe(&mut bob, node, jid).await?, expected, "{node} {jid}");
    }
    let mut carol = lab.login("carol").await?;
    // The node's bound, not hers.
    let full = subscribe(&mut carol, "open", "carol@localhost").await?;
    assert_eq!(full, "policy-violation too-many-subscriptions");
    for (request, expected) in [
        ("<subscribe node='open'/>", "bad-request jid-required"),
        ("<subscribe jid='bob@localhost'/>", "bad-request nodeid-required"),
        (
            "<subscribe node='open' jid='bob@localhost'/><options/>",
            "feature-not-implemented unsupported subscription-options",
        ),
        (
            "<options node='open' jid='bob@localhost'/>",
            "feature-not-implemented unsupported subscription-options",
        ),
        ("<unsubscribe node='open' jid='alice@localhost'/>", "forbidden"),
        (
            "<unsubscribe node='open' jid='bob@localhost/none'/>",
            "unexpected-request not-subscribed",
        ),
        ("<unsubscribe node='nothing' jid='bob@localhost'/>", "item-not-found"),
        ("<unsubscribe node='open' jid='bob@localhost'/>", "ok"),
        ("<unsubscribe node='open' jid='bob@localhost'/>", "unexpected-request not-subscribed"),
    ] {
        assert_eq!(set(&mut bob, request).await?, expected, "{request}");
    }
    Ok(())
}

/// §6.3.4.6, §6.4.3.2: subscriptions have no options.
#[tokio::test]
async fn subscriptions_have_no_options() -> Outcome<()> {
    let lab = lab();
    let mut bob = lab.login("bob").await?;
    for (request, expected) in [
        (
            "<options node='open' jid='bob@localhost'/>",
            "feature-not-implemented unsupported subscription-options",
        ),
        ("<default/>", "feature-not-implemented unsupported retrieve-default-sub"),
    ] {
        assert_eq!(said(&ask(&mut bob, "get", PUBSUB, request).await?), expected, "{request}");
    }
    Ok(())
}

/// §4.5, §6.5: who subscribes, retrieves and publishes across accounts, by each access model.
#[tokio::test]
async fn an_access_model_lets_in_whom_it_names() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    let (mut carol, bob_jid) = (lab.login("carol").await?, "bob@localhost");
    for model in ["open", "authorize", "whitelist"] {
        create(&mut alice, model, &[("access_model", model)]).await?;
        assert_eq!(publish(&mut alice, model, "1").await?, "ok");
        assert_eq!(publish(&mut bob, model, "2").await?, "forbidden", "{model}");
    }
    assert_eq!(
        own_set(&mut alice, &affiliation("whitelist", "carol@localhost", "member")).await?,
        "ok"
    );
    for (model, subscribed, stranger) in [
        ("open", "subscribed", "1"),
        ("authorize", "pending", "not-authorized not-subscribed"),
        ("whitelist", "not-allowed closed-node", "not-allowed closed-node"),
    ] {
        assert_eq!(retrieve(&mut bob, model).await?, stranger, "{model}");
        assert_eq!(subscribe(&mut bob, model, bob_jid).await?, subscribed, "{model}");
    }
    // Who waits is let in no more than before.
    assert_eq!(retrieve(&mut bob, "authorize").await?, "not-authorized not-subscribed");
    assert_eq!(retrieve(&mut carol, "whitelist").await?, "1");
    assert_eq!(subscribe(&mut carol, "whitelist", "carol@localhost").await?, "subscribed");
    // §4.1: what an affiliation may.
    for (to, reads, publishes) in [
        ("publisher", "1", "ok"),
        ("member", "1 x", "forbidden"),
        ("publish-only", "forbidden", "ok"),
        ("outcast", "forbidden", "forbidden"),
    ] {
        // By way of none: a publisher does not become a member (§4.1).
        assert_eq!(own_set(&mut alice, &affiliation("whitelist", bob_jid, "none")).await?, "ok");
        assert_eq!(
            own_set(&mut alice, &affiliation("whitelist", bob_jid, to)).await?,
            "ok",
            "{to}"
        );
        assert_eq!(retrieve(&mut bob, "whitelist").await?, reads, "{to}");
        assert_eq!(publish(&mut bob, "whitelist", "x").await?, publishes, "{to}");
    }
    // Subscribers or anybody publish where the node says so.
    create(&mut alice, "wall", &[("publish_model", "subscribers")]).await?;
    assert_eq!(publish(&mut bob, "wall", "1").await?, "forbidden");
    assert_eq!(subscribe(&mut bob, "wall", bob_jid).await?, "subscribed");
    assert_eq!(publish(&mut bob, "wall", "1").await?, "ok");
    assert_eq!(configure(&mut alice, "wall", &[("publish_model", "open")]).await?, "ok");
    assert_eq!(publish(&mut carol, "wall", "2").await?, "ok");
    // Nobody writes over, or deletes, what is another one's.
    assert_eq!(publish(&mut carol, "wall", "1").await?, "forbidden");
    let retract = "<retract node='wall'><item id='1'/></retract>";
    assert_eq!(set(&mut carol, retract).await?, "forbidden");
    assert_eq!(set(&mut bob, retract).await?, "ok");
    Ok(())
}

/// §8.6, §8.7: an owner is asked, and may ask again; whoever is let in hears the last item.
#[tokio::test]
async fn an_owner_says_who_is_let_in() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.online("alice", "a").await?, lab.online("bob", "b").await?);
    let mut carol = lab.online("carol", "c").await?;
    create(&mut alice, "asked", &[("access_model", "authorize")]).await?;
    assert_eq!(publish(&mut alice, "asked", "1").await?, "ok");
    assert_eq!(subscribe(&mut bob, "asked", "bob@localhost").await?, "pending");
    assert_eq!(subscribe(&mut carol, "asked", "carol@localhost").await?, "pending");
    let asks = |jid: &'static str| {
        move |e: &crate::harness::element::Element| {
            e.attr("from") == Some("pubsub.localhost")
                && e.to_string().contains("subscribe_authorization")
                && e.to_string().contains(jid)
        }
    };
    let request = alice.expect(asks("bob@localhost")).await?;
    assert_eq!(request.attr("type"), None, "§12.13: it waits for an owner who is offline");
    alice.expect(asks("carol@localhost")).await?;
    let answer = |jid: &str, allow: &str| {
        let fields = [("node", "asked"), ("subscriber_jid", jid), ("allow", allow)];
        let form = form("subscribe_authorization", &fields);
        format!("<message id='approve' to='pubsub.localhost'>{form}</message>")
    };
    // Not by who does not own it.
    bob.send(&answer("bob@localhost", "1")).await?;
    let refused = bob.expect(|e| e.attr("id") == Some("approve")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    // Whoever cancels leaves it open, and can ask who waits.
    alice.send(&answer("bob@localhost", "1").replace("'submit'", "'cancel'")).await?;
    let pending = |form: &str| {
        let node = "http://jabber.org/protocol/pubsub#get-pending";
        format!(
            "<iq type='set' id='gp' to='pubsub.localhost'><command xmlns='http://jabber.org/protocol/commands' node='{node}'>{form}</command></iq>"
        )
    };
    let form_of = |node: &str| form("subscribe_authorization", &[("node", node)]);
    let nodes = alice.ask(&pending("")).await?;
    let text = nodes.to_string();
    assert!(text.contains("executing") && text.contains("<value>asked</value>"), "{text}");
    assert_eq!(bob.ask(&pending("")).await?.condition(), Some("forbidden"));
    assert_eq!(bob.ask(&pending(&form_of("asked"))).await?.condition(), Some("forbidden"));
    assert_eq!(alice.ask(&pending(&form_of("no"))).await?.condition(), Some("item-not-found"));
    let done = alice.ask(&pending(&form_of("asked"))).await?;
    assert_eq!(done.find("command").and_then(|e| e.attr("status")), Some("completed"));
    alice.expect(asks("bob@localhost")).await?;
    alice.expect(asks("carol@localhost")).await?;
    alice.send(&answer("bob@localhost", "1")).await?;
    hears(&mut bob, "asked subscribed").await?;
    // §6.1.7
    let last = hears(&mut bob, "asked 1").await?;
    assert!(last.find("delay").is_some(), "{last}");
    alice.send(&answer("carol@localhost", "0")).await?;
    hears(&mut carol, "asked none").await?;
    // The first answer counts.
    alice.send(&answer("carol@localhost", "1")).await?;
    let refused = alice.expect(|e| e.attr("id") == Some("approve")).await?;
    assert_eq!(refused.condition(), Some("item-not-found"));
    assert_eq!(publish(&mut alice, "asked", "2").await?, "ok");
    hears(&mut bob, "asked 2").await?;
    assert!(heard(&mut carol).await?.is_empty());
    Ok(())
}

/// §5.6, §5.7: an entity's own lists, of all nodes or of one.
#[tokio::test]
async fn an_entity_lists_what_it_is_at_the_service() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    for node in ["a", "b"] {
        create(&mut alice, node, &[]).await?;
        assert_eq!(subscribe(&mut bob, node, "bob@localhost").await?, "subscribed");
    }
    assert_eq!(subscribe(&mut bob, "b", "bob@localhost/x").await?, "subscribed");
    assert_eq!(own_set(&mut alice, &affiliation("b", "bob@localhost", "publisher")).await?, "ok");
    for (who, request, expected) in [
        (
            "bob",
            "<subscriptions/>",
            &[
                "a bob@localhost subscribed",
                "b bob@localhost subscribed",
                "b bob@localhost/x subscribed",
            ][..],
        ),
        ("bob", "<subscriptions node='a'/>", &["a bob@localhost subscribed"]),
        ("bob", "<affiliations/>", &["b publisher"]),
        ("alice", "<affiliations/>", &["a owner", "b owner"]),
        ("alice", "<affiliations node='b'/>", &["b owner"]),
        ("alice", "<subscriptions/>", &[]),
    ] {
        let client = if who == "bob" { &mut bob } else { &mut alice };
        let answer = ask(client, "get", PUBSUB, request).await?;
        let list = answer.child(PUBSUB, "pubsub").and_then(|e| e.children.first()).expect("a list");
        let entry = |e: &crate::harness::element::Element| {
            let parts = ["node", "jid", "subscription", "affiliation"];
            parts.iter().filter_map(|name| e.attr(name)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list.children.iter().map(entry).collect::<Vec<_>>(), expected, "{request}");
    }
    assert_eq!(unsubscribe(&mut bob, "a", "bob@localhost").await?, "ok");
    Ok(())
}
