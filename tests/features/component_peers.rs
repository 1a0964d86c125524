//! Components beyond this machine: over TLS, and with people of other servers.

use crate::component::{IRC, ask};
use crate::harness::client::{Client, Outcome};
use crate::harness::component::{Component, SECRET};
use crate::harness::element::Element;
use crate::harness::peers::One;
use crate::harness::process::Lab;
use crate::harness::raw_peer::{Raw, SM};
use crate::s2s_streams::{NAMES, to_alice};

fn set(domain: &str, more: &str) -> String {
    format!("component=[{{domain=\"{domain}\",secret=\"{SECRET}\"{more}}}]")
}

/// `components.listen_tls`: TLS from the first byte, as from other machines.
#[tokio::test]
async fn a_component_speaks_tls() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[&set(IRC, ""), "components.listen_tls=127.0.0.1:0"]);
    let mut alice = lab.online("alice", "a").await?;
    let mut irc = Component::call_tls(&lab, IRC).await?;
    irc.prove(SECRET).await?;
    irc.client.expect(|e| e.name == "handshake").await?;
    lab.process.logs(&["a component is connected", IRC, "TLSv1.3"]);
    irc.send(&format!(
        "<message from='x@{IRC}' to='alice@localhost' type='chat'><body>over TLS</body></message>"
    ))
    .await?;
    let got = alice.expect(|e| e.name == "message").await?;
    assert_eq!(got.text_of("body"), Some("over TLS"));
    alice.send(&format!("<message to='x@{IRC}' type='chat'><body>back</body></message>")).await?;
    irc.hears("back").await?;
    // A wrong secret is a wrong secret, and nothing goes there without TLS.
    let mut wrong = Component::call_tls(&lab, IRC).await?;
    wrong.prove("something else").await?;
    assert_eq!(wrong.stream_error().await?, "not-authorized");
    let mut plain = Client::dial(&lab.target, lab.components_tls.unwrap()).await?;
    plain.send(&crate::harness::component::header(IRC)).await?;
    // What comes is an alert of TLS, if anything.
    assert!(!plain.gone().await.unwrap_or(false), "no stream without TLS");
    alice.fence().await
}

const BRIDGE: &str = "irc.a.test";

/// A component talks to other servers in its own name, and they to it.
#[tokio::test]
async fn people_of_other_servers_reach_a_component() -> Outcome<()> {
    let one = One::new(&[&set(BRIDGE, "")]);
    let fake = one.fake().await;
    let mut irc = Component::connect(&one.lab, BRIDGE).await?;
    irc.send(&format!("<message from='room@{BRIDGE}/nick' to='eve@peer.test' type='chat' id='1'><body>1</body></message>")).await?;
    let mut theirs = fake.accept_managed().await?;
    let header = theirs.greeted().await?;
    assert_eq!(header.attr("from"), Some(BRIDGE), "{header}");
    let got = theirs.expect(|e| e.name == "message").await?;
    assert_eq!(got.attr("from"), Some("room@irc.a.test/nick"), "{got}");
    theirs.send(&format!("<a xmlns='{SM}' h='1'/>")).await?;
    // And back, on a stream that the other server opened for the component's domain.
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::external(one.site.address, (NAMES.0, BRIDGE), &own).await?;
    raw.send(&to_alice("2").replace("alice@a.test", &format!("room@{BRIDGE}"))).await?;
    let got = irc.hears("2").await?;
    assert_eq!(
        (got.attr("from"), got.attr("to")),
        (Some("eve@peer.test/x"), Some("room@irc.a.test"))
    );
    raw.send(&format!(
        "<iq type='get' id='i' from='eve@peer.test/x' to='{BRIDGE}'><query xmlns='urn:x'/></iq>"
    ))
    .await?;
    let asked = irc.finds(|e| e.name == "iq" && e.attr("id") == Some("i")).await?;
    irc.answer(&asked, "<query xmlns='urn:x'><yes/></query>").await?;
    let answer = theirs.expect(|e| e.name == "iq" && e.attr("id") == Some("i")).await?;
    assert_eq!(
        (answer.attr("type"), answer.attr("from")),
        (Some("result"), Some(BRIDGE)),
        "{answer}"
    );
    // Nobody comes in its name.
    let mut thief = Raw::external(one.site.address, NAMES, &own).await?;
    thief.send(&to_alice("3").replace("eve@peer.test", &format!("x@{BRIDGE}"))).await?;
    thief.ends_with("invalid-from").await
}

/// While it is away, messages of other servers wait, requests are refused.
#[tokio::test]
async fn a_component_that_is_away_gets_what_other_servers_sent() -> Outcome<()> {
    let one = One::new(&[&set(BRIDGE, "")]);
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::bidi(one.site.address, (NAMES.0, BRIDGE), &own).await?;
    raw.send(&format!("<enable xmlns='{SM}'/>")).await?;
    raw.expect(|e| e.is(SM, "enabled")).await?;
    raw.send(&to_alice("kept").replace("alice@a.test", &format!("room@{BRIDGE}"))).await?;
    raw.send(&format!(
        "<iq type='get' id='i' from='eve@peer.test/x' to='{BRIDGE}'><query xmlns='urn:x'/></iq>"
    ))
    .await?;
    raw.counted(2).await?;
    let refused = raw.expect(|e| e.name == "iq").await?;
    assert_eq!(refused.condition(), Some("service-unavailable"), "{refused}");
    let mut irc = Component::connect(&one.lab, BRIDGE).await?;
    irc.hears("kept").await?;
    Ok(())
}

/// XEP-0356 §7.4: presence of a contact that lives elsewhere; also when the account has no session.
#[tokio::test]
async fn presence_of_contacts_at_other_servers() -> Outcome<()> {
    let more = ",privileges={roster=\"get\",presence=\"roster\"}";
    let one = One::new(&[&set(BRIDGE, more)]);
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::bidi(one.site.address, NAMES, &own).await?;
    raw.send(&format!("<enable xmlns='{SM}'/>")).await?;
    raw.expect(|e| e.is(SM, "enabled")).await?;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send("<presence type='subscribe' to='eve@peer.test'/>").await?;
    raw.expect(|e| e.attr("type") == Some("subscribe")).await?;
    let presence = |ty: &str, from: &str| {
        format!("<presence from='{from}' to='alice@a.test'{ty}><status>s</status></presence>")
    };
    raw.send(&presence(" type='subscribed'", "eve@peer.test")).await?;
    alice.expect(|e| e.attr("type") == Some("subscribed")).await?;
    let mut irc = Component::connect(&one.lab, BRIDGE).await?;
    let is = |e: &Element, ty: Option<&str>| {
        let from = e.attr("from") == Some("eve@peer.test/x");
        e.name == "presence" && from && e.attr("type") == ty
    };
    raw.send(&presence("", "eve@peer.test/x")).await?;
    let seen = irc.finds(|e| is(e, None)).await?;
    assert_eq!((seen.attr("to"), seen.text_of("status")), (Some(BRIDGE), Some("s")), "{seen}");
    alice.expect(|e| is(e, None)).await?;
    raw.send(&presence(" type='unavailable'", "eve@peer.test/x")).await?;
    irc.finds(|e| is(e, Some("unavailable"))).await?;
    // "If the managed entity is unavailable …, the server MUST send presence stanzas to the latter anyway."
    alice.close().await?;
    raw.send(&presence("", "eve@peer.test/x")).await?;
    irc.finds(|e| is(e, None)).await?;
    // Whom she did not subscribe to shows her nothing that the component may see.
    raw.send(&presence("", "mallory@peer.test/x")).await?;
    raw.send(&presence(" type='unavailable'", "eve@peer.test/x")).await?;
    let next = irc.finds(|e| e.name == "presence").await?;
    assert!(is(&next, Some("unavailable")), "{next}");
    Ok(())
}

/// The privilege is for those who may read rosters, and whoever has none of it sees nothing.
#[tokio::test]
async fn without_the_privilege_nothing_of_contacts_is_seen() -> Outcome<()> {
    let one = One::new(&[&set(BRIDGE, ",privileges={roster=\"get\",presence=\"managed_entity\"}")]);
    let own = one.identity(&["peer.test"]);
    let mut raw = Raw::bidi(one.site.address, NAMES, &own).await?;
    let mut alice = one.lab.online("alice", "a").await?;
    alice.send("<presence type='subscribe' to='eve@peer.test'/>").await?;
    raw.expect(|e| e.attr("type") == Some("subscribe")).await?;
    raw.send("<presence from='eve@peer.test' to='alice@a.test' type='subscribed'/>").await?;
    alice.expect(|e| e.attr("type") == Some("subscribed")).await?;
    let mut irc = Component::connect(&one.lab, BRIDGE).await?;
    raw.send("<presence from='eve@peer.test/x' to='alice@a.test'/>").await?;
    alice.expect(|e| e.attr("from") == Some("eve@peer.test/x")).await?;
    ask(&mut alice, "get", "a.test", "<ping xmlns='urn:xmpp:ping'/>").await?;
    alice.send(&format!("<message to='x@{BRIDGE}' type='chat'><body>end</body></message>")).await?;
    let next = irc
        .finds(|e| e.attr("from") == Some("eve@peer.test/x") || e.text_of("body") == Some("end"))
        .await?;
    assert_eq!(next.text_of("body"), Some("end"), "{next}");
    Ok(())
}
