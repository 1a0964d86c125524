//! What makes that a session may go on on another connection (XEP-0198 §5), and what it is without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::resume_table::{HibernationQuota, ResumeRequest, ResumeSlot, ResumeTable};
use crate::base::limits::Limits;
use crate::router::task::Parked;

/// A session that its client may come back to.
pub(super) struct Resumption {
    /// SHA-256 of the SM-ID, which only the client keeps.
    id: [u8; 32],
    /// For so long.
    time: Duration,
    /// Where it is asked for.
    slot: Arc<ResumeSlot>,
    /// A connection that waits until all that came on the old one is handled.
    next: Option<Box<ResumeRequest>>,
    hibernation: Option<Hibernation>,
}

/// The session has no connection.
struct Hibernation {
    until: Instant,
    /// Its share of the memory; none for one that is about to be saved.
    quota: Option<HibernationQuota>,
    /// The server stops, and waits for this task no longer.
    parked: Option<Parked>,
}

impl Resumption {
    pub(super) fn new(id: [u8; 32], time: Duration, slot: Arc<ResumeSlot>) -> Box<Self> {
        Box::new(Self { id, time, slot, next: None, hibernation: None })
    }

    pub(super) fn id(&self) -> [u8; 32] {
        self.id
    }

    /// How long the session waits without a connection.
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// It loses its connection: for its whole time, or for what is left of that.
    pub(super) fn hibernate(
        &mut self,
        until: Instant,
        quota: Option<HibernationQuota>,
        parked: Option<Parked>,
    ) {
        self.hibernation = Some(Hibernation { until, quota, parked });
    }

    /// It has one. False when it had one before.
    pub(super) fn reconnect(&mut self) -> bool {
        self.hibernation.take().is_some()
    }

    pub(super) fn is_hibernating(&self) -> bool {
        self.hibernation.is_some()
    }

    /// When its time without a connection is over.
    pub(super) fn hibernates_until(&self) -> Option<Instant> {
        self.hibernation.as_ref().map(|hibernation| hibernation.until)
    }

    /// It hibernates, and is to be saved.
    pub(super) fn is_parked(&self) -> bool {
        self.hibernation.as_ref().is_some_and(|hibernation| hibernation.parked.is_some())
    }

    /// It hibernates, and the server stops: it gives its share back, and is to be saved.
    pub(super) fn park(&mut self, park: impl FnOnce() -> Parked) {
        if let Some(hibernation) =
            self.hibernation.as_mut().filter(|hibernation| hibernation.parked.is_none())
        {
            hibernation.quota = None;
            hibernation.parked = Some(park());
        }
    }

    /// So many bytes wait for it while it hibernates. False when that is too much.
    pub(super) fn weigh(&mut self, bytes: usize, limits: &Limits) -> bool {
        let quota = self.hibernation.as_mut().and_then(|hibernation| hibernation.quota.as_mut());
        quota.is_none_or(|quota| quota.weigh(bytes, limits))
    }

    /// The request that came last.
    pub(super) fn take_request(&self) -> Option<Box<ResumeRequest>> {
        self.slot.take_request()
    }

    /// Another connection takes over: the one there is has no more to say. Of two, the later one.
    pub(super) fn hand_over(&mut self, next: Box<ResumeRequest>) {
        if let Some(earlier) = self.next.replace(next) {
            earlier.refuse(None);
        }
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn take_next(&mut self) -> Option<Box<ResumeRequest>> {
        self.next.take()
    }

    /// The session is over, and whoever asks for it is refused.
    pub(super) fn end(self, resume_table: &ResumeTable) {
        resume_table.remove(&self.id);
        if let Some(next) = self.next {
            next.refuse(None);
        }
    }
}
