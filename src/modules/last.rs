//! stub: last

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "last", ..Module::EMPTY };
