//! `stonechat s2s …`: what an operator sees of other servers, and does about them.

use crate::harness::client::{Client, Outcome};
use crate::harness::process::{Lab, OPEN_ROOMS, PASSWORD, PORTS, Said, run_in};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A loopback address that no other test has, with the port of other servers.
fn place() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let low = std::process::id().to_be_bytes()[3];
    loop {
        let last = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::new(127, 77, low, last), 5269));
        if last != 0 && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Places of a.test and b.test, and what their servers share.
struct Sites {
    folder: TempDir,
    places: [SocketAddr; 2],
}

const DOMAINS: [&str; 2] = ["a.test", "b.test"];

impl Sites {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), places: [place(), place()] }
    }

    /// One of the two servers, with this user.
    fn lab(&self, which: usize, user: &str) -> Lab {
        let user = format!("{user}@{}:{PASSWORD}", DOMAINS[which]);
        let other = format!("{}={}", DOMAINS[1 - which], self.places[1 - which]);
        let (listen, shared) = (
            format!("s2s.listen={}", self.places[which]),
            self.folder.path().join("authority").display().to_string(),
        );
        let args = ["--domain", DOMAINS[which], "--user", &user, "--peer", &other];
        let more = ["--authority", &shared, "--set", "sasl.iterations=4096", "--set", OPEN_ROOMS];
        Lab::start(&[&args[..], &more, &["--set", &listen]].concat())
    }
}

fn s2s(lab: &Lab, args: &[&str]) -> Said {
    let data = lab.data.display().to_string();
    run_in(&lab.data, &[&["--data-dir", &data, "s2s"], args].concat(), "")
}

/// Asks until it says so.
fn until(lab: &Lab, args: &[&str], enough: impl Fn(&Said) -> bool) -> Said {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let said = s2s(lab, args);
        if enough(&said) {
            return said;
        }
        assert!(Instant::now() < end, "{args:?}: {said:?}");
    }
}

async fn say(client: &mut Client, to: &str, id: &str) -> Outcome<()> {
    client
        .send(&format!("<message type='chat' to='{to}' id='{id}'><body>{id}</body></message>"))
        .await
}

#[tokio::test]
async fn streams_are_listed_and_tried() -> Outcome<()> {
    let sites = Sites::new();
    let (a, b) = (sites.lab(0, "alice"), sites.lab(1, "bob"));
    let said = s2s(&a, &["list"]);
    assert!(said.ok && said.out.is_empty() && said.err.contains("no streams"), "{said:?}");
    let mut alice = a.online("alice", "x").await?;
    let mut bob = b.online("bob", "x").await?;
    say(&mut alice, "bob@b.test", "m1").await?;
    bob.expect(|e| e.attr("id") == Some("m1")).await?;
    let theirs = sites.places[1].ip();
    let said = until(&a, &["list"], |said| said.out.contains("nothing waits"));
    let words: Vec<&str> = said.out.lines().next().unwrap().split("  ").collect();
    assert_eq!(words[..6], ["out", "a.test", "b.test", &theirs.to_string(), "TLSv1.3", "external"]);
    assert!(words[6].contains("sm"), "{said:?}");
    let said = s2s(&b, &["list"]);
    assert!(said.out.contains("in  b.test  a.test") && said.out.contains("TLSv1.3"), "{said:?}");

    let said = s2s(&a, &["test", "B.test"]);
    assert!(said.ok, "{said:?}");
    let place = sites.places[1];
    for part in [
        format!("s2s.routes: b.test is at {place}"),
        format!("connection to {place}: connected"),
        "TLS: TLSv1.3".to_owned(),
        "certificate for b.test".to_owned(),
        "of a trusted authority: it proves b.test".to_owned(),
        "authenticated by external".to_owned(),
        "ping of b.test: answered".to_owned(),
    ] {
        assert!(said.out.contains(&part), "no {part} in {said:?}");
    }
    assert!(said.out.ends_with("REACHED: b.test talks to a.test\n"), "{said:?}");
    let said = s2s(&a, &["test", "b.test", "--from", "c.test"]);
    assert!(!said.ok && said.err.contains("c.test is not served here"), "{said:?}");
    let said = s2s(&a, &["test", "a.test"]);
    assert!(!said.ok && said.err.contains("a.test is served here"), "{said:?}");
    let said = s2s(&a, &["why", "b.test"]);
    assert!(said.out.contains("nothing waits") && said.out.contains("with it"), "{said:?}");
    let said = s2s(&a, &["why", "bob@b.test"]);
    assert!(!said.ok && said.err.contains("as it stands after the @"), "{said:?}");
    let said = s2s(&a, &["retry", "b.test"]);
    assert!(said.ok && said.out.contains("stands already"), "{said:?}");
    let data = a.data.display().to_string();
    let said = run_in(&a.data, &["--data-dir", &data, "status"], "");
    assert!(
        said.out.contains("other servers: ") && said.out.contains("waiting for them: 0"),
        "{said:?}"
    );
    Ok(())
}

/// What waits is shown, tried at once, and given up.
#[tokio::test]
async fn what_waits_is_in_the_operators_hand() -> Outcome<()> {
    let sites = Sites::new();
    let a = sites.lab(0, "alice");
    let mut alice = a.online("alice", "x").await?;
    let said = s2s(&a, &["drop", "b.test", "--yes"]);
    assert!(!said.ok && said.err.contains("nothing waits for b.test"), "{said:?}");
    say(&mut alice, "bob@b.test", "m1").await?;
    let said = until(&a, &["why", "b.test"], |said| said.out.contains("tried again in"));
    assert!(said.out.contains("from a.test: 1 message waits"), "{said:?}");
    assert!(said.out.contains("FAILED  connection to"), "{said:?}");
    assert!(said.out.contains("what to do: nothing listens there"), "{said:?}");
    let said = s2s(&a, &["list"]);
    assert!(said.out.contains("none  a.test  b.test  1 message waits"), "{said:?}");
    let said = s2s(&a, &["test", "b.test"]);
    assert!(!said.ok && said.out.contains("NOT REACHED: "), "{said:?}");
    let said = s2s(&a, &["drop", "b.test"]);
    assert!(!said.ok && said.err.contains("add --yes"), "{said:?}");
    let said = s2s(&a, &["drop", "b.test", "--yes"]);
    assert!(said.ok && said.out.contains("1 messages for b.test are given up"), "{said:?}");
    let error = alice.expect(|e| e.attr("id") == Some("m1")).await?;
    assert!(error.attr("type") == Some("error"), "{error}");
    assert!(error.to_string().contains("the administrator gave up waiting"), "{error}");

    // After some failures it is tried only after a minute or more; or when it is told to.
    say(&mut alice, "bob@b.test", "m2").await?;
    for _ in 0..4 {
        let before = until(&a, &["why", "b.test"], |said| said.out.contains("tried again in")).out;
        assert!(s2s(&a, &["retry", "b.test"]).ok);
        until(&a, &["why", "b.test"], |said| {
            said.out.contains("tried again in") && first_times(&said.out) != first_times(&before)
        });
    }
    let b = sites.lab(1, "bob");
    let mut bob = b.online("bob", "x").await?;
    let said = s2s(&a, &["retry", "b.test"]);
    assert!(said.ok && said.out.contains("b.test is tried now"), "{said:?}");
    bob.expect(|e| e.attr("id") == Some("m2")).await?;
    let said = until(&a, &["why", "b.test"], |said| said.out.contains("nothing waits"));
    assert!(said.out.contains("1 stream stands with it"), "{said:?}");
    Ok(())
}

/// When what failed failed, as the lines begin with it.
fn first_times(why: &str) -> Vec<&str> {
    why.lines().filter(|line| line.starts_with("20")).collect()
}

/// A domain is kept out at once, with what stands and what waits, and let in again.
#[tokio::test]
async fn rules_count_at_once() -> Outcome<()> {
    let sites = Sites::new();
    let (a, b) = (sites.lab(0, "alice"), sites.lab(1, "bob"));
    let mut alice = a.online("alice", "x").await?;
    let mut bob = b.online("bob", "x").await?;
    say(&mut alice, "bob@b.test", "m1").await?;
    bob.expect(|e| e.attr("id") == Some("m1")).await?;
    say(&mut bob, "alice@a.test", "m2").await?;
    alice.expect(|e| e.attr("id") == Some("m2")).await?;
    let said = s2s(&a, &["rules"]);
    assert!(said.ok && said.err.contains("no rules"), "{said:?}");
    let said = s2s(&a, &["deny", "b.test"]);
    assert!(
        said.ok && said.out.contains("b.test is kept out\nstreams that are ended: "),
        "{said:?}"
    );
    until(&a, &["list"], |said| said.out.is_empty());
    let said = s2s(&a, &["rules"]);
    assert!(said.out.starts_with("b.test  denied since 20"), "{said:?}");
    say(&mut alice, "bob@b.test", "m3").await?;
    let error = alice.expect(|e| e.attr("id") == Some("m3")).await?;
    assert!(error.to_string().contains("not-allowed"), "{error}");
    // The other side is refused, and both can see it.
    say(&mut bob, "alice@a.test", "m4").await?;
    let said = until(&b, &["why", "a.test"], |said| said.out.contains("policy-violation"));
    assert!(said.out.contains("what to do: it does not want to talk to us"), "{said:?}");
    let said = s2s(&a, &["why", "b.test"]);
    assert!(said.out.contains("b.test is kept out: a rule says so"), "{said:?}");
    assert!(said.out.contains("was refused: this server does not talk"), "{said:?}");
    let said = s2s(&a, &["test", "b.test"]);
    assert!(
        !said.ok && said.out.contains("NOT REACHED: this server does not talk to it"),
        "{said:?}"
    );
    let said = s2s(&a, &["allow", "b.test"]);
    assert!(said.ok && said.out.contains("b.test is let in"), "{said:?}");
    assert!(s2s(&b, &["retry", "a.test"]).ok);
    alice.expect(|e| e.attr("id") == Some("m4")).await?;
    say(&mut alice, "bob@b.test", "m5").await?;
    bob.expect(|e| e.attr("id") == Some("m5")).await?;
    // Nobody but who is named.
    assert!(s2s(&a, &["deny", "*"]).ok);
    say(&mut alice, "bob@b.test", "m6").await?;
    bob.expect(|e| e.attr("id") == Some("m6")).await?;
    assert!(s2s(&a, &["forget", "b.test"]).ok);
    say(&mut alice, "bob@b.test", "m7").await?;
    let error = alice.expect(|e| e.attr("id") == Some("m7")).await?;
    assert!(error.to_string().contains("not-allowed"), "{error}");
    let said = s2s(&a, &["forget", "b.test"]);
    assert!(!said.ok && said.err.contains("nothing was said about b.test"), "{said:?}");
    Ok(())
}

/// What waits for a domain goes back to its senders when the domain is kept out, however long it would wait else.
#[tokio::test]
async fn a_rule_gives_up_what_waits() -> Outcome<()> {
    let sites = Sites::new();
    let a = sites.lab(0, "alice");
    let mut alice = a.online("alice", "x").await?;
    say(&mut alice, "bob@b.test", "m1").await?;
    until(&a, &["why", "b.test"], |said| said.out.contains("tried again in"));
    // Only after a while it would be tried again by itself.
    for _ in 0..4 {
        let before = until(&a, &["why", "b.test"], |said| said.out.contains("tried again in")).out;
        assert!(s2s(&a, &["retry", "b.test"]).ok);
        until(&a, &["why", "b.test"], |said| {
            said.out.contains("tried again in") && first_times(&said.out) != first_times(&before)
        });
    }
    let said = s2s(&a, &["deny", "b.test"]);
    assert!(
        said.ok && said.out.contains("messages that are given up, and their senders told: 1"),
        "{said:?}"
    );
    let error = alice.expect(|e| e.attr("id") == Some("m1")).await?;
    assert!(error.to_string().contains("not-allowed"), "{error}");
    Ok(())
}

/// Rules are kept, and made without a server, too; the rest needs one.
#[tokio::test]
async fn rules_outlive_the_server() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let s2s =
        |at: &Path, args: &[&str]| run_in(at, &[&["--data-dir", "data", "s2s"], args].concat(), "");
    drop(Lab::serve(at, &[], &["alice"]));
    assert!(s2s(at, &["deny", "Spam.Example"]).ok);
    for verb in
        [&["list"][..], &["why", "x.example"], &["test", "x.example"], &["retry", "x.example"]]
    {
        let said = s2s(at, verb);
        assert!(!said.ok && said.err.contains("no server is running"), "{said:?}");
    }
    let lab = Lab::serve(at, &[&PORTS[..], &["--set", "s2s.deny=[\"bad.example\"]"]].concat(), &[]);
    let said = s2s(at, &["rules"]);
    assert!(said.out.contains("spam.example  denied since"), "{said:?}");
    assert!(said.out.contains("bad.example  denied by the configuration"), "{said:?}");
    let mut alice = lab.online("alice", "x").await?;
    for domain in ["spam.example", "bad.example"] {
        say(&mut alice, &format!("x@{domain}"), domain).await?;
        let error = alice.expect(|e| e.attr("id") == Some(domain)).await?;
        assert!(error.to_string().contains("not-allowed"), "{error}");
    }
    // The configuration's no stays.
    assert!(s2s(at, &["allow", "bad.example"]).ok);
    let said = s2s(at, &["why", "bad.example"]);
    assert!(said.out.contains("kept out: s2s.deny in the configuration names it"), "{said:?}");
    Ok(())
}
