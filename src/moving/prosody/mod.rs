//! Prosody's data: its folder of files (internal storage), its SQLite database, or both.
//!
//! One account after the other, each store in its turn, then rooms, then uploads. What is in memory is one value of
//! one store, or one item of a list.

mod account;
mod folder;
mod json;
mod lua;
mod room;
mod sqlite;
mod stanza;
mod stores;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use bytes::Bytes;

use self::lua::Table;
use self::stores::{Cursor, Item, Stored, Stores};
use super::parts::{self, untaken};
use super::piece::{MovedAccount, MovedFile, Piece, Source, SourceError};
use crate::xml::{Rules, check};

/// Opens `prosody:PATH`: the data folder, or its database.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let stores = Stores::open(path)?;
    let hosts = stores.hosts()?;
    if hosts.is_empty() {
        let place = path.display().to_string();
        let what = "has no data of Prosody: there should be a folder for each domain, as example%2ecom, or prosody.sqlite";
        return Err(SourceError { place, what: what.to_owned() });
    }
    let jobs = hosts.into_iter().map(Job::Host).collect();
    let place = path.display().to_string();
    Ok(Box::new(Prosody {
        stores,
        jobs,
        ready: VecDeque::new(),
        open: None,
        place,
        done: 0,
        total: 0,
    }))
}

/// What is to be read next.
#[derive(Debug)]
enum Job {
    /// A domain: says what there is.
    Host(String),
    /// A store of an account.
    Account { host: String, user: String, part: Part },
    /// The items of a node.
    Items { host: String, user: String, node: String },
    /// A room, but for its archive.
    Room { host: String, name: String, persistent: bool },
    /// A room's archive.
    Log { host: String, name: String },
    /// The list of uploads of a service.
    Uploads(String),
    /// An account, or a room, has been read.
    Done,
}

/// A store of an account, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Account,
    Roster,
    Vcard,
    Private,
    Blocks,
    Privacy,
    Preferences,
    Nodes,
    Archive,
    Waiting,
}

impl Part {
    const ALL: [Self; 10] = [
        Self::Account,
        Self::Roster,
        Self::Vcard,
        Self::Private,
        Self::Blocks,
        Self::Privacy,
        Self::Preferences,
        Self::Nodes,
        Self::Archive,
        Self::Waiting,
    ];

    /// The store's name, and what is in it, for people.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Account => ("accounts", "accounts"),
            Self::Roster => ("roster", "roster items"),
            Self::Vcard => ("vcard", "vCards"),
            Self::Private => ("private", "private XML"),
            Self::Blocks => ("blocklist", "blocked addresses"),
            Self::Privacy => ("privacy", "privacy lists"),
            Self::Preferences => ("archive_prefs", "archive preferences"),
            Self::Nodes => ("pep", "nodes"),
            Self::Archive => ("archive", "archived messages"),
            Self::Waiting => ("offline", "waiting messages"),
        }
    }
}

/// A list that is being read, and what becomes of its items.
#[derive(Debug)]
struct Reading {
    cursors: VecDeque<Cursor>,
    of: Items,
}

/// What the items of a list are.
#[derive(Debug)]
enum Items {
    Archive,
    Waiting { host: String },
    Node(String),
    Log,
    Uploads { host: String },
}

impl Items {
    fn what(&self) -> &'static str {
        match self {
            Self::Archive => "archived messages",
            Self::Waiting { .. } => "waiting messages",
            Self::Node(_) => "node items",
            Self::Log => "room messages",
            Self::Uploads { .. } => "files",
        }
    }
}

struct Prosody {
    stores: Stores,
    jobs: VecDeque<Job>,
    ready: VecDeque<Piece>,
    open: Option<Reading>,
    place: String,
    /// Accounts and rooms: how many were read, how many are known.
    done: u64,
    total: u64,
}

impl Source for Prosody {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(mut reading) = self.open.take() {
                if self.read(&mut reading) {
                    self.open = Some(reading);
                }
            } else if let Some(job) = self.jobs.pop_front() {
                self.work(job)?;
            } else {
                return Ok(None);
            }
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn progress(&self) -> Option<u32> {
        let share = self.done.saturating_mul(1000).checked_div(self.total)?;
        u32::try_from(share).ok()
    }
}

impl Prosody {
    fn work(&mut self, job: Job) -> Result<(), SourceError> {
        match job {
            Job::Host(host) => self.host(&host)?,
            Job::Account { host, user, part } => {
                let (store, what) = part.names();
                self.place = format!("{user}@{host}, {store}");
                if let Err(error) = self.account(&host, &user, part) {
                    self.ready.push_back(untaken(what, error.place, error.what));
                }
            }
            Job::Items { host, user, node } => {
                let store = format!("pep_{node}");
                self.list(&host, Some(&user), &store, Items::Node(node));
            }
            Job::Room { host, name, persistent } => self.room(&host, &name, persistent),
            Job::Log { host, name } => self.list(&host, Some(&name), "muc_log", Items::Log),
            Job::Uploads(host) => {
                self.list(&host, None, "uploads", Items::Uploads { host: host.clone() })
            }
            Job::Done => self.done = self.done.saturating_add(1),
        }
        Ok(())
    }

    /// What a domain has: accounts, rooms or uploads.
    fn host(&mut self, host: &str) -> Result<(), SourceError> {
        self.place = host.to_owned();
        let accounts = self.stores.users(host, "accounts")?;
        self.strangers(host, &accounts)?;
        self.total = self.total.saturating_add(accounts.len() as u64);
        for user in accounts {
            let account = |part| Job::Account { host: host.to_owned(), user: user.clone(), part };
            // The rest of its parts when its turn has come: so a million accounts are a million names.
            self.jobs.push_back(account(Part::Account));
        }
        self.rooms(host)?;
        self.jobs.push_back(Job::Uploads(host.to_owned()));
        for store in self.stores.stores(host)?.into_iter().filter(|it| !is_known(it)) {
            let why = "nothing here takes what it holds";
            self.ready.push_back(untaken("stores", format!("{host}: {store}"), why));
        }
        Ok(())
    }

    /// Those who have a roster but no account: their passwords are elsewhere.
    fn strangers(&mut self, host: &str, accounts: &[String]) -> Result<(), SourceError> {
        for user in self.stores.users(host, "roster")? {
            if accounts.binary_search(&user).is_err() {
                let why = "it has a roster, but no account among the data: its password is kept elsewhere";
                self.ready.push_back(untaken("accounts", format!("{user}@{host}"), why));
            }
        }
        Ok(())
    }

    fn rooms(&mut self, host: &str) -> Result<(), SourceError> {
        let rooms = self.stores.users(host, "config")?;
        let listed = self.stores.value(host, None, "persistent").ok().flatten().unwrap_or_default();
        self.total = self.total.saturating_add(rooms.len() as u64);
        for name in self.stores.users(host, "muc_log")? {
            if rooms.binary_search(&name).is_err() {
                let why = "it has an archive, but no configuration";
                self.ready.push_back(untaken("rooms", format!("{name}@{host}"), why));
            }
        }
        for name in rooms {
            let persistent = listed.is(&format!("{name}@{host}"));
            self.jobs.push_back(Job::Room { host: host.to_owned(), name, persistent });
        }
        Ok(())
    }

    fn account(&mut self, host: &str, user: &str, part: Part) -> Result<(), SourceError> {
        let (store, _) = part.names();
        match part {
            Part::Archive => {
                self.list(host, Some(user), store, Items::Archive);
                return Ok(());
            }
            Part::Waiting => {
                self.list(host, Some(user), store, Items::Waiting { host: host.to_owned() });
                return Ok(());
            }
            _ => {}
        }
        let Some(table) = self.stores.value(host, Some(user), store)? else { return Ok(()) };
        if part == Part::Account {
            // Not before it is read: parts go to the account that was named last.
            self.jobs.push_front(Job::Done);
            for part in Part::ALL.into_iter().rev().filter(|it| *it != Part::Account) {
                let (host, user) = (host.to_owned(), user.to_owned());
                self.jobs.push_front(Job::Account { host, user, part });
            }
        }
        let pieces = match part {
            Part::Account => {
                let details = self.stores.value(host, Some(user), "account_details").ok().flatten();
                account::account(host, user, &table, &details.unwrap_or_default())
            }
            Part::Roster => account::roster(&table),
            Part::Vcard => vec![account::vcard(&table, &format!("{user}@{host}"))],
            Part::Private => account::private(&table),
            Part::Blocks => account::blocked(&table),
            // It was moved to the block list when there was none (mod_blocklist).
            Part::Privacy if self.stores.value(host, Some(user), "blocklist")?.is_some() => {
                Vec::new()
            }
            Part::Privacy => account::privacy(&table),
            Part::Preferences => vec![account::preferences(&table)],
            Part::Nodes => self.nodes(host, user, &table),
            Part::Archive | Part::Waiting => Vec::new(),
        };
        self.ready.extend(pieces);
        Ok(())
    }

    fn nodes(&mut self, host: &str, user: &str, table: &Table) -> Vec<Piece> {
        for (node, _) in table.texts() {
            let (host, user, node) = (host.to_owned(), user.to_owned(), node.to_owned());
            self.jobs.push_front(Job::Items { host, user, node });
        }
        account::nodes(table)
    }

    fn room(&mut self, host: &str, name: &str, persistent: bool) {
        let jid = format!("{name}@{host}");
        self.place = jid.clone();
        self.done = self.done.saturating_add(1);
        let found = self.stores.value(host, Some(name), "config");
        let pieces = match found {
            Ok(Some(table)) => room::room(&jid, &table, persistent),
            Ok(None) => Vec::new(),
            Err(error) => vec![untaken("rooms", error.place, error.what)],
        };
        let taken = matches!(pieces.first(), Some(Piece::Room { .. }));
        self.ready.extend(pieces);
        if !taken {
            return;
        }
        match self.stores.value(host, Some(name), "vcard_muc") {
            Ok(Some(table)) => self.ready.push_back(account::vcard(&table, &jid)),
            Ok(None) => {}
            Err(error) => self.ready.push_back(untaken("vCards", error.place, error.what)),
        }
        self.jobs.push_front(Job::Log { host: host.to_owned(), name: name.to_owned() });
    }

    /// Begins to read a list.
    fn list(&mut self, host: &str, user: Option<&str>, store: &str, of: Items) {
        match self.stores.list(host, user, store) {
            Ok(cursors) => self.open = Some(Reading { cursors: cursors.into(), of }),
            Err(error) => self.ready.push_back(untaken(of.what(), error.place, error.what)),
        }
    }

    /// Reads an item of a list; whether there may be more.
    fn read(&mut self, reading: &mut Reading) -> bool {
        let Some(cursor) = reading.cursors.front_mut() else { return false };
        let what = reading.of.what();
        match self.stores.item(cursor) {
            Ok(Some(Ok(item))) => {
                self.place = self.stores.place(cursor);
                let place = self.place.clone();
                let piece = self.piece(&reading.of, &item);
                let piece = piece.unwrap_or_else(|why| Some(untaken(what, place, why)));
                self.ready.extend(piece);
            }
            Ok(Some(Err(error))) => self.ready.push_back(untaken(what, error.place, error.what)),
            Ok(None) => drop(reading.cursors.pop_front()),
            Err(error) => {
                let why = format!("{}; what follows in it is not read", error.what);
                self.ready.push_back(untaken(what, error.place, why));
                reading.cursors.pop_front();
            }
        }
        true
    }

    fn piece(&mut self, of: &Items, item: &Item) -> Result<Option<Piece>, String> {
        match of {
            Items::Archive | Items::Log => {
                let message = item.element.xml("jabber:client")?;
                if matches!(of, Items::Log) && !message.starts_with("<message") {
                    return Ok(None); // who came and went, if the room kept that, too
                }
                Ok(Some(parts::archived(&item.key, item.at, &message)))
            }
            Items::Waiting { host } => {
                let message = item.element.xml("jabber:client")?;
                Ok(Some(parts::waiting(parts::delayed(&message, item.at, host))))
            }
            Items::Node(node) => {
                let payload = item.element.xml("http://jabber.org/protocol/pubsub")?;
                let publisher = Some(item.with.as_str()).filter(|it| !it.is_empty());
                Ok(Some(parts::node_item(node, &item.key, publisher, &payload)))
            }
            Items::Uploads { host } => self.upload(host, item),
        }
    }

    /// A file that was uploaded, behind its owner.
    fn upload(&mut self, host: &str, item: &Item) -> Result<Option<Piece>, String> {
        let [name, size, kind] = request(&item.element)?;
        let size = size.parse().map_err(|_| format!("{name}: its size is no number"))?;
        let owner = item.with.split('/').next().unwrap_or_default();
        let Some((user, domain)) = owner.split_once('@') else {
            return Err(format!("{name}: its owner {owner:?} is no account"));
        };
        let file = self.stores.upload(host, &item.key).map_err(|error| error.to_string())?;
        let Some(file) = file else {
            return Err(format!(
                "{name} of {owner}: the file is not there (it was never sent, or has expired)"
            ));
        };
        self.ready.push_back(Piece::Account(MovedAccount {
            host: domain.to_owned(),
            name: user.to_owned(),
            only_named: true,
            ..MovedAccount::default()
        }));
        let kind = if kind.is_empty() { "application/octet-stream".to_owned() } else { kind };
        let body = Box::new(file);
        Ok(Some(Piece::File(MovedFile {
            name,
            media_type: kind,
            size,
            at: item.at,
            url: None,
            body,
        })))
    }
}

/// The name, size and type of XEP-0363's request.
fn request(element: &Stored) -> Result<[String; 3], String> {
    const NAMES: [&str; 3] = ["filename", "size", "content-type"];
    match element {
        Stored::Table(table) => {
            let attr = table.table("attr");
            Ok(NAMES.map(|name| attr.and_then(|it| it.get(name)?.shown()).unwrap_or_default()))
        }
        Stored::Xml(text) => {
            let rules = Rules { content_ns: "", depth_max: 2, attributes_max: 16, children_max: 4 };
            let element = check(Bytes::copy_from_slice(text.trim().as_bytes()), &rules);
            let element = element.map_err(|error| error.to_string())?;
            Ok(NAMES.map(|name| element.attr(name).map(Into::into).unwrap_or_default()))
        }
    }
}

/// Stores that are read, and those that say nothing of what people had.
fn is_known(store: &str) -> bool {
    const OTHER: [&str; 17] = [
        "account_details",
        "uploads",
        "upload_stats",
        "http_file_share",
        "config",
        "persistent",
        "state",
        "muc_log",
        "vcard_muc",
        "archive_cleanup",
        "muc_log_cleanup",
        "cron",
        "lastlog",
        "lastlog2",
        "smacks_h",
        "account_activity",
        "pep_data",
    ];
    let parts: BTreeSet<&str> = Part::ALL.into_iter().map(|it| it.names().0).collect();
    store.starts_with("pep_") || parts.contains(store) || OTHER.contains(&store)
}
