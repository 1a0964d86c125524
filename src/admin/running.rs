//! What the verbs need of the server around them, beside its store and its sessions.

use super::told::Setting;

/// The server around: the running one, or the command that works without one.
pub trait Surroundings: Send + Sync {
    /// The configuration that is in force, by key, without secrets.
    fn configuration(&self) -> Vec<Setting>;

    /// The newest lines of the log, at most [`LOG_LINES_MAX`], the oldest of them first; without secrets.
    fn recent_log(&self) -> Vec<String>;
}

/// Lines of the log that are kept in memory.
pub const LOG_LINES_MAX: usize = 1_000;
