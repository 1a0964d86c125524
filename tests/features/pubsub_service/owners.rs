//! XEP-0060 §8: owners, and operators, who have their rights at all nodes.

use super::lab;
use crate::harness::client::Outcome;
use crate::harness::feeds::{
    OWNER, ask, configure, create, form, heard, hears, own_set, publish, retrieve, said, subscribe,
};

/// §8.2, §8.3
#[tokio::test]
async fn a_node_is_configured_by_its_owners() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    create(&mut alice, "n", &[("notify_config", "1")]).await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "subscribed");
    for request in ["<configure node='n'/>", "<default/>"] {
        let told = ask(&mut alice, "get", OWNER, request).await?.to_string();
        for there in
            ["pubsub#access_model", "pubsub#presence_based_delivery", "whitelist", "on_sub"]
        {
            assert!(told.contains(there), "{there}: {told}");
        }
        // Of what only a roster and presence could say.
        for not_there in [">presence<", ">roster<", "roster_groups_allowed", "on_sub_and_presence"]
        {
            assert!(!told.contains(not_there), "{not_there}: {told}");
        }
    }
    for (request, expected) in [
        ("<configure/>", "bad-request nodeid-required"),
        ("<configure node='none'/>", "item-not-found"),
        ("<default type='collection'/>", "feature-not-implemented unsupported collections"),
    ] {
        assert_eq!(said(&ask(&mut alice, "get", OWNER, request).await?), expected, "{request}");
    }
    let get = ask(&mut bob, "get", OWNER, "<configure node='n'/>").await?;
    assert_eq!(said(&get), "forbidden");
    for (fields, expected) in [
        (&[("access_model", "presence")], "not-acceptable unsupported-access-model"),
        (&[("access_model", "roster")], "not-acceptable unsupported-access-model"),
        (&[("send_last_published_item", "on_sub_and_presence")], "not-acceptable"),
        (&[("persist_items", "perhaps")], "bad-request invalid-options"),
        (&[("title", "N")], "ok"),
    ] {
        assert_eq!(configure(&mut alice, "n", fields).await?, expected, "{fields:?}");
    }
    assert_eq!(configure(&mut bob, "n", &[("title", "B")]).await?, "forbidden");
    assert_eq!(configure(&mut alice, "none", &[("title", "B")]).await?, "item-not-found");
    let form = form("node_config", &[("title", "C")]).replace("'submit'", "'cancel'");
    let cancel = format!("<configure node='n'>{form}</configure>");
    assert_eq!(own_set(&mut alice, &cancel).await?, "ok");
    assert_eq!(own_set(&mut alice, "<configure node='n'/>").await?, "bad-request");
    // §8.2.5.3
    let told = hears(&mut bob, "n configuration").await?;
    assert!(told.to_string().contains("<value>N</value>"), "{told}");
    assert!(heard(&mut bob).await?.is_empty(), "only what changed something is told");
    Ok(())
}

/// §8.4, §8.5
#[tokio::test]
async fn a_node_is_emptied_and_deleted_by_its_owners() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    create(&mut alice, "n", &[]).await?;
    create(&mut alice, "fleeting", &[("persist_items", "0")]).await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "subscribed");
    for id in ["1", "2"] {
        assert_eq!(publish(&mut alice, "n", id).await?, "ok");
    }
    assert_eq!(heard(&mut bob).await?, ["n 1", "n 2"]);
    for (request, expected) in [
        ("<purge node='none'/>", "item-not-found"),
        ("<purge/>", "bad-request nodeid-required"),
        ("<purge node='fleeting'/>", "feature-not-implemented unsupported persistent-items"),
        ("<delete node='none'/>", "item-not-found"),
        ("<purge node='n'/>", "ok"),
    ] {
        assert_eq!(own_set(&mut alice, request).await?, expected, "{request}");
    }
    for request in ["<purge node='n'/>", "<delete node='n'/>"] {
        assert_eq!(own_set(&mut bob, request).await?, "forbidden", "{request}");
    }
    assert_eq!(heard(&mut bob).await?, ["n purge"]);
    assert_eq!(retrieve(&mut bob, "n").await?, "");
    let redirect = "<delete node='n'><redirect uri='xmpp:pubsub.localhost?;node=m'/></delete>";
    assert_eq!(own_set(&mut alice, redirect).await?, "ok");
    let told = hears(&mut bob, "n delete").await?;
    assert_eq!(
        told.find("redirect").and_then(|e| e.attr("uri")),
        Some("xmpp:pubsub.localhost?;node=m")
    );
    assert_eq!(retrieve(&mut bob, "n").await?, "item-not-found");
    Ok(())
}

/// §8.8, §8.9
#[tokio::test]
async fn owners_keep_the_lists_of_their_nodes() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.online("bob", "b").await?);
    create(&mut alice, "n", &[("notify_sub", "1")]).await?;
    let subs = |jid: &str, to: &str| {
        format!(
            "<subscriptions node='n'><subscription jid='{jid}' subscription='{to}'/></subscriptions>"
        )
    };
    let affs = |jid: &str, to: &str| {
        format!(
            "<affiliations node='n'><affiliation jid='{jid}' affiliation='{to}'/></affiliations>"
        )
    };
    for (request, expected) in [
        (subs("bob@localhost", "subscribed"), "ok"),
        (subs("bob@localhost", "unconfigured"), "not-acceptable"),
        (subs("carol@localhost", "pending"), "not-acceptable"),
        (subs("@", "subscribed"), "jid-malformed"),
        (subs("bob@localhost", "none").replace("'n'", "'none'"), "item-not-found"),
        (affs("bob@localhost", "publisher"), "ok"),
        (affs("bob@localhost", "king"), "not-acceptable"),
        // §4.1, §8.9.2.4
        (affs("bob@localhost", "member"), "not-acceptable"),
        (affs("alice@localhost", "none"), "not-acceptable"),
        (affs("bob@localhost", "owner").replace("'n'", "'none'"), "item-not-found"),
    ] {
        assert_eq!(own_set(&mut alice, &request).await?, expected, "{request}");
    }
    hears(&mut bob, "n subscribed").await?;
    for (request, jid) in [
        ("<subscriptions node='n'/>", "<subscription jid=\"bob@localhost\""),
        ("<affiliations node='n'/>", "<affiliation affiliation=\"owner\" jid=\"alice@localhost\""),
    ] {
        let list = ask(&mut alice, "get", OWNER, request).await?;
        let jids = list.to_string();
        let jid = jid.split("jid=").last().unwrap();
        assert!(jids.contains(jid.trim_matches('"')), "{jids}");
        assert_eq!(said(&ask(&mut bob, "get", OWNER, request).await?), "forbidden");
    }
    for request in [subs("carol@localhost", "subscribed"), affs("carol@localhost", "member")] {
        assert_eq!(own_set(&mut bob, &request).await?, "forbidden", "{request}");
    }
    // §8.9.2: whoever is cast out is subscribed no longer, and told so.
    assert_eq!(own_set(&mut alice, &affs("bob@localhost", "outcast")).await?, "ok");
    hears(&mut bob, "n none").await?;
    assert_eq!(subscribe(&mut bob, "n", "bob@localhost").await?, "forbidden");
    Ok(())
}

/// Operators do at each node what its owners do, and are in no list for it.
#[tokio::test]
async fn operators_look_after_all_nodes() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut dave) = (lab.login("alice").await?, lab.login("dave").await?);
    create(&mut alice, "n", &[("access_model", "whitelist")]).await?;
    assert_eq!(publish(&mut alice, "n", "1").await?, "ok");
    assert_eq!(retrieve(&mut dave, "n").await?, "1");
    // What nobody let him subscribe to he does not hear of.
    assert_eq!(subscribe(&mut dave, "n", "dave@localhost").await?, "not-allowed closed-node");
    let list = ask(&mut dave, "get", OWNER, "<affiliations node='n'/>").await?.to_string();
    assert!(list.contains("alice@localhost") && !list.contains("jid=\"dave"), "{list}");
    let own = ask(&mut dave, "get", crate::harness::feeds::PUBSUB, "<affiliations/>").await?;
    assert!(own.find("affiliation").is_none(), "{own}");
    // What he creates is his own, whatever his role is later.
    create(&mut dave, "his", &[]).await?;
    let list = ask(&mut dave, "get", OWNER, "<affiliations node='his'/>").await?.to_string();
    assert!(list.contains("dave@localhost"), "{list}");
    let take = "<affiliations node='n'><affiliation jid='alice@localhost' affiliation='outcast'/><affiliation jid='bob@localhost' affiliation='owner'/></affiliations>";
    assert_eq!(own_set(&mut dave, take).await?, "ok");
    assert_eq!(publish(&mut alice, "n", "2").await?, "forbidden");
    assert_eq!(own_set(&mut dave, "<delete node='n'/>").await?, "ok");
    Ok(())
}
