//! The command line: accounts with and without a running server, `check`, help.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::process::{Lab, PASSWORD, PORTS, Said, ends_with, run_in};
use crate::harness::tls::Authority;
use std::path::Path;

/// One command over a folder's data.
fn stonechat(folder: &Path, args: &[&str], input: &str) -> Said {
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096"];
    run_in(folder, &[&common, args].concat(), input)
}

fn good(said: Said) -> String {
    assert!(said.ok, "{}", said.err);
    said.out
}

fn bad(said: Said) -> String {
    assert!(!said.ok, "{}", said.out);
    assert!(!said.err.is_empty() || said.out.contains("PROBLEM"), "no reason given");
    format!("{}{}", said.err, said.out)
}

/// Each verb, before a server ever ran: the next server knows all of it.
#[tokio::test]
async fn accounts_are_kept_without_a_server() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let add = |jid: &str| stonechat(at, &["user", "add", jid, "--password-stdin"], "first\n");
    for jid in ["alice@localhost", "bob@localhost", "Carol@LOCALHOST", "dave@localhost"] {
        good(add(jid));
    }
    assert!(bad(add("alice@localhost")).contains("exists"));
    assert!(bad(add("ALICE@localhost")).contains("exists"));
    assert!(bad(add("x@elsewhere.example")).contains("elsewhere.example"));
    assert!(bad(add("localhost")).contains("address"));
    good(stonechat(at, &["user", "passwd", "bob@localhost", "--password-stdin"], "second\n"));
    good(stonechat(at, &["user", "disable", "carol@localhost"], ""));
    good(stonechat(at, &["user", "del", "dave@localhost"], ""));
    for verb in ["passwd", "disable", "enable", "del"] {
        let args = ["user", verb, "nobody@localhost", "--password-stdin"];
        let args = if verb == "passwd" { &args[..] } else { &args[..3] };
        assert!(bad(stonechat(at, args, "x\n")).contains("nobody@localhost"), "{verb}");
    }
    let listed = good(stonechat(at, &["user", "list"], ""));
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed, ["alice@localhost", "bob@localhost", "carol@localhost (disabled)"]);
    // Nothing is shown as something: a domain that is not served is a slip, an empty list says so.
    let said = bad(stonechat(at, &["user", "list", "--domain", "other.example"], ""));
    assert!(said.contains("other.example is not served here, only: localhost"), "{said}");
    for (args, says) in [
        (&["user", "devices", "alice@localhost"][..], "alice@localhost has no known devices"),
        (&["user", "list", "--domain", "b.example", "--set", "host.1.domain=b.example"], "has no"),
    ] {
        let said = stonechat(at, args, "");
        assert!(said.ok && said.out.is_empty() && said.err.contains(says), "{said:?}");
    }

    let lab = Lab::serve(at, &[], &[]);
    for (user, password, lets_in) in [
        ("alice", "first", true),
        ("bob", "first", false),
        ("bob", "second", true),
        ("carol", "first", false),
        ("dave", "first", false),
    ] {
        let done = Client::login(&lab.target, Security::StartTls, user, password).await;
        assert_eq!(done.is_ok(), lets_in, "{user} {password}");
    }
    Ok(())
}

/// Each verb on a running server, through its socket; sessions feel it at once (security.md: whoever
/// knew the old password must not stay).
#[tokio::test]
async fn accounts_are_changed_while_the_server_runs() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &[]);
    let add = ["user", "add", "alice@localhost", "--password-stdin"];
    // Somebody asked for the name before it was there.
    assert!(lab.login("alice").await.is_err());
    good(stonechat(at, &add, PASSWORD));
    let mut alice = lab.login("alice").await?;
    let mut second = lab.login("alice").await?;
    assert_eq!(good(stonechat(at, &["user", "list"], "")).trim(), "alice@localhost");

    good(stonechat(at, &["user", "passwd", "alice@localhost", "--password-stdin"], "new"));
    ends_with(&mut alice, "not-authorized").await?;
    ends_with(&mut second, "not-authorized").await?;
    // The server remembers what the last login was checked against, and no longer than it holds.
    assert!(lab.login("alice").await.is_err());
    Client::login(&lab.target, Security::StartTls, "alice", "new").await?;
    assert!(lab.login("alice").await.is_err());
    good(stonechat(at, &["user", "passwd", "alice@localhost", "--password-stdin"], PASSWORD));

    lab.login("alice").await?.close().await?;
    let mut alice = lab.login("alice").await?;
    good(stonechat(at, &["user", "disable", "alice@localhost"], ""));
    ends_with(&mut alice, "not-authorized").await?;
    assert!(lab.login("alice").await.is_err());
    good(stonechat(at, &["user", "enable", "alice@localhost"], ""));
    let mut alice = lab.login("alice").await?;

    good(stonechat(at, &["user", "del", "alice@localhost"], ""));
    ends_with(&mut alice, "not-authorized").await?;
    assert!(lab.login("alice").await.is_err());
    // For good, which a script has to mean.
    let now = ["user", "del", "--now", "alice@localhost"];
    assert!(bad(stonechat(at, &now, "")).contains("--yes"));
    good(stonechat(at, &[&now[..], &["--yes"]].concat(), ""));
    // A new account of the name is a new account.
    good(stonechat(at, &add, "other"));
    assert!(lab.login("alice").await.is_err());
    good(stonechat(at, &["user", "passwd", "alice@localhost", "--password-stdin"], PASSWORD));
    lab.login("alice").await?.nothing().await
}

/// promise.md 1: a message that waits goes with the account, not to the next one of its name.
#[tokio::test]
async fn a_deleted_account_leaves_nothing_to_its_namesake() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    alice.send("<message to='bob@localhost' id='1'><body>for the old bob</body></message>").await?;
    alice.fence().await?;
    good(stonechat(at, &["user", "del", "--now", "--yes", "bob@localhost"], ""));
    alice.send("<message to='bob@localhost' id='2'><body>for nobody</body></message>").await?;
    let bounce = alice.expect(|e| e.attr("id") == Some("2")).await?;
    assert_eq!(bounce.condition(), Some("service-unavailable"));
    good(stonechat(at, &["user", "add", "bob@localhost", "--password-stdin"], PASSWORD));
    lab.online("bob", "r").await?.nothing().await
}

/// A password comes from the terminal or from standard input, never from the arguments.
#[test]
fn a_password_is_never_an_argument() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let said = bad(stonechat(at, &["user", "add", "a@localhost", "hunter2"], ""));
    assert!(said.contains("Usage"), "{said}");
    let said = bad(stonechat(at, &["user", "add", "a@localhost"], "hunter2\n"));
    assert!(said.contains("--password-stdin"), "{said}");
    let said = bad(stonechat(at, &["user", "add", "a@localhost", "--password-stdin"], "\n"));
    assert!(said.contains("no password"), "{said}");
    assert!(!at.join("data").exists(), "refused commands make nothing");
}

/// A command in a wrong folder finds nothing, says so, and leaves nothing behind.
#[test]
fn a_command_in_a_wrong_folder_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for args in [
        &["user", "list"][..],
        &["user", "list", "--deleted"],
        &["user", "devices", "a@localhost"],
        &["user", "passwd", "a@localhost", "--password-stdin"],
        &["user", "disable", "a@localhost"],
        &["user", "enable", "a@localhost"],
        &["user", "del", "--yes", "a@localhost"],
        &["user", "restore", "a@localhost"],
        &["user", "revoke", "--all", "a@localhost"],
        &["user", "add", "a@localhost", "--password-stdin"],
        &["backup", "copy.db"],
    ] {
        let said = bad(run_in(at, args, PASSWORD));
        let to_do = if args[0] == "backup" { "no database" } else { "--data-dir" };
        assert!(said.contains(to_do), "{args:?}: {said}");
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "{args:?}");
    }
    // Who names the folder means it.
    let said = stonechat(at, &["user", "add", "a@localhost", "--password-stdin"], PASSWORD);
    assert!(said.ok && said.err.contains("which is new"), "{said:?}");
    assert_eq!(good(stonechat(at, &["user", "list"], "")).trim(), "a@localhost");
}

/// A slip of the operator's can be undone: the account comes back with all but its subscriptions, and
/// until then it is as if there had never been one.
#[tokio::test]
async fn a_deleted_account_can_be_restored() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let open = ["--set", "modules.register.mode=open"];
    let lab = Lab::serve(at, &open, &["alice", "bob", "carol"]);
    // One that the server never looked at, and remembers nothing of.
    good(stonechat(at, &["user", "del", "carol@localhost"], ""));
    assert!(lab.login("carol").await.is_err());
    good(stonechat(at, &["user", "restore", "carol@localhost"], ""));
    lab.login("carol").await?.close().await?;
    good(stonechat(at, &["user", "del", "--now", "--yes", "carol@localhost"], ""));
    let mut bob = lab.online("bob", "r").await?;
    let item = "<query xmlns='jabber:iq:roster'><item jid='alice@localhost' name='Alice'/></query>";
    bob.ask(&format!("<iq type='set' id='r1'>{item}</iq>")).await?;
    bob.close().await?;
    let mut alice = lab.login("alice").await?;
    alice.send("<message to='bob@localhost' id='1'><body>kept</body></message>").await?;
    alice.fence().await?;

    let said = good(stonechat(at, &["user", "del", "bob@localhost"], ""));
    assert!(said.contains("`stonechat user restore bob@localhost`"), "{said}");
    assert_eq!(good(stonechat(at, &["user", "list"], "")).trim(), "alice@localhost");
    let listed = good(stonechat(at, &["user", "list", "--deleted"], ""));
    assert!(listed.starts_with("bob@localhost  deleted 20"), "{listed}");
    assert!(lab.login("bob").await.is_err());
    // The same answers as for nobody (RFC 6121 §8.5.1).
    let mut answers = Vec::new();
    for to in ["bob", "nobody"] {
        let jid = format!("{to}@localhost");
        alice.send(&format!("<message to='{jid}' id='{to}'><body>x</body></message>")).await?;
        let error = alice.expect(|e| e.attr("id") == Some(to)).await?;
        let iq =
            format!("<iq to='{jid}' type='get' id='q{to}'><query xmlns='jabber:iq:last'/></iq>");
        let iq = alice.ask(&iq).await?;
        answers.push((error.condition().map(str::to_owned), iq.condition().map(str::to_owned)));
    }
    assert_eq!(answers[0], answers[1]);
    // Nobody else gets the name.
    let said = bad(stonechat(at, &["user", "add", "bob@localhost", "--password-stdin"], PASSWORD));
    assert!(said.contains("user restore bob@localhost"), "{said}");
    let mut stranger = lab.connect().await?;
    let form = "<query xmlns='jabber:iq:register'><username>bob</username>\
                <password>another secret</password></query>";
    let answer = stranger.ask(&format!("<iq type='set' id='s'>{form}</iq>")).await?;
    assert_eq!(answer.condition(), Some("conflict"), "{answer}");

    good(stonechat(at, &["user", "restore", "bob@localhost"], ""));
    assert!(bad(stonechat(at, &["user", "restore", "bob@localhost"], "")).contains("no deleted"));
    let mut bob = lab.login("bob").await?;
    let roster = bob.ask("<iq type='get' id='r2'><query xmlns='jabber:iq:roster'/></iq>").await?;
    assert_eq!(roster.find("item").and_then(|item| item.attr("name")), Some("Alice"), "{roster}");
    bob.send("<presence/>").await?;
    let kept = bob.expect(|e| e.name == "message").await?;
    assert_eq!(kept.attr("id"), Some("1"), "{kept}");
    Ok(())
}

/// `check` says by its exit code whether a server could start, and else what, where and
/// what to do.
#[test]
fn check_tells_whether_a_server_can_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let check = |more: &[&str]| stonechat(at, &[&PORTS, more, &["check"]].concat(), "");
    assert!(good(check(&[])).contains("can start"));
    assert!(!at.join("data").exists(), "check makes nothing");
    std::fs::write(at.join("cert.pem"), "nonsense").unwrap();
    Authority::new(at).put(at, "other", &["other.example"]);
    std::fs::write(at.join("bad.toml"), "[c2s]\nlisten = 5222\n").unwrap();
    for (more, parts) in [
        (&["--set", "limits.depth_max=1"][..], &["limits.depth_max", "16 or more"][..]),
        (&["--set", "sasl.mechanisms=PLAIM"], &["PLAIM", "`PLAIN`"]),
        (&["--set", "host.0.certificate=cert.pem"], &["certificate", "key"]),
        (
            &["--set", "host.0.certificate=cert.pem", "--set", "host.0.key=cert.pem"],
            &["cert.pem", "PEM"],
        ),
        (
            &["--set", "host.0.certificate=other.pem", "--set", "host.0.key=other.key"],
            &["valid for DNS:other.example and not for localhost", "not serve as it should"],
        ),
        (&["--config", "bad.toml"], &["c2s.listen", "bad.toml, line 2", "square brackets"]),
        (&["--config", "none.toml"], &["none.toml", "--config"]),
    ] {
        let said = bad(check(more));
        for part in parts {
            assert!(said.contains(part), "{more:?}: no {part:?} in {said}");
        }
    }
}

/// A start that cannot succeed says what `check` says, and leaves nothing behind.
#[test]
fn a_start_that_fails_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let text = "[[host]]\ndomain = \"localhost\"\ncertificate = \"none.pem\"\nkey = \"none.key\"\n";
    std::fs::write(at.join("cert.toml"), text).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("c2s.listen={}", taken.local_addr().unwrap());
    let free = "c2s.listen_tls=127.0.0.1:0";
    for (args, parts) in [
        (
            &["--config", "cert.toml", "--set", "c2s.listen=127.0.0.1:0", "--set", free][..],
            &[
                "none.pem",
                "no such file",
                "cert.toml, line 3",
                "host.0.certificate",
                "correct the path",
            ][..],
        ),
        (
            &["--set", &listen, "--set", free],
            &["cannot listen", "--set c2s.listen", "another program"],
        ),
    ] {
        let served = bad(stonechat(at, args, ""));
        let checked = bad(stonechat(at, &[args, &["check"]].concat(), ""));
        for part in parts {
            assert!(served.contains(part), "{args:?}: no {part:?} in {served}");
            assert!(checked.contains(part), "{args:?}: no {part:?} in {checked}");
        }
        assert!(!at.join("data").exists(), "{args:?}");
    }
}

/// A second start on one data folder is not blamed on another server, whatever ports it wants.
#[tokio::test]
async fn a_second_start_says_that_one_runs_already() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let taken = format!("c2s.listen={}", lab.target.c2s);
    for listen in [&*taken, "c2s.listen=127.0.0.1:0"] {
        let args = ["--set", listen, "--set", "c2s.listen_tls=127.0.0.1:0"];
        let said = bad(stonechat(folder.path(), &args, ""));
        for part in ["a Stonechat already runs on the data folder data", "stonechat status"] {
            assert!(said.contains(part), "{listen}: no {part:?} in {said}");
        }
        assert!(!said.contains("another XMPP server"), "{said}");
    }
    lab.login("alice").await.map(drop)
}

/// A lab over a folder with accounts: what is to be done is not what its verb for real servers is.
#[test]
fn a_user_of_a_lab_that_is_there_already_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    good(stonechat(at, &["user", "add", "alice@localhost", "--password-stdin"], "x\n"));
    let twice = ["lab", "--user", "bob@localhost:x", "--user", "bob@localhost:y"];
    let there = ["--data-dir", "data", "lab", "--user", "alice@localhost:y"];
    for args in [&twice[..], &there] {
        let said = run_in(at, args, "");
        assert!(!said.ok, "{args:?}: {said:?}");
        for part in ["exists already", "name each user once", "in the data folder already"] {
            assert!(said.err.contains(part), "{args:?}: no {part:?} in {}", said.err);
        }
        assert!(!said.err.contains("user passwd"), "{}", said.err);
    }
}

/// A new database is one line of the log.
#[tokio::test]
async fn a_new_database_is_one_line() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &[]);
    lab.process.logs(&["INFO", "database made"]);
    let log = lab.process.log();
    assert!(!log.contains("migrated") && log.lines().count() == 1, "{log}");
    Ok(())
}

/// `check` beside a running server disturbs nobody.
#[tokio::test]
async fn check_beside_a_running_server_is_good() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let mut alice = lab.login("alice").await?;
    let listen = format!("c2s.listen={}", lab.target.c2s);
    let args = [
        "--set",
        &listen,
        "--set",
        "c2s.listen_tls=127.0.0.1:0",
        "--set",
        "web.listen=127.0.0.1:0",
        "--set",
        "metrics.listen=127.0.0.1:0",
        "--set",
        "admin.listen=127.0.0.1:0",
        "--set",
        "s2s.listen=127.0.0.1:0",
        "check",
        "--deep",
    ];
    let said = good(stonechat(folder.path(), &args, ""));
    assert!(said.contains("running server") && said.contains("nothing wrong"), "{said}");
    alice.nothing().await
}

/// Help teaches, and is no failure; what is no command is one.
#[test]
fn help_is_a_success_and_nonsense_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for args in
        [&["--help"][..], &["-h"], &["user", "--help"], &["lab", "--help"], &["check", "--help"]]
    {
        let said = run_in(at, args, "");
        assert!(said.ok && said.out.contains("Usage: stonechat"), "{args:?}: {said:?}");
    }
    assert!(run_in(at, &["--help"], "").out.contains("stonechat user add alice@localhost"));
    let version = run_in(at, &["--version"], "");
    assert_eq!(version.out.trim(), format!("stonechat {}", env!("CARGO_PKG_VERSION")));
    for args in [
        &["frobnicate"][..],
        &["user"],
        &["user", "add"],
        &["--no-such-flag"],
        &["lab", "--user", "x"],
    ] {
        let said = run_in(at, args, "");
        assert!(!said.ok && !said.err.is_empty(), "{args:?}: {said:?}");
    }
}
