//! What the archive of a room may hold, and those of an account's rooms: over it the oldest messages go (security.md 17).

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{clock, rows, together};
use crate::modules::api::{Cause, PeriodicJob};
use crate::store::archive;
use crate::store::ids::{ArchiveId, Owner, RoomId};
use crate::store::{Grown, Store, StoreError};

/// Archives of rooms that are to be looked at.
#[derive(Debug)]
pub struct ToWeigh {
    /// Those that have grown, and what there was no time for.
    grown: BTreeSet<ArchiveId>,
    /// Who created rooms that have grown: theirs are to be looked at together.
    creators: BTreeSet<String>,
    /// Those that could not be looked at: they hold up nobody.
    failed: BTreeSet<ArchiveId>,
    /// And the creators whose rooms could not.
    failed_creators: BTreeSet<String>,
    /// When these were tried again.
    retried: Option<Instant>,
    /// All are looked at once after a start, in their order: up to here they were. `None`: it is done.
    after: Option<ArchiveId>,
}

impl Default for ToWeigh {
    fn default() -> Self {
        let (grown, failed) = (BTreeSet::new(), BTreeSet::new());
        let (creators, failed_creators) = (BTreeSet::new(), BTreeSet::new());
        let after = Some(ArchiveId::BEFORE_ALL);
        Self { grown, creators, failed, failed_creators, retried: None, after }
    }
}

impl ToWeigh {
    /// What to look at in a round; the rest stays for others.
    fn take(&mut self, grown: Grown, is_due: bool, now: Instant) -> Self {
        if grown.any {
            self.after = Some(ArchiveId::BEFORE_ALL);
        }
        let after = self.after.filter(|_| is_due || grown.any);
        let mut round = Self { grown: std::mem::take(&mut self.grown), after, ..Self::default() };
        round.grown.extend(grown.archives);
        round.creators.append(&mut self.creators);
        if is_due && self.retried.is_none_or(|last| now.duration_since(last) >= RETRY) {
            self.retried = Some(now);
            round.grown.append(&mut self.failed);
            round.creators.append(&mut self.failed_creators);
        }
        round
    }

    fn is_nothing(&self) -> bool {
        self.grown.is_empty() && self.creators.is_empty() && self.after.is_none()
    }

    /// What is left of a round.
    fn put_back(&mut self, mut rest: Self, had_all: bool) {
        self.grown.append(&mut rest.grown);
        self.creators.append(&mut rest.creators);
        self.failed.append(&mut rest.failed);
        self.failed_creators.append(&mut rest.failed_creators);
        if had_all {
            self.after = rest.after;
        }
    }

    /// The next one.
    async fn next(&mut self, store: &Store) -> Result<Option<ArchiveId>, StoreError> {
        if let Some(archive) = self.grown.pop_first() {
            return Ok(Some(archive));
        }
        let Some(after) = self.after else { return Ok(None) };
        let next = store.read(move |tx| archive::archives_after(tx, after)).await?;
        // Rooms come before accounts.
        self.after = next.filter(|archive| matches!(archive.owner(), Owner::Room(_)));
        Ok(self.after)
    }
}

/// Brings rooms under their bound whose archives have grown a lot; all of them once after a start.
pub(super) async fn hold(job: &PeriodicJob) {
    hold_for(job, ROUND).await;
}

/// For so long, and at least one of them: other work waits for it. What is left is next time's.
async fn hold_for(job: &PeriodicJob, time: Duration) {
    let config = &job.config.muc;
    let is_bound = config.archive_bytes_max > 0 || config.account_archive_bytes_max > 0;
    if !is_bound || job.cause == Cause::AccountDeleted {
        return;
    }
    let rooms = &job.server.shared().muc;
    let (grown, now) = (job.store.take_grown_rooms(), clock::now());
    let mut round = rooms.to_weigh().take(grown, job.cause == Cause::Due, now);
    if round.is_nothing() {
        return;
    }
    let had_all = round.after.is_some();
    match look(job, &mut round, now + time).await {
        Ok(()) | Err(StoreError::Closed) => {}
        Err(error) => {
            tracing::warn!(%error, "what rooms store could not be looked at; tried again later");
        }
    }
    rooms.to_weigh().put_back(round, had_all);
}

async fn look(job: &PeriodicJob, round: &mut ToWeigh, until: Instant) -> Result<(), StoreError> {
    // Rows are weighed where they are indexed.
    job.store.archives_indexed().await?;
    let mut why = None;
    while let Some(archive) = round.next(&job.store).await? {
        match shorten(job, archive, until).await {
            Ok((is_done, creator)) => {
                round.creators.extend(creator);
                if !is_done {
                    round.grown.insert(archive);
                }
            }
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                round.failed.insert(archive);
                why.get_or_insert(error);
            }
        }
        if clock::now() >= until {
            break;
        }
    }
    if let Some(error) = why {
        let failed = round.failed.len();
        tracing::warn!(failed, %error, "what some rooms store could not be brought under its bound; tried again later");
    }
    look_together(job, round, until).await
}

/// At the rooms of each creator; at least one of them, too.
async fn look_together(
    job: &PeriodicJob,
    round: &mut ToWeigh,
    until: Instant,
) -> Result<(), StoreError> {
    let mut why = None;
    while let Some(creator) = round.creators.pop_first() {
        match together::shorten(job, &creator, until).await {
            Ok(true) => {}
            Ok(false) => {
                round.creators.insert(creator);
            }
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                round.failed_creators.insert(creator);
                why.get_or_insert(error);
            }
        }
        if clock::now() >= until {
            break;
        }
    }
    if let Some(error) = why {
        let failed = round.failed_creators.len();
        tracing::warn!(failed, %error, "the rooms of some accounts could not be brought under their bound; tried again later");
    }
    Ok(())
}

/// Whether it is done, and who created the room.
async fn shorten(
    job: &PeriodicJob,
    archive: ArchiveId,
    until: Instant,
) -> Result<(bool, Option<String>), StoreError> {
    let Owner::Room(room) = archive.owner() else { return Ok((true, None)) };
    let most = job.config.muc.archive_bytes_max;
    let stored = job.store.archive_bytes(archive).await?;
    let (left, is_done) = match most > 0 && stored > most {
        true => shed(job, room, stored, until).await?,
        false => (stored, true),
    };
    Ok((is_done, together::note(job, room, left).await?))
}

/// Deletes the oldest of a room that is over its bound: what is left, and whether it is done.
async fn shed(
    job: &PeriodicJob,
    id: RoomId,
    stored: u64,
    until: Instant,
) -> Result<(u64, bool), StoreError> {
    let (archive, most) = (ArchiveId::of_room(id), job.config.muc.archive_bytes_max);
    // A little more than it must, so that not each message costs a look.
    let mut excess = stored.saturating_sub(most - most / 20);
    let (mut messages, mut is_done) = (0, false);
    while !is_done {
        let piece = excess.min(PIECE);
        let shed = job.store.shed(archive, piece).await?;
        messages += shed;
        excess -= piece;
        // With nothing more to delete: some are owed to somebody.
        is_done = excess == 0 || shed == 0;
        if clock::now() >= until {
            break;
        }
    }
    let room = job.store.read(move |tx| rows::address(tx, id)).await?.unwrap_or_default();
    tracing::info!(
        room,
        stored,
        most,
        messages,
        "a room stored more than modules.muc.archive_bytes_max; its oldest messages were deleted"
    );
    Ok((most - most / 20 + excess, is_done))
}

/// What one round may take.
const ROUND: Duration = Duration::from_secs(10);
/// When rooms that could not be looked at are tried again.
const RETRY: Duration = Duration::from_secs(3_600);
/// Bytes that are deleted between two looks at the clock.
const PIECE: u64 = 4 * 1_048_576;

#[cfg(test)]
mod tests {
    use super::super::rights::Affiliation;
    use super::super::room::Standing;
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

    /// Those of one account together: the oldest messages of all its rooms go, and nothing of others'.
    #[tokio::test]
    async fn an_accounts_rooms_are_bounded_together() {
        let mut config = Config::default();
        config.muc.account_archive_bytes_max = 1_000_000;
        config.admins.operators.push("op@x".to_owned());
        let server = Server::new(config);
        let mut rooms = Vec::new();
        for (name, creator) in
            [("old", "a@x"), ("new", "a@x"), ("b", "b@x"), ("op1", "op@x"), ("op2", "op@x")]
        {
            let make = move |tx: &mut dyn Tx| {
                let jid = format!("{name}@rooms.x");
                let room = rows::create(tx, &jid, creator, &Settings::default(), &[0; 32], 0)?;
                let owner = Standing { affiliation: Affiliation::Owner, ..Standing::default() };
                rows::stand(tx, room, creator, &owner)?;
                Ok(room)
            };
            rooms.push(ArchiveId::of_room(server.store().write(make).await.unwrap()));
        }
        let starts = (0..).step_by(1_000);
        for (archive, start) in rooms.iter().zip(starts) {
            put(&server, *archive, start + 1..start + 701).await;
        }
        let held = async || {
            let mut held = Vec::new();
            for room in &rooms {
                held.push(server.store().archive_bytes(*room).await.unwrap() / 1_000);
            }
            held
        };
        hold(&server.job(Cause::Due)).await;
        let now = held().await;
        assert!((940..=950).contains(&(now[0] + now[1])), "{now:?}");
        assert_eq!(now[1..], [700; 4], "the other one is older");
        // What was deleted meanwhile is not counted, though it was when it was weighed.
        let new = rooms[1];
        server.store().shed(new, 400_000).await.unwrap();
        put(&server, rooms[0], 9_001..9_301).await;
        server.cx.rooms().to_weigh().grown.insert(rooms[0]);
        let before = held().await;
        assert!(before[0] + before[1] > 800, "{before:?}");
        hold(&server.job(Cause::Due)).await;
        assert_eq!(held().await, before);
        // Who owns a room no more decides nothing of what others say there.
        let Owner::Room(given_up) = rooms[1].owner() else { panic!("a room") };
        let demote = move |tx: &mut dyn Tx| {
            let admin = Standing { affiliation: Affiliation::Admin, ..Standing::default() };
            rows::stand(tx, given_up, "a@x", &admin)
        };
        server.store().write(demote).await.unwrap();
        put(&server, rooms[0], 10_001..10_301).await;
        server.cx.rooms().to_weigh().grown.insert(rooms[0]);
        let before = held().await;
        assert!(before[0] < 1_000 && before[0] + before[1] > 1_000, "{before:?}");
        hold(&server.job(Cause::Due)).await;
        assert_eq!(held().await, before);
    }

    /// One that fails holds up nobody, and is not forgotten.
    #[tokio::test]
    async fn creators_whose_rooms_cannot_be_looked_at_wait_apart() {
        let server = Server::new(Config::default());
        let broken = |tx: &mut dyn Tx| tx.execute("DROP TABLE room_affiliation", &[]).map(drop);
        server.store().write(broken).await.unwrap();
        let names = || BTreeSet::from(["a@x".to_owned(), "b@x".to_owned()]);
        let mut round = ToWeigh { creators: names(), after: None, ..ToWeigh::default() };
        let until = clock::now() + ROUND;
        look_together(&server.job(Cause::Due), &mut round, until).await.unwrap();
        assert_eq!((round.creators.len(), &round.failed_creators), (0, &names()));
        let (mut all, nothing) = (ToWeigh { after: None, ..ToWeigh::default() }, Grown::default());
        all.put_back(round, true);
        assert_eq!(all.take(nothing, true, clock::now()).creators, names());
    }

    /// Other work of the server waits for it.
    #[tokio::test]
    async fn a_round_takes_no_longer_than_it_may() {
        let mut config = Config::default();
        config.muc.archive_bytes_max = 100_000;
        let server = Server::new(config);
        let mut rooms = Vec::new();
        for n in 0..3 {
            let make = move |tx: &mut dyn Tx| {
                let jid = format!("r{n}@rooms.x");
                rows::create(tx, &jid, "a@x", &Settings::default(), &[0; 32], 0)
            };
            rooms.push(ArchiveId::of_room(server.store().write(make).await.unwrap()));
            put(&server, rooms[n], (n as i64 * 1_000 + 1)..(n as i64 * 1_000 + 201)).await;
        }
        for done in 1..=3 {
            hold_for(&server.job(Cause::Due), Duration::ZERO).await;
            let mut held = 0;
            for room in &rooms {
                let bytes = server.store().archive_bytes(*room).await.unwrap();
                held += usize::from(bytes <= 100_000);
            }
            assert_eq!(held, done);
        }
    }

    /// What failed is tried again after a while, and holds up nobody.
    #[test]
    fn what_failed_waits_apart() {
        let of = |n| ArchiveId::of_room(crate::store::ids::RoomId(n));
        let grown = |archives: &[ArchiveId]| Grown {
            archives: archives.iter().copied().collect(),
            any: false,
        };
        let (mut all, now) = (ToWeigh::default(), clock::now());
        let mut round = all.take(grown(&[of(1), of(2)]), true, now);
        assert_eq!(round.after, Some(ArchiveId::BEFORE_ALL));
        // One could not be looked at, for one there was no time; all were looked at otherwise.
        let _ = round.grown.remove(&of(1)) && round.failed.insert(of(1));
        round.after = None;
        all.put_back(round, true);
        let round = all.take(grown(&[of(3)]), true, now + RETRY / 2);
        assert_eq!((round.grown, round.after), ([of(2), of(3)].into(), None));
        assert!(all.take(grown(&[]), false, now + RETRY).is_nothing(), "not in haste");
        assert_eq!(all.take(grown(&[]), true, now + RETRY).grown, [of(1)].into());
        assert!(all.take(grown(&[]), true, now + RETRY * 2).is_nothing());
    }
}
