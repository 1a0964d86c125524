//! Starting and stopping: SIGTERM, labs that leave nothing, several servers on one machine.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::process::{Lab, PORTS, Process, binary, ends_with, run_in};
use std::process::Command;
use std::time::{Duration, Instant};

/// RFC 6120 §4.9.3.20: every stream is told, wherever it is, and the exit is clean.
#[tokio::test]
async fn sigterm_tells_every_stream_and_exits_well() -> Outcome<()> {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = Lab::serve(folder.path(), &[], &["alice"]);
        let mut streams = vec![
            Client::connect(&lab.target, Security::Plain).await?,
            lab.connect().await?,
            lab.login("alice").await?,
        ];
        let mut about_to_resume = lab.authenticated("alice").await?;
        let silent = lab.dial().await?;
        let no_handshake = Client::dial(&lab.target, lab.target.c2s_tls.expect("a port")).await?;
        let begun = Instant::now();
        lab.process.signal(signal);
        for client in &mut streams {
            ends_with(client, "system-shutdown").await?;
        }
        // promise.md 11: a stream error might cost it the session that it is about to resume.
        about_to_resume.ended().await?;
        assert!(!about_to_resume.conversation().contains("system-shutdown"));
        // Nobody hangs up on their own: neither those that were told nor the silent ones hold it.
        let status = lab.process.exit();
        assert_eq!(status.code(), Some(0), "{}", lab.process.log());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        drop((silent, no_handshake));
    }
    Ok(())
}

/// The same with a client that reads nothing, and clients that hang up when told.
#[tokio::test]
async fn a_stuck_client_does_not_hold_up_a_stop() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--set", "limits.outbox_bytes_max=30000000", "--set", "limits.bytes_per_second=0"];
    let mut lab = Lab::serve(folder.path(), &args, &["alice", "bob"]);
    let stuck = lab.login_as("bob", "r").await?;
    let mut alice = lab.login("alice").await?;
    let pad = "x".repeat(200_000);
    for _ in 0..70 {
        alice.send(&format!("<message to='bob@localhost/r'><body>{pad}</body></message>")).await?;
    }
    alice.fence().await?;
    let no_handshake = Client::dial(&lab.target, lab.target.c2s_tls.expect("a port")).await?;
    let begun = Instant::now();
    lab.process.signal("TERM");
    ends_with(&mut alice, "system-shutdown").await?;
    drop(alice);
    assert_eq!(lab.process.exit().code(), Some(0), "{}", lab.process.log());
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(!lab.process.log().contains("did not end in time"), "{}", lab.process.log());
    drop((stuck, no_handshake));
    Ok(())
}

/// A lab is thrown away whole.
#[tokio::test]
async fn a_lab_leaves_nothing_behind() -> Outcome<()> {
    let mut lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    alice.send("<message to='alice@localhost'><body>note to self</body></message>").await?;
    alice.fence().await?;
    assert!(lab.data.is_dir());
    lab.process.signal("TERM");
    ends_with(&mut alice, "system-shutdown").await?;
    assert_eq!(lab.process.exit().code(), Some(0));
    assert!(!lab.data.exists(), "{}", lab.data.display());
    Ok(())
}

/// What a killed lab leaves is cleared away by the next one, and what a living one has is not.
#[tokio::test]
async fn a_killed_lab_is_cleared_away() {
    let place = tempfile::tempdir().expect("a folder");
    let start = || {
        let mut command = binary();
        command.env("TMPDIR", place.path()).arg("lab");
        Lab::of(command)
    };
    let (living, mut killed) = (start(), start());
    let left = killed.data.clone();
    killed.process.kill();
    assert!(left.exists());
    let _next = start();
    assert!(!left.exists() && living.data.exists());
}

/// What starts it is gone, so it goes.
#[tokio::test]
async fn a_lab_ends_with_its_parent() -> Outcome<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" lab & wait"]).arg(binary().get_program());
    let mut parent = Process::spawn(command);
    let line = parent.prints(|text| text.lines().next().map(str::to_owned));
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let data = std::path::PathBuf::from(ready["data"].as_str().unwrap());
    assert!(data.is_dir());
    parent.kill();
    // Its standard error is the parent's: the end of that is the end of both.
    parent.exit();
    assert!(!data.exists());
    Ok(())
}

/// The line by which programs know a lab is ready: one line, well under a second.
#[tokio::test]
async fn the_ready_line_tells_everything_a_test_needs() -> Outcome<()> {
    let mut command = binary();
    command.args([
        "lab",
        "--domain",
        "a.example",
        "--user",
        "u@b.example:p:w",
        "--set",
        "sasl.iterations=4096",
    ]);
    let process = Process::spawn(command);
    let line = process.prints(|text| text.lines().next().map(str::to_owned));
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["pid"], process.pid);
    assert_eq!(ready["domains"], serde_json::json!(["a.example", "b.example"]));
    assert_eq!(ready["users"], serde_json::json!(["u@b.example"]));
    for key in ["c2s", "c2s_tls"] {
        let address: std::net::SocketAddr = ready[key].as_str().unwrap().parse().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0, "{key}: {address}");
    }
    let ca = std::fs::read_to_string(ready["ca"].as_str().unwrap()).unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
    Ok(())
}

/// Any number of servers beside each other; two on one folder never.
#[tokio::test]
async fn servers_stand_beside_each_other_but_not_on_one_folder() -> Outcome<()> {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let labs = folders.each_ref().map(|folder| Lab::serve(folder.path(), &[], &["alice"]));
    for lab in &labs {
        lab.login("alice").await?.nothing().await?;
    }
    let data = labs[0].data.display().to_string();
    let args = [&["--data-dir", &data][..], &PORTS].concat();
    let said = run_in(folders[0].path(), &args, "");
    assert!(!said.ok);
    assert!(said.err.contains("a Stonechat already runs on the data folder"), "{}", said.err);
    labs[0].login("alice").await?.nothing().await?;
    // And not on one port.
    let port = format!("c2s.listen={}", labs[0].target.c2s);
    let other = tempfile::tempdir().unwrap();
    let args = [
        "--data-dir",
        "fresh",
        "--set",
        &port,
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
    ];
    let said = run_in(other.path(), &args, "");
    assert!(!said.ok && said.err.contains("cannot listen"), "{}", said.err);
    assert!(said.err.contains("c2s.listen"), "{}", said.err);
    Ok(())
}

/// promise.md 1: what was sent before the stop is there after it.
#[tokio::test]
async fn a_stop_loses_nothing_that_was_sent() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    for n in 0..50 {
        alice
            .send(&format!("<message to='bob@localhost' id='{n}'><body>x</body></message>"))
            .await?;
    }
    alice.fence().await?;
    lab.process.signal("TERM");
    assert_eq!(lab.process.exit().code(), Some(0));
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut bob = lab.online("bob", "r").await?;
    for n in 0..50 {
        let got = bob.expect(|e| e.name == "message").await?;
        assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
    }
    Ok(())
}

/// Systemd is told when the server serves and when it stops (sd_notify(3)).
#[tokio::test]
async fn systemd_is_told_of_the_start_and_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let told = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let said = || {
        let mut buffer = [0; 256];
        let length = told.recv(&mut buffer).expect("a word in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = binary();
    command.current_dir(folder.path()).env("NOTIFY_SOCKET", &path);
    command.args([
        "--set",
        "c2s.listen=127.0.0.1:0",
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
    ]);
    let mut process = Process::spawn(command);
    assert!(said().contains("READY=1"));
    process.signal("TERM");
    assert!(said().contains("STOPPING=1"));
    assert_eq!(process.exit().code(), Some(0));
}
