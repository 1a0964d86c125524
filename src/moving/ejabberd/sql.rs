//! ejabberd's SQL tables in SQLite, of both schemas: the new one names the domain in each row, the old one is of one
//! domain, which nothing in it names.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::jobs::{Job, Part};
use super::records::{self, Privacy, Scram};
use super::room;
use super::term;
use crate::moving::parts::{self, Contact, untaken};
use crate::moving::piece::{Piece, Source, SourceError};
use crate::moving::sqlite;

/// Opens a database.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let db = sqlite::open(path)?;
    let failed = |error| sqlite::failed(path, &error);
    let wrong =
        |what: &str| SourceError { place: path.display().to_string(), what: what.to_owned() };
    if !sqlite::has(&db, "users", "serverkey").map_err(failed)? {
        return Err(wrong("is a database, but not one of ejabberd: it lacks the table users"));
    }
    let new = sqlite::has(&db, "users", "server_host").map_err(failed)?;
    let only = match (new, parts::named_domain(path)) {
        (true, _) => None,
        (false, Some(domain)) => Some(domain.to_owned()),
        (false, None) => {
            return Err(wrong(
                "has the old schema, which does not say of which domain it is: give a copy that is named after the \
                 domain, as example.org.sqlite",
            ));
        }
    };
    let total = db.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).map_err(failed)?;
    let mut sql = Sql {
        path: path.to_owned(),
        db,
        only,
        jobs: VecDeque::from([
            Job::NextAccount(String::new(), String::new()),
            Job::NextRoom(String::new(), String::new()),
        ]),
        ready: VecDeque::new(),
        place: String::new(),
        done: 0,
        total,
    };
    sql.nicks().map_err(failed)?;
    Ok(Box::new(sql))
}

/// Rows that are read at once.
const PAGE: usize = 200;
/// Groups of a contact that are read.
const GROUPS_MAX: usize = 1_000;
/// Bytes that are read at once, but for the last row of them.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

struct Sql {
    path: PathBuf,
    db: Connection,
    /// The only domain, in the old schema.
    only: Option<String>,
    jobs: VecDeque<Job>,
    ready: VecDeque<Piece>,
    place: String,
    done: i64,
    total: i64,
}

impl Source for Sql {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(job) = self.jobs.pop_front() else { return Ok(None) };
            self.work(job).map_err(|error| sqlite::failed(&self.path, &error))?;
        }
    }

    fn place(&self) -> String {
        format!("{}: {}", self.path.display(), self.place)
    }

    fn progress(&self) -> Option<u32> {
        u32::try_from(self.done.saturating_mul(1000).checked_div(self.total)?).ok()
    }
}

type Done<T = ()> = rusqlite::Result<T>;

impl Sql {
    fn work(&mut self, job: Job) -> Done {
        match job {
            Job::NextAccount(host, name) => self.account(&host, &name),
            Job::Part(part, host, name) => match part {
                Part::Vcard => self.vcard(&host, &name),
                Part::Private => self.private(&host, &name),
                Part::Privacy => self.privacy(&host, &name),
                Part::Prefs => self.preferences(&host, &name),
                Part::Nodes => self.nodes(&host, &name),
            },
            Job::Roster { name, host, after } => self.roster(name, host, after),
            Job::Node(number, name) => self.node(number, name),
            Job::Items(number, name, at, row) => self.items(number, name, &at, row),
            Job::Archive { name, host, after } => self.archive(name, host, after),
            Job::Waiting { name, host, after } => self.waiting(name, host, after),
            Job::NextRoom(host, name) => self.room(&host, &name),
        }
    }

    /// The condition that a row is of a domain; in the old schema all are.
    fn at_host(&self) -> &'static str {
        if self.only.is_some() { "?1 = ?1" } else { "server_host = ?1" }
    }

    /// Whether a table is there; old versions lack some, and a table may be elsewhere.
    fn has(&self, table: &str) -> Done<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?
            .exists([table])
    }

    fn account(&mut self, host: &str, name: &str) -> Done {
        let column = if self.only.is_some() { "?1" } else { "server_host" };
        let of = self.only.clone().unwrap_or_else(|| host.to_owned());
        let sql = format!(
            "SELECT {column}, username, {}, iterationcount FROM users
             WHERE ({column}, username) > (?1, ?2) ORDER BY 1, 2 LIMIT 1",
            sqlite::all_bounded(&["password", "serverkey", "salt"])
        );
        let found = {
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut rows = statement.query((&of, name))?;
            match rows.next()? {
                Some(row) => {
                    Some((row.get::<_, String>(0)?, row.get::<_, String>(1)?, credentials(row)?))
                }
                None => None,
            }
        };
        let Some((host, name, (password, server, salt, iterations))) = found else { return Ok(()) };
        self.place = format!("{name}@{host}");
        self.done = self.done.saturating_add(1);
        let pieces = if iterations > 0 && !salt.is_empty() {
            let stored = |hash| Some((hash, password.strip_prefix(hash)?.strip_prefix(':')?));
            let found = ["sha256", "sha512"].into_iter().find_map(stored);
            let (hash, stored) = found.unwrap_or(("sha", password.as_str()));
            let scram = Scram { hash, stored, server: &server, salt: &salt, iterations };
            records::account(&host, &name, None, Some(scram))
        } else {
            records::account(&host, &name, Some(&password), None)
        };
        self.ready.extend(pieces);
        self.parts_of(host, name);
        Ok(())
    }

    fn parts_of(&mut self, host: String, name: String) {
        self.jobs.push_front(Job::NextAccount(host.clone(), name.clone()));
        self.jobs.push_front(Job::Waiting {
            name: name.clone(),
            host: host.clone(),
            after: i64::MIN,
        });
        let after = (i64::MIN, 0);
        self.jobs.push_front(Job::Archive { name: name.clone(), host: Some(host.clone()), after });
        let all = [Part::Nodes, Part::Prefs, Part::Privacy, Part::Private, Part::Vcard];
        for part in all {
            self.jobs.push_front(Job::Part(part, host.clone(), name.clone()));
        }
        self.jobs.push_front(Job::Roster { name, host, after: i64::MIN });
    }

    fn roster(&mut self, name: String, host: String, after: i64) -> Done {
        let sql = format!(
            "SELECT {}, rowid FROM rosterusers WHERE {} AND username = ?2 AND rowid > ?3
             ORDER BY rowid LIMIT {PAGE}",
            sqlite::all_bounded(&["jid", "nick", "subscription", "ask", "askmessage"]),
            self.at_host()
        );
        let (grp, at) = (sqlite::bounded("grp"), self.at_host());
        let groups = format!(
            "SELECT {grp} FROM rostergroups WHERE {at} AND username = ?2 AND jid = ?3 ORDER BY grp LIMIT {GROUPS_MAX}"
        );
        let (mut contacts, mut of) =
            (self.db.prepare_cached(&sql)?, self.db.prepare_cached(&groups)?);
        let mut rows = contacts.query((&host, &name, after))?;
        let (mut last, mut count) = (after, 0_usize);
        while let Some(row) = rows.next()? {
            let jid: String = row.get(0)?;
            let groups = of
                .query_map((&host, &name, &jid), |row| row.get(0))?
                .collect::<Done<Vec<String>>>()?;
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let (nick, subscription, ask, status): (String, String, String, Option<String>) =
                (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            let subscription = match subscription.as_str() {
                "B" => "both",
                "T" => "to",
                "F" => "from",
                _ => "none",
            };
            let ask = match ask.as_str() {
                "S" | "O" => "out",
                "I" => "in",
                "B" => "both",
                _ => "none",
            };
            let it = Contact {
                jid: &jid,
                name: &nick,
                subscription,
                groups: &groups,
                ..Contact::default()
            };
            self.ready.extend(records::contact(it, ask, status.as_deref().unwrap_or_default()));
            (last, count) = (row.get(5)?, count.saturating_add(1));
        }
        if count >= PAGE {
            self.jobs.push_front(Job::Roster { name, host, after: last });
        }
        Ok(())
    }

    fn vcard(&mut self, host: &str, name: &str) -> Done {
        let (vcard, at) = (sqlite::bounded("vcard"), self.at_host());
        let sql = format!("SELECT {vcard} FROM vcard WHERE {at} AND username = ?2");
        for text in self.texts(&sql, host, name)? {
            self.ready.push_back(parts::whole(parts::declared(&text, "vcard-temp").into_owned()));
        }
        Ok(())
    }

    fn texts(&self, sql: &str, host: &str, name: &str) -> Done<Vec<String>> {
        self.db.prepare_cached(sql)?.query_map((host, name), |row| row.get(0))?.collect()
    }

    fn private(&mut self, host: &str, name: &str) -> Done {
        let (texts, at) = (sqlite::all_bounded(&["namespace", "data"]), self.at_host());
        let sql = format!("SELECT {texts} FROM private_storage WHERE {at} AND username = ?2");
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((host, name))?;
        while let Some(row) = rows.next()? {
            let (namespace, text): (String, String) = (row.get(0)?, row.get(1)?);
            self.ready.push_back(parts::private(parts::declared(&text, &namespace).into_owned()));
        }
        Ok(())
    }

    fn privacy(&mut self, host: &str, name: &str) -> Done {
        let at = self.at_host();
        let default = format!("SELECT name FROM privacy_default_list WHERE {at} AND username = ?2");
        let default = self.texts(&default, host, name)?.pop();
        let sql = format!(
            "SELECT {}, d.t, {}, d.action FROM privacy_list l JOIN privacy_list_data d ON d.id = l.id
             WHERE {at} AND username = ?2 ORDER BY l.name, d.ord",
            sqlite::bounded("l.name"),
            sqlite::bounded("d.value")
        );
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((host, name))?;
        while let Some(row) = rows.next()? {
            let (list, kind, value, action): (String, String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let kind = match kind.as_str() {
                "j" => "jid",
                "g" => "group",
                "s" => "subscription",
                _ => "none",
            };
            let it = Privacy { kind: kind.to_owned(), value, denies: action == "d" };
            self.ready.push_back(records::privacy(&list, default.as_deref() == Some(&list), &it));
        }
        Ok(())
    }

    fn preferences(&mut self, host: &str, name: &str) -> Done {
        let sql = format!(
            "SELECT {} FROM archive_prefs WHERE {} AND username = ?2",
            sqlite::all_bounded(&["def", "always", "never"]),
            self.at_host()
        );
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((host, name))?;
        while let Some(row) = rows.next()? {
            let [default, always, never]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            match (jids(&always), jids(&never)) {
                (Ok(always), Ok(never)) => {
                    self.ready.push_back(parts::preferences(&default, &always, &never))
                }
                (Err(why), _) | (_, Err(why)) => {
                    self.ready.push_back(untaken(
                        "archive preferences",
                        format!("{name}@{host}"),
                        why,
                    ));
                }
            }
        }
        Ok(())
    }

    fn nodes(&mut self, host: &str, name: &str) -> Done {
        let mut found = self.db.prepare_cached(
            "SELECT nodeid, node FROM pubsub_node WHERE host = ?1 ORDER BY 1 DESC",
        )?;
        let mut rows = found.query([format!("{name}@{host}")])?;
        while let Some(row) = rows.next()? {
            self.jobs.push_front(Job::Node(row.get(0)?, row.get(1)?));
        }
        Ok(())
    }

    fn node(&mut self, number: i64, name: String) -> Done {
        let mut options =
            self.db.prepare_cached("SELECT name, val FROM pubsub_node_option WHERE nodeid = ?1")?;
        let mut rows = options.query([number])?;
        let mut fields = Vec::new();
        while let Some(row) = rows.next()? {
            let (option, value): (String, String) = (row.get(0)?, row.get(1)?);
            fields.extend(
                term::one(&value).ok().and_then(|value| records::node_field(&option, &value)),
            );
        }
        let sql = "SELECT jid, affiliation FROM pubsub_state WHERE nodeid = ?1 ORDER BY jid";
        let mut states = self.db.prepare_cached(sql)?;
        let mut rows = states.query([number])?;
        let mut people = Vec::new();
        while let Some(row) = rows.next()? {
            let (jid, affiliation): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let word = records::affiliation(affiliation.as_deref().unwrap_or_default());
            people.extend(word.map(|word| (jid, word.to_owned())));
        }
        self.ready.push_back(parts::node(&name, &fields));
        if !people.is_empty() {
            self.ready.push_back(parts::node_affiliations(&name, &people));
        }
        self.jobs.push_front(Job::Items(number, name, String::new(), i64::MIN));
        Ok(())
    }

    fn items(&mut self, number: i64, node: String, at: &str, row: i64) -> Done {
        let sql = format!(
            "SELECT modification, rowid, {} FROM pubsub_item
             WHERE nodeid = ?1 AND (modification, rowid) > (?2, ?3) ORDER BY 1, 2",
            sqlite::all_bounded(&["itemid", "publisher", "payload"])
        );
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((number, at, row))?;
        let (mut count, mut bytes) = (0_usize, 0_usize);
        while let Some(row) = rows.next()? {
            let [id, publisher, payload]: [String; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
            let publisher = Some(publisher.as_str()).filter(|it| !it.is_empty());
            let payload = parts::declared(&payload, "http://jabber.org/protocol/pubsub");
            self.ready.push_back(parts::node_item(&node, &id, publisher, &payload));
            (count, bytes) = (count.saturating_add(1), bytes.saturating_add(payload.len()));
            if count >= PAGE || bytes >= PAGE_BYTES {
                self.jobs.push_front(Job::Items(number, node, row.get(0)?, row.get(1)?));
                return Ok(());
            }
        }
        Ok(())
    }

    fn archive(&mut self, name: String, host: Option<String>, after: (i64, i64)) -> Done {
        // A room's rows stand under its whole address, at whatever domain its service belongs to.
        let at = if host.is_some() { self.at_host() } else { "?1 IS ?1 AND kind = 'groupchat'" };
        let sql = format!(
            "SELECT timestamp, id, {}, nick FROM archive WHERE {at} AND username = ?2
             AND (timestamp, id) > (?3, ?4) ORDER BY timestamp, id",
            sqlite::bounded("xml")
        );
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((&host, &name, after.0, after.1))?;
        let (mut count, mut bytes) = (0_usize, 0_usize);
        while let Some(row) = rows.next()? {
            let (at, id, xml): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // Its id is its time for everybody, not the number of its row.
            let mut message = parts::declared(&xml, "jabber:client");
            if host.is_none() {
                // It is kept as it came to the room; its archive has it as the room sent it.
                let nick: Option<String> = row.get(3)?;
                let from = format!("{name}/{}", nick.unwrap_or_default());
                message = parts::sent_by(&message, &from).into();
            }
            self.ready.push_back(parts::archived(&at.to_string(), at, &message));
            (count, bytes) = (count.saturating_add(1), bytes.saturating_add(xml.len()));
            if count >= PAGE || bytes >= PAGE_BYTES {
                self.jobs.push_front(Job::Archive { name, host, after: (at, id) });
                return Ok(());
            }
        }
        Ok(())
    }

    fn waiting(&mut self, name: String, host: String, after: i64) -> Done {
        let sql = format!(
            "SELECT seq, {} FROM spool WHERE {} AND username = ?2 AND seq > ?3 ORDER BY seq",
            sqlite::bounded("xml"),
            self.at_host()
        );
        let mut found = self.db.prepare_cached(&sql)?;
        let mut rows = found.query((&host, &name, after))?;
        let (mut count, mut bytes) = (0_usize, 0_usize);
        while let Some(row) = rows.next()? {
            let (seq, xml): (i64, String) = (row.get(0)?, row.get(1)?);
            self.ready.push_back(records::waiting(
                &parts::declared(&xml, "jabber:client"),
                None,
                &host,
            ));
            (count, bytes) = (count.saturating_add(1), bytes.saturating_add(xml.len()));
            if count >= PAGE || bytes >= PAGE_BYTES {
                self.jobs.push_front(Job::Waiting { name, host, after: seq });
                return Ok(());
            }
        }
        Ok(())
    }

    fn room(&mut self, host: &str, name: &str) -> Done {
        if !self.has("muc_room")? {
            return Ok(());
        }
        let sql = format!(
            "SELECT host, name, {} FROM muc_room WHERE (host, name) > (?1, ?2) ORDER BY host, name LIMIT 1",
            sqlite::bounded("opts")
        );
        let found = {
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut rows = statement.query((host, name))?;
            match rows.next()? {
                Some(row) => Some((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                )),
                None => None,
            }
        };
        let Some((host, name, options)) = found else { return Ok(()) };
        let jid = format!("{name}@{host}");
        self.place.clone_from(&jid);
        self.jobs.push_front(Job::NextRoom(host.clone(), name));
        match term::one(&options) {
            Ok(options) => {
                let pieces = room::room(&jid, &options, &|of: &str| self.nick(&host, of));
                if matches!(pieces.first(), Some(Piece::Room { .. })) {
                    self.jobs.push_front(Job::Archive {
                        name: jid,
                        host: None,
                        after: (i64::MIN, 0),
                    });
                }
                self.ready.extend(pieces);
            }
            Err(fault) => {
                self.ready.push_back(untaken("rooms", jid, format!("its options: {fault}")))
            }
        }
        Ok(())
    }

    fn nick(&self, service: &str, jid: &str) -> Option<String> {
        let sql = "SELECT nick FROM muc_registered WHERE host = ?1 AND jid = ?2";
        self.db.query_row(sql, (service, jid), |row| row.get(0)).ok()
    }

    /// Names the nicks, which are of a whole service there.
    fn nicks(&mut self) -> Done {
        if !self.has("muc_registered")? {
            return Ok(());
        }
        let mut all = self
            .db
            .prepare("SELECT nick, jid, host FROM muc_registered ORDER BY 3, 2 LIMIT 10000")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let [nick, jid, service]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            self.ready.push_back(records::service_nick(&nick, &jid, &service));
        }
        Ok(())
    }
}

/// Password (or StoredKey), ServerKey, salt and rounds.
fn credentials(row: &Row<'_>) -> Done<(String, String, String, i64)> {
    Ok((row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

/// A list of addresses as a term.
fn jids(text: &str) -> Result<Vec<String>, String> {
    let list = term::one(text).map_err(|fault| fault.to_string())?;
    Ok(list.list().iter().filter_map(room::jid).collect())
}
