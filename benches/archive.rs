//! Pages of 50 out of a conversation of 10,000 and of 1,000,000 messages, whose archive has another
//! contact with 50; counts; the search for a message that is retracted; and what a row costs to write.
//! `STONECHAT_BENCH_SMALL` leaves the million out, which takes a gigabyte and a minute to make.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use stonechat::store::accounts::{self, Creation};
use stonechat::store::archive::{self, Direction, Entry, Filter, Page, Peer, RowKind};
use stonechat::store::ids::ArchiveId;
use stonechat::store::{Options, Store, StoreError, Synchronous, Tx};
use tokio::runtime::Runtime;

/// An archive, and the runtime that asks it.
struct Archive {
    runtime: Runtime,
    store: Store,
    id: ArchiveId,
    _folder: tempfile::TempDir,
}

impl Archive {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let options = Options { synchronous: Synchronous::Off, ..Options::new(path) };
        let store = Store::open(options).unwrap();
        let make = |tx: &mut dyn Tx| accounts::create(tx, "romeo", "x", &[], 0);
        let Creation::Created(account) = runtime.block_on(store.write(make)).unwrap() else {
            panic!("a new database has no accounts")
        };
        Self { runtime, store, id: ArchiveId::of(account), _folder: folder }
    }

    /// Messages with juliet, and among them 50 with the nurse; all in one transaction.
    fn of(messages: i64) -> Self {
        let archive = Self::new();
        let of = archive.id;
        let nurse = messages / 50;
        archive.write(move |tx| {
            for n in 0..messages {
                let peer = if n % nurse == nurse / 2 { "nurse@x" } else { "juliet@x" };
                put(tx, of, place(n), peer, Some(&format!("{n:036}")))?;
            }
            archive::index_new(tx)
        });
        archive
    }

    fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.store.read(f)).unwrap()
    }

    fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.store.write(f)).unwrap()
    }

    fn page(&self, filter: &Filter, direction: Direction) -> Page {
        let (id, filter) = (self.id, filter.clone());
        self.read(move |tx| {
            let filter = archive::narrowed(tx, id, &filter)?;
            archive::page(tx, id, &filter, direction, 50, 1_048_576)
        })
    }

    fn count(&self, filter: &Filter) -> Option<usize> {
        let (id, filter) = (self.id, filter.clone());
        self.read(move |tx| archive::count(tx, id, &filter, 10_000))
    }
}

fn put(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    seq: i64,
    peer: &str,
    id: Option<&String>,
) -> Result<(), StoreError> {
    let (kind, stanza) = (RowKind::Received, [b'x'; 350].as_slice());
    let entry = Entry { seq, at: seq, archive, peer, resource: "balcony", kind, stanza };
    archive::append_behind(tx, &entry, id.map(String::as_str))
}

/// One every ten seconds.
fn place(n: i64) -> i64 {
    (n + 1) * 10_000_000
}

fn pages(c: &mut Criterion) {
    let million = std::env::var_os("STONECHAT_BENCH_SMALL").is_none().then_some(1_000_000);
    for messages in [Some(10_000), million].into_iter().flatten() {
        let archive = Archive::of(messages);
        let middle = place(messages / 2);
        let with = |peer: &str| Filter { peer: Peer::Bare(peer.to_owned()), ..Filter::ALL };
        let (all, juliet, nurse) = (Filter::ALL, with("juliet@x"), with("nurse@x"));
        let after = Filter { after: middle, ..juliet.clone() };
        let before = Filter { before: middle, ..juliet.clone() };
        // Between two messages: a time and not an id.
        let since = Filter { since: middle + 5_000_000, ..all.clone() };
        for (name, filter, direction) in [
            ("newest", &all, Direction::Backward),
            ("oldest", &all, Direction::Forward),
            ("middle-by-time", &since, Direction::Forward),
            ("newest-with", &juliet, Direction::Backward),
            ("oldest-with", &juliet, Direction::Forward),
            ("middle-after-id", &after, Direction::Forward),
            ("middle-before-id", &before, Direction::Backward),
            ("rare-contact", &nurse, Direction::Backward),
        ] {
            c.bench_function(&format!("page/{messages}/{name}"), |b| {
                b.iter(|| assert_eq!(archive.page(filter, direction).rows.len(), 50));
            });
        }
        for (name, filter) in [("all", &all), ("with", &juliet), ("rare-contact", &nurse)] {
            c.bench_function(&format!("count/{messages}/{name}"), |b| {
                b.iter(|| archive.count(filter));
            });
        }
        let of = archive.id;
        for (name, back) in [("last", 1), ("thousand-back", 1_000), ("not-there", messages + 1)] {
            let id = format!("{:036}", messages - back);
            c.bench_function(&format!("retracted/{messages}/{name}"), |b| {
                b.iter(|| {
                    let id = id.clone();
                    archive.read(move |tx| {
                        archive::newest_of(tx, of, ("juliet@x", archive::By::Peer), &id, i64::MAX)
                    })
                });
            });
        }
        archive.runtime.block_on(archive.store.close());
    }
}

/// Rows as the router writes them, 100 in a transaction, of 100 conversations; the placing included. The
/// id is what a retraction needs.
fn rows(c: &mut Criterion) {
    for (name, has_id) in [("row", true), ("row-without-id", false)] {
        c.bench_function(name, |b| {
            b.iter_custom(|n| write_rows(i64::try_from(n).unwrap(), has_id));
        });
    }
}

fn write_rows(rows: i64, has_id: bool) -> Duration {
    let archive = Archive::new();
    let of = archive.id;
    let mut spent = Duration::ZERO;
    for first in (0..rows).step_by(100) {
        let begun = Instant::now();
        archive.write(move |tx| {
            for n in first..rows.min(first + 100) {
                let peer = format!("contact-{}@bench.localhost", n % 100);
                let id = format!("{n:036}");
                put(tx, of, place(n), &peer, has_id.then_some(&id))?;
            }
            if first % 2_000 == 0 { archive::index_new(tx) } else { Ok(()) }
        });
        spent += begun.elapsed();
    }
    archive.runtime.block_on(archive.store.close());
    spent
}

criterion_group!(benches, pages, rows);
criterion_main!(benches);
