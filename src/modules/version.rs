//! stub: version

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "version", ..Module::EMPTY };

/// Settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}
