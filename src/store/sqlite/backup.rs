//! Copies of the database that can be opened on their own: on command while it is in use (`aside.rs`), and
//! automatically before a migration. The background check after an unclean stop is here too.

use super::files;
use super::uploaded::{self, Beside, Uploads};
use crate::store::errors::{BackupError, OpenError};
use crate::store::options::now;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempPath;

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The uploaded files that it speaks of, beside it.
    pub uploads: Option<Uploads>,
    /// The time it took.
    pub took: Duration,
}

/// Stops long work between two pages.
#[derive(Clone, Default)]
pub(in crate::store) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What to do with an existing file of the target's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Existing {
    Refuse,
    Replace,
}

/// Makes a copy before the first of some migrations, named after it: `….before-schema-4` has the state right
/// before schema 4. The three highest are kept.
pub(in crate::store) fn before_schema(path: &Path, version: i64) -> Result<(), OpenError> {
    let target = files::with_suffix(path, &format!("{BEFORE_SCHEMA}{version}"));
    let failed = |source| {
        let path = path.to_owned();
        OpenError::NoBackup { path, version, source: Box::new(source) }
    };
    let conn = files::open_reader(path)?;
    // The name may exist: from an upgrade that was reverted, or that failed just now.
    let made = snapshot(&conn, &target, &Stop::default(), Existing::Replace, None);
    let made = made.map_err(failed)?;
    tracing::info!(
        path = %made.path.display(),
        bytes = made.bytes,
        "backup made, because the schema of the database is upgraded now"
    );
    for (_, old) in copies(path).iter().rev().skip(KEPT) {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!(%error, path = %old.display(), "an old backup cannot be removed");
        }
    }
    Ok(())
}

/// Returns the latest of these copies that a release which knows schemas up to `known` can open.
pub(in crate::store) fn way_back(path: &Path, known: i64) -> Option<PathBuf> {
    let opens = |copy: &Path| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(copy, flags)?;
        conn.query_row(LAST_VERSION, [], |row| row.get::<_, i64>(0)).map(|last| last <= known)
    };
    let mut copies = copies(path).into_iter().rev().map(|(_, copy)| copy);
    copies.find(|copy| opens(copy).unwrap_or(false))
}

/// Returns the copies from before migrations, by rising version.
fn copies(path: &Path) -> Vec<(i64, PathBuf)> {
    let prefix = format!("{}{BEFORE_SCHEMA}", files::file_name(path));
    let version = |name: &str| name.strip_prefix(&prefix)?.parse().ok();
    let mut found: Vec<_> = files::siblings(path)
        .filter_map(|(name, path)| version(&name).map(|version| (version, path)))
        .collect();
    found.sort_unstable();
    found
}

/// Copies what `from` sees to `….part` next to `target`, reads the copy, makes it durable, takes along the uploaded
/// files that it speaks of from `uploads`, and only then gives them and it their names: a copy with its name has its
/// files.
pub(in crate::store) fn snapshot(
    from: &Connection,
    target: &Path,
    stop: &Stop,
    existing: Existing,
    uploads: Option<&Path>,
) -> Result<Snapshot, BackupError> {
    let begun = now();
    let files = |source| BackupError::Files { path: target.to_owned(), source };
    refuse_what_is_there(target, existing)?;
    if uploads.is_some() {
        refuse_others_uploads(target)?;
    }
    let part = Part::make(target)?;
    let sql = |error| of_sqlite(target, error);
    copy(from, &part.path, stop).map_err(sql)?;
    let found = seal(&part.path, stop).map_err(sql)?;
    if let Some(what) = found.into_iter().next() {
        return Err(BackupError::Damaged { what });
    }
    part.file.sync_all().map_err(files)?;
    let bytes = part.file.metadata().map_err(files)?.len();
    let mut beside = match uploads {
        Some(from) => {
            let known = uploaded::known(&part.path).map_err(sql)?;
            let made = Beside::make(&known, from, target, || stop.is_set());
            made.map_err(|error| of_uploads(uploaded::of_part(target), stop, error))?
        }
        None => None,
    };
    if let Some(beside) = &mut beside {
        let named = beside.name(target);
        named.map_err(|error| of_uploads(uploaded::of_backup(target), stop, error))?;
    }
    part.name(target, existing)?;
    // Whatever comes now, the backup has its name.
    let uploads = beside.map(Beside::keep);
    files::sync_folder(target).map_err(files)?;
    Ok(Snapshot { path: target.to_owned(), bytes, uploads, took: begun.elapsed() })
}

fn of_uploads(path: PathBuf, stop: &Stop, source: io::Error) -> BackupError {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    match source.kind() {
        _ if stop.is_set() => BackupError::Stopped,
        AlreadyExists | DirectoryNotEmpty | NotADirectory => BackupError::OthersUploads { path },
        io::ErrorKind::StorageFull => BackupError::Full { path },
        _ => BackupError::Files { path, source },
    }
}

/// Refuses names such as `….restored`, which the next start would take for the database.
pub(in crate::store) fn refuse_reserved(database: &Path, target: &Path) -> Result<(), BackupError> {
    let folder = |path: &Path| files::folder(path).canonicalize().ok();
    let beside = folder(database) == folder(target);
    // If the file exists already, that is the error to report.
    if beside
        && files::file_name(target).starts_with(&files::file_name(database))
        && fs::symlink_metadata(target).is_err()
    {
        return Err(BackupError::Reserved { path: target.to_owned() });
    }
    Ok(())
}

fn refuse_what_is_there(target: &Path, existing: Existing) -> Result<(), BackupError> {
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if existing == Existing::Refuse && there(target) {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    let mut sides = files::SIDES.iter().map(|side| files::with_suffix(target, side));
    sides.find(|side| there(side)).map_or(Ok(()), |path| Err(BackupError::Remains { path }))
}

/// They may be those of a backup whose database was renamed since.
fn refuse_others_uploads(target: &Path) -> Result<(), BackupError> {
    let path = uploaded::of_backup(target);
    match fs::symlink_metadata(&path) {
        Ok(_) => Err(BackupError::OthersUploads { path }),
        Err(_) => Ok(()),
    }
}

/// An unfinished copy; removed when dropped. Its lock distinguishes a copy in progress from one that a killed
/// server left.
struct Part {
    path: TempPath,
    sides: Sides,
    file: File,
}

/// The files that SQLite makes next to a copy while it works on it; removed when dropped.
struct Sides(PathBuf);

impl Drop for Sides {
    fn drop(&mut self) {
        for side in files::SIDES {
            let _ = fs::remove_file(files::with_suffix(&self.0, side));
        }
    }
}

impl Part {
    fn make(target: &Path) -> Result<Self, BackupError> {
        let files = |source| BackupError::Files { path: target.to_owned(), source };
        let path = files::with_suffix(target, ".part");
        if fs::symlink_metadata(&path).is_ok_and(|there| there.is_file()) {
            let left = File::open(&path).map_err(files)?;
            if matches!(left.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(BackupError::Busy);
            }
            fs::remove_file(&path).map_err(files)?;
        }
        drop(Sides(path.clone()));
        // A symbolic link that someone placed there is not followed: the file must be new.
        let file = files::private_file().create_new(true).open(&path).map_err(files)?;
        let _ = file.try_lock();
        let sides = Sides(path.clone());
        Ok(Self { path: TempPath::try_from_path(path).map_err(files)?, sides, file })
    }

    /// Gives the finished copy its name.
    fn name(self, target: &Path, existing: Existing) -> Result<(), BackupError> {
        let Self { path, sides, file } = self;
        let named = match existing {
            Existing::Replace => path.persist(target),
            Existing::Refuse => path.persist_noclobber(target),
        };
        drop((sides, file));
        named.or_else(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists => Err(BackupError::Exists { path: target.to_owned() }),
            // The file system supports neither links nor this kind of rename.
            _ if !target.exists() => failed.path.persist(target).map_err(|failed| {
                BackupError::Files { path: target.to_owned(), source: failed.error }
            }),
            _ => Err(BackupError::Files { path: target.to_owned(), source: failed.error }),
        })
    }
}

/// The open transaction pins one state: without it every write of another connection would restart the copy,
/// and under load it would never end.
fn copy(from: &Connection, to: &Path, stop: &Stop) -> rusqlite::Result<()> {
    let mut to = part(to)?;
    // A half copy may be lost or damaged: it is never opened.
    to.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    to.pragma_update(None, "synchronous", "OFF")?;
    let pinned = from.unchecked_transaction()?;
    pinned.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let backup = Backup::new(&pinned, &mut to)?;
    loop {
        if stop.is_set() {
            return Err(failure(rusqlite::ffi::SQLITE_INTERRUPT));
        }
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => return Err(failure(rusqlite::ffi::SQLITE_BUSY)),
        }
    }
}

/// Makes the copy a database in one file, without a log next to it, and reads it.
fn seal(path: &Path, stop: &Stop) -> rusqlite::Result<Vec<String>> {
    let mut conn = part(path)?;
    stoppable(&mut conn, stop)?;
    // This makes no file for shared memory next to it.
    conn.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    if mode != "delete" {
        return Ok(vec![format!("its journal mode is {mode}")]);
    }
    let found = files::findings(&conn, QUICK_CHECK)?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(found)
}

fn part(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

fn stoppable(conn: &mut Connection, stop: &Stop) -> rusqlite::Result<()> {
    let stop = stop.clone();
    conn.progress_handler(STOP_LOOKS, Some(move || stop.is_set()))
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

fn of_sqlite(target: &Path, error: rusqlite::Error) -> BackupError {
    let what = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => BackupError::Full { path: target.to_owned() },
        Some(ErrorCode::OperationInterrupted) => BackupError::Stopped,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => BackupError::Damaged { what },
        _ => BackupError::Other { what },
    }
}

pub(in crate::store) fn check_behind(path: &Path, stop: &Stop) {
    let found = files::open_reader(path).map_err(|error| error.to_string()).and_then(|mut conn| {
        let checked = stoppable(&mut conn, stop).and_then(|()| files::findings(&conn, QUICK_CHECK));
        checked.map_err(|error| error.to_string())
    });
    match found {
        // The next start checks again.
        _ if stop.is_set() => {}
        Ok(found) if found.is_empty() => {
            tracing::info!("the database is sound after the unclean stop");
            let _ = fs::remove_file(files::unclean(path));
        }
        Ok(found) => tracing::error!(found = found.join("; "), "{DAMAGED}"),
        Err(error) => tracing::error!(found = error, "{DAMAGED}"),
    }
}

const DAMAGED: &str = "the database is damaged after an unclean stop. Stop the server and run \
    `stonechat check --deep`; if that finds errors, `stonechat restore` the last backup";
const BEFORE_SCHEMA: &str = ".before-schema-";
/// Number of copies from before migrations that are kept.
const KEPT: usize = 3;
/// 1 MiB; the copy can be stopped between two of these steps.
const STEP_PAGES: i32 = 256;
/// Instructions of SQLite's virtual machine between two checks for a stop.
const STOP_LOOKS: i32 = 10_000;
/// The first faults are enough to show that there are some.
const QUICK_CHECK: &str = "PRAGMA quick_check(10)";
const LAST_VERSION: &str = "SELECT MAX(version) FROM migration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::testing::{options, store};
    use crate::store::{Job, Tx, meta};
    use std::os::unix::fs::PermissionsExt;

    fn read(path: &Path, sql: &str) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let conn = Connection::open_with_flags(path, flags).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = files::siblings(&folder.join("x")).map(|(name, _)| name).collect();
        names.sort();
        names
    }

    /// Two rows, in one transaction.
    struct Pair(usize);

    impl Job for Pair {
        fn run(&mut self, tx: &mut dyn Tx) -> Result<(), crate::store::StoreError> {
            let pad = vec![0; 2_000];
            meta::set(tx, &format!("a{}", self.0), &pad)?;
            meta::set(tx, &format!("b{}", self.0), &pad)
        }
        fn settled(self: Box<Self>, _: Result<(), crate::store::StoreError>) {}
    }

    #[tokio::test]
    async fn a_copy_under_writes_is_one_state() {
        let (folder, store) = store();
        for n in 0..500 {
            store.submit(Box::new(Pair(n))).unwrap();
        }
        store.barrier().await.unwrap();
        let writer = store.clone();
        let writes = std::thread::spawn(move || {
            (500..2_000).for_each(|n| writer.submit(Box::new(Pair(n))).unwrap());
        });
        let target = folder.path().join("copy");
        let made = store.backup(target.clone()).await.unwrap();
        writes.join().unwrap();
        let count = |like: &str| {
            read(&target, &format!("SELECT COUNT(*) FROM meta WHERE name GLOB '{like}[0-9]*'"))
        };
        assert!(count("a") >= 500);
        assert_eq!(count("a"), count("b"));
        assert_eq!(made.bytes, fs::metadata(&target).unwrap().len());
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(&fs::read(&target).unwrap()[18..20], [1, 1], "no log of its own");
        store.close().await;
        assert_eq!(names(folder.path()), ["copy", "stonechat.db", "stonechat.db.lock"]);
        let after = store.backup(folder.path().join("late")).await;
        assert!(matches!(after, Err(BackupError::Stopped)), "{after:?}");
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_told_and_stays() {
        let (folder, store) = store();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("there"), "x").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        fs::write(at("old-wal"), "x").unwrap();
        fs::create_dir(at("folder.part")).unwrap();
        fs::write(at("busy.part"), "x").unwrap();
        fs::create_dir(at("renamed.uploads")).unwrap();
        let busy = File::open(at("busy.part")).unwrap();
        busy.lock().unwrap();
        for (name, words) in [
            ("there", "exists already"),
            ("link", "exists already"),
            ("renamed", "was renamed"),
            ("old", "rest of another database"),
            ("folder", "cannot be written"),
            ("busy", "another backup"),
            ("none/x", "its folder exists"),
            ("stonechat.db", "exists already"),
            ("stonechat.db.restored", "the server's"),
        ] {
            let before = names(folder.path());
            let told = store.backup(at(name)).await.unwrap_err().to_string();
            assert!(told.contains(words), "{name}: {told}");
            assert_eq!(names(folder.path()), before, "{name}");
        }
        // A killed server left this file.
        drop(busy);
        store.backup(at("busy")).await.unwrap();
        assert!(!at("busy.part").exists());
    }

    #[tokio::test]
    async fn a_stop_ends_a_copy_and_leaves_nothing() {
        let (folder, store) = store();
        let conn = files::open_reader(&store.inner.aside.path).unwrap();
        let stop = Stop::default();
        stop.0.store(true, Ordering::Relaxed);
        let target = folder.path().join("copy");
        let made = snapshot(&conn, &target, &stop, Existing::Refuse, None);
        assert!(matches!(made, Err(BackupError::Stopped)), "{made:?}");
        assert!(!names(folder.path()).iter().any(|name| name.starts_with("copy")));
    }

    #[test]
    fn a_damaged_copy_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x); CREATE INDEX i ON t (x)").unwrap();
        for n in 0..1_000 {
            conn.execute("INSERT INTO t VALUES (?1)", [n]).unwrap();
        }
        conn.close().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4_096..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let target = folder.path().join("copy");
        let conn = files::open_reader(&path).unwrap();
        let made = snapshot(&conn, &target, &Stop::default(), Existing::Refuse, None);
        assert!(matches!(made, Err(BackupError::Damaged { .. })), "{made:?}");
        assert!(!target.exists());
    }

    #[tokio::test]
    async fn an_unclean_stop_is_marked_until_the_database_was_read() {
        let (folder, store) = store();
        store.write(|tx| meta::set(tx, "a", b"x")).await.unwrap();
        let killed = tempfile::tempdir().unwrap();
        for side in ["", "-wal"] {
            let name = format!("stonechat.db{side}");
            fs::copy(folder.path().join(&name), killed.path().join(&name)).unwrap();
        }
        store.close().await;
        let mark = |folder: &Path| files::unclean(&options(folder).path).exists();
        let reopen = async |folder: &Path| Store::open(options(folder)).unwrap().close().await;
        reopen(folder.path()).await;
        reopen(killed.path()).await;
        assert!(!mark(folder.path()) && mark(killed.path()));
        // A command that opens and closes the database does not clear the mark, nor does an interrupted
        // check.
        reopen(killed.path()).await;
        let path = options(killed.path()).path;
        let stop = Stop::default();
        stop.0.store(true, Ordering::Relaxed);
        check_behind(&path, &stop);
        assert!(mark(killed.path()));
        check_behind(&path, &Stop::default());
        assert!(!mark(killed.path()));
        let damaged = fs::read(&path).unwrap();
        fs::write(&path, [&damaged[..4_096], &vec![0xa5; damaged.len() - 4_096]].concat()).unwrap();
        File::create(files::unclean(&path)).unwrap();
        check_behind(&path, &Stop::default());
        assert!(mark(killed.path()));
    }
}
