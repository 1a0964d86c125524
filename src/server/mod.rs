//! The top floor: config file, command line, logs, the admin socket, wiring and signals.

pub mod admin_socket;
mod around;
pub mod build;
mod certificates;
pub mod check;
pub mod cli;
mod clock;
pub mod config;
mod federation;
pub mod listening;
mod logging;
pub mod metrics_doc;
mod periodic;
pub mod pipeline_doc;
pub mod places;
mod recent;
pub mod run;
mod services;
pub mod specs;
mod trusted_clock;

use std::process::ExitCode;

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    cli::main(cli::Runners {
        serve: run::serve,
        lab: run::lab,
        certificates: check::certificates::look,
    })
}
