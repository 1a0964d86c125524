//! What happened in a run, as the clients saw it: sent, acknowledged, delivered, confirmed, archived.
//! It only records; what it means is for `judge`.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Since the start of the run.
pub type Moment = Duration;

/// A moment in the life of one server process. A client may learn a little later of its end, and
/// what it does until then is done for that process all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct When {
    /// Counts the processes from 1: that of the client's connection.
    pub life: usize,
    pub at: Moment,
}

/// A message: the device that made it and its number there. Its `id` and origin-id are this in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub sender: usize,
    pub number: usize,
}

impl Key {
    pub fn parse(id: &str) -> Option<Key> {
        let (sender, number) = id.strip_prefix("audit-")?.split_once('-')?;
        Some(Key { sender: sender.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "audit-{}-{}", self.sender, self.number)
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Account(usize),
    Room(usize),
}

impl Default for To {
    fn default() -> To {
        To::Account(0)
    }
}

impl From<usize> for To {
    fn from(account: usize) -> To {
        To::Account(account)
    }
}

/// One message and what its sender knows of it.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub to: To,
    pub acknowledged: bool,
    /// Answered with an error that says: later.
    pub refused: bool,
    /// The stream ended before anything was known, and the sender does not repeat it.
    pub given_up: bool,
    /// How often its sender sent it again.
    pub repeats: u32,
    pub delivered: bool,
}

impl Sent {
    /// Nothing more has to happen to it.
    fn is_settled(&self) -> bool {
        self.refused || self.given_up || (self.acknowledged && self.delivered)
    }
}

/// One arrival of a message at a device.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub key: Key,
    pub device: usize,
    /// Counts the device's bound streams; a resumed stream keeps its number.
    pub stream: usize,
    /// XEP-0359: the stanza-id by the recipient's own account.
    pub mark: Option<String>,
    pub when: When,
    /// promise.md 2: when the device said that it has it, in a way the server must understand.
    pub confirmed: Option<When>,
    /// The device tried to confirm it and does not know what became of that.
    pub tried: bool,
}

/// How an occupant of a room got a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As it was said.
    Live,
    /// When it entered (XEP-0045 §7.2.13).
    History,
    /// It read the archive.
    Page,
}

/// One message of a room, as a device got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub key: Key,
    pub device: usize,
    pub room: usize,
    /// Counts the device's bound streams; a resumed stream keeps its number.
    pub stream: usize,
    /// XEP-0359: the stanza-id by the room.
    pub mark: Option<String>,
    pub how: How,
    pub when: When,
}

/// One row of the archive of an account or a room, in the order of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub uid: String,
    pub key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Kill,
    Stop,
}

/// The end of a server process: the n-th in the ledger is that of life n.
#[derive(Clone, Copy, Debug)]
pub struct Break {
    pub at: Moment,
    pub how: End,
}

/// A presence stanza of another account that a device got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub device: usize,
    pub from: String,
    pub kind: String,
    pub at: Moment,
}

/// Answers to `<resume/>`, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resumptions {
    pub granted: usize,
    /// `<failed h=…/>` with item-not-found, as it must be after a crash.
    pub refused_with_h: usize,
    pub refused_without_h: usize,
    /// The same for sessions whose messages were never acknowledged: nothing was written of them.
    pub refused_unwritten: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The account of each device.
    pub devices: Vec<usize>,
    /// What each device sent.
    pub sent: Vec<Vec<Sent>>,
    pub deliveries: Vec<Delivery>,
    pub breaks: Vec<Break>,
    /// By account; none where the server keeps no archive.
    pub archives: Option<Vec<Vec<Row>>>,
    pub presence: Vec<Seen>,
    /// The rooms of each device.
    pub rooms_of: Vec<&'static [usize]>,
    pub heard: Vec<Heard>,
    /// By room, by who read it.
    pub room_archives: Vec<Vec<Vec<Row>>>,
    pub resumptions: Resumptions,
    /// The longest wait for the answer to an `<r/>`.
    pub slowest_answer: Duration,
    /// Other servers may keep a message to oneself as sent and as received. Ours writes one row for
    /// an account and message (promise.md 1).
    pub keeps_own_twice: bool,
    /// What was wrong at first sight.
    pub faults: Vec<String>,
    /// Messages with something left to happen.
    pub unsettled: usize,
}

impl Ledger {
    pub fn new(devices: Vec<usize>) -> Ledger {
        Ledger { sent: vec![Vec::new(); devices.len()], devices, ..Ledger::default() }
    }

    pub fn get(&self, key: Key) -> Option<&Sent> {
        self.sent.get(key.sender)?.get(key.number)
    }

    /// How many messages are like this.
    pub fn count(&self, like: impl Fn(&Sent) -> bool) -> usize {
        self.sent.iter().flatten().filter(|sent| like(sent)).count()
    }

    /// A new message of this device.
    pub fn sends(&mut self, sender: usize, to: impl Into<To>) -> Key {
        self.sent[sender].push(Sent { to: to.into(), ..Sent::default() });
        self.unsettled += 1;
        Key { sender, number: self.sent[sender].len() - 1 }
    }

    pub fn acknowledged(&mut self, key: Key) {
        self.change(key, |sent| sent.acknowledged = true);
    }

    pub fn refused(&mut self, key: Key) {
        self.change(key, |sent| sent.refused = true);
    }

    pub fn given_up(&mut self, key: Key) {
        self.change(key, |sent| sent.given_up = true);
    }

    pub fn repeated(&mut self, key: Key) {
        self.change(key, |sent| sent.repeats += 1);
    }

    /// Writes an arrival down; the place where it stands.
    pub fn delivered(&mut self, delivery: Delivery) -> usize {
        self.change(delivery.key, |sent| sent.delivered = true);
        self.deliveries.push(delivery);
        self.deliveries.len() - 1
    }

    /// Writes down what somebody heard in a room.
    pub fn heard(&mut self, heard: Heard) {
        self.change(heard.key, |sent| sent.delivered = true);
        self.heard.push(heard);
    }

    /// All that was sent to a room.
    pub fn said(&self, room: usize) -> impl Iterator<Item = (Key, &Sent)> {
        self.messages().filter(move |(_, sent)| sent.to == To::Room(room))
    }

    /// All that was sent.
    pub fn messages(&self) -> impl Iterator<Item = (Key, &Sent)> {
        let of = |(sender, all): (usize, &'_ Vec<Sent>)| (sender, all.len());
        let keys = self.sent.iter().enumerate().map(of);
        let keys =
            keys.flat_map(|(sender, count)| (0..count).map(move |number| Key { sender, number }));
        keys.filter_map(|key| Some((key, self.get(key)?)))
    }

    pub fn confirmed(&mut self, deliveries: &[usize], when: When) {
        for &index in deliveries {
            self.deliveries[index].confirmed.get_or_insert(when);
        }
    }

    pub fn tried_to_confirm(&mut self, deliveries: &[usize]) {
        for &index in deliveries {
            self.deliveries[index].tried = true;
        }
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Sent)) {
        let Some(sent) = self.sent.get_mut(key.sender).and_then(|all| all.get_mut(key.number))
        else {
            self.faults.push(format!("{key} was never sent"));
            return;
        };
        let before = sent.is_settled();
        change(sent);
        match (before, sent.is_settled()) {
            (false, true) => self.unsettled -= 1,
            (true, false) => self.unsettled += 1,
            _ => {}
        }
    }
}

/// The ledger of a run that is going on, shared by its clients.
pub struct Book {
    start: Instant,
    ledger: Mutex<Ledger>,
    /// Counts the entries, for those who wait for one.
    entries: watch::Sender<u64>,
}

impl Book {
    pub fn new(devices: Vec<usize>) -> Book {
        let ledger = Mutex::new(Ledger::new(devices));
        Book { start: Instant::now(), ledger, entries: watch::Sender::new(0) }
    }

    pub fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// Makes an entry.
    pub fn write<T>(&self, entry: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = entry(&mut self.read());
        self.entries.send_modify(|count| *count += 1);
        result
    }

    pub fn read(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub fn fault(&self, what: impl Into<String>) {
        let (what, at) = (what.into(), self.now());
        self.write(|ledger| ledger.faults.push(format!("at {:.3} s: {what}", at.as_secs_f64())));
    }

    /// Waits until this holds, or nothing has happened for `patience`; whether it holds.
    pub async fn until(&self, patience: Duration, holds: impl Fn(&Ledger) -> bool) -> bool {
        let mut entries = self.entries.subscribe();
        loop {
            entries.borrow_and_update();
            if holds(&self.read()) {
                return true;
            }
            if tokio::time::timeout(patience, entries.changed()).await.is_err() {
                return false;
            }
        }
    }
}
