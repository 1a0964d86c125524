//! XEP-0198 §5: how a new connection reaches the session that it resumes.
//!
//! A session that can be resumed has a slot. A client that asks for it has authenticated as its account. The
//! session itself, connected or hibernating, takes over the new connection, so exactly one of several
//! requests wins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::link::Link;
use crate::base::credential::AgentId;
use crate::base::limits::Limits;
use crate::jid::BareJid;
use crate::modules::api::Via;
use crate::router::outbox::{End, Outbox};
use crate::stream::c2s::Success;
use crate::stream::error::StreamFailure;
use crate::stream::sm::TooHigh;

/// The sessions of one server that can be resumed, by the hash of their SM-ID.
#[derive(Default)]
pub struct ResumeTable {
    slots: Mutex<HashMap<[u8; 32], Arc<ResumeSlot>>>,
    hibernating: AtomicUsize,
    bytes: AtomicUsize,
}

/// The way to one resumable session.
pub struct ResumeSlot {
    account: BareJid,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    request: Option<Box<ResumeRequest>>,
    closed: bool,
}

/// A connection, and the facts about it.
pub struct Connection {
    /// Authenticated, with no resource bound.
    pub link: Link,
    /// The address of the client.
    pub peer: IpAddr,
    /// Whether it is encrypted.
    pub secure: bool,
    /// Which installation of a client it is (XEP-0388 §2.3).
    pub agent: Option<AgentId>,
    /// Whether the login was by token (XEP-0484).
    pub by_token: bool,
    /// How it came.
    pub via: Via,
}

/// A request to resume.
pub struct ResumeRequest {
    /// The connection that replaces the session's present one.
    pub connection: Connection,
    /// The SM-ID as the client wrote it.
    pub previd: String,
    /// The client's handled count.
    pub h: u32,
    /// The `<success/>` around `<resumed/>`, if it was requested inline (XEP-0198 §9.2).
    pub success: Option<Box<Success>>,
    /// Answered once.
    pub answer: oneshot::Sender<Result<(), ResumeRefused>>,
}

/// A refusal, which gives the connection back.
pub struct ResumeRefused {
    /// The connection, unchanged.
    pub connection: Connection,
    /// Set if the client acknowledged more than it was sent; otherwise the session no longer exists.
    pub too_high: Option<TooHigh>,
}

impl ResumeRequest {
    /// Gives the connection back.
    pub fn refuse(self, too_high: Option<TooHigh>) {
        // A requester that gave up has ended its connection already.
        let _ = self.answer.send(Err(ResumeRefused { connection: self.connection, too_high }));
    }
}

impl ResumeTable {
    /// Adds a session.
    pub fn add(&self, id: [u8; 32], account: BareJid, outbox: Arc<Outbox>) -> Arc<ResumeSlot> {
        let slot = Arc::new(ResumeSlot { account, outbox, state: Mutex::default() });
        self.lock().insert(id, slot.clone());
        slot
    }

    /// Returns the session of this id, for its own account only (security rule 13).
    pub fn find(&self, id: &[u8; 32], account: &BareJid) -> Option<Arc<ResumeSlot>> {
        self.lock().get(id).filter(|slot| slot.account == *account).cloned()
    }

    /// Removes a session that is over, and refuses a request that is waiting for it.
    pub fn remove(&self, id: &[u8; 32]) {
        let slot = self.lock().remove(id);
        let request = slot.and_then(|slot| {
            let mut state = slot.lock();
            state.closed = true;
            state.request.take()
        });
        if let Some(request) = request {
            request.refuse(None);
        }
    }

    /// Returns a quota for one more hibernating session, if there is room.
    pub fn quota(self: &Arc<Self>, limits: &Limits) -> Option<HibernationQuota> {
        let hibernating = self.hibernating.fetch_add(1, Ordering::Relaxed);
        let quota = HibernationQuota { resume_table: self.clone(), bytes: 0 };
        (hibernating < limits.sleepers_max && !limits.resume_time.is_zero()).then_some(quota)
    }

    /// How many sessions hibernate, and what waits for them in bytes.
    pub fn load(&self) -> (usize, usize) {
        (self.hibernating.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<ResumeSlot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResumeSlot {
    /// Asks the session to take the connection. Gives it back at once if the session is over.
    pub fn request(&self, request: Box<ResumeRequest>) -> Result<(), Box<ResumeRequest>> {
        let mut state = self.lock();
        if state.closed {
            return Err(request);
        }
        // The later of two requests wins: its connection is the one that the client still has.
        let earlier = state.request.replace(request);
        drop(state);
        if let Some(earlier) = earlier {
            earlier.refuse(None);
        }
        self.outbox.nudge();
        Ok(())
    }

    /// Ends the session and the connection that it has just taken over.
    pub fn end_session(&self, why: StreamFailure) {
        self.outbox.end(End::Failure(why));
    }

    /// Takes the request that came last.
    pub fn take_request(&self) -> Option<Box<ResumeRequest>> {
        self.lock().request.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's share of what hibernating sessions may take.
pub struct HibernationQuota {
    resume_table: Arc<ResumeTable>,
    bytes: usize,
}

impl HibernationQuota {
    /// Counts the bytes that wait for this session. False if they are too many for all sessions together and
    /// more than this session's even share, so that a session with little does not pay for one with much. All
    /// of them together stay below twice the bound.
    pub fn weigh(&mut self, bytes: usize, limits: &Limits) -> bool {
        let all = &self.resume_table.bytes;
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(self.bytes, Ordering::Relaxed);
        let total = before + bytes - self.bytes;
        self.bytes = bytes;
        let hibernating = self.resume_table.hibernating.load(Ordering::Relaxed).max(1);
        total <= limits.sleepers_bytes_max || bytes <= limits.sleepers_bytes_max / hibernating
    }
}

impl Drop for HibernationQuota {
    fn drop(&mut self) {
        self.resume_table.hibernating.fetch_sub(1, Ordering::Relaxed);
        self.resume_table.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume_table() -> (Arc<ResumeTable>, BareJid) {
        let (resume_table, bare) = (Arc::<ResumeTable>::default(), BareJid::parse("a@x").unwrap());
        resume_table.add([1; 32], bare.clone(), Arc::new(Outbox::new(1)));
        (resume_table, bare)
    }

    #[test]
    fn a_slot_is_its_own_accounts() {
        let (resume_table, bare) = resume_table();
        assert!(resume_table.find(&[1; 32], &bare).is_some());
        assert!(resume_table.find(&[2; 32], &bare).is_none());
        assert!(resume_table.find(&[1; 32], &BareJid::parse("b@x").unwrap()).is_none());
        let slot = resume_table.find(&[1; 32], &bare).unwrap();
        resume_table.remove(&[1; 32]);
        assert!(resume_table.find(&[1; 32], &bare).is_none() && slot.lock().closed);
    }

    #[test]
    fn quotas_are_counted_and_weighed() {
        let (resume_table, _) = resume_table();
        let limits = Limits { sleepers_max: 2, sleepers_bytes_max: 100, ..Limits::default() };
        let mut first = resume_table.quota(&limits).unwrap();
        let mut second = resume_table.quota(&limits).unwrap();
        assert!(resume_table.quota(&limits).is_none(), "full");
        assert!(first.weigh(60, &limits) && first.weigh(50, &limits));
        assert!(second.weigh(50, &limits) && !second.weigh(51, &limits));
        // A session within its even share does not pay for another's.
        assert!(!first.weigh(90, &limits) && second.weigh(50, &limits));
        drop(second);
        assert!(first.weigh(100, &limits));
        drop(first);
        assert!(resume_table.quota(&limits).is_some());
        assert_eq!(resume_table.bytes.load(Ordering::Relaxed), 0);
        let off = Limits { resume_time: std::time::Duration::ZERO, ..limits };
        assert!(resume_table.quota(&off).is_none());
    }
}
