//! What was acknowledged is there after a kill and after a stop (promise: RFC 6120 §10.1, XEP-0160).
//! Only for our own binary: another server's data is none of our business.

use crate::harness::client::{Client, DEADLINE, Outcome, STREAMS};
use crate::harness::element::{Element, STREAM};
use crate::harness::server::{Options, PASSWORD, Place, Server, subject};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// A lab over a folder that outlives it.
struct Lasting {
    folder: tempfile::TempDir,
    server: Server,
}

impl Lasting {
    fn new() -> Lasting {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path(), &["alice", "bob"]);
        Lasting { folder, server }
    }

    /// SIGKILL, and a new process over the same data.
    fn crash(&mut self) {
        self.server.kill();
        self.server = start(self.folder.path(), &[]);
    }

    /// A stop as an operator does it, and a new process.
    fn restart(&mut self) {
        self.server.terminate();
        self.server = start(self.folder.path(), &[]);
    }

    fn place(&self) -> Place {
        Place::of(self.server.target.clone())
    }
}

fn start(data: &Path, users: &[&str]) -> Server {
    let users = users.iter().map(|user| (format!("{user}@localhost"), PASSWORD.to_owned()));
    let options = Options {
        domains: vec!["localhost".into()],
        users: users.collect(),
        set: Vec::new(),
        data: Some(data.to_owned()),
    };
    Server::start(&options).unwrap()
}

async fn say(from: &mut Client, to: &str, id: &str) -> Outcome<()> {
    from.send(&format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body></message>"))
        .await
}

/// Logs bob in and takes what waits for him: the ids in the order of their coming.
async fn waiting(place: &Place) -> Outcome<(Client, Vec<String>)> {
    let mut bob = place.bound("bob").await;
    bob.ignores_presence = true;
    bob.send("<presence/>").await?;
    bob.fence().await?;
    let ids = bob.take().iter().filter_map(|m| m.attr("id").map(str::to_owned)).collect();
    Ok((bob, ids))
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("m{n}")).collect()
}

#[tokio::test]
async fn messages_for_the_absent_outlive_a_kill() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let mut lasting = Lasting::new();
    let mut alice = lasting.place().bound("alice").await;
    for id in ids(0..20) {
        say(&mut alice, "bob@localhost", &id).await?;
    }
    // Closing properly, she knows that all was taken.
    alice.close().await?;
    lasting.crash();
    let (bob, got) = waiting(&lasting.place()).await?;
    assert_eq!(got, ids(0..20));
    // Cut off before he confirmed them: they come again, in the same order.
    drop(bob);
    lasting.crash();
    let (mut bob, got) = waiting(&lasting.place()).await?;
    assert_eq!(got, ids(0..20));
    // He leaves properly: they are his.
    bob.close().await?;
    lasting.restart();
    let (_, got) = waiting(&lasting.place()).await?;
    assert_eq!(got, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_message_written_to_a_dead_connection_is_not_lost() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let lasting = Lasting::new();
    let place = lasting.place();
    let mut alice = place.bound("alice").await;
    let mut bob = place.online("bob").await;
    // He no longer answers: a telephone in a tunnel.
    bob.answers_pings = false;
    for id in ids(0..5) {
        say(&mut alice, "bob@localhost", &id).await?;
    }
    alice.fence().await?;
    drop(bob);
    let (_, got) = waiting(&place).await?;
    assert_eq!(got, ids(0..5));
    Ok(())
}

#[tokio::test]
async fn a_roster_change_outlives_a_kill_once_it_is_answered() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let mut lasting = Lasting::new();
    let mut alice = lasting.place().bound("alice").await;
    for n in 0..10 {
        let item = format!("<item jid='c{n}@example.com' name='{n}'/>");
        let query = format!("<query xmlns='jabber:iq:roster'>{item}</query>");
        let answer = alice.ask(&format!("<iq type='set' id='s{n}'>{query}</iq>")).await?;
        assert_eq!(answer.attr("type"), Some("result"));
    }
    lasting.crash();
    let mut alice = lasting.place().bound("alice").await;
    let roster = alice.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    assert_eq!(roster.children[0].children.len(), 10, "{roster}");
    Ok(())
}

#[tokio::test]
async fn a_pending_request_outlives_a_kill() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let mut lasting = Lasting::new();
    let mut alice = lasting.place().online("alice").await;
    alice.send("<presence type='subscribe' to='bob@localhost'/>").await?;
    // The push says that it was done.
    alice.expect(|e| e.find("item").is_some_and(|i| i.attr("ask") == Some("subscribe"))).await?;
    lasting.crash();
    let mut bob = lasting.place().online("bob").await;
    let asked = |e: &Element| e.attr("type") == Some("subscribe");
    assert_eq!(bob.expect(asked).await?.attr("from"), Some("alice@localhost"));
    Ok(())
}

#[tokio::test]
async fn a_stop_says_goodbye_and_is_quick() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let mut lasting = Lasting::new();
    let mut alice = lasting.place().online("alice").await;
    let mut idle = Client::connect(&lasting.server.target, lasting.place().security()).await?;
    let started = Instant::now();
    let status = lasting.server.terminate();
    assert!(status, "a stop is no failure");
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    for client in [&mut alice, &mut idle] {
        // RFC 6120 §4.9.3.20
        let error = client.expect(|e| e.is(STREAM, "error")).await?;
        assert!(error.child(STREAMS, "system-shutdown").is_some(), "{error}");
        assert!(client.gone().await?, "the closing tag");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_does_not_start() {
    if subject().is_some() {
        return;
    }
    let lasting = Lasting::new();
    let binary = Server::binary();
    let mut second = Command::new(binary);
    second.args(["lab", "--data-dir"]).arg(lasting.folder.path());
    let output = second.output().unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!output.stderr.is_empty(), "said nothing");
}
