//! Nothing in the server's own name comes from outside: what only the server says, a client cannot.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element};
use crate::harness::process::Lab;

const DELAY: &str = "urn:xmpp:delay";
const OLD: &str = "jabber:x:delay";
const MAM: &str = "urn:xmpp:mam:2";

/// In all of these it would be ours that said it: the server, or its account for somebody.
const FORGED: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "localhost.",
    "&#108;ocalhost",
    "localhost/x",
    "bob@localhost",
    "room@localhost",
    "",
];

fn delay(from: &str) -> String {
    format!(
        "<delay xmlns='{DELAY}' from='{from}' stamp='2001-02-03T04:05:06Z'/>\
         <x xmlns='{OLD}' from='{from}' stamp='20010203T04:05:06'/>"
    )
}

/// What the forger writes, and of it what may stay.
fn payloads() -> (String, String) {
    let kept = delay("alice@localhost/r") + &delay("other.example");
    let quoted =
        format!("<forwarded xmlns='urn:xmpp:forward:0'>{}</forwarded>", delay("localhost"));
    let forged: String = FORGED.iter().map(|from| delay(from)).collect();
    (format!("{forged}<body>x</body>{kept}{quoted}{forged}"), kept)
}

/// Who is said to have held it back, in both notations, and when.
fn delays(stanza: &Element) -> Vec<(&str, bool)> {
    let of = |e: &&Element| e.is(DELAY, "delay") || e.is(OLD, "x");
    let all = stanza.children.iter().filter(of);
    all.map(|e| {
        let old = e.attr("stamp").is_some_and(|stamp| stamp.starts_with("2001"));
        (e.attr("from").unwrap_or("-"), old)
    })
    .collect()
}

const KEPT: [(&str, bool); 4] = [
    ("alice@localhost/r", true),
    ("alice@localhost/r", true),
    ("other.example", true),
    ("other.example", true),
];

#[track_caller]
fn is_honest(stanza: &Element) {
    assert_eq!(delays(stanza), KEPT, "{stanza}");
    // XEP-0297: what is quoted is quoted.
    let quoted = stanza.find("forwarded").expect("what was quoted");
    assert_eq!(delays(quoted), [("localhost", true); 2], "{stanza}");
}

async fn archived(client: &mut Client) -> Outcome<Element> {
    client.send(&format!("<iq type='set' id='mam'><query xmlns='{MAM}'/></iq>")).await?;
    let result = client.expect(|e| e.child(MAM, "result").is_some()).await?;
    client.expect(|e| e.attr("id") == Some("mam")).await?;
    let forwarded = result.child(MAM, "result").and_then(|result| result.find("forwarded"));
    let message = forwarded.and_then(|forwarded| forwarded.child(CLIENT, "message"));
    Ok(message.expect("a message").clone())
}

/// XEP-0203 §5: online, as a copy (XEP-0280), in both archives (XEP-0313).
#[tokio::test]
async fn a_delay_of_ours_is_nobody_elses_to_write() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login_as("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    let mut copied = lab.login_as("bob", "copied").await?;
    let mut sent = lab.login_as("alice", "sent").await?;
    for reader in [&mut copied, &mut sent] {
        reader.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await?;
    }
    let (written, _) = payloads();
    alice
        .send(&format!("<message to='bob@localhost' type='chat' id='m'>{written}</message>"))
        .await?;
    is_honest(&bob.expect(|e| e.attr("id") == Some("m")).await?);
    for reader in [&mut copied, &mut sent] {
        let copy = reader.expect(|e| e.find("received").or(e.find("sent")).is_some()).await?;
        let side = copy.find("received").or(copy.find("sent")).expect("a copy");
        let inner = side.find("forwarded").and_then(|f| f.child(CLIENT, "message"));
        is_honest(inner.expect("a message"));
    }
    is_honest(&archived(&mut alice).await?);
    is_honest(&archived(&mut bob).await?);
    Ok(())
}

/// XEP-0203 §2: the one of ours is ours, and says when it came.
#[tokio::test]
async fn what_waited_has_one_delay_of_ours() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login_as("alice", "r").await?;
    let (written, _) = payloads();
    alice
        .send(&format!("<message to='bob@localhost' type='chat' id='m'>{written}</message>"))
        .await?;
    alice.fence().await?;
    let mut bob = lab.online("bob", "r").await?;
    let message = bob.expect(|e| e.attr("id") == Some("m")).await?;
    let (ours, others): (Vec<_>, Vec<_>) =
        delays(&message).into_iter().partition(|(from, _)| *from == "localhost");
    assert_eq!(ours, [("localhost", false)], "{message}");
    assert_eq!(others, KEPT, "{message}");
    Ok(())
}

/// In presence too: broadcast, directed, and the request for a subscription.
#[tokio::test]
async fn presence_has_no_delay_of_ours_either() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login_as("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    let (written, _) = payloads();
    let written = written.replace("<body>x</body>", "<status>x</status>");
    for attributes in
        ["to='bob@localhost/r' id='directed'", "to='bob@localhost' type='subscribe' id='ask'"]
    {
        alice.send(&format!("<presence {attributes}>{written}</presence>")).await?;
        is_honest(&bob.expect(|e| e.name == "presence" && e.find("status").is_some()).await?);
    }
    // Kept, and told again at the next login.
    drop(bob);
    let mut bob = lab.online("bob", "again").await?;
    is_honest(&bob.expect(|e| e.attr("type") == Some("subscribe")).await?);
    // The own devices hear it as contacts do.
    let mut other = lab.online("alice", "other").await?;
    alice.send(&format!("<presence id='all'>{written}</presence>")).await?;
    is_honest(&other.expect(|e| e.attr("id") == Some("all")).await?);
    Ok(())
}
