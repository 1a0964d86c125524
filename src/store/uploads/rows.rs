//! What is known of files and slots. A row is first marked as one to be deleted, which takes it off the total;
//! then the file is deleted, and the row with it.

use super::super::ids::AccountId;
use super::super::tx::{StoreError, Tx, query_all, query_one, query_optional};

/// What a file is for (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages, ephemeral ones too.
    Message,
    /// A profile.
    Profile,
    /// To stay.
    Permanent,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Message, Self::Profile, Self::Permanent];

    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Message => 0,
            Self::Profile => 1,
            Self::Permanent => 2,
        }
    }

    pub(super) const fn of(number: i64) -> Self {
        match number {
            1 => Self::Profile,
            2 => Self::Permanent,
            _ => Self::Message,
        }
    }

    /// As it is called in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Profile => "profile",
            Self::Permanent => "permanent",
        }
    }
}

/// A file, or a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// For people.
    pub name: String,
    /// What its owner says it is.
    pub media_type: Option<String>,
    /// In bytes.
    pub size: i64,
    /// When it came, in microseconds since 1970; of a slot, when it was given.
    pub made: i64,
    /// When it has to be gone. 0: it is to be deleted.
    pub expires: i64,
    /// Set as long as it is a slot.
    pub token: Option<String>,
}

/// The file or slot of an id.
pub fn find(tx: &mut dyn Tx, id: &str) -> Result<Option<File>, StoreError> {
    query_optional(tx, FIND, &[id.into()], |row| {
        Ok(File {
            name: row.text(0)?,
            media_type: row.opt_text(1)?,
            size: row.int(2)?,
            made: row.int(3)?,
            expires: row.int(4)?,
            token: row.opt_text(5)?,
        })
    })
}

/// The file of a slot is there. False if the slot is no more.
pub fn finish(
    tx: &mut dyn Tx,
    id: &str,
    media_type: Option<&str>,
    now: i64,
) -> Result<bool, StoreError> {
    Ok(tx.execute(FINISH, &[id.into(), now.into(), media_type.into()])? > 0)
}

/// All files and slots of an account are to be deleted; how many.
pub fn bury_all(tx: &mut dyn Tx, account: AccountId) -> Result<usize, StoreError> {
    let bytes = bytes_of(tx, account)?;
    let count = tx.execute(BURY_OF, &[account.into()])?;
    add(tx, bytes.saturating_neg())?;
    Ok(count)
}

/// Bytes of the files and slots of an account.
pub(super) fn bytes_of(tx: &mut dyn Tx, account: AccountId) -> Result<i64, StoreError> {
    query_one(tx, BYTES_OF, &[account.into()], |row| row.int(0))
}

/// Slots that were given before, and no file came: when, and the ids. They are behind this one, in that order.
pub fn lapsed(
    tx: &mut dyn Tx,
    before: i64,
    after: &(i64, String),
) -> Result<Vec<(i64, String)>, StoreError> {
    let params = [before.into(), after.0.into(), (&after.1).into(), BATCH.into()];
    query_all(tx, LAPSED, &params, |row| Ok((row.int(0)?, row.text(1)?)))
}

/// Marks a slot; no file.
pub fn bury_slot(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    let size = query_optional(tx, BURY_SLOT, &[id.into()], |row| row.int(0))?;
    subtract(tx, size)
}

/// Marks files whose time has come; whether there may be more.
pub fn bury_old(tx: &mut dyn Tx, now: i64, before: [Option<i64>; 2]) -> Result<bool, StoreError> {
    // Permanent ones have no third.
    let mut due = query_all(tx, ENDED, &[now.into(), BATCH.into()], |row| row.text(0))?;
    for (kind, before) in Kind::ALL.into_iter().zip(before) {
        let Some(before) = before else { continue };
        let params = [kind.number().into(), before.into(), BATCH.into()];
        due.extend(query_all(tx, OLD, &params, |row| row.text(0))?);
    }
    for id in &due {
        bury(tx, id)?;
    }
    Ok(!due.is_empty())
}

/// What is to be deleted, behind this one in the order of the ids. Slots that nobody used are, too, but not before
/// they are a day old: until then they count as what their account asked for.
pub fn dead(tx: &mut dyn Tx, now: i64, after: &str) -> Result<Vec<String>, StoreError> {
    let params = [now.saturating_sub(DAY).into(), after.into(), BATCH.into()];
    query_all(tx, DEAD, &params, |row| row.text(0))
}

/// The file is gone.
pub fn forget(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    tx.execute(FORGET, &[id.into()]).map(drop)
}

/// Marks a file or a slot.
pub(super) fn bury(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    let size = query_optional(tx, BURY, &[id.into()], |row| row.int(0))?;
    subtract(tx, size)
}

/// Takes what is marked off the total.
pub(super) fn subtract(tx: &mut dyn Tx, size: Option<i64>) -> Result<(), StoreError> {
    size.map_or(Ok(()), |size| add(tx, size.saturating_neg()))
}

/// Changes the total.
pub(super) fn add(tx: &mut dyn Tx, bytes: i64) -> Result<(), StoreError> {
    tx.execute(ADD, &[bytes.into()]).map(drop)
}

/// The bytes of all files and slots.
pub fn total(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, TOTAL, &[], |row| row.int(0))
}

/// For the quota: rows only, as files have bounds of their own.
pub const WEIGHTS: &[&str] = &[WEIGH];
/// A day in microseconds.
pub const DAY: i64 = 86_400_000_000;
/// Rows that are looked at in one transaction.
pub const BATCH: usize = 500;

super::super::sql! {
    ADD = "UPDATE upload_total SET bytes = bytes + $1 WHERE one = 1";
    TOTAL = "SELECT bytes FROM upload_total WHERE one = 1";
    BYTES_OF = "SELECT COALESCE(SUM(size), 0) FROM upload WHERE account = $1 AND expires > 0";
    WEIGH = "SELECT COALESCE(SUM(OCTET_LENGTH(name)), 0), COUNT(*) FROM upload WHERE account = $1";
    FIND = "SELECT name, media_type, size, made, expires, token FROM upload WHERE id = $1";
    FINISH = "UPDATE upload SET token = NULL, made = $2, media_type = $3
        WHERE id = $1 AND token IS NOT NULL AND expires > $2";
    BURY = "UPDATE upload SET expires = 0 WHERE id = $1 AND expires > 0 RETURNING size";
    BURY_SLOT = "UPDATE upload SET expires = 0 WHERE id = $1 AND expires > 0
        AND token IS NOT NULL RETURNING size";
    BURY_OF = "UPDATE upload SET expires = 0, token = NULL WHERE account = $1
        AND (expires > 0 OR token IS NOT NULL)";
    LAPSED = "SELECT made, id FROM upload WHERE token IS NOT NULL AND expires > 0 AND made <= $1
        AND (made, id) > ($2, $3) ORDER BY made, id LIMIT $4";
    ENDED = "SELECT id FROM upload WHERE expires > 0 AND expires <= $1 ORDER BY expires LIMIT $2";
    OLD = "SELECT id FROM upload WHERE kind = $1 AND made <= $2 AND token IS NULL AND expires > 0
        ORDER BY made LIMIT $3";
    DEAD = "SELECT id FROM upload WHERE expires = 0 AND (token IS NULL OR made <= $1) AND id > $2
        ORDER BY id LIMIT $3";
    FORGET = "DELETE FROM upload WHERE id = $1 AND expires = 0";
}
