//! What components may do for accounts (XEP-0356), and in place of the server (XEP-0355).

use crate::component::{INFO, IRC, ask, lab, online};
use crate::harness::client::Outcome;
use crate::harness::component::Component;
use crate::harness::element::Element;

const PRIVILEGE: &str = "urn:xmpp:privilege:2";

fn privileges(of: &str) -> String {
    format!(",privileges={{{of}}}")
}

/// XEP-0356 §4
#[tokio::test]
async fn rosters_for_who_may_read_and_change_them() -> Outcome<()> {
    let lab = lab(&["alice"], &privileges("roster=\"both\""));
    let mut alice = lab.login("alice").await?;
    ask(&mut alice, "get", "", "<query xmlns='jabber:iq:roster'/>").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    let told = irc.finds(|e| e.name == "message").await?;
    assert_eq!(told.attr("from"), Some("localhost"));
    let perm = told.child(PRIVILEGE, "privilege").and_then(|it| it.find("perm")).expect("a perm");
    let said = (perm.attr("access"), perm.attr("type"), perm.attr("push"));
    assert_eq!(said, (Some("roster"), Some("both"), Some("true")));
    let iq = |ty: &str, payload: &str| {
        format!("<iq type='{ty}' id='{ty}' from='{IRC}' to='alice@localhost'>{payload}</iq>")
    };
    let item = "<query xmlns='jabber:iq:roster'><item jid='b@irc.localhost' name='B'/></query>";
    irc.send(&iq("set", item)).await?;
    // §4.4: the component hears of it, and so does the client.
    let push = irc.finds(|e| e.name == "iq" && e.attr("type") == Some("set")).await?;
    assert_eq!(push.attr("from"), Some("alice@localhost"));
    assert!(push.find("item").is_some_and(|it| it.attr("jid") == Some("b@irc.localhost")));
    irc.answer(&push, "").await?;
    irc.finds(|e| e.attr("id") == Some("set") && e.attr("type") == Some("result")).await?;
    let push = alice.expect(|e| e.name == "iq" && e.attr("type") == Some("set")).await?;
    assert!(push.find("item").is_some_and(|it| it.attr("name") == Some("B")), "{push}");
    irc.send(&iq("get", "<query xmlns='jabber:iq:roster'/>")).await?;
    let roster = irc.finds(|e| e.attr("id") == Some("get")).await?;
    assert_eq!(roster.attr("from"), Some("alice@localhost"));
    assert!(roster.find("item").is_some(), "{roster}");
    irc.send(&iq("get", "<query xmlns='jabber:iq:roster'/>").replace("alice@", "nobody@")).await?;
    let none = irc.finds(|e| e.attr("id") == Some("get")).await?;
    assert_eq!(none.condition(), Some("item-not-found"));
    Ok(())
}

/// XEP-0356 §4.3: with contacts at its own domain a component says what the subscription is, as gateways do; with
/// others it is as for clients (RFC 6121 §2.1.2.5).
#[tokio::test]
async fn subscriptions_with_contacts_of_the_component() -> Outcome<()> {
    let lab = lab(&["alice"], &privileges("roster=\"both\""));
    let mut alice = online(&lab, "alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    for (jid, said, is) in [
        ("b@irc.localhost", "both", "both"),
        ("t@irc.localhost", "to", "to"),
        ("n@irc.localhost", "none", "none"),
        ("x@example.org", "both", "none"),
        ("bob@localhost", "both", "none"),
    ] {
        irc.send(&format!(
            "<iq type='set' id='s' from='{IRC}' to='alice@localhost'><query xmlns='jabber:iq:roster'>\
             <item jid='{jid}' name='N' subscription='{said}'/></query></iq>"
        ))
        .await?;
        irc.finds(|e| e.attr("id") == Some("s") && e.attr("type") == Some("result")).await?;
        let roster = ask(&mut alice, "get", "", "<query xmlns='jabber:iq:roster'/>").await?;
        let items = roster.find("query").map(|query| query.children.clone()).unwrap_or_default();
        let item = items.iter().find(|item| item.attr("jid") == Some(jid)).expect("it is listed");
        assert_eq!((item.attr("subscription"), item.attr("name")), (Some(is), Some("N")), "{item}");
    }
    // Her presence goes to who sees it now.
    alice.send("<presence><show>away</show></presence>").await?;
    let seen = irc.finds(|e| e.name == "presence" && e.text_of("show").is_some()).await?;
    assert_eq!(seen.attr("to"), Some("b@irc.localhost"), "{seen}");
    irc.send("<presence from='b@irc.localhost/x' to='alice@localhost'/>").await?;
    alice.ignores_presence = false;
    alice.expect(|e| e.attr("from") == Some("b@irc.localhost/x")).await?;
    Ok(())
}

/// XEP-0356 §4.3, §5.1, §6.3: without the operator's word nothing is allowed.
#[tokio::test]
async fn others_may_do_none_of_it() -> Outcome<()> {
    let lab = lab(&["alice"], "");
    let mut alice = online(&lab, "alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    for ty in ["get", "set"] {
        irc.send(&format!(
            "<iq type='{ty}' id='r' from='{IRC}' to='alice@localhost'><query xmlns='jabber:iq:roster'/></iq>"
        ))
        .await?;
        let refused = irc.finds(|e| e.attr("id") == Some("r")).await?;
        assert_eq!(refused.condition(), Some("forbidden"), "{ty}");
    }
    irc.send(&wrapped("alice@localhost", "alice@localhost")).await?;
    let refused = irc.finds(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    irc.send(&privileged("get", "localhost", "urn:xmpp:ping", "alice@localhost")).await?;
    let refused = irc.finds(|e| e.attr("id") == Some("outer")).await?;
    assert_eq!(refused.condition(), Some("forbidden"));
    alice.nothing().await
}

fn wrapped(from: &str, to: &str) -> String {
    format!(
        "<message from='{IRC}' to='localhost' id='w'><privilege xmlns='{PRIVILEGE}'>\
         <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{from}' to='{to}' \
         type='chat' id='inner'><body>sent</body></message></forwarded></privilege></message>"
    )
}

fn privileged(ty: &str, to: &str, ns: &str, owner: &str) -> String {
    format!(
        "<iq type='{ty}' id='outer' from='{IRC}' to='{owner}'><privileged_iq xmlns='{PRIVILEGE}'>\
         <iq xmlns='jabber:client' type='{ty}' id='inner' to='{to}'><ping xmlns='{ns}'/></iq>\
         </privileged_iq></iq>"
    )
}

/// XEP-0356 §5: from accounts of this server and no others.
#[tokio::test]
async fn messages_in_the_name_of_accounts() -> Outcome<()> {
    let lab = lab(&["alice", "bob"], &privileges("message=\"outgoing\""));
    let mut bob = online(&lab, "bob").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    irc.send(&wrapped("alice@localhost", "bob@localhost")).await?;
    let got = bob.expect(|e| e.name == "message").await?;
    assert_eq!((got.attr("from"), got.attr("id")), (Some("alice@localhost"), Some("inner")));
    for from in [
        "alice@localhost/x",
        "nobody@localhost",
        "alice@example.org",
        "x@irc.localhost",
        "localhost/x",
    ] {
        irc.send(&wrapped(from, "bob@localhost")).await?;
        let refused = irc.finds(|e| e.attr("type") == Some("error")).await?;
        assert_eq!(refused.condition(), Some("forbidden"), "{from}");
    }
    irc.send(&wrapped("localhost", "bob@localhost")).await?;
    assert_eq!(bob.expect(|e| e.name == "message").await?.attr("from"), Some("localhost"));
    bob.nothing().await
}

/// XEP-0356 §6
#[tokio::test]
async fn requests_in_the_name_of_accounts() -> Outcome<()> {
    let allowed = "iq=[{namespace=\"urn:xmpp:ping\",type=\"get\"}]";
    let lab = lab(&["alice"], &privileges(allowed));
    let mut irc = Component::connect(&lab, IRC).await?;
    // Its own server answers…
    irc.send(&privileged("get", "localhost", "urn:xmpp:ping", "alice@localhost")).await?;
    let answer = irc.finds(|e| e.attr("id") == Some("outer")).await?;
    assert_eq!(
        (answer.attr("type"), answer.attr("from")),
        (Some("result"), Some("alice@localhost"))
    );
    let inner = answer.child(PRIVILEGE, "privilege").and_then(|it| it.find("iq")).expect("an iq");
    assert_eq!(
        (inner.attr("from"), inner.attr("id")),
        (Some("localhost"), Some("inner")),
        "{answer}"
    );
    // … and so may whoever asks.
    irc.send(&privileged("get", "x@irc.localhost", "urn:xmpp:ping", "alice@localhost")).await?;
    let asked = irc.client.expect(|e| e.attr("id") == Some("inner")).await?;
    assert_eq!((asked.attr("from"), asked.attr("type")), (Some("alice@localhost"), Some("get")));
    irc.answer(&asked, "<done xmlns='urn:x'/>").await?;
    let answer = irc.finds(|e| e.attr("id") == Some("outer")).await?;
    assert!(answer.find("done").is_some(), "{answer}");
    for bad in [
        privileged("set", "localhost", "urn:xmpp:ping", "alice@localhost"),
        privileged("get", "localhost", "urn:other", "alice@localhost"),
        privileged("get", "localhost", "urn:xmpp:ping", "localhost"),
        privileged("get", "localhost", "urn:xmpp:ping", "nobody@localhost"),
        privileged("get", "localhost", "urn:xmpp:ping", "alice@localhost")
            .replacen("get", "set", 1),
        privileged("get", "localhost", "urn:xmpp:ping", "alice@localhost")
            .replace("jabber:client", "jabber:server"),
        privileged("get", "localhost", "urn:xmpp:ping", "alice@localhost")
            .replace("id='inner'", "id='inner' from='bob@localhost'"),
    ] {
        irc.send(&bad).await?;
        let refused = irc.finds(|e| e.attr("id") == Some("outer")).await?;
        assert_eq!(refused.condition(), Some("forbidden"), "{bad}");
    }
    Ok(())
}

/// XEP-0356 §6: the account's nodes are its own for such a request, too, as gateways make bookmarks.
#[tokio::test]
async fn nodes_in_the_name_of_accounts() -> Outcome<()> {
    let allowed = "iq=[{namespace=\"http://jabber.org/protocol/pubsub\",type=\"both\"}]";
    let lab = lab(&["alice"], &privileges(allowed));
    let mut alice = online(&lab, "alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    let item =
        "<item id='r@irc.localhost'><conference xmlns='urn:xmpp:bookmarks:1' name='R'/></item>";
    for (ty, payload) in [
        ("set", format!("<publish node='urn:xmpp:bookmarks:1'>{item}</publish>")),
        ("get", "<items node='urn:xmpp:bookmarks:1'/>".to_owned()),
    ] {
        irc.send(&format!(
            "<iq type='{ty}' id='outer' from='{IRC}' to='alice@localhost'><privileged_iq xmlns='{PRIVILEGE}'>\
             <iq xmlns='jabber:client' type='{ty}' id='inner' to='alice@localhost'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub'>{payload}</pubsub></iq></privileged_iq></iq>"
        ))
        .await?;
        let answer = irc.finds(|e| e.attr("id") == Some("outer")).await?;
        let inner = answer.find("iq").expect("an iq");
        assert_eq!(inner.attr("type"), Some("result"), "{answer}");
    }
    let get = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub>";
    let own = ask(&mut alice, "get", "", get).await?;
    assert!(own.find("conference").is_some_and(|it| it.attr("name") == Some("R")), "{own}");
    Ok(())
}

/// XEP-0356 §7, §8 rule 1
#[tokio::test]
async fn presence_of_accounts() -> Outcome<()> {
    let lab = lab(&["alice", "bob"], &privileges("presence=\"managed_entity\""));
    let mut bob = lab.login("bob").await?;
    bob.become_available().await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    let is = |e: &Element, from: &str| e.name == "presence" && e.attr("from") == Some(from);
    let there = bob.jid.clone();
    irc.finds(|e| is(e, &there)).await?;
    let mut alice = lab.login("alice").await?;
    alice.become_available().await?;
    let there = alice.jid.clone();
    let seen = irc.finds(|e| is(e, &there)).await?;
    assert_eq!((seen.attr("type"), seen.attr("to")), (None, Some(IRC)));
    alice.send("<presence><show>away</show></presence>").await?;
    alice.close().await?;
    // What is between them is not told.
    let gone = irc.finds(|e| is(e, &there)).await?;
    assert_eq!(gone.attr("type"), Some("unavailable"), "{gone}");
    Ok(())
}

/// XEP-0355 §4
#[tokio::test]
async fn a_component_answers_in_place_of_the_server() -> Outcome<()> {
    let more = ",delegate=[{namespace=\"urn:xmpp:time\"},{namespace=\"jabber:iq:version\",attributes=[\"node\"]}]";
    let lab = lab(&["alice"], more);
    let mut alice = lab.login("alice").await?;
    let time = "<time xmlns='urn:xmpp:time'/>";
    // §4.3 N.B. 1
    let refused = ask(&mut alice, "get", "localhost", time).await?;
    assert_eq!(refused.condition(), Some("service-unavailable"));
    let mut irc = Component::connect(&lab, IRC).await?;
    let told = irc.finds(|e| e.name == "message").await?;
    let told = told.find("delegation").expect("a delegation");
    let named: Vec<_> = told.children.iter().map(|it| it.attr("namespace")).collect();
    assert_eq!(named, [Some("urn:xmpp:time"), Some("jabber:iq:version")]);
    assert!(told.children[1].find("attribute").is_some());
    // §7.2: asked what it can; it answers with one feature.
    for _ in 0..4 {
        let asked = irc.finds(|e| e.name == "iq" && e.find("query").is_some()).await?;
        let node =
            asked.find("query").and_then(|it| it.attr("node")).unwrap_or_default().to_owned();
        assert!(node.starts_with("urn:xmpp:delegation:2:"), "{node}");
        let own =
            if node.ends_with("::urn:xmpp:time") { "<feature var='urn:nested'/>" } else { "" };
        irc.answer(&asked, &format!("<query xmlns='{INFO}' node='{node}'>{own}</query>")).await?;
    }
    for (to, way) in [
        ("localhost", "right"),
        ("alice@localhost", "right"),
        ("localhost", "wrong"),
        ("localhost", "error"),
    ] {
        alice.send(&format!("<iq type='get' id='t' to='{to}'>{time}</iq>")).await?;
        let asked = irc.finds(|e| e.attr("type") == Some("set")).await?;
        assert_eq!(asked.attr("from"), Some("localhost"));
        let inner = asked.find("iq").expect("an iq");
        assert_eq!((inner.attr("from"), inner.attr("id")), (Some(alice.jid.as_str()), Some("t")));
        let of = if way == "wrong" { "someone@else" } else { alice.jid.as_str() };
        let result = format!(
            "<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <iq xmlns='jabber:client' type='result' id='t' to='{of}' from='{to}'>\
             <time xmlns='urn:xmpp:time'><utc>never</utc></time></iq></forwarded></delegation>"
        );
        match way {
            "error" => {
                let id = asked.attr("id").unwrap_or_default();
                irc.send(&format!("<iq type='error' id='{id}' from='{IRC}' to='localhost'/>"))
                    .await?;
            }
            _ => irc.answer(&asked, &result).await?,
        }
        let answer = alice.expect(|e| e.attr("id") == Some("t")).await?;
        match way {
            "right" => {
                assert_eq!(answer.find("time").and_then(|it| it.text_of("utc")), Some("never"))
            }
            _ => assert_eq!(answer.condition(), Some("service-unavailable"), "{way}"),
        }
    }
    // N.B. 3: without the attribute the server answers itself.
    let version = ask(&mut alice, "get", "localhost", "<query xmlns='jabber:iq:version'/>").await?;
    assert_eq!(version.attr("type"), Some("result"));
    // §4.3.1: and it answers the component itself.
    irc.send(&format!("<iq type='get' id='own' from='{IRC}' to='localhost'>{time}</iq>")).await?;
    let own = irc.finds(|e| e.attr("id") == Some("own")).await?;
    assert_eq!(own.attr("type"), Some("result"), "{own}");
    // §7.1, §7.2.1
    let info = ask(&mut alice, "get", "localhost", &format!("<query xmlns='{INFO}'/>")).await?;
    let query = info.child(INFO, "query").expect("a query");
    let has = |var: &str| query.children.iter().any(|it| it.attr("var") == Some(var));
    assert!(has("urn:xmpp:delegation:2") && has("urn:nested") && !has("urn:xmpp:time"), "{info}");
    Ok(())
}
