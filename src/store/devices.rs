//! The devices of an account: client installations that sent an id of their own (XEP-0388 §2.3). Their tokens
//! are in `tokens`.

use super::damage::{query_sound, query_sound_one};
use super::handled;
use super::ids::AccountId;
use super::job::Job;
use super::tx::{Row, StoreError, Tx, Value, query_one};
use crate::base::credential::AgentId;
use crate::base::limits::{DEVICE_TEXT_CHARS_MAX, SEEN_AGAIN_MICROS};

/// A device's key in the store; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(pub i64);

impl From<DeviceId> for Value<'_> {
    fn from(id: DeviceId) -> Self {
        Self::Int(id.0)
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its key.
    pub id: DeviceId,
    /// The installation.
    pub agent: AgentId,
    /// The client's name for itself; may be empty.
    pub software: String,
    /// The system or device that it runs on; may be empty.
    pub name: String,
    /// Its first login, in microseconds since 1970.
    pub first_seen: i64,
    /// Its last login or the end of its last session, accurate to an hour.
    pub last_seen: i64,
    /// The time until which it can log in by token; `None` if it has no token.
    pub token_until: Option<i64>,
    /// Whether it has logged in since the password was last changed.
    pub knows_password: bool,
}

impl Device {
    /// Whether `seen` contains anything that is not stored yet.
    pub fn is_news(&self, seen: &Seen) -> bool {
        let differs = |new: &str, old: &str| !new.is_empty() && new != old;
        seen.at.saturating_sub(self.last_seen) > SEEN_AGAIN_MICROS
            || differs(&seen.software, &self.software)
            || differs(&seen.name, &self.name)
            || !self.knows_password
    }
}

/// What a login says about its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The installation.
    pub agent: AgentId,
    software: String,
    name: String,
    /// Now, in microseconds since 1970.
    pub at: i64,
    /// The account's devices that have a session now.
    pub online: Vec<AgentId>,
}

impl Seen {
    /// The texts come from an untrusted client: they are cut, and characters that would garble a list are
    /// removed.
    pub fn new(agent: AgentId, software: &str, name: &str, at: i64) -> Self {
        Self { agent, software: label(software), name: label(name), at, online: Vec::new() }
    }
}

fn label(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !is_direction(*c)).take(DEVICE_TEXT_CHARS_MAX).collect()
}

/// Whether the character changes the direction of the text after it, which in a list is the rest of the line.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Records that the device logged in. An account has at most `most` devices; the excess is deleted with its
/// tokens. Devices that never logged in by token are deleted first, because anyone with the password can make
/// up devices; among equals, those seen longest ago go first and those online last.
pub fn put_seen(
    tx: &mut dyn Tx,
    account: AccountId,
    seen: &Seen,
    most: usize,
) -> Result<DeviceId, StoreError> {
    let agent = seen.agent.bytes().as_slice();
    let params = [
        account.into(),
        agent.into(),
        (&seen.software).into(),
        (&seen.name).into(),
        seen.at.into(),
    ];
    let id = query_one(tx, PUT_SEEN, &params, |row| row.int(0))?;
    for online in &seen.online {
        tx.execute(TOUCH, &[account.into(), online.bytes().as_slice().into(), seen.at.into()])?;
    }
    let rest = [account.into(), id.into(), most.saturating_sub(1).into()];
    tx.execute(LEAVE_OUT, &rest)?;
    Ok(DeviceId(id))
}

/// [`put_seen`] as a write-behind, done only if there is something new.
pub struct Note {
    /// The account.
    pub account: AccountId,
    /// The login.
    pub seen: Seen,
    /// As in [`put_seen`].
    pub most: usize,
}

impl Job for Note {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let known = find(tx, self.account, &self.seen.agent)?;
        if known.is_none_or(|device| device.is_news(&self.seen)) {
            put_seen(tx, self.account, &self.seen, self.most)?;
        }
        Ok(())
    }

    fn settled(self: Box<Self>, _outcome: Result<(), StoreError>) {}
}

/// Records that a session of the device ended.
pub fn touch(
    tx: &mut dyn Tx,
    account: AccountId,
    agent: &AgentId,
    at: i64,
) -> Result<(), StoreError> {
    let params = [account.into(), agent.bytes().as_slice().into(), at.into()];
    tx.execute(
        TOUCH_HOURLY,
        &[&params[..], &[at.saturating_sub(SEEN_AGAIN_MICROS).into()]].concat(),
    )?;
    Ok(())
}

/// [`touch`] as a write-behind.
pub struct Touch {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub agent: AgentId,
    /// Now, in microseconds since 1970.
    pub at: i64,
}

impl Job for Touch {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        touch(tx, self.account, &self.agent, self.at)
    }

    fn settled(self: Box<Self>, _outcome: Result<(), StoreError>) {}
}

/// Returns a device of an account. A damaged row counts as missing: the next login by password writes it
/// anew.
pub fn find(
    tx: &mut dyn Tx,
    account: AccountId,
    agent: &AgentId,
) -> Result<Option<Device>, StoreError> {
    let params = [account.into(), agent.bytes().as_slice().into()];
    query_sound_one(tx, (TABLE, account), FIND, &params, device)
}

/// Returns all devices of an account, the most recently seen first; [`put_seen`] bounds their number.
pub fn list(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<Device>, StoreError> {
    query_sound(tx, (TABLE, account), LIST, &[account.into()], device)
}

/// The password was changed: no device knows the new one.
pub(super) fn forget_password(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(NO_PASSWORD, &[account.into()])?;
    Ok(())
}

/// The device knows the password, as it has set it.
pub fn knows_password(
    tx: &mut dyn Tx,
    account: AccountId,
    agent: &AgentId,
) -> Result<(), StoreError> {
    tx.execute(HAS_PASSWORD, &[account.into(), agent.bytes().as_slice().into()])?;
    Ok(())
}

/// Ends all tokens of an account.
pub(super) fn end_tokens(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(END_TOKENS, &[account.into()])?;
    Ok(())
}

/// Waits for the write-behinds of logins ([`Note`]), so that a list read afterwards includes them.
pub async fn noted(store: &super::Store) -> Result<(), StoreError> {
    store.write(|_| Ok(())).await
}

/// Deletes a device with its tokens; false if there was none. The caller ends its sessions.
pub fn revoke(tx: &mut dyn Tx, account: AccountId, agent: &AgentId) -> Result<bool, StoreError> {
    tx.access_changed();
    // Sessions that are saved for a restart do not record their device, so all go. This matters when no
    // server is running.
    handled::forget_saved(tx, account)?;
    Ok(tx.execute(REVOKE, &[account.into(), agent.bytes().as_slice().into()])? > 0)
}

/// Deletes all devices of an account; returns their number.
pub fn revoke_all(tx: &mut dyn Tx, account: AccountId) -> Result<usize, StoreError> {
    tx.access_changed();
    handled::forget_saved(tx, account)?;
    tx.execute(REVOKE_ALL, &[account.into()])
}

/// Deletes at most `limit` devices that were not seen since `before`; returns their number.
pub fn forget_before(tx: &mut dyn Tx, before: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET, &[before.into(), limit.into()])
}

fn device(row: &dyn Row) -> Result<Device, StoreError> {
    let agent = row.blob(1)?.try_into();
    let agent = agent.map_err(|_| StoreError::Corrupt("a device's id has a wrong size".into()))?;
    Ok(Device {
        id: DeviceId(row.int(0)?),
        agent: AgentId::from_bytes(agent),
        software: row.text(2)?,
        name: row.text(3)?,
        first_seen: row.int(4)?,
        last_seen: row.int(5)?,
        token_until: row.opt_int(6)?,
        knows_password: row.bool(7)?,
    })
}

const TABLE: &str = "device";

super::sql! {
    END_TOKENS = "DELETE FROM token WHERE device IN (SELECT id FROM device WHERE account = $1)";
    PUT_SEEN = "INSERT INTO device (account, agent, software, name, first_seen, last_seen)
        VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (account, agent) DO UPDATE SET
            software = CASE WHEN excluded.software = '' THEN device.software
                ELSE excluded.software END,
            name = CASE WHEN excluded.name = '' THEN device.name ELSE excluded.name END,
            last_seen = excluded.last_seen, password = 1
        RETURNING id";
    NO_PASSWORD = "UPDATE device SET password = 0 WHERE account = $1";
    HAS_PASSWORD = "UPDATE device SET password = 1 WHERE account = $1 AND agent = $2";
    LEAVE_OUT = "DELETE FROM device WHERE account = $1 AND id <> $2 AND id NOT IN
        (SELECT id FROM device WHERE account = $1 AND id <> $2
            ORDER BY EXISTS (SELECT 1 FROM token WHERE device = device.id AND slot = 0) DESC,
                last_seen DESC, id DESC LIMIT $3)";
    TOUCH = "UPDATE device SET last_seen = $3
        WHERE account = $1 AND agent = $2 AND last_seen < $3";
    TOUCH_HOURLY = "UPDATE device SET last_seen = $3
        WHERE account = $1 AND agent = $2 AND last_seen < $4";
    FIND = "SELECT id, agent, software, name, first_seen, last_seen,
            (SELECT MAX(expires) FROM token WHERE token.device = device.id), password
        FROM device WHERE account = $1 AND agent = $2";
    LIST = "SELECT id, agent, software, name, first_seen, last_seen,
            (SELECT MAX(expires) FROM token WHERE token.device = device.id), password
        FROM device WHERE account = $1 ORDER BY last_seen DESC, id DESC";
    REVOKE = "DELETE FROM device WHERE account = $1 AND agent = $2";
    REVOKE_ALL = "DELETE FROM device WHERE account = $1";
    FORGET = "DELETE FROM device WHERE id IN
        (SELECT id FROM device WHERE last_seen < $1 LIMIT $2)";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::super::tokens::{self, Wanted};
    use super::*;

    fn seen(id: &str, software: &str, name: &str, at: i64) -> Seen {
        Seen::new(AgentId::of(id), software, name, at)
    }

    #[test]
    fn a_device_is_known_again_and_keeps_what_it_said_once() {
        testing::account_tx(|tx, me| {
            let first = put_seen(tx, me, &seen("a", "Gajim", "desk", 1), 9).unwrap();
            let again = seen("a", "", "lap", SEEN_AGAIN_MICROS);
            assert!(find(tx, me, &again.agent).unwrap().unwrap().is_news(&again));
            assert_eq!(put_seen(tx, me, &again, 9), Ok(first));
            let device = find(tx, me, &again.agent).unwrap().unwrap();
            assert_eq!((device.software.as_str(), device.name.as_str()), ("Gajim", "lap"));
            assert_eq!((device.first_seen, device.last_seen), (1, SEEN_AGAIN_MICROS));
            assert!(!device.is_news(&again) && !device.is_news(&seen("a", "", "", 5)));
            touch(tx, me, &again.agent, SEEN_AGAIN_MICROS * 2).unwrap();
            assert_eq!(find(tx, me, &again.agent).unwrap().unwrap(), device, "within the hour");
            touch(tx, me, &again.agent, SEEN_AGAIN_MICROS * 3).unwrap();
            let later = find(tx, me, &again.agent).unwrap().unwrap();
            assert_eq!(later.last_seen, SEEN_AGAIN_MICROS * 3);
            let other = testing::account(tx, "other");
            assert_eq!(find(tx, other, &again.agent), Ok(None));
        });
    }

    #[test]
    fn the_newest_devices_of_an_account_stay() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            put_seen(tx, other, &seen("x", "", "", 0), 2).unwrap();
            for (at, id) in ["a", "b", "c", "a", "d"].iter().enumerate() {
                put_seen(tx, me, &seen(id, id, "", i64::try_from(at).unwrap()), 2).unwrap();
            }
            let left: Vec<_> = list(tx, me).unwrap().into_iter().map(|d| d.software).collect();
            assert_eq!(left, ["d", "a"]);
            // The new device stays, even if the clock went back.
            put_seen(tx, me, &seen("e", "e", "", -1), 1).unwrap();
            assert_eq!(list(tx, me).unwrap()[0].software, "e");
            assert_eq!((list(tx, me).unwrap().len(), list(tx, other).unwrap().len()), (1, 1));
        });
    }

    #[test]
    fn those_that_came_by_token_go_last() {
        testing::account_tx(|tx, me| {
            for (at, name) in [(1, "used"), (2, "given"), (3, "c")] {
                put_seen(tx, me, &seen(name, name, "", at), 3).unwrap();
            }
            for name in ["used", "given"] {
                let device = find(tx, me, &AgentId::of(name)).unwrap().unwrap().id;
                let (at, expires) = (1, 9);
                let wanted = Wanted { mechanism: "HT", epoch: 1, nonce: [1; 32], at, expires };
                tokens::issue(tx, device, &wanted).unwrap();
            }
            let known = tokens::lookup(tx, "romeo", "montague.example", &AgentId::of("used"));
            let token = known.unwrap().unwrap().tokens.remove(0);
            assert_eq!(tokens::used(tx, &token, None), Ok(true));
            for at in 4..9 {
                put_seen(tx, me, &seen(&at.to_string(), &at.to_string(), "", at), 3).unwrap();
            }
            let left: Vec<_> = list(tx, me).unwrap().into_iter().map(|d| d.software).collect();
            assert_eq!(left, ["8", "7", "used"]);
            for at in 9..14 {
                let mut seen = seen(&at.to_string(), &at.to_string(), "", at);
                seen.online = vec![AgentId::of("8"), AgentId::of("nobody")];
                put_seen(tx, me, &seen, 3).unwrap();
            }
            let left: Vec<_> = list(tx, me).unwrap().into_iter().map(|d| d.software).collect();
            assert_eq!(left, ["13", "8", "used"]);
        });
    }

    #[test]
    fn devices_go_when_they_are_revoked_or_not_seen_for_long() {
        testing::account_tx(|tx, me| {
            for (id, at) in [("a", 1), ("b", 2), ("c", 3)] {
                put_seen(tx, me, &seen(id, "", "", at), 9).unwrap();
            }
            let a = AgentId::of("a");
            let other = testing::account(tx, "other");
            assert_eq!(revoke(tx, other, &a), Ok(false));
            assert_eq!((revoke(tx, me, &a), revoke(tx, me, &a)), (Ok(true), Ok(false)));
            assert_eq!((forget_before(tx, 3, 9), forget_before(tx, 3, 9)), (Ok(1), Ok(0)));
            assert_eq!(list(tx, me).unwrap()[0].agent, AgentId::of("c"));
            assert_eq!((revoke_all(tx, me), revoke_all(tx, me)), (Ok(1), Ok(0)));
        });
    }

    #[test]
    fn what_a_device_says_of_itself_is_one_short_line() {
        for (text, want) in [
            ("Gajim 2", "Gajim 2"),
            (" a\n\tb\u{0}c ", "a b c"),
            ("\u{202e}evil", "evil"),
            ("", ""),
            (&"ß".repeat(500), &"ß".repeat(DEVICE_TEXT_CHARS_MAX)),
        ] {
            assert_eq!(label(text), want);
        }
    }
}
