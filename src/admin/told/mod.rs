//! The structs that verbs give. All times are as in XEP-0082: `2026-01-02T03:04:05Z`.

mod accounts;
mod certificates;
mod machine;
mod rooms;
mod servers;

pub use accounts::*;
pub use certificates::*;
pub use machine::*;
pub use rooms::*;
pub use servers::*;
