//! The wall clock of the top floor.

use std::time::SystemTime;

/// Returns the current time.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
