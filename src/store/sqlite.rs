//! The SQLite engine: its connections, its files, and copies of them. Nothing outside this folder names
//! SQLite.

pub(super) mod aside;
pub(super) mod backup;
pub(super) mod engine;
mod errors;
pub(super) mod files;
pub(super) mod open;
pub(super) mod restore;
pub(super) mod schema;
pub(super) mod tx;
pub(super) mod uploaded;
