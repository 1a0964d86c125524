//! BOSH (XEP-0124, XEP-0206) at `/http-bind`: a stream in the bodies of HTTP requests that are held until there
//! is something to say.
//!
//! [`session`] decides, without I/O, which request is answered when and with what; [`pipe`] is its other end,
//! the transport of an XMPP session.

mod body;
mod door;
mod held;
mod keys;
mod pipe;
mod session;
mod table;
mod terms;

pub use door::{answer, preflight, visited};
pub use table::Table;
