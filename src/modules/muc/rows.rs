//! Rooms in the store.

use std::collections::BTreeMap;

use super::called::{self, Called};
use super::rights::Affiliation;
use super::room::Standing;
use super::settings::{Preset, Settings};
use crate::jid::BareJid;
use crate::store::archive;
use crate::store::damage;
use crate::store::ids::{ArchiveId, RoomId};
use crate::store::tx::{StoreError, Tx, query_all, query_one, query_optional};

/// A room as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: RoomId,
    pub(super) settings: Settings,
    pub(super) secret: [u8; 32],
    pub(super) version: i64,
    /// The version up to which people were forgotten who are not listed any more.
    pub(super) forgotten: i64,
    /// The message that set the subject, and when.
    pub(super) subject: Option<(Vec<u8>, i64)>,
    pub(super) standing: BTreeMap<BareJid, Standing>,
    /// How members were called last.
    pub(super) called: Called,
    /// Who was in it at a planned restart.
    pub(super) occupants: Option<Vec<u8>>,
}

/// Reads a room; `None` if there is none with this address.
pub(super) fn load(tx: &mut dyn Tx, jid: &str) -> Result<Option<Stored>, StoreError> {
    let found = query_optional(tx, FIND, &[jid.into()], |row| {
        let id = RoomId(row.int(0)?);
        let settings = row.text(1)?;
        let subject = row.opt_blob(4)?.zip(Some(row.int(5)?));
        let versions = (row.int(3)?, row.int(7)?);
        Ok((id, settings, row.blob(2)?, versions, subject, row.opt_blob(6)?))
    })?;
    let Some((id, settings, secret, (version, forgotten), subject, occupants)) = found else {
        return Ok(None);
    };
    let settings = Settings::of_json(&settings).unwrap_or_else(|| {
        // Closed rather than open to everybody, until its owner looks at it.
        damage::note(("room", id), &"its configuration is damaged: members only");
        Preset::Private.settings()
    });
    let secret = secret.try_into().unwrap_or_else(|_| crate::base::hash::sha256(jid.as_bytes()));
    let (standing, called) = (standing(tx, id)?, called::load(tx, id)?);
    Ok(Some(Stored {
        id,
        settings,
        secret,
        version,
        forgotten,
        subject,
        standing,
        called,
        occupants,
    }))
}

fn standing(tx: &mut dyn Tx, room: RoomId) -> Result<BTreeMap<BareJid, Standing>, StoreError> {
    let rows = query_all(tx, STANDING, &[room.0.into()], |row| {
        let affiliation = Affiliation::of_number(row.int(1)?).unwrap_or_default();
        let (nick, reason, version) = (row.opt_text(2)?, row.opt_text(3)?, row.int(4)?);
        Ok((row.text(0)?, Standing { affiliation, nick, reason, version }))
    })?;
    let read = |(jid, standing): (String, Standing)| Some((BareJid::parse(&jid).ok()?, standing));
    Ok(rows.into_iter().filter_map(read).collect())
}

/// A new room. The second of two with one address fails.
pub(super) fn create(
    tx: &mut dyn Tx,
    jid: &str,
    creator: &str,
    settings: &Settings,
    secret: &[u8; 32],
    at: i64,
) -> Result<RoomId, StoreError> {
    let (stays, public) = (settings.persistent, settings.public);
    let settings = settings.to_json();
    let domain = jid.split_once('@').map_or(jid, |(_, domain)| domain);
    let params = [
        jid.into(),
        settings.as_str().into(),
        secret.as_slice().into(),
        at.into(),
        creator.into(),
        domain.into(),
        stays.into(),
        public.into(),
    ];
    query_one(tx, CREATE, &params, |row| Ok(RoomId(row.int(0)?)))
}

/// How many rooms an account has created that are still there.
pub(super) fn created_by(tx: &mut dyn Tx, creator: &str) -> Result<usize, StoreError> {
    let count = query_one(tx, CREATED_BY, &[creator.into()], |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Its configuration.
pub(super) fn configure(
    tx: &mut dyn Tx,
    room: RoomId,
    settings: &Settings,
) -> Result<(), StoreError> {
    let (stays, public) = (settings.persistent, settings.public);
    let settings = settings.to_json();
    let params = [room.0.into(), settings.as_str().into(), stays.into(), public.into()];
    tx.execute(CONFIGURE, &params).map(drop)
}

/// What somebody is to it from this version on.
pub(super) fn stand(
    tx: &mut dyn Tx,
    room: RoomId,
    jid: &str,
    standing: &Standing,
) -> Result<(), StoreError> {
    let Standing { affiliation, nick, reason, version } = standing;
    let nick = nick.as_deref().map_or(crate::store::tx::Value::Null, Into::into);
    let reason = reason.as_deref().map_or(crate::store::tx::Value::Null, Into::into);
    let (number, member) = (affiliation.number().into(), Affiliation::Member.number().into());
    let params = [room.0.into(), jid.into(), number, nick, reason, (*version).into(), member];
    tx.execute(STAND, &params)?;
    tx.execute(VERSION, &[room.0.into(), (*version).into()]).map(drop)
}

/// Nothing is known of somebody any more; what it was until this version cannot be told.
pub(super) fn unlist(
    tx: &mut dyn Tx,
    room: RoomId,
    jid: &str,
    forgotten: i64,
) -> Result<(), StoreError> {
    tx.execute(UNLIST, &[room.0.into(), jid.into()])?;
    tx.execute(FORGOTTEN, &[room.0.into(), forgotten.into()]).map(drop)
}

/// Its subject, in the transaction of the message's row if it has one.
pub(super) fn subject(
    tx: &mut dyn Tx,
    room: RoomId,
    message: &[u8],
    at: i64,
) -> Result<(), StoreError> {
    tx.execute(SUBJECT, &[room.0.into(), message.into(), at.into()]).map(drop)
}

/// Deletes a room; its archive is left to be deleted bit by bit.
pub(super) fn destroy(tx: &mut dyn Tx, room: RoomId) -> Result<(), StoreError> {
    archive::leave(tx, ArchiveId::of_room(room))?;
    tx.execute(DESTROY, &[room.0.into()]).map(drop)
}

/// Who is in it over a planned restart; nobody, once they have been taken back.
pub(super) fn keep_occupants(
    tx: &mut dyn Tx,
    room: RoomId,
    occupants: Option<&[u8]>,
) -> Result<(), StoreError> {
    let occupants = occupants.map_or(crate::store::tx::Value::Null, Into::into);
    tx.execute(KEEP, &[room.0.into(), occupants]).map(drop)
}

/// The addresses of rooms with occupants over a planned restart.
pub(super) fn occupied(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    query_all(tx, OCCUPIED, &["".into()], |row| row.text(0))
}

/// Keys and addresses of rooms that do not stay when nobody is in them.
pub(super) fn temporary(tx: &mut dyn Tx) -> Result<Vec<(RoomId, String)>, StoreError> {
    query_all(tx, TEMPORARY, &[0_i64.into()], |row| Ok((RoomId(row.int(0)?), row.text(1)?)))
}

/// Its address, if there is such a room.
pub(super) fn address(tx: &mut dyn Tx, room: RoomId) -> Result<Option<String>, StoreError> {
    query_optional(tx, ADDRESS, &[room.0.into()], |row| row.text(0))
}

/// What its archive stored when it was weighed last, and who created it; `None` if there is no such room.
pub(super) fn weight(tx: &mut dyn Tx, room: RoomId) -> Result<Option<(u64, String)>, StoreError> {
    query_optional(tx, WEIGHT, &[room.0.into()], |row| Ok((bytes(row.int(0)?), row.text(1)?)))
}

/// Writes what its archive stores.
pub(super) fn set_weight(tx: &mut dyn Tx, room: RoomId, bytes: u64) -> Result<(), StoreError> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    tx.execute(SET_WEIGHT, &[room.0.into(), bytes.into()]).map(drop)
}

/// The same of all rooms that an account created and owns still, and that store something.
pub(super) fn weights(tx: &mut dyn Tx, creator: &str) -> Result<Vec<(RoomId, u64)>, StoreError> {
    let params = [creator.into(), Affiliation::Owner.number().into()];
    query_all(tx, WEIGHTS, &params, |row| Ok((RoomId(row.int(0)?), bytes(row.int(1)?))))
}

fn bytes(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// Its vCard, if it has one.
pub(super) fn vcard(tx: &mut dyn Tx, room: RoomId) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(query_optional(tx, VCARD, &[room.0.into()], |row| row.opt_blob(0))?.flatten())
}

/// Its vCard, or none any more.
pub(super) fn set_vcard(
    tx: &mut dyn Tx,
    room: RoomId,
    vcard: Option<&[u8]>,
) -> Result<(), StoreError> {
    let vcard = vcard.map_or(crate::store::tx::Value::Null, Into::into);
    tx.execute(SET_VCARD, &[room.0.into(), vcard]).map(drop)
}

/// Rooms of a domain that can be found, after an address, in the order of addresses. A damaged one is among
/// them as one that cannot.
pub(super) fn public_after(
    tx: &mut dyn Tx,
    domain: &str,
    after: &str,
    max: usize,
) -> Result<Vec<(String, Settings)>, StoreError> {
    public(tx, PUBLIC_AFTER, domain, after, max)
}

/// The last of them before an address, or of all before an empty one; in the same order.
pub(super) fn public_before(
    tx: &mut dyn Tx,
    domain: &str,
    before: &str,
    max: usize,
) -> Result<Vec<(String, Settings)>, StoreError> {
    let mut rooms = public(tx, PUBLIC_BEFORE, domain, before, max)?;
    rooms.reverse();
    Ok(rooms)
}

fn public(
    tx: &mut dyn Tx,
    sql: &str,
    domain: &str,
    edge: &str,
    max: usize,
) -> Result<Vec<(String, Settings)>, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = query_all(tx, sql, &[domain.into(), edge.into(), max.into()], |row| {
        let settings = Settings::of_json(&row.text(1)?);
        Ok((row.text(0)?, settings.unwrap_or_else(|| Preset::Private.settings())))
    })?;
    Ok(rows)
}

/// How many of them there are.
pub(super) fn public_count(tx: &mut dyn Tx, domain: &str) -> Result<usize, StoreError> {
    let count = query_one(tx, PUBLIC_COUNT, &[domain.into()], |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

crate::store::sql! {
    FIND = "SELECT id, settings, secret, version, subject, subject_at, occupants, forgotten \
        FROM room WHERE jid = $1";
    STANDING = "SELECT jid, affiliation, nick, reason, version FROM room_affiliation WHERE room = $1";
    CREATE = "INSERT INTO room \
        (jid, settings, secret, version, forgotten, subject_at, created_at, creator, domain, stays, public) \
        VALUES ($1, $2, $3, 0, 0, 0, $4, $5, $6, $7, $8) RETURNING id";
    CREATED_BY = "SELECT COUNT(*) FROM room WHERE creator = $1";
    CONFIGURE = "UPDATE room SET settings = $2, stays = $3, public = $4 WHERE id = $1";
    STAND = "INSERT INTO room_affiliation (room, jid, affiliation, nick, reason, version) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (room, jid) DO UPDATE SET \
        affiliation = excluded.affiliation, nick = excluded.nick, reason = excluded.reason, \
        version = excluded.version, \
        called = CASE WHEN excluded.affiliation >= $7 THEN room_affiliation.called END";
    VERSION = "UPDATE room SET version = $2 WHERE id = $1 AND version < $2";
    UNLIST = "DELETE FROM room_affiliation WHERE room = $1 AND jid = $2";
    FORGOTTEN = "UPDATE room SET forgotten = $2 WHERE id = $1";
    SUBJECT = "UPDATE room SET subject = $2, subject_at = $3 WHERE id = $1";
    DESTROY = "DELETE FROM room WHERE id = $1";
    KEEP = "UPDATE room SET occupants = $2 WHERE id = $1";
    OCCUPIED = "SELECT jid FROM room WHERE occupants IS NOT NULL AND jid > $1 ORDER BY jid";
    TEMPORARY = "SELECT id, jid FROM room WHERE stays = 0 AND id > $1 ORDER BY id";
    ADDRESS = "SELECT jid FROM room WHERE id = $1";
    WEIGHT = "SELECT archive_bytes, creator FROM room WHERE id = $1";
    SET_WEIGHT = "UPDATE room SET archive_bytes = $2 WHERE id = $1";
    WEIGHTS = "SELECT r.id, r.archive_bytes FROM room r CROSS JOIN room_affiliation a \
        WHERE r.creator = $1 AND r.archive_bytes > 0 AND a.room = r.id AND a.jid = r.creator \
        AND a.affiliation = $2 ORDER BY r.id";
    VCARD = "SELECT vcard FROM room WHERE id = $1";
    SET_VCARD = "UPDATE room SET vcard = $2 WHERE id = $1";
    PUBLIC_AFTER = "SELECT jid, settings FROM room WHERE domain = $1 AND public = 1 AND jid > $2 ORDER BY jid LIMIT $3";
    PUBLIC_BEFORE = "SELECT jid, settings FROM room WHERE domain = $1 AND public = 1 AND ($2 = '' OR jid < $2) \
        ORDER BY jid DESC LIMIT $3";
    PUBLIC_COUNT = "SELECT COUNT(*) FROM room WHERE domain = $1 AND public = 1";
}
