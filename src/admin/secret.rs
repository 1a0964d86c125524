//! Secrets that are never printed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A password on its way to the store; its `Debug` output hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
