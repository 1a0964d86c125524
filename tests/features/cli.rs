//! The command line as an operator uses it, with a server running and without one.

use crate::harness::client::{Outcome, STREAMS};
use crate::harness::element::STREAM;
use crate::harness::server::{Place, Server, subject};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(Server::binary());
    command.arg("--data-dir").arg(data).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Nothing of the tester's own settings.
    command.env_remove("STONECHAT_CONFIG").current_dir(data);
    let mut child = command.spawn().unwrap();
    // A command that asks nothing may be gone before it is told.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn fine(data: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(data, arguments, input);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out
}

fn fails(data: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(data, arguments, input);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {out}{err}");
    assert!(!(out.clone() + &err).contains("panicked"), "{err}");
    out + &err
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn accounts_are_managed_while_the_server_runs() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["alice"]).await;
    let server = place.server.as_ref().unwrap();
    let data = server.data.as_path();
    // Made, and in at once.
    fine(data, &["user", "add", "carol@localhost", "--password-stdin"], "first secret\n");
    let mut carol = place.connect().await;
    carol.authenticate("carol", "first secret").await?;
    carol.bind(Some("r")).await?;
    let list = fine(data, &["user", "list"], "");
    assert_eq!(list.lines().collect::<Vec<_>>(), ["alice@localhost", "carol@localhost"]);
    // A new password: her devices are out, the old one is worth nothing.
    fine(data, &["user", "passwd", "carol@localhost", "--password-stdin"], "second secret\n");
    let error = carol.expect(|e| e.is(STREAM, "error")).await?;
    assert!(error.children.iter().any(|c| c.ns == STREAMS), "{error}");
    let mut carol = place.connect().await;
    assert!(carol.authenticate_with("SCRAM-SHA-1", "carol", "first secret").await?.is_err());
    carol.authenticate("carol", "second secret").await?;
    carol.bind(Some("r")).await?;
    // Shut: out, and RFC 6120 §6.5.2 for who tries.
    fine(data, &["user", "disable", "carol@localhost"], "");
    carol.expect(|e| e.is(STREAM, "error")).await?;
    let mut carol = place.connect().await;
    let refused = carol.authenticate_with("SCRAM-SHA-1", "carol", "second secret").await?;
    assert!(refused.is_err(), "a shut account logs in");
    fine(data, &["user", "enable", "carol@localhost"], "");
    let mut carol = place.connect().await;
    carol.authenticate("carol", "second secret").await?;
    fine(data, &["user", "del", "carol@localhost"], "");
    assert_eq!(fine(data, &["user", "list"], "").trim(), "alice@localhost");
    let mut carol = place.connect().await;
    assert!(carol.authenticate_with("SCRAM-SHA-1", "carol", "second secret").await?.is_err());
    // All that time nobody else noticed.
    place.bound("alice").await.nothing().await
}

#[test]
fn accounts_are_managed_while_no_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    fine(data, &["user", "add", "carol@localhost", "--password-stdin"], "secret\n");
    fine(data, &["user", "add", "dave@localhost", "--password-stdin"], "secret\n");
    fine(data, &["user", "disable", "dave@localhost"], "");
    let list = fine(data, &["user", "list", "--domain", "localhost"], "");
    assert!(
        list.contains("carol@localhost\n") && list.contains("dave@localhost (disabled)"),
        "{list}"
    );
    fine(data, &["user", "del", "dave@localhost"], "");
    assert_eq!(fine(data, &["user", "list"], "").trim(), "carol@localhost");
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    fine(data, &["user", "add", "carol@localhost", "--password-stdin"], "secret\n");
    let cases: [(&[&str], &str, &str); 7] = [
        (&["user", "add", "carol@localhost", "--password-stdin"], "x\n", "exists"),
        (&["user", "add", "no good@localhost", "--password-stdin"], "x\n", "no good@localhost"),
        (
            &["user", "add", "carol@elsewhere.example", "--password-stdin"],
            "x\n",
            "elsewhere.example",
        ),
        (&["user", "add", "new@localhost", "--password-stdin"], "\n", "password"),
        (&["user", "del", "nobody@localhost"], "", "nobody@localhost"),
        (&["--set", "c2s.listne=1", "check"], "", "c2s.listen"),
        (&["--set", "limits.depth_max=many", "check"], "", "limits.depth_max"),
    ];
    for (arguments, input, word) in cases {
        let said = fails(data, arguments, input);
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

#[test]
fn check_finds_nothing_wrong_with_a_new_folder_and_much_with_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let ports = ["--set", "c2s.listen=127.0.0.1:0", "--set", "c2s.listen_tls=[]"];
    let said = fine(folder.path(), &[&ports[..], &["check", "--deep"]].concat(), "");
    assert!(said.contains("can start"), "{said}");
    // A file where the folder should be.
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut command = Command::new(Server::binary());
    command.arg("--data-dir").arg(&file).args(ports).arg("check");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(texts(&output).0.contains("PROBLEM"), "{output:?}");
}

#[test]
fn passwords_stand_in_no_log_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let secret = "correct-horse-battery";
    let input = format!("{secret}\n");
    let more = ["--set", "log.level=trace"];
    let arguments = [&more[..], &["user", "add", "carol@localhost", "--password-stdin"]].concat();
    let output = run(data, &arguments, &input);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}
