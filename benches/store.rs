//! Durable appends to a mailbox, alone and with 64 in flight, at each `synchronous`; messages into two
//! archives, as the router writes them, in CPU time of all threads.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stonechat::store::accounts::{self, Creation};
use stonechat::store::archive::{self, Entry, RowKind};
use stonechat::store::handled::{DurableCount, StreamOwner};
use stonechat::store::ids::{AccountId, ArchiveId};
use stonechat::store::{Job, Options, Store, StoreError, Synchronous, Tx, mailbox};
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

/// A message into the archives of both sides, with the count of its sender's stream. The time is CPU time:
/// that of the disk says nothing about us.
fn messages(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(folder.path().join("bench.db"))).unwrap();
    let accounts: Vec<_> = (0..ACCOUNTS)
        .map(|n| {
            let name = format!("chat-{n}");
            let make = move |tx: &mut dyn Tx| accounts::create(tx, &name, "x", &[], 0);
            match runtime.block_on(store.write(make)).unwrap() {
                Creation::Created(id) => id,
                _ => panic!("a new database has no accounts"),
            }
        })
        .collect();
    let accounts: Arc<[AccountId]> = accounts.into();
    for in_flight in [1, 64, 256] {
        c.bench_function(&format!("message/cpu/{in_flight}"), |b| {
            b.iter_custom(|n| runtime.block_on(chat(&store, &accounts, n, in_flight)));
        });
    }
    runtime.block_on(store.close());
}

const ACCOUNTS: usize = 100;

async fn chat(store: &Store, accounts: &Arc<[AccountId]>, n: u64, in_flight: usize) -> Duration {
    let left = Arc::new(AtomicU64::new(n));
    let begun = cpu();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..in_flight {
        let (store, left, accounts) = (store.clone(), Arc::clone(&left), Arc::clone(accounts));
        tasks.spawn(async move {
            let less = |left: u64| left.checked_sub(1);
            while let Ok(h) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
                let sides = [task % ACCOUNTS, (task + 1) % ACCOUNTS];
                let accounts = sides.map(|side| accounts[side]);
                let (told, ended) = tokio::sync::oneshot::channel();
                let job = Message { sides, accounts, seqs: [0; 2], h: h as u32, told: Some(told) };
                store
                    .submit_numbered(Box::new(job), |job, _, next| job.seqs = [next(), next()])
                    .unwrap();
                ended.await.unwrap().unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    cpu().saturating_sub(begun)
}

/// What all threads of the process ran.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let ran = tasks.map(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap()
    });
    Duration::from_nanos(ran.sum())
}

struct Message {
    sides: [usize; 2],
    accounts: [AccountId; 2],
    seqs: [i64; 2],
    h: u32,
    told: Option<tokio::sync::oneshot::Sender<Result<(), StoreError>>>,
}

impl Job for Message {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let stanza = [b'x'; 350];
        let peers = self.sides.map(|side| format!("chat-{side}@bench.localhost"));
        for (row, kind) in [(0, RowKind::Sent), (1, RowKind::Owed)] {
            let (seq, account, peer) = (self.seqs[row], self.accounts[row], &peers[1 - row]);
            let resource = "a-resource";
            archive::append(
                tx,
                &Entry {
                    seq,
                    at: seq,
                    archive: ArchiveId::of(account),
                    peer,
                    resource,
                    kind,
                    stanza: &stanza,
                },
            )?;
        }
        Ok(())
    }

    fn settled(mut self: Box<Self>, outcome: Result<(), StoreError>) {
        let _ = self.told.take().map(|told| told.send(outcome));
    }

    fn durable_count(&self) -> Option<DurableCount> {
        let mut id = [7; 32];
        id[0] = self.sides[0] as u8;
        let owner = StreamOwner::Account(self.accounts[0]);
        Some(DurableCount { id, owner, h: self.h, at: self.seqs[0] })
    }

    fn repeats(&self) -> bool {
        true
    }
}

async fn account(store: &Store) -> AccountId {
    let make = |tx: &mut dyn Tx| accounts::create(tx, "romeo", "x", &[], 0);
    match store.write(make).await.unwrap() {
        Creation::Created(id) => id,
        _ => panic!("a new database has no accounts"),
    }
}

criterion_group!(benches, appends, messages);
criterion_main!(benches);
