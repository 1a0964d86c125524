//! stub: subscription

use super::api::Module;

/// stub
pub const MODULE: Module = Module { name: "subscription", ..Module::EMPTY };
