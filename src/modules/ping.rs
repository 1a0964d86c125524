//! stub: ping

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "ping", ..Module::EMPTY };
