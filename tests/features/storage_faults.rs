//! Disks and files that fail: a clear word at the start, an error to the sender at run
//! time, never a crash, never a silent loss.

use crate::harness::client::Outcome;
use crate::harness::mount::Mount;
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
    let args = [&args[..], &["--set", "c2s.listen_tls=127.0.0.1:0"]].concat();
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
