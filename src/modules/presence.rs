//! stub: presence

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "presence", ..Module::EMPTY };

/// Per-session state.
#[derive(Debug, Default)]
pub struct State {}
