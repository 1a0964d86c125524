//! What is taken back with a message: the files of its author that it names.

use super::super::accounts;
use super::super::tx::{StoreError, Tx};
use super::lists::marked;
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stanza::files::named;

/// Marks the files that a message names, to be deleted; but only those that its author uploaded for messages.
pub fn bury_named(tx: &mut dyn Tx, author: &Jid, message: &Stanza) -> Result<(), StoreError> {
    let ids = named(message);
    let Some(local) = author.local().filter(|_| !ids.is_empty()) else { return Ok(()) };
    let Some(account) = accounts::find(tx, local, author.domain())? else { return Ok(()) };
    for id in &ids {
        marked(tx, BURY_SAID, &[id.into(), account.id.into()])?;
    }
    Ok(())
}

super::super::sql! {
    BURY_SAID = "UPDATE upload SET expires = 0 WHERE id = $1 AND account = $2 AND kind = 0
        AND token IS NULL AND expires > 0 RETURNING size";
}
