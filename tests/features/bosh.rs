//! BOSH (XEP-0124, XEP-0206) at `/http-bind`.

use crate::harness::bosh::{Bosh, HTTPBIND, Http};
use crate::harness::client::Outcome;
use crate::harness::element::{Element, STREAM};
use crate::harness::process::Lab;
use crate::http_input::told;
use sha1::{Digest, Sha1};

fn text(message: &Element) -> Option<&str> {
    message.find("body").map(|body| &*body.text)
}

/// A message to bob.
fn message(body: &str) -> String {
    format!("<message to='bob@localhost' xmlns='jabber:client'><body>{body}</body></message>")
}

fn is_message(stanza: &Element) -> bool {
    stanza.name == "message"
}

/// How a session ended.
fn end(body: &Element) -> (Option<&str>, Option<&str>) {
    (body.attr("type"), body.attr("condition"))
}

fn ended(condition: &str) -> (Option<&str>, Option<&str>) {
    (Some("terminate"), Some(condition))
}

/// XEP-0124 §7, §8; XEP-0206 §3 to §5: a session, a login, chat both ways with a client on TCP.
#[tokio::test]
async fn a_client_on_bosh_chats_with_one_on_tcp() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let (_, created) = Bosh::open(&lab.target, "").await?;
    for (name, value) in [
        ("wait", "60"),
        ("hold", "1"),
        ("requests", "2"),
        ("inactivity", "60"),
        ("maxpause", "120"),
        ("ver", "1.6"),
        ("from", "localhost"),
        ("{urn:xmpp:xbosh}restartlogic", "true"),
        ("{urn:xmpp:xbosh}version", "1.0"),
    ] {
        assert_eq!(created.attr(name), Some(value), "{created}");
    }
    assert!(created.find("features").is_some_and(|features| features.find("starttls").is_none()));
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let held = alice.start("", "").await?;
    bob.send("<message to='alice@localhost'><body>hello</body></message>").await?;
    let body = alice.finish(held).await?;
    assert_eq!(body.find("message").and_then(text), Some("hello"));
    let held = alice.start("", "").await?;
    // COMPAT(XEP-0206 §2): without a namespace of its own, too.
    let two = message("one") + "<message to='bob@localhost'><body>two</body></message>";
    let next = alice.start("", &two).await?;
    // XEP-0124 §8: no more than one is held.
    assert_eq!(alice.finish(held).await?.children, []);
    for body in ["one", "two"] {
        assert_eq!(text(&bob.expect(is_message).await?), Some(body));
    }
    bob.send("<message to='alice@localhost'><body>bye</body></message>").await?;
    assert_eq!(alice.finish(next).await?.find("message").and_then(text), Some("bye"));
    Ok(())
}

/// XEP-0124 §17.2: who asks for a session where the server was is told where it is; who has one keeps it.
#[tokio::test]
async fn a_client_is_sent_to_another_address() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["web.moved_to=\"wss://chat.example:8443/ws\""]);
    let ask = |host: &str| {
        let body = format!(
            "<body rid='7' to='localhost' ver='1.11' wait='60' hold='1' xmlns='{HTTPBIND}'/>"
        );
        let length = body.len();
        format!(
            "POST /http-bind HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    for (host, moves) in [("localhost", true), ("chat.example", true), ("CHAT.example:8443", false)]
    {
        let got = told(&lab, ask(host)).await?;
        let body = got.split_once("\r\n\r\n").expect("a body").1;
        let body = Element::parse(body).expect("XML");
        assert_eq!(body.attr("sid").is_none(), moves, "{host}: {got}");
        if moves {
            assert_eq!(end(&body), ended("see-other-uri"), "{host}: {got}");
            let uri = body.child(HTTPBIND, "uri").map(|uri| uri.text.as_str());
            assert_eq!(uri, Some("https://chat.example:8443/http-bind"), "{got}");
        }
    }
    let meta =
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let got = told(&lab, meta).await?;
    assert!(got.contains("https://chat.example:8443/http-bind"), "{got}");
    Ok(())
}

/// XEP-0124 §14.2
#[tokio::test]
async fn requests_are_taken_in_order() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let first = alice.rid;
    let second = alice.start_as(first + 1, "", &message("second")).await?;
    let first = alice.start_as(first, "", &message("first")).await?;
    assert_eq!(alice.finish(first).await?.children, []);
    for body in ["first", "second"] {
        assert_eq!(text(&bob.expect(is_message).await?), Some(body));
    }
    bob.send("<message to='alice@localhost'><body>x</body></message>").await?;
    assert_eq!(alice.finish(second).await?.find("message").and_then(text), Some("x"));
    Ok(())
}

/// XEP-0124 §14.2, §17.2
#[tokio::test]
async fn a_rid_out_of_the_window_ends_the_session() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let held = alice.start("", "").await?;
    let far = alice.start_as(alice.rid + 2, "", "").await?;
    assert_eq!(end(&alice.finish(far).await?), ended("item-not-found"));
    assert_eq!(end(&alice.finish(held).await?), ended("other-request"));
    // There is no such session any more.
    assert_eq!(end(&alice.ask("", "").await?), ended("item-not-found"));
    Ok(())
}

/// XEP-0124 §14.3: nothing is lost with a connection, and nothing is done twice.
#[tokio::test]
async fn a_request_that_is_sent_again_gets_the_same_response() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let rid = alice.rid;
    let lost = alice.start("", &message("once")).await?;
    assert_eq!(text(&bob.expect(is_message).await?), Some("once"));
    let again = alice.start_as(rid, "", &message("once")).await?;
    // XEP-0124 §17.3: who waited before is told so.
    assert_eq!(alice.finish(lost).await?.attr("type"), Some("error"));
    drop(again);
    bob.send("<message to='alice@localhost'><body>you</body></message>").await?;
    let again = alice.start_as(rid, "", &message("once")).await?;
    let first = alice.finish(again).await?;
    // It may have been answered before its connection was seen to be gone.
    let kept = alice.start_as(rid, "", &message("once")).await?;
    assert_eq!(alice.finish(kept).await?, first);
    alice.inbox.pop_back();
    assert_eq!(text(&alice.next(is_message).await?), Some("you"));
    bob.nothing().await
}

/// XEP-0124 §10
#[tokio::test]
async fn a_pause_returns_what_is_held() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["web.bosh_inactivity_secs=1"]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let held = alice.start("", "").await?;
    let pause = alice.start("pause='2'", "").await?;
    assert_eq!(alice.finish(held).await?.children, []);
    assert_eq!(alice.finish(pause).await?.children, []);
    bob.send("<message to='alice@localhost'><body>hello</body></message>").await?;
    assert_eq!(text(&alice.next(is_message).await?), Some("hello"));
    Ok(())
}

/// XEP-0124 §13
#[tokio::test]
async fn a_session_is_ended_by_its_client() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    alice.ask("", "<presence to='bob@localhost/r' xmlns='jabber:client'/><iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
    bob.expect(|e| e.name == "presence" && e.attr("type").is_none()).await?;
    let held = alice.start("", "").await?;
    let last = "<presence type='unavailable' xmlns='jabber:client'><status>bye</status></presence>";
    let bye = alice.start("type='terminate'", last).await?;
    assert_eq!(end(&alice.finish(held).await?), (Some("terminate"), None));
    assert_eq!(end(&alice.finish(bye).await?), (None, None));
    let gone = bob.expect(|e| e.attr("type") == Some("unavailable")).await?;
    assert_eq!(gone.text_of("status"), Some("bye"));
    lab.process.logs(&["session closed"]);
    assert_eq!(end(&alice.ask("", "").await?), ended("item-not-found"));
    Ok(())
}

/// XEP-0124 §10: a client that does not ask is gone, for others too.
#[tokio::test]
async fn a_client_that_stays_away_is_gone() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["web.bosh_inactivity_secs=1"]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let held = alice.start("", "<presence to='bob@localhost/r' xmlns='jabber:client'/>").await?;
    bob.expect(|e| e.name == "presence" && e.attr("type").is_none()).await?;
    // Also if its connection is gone while a request is held.
    drop(held);
    bob.expect(|e| e.attr("type") == Some("unavailable")).await?;
    assert_eq!(end(&alice.ask("", "").await?), ended("item-not-found"));
    Ok(())
}

/// XEP-0206 §6, case L15
#[tokio::test]
async fn a_stream_error_comes_in_a_body_that_declares_its_prefix() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    for (send, condition) in [
        (message("too early"), "not-authorized"),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>&lt;".to_owned()
                + &"x".repeat(10_000)
                + "</auth>",
            "policy-violation",
        ),
    ] {
        let (mut alice, _) = Bosh::open(&lab.target, "").await?;
        let body = alice.ask("", &send).await?;
        assert_eq!(end(&body), ended("remote-stream-error"), "{body}");
        let error = body.child(STREAM, "error").unwrap();
        assert!(error.find(condition).is_some(), "{error}");
        assert_eq!(end(&alice.ask("", "").await?), ended("item-not-found"));
    }
    // The words themselves, by whatever parser.
    let (alice, _) = Bosh::open(&lab.target, "").await?;
    let mut http = Http::open(&lab.target).await?;
    http.send("POST /http-bind", "", &alice.body(alice.rid, "", &message("no"))).await?;
    let answer = http.receive().await?;
    let tag = &answer.body[..answer.body.find('>').unwrap()];
    assert!(tag.contains(&format!("xmlns:stream='{STREAM}'")), "{tag}");
    assert!(answer.body.contains("<stream:error"), "{}", answer.body);
    Ok(())
}

/// XEP-0124 §6, §7, §17: what is no request of BOSH
#[tokio::test]
async fn wrong_requests_get_a_condition() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut http = Http::open(&lab.target).await?;
    let long = "x".repeat(20_000);
    for (body, condition) in [
        ("", "bad-request"),
        ("<body", "bad-request"),
        ("<body rid='1' to='localhost'/>", "bad-request"),
        (&format!("<body to='localhost' xmlns='{HTTPBIND}'/>"), "bad-request"),
        (&format!("<body rid='1' to='localhost' xmlns='{HTTPBIND}'>text</body>"), "bad-request"),
        (&format!("<!DOCTYPE body><body rid='1' xmlns='{HTTPBIND}'/>"), "bad-request"),
        (&format!("<body rid='1' sid='none' xmlns='{HTTPBIND}'/>"), "item-not-found"),
        (&format!("<body rid='1' xmlns='{HTTPBIND}'/>"), "improper-addressing"),
        (&format!("<body rid='1' to='other.example' xmlns='{HTTPBIND}'/>"), "host-unknown"),
        (&format!("<body rid='1' to='{long}' xmlns='{HTTPBIND}'/>"), "policy-violation"),
    ] {
        http = Http::open(&lab.target).await?;
        http.send("POST /http-bind", "", body).await?;
        let answer = http.receive().await?;
        let got = Element::parse(&answer.body).unwrap();
        assert_eq!(end(&got), ended(condition), "{body}");
        assert_eq!(answer.status, 200);
    }
    // XEP-0124 §7.2: no more than the client allows, and one at most.
    for (asked, held, requests) in
        [("0", "0", "1"), ("1", "1", "2"), ("2", "1", "2"), ("9", "1", "2")]
    {
        let body = format!(
            "<body rid='5' to='localhost' hold='{asked}' wait='9' ver='1.6' xmlns='{HTTPBIND}'/>"
        );
        http.send("POST /http-bind", "", &body).await?;
        let created = Element::parse(&http.receive().await?.body).unwrap();
        assert_eq!(
            (created.attr("hold"), created.attr("requests")),
            (Some(held), Some(requests)),
            "{asked}"
        );
    }
    // One that cannot be read ends its session; and a client without `ver` reads statuses (§17.1).
    let legacy = format!("<body rid='5' to='localhost' hold='1' wait='9' xmlns='{HTTPBIND}'/>");
    http.send("POST /http-bind", "", &legacy).await?;
    let created = Element::parse(&http.receive().await?.body).unwrap();
    let sid = created.attr("sid").unwrap();
    for status in [400, 200] {
        let broken = format!("<body rid='6' sid='{sid}' xmlns='{HTTPBIND}'><iq></body>");
        http.send("POST /http-bind", "", &broken).await?;
        assert_eq!(http.receive().await?.status, status);
    }
    Ok(())
}

/// Bodies are bounded by what a stanza may have.
#[tokio::test]
async fn a_body_that_is_too_large_ends_its_session() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["limits.stanza_bytes_max=20000"]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let mut bob = lab.online("bob", "r").await?;
    let held = alice.start("", &message(&"x".repeat(18_000))).await?;
    assert_eq!(text(&bob.expect(is_message).await?).map(str::len), Some(18_000));
    let large = alice.start("", &message(&"x".repeat(50_000))).await?;
    assert_eq!(end(&alice.finish(large).await?), ended("policy-violation"));
    assert_eq!(end(&alice.finish(held).await?), ended("other-request"));
    bob.nothing().await
}

/// XEP-0124 §15
#[tokio::test]
async fn keys_keep_others_out() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let hash = |key: &str| -> String {
        Sha1::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let first = hash("seed");
    let second = hash(&first);
    let newkey = format!("newkey='{}'", hash(&second).to_uppercase());
    let (mut alice, _) = Bosh::open(&lab.target, &newkey).await?;
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>";
    let body = alice.ask(&format!("key='{second}'"), auth).await?;
    assert!(body.find("failure").is_some(), "{body}");
    let body = alice.ask(&format!("key='{second}'"), auth).await?;
    assert_eq!(end(&body), ended("item-not-found"));
    let (mut alice, _) = Bosh::open(&lab.target, &newkey).await?;
    assert_eq!(end(&alice.ask("", auth).await?), ended("item-not-found"));
    Ok(())
}

/// XEP-0198 §5: a session goes on over another transport.
#[tokio::test]
async fn a_session_is_resumed_on_tcp() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    alice.ask("", "<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
    let enabled = alice.next(|e| e.name == "enabled").await?;
    let held = alice.start("", "").await?;
    let mut phone = lab.authenticated("alice").await?;
    let previd = enabled.attr("id").unwrap();
    phone.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='0'/>")).await?;
    phone.expect(|e| e.name == "resumed").await?;
    assert_eq!(alice.finish(held).await?.attr("type"), Some("terminate"));
    let mut bob = lab.online("bob", "r").await?;
    bob.send("<message to='alice@localhost'><body>hello</body></message>").await?;
    assert_eq!(text(&phone.expect(is_message).await?), Some("hello"));
    Ok(())
}

/// XEP-0206 §6, RFC 6120 §4.9.3.20: a request that is held when the server stops
#[tokio::test]
async fn a_stopping_server_tells() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = Bosh::online(&lab.target, "alice").await?;
    let held = alice.start("", "").await?;
    // It has been taken: another one is answered.
    let next = alice.start("", &message("x")).await?;
    alice.finish(held).await?;
    lab.process.signal("TERM");
    let body = alice.finish(next).await?;
    let body = if body.attr("type").is_none() { alice.ask("", "").await? } else { body };
    assert_eq!(end(&body), ended("remote-stream-error"), "{body}");
    assert!(body.find("system-shutdown").is_some(), "{body}");
    Ok(())
}

/// XEP-0156 §3; what browsers ask before.
#[tokio::test]
async fn browsers_find_it() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["web.origins=[\"https://chat.example\"]"]);
    let mut http = Http::open(&lab.target).await?;
    http.send("GET /.well-known/host-meta", "", "").await?;
    let found = http.receive().await?.body;
    assert!(found.contains("urn:xmpp:alt-connections:xbosh"), "{found}");
    assert!(found.contains("https://localhost/http-bind"), "{found}");
    for (origin, status) in [("https://chat.example", 204), ("https://evil.example", 403)] {
        let head = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
        http.send("OPTIONS /http-bind", &head, "").await?;
        let answer = http.receive().await?;
        let allowed = format!("access-control-allow-origin: {origin}");
        assert_eq!((answer.status, answer.head.contains(&allowed)), (status, status == 204));
    }
    http.send("GET /http-bind", "", "").await?;
    assert_eq!(http.receive().await?.status, 200);
    let lab = Lab::new(&["alice"], &["web.bosh=false"]);
    let mut http = Http::open(&lab.target).await?;
    http.send("GET /http-bind", "", "").await?;
    assert_eq!(http.receive().await?.status, 404);
    Ok(())
}
