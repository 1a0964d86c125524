//! Accounts, the keys they store instead of a password (RFC 5802 §3), and their last logout (XEP-0012).

use std::time::SystemTime;

use super::damage::{query_sound, sound};
use super::devices;
use super::handled;
use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, Value, query_all, query_optional};
use super::{Job, Store};
use crate::base::credential::{HashName, ScramKeys};
use crate::base::role::Role;
use crate::base::time::micros;

/// One account. Localpart and host are in normal form (RFC 7622).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its key.
    pub id: AccountId,
    /// The localpart of its bare JID.
    pub localpart: String,
    /// The domainpart of its bare JID.
    pub host: String,
    /// Whether it may not log in.
    pub disabled: bool,
    /// Rises when the password changes or the account is disabled: logins and sessions of an older epoch are
    /// no longer valid.
    pub epoch: i64,
    /// When it was created, in microseconds since 1970.
    pub created: i64,
    /// The version of its roster (RFC 6121 §2.6).
    pub roster_ver: i64,
    /// What it may do to the server.
    pub role: Role,
}

/// How [`create`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The account was created.
    Created(AccountId),
    /// An account of this name exists.
    Exists,
    /// An account of this name was removed and is not erased yet.
    Removed,
}

/// An account that was removed and is not erased yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The account as it was.
    pub account: Account,
    /// When it was removed, in microseconds since 1970.
    pub at: i64,
}

/// When the last available resource of an account became unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLogout {
    /// Microseconds since 1970.
    pub at: i64,
    /// The status text of its last presence.
    pub status: Option<String>,
}

/// The account of a bare JID; none if it was removed.
pub fn find(tx: &mut dyn Tx, localpart: &str, host: &str) -> Result<Option<Account>, StoreError> {
    query_optional(tx, FIND, &[localpart.into(), host.into()], account)
}

/// The account of a key; none if it was removed.
pub fn get(tx: &mut dyn Tx, id: AccountId) -> Result<Option<Account>, StoreError> {
    query_optional(tx, GET, &[id.into()], account)
}

/// The account of a bare JID, if it was removed.
pub fn find_removed(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
) -> Result<Option<Removed>, StoreError> {
    query_optional(tx, FIND_REMOVED, &[localpart.into(), host.into()], removed)
}

/// Whether the name is taken: an account has it, or a removed account had it and may be restored.
pub fn is_taken(tx: &mut dyn Tx, localpart: &str, host: &str) -> Result<bool, StoreError> {
    Ok(query_optional(tx, TAKEN, &[localpart.into(), host.into()], |row| row.int(0))?.is_some())
}

/// The two parts of the bare JID, also of a removed account, because its rows still belong to it. The inner
/// option is none if the row cannot be read.
pub fn name(
    tx: &mut dyn Tx,
    id: AccountId,
) -> Result<Option<Option<(String, String)>>, StoreError> {
    let name = |row: &dyn Row| Ok((row.text(0)?, row.text(1)?));
    query_optional(tx, NAME, &[id.into()], |row| Ok(sound((TABLE, id), name(row))))
}

/// The account with its keys for one hash; `None` if either is missing.
pub fn keys(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
    hash: HashName,
) -> Result<Option<(Account, ScramKeys)>, StoreError> {
    let all = all_keys(tx, localpart, host)?;
    Ok(all.and_then(|(account, keys)| {
        keys.into_iter().find(|keys| keys.hash == hash).map(|keys| (account, keys))
    }))
}

/// The account with its keys for this hash, otherwise with its strongest ones, for a password sent in full
/// (SASL PLAIN).
pub fn any_keys(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
    prefer: HashName,
) -> Result<Option<(Account, ScramKeys)>, StoreError> {
    let all = all_keys(tx, localpart, host)?;
    Ok(all.and_then(|(account, keys)| {
        let best = keys.into_iter().max_by_key(|keys| (keys.hash == prefer, keys.hash));
        best.map(|keys| (account, keys))
    }))
}

/// The account with all its keys.
pub fn all_keys(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
) -> Result<Option<(Account, Vec<ScramKeys>)>, StoreError> {
    let account = find(tx, localpart, host)?;
    // Also read without an account: the time this takes must not reveal whether an account exists.
    let id = account.as_ref().map_or(AccountId(0), |account| account.id);
    let keys = keys_of(tx, id)?;
    Ok(account.map(|account| (account, keys)))
}

/// Creates an account with these keys.
pub fn create(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
    keys: &[ScramKeys],
    now: i64,
) -> Result<Creation, StoreError> {
    let params = [localpart.into(), host.into(), now.into()];
    let Some(id) = query_optional(tx, CREATE, &params, |row| row.int(0))? else {
        let removed = find_removed(tx, localpart, host)?.is_some();
        return Ok(if removed { Creation::Removed } else { Creation::Exists });
    };
    put_keys(tx, AccountId(id), keys)?;
    Ok(Creation::Created(AccountId(id)))
}

/// Replaces all keys with these; returns the new epoch.
pub fn set_keys(tx: &mut dyn Tx, id: AccountId, keys: &[ScramKeys]) -> Result<i64, StoreError> {
    tx.access_changed();
    let epoch = query_optional(tx, RAISE_EPOCH, &[id.into()], |row| row.int(0))?;
    tx.execute(DELETE_KEYS, &[id.into()])?;
    put_keys(tx, id, keys)?;
    handled::forget_saved(tx, id)?;
    devices::end_tokens(tx, id)?;
    devices::forget_password(tx, id)?;
    epoch.ok_or_else(gone)
}

/// Adds keys for a hash that the account lacks (XEP-0480): the password is the same, so no session has to
/// end. False if it has such keys, or another epoch than the login that they come from.
pub fn add_keys(
    tx: &mut dyn Tx,
    id: AccountId,
    epoch: i64,
    keys: &ScramKeys,
) -> Result<bool, StoreError> {
    let account = get(tx, id)?.filter(|account| account.epoch == epoch && !account.disabled);
    let hash = keys.hash.as_str();
    let has = query_optional(tx, HAS_KEYS, &[id.into(), hash.into()], |row| row.int(0))?;
    if account.is_none() || has.is_some() {
        return Ok(false);
    }
    tx.access_changed();
    put_keys(tx, id, std::slice::from_ref(keys))?;
    Ok(true)
}

/// The hashes that an account has keys for.
pub fn hashes(tx: &mut dyn Tx, id: AccountId) -> Result<Vec<HashName>, StoreError> {
    Ok(keys_of(tx, id)?.into_iter().map(|keys| keys.hash).collect())
}

/// The keys that can be read. Keys for a hash that a later release added are left out.
fn keys_of(tx: &mut dyn Tx, id: AccountId) -> Result<Vec<ScramKeys>, StoreError> {
    let keys = query_sound(tx, ("credential", id), KEYS, &[id.into()], scram_keys)?;
    Ok(keys.into_iter().flatten().collect())
}

/// Disables or enables an account; returns the epoch, which rises when it is disabled.
pub fn set_disabled(tx: &mut dyn Tx, id: AccountId, disabled: bool) -> Result<i64, StoreError> {
    tx.access_changed();
    let sql = if disabled { DISABLE } else { ENABLE };
    if disabled {
        handled::forget_saved(tx, id)?;
        devices::end_tokens(tx, id)?;
    }
    query_optional(tx, sql, &[id.into()], |row| row.int(0))?.ok_or_else(gone)
}

/// Gives an account this role. False if there is no account.
pub fn set_role(tx: &mut dyn Tx, id: AccountId, role: Role) -> Result<bool, StoreError> {
    Ok(tx.execute(SET_ROLE, &[id.into(), role.number().into()])? > 0)
}

/// At most `limit` accounts with a role above a user's.
pub fn admins(tx: &mut dyn Tx, limit: usize) -> Result<Vec<Account>, StoreError> {
    listed(tx, ADMINS, &[limit.into()])
}

/// Marks an account as removed: its logins and tokens are no longer valid, and its rows stay until it is
/// restored or deleted. False if there is no account.
pub fn remove(tx: &mut dyn Tx, id: AccountId, now: i64) -> Result<bool, StoreError> {
    tx.access_changed();
    handled::forget_saved(tx, id)?;
    devices::end_tokens(tx, id)?;
    Ok(tx.execute(REMOVE, &[id.into(), now.into()])? > 0)
}

/// Restores a removed account. False if it was not removed.
pub fn restore(tx: &mut dyn Tx, id: AccountId) -> Result<bool, StoreError> {
    tx.access_changed();
    Ok(tx.execute(RESTORE, &[id.into()])? > 0)
}

/// At most `limit` accounts that were removed before `at`, the earliest first.
pub fn removed_before(tx: &mut dyn Tx, at: i64, limit: usize) -> Result<Vec<Removed>, StoreError> {
    query_all(tx, REMOVED_BEFORE, &[at.into(), limit.into()], removed)
}

/// Deletes an account and the rows that go with it by foreign keys; false if there was none. For all else see
/// `modules::erase`.
pub fn delete(tx: &mut dyn Tx, id: AccountId) -> Result<bool, StoreError> {
    tx.access_changed();
    Ok(tx.execute(DELETE, &[id.into()])? > 0)
}

/// At most `limit` accounts of one host or of all hosts, in the order of host and localpart, starting after
/// the given (host, localpart). Accounts that cannot be read are left out.
pub fn list(
    tx: &mut dyn Tx,
    host: Option<&str>,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Account>, StoreError> {
    let (after_host, after_localpart) = after.unwrap_or(("", ""));
    match host {
        Some(host) => {
            // Within one host only the localpart advances.
            let after = if after_host > host { return Ok(Vec::new()) } else { after_localpart };
            let after = if after_host < host { "" } else { after };
            let params = [host.into(), after.into(), limit.into()];
            listed(tx, LIST_HOST, &params)
        }
        None => {
            let params = [after_host.into(), after_localpart.into(), limit.into()];
            listed(tx, LIST, &params)
        }
    }
}

/// Records when an account became unavailable or its last session ended, with its last status.
pub fn note_left(store: &Store, account: AccountId, at: SystemTime, status: Option<&str>) {
    let status = status.map(|status| shortened(status).to_owned());
    // No caller waits for it, so it is written within a second, with other writes.
    let left = Left { account, at: micros(at), status };
    if let Err(error) = store.submit_deferred(Box::new(left)) {
        tracing::warn!(%error, "a last logout could not be stored");
    }
}

struct Left {
    account: AccountId,
    at: i64,
    status: Option<String>,
}

impl Job for Left {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        set_last_logout(tx, self.account, self.at, self.status.as_deref())
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a last logout could not be stored");
        }
    }
}

fn shortened(status: &str) -> &str {
    let fits = |end: &usize| *end <= STATUS_BYTES_MAX && status.is_char_boundary(*end);
    let end = (0..=status.len()).rev().find(fits).unwrap_or(0);
    status.get(..end).unwrap_or_default()
}

/// Maximum size of a status: it is a line for people, and there is one for each account.
const STATUS_BYTES_MAX: usize = 1_024;

/// Records when the account was last online.
pub fn set_last_logout(
    tx: &mut dyn Tx,
    id: AccountId,
    at: i64,
    status: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(SET_LAST, &[id.into(), at.into(), status.into()])?;
    Ok(())
}

/// When the account was last online; `None` if it never was.
pub fn last_logout(tx: &mut dyn Tx, id: AccountId) -> Result<Option<LastLogout>, StoreError> {
    query_optional(tx, GET_LAST, &[id.into()], |row| {
        let status = sound((TABLE, id), row.opt_text(1)).flatten();
        Ok(LastLogout { at: row.int(0)?, status })
    })
}

/// The error for a write to an account that was deleted meanwhile.
pub(super) fn gone() -> StoreError {
    StoreError::Constraint("the account is gone".to_owned())
}

fn put_keys(tx: &mut dyn Tx, id: AccountId, keys: &[ScramKeys]) -> Result<(), StoreError> {
    for keys in keys {
        let params = [
            id.into(),
            keys.hash.as_str().into(),
            (&keys.salt).into(),
            keys.iterations.into(),
            (&keys.stored_key).into(),
            (&keys.server_key).into(),
        ];
        tx.execute(PUT_KEYS, &params)?;
    }
    Ok(())
}

fn listed(tx: &mut dyn Tx, sql: &str, params: &[Value<'_>]) -> Result<Vec<Account>, StoreError> {
    let accounts = query_all(tx, sql, params, |row| {
        let id = AccountId(row.int(0).unwrap_or(0));
        Ok(sound((TABLE, id), account(row)))
    })?;
    Ok(accounts.into_iter().flatten().collect())
}

fn account(row: &dyn Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(row.int(0)?),
        localpart: row.text(1)?,
        host: row.text(2)?,
        disabled: row.bool(3)?,
        epoch: row.int(4)?,
        created: row.int(5)?,
        roster_ver: row.int(6)?,
        role: Role::of_number(row.int(7)?),
    })
}

fn removed(row: &dyn Row) -> Result<Removed, StoreError> {
    Ok(Removed { account: account(row)?, at: row.int(8)? })
}

fn scram_keys(row: &dyn Row) -> Result<Option<ScramKeys>, StoreError> {
    let Some(hash) = HashName::parse(&row.text(0)?) else {
        return Ok(None);
    };
    // Without this check, a damaged count would be used to hash a password sent in full.
    let iterations = u32::try_from(row.int(2)?).ok().filter(|n| (1..=ITERATIONS_MAX).contains(n));
    let iterations =
        iterations.ok_or_else(|| StoreError::Corrupt("a count of iterations".to_owned()))?;
    let (salt, stored_key, server_key) = (row.blob(1)?, row.blob(3)?, row.blob(4)?);
    if salt.is_empty() || stored_key.is_empty() || server_key.len() != stored_key.len() {
        return Err(StoreError::Corrupt("keys of a wrong size".to_owned()));
    }
    Ok(Some(ScramKeys { hash, salt, iterations, stored_key, server_key }))
}

const TABLE: &str = "account";
/// Maximum number of iterations in a sound row; the configuration allows a million.
const ITERATIONS_MAX: u32 = 10_000_000;

super::sql! {
    FIND = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role FROM account
        WHERE localpart = $1 AND host = $2 AND removed IS NULL";
    FIND_REMOVED = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role, removed
        FROM account WHERE localpart = $1 AND host = $2 AND removed IS NOT NULL";
    TAKEN = "SELECT id FROM account WHERE localpart = $1 AND host = $2";
    NAME = "SELECT localpart, host FROM account WHERE id = $1";
    GET = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role FROM account
        WHERE id = $1 AND removed IS NULL";
    LIST = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role FROM account
        WHERE (host, localpart) > ($1, $2) AND removed IS NULL ORDER BY host, localpart LIMIT $3";
    LIST_HOST = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role FROM account
        WHERE host = $1 AND localpart > $2 AND removed IS NULL ORDER BY localpart LIMIT $3";
    CREATE = "INSERT INTO account (localpart, host, created) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING id";
    REMOVE = "UPDATE account SET removed = $2, epoch = epoch + 1
        WHERE id = $1 AND removed IS NULL";
    RESTORE = "UPDATE account SET removed = NULL WHERE id = $1 AND removed IS NOT NULL";
    REMOVED_BEFORE = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role, removed
        FROM account WHERE removed < $1 ORDER BY removed, id LIMIT $2";
    DELETE = "DELETE FROM account WHERE id = $1";
    RAISE_EPOCH = "UPDATE account SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch";
    DISABLE = "UPDATE account SET disabled = 1, epoch = epoch + 1 WHERE id = $1 RETURNING epoch";
    SET_ROLE = "UPDATE account SET role = $2 WHERE id = $1 AND removed IS NULL";
    ADMINS = "SELECT id, localpart, host, disabled, epoch, created, roster_ver, role FROM account
        WHERE role > 0 AND removed IS NULL LIMIT $1";
    ENABLE = "UPDATE account SET disabled = 0 WHERE id = $1 RETURNING epoch";
    KEYS = "SELECT hash, salt, iterations, stored_key, server_key FROM credential
        WHERE account = $1 ORDER BY hash";
    HAS_KEYS = "SELECT iterations FROM credential WHERE account = $1 AND hash = $2";
    PUT_KEYS = "INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key)
        VALUES ($1, $2, $3, $4, $5, $6)";
    DELETE_KEYS = "DELETE FROM credential WHERE account = $1";
    SET_LAST = "UPDATE account SET last_logout = $2, last_status = $3 WHERE id = $1";
    GET_LAST = "SELECT last_logout, last_status FROM account
        WHERE id = $1 AND last_logout IS NOT NULL";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn keys_of(hash: HashName, fill: u8) -> ScramKeys {
        let (salt, key) = (vec![fill; 16], vec![fill; 32]);
        ScramKeys { hash, salt, iterations: 4096, stored_key: key.clone(), server_key: key }
    }

    fn made(tx: &mut dyn Tx, localpart: &str, host: &str) -> AccountId {
        let keys = [keys_of(HashName::Sha1, 1), keys_of(HashName::Sha256, 2)];
        match create(tx, localpart, host, &keys, 7).unwrap() {
            Creation::Created(id) => id,
            other => panic!("{localpart}@{host}: {other:?}"),
        }
    }

    #[test]
    fn an_account_reads_back_with_its_keys() {
        testing::tx(|tx| {
            let id = made(tx, "romeo", "a.example");
            let (account, sha1) = keys(tx, "romeo", "a.example", HashName::Sha1).unwrap().unwrap();
            assert_eq!((account.id, account.created, account.epoch), (id, 7, 1));
            assert!(!account.disabled && sha1 == keys_of(HashName::Sha1, 1));
            assert!(keys(tx, "romeo", "a.example", HashName::Sha512).unwrap().is_none());
            for (prefer, want) in [
                (HashName::Sha1, keys_of(HashName::Sha1, 1)),
                (HashName::Sha512, keys_of(HashName::Sha256, 2)),
            ] {
                let (_, best) = any_keys(tx, "romeo", "a.example", prefer).unwrap().unwrap();
                assert!(best == want);
                assert!(any_keys(tx, "romeo", "b.example", prefer).unwrap().is_none());
            }
            assert_eq!(get(tx, id).unwrap(), find(tx, "romeo", "a.example").unwrap());
        });
    }

    #[test]
    fn a_name_is_given_once_and_a_key_never_again() {
        testing::tx(|tx| {
            let first = made(tx, "romeo", "a.example");
            assert_eq!(create(tx, "romeo", "a.example", &[], 8), Ok(Creation::Exists));
            assert_eq!(delete(tx, first), Ok(true));
            assert_eq!(delete(tx, first), Ok(false));
            assert_ne!(made(tx, "romeo", "a.example"), first);
        });
    }

    /// A removed account is missing except for its name; restored, it is complete again.
    #[test]
    fn a_removed_account_is_nobodys_until_it_is_restored() {
        testing::tx(|tx| {
            let id = made(tx, "romeo", "a.example");
            made(tx, "stays", "a.example");
            assert_eq!((remove(tx, id, 50), remove(tx, id, 60)), (Ok(true), Ok(false)));
            assert_eq!(find(tx, "romeo", "a.example"), Ok(None));
            assert_eq!(get(tx, id), Ok(None));
            assert!(all_keys(tx, "romeo", "a.example").unwrap().is_none());
            assert_eq!(list(tx, None, None, 9).unwrap().len(), 1);
            assert_eq!(list(tx, Some("a.example"), None, 9).unwrap().len(), 1);
            assert_eq!(create(tx, "romeo", "a.example", &[], 8), Ok(Creation::Removed));
            let name = ("romeo".to_owned(), "a.example".to_owned());
            assert_eq!(self::name(tx, id), Ok(Some(Some(name))));
            assert_eq!(add_keys(tx, id, 2, &keys_of(HashName::Sha512, 3)), Ok(false));
            let removed = find_removed(tx, "romeo", "a.example").unwrap().unwrap();
            assert_eq!((removed.account.id, removed.at), (id, 50));
            assert_eq!(find_removed(tx, "stays", "a.example"), Ok(None));
            assert_eq!(removed_before(tx, 50, 9), Ok(vec![]));
            assert_eq!(removed_before(tx, 51, 9), Ok(vec![removed]));
            assert_eq!((restore(tx, id), restore(tx, id)), (Ok(true), Ok(false)));
            // Logins from before the removal stay invalid.
            let (back, keys) = all_keys(tx, "romeo", "a.example").unwrap().unwrap();
            assert_eq!((back.id, back.epoch, keys.len()), (id, 2, 2));
            assert_eq!(removed_before(tx, i64::MAX, 9), Ok(vec![]));
        });
    }

    #[test]
    fn the_epoch_rises_when_what_it_opened_must_shut() {
        testing::tx(|tx| {
            let id = made(tx, "romeo", "a.example");
            assert_eq!(set_keys(tx, id, &[keys_of(HashName::Sha512, 3)]), Ok(2));
            assert_eq!(set_disabled(tx, id, true), Ok(3));
            assert!(get(tx, id).unwrap().unwrap().disabled);
            assert_eq!(set_disabled(tx, id, false), Ok(3));
            let (_, all) = all_keys(tx, "romeo", "a.example").unwrap().unwrap();
            assert!(all == [keys_of(HashName::Sha512, 3)]);
            assert!(set_disabled(tx, AccountId(99), true).is_err());
            assert!(set_keys(tx, AccountId(99), &[]).is_err());
        });
    }

    #[test]
    fn keys_are_added_where_there_are_none() {
        testing::tx(|tx| {
            let id = made(tx, "romeo", "a.example");
            let new = keys_of(HashName::Sha512, 3);
            assert_eq!(add_keys(tx, id, 2, &new), Ok(false), "of another epoch");
            assert_eq!(add_keys(tx, AccountId(99), 1, &new), Ok(false));
            assert_eq!(add_keys(tx, id, 1, &keys_of(HashName::Sha1, 3)), Ok(false));
            assert_eq!(hashes(tx, id), Ok(vec![HashName::Sha1, HashName::Sha256]));
            assert_eq!(
                (add_keys(tx, id, 1, &new), add_keys(tx, id, 1, &new)),
                (Ok(true), Ok(false))
            );
            assert_eq!(hashes(tx, id), Ok(HashName::ALL.to_vec()));
            let (account, all) = all_keys(tx, "romeo", "a.example").unwrap().unwrap();
            assert!(account.epoch == 1 && all[0] == keys_of(HashName::Sha1, 1));
            set_disabled(tx, id, true).unwrap();
            assert_eq!(add_keys(tx, id, 2, &new), Ok(false));
        });
    }

    #[test]
    fn a_list_goes_on_after_the_last_seen() {
        testing::tx(|tx| {
            for (localpart, host) in [("b", "x"), ("a", "y"), ("a", "x"), ("c", "x")] {
                made(tx, localpart, host);
            }
            for (host, after, limit, expected) in [
                (None, None, 9, "a@x b@x c@x a@y"),
                (None, Some(("x", "b")), 9, "c@x a@y"),
                (None, Some(("x", "b")), 1, "c@x"),
                (Some("x"), None, 2, "a@x b@x"),
                (Some("x"), Some(("x", "b")), 9, "c@x"),
                (Some("x"), Some(("y", "a")), 9, ""),
                (Some("y"), Some(("x", "b")), 9, "a@y"),
            ] {
                let page = list(tx, host, after, limit).unwrap();
                let names: Vec<_> =
                    page.iter().map(|a| format!("{}@{}", a.localpart, a.host)).collect();
                assert_eq!(names.join(" "), expected, "{host:?} {after:?} {limit}");
            }
        });
    }

    #[test]
    fn a_status_is_cut_between_characters() {
        let long = "ä".repeat(STATUS_BYTES_MAX);
        assert_eq!(shortened(&long).len(), STATUS_BYTES_MAX);
        assert_eq!(shortened(&format!("a{}", "ä".repeat(STATUS_BYTES_MAX))).len(), 1_023);
        assert_eq!(shortened("bye"), "bye");
    }

    #[test]
    fn the_last_logout_is_unknown_until_there_was_one() {
        testing::tx(|tx| {
            let id = made(tx, "romeo", "a.example");
            assert_eq!(last_logout(tx, id), Ok(None));
            set_last_logout(tx, id, 5, Some("bye")).unwrap();
            let last = last_logout(tx, id).unwrap().unwrap();
            assert_eq!(last, LastLogout { at: 5, status: Some("bye".to_owned()) });
            set_last_logout(tx, id, 6, None).unwrap();
            assert_eq!(last_logout(tx, id).unwrap().unwrap().status, None);
        });
    }

    #[test]
    fn a_deleted_account_leaves_no_row_in_any_table() {
        use super::super::{mailbox, roster};
        testing::tx(|tx| {
            let (gone, stays) = (made(tx, "a", "x"), made(tx, "b", "x"));
            for id in [gone, stays] {
                let groups = vec!["g".to_owned()];
                let item = roster::Item { jid: "c@d".to_owned(), groups, ..Default::default() };
                roster::put(tx, id, &item).unwrap();
                roster::put_request(tx, id, "c@d", b"<presence/>", 1).unwrap();
                mailbox::append(tx, id, id.0, b"<message/>", 1).unwrap();
            }
            delete(tx, gone).unwrap();
            for table in ["credential", "roster_item", "roster_group", "roster_request", "mailbox"]
            {
                let sql = format!("SELECT DISTINCT account FROM {table}");
                assert_eq!(
                    query_all(tx, &sql, &[], |row| row.int(0)),
                    Ok(vec![stays.0]),
                    "{table}"
                );
            }
            assert!(mailbox::append(tx, gone, 50, b"<message/>", 1).is_err());
            let item = roster::Item { jid: "c@d".to_owned(), ..Default::default() };
            assert!(roster::put(tx, gone, &item).is_err());
        });
    }
}
