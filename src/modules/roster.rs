//! stub: roster

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "roster", ..Module::EMPTY };
