//! Disks and files that fail: a clear word at the start, an error to the sender at run
//! time, never a crash, never a silent loss.

use super::commands::{COMMANDS, command};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::{befriend, interested};
use crate::harness::mount::Mount;
use crate::harness::nodes::{PUBSUB, hears, news, publish, published};
use crate::harness::process::{Lab, run_in};
use std::path::{Path, PathBuf};

/// A folder with the database of a server that was there and has ended.
fn used(folder: &Path) -> PathBuf {
    let mut lab = Lab::serve(folder, &[], &["alice"]);
    lab.process.signal("TERM");
    assert_eq!(lab.process.exit().code(), Some(0));
    database(&lab.data)
}

fn database(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut databases = files.filter(|path| path.extension().is_some_and(|e| e == "db"));
    databases.next().expect("a database")
}

/// Starts a server that cannot start; what it said.
fn refused(folder: &Path) -> String {
    let args = ["--data-dir", "data", "--set", "c2s.listen=127.0.0.1:0"];
    let more = ["--set", "c2s.listen_tls=127.0.0.1:0", "--set", "web.listen=127.0.0.1:0"];
    let args = [
        &args[..],
        &more,
        &["--set", "metrics.listen=[]", "--set", "s2s.listen=[]", "--set", "admin.listen=[]"],
    ]
    .concat();
    let said = run_in(folder, &args, "");
    assert!(!said.ok, "it started: {}", said.out);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said.err
}

/// What is no database, or a damaged one, is named, with what to do; it stays as it was.
#[test]
fn a_damaged_file_is_named_and_left_alone() {
    for (damage, words) in [
        (
            &b"this was a database once, now it is a text of some length, as one can see"[..],
            "is not a database",
        ),
        (&b""[..], ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = used(folder.path());
        if damage.is_empty() {
            // The header is right, what follows is not.
            let mut bytes = std::fs::read(&path).unwrap();
            let from = 100.min(bytes.len());
            bytes[from..].fill(0xa5);
            std::fs::write(&path, &bytes).unwrap();
        } else {
            std::fs::write(&path, damage).unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        let said = refused(folder.path());
        assert!(said.contains(words) && said.contains(".db"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

/// Migrations go forward only; a file of a later release is refused, untouched.
#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = used(folder.path());
    let database = rusqlite::Connection::open(&path).unwrap();
    let table: String = database
        .query_row("SELECT name FROM sqlite_master WHERE name LIKE '%migration%'", [], |row| {
            row.get(0)
        })
        .expect("the table of migrations");
    let last = format!("(SELECT max(version) FROM {table})");
    let columns: Vec<String> = database
        .prepare(&format!("SELECT name FROM pragma_table_info('{table}') WHERE name <> 'version'"))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let columns = columns.join(", ");
    let add = format!(
        "INSERT INTO {table} (version, {columns}) SELECT 9999, {columns} FROM {table} WHERE version = {last}"
    );
    database.execute(&add, []).unwrap();
    drop(database);
    let said = refused(folder.path());
    assert!(said.contains("9999") && said.contains("newer release"), "{said}");
}

/// A file that cannot be written. Root writes everywhere but on a read-only mount.
#[test]
fn a_read_only_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path());
    let data = folder.path().join("data");
    let Some(mount) = Mount::read_only(&data) else {
        // Not root: the permissions are enough.
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode| std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode));
        mode(0o500).unwrap();
        let said = refused(folder.path());
        mode(0o700).unwrap();
        assert!(said.contains("may write there") || said.contains("read-only"), "{said}");
        return;
    };
    let said = refused(folder.path());
    assert!(said.contains("read-only"), "{said}");
    drop(mount);
}

/// promise.md 5: a full disk is told to the sender; the server lives, loses nothing that
/// it took, and goes on when there is room.
#[tokio::test]
async fn a_full_disk_is_told_and_survived() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 3) else { return Ok(()) };
    let lab = Lab::serve(folder.path(), &["--set", "limits.bytes_per_second=0"], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let pad = "x".repeat(100_000);
    let (mut taken, mut refused) = (Vec::new(), None);
    for n in 0..100 {
        alice
            .send(&format!("<message to='bob@localhost' id='{n}'><body>{pad}</body></message>"))
            .await?;
        let mark = format!("<iq type='get' id='after-{n}'><x xmlns='urn:example'/></iq>");
        alice.send(&mark).await?;
        let came = alice
            .expect(|e| e.name == "message" || e.attr("id") == Some(&format!("after-{n}")))
            .await?;
        if came.name == "message" {
            refused = Some(came);
            break;
        }
        taken.push(n);
    }
    let error = refused.expect("a full disk");
    assert_eq!(error.condition(), Some("resource-constraint"), "{error}");
    assert_eq!(error.find("error").and_then(|e| e.attr("type")), Some("wait"));
    assert!(!taken.is_empty());
    // It lives: who needs no disk notices nothing, and with room it takes messages again.
    lab.login("alice").await?.nothing().await?;
    mount.resize(64);
    alice.fence().await?;
    alice.forget();
    // It finds out by itself, within a second or two.
    loop {
        alice.send("<message to='bob@localhost' id='with room'><body>x</body></message>").await?;
        alice.fence().await?;
        if alice.take().is_empty() {
            break;
        }
    }
    let mut bob = lab.online("bob", "r").await?;
    for n in taken {
        let got = bob.expect(|e| e.name == "message").await?;
        assert_eq!(got.attr("id"), Some(n.to_string().as_str()));
    }
    let got = bob.expect(|e| e.name == "message").await?;
    assert_eq!(got.attr("id"), Some("with room"));
    drop(lab);
    drop(mount);
    Ok(())
}

/// Condition and type of an error.
fn error(answer: &Element) -> (&str, &str) {
    let ty = answer.find("error").and_then(|error| error.attr("type"));
    (answer.condition().unwrap_or_default(), ty.unwrap_or_default())
}

/// Publishes to this node until the disk is full: what was taken, and the id and the answer of what was not.
async fn fill(client: &mut Client, node: &str) -> Outcome<(Vec<String>, String, Element)> {
    let pad = "x".repeat(100_000);
    let fields = [("max_items", "max"), ("deliver_payloads", "false")];
    let fields = fields
        .map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>"));
    let options = format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{PUBSUB}#publish-options</value></field>{}</x></publish-options>",
        fields.concat()
    );
    let mut taken = Vec::new();
    for n in 0..100 {
        let item = format!("<item id='{n}'><x xmlns='urn:x'>{pad}</x></item>");
        let answer = publish(client, node, &item, &options).await?;
        if answer.attr("type") == Some("error") {
            return Ok((taken, n.to_string(), answer));
        }
        taken.push(n.to_string());
    }
    client.fail("the disk is not full")
}

/// promise.md 5: of a publication that could not be stored its publisher is told, and nobody else.
#[tokio::test]
async fn a_full_disk_at_a_publication_is_told_to_its_publisher_alone() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 3) else { return Ok(()) };
    let lab = Lab::serve(folder.path(), &["--set", "limits.bytes_per_second=0"], &["alice", "bob"]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let mut bob = interested(&lab, "bob", "b", &["urn:x", "urn:y"]).await?;
    befriend(&mut alice, &mut bob).await?;
    published(&mut alice, "urn:y", "<item id='first'><y xmlns='urn:y'/></item>").await?;
    hears(&mut bob, "urn:y").await?;

    let (taken, lost, refused) = fill(&mut alice, "urn:x").await?;
    assert_eq!(error(&refused), ("resource-constraint", "wait"), "{refused}");
    assert!(!taken.is_empty());
    assert_eq!(news(&mut bob, "urn:x").await?, taken, "nothing of what was not stored");
    let get = |id: &str| {
        let items = format!("<items node='urn:x'><item id='{id}'/></items>");
        let pubsub = format!("<pubsub xmlns='{PUBSUB}'>{items}</pubsub>");
        format!("<iq type='get' id='g' to='alice@localhost'>{pubsub}</iq>")
    };
    assert!(bob.ask(&get(&lost)).await?.find("item").is_none());
    let last = taken.last().map_or("", String::as_str);
    assert!(bob.ask(&get(last)).await?.find("item").is_some(), "what was taken is there");
    // It lives, and with room it goes on: it finds out by itself, within a second or two.
    lab.login("alice").await?.nothing().await?;
    mount.resize(64);
    loop {
        let item = "<item id='with room'><y xmlns='urn:y'/></item>";
        if publish(&mut alice, "urn:y", item, "").await?.attr("type") == Some("result") {
            break;
        }
    }
    assert_eq!(news(&mut bob, "urn:y").await?, ["with room"]);
    drop(lab);
    drop(mount);
    Ok(())
}

/// XEP-0133 §4.23: an announcement that could not be kept for those who are away is not said to be sent.
#[tokio::test]
async fn a_full_disk_at_an_announcement_is_told_to_the_admin() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 3) else { return Ok(()) };
    let set = ["limits.bytes_per_second=0", "admin.owners=alice@localhost"];
    let set: Vec<_> = set.iter().flat_map(|set| ["--set", *set]).collect();
    let lab = Lab::serve(folder.path(), &set, &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    fill(&mut alice, "urn:x").await?;
    let node = "node='http://jabber.org/protocol/admin#announce-all'";
    let asked = command(&mut alice, "localhost", node, "").await?;
    let session = asked.child(COMMANDS, "command").and_then(|asked| asked.attr("sessionid"));
    let attrs = format!("{node} sessionid='{}'", session.unwrap_or_default());
    let text = "<field var='announcement'><value>Hear ye!</value></field>";
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{text}</x>");
    let refused = command(&mut alice, "localhost", &attrs, &form).await?;
    assert_eq!(error(&refused), ("resource-constraint", "wait"), "{refused}");
    assert!(refused.to_string().contains("2 were not"), "{refused}");
    mount.resize(64);
    // The command is at the same stage still.
    loop {
        let answer = command(&mut alice, "localhost", &attrs, &form).await?;
        if answer.attr("type") == Some("result") {
            break;
        }
    }
    let mut bob = lab.online("bob", "b").await?;
    bob.expect(|e| e.text_of("body") == Some("Hear ye!")).await?;
    drop(lab);
    drop(mount);
    Ok(())
}
