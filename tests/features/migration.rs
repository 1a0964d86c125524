//! A database that an older release made (tests/fixtures/README.md): all that is in it is there, and works.

use crate::archive::{archived, form, query};
use crate::fast::{Kept, NONE};
use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::element::{CLIENT, Element};
use crate::harness::process::{Lab, run_in};
use crate::harness::sasl2::PHONE;
use crate::harness::sm::{Resumption, chat, is_delayed};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use stonechat::base::credential::AgentId;
use stonechat::base::time::micros;

const DATABASE: &[u8] = include_bytes!("../fixtures/v55ab4ad.db");
/// What its clients saw of it.
const SEEN: &str = include_str!("../fixtures/v55ab4ad.json");

struct Migrated {
    folder: tempfile::TempDir,
    lab: Lab,
    seen: Value,
}

impl Migrated {
    /// What has a time that may be over by now gets a later one.
    fn new() -> Migrated {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let file = data.join("stonechat.db");
        std::fs::write(&file, DATABASE).unwrap();
        let conn = rusqlite::Connection::open(&file).unwrap();
        let now = micros(SystemTime::now());
        for sql in [
            "UPDATE handled SET at = ?1",
            "UPDATE device SET last_seen = ?1",
            "UPDATE token SET issued = ?1, expires = ?1 + 86400000000",
        ] {
            assert!(conn.execute(sql, [now]).unwrap() > 0, "{sql}");
        }
        drop(conn);
        let lab = Lab::serve(folder.path(), &[], &[]);
        Migrated { folder, lab, seen: serde_json::from_str(SEEN).unwrap() }
    }

    fn seen(&self, what: &str) -> &str {
        self.seen[what].as_str().unwrap()
    }

    /// Id and body of messages, in order; those that were retracted have no body.
    fn rows(&self, what: &str) -> Vec<(String, Option<String>)> {
        serde_json::from_value(self.seen[what].clone()).unwrap()
    }

    fn user(&self, args: &[&str]) -> String {
        let said =
            run_in(self.folder.path(), &[&["--data-dir", "data", "user"], args].concat(), "");
        assert!(said.ok, "{}", said.err);
        said.out
    }
}

async fn rows(client: &mut Client, content: &str) -> Outcome<Vec<(String, Option<String>)>> {
    let all = archived(client, content).await?;
    Ok(all.into_iter().map(|(id, m)| (id, m.text_of("body").map(str::to_owned))).collect())
}

/// Bodies of the messages that came late, behind a fence.
async fn late(client: &mut Client) -> Outcome<Vec<String>> {
    let all = client.stanzas().await?;
    let late = all.iter().filter(|e| e.name == "message" && is_delayed(e));
    Ok(late.filter_map(|e| e.text_of("body").map(str::to_owned)).collect())
}

/// JID, subscription, `ask`, name and groups.
fn contact(item: &Element) -> String {
    let attr = |name| item.attr(name).unwrap_or("-");
    let groups: Vec<_> = item.children.iter().map(|group| group.text.as_str()).collect();
    let (jid, subscription, ask) = (attr("jid"), attr("subscription"), attr("ask"));
    format!("{jid} {subscription} {ask} {} {}", attr("name"), groups.join("+"))
}

async fn roster(client: &mut Client) -> Outcome<Vec<String>> {
    let answer = client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    let items = answer.find("query").map(|query| query.children.clone()).unwrap_or_default();
    let mut all: Vec<_> = items.iter().map(contact).collect();
    all.sort_unstable();
    Ok(all)
}

#[tokio::test]
async fn rosters_and_requests_are_what_they_were() -> Outcome<()> {
    let old = Migrated::new();
    let mut alice = old.lab.login("alice").await?;
    let expected = ["bob@localhost both - Bob Friends+Work", "dave@localhost none subscribe - "];
    assert_eq!(roster(&mut alice).await?, expected);
    alice.send("<presence/>").await?;
    let request = alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    assert_eq!(request.attr("from"), Some("carol@localhost"));
    // Both ways of a subscription work.
    let bob = old.lab.online("bob", "desk").await?;
    alice.expect(|e| e.name == "presence" && e.attr("from") == Some("bob@localhost/desk")).await?;
    drop(bob);
    let mut dave = old.lab.login("dave").await?;
    assert_eq!(roster(&mut dave).await?, [""; 0]);
    dave.send("<presence/>").await?;
    dave.expect(|e| e.attr("type") == Some("subscribe")).await.map(drop)
}

#[tokio::test]
async fn archives_have_their_messages_under_their_ids() -> Outcome<()> {
    let old = Migrated::new();
    let mut alice = old.lab.login("alice").await?;
    let all = old.rows("archive");
    assert_eq!(rows(&mut alice, "").await?, all);
    let tombstones = archived(&mut alice, "").await?;
    let retracted = tombstones.iter().filter(|(_, m)| m.find("retracted").is_some()).count();
    assert_eq!(retracted, 1, "and it has no body: the rows above");
    // A page behind an id that the old server gave.
    let behind = format!(
        "<set xmlns='http://jabber.org/protocol/rsm'><max>3</max><after>{}</after></set>",
        all[1].0
    );
    assert_eq!(rows(&mut alice, &behind).await?, all[2..5]);
    let with = form("<field var='with'><value>carol@localhost</value></field>");
    let carols: Vec<_> = rows(&mut alice, &with).await?.into_iter().map(|(_, body)| body).collect();
    let bodies = ["from carol, by telescope", "to carol", "to carol, who keeps nothing"];
    assert_eq!(carols, bodies.map(|body| Some(body.to_owned())));
    // What comes now is behind all that, and can be retracted as what was there.
    alice.send(&chat("bob@localhost", "new")).await?;
    let now = rows(&mut alice, "").await?;
    assert_eq!((&now[..all.len()], now.len()), (&all[..], all.len() + 1));
    alice
        .send(
            "<message to='bob@localhost' type='chat' id='sorry2'>\
             <retract xmlns='urn:xmpp:message-retract:1' id='a0'/></message>",
        )
        .await?;
    let now = rows(&mut alice, "").await?;
    assert_eq!(now[0], (all[0].0.clone(), None));
    Ok(())
}

#[tokio::test]
async fn what_was_searched_is_found_and_what_comes_is_found_too() -> Outcome<()> {
    let old = Migrated::new();
    let mut alice = old.lab.login("alice").await?;
    let word = form("<field var='{urn:xmpp:fulltext:0}fulltext'><value>telescope</value></field>");
    assert_eq!(rows(&mut alice, &word).await?, old.rows("found"));
    alice
        .send("<message to='bob@localhost' type='chat'><body>a telescope</body></message>")
        .await?;
    let found = rows(&mut alice, &word).await?;
    assert_eq!(found.len(), old.rows("found").len() + 1);
    // Whoever never searched may.
    let mut bob = old.lab.login("bob").await?;
    assert_eq!(rows(&mut bob, &word).await?.len(), 4);
    Ok(())
}

#[tokio::test]
async fn what_was_owed_comes_once() -> Outcome<()> {
    let mut old = Migrated::new();
    for (user, owed) in
        [("dave", &["to dave 0", "to dave 1"][..]), ("carol", &["to carol, who keeps nothing"])]
    {
        let mut client = old.lab.online(user, "desk").await?;
        assert_eq!(late(&mut client).await?, owed, "{user}");
        client.close().await?;
    }
    old.lab.process.signal("TERM");
    assert!(old.lab.process.exit().success());
    old.lab = Lab::serve(old.folder.path(), &[], &[]);
    for user in ["dave", "carol"] {
        let mut client = old.lab.online(user, "desk").await?;
        assert_eq!(late(&mut client).await?, [""; 0], "{user}");
    }
    Ok(())
}

/// The state of a session at that commit is older than what is read today: the client is told how much
/// was handled, and gets what the session had for it anew.
#[tokio::test]
async fn a_session_that_slept_is_refused_and_loses_nothing() -> Outcome<()> {
    let old = Migrated::new();
    let mut bob = old.lab.authenticated("bob").await?;
    let Resumption::Failed(condition, h) = bob.resume(old.seen("previd"), 0).await? else {
        return bob.fail("it was resumed");
    };
    assert_eq!((condition.as_str(), h), ("item-not-found", Some(0)));
    bob.bind(Some("phone")).await?;
    bob.become_available().await?;
    let all = late(&mut bob).await?;
    let expected = (0..4).map(|n| format!("while it sleeps {n}"));
    assert_eq!(all, expected.collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_device_is_listed_and_its_token_works() -> Outcome<()> {
    let old = Migrated::new();
    let listed = old.user(&["devices", "alice@localhost"]);
    assert!(listed.contains(&AgentId::of(PHONE).name()) && listed.contains("Tester, Bench"));
    let (mechanism, token) = (NONE.to_owned(), old.seen("token").to_owned());
    let kept = Kept { user: "alice", agent: PHONE, mechanism, token };
    let (mut alice, _) = kept.works(&old.lab).await?;
    alice.fence().await
}

#[tokio::test]
async fn preferences_are_what_they_were() -> Outcome<()> {
    let old = Migrated::new();
    let mut carol = old.lab.login("carol").await?;
    let answer = carol.ask("<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>").await?;
    let prefs = answer.find("prefs").unwrap();
    assert_eq!(prefs.attr("default"), Some("never"));
    let jids = |name| prefs.find(name).and_then(|list| list.find("jid")).map(|jid| &*jid.text);
    assert_eq!(jids("always"), Some("bob@localhost"));
    assert_eq!(jids("never"), Some("dave@localhost/pda"));
    Ok(())
}

/// Waits until the running server has deleted the rows of an archive: it does so behind the command.
async fn cleared(file: &Path, archive: i64) {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(file, flags).unwrap();
    let rows = "SELECT COUNT(*) FROM archive WHERE archive = ?1";
    let left = || conn.query_row(rows, [archive], |row| row.get::<_, i64>(0)).unwrap();
    let until = Instant::now() + DEADLINE;
    while left() > 0 {
        assert!(Instant::now() < until, "{} rows are left", left());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Its archive and its index too: what is deleted is in no table.
#[tokio::test]
async fn an_account_can_be_deleted() -> Outcome<()> {
    let mut old = Migrated::new();
    let mut alice = old.lab.login("alice").await?;
    alice.send(&query("q", "")).await?;
    alice.expect(|e| e.is(CLIENT, "iq") && e.attr("id") == Some("q")).await?;
    old.user(&["del", "alice@localhost", "--now", "--yes"]);
    let file = old.folder.path().join("data/stonechat.db");
    cleared(&file, 1).await;
    old.lab.process.signal("TERM");
    assert!(old.lab.process.exit().success());
    let conn = rusqlite::Connection::open(&file).unwrap();
    let left = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(left("SELECT COUNT(*) FROM account WHERE localpart = 'alice'"), 0);
    assert_eq!(left("SELECT COUNT(*) FROM archive_indexed"), 0);
    for table in ["archive", "archive_place", "archive_with"] {
        assert_eq!(left(&format!("SELECT COUNT(*) FROM {table} WHERE archive = 1")), 0, "{table}");
        assert!(left(&format!("SELECT COUNT(*) FROM {table} WHERE archive = 2")) > 0, "{table}");
    }
    assert_eq!(stonechat::store::Store::deep_check(&file).unwrap(), [""; 0]);
    Ok(())
}
