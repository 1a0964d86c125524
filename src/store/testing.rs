//! For tests of code with SQL: a migrated database in memory, or a store in a folder.

use super::accounts::{self, Creation};
use super::ids::{AccountId, ArchiveId};
use super::sqlite::engine::Engine;
use super::{Job, Options, Row, Store, StoreError, Synchronous, Tx};
use std::path::Path;
use std::sync::mpsc;

/// Runs `f` on a new database in memory.
pub(crate) fn tx(f: impl FnOnce(&mut dyn Tx)) {
    f(&mut Engine::migrated_in_memory().tx());
}

/// Like [`tx`], with one account in it.
pub(crate) fn account_tx(f: impl FnOnce(&mut dyn Tx, AccountId)) {
    tx(|tx| {
        let id = account(tx, "romeo");
        f(tx, id);
    });
}

/// A new account without keys.
pub(crate) fn account(tx: &mut dyn Tx, localpart: &str) -> AccountId {
    match accounts::create(tx, localpart, "montague.example", &[], 0).unwrap() {
        Creation::Created(id) => id,
        other => panic!("{localpart}: {other:?}"),
    }
}

/// Like [`account_tx`], with the archive of an account.
pub(crate) fn archive_tx(f: impl FnOnce(&mut dyn Tx, ArchiveId)) {
    account_tx(|tx, account| f(tx, ArchiveId::of(account)));
}

/// The archive of a new account.
pub(crate) fn archive(tx: &mut dyn Tx, localpart: &str) -> ArchiveId {
    ArchiveId::of(account(tx, localpart))
}

/// The steps of SQLite's plan for a statement.
pub(crate) fn plan(tx: &mut dyn Tx, sql: &str) -> Vec<String> {
    let holes = (1..=20).filter(|n| sql.contains(&format!("${n}"))).count();
    let mut plan = Vec::new();
    let mut step = |row: &dyn Row| {
        plan.push(row.text(3)?);
        Ok(())
    };
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    tx.query(&explain, &vec![1_i64.into(); holes], &mut step).unwrap();
    plan
}

/// A store in a folder that exists as long as the first value.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path())).unwrap();
    (folder, store)
}

/// Like [`store`], with other options.
pub(crate) fn store_with(change: impl FnOnce(&mut Options)) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    change(&mut options);
    (folder, Store::open(options).unwrap())
}

/// Options for a test's store.
pub(crate) fn options(folder: &Path) -> Options {
    Options { synchronous: Synchronous::Off, ..Options::new(folder.join("stonechat.db")) }
}

/// Holds the writer until the returned sender is dropped, so that what follows is one batch.
pub(crate) fn hold(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (begun, began) = mpsc::channel::<()>();
    struct Hold(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Job for Hold {
        fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(())
        }
        fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
    }
    store.submit(Box::new(Hold(begun, held))).unwrap();
    began.recv().unwrap();
    release
}
