//! What belongs to one connection of a session: swapped whole when the session is resumed on another one.

use std::sync::Arc;
use std::time::Instant;

use super::pace::Pace;
use super::wire::Wire;
use crate::base::limits::Limits;

/// A connection, and what the stream on it has of its own.
pub struct Link {
    /// Bytes both ways.
    pub wire: Wire,
    /// Held as long as there is a connection.
    pub guard: Option<Guard>,
    /// How fast the client may send.
    pub pace: Pace,
    /// The stream's `xml:lang`.
    pub lang: Option<Arc<str>>,
}

/// Dropped when the connection ends (it counts streams per address).
pub type Guard = Box<dyn Send>;

impl Link {
    /// Over a connection on which nothing was said yet. `now` is the monotonic clock.
    pub fn new(wire: Wire, guard: Option<Guard>, limits: &Limits, now: Instant) -> Self {
        Self { wire, guard, pace: Pace::new(limits, now), lang: None }
    }

    /// No connection at all.
    pub fn disconnected(limits: &Limits, now: Instant) -> Self {
        Self::new(Wire::disconnected(), None, limits, now)
    }

    /// The stream's `xml:lang` is this.
    #[must_use]
    pub fn speaking(mut self, lang: Option<&str>) -> Self {
        self.lang = lang.map(Into::into);
        self
    }

    /// Lets the connection go, and keeps what the stream said of itself.
    pub fn cut(&mut self) {
        self.wire = Wire::disconnected();
        self.guard = None;
    }
}
