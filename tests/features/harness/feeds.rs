//! The pubsub service (XEP-0060) as tests use it.

use super::client::{Client, Outcome};
use super::element::Element;

pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
pub const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
pub const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";

/// The service's domain in a lab.
pub const FEEDS: &str = "pubsub.localhost";

/// Asks the service.
pub async fn ask(client: &mut Client, ty: &str, ns: &str, inner: &str) -> Outcome<Element> {
    client
        .ask(&format!(
            "<iq type='{ty}' id='ps' to='{FEEDS}'><pubsub xmlns='{ns}'>{inner}</pubsub></iq>"
        ))
        .await
}

/// `ok`, or the error: `condition` and what pubsub says of it.
pub fn said(answer: &Element) -> String {
    if answer.attr("type") == Some("result") {
        return "ok".to_owned();
    }
    let error = answer.find("error").expect("an error");
    let condition = answer.condition().unwrap_or_default();
    let more = error.children.iter().find(|child| child.ns == ERRORS);
    let more = more.map(|more| match more.attr("feature") {
        Some(feature) => format!(" {} {feature}", more.name),
        None => format!(" {}", more.name),
    });
    format!("{condition}{}", more.unwrap_or_default())
}

pub async fn set(client: &mut Client, inner: &str) -> Outcome<String> {
    Ok(said(&ask(client, "set", PUBSUB, inner).await?))
}

pub async fn own_set(client: &mut Client, inner: &str) -> Outcome<String> {
    Ok(said(&ask(client, "set", OWNER, inner).await?))
}

pub async fn create(client: &mut Client, node: &str, fields: &[(&str, &str)]) -> Outcome<()> {
    let configure = format!("<configure>{}</configure>", form("node_config", fields));
    let answer = set(client, &format!("<create node='{node}'/>{configure}")).await?;
    assert_eq!(answer, "ok", "{node}");
    Ok(())
}

pub async fn configure(
    client: &mut Client,
    node: &str,
    fields: &[(&str, &str)],
) -> Outcome<String> {
    let form = form("node_config", fields);
    own_set(client, &format!("<configure node='{node}'>{form}</configure>")).await
}

pub fn form(ty: &str, fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='pubsub#{var}'><value>{value}</value></field>")
    };
    let fields: String = fields.iter().map(field).collect();
    let ty = format!("http://jabber.org/protocol/pubsub#{ty}");
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{ty}</value></field>{fields}</x>"
    )
}

pub fn item(id: &str) -> String {
    format!("<item id='{id}'><x xmlns='urn:x'>{id}</x></item>")
}

pub async fn publish(client: &mut Client, node: &str, id: &str) -> Outcome<String> {
    set(client, &format!("<publish node='{node}'>{}</publish>", item(id))).await
}

/// Subscribes an address; with its state, if it is let in.
pub async fn subscribe(client: &mut Client, node: &str, jid: &str) -> Outcome<String> {
    let answer =
        ask(client, "set", PUBSUB, &format!("<subscribe node='{node}' jid='{jid}'/>")).await?;
    Ok(match answer.find("subscription") {
        Some(subscription) => subscription.attr("subscription").unwrap_or_default().to_owned(),
        None => said(&answer),
    })
}

pub async fn unsubscribe(client: &mut Client, node: &str, jid: &str) -> Outcome<String> {
    set(client, &format!("<unsubscribe node='{node}' jid='{jid}'/>")).await
}

/// The ids of a node's items, or the error.
pub async fn retrieve(client: &mut Client, node: &str) -> Outcome<String> {
    let answer = ask(client, "get", PUBSUB, &format!("<items node='{node}'/>")).await?;
    Ok(match answer.find("items") {
        Some(items) => {
            let ids = items.children.iter().filter_map(|item| item.attr("id"));
            ids.collect::<Vec<_>>().join(" ")
        }
        None => said(&answer),
    })
}

/// What an event says in short: `node id`, `node -id`, `node purge`, `node delete`, …
pub fn news(message: &Element) -> Vec<String> {
    let Some(event) = message.child(EVENT, "event") else { return Vec::new() };
    let of = |what: &Element| {
        let node = what.attr("node").unwrap_or_default();
        match what.name.as_str() {
            "items" => what
                .children
                .iter()
                .map(|item| {
                    let sign = if item.name == "retract" { "-" } else { "" };
                    format!("{node} {sign}{}", item.attr("id").unwrap_or_default())
                })
                .collect(),
            "subscription" => {
                vec![format!("{node} {}", what.attr("subscription").unwrap_or_default())]
            }
            name => vec![format!("{node} {name}")],
        }
    };
    event.children.iter().flat_map(of).collect()
}

/// What was told by now.
pub async fn heard(client: &mut Client) -> Outcome<Vec<String>> {
    client.fence().await?;
    Ok(client.take().iter().flat_map(news).collect())
}

/// Waits until this is told; the message.
pub async fn hears(client: &mut Client, what: &str) -> Outcome<Element> {
    client.expect(|e| e.name == "message" && news(e).iter().any(|said| said == what)).await
}
