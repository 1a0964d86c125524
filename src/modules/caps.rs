//! stub: caps

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "caps", ..Module::EMPTY };
