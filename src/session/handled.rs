//! The result of a session's handler. Reading waits for it.

use std::pin::Pin;

use crate::modules::Driven;
use crate::modules::api::Reply;
use crate::router::handled_count::Ticket;
use crate::stanza::iq::Iq;
use crate::stanza::{Stanza, StanzaError};

/// A pending handler.
pub(super) type Pending = Pin<Box<dyn Future<Output = Handled> + Send>>;

/// How a pending handler ended.
pub(super) struct Handled {
    pub(super) outcome: Outcome,
    /// Released with this, after the answer is queued.
    pub(super) _ticket: Option<Ticket>,
}

/// The result of a handler.
pub(super) enum Outcome {
    Reply(Iq, Result<Reply, StanzaError>),
    Stanza(Stanza, Result<(), StanzaError>),
    /// The stanza was routed, after any waits for the recipient's account, for room in the store, or for a
    /// handler.
    Driven(Stanza, Driven),
    /// The router refused the stanza, and all before it is durable.
    Bounced(Stanza, StanzaError),
    /// Enough of the stream is on the disk.
    Eased,
}
