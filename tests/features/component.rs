//! Components (XEP-0114).

use crate::harness::client::{Client, Outcome};
use crate::harness::component::{Component, SECRET, hash, header};
use crate::harness::element::Element;
use crate::harness::process::Lab;

pub const IRC: &str = "irc.localhost";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
pub const INFO: &str = "http://jabber.org/protocol/disco#info";

/// A component at `irc.localhost` with more of its settings.
fn set(more: &str) -> String {
    format!("component=[{{domain=\"{IRC}\",secret=\"{SECRET}\"{more}}}]")
}

pub fn lab(users: &[&str], more: &str) -> Lab {
    Lab::new(users, &[&set(more)])
}

/// A client that takes what is for its account.
pub async fn online(lab: &Lab, user: &str) -> Outcome<Client> {
    let mut client = lab.login(user).await?;
    client.become_available().await?;
    client.ignores_presence = true;
    Ok(client)
}

pub async fn ask(client: &mut Client, ty: &str, to: &str, payload: &str) -> Outcome<Element> {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    client.ask(&format!("<iq type='{ty}' id='q'{to}>{payload}</iq>")).await
}

fn message(from: &str, to: &str, body: &str) -> String {
    format!(
        "<message from='{from}' to='{to}' type='chat' id='{body}'><body>{body}</body></message>"
    )
}

/// XEP-0114 §3: whoever knows the secret is let in, and nothing passes before.
#[tokio::test]
async fn a_handshake_lets_in() -> Outcome<()> {
    let lab = lab(&["alice"], "");
    let mut alice = online(&lab, "alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    assert_eq!(irc.header.attr("from"), Some(IRC));
    assert_eq!(irc.header.attr("version"), None);
    irc.send(&message("#room@irc.localhost/nick", "alice@localhost", "hello")).await?;
    let got = alice.expect(|e| e.name == "message").await?;
    assert_eq!(got.attr("from"), Some("#room@irc.localhost/nick"));
    alice.send(&message("", "#room@irc.localhost", "back").replace(" from=''", "")).await?;
    assert_eq!(irc.hears("back").await?.attr("from"), Some(alice.jid.as_str()));
    // Stanzas that name their namespace, either way.
    for ns in ["jabber:client", "jabber:component:accept"] {
        let said = message("irc.localhost", "alice@localhost", ns);
        irc.send(&said.replacen("<message", &format!("<message xmlns='{ns}'"), 1)).await?;
        alice.expect(|e| e.attr("id") == Some(ns) && e.ns == "jabber:client").await?;
    }
    lab.process.logs(&["a component is connected", IRC]);
    assert!(!lab.process.log().contains(SECRET));
    Ok(())
}

#[tokio::test]
async fn a_wrong_handshake_does_not() -> Outcome<()> {
    let lab = lab(&["alice"], "");
    let mut irc = Component::call(&lab, IRC).await?;
    irc.prove("guess").await?;
    assert_eq!(irc.stream_error().await?, "not-authorized");
    lab.process.logs(&["a component was refused", IRC]);
    let mut early = Component::call(&lab, IRC).await?;
    early.send(&message("x@irc.localhost", "alice@localhost", "early")).await?;
    assert_eq!(early.stream_error().await?, "not-authorized");
    let mut unknown = Component::call(&lab, "xmpp.example").await?;
    assert_eq!(unknown.stream_error().await?, "host-unknown");
    let mut client = Component::call(&lab, IRC).await?;
    client.restart();
    let mut other = Client::dial(&lab.target, lab.components.expect("listening")).await?;
    other.send(&header(IRC).replace("component:accept", "client")).await?;
    assert_eq!(other.stream_error().await?, "invalid-namespace");
    // The hash of another stream's id.
    let mut first = Component::call(&lab, IRC).await?;
    let id = first.id().await?;
    let mut second = Component::call(&lab, IRC).await?;
    assert_ne!(second.id().await?, id);
    second.send(&format!("<handshake>{}</handshake>", hash(&id, SECRET))).await?;
    assert_eq!(second.stream_error().await?, "not-authorized");
    Ok(())
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() -> Outcome<()> {
    let lab = Lab::new(&[], &[&set(""), "limits.unauthenticated_secs=1"]);
    let mut irc = Component::call(&lab, IRC).await?;
    assert_eq!(irc.stream_error().await?, "connection-timeout");
    Ok(())
}

/// XEP-0114 §3: from its own domain and no other; RFC 6120 §4.9.3.9.
#[tokio::test]
async fn a_component_speaks_for_its_domain_alone() -> Outcome<()> {
    let lab = lab(&["alice", "bob"], "");
    let mut alice = online(&lab, "alice").await?;
    for from in ["bob@localhost", "localhost", "x@other.irc.localhost", "x@example.org"] {
        let mut irc = Component::connect(&lab, IRC).await?;
        irc.send(&message(from, "alice@localhost", "forged")).await?;
        assert_eq!(irc.stream_error().await?, "invalid-from", "{from}");
    }
    let mut irc = Component::connect(&lab, IRC).await?;
    irc.send("<message from='irc.localhost'><body>x</body></message>").await?;
    assert_eq!(irc.stream_error().await?, "improper-addressing");
    alice.nothing().await
}

/// A component that is away gets its messages when it is back; requests fail at once, and say why.
#[tokio::test]
async fn a_component_that_is_away_gets_its_messages_later() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let set = [set(""), "components.listen=127.0.0.1:0".to_owned()];
    let args = ["--set", &set[0], "--set", &set[1]];
    let mut lab = Lab::serve(folder.path(), &args, &["alice"]);
    let mut alice = lab.login("alice").await?;
    let to = |body: &str| message("", "#r@irc.localhost", body).replace(" from=''", "");
    alice.send(&to("1")).await?;
    alice.send(&to("2")).await?;
    let refused = ask(&mut alice, "get", IRC, "<ping xmlns='urn:xmpp:ping'/>").await?;
    assert_eq!(refused.condition(), Some("service-unavailable"), "{refused}");
    assert!(refused.to_string().contains("not connected"), "{refused}");
    // What was acknowledged survives a power cut: the answer of a server says so (promise.md 4).
    alice.fence().await?;
    lab.process.kill();
    drop(lab);
    let lab = Lab::serve(folder.path(), &args, &[]);
    let mut irc = Component::connect(&lab, IRC).await?;
    irc.hears("1").await?;
    irc.hears("2").await?;
    // A ping behind them is answered: they do not come again.
    irc.finds(|e| e.name == "iq").await.ok();
    Ok(())
}

/// What it has acknowledged by a pong it does not get twice; what it has not, it does.
#[tokio::test]
async fn what_is_not_acknowledged_comes_again() -> Outcome<()> {
    let lab = lab(&["alice"], "");
    let mut alice = lab.login("alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    let to = |body: &str| message("", "#r@irc.localhost", body).replace(" from=''", "");
    alice.send(&to("1")).await?;
    let is_ping = |e: &Element| e.find("ping").is_some();
    irc.expect(|e| e.text_of("body") == Some("1")).await?;
    let ping = irc.expect(is_ping).await?;
    irc.answer(&ping, "").await?;
    alice.send(&to("2")).await?;
    irc.expect(|e| e.text_of("body") == Some("2")).await?;
    let ping = irc.expect(is_ping).await?;
    assert_eq!(ping.attr("from"), Some("localhost"));
    drop(irc);
    lab.process.logs(&["a component is gone"]);
    let mut irc = Component::connect(&lab, IRC).await?;
    let first = irc.expect(|e| e.name == "message").await?;
    assert_eq!(first.text_of("body"), Some("2"));
    Ok(())
}

/// Subscriptions, presence and probes reach it as they reach another server.
#[tokio::test]
async fn a_component_has_contacts() -> Outcome<()> {
    let lab = lab(&["alice"], "");
    let mut irc = Component::connect(&lab, IRC).await?;
    let mut alice = lab.login("alice").await?;
    alice.become_available().await?;
    alice.send("<presence to='bob%net@irc.localhost' type='subscribe'/>").await?;
    let asked = irc.finds(|e| e.name == "presence").await?;
    assert_eq!(
        (asked.attr("type"), asked.attr("from")),
        (Some("subscribe"), Some("alice@localhost"))
    );
    for ty in [" type='subscribed'", ""] {
        irc.send(&format!("<presence from='bob%net@irc.localhost' to='alice@localhost'{ty}/>"))
            .await?;
    }
    alice.expect(|e| e.name == "presence" && e.attr("type") == Some("subscribed")).await?;
    let there =
        |e: &Element| e.attr("from") == Some("bob%net@irc.localhost") && e.attr("type").is_none();
    alice.expect(|e| e.name == "presence" && there(e)).await?;
    irc.send("<presence from='bob%net@irc.localhost' to='alice@localhost' type='subscribe'/>")
        .await?;
    alice.expect(|e| e.name == "presence" && e.attr("type") == Some("subscribe")).await?;
    alice.send("<presence to='bob%net@irc.localhost' type='subscribed'/>").await?;
    irc.finds(|e| e.name == "presence" && e.attr("type") == Some("subscribed")).await?;
    let seen = irc.finds(|e| e.name == "presence" && e.attr("type").is_none()).await?;
    assert_eq!(seen.attr("from"), Some(alice.jid.as_str()));
    alice.close().await?;
    irc.finds(|e| e.name == "presence" && e.attr("type") == Some("unavailable")).await?;
    let mut alice = lab.login("alice").await?;
    alice.become_available().await?;
    irc.finds(|e| e.name == "presence" && e.attr("type") == Some("probe")).await?;
    Ok(())
}

/// XEP-0030 §4.1; what the component is it says itself. XEP-0191: who is blocked is blocked.
#[tokio::test]
async fn hosts_list_it_and_accounts_block_it() -> Outcome<()> {
    let lab = lab(&["alice"], ",name=\"IRC\"");
    let mut alice = lab.login("alice").await?;
    let listed = ask(&mut alice, "get", "localhost", &format!("<query xmlns='{ITEMS}'/>")).await?;
    let listed = &listed.child(ITEMS, "query").expect("a query").children;
    let named: Vec<_> = listed.iter().map(|item| (item.attr("jid"), item.attr("name"))).collect();
    assert!(named.contains(&(Some(IRC), Some("IRC"))), "{named:?}");
    let mut irc = Component::connect(&lab, IRC).await?;
    let query = format!("<iq type='get' id='i' to='{IRC}'><query xmlns='{INFO}'/></iq>");
    alice.send(&query).await?;
    let asked = irc.finds(|e| e.name == "iq").await?;
    irc.answer(&asked, &format!("<query xmlns='{INFO}'><feature var='urn:own'/></query>")).await?;
    let told = alice.expect(|e| e.attr("id") == Some("i")).await?;
    assert!(told.find("feature").is_some_and(|it| it.attr("var") == Some("urn:own")), "{told}");
    let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='{IRC}'/></block>");
    ask(&mut alice, "set", "", &block).await?;
    irc.send(&message("x@irc.localhost", "alice@localhost", "spam")).await?;
    let refused = irc.finds(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("service-unavailable"));
    Ok(())
}

/// A second connection for a domain: the first ends, or the second, or both stay.
#[tokio::test]
async fn a_domain_has_one_connection_or_more() -> Outcome<()> {
    let lab1 = lab(&["alice"], "");
    let mut first = Component::connect(&lab1, IRC).await?;
    let mut second = Component::connect(&lab1, IRC).await?;
    assert_eq!(first.stream_error().await?, "conflict");
    let mut alice = lab1.login("alice").await?;
    let to = |body: &str| message("", "#r@irc.localhost", body).replace(" from=''", "");
    alice.send(&to("1")).await?;
    second.hears("1").await?;

    let lab2 = lab(&["alice"], ",conflict=\"refuse\"");
    let mut first = Component::connect(&lab2, IRC).await?;
    let mut second = Component::call(&lab2, IRC).await?;
    second.prove(SECRET).await?;
    assert_eq!(second.stream_error().await?, "conflict");
    let mut alice = lab2.login("alice").await?;
    alice.send(&to("1")).await?;
    first.hears("1").await?;

    let lab3 = lab(&["alice"], ",conflict=\"share\"");
    let mut first = Component::connect(&lab3, IRC).await?;
    let mut second = Component::connect(&lab3, IRC).await?;
    let mut alice = online(&lab3, "alice").await?;
    alice.send(&to("1")).await?;
    first.hears("1").await?;
    second.send(&message("x@irc.localhost", "alice@localhost", "both")).await?;
    alice.expect(|e| e.text_of("body") == Some("both")).await?;
    first.close().await?;
    alice.send(&to("2")).await?;
    second.hears("2").await?;
    Ok(())
}

/// Several components, and one that writes to another.
#[tokio::test]
async fn there_may_be_several() -> Outcome<()> {
    let both = format!(
        "component=[{{domain=\"{IRC}\",secret=\"{SECRET}\"}},{{domain=\"sms.example\",secret=\"{SECRET}\"}}]"
    );
    let lab = Lab::new(&[], &[&both]);
    let mut irc = Component::connect(&lab, IRC).await?;
    let mut sms = Component::connect(&lab, "sms.example").await?;
    irc.send(&message("a@irc.localhost", "b@sms.example", "over")).await?;
    assert_eq!(sms.hears("over").await?.attr("from"), Some("a@irc.localhost"));
    Ok(())
}

/// A component that writes without end is slowed, and nobody else is.
#[tokio::test]
async fn a_flood_slows_its_component_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[&set(""), "components.stanzas_per_second=10"]);
    let mut alice = online(&lab, "alice").await?;
    let mut irc = Component::connect(&lab, IRC).await?;
    let many: String =
        (0..200).map(|n| message("x@irc.localhost", "alice@localhost", &n.to_string())).collect();
    irc.send(&many).await?;
    alice.expect(|e| e.text_of("body") == Some("40")).await?;
    let mut bob = lab.login("bob").await?;
    bob.fence().await?;
    let got = alice.take().len();
    assert!(got < 150, "{got} at once");
    Ok(())
}
