//! How members were called when they were in a room last: by that name they are spoken to while they are away.
//! And when that was.

use std::collections::HashMap;

use super::rights::Affiliation;
use crate::jid::BareJid;
use crate::store::ids::RoomId;
use crate::store::tx::{StoreError, Tx, query_all};

/// Names by account, and which of them are not in the store yet.
#[derive(Debug, Default)]
pub struct Called {
    last: HashMap<BareJid, Box<str>>,
    unsaved: Unsaved,
    /// Rises with each change.
    pub(super) changes: u64,
}

/// What is to be written of members.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    names: Vec<(BareJid, Box<str>)>,
    /// They were in the room until now.
    left: Vec<BareJid>,
}

impl Unsaved {
    /// Those who are in the room no more.
    pub(super) fn gone(&self) -> &[BareJid] {
        &self.left
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.left.is_empty()
    }
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
        self.unsaved.names.retain(|(known, _)| *known != bare);
        self.unsaved.names.push((bare, name.into()));
    }

    /// Somebody is no member any more.
    pub(super) fn forget(&mut self, bare: &BareJid) {
        if self.last.remove(bare).is_some() {
            self.changes = self.changes.wrapping_add(1);
            self.unsaved.names.retain(|(known, _)| known != bare);
        }
    }

    /// A member has no session in the room any more.
    pub(super) fn left(&mut self, bare: BareJid) {
        if !self.unsaved.left.contains(&bare) {
            self.unsaved.left.push(bare);
        }
    }

    /// What is to be written, once.
    pub(super) fn unsaved(&mut self) -> Unsaved {
        std::mem::take(&mut self.unsaved)
    }
}

/// Those of a room.
pub(super) fn load(tx: &mut dyn Tx, room: RoomId) -> Result<Called, StoreError> {
    let params = [room.0.into(), Affiliation::Member.number().into()];
    let all = query_all(tx, ALL, &params, |row| Ok((row.text(0)?, row.text(1)?)))?;
    let read = |(jid, name): (String, String)| Some((BareJid::parse(&jid).ok()?, name.into()));
    Ok(Called { last: all.into_iter().filter_map(read).collect(), ..Called::default() })
}

/// Writes it, and when it was; of whoever is no member any more nothing.
pub(super) fn save(
    tx: &mut dyn Tx,
    room: RoomId,
    unsaved: &Unsaved,
    now: i64,
) -> Result<(), StoreError> {
    for (jid, name) in &unsaved.names {
        tx.execute(SAVE, &[room.0.into(), jid.as_str().into(), (&**name).into()])?;
    }
    for jid in &unsaved.left {
        tx.execute(LEFT, &[room.0.into(), jid.as_str().into(), now.into()])?;
    }
    Ok(())
}

crate::store::sql! {
    ALL = "SELECT jid, called FROM room_affiliation \
        WHERE room = $1 AND affiliation >= $2 AND called IS NOT NULL";
    SAVE = "UPDATE room_affiliation SET called = $3 WHERE room = $1 AND jid = $2";
    LEFT = "UPDATE room_affiliation SET seen_at = $3 WHERE room = $1 AND jid = $2";
}
