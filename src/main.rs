//! The thin binary: see [`stonechat::server`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stonechat::server::main()
}
