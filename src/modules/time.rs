//! stub: time

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "time", ..Module::EMPTY };
