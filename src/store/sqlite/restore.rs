//! Replaces the database by a backup. A kill at any moment leaves one of the two whole, never one with the
//! other's log.
//!
//! 1. The file is copied to `….restore.part`, checked there, and made durable; the uploaded files that it speaks of are
//!    brought from beside it. What is there already stays: the database that is in use may speak of it.
//! 2. The database gets a second name, `….before-restore-…`, and so does its log if there is one.
//! 3. The copy is renamed to `….restored`: from here on the restore is decided.
//! 4. The old log is removed and the copy gets the database's name.
//!
//! The next opening of the database undoes steps 1 and 2, or completes step 4, if it was not done.

use super::files;
use super::schema;
use super::uploaded::{self, Uploads};
use crate::base::time::{from_micros, stamp};
use crate::store::errors::OpenError;
use crate::store::meta;
use crate::store::migrate::MIGRATIONS;
use crate::store::options::micros_now;
use rusqlite::{Connection, ErrorCode};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The schema of the restored backup.
    pub schema: i64,
    /// The last schema that this release knows: the next start upgrades to it.
    pub known: i64,
    /// The path of the previous database; `None` if there was none.
    pub aside: Option<PathBuf>,
    /// The uploaded files that the backup speaks of.
    pub uploads: Uploads,
}

/// Why nothing was restored. The text is for the operator: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("the backup {path:?} cannot be read: {source}. Check the name and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a database of this server.
    #[error("{path:?} is no backup of Stonechat: {why}. Name a file that `stonechat backup` made")]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// The backup is damaged.
    #[error("the backup {path:?} is damaged ({what}). Restore an older one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        what: String,
    },
    /// The backup was made by a later release.
    #[error(
        "the backup {path:?} has schema {found}, and this release knows up to {known}. Restore it \
         with the newer release that made it, or restore an older backup"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The last one that this program knows.
        known: i64,
    },
    /// A server is running.
    #[error(
        "the database {path:?} is in use. Stop the server first (`systemctl stop stonechat`), then \
         give the command again"
    )]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The data folder is full or cannot be written.
    #[error(
        "{path:?} cannot be written: {source}. Check that there is room, and give the command as \
         the server's user or as root"
    )]
    Files {
        /// The path that was to be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The last step failed, after the restore was decided.
    #[error(
        "the backup is checked and copied, but does not have the database's name yet: {source}. \
         The next start of the server does that; if it cannot, it says why"
    )]
    Unfinished {
        /// The system's error.
        source: io::Error,
    },
}

/// Replaces a database that no server has open by a backup. Nothing changes until the backup is proved to be
/// whole and of a schema that this release knows.
pub(in crate::store) fn restore(file: &Path, database: &Path) -> Result<Restored, RestoreError> {
    let at = micros_now();
    let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
    if same(file, database) == Some(true) {
        let why = "it is the database itself".to_owned();
        return Err(RestoreError::NotABackup { path: file.to_owned(), why });
    }
    refuse_by_header(file)?;
    let _lock = locked(database)?;
    let schema = prepare(file, database, at)?;
    let uploads = bring_uploads(file, database)?;
    let aside = put_aside(database, at)?;
    decide(database)?;
    finish(database).map_err(|source| RestoreError::Unfinished { source })?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    Ok(Restored { schema, known, aside, uploads })
}

/// Files without a row do no harm, should this be the end of it.
fn bring_uploads(file: &Path, database: &Path) -> Result<Uploads, RestoreError> {
    let part = files::with_suffix(database, PART);
    let known = uploaded::known(&part).map_err(|error| of_sqlite(file, &part, error))?;
    let brought = uploaded::bring_back(&known, &uploaded::of_backup(file), database);
    brought.map_err(files(&uploaded::of_database(database)))
}

/// Completes or undoes a restore that was killed. Called under the lock.
pub(in crate::store) fn tidy_up(database: &Path) -> io::Result<()> {
    if finish(database)? {
        tracing::warn!("a restore that was cut short is finished now: the backup is in place");
    }
    let name = files::file_name(database);
    let live = [inode(database), inode(&files::with_suffix(database, "-wal"))];
    for (other, path) in files::siblings(database) {
        let rest = other.strip_prefix(&name).unwrap_or_default();
        // This is a second name of the database in use: that restore was never decided.
        let second = rest.starts_with(BEFORE) && live.contains(&inode(&path));
        if second || rest.starts_with(PART) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Detects most wrong files by their first bytes, before anything is copied.
fn refuse_by_header(file: &Path) -> Result<(), RestoreError> {
    let unreadable = |source| RestoreError::Unreadable { path: file.to_owned(), source };
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    let mut header = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(16).read_to_end(&mut header).map_err(unreadable)?;
    if header != b"SQLite format 3\0" {
        let why = "it is no SQLite database".to_owned();
        return Err(RestoreError::NotABackup { path: file.to_owned(), why });
    }
    Ok(())
}

fn locked(database: &Path) -> Result<File, RestoreError> {
    files::prepare_folder(database).and_then(|()| files::lock(database)).map_err(|error| {
        let path = database.to_owned();
        match error {
            OpenError::InUse { .. } => RestoreError::InUse { path },
            OpenError::Files { path, source } => RestoreError::Files { path, source },
            other => RestoreError::Files { path, source: io::Error::other(other.to_string()) },
        }
    })
}

/// Copies the file into the database's folder and checks the copy; returns its schema.
fn prepare(file: &Path, database: &Path, at: i64) -> Result<i64, RestoreError> {
    tidy_up(database).map_err(files(database))?;
    let part = files::with_suffix(database, PART);
    let made = copy_in(file, &part).and_then(|()| prove(file, &part, at));
    let made = made.and_then(|schema| {
        let own = own(&part, database).and_then(|()| File::open(&part)?.sync_all());
        own.map(|()| schema).map_err(files(&part))
    });
    if made.is_err() {
        for side in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(files::with_suffix(&part, side));
        }
    }
    made
}

/// Copies the file with its log, in case someone copied a database by hand while it was in use.
fn copy_in(file: &Path, part: &Path) -> Result<(), RestoreError> {
    for side in ["", "-wal", "-journal"] {
        let path = files::with_suffix(file, side);
        if side.is_empty() || path.is_file() {
            let opened = File::open(&path);
            let mut from =
                opened.map_err(|source| RestoreError::Unreadable { path: path.clone(), source })?;
            let to = files::with_suffix(part, side);
            let mut made = files::private_file().truncate(true).open(&to).map_err(files(&to))?;
            io::copy(&mut from, &mut made).map_err(files(&to))?;
        }
    }
    Ok(())
}

/// Reads all of the copy, and leaves it in one file.
fn prove(file: &Path, part: &Path, at: i64) -> Result<i64, RestoreError> {
    let sql = |error| of_sqlite(file, part, error);
    let conn = files::connect(part).map_err(sql)?;
    conn.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(())).map_err(sql)?;
    let state = schema::state(&conn, part, MIGRATIONS).map_err(|error| refused(file, error))?;
    if state.last == 0 {
        let why = "it is an empty database".to_owned();
        return Err(RestoreError::NotABackup { path: file.to_owned(), why });
    }
    let found = files::all_findings(&conn).map_err(sql)?;
    if let Some(what) = found.into_iter().next() {
        return Err(RestoreError::Damaged { path: file.to_owned(), what });
    }
    conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(sql)?;
    raise_roster_versions(&conn, at).map_err(sql)?;
    if state.last >= SLEEPERS_SINCE {
        conn.execute(FORGET_SLEEPERS, []).map_err(sql)?;
    }
    if state.last >= INVITATIONS_SINCE {
        conn.execute(END_LINKS, []).map_err(sql)?;
    }
    conn.execute(FORGET_TOKENS, [meta::TOKEN_KEY]).map_err(sql)?;
    conn.close().map_err(|(_, error)| sql(error))?;
    Ok(state.last)
}

/// A client stores its last roster with its version (RFC 6121 §2.6). A restored database would reuse versions
/// for other rosters; the seconds since 1970 are above any version given before.
fn raise_roster_versions(conn: &Connection, at: i64) -> rusqlite::Result<()> {
    conn.execute(RAISE, [at / 1_000_000]).map(|_| ())
}

fn refused(file: &Path, error: OpenError) -> RestoreError {
    let path = file.to_owned();
    match error {
        OpenError::NewerSchema { found, known, .. } => RestoreError::Newer { path, found, known },
        OpenError::Corrupt { what, .. } => RestoreError::Damaged { path, what },
        OpenError::NotOurs { .. } => {
            RestoreError::NotABackup { path, why: "it is a database of another program".to_owned() }
        }
        OpenError::ChangedMigration { version, name, .. } => {
            let why = format!("its schema {version} ({name}) has another text than this release's");
            RestoreError::NotABackup { path, why }
        }
        other => RestoreError::NotABackup { path, why: other.to_string() },
    }
}

fn of_sqlite(file: &Path, part: &Path, error: rusqlite::Error) -> RestoreError {
    let (path, what) = (file.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            RestoreError::Damaged { path, what }
        }
        Some(_) => RestoreError::Files { path: part.to_owned(), source: io::Error::other(what) },
        None => RestoreError::Damaged { path, what },
    }
}

/// Gives the copy to the server's user, because root may run the restore.
fn own(part: &Path, database: &Path) -> io::Result<()> {
    let like = fs::metadata(database).or_else(|_| fs::metadata(files::folder(database)))?;
    if fs::metadata(part)?.uid() == like.uid() {
        return Ok(());
    }
    chown(part, Some(like.uid()), Some(like.gid()))
}

/// Gives the current database a second name.
fn put_aside(database: &Path, at: i64) -> Result<Option<PathBuf>, RestoreError> {
    if !database.exists() {
        return Ok(None);
    }
    copy_log(database);
    let at = stamp(from_micros(at)).replace(['-', ':'], "");
    let aside = files::with_suffix(database, &format!("{BEFORE}{at}"));
    // The log still exists if it could not be copied, for example on a full disk.
    for side in ["-wal", "-journal", ""] {
        let from = files::with_suffix(database, side);
        if from.exists() {
            let to = files::with_suffix(&aside, side);
            second_name(&from, &to).map_err(files(&to))?;
        }
    }
    files::sync_folder(database).map_err(files(database))?;
    Ok(Some(aside))
}

/// Copies the log into the database. A failure does not matter: the log is kept too.
fn copy_log(database: &Path) {
    let copied = files::connect(database).and_then(|conn| {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        conn.close().map_err(|(_, error)| error)
    });
    if let Err(error) = copied {
        tracing::debug!(%error, "the log of the old database stays beside it");
    }
}

fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // The file system has no links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut copy = files::private_file().create_new(true).open(to)?;
            io::copy(&mut File::open(from)?, &mut copy)?;
            own(to, from)?;
            copy.sync_all()
        }
        linked => linked,
    }
}

fn decide(database: &Path) -> Result<(), RestoreError> {
    let (part, to) = (files::with_suffix(database, PART), files::with_suffix(database, DECIDED));
    fs::rename(part, to).and_then(|()| files::sync_folder(database)).map_err(files(database))
}

/// Does step 4, as often as necessary; false if there is nothing to do.
fn finish(database: &Path) -> io::Result<bool> {
    let decided = files::with_suffix(database, DECIDED);
    if !decided.exists() {
        return Ok(false);
    }
    for side in files::SIDES.iter().copied().chain([files::UNCLEAN]) {
        match fs::remove_file(files::with_suffix(database, side)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    files::sync_folder(database)?;
    fs::rename(decided, database)?;
    files::sync_folder(database)?;
    Ok(true)
}

fn files(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Files { path: path.clone(), source }
}

const PART: &str = ".restore.part";
const DECIDED: &str = ".restored";
const BEFORE: &str = ".before-restore-";
/// The sessions saved when the backup was made have continued since (promise.md 11).
const FORGET_SLEEPERS: &str = "DELETE FROM sleeper";
/// Some tokens may have been revoked since; with another key all of them are invalid.
const FORGET_TOKENS: &str = "DELETE FROM meta WHERE name = ?1";
/// A link to a new password may have been used since, and is not to work twice.
const END_LINKS: &str = "UPDATE invitation SET revoked = 1 WHERE purpose = 1";
/// The schema that added invitations, and such links.
const INVITATIONS_SINCE: i64 = 16;
/// The schema that added saved sessions.
const SLEEPERS_SINCE: i64 = 5;
const RAISE: &str = "UPDATE account SET roster_ver = MAX(roster_ver + 1, ?1)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::testing::{options, store};
    use crate::store::{accounts, invitations, meta, roster};
    use tempfile::TempDir;

    async fn is(folder: &Path) -> String {
        let store = Store::open(options(folder)).unwrap();
        let who = store.read(|tx| meta::get(tx, "who")).await.unwrap();
        store.close().await;
        String::from_utf8(who.unwrap_or_default()).unwrap()
    }

    async fn database(who: &'static str) -> TempDir {
        let (folder, store) = store();
        store.write(move |tx| meta::set(tx, "who", who.as_bytes())).await.unwrap();
        store.close().await;
        folder
    }

    /// A database with a log, as a kill leaves it.
    async fn killed(who: &'static str) -> TempDir {
        let (folder, store) = store();
        store.write(move |tx| meta::set(tx, "who", who.as_bytes())).await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        for side in ["", "-wal"] {
            let name = format!("stonechat.db{side}");
            fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
        }
        copy
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = files::siblings(&folder.join("x")).map(|(name, _)| name).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_kill_at_any_moment_leaves_one_of_the_two() {
        let new = database("new").await;
        let file = new.path().join("stonechat.db");
        let newest = MIGRATIONS.last().unwrap().version;
        for cut in 0..=6 {
            let folder = killed("old").await;
            let path = options(folder.path()).path;
            let wal = files::with_suffix(&path, "-wal");
            {
                let _lock = files::lock(&path).unwrap();
                let steps: [&dyn Fn(); 6] = [
                    &|| copy_in(&file, &files::with_suffix(&path, PART)).unwrap(),
                    &|| assert_eq!(prepare(&file, &path, 1).unwrap(), newest),
                    // As if the log could not be copied into the database.
                    &|| fs::hard_link(&wal, format!("{}{BEFORE}1-wal", path.display())).unwrap(),
                    &|| fs::hard_link(&path, format!("{}{BEFORE}1", path.display())).unwrap(),
                    &|| decide(&path).unwrap(),
                    &|| fs::remove_file(&wal).unwrap(),
                ];
                steps.iter().take(cut).for_each(|step| step());
            }
            let wanted = if cut < 5 { "old" } else { "new" };
            assert_eq!(is(folder.path()).await, wanted, "{cut}");
            let left = names(folder.path());
            let aside = left.iter().filter(|name| name.contains(BEFORE)).count();
            assert_eq!(aside, if cut < 5 { 0 } else { 2 }, "{cut}: {left:?}");
            assert!(!left.iter().any(|name| name.contains(".restore")), "{cut}: {left:?}");
        }
    }

    #[tokio::test]
    async fn a_restore_keeps_the_old_one_and_can_be_undone() {
        let (new, old) = (database("new").await, killed("old").await);
        let path = options(old.path()).path;
        let done = Store::restore(&options(new.path()).path, &path).unwrap();
        let aside = done.aside.unwrap();
        assert!(!files::with_suffix(&aside, "-wal").exists(), "it took its log");
        assert_eq!(is(old.path()).await, "new");
        assert!(!files::unclean(&path).exists());
        Store::restore(&aside, &path).unwrap();
        assert_eq!(is(old.path()).await, "old");
        let empty = tempfile::tempdir().unwrap();
        let path = empty.path().join("deeper/stonechat.db");
        assert_eq!(Store::restore(&aside, &path).unwrap().aside, None);
        assert_eq!(is(&empty.path().join("deeper")).await, "old");
    }

    #[tokio::test]
    async fn a_damaged_old_one_is_no_obstacle_and_its_log_spoils_nothing() {
        let (new, old) = (database("new").await, killed("old").await);
        let path = options(old.path()).path;
        let log = files::with_suffix(&path, "-wal");
        // The log of another state, for pages that differ in the new one.
        let torn = [&fs::read(&log).unwrap()[..20_000], &[0xa5; 9_000]].concat();
        fs::write(&log, torn).unwrap();
        fs::write(&path, "this was a database once, and now it is a text of some length").unwrap();
        let done = Store::restore(&options(new.path()).path, &path).unwrap();
        assert!(done.aside.unwrap().exists());
        assert_eq!(is(old.path()).await, "new");
        assert_eq!(Store::deep_check(&path).unwrap(), Vec::<String>::new());
    }

    /// Else one that was used since would work once more.
    #[tokio::test]
    async fn links_to_new_passwords_end() {
        let (folder, store) = store();
        let link = |purpose| invitations::Terms {
            purpose,
            account: None,
            host: "b.example".to_owned(),
            local: None,
            registers: true,
            befriends: false,
            team: None,
            uses_left: 1,
            created: 0,
            expires: i64::MAX,
        };
        let made = store.write(move |tx| {
            invitations::create(tx, "reset", &link(invitations::Purpose::Password), 1)?;
            invitations::create(tx, "invite", &link(invitations::Purpose::Invite), 1)
        });
        made.await.unwrap();
        let copy = folder.path().join("copy");
        store.backup(copy.clone()).await.unwrap();
        store.close().await;
        Store::restore(&copy, &options(folder.path()).path).unwrap();
        let store = Store::open(options(folder.path())).unwrap();
        for (token, is_open) in [("reset", false), ("invite", true)] {
            let found = store.read(move |tx| invitations::open(tx, token, 1)).await.unwrap();
            assert_eq!(found.is_ok(), is_open, "{token}");
        }
        store.close().await;
    }

    /// RFC 6121 §2.6: no version that a client has stored comes again for another roster.
    #[tokio::test]
    async fn roster_versions_rise() {
        let (folder, store) = store();
        let ver = store
            .write(|tx| {
                let accounts::Creation::Created(id) =
                    accounts::create(tx, "a", "b.example", &[], 0)?
                else {
                    panic!("there already")
                };
                let item = roster::Item { jid: "c@d".into(), listed: true, ..Default::default() };
                roster::put(tx, id, &item)?;
                Ok((id, roster::load(tx, id)?.ver))
            })
            .await;
        let (id, before) = ver.unwrap();
        let copy = folder.path().join("copy");
        store.backup(copy.clone()).await.unwrap();
        store.close().await;
        let mut last = before;
        for _ in 0..2 {
            Store::restore(&copy, &options(folder.path()).path).unwrap();
            let store = Store::open(options(folder.path())).unwrap();
            let ver = store.read(move |tx| roster::load(tx, id)).await.unwrap().ver;
            assert!(ver >= last && ver > 1_700_000_000, "{last} {ver}");
            last = ver;
            store.close().await;
        }
    }

    #[tokio::test]
    async fn what_is_no_backup_is_refused_and_changes_nothing() {
        let old = database("old").await;
        let path = options(old.path()).path;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let sql = |sql: &str| {
            let _ = fs::remove_file(&file);
            Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        };
        let of_ours = |sql: &str| {
            fs::copy(&path, &file).unwrap();
            Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        };
        let before = fs::read(&path).unwrap();
        let cases: [(&dyn Fn(), &str); 9] = [
            (&|| {}, "cannot be read"),
            (&|| fs::write(&file, "").unwrap(), "no SQLite database"),
            (&|| fs::write(&file, "some text that is longer than a header").unwrap(), "no SQLite"),
            (&|| fs::write(&file, b"SQLite format 3\0 and then some text").unwrap(), "file"),
            (&|| sql("CREATE TABLE theirs (x)"), "another program"),
            (&|| sql("CREATE TABLE x (y); DROP TABLE x"), "empty database"),
            (&|| of_ours("INSERT INTO migration VALUES (9999, 'x', 'y', 0)"), "schema 9999"),
            (&|| of_ours("UPDATE migration SET checksum = 'x'"), "another text"),
            (
                &|| {
                    fs::copy(&path, &file).unwrap();
                    let mut bytes = fs::read(&file).unwrap();
                    let end = bytes.len();
                    bytes[end - 8_192..].fill(0xa5);
                    fs::write(&file, bytes).unwrap();
                },
                "damaged",
            ),
        ];
        for (make, words) in cases {
            make();
            let told = Store::restore(&file, &path).unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
            assert_eq!(fs::read(&path).unwrap(), before, "{words}");
            assert_eq!(names(old.path()), ["stonechat.db", "stonechat.db.lock"], "{words}");
        }
        let itself = Store::restore(&path, &path).unwrap_err().to_string();
        assert!(itself.contains("itself"), "{itself}");
        let running = Store::open(options(old.path())).unwrap();
        let other = database("new").await;
        let told = Store::restore(&options(other.path()).path, &path).unwrap_err();
        assert!(matches!(told, RestoreError::InUse { .. }), "{told}");
        running.close().await;
    }
}
