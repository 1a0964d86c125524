//! The clock of the machine is wrong for a while: order, times and what is kept are right (XEP-0313 §4.2,
//! XEP-0203 §2).

use crate::archive::{form, query};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::preload::Library;
use crate::harness::process::Lab;
use crate::harness::sm::chat;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use stonechat::base::time;

pub struct Clock {
    shim: Library,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Clock {
    /// None without a C compiler.
    pub fn new() -> Option<Clock> {
        let shim = Library::of("tests/clock/shim.c")?;
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock { shim, file: folder.path().join("clock"), folder };
        clock.set(0);
        Some(clock)
    }

    /// Seconds that the clock is ahead.
    pub fn set(&self, ahead: i64) {
        // At once: the server may read at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, ahead.to_string()).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Has a server go by it.
    pub fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.shim.path);
        command.env("STONECHAT_TEST_CLOCK", &self.file);
    }

    fn serve(&self, users: &[&str]) -> Lab {
        Lab::serve_as(self.folder.path(), &[], users, |command| self.preload(command))
    }
}

struct Found {
    body: String,
    at: SystemTime,
}

fn stamp_of(delay: Option<&Element>) -> SystemTime {
    let stamp = delay.and_then(|delay| delay.attr("stamp")).expect("a stamp");
    time::parse(stamp).expect("a time")
}

async fn found(client: &mut Client, times: &str) -> Outcome<Vec<Found>> {
    client.send(&query("mam", &form(times))).await?;
    let mut found = Vec::new();
    loop {
        let next = client.expect(|e| e.name == "message" || e.attr("id") == Some("mam")).await?;
        if next.name == "iq" {
            return Ok(found);
        }
        let Some(forwarded) = next.find("result").and_then(|r| r.find("forwarded")) else {
            continue;
        };
        let body = forwarded.find("message").and_then(|m| m.text_of("body")).unwrap_or_default();
        found.push(Found { body: body.to_owned(), at: stamp_of(forwarded.find("delay")) });
    }
}

fn bodies(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.body.as_str()).collect()
}

fn field(name: &str, at: SystemTime) -> String {
    format!("<field var='{name}'><value>{}</value></field>", time::stamp(at))
}

fn is_near(at: SystemTime, expected: SystemTime) -> bool {
    let apart = at.duration_since(expected).unwrap_or_else(|error| error.duration());
    apart < Duration::from_secs(60)
}

/// Case clock-ran-ahead: an hour and a month ahead, then right, then an hour back; also after a restart.
#[tokio::test]
async fn a_clock_that_was_wrong_leaves_order_and_times_right() -> Outcome<()> {
    const HOUR: i64 = 3_600;
    let Some(clock) = Clock::new() else { return Ok(()) };
    let mut lab = clock.serve(&["alice", "bob", "carol", "dora"]);
    let real = SystemTime::now();
    let mut alice = lab.login("alice").await?;
    let mut carol = lab.login("carol").await?;
    let shifts = [0, HOUR, 0, 30 * 24 * HOUR, 0, -HOUR, 0];
    for (n, ahead) in shifts.iter().enumerate() {
        clock.set(*ahead);
        alice.send(&chat("bob@localhost", &format!("a{n}"))).await?;
        alice.fence().await?;
        carol.send(&chat("dora@localhost", &format!("c{n}"))).await?;
        carol.fence().await?;
    }
    clock.set(0);
    let all = |sign: char| (0..shifts.len()).map(|n| format!("{sign}{n}")).collect::<Vec<_>>();
    for restarted in [false, true] {
        let mut bob = lab.login("bob").await?;
        let mut dora = lab.login("dora").await?;
        for (client, sign) in
            [(&mut alice, 'a'), (&mut bob, 'a'), (&mut carol, 'c'), (&mut dora, 'c')]
        {
            let page = found(client, "").await?;
            assert_eq!(bodies(&page), all(sign), "the order is that of sending");
            for (n, (found, ahead)) in page.iter().zip(shifts).enumerate() {
                let expected = match u64::try_from(ahead) {
                    Ok(ahead) => real + Duration::from_secs(ahead),
                    Err(_) => real - Duration::from_secs(ahead.unsigned_abs()),
                };
                assert!(is_near(found.at, expected), "{n} {ahead} {restarted}");
            }
            let soon = real + Duration::from_secs(600);
            let until_now = found(client, &field("end", soon)).await?;
            let right = [0, 2, 4, 5, 6].map(|n| format!("{sign}{n}"));
            assert_eq!(bodies(&until_now), right);
            let long_ago = real - Duration::from_secs(1_800);
            let lately =
                found(client, &[field("start", long_ago), field("end", soon)].concat()).await?;
            assert_eq!(bodies(&lately), [0, 2, 4, 6].map(|n| format!("{sign}{n}")));
            let later = found(client, &field("start", soon)).await?;
            assert_eq!(bodies(&later), [1, 3].map(|n| format!("{sign}{n}")));
        }
        if restarted {
            break;
        }
        for client in [alice, bob, carol, dora] {
            drop(client);
        }
        lab.process.signal("TERM");
        assert_eq!(lab.process.exit().code(), Some(0));
        lab = clock.serve(&[]);
        alice = lab.login("alice").await?;
        carol = lab.login("carol").await?;
    }
    // What waits: in order, each with its time (XEP-0203 §2).
    let mut bob = lab.online("bob", "phone").await?;
    for (n, ahead) in shifts.iter().enumerate() {
        let message = bob.expect(|e| e.name == "message").await?;
        assert_eq!(message.text_of("body"), Some(format!("a{n}").as_str()));
        let at = stamp_of(message.find("delay"));
        assert_eq!(is_near(at, real), *ahead == 0, "{message}");
    }
    // And a new one has the time of today.
    alice.send(&chat("bob@localhost", "new")).await?;
    let message = bob.expect(|e| e.name == "message").await?;
    assert!(message.find("delay").is_none(), "{message}");
    let page = found(&mut bob, &field("start", real + Duration::from_secs(600))).await?;
    assert_eq!(bodies(&page), ["a1", "a3"]);
    Ok(())
}
