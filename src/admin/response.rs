//! What came of a verb, as it travels over the admin socket.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// What came of a verb.
#[allow(clippy::large_enum_variant)] // one for each command, for a moment
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The verb succeeded.
    Ok {
        /// What it gave.
        outcome: Outcome,
    },
    /// The verb failed.
    Error {
        /// Why, and what to do about it.
        message: String,
    },
}

impl Response {
    /// A success with one line that says so.
    pub fn done(line: impl Into<String>) -> Self {
        Self::Ok { outcome: Outcome::done(line) }
    }

    /// A failure.
    pub fn error(message: impl fmt::Display) -> Self {
        Self::Error { message: message.to_string() }
    }

    /// Whether it succeeded with nothing to say: an empty list.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Ok { outcome } if outcome.lines().is_empty())
    }
}

impl From<Outcome> for Response {
    fn from(outcome: Outcome) -> Self {
        Self::Ok { outcome }
    }
}
