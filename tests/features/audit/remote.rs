//! Recipients at another server: two servers of ours, one of which is killed now and then while people of both write
//! to each other. The rules are those of promise.md: what its sender was told is kept arrives; the order of a sender
//! is that of first occurrences; only what was under way when its sender's own server was killed may come twice: of the
//! other one's stream, the count outlives that (promise.md 6).

use super::settings::{Dice, body_max, kills, seed};
use crate::archive::query;
use crate::harness::client::{Client, Outcome, Security, Target};
use crate::harness::peers::{Kept, Site};
use crate::harness::process::{Lab, PASSWORD};
use crate::harness::sm::Resumption;
use crate::harness::tls::Authority;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Ids in the order of their arrival.
type Arrived = Arc<Mutex<Vec<String>>>;

/// A server that is killed and comes back.
struct Side {
    kept: Kept,
    lab: Lab,
    place: watch::Sender<Option<Target>>,
}

/// Somebody who writes to one account of the other server, with XEP-0198.
struct Sender {
    side: usize,
    user: &'static str,
    to: &'static str,
    client: Client,
    previd: String,
    /// Ids of this stream, for its count; those of all streams, with the time of the first sending.
    of_stream: Vec<String>,
    all: Vec<String>,
    sent_at: HashMap<String, Instant>,
    arrived: Arrived,
}

const PEOPLE: [(usize, &str, &str); 4] = [
    (0, "alice", "bob@b.test"),
    (0, "carol", "dave@b.test"),
    (1, "bob", "alice@a.test"),
    (1, "dave", "carol@a.test"),
];

impl Sender {
    async fn come(&mut self, lab: &Lab) -> Outcome<()> {
        let mut client = lab.authenticated(self.user).await?;
        let known = match client.resume(&self.previd, 0).await? {
            Resumption::Failed(_, h) => h.unwrap_or(0) as usize,
            Resumption::Resumed(_) => return client.fail("nothing outlives SIGKILL"),
        };
        client.bind(Some("s")).await?;
        self.previd = client.enable().await?;
        self.client = client;
        // promise.md 6: the count is exact; what is not in it is sent again.
        let again = std::mem::take(&mut self.of_stream).split_off(known);
        for id in again {
            self.write(id, 0).await;
        }
        Ok(())
    }

    /// The connection may be gone; then it is sent again.
    async fn write(&mut self, id: String, length: usize) {
        let body = "x".repeat(length);
        let (to, message) = (self.to, format!("<body>{id}{body}</body>"));
        let text = format!("<message to='{to}' type='chat' id='{id}'>{message}</message>");
        let _ = self.client.send(&text).await;
        self.sent_at.entry(id.clone()).or_insert_with(Instant::now);
        self.of_stream.push(id);
    }

    async fn say(&mut self, dice: &mut Dice) {
        let id = format!("{}-{}", self.user, self.all.len());
        self.all.push(id.clone());
        self.write(id, dice.below(body_max() as u64) as usize).await;
    }
}

/// A device that is online whenever its server is; it answers pings, and so confirms what it got.
fn device(
    user: String,
    mut place: watch::Receiver<Option<Target>>,
    arrived: Arrived,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let target = place.borrow_and_update().clone();
            if let Some(target) = target {
                let _ = receive(&target, &user, &arrived).await;
            }
            if place.changed().await.is_err() {
                return;
            }
        }
    })
}

async fn receive(target: &Target, user: &str, arrived: &Arrived) -> Outcome<()> {
    let mut client = Client::login(target, Security::StartTls, user, PASSWORD).await?;
    client.become_available().await?;
    while let Some(next) = client.next().await? {
        if next.name == "message" {
            let id = next.attr("id").unwrap_or_default().to_owned();
            assert_ne!(next.attr("type"), Some("error"), "{next}");
            arrived.lock().unwrap().push(id);
        }
    }
    Ok(())
}

/// First occurrences, and what came again.
fn sifted(ids: &[String], of: &str) -> (Vec<String>, Vec<String>) {
    let prefix = format!("{of}-");
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for id in ids.iter().filter(|id| id.starts_with(&prefix)) {
        if first.contains(id) { &mut again } else { &mut first }.push(id.clone());
    }
    (first, again)
}

/// The ids in an account's archive, in its order.
async fn archived(lab: &Lab, user: &str) -> Outcome<Vec<String>> {
    let mut client = lab.login_as(user, "audit").await?;
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page =
            format!("<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{after}</set>");
        client.send(&query("page", &page)).await?;
        let last = loop {
            let next = client
                .expect(|e| e.find("result").is_some() || e.attr("id") == Some("page"))
                .await?;
            let Some(result) = next.find("result") else { break next };
            let inner = result.find("message").and_then(|message| message.attr("id"));
            ids.push(inner.unwrap_or_default().to_owned());
        };
        let fin = last.find("fin").cloned().unwrap_or_default();
        if fin.attr("complete") == Some("true") {
            return Ok(ids);
        }
        let last = fin.find("last").map(|last| last.text.clone()).unwrap_or_default();
        after = format!("<after>{last}</after>");
    }
}

struct Audit {
    sides: Vec<Side>,
    senders: Vec<Sender>,
    authority: Authority,
    dice: Dice,
    /// When, and which side.
    kills: Vec<(usize, Instant)>,
    devices: Vec<JoinHandle<()>>,
}

impl Audit {
    async fn begin(folder: &std::path::Path, seed: u64) -> Outcome<Audit> {
        let authority = Authority::new(folder);
        let sites = [Site::new("a.test"), Site::new("b.test")];
        let set = [
            "limits.stanzas_per_second=0",
            "limits.bytes_per_second=0",
            "limits.offline_messages_max=1000000",
        ];
        let mut sides = Vec::new();
        for (n, users) in [["alice", "carol"], ["bob", "dave"]].iter().enumerate() {
            let kept = Kept::new(&sites[n], &[&sites[1 - n]], &authority, &set);
            let lab = kept.serve(&authority, users);
            let place = watch::Sender::new(Some(lab.target.clone()));
            sides.push(Side { kept, lab, place });
        }
        let (mut senders, mut devices) = (Vec::new(), Vec::new());
        for (side, user, to) in PEOPLE {
            let mut client = sides[side].lab.login_as(user, "s").await?;
            let previd = client.enable().await?;
            let arrived = Arrived::default();
            let recipient = to.split('@').next().unwrap_or_default().to_owned();
            let theirs = sides[1 - side].place.subscribe();
            devices.push(device(recipient, theirs, Arc::clone(&arrived)));
            let (of_stream, all, sent_at) = (Vec::new(), Vec::new(), HashMap::new());
            senders.push(Sender {
                side,
                user,
                to,
                client,
                previd,
                of_stream,
                all,
                sent_at,
                arrived,
            });
        }
        Ok(Audit { sides, senders, authority, dice: Dice::new(seed), kills: Vec::new(), devices })
    }

    async fn write(&mut self, rounds: u64, without: Option<usize>) {
        for _ in 0..rounds {
            for sender in self.senders.iter_mut().filter(|sender| Some(sender.side) != without) {
                sender.say(&mut self.dice).await;
            }
        }
    }

    /// SIGKILL of either while all write; those of the other one go on.
    async fn kill(&mut self) -> Outcome<()> {
        let victim = self.dice.below(2) as usize;
        self.kill_one(victim).await
    }

    async fn kill_one(&mut self, victim: usize) -> Outcome<()> {
        let before = 5 + self.dice.below(40);
        self.write(before, None).await;
        let side = &mut self.sides[victim];
        side.place.send_replace(None);
        side.lab.process.kill();
        self.kills.push((victim, Instant::now()));
        let meanwhile = self.dice.below(20);
        self.write(meanwhile, Some(victim)).await;
        let side = &mut self.sides[victim];
        side.lab = side.kept.serve(&self.authority, &[]);
        side.place.send_replace(Some(side.lab.target.clone()));
        for sender in self.senders.iter_mut().filter(|sender| sender.side == victim) {
            sender.come(&self.sides[victim].lab).await?;
        }
        Ok(())
    }

    /// All arrives; then what arrived is judged.
    async fn judge(mut self) -> Outcome<()> {
        for sender in &mut self.senders {
            sender.client.fence().await?;
        }
        let until = Instant::now() + Duration::from_secs(20);
        for sender in &self.senders {
            let side = &self.sides[1 - sender.side];
            let user = sender.to.split('@').next().unwrap_or_default();
            // A device's own traffic is a fence for nothing: the archive is asked until it is whole.
            let kept = loop {
                let kept = archived(&side.lab, user).await?;
                if sifted(&kept, sender.user).0.len() >= sender.all.len() || Instant::now() > until
                {
                    break kept;
                }
            };
            let (first, again) = sifted(&kept, sender.user);
            assert_eq!(
                first, sender.all,
                "{} to {}: lost, or out of order",
                sender.user, sender.to
            );
            for id in &again {
                let sent = sender.sent_at[id];
                // Sent shortly before a kill, or while the other server was away.
                let near = |(victim, kill): &(usize, Instant)| {
                    *victim == sender.side && *kill + UNDER_WAY > sent && sent + UNDER_WAY > *kill
                };
                assert!(self.kills.iter().any(near), "{id} came twice, without a reason");
            }
            let live = loop {
                let live = sifted(&sender.arrived.lock().unwrap(), sender.user).0;
                if live.len() >= sender.all.len() || Instant::now() > until {
                    break live;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(live, sender.all, "delivered to {}", sender.to);
            println!(
                "{} to {}: {} messages, {} doubles",
                sender.user,
                sender.to,
                first.len(),
                again.len()
            );
        }
        self.devices.iter().for_each(JoinHandle::abort);
        for side in &self.sides {
            assert!(!side.lab.process.log().contains("panicked"), "{}", side.lab.process.log());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_between_two_servers() -> Outcome<()> {
    let (folder, seed) = (tempfile::tempdir().unwrap(), seed());
    let mut audit = Audit::begin(folder.path(), seed).await?;
    println!("seed {seed}");
    for _ in 0..kills() {
        audit.kill().await?;
    }
    audit.write(10, None).await;
    audit.judge().await
}

/// promise.md 6 and 8: who writes to a server that is killed again and again is told by it how much it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_gets_nothing_twice() -> Outcome<()> {
    let (folder, seed) = (tempfile::tempdir().unwrap(), seed());
    let mut audit = Audit::begin(folder.path(), seed).await?;
    println!("seed {seed}");
    for _ in 0..kills() {
        audit.kill_one(1).await?;
    }
    audit.write(10, None).await;
    audit.judge().await
}

/// How long something may be under way when a server is killed: as long as the other one was away.
const UNDER_WAY: Duration = Duration::from_secs(10);
