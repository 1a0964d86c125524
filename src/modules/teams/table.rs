//! Teams and their members in the store.

use crate::jid::BareJid;
use crate::store::damage::query_sound;
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};
use crate::store::{accounts, sql};

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Team {
    pub id: i64,
    pub name: String,
}

/// An account in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub account: AccountId,
    pub jid: BareJid,
    /// How the others call it.
    pub name: String,
    /// Whether it is in the others' rosters.
    pub shown: bool,
}

/// Accounts in one team. A join writes two rows for each of them, in one transaction.
pub(super) const MEMBERS_MAX: usize = 1_000;

/// Makes a team; `None` if there is one of this name.
pub(super) fn add(tx: &mut dyn Tx, name: &str) -> Result<Option<Team>, StoreError> {
    let id = query_optional(tx, ADD, &[(&folded(name)).into(), name.into()], |row| row.int(0))?;
    Ok(id.map(|id| Team { id, name: name.to_owned() }))
}

/// The team of this name, however its letters are written.
pub(super) fn find(tx: &mut dyn Tx, name: &str) -> Result<Option<Team>, StoreError> {
    query_optional(tx, FIND, &[(&folded(name)).into()], team)
}

/// Deletes a team with its list of members.
pub(super) fn delete(tx: &mut dyn Tx, team: &Team) -> Result<(), StoreError> {
    tx.execute(DELETE, &[team.id.into()]).map(drop)
}

/// All teams by name, with the number of their members.
pub(super) fn list(tx: &mut dyn Tx) -> Result<Vec<(String, i64)>, StoreError> {
    query_all(tx, LIST, &[], |row| Ok((row.text(0)?, row.int(1)?)))
}

/// How many accounts are in it.
pub(super) fn count(tx: &mut dyn Tx, team: &Team) -> Result<usize, StoreError> {
    let count = query_one(tx, COUNT, &[team.id.into()], |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The members of a team, by address; but none that was deleted.
pub(super) fn members(tx: &mut dyn Tx, team: &Team) -> Result<Vec<Member>, StoreError> {
    read(tx, MEMBERS, team)
}

/// The same with those that were deleted and can be restored.
pub(super) fn all_members(tx: &mut dyn Tx, team: &Team) -> Result<Vec<Member>, StoreError> {
    read(tx, ALL_MEMBERS, team)
}

fn read(tx: &mut dyn Tx, sql: &str, team: &Team) -> Result<Vec<Member>, StoreError> {
    query_sound(tx, (TABLE, AccountId(0)), sql, &[team.id.into()], |row| {
        let account = AccountId(row.int(0)?);
        let jid = address(&row.text(1)?, &row.text(2)?)?;
        Ok(Member { account, jid, name: row.text(3)?, shown: row.bool(4)? })
    })
}

/// What is written of one member: its name and whether it is shown.
pub(super) fn member(
    tx: &mut dyn Tx,
    team: &Team,
    account: AccountId,
) -> Result<Option<(String, bool)>, StoreError> {
    let params = [team.id.into(), account.into()];
    query_optional(tx, MEMBER, &params, |row| Ok((row.text(0)?, row.bool(1)?)))
}

/// The teams that an account is in.
pub(super) fn teams_of(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<Team>, StoreError> {
    query_all(tx, TEAMS_OF, &[account.into()], team)
}

/// Adds a member, or writes what has changed of it.
pub(super) fn put(tx: &mut dyn Tx, team: &Team, member: &Member) -> Result<(), StoreError> {
    let Member { account, name, shown, .. } = member;
    let params = [team.id.into(), (*account).into(), name.into(), (*shown).into()];
    tx.execute(PUT, &params).map(drop)
}

/// Strikes a member off the list.
pub(super) fn strike(tx: &mut dyn Tx, team: &Team, account: AccountId) -> Result<(), StoreError> {
    tx.execute(STRIKE, &[team.id.into(), account.into()]).map(drop)
}

/// The address of an account, and whether it may log in; `None` if it is deleted.
pub(super) fn account(
    tx: &mut dyn Tx,
    account: AccountId,
) -> Result<Option<(BareJid, bool)>, StoreError> {
    let Some(found) = accounts::get(tx, account)? else { return Ok(None) };
    Ok(Some((address(&found.localpart, &found.host)?, !found.disabled)))
}

fn team(row: &dyn Row) -> Result<Team, StoreError> {
    Ok(Team { id: row.int(0)?, name: row.text(1)? })
}

fn address(local: &str, host: &str) -> Result<BareJid, StoreError> {
    BareJid::from_parts(Some(local), host)
        .map_err(|_| StoreError::Corrupt(format!("{local}@{host} is no JID")))
}

/// Two teams whose names differ in case alone would be taken for each other.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

const TABLE: &str = "team_member";
/// What an account is a member of, for its quota.
pub(super) const WEIGHED: &str = WEIGHT;

sql! {
    ADD = "INSERT INTO team (folded, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id";
    FIND = "SELECT id, name FROM team WHERE folded = $1";
    DELETE = "DELETE FROM team WHERE id = $1";
    LIST = "SELECT name, (SELECT COUNT(*) FROM team_member WHERE team = id) FROM team
        WHERE folded > '' ORDER BY folded";
    COUNT = "SELECT COUNT(*) FROM team_member WHERE team = $1";
    MEMBERS = "SELECT a.id, a.localpart, a.host, m.name, m.shown
        FROM team_member m JOIN account a ON a.id = m.account
        WHERE m.team = $1 AND a.removed IS NULL ORDER BY a.host, a.localpart";
    ALL_MEMBERS = "SELECT a.id, a.localpart, a.host, m.name, m.shown
        FROM team_member m JOIN account a ON a.id = m.account WHERE m.team = $1";
    MEMBER = "SELECT name, shown FROM team_member WHERE team = $1 AND account = $2";
    TEAMS_OF = "SELECT t.id, t.name FROM team_member m JOIN team t ON t.id = m.team
        WHERE m.account = $1 ORDER BY t.id";
    PUT = "INSERT INTO team_member (team, account, name, shown) VALUES ($1, $2, $3, $4)
        ON CONFLICT (team, account) DO UPDATE SET name = excluded.name, shown = excluded.shown";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(name)), 0), COUNT(*) FROM team_member WHERE account = $1";
    STRIKE = "DELETE FROM team_member WHERE team = $1 AND account = $2";
}
