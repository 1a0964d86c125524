//! What makes that a session may go on on another connection (XEP-0198 §5), and what it is without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::{Bed, Door, Doors, Knock};
use crate::base::limits::Limits;
use crate::router::task::Parked;

/// A session that its client may come back to.
pub(super) struct Resumption {
    /// SHA-256 of the SM-ID, which only the client keeps.
    id: [u8; 32],
    /// For so long.
    time: Duration,
    /// Where one knocks for it.
    door: Arc<Door>,
    /// A connection that waits until all that came on the old one is handled.
    next: Option<Box<Knock>>,
    asleep: Option<Asleep>,
}

/// The session has no connection.
struct Asleep {
    until: Instant,
    /// Its share of the memory; none for one that is about to be written down.
    bed: Option<Bed>,
    /// The server stops, and waits for this task no longer.
    parked: Option<Parked>,
}

impl Resumption {
    pub(super) fn new(id: [u8; 32], time: Duration, door: Arc<Door>) -> Box<Self> {
        Box::new(Self { id, time, door, next: None, asleep: None })
    }

    pub(super) fn id(&self) -> [u8; 32] {
        self.id
    }

    /// How long the session waits without a connection.
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// It loses its connection: for its whole time, or for what is left of that.
    pub(super) fn sleep(&mut self, until: Instant, bed: Option<Bed>, parked: Option<Parked>) {
        self.asleep = Some(Asleep { until, bed, parked });
    }

    /// It has one. False when it had one before.
    pub(super) fn wake(&mut self) -> bool {
        self.asleep.take().is_some()
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.is_some()
    }

    /// When its time without a connection is over.
    pub(super) fn asleep_until(&self) -> Option<Instant> {
        self.asleep.as_ref().map(|asleep| asleep.until)
    }

    /// It sleeps, and is to be written down.
    pub(super) fn is_parked(&self) -> bool {
        self.asleep.as_ref().is_some_and(|asleep| asleep.parked.is_some())
    }

    /// It sleeps, and the server stops: it leaves its bed, and is to be written down.
    pub(super) fn park(&mut self, park: impl FnOnce() -> Parked) {
        if let Some(asleep) = self.asleep.as_mut().filter(|asleep| asleep.parked.is_none()) {
            asleep.bed = None;
            asleep.parked = Some(park());
        }
    }

    /// So many bytes wait for it while it sleeps. False when that is too much.
    pub(super) fn weigh(&mut self, bytes: usize, limits: &Limits) -> bool {
        let bed = self.asleep.as_mut().and_then(|asleep| asleep.bed.as_mut());
        bed.is_none_or(|bed| bed.weigh(bytes, limits))
    }

    /// Who knocked.
    pub(super) fn knock(&self) -> Option<Box<Knock>> {
        self.door.answer()
    }

    /// Another connection takes over: the one there is has no more to say. Of two, the later one.
    pub(super) fn hand_over(&mut self, next: Box<Knock>) {
        if let Some(earlier) = self.next.replace(next) {
            earlier.refuse(None);
        }
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn take_next(&mut self) -> Option<Box<Knock>> {
        self.next.take()
    }

    /// The session is over, and whoever knocks refused.
    pub(super) fn end(self, doors: &Doors) {
        doors.close(&self.id);
        if let Some(next) = self.next {
            next.refuse(None);
        }
    }
}
