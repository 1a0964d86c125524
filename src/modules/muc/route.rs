//! A request that rooms answer, as the file that answers it lists it.

use std::sync::Arc;

use super::rooms::Hold;
use crate::modules::api::{Answer, Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};

/// Answers a request to a room.
pub(super) type Handler = fn(Cx, Arc<Hold>, Iq) -> Answer<Result<Reply, StanzaError>>;

/// A request that rooms answer.
pub(super) struct Route {
    /// get or set
    pub(super) ty: IqType,
    /// Of the payload.
    pub(super) ns: &'static str,
    /// Of the payload.
    pub(super) name: &'static str,
    /// The handler.
    pub(super) handler: Handler,
}
