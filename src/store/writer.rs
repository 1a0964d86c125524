//! The one writer thread. A batch has many jobs and one COMMIT, and only as many savepoints as it takes to
//! undo failed jobs alone; then each job gets its outcome.

use super::handled::{self, DurableCount};
use super::job::Job;
use super::meta;
use super::node::AccessChanges;
use super::options::now;
use super::queue::{JOBS_BATCH, JOBS_BATCH_MAX, Queue};
use super::sqlite::engine::Engine;
use super::tx::{StoreError, Tx};
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

/// Starts the thread. `checkpoint` is called from time to time, to have another thread copy the log into the
/// database; `held` is dropped with the connection.
pub(super) fn spawn(
    engine: Engine,
    queue: Arc<Queue>,
    access: Arc<AccessChanges>,
    checkpoint: impl Fn() + Send + 'static,
    held: impl Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
        let _ending = Ending(&queue);
        Writer::new(engine, access).run(&queue, &checkpoint);
        drop(held);
    })
}

struct Writer {
    engine: Engine,
    /// See [`super::Store::access_version`].
    access: Arc<AccessChanges>,
    /// Whether a job of the batch changed how an account is entered.
    access_changed: Cell<bool>,
    /// Whether a write failed and no probe has succeeded since; logged once when it begins and once when it
    /// ends.
    failing: bool,
    /// Number of jobs in a batch: more where the disk is slow.
    batch: usize,
    /// How long the last COMMIT took.
    commit: Cell<Duration>,
    /// Number of probes: attempts to see if the disk accepts writes again.
    probes: u8,
}

impl Writer {
    fn new(engine: Engine, access: Arc<AccessChanges>) -> Self {
        Self {
            engine,
            access,
            access_changed: Cell::new(false),
            failing: false,
            batch: JOBS_BATCH,
            commit: Cell::default(),
            probes: 0,
        }
    }

    fn run(mut self, queue: &Arc<Queue>, checkpoint: &dyn Fn()) {
        let mut since_checkpoint = 0;
        while let Some(batch) = queue.take(self.batch) {
            let jobs = batch.jobs.len();
            self.run_batch(batch.jobs.into_iter().chain(batch.behind), queue);
            self.fit(jobs);
            queue.count_settled(jobs);
            since_checkpoint += jobs;
            if since_checkpoint >= CHECKPOINT_JOBS {
                since_checkpoint = 0;
                checkpoint();
            }
        }
        // Not needed for durability.
        told("at the end", self.engine.empty_log());
    }

    /// Lets more jobs share a commit where each commit takes long.
    fn fit(&mut self, jobs: usize) {
        let slow = self.commit.get() >= SLOW;
        self.batch = match jobs >= self.batch {
            true if slow => (self.batch * 2).min(JOBS_BATCH_MAX),
            _ if slow => self.batch,
            _ => JOBS_BATCH,
        };
    }

    fn run_batch(&mut self, jobs: impl Iterator<Item = Box<dyn Job>>, queue: &Queue) {
        self.probe(queue);
        let mut entries: Vec<_> = jobs.map(Entry::of).collect();
        let committed = self.transact(&mut entries);
        queue.commits.note(&committed, entries.len(), self.commit.get());
        // Before the outcomes are reported: a caller whose write failed must not be let into another.
        self.learn(&committed, &entries, queue);
        if self.access_changed.take() {
            // Before the outcomes are reported: a caller that acts on one must find no stale cache. Counted
            // even if the commit failed, which only costs a read of the store.
            self.access.count();
        }
        if committed == Err(StoreError::Full) {
            // Copying the log into the database makes room in the log for new writes.
            told("on a full disk", self.engine.copy_log());
        }
        let mut wakers: Vec<Waker> = Vec::new();
        let mut wake = |waker: Waker| {
            if wakers.last().is_none_or(|last| !last.will_wake(&waker)) {
                wakers.push(waker);
            }
        };
        for entry in entries {
            // If the transaction failed, so did all its jobs, whatever each of them returned (promise.md 5).
            let outcome = committed.clone().and(entry.outcome);
            let told =
                catch_unwind(AssertUnwindSafe(|| entry.job.settled_with(outcome, &mut wake)));
            if told.is_err() {
                tracing::error!("an owner of a write panicked when told of its end");
            }
        }
        wakers.sort_unstable_by_key(Waker::data);
        wakers.dedup_by(|one, other| one.will_wake(other));
        wakers.into_iter().for_each(Waker::wake);
    }

    fn transact(&self, entries: &mut [Entry]) -> Result<(), StoreError> {
        self.engine.clear()?;
        let committed = self.run_entries(entries);
        if let Err(error) = self.engine.clear() {
            tracing::error!(%error, "a failed transaction cannot be rolled back");
        }
        committed
    }

    fn run_entries(&self, entries: &mut [Entry]) -> Result<(), StoreError> {
        self.engine.begin()?;
        let mut rest = &mut *entries;
        while !rest.is_empty() {
            let together = rest.iter().take_while(|entry| entry.job.repeats()).count();
            let (group, behind) = rest.split_at_mut(together.max(1));
            self.run_group(group)?;
            rest = behind;
        }
        self.write_counts(entries)?;
        let begun = now();
        let committed = self.engine.commit();
        self.commit.set(begun.elapsed());
        committed
    }

    /// promise.md 6: writes the last count of each stream in the batch, which covers the earlier ones.
    fn write_counts(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut last: HashMap<[u8; 32], DurableCount> = HashMap::new();
        for durable_count in entries.iter().filter_map(|entry| entry.job.durable_count()) {
            last.insert(durable_count.id, durable_count);
        }
        let mut counts: Vec<_> = last
            .into_values()
            .map(|durable_count| Entry::of(Box::new(WriteCount(durable_count))))
            .collect();
        self.run_group(&mut counts)?;
        for error in counts.into_iter().filter_map(|durable_count| durable_count.outcome.err()) {
            // The account was deleted just now: no client will ask for the count.
            tracing::debug!(%error, "a stream's count was not written");
        }
        Ok(())
    }

    /// Runs jobs in one savepoint, as long as all succeed. The outer error means that the whole transaction
    /// is gone.
    fn run_group(&self, group: &mut [Entry]) -> Result<(), StoreError> {
        if group.len() > 1 {
            let all = || group.iter_mut().try_for_each(|entry| self.run_bare(&mut *entry.job));
            if self.savepoint(all)?.is_ok() {
                return Ok(());
            }
        }
        for Entry { job, outcome } in group {
            *outcome = self.savepoint(|| self.run_bare(&mut **job))?;
        }
        Ok(())
    }

    fn savepoint(
        &self,
        run: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Result<(), StoreError>, StoreError> {
        self.engine.savepoint()?;
        let outcome = run();
        // A full or failing disk may end the transaction (SQLite, lang_transaction §3).
        if !self.engine.in_transaction() {
            return Err(outcome.err().unwrap_or_else(|| {
                StoreError::Other("a write ended the transaction around it".to_owned())
            }));
        }
        if outcome.is_err() {
            self.engine.rollback_to_savepoint()?;
        }
        self.engine.release_savepoint()?;
        Ok(outcome)
    }

    fn run_bare(&self, job: &mut dyn Job) -> Result<(), StoreError> {
        let begun = now();
        let mut tx = self.engine.tx();
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut tx)))
            .unwrap_or(Err(StoreError::Panicked));
        if tx.access_changed {
            self.access_changed.set(true);
        }
        let took = begun.elapsed();
        if took > SLOW {
            tracing::warn!(job = job.name(), ms = took.as_millis(), "slow write to the database");
        }
        outcome
    }

    /// While writes fail, tries before each batch whether they still do, and removes again what that wrote.
    /// This needs a transaction of its own, because a full disk may end it.
    fn probe(&mut self, queue: &Queue) {
        if self.failing {
            self.probes = self.probes % 250 + 1;
        } else if std::mem::take(&mut self.probes) == 0 {
            return;
        }
        let mut entries = [Entry::of(Box::new(Probe(self.failing.then_some(self.probes))))];
        let committed = self.transact(&mut entries);
        let [Entry { outcome, .. }] = entries;
        if std::mem::replace(&mut self.failing, committed.and(outcome).is_err()) && !self.failing {
            let refused = queue.refuse(false);
            tracing::info!(refused, "the database takes writes again; refused since the start");
        }
    }

    /// After one write that the disk did not accept, the next ones are refused, until a probe succeeds.
    fn learn(&mut self, committed: &Result<(), StoreError>, entries: &[Entry], queue: &Queue) {
        let of_disk =
            |entry: &Entry| entry.outcome.clone().err().filter(StoreError::is_of_the_disk);
        let failed = committed.clone().err().or_else(|| entries.iter().find_map(of_disk));
        if let Some(error) = &failed
            && !std::mem::replace(&mut self.failing, true)
        {
            tracing::error!(%error, "the database takes no writes; messages are refused");
        }
        if self.failing {
            queue.refuse(true);
        }
    }
}

fn told(when: &str, copied: Result<(), StoreError>) {
    if let Err(error) = copied {
        tracing::debug!(%error, when, "a checkpoint of the database failed");
    }
}

/// Writes about as much as a few messages, with other bytes each time so that pages change; or removes it.
struct Probe(Option<u8>);

impl Job for Probe {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        match self.0 {
            Some(byte) => meta::set(tx, PROBE, &vec![byte; PROBE_BYTES]),
            None => meta::forget(tx, PROBE),
        }
    }

    fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
}

struct WriteCount(DurableCount);

impl Job for WriteCount {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        handled::put(tx, &self.0)
    }

    fn settled(self: Box<Self>, _: Result<(), StoreError>) {}

    fn repeats(&self) -> bool {
        true
    }
}

struct Entry {
    job: Box<dyn Job>,
    outcome: Result<(), StoreError>,
}

impl Entry {
    fn of(job: Box<dyn Job>) -> Self {
        Self { job, outcome: Ok(()) }
    }
}

/// However the thread ends, all tasks that still wait are notified.
struct Ending<'q>(&'q Arc<Queue>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(batch) = self.0.take(JOBS_BATCH) {
            self.0.count_settled(batch.jobs.len());
            batch.jobs.into_iter().for_each(|job| job.settled(Err(StoreError::Closed)));
        }
    }
}

/// The row that a probe writes: its name and its size.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 65_536;
/// A write that blocks all others for longer is logged with its name.
const SLOW: Duration = Duration::from_millis(50);
/// Jobs between checkpoints: some megabytes of log.
const CHECKPOINT_JOBS: usize = 500;

#[cfg(test)]
mod tests {
    use super::super::tx::query_one;
    use super::*;
    use std::sync::mpsc;

    const TABLES: &str = "CREATE TABLE t (x); CREATE TABLE meta (name PRIMARY KEY, value)";

    struct Insert(mpsc::Sender<Result<(), StoreError>>);

    impl Job for Insert {
        fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
            tx.execute("INSERT INTO t (x) VALUES (1)", &[]).map(|_| ())
        }
        fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
            let _ = self.0.send(outcome);
        }
    }

    fn run(writer: &mut Writer, queue: &Queue) -> Vec<Result<(), StoreError>> {
        let (told, ends) = mpsc::channel();
        let job = || -> Box<dyn Job> { Box::new(Insert(told.clone())) };
        writer.run_batch([job(), job()].into_iter(), queue);
        drop(told);
        ends.iter().collect()
    }

    #[test]
    fn a_read_only_database_is_told_and_service_resumes() {
        let mut writer = Writer::new(Engine::in_memory(TABLES), Arc::default());
        let queue = Queue::new(10, 10);
        let refused = vec![Err(StoreError::ReadOnly), Err(StoreError::ReadOnly)];
        for (query_only, expected) in [(true, refused), (false, vec![Ok(()), Ok(())])] {
            writer.engine.refuse_writes(query_only);
            assert_eq!(run(&mut writer, &queue), expected);
            assert_eq!((writer.failing, queue.is_refusing()), (query_only, query_only));
        }
        let rows = |writer: &Writer| -> i64 {
            query_one(&mut writer.engine.tx(), "SELECT COUNT(*) FROM meta", &[], |row| row.int(0))
                .unwrap()
        };
        assert_eq!(rows(&writer), 1);
        run(&mut writer, &queue);
        assert_eq!(rows(&writer), 0);
    }

    #[test]
    fn one_write_that_the_disk_refuses_is_enough_and_one_of_no_rows_does_not_end_it() {
        struct Say(Option<StoreError>);
        impl Job for Say {
            fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
                self.0.take().map_or(Ok(()), Err)
            }
            fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
        }
        let mut writer = Writer::new(Engine::in_memory(TABLES), Arc::default());
        let queue = Queue::new(10, 10);
        for (error, refusing) in [
            (Some(StoreError::Constraint("x".to_owned())), false),
            (Some(StoreError::Full), true),
            (None, false),
        ] {
            let jobs: [Box<dyn Job>; 2] = [Box::new(Say(None)), Box::new(Say(error.clone()))];
            writer.run_batch(jobs.into_iter(), &queue);
            assert_eq!(queue.is_refusing(), refusing, "{error:?}");
        }
        writer
            .run_batch([Box::new(Say(Some(StoreError::Full))) as Box<dyn Job>].into_iter(), &queue);
        writer.engine.refuse_writes(true);
        writer.run_batch([Box::new(Say(None)) as Box<dyn Job>].into_iter(), &queue);
        assert!(queue.is_refusing(), "only the probe tells");
    }

    #[test]
    fn a_slow_disk_gets_larger_batches_while_they_are_full() {
        let mut writer = Writer::new(Engine::in_memory(TABLES), Arc::default());
        for (commit, jobs, batch) in [
            (SLOW, 255, 256),
            (SLOW, 256, 512),
            (SLOW, 512, 1_024),
            (SLOW, 1, 1_024),
            (SLOW, 1_024, 2_048),
            (SLOW / 2, 2_048, 256),
            (SLOW / 2, 256, 256),
        ] {
            writer.commit.set(commit);
            writer.fit(jobs);
            assert_eq!(writer.batch, batch, "{commit:?} {jobs}");
        }
    }

    #[test]
    fn a_transaction_left_open_does_not_block_the_next() {
        for failing in [false, true] {
            let engine = Engine::in_memory(TABLES);
            engine.begin_read().unwrap();
            let mut writer = Writer { failing, ..Writer::new(engine, Arc::default()) };
            assert_eq!(run(&mut writer, &Queue::new(10, 10)), [Ok(()), Ok(())]);
        }
    }
}
