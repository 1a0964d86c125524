//! XEP-0490: Message Displayed Synchronization, with the server's assist.

use crate::harness::client::Outcome;
use crate::harness::interest::interested;
use crate::harness::nodes::{PUBSUB, has_feature, hears, items, news, succeeded};
use crate::harness::process::Lab;

const NS: &str = "urn:xmpp:mds:displayed:0";
const MARKERS: &str = "urn:xmpp:chat-markers:0";

fn displayed(id: &str) -> String {
    format!(
        "<displayed xmlns='{NS}'><stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='{id}'/></displayed>"
    )
}

/// §4.5.3: the mark is published under the address as it was written, other devices hear of it, and nobody else
/// sees it: not the contact, not in a carbon, not in an archive.
#[tokio::test]
async fn a_message_marks_a_chat_as_read_in_passing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "eve"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut other = interested(&lab, "alice", "b", &[NS]).await?;
    succeeded(&other.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await?);
    let mut bob = lab.online("bob", "b").await?;
    assert!(has_feature(&mut alice, "urn:xmpp:mds:server-assist:0").await?);
    other.fence().await?;
    other.forget();
    let marker = format!("<displayed xmlns='{MARKERS}' id='m1'/><store xmlns='urn:xmpp:hints'/>");
    let message = |inner: &str| {
        format!("<message to='Bob@localhost' type='chat' id='1'>{marker}{inner}</message>")
    };
    alice.send(&message(&displayed("s1"))).await?;
    let came = bob.expect(|e| e.attr("id") == Some("1")).await?;
    assert!(came.child(MARKERS, "displayed").is_some(), "{came}");
    assert!(came.child(NS, "displayed").is_none(), "{came}");
    let (id, mark) = hears(&mut other, NS).await?;
    assert_eq!(
        (id.as_str(), mark.find("stanza-id").and_then(|sid| sid.attr("id"))),
        ("Bob@localhost", Some("s1"))
    );
    let carbon = other.expect(|e| e.find("forwarded").is_some()).await?;
    assert!(!carbon.to_string().contains(NS), "{carbon}");
    alice.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await?;
    let archived = alice.expect(|e| e.find("forwarded").is_some()).await?;
    assert!(!archived.to_string().contains(NS), "{archived}");
    alice.expect(|e| e.attr("id") == Some("q")).await?;

    // It is replaced by the next; what is not a message says nothing; no `to` is no chat.
    alice.send(&message(&displayed("s2"))).await?;
    alice.send(&format!("<message>{}</message>", displayed("s3"))).await?;
    alice
        .send(&format!("<message type='error' to='bob@localhost'>{}</message>", displayed("s4")))
        .await?;
    alice.fence().await?;
    assert_eq!(news(&mut other, NS).await?, ["Bob@localhost"]);
    let marks = items(&mut alice, "alice@localhost", NS).await?;
    let ids: Vec<_> = marks
        .iter()
        .map(|(id, mark)| (id.as_str(), mark.find("stanza-id").and_then(|s| s.attr("id"))))
        .collect();
    assert_eq!(ids, [("Bob@localhost", Some("s2"))]);
    // §7: a private node.
    let mut eve = lab.online("eve", "e").await?;
    assert_eq!(items(&mut eve, "alice@localhost", NS).await?, []);
    Ok(())
}

/// §7: marks do not go where others may read them.
#[tokio::test]
async fn an_open_node_gets_no_marks() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = lab.online("bob", "b").await?;
    let create = format!(
        "<create node='{NS}'/><configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{PUBSUB}#node_config</value></field><field var='pubsub#access_model'><value>open</value></field></x></configure>"
    );
    succeeded(
        &alice
            .ask(&format!("<iq type='set' id='c'><pubsub xmlns='{PUBSUB}'>{create}</pubsub></iq>"))
            .await?,
    );
    alice
        .send(&format!(
            "<message to='bob@localhost' id='1'><body>x</body>{}</message>",
            displayed("s1")
        ))
        .await?;
    let came = bob.expect(|e| e.attr("id") == Some("1")).await?;
    assert!(came.child(NS, "displayed").is_none(), "{came}");
    assert_eq!(items(&mut bob, "alice@localhost", NS).await?, []);
    Ok(())
}
