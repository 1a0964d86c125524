//! XEP-0352: Client State Indication, as the inactive client sees it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, ends_with};
use crate::harness::sm::{SM, chat, friends};

const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";
/// The server reads at most this much from one client before it handles what waits for this client.
const TURN: usize = 32;

/// Alice and bob: bob sees alice's presence, is inactive, and has received everything before that.
async fn pair(lab: &Lab) -> Outcome<(Client, Client)> {
    friends(lab).await?;
    let (alice, mut bob) = (lab.online("alice", "r").await?, lab.online("bob", "phone").await?);
    bob.expect(|e| e.attr("from") == Some(&alice.jid)).await?;
    falls_inactive(&mut bob).await?;
    Ok((alice, bob))
}

async fn falls_inactive(client: &mut Client) -> Outcome<()> {
    client.send(INACTIVE).await?;
    client.stanzas().await.map(drop)
}

/// Waits until the server has handled all that waits for this client, which uses stream management. The
/// server reads all available input first, so it may answer two requests before it does so; after a full turn
/// of requests it must have done so.
async fn looked(client: &mut Client) -> Outcome<()> {
    client.send(&format!("<r xmlns='{SM}'/>").repeat(TURN)).await?;
    for _ in 0..TURN {
        client.acked().await?;
    }
    Ok(())
}

async fn shows(client: &mut Client, all: &[&str]) -> Outcome<()> {
    for show in all {
        client.send(&format!("<presence><show>{show}</show></presence>")).await?;
    }
    client.fence().await
}

fn state(to: &str, state: &str) -> String {
    let state = format!("<{state} xmlns='http://jabber.org/protocol/chatstates'/>");
    format!("<message to='{to}' type='chat'>{state}</message>")
}

/// In short: the `show` of a presence, the chat state of a message without an id, otherwise the id.
fn short(stanza: &Element) -> String {
    let state = stanza.children.iter().find(|c| c.ns == "http://jabber.org/protocol/chatstates");
    match (stanza.text_of("show").or(stanza.attr("id")), state) {
        (Some(text), _) => text.to_owned(),
        (None, Some(state)) => state.name.clone(),
        (None, None) => stanza.attr("type").unwrap_or("available").to_owned(),
    }
}

/// The stanzas up to the one with this id, without any request.
async fn up_to(client: &mut Client, id: &str) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != id) {
        let next = client.receive().await?;
        if next.ns == "jabber:client" {
            all.push(short(&next));
        }
    }
    Ok(all)
}

/// XEP-0352 §3.2, §4: presence and chat states are held back, the newest of each sender, and are sent in
/// order with the first message.
#[tokio::test]
async fn an_inactive_client_hears_what_matters_and_the_newest_of_the_rest() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let (mut alice, mut bob) = pair(&lab).await?;
    assert!(bob.features.child("urn:xmpp:csi:0", "csi").is_some(), "{}", bob.features);
    shows(&mut alice, &["away", "dnd"]).await?;
    alice.send(&state(&bob.jid, "composing")).await?;
    alice.send(&state(&bob.jid, "paused")).await?;
    shows(&mut alice, &["xa", "chat"]).await?;
    alice.send(&state(&bob.jid, "composing")).await?;
    alice.send(&chat(&bob.jid, "1")).await?;
    // It arrives without a request.
    assert_eq!(up_to(&mut bob, "1").await?, ["chat", "composing", "1"]);
    // The client is still inactive.
    shows(&mut alice, &["away", "dnd"]).await?;
    alice.send(&chat(&bob.jid, "2")).await?;
    assert_eq!(up_to(&mut bob, "2").await?, ["dnd", "2"]);
    Ok(())
}

/// Any stanza that is neither a contact's presence nor a chat state alone releases those held back.
#[tokio::test]
async fn what_matters_passes_at_once() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &[]);
    let (mut alice, mut bob) = pair(&lab).await?;
    let mut carol = lab.login("carol").await?;
    let (to, error) = (
        bob.jid.clone(),
        "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    );
    for payload in [
        "<encrypted xmlns='urn:xmpp:omemo:2'/>",
        "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
        "<propose xmlns='urn:xmpp:jingle-message:0' id='x'/>",
        "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>",
    ] {
        shows(&mut alice, &["away", "dnd"]).await?;
        carol.send(&format!("<message to='{to}' type='chat' id='m'>{payload}</message>")).await?;
        assert_eq!(up_to(&mut bob, "m").await?, ["dnd", "m"], "{payload}");
    }
    for stanza in [
        format!("<message to='{to}' type='headline' id='s'><body>x</body></message>"),
        format!("<message to='{to}' type='error' id='s'>{error}</message>"),
        format!("<iq to='{to}' type='result' id='s'/>"),
        "<presence to='bob@localhost' type='subscribe' id='s'/>".to_owned(),
    ] {
        shows(&mut alice, &["away", "dnd"]).await?;
        carol.send(&stanza).await?;
        assert_eq!(up_to(&mut bob, "s").await?, ["dnd", "s"], "{stanza}");
    }
    // Answers to the client's own requests do.
    shows(&mut alice, &["away", "dnd"]).await?;
    let ping = "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";
    bob.send(ping).await?;
    assert_eq!(up_to(&mut bob, "ping").await?, ["dnd", "ping"]);
    // So do owed messages for a client that is inactive when it comes online.
    bob.close().await?;
    carol.send(&chat("bob@localhost", "owed")).await?;
    carol.fence().await?;
    let mut bob = lab.login_as("bob", "phone").await?;
    bob.send(INACTIVE).await?;
    bob.send("<presence/>").await?;
    let came = up_to(&mut bob, "owed").await?;
    assert_eq!(came.last().map(String::as_str), Some("owed"));
    Ok(())
}

/// XEP-0352 §5.1: stanzas that were held back are sent before the answer to anything after `<active/>`.
#[tokio::test]
async fn an_active_client_gets_what_was_kept_at_once() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let (mut alice, mut bob) = pair(&lab).await?;
    bob.enable_with("").await?;
    shows(&mut alice, &["away", "dnd"]).await?;
    looked(&mut bob).await?;
    bob.send(ACTIVE).await?;
    assert_eq!(up_to(&mut bob, "dnd").await?, ["dnd"]);
    shows(&mut alice, &["away", "xa"]).await?;
    assert_eq!(up_to(&mut bob, "xa").await?, ["away", "xa"], "each, as it comes");
    // Repeated or unnecessary indications change nothing.
    bob.send(&[ACTIVE, INACTIVE, INACTIVE].concat()).await?;
    bob.fence().await?;
    shows(&mut alice, &["chat", "away"]).await?;
    looked(&mut bob).await?;
    let ping = "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";
    bob.send(&[ACTIVE, ping].concat()).await?;
    assert_eq!(up_to(&mut bob, "ping").await?, ["away", "ping"]);
    bob.send("<passive xmlns='urn:xmpp:csi:0'/>").await?;
    ends_with(&mut bob, "unsupported-stanza-type").await
}

/// XEP-0352 §5.2, XEP-0198 §5: stanzas that are held back do not count as sent and are sent after a
/// resumption. The resumed stream is active, even after a restart.
#[tokio::test]
async fn a_resumed_stream_is_active_and_has_lost_nothing() -> Outcome<()> {
    for restarts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
        friends(&lab).await?;
        let (mut alice, alices) = lab.managed("alice", "r").await?;
        let (mut bob, id) = lab.managed("bob", "phone").await?;
        let jid = bob.jid.clone();
        falls_inactive(&mut bob).await?;
        shows(&mut alice, &["away", "dnd"]).await?;
        alice.send(&state(&jid, "paused")).await?;
        alice.fence().await?;
        let handled = bob.handled;
        bob.a(handled).await?;
        bob.r().await?;
        if restarts {
            lab.process.signal("TERM");
            assert_eq!(lab.process.exit().code(), Some(0), "{}", lab.process.log());
            lab = Lab::serve(folder.path(), &[], &[]);
            (alice, _) = lab.resumed("alice", &alices, alice.handled).await?;
        } else {
            drop(bob);
            lab.sleeps(&jid);
        }
        let (mut bob, _) = lab.resumed("bob", &id, handled).await?;
        let came = up_to(&mut bob, "paused").await?;
        assert!(came.ends_with(&["dnd".to_owned(), "paused".to_owned()]), "{came:?}");
        bob.stanzas().await?;
        shows(&mut alice, &["xa", "chat"]).await?;
        assert_eq!(up_to(&mut bob, "chat").await?, ["xa", "chat"]);
    }
    Ok(())
}

/// XEP-0198 §5: the same applies if the old connection was still open.
#[tokio::test]
async fn a_stream_that_is_taken_over_is_active() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    falls_inactive(&mut bob).await?;
    let handled = bob.handled;
    shows(&mut alice, &["away", "dnd"]).await?;
    let (mut again, _) = lab.resumed("bob", &id, handled).await?;
    shows(&mut alice, &["xa", "chat"]).await?;
    let came = up_to(&mut again, "chat").await?;
    assert!(came.ends_with(&["dnd", "xa", "chat"].map(str::to_owned)), "{came:?}");
    Ok(())
}

/// XEP-0352 §3.2: "it SHOULD provide a way for administrators to configure them".
#[tokio::test]
async fn the_operator_says_what_waits_and_how_much() -> Outcome<()> {
    for (set, expected) in [
        ("modules.csi.hold_presence=false", &["away", "dnd", "composing", "1"][..]),
        ("modules.csi.hold_chat_states=false", &["dnd", "paused", "composing", "1"]),
        ("modules.csi.stanzas_max=0", &["away", "dnd", "paused", "composing", "1"]),
        ("modules.csi.bytes_max=0", &["away", "dnd", "paused", "composing", "1"]),
    ] {
        let lab = Lab::new(&["alice", "bob"], &[set]);
        let (mut alice, mut bob) = pair(&lab).await?;
        shows(&mut alice, &["away", "dnd"]).await?;
        alice.send(&state(&bob.jid, "paused")).await?;
        alice.send(&state(&bob.jid, "composing")).await?;
        alice.send(&chat(&bob.jid, "1")).await?;
        assert_eq!(up_to(&mut bob, "1").await?, expected, "{set}");
    }
    Ok(())
}
