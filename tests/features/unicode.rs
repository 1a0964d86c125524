//! Addresses in the Unicode of today (RFC 7622, RFC 8264 §9.10).

use crate::harness::client::{Client, Outcome};
use crate::harness::process::{Lab, PASSWORD};
use crate::harness::sasl2::{PHONE, agent};
use crate::harness::sm::chat;

/// A cup of tea (12.0), a skin tone (8.0), a face (8.0), the rouble sign (7.0), and what was there before.
const RESOURCES: &[&str] =
    &["🧋", "👨🏽", "\u{1f910}", "\u{20bd}", "\u{1fae0}", "😀", "\u{9fd6}\u{1e922}"];

/// RFC 7622 §3.4, RFC 8264 §4.3.1: symbols stand in resources, and whoever has such an address is written to.
#[tokio::test]
async fn a_resource_may_be_any_symbol() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    for resource in RESOURCES {
        let mut bob = lab.login_as("bob", resource).await?;
        assert_eq!(bob.jid, format!("bob@localhost/{resource}"));
        alice.send(&chat(&bob.jid, "1")).await?;
        let got = bob.expect(|e| e.attr("id") == Some("1")).await?;
        assert_eq!(got.attr("to"), Some(&*bob.jid));
        bob.close().await?;
        let (mut bob, _) =
            lab.bound("bob", &agent(PHONE), &format!("<tag>{resource}</tag>")).await?;
        assert!(bob.jid.starts_with(&format!("bob@localhost/{resource}/")), "{}", bob.jid);
        bob.close().await?;
    }
    // RFC 8264 §9.13 and §9.10: what colours and joins emoji is none of them, and what is not assigned is
    // nothing yet.
    for wrong in ["❤\u{fe0f}", "👨\u{200d}👩", "\u{378}"] {
        alice.send(&chat(&format!("bob@localhost/{wrong}"), wrong)).await?;
        let error = alice.expect(|e| e.attr("id") == Some(wrong)).await?;
        assert_eq!(error.condition(), Some("jid-malformed"), "{error}");
    }
    Ok(())
}

/// RFC 7622 §3.2: a domain of a script of today is one that we do not know, and not a malformed address.
#[tokio::test]
async fn a_domain_may_have_any_letters() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    for (domain, condition) in [
        ("\u{9fd6}.example", "remote-server-not-found"),
        ("\u{9fcd}\u{9fef}", "remote-server-not-found"),
        ("\u{560}.example", "remote-server-not-found"),
        ("x\u{1e922}.example", "jid-malformed"),
        ("🧋.example", "jid-malformed"),
        ("\u{378}.example", "jid-malformed"),
    ] {
        alice.send(&chat(&format!("a@{domain}"), domain)).await?;
        let error = alice.expect(|e| e.attr("id") == Some(domain)).await?;
        assert_eq!(error.condition(), Some(condition), "{domain}: {error}");
    }
    Ok(())
}

async fn registered(client: &mut Client, user: &str, password: &str) -> Outcome<Option<String>> {
    let form = format!("<username>{user}</username><password>{password}</password>");
    let query = format!("<query xmlns='jabber:iq:register'>{form}</query>");
    let answer = client.ask(&format!("<iq type='set' id='r'>{query}</iq>")).await?;
    Ok(answer.condition().map(ToOwned::to_owned))
}

/// RFC 7622 §3.3: names in scripts of today are taken, log in, and are the same in another spelling.
#[tokio::test]
async fn a_name_may_have_any_letters() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for (written, name) in [
        ("\u{9fcd}", "\u{9fcd}"),
        ("\u{560}", "\u{560}"),
        ("\u{9fc}", "\u{9fc}"),
        // Georgian capitals (11.0), Adlam capitals (9.0).
        ("\u{1c90}\u{1c91}", "\u{10d0}\u{10d1}"),
        ("\u{1e900}", "\u{1e922}"),
    ] {
        // SASLprep knows no such letters; the password has some too.
        let password = format!("{PASSWORD} 🔒 {name}");
        let mut client = lab.connect().await?;
        assert_eq!(registered(&mut client, written, &password).await?, None, "{written}");
        assert_eq!(registered(&mut client, name, &password).await?.as_deref(), Some("conflict"));
        assert_eq!(client.authenticate_with("PLAIN", written, &password).await?, Ok(()));
        client.restart();
        client.open().await?;
        assert_eq!(client.bind(Some("r")).await?, format!("{name}@localhost/r"));
        client.close().await?;
        let mut client = lab.connect().await?;
        assert!(client.authenticate_with("PLAIN", name, PASSWORD).await?.is_err());
    }
    Ok(())
}

/// UTS 39: strangers take no name that people would read as another one. The operator may make it.
#[tokio::test]
async fn a_stranger_takes_no_name_that_looks_like_another() -> Outcome<()> {
    let names = ["rom\u{435}o", "\u{430}dmin", "adrnin", "p\u{3b1}ul"];
    let lab = Lab::new(&["jul\u{456}et"], &[]);
    lab.login("jul\u{456}et").await?.close().await?;
    let mut client = lab.connect().await?;
    for name in names {
        let condition = registered(&mut client, name, PASSWORD).await?;
        assert_eq!(condition.as_deref(), Some("not-acceptable"), "{name}");
    }
    // Unless the operator lets them.
    let lab = Lab::new(&[], &["modules.register.lookalikes=true"]);
    for name in names {
        let mut client = lab.connect().await?;
        assert_eq!(registered(&mut client, name, PASSWORD).await?, None, "{name}");
    }
    Ok(())
}
