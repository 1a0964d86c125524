//! Bind 2 (XEP-0386), and stream management inline (XEP-0198 §9).

use crate::harness::client::{BIND, Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, ends_with};
use crate::harness::sasl2::{BIND2, LAPTOP, PHONE, SASL2, agent, bind, plain};
use crate::harness::sm::{SM, chat, failed_condition, friends, say};

const MAM: &str = "urn:xmpp:mam:2";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

fn lab() -> Lab {
    Lab::new(&["alice", "bob"], &[])
}

fn tag(tag: &str) -> String {
    format!("<tag>{tag}</tag>")
}

fn resume(previd: &str, h: &str) -> String {
    format!("<resume xmlns='{SM}' previd='{previd}' h='{h}'/>")
}

/// The message ids in a user's archive, by a stream of its own that is not available.
async fn archived(lab: &Lab, user: &str) -> Outcome<Vec<String>> {
    let mut client = lab.login(user).await?;
    client.send(&format!("<iq type='set' id='q'><query xmlns='{MAM}'/></iq>")).await?;
    client.expect(|e| e.attr("id") == Some("q")).await?;
    let all = client.take();
    let ids = all.iter().filter_map(|e| e.find("forwarded")?.find("message")?.attr("id"));
    let ids = ids.map(str::to_owned).collect();
    client.close().await?;
    Ok(ids)
}

/// §3.2.1: `tag/identifier`; without a user agent another each time, with one the same as long as the
/// tag is; what cannot stand in a resource is left out. The identifier tells nothing of the agent.
#[tokio::test]
async fn the_resource_is_a_tag_and_an_identifier() -> Outcome<()> {
    let lab = lab();
    let mut seen: Vec<(String, String)> = Vec::new();
    let long = "x".repeat(1_020);
    for (agent_id, asked, prefix) in [
        ("", tag("Awesome"), "Awesome/"),
        ("", tag("Awesome"), "Awesome/"),
        ("", String::new(), ""),
        ("", "<tag/>".into(), ""),
        ("", tag("a\tb"), ""),
        ("", tag(&long), ""),
        ("", tag("x &amp; y/z"), "x & y/z/"),
        (PHONE, tag("Awesome"), "Awesome/"),
        (PHONE, tag("Awesome"), "Awesome/"),
        (PHONE, tag("Other"), "Other/"),
        (PHONE, String::new(), ""),
        (LAPTOP, tag("Awesome"), "Awesome/"),
    ] {
        let said = if agent_id.is_empty() { String::new() } else { agent(agent_id) };
        let (mut client, _) = lab.bound("alice", &said, &asked).await?;
        let resource = client.jid.strip_prefix("alice@localhost/").expect("a full JID").to_owned();
        let id = resource.strip_prefix(prefix).unwrap_or_else(|| panic!("{asked}: {resource}"));
        assert!(id.len() >= 8 && id.len() < 20 && !PHONE.contains(id), "{asked}: {resource}");
        let key = format!("{agent_id} {asked}");
        for (other, theirs) in &seen {
            assert_eq!(theirs == id, *other == key && !agent_id.is_empty(), "{other} and {key}");
        }
        seen.push((key, id.to_owned()));
        client.nothing().await?;
        client.close().await?;
    }
    // Another account of the same installation is another resource.
    let (bob, _) = lab.bound("bob", &agent(PHONE), &tag("Awesome")).await?;
    assert!(seen.iter().all(|(_, id)| !bob.jid.ends_with(id)));
    Ok(())
}

/// §3.2: bound with the success, and what follows says so: nothing is left to bind.
#[tokio::test]
async fn a_stream_is_ready_with_the_success() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", "", "<unknown xmlns='urn:x'/>").await?;
    assert_eq!(bound.children.len(), 1, "{bound}");
    assert!(alice.features.child(BIND, "bind").is_none(), "{}", alice.features);
    assert!(alice.features.child(SM, "sm").is_some(), "{}", alice.features);
    let mut bob = lab.online("bob", "r").await?;
    let jid = alice.jid.clone();
    say(&mut bob, &jid, 0..1).await?;
    assert_eq!(alice.receive().await?.attr("id"), Some("0"));
    // A second resource is not to be had.
    let again = alice.ask(&format!("<iq type='set' id='b'><bind xmlns='{BIND}'/></iq>")).await?;
    assert_eq!(again.attr("type"), Some("error"), "{again}");
    Ok(())
}

/// §3.2, XEP-0280 §4: carbons without a round trip of their own.
#[tokio::test]
async fn carbons_are_switched_on_while_binding() -> Outcome<()> {
    let lab = lab();
    for wanted in ["<enable xmlns='urn:xmpp:carbons:2'/>", ""] {
        let (mut alice, bound) = lab.bound("alice", "", wanted).await?;
        assert!(bound.find("enable").is_none(), "{bound}");
        alice.become_available().await?;
        let _other = lab.online("alice", "other").await?;
        alice.fence().await?;
        alice.forget();
        let mut bob = lab.online("bob", "r").await?;
        say(&mut bob, "alice@localhost/other", 0..1).await?;
        alice.fence().await?;
        let came = alice.take();
        let copies = came.iter().filter(|e| e.child("urn:xmpp:carbons:2", "received").is_some());
        assert_eq!(copies.count(), usize::from(!wanted.is_empty()), "{wanted}: {came:?}");
    }
    Ok(())
}

/// §3.2, XEP-0313 §5: the archive as it is at that moment.
#[tokio::test]
async fn the_state_of_the_archive_is_told() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", "", "").await?;
    let metadata = bound.child(MAM, "metadata").expect("metadata");
    assert!(metadata.children.is_empty(), "{bound}");
    say(&mut alice, "bob@localhost", 0..3).await?;
    let (mut bob, bound) = lab.bound("bob", "", "").await?;
    let metadata = bound.child(MAM, "metadata").expect("metadata");
    let asked = bob.ask(&format!("<iq type='get' id='m'><metadata xmlns='{MAM}'/></iq>")).await?;
    assert_eq!(Some(metadata), asked.child(MAM, "metadata"));
    let names: Vec<_> = metadata.children.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["start", "end"]);
    // Who has no archive is told of none.
    let lab = Lab::new(&["alice"], &["modules.mam.enabled=false"]);
    let (_, bound) = lab.bound("alice", "", "").await?;
    assert!(bound.children.is_empty(), "{bound}");
    Ok(())
}

/// §3.2, promise.md 3: what waited and is in the archive is not sent, then or to the next; the rest is.
#[tokio::test]
async fn what_the_archive_has_does_not_come_again() -> Outcome<()> {
    let lab = lab();
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..3).await?;
    let kept = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
    let mail =
        format!("<message to='bob@localhost' type='chat' id='mail'><body>m</body>{kept}</message>");
    alice.send(&mail).await?;
    alice.fence().await?;
    let (mut bob, bound) = lab.bound("bob", "", "").await?;
    assert!(bound.child(MAM, "metadata").is_some_and(|m| m.children.len() == 2), "{bound}");
    // What comes between is neither lost nor in what was told.
    say(&mut alice, "bob@localhost", 5..6).await?;
    bob.send("<presence/>").await?;
    assert_eq!(bob.messages().await?, ["mail", "5"]);
    bob.close().await?;
    let mut next = lab.login("bob").await?;
    next.send("<presence/>").await?;
    next.quiet_but_presence().await?;
    assert_eq!(archived(&lab, "bob").await?, ["0", "1", "2", "5"]);
    // Without an archive there is nothing to be read there: all comes.
    let lab = Lab::new(&["alice", "bob"], &["modules.mam.enabled=false"]);
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..2).await?;
    let (mut bob, _) = lab.bound("bob", "", "").await?;
    bob.send("<presence/>").await?;
    assert_eq!(bob.messages().await?, ["0", "1"]);
    Ok(())
}

/// §3.2, promise.md 3: what a hibernating session of another device holds is not sent, and is owed to it
/// still.
#[tokio::test]
async fn what_a_hibernating_device_holds_stays_its_own() -> Outcome<()> {
    let lab = lab();
    let (mut phone, bound) = lab.bound("bob", &agent(PHONE), ENABLE).await?;
    phone.send("<presence/>").await?;
    phone.r_until(1).await?;
    let previd = bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let (jid, had) = (phone.jid.clone(), phone.handled);
    drop(phone);
    lab.sleeps(&jid);
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..2).await?;
    let (mut laptop, _) = lab.bound("bob", &agent(LAPTOP), "").await?;
    laptop.send("<presence/>").await?;
    laptop.quiet_but_presence().await?;
    laptop.close().await?;
    let (mut back, _) = lab.resumed("bob", &previd, had).await?;
    // promise.md 2: a clean close of a stream with stream management confirms nothing.
    back.close().await?;
    let mut next = lab.login("bob").await?;
    next.send("<presence/>").await?;
    assert_eq!(next.messages().await?, ["0", "1"]);
    Ok(())
}

/// XEP-0198 §9.1: one answer, whatever is asked twice.
#[tokio::test]
async fn a_second_enable_says_nothing() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", "", &[ENABLE, ENABLE].concat()).await?;
    let said = bound.children.iter().filter(|e| e.is(SM, "enabled") || e.is(SM, "failed"));
    assert_eq!(said.count(), 1, "{bound}");
    alice.r_until(0).await
}

impl Client {
    async fn quiet_but_presence(&mut self) -> Outcome<()> {
        let all = self.stanzas().await?;
        match all.iter().find(|e| e.name != "presence") {
            None => Ok(()),
            Some(stanza) => self.fail(format!("nothing was expected: {stanza}")),
        }
    }
}

/// What waited is gone after a restart too: the mark moved.
#[tokio::test]
async fn the_mark_outlives_a_restart() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..3).await?;
    let (mut bob, _) = lab.bound("bob", "", "").await?;
    bob.fence().await?;
    lab.process.signal("TERM");
    lab.process.exit();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.login("bob").await?;
    bob.send("<presence/>").await?;
    bob.quiet_but_presence().await?;
    assert_eq!(archived(&lab, "bob").await?, ["0", "1", "2"]);
    Ok(())
}

/// §3.2: the same client's earlier sessions end, with other tags and hibernating too; nobody else's.
#[tokio::test]
async fn a_new_session_ends_older_ones_of_the_same_client() -> Outcome<()> {
    let lab = lab();
    let (mut laptop, _) = lab.bound("alice", &agent(LAPTOP), "").await?;
    let (mut nameless, _) = lab.bound("alice", "", "").await?;
    let (mut bob, _) = lab.bound("bob", &agent(PHONE), "").await?;
    let (mut first, _) = lab.bound("alice", &agent(PHONE), &tag("one")).await?;
    first.fence().await?;
    let (mut second, _) = lab.bound("alice", &agent(PHONE), &tag("two")).await?;
    ends_with(&mut first, "conflict").await?;
    // A resource that was bound the old way, in a login that told the same agent.
    let mut third = lab.connect().await?;
    assert!(third.sasl2("PLAIN", "alice", &agent(PHONE)).await?.is(SASL2, "success"));
    third.bind(Some("mine")).await?;
    second.nothing().await?;
    let (sleeper, bound) = lab.bound("alice", &agent(PHONE), ENABLE).await?;
    ends_with(&mut second, "conflict").await?;
    ends_with(&mut third, "conflict").await?;
    let previd = bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let jid = sleeper.jid.clone();
    drop(sleeper);
    lab.sleeps(&jid);
    let (mut fourth, _) = lab.bound("alice", &agent(PHONE), "").await?;
    let mut late = lab.authenticated("alice").await?;
    assert_eq!(late.resume(&previd, 0).await?.not_found(), Some(0));
    for client in [&mut laptop, &mut nameless, &mut bob, &mut fourth] {
        client.nothing().await?;
    }
    Ok(())
}

/// RFC 6121 §4.5.2: whoever saw the earlier session learns that it is gone.
#[tokio::test]
async fn contacts_learn_that_the_older_session_is_gone() -> Outcome<()> {
    let lab = lab();
    friends(&lab).await?;
    let mut bob = lab.login("bob").await?;
    bob.send("<presence/>").await?;
    let (mut first, _) = lab.bound("alice", &agent(PHONE), &tag("one")).await?;
    first.send("<presence/>").await?;
    let jid = first.jid.clone();
    bob.expect(|e| e.name == "presence" && e.attr("from") == Some(&jid)).await?;
    let _second = lab.bound("alice", &agent(PHONE), &tag("two")).await?;
    let gone = |e: &Element| e.attr("from") == Some(&jid) && e.attr("type") == Some("unavailable");
    bob.expect(gone).await?;
    Ok(())
}

/// The same over a restart of the server.
#[tokio::test]
async fn a_session_that_slept_over_a_restart_is_known_by_its_client() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice"]);
    let (alice, bound) = lab.bound("alice", &agent(PHONE), ENABLE).await?;
    let (other, kept) = lab.bound("alice", &agent(LAPTOP), ENABLE).await?;
    let id = |bound: &Element| {
        bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned()
    };
    lab.process.signal("TERM");
    lab.process.exit();
    drop((alice, other));
    let lab = Lab::serve(folder.path(), &[], &[]);
    let (_alice, _) = lab.bound("alice", &agent(PHONE), &tag("another")).await?;
    let mut late = lab.authenticated("alice").await?;
    late.resume(&id(&bound), 0).await?.not_found();
    late.resume(&id(&kept), 0).await?.resumed();
    Ok(())
}

/// XEP-0388 §2.6.2, XEP-0386 §3.2: nothing of it is done for who fails.
#[tokio::test]
async fn a_failed_login_ends_nobody() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", &agent(PHONE), ENABLE).await?;
    let previd = bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let inner = format!("{}{}{}", agent(PHONE), resume(&previd, "0"), bind(""));
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD)] {
        let mut stranger = lab.connect().await?;
        stranger.send(&plain(user, password, &inner)).await?;
        let failure = stranger.receive().await?;
        assert!(failure.is(SASL2, "failure") && failure.children.len() == 1, "{failure}");
    }
    alice.quiet().await?;
    alice.r_until(1).await
}

/// XEP-0198 §9.1: both counts begin behind the success.
#[tokio::test]
async fn stream_management_is_enabled_with_the_bind() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", "", ENABLE).await?;
    let enabled = bound.child(SM, "enabled").expect("enabled");
    assert_eq!(enabled.attr("resume"), Some("true"));
    assert!(alice.features.child(SM, "sm").is_none(), "{}", alice.features);
    alice.send("<presence/>").await?;
    alice.r_until(1).await?;
    // Once is enough.
    assert_eq!(failed_condition(&alice.enable_with("").await?), "unexpected-request");
    let (jid, previd) = (alice.jid.clone(), enabled.attr("id").expect("an id").to_owned());
    let mut bob = lab.login("bob").await?;
    say(&mut bob, &jid, 0..1).await?;
    alice.expect(|e| e.attr("id") == Some("0")).await?;
    drop(alice);
    lab.sleeps(&jid);
    let (mut alice, h) = lab.resumed("alice", &previd, 1).await?;
    assert_eq!((h, alice.messages().await?), (1, vec!["0".to_owned()]));

    let (_, bound) = lab.bound("alice", "", &format!("<enable xmlns='{SM}'/>")).await?;
    assert!(bound.child(SM, "enabled").is_some_and(|e| e.attr("id").is_none()), "{bound}");
    // §9.1.1: what cannot be enabled is said in its place, and the stream is bound.
    for (asked, condition) in [
        ("<enable xmlns='urn:xmpp:sm:3' resume='perhaps'/>", "bad-request"),
        ("<nonsense xmlns='urn:xmpp:sm:3'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>", "unexpected-request"),
    ] {
        let (mut client, bound) = lab.bound("alice", "", asked).await?;
        let failed = bound.child(SM, "failed").expect("failed");
        assert_eq!(failed_condition(failed), condition, "{bound}");
        client.nothing().await?;
    }
    Ok(())
}

/// XEP-0198 §9.2: resumed with the success, no features, the bind ignored, what was lost behind it.
#[tokio::test]
async fn a_session_is_resumed_with_the_success() -> Outcome<()> {
    let lab = lab();
    let (mut alice, bound) = lab.bound("alice", &agent(PHONE), ENABLE).await?;
    alice.send("<presence/>").await?;
    alice.r_until(1).await?;
    alice.forget();
    let (jid, had) = (alice.jid.clone(), alice.handled);
    let previd = bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let mut bob = lab.login("bob").await?;
    drop(alice);
    lab.sleeps(&jid);
    say(&mut bob, "alice@localhost", 0..3).await?;
    let inner = format!(
        "{}{}{}",
        agent(PHONE),
        bind(&format!("{}{ENABLE}", tag("new"))),
        resume(&previd, &had.to_string())
    );
    let mut back = lab.connect().await?;
    back.handled = had;
    let success = back.sasl2("SCRAM-SHA-1", "alice", &inner).await?;
    let resumed = success.child(SM, "resumed").expect("resumed");
    assert_eq!((resumed.attr("h"), resumed.attr("previd")), (Some("1"), Some(&*previd)));
    assert!(success.child(BIND2, "bound").is_none(), "{success}");
    assert_eq!(back.jid, jid);
    assert_eq!(back.messages().await?, ["0", "1", "2"]);
    // Connected or hibernating; the old connection hears why.
    let handled = back.handled;
    let inner = format!("{}{}", resume(&previd, &handled.to_string()), bind(""));
    let mut third = lab.connect().await?;
    let success = third.sasl2("SCRAM-SHA-1", "alice", &inner).await?;
    assert!(success.child(SM, "resumed").is_some(), "{success}");
    ends_with(&mut back, "conflict").await?;
    third.fence().await
}

/// XEP-0198 §9.2.1: what failed is said, and a new session is bound in the same step.
#[tokio::test]
async fn a_resumption_that_fails_goes_on_to_bind() -> Outcome<()> {
    let lab = lab();
    let (mut bob, bobs) = lab.bound("bob", "", ENABLE).await?;
    let bobs = bobs.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    for (asked, condition) in [
        (resume("nothing", "0"), "item-not-found"),
        // Nobody resumes what is another account's (security.md).
        (resume(&bobs, "0"), "item-not-found"),
        (format!("<resume xmlns='{SM}' previd='x'/>"), "bad-request"),
    ] {
        let mut alice = lab.connect().await?;
        let inner = format!("{asked}{}", bind(ENABLE));
        let success = alice.sasl2("SCRAM-SHA-1", "alice", &inner).await?;
        let failed = success.child(SM, "failed").expect("failed");
        assert_eq!(failed_condition(failed), condition);
        let bound = success.child(BIND2, "bound").expect("bound");
        assert!(bound.child(SM, "enabled").is_some(), "{success}");
        assert!(alice.jid.starts_with("alice@localhost/"));
        alice.quiet().await?;
        // Without a bind request there are the features, and another way.
        let mut alice = lab.connect().await?;
        let success = alice.sasl2("SCRAM-SHA-1", "alice", &asked).await?;
        assert!(success.child(SM, "failed").is_some(), "{success}");
        assert_eq!(alice.jid, "alice@localhost");
        alice.bind(None).await?;
    }
    bob.quiet().await?;
    // §5: the count of a session that is over, where it is known.
    bob.send(&chat("alice@localhost", "1")).await?;
    bob.r_until(2).await?;
    bob.send("</stream:stream>").await?;
    bob.ended().await?;
    let mut bob = lab.connect().await?;
    let success = bob.sasl2("SCRAM-SHA-1", "bob", &resume(&bobs, "0")).await?;
    assert!(success.child(SM, "failed").is_some(), "{success}");
    Ok(())
}

/// XEP-0198 §4: a count of what was never sent ends the stream, before anything is called a success.
#[tokio::test]
async fn a_count_that_cannot_be_ends_the_stream() -> Outcome<()> {
    let lab = lab();
    let (alice, bound) = lab.bound("alice", "", ENABLE).await?;
    let previd = bound.child(SM, "enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let mut other = lab.connect().await?;
    other.send(&plain("alice", PASSWORD, &format!("{}{}", resume(&previd, "7"), bind("")))).await?;
    ends_with(&mut other, "undefined-condition").await?;
    assert!(!other.conversation().contains("<success"));
    drop(alice);
    Ok(())
}

/// RFC 6120 §7.7.2: too many of them. The login is good; that nothing is bound is seen by the address,
/// and why where an error has a place.
#[tokio::test]
async fn without_room_for_a_session_the_login_is_a_bare_one() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.resources_per_account=1"]);
    let (mut held, _) = lab.bound("alice", &agent(PHONE), "").await?;
    let mut client = lab.connect().await?;
    let success = client.sasl2("SCRAM-SHA-1", "alice", &bind(ENABLE)).await?;
    assert!(success.child(BIND2, "bound").is_none(), "{success}");
    assert_eq!(client.jid, "alice@localhost");
    let answer = client.ask(&format!("<iq type='set' id='b'><bind xmlns='{BIND}'/></iq>")).await?;
    assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    held.nothing().await?;
    // The same client makes room for itself.
    let (mut again, _) = lab.bound("alice", &agent(PHONE), &tag("x")).await?;
    ends_with(&mut held, "conflict").await?;
    again.nothing().await
}
