//! The top floor: config file, command line, logs, the admin socket, wiring and signals.

pub mod admin_socket;
pub mod check;
pub mod cli;
pub mod config;
pub mod logging;
