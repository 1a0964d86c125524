//! What somebody is made to a room by others than its people: by an operator, or by a team that has the room.

use std::sync::Arc;

use super::changes::{Changes, Reserved, Wanted};
use super::deliver::{Plan, change};
use super::find::room_at;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::Room;
use super::rooms::Hold;
use super::standing::By;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::ids::RoomId;
use crate::store::tx::Tx;

/// A room as others need to know it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its key.
    pub id: RoomId,
    /// Its name for people.
    pub name: String,
    /// What has to be known to enter.
    pub password: Option<String>,
    /// Whether it stays when the last one leaves.
    pub stays: bool,
}

/// What is written in the same transaction: whether the room changed.
pub type Also = Box<dyn FnOnce(&mut dyn Tx, bool) -> Result<(), StoreError> + Send>;

/// What a room is, if there is one that was configured.
pub async fn known(cx: &Cx, room: &BareJid) -> Result<Option<Known>, StanzaError> {
    let Some(hold) = room_at(cx, room).await? else { return Ok(None) };
    let room = hold.lock();
    let (name, password) = (room.settings.name.clone(), room.settings.password.clone());
    Ok(room.id.map(|id| Known { id, name, password, stays: room.settings.persistent }))
}

/// Whether somebody is banned from a room (§9.1): nobody becomes a member by a team then.
pub async fn is_banned(cx: &Cx, room: &BareJid, who: &BareJid) -> Result<bool, StanzaError> {
    let Some(hold) = room_at(cx, room).await? else { return Ok(false) };
    let room = hold.lock();
    Ok(room.affiliation(who.as_str()) == Affiliation::Outcast)
}

/// Makes somebody a member who is nothing to the room. Who is more stays that, and who is banned.
pub async fn join(
    cx: &Cx,
    room: (RoomId, &BareJid),
    who: BareJid,
    also: Also,
) -> Result<(), StanzaError> {
    turn(cx, room, who, (Affiliation::None, Affiliation::Member), also).await
}

/// Takes that away. Who has become more since stays that.
pub async fn part(
    cx: &Cx,
    room: (RoomId, &BareJid),
    who: BareJid,
    also: Also,
) -> Result<(), StanzaError> {
    turn(cx, room, who, (Affiliation::Member, Affiliation::None), also).await
}

async fn turn(
    cx: &Cx,
    (id, jid): (RoomId, &BareJid),
    who: BareJid,
    (from, to): (Affiliation, Affiliation),
    also: Also,
) -> Result<(), StanzaError> {
    let hold = room_at(cx, jid).await?.filter(|hold| hold.lock().id == Some(id));
    let Some(hold) = hold else {
        // It is gone; perhaps there is another one of that name.
        return Ok(cx.store.write(move |tx| also(tx, false)).await?);
    };
    change(cx, &hold, move |room| {
        let is_so = room.affiliation(who.as_str()) == from;
        let changes = if is_so { changes(room, &who, to, None)? } else { Changes::default() };
        let (id, written) = (room.id, changes.clone());
        let write = move |tx: &mut dyn Tx| {
            written.write(tx, id)?;
            also(tx, is_so)
        };
        let apply = move |room: &mut Room, (), out: &mut Outputs| changes.apply(room, out);
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

/// Makes somebody something to a room, whoever it is; whether that is new. Those who are in the room see it as the
/// doing of nobody in particular.
pub(super) async fn set(
    cx: &Cx,
    hold: &Arc<Hold>,
    who: BareJid,
    affiliation: Affiliation,
    reason: Option<String>,
) -> Result<bool, StanzaError> {
    change(cx, hold, move |room| {
        let id = room.id.ok_or_else(|| {
            StanzaError::not_acceptable().text("its creator has not configured it yet")
        })?;
        let is_new = room.affiliation(who.as_str()) != affiliation;
        let changes =
            if is_new { changes(room, &who, affiliation, reason)? } else { Changes::default() };
        let written = changes.clone();
        let write = move |tx: &mut dyn Tx| written.write(tx, Some(id));
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            changes.apply(room, out);
            is_new
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

/// What it comes to.
fn changes(
    room: &Room,
    who: &BareJid,
    affiliation: Affiliation,
    reason: Option<String>,
) -> Result<Changes, StanzaError> {
    let by = By { reason, ..By::default() };
    let wanted = Wanted { jid: who.clone(), affiliation, nick: Reserved::Keep, by };
    Changes::of(room, vec![wanted])
}

#[cfg(test)]
mod tests {
    use super::super::config::{Bounds, Config};
    use super::super::room::Standing;
    use super::super::settings::Settings;
    use super::*;

    fn room() -> Room {
        let bounds = Bounds { affiliations_max: 3, ..Config::default().bounds() };
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let mut room = Room::new(jid, Settings::default(), [0; 32], bounds);
        for (jid, affiliation) in [
            ("ann@x", Affiliation::Owner),
            ("bob@x", Affiliation::Member),
            ("eve@x", Affiliation::None),
        ] {
            let nick = Some(jid.to_owned());
            let jid = BareJid::parse(jid).unwrap();
            room.standing.insert(jid, Standing { affiliation, nick, ..Standing::default() });
        }
        room
    }

    /// XEP-0045 §10.5, §5.2; and what the service allows.
    #[test]
    fn an_owner_stays_and_there_are_so_many() {
        use Affiliation::{Admin, Member, None, Outcast, Owner};
        let room = room();
        for (who, to, right) in [
            ("ann@x", Admin, false),
            ("ann@x", Outcast, false),
            ("ann@x", Owner, true),
            ("bob@x", None, true),
            ("bob@x", Outcast, true),
            ("eve@x", Member, true),
        ] {
            let who = BareJid::parse(who).unwrap();
            assert_eq!(changes(&room, &who, to, Option::None).is_ok(), right, "{who} {to:?}");
        }
        let mut full = room;
        let cas = BareJid::parse("cas@x").unwrap();
        full.standing.insert(cas, Standing { affiliation: Admin, ..Standing::default() });
        let dan = BareJid::parse("dan@x").unwrap();
        assert!(changes(&full, &dan, Member, Option::None).is_err());
        assert!(changes(&full, &dan, None, Option::None).is_ok());
    }

    /// §7.10, §9.1
    #[test]
    fn who_is_no_member_has_no_nickname_and_only_a_ban_a_reason() {
        let bob = BareJid::parse("bob@x").unwrap();
        let stands = |to| {
            let mut room = room();
            let made = changes(&room, &bob, to, Some("why".to_owned())).unwrap();
            made.apply(&mut room, &mut Outputs::default());
            let now = &room.standing[&bob];
            (now.nick.is_some(), now.reason.is_some(), now.version)
        };
        assert_eq!(stands(Affiliation::Admin), (true, false, 1));
        assert_eq!(stands(Affiliation::None), (false, false, 1));
        assert_eq!(stands(Affiliation::Outcast), (false, true, 1));
    }
}
