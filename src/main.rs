//! The thin binary: see [`stonechat::server`].

use std::process::ExitCode;

/// A tenth to a quarter less CPU for a message than the system's (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    stonechat::server::main()
}
