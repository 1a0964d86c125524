//! The clocks of the floor.

use std::time::{Instant, SystemTime};

/// The monotonic clock.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The wall clock.
#[allow(clippy::disallowed_methods)]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}
