//! Durable appends to a mailbox, alone and with 64 in flight, at each `synchronous`.
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
use stonechat::store::{Options, Store, Synchronous, mailbox};
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
                let append = move |tx: &mut dyn stonechat::store::Tx| {
                    mailbox::append(tx, account, seq, &[b'x'; 300], seq)
                };
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
    let make = |tx: &mut dyn stonechat::store::Tx| accounts::create(tx, "romeo", "x", &[], 0);
    match store.write(make).await.unwrap() {
        Creation::Created(id) => id,
        Creation::Exists => panic!("a new database has no accounts"),
    }
}

criterion_group!(benches, appends);
criterion_main!(benches);
