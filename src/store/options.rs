//! Where the database is, how it works, and which clock it uses.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// Where the database is and how it works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; its folder is made if it is missing.
    pub path: PathBuf,
    /// What a COMMIT waits for.
    pub synchronous: Synchronous,
    /// Number of reader threads.
    pub readers: usize,
    /// Maximum number of waiting writes. Above half of it, all but the server's own writes wait for room.
    pub queue_max: usize,
    /// Maximum number of bytes of waiting writes (`Job::bytes`).
    pub queue_bytes: usize,
    /// The growth of an account's archive that `Store::grown` reports; 0 means never.
    pub grown_bytes: u64,
    /// The same for a room's.
    pub room_grown_bytes: u64,
    /// The clock whose time messages are stamped with.
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
            room_grown_bytes: 0,
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

/// The writer's clock: measures its own work and how long jobs wait, nothing that a peer sees.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}
