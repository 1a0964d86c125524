//! Certificates by themselves (RFC 8555, RFC 8737, RFC 9773), from a small authority that a test rules. The real thing,
//! Pebble, is in tests/interop/acme.py.

use crate::harness::acme::{Acme, Ways};
use crate::harness::client::{Client, DEADLINE, Outcome, Security, Target};
use crate::harness::process::{Lab, PASSWORD, Process, Said, binary, run};
use crate::harness::tls::{self, Seen};
use rustls::version::TLS13;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const DOMAIN: &str = "chat.example";

/// A lab that orders its certificate, in a data folder that outlives it.
struct Ordering {
    folder: TempDir,
    acme: Arc<Acme>,
    lab: Lab,
    settings: Vec<String>,
}

impl Ordering {
    async fn new(kind: &'static str, host: &str, ways: Ways, more: &[&str]) -> Ordering {
        let folder = tempfile::tempdir().unwrap();
        let acme = Acme::start(folder.path(), host, kind, ways).await;
        let mut settings = vec![
            "acme.agree=true".to_owned(),
            format!("acme.directory={}", acme.directory),
            format!("acme.authority={}", acme.ca.display()),
            format!("acme.challenge={kind}"),
            format!("acme.listen={host}:0"),
        ];
        settings.extend(more.iter().map(|&set| set.to_owned()));
        let lab = start(folder.path(), &settings);
        let place = match kind {
            "tls-alpn-01" => lab.target.web,
            _ => lab.acme,
        };
        if let Some(place) = place {
            acme.look_at(place);
        }
        Ordering { folder, acme, lab, settings }
    }

    /// The same data, by another process.
    fn again(&mut self) {
        self.lab.process.kill();
        self.lab = start(self.folder.path(), &self.settings);
        let place = if self.lab.acme.is_some() { self.lab.acme } else { self.lab.target.web };
        self.acme.look_at(place.unwrap());
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, words: &[&str]) -> Said {
        let data = self.data().display().to_string();
        let sets = self.settings.iter().flat_map(|set| ["--set", set]);
        let common = ["--data-dir", &data, "--set", "host.0.domain=chat.example"];
        run(&common.into_iter().chain(sets).chain(words.iter().copied()).collect::<Vec<_>>(), "")
    }

    /// What a new client sees.
    async fn shown(&self) -> Vec<u8> {
        let seen = Arc::new(Seen::default());
        let mut config = (*tls::config(&self.acme.ca, &[&TLS13], &["xmpp-client"])).clone();
        config.dangerous().set_certificate_verifier(seen.clone());
        let direct = self.lab.target.c2s_tls.unwrap();
        let mut client = Client::dial(&self.lab.target, direct).await.unwrap();
        tls::handshake(&mut client, Arc::new(config), DOMAIN).await.unwrap();
        seen.certificate()
    }

    /// A session of somebody who trusts the authority and nobody else.
    async fn session(&self) -> Outcome<Client> {
        let target = Target { ca: Some(self.acme.ca.clone()), ..self.lab.target.clone() };
        Client::login(&target, Security::Direct, "alice", PASSWORD).await
    }
}

fn start(folder: &Path, settings: &[String]) -> Lab {
    let data = folder.join("data").display().to_string();
    let user = format!("alice@{DOMAIN}:{PASSWORD}");
    let mut args = vec!["--data-dir", &data, "--domain", DOMAIN];
    // A folder that is there has the account.
    if !folder.join("data").exists() {
        args.extend(["--user", &user]);
    }
    args.extend(["--set", "sasl.iterations=4096", "--set", "s2s.enabled=false"]);
    args.extend(settings.iter().flat_map(|set| ["--set", set]));
    Lab::start(&args)
}

fn has(certificate: &[u8], name: &str) -> bool {
    certificate.windows(name.len()).any(|part| part == name.as_bytes())
}

const IN_USE: &[&str] = &["a certificate of", "is in use"];

/// From the self-made certificate to one that all trust, and to the next one, while a session stays; one account, whose
/// key nobody else can read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_ordered_and_renewed_under_a_session() -> Outcome<()> {
    let here = Ordering::new("http-01", "127.0.0.1", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    let first = here.shown().await;
    for name in [DOMAIN, "conference.chat.example", "upload.chat.example", "pubsub.chat.example"] {
        assert!(has(&first, name), "{name}");
    }
    let mut session = here.session().await?;
    let nothing = here.command(&["cert", "renew"]);
    assert!(nothing.ok && nothing.out.contains("nothing is to be done"), "{nothing:?}");
    assert_eq!(*here.acme.ordered.borrow(), 1);
    let renewed = here.command(&["cert", "renew", "--now"]);
    assert!(renewed.ok && renewed.out.contains("a new certificate is in use"), "{renewed:?}");
    let second = here.shown().await;
    assert_ne!(first, second);
    assert!(here.acme.replaced().is_some_and(|replaced| replaced.contains('.')), "RFC 9773 §5");
    session.nothing().await?;
    here.session().await?.close().await?;
    assert_eq!((here.acme.accounts(), *here.acme.ordered.borrow()), (1, 2));
    let folder = here.data().join("acme");
    for file in ["account.key", "certificate.pem", "certificate.old.pem", "state.json"] {
        let mode = std::fs::metadata(folder.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let list = here.command(&["cert", "list"]).out;
    for part in ["chat.example  until", "(89 days)", "DNS:conference.chat.example", "renewed about"]
    {
        assert!(list.contains(part), "{part}: {list}");
    }
    let status = here.command(&["status"]).out;
    assert!(status.contains("certificate by ACME: good until"), "{status}");
    Ok(())
}

/// RFC 8737: on the port of the web, which goes on serving meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_proves_a_name() -> Outcome<()> {
    let here = Ordering::new("tls-alpn-01", "127.0.0.1", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    assert!(has(&here.shown().await, "conference.chat.example"));
    here.session().await?.close().await?;
    // Who asks for a proof when none is due gets none.
    let mut client = Client::dial(&here.lab.target, here.lab.target.c2s_tls.unwrap()).await?;
    let config = tls::config(&here.acme.ca, &[&TLS13], &["acme-tls/1"]);
    assert!(tls::handshake(&mut client, config, DOMAIN).await.is_err());
    Ok(())
}

/// RFC 8555 §8.4, by a command: records are there when the authority looks, and gone afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_proves_names_in_the_dns() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    let script = "#!/bin/sh\nfile=$1\ncase $2 in\n\
        add) echo \"$3 $4\" >> \"$file\" ;;\n\
        remove) grep -v -x \"$3 $4\" \"$file\" > \"$file.new\" || true; mv \"$file.new\" \"$file\" ;;\nesac\n\
        echo \"$2 $3\" >> \"$file.log\"\n";
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o700)).unwrap();
    let records = folder.path().join("records");
    let command = format!("acme.dns_command=[\"{}\", \"{}\"]", hook.display(), records.display());
    let more = [command.as_str(), "acme.dns_wait_secs=0", "acme.names=xmpp.chat.example"];
    let ways = Ways { records: records.clone(), ..Ways::default() };
    let here = Ordering::new("dns-01", "127.0.0.1", ways, &more).await;
    here.lab.process.logs(IN_USE);
    assert!(has(&here.shown().await, "xmpp.chat.example"));
    assert_eq!(std::fs::read_to_string(&records).unwrap(), "");
    let log = std::fs::read_to_string(folder.path().join("records.log")).unwrap();
    assert!(log.contains("add _acme-challenge.conference.chat.example"), "{log}");
    Ok(())
}

/// L21: an authority that has IPv6 alone, and looks there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_alone_is_enough() -> Outcome<()> {
    let here = Ordering::new("http-01", "[::1]", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    assert!(here.lab.acme.unwrap().is_ipv6());
    here.session().await?.close().await
}

/// RFC 8555 §6.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_nonces_are_lived_with() -> Outcome<()> {
    let ways = Ways { bad_nonces: 12, ..Ways::default() };
    let here = Ordering::new("http-01", "127.0.0.1", ways, &[]).await;
    here.lab.process.logs(IN_USE);
    here.acme.now(|ways| ways.bad_nonces = 9);
    assert!(here.command(&["cert", "renew", "--now"]).ok);
    Ok(())
}

/// A name that is refused: what, which, why, what to do, in the log, by `cert`, `status` and `check`; the certificate
/// that is there stays, and the next order waits, over a restart, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_and_the_old_certificate_stays() -> Outcome<()> {
    let mut here = Ordering::new("http-01", "127.0.0.1", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    let before = here.shown().await;
    here.acme.now(|ways| ways.refuses = vec![DOMAIN.to_owned()]);
    let parts = ["chat.example: Fetching chat.example: Connection refused", "port 80"];
    let failed = here.command(&["cert", "renew", "--now"]);
    assert!(!failed.ok, "{failed:?}");
    here.lab.process.logs(&[
        "no new certificate",
        parts[0],
        parts[1],
        "stays",
        "the next try is at",
    ]);
    let status = here.command(&["status"]).out;
    let check = here.command(&["check"]);
    assert!(!check.ok && check.out.contains("PROBLEM: acme: the last order failed"), "{check:?}");
    for part in parts {
        for said in [&failed.err, &status, &check.out] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(here.shown().await, before);
    let orders = *here.acme.ordered.borrow();
    here.again();
    assert_eq!(here.shown().await, before);
    let status = here.command(&["status"]).out;
    assert!(status.contains("FAILED") && status.contains("(1 in a row)"), "{status}");
    assert_eq!(*here.acme.ordered.borrow(), orders, "the next order is to wait");
    here.acme.now(|ways| ways.refuses.clear());
    assert!(here.command(&["cert", "renew", "--now"]).ok);
    assert_ne!(here.shown().await, before);
    let status = here.command(&["status"]).out;
    assert!(!status.contains("FAILED"), "{status}");
    Ok(())
}

/// Rooms without an address do not keep the host from having a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_refused_is_left_out() -> Outcome<()> {
    let refuses = vec!["conference.chat.example".to_owned(), "pubsub.chat.example".to_owned()];
    let ways = Ways { refuses: refuses.clone(), ..Ways::default() };
    let here = Ordering::new("http-01", "127.0.0.1", ways, &[]).await;
    here.lab.process.logs(IN_USE);
    let shown = here.shown().await;
    assert!(has(&shown, "upload.chat.example") && !has(&shown, "conference.chat.example"));
    let status = here.command(&["status"]).out;
    assert!(status.contains("refused conference.chat.example, pubsub.chat.example"), "{status}");
    assert!(
        here.command(&["check"]).out.contains("warning: acme: the authority refused conference")
    );
    Ok(())
}

/// But a certificate that has all names, and is good for long, does not give way to one without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_refused_later_stays_in_the_certificate() -> Outcome<()> {
    let here = Ordering::new("http-01", "127.0.0.1", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    let before = here.shown().await;
    here.acme.now(|ways| ways.refuses = vec!["conference.chat.example".to_owned()]);
    let failed = here.command(&["cert", "renew", "--now"]);
    assert!(!failed.ok && failed.err.contains("conference.chat.example: "), "{failed:?}");
    assert_eq!(here.shown().await, before);
    let status = here.command(&["status"]).out;
    assert!(status.contains("(1 in a row)") && !status.contains("it is not for"), "{status}");
    Ok(())
}

/// Whatever an authority says, the server goes on with the certificate that it has, and tells what was wrong.
#[allow(clippy::too_many_lines)] // a table of lies
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_lies_gets_nowhere() -> Outcome<()> {
    let here = Ordering::new("http-01", "127.0.0.1", Ways::default(), &[]).await;
    here.lab.process.logs(IN_USE);
    let before = here.shown().await;
    let huge = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n\"{}\"",
        "x".repeat(2_000_000)
    );
    let many: Vec<String> = (0..5_000).map(|at| format!("\"https://x.example/{at}\"")).collect();
    let many = format!(
        "{{\"status\":\"pending\",\"finalize\":\"https://x.example/\",\"authorizations\":[{}]}}",
        many.join(",")
    );
    let json = |status: &str, more: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nreplay-nonce: abc\r\n{more}\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    let limited =
        r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}"#;
    let strange = r#"{"type":"urn:ietf:params:acme:error:caa","detail":"a\nb\u001b[31mc"}"#;
    let never = "retry-after: 99999999999999999999\r\n";
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>";
    for (path, answer, told) in [
        (
            "/dir",
            "HTTP/1.1 301 Moved\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            "https://evil.example/, which is not followed",
        ),
        ("/dir", html.to_owned(), "this is no ACME server: it answers with `text/html`"),
        ("/dir", huge, "too large"),
        ("/dir", "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\n{".to_owned(), "no whole one"),
        ("/dir", "no HTTP".to_owned(), "the connection broke"),
        ("/dir", String::new(), "the connection broke"),
        ("/dir", json("200 OK", never, "[]"), "cannot be read"),
        (
            "/dir",
            json(
                "200 OK",
                "",
                r#"{"newNonce":"http://a/","newAccount":"http://a/","newOrder":"http://a/"}"#,
            ),
            "only https:// is asked",
        ),
        ("/nonce", json("200 OK", never, ""), "no nonce"),
        (
            "/order",
            json("201 Created", "location: https://x.example/\r\n", &many),
            "wants 5000 proofs for",
        ),
        ("/order", json("429 Too Many", never, limited), "too many certificates (rateLimited)"),
        ("/order", json("403 Forbidden", "", strange), "a b [31mc (caa)"),
    ] {
        let answer = match path {
            // Without the nonce that a refusal brings.
            "/nonce" => answer.replace("replay-nonce: abc\r\n", ""),
            _ => answer,
        };
        here.acme.now(|ways| ways.says = [(path.to_owned(), answer)].into());
        let failed = here.command(&["cert", "renew", "--now"]);
        assert!(!failed.ok && failed.err.contains(told), "{path}: {told}: {failed:?}");
        assert!(failed.err.len() < 1_500, "{}", failed.err);
    }
    let status = here.command(&["status"]).out;
    assert!(status.contains("(12 in a row)"), "{status}");
    here.acme.now(|ways| ways.says.clear());
    for (ways, told) in [
        (
            Ways { signs: Some(vec!["evil.example".to_owned()]), ..Ways::default() },
            "it is not for chat.example",
        ),
        (Ways { days: Some((90, 0)), ..Ways::default() }, "it is not valid now"),
    ] {
        here.acme.now(|now| *now = ways);
        let failed = here.command(&["cert", "renew", "--now"]);
        assert!(!failed.ok && failed.err.contains(told), "{told}: {failed:?}");
    }
    assert_eq!(here.shown().await, before);
    here.session().await?.close().await
}

/// While an authority says nothing, clients are served, and the server ends when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_hangs_holds_nobody_up() -> Outcome<()> {
    let ways = Ways { hangs: Some("/order".to_owned()), ..Ways::default() };
    let mut here = Ordering::new("http-01", "127.0.0.1", ways, &[]).await;
    // The order is what follows.
    let account = async {
        while here.acme.accounts() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, account).await.expect("an account");
    let mut client = Client::login(&here.lab.target, Security::Direct, "alice", PASSWORD).await?;
    client.nothing().await?;
    let status = here.command(&["status"]).out;
    assert!(status.contains("none yet from https://127.0.0.1"), "{status}");
    here.lab.process.signal("TERM");
    assert!(here.lab.process.exit().success());
    Ok(())
}

/// What is nearly over is renewed by itself, as is what the authority wants to be renewed (RFC 9773): once a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_comes_by_itself() -> Outcome<()> {
    let ways = Ways { days: Some((80, 10)), ..Ways::default() };
    let mut here = Ordering::new("http-01", "127.0.0.1", ways, &[]).await;
    here.lab.process.logs(IN_USE);
    let status = here.command(&["status"]).out;
    assert!(status.contains("renewed about"), "{status}");
    here.acme.now(|ways| ways.days = None);
    long_ago(&here);
    here.again();
    here.lab.process.logs(IN_USE);
    assert_eq!(*here.acme.ordered.borrow(), 2);
    // Not yet: it is good for long. But the authority wants it.
    let window = ("2020-01-01T00:00:00Z".to_owned(), "2020-01-02T00:00:00Z".to_owned());
    here.acme.now(|ways| ways.window = Some(window));
    long_ago(&here);
    here.again();
    here.lab.process.logs(IN_USE);
    assert_eq!(*here.acme.ordered.borrow(), 3);
    Ok(())
}

/// Stops it, and lets a week pass in what it remembers.
fn long_ago(here: &Ordering) {
    here.lab.process.signal("KILL");
    let file = here.data().join("acme/state.json");
    let mut state: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    for key in ["ordered", "tried"] {
        state[key] = (state[key].as_u64().unwrap() - 7 * 86_400).into();
    }
    state["window_due"] = serde_json::Value::Null;
    std::fs::write(&file, state.to_string()).unwrap();
}

/// L21: a port that somebody has is told, with the key that names it, before anything is made.
#[test]
fn a_taken_port_is_told() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let listen = format!("acme.listen={port}");
    let mut args = vec!["--data-dir", &data, "--set", "host.0.domain=chat.example"];
    args.extend(crate::harness::process::PORTS);
    args.extend(["--set", "acme.agree=true", "--set", &listen]);
    for verb in [&["serve"][..], &["check"]] {
        let said = run(&[&args[..], verb].concat(), "");
        let told = format!("{}{}", said.out, said.err);
        assert!(!said.ok, "{told}");
        for part in [&format!("cannot listen on {port}"), "acme.listen", "another program has it"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    assert!(!folder.path().join("data/stonechat.db").exists());
}

/// The port for proofs has nothing else: no pages, no streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_for_proofs_has_nothing_else() -> Outcome<()> {
    let more = ["web.url=https://chat.example"];
    let ways = Ways { hangs: Some("/order".to_owned()), ..Ways::default() };
    let here = Ordering::new("http-01", "127.0.0.1", ways, &more).await;
    for (path, told) in [
        ("/.well-known/acme-challenge/none", "404"),
        ("/", "308"),
        ("/ws", "308"),
        ("/livez", "308"),
    ] {
        let answer = asked(here.lab.acme.unwrap(), path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {told}")), "{path}: {answer}");
        assert!(told == "404" || answer.contains("location: https://chat.example/"), "{answer}");
    }
    Ok(())
}

async fn asked(place: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(place).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: chat.example\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// What cannot be is said at the start.
#[test]
fn settings_that_cannot_be_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    for (sets, parts) in [
        (&["acme.challenge=dns-01"][..], ["there is no command", "acme.dns_command"]),
        (&["acme.listen=[]"], ["nothing is listened on", "web.listen_plain"]),
        (&["acme.directory=http://ca.example/"], ["no address of an ACME server", "https://"]),
        (&["acme.email=nobody"], ["no address for mail", "acme.email"]),
        (&["host.0.domain=localhost"], ["no host has a name", "acme.agree"]),
        (&["acme.names=a b"], ["no name for a certificate", "acme.names"]),
    ] {
        let mut args = vec!["--data-dir", &data, "--set", "host.0.domain=chat.example"];
        args.extend(crate::harness::process::PORTS);
        args.extend(["--set", "acme.agree=true", "--set", "acme.listen=127.0.0.1:0"]);
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        let mut command = binary();
        command.args(&args).arg("serve");
        let mut process = Process::spawn(command);
        assert!(!process.exit().success());
        let told = process.log();
        assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
    }
    let said = run(&["--data-dir", &data, "cert", "list"], "");
    assert!(!said.ok && said.err.contains("no server is running"), "{said:?}");
}
