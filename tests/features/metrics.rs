//! Signs of life and figures: `/livez`, `/readyz`, `/metrics`.

use crate::harness::bosh::Bosh;
use crate::harness::client::{Client, DEADLINE, Failure, Outcome, Security};
use crate::harness::https;
use crate::harness::process::{Lab, PASSWORD, PORTS, run_in, wrong};
use crate::harness::push_service;
use crate::harness::rooms;
use crate::harness::sm::{Stalled, chat};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Head and body of an answer to a request in plain HTTP.
async fn plain(at: SocketAddr, path: &str) -> Outcome<(String, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(DEADLINE, asked).await.map_err(|_| Failure("no answer".into()))?;
    let answer = answer.map_err(|error| Failure(error.to_string()))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => Ok((head.to_owned(), body.to_owned())),
        None => wrong(format!("no head: {answer}")),
    }
}

/// Each figure with its labels, and its value.
async fn figures(lab: &Lab) -> Outcome<BTreeMap<String, f64>> {
    let (head, body) = plain(lab.metrics.expect("metrics"), "/metrics").await?;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.ends_with("# EOF\n"), "{head}\n{body}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(lines.map(|line| figure(line).unwrap_or_else(|| panic!("no figure: {line}"))).collect())
}

/// Asks until these are so: what others wait for may be counted a moment later.
async fn become_so(lab: &Lab, wanted: &[(&str, f64)]) -> Outcome<BTreeMap<String, f64>> {
    let until = Instant::now() + DEADLINE;
    loop {
        let all = figures(lab).await?;
        let other = wanted.iter().find(|(name, value)| all.get(*name) != Some(value));
        let Some((name, value)) = other else { return Ok(all) };
        if Instant::now() > until {
            return wrong(format!("{name} is {:?}, and {value} was expected", all.get(*name)));
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_says_that_it_lives_and_is_ready() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let at = lab.metrics.expect("metrics");
    for (path, text) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let (head, body) = plain(at, path).await?;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("no-store"), "{head}");
        assert_eq!(body, text);
        let answer = https::get(&lab.target, path).await?;
        assert_eq!((answer.status, answer.body), (200, text.as_bytes().to_vec()));
    }
    // What goes on is not for everybody, and what is for clients is not there.
    assert_eq!(https::get(&lab.target, "/metrics").await?.status, 404);
    for path in ["/", "/ws", "/.well-known/host-meta", "/upload/x/y"] {
        assert!(plain(at, path).await?.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    Ok(())
}

/// Sessions by transport, however they begin and end.
#[tokio::test]
async fn sessions_are_counted_by_their_transport() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let sessions = |name: &str| format!("stonechat_sessions{{transport=\"{name}\"}}");
    let [tcp, tls, websocket, bosh] = ["tcp", "tls", "websocket", "bosh"].map(sessions);
    let login = |security| Client::login(&lab.target, security, "alice", PASSWORD);
    let starttls = login(Security::StartTls).await?;
    let mut direct = login(Security::Direct).await?;
    let _socket = login(Security::WebSocket).await?;
    let _requests = Bosh::online(&lab.target, "alice").await?;
    let (managed, id) = lab.managed("bob", "phone").await?;
    become_so(&lab, &[(&tcp, 2.0), (&tls, 1.0), (&websocket, 1.0), (&bosh, 1.0)]).await?;
    // Closed, cut, and cut with the hope to come back.
    direct.close().await?;
    drop((starttls, managed));
    let hibernating = "stonechat_sessions_hibernating";
    become_so(&lab, &[(&tcp, 0.0), (&tls, 0.0), (hibernating, 1.0)]).await?;
    let _back = lab.resumed("bob", &id, 0).await?;
    let resumed = ("stonechat_resumptions_total", 1.0);
    become_so(&lab, &[(&tcp, 1.0), (hibernating, 0.0), resumed, (&websocket, 1.0)]).await?;
    Ok(())
}

/// Messages by what became of them, stanzas and bytes by direction, and what is written of them.
#[tokio::test]
async fn messages_are_counted_by_what_became_of_them() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    let before = figures(&lab).await?;
    alice.send(&chat("bob@localhost", "1")).await?;
    alice.send(&chat("bob@localhost", "2")).await?;
    alice.send(&chat("carol@localhost", "3")).await?;
    alice.send(&chat("nobody@localhost", "4")).await?;
    // RFC 6121 §8.5.2.1.1: an error to nobody in particular has no taker.
    alice.send("<message to='carol@localhost' type='error' id='5'/>").await?;
    alice.fence().await?;
    bob.expect(|e| e.attr("id") == Some("2")).await?;
    let fate = |name: &str| format!("stonechat_messages_total{{outcome=\"{name}\"}}");
    let wanted = [("delivered", 2.0), ("held", 1.0), ("bounced", 1.0), ("dropped", 1.0)];
    let wanted = wanted.map(|(name, count)| (fate(name), count));
    let wanted: Vec<_> = wanted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let all = become_so(&lab, &wanted).await?;
    let grew = |name: &str| all[name] - before[name];
    let stanza = |kind: &str, direction: &str| {
        format!("stonechat_stanzas_total{{kind=\"{kind}\",direction=\"{direction}\"}}")
    };
    assert_eq!(grew(&stanza("message", "in")), 5.0);
    // Two to bob, an error to alice.
    assert_eq!(grew(&stanza("message", "out")), 3.0);
    let bytes = |direction: &str| format!("stonechat_bytes_total{{direction=\"{direction}\"}}");
    assert!(grew(&bytes("in")) > 300.0 && grew(&bytes("out")) > 300.0);
    // The row for carol, at least.
    assert!(grew("stonechat_writes_total") >= 1.0);
    assert!(grew("stonechat_commit_seconds_count") >= 1.0);
    assert!(all["stonechat_commit_seconds_sum"] > 0.0);
    assert_eq!(
        all["stonechat_commit_seconds_bucket{le=\"+Inf\"}"],
        all["stonechat_commit_seconds_count"]
    );
    Ok(())
}

/// What waits for a disk that hangs is seen, and the figures come all the same.
#[tokio::test]
async fn a_disk_that_hangs_shows_in_the_queue() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let stalled = Stalled::new(&lab);
    let held = "stonechat_messages_total{outcome=\"held\"}";
    // One is with the writer, the others wait for it.
    alice.send(&chat("bob@localhost", "0")).await?;
    become_so(&lab, &[(held, 1.0), ("stonechat_writes_queued", 0.0)]).await?;
    for id in 1..9 {
        alice.send(&chat("bob@localhost", &id.to_string())).await?;
    }
    let all = become_so(&lab, &[(held, 9.0)]).await?;
    assert_eq!(all["stonechat_writes_queued"], 8.0);
    assert!(all["stonechat_writes_queued_bytes"] > 0.0);
    drop(stalled);
    become_so(&lab, &[("stonechat_writes_queued", 0.0)]).await?;
    Ok(())
}

/// By mechanism and outcome, and failures by their reason.
#[tokio::test]
async fn logins_are_counted() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut client = lab.connect().await?;
    let name = "SCRAM-SHA-256";
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD)] {
        assert!(client.authenticate_with(name, user, password).await?.is_err());
    }
    assert!(client.authenticate_with(name, "alice", PASSWORD).await?.is_ok());
    let login = |outcome: &str| {
        format!("stonechat_logins_total{{mechanism=\"{name}\",outcome=\"{outcome}\"}}")
    };
    let failed = |reason: &str| format!("stonechat_login_failures_total{{reason=\"{reason}\"}}");
    let wanted = [
        (login("success"), 1.0),
        (login("failure"), 2.0),
        (failed("not-authorized"), 2.0),
        (failed("malformed"), 0.0),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    become_so(&lab, &wanted).await?;
    Ok(())
}

/// Rooms, files and notifications: what modules say of themselves.
#[tokio::test]
async fn modules_have_figures_of_their_own() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "app"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    rooms::found(&mut alice, "hall", "ann", &[]).await?;
    rooms::enter(&mut bob, "hall", "bob").await?;
    let request = "<iq type='get' id='q' to='upload.localhost'>\
        <request xmlns='urn:xmpp:http:upload:0' filename='a' size='5'/></iq>";
    let slot = alice.ask(request).await?;
    let url = |name| slot.find(name).and_then(|e| e.attr("url")).expect("a url").to_owned();
    assert_eq!(https::put(&lab.target, &url("put"), b"hello").await?.status, 201);
    assert_eq!(https::put(&lab.target, &url("put"), b"hello").await?.status, 409);
    assert_eq!(https::get(&lab.target, &url("get")).await?.status, 200);
    let mut app = lab.login_as("app", "s").await?;
    push_service::gone(&lab, "bob", "phone", "").await?;
    bob.close().await?;
    // Only who is gone is told by push.
    alice.expect(|it| it.name == "presence" && it.attr("type") == Some("unavailable")).await?;
    alice.send(&chat("bob@localhost", "1")).await?;
    push_service::pushed(&mut app).await?;
    let wanted = [
        ("stonechat_rooms_loaded", 1.0),
        ("stonechat_room_occupants", 1.0),
        ("stonechat_uploads_total{outcome=\"stored\"}", 1.0),
        ("stonechat_uploads_total{outcome=\"refused\"}", 1.0),
        ("stonechat_upload_bytes_total", 5.0),
        ("stonechat_upload_kept_bytes", 5.0),
        ("stonechat_downloads_total", 1.0),
        ("stonechat_download_bytes_total", 5.0),
        ("stonechat_uploads_under_way", 0.0),
        ("stonechat_push_notifications_total{outcome=\"sent\"}", 1.0),
        ("stonechat_push_notifications_total{outcome=\"failed\"}", 0.0),
    ];
    become_so(&lab, &wanted).await?;
    Ok(())
}

/// One label has one of a few words, whoever connects and whatever is asked for.
#[tokio::test]
async fn nobody_makes_figures_by_what_they_say() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let before = figures(&lab).await?;
    let mut client = lab.connect().await?;
    client
        .send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-EVIL&quot;}'>=</auth>")
        .await?;
    client.receive().await?;
    let mut alice = lab.online("alice", "r").await?;
    alice.send(&chat("evil@nowhere.example", "1")).await?;
    alice.fence().await?;
    rooms::enter(&mut alice, "evil", "evil").await?;
    let after = figures(&lab).await?;
    assert!(before.keys().eq(after.keys()), "{:?}\n{:?}", before.keys(), after.keys());
    assert!(!after.keys().any(|name| name.to_lowercase().contains("evil")));
    Ok(())
}

/// Its address is like every other: told when it starts, checked, and off if it is not wanted.
#[tokio::test]
async fn the_address_is_a_setting() -> Outcome<()> {
    let off = Lab::new(&[], &["metrics.listen=[]"]);
    assert_eq!(off.metrics, None);
    assert_eq!(https::get(&off.target, "/readyz").await?.status, 200);
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("metrics.listen={}", taken.local_addr().unwrap());
    let args = [&["--data-dir", "data"][..], &PORTS, &["--set", &listen, "check"]].concat();
    let said = run_in(folder.path(), &args, "");
    assert!(!said.ok, "{}", said.out);
    for part in ["cannot listen", "metrics.listen", "another program"] {
        assert!(said.out.contains(part) || said.err.contains(part), "{} {}", said.out, said.err);
    }
    Ok(())
}
