//! stub: disco

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "disco", ..Module::EMPTY };
