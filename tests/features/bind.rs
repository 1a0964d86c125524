//! Resource binding (RFC 6120 §7) and what hangs on it: conflicts, limits, the session feature.

use crate::harness::client::{BIND, Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, ends_with};

async fn bind(client: &mut Client, id: &str, resource: &str) -> Outcome<Element> {
    let iq = format!("<iq type='set' id='{id}'><bind xmlns='{BIND}'>{resource}</bind></iq>");
    client.ask(&iq).await
}

fn resource(name: &str) -> String {
    format!("<resource>{name}</resource>")
}

/// RFC 6120 §7.6: the server makes one that nobody can guess (§7.6.1), another each time.
#[tokio::test]
async fn a_resource_is_made_where_none_is_asked_for() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut made = Vec::new();
    for asked in ["", "<resource/>", ""] {
        let mut client = lab.authenticated("alice").await?;
        let answer = bind(&mut client, "b", asked).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
        let jid = answer.find("jid").unwrap().text.clone();
        let resource = jid.strip_prefix("alice@localhost/").expect("alice's").to_owned();
        assert!(resource.len() >= 8 && !made.contains(&resource), "{resource}");
        made.push(resource);
    }
    Ok(())
}

/// RFC 6120 §7.7.1, RFC 7622 §3.4: the asked one, prepared as OpaqueString.
#[tokio::test]
async fn an_asked_resource_is_given_in_normal_form() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for (asked, given) in [
        ("balcony", "balcony"),
        ("Balcony", "Balcony"),
        ("a b", "a b"),
        ("a/b@c", "a/b@c"),
        ("&lt;&amp;&apos;", "<&'"),
        ("\u{212b}", "\u{c5}"),
        ("x\u{a0}y", "x y"),
        ("💡", "💡"),
    ] {
        let mut client = lab.authenticated("alice").await?;
        let answer = bind(&mut client, "b", &resource(asked)).await?;
        let jid = answer.find("jid").map(|jid| jid.text.clone());
        assert_eq!(jid, Some(format!("alice@localhost/{given}")), "{answer}");
    }
    Ok(())
}

/// RFC 6120 §7.7.2.1 (bad-request), and the client may try again (§7.7.3).
#[tokio::test]
async fn an_impossible_resource_is_a_bad_request_and_may_be_retried() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.authenticated("alice").await?;
    for wrong in ["a&#9;b".to_owned(), "\u{7f}".into(), "x".repeat(1024), "\u{378}".into()] {
        let answer = bind(&mut client, "b", &resource(&wrong)).await?;
        assert_eq!((answer.attr("type"), answer.condition()), (Some("error"), Some("bad-request")));
    }
    // §8.2.3: as every request, it has an id.
    client.send(&format!("<iq type='set'><bind xmlns='{BIND}'/></iq>")).await?;
    assert_eq!(client.receive().await?.condition(), Some("bad-request"));
    client.bind(Some(&"x".repeat(1023))).await?;
    client.nothing().await
}

/// RFC 6120 §7.7.3: ten retries, then the stream is over.
#[tokio::test]
async fn binding_cannot_be_tried_for_ever() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.authenticated("alice").await?;
    for _ in 0..=10 {
        assert!(!client.conversation().contains("stream:error"));
        let answer = bind(&mut client, "b", &resource("\u{7f}")).await?;
        assert_eq!(answer.condition(), Some("bad-request"));
    }
    ends_with(&mut client, "policy-violation").await
}

/// RFC 6120 §7.7.2.2: by default the newer session wins, and the older one is told why.
#[tokio::test]
async fn a_newer_session_takes_the_resource_by_default() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut old = lab.login_as("alice", "r").await?;
    let mut new = lab.login_as("alice", "r").await?;
    ends_with(&mut old, "conflict").await?;
    // What is addressed to the name reaches the new one; the old one's end took nothing from it.
    new.send("<message to='alice@localhost/r' id='m'/>").await?;
    assert_eq!(new.receive().await?.attr("id"), Some("m"));
    new.nothing().await
}

/// The same, where the old session's client does not even read (security.md: atomic swap).
#[tokio::test]
async fn the_other_two_conflict_policies() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["session.conflict=refuse"]);
    let mut old = lab.login_as("alice", "r").await?;
    let mut new = lab.authenticated("alice").await?;
    let answer = bind(&mut new, "b", &resource("r")).await?;
    assert_eq!((answer.attr("type"), answer.condition()), (Some("error"), Some("conflict")));
    new.bind(Some("s")).await?;
    old.nothing().await?;

    let lab = Lab::new(&["alice"], &["session.conflict=rename"]);
    let mut old = lab.login_as("alice", "r").await?;
    let mut new = lab.authenticated("alice").await?;
    let jid = new.bind(Some("r")).await?;
    assert!(jid.starts_with("alice@localhost/") && jid != old.jid, "{jid}");
    old.nothing().await?;
    new.nothing().await
}

/// RFC 6120 §7.6.2.1: no more than so many, and room again when one has gone.
#[tokio::test]
async fn the_number_of_resources_is_limited() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.resources_per_account=2"]);
    let mut first = lab.login_as("alice", "1").await?;
    let _second = lab.login_as("alice", "2").await?;
    let mut third = lab.authenticated("alice").await?;
    let answer = bind(&mut third, "b", "").await?;
    assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    assert_eq!(answer.find("error").and_then(|e| e.attr("type")), Some("wait"));
    // One of the same name takes no more room (RFC 6120 §7.7.2.2).
    third.bind(Some("2")).await?;
    lab.login("bob").await?.nothing().await?;
    first.close().await?;
    lab.login("alice").await?.nothing().await
}

/// RFC 6120 §7.1: one resource a stream; a second request is an IQ that nobody answers for.
#[tokio::test]
async fn a_second_bind_on_a_bound_stream_is_refused() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.login_as("alice", "one").await?;
    let answer = bind(&mut client, "again", &resource("two")).await?;
    assert_eq!(answer.attr("type"), Some("error"), "{answer}");
    client.send("<message to='alice@localhost/one' id='m'/>").await?;
    assert_eq!(client.receive().await?.attr("id"), Some("m"));
    client.nothing().await
}

/// RFC 6120 §7.1: before binding there is nothing but binding.
#[tokio::test]
async fn an_iq_that_is_no_bind_is_too_early() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for early in [
        format!("<iq type='get' id='1'><bind xmlns='{BIND}'/></iq>"),
        "<iq type='set' id='1'><bind xmlns='urn:wrong'/></iq>".to_owned(),
        "<iq type='result' id='1'/>".to_owned(),
    ] {
        let mut client = lab.authenticated("alice").await?;
        client.send(&early).await?;
        ends_with(&mut client, "not-authorized").await?;
    }
    Ok(())
}

/// RFC 3921 §3, kept as an optional no-op (RFC 6121 appendix E): old clients ask for a session.
#[tokio::test]
async fn the_old_session_request_succeeds() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.authenticated("alice").await?;
    let session = client.features.child("urn:ietf:params:xml:ns:xmpp-session", "session");
    let session = session.expect("the session feature");
    assert!(session.find("optional").is_some(), "{session}");
    client.bind(None).await?;
    let ask = "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
    assert_eq!(client.ask(ask).await?.attr("type"), Some("result"));
    Ok(())
}
