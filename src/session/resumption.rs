//! What a session needs to continue on another connection (XEP-0198 §5), and its state without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::resume_table::{HibernationQuota, ResumeRequest, ResumeSlot, ResumeTable};
use crate::base::limits::Limits;
use crate::router::task::Parked;

/// The resumption state of a session that its client may resume.
pub(super) struct Resumption {
    /// SHA-256 of the SM-ID, which only the client has.
    id: [u8; 32],
    /// How long the session waits for it.
    time: Duration,
    /// Where requests to resume arrive.
    slot: Arc<ResumeSlot>,
    /// A new connection that waits until all stanzas of the old one are handled.
    next: Option<Box<ResumeRequest>>,
    hibernation: Option<Hibernation>,
}

/// The session has no connection.
struct Hibernation {
    until: Instant,
    /// Its share of the memory; none if it is about to be saved.
    quota: Option<HibernationQuota>,
    /// Set when the server stops: it no longer waits for this task.
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

    /// Called when it loses its connection: it hibernates for its whole time, or for the rest of it.
    pub(super) fn hibernate(
        &mut self,
        until: Instant,
        quota: Option<HibernationQuota>,
        parked: Option<Parked>,
    ) {
        self.hibernation = Some(Hibernation { until, quota, parked });
    }

    /// Called when it has a connection. False if it had one before.
    pub(super) fn reconnect(&mut self) -> bool {
        self.hibernation.take().is_some()
    }

    pub(super) fn is_hibernating(&self) -> bool {
        self.hibernation.is_some()
    }

    /// The end of its time without a connection.
    pub(super) fn hibernates_until(&self) -> Option<Instant> {
        self.hibernation.as_ref().map(|hibernation| hibernation.until)
    }

    /// Whether it hibernates and is to be saved.
    pub(super) fn is_parked(&self) -> bool {
        self.hibernation.as_ref().is_some_and(|hibernation| hibernation.parked.is_some())
    }

    /// If it hibernates when the server stops, releases its quota and marks it to be saved.
    pub(super) fn park(&mut self, park: impl FnOnce() -> Parked) {
        if let Some(hibernation) =
            self.hibernation.as_mut().filter(|hibernation| hibernation.parked.is_none())
        {
            hibernation.quota = None;
            hibernation.parked = Some(park());
        }
    }

    /// Counts the bytes that wait for it while it hibernates. False if they are too many.
    pub(super) fn weigh(&mut self, bytes: usize, limits: &Limits) -> bool {
        let quota = self.hibernation.as_mut().and_then(|hibernation| hibernation.quota.as_mut());
        quota.is_none_or(|quota| quota.weigh(bytes, limits))
    }

    /// Takes the request that came last.
    pub(super) fn take_request(&self) -> Option<Box<ResumeRequest>> {
        self.slot.take_request()
    }

    /// Another connection takes over, and the old one is no longer read. The later of two wins.
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

    /// Ends the resumption: the session is over, and requests for it are refused.
    pub(super) fn end(self, resume_table: &ResumeTable) {
        resume_table.remove(&self.id);
        if let Some(next) = self.next {
            next.refuse(None);
        }
    }
}
