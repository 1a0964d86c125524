//! `stonechat backup` and `stonechat restore`, under load and across kills; the check after an
//! unclean stop.

use crate::harness::client::{Client, Outcome};
use crate::harness::mount::Mount;
use crate::harness::process::{Lab, PORTS, Process, Said, binary, run_in};
use std::collections::BTreeSet;
use std::path::Path;
use stonechat::store::migrate::{Dialect, MIGRATIONS};

pub fn stonechat(folder: &Path, args: &[&str]) -> Said {
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096"];
    run_in(folder, &[&common[..], &PORTS[..], args].concat(), "")
}

pub fn good(said: Said) -> String {
    assert!(said.ok, "{}", said.err);
    said.out
}

pub fn bad(said: Said) -> String {
    assert!(!said.ok && !said.err.is_empty(), "{said:?}");
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said.err
}

const FAST: &[&str] =
    &["--set", "limits.bytes_per_second=0", "--set", "limits.offline_messages_max=100000"];

async fn say(from: &mut Client, to: &str, ids: std::ops::Range<usize>) -> Outcome<()> {
    for id in ids {
        let to = format!("{to}@localhost");
        from.send(&format!("<message to='{to}' type='chat' id='{id}'><body>x</body></message>"))
            .await?;
    }
    Ok(())
}

/// What waits for a user, in the order of its coming.
async fn waiting(lab: &Lab, user: &str) -> Outcome<Vec<usize>> {
    let mut client = lab.login(user).await?;
    client.ignores_presence = true;
    client.send("<presence/>").await?;
    client.fence().await?;
    let messages = client.take().into_iter().filter(|e| e.name == "message");
    Ok(messages.map(|m| m.attr("id").and_then(|id| id.parse().ok()).expect("an id")).collect())
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn stop(mut lab: Lab) {
    lab.process.signal("TERM");
    assert_eq!(lab.process.exit().code(), Some(0));
}

/// promise.md 1: what was acknowledged before the backup began is in it; and it is one state, with
/// no message missing in the middle. Senders notice nothing.
#[tokio::test]
async fn a_backup_under_load_holds_all_that_was_acknowledged() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, FAST, &["alice", "carol", "bob", "dave"]);
    let mut alice = lab.login("alice").await?;
    let mut carol = lab.login("carol").await?;
    say(&mut alice, "bob", 0..500).await?;
    alice.fence().await?;
    say(&mut carol, "dave", 0..500).await?;
    carol.fence().await?;
    // Both go on while it is made.
    let path = at.to_owned();
    let backup = tokio::task::spawn_blocking(move || stonechat(&path, &["backup", "copy.db"]));
    let (mut sent, mut acknowledged) = (500, 0);
    while !backup.is_finished() || acknowledged < 3 {
        say(&mut alice, "bob", sent..sent + 50).await?;
        say(&mut carol, "dave", sent..sent + 50).await?;
        alice.fence().await?;
        carol.fence().await?;
        sent += 50;
        acknowledged += 1;
    }
    let told = good(backup.await.unwrap());
    assert!(told.contains("copy.db") && told.contains("KiB"), "{told}");
    stop(lab);

    let other = tempfile::tempdir().unwrap();
    let copy = at.join("copy.db").display().to_string();
    let told = good(stonechat(other.path(), &["restore", &copy]));
    assert!(told.contains("no database before"), "{told}");
    let lab = Lab::serve(other.path(), FAST, &[]);
    for user in ["bob", "dave"] {
        let got = waiting(&lab, user).await?;
        assert!(got.len() >= 500 && got.len() <= sent, "{user}: {}", got.len());
        assert_eq!(got, (0..got.len()).collect::<Vec<_>>(), "{user}");
    }
    // And the server that was copied has all of it.
    let lab = Lab::serve(at, FAST, &[]);
    assert_eq!(waiting(&lab, "bob").await?.len(), sent);
    Ok(())
}

/// Accounts, rosters and waiting messages come back, what came later goes, and an undo brings the
/// later state again.
#[tokio::test]
async fn a_restore_brings_everything_back_and_can_be_undone() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let contact = |jid: &str| {
        let query = format!("<query xmlns='jabber:iq:roster'><item jid='{jid}'/></query>");
        format!("<iq type='set' id='s{jid}'>{query}</iq>")
    };
    alice.ask(&contact("first@localhost")).await?;
    say(&mut alice, "bob", 0..3).await?;
    alice.fence().await?;
    good(stonechat(at, &["backup", "copy.db"]));
    alice.ask(&contact("second@localhost")).await?;
    say(&mut alice, "bob", 3..5).await?;
    alice.fence().await?;
    stop(lab);
    good(stonechat(at, &["user", "del", "alice@localhost"]));

    let told = good(stonechat(at, &["restore", "copy.db"]));
    let undo = told.lines().find_map(|line| line.strip_prefix("to undo this: stonechat "));
    let undo: Vec<&str> = undo.expect("how to undo it").split(' ').collect();
    let lab = Lab::serve(at, &[], &[]);
    let mut alice = lab.login("alice").await?;
    let roster = alice.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    let shown = roster.to_string();
    assert!(shown.contains("first@") && !shown.contains("second@"), "{shown}");
    assert_eq!(waiting(&lab, "bob").await?, [0, 1, 2]);
    stop(lab);

    good(run_in(Path::new("/"), &undo, ""));
    assert_eq!(good(stonechat(at, &["user", "list"])).trim(), "bob@localhost");
    let lab = Lab::serve(at, &[], &[]);
    assert_eq!(waiting(&lab, "bob").await?, [0, 1, 2, 3, 4]);
    Ok(())
}

/// A server that uses the data is not pulled from under its feet.
#[tokio::test]
async fn a_restore_while_a_server_runs_is_refused() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice"]);
    good(stonechat(at, &["backup", "copy.db"]));
    let before = files(&lab.data);
    let told = bad(stonechat(at, &["restore", "copy.db"]));
    assert!(told.contains("in use") && told.contains("stop the server first"), "{told}");
    assert_eq!(files(&lab.data), before);
    lab.login("alice").await?.nothing().await
}

/// What cannot be written or read is named, with what to do, and nothing changes.
#[tokio::test]
async fn a_wrong_file_is_refused_and_changes_nothing() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(bad(stonechat(at, &["backup", "copy.db"])).contains("no database"));
    assert!(!at.join("data").exists());
    let lab = Lab::serve(at, &[], &["alice"]);
    let running = || {
        for (file, words) in [
            ("copy.db", "exists already"),
            ("none/copy.db", "its folder exists"),
            ("data", "exists already"),
        ] {
            let told = bad(stonechat(at, &["backup", file]));
            assert!(told.contains(words), "{file}: {told}");
        }
    };
    std::fs::write(at.join("copy.db"), "precious").unwrap();
    running();
    stop(lab);
    running();
    assert_eq!(std::fs::read(at.join("copy.db")).unwrap(), b"precious");
    std::fs::remove_file(at.join("copy.db")).unwrap();
    // What another backup left.
    std::fs::create_dir(at.join("copy.db.uploads")).unwrap();
    let told = bad(stonechat(at, &["backup", "copy.db"]));
    assert!(told.contains("uploaded files of another backup"), "{told}");
    std::fs::remove_dir(at.join("copy.db.uploads")).unwrap();
    // Without a server, the command copies it itself.
    good(stonechat(at, &["backup", "copy.db"]));

    let sql = |name: &str, sql: &str| {
        let path = at.join(name);
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    };
    std::fs::write(at.join("garbage"), "a text, and nothing but a text").unwrap();
    sql("foreign", "CREATE TABLE prosody (host TEXT)");
    std::fs::copy(at.join("copy.db"), at.join("newer")).unwrap();
    sql("newer", "INSERT INTO migration VALUES (9999, 'later', 'x', 0)");
    let data = at.join("data");
    let (before, content) = (files(&data), std::fs::read(data.join("stonechat.db")).unwrap());
    for (file, words) in [
        ("garbage", "no SQLite database"),
        ("foreign", "another program"),
        ("newer", "schema 9999"),
        ("none", "cannot be read"),
        ("data", "not a file"),
        ("data/stonechat.db", "itself"),
    ] {
        let told = bad(stonechat(at, &["restore", file]));
        assert!(told.contains(words) && told.contains("nothing was changed"), "{file}: {told}");
        assert_eq!(files(&data), before, "{file}");
        assert_eq!(std::fs::read(data.join("stonechat.db")).unwrap(), content, "{file}");
    }
    Lab::serve(at, &[], &[]).login("alice").await?.nothing().await
}

/// A disk that is too small for the copy: told, nothing left on it, and the server serves on.
#[tokio::test]
async fn a_backup_onto_a_full_disk_is_told_and_leaves_nothing() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let small = at.join("small");
    let Some(mount) = Mount::small(&small, 3) else { return Ok(()) };
    let lab = Lab::serve(at, FAST, &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let pad = "x".repeat(100_000);
    for n in 0..50 {
        let body = format!("<body>{pad}</body>");
        alice.send(&format!("<message to='bob@localhost' id='{n}'>{body}</message>")).await?;
    }
    alice.fence().await?;
    let told = bad(stonechat(at, &["backup", "small/copy.db"]));
    assert!(told.contains("too full") && told.contains("small/copy.db"), "{told}");
    assert_eq!(files(&small), BTreeSet::new());
    alice.nothing().await?;
    stop(lab);
    drop(mount);
    Ok(())
}

/// A kill at any moment of a restore leaves the one database or the other, whole.
#[tokio::test]
async fn a_killed_restore_leaves_the_old_or_the_new() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["old", "both"]);
    good(stonechat(at, &["user", "list"]));
    lab.process.kill();
    let other = tempfile::tempdir().unwrap();
    stop(Lab::serve(other.path(), &[], &["new", "both"]));
    let copy = other.path().join("data/stonechat.db").display().to_string();
    for written in 0..12 {
        let mut command = binary();
        command.current_dir(at).args(["--data-dir", "data", "restore", &copy]);
        let mut restore = Process::spawn(command);
        // Some moments of it, by what can be seen in the folder; at the end, none at all.
        let seen = |files: BTreeSet<String>| match written % 4 {
            0 => true,
            1 => files.iter().any(|name| name.contains(".restore.part")),
            2 => files.iter().any(|name| name.contains(".before-restore-")),
            _ => files.iter().any(|name| name.ends_with(".restored")),
        };
        while !seen(files(&at.join("data"))) && !restore.ended() {}
        restore.kill();
        let told = good(stonechat(at, &["user", "list"]));
        let old = ["both@localhost", "old@localhost"];
        let new = ["both@localhost", "new@localhost"];
        let users: Vec<_> = told.lines().collect();
        assert!(users == old || users == new, "{written}: {told}");
        assert!(good(stonechat(at, &["check", "--deep"])).contains("nothing wrong"));
        let left = files(&at.join("data"));
        assert!(!left.iter().any(|name| name.contains(".restore")), "{left:?}");
    }
    Lab::serve(at, &[], &[]).login("both").await?.nothing().await
}

/// A database of an older schema is upgraded at the start, after a copy was made; the
/// log says where, and the copy restores what was there.
#[tokio::test]
async fn an_upgrade_makes_a_backup_first() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    stop(Lab::serve(at, &[], &["alice"]));
    let path = at.join("data/stonechat.db");
    older(&path);
    let lab = Lab::serve(at, &[], &[]);
    lab.process.logs(&["backup made", "stonechat.db.before-schema-3"]);
    lab.login("alice").await?.nothing().await?;
    stop(lab);
    let copy = at.join("data/stonechat.db.before-schema-3").display().to_string();
    let told = good(stonechat(at, &["restore", &copy]));
    assert!(told.contains("upgrades its schema from 2"), "{told}");
    Lab::serve(at, &[], &[]).login("alice").await?.nothing().await
}

/// Makes a database as a release with schema 2 would have it, with the accounts of this one.
fn older(path: &Path) {
    let now = path.with_extension("now");
    std::fs::rename(path, &now).unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE migration (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
             checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
        )
        .unwrap();
    for migration in &MIGRATIONS[..2] {
        database.execute_batch(&migration.render(Dialect::Sqlite)).unwrap();
        let row = (migration.version, migration.name, migration.checksum());
        database.execute("INSERT INTO migration VALUES (?1, ?2, ?3, 0)", row).unwrap();
    }
    database.execute("ATTACH ?1 AS now", [now.to_str()]).unwrap();
    for table in ["account", "credential", "meta"] {
        let columns = "SELECT group_concat(name) FROM pragma_table_info(?1, 'main')";
        let columns: String = database.query_row(columns, [table], |row| row.get(0)).unwrap();
        let copy = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM now.{table}");
        database.execute(&copy, []).unwrap();
    }
    drop(database);
    std::fs::remove_file(now).unwrap();
}

/// After an unclean stop the start does not wait, and the log says what was found.
#[tokio::test]
async fn after_a_kill_the_database_is_checked_behind_the_start() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    say(&mut alice, "bob", 0..500).await?;
    alice.fence().await?;
    lab.process.kill();
    // A command in between does not make it forgotten.
    good(stonechat(at, &["user", "list"]));
    let lab = Lab::serve(at, &[], &[]);
    lab.process.logs(&["INFO", "the last stop was unclean"]);
    lab.process.logs(&["INFO", "the database is sound"]);
    stop(lab);
    let lab = Lab::serve(at, &[], &[]);
    lab.login("alice").await?.nothing().await?;
    assert!(!lab.process.log().contains("unclean"), "{}", lab.process.log());
    stop(lab);

    // Damage where the start does not look.
    std::fs::write(at.join("data/stonechat.db.unclean"), "").unwrap();
    let path = at.join("data/stonechat.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // SQLite's file format, 1.6: 13 begins a leaf of a table.
    let leaf = |page: &&mut [u8]| page[0] == 13 && page.windows(7).any(|part| part == b"bob@loc");
    bytes.chunks_mut(4_096).find(leaf).expect("a page of messages").fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let lab = Lab::serve(at, &[], &[]);
    lab.process.logs(&["ERROR", "damaged", "check --deep", "restore"]);
    Ok(())
}
