//! What a handler of a session's yields, which reading waits for.

use std::pin::Pin;

use crate::modules::Driven;
use crate::modules::api::Reply;
use crate::router::handled_count::Ticket;
use crate::stanza::iq::Iq;
use crate::stanza::{Stanza, StanzaError};

/// A handler on its way.
pub(super) type Pending = Pin<Box<dyn Future<Output = Handled> + Send>>;

/// How a pending handler ended.
pub(super) struct Handled {
    pub(super) outcome: Outcome,
    /// Released with this, after the answer is queued.
    pub(super) _ticket: Option<Ticket>,
}

/// What it found.
pub(super) enum Outcome {
    Reply(Iq, Result<Reply, StanzaError>),
    Stanza(Stanza, Result<(), StanzaError>),
    /// The addressee was read from the store, there was room in it, a handler answered.
    Driven(Stanza, Driven),
    /// Enough of the stream is on the disk.
    Eased,
}
