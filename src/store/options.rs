//! Where the database is, how it works, and by which clock.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// Where the database is and how it works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; its folder is made if it is missing.
    pub path: PathBuf,
    /// What a COMMIT waits for.
    pub synchronous: Synchronous,
    /// Reader threads.
    pub readers: usize,
    /// Writes that may wait. Above half of it others than the server itself wait for room.
    pub queue_max: usize,
    /// Bytes of the writes that may wait (`Job::bytes`).
    pub queue_bytes: usize,
    /// What an archive grows by before `Store::grown` tells of it. 0: it never does.
    pub grown_bytes: u64,
    /// What stamps messages.
    pub clock: Clock,
}

/// Microseconds since 1970.
pub type Clock = fn() -> i64;

impl Options {
    /// The defaults: every acknowledged write survives a power cut.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::Full,
            readers: 2,
            queue_max: 65_536,
            queue_bytes: 64 * 1_048_576,
            grown_bytes: 0,
            clock: micros_now,
        }
    }
}

/// What a COMMIT waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// The disk: survives a power cut.
    #[default]
    Full,
    /// The operating system: survives a crash of the server, not always a power cut.
    Normal,
    /// Nothing: for tests and throw-away servers.
    Off,
}

/// The wall clock.
#[allow(clippy::disallowed_methods)]
pub(super) fn micros_now() -> i64 {
    crate::base::time::micros(SystemTime::now())
}

/// The writer's clock: it measures its own work and the age of what waits, nothing that a peer sees.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}
