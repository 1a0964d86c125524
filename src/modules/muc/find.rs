//! Finding the room that a stanza is for.

use std::sync::Arc;

use super::rooms::Hold;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::stanza::{Stanza, StanzaError};

/// The room at an address; `None` if there is none.
pub(super) async fn room_at(cx: &Cx, jid: &BareJid) -> Result<Option<Arc<Hold>>, StanzaError> {
    cx.rooms().open(&cx.store, jid, cx.config.muc.bounds()).await
}

/// The room that a stanza is for.
pub(super) async fn room_of(cx: &Cx, stanza: &Stanza) -> Result<Arc<Hold>, StanzaError> {
    let to = stanza.to().filter(|to| to.local().is_some());
    let to = to.ok_or_else(StanzaError::item_not_found)?;
    room_at(cx, &to.bare()).await?.ok_or_else(no_room)
}

pub(super) fn no_room() -> StanzaError {
    StanzaError::item_not_found().text("there is no such room")
}
