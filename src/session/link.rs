//! What belongs to one connection of a session. It is replaced as a whole when the session is resumed on
//! another one.

use std::sync::Arc;
use std::time::Instant;

use super::pace::Pace;
use super::wire::Wire;
use crate::base::limits::Limits;

/// A connection, and the state of the stream on it.
pub struct Link {
    /// The bytes in both directions.
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
    /// Creates a link over a connection on which nothing was sent yet. `now` is the monotonic clock.
    pub fn new(wire: Wire, guard: Option<Guard>, limits: &Limits, now: Instant) -> Self {
        Self { wire, guard, pace: Pace::new(limits, now), lang: None }
    }

    /// No connection at all.
    pub fn disconnected(limits: &Limits, now: Instant) -> Self {
        Self::new(Wire::disconnected(), None, limits, now)
    }

    /// Sets the stream's `xml:lang`.
    #[must_use]
    pub fn speaking(mut self, lang: Option<&str>) -> Self {
        self.lang = lang.map(Into::into);
        self
    }

    /// Drops the connection, and keeps the stream's own settings.
    pub fn cut(&mut self) {
        self.wire = Wire::disconnected();
        self.guard = None;
    }
}
