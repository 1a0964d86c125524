//! The JSON API of the operator's verbs: who may what, what is refused, what is written down, and that its three faces
//! give the same.

use crate::commands::COMMANDS;
use crate::harness::client::{Client, DEADLINE, Failure, Outcome};
use crate::harness::process::{Lab, Said, run_in, wrong};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }
}

/// Who asks where.
struct Caller {
    at: SocketAddr,
    token: String,
}

impl Caller {
    /// With a token that the command line made.
    fn new(lab: &Lab, name: &str, role: &str) -> Caller {
        let made = cli(lab, &["token", "add", name, "--role", role, "--json"]);
        let made: Value = serde_json::from_str(&made.out).expect(&made.err);
        let token = made["token"].as_str().expect("a token").to_owned();
        Caller { at: lab.api.expect("an API"), token }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Outcome<Answer> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", &*bearer)];
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        send(self.at, (method, path), &headers, &body).await
    }

    async fn get(&self, path: &str) -> Outcome<Answer> {
        self.ask("GET", path, None).await
    }
}

/// One request on a connection of its own. Headers named again replace what would be sent.
async fn send(
    at: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Outcome<Answer> {
    let host = at.to_string();
    let named = headers.iter().any(|(name, _)| *name == "Host");
    let host = if named { &[][..] } else { &[("Host", &*host)] };
    let length = body.len();
    let mut text = format!("{method} /api/v1{path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in host.iter().chain(headers) {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {length}\r\n\r\n{body}");
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        // A server that refuses need not have read all.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(DEADLINE, asked).await.map_err(|_| Failure("no answer".into()))?;
    let answer = answer.map_err(|error| Failure(error.to_string()))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return wrong(format!("no head: {answer}"));
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Ok(Answer { status, head: head.to_owned(), body })
}

/// A command to the lab.
fn cli(lab: &Lab, args: &[&str]) -> Said {
    let data = lab.data.display().to_string();
    run_in(&lab.data, &[&["--data-dir", &data], args].concat(), "")
}

fn cli_json(lab: &Lab, args: &[&str]) -> Value {
    let said = cli(lab, &[args, &["--json"]].concat());
    assert!(said.ok, "{args:?}: {}", said.err);
    serde_json::from_str(&said.out).unwrap_or(Value::Null)
}

#[tokio::test]
async fn accounts_live_and_die_over_http() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.register.grace_days=7"]);
    let owner = Caller::new(&lab, "boss", "owner");
    let made = json!({ "jid": "bob@localhost", "password": "a-good-password" });
    let answer = owner.ask("POST", "/accounts", Some(made.clone())).await?;
    assert_eq!((answer.status, answer.text("jid")), (200, "bob@localhost"), "{answer:?}");
    let again = owner.ask("POST", "/accounts", Some(made)).await?;
    assert_eq!((again.status, again.text("type")), (409, "urn:stonechat:problem:conflict"));
    assert!(again.text("todo").contains("user passwd bob@localhost"), "{again:?}");
    assert_eq!(again.header("content-type"), Some("application/problem+json"));

    let mut names = Vec::new();
    let mut path = "/accounts?max=1".to_owned();
    loop {
        let page = owner.get(&path).await?;
        names.push(page.body["accounts"][0]["jid"].as_str().unwrap().to_owned());
        match page.body["next"].as_str() {
            Some(next) => path = format!("/accounts?max=1&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["alice@localhost", "bob@localhost"]);
    let found = owner.get("/accounts?search=OB").await?;
    assert_eq!(found.body["accounts"][0]["jid"], "bob@localhost");
    assert_eq!(found.body["accounts"].as_array().unwrap().len(), 1);

    let bob = owner.get("/accounts/bob%40localhost").await?;
    assert_eq!(
        (bob.status, &bob.body["disabled"], &bob.body["role"]),
        (200, &json!(false), &json!("user"))
    );
    let tag = bob.header("etag").expect("a tag").to_owned();
    let bearer = format!("Bearer {}", owner.token);
    let ask = ("GET", "/accounts/bob@localhost");
    let known = [("Authorization", &*bearer), ("If-None-Match", &*tag)];
    assert_eq!(send(owner.at, ask, &known, "").await?.status, 304);
    let disabled = owner.ask("POST", "/accounts/bob@localhost/disable", None).await?;
    assert_eq!(
        disabled.body,
        json!({ "jid": "bob@localhost", "disabled": true, "already": false })
    );
    assert_eq!(send(owner.at, ask, &known, "").await?.status, 200, "it is another one now");

    let deleted = owner.ask("DELETE", "/accounts/bob@localhost", None).await?;
    assert!(deleted.body["restorable_until"].is_string(), "{deleted:?}");
    assert_eq!(
        owner.get("/accounts?deleted=true").await?.body["accounts"][0]["jid"],
        "bob@localhost"
    );
    let back = owner.ask("POST", "/accounts/bob@localhost/restore", None).await?;
    assert_eq!(back.status, 200, "{back:?}");
    let alice = lab.login("alice").await?;
    let sessions = owner.get("/accounts/alice@localhost/sessions").await?;
    let full = sessions.body["sessions"][0]["jid"].as_str().expect("a session").to_owned();
    let ended =
        owner.ask("DELETE", &format!("/sessions/{}", full.replace('/', "%2F")), None).await?;
    assert_eq!((ended.status, &ended.body["sessions"]), (200, &json!(1)), "{ended:?}");
    drop(alice);
    let none = owner.get("/accounts/nobody@localhost").await?;
    assert_eq!((none.status, none.text("type")), (404, "urn:stonechat:problem:unknown"));
    Ok(())
}

#[tokio::test]
async fn each_role_may_its_own() -> Outcome<()> {
    let sets = ["admin.owners=root@localhost", "modules.register.mode=invitation"];
    let lab = Lab::new(&["alice", "root"], &sets);
    let caller = |role: &str| Caller::new(&lab, role, role);
    let (owner, operator) = (caller("owner"), caller("operator"));
    let (inviter, reader) = (caller("inviter"), caller("reader"));
    let invite = || Some(json!({ "days": 3 }));
    let disable = "/accounts/alice@localhost/disable";
    for (who, method, path, body, status) in [
        (&reader, "GET", "/accounts", None, 200),
        (&reader, "GET", "/invitations", None, 200),
        (&reader, "POST", "/invitations", invite(), 403),
        (&reader, "POST", disable, None, 403),
        (&reader, "GET", "/log", None, 403),
        (&reader, "GET", "/tokens", None, 403),
        (&inviter, "POST", "/invitations", invite(), 200),
        (&inviter, "DELETE", "/invitations/1", None, 200),
        (&inviter, "GET", "/accounts", None, 403),
        (&inviter, "POST", disable, None, 403),
        (&operator, "POST", disable, None, 200),
        (&operator, "POST", "/accounts/root@localhost/disable", None, 403),
        (&operator, "PUT", "/accounts/alice@localhost/role", Some(json!({ "role": "owner" })), 403),
        (&operator, "GET", "/log", None, 200),
        (&operator, "POST", "/tokens", Some(json!({ "name": "x", "role": "owner" })), 403),
        (&owner, "PUT", "/accounts/alice@localhost/role", Some(json!({ "role": "operator" })), 200),
        (&owner, "POST", "/accounts/root@localhost/enable", None, 200),
        (&owner, "GET", "/tokens", None, 200),
    ] {
        let answer = who.ask(method, path, body).await?;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status == 403 {
            assert!(!answer.text("todo").is_empty() && !answer.text("detail").is_empty());
        }
    }
    let invited = owner.ask("POST", "/invitations", invite()).await?;
    assert!(invited.text("uri").contains("preauth="), "{invited:?}");
    // Who is told of it is who has it; the log and the list have no secret.
    let token = invited.text("uri").split("preauth=").nth(1).unwrap().to_owned();
    for path in ["/log", "/audit", "/invitations"] {
        let said = owner.get(path).await?.body.to_string();
        assert!(!said.contains(&token) && !said.contains(&owner.token), "{path}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_none_opens_nothing() -> Outcome<()> {
    let lab = Lab::new(&[], &["admin.requests_per_second=0"]);
    let good = Caller::new(&lab, "ci", "owner");
    let status = ("GET", "/status");
    for header in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(format!("Basic {}", good.token)),
        Some("Bearer stonechat_1_".to_owned()),
        Some(format!("Bearer {}x", good.token)),
        Some(format!("Bearer {}", good.token.replacen("_1_", "_2_", 1))),
        Some(format!("Bearer {}", "x".repeat(9_000))),
    ] {
        let headers: Vec<_> =
            header.iter().map(|value| ("Authorization", value.as_str())).collect();
        let answer = send(good.at, status, &headers, "").await?;
        assert_eq!(answer.status, 401, "{header:?}: {answer:?}");
        assert!(answer.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer")));
    }
    assert_eq!(good.get("/status").await?.status, 200);
    assert!(cli(&lab, &["token", "revoke", "ci"]).ok);
    assert_eq!(good.get("/status").await?.status, 401, "revoked");
    let said = cli(&lab, &["token", "revoke", "ci"]);
    assert!(!said.ok && said.err.contains("token list"), "{}", said.err);
    assert!(cli(&lab, &["token", "list"]).out.contains("ci  owner  revoked"));
    Ok(())
}

#[tokio::test]
async fn whoever_asks_too_much_waits() -> Outcome<()> {
    let sets = ["admin.requests_per_second=1", "admin.requests_burst=3"];
    let lab = Lab::new(&[], &sets);
    let reader = Caller::new(&lab, "reader", "reader");
    let mut last = reader.get("/status").await?;
    for _ in 0..20 {
        if last.status == 429 {
            break;
        }
        last = reader.get("/status").await?;
    }
    assert_eq!((last.status, last.text("type")), (429, "urn:stonechat:problem:too-many"));
    assert!(last.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()));
    Ok(())
}

/// No page of another site is heard, and none can read what comes.
#[tokio::test]
async fn pages_of_other_sites_get_nothing() -> Outcome<()> {
    let lab = Lab::new(&[], &["admin.names=admin.example"]);
    let owner = Caller::new(&lab, "boss", "owner");
    let bearer = format!("Bearer {}", owner.token);
    let own = format!("http://{}", owner.at);
    for (headers, status) in [
        (vec![("Host", "localhost")], 200),
        (vec![("Host", "admin.example")], 200),
        (vec![("Host", "evil.example")], 421),
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", &*own)], 200),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
    ] {
        let all = [&[("Authorization", &*bearer)], &headers[..]].concat();
        let answer = send(owner.at, ("GET", "/status"), &all, "").await?;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    }
    let preflight = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = send(owner.at, ("OPTIONS", "/accounts"), &preflight, "").await?;
    assert_eq!(answer.status, 403);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_said_and_changes_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let owner = Caller::new(&lab, "boss", "owner");
    let before = owner.get("/accounts").await?.body;
    let bearer = format!("Bearer {}", owner.token);
    let auth = ("Authorization", &*bearer);
    let json = ("Content-Type", "application/json");
    let large = format!("{{\"jid\":\"{}\"}}", "x".repeat(70_000));
    let post = ("POST", "/accounts");
    for (ask, headers, body, status) in [
        (post, vec![auth, json], &*large, 413),
        (post, vec![auth, ("Content-Type", "text/plain")], "{}", 415),
        (post, vec![auth, json], "{", 400),
        (post, vec![auth, json], "[]", 400),
        (post, vec![auth, json], "{}", 400),
        (post, vec![auth, json], r#"{"jid":"b@localhost","password":7}"#, 400),
        (post, vec![auth, json], r#"{"jid":"b@localhost","password":"p","x":1}"#, 400),
        (post, vec![auth, json], r#"{"jid":"b@localhost","password":""}"#, 400),
        (post, vec![auth, json], r#"{"jid":"b","password":"hunter2hunter2"}"#, 400),
        (post, vec![auth, json], r#"{"jid":"b@elsewhere","password":"hunter2hunter2"}"#, 404),
        (("GET", "/accounts?max=0"), vec![auth], "", 400),
        (("GET", "/accounts?max=x"), vec![auth], "", 400),
        (("GET", "/accounts?nonsense=1"), vec![auth], "", 400),
        (("GET", "/accounts?max=1&max=2"), vec![auth], "", 400),
        (("GET", "/notices/nonsense"), vec![auth], "", 400),
        (("GET", "/nonsense"), vec![auth], "", 404),
        (("PATCH", "/accounts"), vec![auth], "", 405),
        (("DELETE", "/accounts/alice@localhost"), vec![auth, json], r#"{"now":true}"#, 400),
    ] {
        let answer = send(owner.at, ask, &headers, body).await?;
        assert_eq!(answer.status, status, "{ask:?} {}: {answer:?}", body.get(..60).unwrap_or(body));
        let said = answer.body.to_string();
        assert!(!said.contains("hunter2") && said.contains("todo"), "{said}");
    }
    assert_eq!(owner.get("/accounts").await?.body, before);
    Ok(())
}

/// Who did what, by whatever way, and what was refused.
#[tokio::test]
async fn the_audit_log_says_who() -> Outcome<()> {
    let lab = Lab::new(&["alice", "root"], &["admin.owners=root@localhost"]);
    let operator = Caller::new(&lab, "desk", "operator");
    operator.ask("POST", "/accounts/alice@localhost/disable", None).await?;
    operator.ask("POST", "/accounts/root@localhost/disable", None).await?;
    operator.ask("POST", "/accounts/nobody@localhost/disable", None).await?;
    operator.get("/accounts").await?;
    assert!(cli(&lab, &["user", "enable", "alice@localhost"]).ok);
    let audit = operator.get("/audit").await?;
    let acts = audit.body["acts"].as_array().unwrap().clone();
    let told: Vec<_> = acts
        .iter()
        .map(|act| {
            let text = |name: &str| act[name].as_str().unwrap_or("-").to_owned();
            let done = if act["failure"].is_null() { "done" } else { "failed" };
            [
                text("actor"),
                text("via"),
                text("address"),
                text("verb"),
                text("target"),
                done.to_owned(),
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "the command line command line - user.enable alice@localhost done",
            "token desk api 127.0.0.1 user.disable nobody@localhost failed",
            "token desk api 127.0.0.1 user.disable root@localhost failed",
            "token desk api 127.0.0.1 user.disable alice@localhost done",
            "the command line command line - token.add desk done",
        ]
    );
    let found = operator.get("/audit?search=root@&max=1").await?;
    assert_eq!(found.body["acts"][0]["target"], "root@localhost");
    assert_eq!(cli_json(&lab, &["audit"])["acts"], Value::Array(acts));
    let said = cli(&lab, &["audit", "--search", "root@"]);
    assert!(said.out.contains("NOT DONE") && said.out.contains("127.0.0.1"), "{}", said.out);
    Ok(())
}

/// The commands that somebody offers this client.
async fn items(client: &mut Client, of: &str) -> Outcome<Vec<String>> {
    let query =
        format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>");
    let answer = client.ask(&format!("<iq type='get' id='items' to='{of}'>{query}</iq>")).await?;
    let query = answer.find("query").into_iter().flat_map(|query| &query.children);
    Ok(query.filter_map(|item| item.attr("node")).map(str::to_owned).collect())
}

/// The table of verbs is the document; each verb has a path, a command, and an ad-hoc command or a reason for none.
#[tokio::test]
async fn each_verb_has_three_faces() -> Outcome<()> {
    let sets = ["admin.owners=root@localhost", "admin.requests_per_second=0"];
    let lab = Lab::new(&["alice", "root"], &sets);
    let owner = Caller::new(&lab, "boss", "owner");
    let mut root = lab.login("root").await?;
    let mut nodes = items(&mut root, "localhost").await?;
    nodes.extend(items(&mut root, "root@localhost").await?);
    let document = send(owner.at, ("GET", "/openapi.json"), &[], "").await?.body;
    assert_eq!(document["openapi"], "3.1.0");
    let (mut verbs, mut same) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for (method, verb) in methods.as_object().unwrap() {
            verbs += 1;
            let at = path.replace(['{', '}'], "");
            let refused = send(owner.at, (&method.to_uppercase(), &at), &[], "").await?;
            assert_eq!(refused.status, 401, "{method} {path}");
            let words: Vec<_> = verb["x-stonechat-command"].as_str().unwrap().split(' ').collect();
            let help = cli(&lab, &[&words[..], &["--help"]].concat());
            let usage = format!("Usage: stonechat {}", words.join(" "));
            assert!(help.ok && help.out.contains(&usage), "{words:?}: {}{}", help.out, help.err);
            match verb["x-stonechat-ad-hoc"]["node"].as_str() {
                Some(node) => assert!(nodes.iter().any(|one| one == node), "{node} {nodes:?}"),
                None => assert!(verb["x-stonechat-ad-hoc"]["none"].is_string()),
            }
            // Those that take nothing and only look give the same by both ways.
            let moves = ["status", "log.tail"].contains(&verb["operationId"].as_str().unwrap());
            if method == "get" && !path.contains('{') && !moves {
                let by_http = owner.get(path).await?;
                assert_eq!(by_http.status, 200, "{path}: {by_http:?}");
                assert_eq!(cli_json(&lab, &words), by_http.body, "{words:?}");
                same += 1;
            }
        }
    }
    assert!(verbs > 60 && same > 10, "{verbs} {same}");
    Ok(())
}
