//! Deletes what is old, over the bounds, or was left behind.

use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::files::Claim;
use super::part;
use super::place::Place;
use crate::base::id::is_random;
use crate::base::time::micros;
use crate::modules::Pipeline;
use crate::modules::api::{Cause, Cx, PeriodicJob};
use crate::store::uploads as rows;
use crate::store::{Store, StoreError};

/// What is due.
pub(super) async fn run(job: PeriodicJob) {
    if job.cause == Cause::Grown {
        return;
    }
    match mark(&job).await {
        Ok(()) => delete_all(&job).await,
        Err(error) => tracing::warn!(%error, "old uploads were not looked at; tried again later"),
    }
    let shortage = Place::of(&job.server, &job.config.upload).shortage();
    if let Some(free) = shortage.filter(|_| job.cause == Cause::Due) {
        tracing::warn!(free, "uploads are refused: less than upload.free_bytes_min is free on their disk");
    }
}

async fn mark(job: &PeriodicJob) -> Result<(), StoreError> {
    let (config, now) = (&job.config.upload, micros(job.now));
    lapse(job, now.saturating_sub(i64::from(config.slot_seconds) * 1_000_000)).await?;
    let before = |days: u32| (days > 0).then(|| now.saturating_sub(i64::from(days) * rows::DAY));
    let kept = [before(config.retention_days), before(config.profile_retention_days)];
    while job.store.write(move |tx| rows::bury_old(tx, now, kept)).await? {}
    let most = bound(config.bytes_max);
    while job.store.write(move |tx| rows::shed(tx, most)).await? {}
    Ok(())
}

/// Slots that nobody used; but an upload that has begun may end.
async fn lapse(job: &PeriodicJob, before: i64) -> Result<(), StoreError> {
    let mut last = (i64::MIN, String::new());
    loop {
        let after = last.clone();
        let lapsed = job.store.read(move |tx| rows::lapsed(tx, before, &after)).await?;
        let Some(end) = lapsed.last() else { return Ok(()) };
        last.clone_from(end);
        let claimed = |(_, id): (i64, String)| Some((Claim::of(&job.server, &id)?, id));
        let (claims, ids): (Vec<_>, Vec<_>) = lapsed.into_iter().filter_map(claimed).unzip();
        job.store.write(move |tx| ids.iter().try_for_each(|id| rows::bury_slot(tx, id))).await?;
        drop(claims);
    }
}

/// Has it done in a task of its own.
pub(super) fn soon(cx: &Cx) {
    let (store, server, now) = (cx.store.clone(), cx.server.clone(), micros(cx.now));
    let place = Place::of(&server, &cx.config.upload);
    let work = async move { delete(&store, &server, &place, now).await };
    cx.router.tasks.spawn("upload", work);
}

async fn delete_all(job: &PeriodicJob) {
    let place = Place::of(&job.server, &job.config.upload);
    delete(&job.store, &job.server, &place, micros(job.now)).await;
}

/// Deletes files that are marked, and their rows.
async fn delete(store: &Store, server: &Arc<Pipeline>, place: &Place, now: i64) {
    let mut last = String::new();
    loop {
        let after = last.clone();
        let dead = match store.read(move |tx| rows::dead(tx, now, &after)).await {
            Ok(dead) => dead,
            Err(error) => return tracing::warn!(%error, "old uploads are not deleted yet"),
        };
        let Some(end) = dead.last() else { return };
        last.clone_from(end);
        let mut gone = Vec::new();
        let mut claims = Vec::new();
        for id in dead {
            let Some(claim) = Claim::of(server, &id) else { continue };
            // Its row may be in the backup as that of a file that is there.
            if !store.takes_files() && place.delete(&id).await {
                gone.push(id);
                claims.push(claim);
            }
        }
        if gone.is_empty() {
            continue;
        }
        let rows = store.write(move |tx| gone.iter().try_for_each(|id| rows::forget(tx, id)));
        if let Err(error) = rows.await {
            return tracing::warn!(%error, "old uploads are not forgotten yet");
        }
    }
}

/// What a crash has left; then, as long as the server runs, what was marked by whoever deletes a row: owners, the
/// operator, and whoever takes a message back.
pub(super) async fn tidy(job: PeriodicJob) {
    cut_off(&job).await;
    if let Err(error) = Place::of(&job.server, &job.config.upload).probe().await {
        tracing::warn!(%error, "no file can be uploaded to the bucket; `stonechat check` looks again");
    }
    loop {
        // The time is that of the start, which is early enough: slots that nobody used wait for `run`.
        delete_all(&job).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How long a file that was deleted may be on the disk; nobody can fetch it.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After the start: what a crash has left in the folder; objects of slots go with the slots, as nobody can fetch them. A file without a row stays: perhaps an older database was restored, and
/// the restoring will be undone.
async fn cut_off(job: &PeriodicJob) {
    let place = Place::of(&job.server, &job.config.upload);
    let folder = place.folder();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_part = part::is_part(&name);
        let id = name.split('.').next().unwrap_or_default().to_owned();
        if !is_part && !is_random(&name) {
            continue;
        }
        let Some(_claim) = Claim::of(&job.server, &id) else { continue };
        let row = match job.store.read(move |tx| rows::find(tx, &id)).await {
            Ok(row) => row,
            Err(error) => return tracing::warn!(%error, "uploads were not looked through"),
        };
        // A file whose slot is a slot still came in the moment of the crash, and nobody was told.
        if is_part || row.is_some_and(|row| row.token.is_some()) {
            tracing::info!("an upload that was cut off is deleted");
            part::delete(folder, &name).await;
        }
    }
}

/// As the store has numbers.
pub(super) fn bound(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Config {
    /// What an account may upload.
    pub(super) fn bounds(&self) -> rows::Bounds {
        rows::Bounds {
            day_bytes: bound(self.bytes_per_day_max),
            day_files: i64::from(self.files_per_day_max),
            account_bytes: bound(self.bytes_per_account_max),
            permanent_bytes: bound(self.permanent_bytes_per_account_max),
            bytes: bound(self.bytes_max),
            slot: i64::from(self.slot_seconds) * 1_000_000,
        }
    }
}
