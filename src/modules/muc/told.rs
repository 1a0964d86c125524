//! Of which rooms a session was told since it asked for that (XEP-0437). It is with the session's state, too, and with
//! it over a planned restart (promise.md 11).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::modules::api::Persist;
use crate::store::ids::RoomId;

/// One subscription.
#[derive(Debug)]
pub struct Told {
    /// The service whose rooms it is for.
    pub(super) service: Box<str>,
    rooms: Mutex<HashMap<RoomId, Known>>,
    has_ended: AtomicBool,
}

/// What a session knows of a room in which it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It was told that something was said.
    Told,
    /// Its account was there and has seen what was said up to this time.
    Seen(i64),
}

impl Told {
    pub(super) fn new(service: &str) -> Arc<Self> {
        Arc::new(Self::of(service, HashMap::new()))
    }

    fn of(service: &str, rooms: HashMap<RoomId, Known>) -> Self {
        Self {
            service: service.into(),
            rooms: Mutex::new(rooms),
            has_ended: AtomicBool::new(false),
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Known>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be told of a room in which something was said at this time; from then on it was.
    pub(super) fn note(&self, room: RoomId, spoken: i64, max: usize) -> bool {
        let mut rooms = self.rooms();
        let is_news = match rooms.get(&room) {
            None => rooms.len() < max,
            Some(Known::Told) => false,
            Some(Known::Seen(until)) => spoken > *until,
        };
        if is_news {
            rooms.insert(room, Known::Told);
        }
        is_news
    }

    /// XEP-0437 §4: its account was in a room up to this time, so that what comes later is news again.
    pub(super) fn saw(&self, room: RoomId, until: i64, max: usize) {
        let mut rooms = self.rooms();
        if rooms.len() < max || rooms.contains_key(&room) {
            rooms.insert(room, Known::Seen(until));
        }
    }

    /// The session does not want to be told any more.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}

/// A session's subscriptions, one for each service.
#[derive(Debug, Default, Clone)]
pub struct Subscriptions(Vec<Arc<Told>>);

impl Subscriptions {
    pub(super) fn add(&mut self, told: Arc<Told>) {
        self.0.retain(|known| !known.has_ended());
        self.0.push(told);
    }

    /// Those that have not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<Told>> {
        self.0.iter().filter(|told| !told.has_ended())
    }
}

impl Persist for Subscriptions {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        let written = |told: &Arc<Told>| {
            let rooms = told.rooms();
            let all = rooms.iter().filter(|(_, known)| **known == Known::Told);
            let rooms: Vec<i64> = all.map(|(room, _)| room.0).collect();
            (told.service.to_string(), rooms)
        };
        let all: Vec<(String, Vec<i64>)> = self.open().map(written).collect();
        postcard::to_allocvec(&all).unwrap_or_default()
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        let all: Vec<(String, Vec<i64>)> = postcard::from_bytes(bytes).ok()?;
        let read = |(service, rooms): (String, Vec<i64>)| {
            let all = rooms.into_iter().map(|room| (RoomId(room), Known::Told));
            Arc::new(Told::of(&service, all.collect()))
        };
        Some(Self(all.into_iter().map(read).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_was_told_outlives_a_restart() {
        let (mut own, told) = (Subscriptions::default(), Told::new("rooms.x"));
        let old = Told::new("old.x");
        own.add(old.clone());
        own.add(told.clone());
        assert!(told.note(RoomId(1), 5, 2) && told.note(RoomId(2), 5, 2));
        assert!(!told.note(RoomId(1), 6, 2) && !told.note(RoomId(3), 6, 2));
        old.end();
        let back = Subscriptions::load(&own.save()).unwrap();
        let all: Vec<_> = back.open().collect();
        assert_eq!(all.len(), 1);
        assert_eq!((&*all[0].service, all[0].rooms().len()), ("rooms.x", 2));
        assert!(!all[0].note(RoomId(2), 7, 9) && all[0].note(RoomId(3), 7, 9));
        assert!(Subscriptions::load(b"\xff").is_none());
        assert!(Subscriptions::load(&Subscriptions::default().save()).is_some());
    }
    /// XEP-0437 §4: once for each stay away from the room.
    #[test]
    fn whoever_was_in_the_room_meanwhile_is_told_anew() {
        let told = Told::new("rooms.x");
        assert!(told.note(RoomId(1), 5, 2) && !told.note(RoomId(1), 9, 2));
        told.saw(RoomId(1), 9, 2);
        assert!(!told.note(RoomId(1), 9, 2), "it was there then");
        assert!(told.note(RoomId(1), 10, 2) && !told.note(RoomId(1), 11, 2));
        told.saw(RoomId(2), 9, 2);
        told.saw(RoomId(3), 9, 2);
        assert!(!told.note(RoomId(2), 9, 2), "before it was told, too");
        assert!(!told.note(RoomId(3), 10, 2), "there are so many");
    }
}
