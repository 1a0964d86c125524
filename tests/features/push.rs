//! XEP-0357: Push Notifications, with a client of the server as the push service.

use crate::harness::client::Outcome;
use crate::harness::process::Lab;
use crate::harness::push_service::{self, NS, PUBSUB, accepted, enable, pushed, pushed_and};
use crate::harness::sm::{chat, say};

const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const OPTIONS: &str = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
    <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='secret'><value>s3&lt;</value></field></x>";

/// Alice writes, bob's devices are woken, `app` is the push service.
fn lab(set: &[&str]) -> Lab {
    let quick = ["modules.push.interval_secs=1", "modules.push.elsewhere_secs=0"];
    Lab::new(&["alice", "bob", "app"], &[&quick[..], set].concat())
}

/// A device of bob's that enabled notifications and is gone.
async fn gone(lab: &Lab, resource: &str, forms: &str) -> Outcome<()> {
    push_service::gone(lab, "bob", resource, forms).await
}

fn failed(condition: &str, ty: &str, id: &str) -> String {
    format!(
        "<iq type='error' id='{id}' to='localhost'><error type='{ty}'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
}

/// §4.1, §5, §7: what is published, with the options as they were given and nothing of the message.
#[tokio::test]
async fn a_device_that_is_gone_is_woken() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = lab.online("bob", "phone").await?;
    let info = "<iq type='get' id='i' to='bob@localhost'>\
                <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let info = bob.ask(info).await?;
    let query = info.find("query").expect("features");
    assert!(query.children.iter().any(|child| child.attr("var") == Some(NS)), "{info}");
    accepted(&mut bob, &enable("n1", OPTIONS)).await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    bob.expect(|e| e.attr("id") == Some("0")).await?;
    bob.close().await?;
    say(&mut alice, "bob@localhost", 1..2).await?;
    let push = pushed(&mut app).await?;
    assert_eq!((&*push.node, &*push.count), ("n1", "1"), "{}", push.request);
    assert_eq!((push.sender, push.body), (None, None));
    let options = push.request.find("publish-options").expect("publish-options");
    let secret = options.find("x").into_iter().flat_map(|x| &x.children);
    let secret = secret.filter(|field| field.attr("var") == Some("secret"));
    let secrets: Vec<_> = secret.filter_map(|field| field.text_of("value")).collect();
    assert_eq!(secrets, ["s3<"], "{options}");
    // What comes soon after is told in one; the messages are still there for the device.
    say(&mut alice, "bob@localhost", 2..5).await?;
    assert_eq!(pushed(&mut app).await?.count, "4");
    let mut bob = lab.online("bob", "phone").await?;
    assert_eq!(bob.messages().await?, ["1", "2", "3", "4"]);
    bob.close().await?;
    say(&mut alice, "bob@localhost", 5..6).await?;
    assert_eq!(pushed(&mut app).await?.count, "1", "the others it has");
    app.nothing().await
}

/// XEP-0198: what comes for a session without a connection, and what was on its way when that broke.
#[tokio::test]
async fn a_device_that_hibernates_is_woken() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    accepted(&mut bob, &enable("n", "")).await?;
    let jid = bob.jid.clone();
    drop(bob);
    lab.sleeps(&jid);
    say(&mut alice, "bob@localhost", 0..2).await?;
    let mut push = pushed(&mut app).await?;
    if push.count == "1" {
        push = pushed(&mut app).await?;
    }
    assert_eq!(push.count, "2");
    // It comes back, acknowledges the answer to its request and one of two messages, and is cut again.
    let (mut bob, _) = lab.resumed("bob", &id, 1).await?;
    assert_eq!(bob.messages().await?, ["0", "1"]);
    bob.a(2).await?;
    bob.fence().await?;
    drop(bob);
    lab.process.logs_times(2, &["the session can be resumed", &jid]);
    assert_eq!(pushed(&mut app).await?.count, "1", "unacknowledged");
    alice.send(&chat(&jid, "2")).await?;
    assert_eq!(pushed(&mut app).await?.count, "2");
    Ok(())
}

/// XEP-0352: an inactive client is woken if it does not acknowledge what it was sent.
#[tokio::test]
async fn a_device_that_does_not_answer_is_woken() -> Outcome<()> {
    let lab = lab(&["modules.push.inactive_secs=1"]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    let (mut bob, _) = lab.managed("bob", "phone").await?;
    accepted(&mut bob, &enable("n", "")).await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    bob.expect(|e| e.attr("id") == Some("0")).await?;
    bob.send(INACTIVE).await?;
    bob.fence().await?;
    say(&mut alice, "bob@localhost", 1..2).await?;
    bob.expect(|e| e.attr("id") == Some("1")).await?;
    // The answer to its request, both messages, and the fence.
    bob.a(4).await?;
    bob.fence().await?;
    say(&mut alice, "bob@localhost", 2..3).await?;
    assert_eq!(pushed(&mut app).await?.count, "1", "of those that are acknowledged none");
    app.nothing().await
}

/// What another device shows or answers is no news; chat states, receipts and markers are none at all; calls are at
/// once.
#[tokio::test]
async fn what_is_read_elsewhere_wakes_nobody() -> Outcome<()> {
    let lab = lab(&["modules.push.elsewhere_secs=3"]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "phone", "").await?;
    let mut desk = lab.online("bob", "desk").await?;
    let displayed = "<message to='alice@localhost' type='chat'>\
                     <displayed xmlns='urn:xmpp:chat-markers:0' id='0'/></message>";
    for read in [displayed.to_owned(), chat("alice@localhost", "answer")] {
        say(&mut alice, "bob@localhost", 0..1).await?;
        desk.expect(|e| e.attr("id") == Some("0")).await?;
        desk.send(&read).await?;
        desk.fence().await?;
    }
    for (payload, hint) in [
        ("<received xmlns='urn:xmpp:receipts' id='1'/>", ""),
        ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", ""),
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", ""),
        ("<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>", "<store xmlns='urn:xmpp:hints'/>"),
    ] {
        alice
            .send(&format!("<message to='bob@localhost' type='chat'>{payload}{hint}</message>"))
            .await?;
    }
    assert_eq!(pushed(&mut app).await?.count, "1", "the call alone");
    say(&mut alice, "bob@localhost", 1..2).await?;
    assert_eq!(pushed(&mut app).await?.count, "2", "nobody read it in time");
    app.nothing().await
}

/// §9: a summary has what the client asks for and the server allows.
#[tokio::test]
async fn a_summary_says_what_was_asked_for() -> Outcome<()> {
    let wish = |var: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>urn:xmpp:push:summary</value></field>\
             <field var='last-message-{var}'><value>1</value></field></x>"
        )
    };
    let lab = lab(&["modules.push.sender=true"]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "silent", "").await?;
    gone(&lab, "sender", &wish("sender")).await?;
    gone(&lab, "body", &wish("body")).await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    for _ in 0..3 {
        let push = pushed(&mut app).await?;
        let sender = (push.node == "sender").then_some("alice@localhost/r");
        assert_eq!((push.sender.as_deref(), push.body), (sender, None), "{}", push.request);
    }
    Ok(())
}

/// §7.1: an error that is no passing one disables the registration, and the log says it; until the client enables
/// it again.
#[tokio::test]
async fn a_service_that_refuses_is_left_alone() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "phone", "").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    let refusal = |id: &str| failed("item-not-found", "cancel", id);
    pushed_and(&mut app, refusal).await?;
    lab.process.logs(&["are disabled", "bob@localhost", "item-not-found"]);
    say(&mut alice, "bob@localhost", 1..2).await?;
    gone(&lab, "tablet", "").await?;
    say(&mut alice, "bob@localhost", 2..3).await?;
    assert_eq!(pushed(&mut app).await?.node, "tablet");
    gone(&lab, "phone", "").await?;
    say(&mut alice, "bob@localhost", 3..4).await?;
    let mut nodes = [pushed(&mut app).await?.node, pushed(&mut app).await?.node];
    nodes.sort();
    assert_eq!(nodes, ["phone", "tablet"]);
    app.nothing().await
}

/// §6, §8: one node or all, by the client or by the service, which nobody else can pose as.
#[tokio::test]
async fn what_is_disabled_is_not_notified() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    for node in ["a", "b", "c", "d"] {
        gone(&lab, node, "").await?;
    }
    let mut desk = lab.login_as("bob", "desk").await?;
    let disable = |more: &str| {
        format!("<iq type='set' id='off'><disable xmlns='{NS}' jid='app@localhost/s'{more}/></iq>")
    };
    accepted(&mut desk, &disable(" node='a'")).await?;
    accepted(&mut desk, &disable(" node='unknown'")).await?;
    let leave = |node: &str| {
        format!(
            "<message to='bob@localhost'><pubsub xmlns='{PUBSUB}' node='{node}'>\
             <affiliation jid='bob@localhost' affiliation='none'/></pubsub></message>"
        )
    };
    alice.send(&leave("c")).await?;
    alice.fence().await?;
    // Of a node that is none of its own nothing is written, or said.
    app.send(&leave("unknown")).await?;
    app.send(&leave("b")).await?;
    app.fence().await?;
    lab.process.logs(&["takes no more", "bob@localhost", "app@localhost/s"]);
    assert_eq!(lab.process.log().matches("takes no more").count(), 1, "{}", lab.process.log());
    say(&mut alice, "bob@localhost", 0..1).await?;
    let mut nodes = [pushed(&mut app).await?.node, pushed(&mut app).await?.node];
    nodes.sort();
    assert_eq!(nodes, ["c", "d"]);
    accepted(&mut desk, &disable("")).await?;
    say(&mut alice, "bob@localhost", 1..2).await?;
    gone(&lab, "e", "").await?;
    say(&mut alice, "bob@localhost", 2..3).await?;
    assert_eq!(pushed(&mut app).await?.node, "e");
    app.nothing().await
}

/// A registration is durable when it is acknowledged; another account's is not touched.
#[tokio::test]
async fn registrations_outlive_a_crash() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "modules.push.interval_secs=1"];
    let mut lab = Lab::serve(folder.path(), &set, &["alice", "bob", "app"]);
    gone(&lab, "phone", OPTIONS).await?;
    lab.process.kill();
    lab = Lab::serve(folder.path(), &set, &[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    let push = pushed(&mut app).await?;
    assert_eq!((&*push.node, &*push.count), ("phone", "1"));
    assert!(push.request.find("publish-options").is_some());
    Ok(())
}

/// §5, §6: what cannot be enabled, and by whom.
#[tokio::test]
async fn bad_requests_are_refused() -> Outcome<()> {
    let lab = lab(&["modules.push.registrations_max=2"]);
    let mut bob = lab.online("bob", "phone").await?;
    let long = "n".repeat(1_024);
    let large = OPTIONS.replace("s3", &"s".repeat(5_000));
    let twice = format!("{0}{0}", "<field var='a'><value>1</value></field>");
    let form = |fields: &str| format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    let unknown = form("<field var='FORM_TYPE'><value>urn:x</value></field>");
    for (attributes, forms, condition) in [
        ("", "", "bad-request"),
        (" jid='@'", "", "jid-malformed"),
        (" jid='localhost'", "", "not-allowed"),
        (" jid='alice@localhost'", "", "not-allowed"),
        (&*format!(" jid='app@x' node='{long}'"), "", "policy-violation"),
        (" jid='app@x' node='n'", &*large, "policy-violation"),
        (" jid='app@x' node='n'", &*form(&twice), "bad-request"),
        (" jid='app@x' node='n'", &*unknown, "bad-request"),
        (" jid='app@x' node='1'", "", ""),
        (" jid='app@x' node='2'", "", ""),
        (" jid='app@x' node='3'", "", "policy-violation"),
        (" jid='app@x' node='2'", OPTIONS, ""),
    ] {
        let enable = format!("<enable xmlns='{NS}'{attributes}>{forms}</enable>");
        let answer = bob.ask(&format!("<iq type='set' id='1'>{enable}</iq>")).await?;
        assert_eq!(answer.condition().unwrap_or_default(), condition, "{enable}");
    }
    for (to, payload, condition) in [
        ("", format!("<disable xmlns='{NS}'/>"), "bad-request"),
        ("", format!("<disable xmlns='{NS}' jid='@'/>"), "jid-malformed"),
        (" to='alice@localhost'", format!("<enable xmlns='{NS}' jid='x'/>"), "service-unavailable"),
        (
            " to='nobody@localhost'",
            format!("<enable xmlns='{NS}' jid='x'/>"),
            "service-unavailable",
        ),
    ] {
        let answer = bob.ask(&format!("<iq type='set' id='1'{to}>{payload}</iq>")).await?;
        assert_eq!(answer.condition(), Some(condition), "{to} {payload}");
    }
    Ok(())
}

/// Answers count from who was asked, and from nobody who knows the id of the request.
#[tokio::test]
async fn nobody_answers_for_a_push_service() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut other = lab.online("app", "other").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "phone", "").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    let request = app.expect(|e| e.child(PUBSUB, "pubsub").is_some()).await?;
    let id = request.attr("id").unwrap_or_default();
    for forger in [&mut alice, &mut other] {
        forger.send(&failed("item-not-found", "cancel", id)).await?;
        forger.fence().await?;
    }
    app.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
    say(&mut alice, "bob@localhost", 1..2).await?;
    assert_eq!(pushed(&mut app).await?.count, "2");
    assert!(!lab.process.log().contains("are disabled"), "{}", lab.process.log());
    Ok(())
}

/// RFC 6120 §8.3.2: what is to be asked again later is no refusal, whatever it is called.
#[tokio::test]
async fn a_service_that_has_enough_for_now_is_asked_again() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "phone", "").await?;
    say(&mut alice, "bob@localhost", 0..1).await?;
    pushed_and(&mut app, |id| failed("policy-violation", "wait", id)).await?;
    lab.process.logs(&["it is tried again", "bob@localhost", "policy-violation"]);
    Ok(())
}

/// XEP-0490, XEP-0353: what another device marks as read, or a call that it takes, is no news either.
#[tokio::test]
async fn what_is_marked_or_taken_elsewhere_wakes_nobody() -> Outcome<()> {
    let lab = lab(&["modules.push.elsewhere_secs=3"]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "phone", "").await?;
    let mut desk = lab.online("bob", "desk").await?;
    say(&mut alice, "bob@localhost", 0..2).await?;
    let first = desk.expect(|e| e.attr("id") == Some("0")).await?;
    let second = desk.expect(|e| e.attr("id") == Some("1")).await?;
    for message in [first, second] {
        let id = message.child("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attr("id"));
        let id = id.expect("an id");
        let mark = format!(
            "<iq type='set' id='mark'><pubsub xmlns='{PUBSUB}'><publish node='urn:xmpp:mds:displayed:0'>\
             <item id='alice@localhost'><displayed xmlns='urn:xmpp:mds:displayed:0'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='{id}'/></displayed></item>\
             </publish></pubsub></iq>"
        );
        accepted(&mut desk, &mark).await?;
    }
    // The phone rings at once; the call is taken at the desk.
    let call = |to: &str, name: &str| {
        format!(
            "<message to='{to}' type='chat'><{name} xmlns='urn:xmpp:jingle-message:0' id='c'/>\
             <store xmlns='urn:xmpp:hints'/></message>"
        )
    };
    alice.send(&call("bob@localhost", "propose")).await?;
    assert_eq!(pushed(&mut app).await?.count, "1", "what was marked does not count");
    desk.send(&call("alice@localhost/r", "proceed")).await?;
    desk.fence().await?;
    say(&mut alice, "bob@localhost", 2..3).await?;
    assert_eq!(pushed(&mut app).await?.count, "1", "nor a call that was taken");
    app.nothing().await
}

/// What was enabled with a password that was changed since is shut, as all that it opened.
#[tokio::test]
async fn an_old_password_hears_no_more() -> Outcome<()> {
    let lab = lab(&[]);
    let mut app = lab.online("app", "s").await?;
    let mut alice = lab.online("alice", "r").await?;
    gone(&lab, "thief", "").await?;
    let mut desk = lab.online("bob", "desk").await?;
    let change = "<username>bob</username><password>another secret</password>";
    let change = format!("<query xmlns='jabber:iq:register'>{change}</query>");
    accepted(&mut desk, &format!("<iq type='set' id='pw'>{change}</iq>")).await?;
    accepted(&mut desk, &enable("desk", "")).await?;
    desk.close().await?;
    for n in 0..2 {
        say(&mut alice, "bob@localhost", n..n + 1).await?;
        assert_eq!(pushed(&mut app).await?.node, "desk");
    }
    app.nothing().await
}
