//! Requesters that are only an address: of other servers, or of components.

use std::sync::Arc;

use super::super::testing::Server;
use super::act;
use crate::jid::Jid;
use crate::modules::Config;
use crate::modules::api::{Create, Cx, Requester};
use crate::stanza::Stanza;
use crate::stanza::iq::Iq;

const AT: &str = "pubsub.x";

/// The requester with this address.
fn entity(server: &Server, jid: &str, create: Create) -> Cx {
    let mut config = Config::default();
    config.pubsub_service.create = create;
    let who = Requester::Entity(Jid::parse(jid).unwrap());
    Cx { who, config: Arc::new(config), ..server.cx.clone() }
}

/// The payload, or the error's condition.
async fn ask(cx: &Cx, ty: &str, inner: &str) -> String {
    let ns = super::PUBSUB;
    let iq = format!(
        "<iq id='1' type='{ty}' from='{}' to='{AT}'><pubsub xmlns='{ns}'>{inner}</pubsub></iq>",
        cx.jid()
    );
    let iq = Iq::request(&Stanza::ours(iq.into()).unwrap()).unwrap().unwrap();
    match act::answer(cx.clone(), iq).await {
        Ok(reply) => String::from_utf8(reply.payload).unwrap(),
        Err(error) => format!("!{}", error.condition.as_str()),
    }
}

#[tokio::test]
async fn who_is_only_an_address_does_what_nodes_let_it_do() {
    let server = Server::with(&["alice"]).await;
    let (one, all) = (Create::Accounts, Create::Anyone);
    let far = entity(&server, "romeo@far.example/orchard", one);
    assert_eq!(ask(&far, "set", "<create node='n'/>").await, "!forbidden");
    let item = "<item id='1'><x xmlns='urn:x'/></item>";
    let publish = format!("<publish node='n'>{item}</publish>");
    assert_eq!(ask(&far, "set", &publish).await, "!item-not-found");
    // Where anyone may create, it owns what it creates, with all of its resources and no other address.
    let far = entity(&server, "romeo@far.example/orchard", all);
    assert!(ask(&far, "set", "<create node='n'/>").await.contains("node='n'"));
    let far = entity(&server, "romeo@far.example/balcony", one);
    assert!(ask(&far, "set", &publish).await.contains("<item id='1'/>"));
    let other = entity(&server, "juliet@far.example/x", one);
    assert_eq!(ask(&other, "set", &publish).await, "!forbidden");
    assert!(ask(&other, "get", "<items node='n'/>").await.contains("romeo@far.example"));
    let subscribe = |jid: &str| format!("<subscribe node='n' jid='{jid}'/>");
    assert_eq!(ask(&other, "set", &subscribe("romeo@far.example")).await, "!bad-request");
    let subscribed = ask(&other, "set", &subscribe("juliet@far.example")).await;
    assert!(subscribed.contains("subscription='subscribed'"), "{subscribed}");
    // §12.4: that cannot be reached, and nobody is held up by it.
    assert!(ask(&far, "set", &publish).await.contains("<item id='1'/>"));
    for (name, count) in [("item-not-found", 0), ("service-unavailable", 1), ("gone", 0)] {
        ask(&other, "set", &subscribe("juliet@far.example")).await;
        let error = format!(
            "<message type='error' from='juliet@far.example' to='{AT}'><error type='cancel'>\
             <{name} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        let from = entity(&server, "juliet@far.example", one);
        let error = Stanza::ours(error.into()).unwrap();
        assert_eq!(act::message(from, error, None).await.unwrap().len(), 0);
        let left = ask(&other, "get", "<subscriptions/>").await;
        assert_eq!(left.matches("<subscription ").count(), count, "{name}: {left}");
    }
}

#[tokio::test]
async fn each_domain_has_a_number_that_stays() {
    let server = Server::with(&[]).await;
    let of =
        |domain: &'static str| server.cx.store.write(move |tx| super::rows::number(tx, domain));
    let (a, b) = (of("pubsub.x").await.unwrap(), of("pubsub.y").await.unwrap());
    assert_ne!(a, b);
    assert_eq!((of("pubsub.x").await.unwrap(), of("pubsub.y").await.unwrap()), (a, b));
}
