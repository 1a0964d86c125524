//! What clients keep in the nodes of their account (XEP-0163): requests and news.

use super::client::{Client, Outcome};
use super::element::Element;

pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const INFO: &str = "http://jabber.org/protocol/disco#info";

/// Publishes an item to a node of the client's own; `more` stands beside `<publish/>`.
pub async fn publish(client: &mut Client, node: &str, item: &str, more: &str) -> Outcome<Element> {
    let publish = format!("<publish node='{node}'>{item}</publish>{more}");
    client
        .ask(&format!("<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>"))
        .await
}

/// The same, which has to succeed.
pub async fn published(client: &mut Client, node: &str, item: &str) -> Outcome<()> {
    succeeded(&publish(client, node, item, "").await?);
    Ok(())
}

pub fn succeeded(answer: &Element) {
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
}

/// Deletes an item, and has subscribers told.
pub async fn retracted(client: &mut Client, node: &str, id: &str) -> Outcome<()> {
    let retract = format!("<retract node='{node}' notify='true'><item id='{id}'/></retract>");
    let set = format!("<iq type='set' id='r'><pubsub xmlns='{PUBSUB}'>{retract}</pubsub></iq>");
    succeeded(&client.ask(&set).await?);
    Ok(())
}

/// Items of a node with their ids; none if they are refused.
pub async fn items(client: &mut Client, of: &str, node: &str) -> Outcome<Vec<(String, Element)>> {
    let get = format!(
        "<iq type='get' id='i' to='{of}'><pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub></iq>"
    );
    Ok(all(client.ask(&get).await?.find("items")))
}

fn all(items: Option<&Element>) -> Vec<(String, Element)> {
    let items = items.into_iter().flat_map(|items| &items.children);
    let items = items
        .filter_map(|item| Some((item.attr("id")?.to_owned(), item.children.first()?.clone())));
    items.collect()
}

/// What came of this node by now: ids of items that were published, and of those that were `-retracted`.
pub async fn news(client: &mut Client, node: &str) -> Outcome<Vec<String>> {
    client.fence().await?;
    let came = client.take();
    let events = came.iter().filter_map(|e| e.child(EVENT, "event")?.child(EVENT, "items"));
    let events = events.filter(|items| items.attr("node") == Some(node));
    let said = |one: &Element| {
        let id = one.attr("id").unwrap_or_default();
        if one.name == "retract" { format!("-{id}") } else { id.to_owned() }
    };
    Ok(events.flat_map(|items| items.children.iter().map(said)).collect())
}

/// Waits for an item of this node.
pub async fn hears(client: &mut Client, node: &str) -> Outcome<(String, Element)> {
    let of = |e: &Element| {
        let items = e.child(EVENT, "event")?.child(EVENT, "items")?;
        all(Some(items).filter(|items| items.attr("node") == Some(node))).into_iter().next()
    };
    let stanza = client.expect(|e| of(e).is_some()).await?;
    Ok(of(&stanza).unwrap())
}

/// Whether the client's own account has this feature.
pub async fn has_feature(client: &mut Client, feature: &str) -> Outcome<bool> {
    let own = client.jid.split('/').next().unwrap_or_default().to_owned();
    let answer = client
        .ask(&format!("<iq type='get' id='d' to='{own}'><query xmlns='{INFO}'/></iq>"))
        .await?;
    let query = answer.child(INFO, "query");
    Ok(query.is_some_and(|query| query.children.iter().any(|one| one.attr("var") == Some(feature))))
}
