//! The rooms in memory: loaded when spoken to, forgotten when idle.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::activity::Indicators;
use super::called::Unsaved;
use super::config::Bounds;
use super::history;
use super::quota::ToWeigh;
use super::room::{Kept, Room, Standing, Subject};
use super::rows::{self, Stored};
use super::settings::Settings;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::stanza::{Stanza, StanzaError};
use crate::store::Store;
use crate::store::ids::ArchiveId;

/// All rooms in memory, in maps by a random hash: those who speak in different rooms do not wait for each other.
#[derive(Debug)]
pub struct Rooms {
    shards: Box<[Mutex<Loaded>]>,
    hasher: RandomState,
    /// Those that their creators have not configured, by creator; some that are gone or configured since.
    locked: Mutex<HashMap<BareJid, Vec<Weak<Hold>>>>,
    /// The hour in which archives were tidied last, since 1970.
    tidied: AtomicU64,
    /// Who wants to be told where something was said.
    pub(super) indicators: Indicators,
    /// Archives that may hold too much.
    to_weigh: Mutex<ToWeigh>,
}

#[derive(Debug, Default)]
struct Loaded {
    rooms: HashMap<BareJid, Arc<Hold>>,
    /// How often rooms were forgotten: what was read before may be older than what was changed since. For each part, so
    /// that whoever makes rooms come and go keeps few others from being read.
    forgotten: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (tidied, to_weigh) = (AtomicU64::new(0), Mutex::default());
        let (locked, indicators) = (Mutex::default(), Indicators::default());
        Self { shards, hasher: RandomState::new(), locked, tidied, to_weigh, indicators }
    }
}

const SHARDS: usize = 32;

/// A room in memory, and the right to it. Its lock is held for an event and never over a wait; the router's locks
/// are taken under it, and it under none of them.
#[derive(Debug)]
pub struct Hold {
    room: Mutex<Room>,
    /// Durable changes happen one after the other: each is judged by what the one before left.
    pub(super) changes: Semaphore,
    /// What is to be written of its members when the store has less to do.
    pub(super) unwritten: Mutex<Vec<(Unsaved, i64)>>,
}

impl Hold {
    fn new(room: Room) -> Arc<Self> {
        let (room, unwritten) = (Mutex::new(room), Mutex::default());
        Arc::new(Self { room, changes: Semaphore::new(1), unwritten })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        // A panic under it leaves a room that is whole but for that event.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    #[allow(clippy::indexing_slicing)] // the remainder is below the length
    fn lock(&self, jid: &BareJid) -> MutexGuard<'_, Loaded> {
        let hash = usize::try_from(self.hasher.hash_one(jid.as_str()) % SHARDS as u64);
        self.shards[hash.unwrap_or_default()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Loaded>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The room, if it is in memory.
    pub(super) fn find(&self, jid: &BareJid) -> Option<Arc<Hold>> {
        self.lock(jid).rooms.get(jid).cloned()
    }

    /// Into how many parts the rooms in memory are divided.
    pub(super) fn parts(&self) -> usize {
        self.shards.len()
    }

    /// The rooms in memory of one part: whoever looks at all need not hold all.
    pub(super) fn part(&self, part: usize) -> Vec<Arc<Hold>> {
        let loaded = self.shards.get(part).map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
        loaded.map(|loaded| loaded.rooms.values().cloned().collect()).unwrap_or_default()
    }

    /// All rooms in memory.
    pub(super) fn all(&self) -> Vec<Arc<Hold>> {
        self.each().flat_map(|loaded| loaded.rooms.values().cloned().collect::<Vec<_>>()).collect()
    }

    /// The room, read from the store if it is not in memory; `None` if there is none.
    pub(super) async fn open(
        &self,
        store: &Store,
        jid: &BareJid,
        bounds: Bounds,
    ) -> Result<Option<Arc<Hold>>, StanzaError> {
        loop {
            let forgotten = {
                let loaded = self.lock(jid);
                if let Some(hold) = loaded.rooms.get(jid) {
                    return Ok(Some(hold.clone()));
                }
                loaded.forgotten
            };
            // promise.md 7: what was said before it was forgotten is in what is read.
            store.begun().await?;
            let of = jid.clone();
            let stored = store.read(move |tx| rows::load(tx, of.as_str())).await?;
            let said = match &stored {
                Some(stored) if stored.settings.archive => {
                    let (archive, max) = (ArchiveId::of_room(stored.id), stored.settings.history);
                    store.archive_indexed(archive).await?;
                    store.read(move |tx| history::load(tx, archive, max, bounds)).await?
                }
                _ => Vec::new(),
            };
            let mut loaded = self.lock(jid);
            if let Some(hold) = loaded.rooms.get(jid) {
                return Ok(Some(hold.clone()));
            }
            if loaded.forgotten != forgotten {
                continue;
            }
            let Some(stored) = stored else { return Ok(None) };
            let hold = Hold::new(room(jid, stored, said, store, bounds));
            loaded.rooms.insert(jid.clone(), hold.clone());
            return Ok(Some(hold));
        }
    }

    /// A new room for its creator, which owns it; the one that somebody else made at the same moment if there is one.
    /// The second says whether it was made.
    pub(super) fn create(
        &self,
        jid: &BareJid,
        creator: BareJid,
        settings: Settings,
        secret: [u8; 32],
        bounds: Bounds,
    ) -> (Arc<Hold>, bool) {
        let mut loaded = self.lock(jid);
        if let Some(hold) = loaded.rooms.get(jid) {
            return (hold.clone(), false);
        }
        let mut room = Room::new(jid.clone(), settings, secret, bounds);
        let owner =
            Standing { affiliation: super::rights::Affiliation::Owner, ..Standing::default() };
        room.standing.insert(creator.clone(), owner);
        let hold = Hold::new(room);
        loaded.rooms.insert(jid.clone(), hold.clone());
        drop(loaded);
        let mut locked = self.locked();
        let own = locked.entry(creator).or_default();
        own.retain(is_locked);
        own.push(Arc::downgrade(&hold));
        drop(locked);
        (hold, true)
    }

    /// How many rooms of this creator nobody has configured yet.
    pub(super) fn locked_by(&self, creator: &BareJid) -> usize {
        // Only its own are looked into, and nobody else waits for that.
        let known = self.locked().get(creator).cloned().unwrap_or_default();
        known.iter().filter(|room| is_locked(room)).count()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<BareJid, Vec<Weak<Hold>>>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the first call within an hour.
    pub(super) fn is_hourly(&self, now: SystemTime) -> bool {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let hour = since.as_secs() / 3_600;
        self.tidied.swap(hour, Ordering::AcqRel) != hour
    }

    /// Archives that may hold too much.
    pub(super) fn to_weigh(&self) -> MutexGuard<'_, ToWeigh> {
        self.to_weigh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a room that is gone.
    pub(super) fn forget(&self, jid: &BareJid, hold: &Arc<Hold>) {
        let mut loaded = self.lock(jid);
        if loaded.rooms.get(jid).is_some_and(|known| Arc::ptr_eq(known, hold)) {
            loaded.rooms.remove(jid);
            loaded.forgotten = loaded.forgotten.wrapping_add(1);
        }
    }

    /// Forgets rooms that nobody is in and nobody has looked at for a while; how many are left.
    pub(super) fn forget_idle(&self, now: SystemTime, after: Duration) -> usize {
        self.locked().retain(|_, rooms| {
            rooms.retain(is_locked);
            !rooms.is_empty()
        });
        let mut left = 0;
        for mut loaded in self.each() {
            let before = loaded.rooms.len();
            loaded.rooms.retain(|_, hold| {
                // Whoever has it in hand, or waits for it, got it from here.
                if Arc::strong_count(hold) > 1 {
                    return true;
                }
                let room = hold.lock();
                let idle = now.duration_since(room.used).unwrap_or_default();
                !room.is_empty() || room.is_locked() || idle < after.max(room.waits())
            });
            if loaded.rooms.len() < before {
                loaded.forgotten = loaded.forgotten.wrapping_add(1);
                loaded.rooms.shrink_to_fit();
            }
            left += loaded.rooms.len();
        }
        left
    }
}

/// Whether it is there, and nobody has configured it.
fn is_locked(hold: &Weak<Hold>) -> bool {
    hold.upgrade().is_some_and(|hold| {
        let room = hold.lock();
        room.is_locked() && !room.is_gone
    })
}

fn room(jid: &BareJid, stored: Stored, said: Vec<Kept>, store: &Store, bounds: Bounds) -> Room {
    let mut room = Room::new(jid.clone(), stored.settings, stored.secret, bounds);
    room.id = Some(stored.id);
    room.version = stored.version;
    room.forgotten = stored.forgotten;
    for (jid, standing) in stored.standing {
        room.list(jid, standing);
    }
    room.called = stored.called;
    room.subject = stored
        .subject
        .and_then(|(message, at)| Some(Subject::of(Stanza::ours(message.into())?.frame(), at)));
    room.history = history::stamped(said, &room, store);
    if let Some(written) = &stored.occupants {
        room.seat_written(written);
    }
    room
}

impl Cx {
    /// The rooms.
    pub(super) fn rooms(&self) -> &Rooms {
        &self.server.shared().muc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that a creator has not configured are counted without a look into others' rooms.
    #[test]
    fn rooms_that_are_not_configured_are_their_creators() {
        let rooms = Rooms::default();
        let jid = |n: usize| BareJid::parse(&format!("r{n}@rooms.x")).unwrap();
        let who = |name: &str| BareJid::parse(&format!("{name}@x")).unwrap();
        let create = |n, by| {
            rooms.create(&jid(n), who(by), Settings::default(), [0; 32], Bounds::default()).0
        };
        let holds: Vec<_> = (0..3).map(|n| create(n, "ann")).collect();
        let others = create(9, "bob");
        // Whoever does something in it holds up nobody but who comes for it.
        let busy = others.lock();
        assert_eq!(rooms.locked_by(&who("ann")), 3);
        drop(busy);
        holds[0].lock().id = Some(crate::store::ids::RoomId(1));
        holds[1].lock().is_gone = true;
        rooms.forget(&jid(1), &holds[1]);
        assert_eq!((rooms.locked_by(&who("ann")), rooms.locked_by(&who("bob"))), (1, 1));
        drop(holds);
        rooms.lock(&jid(2)).rooms.clear();
        rooms.forget_idle(SystemTime::UNIX_EPOCH, Duration::ZERO);
        let known: Vec<BareJid> = rooms.locked().keys().cloned().collect();
        assert_eq!(known, [who("bob")]);
    }

    /// A room is read anew for what was forgotten beside it, and for little else.
    #[test]
    fn rooms_that_come_and_go_disturb_few_others() {
        let rooms = Rooms::default();
        let jid = |n: usize| BareJid::parse(&format!("r{n}@rooms.x")).unwrap();
        let ann = BareJid::parse("ann@x").unwrap();
        let parts = || rooms.each().map(|loaded| loaded.forgotten).collect::<Vec<_>>();
        let (hold, is_new) =
            rooms.create(&jid(0), ann, Settings::default(), [0; 32], Bounds::default());
        assert!(is_new);
        let before = rooms.lock(&jid(0)).forgotten;
        rooms.forget(&jid(0), &hold);
        rooms.forget(&jid(0), &hold);
        assert_eq!(rooms.lock(&jid(0)).forgotten, before + 1, "once");
        assert_eq!(parts().iter().filter(|count| **count > 0).count(), 1);
    }
}
