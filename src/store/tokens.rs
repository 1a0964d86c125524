//! The tokens with which devices log in (XEP-0484): at most two for each, the current one and the next.
//!
//! A token is computed from a nonce with a key of the server and is not stored: the mechanisms need its text
//! for each login, so a hash would be of no use. A leaked table opens no account without the key; a leak of
//! the whole database has both, as long as the tokens last.

use super::accounts::{self, Account};
use super::damage::query_sound;
use super::devices::{self, Device, DeviceId};
use super::ids::AccountId;
use super::meta;
use super::tx::{Row, StoreError, Tx, Value, query_optional};
use crate::base::credential::AgentId;
use crate::base::hash::{base64, hmac_sha256};
use crate::base::id::{OsRng, Rng};

/// Which of a device's two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A token that was used before, or the one that the next replaces.
    Current,
    /// A token that was issued and not used yet.
    Next,
}

impl From<Slot> for Value<'_> {
    fn from(slot: Slot) -> Self {
        Self::Int(i64::from(slot == Slot::Next))
    }
}

/// An issued token. No `Debug`: anyone who has it can log in.
#[derive(Clone)]
pub struct Token {
    /// Its device.
    pub device: DeviceId,
    /// Its slot.
    pub slot: Slot,
    /// The only mechanism that it works with.
    pub mechanism: String,
    /// The secret that the client has.
    pub secret: String,
    /// When it was made, in microseconds since 1970.
    pub issued: i64,
    /// The moment from which it is no longer valid.
    pub expires: i64,
    nonce: Vec<u8>,
}

/// The data that a login by token is checked against.
pub struct Known {
    /// The account.
    pub account: Account,
    /// The device that the client claims to be.
    pub device: Device,
    /// Its tokens, the next one first (XEP-0484 §5.1).
    pub tokens: Vec<Token>,
}

/// A token to be issued.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its mechanism.
    pub mechanism: &'a str,
    /// The account's epoch at the login: if the password was changed since, no token is issued.
    pub epoch: i64,
    /// Random bytes.
    pub nonce: [u8; 32],
    /// Now, in microseconds since 1970.
    pub at: i64,
    /// Its expiry.
    pub expires: i64,
}

/// Returns the tokens of a device. Includes those of a disabled account, but not those of an older epoch.
pub fn lookup(
    tx: &mut dyn Tx,
    localpart: &str,
    host: &str,
    agent: &AgentId,
) -> Result<Option<Known>, StoreError> {
    let account = accounts::find(tx, localpart, host)?;
    // Looked up even without an account: the time this takes must not reveal whether an account or a device
    // exists.
    let (id, epoch) = account.as_ref().map_or((AccountId(0), 0), |found| (found.id, found.epoch));
    let device = devices::find(tx, id, agent)?;
    let device_id = device.as_ref().map_or(DeviceId(0), |found| found.id);
    let key = meta::get(tx, meta::TOKEN_KEY)?.and_then(|key| key.try_into().ok());
    let map = |row: &dyn Row| token(row, device_id, key.as_ref());
    let tokens = query_sound(tx, ("token", id), LOOKUP, &[device_id.into(), epoch.into()], map)?;
    let Some((account, device)) = account.zip(device) else { return Ok(None) };
    Ok(Some(Known { account, device, tokens: tokens.into_iter().flatten().collect() }))
}

/// Issues a device's next token. `None` if the account is disabled, its epoch is another, or the device is
/// gone. A next token that was issued before and not used becomes invalid (§3.5).
pub fn issue(
    tx: &mut dyn Tx,
    device: DeviceId,
    wanted: &Wanted<'_>,
) -> Result<Option<String>, StoreError> {
    let mut fresh = [0; 32];
    OsRng.fill(&mut fresh);
    let key = meta::get_or_create_secret(tx, meta::TOKEN_KEY, &fresh)?;
    let params = [
        device.into(),
        wanted.mechanism.into(),
        wanted.nonce[..].into(),
        wanted.epoch.into(),
        wanted.at.into(),
        wanted.expires.into(),
    ];
    let issued = tx.execute(ISSUE, &params)? > 0;
    if issued {
        // §3.5: a used token ends those with an earlier expiry; this keeps the next token from being one of
        // them.
        tx.execute(CAP, &[device.into(), wanted.expires.into()])?;
    }
    Ok(issued.then(|| secret(&key, &wanted.nonce)))
}

/// Records that a login used the token. Using the next token ends the current one (§3.5, §5.1); a `count`
/// must be above those before it (§3.4). False if the token was used up or revoked meanwhile: then the login
/// fails.
///
/// The token is found in either slot: of two logins at once, the first may have made it the current one.
pub fn used(tx: &mut dyn Tx, token: &Token, count: Option<u64>) -> Result<bool, StoreError> {
    let which: [Value<'_>; 2] = [token.device.into(), (&token.nonce).into()];
    let Some(is_next) = query_optional(tx, IS_NEXT, &which, |row| row.bool(0))? else {
        return Ok(false);
    };
    if let Some(count) = count {
        let [device, nonce] = which;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if tx.execute(COUNT, &[device, nonce, count.into()])? == 0 {
            return Ok(false);
        }
    }
    if is_next {
        tx.execute(END_CURRENT, &[token.device.into()])?;
        tx.execute(PROMOTE, &[token.device.into()])?;
    }
    Ok(true)
}

/// Ends the device's tokens, because the client no longer wants them (§3.6).
pub fn invalidate(tx: &mut dyn Tx, device: DeviceId) -> Result<(), StoreError> {
    tx.execute(END, &[device.into()])?;
    Ok(())
}

/// Deletes at most `limit` tokens that expired before `at`; returns their number. Until they are deleted, a
/// login with one gets an error that says that it expired (§4.2).
pub fn expire(tx: &mut dyn Tx, at: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(EXPIRE, &[at.into(), limit.into()])
}

/// The token's text for the client: 256 bits.
fn secret(key: &[u8; 32], nonce: &[u8]) -> String {
    base64(&hmac_sha256(key, &[nonce]))
}

fn token(
    row: &dyn Row,
    device: DeviceId,
    key: Option<&[u8; 32]>,
) -> Result<Option<Token>, StoreError> {
    let nonce = row.blob(2)?;
    let Some(key) = key else { return Ok(None) };
    Ok(Some(Token {
        device,
        slot: if row.bool(0)? { Slot::Next } else { Slot::Current },
        mechanism: row.text(1)?,
        secret: secret(key, &nonce),
        nonce,
        issued: row.int(3)?,
        expires: row.int(4)?,
    }))
}

super::sql! {
    LOOKUP = "SELECT slot, mechanism, nonce, issued, expires FROM token
        WHERE device = $1 AND epoch = $2 ORDER BY slot DESC";
    ISSUE = "INSERT INTO token (device, slot, mechanism, nonce, epoch, issued, expires)
        SELECT device.id, 1, $2, $3, account.epoch, $5, $6
            FROM device JOIN account ON account.id = device.account
            WHERE device.id = $1 AND account.epoch = $4 AND account.disabled = 0
        ON CONFLICT (device, slot) DO UPDATE SET mechanism = excluded.mechanism,
            nonce = excluded.nonce, epoch = excluded.epoch, issued = excluded.issued,
            expires = excluded.expires, count = NULL";
    CAP = "UPDATE token SET expires = $2 WHERE device = $1 AND slot = 0 AND expires > $2";
    COUNT = "UPDATE token SET count = $3 WHERE device = $1 AND nonce = $2
        AND (count IS NULL OR count < $3)";
    IS_NEXT = "SELECT slot FROM token WHERE device = $1 AND nonce = $2";
    END_CURRENT = "DELETE FROM token WHERE device = $1 AND slot = 0";
    PROMOTE = "UPDATE token SET slot = 0 WHERE device = $1 AND slot = 1";
    END = "DELETE FROM token WHERE device = $1";
    EXPIRE = "DELETE FROM token WHERE (device, slot) IN
        (SELECT device, slot FROM token WHERE expires < $1 LIMIT $2)";
}

#[cfg(test)]
mod tests {
    use super::super::devices::Seen;
    use super::super::testing;
    use super::super::tx::query_all;
    use super::*;

    fn agent() -> AgentId {
        AgentId::of("a")
    }

    fn device(tx: &mut dyn Tx, me: AccountId) -> DeviceId {
        devices::put_seen(tx, me, &Seen::new(agent(), "", "", 0), 9).unwrap()
    }

    fn wanted(nonce: u8) -> Wanted<'static> {
        let at = i64::from(nonce);
        Wanted { mechanism: "HT", epoch: 1, nonce: [nonce; 32], at, expires: at + 100 }
    }

    fn known(tx: &mut dyn Tx) -> Vec<Token> {
        let found = lookup(tx, "romeo", "montague.example", &agent()).unwrap();
        found.map_or(Vec::new(), |known| known.tokens)
    }

    fn secrets(tx: &mut dyn Tx) -> Vec<String> {
        known(tx).into_iter().map(|token| token.secret).collect()
    }

    #[test]
    fn the_current_token_lasts_until_the_next_is_used() {
        testing::account_tx(|tx, me| {
            let device = device(tx, me);
            let one = issue(tx, device, &wanted(1)).unwrap().unwrap();
            assert_eq!(one.len(), 44);
            assert!(secrets(tx) == std::slice::from_ref(&one));
            let tokens = known(tx);
            assert_eq!((tokens[0].slot, tokens[0].expires), (Slot::Next, 101));
            assert_eq!(used(tx, &tokens[0], None), Ok(true));
            // Another login found it in its old slot (XEP-0484 §3.4 does not forbid that).
            assert_eq!(used(tx, &tokens[0], None), Ok(true), "it stands elsewhere now");
            assert_eq!(known(tx)[0].slot, Slot::Current);
            // A token that the client never received.
            let lost = issue(tx, device, &wanted(2)).unwrap().unwrap();
            let stale = known(tx).remove(0);
            assert_eq!(secrets(tx), [lost.clone(), one.clone()]);
            let two = issue(tx, device, &wanted(3)).unwrap().unwrap();
            assert!(two != lost && two != one);
            assert_eq!(used(tx, &stale, None), Ok(false), "replaced meanwhile");
            assert_eq!(secrets(tx), [two.clone(), one.clone()]);
            let tokens = known(tx);
            // With the old token again: the next one stays.
            assert_eq!(used(tx, &tokens[1], None), Ok(true));
            assert_eq!(secrets(tx), [two.clone(), one]);
            assert_eq!(used(tx, &tokens[0], None), Ok(true));
            assert_eq!(secrets(tx), [two]);
            let sooner = Wanted { expires: 50, ..wanted(4) };
            issue(tx, device, &sooner).unwrap();
            assert!(known(tx).iter().all(|token| token.expires == 50), "§3.5");
            issue(tx, device, &wanted(5)).unwrap();
            assert_eq!(known(tx)[1].expires, 50);
            invalidate(tx, device).unwrap();
            assert!(secrets(tx).is_empty());
        });
    }

    #[test]
    fn a_count_rises() {
        testing::account_tx(|tx, me| {
            let device = device(tx, me);
            issue(tx, device, &wanted(1)).unwrap();
            let next = known(tx).remove(0);
            assert_eq!(used(tx, &next, Some(0)), Ok(true));
            // The slot that it had before; its count moved with it.
            assert_eq!(used(tx, &next, Some(0)), Ok(false));
            assert_eq!(used(tx, &next, Some(1)), Ok(true));
            let token = known(tx).remove(0);
            for (count, want) in [
                (Some(0), false),
                (Some(2), true),
                (Some(2), false),
                (Some(1), false),
                (None, true),
                (Some(u64::MAX), true),
                (Some(u64::MAX), false),
            ] {
                assert_eq!(used(tx, &token, count), Ok(want), "{count:?}");
            }
            // Another token starts its own count.
            issue(tx, device, &wanted(2)).unwrap();
            let next = known(tx).remove(0);
            assert_eq!(used(tx, &next, Some(1)), Ok(true));
        });
    }

    #[test]
    fn what_shuts_the_account_ends_its_tokens() {
        type Shut = fn(&mut dyn Tx, AccountId);
        let shuts: [Shut; 5] = [
            |tx, me| assert!(accounts::set_keys(tx, me, &[]).is_ok()),
            |tx, me| assert!(accounts::set_disabled(tx, me, true).is_ok()),
            |tx, me| assert!(accounts::delete(tx, me).is_ok()),
            |tx, me| assert!(devices::revoke(tx, me, &agent()).is_ok()),
            |tx, me| assert!(devices::revoke_all(tx, me).is_ok()),
        ];
        for shut in shuts {
            testing::account_tx(|tx, me| {
                let device = device(tx, me);
                issue(tx, device, &wanted(1)).unwrap();
                let token = known(tx).remove(0);
                shut(tx, me);
                assert!(known(tx).is_empty());
                assert_eq!(used(tx, &token, None), Ok(false));
                assert_eq!(issue(tx, device, &wanted(2)), Ok(None), "the login is of before");
                let rows = query_all(tx, "SELECT device FROM token", &[], |row| row.int(0));
                assert_eq!(rows, Ok(Vec::new()));
            });
        }
    }

    #[test]
    fn another_account_or_device_or_nobody_has_none_of_it() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "juliet");
            let device = device(tx, me);
            let seen = Seen::new(agent(), "", "", 0);
            devices::put_seen(tx, other, &seen, 9).unwrap();
            devices::put_seen(tx, me, &Seen::new(AgentId::of("b"), "", "", 0), 9).unwrap();
            issue(tx, device, &wanted(1)).unwrap();
            for (name, id, tokens) in [
                ("romeo", "a", Some(1)),
                ("romeo", "b", Some(0)),
                ("romeo", "c", None),
                ("juliet", "a", Some(0)),
                ("nobody", "a", None),
            ] {
                let found = lookup(tx, name, "montague.example", &AgentId::of(id)).unwrap();
                assert_eq!(found.map(|known| known.tokens.len()), tokens, "{name} {id}");
            }
            tx.execute("UPDATE account SET epoch = 2", &[]).unwrap();
            assert!(known(tx).is_empty(), "of an older epoch");
        });
    }

    #[test]
    fn old_tokens_are_swept_and_without_the_key_none_is_known() {
        testing::account_tx(|tx, me| {
            let device = device(tx, me);
            let before = issue(tx, device, &wanted(1)).unwrap();
            assert_eq!((expire(tx, 101, 9), known(tx).len()), (Ok(0), 1));
            let list = devices::list(tx, me).unwrap();
            assert_eq!(list[0].token_until, Some(101));
            meta::set(tx, meta::TOKEN_KEY, &[9; 32]).unwrap();
            assert_ne!(Some(secrets(tx).remove(0)), before);
            tx.execute("DELETE FROM meta", &[]).unwrap();
            assert!(known(tx).is_empty());
            assert_eq!((expire(tx, 102, 9), expire(tx, 102, 9)), (Ok(1), Ok(0)));
        });
    }
}
