//! Invitations, and links with which a new password is set: what whoever has a token may do. Only a hash of the
//! token is stored, and it is looked up by that; so neither the table nor the time of a look tells a token.

use super::accounts;
use super::damage::{query_sound, query_sound_one};
use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, Value, query_one, query_optional};
use crate::base::hash::sha256;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An account of one's own, or the contact of who invites.
    Invite,
    /// A new password for an account that is there.
    Password,
}

/// What is stored of an invitation; its maker gives all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What it is for.
    pub purpose: Purpose,
    /// Who invites, or whose password it is; none: the operator invites.
    pub account: Option<AccountId>,
    /// The domain of the accounts that it makes.
    pub host: String,
    /// The localpart that the account must have, in normal form.
    pub local: Option<String>,
    /// Whether an account can be made with it.
    pub registers: bool,
    /// Whether whoever uses it and who invites become contacts.
    pub befriends: bool,
    /// The team that a new account joins.
    pub team: Option<String>,
    /// How often it can still be used.
    pub uses_left: u32,
    /// When it was made, in microseconds since 1970.
    pub created: i64,
    /// The moment from which it is no longer valid.
    pub expires: i64,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its number, by which people name it without the token.
    pub id: i64,
    /// What it is for.
    pub terms: Terms,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It never was one, or is long forgotten.
    Unknown,
    /// It was used as often as it may be.
    Used,
    /// Its time is over.
    Expired,
    /// Who made it took it back, or is gone.
    Revoked,
}

impl Invitation {
    /// Whether a use is left, whatever the time: that is asked when its token is shown.
    pub fn has_use(&self) -> bool {
        !self.revoked && self.terms.uses_left > 0
    }

    /// Whether it can be used; that its account may still invite is for [`open`] to say.
    pub fn state(&self, now: i64) -> Result<(), Ended> {
        match self {
            // A newer link takes back older ones, used ones too: its user is to hear that it was used.
            Self { terms: Terms { uses_left: 0, .. }, .. } => Err(Ended::Used),
            Self { revoked: true, .. } => Err(Ended::Revoked),
            Self { terms: Terms { expires, .. }, .. } if *expires <= now => Err(Ended::Expired),
            _ => Ok(()),
        }
    }
}

/// Stores an invitation and returns its number. `None` if its account has `most` that are open, or were used
/// and are not a day old: else what one account brings in has no bound. Others that ended make room.
pub fn create(
    tx: &mut dyn Tx,
    token: &str,
    terms: &Terms,
    most: u32,
) -> Result<Option<i64>, StoreError> {
    if let Some(account) = terms.account.filter(|_| terms.purpose == Purpose::Invite) {
        let count = |row: &dyn Row| row.int(0);
        let full = |tx: &mut dyn Tx| {
            let all = query_one(tx, COUNT, &[account.into()], count)?;
            Ok::<_, StoreError>(all >= i64::from(most))
        };
        if full(tx)? {
            let yesterday = terms.created.saturating_sub(DAY);
            tx.execute(FORGET_ENDED, &[account.into(), terms.created.into(), yesterday.into()])?;
            if full(tx)? {
                return Ok(None);
            }
        }
    }
    let hash = sha256(token.as_bytes());
    let params = [
        Value::from(&hash[..]),
        (terms.purpose == Purpose::Password).into(),
        terms.account.map_or(Value::Null, Into::into),
        (&terms.host).into(),
        terms.local.as_deref().into(),
        terms.registers.into(),
        terms.befriends.into(),
        terms.team.as_deref().into(),
        terms.uses_left.into(),
        terms.created.into(),
        terms.expires.into(),
    ];
    query_optional(tx, CREATE, &params, |row| row.int(0))
}

/// The invitation of a token, whatever became of it.
pub fn find(tx: &mut dyn Tx, token: &str) -> Result<Option<Invitation>, StoreError> {
    // Nobody was given a longer one.
    if token.len() > TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let hash = sha256(token.as_bytes());
    query_sound_one(tx, OF, FIND, &[Value::from(&hash[..])], invitation)
}

/// The invitation of a token if it can be used now: it is open, and its account is there and not shut.
pub fn open(
    tx: &mut dyn Tx,
    token: &str,
    now: i64,
) -> Result<Result<Invitation, Ended>, StoreError> {
    let Some(found) = find(tx, token)? else { return Ok(Err(Ended::Unknown)) };
    if let Err(ended) = found.state(now) {
        return Ok(Err(ended));
    }
    if let Some(account) = found.terms.account {
        let account = accounts::get(tx, account)?;
        // A link to a new password works for an account that is shut, and opens it no more than before.
        let shut = |shut: bool| shut && found.terms.purpose == Purpose::Invite;
        if account.is_none_or(|account| shut(account.disabled)) {
            return Ok(Err(Ended::Revoked));
        }
    }
    Ok(Ok(found))
}

/// Counts a use. False if none is left, or it was revoked; whether it has expired is not asked here.
pub fn spend(tx: &mut dyn Tx, id: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(SPEND, &[id.into()])? > 0)
}

/// Whether an open invitation keeps this name for whoever has its token; `but` does not count.
pub fn is_reserved(
    tx: &mut dyn Tx,
    local: &str,
    host: &str,
    now: i64,
    but: Option<i64>,
) -> Result<bool, StoreError> {
    let params = [host.into(), local.into(), now.into(), but.unwrap_or(0).into()];
    Ok(query_optional(tx, RESERVED, &params, |row| row.int(0))?.is_some())
}

/// Those of an account, the newest first.
pub fn of_account(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<Invitation>, StoreError> {
    query_sound(tx, OF, OF_ACCOUNT, &[account.into(), LISTED_MAX.into()], invitation)
}

/// All of the server behind this number, at most a page.
pub fn list(tx: &mut dyn Tx, after: i64) -> Result<Vec<Invitation>, StoreError> {
    query_sound(tx, OF, LIST, &[after.into(), LISTED_MAX.into()], invitation)
}

/// The invitation of this number.
pub fn get(tx: &mut dyn Tx, id: i64) -> Result<Option<Invitation>, StoreError> {
    query_sound_one(tx, OF, GET, &[id.into()], invitation)
}

/// Takes an invitation back.
pub fn revoke(tx: &mut dyn Tx, id: i64) -> Result<(), StoreError> {
    tx.execute(REVOKE, &[id.into()])?;
    Ok(())
}

/// Takes back the links to a new password of an account: there is a newer one, or a new password.
pub fn revoke_passwords(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(REVOKE_PASSWORDS, &[account.into()])?;
    Ok(())
}

/// Forgets at most `limit` invitations that expired before this time; returns their number.
pub fn forget_before(tx: &mut dyn Tx, before: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET_BEFORE, &[before.into(), limit.into()])
}

fn invitation(row: &dyn Row) -> Result<Invitation, StoreError> {
    let terms = Terms {
        purpose: if row.bool(1)? { Purpose::Password } else { Purpose::Invite },
        account: row.opt_int(2)?.map(AccountId),
        host: row.text(3)?,
        local: row.opt_text(4)?,
        registers: row.bool(5)?,
        befriends: row.bool(6)?,
        team: row.opt_text(7)?,
        uses_left: u32::try_from(row.int(8)?).unwrap_or(0),
        created: row.int(9)?,
        expires: row.int(10)?,
    };
    Ok(Invitation { id: row.int(0)?, terms, revoked: row.bool(11)? })
}

/// For the log of damaged rows: they are no account's alone.
const OF: (&str, AccountId) = ("invitation", AccountId(0));
/// Longer than any token that was given out.
const TOKEN_BYTES_MAX: usize = 128;
/// In microseconds.
const DAY: i64 = 86_400_000_000;
/// Rows of one list.
const LISTED_MAX: usize = 1_000;

super::sql! {
    CREATE = "INSERT INTO invitation (hash, purpose, account, host, localpart, registers, befriends, team,
            uses_left, created, expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
    COUNT = "SELECT COUNT(*) FROM invitation WHERE account = $1 AND purpose = 0";
    FORGET_ENDED = "DELETE FROM invitation WHERE account = $1 AND purpose = 0
        AND (revoked = 1 OR expires <= $2 OR (uses_left = 0 AND created <= $3))";
    FIND = "SELECT id, purpose, account, host, localpart, registers, befriends, team, uses_left, created,
            expires, revoked
        FROM invitation WHERE hash = $1";
    GET = "SELECT id, purpose, account, host, localpart, registers, befriends, team, uses_left, created,
            expires, revoked
        FROM invitation WHERE id = $1";
    OF_ACCOUNT = "SELECT id, purpose, account, host, localpart, registers, befriends, team, uses_left, created,
            expires, revoked
        FROM invitation WHERE account = $1 AND purpose = 0 ORDER BY id DESC LIMIT $2";
    LIST = "SELECT id, purpose, account, host, localpart, registers, befriends, team, uses_left, created,
            expires, revoked
        FROM invitation WHERE id > $1 ORDER BY id LIMIT $2";
    SPEND = "UPDATE invitation SET uses_left = uses_left - 1
        WHERE id = $1 AND uses_left > 0 AND revoked = 0";
    RESERVED = "SELECT 1 FROM invitation WHERE host = $1 AND localpart = $2 AND purpose = 0
        AND uses_left > 0 AND revoked = 0 AND expires > $3 AND id <> $4 LIMIT 1";
    REVOKE = "UPDATE invitation SET revoked = 1 WHERE id = $1";
    REVOKE_PASSWORDS = "UPDATE invitation SET revoked = 1 WHERE account = $1 AND purpose = 1";
    FORGET_BEFORE = "DELETE FROM invitation WHERE id IN
        (SELECT id FROM invitation WHERE expires < $1 ORDER BY expires LIMIT $2)";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn terms(account: Option<AccountId>) -> Terms {
        Terms {
            purpose: Purpose::Invite,
            account,
            host: "montague.example".to_owned(),
            local: None,
            registers: true,
            befriends: true,
            team: None,
            uses_left: 1,
            created: 0,
            expires: 100,
        }
    }

    #[test]
    fn an_invitation_is_used_as_often_as_it_says() {
        testing::account_tx(|tx, me| {
            let two = Terms { uses_left: 2, team: Some("sales".to_owned()), ..terms(Some(me)) };
            let id = create(tx, "abc", &two, 5).unwrap().unwrap();
            let found = open(tx, "abc", 99).unwrap().unwrap();
            assert_eq!(found, Invitation { id, terms: two, revoked: false });
            assert_eq!(open(tx, "ab", 0).unwrap(), Err(Ended::Unknown));
            assert_eq!(open(tx, &"a".repeat(4_000), 0).unwrap(), Err(Ended::Unknown));
            assert_eq!(open(tx, "abc", 100).unwrap(), Err(Ended::Expired));
            assert!(spend(tx, id).unwrap() && spend(tx, id).unwrap() && !spend(tx, id).unwrap());
            assert_eq!(open(tx, "abc", 0).unwrap(), Err(Ended::Used));
            let other = create(tx, "x", &terms(None), 0).unwrap().unwrap();
            revoke(tx, other).unwrap();
            assert_eq!(open(tx, "x", 0).unwrap(), Err(Ended::Revoked));
            assert!(!spend(tx, other).unwrap());
        });
    }

    #[test]
    fn it_ends_with_who_invites() {
        testing::account_tx(|tx, me| {
            create(tx, "invite", &terms(Some(me)), 5).unwrap();
            let purpose = Purpose::Password;
            create(tx, "reset", &Terms { purpose, ..terms(Some(me)) }, 0).unwrap();
            accounts::set_disabled(tx, me, true).unwrap();
            assert_eq!(open(tx, "invite", 0).unwrap(), Err(Ended::Revoked));
            assert!(open(tx, "reset", 0).unwrap().is_ok());
            accounts::set_disabled(tx, me, false).unwrap();
            assert!(open(tx, "invite", 0).unwrap().is_ok());
            revoke_passwords(tx, me).unwrap();
            assert_eq!(open(tx, "reset", 0).unwrap(), Err(Ended::Revoked));
            accounts::remove(tx, me, 5).unwrap();
            assert_eq!(open(tx, "invite", 0).unwrap(), Err(Ended::Revoked));
            accounts::delete(tx, me).unwrap();
            assert_eq!(open(tx, "invite", 0).unwrap(), Err(Ended::Unknown));
        });
    }

    #[test]
    fn a_name_is_kept_as_long_as_the_invitation() {
        testing::tx(|tx| {
            let named = Terms { local: Some("juliet".to_owned()), ..terms(None) };
            let id = create(tx, "abc", &named, 0).unwrap().unwrap();
            let mut kept =
                |at, but| is_reserved(tx, "juliet", "montague.example", at, but).unwrap();
            assert!(kept(99, None) && !kept(100, None) && !kept(0, Some(id)));
            assert!(!is_reserved(tx, "juliet", "capulet.example", 0, None).unwrap());
            assert!(spend(tx, id).unwrap());
            assert!(!is_reserved(tx, "juliet", "montague.example", 0, None).unwrap());
        });
    }

    #[test]
    fn an_account_has_so_many_that_are_open() {
        testing::account_tx(|tx, me| {
            let ids = ["a", "b"].map(|token| create(tx, token, &terms(Some(me)), 2).unwrap());
            assert_eq!(create(tx, "c", &terms(Some(me)), 2).unwrap(), None);
            revoke(tx, ids[0].unwrap()).unwrap();
            assert!(create(tx, "c", &terms(Some(me)), 2).unwrap().is_some());
            assert_eq!(of_account(tx, me).unwrap().len(), 2);
            assert_eq!(list(tx, ids[0].unwrap()).unwrap().len(), 2);
            assert_eq!(get(tx, ids[1].unwrap()).unwrap().map(|one| one.id), ids[1]);
            assert_eq!(forget_before(tx, 100, 9).unwrap(), 0);
            assert_eq!(forget_before(tx, 101, 1).unwrap(), 1);
            assert_eq!(forget_before(tx, 101, 9).unwrap(), 1);
        });
    }

    /// Whoever is invited invites in turn: without this one account would bring in any number within an hour.
    #[test]
    fn what_was_used_counts_for_a_day() {
        testing::account_tx(|tx, me| {
            let at = |created| Terms { created, expires: 7 * DAY, ..terms(Some(me)) };
            for token in ["a", "b"] {
                let id = create(tx, token, &at(0), 2).unwrap().unwrap();
                assert!(spend(tx, id).unwrap());
            }
            assert_eq!(create(tx, "c", &at(DAY - 1), 2).unwrap(), None);
            assert!(create(tx, "c", &at(DAY), 2).unwrap().is_some());
            assert_eq!(find(tx, "a").unwrap(), None, "it made room");
        });
    }
}
