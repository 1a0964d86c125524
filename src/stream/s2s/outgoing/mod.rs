//! A stream that we open to another server: we are the initiating entity (RFC 6120 §4), the initiating server of
//! `<db:result/>` and the receiving server of `<db:verify/>` (XEP-0220 §2.1).

mod dialback;
mod machine;
mod question;
mod step;

pub use machine::Outgoing;
pub use step::{Input, Output, Outputs, Purpose, Ready};
