//! `stonechat backup` and `stonechat restore`, cut at every moment.

use super::disk::{Before, Disk};
use super::record::{Record, Shim};
use super::{audit, compare, dice, place};
use crate::harness::process::binary;
use rusqlite::{Connection, OptionalExtension};
use std::fs;
use std::path::Path;
use stonechat::store::{Options, Store, meta};

/// A restore leaves either database (src/store/sqlite/restore.rs tells the steps), and the new one once
/// it has said so.
#[tokio::test]
async fn a_restore_cut_anywhere_leaves_either_database() {
    let Some(shim) = Shim::build() else { return };
    let (folder, dice) = (tempfile::tempdir().unwrap(), &mut dice());
    let root = folder.path().join("disk");
    killed("old", &root.join("data")).await;
    killed("new", &folder.path().join("new")).await;
    let copy = folder.path().join("new/stonechat.db");
    let (before, record) = told(&shim, folder.path(), &["restore", &copy.display().to_string()]);
    let (mut olds, mut news) = (0, 0);
    let mut disk = Disk::over(&record, &before);
    let last = record.events.len() - 1;
    for cut in 0..=last {
        disk.go_to(cut);
        let left = tempfile::tempdir().unwrap();
        disk.leave(dice, left.path());
        let found = is(&left.path().join("data/stonechat.db")).await;
        let found = found.unwrap_or_else(|why| panic!("{}{why}", place(&record, cut)));
        assert!(cut < last || found == "new", "{found}");
        *(if found == "new" { &mut news } else { &mut olds }) += 1;
    }
    println!("{} effects of a restore: {olds} times the old one, {news} times the new", last + 1);
    assert!(olds > 0 && news > 0);
    compare(&disk, Before::of(&root));
}

/// A backup has its name only when it is whole, and is there once it was told; the database is
/// none the worse for it.
#[tokio::test]
async fn a_backup_cut_anywhere_is_whole_or_not_there() {
    let Some(shim) = Shim::build() else { return };
    let (folder, dice) = (tempfile::tempdir().unwrap(), &mut dice());
    let root = folder.path().join("disk");
    killed("old", &root.join("data")).await;
    let target = root.join("copy.db").display().to_string();
    let (before, record) = told(&shim, folder.path(), &["backup", &target]);
    let mut disk = Disk::over(&record, &before);
    let last = record.events.len() - 1;
    for cut in 0..=last {
        disk.go_to(cut);
        let left = tempfile::tempdir().unwrap();
        disk.leave(dice, left.path());
        let copy = left.path().join("copy.db");
        assert!(cut < last || copy.exists(), "told, and lost");
        for path in [left.path().join("data/stonechat.db"), copy] {
            if path.exists() || path.ends_with("stonechat.db") {
                let found = is(&path).await;
                assert_eq!(found.as_deref(), Ok("old"), "{}{path:?}", place(&record, cut));
            }
        }
    }
    compare(&disk, Before::of(&root));
}

/// Runs a command that is recorded; what was there before it, and what it did.
fn told(shim: &Shim, folder: &Path, args: &[&str]) -> (Before, Record) {
    let (root, record) = (folder.join("disk"), folder.join("record"));
    let before = Before::of(&root);
    let mut command = binary();
    command.arg("--data-dir").arg(root.join("data")).args(args).current_dir(folder);
    shim.follow(&mut command, &root, &record);
    let said = command.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    (before, Record::read(&record))
}

/// Which database this is, if it opens and is sound.
async fn is(path: &Path) -> Result<String, String> {
    audit::open(path).await?;
    let conn = Connection::open(path).map_err(|error| error.to_string())?;
    let who = "SELECT value FROM meta WHERE name = 'who'";
    let found = conn.query_row(who, [], |row| row.get::<_, Vec<u8>>(0)).optional();
    let found = found.map_err(|error| error.to_string())?.ok_or("an empty database")?;
    Ok(String::from_utf8_lossy(&found).trim_end_matches('.').to_owned())
}

/// A database of some pages with a log, as a kill leaves it.
async fn killed(who: &str, to: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(folder.path().join("stonechat.db"))).unwrap();
    let value = format!("{who}{}", ".".repeat(30_000));
    store.write(move |tx| meta::set(tx, "who", value.as_bytes())).await.unwrap();
    fs::create_dir_all(to).unwrap();
    for name in ["stonechat.db", "stonechat.db-wal"] {
        fs::copy(folder.path().join(name), to.join(name)).unwrap();
    }
    store.close().await;
}
