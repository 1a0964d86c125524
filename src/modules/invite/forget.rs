//! Invitations that ended are forgotten after a while: until then whoever comes with one is told what became of
//! it.

use crate::base::time::micros;
use crate::modules::api::{Cause, PeriodicJob};
use crate::store::invitations;

/// Deletes what expired long ago.
pub(super) async fn forget(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    let before = micros(job.now).saturating_sub(KEPT);
    loop {
        match job.store.write(move |tx| invitations::forget_before(tx, before, BATCH)).await {
            Ok(BATCH..) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "old invitations could not be forgotten; tried again later");
                return;
            }
        }
    }
}

/// For 30 days, in microseconds.
const KEPT: i64 = 30 * 86_400_000_000;
/// Maximum number of rows in one write.
const BATCH: usize = 500;
