//! How members were called when they were in a room last: by that name they are spoken to while they are away.

use std::collections::HashMap;

use crate::jid::BareJid;
use crate::store::ids::RoomId;
use crate::store::tx::{StoreError, Tx, query_all};

/// Names by account, and which of them are not in the store yet.
#[derive(Debug, Default)]
pub struct Called {
    last: HashMap<BareJid, Box<str>>,
    unsaved: Vec<(BareJid, Box<str>)>,
    /// Rises with each change.
    pub(super) changes: u64,
}

impl Called {
    /// The nickname that an account had last.
    pub(super) fn name(&self, bare: &str) -> Option<&str> {
        self.last.get(bare).map(|name| &**name)
    }

    /// A member has this nickname now.
    pub(super) fn call(&mut self, bare: &str, name: &str) {
        if self.name(bare) == Some(name) {
            return;
        }
        let Ok(bare) = BareJid::parse(bare) else { return };
        self.changes = self.changes.wrapping_add(1);
        self.last.insert(bare.clone(), name.into());
        self.unsaved.retain(|(known, _)| *known != bare);
        self.unsaved.push((bare, name.into()));
    }

    /// What is to be written, once.
    pub(super) fn unsaved(&mut self) -> Vec<(BareJid, Box<str>)> {
        std::mem::take(&mut self.unsaved)
    }
}

/// Those of a room.
pub(super) fn load(tx: &mut dyn Tx, room: RoomId) -> Result<Called, StoreError> {
    let all = query_all(tx, ALL, &[room.0.into()], |row| Ok((row.text(0)?, row.text(1)?)))?;
    let read = |(jid, name): (String, String)| Some((BareJid::parse(&jid).ok()?, name.into()));
    Ok(Called { last: all.into_iter().filter_map(read).collect(), ..Called::default() })
}

/// Writes them; of whoever is no member any more nothing.
pub(super) fn save(
    tx: &mut dyn Tx,
    room: RoomId,
    names: &[(BareJid, Box<str>)],
) -> Result<(), StoreError> {
    for (jid, name) in names {
        tx.execute(SAVE, &[room.0.into(), jid.as_str().into(), (&**name).into()])?;
    }
    Ok(())
}

crate::store::sql! {
    ALL = "SELECT jid, called FROM room_affiliation WHERE room = $1 AND called IS NOT NULL";
    SAVE = "UPDATE room_affiliation SET called = $3 WHERE room = $1 AND jid = $2";
}
