//! XEP-0198 §5: sessions that outlive their connections.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, ends_with};
use crate::harness::sm::{Resumption, SM, Stalled, chat, friends, ids, is_delayed, say};
use std::time::{Duration, Instant};

fn pencil() -> Lab {
    Lab::new(&["alice", "bob"], &[])
}

/// Cuts the connection as a network does, and waits until the server has noticed.
async fn cut(lab: &Lab, client: Client) {
    let jid = client.jid.clone();
    drop(client);
    lab.sleeps(&jid);
}

fn presence_of<'a>(all: &'a [Element], jid: &str) -> Vec<&'a Element> {
    all.iter().filter(|e| e.name == "presence" && e.attr("from") == Some(jid)).collect()
}

/// XEP-0198 §5: the same address, the same presence, what was lost again and what came meanwhile
/// behind it, each once; nobody else sees anything of it.
#[tokio::test]
async fn a_session_goes_on_where_it_was_cut() -> Outcome<()> {
    let lab = pencil();
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    alice.fence().await?;
    alice.forget();
    let jid = bob.jid.clone();
    bob.send(&chat("alice@localhost", "a")).await?;
    bob.send("<presence to='bob@localhost/elsewhere'/>").await?;
    bob.r_until(2).await?;
    say(&mut alice, "bob@localhost", 0..3).await?;
    bob.expect(|e| e.attr("id") == Some("2")).await?;
    bob.a(1).await?;
    assert_eq!(bob.r().await?, 2);
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 3..5).await?;
    alice.send(&chat(&jid, "5")).await?;
    alice.send(&format!("<iq type='get' id='q' to='{jid}'><x xmlns='urn:x'/></iq>")).await?;
    alice.fence().await?;
    let (mut bob, h) = lab.resumed("bob", &id, 1).await?;
    assert_eq!(h, 2, "both counts go on");
    let came = bob.stanzas().await?;
    let ids: Vec<_> = came.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "q"], "{came:?}");
    assert!(came.iter().all(|e| !is_delayed(e)), "not late: {came:?}");
    bob.send(&format!("<iq type='result' id='q' to='{}'/>", alice.jid)).await?;
    alice.expect(|e| e.attr("id") == Some("q")).await?;
    // The session is what it was: available, with its address.
    say(&mut alice, "bob@localhost", 6..7).await?;
    assert_eq!(bob.messages().await?, ["6"]);
    let own = bob.handled;
    bob.a(own).await?;
    bob.fence().await?;
    let seen = alice.stanzas().await?;
    assert!(presence_of(&seen, &jid).is_empty(), "{seen:?}");
    Ok(())
}

/// XEP-0203 §1, XEP-0198 §4: a message of any kind that waited long is stamped with the time at which it
/// came.
#[tokio::test]
async fn what_is_late_is_stamped() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (bob, id) = lab.managed("bob", "r").await?;
    cut(&lab, bob).await;
    let sent = Instant::now();
    say(&mut alice, "bob@localhost", 0..1).await?;
    for ty in ["headline", "groupchat"] {
        alice
            .send(&format!("<message type='{ty}' to='bob@localhost/r'><body>x</body></message>"))
            .await?;
    }
    alice.fence().await?;
    tokio::time::sleep(Duration::from_millis(5_100).saturating_sub(sent.elapsed())).await;
    say(&mut alice, "bob@localhost", 1..2).await?;
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    let stamped: Vec<bool> = bob.stanzas().await?.iter().map(is_delayed).collect();
    assert_eq!(stamped, [true, true, true, false]);
    Ok(())
}

/// XEP-0198 §5: a reconnecting client does not ask for the roster, for it gets what changed.
#[tokio::test]
async fn roster_pushes_and_presence_wait_for_a_hibernating_session() -> Outcome<()> {
    let lab = pencil();
    friends(&lab).await?;
    let mut desk = lab.online("bob", "desk").await?;
    let (bob, id) = lab.managed("bob", "phone").await?;
    let handled = bob.handled;
    cut(&lab, bob).await;
    let item = "<query xmlns='jabber:iq:roster'><item jid='new@localhost'/></query>";
    desk.ask(&format!("<iq type='set' id='s'>{item}</iq>")).await?;
    let alice = lab.online("alice", "r").await?;
    desk.expect(|e| e.attr("from") == Some(&alice.jid)).await?;
    let (mut bob, _) = lab.resumed("bob", &id, handled).await?;
    let push = bob.expect(|e| e.name == "iq" && e.attr("type") == Some("set")).await?;
    assert_eq!(push.find("item").and_then(|i| i.attr("jid")), Some("new@localhost"));
    bob.expect(|e| e.name == "presence" && e.attr("from") == Some(&alice.jid)).await?;
    bob.quiet().await
}

/// XEP-0198 §5: a session that is still open gets `conflict`, and the new connection goes on with it.
#[tokio::test]
async fn a_half_open_connection_is_taken_over() -> Outcome<()> {
    let lab = pencil();
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut old, id) = lab.managed("bob", "phone").await?;
    alice.fence().await?;
    alice.forget();
    say(&mut alice, "bob@localhost", 0..2).await?;
    old.send("<presence><show>dnd</show></presence>").await?;
    old.expect(|e| e.name == "presence").await?;
    let (mut new, h) = lab.resumed("bob", &id, 1).await?;
    assert_eq!(h, 1, "what came on the old one counts");
    ends_with(&mut old, "conflict").await?;
    assert_eq!(new.messages().await?, ["1"]);
    say(&mut alice, "bob@localhost", 2..3).await?;
    assert_eq!(new.messages().await?, ["2"]);
    let seen = alice.stanzas().await?;
    assert_eq!(presence_of(&seen, "bob@localhost/phone").len(), 1, "only dnd: {seen:?}");
    Ok(())
}

/// XEP-0198 §5: what came on the old connection is handled before the new one is told the count.
#[tokio::test]
async fn the_count_that_is_told_is_whole() -> Outcome<()> {
    let lab = pencil();
    let _bob = lab.login("bob").await?;
    let (mut old, id) = lab.managed("alice", "r").await?;
    let stalled = Stalled::new(&lab);
    for n in ids(0..3) {
        old.send(&chat("bob@localhost", &n)).await?;
    }
    assert_eq!(old.r().await?, 0);
    let mut new = lab.authenticated("alice").await?;
    new.send(&format!("<resume xmlns='{SM}' previd='{id}' h='0'/>")).await?;
    // Long enough for an answer that would be wrong.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stalled);
    let resumed = new.expect(|e| e.ns == SM).await?;
    assert_eq!((resumed.name.as_str(), resumed.attr("h")), ("resumed", Some("3")));
    new.quiet().await
}

/// XEP-0198 §5: of two that come at once one gets the session.
#[tokio::test]
async fn one_of_two_wins() -> Outcome<()> {
    let lab = pencil();
    let (bob, id) = lab.managed("bob", "r").await?;
    cut(&lab, bob).await;
    for _ in 0..5 {
        let mut one = lab.authenticated("bob").await?;
        let mut two = lab.authenticated("bob").await?;
        let (a, b) = tokio::join!(one.resume(&id, 0), two.resume(&id, 0));
        let won = |r: &Resumption| matches!(r, Resumption::Resumed(_));
        let (a, b) = (a?, b?);
        assert!(won(&a) || won(&b), "{a:?} {b:?}");
        // One may have taken the session over from the other.
        let (alive, mut other) = match (won(&a), won(&b)) {
            (true, false) => (one, two),
            (false, true) => (two, one),
            _ if one.fence().await.is_ok() => (one, two),
            _ => (two, one),
        };
        if won(&a) && won(&b) {
            ends_with(&mut other, "conflict").await?;
        }
        let mut alive = alive;
        alive.fence().await?;
        drop(alive);
    }
    Ok(())
}

/// XEP-0198 §5, §10: what is not one's own, or is nothing, is not found, and tells no count; the client
/// may bind instead.
#[tokio::test]
async fn what_is_not_ones_own_is_not_found() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    bob.send(&chat("alice@localhost", "x")).await?;
    bob.r_until(1).await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    let mut thief = lab.authenticated("alice").await?;
    let long = "x".repeat(200_000);
    for previd in [id.as_str(), "", "x", "&lt;&amp;&#x1F600;", &id.to_lowercase(), &long] {
        assert_eq!(thief.resume(previd, 0).await?.not_found(), None);
    }
    thief.bind(None).await?;
    thief.enable().await?;
    thief.fence().await?;
    // The owner noticed nothing.
    assert_eq!(bob.messages().await?, ["0"]);
    drop(bob);
    lab.resumed("bob", &id, 1).await?;
    Ok(())
}

/// XEP-0198 §6: a lie ends the stream of the liar, not the session.
#[tokio::test]
async fn a_lie_on_resumption_costs_only_the_new_stream() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (bob, id) = lab.managed("bob", "r").await?;
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 0..2).await?;
    for h in [9, 1 << 31, u32::MAX] {
        let mut liar = lab.authenticated("bob").await?;
        liar.send(&format!("<resume xmlns='{SM}' previd='{id}' h='{h}'/>")).await?;
        ends_with(&mut liar, "undefined-condition").await?;
        assert!(liar.conversation().contains("handled-count-too-high"), "{}", liar.conversation());
    }
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    assert_eq!(bob.messages().await?, ["0", "1"]);
    Ok(())
}

/// XEP-0198 §7, RFC 6120 §7.7.2.2: a session that was closed, or whose resource another one took, is
/// over; its count is told where there may be something to send again.
#[tokio::test]
async fn what_is_over_is_not_resumed() -> Outcome<()> {
    let lab = pencil();
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    bob.close().await?;
    let unavailable = |e: &Element| e.attr("type") == Some("unavailable");
    alice.expect(unavailable).await?;
    let mut bob = lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&id, 0).await?.not_found(), None);

    let (mut bob, id) = lab.managed("bob", "r").await?;
    bob.send(&chat("alice@localhost", "x")).await?;
    bob.send("<presence/>").await?;
    bob.r_until(2).await?;
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost/r", 0..1).await?;
    let mut next = lab.online("bob", "r").await?;
    assert_eq!(next.messages().await?, ["0"], "it is owed to the account");
    let mut bob = lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&id, 0).await?.not_found(), Some(2));
    next.fence().await?;
    Ok(())
}

/// XEP-0198 §5: the count of what is over is exact, also of what was being written at its end.
#[tokio::test]
async fn the_count_of_what_is_over_is_exact() -> Outcome<()> {
    let lab = pencil();
    let _bob = lab.login("bob").await?;
    for n in 1..=5 {
        let (mut alice, id) = lab.managed("alice", "r").await?;
        let stalled = Stalled::new(&lab);
        for n in ids(0..n) {
            alice.send(&chat("bob@localhost", &n)).await?;
        }
        alice.r().await?;
        alice.send("<nonsense/>").await?;
        ends_with(&mut alice, "unsupported-stanza-type").await?;
        drop(stalled);
        let mut alice = lab.authenticated("alice").await?;
        let h = alice.resume(&id, 0).await?.not_found();
        assert_eq!(h, Some(u32::try_from(n).unwrap()));
    }
    Ok(())
}

/// Security: what shuts an account ends the sessions that hibernate in it.
#[tokio::test]
async fn a_shut_account_has_no_hibernating_sessions() -> Outcome<()> {
    for verb in ["passwd", "disable", "del", "in-band"] {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
        friends(&lab).await?;
        let mut alice = lab.online("alice", "r").await?;
        let (bob, id) = lab.managed("bob", "r").await?;
        cut(&lab, bob).await;
        alice.fence().await?;
        alice.forget();
        let mut bob = lab.authenticated("bob").await?;
        let other = lab.authenticated("bob").await?;
        if verb == "in-band" {
            bob.bind(Some("other")).await?;
            let query = format!(
                "<query xmlns='jabber:iq:register'><username>bob</username>\
                 <password>{PASSWORD}-2</password></query>"
            );
            let answer = bob.ask(&format!("<iq type='set' id='p'>{query}</iq>")).await?;
            assert_eq!(answer.attr("type"), Some("result"), "{answer}");
            bob = other;
        } else {
            shut(folder.path(), verb);
        }
        let gone = |e: &Element| e.attr("type") == Some("unavailable");
        assert_eq!(alice.expect(gone).await?.attr("from"), Some("bob@localhost/r"), "{verb}");
        // Authenticated before, with what was good then.
        assert_eq!(bob.resume(&id, 0).await?.not_found(), None, "{verb}");
    }
    Ok(())
}

fn shut(folder: &std::path::Path, verb: &str) {
    let data = folder.join("data").display().to_string();
    let mut args = vec!["--data-dir", &data, "user", verb, "bob@localhost"];
    if verb == "passwd" {
        args.push("--password-stdin");
    }
    let said = crate::harness::process::run_in(folder, &args, "another password");
    assert!(said.ok, "{verb}: {}", said.err);
}

/// XEP-0198 §4, promise.md 10: a session that nobody comes back to ends as others do: contacts see it
/// go, requests to it fail, what it was owed waits for the next login, and its count is known.
#[tokio::test]
async fn a_session_expires() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.resume_secs=1"]);
    friends(&lab).await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    bob.send(&chat("alice@localhost", "x")).await?;
    bob.send("<presence/>").await?;
    bob.fence().await?;
    let jid = bob.jid.clone();
    say(&mut alice, "bob@localhost", 0..1).await?;
    bob.expect(|e| e.attr("id") == Some("0")).await?;
    alice.fence().await?;
    alice.forget();
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 1..2).await?;
    alice.send(&format!("<iq type='get' id='q' to='{jid}'><x xmlns='urn:x'/></iq>")).await?;
    alice
        .send(&format!("<message type='groupchat' to='{jid}' id='g'><body>g</body></message>"))
        .await?;
    alice
        .send(&format!("<message type='headline' to='{jid}' id='h'><body>h</body></message>"))
        .await?;
    let gone = alice.expect(|e| e.attr("type") == Some("unavailable")).await?;
    assert_eq!(gone.attr("from"), Some(jid.as_str()));
    let failed = alice.expect(|e| e.attr("id") == Some("q")).await?;
    assert_eq!(failed.condition(), Some("service-unavailable"), "{failed}");
    let failed = alice.expect(|e| e.attr("id") == Some("g")).await?;
    assert_eq!(failed.condition(), Some("recipient-unavailable"), "{failed}");
    let mut bob = lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&id, 0).await?.not_found(), Some(3), "presence and all");
    bob.bind(Some("phone")).await?;
    bob.send("<presence/>").await?;
    let came = bob.stanzas().await?;
    let messages: Vec<_> = came.iter().filter(|e| e.name == "message").collect();
    let got: Vec<_> = messages.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(got, ["0", "1"]);
    assert!(messages.iter().all(|e| is_delayed(e)), "{came:?}");
    // Headlines had no claim.
    assert!(alice.messages().await?.is_empty());
    Ok(())
}

/// promise.md 3, 10: what a hibernating session has not acknowledged comes to a device that logs in, to
/// each once; what one of them confirmed nobody is owed.
#[tokio::test]
async fn another_device_gets_what_a_hibernating_session_has_not_seen() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.resume_secs=4"]);
    let mut alice = lab.login("alice").await?;
    let (mut phone, id) = lab.managed("bob", "phone").await?;
    let (tablet, _) = lab.managed("bob", "tablet").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    phone.expect(|e| e.name == "message").await?;
    cut(&lab, phone).await;
    cut(&lab, tablet).await;
    let slept = Instant::now();
    say(&mut alice, "bob@localhost", 1..3).await?;
    let (mut desk, _) = lab.managed("bob", "desk").await?;
    // They came before it counted: a clean close, or its pings, would confirm them.
    assert!(desk.conversation().matches("<body>").count() == 3, "{}", desk.conversation());
    say(&mut alice, "bob@localhost", 3..4).await?;
    assert_eq!(desk.messages().await?, ["3"], "each once");
    let own = desk.handled;
    desk.a(own).await?;
    desk.fence().await?;
    desk.close().await?;
    let (mut phone, _) = lab.resumed("bob", &id, 0).await?;
    assert_eq!(phone.messages().await?, ids(0..4), "each device once");
    phone.a(0).await?;
    drop(phone);
    // The tablet expires, then the phone: nothing is owed any more.
    tokio::time::sleep(Duration::from_secs(9).saturating_sub(slept.elapsed())).await;
    lab.online("bob", "next").await?.nothing().await
}

/// promise.md 2: neither count covers what was written before `<enable/>`. Whether it arrived nobody
/// knows, and an answer on the next connection does not say so: it comes again.
#[tokio::test]
async fn what_came_before_the_count_and_was_not_confirmed_comes_again() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    let mut bob = lab.online("bob", "r").await?;
    bob.expect(|e| e.attr("id") == Some("0")).await?;
    let id = bob.enable().await?;
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 1..2).await?;
    let (mut bob, _) = lab.resumed("bob", &id, 0).await?;
    let mut came = vec![bob.expect(|e| e.name == "message").await?];
    came.push(bob.expect(|e| e.name == "message").await?);
    let ids: Vec<_> = came.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(ids, ["0", "1"]);
    let own = bob.handled;
    bob.a(own).await?;
    bob.fence().await?;
    bob.close().await?;
    lab.online("bob", "next").await?.nothing().await
}

/// I6: hibernating sessions are bounded in number and in what waits for them; the one too many ends as if
/// there were no resumption.
#[tokio::test]
async fn hibernating_sessions_are_bounded() -> Outcome<()> {
    let set = ["limits.sleepers_max=1", "limits.sleepers_bytes_max=20000"];
    let lab = Lab::new(&["alice", "bob"], &set);
    let mut alice = lab.login("alice").await?;
    let (first, first_id) = lab.managed("bob", "first").await?;
    let (second, second_id) = lab.managed("bob", "second").await?;
    cut(&lab, first).await;
    drop(second);
    lab.process.logs(&["too many sessions wait", "bob@localhost/second"]);
    let mut again = lab.authenticated("bob").await?;
    assert_eq!(again.resume(&second_id, 0).await?.not_found(), Some(0));
    again.resume(&first_id, 0).await?.resumed();
    drop(again);
    let pad = "x".repeat(9_000);
    for n in 0..3 {
        let body = format!("<body>{pad}</body>");
        alice.send(&format!("<message to='bob@localhost/first' id='{n}'>{body}</message>")).await?;
    }
    alice.fence().await?;
    lab.process.logs(&["too much waits", "bob@localhost/first"]);
    let mut bob = lab.authenticated("bob").await?;
    assert_eq!(bob.resume(&first_id, 0).await?.not_found(), Some(0));
    bob.bind(None).await?;
    bob.send("<presence/>").await?;
    assert_eq!(bob.messages().await?, ids(0..3), "and nothing is lost");
    Ok(())
}

/// A cut while a count is still to be told is a cut like others.
#[tokio::test]
async fn an_open_question_dies_with_its_connection() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.sleepers_max=1"]);
    let _bob = lab.login("bob").await?;
    let (mut alice, id) = lab.managed("alice", "r").await?;
    let stalled = Stalled::new(&lab);
    alice.send(&chat("bob@localhost", "0")).await?;
    assert_eq!(alice.r().await?, 0);
    cut(&lab, alice).await;
    drop(stalled);
    let (mut alice, h) = lab.resumed("alice", &id, 0).await?;
    assert_eq!(h, 1);
    alice.quiet().await?;
    assert!(!lab.process.log().contains("too many sessions"), "{}", lab.process.log());
    assert_eq!(lab.process.log().matches("the session can be resumed").count(), 1);
    Ok(())
}

/// A request that is being worked on when the connection goes is answered on the next one.
#[tokio::test]
async fn an_answer_finds_the_session_asleep() -> Outcome<()> {
    let lab = pencil();
    let (mut alice, id) = lab.managed("alice", "r").await?;
    let handled = alice.handled;
    let stalled = Stalled::new(&lab);
    let item = "<query xmlns='jabber:iq:roster'><item jid='c@localhost'/></query>";
    alice.send(&format!("<iq type='set' id='s'>{item}</iq>")).await?;
    // It is read when what is sent before the cut arrives; nothing else would show that.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(alice);
    // A session with a handler under way does not read, so it does not see the cut yet.
    let mut alice = lab.authenticated("alice").await?;
    alice.send(&format!("<resume xmlns='{SM}' previd='{id}' h='{handled}'/>")).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stalled);
    let resumed = alice.expect(|e| e.ns == SM).await?;
    assert_eq!((resumed.name.as_str(), resumed.attr("h")), ("resumed", Some("1")));
    alice.expect(|e| e.attr("id") == Some("s") && e.attr("type") == Some("result")).await?;
    let push = alice.expect(|e| e.find("item").is_some()).await?;
    assert_eq!(push.attr("type"), Some("set"));
    alice.quiet().await
}

/// XEP-0198 §7: leaving without a word, whatever presence was sent before stays.
#[tokio::test]
async fn an_unavailable_hibernating_session_gets_what_is_for_it_alone() -> Outcome<()> {
    let lab = pencil();
    let mut alice = lab.login("alice").await?;
    let (mut bob, id) = lab.managed("bob", "r").await?;
    bob.send("<presence type='unavailable'/>").await?;
    bob.fence().await?;
    let handled = bob.handled;
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 0..1).await?;
    say(&mut alice, "bob@localhost/r", 1..2).await?;
    let (mut bob, _) = lab.resumed("bob", &id, handled).await?;
    assert_eq!(bob.messages().await?, ["1"]);
    bob.send("<presence/>").await?;
    assert_eq!(bob.messages().await?, ["0"]);
    Ok(())
}

/// RFC 6120 §7.7.2: sessions that hibernate keep nobody out of the account, nor out of a resource.
#[tokio::test]
async fn hibernating_sessions_make_room() -> Outcome<()> {
    let lab = Lab::new(&["bob"], &["limits.resources_per_account=2"]);
    let mut old = Vec::new();
    for resource in ["a", "b", "c", "d"] {
        let (bob, id) = lab.managed("bob", resource).await?;
        cut(&lab, bob).await;
        old.push(id);
    }
    // The oldest went.
    let mut bob = lab.authenticated("bob").await?;
    bob.resume(&old[0], 0).await?.not_found();
    bob.resume(&old[1], 0).await?.not_found();
    bob.resume(&old[2], 0).await?.resumed();
    for (policy, wanted) in [("refuse", "bob@localhost/r"), ("rename", "bob@localhost/r")] {
        let lab = Lab::new(&["bob"], &[&format!("session.conflict={policy}")]);
        let (bob, _) = lab.managed("bob", "r").await?;
        cut(&lab, bob).await;
        assert_eq!(lab.login_as("bob", "r").await?.jid, wanted, "{policy}");
    }
    Ok(())
}

/// promise.md 3: a drain that was cut goes on where the client stopped counting.
#[tokio::test]
async fn a_drain_that_is_cut_goes_on_after_the_resumption() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.unacked_stanzas_max=100"]);
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob@localhost", 0..250).await?;
    let mut bob = lab.login_as("bob", "r").await?;
    let id = bob.enable().await?;
    bob.ignores_presence = true;
    bob.send("<presence/>").await?;
    bob.expect(|e| e.attr("id") == Some("20")).await?;
    // Presence, and messages up to 20.
    cut(&lab, bob).await;
    say(&mut alice, "bob@localhost", 250..260).await?;
    let mut bob = lab.authenticated("bob").await?;
    bob.ignores_presence = true;
    bob.resume(&id, 22).await?.resumed();
    let mut got = Vec::new();
    while got.last().map(String::as_str) != Some("259") {
        bob.r().await?;
        let came = bob.take().into_iter().filter(|e| e.name == "message");
        got.extend(came.filter_map(|e| e.attr("id").map(str::to_owned)));
        let own = bob.handled;
        bob.a(own).await?;
        if got.last().map(String::as_str) != Some("259") {
            let next = bob.expect(|e| e.name == "message").await?;
            got.push(next.attr("id").unwrap_or_default().to_owned());
        }
    }
    assert_eq!(got, ids(21..260));
    Ok(())
}
