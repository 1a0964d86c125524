//! A client of the server as a push service (XEP-0357), and devices that are told by it.

use super::client::{Client, Outcome};
use super::element::Element;
use super::process::{Lab, wrong};

pub const NS: &str = "urn:xmpp:push:0";
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

/// Enables notifications at the push service, the client `app@localhost/s`.
pub fn enable(node: &str, forms: &str) -> String {
    format!(
        "<iq type='set' id='on'><enable xmlns='{NS}' jid='app@localhost/s' node='{node}'>{forms}\
         </enable></iq>"
    )
}

pub async fn accepted(client: &mut Client, request: &str) -> Outcome<()> {
    let answer = client.ask(request).await?;
    match answer.attr("type") {
        Some("result") => Ok(()),
        _ => wrong(format!("refused: {answer}")),
    }
}

/// A device that enabled notifications and is gone.
pub async fn gone(lab: &Lab, user: &str, resource: &str, forms: &str) -> Outcome<()> {
    let mut client = lab.online(user, resource).await?;
    accepted(&mut client, &enable(resource, forms)).await?;
    client.close().await
}

#[derive(Debug)]
pub struct Push {
    pub node: String,
    pub count: String,
    pub sender: Option<String>,
    pub body: Option<String>,
    pub request: Element,
}

/// The next notification; it is answered with success.
pub async fn pushed(app: &mut Client) -> Outcome<Push> {
    pushed_and(app, |id| format!("<iq type='result' id='{id}' to='localhost'/>")).await
}

pub async fn pushed_and(app: &mut Client, answer: impl Fn(&str) -> String) -> Outcome<Push> {
    let is = |e: &Element| e.name == "iq" && e.child(PUBSUB, "pubsub").is_some();
    let request = app.expect(is).await?;
    assert_eq!(request.attr("from"), Some("localhost"), "{request}");
    app.send(&answer(request.attr("id").unwrap_or_default())).await?;
    let publish = request.find("publish").expect("publish");
    let form = request.find("notification").and_then(|n| n.child("jabber:x:data", "x"));
    let form = form.expect("a summary");
    let value = |var: &str| {
        let field = form.children.iter().find(|field| field.attr("var") == Some(var))?;
        field.text_of("value").map(str::to_owned)
    };
    assert_eq!(value("FORM_TYPE").as_deref(), Some("urn:xmpp:push:summary"));
    Ok(Push {
        node: publish.attr("node").unwrap_or_default().to_owned(),
        count: value("message-count").unwrap_or_default(),
        sender: value("last-message-sender"),
        body: value("last-message-body"),
        request,
    })
}
