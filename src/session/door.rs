//! XEP-0198 §5: how a new connection reaches the session that it resumes.
//!
//! A session that can be resumed has a door. Whoever knocks has authenticated as its account; the
//! session itself, alive or asleep, takes the new connection over: so one wins, whatever comes at
//! the same time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::link::Link;
use crate::base::credential::AgentId;
use crate::base::limits::Limits;
use crate::jid::BareJid;
use crate::router::outbox::{End, Outbox};
use crate::stream::c2s::Success;
use crate::stream::error::StreamFailure;
use crate::stream::sm::TooHigh;

/// The doors of one server, by the hash of their SM-ID.
#[derive(Default)]
pub struct Doors {
    doors: Mutex<HashMap<[u8; 32], Arc<Door>>>,
    sleepers: AtomicUsize,
    bytes: AtomicUsize,
}

/// The way to one session.
pub struct Door {
    account: BareJid,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    knock: Option<Box<Knock>>,
    closed: bool,
}

/// A connection, and what belongs to it.
pub struct Connection {
    /// Authenticated, nothing bound.
    pub link: Link,
    /// Where it comes from.
    pub peer: IpAddr,
    /// It is encrypted.
    pub secure: bool,
    /// Which installation of a client it is (XEP-0388 §2.3).
    pub agent: Option<AgentId>,
    /// A token opened it (XEP-0484).
    pub by_token: bool,
}

/// A request to resume.
pub struct Knock {
    /// What takes the place of the session's connection.
    pub connection: Connection,
    /// The SM-ID as the client wrote it.
    pub previd: String,
    /// What the client handled.
    pub h: u32,
    /// What is said around `<resumed/>`, where it was asked for inline (XEP-0198 §9.2).
    pub success: Option<Box<Success>>,
    /// Answered once.
    pub answer: oneshot::Sender<Result<(), Refused>>,
}

/// The connection goes back.
pub struct Refused {
    /// As it came.
    pub connection: Connection,
    /// The client acknowledged more than it was sent; else there is no such session any more.
    pub lie: Option<TooHigh>,
}

impl Knock {
    /// Gives the connection back.
    pub fn refuse(self, lie: Option<TooHigh>) {
        // Who gave up asking has ended the connection with that.
        let _ = self.answer.send(Err(Refused { connection: self.connection, lie }));
    }
}

impl Doors {
    /// Makes the door of a session.
    pub fn open(&self, id: [u8; 32], account: BareJid, outbox: Arc<Outbox>) -> Arc<Door> {
        let door = Arc::new(Door { account, outbox, state: Mutex::default() });
        self.lock().insert(id, door.clone());
        door
    }

    /// The door of this id, for its own account only (security rule 13).
    pub fn find(&self, id: &[u8; 32], account: &BareJid) -> Option<Arc<Door>> {
        self.lock().get(id).filter(|door| door.account == *account).cloned()
    }

    /// The session is over. Whoever knocks at this moment is refused.
    pub fn close(&self, id: &[u8; 32]) {
        let door = self.lock().remove(id);
        let knock = door.and_then(|door| {
            let mut state = door.lock();
            state.closed = true;
            state.knock.take()
        });
        if let Some(knock) = knock {
            knock.refuse(None);
        }
    }

    /// A place for one more session that sleeps, if there is room.
    pub fn bed(self: &Arc<Self>, limits: &Limits) -> Option<Bed> {
        let sleepers = self.sleepers.fetch_add(1, Ordering::Relaxed);
        let bed = Bed { doors: self.clone(), bytes: 0 };
        (sleepers < limits.sleepers_max && !limits.resume_time.is_zero()).then_some(bed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Door>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Asks the session to take the connection. It comes back at once if nobody is there.
    pub fn knock(&self, knock: Box<Knock>) -> Result<(), Box<Knock>> {
        let mut state = self.lock();
        if state.closed {
            return Err(knock);
        }
        // Of two, the later one: it is the connection that the client still has.
        let earlier = state.knock.replace(knock);
        drop(state);
        if let Some(earlier) = earlier {
            earlier.refuse(None);
        }
        self.outbox.nudge();
        Ok(())
    }

    /// Whoever came in has to go, and the session with it.
    pub fn expel(&self, why: StreamFailure) {
        self.outbox.end(End::Failure(why));
    }

    /// Who knocked, for the session.
    pub fn answer(&self) -> Option<Box<Knock>> {
        self.lock().knock.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's share of what sleeping sessions may take.
pub struct Bed {
    doors: Arc<Doors>,
    bytes: usize,
}

impl Bed {
    /// So much waits for this session now; false when it is too much for all of them together, and more
    /// than its even share: who sleeps beside somebody's hoard does not pay for it. All of them
    /// together stay below twice the bound.
    pub fn weigh(&mut self, bytes: usize, limits: &Limits) -> bool {
        let all = &self.doors.bytes;
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(self.bytes, Ordering::Relaxed);
        let total = before + bytes - self.bytes;
        self.bytes = bytes;
        let sleepers = self.doors.sleepers.load(Ordering::Relaxed).max(1);
        total <= limits.sleepers_bytes_max || bytes <= limits.sleepers_bytes_max / sleepers
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.doors.sleepers.fetch_sub(1, Ordering::Relaxed);
        self.doors.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> (Arc<Doors>, BareJid) {
        let (doors, bare) = (Arc::<Doors>::default(), BareJid::parse("a@x").unwrap());
        doors.open([1; 32], bare.clone(), Arc::new(Outbox::new(1)));
        (doors, bare)
    }

    #[test]
    fn a_door_is_its_own_accounts() {
        let (doors, bare) = doors();
        assert!(doors.find(&[1; 32], &bare).is_some());
        assert!(doors.find(&[2; 32], &bare).is_none());
        assert!(doors.find(&[1; 32], &BareJid::parse("b@x").unwrap()).is_none());
        let door = doors.find(&[1; 32], &bare).unwrap();
        doors.close(&[1; 32]);
        assert!(doors.find(&[1; 32], &bare).is_none() && door.lock().closed);
    }

    #[test]
    fn beds_are_counted_and_weighed() {
        let (doors, _) = doors();
        let limits = Limits { sleepers_max: 2, sleepers_bytes_max: 100, ..Limits::default() };
        let mut first = doors.bed(&limits).unwrap();
        let mut second = doors.bed(&limits).unwrap();
        assert!(doors.bed(&limits).is_none(), "full");
        assert!(first.weigh(60, &limits) && first.weigh(50, &limits));
        assert!(second.weigh(50, &limits) && !second.weigh(51, &limits));
        // Whose share is even does not pay for another's.
        assert!(!first.weigh(90, &limits) && second.weigh(50, &limits));
        drop(second);
        assert!(first.weigh(100, &limits));
        drop(first);
        assert!(doors.bed(&limits).is_some());
        assert_eq!(doors.bytes.load(Ordering::Relaxed), 0);
        let off = Limits { resume_time: std::time::Duration::ZERO, ..limits };
        assert!(doors.bed(&off).is_none());
    }
}
