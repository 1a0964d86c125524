//! The operator's verbs over uploads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum UploadVerb {
    /// Lists the accounts that have the most, and the total.
    Owners {
        /// How many accounts at most.
        #[serde(default = "a_page")]
        max: usize,
    },
    /// Lists files of an account, the newest first.
    List {
        /// Its address.
        jid: String,
        /// Only those from before this time.
        #[serde(default)]
        before: Option<String>,
        /// How many at most.
        #[serde(default = "a_page")]
        max: usize,
    },
    /// Deletes files, whosever they are.
    Delete {
        /// Their ids or links.
        files: Vec<String>,
    },
    /// Deletes all files of an account.
    DeleteAll {
        /// Its address.
        jid: String,
    },
}

const fn a_page() -> usize {
    100
}

impl UploadVerb {
    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Owners { .. } => "upload.owners",
            Self::List { .. } => "upload.list",
            Self::Delete { .. } => "upload.delete",
            Self::DeleteAll { .. } => "upload.delete-all",
        }
    }

    /// For the log: what it does; `None` if it changes nothing.
    pub const fn changes(&self) -> Option<&'static str> {
        Some(match self {
            Self::Delete { .. } => "deleted uploads",
            Self::DeleteAll { .. } => "deleted all uploads of an account",
            Self::Owners { .. } | Self::List { .. } => return None,
        })
    }

    /// The account that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::Owners { .. } | Self::Delete { .. } => None,
            Self::List { jid, .. } | Self::DeleteAll { jid } => Some(jid),
        }
    }
}
