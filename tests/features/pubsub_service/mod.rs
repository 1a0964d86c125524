//! XEP-0060 at a domain of its own: nodes that anybody creates, publishes to and subscribes to.

mod kept;
mod notified;
mod owners;
mod publishers;
mod slow;
mod subscribers;

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::feeds::{FEEDS, PUBSUB, create, form, publish, set};
use crate::harness::process::Lab;

const INFO: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";

fn lab() -> Lab {
    Lab::new(&["alice", "bob", "carol", "dave"], &["admin.operators=dave@localhost"])
}

async fn query(client: &mut Client, ns: &str, node: &str, more: &str) -> Outcome<Element> {
    let node = if node.is_empty() { String::new() } else { format!(" node='{node}'") };
    let query = format!("<query xmlns='{ns}'{node}>{more}</query>");
    client.ask(&format!("<iq type='get' id='q' to='{FEEDS}'>{query}</iq>")).await
}

/// An attribute of each item.
fn listed(answer: &Element, attr: &str) -> Vec<String> {
    let items = answer.child(ITEMS, "query").map(|query| query.children.iter());
    let items = items.into_iter().flatten().filter(|child| child.name == "item");
    items.filter_map(|item| item.attr(attr)).map(str::to_owned).collect()
}

/// §5.1 to §5.5: the service, its nodes, their meta-data and items; of a node to which somebody is not let in it
/// says nothing.
#[tokio::test]
async fn the_service_and_its_nodes_are_discovered() -> Outcome<()> {
    let lab = lab();
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let host = alice.ask(&format!("<iq type='get' id='h' to='localhost'>{items}</iq>")).await?;
    assert!(listed(&host, "jid").contains(&FEEDS.to_owned()), "{host}");
    let told = query(&mut alice, INFO, "", "").await?;
    let identity = told.find("identity").expect("an identity");
    assert_eq!(
        (identity.attr("category"), identity.attr("type")),
        (Some("pubsub"), Some("service"))
    );
    let features = &told.child(INFO, "query").expect("a query").children;
    let features: Vec<_> = features.iter().filter_map(|e| e.attr("var")).collect();
    for feature in ["create-nodes", "instant-nodes", "publish", "subscribe", "get-pending"] {
        let feature = format!("{PUBSUB}#{feature}");
        assert!(features.contains(&&*feature), "{feature}");
    }
    // What a service without presence and roster cannot have (§9).
    for feature in ["access-presence", "access-roster", "auto-subscribe", "last-published"] {
        let feature = format!("{PUBSUB}#{feature}");
        assert!(!features.contains(&&*feature), "{feature}");
    }
    assert!(listed(&query(&mut alice, ITEMS, "", "").await?, "node").is_empty());
    create(&mut alice, "news", &[("title", "All the news")]).await?;
    create(&mut alice, "secret", &[("access_model", "whitelist")]).await?;
    for id in ["1", "2"] {
        assert_eq!(publish(&mut alice, "news", id).await?, "ok");
    }
    assert_eq!(listed(&query(&mut alice, ITEMS, "", "").await?, "node"), ["news", "secret"]);
    let seen = query(&mut bob, ITEMS, "", "").await?;
    assert_eq!(
        (listed(&seen, "node"), listed(&seen, "name")),
        (vec!["news".to_owned()], vec!["All the news".to_owned()])
    );
    let told = query(&mut bob, INFO, "news", "").await?;
    assert_eq!(told.find("identity").and_then(|e| e.attr("type")), Some("leaf"));
    let text = told.to_string();
    for part in ["#meta-data", "alice@localhost", "All the news", "pubsub#num_subscribers"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(listed(&query(&mut bob, ITEMS, "news", "").await?, "name"), ["1", "2"]);
    for (ns, node) in [(INFO, "secret"), (ITEMS, "secret"), (INFO, "nothing"), (ITEMS, "nothing")] {
        let refused = query(&mut bob, ns, node, "").await?;
        assert_eq!(refused.condition(), Some("item-not-found"), "{ns} {node}");
    }
    // XEP-0059
    let page = "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set>";
    let paged = query(&mut alice, ITEMS, "", page).await?;
    assert_eq!(listed(&paged, "node"), ["news"]);
    assert_eq!(paged.find("count").map(|count| count.text.as_str()), Some("2"));
    Ok(())
}

/// §8.1: with a name or without, as it is or configured at once; and each error.
#[tokio::test]
async fn nodes_are_created() -> Outcome<()> {
    let set_to = [
        "modules.pubsub_service.nodes_per_creator_max=5",
        "modules.pubsub_service.nodes_max=8",
        "admin.operators=dave@localhost",
    ];
    let lab = Lab::new(&["alice", "bob", "carol", "dave"], &set_to);
    let mut alice = lab.login("alice").await?;
    let configured = |fields: &[(&str, &str)]| {
        format!("<create node='x'/><configure>{}</configure>", form("node_config", fields))
    };
    assert_eq!(set(&mut alice, "<create node='n'/>").await?, "ok");
    for (request, expected) in [
        // §8.1.2
        ("<create node='n'/>".to_owned(), "conflict"),
        (configured(&[("access_model", "presence")]), "not-acceptable unsupported-access-model"),
        (configured(&[("access_model", "roster")]), "not-acceptable unsupported-access-model"),
        (configured(&[("access_model", "friends")]), "not-acceptable unsupported-access-model"),
        (configured(&[("send_last_published_item", "on_sub_and_presence")]), "not-acceptable"),
        (
            configured(&[("node_type", "collection")]),
            "feature-not-implemented unsupported collections",
        ),
        (configured(&[("max_items", "many")]), "bad-request invalid-options"),
        (configured(&[("max_items", "0")]), "not-acceptable"),
        (format!("<create node='{}'/>", "n".repeat(1_024)), "not-acceptable"),
        (configured(&[("access_model", "whitelist")]), "ok"),
    ] {
        assert_eq!(set(&mut alice, &request).await?, expected, "{request}");
    }
    // §8.1.2: an instant node, whose name is in the answer.
    let mut names = Vec::new();
    for _ in 0..2 {
        let made = crate::harness::feeds::ask(&mut alice, "set", PUBSUB, "<create/>").await?;
        names.push(made.find("create").and_then(|e| e.attr("node")).expect("a name").to_owned());
    }
    assert!(names[0].len() > 15 && names[0] != names[1], "{names:?}");
    // §7.1.4: by publishing.
    assert_eq!(publish(&mut alice, "auto", "1").await?, "ok");
    assert_eq!(set(&mut alice, "<create/>").await?, "not-allowed max-nodes-exceeded");
    assert_eq!(publish(&mut alice, "auto2", "1").await?, "not-allowed max-nodes-exceeded");
    // The bound of one creator is not an operator's; that of the service is.
    let mut dave = lab.login("dave").await?;
    for expected in ["ok", "ok", "ok", "not-allowed max-nodes-exceeded"] {
        assert_eq!(set(&mut dave, "<create/>").await?, expected);
    }
    Ok(())
}

/// Who may create is the operator's to say.
#[tokio::test]
async fn operators_alone_create_where_the_settings_say_so() -> Outcome<()> {
    let set_to = [
        "modules.pubsub_service.create=operators",
        "modules.pubsub_service.label=feeds",
        "admin.operators=dave@localhost",
    ];
    let lab = Lab::new(&["alice", "dave"], &set_to);
    let (mut alice, mut dave) = (lab.login("alice").await?, lab.login("dave").await?);
    for (client, expected) in [(&mut alice, "forbidden"), (&mut dave, "")] {
        let made = client.ask(&format!("<iq type='set' id='c' to='feeds.localhost'><pubsub xmlns='{PUBSUB}'><create node='n'/></pubsub></iq>")).await?;
        assert_eq!(made.condition().unwrap_or_default(), expected);
    }
    // §7.1.3.3: who may create none finds none.
    let publish = "<publish node='m'><item><x xmlns='urn:x'/></item></publish>";
    let made = alice.ask(&format!("<iq type='set' id='p' to='feeds.localhost'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>")).await?;
    assert_eq!(made.condition(), Some("item-not-found"));
    Ok(())
}

/// RFC 6120 §8.2.3, §8.3.1: what nobody answers, and what is for nobody.
#[tokio::test]
async fn what_is_no_request_of_the_protocol_gets_its_error() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    for (to, inner, expected) in [
        (FEEDS, "<x xmlns='urn:nobody'/>".to_owned(), "service-unavailable"),
        (
            "n@pubsub.localhost",
            format!("<pubsub xmlns='{PUBSUB}'><create/></pubsub>"),
            "service-unavailable",
        ),
        (FEEDS, format!("<pubsub xmlns='{PUBSUB}'/>"), "bad-request"),
        (FEEDS, format!("<pubsub xmlns='{PUBSUB}'><create/><create/></pubsub>"), "bad-request"),
        (FEEDS, format!("<pubsub xmlns='{PUBSUB}'><dance/></pubsub>"), "bad-request"),
    ] {
        let answer = alice.ask(&format!("<iq type='set' id='e' to='{to}'>{inner}</iq>")).await?;
        assert_eq!(answer.condition(), Some(expected), "{to} {inner}");
    }
    for stanza in [
        "<message id='m' to='pubsub.localhost'><body>x</body></message>",
        "<message id='m' to='n@pubsub.localhost'><body>x</body></message>",
    ] {
        alice.send(stanza).await?;
        let refused = alice.expect(|e| e.attr("id") == Some("m")).await?;
        assert_eq!(refused.condition(), Some("service-unavailable"));
    }
    alice.send("<message type='error' id='m' to='pubsub.localhost'/>").await?;
    alice.send("<presence to='pubsub.localhost'/>").await?;
    alice.nothing().await
}
