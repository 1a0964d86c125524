//! What the archives of all rooms that one account created and owns still may hold together: over it the oldest messages
//! go, from whichever room has them. A room that it owns no more does not count: else it could have what others said
//! there deleted, by filling another one. What each room stored when it was weighed last is in its row, so that a look at
//! an account costs a few rows; they are weighed anew before anything is deleted.

use tokio::time::Instant;

use super::{clock, rows};
use crate::base::role::Role;
use crate::jid::BareJid;
use crate::modules::api::PeriodicJob;
use crate::store::ids::{ArchiveId, RoomId};
use crate::store::tx::Tx;
use crate::store::{StoreError, accounts, archive};

/// A room, and the bytes of its archive.
type Weighed = (RoomId, u64);

/// Notes what a room stores; its creator, if there is such a room.
pub(super) async fn note(
    job: &PeriodicJob,
    room: RoomId,
    bytes: u64,
) -> Result<Option<String>, StoreError> {
    let found = job.store.read(move |tx| rows::weight(tx, room)).await?;
    let Some((known, creator)) = found else { return Ok(None) };
    if known != bytes {
        job.store.write(move |tx| rows::set_weight(tx, room, bytes)).await?;
    }
    Ok(Some(creator))
}

/// Brings the rooms of an account under its bound; whether that is done. What operators create is not counted, as they
/// may create as many rooms as they like.
pub(super) async fn shorten(
    job: &PeriodicJob,
    creator: &str,
    until: Instant,
) -> Result<bool, StoreError> {
    let most = job.config.muc.account_archive_bytes_max;
    let of = creator.to_owned();
    let known = job.store.read(move |tx| rows::weights(tx, &of)).await?;
    if most == 0 || sum(&known) <= most || is_operator(job, creator).await? {
        return Ok(true);
    }
    // What was deleted since they were weighed is in these figures still.
    let mut rooms = Vec::new();
    for (room, _) in known {
        let bytes = job.store.archive_bytes(ArchiveId::of_room(room)).await?;
        note(job, room, bytes).await?;
        rooms.push((room, bytes));
    }
    let stored = sum(&rooms);
    if stored <= most {
        return Ok(true);
    }
    // A little more than it must, so that not each message costs a look.
    let excess = stored.saturating_sub(most - most / 20);
    let (messages, is_done) = shed(job, rooms, excess, until).await?;
    tracing::info!(
        account = creator,
        stored,
        most,
        messages,
        "the rooms of an account stored more than modules.muc.account_archive_bytes_max; their oldest messages were deleted"
    );
    Ok(is_done)
}

fn sum(rooms: &[Weighed]) -> u64 {
    rooms.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// Deletes the oldest of all of them, bit by bit: how many messages, and whether it is done.
async fn shed(
    job: &PeriodicJob,
    mut rooms: Vec<Weighed>,
    mut excess: u64,
    until: Instant,
) -> Result<(usize, bool), StoreError> {
    let mut messages = 0;
    while excess > 0 {
        let among = rooms.clone();
        let oldest = job.store.read(move |tx| oldest(tx, &among)).await?;
        let Some(at) = oldest.and_then(|room| rooms.iter().position(|one| one.0 == room)) else {
            break;
        };
        let (room, bytes) = rooms.swap_remove(at);
        // The rest of a room may be younger than others' messages.
        let piece = excess.min((bytes / 8).clamp(PIECE_MIN, PIECE_MAX));
        let gone = job.store.shed(ArchiveId::of_room(room), piece).await?;
        messages += gone;
        if gone > 0 {
            excess -= piece;
            let left = bytes.saturating_sub(piece);
            note(job, room, left).await?;
            rooms.push((room, left));
        }
        if clock::now() >= until {
            break;
        }
    }
    Ok((messages, excess == 0 || rooms.is_empty()))
}

/// The room with the oldest message.
fn oldest(tx: &mut dyn Tx, rooms: &[Weighed]) -> Result<Option<RoomId>, StoreError> {
    let mut oldest: Option<(i64, RoomId)> = None;
    for (room, _) in rooms {
        let Some((first, _)) = archive::bounds(tx, ArchiveId::of_room(*room))? else { continue };
        if oldest.is_none_or(|(at, _)| first.at < at) {
            oldest = Some((first.at, *room));
        }
    }
    Ok(oldest.map(|(_, room)| room))
}

/// By what the configuration or the store says of the account.
async fn is_operator(job: &PeriodicJob, creator: &str) -> Result<bool, StoreError> {
    let Ok(jid) = BareJid::parse(creator) else { return Ok(false) };
    if job.config.admins.role(jid.as_str()) >= Role::Operator {
        return Ok(true);
    }
    let (local, host) = (jid.local().unwrap_or_default().to_owned(), jid.domain().to_owned());
    let account = job.store.read(move |tx| accounts::find(tx, &local, &host)).await?;
    Ok(account.is_some_and(|account| account.role >= Role::Operator))
}

/// Bytes that are deleted from one room before the others are looked at again.
const PIECE_MIN: u64 = 65_536;
/// And between two looks at the clock.
const PIECE_MAX: u64 = 4 * 1_048_576;
