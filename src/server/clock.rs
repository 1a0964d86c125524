//! The wall clock, at the floor that has one.

use std::time::SystemTime;

/// Now, as the system says.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
