//! What one session does costs the others little: who does not read takes bounded memory, and those who
//! send to it are slowed, not cut. The figures to it are the load bench's (docs/performance.md).

use crate::harness::client::{Client, Outcome};
use crate::harness::process::Lab;

const SENDERS: usize = 20;

/// Twenty send to one who has stopped reading, in turn; each is answered all the while.
struct Clog {
    lab: Lab,
    reader: Client,
    senders: Vec<Client>,
    each_sent: usize,
}

impl Clog {
    async fn new(set: &[&str]) -> Outcome<Clog> {
        let names: Vec<String> = (0..SENDERS).map(|n| format!("s{n}")).collect();
        let users: Vec<&str> = names.iter().map(String::as_str).chain(["reader", "by"]).collect();
        let base = ["limits.stanzas_per_second=0", "limits.bytes_per_second=0"];
        let more = ["limits.offline_bytes_max=100000000", "store.synchronous=normal"];
        let lab = Lab::new(&users, &[&base[..], &more[..], set].concat());
        let reader = lab.online("reader", "r").await?;
        let mut senders = Vec::new();
        for name in &names {
            senders.push(lab.login(name).await?);
        }
        Ok(Clog { lab, reader, senders, each_sent: 0 })
    }

    /// One message of each. All of them get an answer, and so do those who have no part in it.
    async fn round(&mut self) -> Outcome<()> {
        let pad = "x".repeat(MESSAGE_BYTES);
        let id = self.each_sent;
        self.each_sent += 1;
        for sender in &mut self.senders {
            let message =
                format!("<message to='reader@localhost' id='{id}'><body>{pad}</body></message>");
            sender.send(&message).await?;
        }
        for sender in &mut self.senders {
            sender.nothing().await?;
        }
        Ok(())
    }

    /// Two others hear of each other.
    async fn others_go_on(&self) -> Outcome<()> {
        let mut one = self.lab.online("by", "one").await?;
        let mut two = self.lab.login_as("by", "two").await?;
        let to = one.jid.clone();
        two.send(&format!("<message to='{to}' id='by'><body>hi</body></message>")).await?;
        one.expect(|e| e.name == "message" && e.attr("id") == Some("by")).await?;
        two.close().await?;
        one.close().await
    }
}

/// All of it came to this client: each sender's once, in order, and then nothing more.
async fn gets_all(reader: &mut Client, each_sent: usize) -> Outcome<()> {
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * each_sent {
        let got = reader.expect(|e| e.name == "message").await?;
        let from = got.attr("from").unwrap_or_default();
        let sender = from.trim_start_matches('s').split('@').next().unwrap_or_default();
        let next = &mut next[sender.parse::<usize>().expect("a sender's number")];
        assert_eq!(got.attr("id"), Some(next.to_string().as_str()), "{from}");
        *next += 1;
    }
    reader.answers_pings = true;
    reader.fence().await?;
    assert!(!reader.take().iter().any(|e| e.name == "message"), "something came twice");
    Ok(())
}

/// While its box has room a reader may be as slow as it likes.
#[tokio::test]
async fn who_reads_again_gets_all_in_order_and_the_senders_never_noticed() -> Outcome<()> {
    let mut clog = Clog::new(&["limits.outbox_bytes_max=16000000"]).await?;
    // More than half of the box, once the sockets are full: the senders are slowed.
    while clog.each_sent < 12 {
        clog.round().await?;
    }
    clog.others_go_on().await?;
    gets_all(&mut clog.reader, clog.each_sent).await
}

/// When it is full, the reader's stream ends. What came meanwhile was not cut off either: it is stored.
#[tokio::test]
async fn who_never_reads_costs_bounded_memory_and_loses_nothing() -> Outcome<()> {
    let set = ["limits.outbox_bytes_max=600000", "store.queue_bytes_max=4000000"];
    let mut clog = Clog::new(&set).await?;
    // Each has been read from, and each buffer was used, before memory is looked at.
    clog.round().await?;
    let before = resident(clog.lab.process.pid);
    let mut most = before;
    while !clog.lab.process.log().contains("resource-constraint") || clog.each_sent < 12 {
        assert!(clog.each_sent < 60, "the reader never got too much");
        clog.round().await?;
        most = most.max(resident(clog.lab.process.pid));
    }
    clog.others_go_on().await?;
    // The box, the store's queue, a page cache of SQLite's for each of its connections, and what the
    // senders had on the way: less than the least that was sent.
    let bound = 600_000 + 4_000_000 + 3 * 2_100_000 + SENDERS * MESSAGE_BYTES * 2;
    assert!(bound < 12 * SENDERS * MESSAGE_BYTES);
    assert!(most - before < bound, "{} bytes for one who does not read", most - before);
    // Its stream has ended; a client in its place comes back.
    drop(clog.reader);
    let mut again = clog.lab.online("reader", "r").await?;
    gets_all(&mut again, clog.each_sent).await
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes = line.split_whitespace().next().and_then(|text| text.parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}

const MESSAGE_BYTES: usize = 64_000;
