//! A run: the server, the clients, the ends of the one that the others live through, the audit.

use super::archive::{self, read_all_of};
use super::driver::{Driver, SM};
use super::judge::{Verdict, judge};
use super::judge_rooms::{RoomVerdict, judge_rooms};
use super::ledger::{Book, Break, End, Ledger, Resumptions};
use super::load::{Actor, Device, Load, Phase, Place};
use super::place::Server;
use super::rooms::{self, ROOMS, Stay, nick};
use super::settings::{Dice, seed};
use super::uploads::{Shelf, UploadVerdict, Uploader};
use crate::harness::client::{Client, DEADLINE, Outcome, Security, Target};
use crate::harness::process::PASSWORD;
use crate::harness::rooms::{SERVICE, at};
use crate::harness::server::subject;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Run {
    pub book: Arc<Book>,
    pub dice: Dice,
    accounts: Arc<Vec<String>>,
    devices: Vec<Device>,
    server: Server,
    place: watch::Sender<Place>,
    online: watch::Sender<Vec<u32>>,
    actors: Vec<JoinHandle<()>>,
    shelf: Shelf,
    /// The server offers stream management.
    resumes: bool,
    /// From the start of each process to the first login, and to the first page after it.
    usable: Vec<Duration>,
    paged: Vec<Duration>,
}

impl Run {
    /// Starts the server and the clients of these devices, with an account for each that they name.
    pub async fn start(mut server: Server, mut devices: Vec<Device>, load: Load) -> Outcome<Run> {
        let count = devices.iter().map(|device| device.account + 1).max().unwrap_or_default();
        let names = (0..count).map(|n| format!("user{n}"));
        let (target, accounts) = match subject() {
            Some(target) => {
                let accounts = register(&target, names).await?;
                (target, accounts)
            }
            None => {
                let accounts: Vec<String> = names.map(|name| format!("{name}@localhost")).collect();
                (server.start(&accounts), accounts)
            }
        };
        let mut client = login(&target, &accounts[0]).await?;
        let archives = archive::is_offered(&mut client).await?;
        let resumes = client.features.child(SM, "sm").is_some();
        if subject().is_some() {
            println!("skipped: rooms are audited on a server of our own only");
            devices.iter_mut().for_each(|device| device.rooms = &[]);
        } else {
            rooms::make(&mut client, &accounts[1..]).await?;
        }
        client.close().await?;
        let book = Arc::new(Book::new(devices.iter().map(|device| device.account).collect()));
        book.write(|ledger| {
            ledger.keeps_own_twice = subject().is_some();
            ledger.rooms_of = devices.iter().map(|device| device.rooms).collect();
        });
        let place = Place { generation: 1, up: true, target, phase: Phase::Load, archives };
        println!("seed {}, archives {archives}, stream management {resumes}", load.seed);
        let mut run = Run {
            book,
            dice: Dice::new(load.seed),
            accounts: Arc::new(accounts),
            server,
            place: watch::Sender::new(place),
            online: watch::Sender::new(vec![0; devices.len()]),
            actors: Vec::new(),
            shelf: Shelf::default(),
            usable: Vec::new(),
            paged: Vec::new(),
            resumes,
            devices,
        };
        run.come(load);
        Ok(run)
    }

    fn come(&mut self, load: Load) {
        for (number, device) in self.devices.iter().enumerate() {
            let (accounts, book) = (Arc::clone(&self.accounts), Arc::clone(&self.book));
            let mut driver = Driver::new(number, device.manages, accounts, book);
            driver.web = device.web && subject().is_none();
            driver.rooms = device.rooms.iter().map(|room| Stay::of(*room)).collect();
            let (place, online) = (self.place.subscribe(), self.online.clone());
            let actor = Actor::new(driver, &self.devices, load, place, online);
            self.actors.push(tokio::spawn(actor.live()));
        }
    }

    /// Some accounts upload files from now on.
    pub fn upload(&mut self) {
        for (number, account) in self.accounts.iter().take(UPLOADERS).enumerate() {
            let uploader = Uploader {
                account: account.clone(),
                place: self.place.subscribe(),
                dice: Dice::new(self.dice.below(1 << 40) ^ number as u64),
                shelf: self.shelf.clone(),
                book: Arc::clone(&self.book),
            };
            self.actors.push(tokio::spawn(uploader.live()));
        }
    }

    /// SIGKILL at this moment, and a new process over the same folder.
    pub async fn kill(&mut self) -> Outcome<()> {
        self.end(End::Kill);
        self.again().await
    }

    /// SIGTERM, and a new process.
    pub async fn restart(&mut self) -> Outcome<()> {
        self.end(End::Stop);
        self.again().await
    }

    fn end(&mut self, how: End) {
        self.place.send_modify(|place| place.up = false);
        let at = self.book.now();
        match how {
            End::Kill => self.server.kill(),
            End::Stop => self.server.stop(),
        }
        self.book.write(|ledger| ledger.breaks.push(Break { at, how }));
    }

    /// A new process, its first login and its first page, while all others come back too.
    async fn again(&mut self) -> Outcome<()> {
        let started = Instant::now();
        let target = self.server.start(&[]);
        self.place.send_modify(|place| {
            place.generation += 1;
            place.target = target.clone();
            place.up = true;
        });
        let mut client = login(&target, &self.accounts[0]).await?;
        self.usable.push(started.elapsed());
        if self.place.borrow().archives {
            archive::read_last(&mut client).await?;
            self.paged.push(started.elapsed());
        }
        client.close().await
    }

    /// Waits until all that stay are online with the present server.
    pub async fn all_there(&self) {
        let generation = self.place.borrow().generation;
        let stays = |n: usize| self.devices[n].comes == super::load::Comes::Always;
        let mut online = self.online.subscribe();
        let there = |all: &Vec<u32>| {
            all.iter().enumerate().all(|(n, last)| !stays(n) || *last == generation)
        };
        let waited = tokio::time::timeout(DEADLINE, online.wait_for(there)).await;
        if waited.is_err() {
            self.book.fault("not everyone came back");
        }
    }

    /// Makes two accounts contacts of each other, as their users would.
    pub async fn befriend(&self, one: usize, other: usize) -> Outcome<()> {
        let target = self.place.borrow().target.clone();
        let (one, other) = (&self.accounts[one], &self.accounts[other]);
        for (from, to) in [(one, other), (other, one)] {
            let (mut asks, mut grants) = (login(&target, from).await?, login(&target, to).await?);
            asks.send(&format!("<presence type='subscribe' to='{to}'/>")).await?;
            asks.fence().await?;
            grants.send(&format!("<presence type='subscribed' to='{from}'/>")).await?;
            grants.fence().await?;
            asks.close().await?;
            grants.close().await?;
        }
        Ok(())
    }

    /// Waits until something has happened; nothing in the book for a while is a fault.
    pub async fn happens(&self, what: &str, holds: impl Fn(&Ledger) -> bool) {
        if !self.book.until(PATIENCE, holds).await {
            self.book.fault(format!("waited in vain: {what}"));
        }
    }

    /// Everyone comes and gets what is owed, then leaves; then the archives are read.
    pub async fn finish(mut self) -> Outcome<Report> {
        self.place.send_modify(|place| place.phase = Phase::Drain);
        let settled = self.book.until(PATIENCE, |ledger| ledger.unsettled == 0).await;
        if !settled {
            let left = self.book.read().unsettled;
            self.book.fault(format!("{left} messages were not settled while nothing happened"));
        }
        self.place.send_modify(|place| place.phase = Phase::Close);
        for actor in std::mem::take(&mut self.actors) {
            actor.await.expect("an actor");
        }
        self.nothing_is_owed().await?;
        self.read_archives().await?;
        let target = self.place.borrow().target.clone();
        let uploads = self.shelf.judge(&target, self.server.data()).await?;
        Ok(self.report(uploads))
    }

    /// promise.md 2: all was confirmed by a proper close; it comes to nobody again.
    async fn nothing_is_owed(&mut self) -> Outcome<()> {
        let target = self.place.borrow().target.clone();
        for number in 0..self.devices.len() {
            let (accounts, book) = (Arc::clone(&self.accounts), Arc::clone(&self.book));
            let mut driver = Driver::new(number, false, accounts, book);
            // A stream of its own in the ledger, behind all others.
            driver.stream = usize::MAX / 2;
            driver.life = self.place.borrow().generation as usize;
            driver.connect(&target).await?;
            driver.fence().await?;
            driver.close().await?;
        }
        Ok(())
    }

    async fn read_archives(&mut self) -> Outcome<()> {
        let place = self.place.borrow().clone();
        if !place.archives {
            println!("skipped: no archive on the bare address, so it is not audited");
            return Ok(());
        }
        let mut archives = Vec::new();
        for account in self.accounts.iter() {
            let mut client = login(&place.target, account).await?;
            archives.push(archive::read_all(&mut client).await?);
            client.close().await?;
        }
        self.book.write(|ledger| ledger.archives = Some(archives));
        if subject().is_none() {
            self.read_rooms(&place.target).await?;
        }
        Ok(())
    }

    /// By some of those who are in them.
    async fn read_rooms(&mut self, target: &Target) -> Outcome<()> {
        for (room, (name, _)) in ROOMS.iter().enumerate() {
            let is_in = |device: &&Device| device.rooms.contains(&room);
            let mut readers = Vec::new();
            for device in self.devices.iter().filter(is_in).take(READERS) {
                let mut client = login(target, &self.accounts[device.account]).await?;
                readers.push(read_all_of(&mut client, &at(name)).await?);
                client.close().await?;
            }
            self.book.write(|ledger| ledger.room_archives.push(readers));
        }
        Ok(())
    }

    fn report(mut self, uploads: UploadVerdict) -> Report {
        let bytes = self.server.size();
        let log = self.server.log();
        self.server.stop();
        let ledger = self.book.read().clone();
        let (verdict, rooms) = (judge(&ledger), judge_rooms(&ledger));
        self.usable.sort_unstable();
        self.paged.sort_unstable();
        let (accounts, resumes) = (Arc::clone(&self.accounts), self.resumes);
        let (usable, paged) = (self.usable, self.paged);
        Report { ledger, verdict, rooms, uploads, accounts, resumes, bytes, usable, paged, log }
    }
}

/// Accounts on a server that somebody else keeps; they outlive a run, so each run has its own.
pub async fn register(
    target: &Target,
    names: impl Iterator<Item = String>,
) -> Outcome<Vec<String>> {
    let run = seed();
    let mut accounts = Vec::new();
    for name in names {
        let user = format!("audit{run}-{name}");
        let mut client = Client::connect(target, Security::StartTls).await?;
        client.register(&user, PASSWORD).await?;
        client.close().await?;
        accounts.push(format!("{user}@{}", target.domain));
    }
    Ok(accounts)
}

/// A bound stream that is not available: it gets nothing.
pub async fn login(target: &Target, account: &str) -> Outcome<Client> {
    let user = account.split('@').next().unwrap_or_default();
    Client::login(target, Security::StartTls, user, PASSWORD).await
}

/// What a run has shown.
pub struct Report {
    pub ledger: Ledger,
    pub verdict: Verdict,
    pub rooms: RoomVerdict,
    uploads: UploadVerdict,
    accounts: Arc<Vec<String>>,
    resumes: bool,
    bytes: u64,
    usable: Vec<Duration>,
    paged: Vec<Duration>,
    log: String,
}

impl Report {
    pub fn print(&self, what: &str) {
        let ends = |how| self.ledger.breaks.iter().filter(|end| end.how == how).count();
        println!("== {what}");
        println!("kills {}, restarts {}", ends(End::Kill), ends(End::Stop));
        print!("{}{}", self.verdict, self.rooms);
        let Resumptions { granted, refused_with_h, refused_without_h, refused_unwritten } =
            self.ledger.resumptions;
        println!(
            "resumptions: granted {granted}, refused with h {refused_with_h}, \
             without h {refused_without_h}, of sessions that wrote nothing {refused_unwritten}"
        );
        let UploadVerdict { told, untold: (untold, there), wrong } = &self.uploads;
        println!("uploads: {told} with a 201, {untold} cut off, of which {there} are there");
        wrong.iter().for_each(|wrong| println!("UPLOAD: {wrong}"));
        println!("slowest answer to <r/> {:?}", self.ledger.slowest_answer);
        println!("database {:.1} MB", self.bytes as f64 / 1e6);
        for (name, times) in [("first login", &self.usable), ("first page", &self.paged)] {
            if let (Some(median), Some(max)) = (times.get(times.len() / 2), times.last()) {
                println!("from the start to the {name}: median {median:.3?}, max {max:.3?}");
            }
        }
    }

    /// The claim of the run.
    pub fn must_be_clean(&self) {
        let wrong = &self.verdict.wrong;
        assert!(wrong.is_empty(), "{} breaches, see above\n{}", wrong.len(), self.log);
        let wrong = &self.rooms.wrong;
        assert!(wrong.is_empty(), "{} breaches in rooms, see above\n{}", wrong.len(), self.log);
        let wrong = &self.uploads.wrong;
        assert!(wrong.is_empty(), "{} breaches in uploads, see above\n{}", wrong.len(), self.log);
        assert!(self.verdict.acknowledged > 0, "nothing happened");
        let is_quiet = self.rooms.acknowledged == 0 && subject().is_none();
        assert!(!is_quiet, "nothing was said in rooms");
        assert_eq!(self.ledger.resumptions.refused_without_h, 0, "h was not given");
    }

    /// Files were uploaded, and the ends of the server cut some off.
    pub fn must_have_uploaded(&self) {
        let UploadVerdict { told, untold, .. } = &self.uploads;
        assert!(*told > 0 && untold.0 > 0, "{told} uploads were told, {} were cut", untold.0);
    }

    /// promise.md 11: who was cut off by a stop goes on, in 99 cases of 100 at least.
    pub fn must_have_resumed(&self) {
        if !self.resumes {
            println!("skipped: the server offers no stream management, so nobody resumes");
            return;
        }
        let told = self.ledger.resumptions;
        let refused = told.refused_with_h + told.refused_without_h + told.refused_unwritten;
        let all = told.granted + refused;
        assert!(all > 0 && told.granted * 100 >= all * 99, "{told:?}");
    }

    /// Nobody saw these accounts come or go, or leave a room, between the first and the last end of the server.
    pub fn nobody_went(&self, accounts: &[usize]) {
        let (Some(first), Some(last)) = (self.ledger.breaks.first(), self.ledger.breaks.last())
        else {
            return;
        };
        if !self.resumes {
            return;
        }
        let is_theirs = |device: &usize| accounts.contains(&self.ledger.devices[*device]);
        let devices = (0..self.ledger.devices.len()).filter(is_theirs);
        let nicks: HashSet<String> = devices.map(nick).collect();
        let flaps = self.ledger.presence.iter().filter(|seen| {
            let bare = seen.from.split('/').next().unwrap_or_default();
            let is_theirs = accounts.iter().any(|account| self.accounts[*account] == bare);
            // Each device sees itself come; that is its own affair.
            let is_own = self.accounts[self.ledger.devices[seen.device]] == bare;
            let device = seen.from.split_once(&format!("@{SERVICE}/")).map(|(_, nick)| nick);
            let left_room =
                seen.kind == "unavailable" && device.is_some_and(|device| nicks.contains(device));
            (left_room || is_theirs && !is_own) && seen.at > first.at && seen.at < last.at
        });
        let flaps: Vec<String> =
            flaps.map(|seen| format!("{} {} at {:?}", seen.from, seen.kind, seen.at)).collect();
        assert!(flaps.is_empty(), "seen: {flaps:?}");
    }
}

/// Accounts that upload.
const UPLOADERS: usize = 3;
/// Readers of each room at the end.
const READERS: usize = 3;
/// Without any entry in the book for so long, nothing more will come.
const PATIENCE: Duration = Duration::from_secs(5);
