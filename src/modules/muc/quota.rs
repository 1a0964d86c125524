//! What the archive of a room may hold: over it the oldest messages go (security.md 17).

use super::rows;
use crate::modules::api::{Cause, PeriodicJob};
use crate::store::StoreError;
use crate::store::archive;
use crate::store::ids::{ArchiveId, Owner};

/// Brings rooms under their bound whose archives have grown a lot; all of them once after a start.
pub(super) async fn hold(job: &PeriodicJob) {
    if job.config.muc.archive_bytes_max == 0 || job.cause == Cause::AccountDeleted {
        return;
    }
    match look(job).await {
        Ok(()) | Err(StoreError::Closed) => {}
        Err(error) => {
            // Whatever was not looked at is among all.
            job.server.shared().muc.weighed(false);
            tracing::warn!(%error, "what rooms store could not be looked at; tried again later");
        }
    }
}

async fn look(job: &PeriodicJob) -> Result<(), StoreError> {
    let rooms = &job.server.shared().muc;
    let grown = job.store.take_grown_rooms();
    let all = grown.any || (job.cause == Cause::Due && !rooms.are_weighed());
    if !all && grown.archives.is_empty() {
        return Ok(());
    }
    // Rows are weighed where they are indexed.
    job.store.archives_indexed().await?;
    for archive in grown.archives {
        shorten(job, archive).await?;
    }
    if !all {
        return Ok(());
    }
    let mut after = ArchiveId::BEFORE_ALL;
    let next = |after| job.store.read(move |tx| archive::archives_after(tx, after));
    // Rooms come before accounts.
    while let Some(archive) = next(after).await?
        && matches!(archive.owner(), Owner::Room(_))
    {
        shorten(job, archive).await?;
        after = archive;
    }
    rooms.weighed(true);
    Ok(())
}

async fn shorten(job: &PeriodicJob, archive: ArchiveId) -> Result<(), StoreError> {
    let most = job.config.muc.archive_bytes_max;
    let stored = job.store.archive_bytes(archive).await?;
    if stored <= most {
        return Ok(());
    }
    // A little more than it must, so that not each message costs a look.
    let excess = stored.saturating_sub(most - most / 20);
    let messages = job.store.shed(archive, excess).await?;
    let Owner::Room(id) = archive.owner() else { return Ok(()) };
    let room = job.store.read(move |tx| rows::address(tx, id)).await?.unwrap_or_default();
    tracing::info!(
        room,
        stored,
        most,
        messages,
        "a room stored more than modules.muc.archive_bytes_max; its oldest messages were deleted"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;
    use crate::modules::Config;
    use crate::modules::testing::Server;
    use crate::store::archive::{Entry, RowKind};
    use crate::store::tx::Tx;

    /// 1,000 bytes a row.
    async fn put(server: &Server, archive: ArchiveId, rows: std::ops::Range<i64>) {
        let write = move |tx: &mut dyn Tx| {
            let (peer, resource, stanza) = ("r@rooms.x", "n", [b'x'; 800]);
            for seq in rows.clone() {
                let (kind, stanza) = (RowKind::Received, stanza.as_slice());
                let entry = Entry { seq, at: seq, archive, peer, resource, kind, stanza };
                archive::append_behind(tx, &entry, None)?;
            }
            Ok(())
        };
        server.store().write(write).await.unwrap();
        server.store().archives_indexed().await.unwrap();
    }

    /// After a start all rooms are looked at, then those that grow; accounts have a bound of their own.
    #[tokio::test]
    async fn rooms_over_their_bound_lose_the_oldest() {
        let mut config = Config::default();
        config.muc.archive_bytes_max = 1_000_000;
        let server = Server::new(config);
        let ann = ArchiveId::of(server.account("ann", &[]).await);
        let mut rooms = Vec::new();
        for name in ["much", "little"] {
            let make = move |tx: &mut dyn Tx| {
                let jid = format!("{name}@rooms.x");
                rows::create(tx, &jid, "a@x", &Settings::default(), &[0; 32], 0)
            };
            rooms.push(ArchiveId::of_room(server.store().write(make).await.unwrap()));
        }
        put(&server, rooms[0], 1..1_501).await;
        put(&server, rooms[1], 2_001..3_001).await;
        put(&server, ann, 4_001..5_501).await;
        let bytes = async |of: ArchiveId| server.store().archive_bytes(of).await.unwrap() / 1_000;
        hold(&server.job(Cause::Grown)).await;
        assert_eq!(bytes(rooms[0]).await, 1_500, "it is not time yet");
        hold(&server.job(Cause::Due)).await;
        assert_eq!((bytes(rooms[0]).await, bytes(rooms[1]).await), (950, 1_000));
        assert_eq!(bytes(ann).await, 1_500);
        let left = async |of: ArchiveId| {
            server.store().read(move |tx| archive::bounds(tx, of)).await.unwrap().unwrap()
        };
        let (first, last) = left(rooms[0]).await;
        assert_eq!((first.at, last.at), (551, 1_500));
        // From now on only those that the store says have grown.
        put(&server, rooms[0], 6_001..6_101).await;
        hold(&server.job(Cause::Due)).await;
        assert_eq!(bytes(rooms[0]).await, 1_050);
    }
}
