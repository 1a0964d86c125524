//! XEP-0198 on one connection: enabling, counting, asking and answering.

use crate::harness::client::{Client, Outcome, STREAMS};
use crate::harness::element::{Element, STREAM};
use crate::harness::mount::Mount;
use crate::harness::process::{Lab, ends_with};
use crate::harness::sm::{SM, Stalled, chat, count, failed_condition, ids, is_delayed};
use std::time::{Duration, Instant};

fn pencil() -> Lab {
    Lab::new(&["alice", "bob"], &[])
}

/// XEP-0198 §2, §5: offered when stanzas may follow, not before.
#[tokio::test]
async fn it_is_offered_after_authentication() -> Outcome<()> {
    let lab = pencil();
    let plain = lab.connect().await?;
    assert!(plain.features.child(SM, "sm").is_none(), "{}", plain.features);
    let client = lab.authenticated("alice").await?;
    assert!(client.features.child(SM, "sm").is_some(), "{}", client.features);
    Ok(())
}

/// XEP-0198 §3, §6: too early is told, and can be recovered from.
#[tokio::test]
async fn too_early_is_refused_and_the_stream_goes_on() -> Outcome<()> {
    let lab = pencil();
    let resume = format!("<resume xmlns='{SM}' previd='x' h='0'/>");
    let mut client = lab.connect().await?;
    for early in [format!("<enable xmlns='{SM}'/>"), resume.clone()] {
        client.send(&early).await?;
        let failed = client.receive().await?;
        assert!(failed.is(SM, "failed"), "{failed}");
        assert_eq!(failed_condition(&failed), "unexpected-request");
    }
    client.authenticate("alice", crate::harness::process::PASSWORD).await?;
    let before = [format!("<enable xmlns='{SM}' resume='true'/>"), format!("<r xmlns='{SM}'/>")];
    for early in before {
        client.send(&early).await?;
        let failed = client.receive().await?;
        assert_eq!(failed_condition(&failed), "unexpected-request", "{failed}");
    }
    client.send(&format!("<resume xmlns='{SM}' h='0'/>")).await?;
    assert_eq!(failed_condition(&client.receive().await?), "bad-request");
    client.bind(None).await?;
    client.send(&resume).await?;
    assert_eq!(failed_condition(&client.receive().await?), "unexpected-request");
    for early in [format!("<r xmlns='{SM}'/>"), format!("<a xmlns='{SM}' h='0'/>")] {
        client.send(&early).await?;
        assert_eq!(failed_condition(&client.receive().await?), "unexpected-request");
    }
    client.enable().await?;
    client.fence().await?;
    assert_eq!(client.r().await?, 1);
    Ok(())
}

/// XEP-0198 §3: once is enough; the counts stay.
#[tokio::test]
async fn enabled_twice_is_refused_and_changes_nothing() -> Outcome<()> {
    let lab = pencil();
    let (mut client, _) = lab.managed("alice", "r").await?;
    client.fence().await?;
    let again = client.enable_with("resume='true'").await?;
    assert_eq!(failed_condition(&again), "unexpected-request", "{again}");
    assert_eq!(client.r().await?, 1);
    Ok(())
}

/// XEP-0198 §3, §13: xs:boolean and xs:positiveInteger, and what is said to them.
#[tokio::test]
async fn attributes_are_read_as_the_schema_has_them() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.resume_secs=300"]);
    for (attributes, max) in [
        ("resume='true'", Some("300")),
        ("resume='1' max='60'", Some("60")),
        ("resume='true' max='99999999999999999999'", Some("300")),
        ("resume='false'", None),
        ("resume='0'", None),
        ("max='60'", None),
        ("", None),
    ] {
        let mut client = lab.login("alice").await?;
        let enabled = client.enable_with(attributes).await?;
        assert_eq!(enabled.name, "enabled", "{attributes}: {enabled}");
        let resume = enabled.attr("resume");
        assert_eq!(enabled.attr("max"), max, "{attributes}: {enabled}");
        assert_eq!(resume.is_some(), max.is_some(), "{attributes}: {enabled}");
        let id = enabled.attr("id").unwrap_or_default();
        assert_eq!(id.len() >= 16, max.is_some(), "{attributes}: {enabled}");
        assert!(id.len() <= 4000 && enabled.attr("location").is_none(), "{enabled}");
        assert_eq!(client.r().await?, 0);
    }
    let mut client = lab.login("alice").await?;
    for bad in ["resume='yes'", "resume=''", "max='0'", "max='-1'", "max='x'", "max='1.5'"] {
        let failed = client.enable_with(bad).await?;
        assert_eq!(failed_condition(&failed), "bad-request", "{bad}: {failed}");
    }
    client.enable().await?;
    Ok(())
}

/// XEP-0198 §3: where to come back to.
#[tokio::test]
async fn a_location_is_told_if_there_is_one() -> Outcome<()> {
    let place = "[2001:db8::1]:9222";
    let lab = Lab::new(&["alice"], &[&format!("session.resume_location={place}")]);
    let mut client = lab.login("alice").await?;
    assert_eq!(client.enable_with("resume='1'").await?.attr("location"), Some(place));
    let mut client = lab.login("alice").await?;
    assert_eq!(client.enable_with("").await?.attr("location"), None);
    Ok(())
}

/// XEP-0198 §5: the server may enable stream management, and not let it be resumed.
#[tokio::test]
async fn where_nothing_is_resumed_streams_are_managed_all_the_same() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.resume_secs=0"]);
    let mut client = lab.login("alice").await?;
    let enabled = client.enable_with("resume='true'").await?;
    assert_eq!((enabled.name.as_str(), enabled.attr("id")), ("enabled", None));
    assert_eq!(enabled.attr("resume"), None);
    client.fence().await?;
    assert_eq!(client.r().await?, 1);
    drop(client);
    let lab = Lab::new(&[], &["sasl.mechanisms=ANONYMOUS"]);
    let mut client = lab.connect().await?;
    client
        .send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>")
        .await?;
    assert_eq!(client.receive().await?.name, "success");
    client.open().await?;
    assert!(client.resume("x", 0).await?.not_found().is_none());
    client.bind(None).await?;
    let enabled = client.enable_with("resume='true'").await?;
    assert_eq!((enabled.name.as_str(), enabled.attr("id")), ("enabled", None));
    client.fence().await?;
    assert_eq!(client.r().await?, 1);
    Ok(())
}

/// XEP-0198 §4: every stanza counts, whatever became of it, and nothing else does.
#[tokio::test]
async fn the_count_is_of_stanzas_of_all_kinds() -> Outcome<()> {
    let lab = pencil();
    let mut client = lab.login_as("alice", "r").await?;
    client.send("<presence/>").await?;
    client.fence().await?;
    client.enable().await?;
    let to_bob = "to='bob@localhost'";
    for (n, stanza) in [
        &format!("<message {to_bob}><body>x</body></message>") as &str,
        "<presence><show>away</show></presence>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='get' id='2' to='localhost'><x xmlns='urn:unknown'/></iq>",
        "<iq type='set' id='3'><query xmlns='jabber:iq:roster'><item jid='c@localhost'/></query></iq>",
        "<iq type='get' id='4' to='bob@localhost/nowhere'><x xmlns='urn:unknown'/></iq>",
        "<iq type='result' id='5' to='localhost'/>",
        "<iq type='error' id='6'/>",
        "<iq type='result' id='7' to='bob@localhost/nowhere'/>",
        "<iq type='get' to='localhost'><x xmlns='urn:unknown'/></iq>",
        "<iq type='what' id='8'/>",
        "<message to='@@'><body>x</body></message>",
        "<message to='nobody@localhost'><body>x</body></message>",
        "<message to='bob@elsewhere.example'><body>x</body></message>",
        "<message type='headline' to='bob@localhost'><body>x</body></message>",
        "<message to='localhost'><body>x</body></message>",
        "<message><body>to myself</body></message>",
        "<presence to='bob@localhost/x'/>",
        "<presence to='bob@localhost' type='subscribe'/>",
        "<presence to='bob@localhost' type='probe'/>",
        "<presence type='subscribe'/>",
        "<presence type='nonsense'/>",
        "<presence><priority>many</priority></presence>",
        "<presence type='unavailable'/>",
    ]
    .into_iter()
    .enumerate()
    {
        client.send(&format!("{stanza} \n<r xmlns='{SM}'/> ")).await?;
        let expected = u32::try_from(n).unwrap() + 1;
        let mut got = client.acked().await?;
        if got + 1 == expected {
            got = client.acked().await?;
        }
        assert_eq!(got, expected, "{stanza}");
        let own = client.handled;
        client.a(own).await?;
    }
    Ok(())
}

/// XEP-0198 §4: what the server sends counts too: results, errors, pushes, presence, messages. Its
/// count is what the client's is: one more is a lie.
#[tokio::test]
async fn what_the_server_sent_is_what_the_client_counts() -> Outcome<()> {
    let lab = pencil();
    let (mut alice, _) = lab.managed("alice", "r").await?;
    let mut bob = lab.login("bob").await?;
    let item = "<query xmlns='jabber:iq:roster'><item jid='c@localhost'/></query>";
    alice.send(&format!("<iq type='set' id='s'>{item}</iq>")).await?;
    alice.send("<presence/>").await?;
    alice.send(&chat("nobody@localhost", "x")).await?;
    alice.send("<iq type='get' id='4' to='localhost'><x xmlns='urn:unknown'/></iq>").await?;
    bob.send(&chat("alice@localhost/r", "1")).await?;
    bob.send("<iq type='get' id='9' to='alice@localhost/r'><x xmlns='urn:unknown'/></iq>").await?;
    bob.fence().await?;
    alice.fence().await?;
    assert!(alice.handled >= 6, "{}", alice.conversation());
    let all = alice.handled;
    alice.a(all).await?;
    alice.fence().await?;
    alice.a(all + 2).await?;
    too_high(&mut alice, all + 2, all + 1).await
}

/// XEP-0198 §6
async fn too_high(client: &mut Client, h: u32, sent: u32) -> Outcome<()> {
    let error = client.expect(|e| e.is(STREAM, "error")).await?;
    assert!(error.child(STREAMS, "undefined-condition").is_some(), "{error}");
    let lie = error.child(SM, "handled-count-too-high").expect("what is wrong");
    let sent = sent.to_string();
    assert_eq!((count(lie), lie.attr("send-count")), (Some(h), Some(sent.as_str())));
    assert!(client.gone().await?, "the closing tag");
    Ok(())
}

/// XEP-0198 §6, promise.md 2: a lie ends the stream, and confirms nothing.
#[tokio::test]
async fn a_count_too_high_loses_nothing() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    // Far too high looks like an old one on the circle of 2^32; this stream never had it.
    for h in [7, 1 << 31, u32::MAX] {
        let (mut bob, id) = lab.managed("bob", "r").await?;
        for n in ids(0..3) {
            alice.send(&chat("bob@localhost", &n)).await?;
        }
        alice.fence().await?;
        bob.expect(|e| e.attr("id") == Some("2")).await?;
        bob.a(h).await?;
        too_high(&mut bob, h, 3).await?;
        let mut bob = lab.authenticated("bob").await?;
        assert_eq!(bob.resume(&id, 0).await?.not_found(), Some(0));
        bob.bind(Some("r")).await?;
        bob.send("<presence/>").await?;
        assert_eq!(bob.messages().await?, ids(0..3));
        bob.close().await?;
    }
    Ok(())
}

/// promise.md 6: clients miscount; too low is taken as the last true one.
#[tokio::test]
async fn a_count_too_low_is_ignored() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    for n in ids(0..3) {
        alice.send(&chat("bob@localhost", &n)).await?;
    }
    bob.expect(|e| e.attr("id") == Some("2")).await?;
    for h in [2, 1, 0] {
        bob.a(h).await?;
    }
    bob.r().await?;
    drop(bob);
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    assert_eq!(bob.messages().await?, ["2"]);
    Ok(())
}

/// XEP-0198 §4, §13: an `<a/>` must have its count.
#[tokio::test]
async fn an_acknowledgement_without_a_count_ends_the_stream() -> Outcome<()> {
    let lab = pencil();
    for bad in ["", "h='-1'", "h='4294967296'", "h='x'", "h=''", "h='1.0'"] {
        let (mut client, _) = lab.managed("alice", "r").await?;
        client.send(&format!("<a xmlns='{SM}' {bad}/>")).await?;
        ends_with(&mut client, "bad-format").await?;
    }
    Ok(())
}

/// XEP-0198 §4: an answer must not be withheld; promise.md 5: what is durable later is told later.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_disk() -> Outcome<()> {
    let lab = pencil();
    let _bob = lab.login("bob").await?;
    let (mut alice, _) = lab.managed("alice", "r").await?;
    alice.send("<presence/>").await?;
    let asked = Instant::now();
    assert_eq!(alice.r().await?, 1);
    assert!(asked.elapsed() < Duration::from_millis(500), "nothing is being written");
    let stalled = Stalled::new(&lab);
    alice.send(&chat("bob@localhost", "1")).await?;
    let asked = Instant::now();
    assert_eq!(alice.r().await?, 1, "it is not in the store");
    assert_eq!(alice.r().await?, 1, "asked again");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    drop(stalled);
    assert_eq!(alice.acked().await?, 2, "told by itself");
    alice.forget();
    alice.quiet().await
}

/// XEP-0198 §4: not for a request that is being worked on either, nor for an addressee who must be looked
/// up; stanzas keep their order all the same.
#[tokio::test]
async fn an_answer_does_not_wait_for_a_handler() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let (mut alice, id) = lab.managed("alice", "r").await?;
    let item = "<query xmlns='jabber:iq:roster'><item jid='c@localhost'/></query>";
    let set = format!("<iq type='set' id='set'>{item}</iq>");
    let mut counted = 0;
    for slow in [set, chat("bob@localhost", "unknown so far")] {
        let stalled = Stalled::new(&lab);
        // The queue of writes has something in it, whatever comes next.
        alice.send(&chat("alice@localhost/r", "self")).await?;
        alice.send(&slow).await?;
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(alice.r().await?, counted);
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
        alice.send(&format!("{}<r xmlns='{SM}'/>", chat("alice@localhost/r", "last"))).await?;
        drop(stalled);
        counted += 3;
        while alice.acked().await? != counted {}
        let last = |e: &Element| e.attr("id") == Some("last");
        alice.expect(last).await?;
        alice.fence().await?;
        counted += 1;
        let own = alice.handled;
        alice.a(own).await?;
        alice.forget();
    }
    drop(alice);
    lab.resumed("alice", &id, 0).await?;
    Ok(())
}

/// promise.md 5: a message that could not be stored is told to its sender, and the count goes on.
#[tokio::test]
async fn a_full_disk_is_an_error_and_the_count_goes_on() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 3) else { return Ok(()) };
    let lab = Lab::serve(folder.path(), &["--set", "limits.bytes_per_second=0"], &["alice", "bob"]);
    let (mut alice, _) = lab.managed("alice", "r").await?;
    let pad = "x".repeat(100_000);
    let mut refused = None;
    for n in 1..=100 {
        let body = format!("<body>{pad}</body>");
        alice.send(&format!("<message to='bob@localhost' id='{n}'>{body}</message>")).await?;
        alice.r_until(n).await?;
        let came = alice.take();
        if let Some(error) = came.into_iter().find(|e| e.name == "message") {
            refused = Some((n, error));
            break;
        }
    }
    let (n, error) = refused.expect("a full disk");
    assert_eq!(error.condition(), Some("resource-constraint"), "{error}");
    assert_eq!(error.find("error").and_then(|e| e.attr("type")), Some("wait"));
    alice.send("<presence/>").await?;
    alice.r_until(n + 1).await?;
    drop(lab);
    drop(mount);
    Ok(())
}

/// XEP-0198 §8.2: asked with the first one, then not before the answer, then about the rest.
#[tokio::test]
async fn the_server_asks_now_and_then() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (mut bob, _) = lab.managed("bob", "r").await?;
    let asks = |client: &mut Client| client.take().iter().filter(|e| e.is(SM, "r")).count();
    alice.send(&chat("bob@localhost", "0")).await?;
    bob.expect(|e| e.name == "message").await?;
    bob.asked().await?;
    for n in ids(1..30) {
        alice.send(&chat("bob@localhost", &n)).await?;
    }
    alice.fence().await?;
    bob.expect(|e| e.attr("id") == Some("29")).await?;
    assert_eq!(bob.r().await?, 0);
    assert_eq!(asks(&mut bob), 0, "not before the answer");
    bob.a(1).await?;
    bob.asked().await?;
    let all = bob.handled;
    bob.a(all).await?;
    bob.r().await?;
    assert_eq!(asks(&mut bob), 0, "nothing is left to ask about");
    Ok(())
}

/// promise.md, I6: a client that acknowledges nothing gets so much and no more, is asked for it, and
/// gets the rest when it does.
#[tokio::test]
async fn unacknowledged_stanzas_have_a_bound() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.unacked_stanzas_max=5"]);
    let mut alice = lab.login("alice").await?;
    for waits in [false, true] {
        if waits {
            for n in ids(0..12) {
                alice.send(&chat("bob@localhost", &n)).await?;
            }
            alice.fence().await?;
        }
        let mut bob = lab.login_as("bob", "r").await?;
        bob.enable().await?;
        bob.send("<presence/>").await?;
        bob.expect(|e| e.name == "presence").await?;
        let shown = bob.handled;
        bob.a(shown).await?;
        if !waits {
            for n in ids(0..12) {
                alice.send(&chat("bob@localhost", &n)).await?;
            }
            alice.fence().await?;
        }
        let mut got = Vec::new();
        // It also says useless things: they change nothing.
        for _ in 0..3 {
            bob.asked().await?;
            bob.a(shown).await?;
        }
        let mut acked = shown;
        while got.len() < 12 {
            bob.r().await?;
            let came = bob.take().into_iter().filter(|e| e.name == "message");
            got.extend(came.map(|e| e.attr("id").unwrap_or_default().to_owned()));
            assert!(got.len() >= 5 && bob.handled - acked <= 5, "{acked}: {got:?}");
            acked = bob.handled;
            bob.a(acked).await?;
            if got.len() < 12 {
                let next = bob.expect(|e| e.name == "message").await?;
                got.push(next.attr("id").unwrap_or_default().to_owned());
            }
        }
        assert_eq!(got, ids(0..12), "waited: {waits}");
        bob.r().await?;
        bob.close().await?;
    }
    Ok(())
}

/// RFC 6120 §4.6.1, promise.md 11: a silent stream with stream management is asked for its count instead of
/// pinged; no sign of life, and it is cut without an error, which would end the session.
#[tokio::test]
async fn a_silent_stream_is_asked_and_then_cut() -> Outcome<()> {
    let set = ["limits.ping_after_secs=1", "limits.ping_timeout_secs=1"];
    let lab = Lab::new(&["alice"], &set);
    let (mut client, id) = lab.managed("alice", "r").await?;
    client.asked().await?;
    client.a(0).await?;
    client.asked().await?;
    assert!(!client.gone().await?, "no closing tag: {}", client.conversation());
    let came = client.take();
    assert!(came.is_empty(), "{came:?}");
    lab.sleeps(&client.jid);
    lab.resumed("alice", &id, 0).await?;
    // Who cannot be resumed is told.
    let mut client = lab.login("alice").await?;
    client.enable_with("").await?;
    client.asked().await?;
    ends_with(&mut client, "connection-timeout").await
}

/// XEP-0199, XEP-0198 §4: what was written before stream management was enabled is still confirmed by a ping,
/// whose answer counts like any stanza.
#[tokio::test]
async fn answers_to_pings_count() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.ping_after_secs=1"]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    for n in ids(0..32) {
        alice.send(&chat("bob@localhost", &n)).await?;
    }
    bob.expect(|e| e.attr("id") == Some("31")).await?;
    let ping = bob.expect(|e| e.find("ping").is_some()).await?;
    bob.enable_with("").await?;
    let id = ping.attr("id").unwrap_or_default();
    bob.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
    assert_eq!(bob.r().await?, 1);
    drop(bob);
    lab.online("bob", "r").await?.nothing().await
}

/// promise.md 2, XEP-0198 §4: with stream management only an acknowledgement confirms; what was not
/// acknowledged before a clean close comes again, stamped.
#[tokio::test]
async fn a_clean_close_confirms_only_what_was_acknowledged() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    for n in ids(0..4) {
        alice.send(&chat("bob@localhost", &n)).await?;
    }
    bob.expect(|e| e.attr("id") == Some("3")).await?;
    bob.a(2).await?;
    bob.close().await?;
    let mut bob = lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&id, 2).await?.not_found(), None, "it is over");
    bob.bind(Some("r")).await?;
    bob.send("<presence/>").await?;
    let came: Vec<Element> = bob.stanzas().await?;
    let came: Vec<&Element> = came.iter().filter(|e| e.name == "message").collect();
    let got: Vec<_> = came.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(got, ["2", "3"]);
    assert!(came.iter().all(|e| is_delayed(e)), "{came:?}");
    Ok(())
}
