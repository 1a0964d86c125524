//! The text dump of ejabberd's Mnesia tables (`ejabberdctl dump`).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::element;
use super::index::{Index, Kind, Owner, Record, of_node};
use super::records;
use super::room::{self, jid};
use super::term::{self, Term, Terms};
use crate::moving::parts::{self, untaken};
use crate::moving::piece::{Piece, Source, SourceError};
use crate::moving::scan::Bounds;

/// Tables that say nothing of what people had.
const PASSING: [&str; 16] = [
    "caps_features",
    "last_activity",
    "roster_version",
    "muc_online_room",
    "muc_online_users",
    "session",
    "session_counter",
    "vcard_search",
    "pubsub_index",
    "pubsub_last_item",
    "pubsub_orphan",
    "mod_register_ip",
    "sr_group",
    "acl",
    "access",
    "reg_users_counter",
];

/// Opens a dump: reads it once, to know where what is.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let index = indexed(path, &file)?;
    let total = index.owners().map_err(|error| at(path, error))?;
    let ready = named(&index).map_err(|error| at(path, error))?.into();
    let (owner, rooms, open) = (None, false, Vec::new());
    let path = path.to_owned();
    Ok(Box::new(Dump { path, file, index, ready, owner, rooms, open, line: 0, done: 0, total }))
}

/// Reads all of it once.
fn indexed(path: &Path, file: &File) -> Result<Index, SourceError> {
    let index = Index::new().map_err(|error| at(path, error))?;
    let mut terms = Terms::new(BufReader::with_capacity(256 * 1024, file), Bounds::DEFAULT);
    loop {
        let failed = |fault: crate::moving::scan::Fault| SourceError {
            place: format!("{}:{}", path.display(), fault.line),
            what: fault.what,
        };
        let Some((offset, line)) = terms.start().map_err(failed)? else { break };
        let Some(term) = terms.term().map_err(failed)? else { break };
        let length = terms.read().saturating_sub(offset);
        let [offset, length, line] =
            [offset, length, line].map(|it| i64::try_from(it).unwrap_or(i64::MAX));
        note(&index, &term, Record { kind: Kind::Passwd, at: 0, offset, length, line })
            .map_err(|error| at(path, error))?;
    }
    index.close().map_err(|error| at(path, error))?;
    Ok(index)
}

/// What of it is not read, or not taken as it is.
fn named(index: &Index) -> rusqlite::Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (name, records) in index.others()? {
        let why = format!("{records} records: nothing here takes what it holds");
        pieces.push(untaken("tables", name, why));
    }
    for (service, jid, nick) in index.nicks()? {
        pieces.push(records::service_nick(&nick, &jid, &service));
    }
    Ok(pieces)
}

fn at(path: &Path, what: impl ToString) -> SourceError {
    SourceError { place: path.display().to_string(), what: what.to_string() }
}

/// Notes where a record is, and whose.
fn note(index: &Index, term: &Term, record: Record) -> rusqlite::Result<()> {
    let [table, key, rest @ ..] = term.tuple() else { return Ok(()) };
    let Some(table) = table.atom() else { return Ok(()) };
    let of = |owner: Option<Owner>, kind: Kind, at: i64| match owner {
        Some(owner) => index.add(&owner, Record { kind, at, ..record }),
        None => index.add_other(table),
    };
    match table {
        "tables" => Ok(()),
        "passwd" => of(us(key), Kind::Passwd, 0),
        "roster" => of(rest.first().and_then(us), Kind::Roster, 0),
        "vcard" => of(us(key), Kind::Vcard, 0),
        "private_storage" => of(us(key), Kind::Private, 0),
        "privacy" => of(us(key), Kind::Privacy, 0),
        "archive_prefs" => of(us(key), Kind::Prefs, 0),
        "pubsub_node" => of(key.tuple().first().and_then(us), Kind::Node, 0),
        "pubsub_state" => of(key.tuple().get(1).and_then(of_node), Kind::State, 0),
        "pubsub_item" => {
            let at = rest.get(2).and_then(|it| records::time(it.tuple().first()?));
            of(key.tuple().get(1).and_then(of_node), Kind::Item, at.unwrap_or(0))
        }
        "archive_msg" => {
            let room = rest.get(6).and_then(Term::atom) == Some("groupchat");
            let kind = if room { Kind::RoomArchive } else { Kind::Archive };
            of(us(key), kind, rest.get(1).and_then(records::time).unwrap_or(0))
        }
        "offline_msg" => {
            of(us(key), Kind::Offline, rest.first().and_then(records::time).unwrap_or(0))
        }
        "muc_room" => of(us(key), Kind::Room, 0),
        "muc_registered" => match (key.tuple(), rest.first().and_then(Term::text)) {
            ([us, service], Some(nick)) => {
                let (jid, service) =
                    (jid(us).unwrap_or_default(), service.text().unwrap_or_default());
                index.add_nick(service, &jid, nick)
            }
            _ => index.add_other(table),
        },
        _ if PASSING.contains(&table) => Ok(()),
        _ => index.add_other(table),
    }
}

/// `{User, Server}` and `{User, Server, Resource}` as server and user.
fn us(term: &Term) -> Option<Owner> {
    let [user, server, ..] = term.tuple() else { return None };
    Some((server.text()?.to_owned(), user.text()?.to_owned()))
}

/// The records of an account, a room or a node, some at a time.
#[derive(Debug)]
struct Reading {
    owner: Owner,
    rooms: bool,
    /// The name of the node, if it is one.
    node: Option<String>,
    people: Vec<(String, String)>,
    page: VecDeque<Record>,
    after: Option<Record>,
}

impl Reading {
    fn new(owner: Owner, rooms: bool, node: Option<String>) -> Self {
        Self { owner, rooms, node, people: Vec::new(), page: VecDeque::new(), after: None }
    }

    /// What is next, which stays.
    fn first(&mut self, index: &Index) -> rusqlite::Result<Option<Record>> {
        if self.page.is_empty() {
            self.page = index.records(&self.owner, self.after, self.rooms)?.into();
            self.after = self.page.back().copied().or(self.after);
        }
        Ok(self.page.front().copied())
    }
}

struct Dump {
    path: PathBuf,
    file: File,
    index: Index,
    ready: VecDeque<Piece>,
    owner: Option<Owner>,
    rooms: bool,
    open: Vec<Reading>,
    line: i64,
    done: i64,
    total: i64,
}

impl Source for Dump {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(mut reading) = self.open.pop() {
                if let Some(node) = self.step(&mut reading)? {
                    // What it has comes before the rest of its account's.
                    self.open.push(reading);
                    self.open.extend(node);
                }
                continue;
            }
            let next = self.index.next_owner(self.owner.as_ref(), self.rooms);
            match next.map_err(|error| at(&self.path, error))? {
                Some(owner) => self.begin(owner)?,
                None if !self.rooms => (self.rooms, self.owner) = (true, None),
                None => return Ok(None),
            }
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }

    fn progress(&self) -> Option<u32> {
        u32::try_from(self.done.saturating_mul(1000).checked_div(self.total)?).ok()
    }
}

impl Dump {
    /// An account or a room: it has to have a password or options.
    fn begin(&mut self, owner: Owner) -> Result<(), SourceError> {
        let mut reading = Reading::new(owner.clone(), self.rooms, None);
        let first = reading.first(&self.index).map_err(|error| at(&self.path, error))?;
        let (host, name) = &owner;
        match first.map(|it| it.kind) {
            Some(Kind::Passwd | Kind::Room) => {
                self.done = self.done.saturating_add(1);
                self.open.push(reading);
            }
            _ if self.rooms => {
                let why = "it has an archive, but no options: it was not persistent, or has been destroyed";
                self.ready.push_back(untaken("rooms", format!("{name}@{host}"), why));
            }
            _ => {
                let why = "it has data, but no password here: it has been removed, or its password is kept elsewhere";
                self.ready.push_back(untaken("accounts", format!("{name}@{host}"), why));
            }
        }
        self.owner = Some(owner);
        Ok(())
    }

    /// Reads a record. Nothing: it was the last; a node: what is to be read first.
    fn step(&mut self, reading: &mut Reading) -> Result<Option<Option<Reading>>, SourceError> {
        let first = reading.first(&self.index).map_err(|error| at(&self.path, error))?;
        let Some(record) = first else {
            if let Some(node) = reading.node.as_deref().filter(|_| !reading.people.is_empty()) {
                self.ready.push_back(parts::node_affiliations(node, &reading.people));
            }
            return Ok(None);
        };
        reading.page.pop_front();
        self.line = record.line;
        let term = self.load(record)?;
        let [_, fields @ ..] = term.tuple() else { return Ok(Some(None)) };
        if record.kind == Kind::Node {
            return Ok(Some(self.node(fields)));
        }
        let place = self.place();
        let what = what(record.kind);
        match pieces(&self.index, reading, record, fields) {
            Ok(pieces) => self.ready.extend(pieces),
            Err(why) => self.ready.push_back(untaken(what, place, why)),
        }
        Ok(Some(None))
    }

    /// A node: its options, and where its items are.
    fn node(&mut self, fields: &[Term]) -> Option<Reading> {
        let [id, number, _, _, _, options, ..] = fields else { return None };
        let name = id.tuple().get(1)?.text()?;
        self.ready.extend(records::node(name, options));
        Some(Reading::new(of_node(number)?, false, Some(name.to_owned())))
    }

    fn load(&mut self, record: Record) -> Result<Term, SourceError> {
        let offset = u64::try_from(record.offset).unwrap_or(u64::MAX);
        let length = usize::try_from(record.length).unwrap_or(0);
        let mut text = vec![0; length];
        let read =
            self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut text));
        read.map_err(|error| SourceError { place: self.place(), what: error.to_string() })?;
        term::record(&text).map_err(|fault| {
            let what = format!("{}; has the file changed while it was read?", fault.what);
            SourceError { place: self.place(), what }
        })
    }
}

/// What a record is of, for people.
fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Passwd => "accounts",
        Kind::Roster => "roster items",
        Kind::Vcard => "vCards",
        Kind::Private => "private XML",
        Kind::Privacy => "privacy lists",
        Kind::Prefs => "archive preferences",
        Kind::Node => "nodes",
        Kind::State => "node affiliations",
        Kind::Item => "node items",
        Kind::Archive => "archived messages",
        Kind::Offline => "waiting messages",
        Kind::Room => "rooms",
        Kind::RoomArchive => "room messages",
    }
}

/// The pieces of a record, but for nodes.
fn pieces(
    index: &Index,
    reading: &mut Reading,
    record: Record,
    fields: &[Term],
) -> Result<Vec<Piece>, String> {
    let (host, name) = &reading.owner;
    let strange = || "a record of an unknown shape".to_owned();
    let field = |at: usize| fields.get(at).ok_or_else(strange);
    Ok(match record.kind {
        Kind::Passwd => records::passwd(host, name, field(1)?),
        Kind::Roster => records::roster(fields),
        Kind::Vcard => vec![parts::whole(element::write(field(1)?, "vcard-temp")?)],
        Kind::Private => {
            let namespace = field(0)?.tuple().get(2).and_then(Term::text).unwrap_or_default();
            vec![parts::private(element::write(field(1)?, namespace)?)]
        }
        Kind::Privacy => records::privacy_lists(fields),
        Kind::Prefs => records::preferences(fields).into_iter().collect(),
        Kind::Archive => {
            let id = field(1)?.text().unwrap_or_default();
            vec![parts::archived(id, record.at, &element::write(field(5)?, "jabber:client")?)]
        }
        Kind::RoomArchive => {
            let (id, nick) = (field(1)?.text(), field(6)?.text().unwrap_or_default());
            // It is kept as it came to the room; its archive has it as the room sent it.
            let message = element::write(field(5)?, "jabber:client")?;
            let message = parts::sent_by(&message, &format!("{name}@{host}/{nick}"));
            vec![parts::archived(id.unwrap_or_default(), record.at, &message)]
        }
        Kind::Offline => {
            let message = element::write(field(5)?, "jabber:client")?;
            vec![records::waiting(&message, Some(record.at).filter(|at| *at > 0), host)]
        }
        Kind::Room => {
            let jid = format!("{name}@{host}");
            room::room(&jid, field(1)?, &|of: &str| index.nick(host, of))
        }
        Kind::Item => return item(reading, fields).map(|it| vec![it]),
        Kind::State => {
            let affiliation = field(3)?.atom().and_then(records::affiliation);
            if let (Some(word), Some(jid)) = (affiliation, field(0)?.tuple().first().and_then(jid))
            {
                reading.people.push((jid, word.to_owned()));
            }
            Vec::new()
        }
        Kind::Node => Vec::new(),
    })
}

fn item(reading: &Reading, fields: &[Term]) -> Result<Piece, String> {
    let [id, _, _, modification, payload, ..] = fields else {
        return Err("a record of an unknown shape".to_owned());
    };
    let node = reading.node.as_deref().unwrap_or_default();
    let id = id.tuple().first().and_then(Term::text).ok_or("its id is no text")?;
    let publisher = modification.tuple().get(1).and_then(jid);
    let payload = match payload.list() {
        [payload, ..] => element::write(payload, "http://jabber.org/protocol/pubsub")?,
        [] => String::new(),
    };
    Ok(parts::node_item(node, id, publisher.as_deref(), &payload))
}
