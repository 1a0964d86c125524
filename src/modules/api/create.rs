//! Who may create something at a service of this server.

use serde::{Deserialize, Serialize};

/// Who may create rooms, nodes and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// Everybody, strangers and anonymous users too.
    Anyone,
    /// Who has an account here.
    #[default]
    Accounts,
    /// Operators.
    Operators,
}
