//! What accounts are told: announcements, and texts at login.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// To whom an announcement goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever has a session.
    Online,
    /// Every account; whoever is away gets it later.
    #[default]
    All,
}

/// What accounts are told at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The message of the day: every account, once.
    Motd,
    /// The welcome message: new accounts.
    Welcome,
}

impl Notice {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Motd => "motd",
            Self::Welcome => "welcome",
        }
    }
}

/// What is done with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeChange {
    /// Nothing.
    Show,
    /// There is a new one.
    Set(String),
    /// It is corrected: whoever got it does not get it again.
    Edit(String),
    /// There is none any more.
    Delete,
}
