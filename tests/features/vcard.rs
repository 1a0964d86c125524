//! XEP-0054: vcard-temp, and XEP-0292: vCard4 Over XMPP.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::interested;
use crate::harness::nodes::{PUBSUB, has_feature, hears, items, published, succeeded};
use crate::harness::process::Lab;

const FOUR: &str = "urn:ietf:params:xml:ns:vcard-4.0";
const NODE: &str = "urn:xmpp:vcard4";

async fn get(client: &mut Client, of: &str) -> Outcome<Element> {
    client.ask(&format!("<iq type='get' id='g'{of}><vCard xmlns='vcard-temp'/></iq>")).await
}

async fn set(client: &mut Client, inner: &str) -> Outcome<Element> {
    client
        .ask(&format!("<iq type='set' id='s'><vCard xmlns='vcard-temp'>{inner}</vCard></iq>"))
        .await
}

/// The properties of a vCard by name and text.
fn properties(vcard: &Element) -> Vec<String> {
    let text =
        |one: &Element| one.children.first().map_or(one.text.clone(), |value| value.text.clone());
    vcard.children.iter().map(|one| format!("{} {}", one.name, text(one))).collect()
}

async fn four(client: &mut Client, of: &str) -> Outcome<Vec<String>> {
    let found = items(client, of, NODE).await?;
    Ok(found.first().map(|(_, vcard)| properties(vcard)).unwrap_or_default())
}

/// §3: own, and others' for anybody; nobody answers as an account without one.
#[tokio::test]
async fn anybody_sees_a_vcard() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    assert!(has_feature(&mut alice, "vcard-temp").await?);
    assert_eq!(get(&mut alice, "").await?.condition(), Some("item-not-found"));
    let mut without = Vec::new();
    for at in ["alice", "nobody"] {
        let refused = get(&mut bob, &format!(" to='{at}@localhost'")).await?;
        without.push(refused.to_string().replace(at, ""));
    }
    assert_eq!(without[0], without[1]);
    assert!(without[0].contains("service-unavailable"), "{}", without[0]);
    succeeded(&set(&mut alice, "<FN>Alice</FN><MAILER>m</MAILER><N><GIVEN>A</GIVEN></N>").await?);
    for of in ["", " to='alice@localhost'"] {
        let own = get(&mut alice, of).await?;
        let own = own.child("vcard-temp", "vCard").unwrap();
        assert_eq!(properties(own), ["FN Alice", "MAILER m", "N A"]);
    }
    let seen = get(&mut bob, " to='alice@localhost'").await?;
    assert_eq!(
        properties(seen.child("vcard-temp", "vCard").unwrap()),
        ["FN Alice", "MAILER m", "N A"]
    );
    // The node in which it is kept is nothing to browse; its other form is (XEP-0292 §4).
    let browse = "<iq type='get' id='b' to='alice@localhost'>\
        <query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    let nodes = alice.ask(browse).await?;
    let nodes = nodes.find("query").into_iter().flat_map(|query| &query.children);
    let nodes: Vec<_> = nodes.filter_map(|node| node.attr("node")).collect();
    assert_eq!(nodes, [NODE]);
    // §3.2: nobody else changes it.
    for at in ["alice", "nobody"] {
        let forged =
            format!("<iq type='set' id='s' to='{at}@localhost'><vCard xmlns='vcard-temp'/></iq>");
        assert_eq!(bob.ask(&forged).await?.condition(), Some("forbidden"));
    }
    let long = set(&mut alice, &"<NOTE>n</NOTE>".repeat(251)).await?;
    assert_eq!(long.condition(), Some("policy-violation"), "{long}");
    // XEP-0191: to whom it is blocked, it is nobody.
    succeeded(&alice.ask("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>").await?);
    assert_eq!(
        get(&mut bob, " to='alice@localhost'").await?.condition(),
        Some("service-unavailable")
    );
    Ok(())
}

/// XEP-0292 §11: the two forms follow each other, and each keeps what only it can say.
#[tokio::test]
async fn both_forms_are_one_vcard() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[NODE]).await?;
    let mut bob = lab.online("bob", "b").await?;
    assert!(has_feature(&mut alice, FOUR).await?);
    succeeded(&set(&mut alice, "<FN>Alice</FN><MAILER>m</MAILER>").await?);
    assert_eq!(properties(&hears(&mut alice, NODE).await?.1), ["fn Alice"]);
    assert_eq!(four(&mut bob, "alice@localhost").await?, ["fn Alice"], "open to all (§4.1)");
    let vcard = "<fn><text>Alicia</text></fn><gender><sex>F</sex></gender>";
    published(
        &mut alice,
        NODE,
        &format!("<item id='x'><vcard xmlns='{FOUR}'>{vcard}</vcard></item>"),
    )
    .await?;
    let seen = get(&mut bob, " to='alice@localhost'").await?;
    assert_eq!(properties(seen.child("vcard-temp", "vCard").unwrap()), ["FN Alicia", "MAILER m"]);
    succeeded(&set(&mut alice, "<FN>Alice</FN><NICKNAME>al</NICKNAME>").await?);
    assert_eq!(four(&mut alice, "alice@localhost").await?, ["fn Alice", "nickname al", "gender F"]);
    // What is kept from somebody in one form is not shown in the other.
    let configure = format!(
        "<configure node='{NODE}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{PUBSUB}#node_config</value></field><field var='pubsub#access_model'><value>presence</value></field></x></configure>"
    );
    succeeded(
        &alice
            .ask(&format!(
                "<iq type='set' id='c'><pubsub xmlns='{PUBSUB}#owner'>{configure}</pubsub></iq>"
            ))
            .await?,
    );
    assert_eq!(
        get(&mut bob, " to='alice@localhost'").await?.condition(),
        Some("service-unavailable")
    );
    Ok(())
}

/// XEP-0172, 0118, 0108, 0107, 0080, 0277, 0472: what a person says of itself is an item, and its contacts'
/// business.
#[tokio::test]
async fn what_a_person_says_of_itself_is_published() -> Outcome<()> {
    const SAID: &[(&str, &str)] = &[
        (
            "http://jabber.org/protocol/nick",
            "<nick xmlns='http://jabber.org/protocol/nick'>Al</nick>",
        ),
        (
            "http://jabber.org/protocol/tune",
            "<tune xmlns='http://jabber.org/protocol/tune'><title>T</title></tune>",
        ),
        (
            "http://jabber.org/protocol/activity",
            "<activity xmlns='http://jabber.org/protocol/activity'><relaxing/></activity>",
        ),
        (
            "http://jabber.org/protocol/mood",
            "<mood xmlns='http://jabber.org/protocol/mood'><happy/></mood>",
        ),
        (
            "http://jabber.org/protocol/geoloc",
            "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>1</lat></geoloc>",
        ),
        (
            "urn:xmpp:microblog:0",
            "<entry xmlns='http://www.w3.org/2005/Atom'><title>E</title></entry>",
        ),
        (
            "urn:xmpp:pubsub-social-feed:1",
            "<entry xmlns='http://www.w3.org/2005/Atom'><title>F</title></entry>",
        ),
    ];
    let lab = Lab::new(&["alice", "bob"], &[]);
    let nodes: Vec<_> = SAID.iter().map(|(node, _)| *node).collect();
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &nodes).await?;
    for (node, _) in SAID {
        assert_eq!(items(&mut bob, "alice@localhost", node).await?, [], "a stranger");
    }
    crate::harness::interest::befriend(&mut alice, &mut bob).await?;
    for (node, payload) in SAID {
        published(&mut alice, node, &format!("<item id='1'>{payload}</item>")).await?;
        let (id, heard) = hears(&mut bob, node).await?;
        assert_eq!(id, "1");
        assert_eq!(Some(heard), Element::parse(payload).ok(), "{node}");
    }
    Ok(())
}
