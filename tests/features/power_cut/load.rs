//! The load under which the power is cut, and what its clients were told, each with the length
//! that the record had then.

use crate::harness::client::{Client, Outcome};
use crate::harness::https::put;
use crate::harness::process::{Lab, PASSWORD, binary};
use crate::upload::{bytes, slot};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub const SENDERS: [&str; 3] = ["alice", "carol", "erin"];
pub const RECIPIENTS: [&str; 2] = ["bob", "dave"];

/// A message that was sent: `[alice-12]` and more is its body.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub to: &'static str,
    /// The archive may not keep it (XEP-0334).
    pub mail: bool,
}

impl Sent {
    /// Some of several KB, so that there are pages that one message fills.
    pub fn body(&self) -> String {
        let number: usize = self.id.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        format!("[{}]{}", self.id, "x".repeat(if number % 9 == 4 { 6_000 } else { 40 }))
    }

    fn xml(&self) -> String {
        let hint = if self.mail { "<no-permanent-store xmlns='urn:xmpp:hints'/>" } else { "" };
        let (to, id, body) = (self.to, &self.id, self.body());
        format!(
            "<message to='{to}@localhost' type='chat' id='{id}'><body>{body}</body>{hint}</message>"
        )
    }
}

/// What a client was told is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// The accounts are there.
    Ready,
    Message(String),
    /// A contact of alice's has the name with this number, or a later one.
    Roster(String, usize),
    /// XEP-0198: of erin's stanzas.
    Handled(usize),
    /// XEP-0363 §7: this one of the files got its 201.
    File(usize),
}

/// A stream of erin's that can be resumed.
#[derive(Debug, Clone)]
pub struct Stream {
    pub id: String,
    /// From here on its count may be forgotten.
    pub until: u64,
}

#[derive(Default)]
pub struct Notes {
    record: PathBuf,
    pub sent: BTreeMap<&'static str, Vec<Sent>>,
    pub told: Vec<(u64, Told)>,
    /// When dave got a message first.
    pub came: BTreeMap<String, u64>,
    pub stream: Option<Stream>,
    /// Addresses of what was uploaded, and its bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// Files of the server's own certificate authority.
    pub authority: BTreeMap<&'static str, Vec<u8>>,
    /// The load was over, and the server was asked to stop.
    pub stopped: u64,
}

impl Notes {
    /// All that is in the record now was done before this.
    fn now(&self) -> u64 {
        std::fs::metadata(&self.record).expect("the record").len()
    }

    fn tell(&mut self, told: impl IntoIterator<Item = Told>) {
        let now = self.now();
        self.told.extend(told.into_iter().map(|told| (now, told)));
    }

    /// What was told before this place in the record.
    pub fn told_by(&self, at: u64) -> BTreeSet<&Told> {
        self.told.iter().filter(|(when, _)| *when <= at).map(|(_, told)| told).collect()
    }

    pub fn ready(&self) -> u64 {
        self.told.iter().map(|(when, _)| *when).min().expect("a start")
    }

    fn send(&mut self, from: &'static str) -> Sent {
        let all = self.sent.entry(from).or_default();
        let number = all.len();
        let to = RECIPIENTS[number % 2];
        let sent = Sent { id: format!("{from}-{number}"), to, mail: number.is_multiple_of(10) };
        all.push(sent.clone());
        sent
    }
}

/// Runs the load; `follow` has the server recorded.
pub async fn run(
    data: &Path,
    record: &Path,
    each: usize,
    follow: impl Fn(&mut Command),
) -> Outcome<Notes> {
    let notes = RefCell::new(Notes { record: record.to_owned(), ..Notes::default() });
    let mut lab = start(data, true, &follow);
    notes.borrow_mut().tell([Told::Ready]);
    for name in ["ca.pem", "ca.key"] {
        let content = std::fs::read(data.join("tls").join(name)).expect("an authority");
        notes.borrow_mut().authority.insert(name, content);
    }
    let all = tokio::join!(
        fenced(&lab, &notes, "alice", each),
        fenced(&lab, &notes, "carol", each),
        managed(&lab, &notes, each),
        receives(&lab, &notes, SENDERS.len() * (each / 2)),
        uploads(&lab, &notes, each / 10),
    );
    all.0.and(all.1).and(all.2).and(all.3).and(all.4)?;
    let now = notes.borrow().now();
    notes.borrow_mut().stopped = now;
    // A stop and a start write too.
    lab.process.signal("TERM");
    lab.process.exit();
    let mut lab = start(data, false, &follow);
    let mut carol = lab.login("carol").await?;
    begin_log_anew(&mut carol, &notes, &data.join("stonechat.db")).await?;
    lab.process.signal("TERM");
    lab.process.exit();
    Ok(notes.into_inner())
}

/// The log is written over from its head only when all of it was copied into the database, which
/// takes a pause right behind the thousandth write.
async fn begin_log_anew(
    client: &mut Client,
    notes: &RefCell<Notes>,
    database: &Path,
) -> Outcome<()> {
    let touched = || std::fs::metadata(database).and_then(|data| data.modified()).ok();
    // A message is two writes: into its recipient's archive and its sender's.
    for _ in 0..23 {
        say(client, notes, "carol", 20).await?;
    }
    quiet(notes).await;
    let before = touched();
    for _ in 0..150 {
        say(client, notes, "carol", 1).await?;
        quiet(notes).await;
        if touched() != before {
            break;
        }
    }
    say(client, notes, "carol", 20).await
}

async fn quiet(notes: &RefCell<Notes>) {
    let mut length = 0;
    while notes.borrow().now() > length {
        length = notes.borrow().now();
        tokio::time::sleep(QUIET).await;
    }
}

fn start(data: &Path, new: bool, follow: &impl Fn(&mut Command)) -> Lab {
    let mut command = binary();
    command.arg("lab").arg("--data-dir").arg(data);
    for set in SETTINGS {
        command.args(["--set", set]);
    }
    for user in SENDERS.iter().chain(&RECIPIENTS).filter(|_| new) {
        command.args(["--user", &format!("{user}@localhost:{PASSWORD}")]);
    }
    follow(&mut command);
    Lab::of(command)
}

/// A lab over what a power cut left.
pub fn start_over(data: &Path) -> Lab {
    start(data, false, &|_| ())
}

/// Messages until the count is reached; what follows them is answered, so they are durable
/// (promise.md 1).
async fn fenced(lab: &Lab, notes: &RefCell<Notes>, who: &'static str, count: usize) -> Outcome<()> {
    let mut client = lab.login(who).await?;
    let mut left = count;
    for round in 0.. {
        let batch = (1 + round * 5 % 12).min(left);
        say(&mut client, notes, who, batch).await?;
        left -= batch;
        if who == "alice" {
            contact(&mut client, notes, round).await?;
        }
        if left == 0 {
            break;
        }
    }
    client.close().await
}

async fn say(
    client: &mut Client,
    notes: &RefCell<Notes>,
    who: &'static str,
    count: usize,
) -> Outcome<()> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let sent = notes.borrow_mut().send(who);
        client.send(&sent.xml()).await?;
        ids.push(Told::Message(sent.id));
    }
    client.fence().await?;
    notes.borrow_mut().tell(ids);
    Ok(())
}

async fn contact(client: &mut Client, notes: &RefCell<Notes>, number: usize) -> Outcome<()> {
    let jid = format!("c{}@example.com", number % 7);
    let query =
        format!("<query xmlns='jabber:iq:roster'><item jid='{jid}' name='{number}'/></query>");
    client.ask(&format!("<iq type='set' id='r{number}'>{query}</iq>")).await?;
    notes.borrow_mut().tell([Told::Roster(jid, number)]);
    Ok(())
}

/// XEP-0363 §7: what got its 201 is durable.
async fn uploads(lab: &Lab, notes: &RefCell<Notes>, count: usize) -> Outcome<()> {
    let mut bob = lab.login_as("bob", "files").await?;
    for number in 0..count {
        let bytes = bytes(1 + number * 7_919 % 200_000);
        let (to, from) = slot(&mut bob, "a.bin", bytes.len()).await?;
        notes.borrow_mut().files.push((from, bytes.clone()));
        let status = put(&lab.target, &to, &bytes).await?.status;
        if status != 201 {
            return bob.fail(format!("status {status}"));
        }
        notes.borrow_mut().tell([Told::File(number)]);
    }
    bob.close().await
}

/// XEP-0198: what `h` covers is durable (promise.md 4 and 5).
async fn managed(lab: &Lab, notes: &RefCell<Notes>, count: usize) -> Outcome<()> {
    let mut erin = lab.login("erin").await?;
    erin.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
    let enabled = erin.expect(|e| e.name == "enabled").await?;
    let id = enabled.attr("id").expect("an SM-ID").to_owned();
    notes.borrow_mut().stream = Some(Stream { id, until: u64::MAX });
    let (mut sent, mut handled) = (Vec::new(), 0);
    while handled < count {
        for _ in 0..(1 + sent.len() % 8).min(count - sent.len()) {
            let message = notes.borrow_mut().send("erin");
            erin.send(&message.xml()).await?;
            sent.push(message.id);
        }
        erin.send("<r xmlns='urn:xmpp:sm:3'/>").await?;
        let answer = erin.expect(|e| e.name == "a").await?;
        let h: usize = answer.attr("h").and_then(|h| h.parse().ok()).expect("h");
        let news = sent[handled..h].iter().cloned().map(Told::Message);
        notes.borrow_mut().tell(news.chain([Told::Handled(h)]));
        handled = h;
    }
    let mut notes = notes.borrow_mut();
    let now = notes.now();
    notes.stream.as_mut().expect("enabled").until = now;
    Ok(())
}

/// Dave gets all of his: with stream management first, then after a cut without it.
async fn receives(lab: &Lab, notes: &RefCell<Notes>, count: usize) -> Outcome<()> {
    let mut dave = lab.login_as("dave", "phone").await?;
    dave.send("<enable xmlns='urn:xmpp:sm:3'/>").await?;
    dave.expect(|e| e.name == "enabled").await?;
    dave.become_available().await?;
    // The roster's answer and his own presence were two stanzas of the server's.
    take(&mut dave, notes, count / 3, Some(2)).await?;
    drop(dave);
    let mut dave = lab.online("dave", "desk").await?;
    take(&mut dave, notes, count, None).await?;
    dave.close().await
}

/// Takes messages until there were so many, and confirms them as they are noted.
async fn take(
    dave: &mut Client,
    notes: &RefCell<Notes>,
    count: usize,
    mut stanzas: Option<usize>,
) -> Outcome<()> {
    while notes.borrow().came.len() < count {
        let stanza = dave.receive().await?;
        if let Some(stanzas) = stanzas.as_mut() {
            *stanzas += usize::from(["message", "iq", "presence"].contains(&stanza.name.as_str()));
            if stanza.name == "r" || stanzas.is_multiple_of(10) {
                dave.send(&format!("<a xmlns='urn:xmpp:sm:3' h='{stanzas}'/>")).await?;
            }
        }
        if stanza.name == "message" {
            let mut notes = notes.borrow_mut();
            let (id, now) = (stanza.attr("id").expect("an id").to_owned(), notes.now());
            notes.came.entry(id).or_insert(now);
        } else if stanza.find("ping").is_some() {
            let id = stanza.attr("id").unwrap_or_default();
            dave.send(&format!("<iq type='result' id='{id}' to='localhost'/>")).await?;
        }
    }
    Ok(())
}

/// A disk that did nothing for so long has nothing to do.
const QUIET: Duration = Duration::from_millis(20);
const SETTINGS: [&str; 4] = [
    "sasl.iterations=4096",
    "limits.bytes_per_second=0",
    "limits.stanzas_per_second=0",
    "limits.offline_messages_max=100000",
];
