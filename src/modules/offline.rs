//! stub: offline

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "offline", ..Module::EMPTY };
