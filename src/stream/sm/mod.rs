//! XEP-0198: Stream Management, for the streams of clients and of servers: the counts of one stream, the
//! stanzas that wait to be acknowledged, and the times by which each side must answer. No I/O, no clock.
//!
//! The count of received and handled stanzas is not here: it follows what is durable, and belongs to the
//! handled count (promise.md 4).

mod command;
mod management;
mod sent;

pub use command::{
    BadCommand, Command, Received, ack, enable, enabled, failed, request, resume, resumed, too_high,
};
pub use management::{Bounds, Overdue, StreamManagement};
pub use sent::{ASK_STANZAS, TooHigh};
