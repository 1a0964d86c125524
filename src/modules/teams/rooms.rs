//! Rooms that teams have: which, and what is to be done for whom because of that.
//!
//! What is to be done is not remembered but seen: from the lists of members and rooms on one side, and what was
//! brought on the other. So it is done though the server stop in the midst of it.

use super::table::Team;
use crate::jid::BareJid;
use crate::store::ids::{AccountId, RoomId};
use crate::store::sql;
use crate::store::tx::{Row, StoreError, Tx, query_all};

/// Rooms of one team.
pub(super) const ROOMS_MAX: usize = 50;

/// How something stands that a team brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was done yet.
    NotYet,
    /// A team brought it.
    Brought,
    /// It, or something better, was there before.
    Own,
    /// It was not there, and is being brought.
    Coming,
}

impl State {
    const ALL: [Self; 4] = [Self::NotYet, Self::Brought, Self::Own, Self::Coming];

    fn of_number(number: i64) -> Self {
        // What nobody can read is not taken away.
        Self::ALL.into_iter().find(|one| *one as i64 == number).unwrap_or(Self::Own)
    }
}

/// An account and a room that have to do with each other by a team, or had.
#[derive(Debug, Clone)]
pub(super) struct Tie {
    pub account: AccountId,
    /// The account's address.
    pub address: BareJid,
    pub room: RoomId,
    /// The room's address.
    pub jid: BareJid,
    pub membership: State,
    pub bookmark: State,
}

/// Which ties are looked at in one go, in the order of accounts and rooms: what cannot be done holds up none behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    after: (AccountId, RoomId),
    max: i64,
}

impl Page {
    /// The first one of this length.
    pub(super) const fn first(max: i64) -> Self {
        Self { after: (AccountId(i64::MIN), RoomId(i64::MIN)), max }
    }

    /// The one behind a tie.
    pub(super) const fn behind(self, tie: &Tie) -> Self {
        Self { after: (tie.account, tie.room), ..self }
    }
}

/// Gives a room to a team; whether it did not have it.
pub(super) fn add(
    tx: &mut dyn Tx,
    team: &Team,
    room: RoomId,
    jid: &BareJid,
) -> Result<bool, StoreError> {
    Ok(tx.execute(ADD, &[team.id.into(), room.0.into(), jid.as_str().into()])? > 0)
}

/// Takes it away; whether it had it.
pub(super) fn remove(tx: &mut dyn Tx, team: &Team, jid: &BareJid) -> Result<bool, StoreError> {
    Ok(tx.execute(REMOVE, &[team.id.into(), jid.as_str().into()])? > 0)
}

/// The addresses of the rooms of a team.
pub(super) fn list(tx: &mut dyn Tx, team: &Team) -> Result<Vec<String>, StoreError> {
    query_all(tx, LIST, &[team.id.into()], |row| row.text(0))
}

/// Those to whom something is still to be brought, a few after the last one that was looked at.
pub(super) fn to_bring(tx: &mut dyn Tx, page: Page) -> Result<Vec<Tie>, StoreError> {
    ties(tx, TO_BRING, page)
}

/// Those from whom the membership is to be taken: no team that has the room shows them.
pub(super) fn to_part(tx: &mut dyn Tx, page: Page) -> Result<Vec<Tie>, StoreError> {
    ties(tx, TO_PART, page)
}

/// Those who are in no team any more that has the room.
pub(super) fn to_end(tx: &mut dyn Tx, page: Page) -> Result<Vec<Tie>, StoreError> {
    ties(tx, TO_END, page)
}

fn ties(tx: &mut dyn Tx, sql: &str, page: Page) -> Result<Vec<Tie>, StoreError> {
    let Page { after: (account, room), max } = page;
    let all = query_all(tx, sql, &[account.into(), room.0.into(), max.into()], |row| {
        let (membership, bookmark) = (row.int(4)?, row.int(5)?);
        Ok(Tie {
            account: AccountId(row.int(0)?),
            address: address(row, 1)?,
            room: RoomId(row.int(2)?),
            jid: address(row, 3)?,
            membership: State::of_number(membership),
            bookmark: State::of_number(bookmark),
        })
    })?;
    Ok(all)
}

fn address(row: &dyn Row, at: usize) -> Result<BareJid, StoreError> {
    let text = row.text(at)?;
    BareJid::parse(&text).map_err(|_| StoreError::Corrupt(format!("{text} is no JID")))
}

/// Whether the account is there, though it be deleted and to be restored.
pub(super) fn is_there(tx: &mut dyn Tx, account: AccountId) -> Result<bool, StoreError> {
    Ok(!query_all(tx, ACCOUNT, &[account.into()], |row| row.int(0))?.is_empty())
}

/// Writes how a membership stands now.
pub(super) fn set_membership(tx: &mut dyn Tx, tie: &Tie, state: State) -> Result<(), StoreError> {
    set(tx, SET_MEMBERSHIP, tie, state)
}

/// Writes how a bookmark stands now.
pub(super) fn set_bookmark(tx: &mut dyn Tx, tie: &Tie, state: State) -> Result<(), StoreError> {
    set(tx, SET_BOOKMARK, tie, state)
}

fn set(tx: &mut dyn Tx, sql: &str, tie: &Tie, state: State) -> Result<(), StoreError> {
    let Tie { account, address, room, jid, .. } = tie;
    let (address, jid, state) = (address.as_str(), jid.as_str(), state as i64);
    let params = [(*account).into(), address.into(), room.0.into(), jid.into(), state.into()];
    tx.execute(sql, &params).map(drop)
}

/// All was taken away.
pub(super) fn end(tx: &mut dyn Tx, tie: &Tie) -> Result<(), StoreError> {
    tx.execute(END, &[tie.account.into(), tie.room.0.into()]).map(drop)
}

/// What an account was brought, for its quota.
pub(super) const WEIGHED: &str = WEIGHT;

sql! {
    ADD = "INSERT INTO team_room (team, room, jid) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    REMOVE = "DELETE FROM team_room WHERE team = $1 AND jid = $2";
    LIST = "SELECT jid FROM team_room WHERE team = $1 ORDER BY jid";
    TO_BRING = "SELECT DISTINCT m.account, a.localpart || '@' || a.host, t.room, t.jid, COALESCE(g.membership, 0), \
        COALESCE(g.bookmark, 0) FROM team_room t CROSS JOIN team_member m \
        JOIN account a ON a.id = m.account \
        LEFT JOIN team_room_given g ON g.account = m.account AND g.room = t.room \
        WHERE t.team > 0 AND m.team = t.team AND m.shown = 1 \
        AND (COALESCE(g.membership, 0) = 0 OR COALESCE(g.bookmark, 0) IN (0, 3)) \
        AND (m.account, t.room) > ($1, $2) ORDER BY m.account, t.room LIMIT $3";
    TO_PART = "SELECT g.account, g.address, g.room, g.jid, g.membership, g.bookmark FROM team_room_given g \
        WHERE g.account > 0 AND g.membership <> 0 AND NOT EXISTS (SELECT 1 FROM team_room t \
        JOIN team_member m ON m.team = t.team \
        WHERE t.room = g.room AND m.account = g.account AND m.shown = 1) \
        AND (g.account, g.room) > ($1, $2) ORDER BY g.account, g.room LIMIT $3";
    TO_END = "SELECT g.account, g.address, g.room, g.jid, g.membership, g.bookmark FROM team_room_given g \
        WHERE g.account > 0 AND NOT EXISTS (SELECT 1 FROM team_room t \
        JOIN team_member m ON m.team = t.team WHERE t.room = g.room AND m.account = g.account) \
        AND (g.account, g.room) > ($1, $2) ORDER BY g.account, g.room LIMIT $3";
    ACCOUNT = "SELECT id FROM account WHERE id = $1";
    SET_MEMBERSHIP = "INSERT INTO team_room_given (account, address, room, jid, membership, bookmark) \
        VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (account, room) DO UPDATE SET membership = excluded.membership";
    SET_BOOKMARK = "INSERT INTO team_room_given (account, address, room, jid, membership, bookmark) \
        VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (account, room) DO UPDATE SET bookmark = excluded.bookmark";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(address) + OCTET_LENGTH(jid)), 0), COUNT(*) \
        FROM team_room_given WHERE account = $1";
    END = "DELETE FROM team_room_given WHERE account = $1 AND room = $2";
}
