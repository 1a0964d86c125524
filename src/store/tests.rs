//! The store as a whole: batches, failures, order, bounds, opening and closing.

use super::ids::{AccountId, ArchiveId};
use std::path::Path;
use tokio::sync::oneshot;

use super::testing::{hold, options, store};
use super::*;
use std::sync::mpsc;

/// A job that puts a name in `meta` and reports its outcome.
struct Put {
    name: String,
    sql: &'static str,
    weight: usize,
    told: mpsc::Sender<(String, Result<(), StoreError>)>,
}

impl Job for Put {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        put(tx, &self.name)?;
        if !self.sql.is_empty() {
            tx.query(self.sql, &[], &mut |_| Ok(()))?;
        }
        Ok(())
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let _ = self.told.send((self.name, outcome));
    }

    fn bytes(&self) -> usize {
        self.weight
    }
}

fn put(tx: &mut dyn Tx, name: &str) -> Result<(), StoreError> {
    meta::set(tx, name, b"x")
}

fn pragma(tx: &mut dyn Tx, sql: &str) -> Result<(), StoreError> {
    tx.query(sql, &[], &mut |_| Ok(()))
}

async fn names(store: &Store) -> Vec<String> {
    let sql = "SELECT name FROM meta WHERE name NOT IN ('archive-ids', 'probe') ORDER BY rowid";
    store.read(move |tx| query_all(tx, sql, &[], |row| row.text(0))).await.unwrap()
}

/// Submits jobs as one batch and returns their outcomes in the order in which they were reported.
fn batch(store: &Store, jobs: &[(&str, &'static str)]) -> Vec<(String, Result<(), StoreError>)> {
    let (told, ends) = mpsc::channel();
    let held = hold(store);
    for (name, sql) in jobs {
        let (name, told) = ((*name).to_owned(), told.clone());
        store.submit(Box::new(Put { name, sql, weight: 1, told })).unwrap();
    }
    drop((held, told));
    ends.iter().collect()
}

/// A COMMIT after this fails: the row's account does not exist.
const DOOMED: &str = "INSERT INTO mailbox (seq, account, at, size, stanza)
    VALUES (1, 99, 0, 0, x'') RETURNING seq";

#[tokio::test]
async fn a_write_is_answered_when_a_crash_would_keep_it() {
    let (folder, store) = store();
    store.write(|tx| put(tx, "kept")).await.unwrap();
    // What a power cut would leave: the files as they are now, without a close.
    let image = tempfile::tempdir().unwrap();
    for file in ["stonechat.db", "stonechat.db-wal"] {
        std::fs::copy(folder.path().join(file), image.path().join(file)).unwrap();
    }
    let after = Store::open(options(image.path())).unwrap();
    assert_eq!(names(&after).await, ["kept"]);
}

#[tokio::test]
async fn a_batch_is_unseen_until_all_of_it_is_committed() {
    let (folder, store) = store();
    let held = hold(&store);
    let inside = {
        let store = store.clone();
        async move { store.write(|tx| put(tx, "later")).await }
    };
    let second = rusqlite::Connection::open(folder.path().join("stonechat.db")).unwrap();
    let count = || {
        second.query_row("SELECT COUNT(*) FROM meta WHERE name <> 'archive-ids'", [], |r| {
            r.get::<_, i64>(0)
        })
    };
    assert_eq!(count().unwrap(), 0);
    drop(held);
    inside.await.unwrap();
    assert_eq!(count().unwrap(), 1);
}

#[tokio::test]
async fn jobs_run_and_settle_in_queue_order() {
    let (_folder, store) = store();
    let wanted: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
    let jobs: Vec<_> = wanted.iter().map(|name| (name.as_str(), "")).collect();
    let told: Vec<String> = batch(&store, &jobs).into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, wanted);
    assert_eq!(names(&store).await, wanted);
}

#[tokio::test]
async fn an_error_undoes_its_own_job_only() {
    let (_folder, store) = store();
    let ends = batch(&store, &[("a", ""), ("b", "NONSENSE"), ("c", "")]);
    let fine: Vec<_> = ends.iter().map(|(name, end)| (name.as_str(), end.is_ok())).collect();
    assert_eq!(fine, [("a", true), ("b", false), ("c", true)]);
    assert_eq!(names(&store).await, ["a", "c"]);
}

#[tokio::test]
async fn a_panic_undoes_its_own_job_only() {
    let (_folder, store) = store();
    let outcome = store
        .write(|tx| -> Result<(), StoreError> {
            put(tx, "undone")?;
            panic!("of the test")
        })
        .await;
    assert_eq!(outcome, Err(StoreError::Panicked));
    let outcome = store.read(|_| -> Result<(), StoreError> { panic!("of the test") }).await;
    assert_eq!(outcome, Err(StoreError::Panicked));
    store.write(|tx| put(tx, "kept")).await.unwrap();
    assert_eq!(names(&store).await, ["kept"]);
}

#[tokio::test]
async fn a_failed_commit_fails_everybody_in_the_batch() {
    let (_folder, store) = store();
    // Checked at COMMIT only; the setting ends with the transaction.
    let jobs = [("a", ""), ("b", "PRAGMA defer_foreign_keys = ON"), ("c", DOOMED), ("d", "")];
    let ends = batch(&store, &jobs);
    assert_eq!(ends.len(), 4);
    assert!(ends.iter().all(|(_, end)| matches!(end, Err(StoreError::Constraint(_)))), "{ends:?}");
    assert!(names(&store).await.is_empty());
    store.write(|tx| put(tx, "after")).await.unwrap();
    assert_eq!(names(&store).await, ["after"]);
}

#[tokio::test]
async fn a_lost_transaction_fails_everybody_in_the_batch() {
    let (_folder, store) = store();
    // ROLLBACK stands for the rollback that SQLite itself may do on a failing disk.
    let ends = batch(&store, &[("a", ""), ("b", "ROLLBACK"), ("c", "")]);
    assert!(ends.iter().all(|(_, end)| end.is_err()), "{ends:?}");
    assert!(names(&store).await.is_empty());
    store.write(|tx| put(tx, "after")).await.unwrap();
    assert_eq!(names(&store).await, ["after"]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_service_resumes() {
    let (_folder, store) = store();
    let big = |tx: &mut dyn Tx| meta::set(tx, "big", &vec![0; 1_048_576]);
    store.write(|tx| pragma(tx, "PRAGMA max_page_count = 40")).await.unwrap();
    assert_eq!(store.write(big).await, Err(StoreError::Full));
    assert!(store.is_refusing());
    assert_eq!(names(&store).await, Vec::<String>::new());
    store.write(|tx| put(tx, "small")).await.unwrap();
    assert!(store.is_refusing(), "there is room for no more than something small");
    store.write(|tx| pragma(tx, "PRAGMA max_page_count = 4000")).await.unwrap();
    // The writer detects it by itself.
    while store.is_refusing() {
        tokio::task::yield_now().await;
    }
    store.write(big).await.unwrap();
    assert_eq!(names(&store).await, ["small", "big"]);
}

#[tokio::test]
async fn readers_do_not_write() {
    let (_folder, store) = store();
    assert_eq!(store.read(|tx| put(tx, "a")).await, Err(StoreError::ReadOnly));
    assert!(names(&store).await.is_empty());
}

#[tokio::test]
async fn the_queue_has_its_bounds_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { queue_max: 10, queue_bytes: 100, ..options(folder.path()) };
    let store = Store::open(options).unwrap();
    let (told, ends) = mpsc::channel();
    let submit = |weight| {
        let told = told.clone();
        store.submit(Box::new(Put { name: "n".to_owned(), sql: "", weight, told }))
    };
    for (weight, fit) in [(1, 10), (30, 3), (500, 1)] {
        let held = hold(&store);
        for _ in 0..fit {
            submit(weight).unwrap();
        }
        assert_eq!(submit(weight), Err(StoreError::QueueFull), "{weight}");
        drop(held);
        store.barrier().await.unwrap();
        assert_eq!(ends.try_iter().count(), fit);
    }
}

/// First come, first served, and no task gets ahead of those who wait.
#[tokio::test]
async fn above_half_of_the_queue_others_wait_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { queue_max: 8, queue_bytes: 1_000, ..options(folder.path()) };
    let store = Store::open(options).unwrap();
    let (told, ends) = mpsc::channel();
    let own = |name: &str| {
        let (name, told) = (name.to_owned(), told.clone());
        store.submit(Box::new(Put { name, sql: "", weight: 1, told })).unwrap();
    };
    let held = hold(&store);
    (0..5).for_each(|n| own(&format!("own {n}")));
    assert!(store.is_crowded());
    let mut line: Vec<_> = (0..10)
        .map(|n| {
            let store = store.clone();
            Box::pin(async move { store.write(move |tx| put(tx, &format!("other {n}"))).await })
        })
        .collect();
    for waiter in &mut line {
        assert!(poll_once(waiter.as_mut()).await.is_none());
    }
    // A task that stops waiting leaves no gap.
    drop(line.remove(3));
    assert_eq!((store.load().waiting, store.load().queued), (10, 5));
    (5..8).for_each(|n| own(&format!("own {n}")));
    drop(held);
    for waiter in line {
        waiter.await.unwrap();
    }
    assert_eq!(ends.try_iter().count(), 8);
    let names = names(&store).await;
    let others: Vec<_> = names.iter().filter_map(|name| name.strip_prefix("other ")).collect();
    assert_eq!(others, ["0", "1", "2", "4", "5", "6", "7", "8", "9"]);
    assert!(!store.is_crowded(), "{:?}", store.load());
    assert_eq!((store.load().waited, store.load().full), (10, 0));
}

/// Room that was granted and not used is given to the next, even if nothing is written.
#[tokio::test]
async fn room_that_is_not_used_goes_to_the_next() {
    let (_folder, store) = testing::store_with(|options| options.queue_max = 2);
    let first = store.room(1).await.unwrap();
    let mut second = Box::pin(store.room(1));
    assert!(poll_once(second.as_mut()).await.is_none() && store.is_crowded());
    drop(first);
    let second = second.await.unwrap();
    let heavy = usize::MAX / 4;
    let mut third = Box::pin(store.room(heavy));
    assert!(poll_once(third.as_mut()).await.is_none());
    drop(second);
    drop(third.await.unwrap());
    assert!(!store.is_crowded());
    let held = store.room(1).await.unwrap();
    let mut last = Box::pin(store.room(1));
    assert!(poll_once(last.as_mut()).await.is_none());
    store.close().await;
    assert_eq!(last.await.err(), Some(StoreError::Closed));
    drop(held);
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_barrier_waits_for_what_is_queued() {
    let (_folder, store) = store();
    store.barrier().await.unwrap();
    let (told, ends) = mpsc::channel();
    for n in 0..500 {
        let told = told.clone();
        let job = Put { name: format!("{n}"), sql: "", weight: 1, told };
        store.submit(Box::new(job)).unwrap();
    }
    store.barrier().await.unwrap();
    assert_eq!(ends.try_iter().count(), 500);
    assert_eq!(names(&store).await.len(), 500);
}

/// A write-behind that reports when it is durable.
struct Mark(Option<oneshot::Sender<()>>);

impl Job for Mark {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        put(tx, "mark")
    }
    fn settled(mut self: Box<Self>, outcome: Result<(), StoreError>) {
        if let (Some(told), Ok(())) = (self.0.take(), outcome) {
            let _ = told.send(());
        }
    }
}

#[tokio::test]
async fn a_write_behind_rides_in_the_next_batch() {
    let (_folder, store) = store();
    store.write_behind(Box::new(Mark(None)));
    store.write(|tx| put(tx, "a")).await.unwrap();
    assert_eq!(names(&store).await, ["a", "mark"]);
}

#[tokio::test]
async fn a_write_behind_waits_no_longer_than_a_second() {
    let (_folder, store) = store();
    let (told, settled) = oneshot::channel();
    store.write_behind(Box::new(Mark(Some(told))));
    tokio::time::timeout(std::time::Duration::from_secs(10), settled).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_begun_when_somebody_does() {
    let (_folder, store) = store();
    let (told, ends) = mpsc::channel();
    let idle = |name: &'static str| {
        let job = Put { name: name.to_owned(), sql: "", weight: 1, told: told.clone() };
        store.submit_deferred(Box::new(job)).unwrap();
    };
    idle("first");
    store.begun().await.unwrap();
    assert_eq!(ends.try_iter().count(), 0);
    // promise.md 7: a read that must see everything begins the deferred write.
    store.barrier().await.unwrap();
    assert_eq!(names(&store).await, ["first"]);
    idle("second");
    store.close().await;
    assert_eq!(ends.try_iter().count(), 2, "a close begins it too");
}

#[tokio::test]
async fn a_close_does_what_is_queued_and_frees_the_file() {
    let (folder, store) = store();
    let (told, ends) = mpsc::channel();
    let held = hold(&store);
    store.submit(Box::new(Put { name: "a".to_owned(), sql: "", weight: 1, told })).unwrap();
    store.write_behind(Box::new(Mark(None)));
    drop(held);
    store.close().await;
    store.close().await;
    assert_eq!(ends.try_iter().count(), 1);
    assert_eq!(store.write(|tx| put(tx, "b")).await, Err(StoreError::Closed));
    assert_eq!(store.read(|_| Ok(())).await, Err(StoreError::Closed));
    assert_eq!(store.barrier().await, Ok(()));
    assert!(!folder.path().join("stonechat.db-wal").exists());
    let again = Store::open(options(folder.path())).unwrap();
    assert_eq!(names(&again).await, ["a", "mark"]);
}

#[tokio::test]
async fn sort_keys_rise_strictly_also_after_a_restart_with_a_clock_set_back() {
    let (folder, store) = store();
    let keys: Vec<i64> = (0..1000).map(|_| store.next_seq()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    let future = i64::MAX - 1000;
    let append = move |tx: &mut dyn Tx| {
        let id = testing::account(tx, "romeo");
        mailbox::append(tx, id, future, b"<message/>", 0)
    };
    store.write(append).await.unwrap();
    store.close().await;
    let again = Store::open(options(folder.path())).unwrap();
    assert_eq!(again.next_seq(), future + 1);
}

#[test]
fn a_file_in_use_is_refused() {
    let (folder, _store) = store();
    let refused = Store::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
}

#[test]
fn what_is_no_database_of_ours_is_refused() {
    let text = "this is the shopping list, not a database\n".repeat(100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stonechat.db");
    std::fs::write(&path, text).unwrap();
    let refused = Store::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused}");

    std::fs::remove_file(&path).unwrap();
    let theirs = rusqlite::Connection::open(&path).unwrap();
    theirs.execute_batch("CREATE TABLE prosody (x)").unwrap();
    let refused = Store::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let refused = Store::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, OpenError::Files { .. }), "{refused}");
    let missing = Path::new("/dev/null/stonechat.db");
    let refused = Store::open(Options::new(missing)).err().unwrap();
    assert!(refused.to_string().contains("/dev/null"), "{refused}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_words() {
    let (folder, store) = store();
    store.close().await;
    let second = rusqlite::Connection::open(folder.path().join("stonechat.db")).unwrap();
    second.execute_batch("INSERT INTO migration VALUES (9999, 'x', '', 0)").unwrap();
    drop(second);
    let refused = Store::open(options(folder.path())).err().unwrap().to_string();
    assert!(refused.contains("9999") && refused.contains("newer release"), "{refused}");
}

#[tokio::test]
async fn a_deep_check_finds_damage_that_the_start_does_not_look_for() {
    let (folder, store) = store();
    let path = folder.path().join("stonechat.db");
    let fill = |tx: &mut dyn Tx| {
        tx.execute("CREATE TABLE spare (name TEXT PRIMARY KEY)", &[])?;
        let mut names = (0..200).map(|n| format!("name {n} {n}"));
        names.try_for_each(|name| {
            tx.execute("INSERT INTO spare (name) VALUES ($1)", &[name.into()]).map(drop)
        })
    };
    store.write(fill).await.unwrap();
    store.close().await;
    assert_eq!(Store::deep_check(&path).unwrap(), Vec::<String>::new());

    let mut bytes = std::fs::read(&path).unwrap();
    let named = |page: &&mut [u8]| page.windows(7).any(|at| at == b"name 15");
    bytes.chunks_mut(4096).filter(named).for_each(|page| page[..100].fill(0xff));
    std::fs::write(&path, bytes).unwrap();
    assert!(!Store::deep_check(&path).unwrap().is_empty());
    let hurt = Store::open(options(folder.path())).unwrap();
    let all = "SELECT name FROM spare ORDER BY name";
    let read = hurt.read(move |tx| query_all(tx, all, &[], |row| row.text(0))).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("new/deep");
    let _store = Store::open(options(&folder)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["stonechat.db", "stonechat.db-wal", "stonechat.db.lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_read_only_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stonechat.db");
    std::fs::write(&path, "").unwrap();
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    if std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
        return; // The superuser writes everywhere.
    }
    let refused = Store::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused}");
}

#[tokio::test]
async fn positions_rise_above_what_was_deleted_whatever_the_clock_says() {
    let (folder, store) = store();
    let archive = store.write(|tx| Ok(testing::archive(tx, "a"))).await.unwrap();
    let ahead = store.next_seq() + 1_000_000_000_000;
    let far = move |tx: &mut dyn Tx| {
        let (peer, resource, stanza) = ("b@x", "", b"<message/>".as_slice());
        let kind = archive::RowKind::Sent;
        archive::append_behind(
            tx,
            &archive::Entry { seq: ahead, at: ahead, archive, peer, resource, kind, stanza },
            None,
        )
    };
    store.write(far).await.unwrap();
    store.archives_indexed().await.unwrap();
    store.write(move |tx| archive::purge(tx, archive, (ahead + 1, ahead), 9)).await.unwrap();
    store.close().await;
    let store = Store::open(options(folder.path())).unwrap();
    assert!(store.next_seq() > ahead);
}

/// No statement scans a table whose length others decide.
#[test]
fn nothing_ever_scans() {
    testing::tx(|tx| {
        for (name, sql) in sql_catalogue() {
            // The table of saved sessions is empty except while a server starts, which empties it from the
            // first row on; and the result of a bounded query is not a table.
            let bounded = |step: &str| {
                step.starts_with("SCAN sleeper")
                    || step == "SCAN found"
                    // It has one row.
                    || step == "SCAN archive_placed"
                    // Once, when an operator has switched the search off.
                    || (step == "SCAN archive_indexed" && name.ends_with("search::NOBODY"))
                    // Once, at the start of the server.
                    || (step.starts_with("SCAN peer_queue") && name.ends_with("::OUTLINES"))
            };
            for step in testing::plan(tx, sql) {
                assert!(!step.contains("SCAN ") || bounded(&step), "{name}: {step}");
            }
        }
        // SQLite calls every use of a virtual table a scan. The rest is FTS5's plan: `=` is one row, `M` the
        // postings of the words, here in the order of the rows and between two of them.
        for (name, sql) in search::of_sqlite() {
            for step in testing::plan(tx, sql) {
                let walks = step.contains("SCAN ") && step != "SCAN found";
                let found = step.contains("VIRTUAL TABLE INDEX") && step.contains(":M");
                let one = step.contains("VIRTUAL TABLE INDEX") && step.ends_with(":=");
                assert!(!walks || found || one, "{name}: {step}");
                assert!(!step.contains("TEMP B-TREE"), "{name}: {step}");
            }
        }
    });
}

/// A database of the schema before `at` was added: each message's time was its position.
#[tokio::test]
async fn messages_of_an_older_schema_keep_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut conn = rusqlite::Connection::open(&options.path).unwrap();
    let old: Vec<_> = migrate::MIGRATIONS.iter().take_while(|m| m.version < 11).copied().collect();
    sqlite::schema::migrate(&mut conn, &options.path, &old, 1).unwrap();
    let rows = "INSERT INTO account (id, localpart, host, created) VALUES (1, 'a', 'x', 0);
        INSERT INTO archive VALUES (100, 1, 'b@x', 'r', 2, 4, x'3c6d2f3e', 7);
        INSERT INTO archive VALUES (200, 1, 'c@x', '', 0, 4, x'3c6d2f3e', NULL);
        INSERT INTO archive_place VALUES (1, 100, 2, 4), (1, 200, 0, 4);
        INSERT INTO archive_with VALUES (1, 'b@x', 100, 'r', 7), (1, 'c@x', 200, '', NULL);
        UPDATE archive_placed SET seq = 200;
        INSERT INTO archive VALUES (300, 1, 'b@x', 'r', 2, 4, x'3c6d2f3e', 7);
        INSERT INTO mailbox VALUES (250, 1, 250, 4, x'3c6d2f3e');";
    conn.execute_batch(rows).unwrap();
    drop(conn);
    let store = Store::open(Options { clock: || 50, ..options }).unwrap();
    assert_eq!(store.next_seq(), 301, "above what is there, though the clock is behind");
    let account = AccountId(1);
    let archive = ArchiveId::of(account);
    store.archives_indexed().await.unwrap();
    let read = move |tx: &mut dyn Tx| {
        let filter = archive::Filter { since: 150, until: 300, ..archive::Filter::ALL };
        let narrow = archive::narrowed(tx, archive, &filter)?;
        let up = archive::Direction::Forward;
        let found = archive::page(tx, archive, &narrow, up, 9, 99)?.rows;
        let owed = mailbox::rows(tx, account, &[(100, mailbox::StoredIn::Archive)])?;
        Ok((found.iter().map(|row| (row.seq, row.at)).collect::<Vec<_>>(), owed[0].at))
    };
    assert_eq!(store.read(read).await.unwrap(), (vec![(200, 200), (300, 300)], 100));
    // A new message has the clock's time, and its position is after the others.
    struct Put(i64, i64);
    impl Job for Put {
        fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
            let (peer, kind, stanza) = ("b@x", archive::RowKind::Sent, b"<m/>".as_slice());
            let (archive, resource) = (ArchiveId::of(AccountId(1)), "");
            let entry =
                archive::Entry { seq: self.0, at: self.1, archive, peer, resource, kind, stanza };
            archive::append_behind(tx, &entry, None)
        }
        fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
    }
    let put = Box::new(Put(0, 0));
    store.submit_numbered(put, |put, now, next| *put = Put(next(), now)).unwrap();
    store.barrier().await.unwrap();
    store.archives_indexed().await.unwrap();
    let read = move |tx: &mut dyn Tx| {
        let filter = archive::Filter { until: 99, ..archive::Filter::ALL };
        let narrow = archive::narrowed(tx, archive, &filter)?;
        let up = archive::Direction::Forward;
        let found = archive::page(tx, archive, &narrow, up, 9, 99)?.rows;
        Ok(found.iter().map(|row| (row.seq, row.at)).collect::<Vec<_>>())
    };
    assert_eq!(store.read(read).await.unwrap(), [(302, 50)]);
}
