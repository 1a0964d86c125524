//! Services at domains of their own, shown by the one that sends back what it is sent.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;

const INFO: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";

fn lab() -> Lab {
    Lab::new(&["alice", "bob"], &["modules.echo.label=echo"])
}

async fn ask(client: &mut Client, ty: &str, to: &str, payload: &str) -> Outcome<Element> {
    client.send(&format!("<iq type='{ty}' id='q' to='{to}'>{payload}</iq>")).await?;
    client.expect(|e| e.name == "iq" && e.attr("id") == Some("q")).await
}

/// XEP-0030 §3.1, §4.1: the host lists its services, and each says what it is; switched off there is none.
#[tokio::test]
async fn a_host_lists_its_services() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    let (info, items) = (format!("<query xmlns='{INFO}'/>"), format!("<query xmlns='{ITEMS}'/>"));
    let listed = ask(&mut alice, "get", "localhost", &items).await?;
    let listed = &listed.child(ITEMS, "query").expect("a query").children;
    let named: Vec<_> = listed.iter().map(|item| (item.attr("jid"), item.attr("name"))).collect();
    assert!(named.contains(&(Some("echo.localhost"), Some("Echo"))), "{named:?}");
    let told = ask(&mut alice, "get", "echo.localhost", &info).await?;
    assert_eq!(told.find("identity").and_then(|e| e.attr("category")), Some("client"));
    let features = &told.child(INFO, "query").expect("a query").children;
    let features: Vec<_> = features.iter().filter_map(|e| e.attr("var")).collect();
    assert_eq!(features, [INFO, ITEMS, "urn:xmpp:ping"]);
    assert_eq!(
        ask(&mut alice, "get", "echo.localhost", &items).await?.attr("type"),
        Some("result")
    );
    let node = format!("<query xmlns='{INFO}' node='x'/>");
    let refused = ask(&mut alice, "get", "echo.localhost", &node).await?;
    assert_eq!(refused.condition(), Some("item-not-found"));
    // XEP-0199 §4.2
    let pong = ask(&mut alice, "get", "echo.localhost", "<ping xmlns='urn:xmpp:ping'/>").await?;
    assert_eq!(pong.attr("type"), Some("result"));
    // RFC 6120 §8.2.3: what nobody knows, and what is for one behind the domain.
    for to in ["echo.localhost", "x@echo.localhost", "echo.localhost/r"] {
        let refused = ask(&mut alice, "set", to, "<x xmlns='urn:nobody'/>").await?;
        assert_eq!(refused.condition(), Some("service-unavailable"), "{to}");
        assert_eq!(refused.attr("from"), Some(to));
    }

    let off = Lab::new(
        &["alice"],
        &["modules.muc.label=", "modules.pubsub_service.label=", "modules.upload.label="],
    );
    let mut alice = off.login("alice").await?;
    assert!(ask(&mut alice, "get", "localhost", &items).await?.find("item").is_none());
    let refused = ask(&mut alice, "get", "echo.localhost", &info).await?;
    assert_eq!(refused.condition(), Some("remote-server-not-found"));
    Ok(())
}

/// Messages go there and back, as between two people: kept for their sender, answered to the session.
#[tokio::test]
async fn a_message_to_a_service_comes_back() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    let jid = alice.jid.clone();
    for ty in ["chat", "normal", "headline"] {
        let said = format!(
            "<message type='{ty}' id='m' to='anybody@echo.localhost/x'><body>hi &amp; ho</body></message>"
        );
        alice.send(&said).await?;
        let back = alice.expect(|e| e.name == "message" && e.attr("id") == Some("m")).await?;
        assert_eq!(back.attr("from"), Some("anybody@echo.localhost/x"));
        assert_eq!(back.attr("to"), Some(jid.as_str()));
        assert_eq!((back.attr("type"), back.text_of("body")), (Some(ty), Some("hi & ho")));
    }
    // Both ways stand in her archive.
    alice.send("<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>").await?;
    alice.expect(|e| e.attr("id") == Some("a")).await?;
    let kept = alice.take().iter().filter(|e| e.find("forwarded").is_some()).count();
    assert_eq!(kept, 4, "chat and normal, sent and received");
    alice.send("<message type='groupchat' id='g' to='x@echo.localhost'><body/></message>").await?;
    let refused = alice.expect(|e| e.attr("id") == Some("g")).await?;
    assert_eq!(refused.condition(), Some("service-unavailable"));
    // RFC 6120 §8.3.1: an error is never answered.
    alice.send("<message type='error' id='e' to='x@echo.localhost'><body/></message>").await?;
    alice.nothing().await?;
    Ok(())
}

/// RFC 6121 §3.1, §4.3: what stands behind an address is asked and answers by stanzas alone, subscriptions
/// and probes as messages, over sessions.
#[tokio::test]
async fn a_service_is_a_contact() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    ask(&mut alice, "get", "alice@localhost", "<query xmlns='jabber:iq:roster'/>").await?;
    alice.send("<presence/>").await?;
    alice.send("<presence type='subscribe' to='bot@echo.localhost'/>").await?;
    let from_bot = |ty: Option<&'static str>| {
        move |e: &Element| {
            e.name == "presence"
                && e.attr("from") == Some("bot@echo.localhost")
                && e.attr("type") == ty
        }
    };
    alice.expect(from_bot(Some("subscribed"))).await?;
    alice.expect(from_bot(None)).await?;
    alice.close().await?;
    let mut alice = lab.login("alice").await?;
    let roster =
        ask(&mut alice, "get", "alice@localhost", "<query xmlns='jabber:iq:roster'/>").await?;
    let item = roster.find("item").expect("an item");
    assert_eq!(
        (item.attr("jid"), item.attr("subscription")),
        (Some("bot@echo.localhost"), Some("to"))
    );
    alice.send("<presence/>").await?;
    alice.expect(from_bot(None)).await?;
    // RFC 6121 §3.3.3: a contact that is no longer seen is gone.
    alice.send("<presence type='unsubscribe' to='bot@echo.localhost'/>").await?;
    alice.expect(from_bot(Some("unavailable"))).await?;
    Ok(())
}

/// XEP-0191 §4: who blocks a service's domain does not meet it.
#[tokio::test]
async fn a_blocked_service_is_not_met() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    let block = "<block xmlns='urn:xmpp:blocking'><item jid='echo.localhost'/></block>";
    alice.send(&format!("<iq type='set' id='b'>{block}</iq>")).await?;
    alice.expect(|e| e.attr("id") == Some("b")).await?;
    alice.send("<message id='m' to='x@echo.localhost'><body/></message>").await?;
    let refused = alice.expect(|e| e.attr("id") == Some("m")).await?;
    assert_eq!(refused.condition(), Some("not-acceptable"));
    for to in ["echo.localhost", "x@echo.localhost"] {
        let refused = ask(&mut alice, "get", to, "<ping xmlns='urn:xmpp:ping'/>").await?;
        assert_eq!(refused.condition(), Some("not-acceptable"), "{to}");
    }
    Ok(())
}
