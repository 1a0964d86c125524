//! Messages to the room that are not for everybody (XEP-0045 §7.8, §7.13): invitations, declines, asking for voice.

use crate::modules::api::Cx;
use crate::stanza::{Stanza, StanzaError};

/// A message to a room that is no groupchat message.
pub(super) async fn message(_: Cx, _: Stanza) -> Result<Vec<Stanza>, StanzaError> {
    Err(StanzaError::bad_request().text("messages to a room are of type groupchat"))
}
