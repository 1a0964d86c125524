//! The modules' recurring work: one task that does one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::clock::now;
use super::trusted_clock::TrustedClock;
use crate::base::time::{from_micros, micros};
use crate::modules::api::{Cause, Every, Module, PeriodicJob};
use crate::store::tx::Tx;
use crate::store::{Job, Store, StoreError, handled, meta};

/// Runs every module's work, first a minute after the start, until the server stops. All of it runs once
/// more, with the cause, when an account was deleted or an archive grew much.
pub(super) async fn run(
    modules: &[&Module],
    job: PeriodicJob,
    deleted: Arc<Notify>,
    stopping: watch::Receiver<bool>,
) {
    run_from(modules, FIRST_AFTER, job, deleted, stopping).await;
}

async fn run_from(
    modules: &[&Module],
    first_after: Duration,
    job: PeriodicJob,
    deleted: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    let due = Instant::now() + first_after;
    let work = |(period, every)| Work { due, period, every };
    let every = modules.iter().filter_map(|module| module.every);
    let mut works: Vec<Work> = every.chain([OWN]).map(work).collect();
    let rounds = async {
        let mut trusted = TrustedClock::before(remembered(&job.store).await);
        loop {
            let next = works.iter().map(|work| work.due).min();
            let cause = tokio::select! {
                () = until(next) => Cause::Due,
                () = deleted.notified() => Cause::AccountDeleted,
                () = job.store.grown() => Cause::Grown,
            };
            let now = trusted.look(micros(now()), Instant::now().into_std());
            remember(&job.store, now);
            for work in &mut works {
                if cause == Cause::Due {
                    if work.due > Instant::now() {
                        continue;
                    }
                    work.due = Instant::now() + work.period;
                }
                let now = from_micros(now);
                (work.every)(PeriodicJob { cause, now, ..job.clone() }).await;
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        // A job ends at its next await; its writes are complete.
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// The last trusted time before the start.
async fn remembered(store: &Store) -> Option<i64> {
    let read = store.read(|tx| meta::get(tx, BELIEVED)).await.ok().flatten();
    Some(i64::from_be_bytes(read?.try_into().ok()?))
}

fn remember(store: &Store, time: i64) {
    store.write_behind(Box::new(Remember(time)));
}

struct Remember(i64);

impl Job for Remember {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        meta::set(tx, BELIEVED, &self.0.to_be_bytes())
    }

    fn settled(self: Box<Self>, _outcome: Result<(), StoreError>) {}
}

/// The key in the table of the server's own values.
const BELIEVED: &str = "believed-time";

struct Work {
    due: Instant,
    period: Duration,
    every: Every,
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// The core's own job: deletes counts of streams that no client asked for in a month (XEP-0198 §5, the
/// note), and no other server for as long as it may keep messages.
const OWN: (Duration, Every) = (Duration::from_secs(3_600), |job| Box::pin(forget_streams(job)));

async fn forget_streams(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    type Forget = fn(&mut dyn Tx, i64, usize) -> Result<usize, StoreError>;
    let kinds: [(Forget, _); 2] = [
        (handled::forget_before, STREAMS_KEPT),
        (handled::forget_peers_before, PEERS_STREAMS_KEPT),
    ];
    for (forget, kept) in kinds {
        let before = micros(job.now - kept);
        loop {
            match job.store.write(move |tx: &mut dyn Tx| forget(tx, before, BATCH)).await {
                Ok(BATCH..) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old streams could not be forgotten; tried again later");
                    return;
                }
            }
        }
    }
}

/// For clients that come back late and still want to know which stanzas arrived.
const STREAMS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Longer than most servers keep a message for one that is away.
const PEERS_STREAMS_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Maximum number of rows in one write.
const BATCH: usize = 500;
/// The start itself has enough work.
const FIRST_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;
    use crate::modules::{self, Config, Pipeline};
    use crate::router::Router;
    use crate::store::{Options, Store, Synchronous};
    use tokio::sync::Semaphore;

    static DUE: Semaphore = Semaphore::const_new(0);
    static DELETED: Semaphore = Semaphore::const_new(0);

    const COUNTS: Module = Module {
        every: Some((Duration::from_millis(1), |job| {
            let count = if job.cause == Cause::Due { &DUE } else { &DELETED };
            count.add_permits(1);
            Box::pin(std::future::ready(()))
        })),
        ..Module::EMPTY
    };

    #[tokio::test]
    async fn work_is_done_when_due_and_after_a_deletion_until_the_stop() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("db"));
        let store = Store::open(Options { synchronous: Synchronous::Off, ..options }).unwrap();
        let config = Arc::new(Config::default());
        let server = Pipeline::build(modules::ALL, &config, now());
        let limits = Arc::new(Limits::default());
        let router = Arc::new(Router::new(["x".to_owned()], store.clone(), limits));
        let job = PeriodicJob { cause: Cause::Due, now: now(), config, store, router, server };
        let (stop, stopping) = watch::channel(false);
        let deleted = Arc::new(Notify::new());
        let modules = [&Module::EMPTY, &COUNTS];
        let running = run_from(&modules, Duration::ZERO, job, deleted.clone(), stopping);
        let test = async {
            DUE.acquire_many(3).await.unwrap().forget();
            assert_eq!(DELETED.available_permits(), 0);
            deleted.notify_one();
            DELETED.acquire().await.unwrap().forget();
            stop.send(true).unwrap();
        };
        tokio::join!(running, test);
    }
}
