//! XEP-0191: Blocking Command, seen from both sides.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::befriend;
use crate::harness::process::Lab;

const NS: &str = "urn:xmpp:blocking";
const ERRORS: &str = "urn:xmpp:blocking:errors";

async fn change(client: &mut Client, verb: &str, jids: &[&str]) -> Outcome<()> {
    let items: String = jids.iter().map(|jid| format!("<item jid='{jid}'/>")).collect();
    let set = format!("<iq type='set' id='{verb}'><{verb} xmlns='{NS}'>{items}</{verb}></iq>");
    let answer = client.ask(&set).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(())
}

async fn blocklist(client: &mut Client) -> Outcome<Vec<String>> {
    let get = format!("<iq type='get' id='list'><blocklist xmlns='{NS}'/></iq>");
    let answer = client.ask(&get).await?;
    let list = answer.child(NS, "blocklist").map(jids);
    list.map_or_else(|| client.fail(format!("no list: {answer}")), Ok)
}

fn jids(list: &Element) -> Vec<String> {
    list.children.iter().filter_map(|item| item.attr("jid")).map(str::to_owned).collect()
}

/// The types of the presence received from this sender.
async fn presence_of(client: &mut Client, from: &str) -> Outcome<Vec<String>> {
    client.fence().await?;
    let came = client.take().into_iter();
    let fits = |e: &Element| e.name == "presence" && e.attr("from") == Some(from);
    Ok(came.filter(fits).map(|e| e.attr("type").unwrap_or("available").to_owned()).collect())
}

async fn friends() -> Outcome<(Lab, Client, Client)> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    befriend(&mut alice, &mut bob).await?;
    alice.forget();
    bob.forget();
    Ok((lab, alice, bob))
}

/// §3.3: stanzas of each kind that the blocked side sends; §3.4: they arrive again after it is unblocked.
#[tokio::test]
async fn what_the_blocked_side_sends_does_not_come() -> Outcome<()> {
    for listed in ["bob@localhost", "bob@localhost/b", "localhost"] {
        let (_lab, mut alice, mut bob) = friends().await?;
        change(&mut alice, "block", &[listed]).await?;
        for client in [&mut alice, &mut bob] {
            client.fence().await?;
            client.forget();
        }
        for to in ["alice@localhost", "alice@localhost/a"] {
            let version = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
            for (stanza, answered) in [
                (format!("<message type='chat' id='1' to='{to}'><body>x</body></message>"), true),
                (format!("<message id='1' to='{to}'><body>x</body></message>"), true),
                (format!("<message type='error' id='1' to='{to}'><body>x</body></message>"), false),
                (format!("<iq type='get' id='1' to='{to}'>{version}</iq>"), true),
                (format!("<iq type='result' id='1' to='{to}'/>"), false),
                (format!("<presence id='1' to='{to}'/>"), false),
                (format!("<presence type='probe' id='1' to='{to}'/>"), false),
                ("<presence id='1'><show>away</show></presence>".to_owned(), false),
            ] {
                bob.send(&stanza).await?;
                bob.fence().await?;
                let answers: Vec<_> = bob.take();
                let own = bob.jid.clone();
                let answers: Vec<_> =
                    answers.iter().filter(|e| e.attr("from") != Some(&*own)).collect();
                match answered {
                    true => {
                        assert_eq!(answers.len(), 1, "{listed}: {stanza}: {answers:?}");
                        assert_eq!(answers[0].condition(), Some("service-unavailable"), "{stanza}");
                    }
                    false => assert!(answers.is_empty(), "{listed}: {stanza}: {answers:?}"),
                }
            }
        }
        alice.nothing().await?;
        change(&mut alice, "unblock", &[]).await?;
        alice.fence().await?;
        alice.forget();
        bob.send("<message type='chat' id='2' to='alice@localhost'><body>x</body></message>")
            .await?;
        alice.expect(|e| e.attr("id") == Some("2")).await?;
    }
    Ok(())
}

/// §3.3: an error with the reason, and nothing is sent; §5: an account cannot block itself.
#[tokio::test]
async fn what_the_blocking_side_sends_is_refused() -> Outcome<()> {
    let (lab, mut alice, mut bob) = friends().await?;
    change(&mut alice, "block", &["bob@localhost", "alice@localhost"]).await?;
    bob.fence().await?;
    bob.forget();
    for (stanza, refused) in [
        ("<message type='chat' id='1' to='bob@localhost'><body>x</body></message>", true),
        ("<message type='error' id='1' to='bob@localhost/b'/>", false),
        ("<iq type='get' id='1' to='bob@localhost/b'><ping xmlns='urn:xmpp:ping'/></iq>", true),
        (
            "<iq type='get' id='1' to='bob@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            true,
        ),
        ("<iq type='result' id='1' to='bob@localhost/b'/>", false),
        ("<presence id='1' to='bob@localhost'/>", true),
        ("<presence type='probe' id='1' to='bob@localhost'/>", true),
        ("<presence type='subscribe' id='1' to='bob@localhost'/>", true),
        ("<presence type='unsubscribed' id='1' to='bob@localhost'/>", true),
    ] {
        alice.send(stanza).await?;
        alice.fence().await?;
        let came = alice.take();
        assert_eq!(came.len(), usize::from(refused), "{stanza}: {came:?}");
        for error in came {
            assert_eq!(error.condition(), Some("not-acceptable"), "{error}");
            let why = error.find("error").and_then(|error| error.child(ERRORS, "blocked"));
            assert!(why.is_some(), "{error}");
        }
    }
    bob.nothing().await?;
    let mut phone = lab.online("alice", "phone").await?;
    phone
        .send("<message type='chat' id='own' to='alice@localhost/a'><body>x</body></message>")
        .await?;
    alice.expect(|e| e.attr("id") == Some("own")).await.map(drop)
}

/// §3.3, §3.4: unavailable for the blocked side, and available again later; nothing in between, whatever
/// changes.
#[tokio::test]
async fn presence_goes_and_comes_back() -> Outcome<()> {
    for listed in ["bob@localhost", "bob@localhost/b", "localhost"] {
        let (lab, mut alice, mut bob) = friends().await?;
        change(&mut alice, "block", &[listed]).await?;
        assert_eq!(presence_of(&mut bob, "alice@localhost/a").await?, ["unavailable"], "{listed}");
        alice.send("<presence><show>away</show></presence>").await?;
        alice.fence().await?;
        assert!(presence_of(&mut bob, "alice@localhost/a").await?.is_empty(), "{listed}");
        bob.send("<presence type='unavailable'/><presence/>").await?;
        assert!(presence_of(&mut bob, "alice@localhost/a").await?.is_empty(), "{listed}");
        // Blocking the same JID again does not reveal a new session either.
        let mut new = lab.online("alice", "new").await?;
        change(&mut new, "block", &[listed, "bob@localhost/b"]).await?;
        assert!(presence_of(&mut bob, "alice@localhost/new").await?.is_empty(), "{listed}");
        change(&mut new, "unblock", &["bob@localhost/b"]).await?;
        if listed == "bob@localhost/b" {
            change(&mut new, "block", &[listed]).await?;
            bob.fence().await?;
            bob.forget();
        }
        new.close().await?;
        if listed != "bob@localhost/b" {
            let mut again = lab.online("bob", "again").await?;
            assert!(presence_of(&mut again, "alice@localhost/a").await?.is_empty());
            assert!(presence_of(&mut bob, "alice@localhost/a").await?.is_empty());
            // The blocking side does not see a new session of the blocked one either.
            assert!(presence_of(&mut alice, "bob@localhost/again").await?.is_empty());
        }
        change(&mut alice, "unblock", &[listed]).await?;
        assert_eq!(presence_of(&mut bob, "alice@localhost/a").await?, ["available"], "{listed}");
    }
    Ok(())
}

/// A contact that is removed from the roster while it is blocked gets nothing, and nothing arrives from it.
#[tokio::test]
async fn what_ends_while_somebody_is_blocked_ends_in_silence() -> Outcome<()> {
    let (lab, mut alice, mut bob) = friends().await?;
    change(&mut alice, "block", &["bob@localhost"]).await?;
    bob.fence().await?;
    bob.forget();
    let mut new = lab.online("alice", "new").await?;
    let remove =
        "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='remove'/></query>";
    new.ask(&format!("<iq type='set' id='r'>{remove}</iq>")).await?;
    bob.fence().await?;
    assert!(!bob.take().iter().any(|e| e.name == "presence"), "bob hears of it");
    // The other direction has ended, too: after the unblocking neither sees the other.
    change(&mut alice, "unblock", &[]).await?;
    alice.fence().await?;
    alice.forget();
    alice.send("<presence><show>dnd</show></presence>").await?;
    alice.fence().await?;
    bob.send("<presence><show>dnd</show></presence>").await?;
    assert!(presence_of(&mut bob, "alice@localhost/a").await?.is_empty());
    assert!(presence_of(&mut alice, "bob@localhost/b").await?.is_empty());
    Ok(())
}

/// The account's own server is never blocked.
#[tokio::test]
async fn the_own_server_answers_all_the_same() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    change(&mut alice, "block", &["localhost"]).await?;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    for to in ["", "to='localhost'", "to='alice@localhost'"] {
        let answer = alice.ask(&format!("<iq type='get' id='i' {to}>{info}</iq>")).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    }
    Ok(())
}

/// §3.3: a subscription request of a blocked account is dropped without an error.
#[tokio::test]
async fn a_blocked_stranger_asks_in_vain() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    change(&mut alice, "block", &["bob@localhost"]).await?;
    bob.send("<presence type='subscribe' to='alice@localhost'/>").await?;
    bob.fence().await?;
    let refused = |e: &Element| e.name == "presence";
    assert!(!bob.take().iter().any(refused));
    alice.nothing().await?;
    let mut later = lab.online("alice", "later").await?;
    later.fence().await?;
    assert!(!later.take().iter().any(|e| e.attr("type") == Some("subscribe")));
    Ok(())
}

/// §3.3: sessions that requested the list get pushes in the order of the changes.
#[tokio::test]
async fn sessions_that_asked_for_the_list_hear_of_it() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut one = lab.online("alice", "one").await?;
    let mut two = lab.online("alice", "two").await?;
    let mut deaf = lab.online("alice", "deaf").await?;
    for client in [&mut one, &mut two] {
        assert!(blocklist(client).await?.is_empty());
    }
    deaf.fence().await?;
    deaf.forget();
    change(&mut one, "block", &["Romeo@Montague.lit", "x.org"]).await?;
    change(&mut one, "unblock", &["x.org"]).await?;
    change(&mut one, "unblock", &[]).await?;
    for client in [&mut one, &mut two] {
        for (verb, named) in [
            ("block", &["romeo@montague.lit", "x.org"][..]),
            ("unblock", &["x.org"]),
            ("unblock", &[]),
        ] {
            let push = client.expect(|e| e.attr("type") == Some("set")).await?;
            let own = client.jid.clone();
            assert_eq!(push.attr("to"), Some(&*own));
            let list = push.child(NS, verb).map(jids);
            assert_eq!(
                list.as_deref(),
                Some(&named.iter().map(|j| (*j).to_owned()).collect::<Vec<_>>()[..])
            );
        }
    }
    deaf.nothing().await
}

#[tokio::test]
async fn what_cannot_be_meant_changes_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.roster_items_max=2"]);
    let mut alice = lab.online("alice", "a").await?;
    for (payload, condition) in [
        ("<block xmlns='urn:xmpp:blocking'/>", "bad-request"),
        ("<block xmlns='urn:xmpp:blocking'><item/></block>", "bad-request"),
        ("<unblock xmlns='urn:xmpp:blocking'><item xmlns='x' jid='a'/></unblock>", "bad-request"),
        ("<block xmlns='urn:xmpp:blocking'><item jid='@'/></block>", "jid-malformed"),
        (
            "<block xmlns='urn:xmpp:blocking'><item jid='a'/><item jid='b'/><item jid='c'/></block>",
            "policy-violation",
        ),
    ] {
        let answer = alice.ask(&format!("<iq type='set' id='1'>{payload}</iq>")).await?;
        assert_eq!(answer.condition(), Some(condition), "{payload}");
    }
    assert!(blocklist(&mut alice).await?.is_empty());
    Ok(())
}

/// Blocked stanzas are not archived, copied or stored for later; and a block survives a kill.
#[tokio::test]
async fn nothing_is_kept_of_what_was_blocked() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut alice = lab.online("alice", "a").await?;
    change(&mut alice, "block", &["bob@localhost"]).await?;
    lab.process.kill();
    drop(lab);
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut phone = lab.online("alice", "phone").await?;
    phone.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await?;
    let mut bob = lab.online("bob", "b").await?;
    alice.fence().await?;
    alice.forget();
    phone.fence().await?;
    phone.forget();
    bob.send("<message type='chat' id='in' to='alice@localhost'><body>x</body></message>").await?;
    bob.fence().await?;
    alice.send("<message type='chat' id='out' to='bob@localhost'><body>x</body></message>").await?;
    alice.expect(|e| e.condition() == Some("not-acceptable")).await?;
    alice.nothing().await?;
    phone.nothing().await?;
    drop(alice);
    drop(phone);
    let mut later = lab.online("alice", "later").await?;
    let page = later.ask("<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>").await?;
    assert!(page.find("first").is_none(), "{page}");
    later.nothing().await
}
