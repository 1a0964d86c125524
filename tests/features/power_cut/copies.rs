//! `stonechat backup` and `stonechat restore`, cut at every moment.

use super::disk::{Before, Disk};
use super::record::{Record, Shim};
use super::{audit, compare, dice, place};
use crate::harness::process::binary;
use rusqlite::{Connection, OptionalExtension};
use std::fs;
use std::path::Path;
use stonechat::store::ids::AccountId;
use stonechat::store::uploads::{self, Bounds, Kind, NewSlot};
use stonechat::store::{Options, Store, Tx, meta};

/// A restore leaves either database (src/store/sqlite/restore.rs tells the steps), and the new one once
/// it has said so.
#[tokio::test]
async fn a_restore_cut_anywhere_leaves_either_database() {
    let Some(shim) = Shim::build() else { return };
    let (folder, dice) = (tempfile::tempdir().unwrap(), &mut dice());
    let root = folder.path().join("disk");
    killed("old", &root.join("data")).await;
    killed("new", &root.join("new")).await;
    fs::rename(root.join("new/uploads"), root.join("new/stonechat.db.uploads")).unwrap();
    let copy = root.join("new/stonechat.db");
    let (before, record) = told(&shim, folder.path(), &["restore", &copy.display().to_string()]);
    let (mut olds, mut news) = (0, 0);
    let mut disk = Disk::over(&record, &before);
    let last = record.events.len() - 1;
    for cut in 0..=last {
        disk.go_to(cut);
        let left = tempfile::tempdir().unwrap();
        disk.leave(dice, left.path());
        let data = left.path().join("data");
        let found = is(&data.join("stonechat.db"), &data.join("uploads")).await;
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
        let data = left.path().join("data");
        let beside = left.path().join("copy.db.uploads");
        for (path, files) in [(data.join("stonechat.db"), data.join("uploads")), (copy, beside)] {
            if path.exists() || path.ends_with("stonechat.db") {
                let found = is(&path, &files).await;
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

/// Which database this is, if it opens, is sound, and its uploaded file is there.
async fn is(path: &Path, files: &Path) -> Result<String, String> {
    audit::open(path).await?;
    let conn = Connection::open(path).map_err(|error| error.to_string())?;
    let who = "SELECT value FROM meta WHERE name = 'who'";
    let found = conn.query_row(who, [], |row| row.get::<_, Vec<u8>>(0)).optional();
    let found = found.map_err(|error| error.to_string())?.ok_or("an empty database")?;
    let who = String::from_utf8_lossy(&found).trim_end_matches('.').to_owned();
    let known = "SELECT id FROM upload WHERE token IS NULL";
    let id = conn.query_row(known, [], |row| row.get::<_, String>(0));
    let id = id.map_err(|error| error.to_string())?;
    match fs::read(files.join(&id)) {
        Ok(there) if there == who.as_bytes() => Ok(who),
        other => Err(format!("{id}: {other:?}")),
    }
}

/// A database of some pages with a log, as a kill leaves it, and an uploaded file.
async fn killed(who: &str, to: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(folder.path().join("stonechat.db"))).unwrap();
    let value = format!("{who}{}", ".".repeat(30_000));
    store.write(move |tx| meta::set(tx, "who", value.as_bytes())).await.unwrap();
    let id = format!("{who}{}", "A".repeat(22 - who.len()));
    let new = NewSlot {
        id: id.clone(),
        account: AccountId(1),
        kind: Kind::Message,
        name: "a".to_owned(),
        media_type: None,
        size: who.len() as i64,
        expires: i64::MAX,
        token: "t".to_owned(),
    };
    let most = 1 << 40;
    let bounds = Bounds {
        day_bytes: most,
        day_files: most,
        account_bytes: most,
        permanent_bytes: most,
        bytes: most,
        slot: most,
    };
    let put = move |tx: &mut dyn Tx| {
        uploads::slot(tx, &new, &bounds, 1)?;
        uploads::finish(tx, &new.id, None, 1)
    };
    assert!(store.write(put).await.unwrap());
    fs::create_dir_all(to.join("uploads")).unwrap();
    fs::write(to.join("uploads").join(id), who).unwrap();
    for name in ["stonechat.db", "stonechat.db-wal"] {
        fs::copy(folder.path().join(name), to.join(name)).unwrap();
    }
    store.close().await;
}
