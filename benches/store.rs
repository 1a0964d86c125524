//! Durable appends to a mailbox, alone and with 64 in flight, at each `synchronous`; pages of an
//! archive, of a million messages too with `STONECHAT_BENCH_MILLION` set.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stonechat::store::accounts::{self, AccountId, Creation};
use stonechat::store::archive::{self, Direction, Entry, Filter, Kind, Peer};
use stonechat::store::{Options, Store, Synchronous, Tx, mailbox};
use tokio::runtime::Runtime;

fn appends(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let store = Store::open(Options { synchronous, ..Options::new(path) }).unwrap();
        let account = runtime.block_on(account(&store));
        for in_flight in [1, 64] {
            c.bench_function(&format!("append/{synchronous:?}/{in_flight}"), |b| {
                b.iter_custom(|n| runtime.block_on(run(&store, account, n, in_flight)));
            });
        }
        runtime.block_on(store.close());
    }
}

/// `n` appends by `in_flight` tasks, each of which waits for its own.
async fn run(store: &Store, account: AccountId, n: u64, in_flight: usize) -> Duration {
    let left = Arc::new(AtomicU64::new(n));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (store, left) = (store.clone(), Arc::clone(&left));
        tasks.spawn(async move {
            let less = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                let seq = store.next_seq();
                let append =
                    move |tx: &mut dyn Tx| mailbox::append(tx, account, seq, &[b'x'; 300], seq);
                store.write(append).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    begun.elapsed()
}

async fn account(store: &Store) -> AccountId {
    let make = |tx: &mut dyn Tx| accounts::create(tx, "romeo", "x", &[], 0);
    match store.write(make).await.unwrap() {
        Creation::Created(id) => id,
        Creation::Exists => panic!("a new database has no accounts"),
    }
}

/// A page of 50 in the middle of a conversation, among another as long.
fn pages(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let million = std::env::var_os("STONECHAT_BENCH_MILLION").map(|_| 1_000_000);
    for messages in [Some(10_000), million].into_iter().flatten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let options = Options { synchronous: Synchronous::Off, ..Options::new(path) };
        let store = Store::open(options).unwrap();
        let account = runtime.block_on(account(&store));
        runtime.block_on(converse(&store, account, messages));
        let peer = Peer::Bare("juliet@x".to_owned());
        let middle = Filter { after: messages, peer, ..Filter::ALL };
        let all = Filter { after: i64::MIN, ..middle.clone() };
        let page = |direction, filter: &Filter| {
            let filter = filter.clone();
            runtime.block_on(
                store.read(move |tx| archive::page(tx, account, &filter, direction, 50, 1_048_576)),
            )
        };
        let before = Filter { before: messages, ..all.clone() };
        c.bench_function(&format!("page/after/{messages}"), |b| {
            b.iter(|| assert_eq!(page(Direction::Forward, &middle).unwrap().rows.len(), 50));
        });
        c.bench_function(&format!("page/before/{messages}"), |b| {
            b.iter(|| assert_eq!(page(Direction::Backward, &before).unwrap().rows.len(), 50));
        });
        c.bench_function(&format!("count/{messages}"), |b| {
            let count = || {
                let all = all.clone();
                runtime.block_on(store.read(move |tx| archive::count(tx, account, &all, 10_000)))
            };
            b.iter(|| count().unwrap());
        });
        runtime.block_on(store.close());
    }
}

/// Messages with two contacts in turn.
async fn converse(store: &Store, account: AccountId, messages: i64) {
    for first in (0..2 * messages).step_by(500) {
        let write = move |tx: &mut dyn Tx| {
            for seq in first..first + 500 {
                let peer = if seq % 2 == 0 { "juliet@x" } else { "benvolio@x" };
                let (kind, stanza) = (Kind::Received, [b'x'; 300].as_slice());
                let entry = Entry { seq, account, peer, resource: "r", kind, stanza };
                archive::append(tx, &entry)?;
            }
            Ok(())
        };
        store.write(write).await.unwrap();
    }
}

criterion_group!(benches, appends, pages);
criterion_main!(benches);
