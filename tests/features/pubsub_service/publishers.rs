//! XEP-0060 §6.5, §7: publishing, deleting and retrieving items; each error.

use super::lab;
use crate::harness::client::Outcome;
use crate::harness::feeds::{
    PUBSUB, ask, configure, create, form, heard, item, publish, retrieve, said, set, subscribe,
};
use crate::harness::process::Lab;

fn options(fields: &[(&str, &str)]) -> String {
    let form = form("publish-options", fields);
    let item = item("o");
    format!("<publish node='n'>{item}</publish><publish-options>{form}</publish-options>")
}

/// §7.1.3, §7.1.5, §7.2.3
#[tokio::test]
async fn what_cannot_be_published_gets_the_error_of_its_section() -> Outcome<()> {
    let set_to = [
        "modules.pubsub_service.item_bytes_max=1000",
        "modules.pubsub_service.bytes_per_creator_max=20000",
    ];
    let lab = Lab::new(&["alice", "bob"], &set_to);
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    for (node, fields) in [
        ("n", &[][..]),
        ("full", &[("max_items", "1"), ("publish_node_full", "reject")]),
        ("bare", &[("persist_items", "0"), ("deliver_payloads", "0")]),
    ] {
        create(&mut alice, node, fields).await?;
    }
    assert_eq!(publish(&mut alice, "full", "1").await?, "ok");
    let big = format!("<item><x xmlns='urn:x'>{}</x></item>", "x".repeat(1_000));
    for (request, expected) in [
        (format!("<publish>{}</publish>", item("1")), "bad-request nodeid-required"),
        ("<publish node='n'/>".to_owned(), "bad-request item-required"),
        ("<publish node='n'><item/></publish>".to_owned(), "bad-request payload-required"),
        (
            "<publish node='n'><item><x xmlns='urn:x'/><y xmlns='urn:x'/></item></publish>"
                .to_owned(),
            "bad-request invalid-payload",
        ),
        (format!("<publish node='n'>{}{}</publish>", item("1"), item("2")), "bad-request"),
        (format!("<publish node='n'>{big}</publish>"), "not-acceptable payload-too-big"),
        (format!("<publish node='bare'>{}</publish>", item("1")), "bad-request item-forbidden"),
        (format!("<publish node='full'>{}</publish>", item("2")), "conflict node-full"),
        (format!("<publish node='full'>{}</publish>", item("1")), "ok"),
        (options(&[("access_model", "whitelist")]), "conflict precondition-not-met"),
        (options(&[("access_model", "open")]), "ok"),
        (options(&[("colour", "blue")]), "bad-request invalid-options"),
        ("<retract node='n'/>".to_owned(), "bad-request item-required"),
        ("<retract><item id='1'/></retract>".to_owned(), "bad-request nodeid-required"),
        ("<retract node='n'><item id='none'/></retract>".to_owned(), "item-not-found"),
        ("<retract node='none'><item id='1'/></retract>".to_owned(), "item-not-found"),
        (
            "<retract node='bare'><item id='1'/></retract>".to_owned(),
            "feature-not-implemented unsupported persistent-items",
        ),
        ("<retract node='n'><item id='o'/></retract>".to_owned(), "ok"),
    ] {
        assert_eq!(set(&mut alice, &request).await?, expected, "{request}");
    }
    assert_eq!(publish(&mut bob, "n", "1").await?, "forbidden");
    assert_eq!(set(&mut bob, "<retract node='n'><item id='1'/></retract>").await?, "forbidden");
    // What one creator may store is bounded, by whomever its nodes are filled; others have room.
    assert_eq!(configure(&mut alice, "n", &[("publish_model", "open")]).await?, "ok");
    let mut last = String::new();
    for number in 0..40 {
        let text = "x".repeat(900);
        let item = format!("<item id='{number}'><x xmlns='urn:x'>{text}</x></item>");
        last = set(&mut bob, &format!("<publish node='n'>{item}</publish>")).await?;
    }
    assert_eq!(last, "resource-constraint");
    assert_eq!(set(&mut alice, "<create node='more'/>").await?, "resource-constraint");
    assert_eq!(publish(&mut bob, "own", "1").await?, "ok");
    Ok(())
}

/// §6.5: all items, the last ones, one of them, a page; §7.1.2.5: the oldest goes; §7.1.2.3: the publisher is shown.
#[tokio::test]
async fn items_are_retrieved() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    create(&mut alice, "n", &[("max_items", "3")]).await?;
    for id in ["1", "2", "3", "4"] {
        assert_eq!(publish(&mut alice, "n", id).await?, "ok");
    }
    assert_eq!(retrieve(&mut bob, "n").await?, "2 3 4");
    let rsm = |inner: &str| {
        format!("<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")
    };
    for (request, expected) in [
        ("<items node='n' max_items='2'/>".to_owned(), "3 4"),
        ("<items node='n'><item id='3'/><item id='9'/></items>".to_owned(), "3"),
        (rsm("<max>1</max><before/>"), "4"),
        (rsm("<max>1</max><after>2</after>"), "3"),
    ] {
        let answer = ask(&mut bob, "get", PUBSUB, &request).await?;
        let items = answer.find("items").map(|items| items.children.iter());
        let ids: Vec<_> = items.into_iter().flatten().filter_map(|item| item.attr("id")).collect();
        assert_eq!(ids.join(" "), expected, "{request}");
        let by = answer.find("item").and_then(|item| item.attr("publisher"));
        assert_eq!(by, Some("alice@localhost"), "{answer}");
    }
    create(
        &mut alice,
        "fleeting",
        &[("persist_items", "0"), ("send_last_published_item", "never")],
    )
    .await?;
    for (request, expected) in [
        ("<items/>", "bad-request nodeid-required"),
        ("<items node='none'/>", "item-not-found"),
        ("<items node='fleeting'/>", "feature-not-implemented unsupported persistent-items"),
        ("<items node='n' max_items='x'/>", "bad-request"),
        ("<items node='n'><item/></items>", "bad-request item-required"),
    ] {
        assert_eq!(said(&ask(&mut bob, "get", PUBSUB, request).await?), expected, "{request}");
    }
    Ok(())
}

/// §4.3, §7.1.2.2, §7.2.2.1: what a notification holds is the node's to say.
#[tokio::test]
async fn a_node_says_what_its_subscribers_are_told() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    for (node, fields) in [
        ("whole", &[][..]),
        ("short", &[("deliver_payloads", "0")]),
        ("silent", &[("deliver_notifications", "0")]),
        ("kept", &[("notify_retract", "0")]),
    ] {
        create(&mut alice, node, fields).await?;
        assert_eq!(subscribe(&mut bob, node, "bob@localhost").await?, "subscribed");
        assert_eq!(publish(&mut alice, node, "1").await?, "ok");
        assert_eq!(
            set(&mut alice, &format!("<retract node='{node}'><item id='1'/></retract>")).await?,
            "ok"
        );
    }
    bob.fence().await?;
    let came = bob.take();
    let said: Vec<String> = came.iter().flat_map(crate::harness::feeds::news).collect();
    assert_eq!(said, ["whole 1", "whole -1", "short 1", "short -1", "kept 1"]);
    let payloads = came.iter().map(|message| message.find("x").is_some()).collect::<Vec<_>>();
    assert_eq!(payloads, [true, false, false, false, true]);
    // §7.2.2.1: the request may ask for it.
    assert_eq!(publish(&mut alice, "kept", "2").await?, "ok");
    let retract = "<retract node='kept' notify='true'><item id='2'/></retract>";
    assert_eq!(set(&mut alice, retract).await?, "ok");
    assert_eq!(heard(&mut bob).await?, ["kept 2", "kept -2"]);
    Ok(())
}
