//! What lists are asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which accounts are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserQuery {
    /// Only the accounts of this domain.
    pub domain: Option<String>,
    /// Only deleted accounts that can be restored.
    pub deleted: bool,
    /// Only those with this in the address, in any case.
    pub search: Option<String>,
    /// Only those behind this address, in the order of the list: domain, then name.
    pub after: Option<String>,
    /// How many at most; none: all.
    pub max: Option<usize>,
}

/// Which lines of the audit log are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    /// Only lines with this in the actor, the verb or the target, in any case.
    pub search: Option<String>,
    /// Only lines from before the one of this number.
    pub after: Option<i64>,
    /// How many at most; none: 100.
    pub max: Option<usize>,
}
