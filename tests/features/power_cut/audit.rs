//! The judge: what is in the files that a power cut left, against what clients were told before it.

use super::load::{self, Notes, RECIPIENTS, SENDERS, Sent, Told};
use crate::harness::client::{Client, Outcome};
use crate::harness::https::get;
use crate::harness::process::{PORTS, run_in};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use stonechat::base::hash::sha256;
use stonechat::store::{Options, Store, Synchronous};

/// Opens the database as the server does, reads all of it, and says what is wrong.
pub async fn files(data: &Path, notes: &Notes, at: u64) -> Vec<String> {
    let path = data.join("stonechat.db");
    let mut wrong = match open(&path).await {
        Err(wrong) => vec![wrong],
        Ok(()) => content(&path, notes, at).unwrap_or_else(|error| vec![error.to_string()]),
    };
    // Clients trust the server's own authority by now.
    for name in ["ca.pem", "ca.key"].iter().filter(|_| at >= notes.ready()) {
        let left = std::fs::read(data.join("tls").join(name)).unwrap_or_default();
        if Some(&left) != notes.authority.get(*name) {
            wrong.push(format!("{name} is another"));
        }
    }
    wrong
}

/// What a start does to it: recovery, migrations. Then the deep check.
pub async fn open(path: &Path) -> Result<(), String> {
    let options = Options { synchronous: Synchronous::Off, ..Options::new(path) };
    let store = Store::open(options).map_err(|error| format!("does not open: {error}"))?;
    store.close().await;
    let found = Store::deep_check(path).map_err(|error| error.to_string())?;
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}

/// A message in the store: its place, its sender's mark, its bytes, and whether it is owed.
struct Row {
    id: String,
    stanza: String,
    owed: bool,
}

fn content(path: &Path, notes: &Notes, at: u64) -> rusqlite::Result<Vec<String>> {
    let conn = Connection::open(path)?;
    let told = notes.told_by(at);
    let mut wrong = Vec::new();
    if told.contains(&Told::Ready) {
        let count: i64 = conn.query_row("SELECT COUNT(*) FROM account", [], |row| row.get(0))?;
        if count != 5 {
            wrong.push(format!("{count} of 5 accounts"));
        }
    }
    let mut of_erin = 0;
    for user in RECIPIENTS {
        let rows = rows(&conn, OWED_TO, user)?;
        wrong.extend(received(user, &rows, notes, &told, at));
        of_erin += rows.iter().filter(|row| row.id.starts_with("erin-")).count();
    }
    for user in SENDERS {
        let rows = rows(&conn, SENT_BY, user)?;
        let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        let sent = notes.sent.get(user).into_iter().flatten().filter(|sent| !sent.mail);
        wrong.extend(in_order(user, &ids, &sent.collect::<Vec<_>>(), &told));
    }
    wrong.extend(roster(&conn, &told)?);
    let folder = path.with_file_name("uploads");
    wrong.extend(uploads(&conn, &folder, notes, &told)?);
    wrong.extend(handled(&conn, notes, &told, at, of_erin)?);
    Ok(wrong)
}

fn rows(conn: &Connection, sql: &str, user: &str) -> rusqlite::Result<Vec<Row>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([user], |row| {
        let stanza = String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned();
        let id = mark(&stanza).unwrap_or("none").to_owned();
        Ok(Row { id, stanza, owed: row.get(1)? })
    })?;
    rows.collect()
}

/// `alice-12` of `<body>[alice-12]…`.
fn mark(stanza: &str) -> Option<&str> {
    Some(stanza.split_once("<body>[")?.1.split_once(']')?.0)
}

fn received(
    user: &str,
    rows: &[Row],
    notes: &Notes,
    told: &BTreeSet<&Told>,
    at: u64,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let sent: BTreeMap<&str, &Sent> =
        notes.sent.values().flatten().map(|sent| (sent.id.as_str(), sent)).collect();
    for row in rows {
        let whole = |sent: &&Sent| row.stanza.contains(&format!("<body>{}</body>", sent.body()));
        if !sent.get(row.id.as_str()).is_some_and(whole) {
            wrong.push(format!("{user} has what nobody sent: {}", row.stanza));
        }
        // promise.md 2: what is owed no longer was confirmed, so it came before the cut.
        let came = notes.came.get(&row.id).is_some_and(|came| user == "dave" && *came <= at);
        if !row.owed && !came {
            wrong.push(format!("{} is not owed to {user}, who never got it", row.id));
        }
    }
    for sender in SENDERS {
        let prefix = format!("{sender}-");
        let own = rows.iter().map(|row| row.id.clone()).filter(|id| id.starts_with(&prefix));
        let sent = notes.sent.get(sender).into_iter().flatten().filter(|sent| sent.to == user);
        let (own, sent): (Vec<_>, Vec<_>) = (own.collect(), sent.collect());
        wrong.extend(in_order(user, &own, &sent, told));
    }
    wrong
}

/// Transactions are whole and in order: what is there begins what was sent, and holds at least
/// what was acknowledged, each once.
fn in_order(user: &str, got: &[String], sent: &[&Sent], told: &BTreeSet<&Told>) -> Vec<String> {
    let mut wrong = Vec::new();
    let same = got.iter().zip(sent).take_while(|(got, sent)| **got == sent.id).count();
    if same < got.len() {
        wrong.push(format!("with {user}: {} where another should be", got[same]));
    }
    let kept = |sent: &&&Sent| told.contains(&Told::Message(sent.id.clone()));
    let acknowledged = sent.iter().filter(kept).map(|sent| &sent.id);
    let there: BTreeSet<&String> = got.iter().collect();
    let lost: Vec<_> = acknowledged.filter(|id| !there.contains(id)).collect();
    if !lost.is_empty() {
        wrong.push(format!("lost for {user}: {} messages from {}", lost.len(), lost[0]));
    }
    wrong
}

/// What was told is there, and of each file that a row says is there, each byte is.
fn uploads(
    conn: &Connection,
    folder: &Path,
    notes: &Notes,
    told: &BTreeSet<&Told>,
) -> rusqlite::Result<Vec<String>> {
    let mut rows = conn.prepare("SELECT id FROM upload WHERE token IS NULL")?;
    let rows = rows.query_map([], |row| row.get::<_, String>(0))?;
    let rows: BTreeSet<String> = rows.collect::<rusqlite::Result<_>>()?;
    let mut wrong = Vec::new();
    for (number, (from, bytes)) in notes.files.iter().enumerate() {
        let id = from.rsplit('/').nth(1).expect("an id");
        let (is_told, has_row) = (told.contains(&Told::File(number)), rows.contains(id));
        let is_whole = std::fs::read(folder.join(id)).is_ok_and(|there| there == *bytes);
        if (is_told || has_row) && !(has_row && is_whole) {
            wrong.push(format!("file {number}: told {is_told}, row {has_row}, whole {is_whole}"));
        }
    }
    Ok(wrong)
}

fn roster(conn: &Connection, told: &BTreeSet<&Told>) -> rusqlite::Result<Vec<String>> {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for told in told {
        if let Told::Roster(jid, number) = told {
            let last = last.entry(jid).or_default();
            *last = (*last).max(*number);
        }
    }
    let mut wrong = Vec::new();
    for (jid, number) in last {
        let name = conn.query_row(CONTACT, [jid], |row| row.get::<_, String>(0));
        let name = name.ok().and_then(|name| name.parse::<usize>().ok());
        if name.is_none_or(|name| name < number) {
            wrong.push(format!("the contact {jid} is {name:?} and not {number}"));
        }
    }
    Ok(wrong)
}

/// promise.md 6: the count is that of the rows, no more and no less.
fn handled(
    conn: &Connection,
    notes: &Notes,
    told: &BTreeSet<&Told>,
    at: u64,
    stored: usize,
) -> rusqlite::Result<Vec<String>> {
    let Some(stream) = notes.stream.as_ref().filter(|stream| at < stream.until) else {
        return Ok(Vec::new());
    };
    let id = sha256(stream.id.as_bytes());
    let mut statement = conn.prepare("SELECT h FROM handled WHERE id = ?1")?;
    let h = statement.query_map(params![id], |row| row.get::<_, u32>(0))?.next().transpose()?;
    let h = h.unwrap_or(0) as usize;
    let mut wrong = Vec::new();
    if h != stored {
        wrong.push(format!("h is {h}, and {stored} of erin's messages are stored"));
    }
    if h < most_handled(told) {
        wrong.push(format!("h is {h}, and {} were acknowledged", most_handled(told)));
    }
    Ok(wrong)
}

fn most_handled(told: &BTreeSet<&Told>) -> usize {
    let counts = told.iter().filter_map(|told| match told {
        Told::Handled(h) => Some(*h),
        _ => None,
    });
    counts.max().unwrap_or(0)
}

/// A real server over these files, and everybody logs in.
pub async fn server(data: &Path, notes: &Notes, at: u64) -> Outcome<Vec<String>> {
    let shown = data.display().to_string();
    // Not on the default ports, which a server of this machine may have.
    let said =
        run_in(data, &[&["--data-dir", &shown][..], &PORTS, &["check", "--deep"]].concat(), "");
    let mut wrong = Vec::new();
    if !said.ok {
        wrong.push(format!("check --deep: {}{}", said.out, said.err));
    }
    let told = notes.told_by(at);
    let lab = load::start_over(data);
    for user in RECIPIENTS {
        let mut client = lab.login(user).await?;
        client.ignores_presence = true;
        client.send("<presence/>").await?;
        client.fence().await?;
        let got = client.take();
        let got: Vec<_> = got.iter().filter_map(|e| e.attr("id").map(str::to_owned)).collect();
        for sender in SENDERS {
            let prefix = format!("{sender}-");
            let own: Vec<_> = got.iter().filter(|id| id.starts_with(&prefix)).cloned().collect();
            let sent = notes.sent.get(sender).into_iter().flatten();
            // What dave had before the cut may come again, or not.
            let had = |sent: &&Sent| {
                user == "dave"
                    && notes.came.get(&sent.id).is_some_and(|came| *came <= at)
                    && !own.contains(&sent.id)
            };
            let due: Vec<_> = sent.filter(|sent| sent.to == user && !had(sent)).collect();
            wrong.extend(in_order(user, &own, &due, &told));
        }
    }
    for told in &told {
        let Told::File(number) = told else { continue };
        let (from, bytes) = &notes.files[*number];
        let got = get(&lab.target, from).await?;
        if got.status != 200 || got.body != *bytes {
            wrong.push(format!("file {number}: status {}, {} bytes", got.status, got.body.len()));
        }
    }
    let mut alice = lab.login("alice").await?;
    let roster = alice.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    let contacts = told.iter().filter_map(|told| match told {
        Told::Roster(jid, _) => Some(jid.as_str()),
        _ => None,
    });
    let contacts = contacts.collect::<BTreeSet<_>>().len();
    let there = roster.children.first().map_or(0, |query| query.children.len());
    if there < contacts {
        wrong.push(format!("{there} contacts of {contacts}"));
    }
    if let Some(stream) = notes.stream.as_ref().filter(|stream| at < stream.until) {
        let mut erin = lab.authenticated("erin").await?;
        wrong.extend(resumed(&mut erin, &stream.id, most_handled(&told)).await?);
    }
    Ok(wrong)
}

/// XEP-0198 §5: the stream is gone, and its count is told.
async fn resumed(erin: &mut Client, id: &str, least: usize) -> Outcome<Option<String>> {
    erin.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await?;
    let failed = erin.expect(|e| e.name == "failed").await?;
    let h: Option<usize> = failed.attr("h").and_then(|h| h.parse().ok());
    Ok((h.unwrap_or(0) < least).then(|| format!("told h={h:?} of {least}")))
}

/// Everything that came for an account: the archive keeps it when it is owed no longer.
const OWED_TO: &str = "SELECT r.stanza, r.seq > COALESCE((SELECT m.seq FROM archive_mark m
        WHERE m.account = r.account), 0) OR EXISTS (SELECT 1 FROM owed_before o
        WHERE o.account = r.account AND o.seq = r.seq) OR r.mail
    FROM (SELECT archive AS account, seq, stanza, 0 AS mail FROM archive WHERE kind = 2
        UNION ALL SELECT account, seq, stanza, 1 FROM mailbox) r
    JOIN account a ON a.id = r.account WHERE a.localpart = ?1 ORDER BY r.seq";
const SENT_BY: &str = "SELECT r.stanza, 1 FROM archive r
    JOIN account a ON a.id = r.archive WHERE a.localpart = ?1 AND r.kind = 0 ORDER BY r.seq";
const CONTACT: &str = "SELECT name FROM roster_item WHERE jid = ?1";
