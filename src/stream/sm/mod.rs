//! XEP-0198: Stream Management, for the streams of clients and of servers: the counts of one stream, what
//! waits to be acknowledged, and who must answer whom by when. No I/O, no clock.
//!
//! The count of stanzas received and handled is not here: it follows what is durable, which the
//! count of handled stanzas knows (promise.md 4).

mod command;
mod management;
mod sent;

pub use command::{
    BadCommand, Command, Received, ack, enabled, failed, request, resumed, too_high,
};
pub use management::{Bounds, Overdue, StreamManagement};
pub use sent::TooHigh;
