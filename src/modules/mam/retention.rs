//! Deletes old messages and those of deleted accounts and rooms, a few in each write, so that no other write waits for
//! long.

use std::sync::Arc;

use super::super::Config;
use super::super::api::{Answer, Cause, PeriodicJob};
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::store::accounts;
use crate::store::archive::{self, BATCH, Left};
use crate::store::ids::ArchiveId;
use crate::store::tx::{StoreError, Tx};

/// Runs every hour, and after an account was deleted.
pub(super) fn run(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        let which = match job.cause {
            Cause::Due => Left::All,
            Cause::AccountDeleted => Left::New,
            Cause::Grown => return,
        };
        told("messages of deleted accounts and rooms were deleted", clear(&job, which).await);
        if job.cause == Cause::Due {
            told("old messages were deleted from archives", expire(&job).await);
        }
    })
}

fn told(what: &str, deleted: Result<usize, StoreError>) {
    match deleted {
        Ok(0) | Err(StoreError::Closed) => {}
        Ok(messages) => tracing::info!(messages, "{what}"),
        Err(error) => tracing::warn!(%error, "archives could not be tidied; tried again later"),
    }
}

/// Deletes the remaining messages of deleted accounts and rooms.
async fn clear(job: &PeriodicJob, which: Left) -> Result<usize, StoreError> {
    let now = micros(job.now);
    let mut total = 0;
    let mut after = ArchiveId::BEFORE_ALL;
    loop {
        let left = move |tx: &mut dyn Tx| archive::left_after(tx, after, which, ARCHIVES);
        let archives = job.store.read(left).await?;
        let Some(last) = archives.last() else { return Ok(total) };
        after = *last;
        for archive in archives {
            let batch = move |tx: &mut dyn Tx| archive::clear(tx, archive, BATCH, now, PATIENCE);
            total += in_batches(job, batch).await?;
        }
    }
}

/// Deletes messages that are older than the retention time of their account's archive.
async fn expire(job: &PeriodicJob) -> Result<usize, StoreError> {
    // The search covers indexed rows only.
    job.store.archives_indexed().await?;
    let mut total = 0;
    let mut after = ArchiveId::BEFORE_ALL;
    loop {
        let (config, now) = (job.config.clone(), micros(job.now));
        let look = move |tx: &mut dyn Tx| Look::at(tx, after, &config, now);
        let look = job.store.read(look).await?;
        for (archive, before) in look.expired {
            let batch = move |tx: &mut dyn Tx| archive::purge(tx, archive, (before, now), BATCH);
            total += in_batches(job, batch).await?;
        }
        for archive in look.orphans {
            job.store.write(move |tx| archive::leave(tx, archive)).await?;
        }
        match look.last {
            Some(last) => after = last,
            None => return Ok(total),
        }
    }
}

/// Repeats a write that deletes a few rows until there are none left.
async fn in_batches<F>(job: &PeriodicJob, batch: F) -> Result<usize, StoreError>
where
    F: Fn(&mut dyn Tx) -> Result<usize, StoreError> + Copy + Send + 'static,
{
    let mut total = 0;
    loop {
        match job.store.write(batch).await? {
            0 => return Ok(total),
            deleted => total += deleted,
        }
        tokio::task::yield_now().await;
    }
}

/// Some of the archives that have rows.
struct Look {
    /// Archives that may have rows older than this time.
    expired: Vec<(ArchiveId, i64)>,
    /// Archives of accounts that do not exist and are not listed as deleted: their rows were written after
    /// the account was taken off that list.
    orphans: Vec<ArchiveId>,
    /// The last archive that was looked at; `None` if there are no more.
    last: Option<ArchiveId>,
}

impl Look {
    fn at(
        tx: &mut dyn Tx,
        mut after: ArchiveId,
        config: &Arc<Config>,
        now: i64,
    ) -> Result<Self, StoreError> {
        let mut look = Self { expired: Vec::new(), orphans: Vec::new(), last: None };
        for _ in 0..ARCHIVES {
            let Some(archive) = archive::archives_after(tx, after)? else { return Ok(look) };
            (after, look.last) = (archive, Some(archive));
            // A room has its own retention time.
            let Some(account) = archive.account() else { continue };
            // This includes a removed account, which may be restored.
            let (localpart, host) = match accounts::name(tx, account)? {
                Some(Some(name)) => name,
                Some(None) => continue,
                None => {
                    look.orphans.push(archive);
                    continue;
                }
            };
            // Names in the store are in normal form.
            let Ok(bare) = BareJid::from_parts(Some(&localpart), &host) else {
                continue;
            };
            let days = config.mam.retention_days(&bare);
            let before = now.saturating_sub(i64::from(days).saturating_mul(DAY));
            let first = archive::bounds(tx, archive)?.map_or(now, |(first, _)| first.at);
            if days > 0 && (first < before || first > now) {
                look.expired.push((archive, before));
            }
        }
        Ok(look)
    }
}

/// Archives looked at in one read.
const ARCHIVES: usize = 100;
/// In microseconds.
const DAY: i64 = 86_400_000_000;
/// How long after its deletion messages of an account may still be written.
const PATIENCE: i64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::testing::Server;
    use super::*;
    use crate::store::archive::{Entry, RowKind};

    fn job(server: &Server, cause: Cause, hours: u64) -> PeriodicJob {
        let now = server.cx.now + Duration::from_secs(hours * 3_600);
        PeriodicJob { now, ..server.job(cause) }
    }

    #[tokio::test]
    async fn messages_go_when_their_time_is_over() {
        let mut config = Config::default();
        config.mam.retention_days = 10;
        config.mam.account_retention_days =
            [("keeps@montague.example".to_owned(), 0), ("short@montague.example".to_owned(), 1)]
                .into();
        let server = Server::new(config);
        let now = micros(server.cx.now);
        let mut ids = Vec::new();
        for (n, name) in [(0, "usual"), (1, "keeps"), (2, "short"), (3, "owes")] {
            let id = server.account(name, &[]).await;
            let kind = if name == "owes" { RowKind::Owed } else { RowKind::Received };
            // More than one batch, eleven days old, followed by one of five days.
            let first = now - 11 * DAY + n * 2_000;
            server.put(id, first..first + 1_100, kind, b"<message/>").await;
            server.put(id, now - 5 * DAY + n..now - 5 * DAY + n + 1, kind, b"<message/>").await;
            ids.push(id);
        }
        run(job(&server, Cause::AccountDeleted, 0)).await;
        assert_eq!(server.left(ids[0]).await.len(), 1_101, "it is not time yet");
        run(job(&server, Cause::Due, 0)).await;
        for (id, expected) in ids.iter().zip([1, 1_101, 0, 1_101]) {
            assert_eq!(server.left(*id).await.len(), expected, "{id:?}");
        }
    }

    #[tokio::test]
    async fn messages_that_no_search_finds_yet_go_too() {
        let server = Server::new(Config::default());
        let id = server.account("rare", &[]).await;
        let old = micros(server.cx.now) - 400 * DAY;
        let entry = move |tx: &mut dyn Tx| {
            let (peer, resource, stanza) = ("a@x", "", b"<message/>".as_slice());
            let (archive, kind) = (ArchiveId::of(id), RowKind::Sent);
            let entry = Entry { seq: old, at: old, archive, peer, resource, kind, stanza };
            archive::append_behind(tx, &entry, None)
        };
        server.store().write(entry).await.unwrap();
        run(job(&server, Cause::Due, 0)).await;
        server.store().archives_indexed().await.unwrap();
        assert_eq!(server.left(id).await, [0; 0]);
    }

    #[tokio::test]
    async fn a_deleted_account_leaves_nothing_for_long() {
        let server = Server::new(Config::default());
        let (gone, stays) = (server.account("gone", &[]).await, server.account("stays", &[]).await);
        let now = micros(server.cx.now);
        server.put(gone, now..now + 1_200, RowKind::Owed, b"<message/>").await;
        server.put(stays, now + 2_000..now + 2_003, RowKind::Owed, b"<message/>").await;
        server
            .store()
            .write(move |tx| crate::modules::erase(crate::modules::ALL, tx, gone))
            .await
            .unwrap();
        run(job(&server, Cause::AccountDeleted, 0)).await;
        assert_eq!((server.left(gone).await.len(), server.left(stays).await.len()), (0, 3));
        // A message that was in flight, found an hour later.
        server.put(gone, now + 3_000..now + 3_001, RowKind::Sent, b"<message/>").await;
        run(job(&server, Cause::AccountDeleted, 0)).await;
        assert_eq!(server.left(gone).await.len(), 1);
        run(job(&server, Cause::Due, 1)).await;
        let (first, all) = (ArchiveId::BEFORE_ALL, Left::All);
        let noted = || server.store().read(move |tx| archive::left_after(tx, first, all, 9));
        assert_eq!((server.left(gone).await.len(), noted().await), (0, Ok(vec![])));
        // Another one, much later.
        server.put(gone, now + 4_000..now + 4_001, RowKind::Sent, b"<message/>").await;
        run(job(&server, Cause::Due, 2)).await;
        assert_eq!(noted().await, Ok(vec![ArchiveId::of(gone)]));
        run(job(&server, Cause::Due, 3)).await;
        assert!(server.left(gone).await.is_empty());
    }
}
