//! The clock of this floor.

use std::time::Instant;

/// The monotonic clock.
#[allow(clippy::disallowed_methods)] // at the floor that has one
pub fn now() -> Instant {
    Instant::now()
}
