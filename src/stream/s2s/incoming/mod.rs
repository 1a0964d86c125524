//! A stream that another server opened to us: we are the receiving entity (RFC 6120 §4), the receiving server of
//! `<db:result/>` and the authoritative server of `<db:verify/>` (XEP-0220 §2.2).

mod external;
mod machine;
mod step;

pub use machine::Incoming;
pub use step::{Input, Output, Outputs};
