//! A row of the database that cannot be read costs itself alone: it is left out, the log says so once,
//! and whoever it belongs to logs in, syncs and goes on without it.

use crate::archive::{archived, bodies, chat, form, query, with};
use crate::commands::with_devices;
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, run_in, sasl_condition};
use crate::harness::sasl2::{LAPTOP, PHONE, agent, bind};
use crate::harness::scram::Scram;
use crate::harness::sm::{friends, say};

struct Damaged {
    folder: tempfile::TempDir,
    lab: Lab,
}

impl Damaged {
    fn new(users: &[&str]) -> Damaged {
        Self::of(tempfile::tempdir().unwrap(), users)
    }

    fn of(folder: tempfile::TempDir, users: &[&str]) -> Damaged {
        let lab = Lab::serve(folder.path(), &[], users);
        Damaged { folder, lab }
    }

    /// Stops the server, damages its database, and starts it: it does start.
    fn damage(&mut self, statements: &[&str]) {
        self.lab.process.signal("TERM");
        assert_eq!(self.lab.process.exit().code(), Some(0), "{}", self.lab.process.log());
        let database = rusqlite::Connection::open(self.lab.data.join("stonechat.db")).unwrap();
        // What a damaged file may hold the engine would not write.
        let loosen = "PRAGMA foreign_keys = OFF; PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ') STRICT', ')')
                WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND sql NOT LIKE '%WITHOUT ROWID%'
                AND sql NOT LIKE '%VIRTUAL%';
            PRAGMA writable_schema = RESET;";
        database.execute_batch(loosen).unwrap();
        for sql in statements {
            let changed = database.execute(sql, []).unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(changed, 1, "{sql}");
        }
        drop(database);
        self.lab = Lab::serve(self.folder.path(), &[], &[]);
    }

    /// The log names the table once, with what to do.
    fn said(&self, table: &str) {
        self.said_of(table, 1);
    }

    /// The same, once for each of so many accounts.
    fn said_of(&self, table: &str, accounts: usize) {
        let name = format!("table=\"{table}\"");
        self.lab.process.logs(&[&name, "account=", "left out", "check --deep"]);
        let log = self.lab.process.log();
        assert_eq!(log.lines().filter(|line| line.contains(&name)).count(), accounts, "{log}");
    }
}

async fn roster(client: &mut Client) -> Outcome<Vec<String>> {
    let answer = client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    let query = answer.find("query").expect("the roster");
    let jid = |item: &Element| item.attr("jid").unwrap_or_default().to_owned();
    Ok(query.children.iter().map(jid).collect())
}

async fn list(client: &mut Client, jid: &str) -> Outcome<Element> {
    let item = format!("<item jid='{jid}' name='{jid}'><group>g</group></item>");
    client
        .ask(&format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>"))
        .await
}

/// RFC 6121 §2: the other contacts come, and the one that is damaged can be listed anew.
#[tokio::test]
async fn a_damaged_contact_is_left_out() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob"]);
    let mut alice = damaged.lab.login("alice").await?;
    for n in 0..7 {
        list(&mut alice, &format!("c{n}@x")).await?;
    }
    alice.close().await?;
    damaged.damage(&[
        "UPDATE roster_item SET state = 'zz' WHERE jid = 'c0@x'",
        "UPDATE roster_item SET state = NULL WHERE jid = 'c1@x'",
        "UPDATE roster_item SET name = CAST(x'ff' AS TEXT) WHERE jid = 'c2@x'",
        "UPDATE roster_item SET jid = 'c3@@x' WHERE jid = 'c3@x'",
        "UPDATE roster_item SET name = randomblob(9) WHERE jid = 'c4@x'",
        "UPDATE roster_group SET name = randomblob(9) WHERE jid = 'c5@x'",
    ]);
    for _ in 0..2 {
        let mut alice = damaged.lab.online("alice", "r").await?;
        assert_eq!(roster(&mut alice).await?, ["c5@x", "c6@x"]);
        alice.close().await?;
    }
    damaged.said("roster_item");
    damaged.said("roster_group");
    let mut alice = damaged.lab.login("alice").await?;
    assert_eq!(list(&mut alice, "c0@x").await?.attr("type"), Some("result"));
    assert_eq!(roster(&mut alice).await?, ["c0@x", "c5@x", "c6@x"]);
    Ok(())
}

/// XEP-0313: no byte of what is damaged reaches the client, and it pages on behind it.
#[tokio::test]
async fn a_damaged_message_of_an_archive_is_left_out() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob"]);
    let mut alice = damaged.lab.login("alice").await?;
    for n in 0..9 {
        alice.send(&chat("bob@localhost", &n.to_string(), "")).await?;
    }
    alice.fence().await?;
    let mut bob = damaged.lab.login("bob").await?;
    let all = archived(&mut bob, "").await?;
    bob.close().await?;
    alice.close().await?;
    let bobs = |what: &str, n: usize| {
        format!(
            "UPDATE archive SET {what} WHERE seq = (SELECT seq FROM archive WHERE archive =
             (SELECT id FROM account WHERE localpart = 'bob') ORDER BY seq LIMIT 1 OFFSET {n})"
        )
    };
    let broken = "'<message from=''alice@localhost/r'' to=''bob@localhost''><body>'";
    let cases = [
        bobs("stanza = randomblob(300)", 0),
        bobs("stanza = NULL", 2),
        bobs(&format!("stanza = CAST({broken} AS BLOB)"), 3),
        bobs("stanza = x'3c6d657373616765203e'", 4),
        bobs("size = 'x', kind = NULL", 5),
        bobs("peer = CAST(x'ff' AS TEXT), stanza = x''", 6),
    ];
    damaged.damage(&cases.iter().map(String::as_str).collect::<Vec<_>>());
    let sound = ["1", "5", "7", "8"];
    // What waits for it: a row of no kind is owed to nobody.
    let mut bob = damaged.lab.online("bob", "r").await?;
    let mut came = Vec::new();
    while came.last().is_none_or(|last| last != "8") {
        let message = bob.expect(|e| e.name == "message").await?;
        came.push(message.text_of("body").unwrap_or_default().to_owned());
    }
    assert!(came.iter().all(|body| sound.contains(&body.as_str())), "{came:?}");
    assert_eq!(bodies(&mut bob, "").await?, sound);
    assert_eq!(bodies(&mut bob, &with("alice@localhost")).await?, sound);
    // One place a page, both ways.
    for (mut id, way) in [(String::new(), "after"), (String::new(), "before")] {
        let mut pages = Vec::new();
        loop {
            let from = match (way, id.as_str()) {
                ("after", "") => String::new(),
                _ => format!("<{way}>{id}</{way}>"),
            };
            let set =
                format!("<set xmlns='http://jabber.org/protocol/rsm'><max>1</max>{from}</set>");
            bob.forget();
            bob.send(&query("p", &set)).await?;
            let fin = bob.expect(|e| e.name == "iq" && e.attr("id") == Some("p")).await?;
            let fin = fin.find("fin").expect("an end").clone();
            id = fin.find("set").and_then(|set| set.text_of("last")).expect("a place").to_owned();
            pages.push(id.clone());
            if fin.attr("complete") == Some("true") {
                break;
            }
        }
        if way == "before" {
            pages.reverse();
        }
        assert_eq!(pages, all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    }
    let one = |n: usize| {
        let id = all.get(n).map(|(id, _)| id.clone()).unwrap_or_default();
        form(&format!("<field var='ids'><value>{id}</value></field>"))
    };
    assert_eq!(bodies(&mut bob, &one(1)).await?, ["1"]);
    assert_eq!(bodies(&mut bob, &one(2)).await?, [""; 0]);
    let words = "<field var='{urn:xmpp:fulltext:0}fulltext'><value>7</value></field>";
    assert_eq!(bodies(&mut bob, &form(words)).await?, ["7"]);
    damaged.said("archive");
    Ok(())
}

/// XEP-0160: the same for what waits outside of archives.
#[tokio::test]
async fn a_damaged_message_that_waits_is_left_out() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob"]);
    let mut alice = damaged.lab.login("alice").await?;
    for n in 0..5 {
        let unkept = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
        alice.send(&chat("bob@localhost", &n.to_string(), unkept)).await?;
    }
    alice.fence().await?;
    alice.close().await?;
    let nth = |what: &str, n: usize| {
        format!(
            "UPDATE mailbox SET {what} WHERE seq = (SELECT seq FROM mailbox ORDER BY seq LIMIT 1 OFFSET {n})"
        )
    };
    let cases = [
        nth("stanza = randomblob(300)", 0),
        nth("stanza = NULL", 1),
        nth("at = 'soon'", 2),
        nth("size = NULL", 3),
    ];
    damaged.damage(&cases.iter().map(String::as_str).collect::<Vec<_>>());
    let mut bob = damaged.lab.online("bob", "r").await?;
    for n in ["3", "4"] {
        let came = bob.expect(|e| e.name == "message").await?;
        assert_eq!(came.text_of("body"), Some(n));
    }
    bob.fence().await?;
    damaged.said("mailbox");
    Ok(())
}

/// promise.md 11: a session whose state is damaged is not resumed; the server starts, and all others are.
#[tokio::test]
async fn a_damaged_session_is_not_resumed_and_stops_nobody() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob", "carol", "dora", "erin"]);
    friends(&damaged.lab).await?;
    let mut sessions = Vec::new();
    for name in ["alice", "bob", "carol", "dora", "erin"] {
        let (mut client, id) = damaged.lab.managed(name, "r").await?;
        say(&mut client, &format!("{name}@localhost"), 0..2).await?;
        client.messages().await?;
        sessions.push((name, id, client));
    }
    let of = |name: &str, what: &str| {
        format!(
            "UPDATE sleeper SET {what} WHERE account = (SELECT id FROM account WHERE localpart = '{name}')"
        )
    };
    let cases = [
        of("alice", "id = x'00'"),
        of("bob", "state = randomblob(300)"),
        // A byte of a message that was not acknowledged.
        of("carol", "state = CAST(replace(CAST(state AS TEXT), '<body>', '<bo<y>') AS BLOB)"),
        of("dora", "state = NULL"),
    ];
    damaged.damage(&cases.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, id, _) in &sessions {
        let mut client = damaged.lab.authenticated(name).await?;
        let resumption = client.resume(id, 0).await?;
        if *name == "erin" {
            resumption.resumed();
        } else {
            resumption.not_found();
            client.bind(None).await?;
            client.fence().await?;
        }
    }
    damaged.said_of("sleeper", 4);
    Ok(())
}

async fn scram(damaged: &Damaged, user: &str, mechanism: &str) -> Outcome<String> {
    let mut client = damaged.lab.connect().await?;
    let answer = Scram::new(mechanism, user, PASSWORD).run(&mut client).await?;
    Ok(match answer.name.as_str() {
        "failure" => sasl_condition(&answer).to_owned(),
        name => name.to_owned(),
    })
}

/// An account that cannot be read stays shut, alone; the keys of one hash cost that hash.
#[tokio::test]
async fn a_damaged_account_is_shut_and_no_other() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob", "carol", "dora"]);
    let of = |name: &str| format!("account = (SELECT id FROM account WHERE localpart = '{name}')");
    let cases = [
        "UPDATE account SET disabled = NULL WHERE localpart = 'alice'".to_owned(),
        "UPDATE account SET epoch = 'x' WHERE localpart = 'dora'".to_owned(),
        format!("UPDATE credential SET iterations = -1 WHERE hash = 'SHA-256' AND {}", of("bob")),
        format!("UPDATE credential SET stored_key = NULL WHERE hash = 'SHA-512' AND {}", of("bob")),
        "UPDATE meta SET value = x'00' WHERE name = 'archive-ids'".to_owned(),
        "UPDATE meta SET value = NULL WHERE name = 'sasl'".to_owned(),
    ];
    damaged.damage(&cases.iter().map(String::as_str).collect::<Vec<_>>());
    damaged.said("meta");
    for name in ["alice", "dora"] {
        assert_eq!(scram(&damaged, name, "SCRAM-SHA-1").await?, "temporary-auth-failure");
    }
    assert_eq!(scram(&damaged, "bob", "SCRAM-SHA-1").await?, "success");
    assert_ne!(scram(&damaged, "bob", "SCRAM-SHA-256").await?, "success");
    damaged.said("credential");
    let mut carol = damaged.lab.online("carol", "r").await?;
    for name in ["alice", "dora"] {
        carol.send(&chat(&format!("{name}@localhost"), "x", "")).await?;
        let error = carol.expect(|e| e.name == "message").await?;
        assert_eq!(error.attr("type"), Some("error"), "{error}");
    }
    carol.send(&chat("bob@localhost", "y", "")).await?;
    carol.fence().await?;
    assert_eq!(bodies(&mut carol, &with("bob@localhost")).await?, ["y"]);
    let data = damaged.lab.data.display().to_string();
    let said = run_in(damaged.folder.path(), &["--data-dir", &data, "user", "list"], "");
    assert!(said.ok && said.out.contains("carol@localhost"), "{} {}", said.out, said.err);
    assert!(!said.out.contains("alice@") && !said.out.contains("dora@"), "{}", said.out);
    Ok(())
}

/// XEP-0441: what nobody can read any more keeps nothing, until its owner says it anew.
#[tokio::test]
async fn damaged_preferences_keep_nothing_until_they_are_set() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob"]);
    let set = "<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='roster'><always>\
        <jid>a@x</jid><jid>b@x</jid></always><never/></prefs></iq>";
    for name in ["alice", "bob"] {
        let mut client = damaged.lab.login(name).await?;
        client.ask(set).await?;
        client.close().await?;
    }
    let of = |name: &str| format!("account = (SELECT id FROM account WHERE localpart = '{name}')");
    let cases = [
        format!("UPDATE archive_policy SET policy = 9 WHERE {}", of("alice")),
        format!(
            "UPDATE archive_exception SET jid = CAST(x'ff' AS TEXT) WHERE jid = 'a@x' AND {}",
            of("bob")
        ),
        format!("UPDATE archive_exception SET kept = NULL WHERE jid = 'b@x' AND {}", of("bob")),
    ];
    damaged.damage(&cases.iter().map(String::as_str).collect::<Vec<_>>());
    let get = "<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>";
    let mut alice = damaged.lab.login("alice").await?;
    let answer = alice.ask(get).await?;
    assert_eq!(answer.find("prefs").and_then(|p| p.attr("default")), Some("never"), "{answer}");
    let mut bob = damaged.lab.login("bob").await?;
    let answer = bob.ask(get).await?;
    let prefs = answer.find("prefs").expect("preferences");
    assert_eq!(prefs.attr("default"), Some("roster"));
    let listed = |name: &str| prefs.find(name).map_or(0, |list| list.children.len());
    assert_eq!((listed("always"), listed("never")), (0, 1), "{answer}");
    damaged.said("archive_policy");
    damaged.said("archive_exception");
    alice.ask(set).await?;
    let answer = alice.ask(get).await?;
    assert_eq!(answer.find("prefs").and_then(|p| p.attr("default")), Some("roster"), "{answer}");
    Ok(())
}

/// RFC 6121 §3.1.3: the other requests come.
#[tokio::test]
async fn a_damaged_request_is_left_out() -> Outcome<()> {
    let mut damaged = Damaged::new(&["alice", "bob", "carol", "dora"]);
    for name in ["bob", "carol", "dora"] {
        let mut client = damaged.lab.login(name).await?;
        client.send("<presence type='subscribe' to='alice@localhost'/>").await?;
        client.fence().await?;
        client.close().await?;
    }
    damaged.damage(&[
        "UPDATE roster_request SET stanza = randomblob(90) WHERE jid = 'bob@localhost'",
        "UPDATE roster_request SET stanza = NULL WHERE jid = 'carol@localhost'",
        "UPDATE account SET last_status = CAST(x'ff' AS TEXT) WHERE localpart = 'dora'",
    ]);
    let mut alice = damaged.lab.online("alice", "r").await?;
    let came = alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    assert_eq!(came.attr("from"), Some("dora@localhost"));
    alice.fence().await?;
    damaged.said("roster_request");
    Ok(())
}

/// XEP-0388: a device that cannot be read is none, and comes back with its next login.
#[tokio::test]
async fn a_damaged_device_is_left_out() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    with_devices(
        folder.path(),
        &[(PHONE, "Gajim", ""), (LAPTOP, "Dino", ""), ("three", "Conv", "")],
    )
    .await;
    let mut damaged = Damaged::of(folder, &[]);
    damaged.damage(&[
        "UPDATE device SET agent = x'00' WHERE software = 'Gajim'",
        "UPDATE device SET software = NULL WHERE software = 'Dino'",
    ]);
    let devices = |damaged: &Damaged| {
        let data = damaged.lab.data.display().to_string();
        let args = ["--data-dir", &data, "user", "devices", "romeo@localhost"];
        let said = run_in(damaged.folder.path(), &args, "");
        assert!(said.ok, "{}", said.err);
        said.out.lines().count()
    };
    assert_eq!(devices(&damaged), 1);
    damaged.said("device");
    for (id, listed) in [(PHONE, 2), (LAPTOP, 3)] {
        let mut client = damaged.lab.connect().await?;
        client.sasl2("SCRAM-SHA-1", "romeo", &[agent(id), bind("")].concat()).await?;
        client.fence().await?;
        assert_eq!(devices(&damaged), listed);
    }
    Ok(())
}
