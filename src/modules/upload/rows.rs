//! What is known of files and slots. A row is first marked as one to be deleted, which takes it off the total;
//! then the file is deleted, and the row with it.

use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};

/// What a file is for (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages, ephemeral ones too.
    Message,
    /// A profile.
    Profile,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Message, Self::Profile];

    const fn number(self) -> i64 {
        match self {
            Self::Message => 0,
            Self::Profile => 1,
        }
    }
}

/// A slot as it is given.
#[derive(Debug)]
pub(super) struct NewSlot {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) media_type: Option<String>,
    pub(super) size: i64,
    /// When the file has to be gone; `i64::MAX`: whenever.
    pub(super) expires: i64,
    pub(super) token: String,
}

/// What an account may have, and all together.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) day_bytes: i64,
    pub(super) day_files: i64,
    pub(super) account_bytes: i64,
    pub(super) bytes: i64,
    /// How long a slot is good, in microseconds.
    pub(super) slot: i64,
}

/// The outcome of a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// It is given; whether older files made room.
    Slot(bool),
    /// Not before this time.
    Later(i64),
    /// There is no room.
    Full,
}

/// A file, or a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) media_type: Option<String>,
    pub(super) size: i64,
    pub(super) made: i64,
    pub(super) expires: i64,
    /// Set as long as it is a slot.
    pub(super) token: Option<String>,
}

/// Gives a slot, if the account may have it: its size is taken off what the account has, whatever becomes of it.
pub(super) fn slot(
    tx: &mut dyn Tx,
    slot: &NewSlot,
    bounds: &Bounds,
    now: i64,
) -> Result<Given, StoreError> {
    if let Some(at) = later(tx, slot, bounds, now)? {
        return Ok(Given::Later(at));
    }
    let own = query_one(tx, BYTES_OF, &[slot.account.into()], |row| row.int(0))?;
    let over = own.saturating_add(slot.size).saturating_sub(bounds.account_bytes);
    let Some(mut buried) = make_room(tx, Some(slot.account), over)? else {
        return Ok(Given::Full);
    };
    let over = total(tx)?.saturating_add(slot.size).saturating_sub(bounds.bytes);
    match make_room(tx, None, over)? {
        Some(more) => buried += more,
        None => return Ok(Given::Full),
    }
    let params = [
        (&slot.id).into(),
        slot.account.into(),
        slot.kind.number().into(),
        (&slot.name).into(),
        slot.media_type.as_deref().into(),
        slot.size.into(),
        now.into(),
        slot.expires.into(),
        (&slot.token).into(),
    ];
    tx.execute(PUT, &params)?;
    tx.execute(ADD, &[slot.size.into()])?;
    Ok(Given::Slot(buried > 0))
}

/// When enough of what the account uploaded is a day old, if it has to wait for that.
fn later(
    tx: &mut dyn Tx,
    slot: &NewSlot,
    bounds: &Bounds,
    now: i64,
) -> Result<Option<i64>, StoreError> {
    let lapsed = now.saturating_sub(bounds.slot);
    let most = bounds.day_files.saturating_add(1);
    let params = [slot.account.into(), now.saturating_sub(DAY).into(), lapsed.into(), most.into()];
    let today = query_all(tx, TODAY, &params, |row| Ok((row.int(0)?, row.int(1)?)))?;
    let mut bytes = today.iter().fold(slot.size, |sum, (_, size)| sum.saturating_add(*size));
    let mut files = i64::try_from(today.len()).unwrap_or(i64::MAX).saturating_add(1);
    let mut at = None;
    for (made, size) in today {
        if bytes <= bounds.day_bytes && files <= bounds.day_files {
            break;
        }
        bytes = bytes.saturating_sub(size);
        files -= 1;
        at = Some(made.saturating_add(DAY));
    }
    Ok(at)
}

/// Marks the oldest files, of an account or of all; the number of them, or none if they are not enough.
fn make_room(
    tx: &mut dyn Tx,
    account: Option<AccountId>,
    over: i64,
) -> Result<Option<usize>, StoreError> {
    let (found, enough) = oldest(tx, account, over)?;
    if !enough {
        return Ok(None);
    }
    for id in &found {
        bury(tx, id)?;
    }
    Ok(Some(found.len()))
}

/// The oldest files of so many bytes, those of profiles last; and whether there are so many.
fn oldest(
    tx: &mut dyn Tx,
    account: Option<AccountId>,
    mut over: i64,
) -> Result<(Vec<String>, bool), StoreError> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        if over <= 0 {
            break;
        }
        let row = |row: &dyn Row| Ok((row.text(0)?, row.int(1)?));
        let kind = kind.number().into();
        let old = match account {
            Some(account) => query_all(tx, OLDEST_OF, &[account.into(), kind, BATCH.into()], row)?,
            None => query_all(tx, OLDEST, &[kind, BATCH.into()], row)?,
        };
        for (id, size) in old {
            if over > 0 {
                over = over.saturating_sub(size);
                found.push(id);
            }
        }
    }
    Ok((found, over <= 0))
}

/// Marks what is over the bound of all; whether there may be more.
pub(super) fn shed(tx: &mut dyn Tx, most: i64) -> Result<bool, StoreError> {
    let over = total(tx)?.saturating_sub(most);
    let (found, enough) = oldest(tx, None, over)?;
    for id in &found {
        bury(tx, id)?;
    }
    Ok(!enough && !found.is_empty())
}

/// The file or slot of an id.
pub(super) fn find(tx: &mut dyn Tx, id: &str) -> Result<Option<File>, StoreError> {
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
pub(super) fn finish(
    tx: &mut dyn Tx,
    id: &str,
    media_type: Option<&str>,
    now: i64,
) -> Result<bool, StoreError> {
    Ok(tx.execute(FINISH, &[id.into(), now.into(), media_type.into()])? > 0)
}

/// The account's files are to be deleted.
pub(super) fn account_deleted(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    let bytes = query_one(tx, BYTES_OF, &[account.into()], |row| row.int(0))?;
    if tx.execute(BURY_OF, &[account.into()])? > 0 {
        tx.execute(ADD, &[bytes.saturating_neg().into()])?;
    }
    Ok(())
}

/// Slots that were given before, and no file came.
pub(super) fn lapsed(tx: &mut dyn Tx, before: i64) -> Result<Vec<String>, StoreError> {
    query_all(tx, LAPSED, &[before.into(), BATCH.into()], |row| row.text(0))
}

/// Marks a slot; no file.
pub(super) fn bury_slot(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    let size = query_optional(tx, BURY_SLOT, &[id.into()], |row| row.int(0))?;
    subtract(tx, size)
}

/// Marks files whose time has come; whether there may be more.
pub(super) fn bury_old(
    tx: &mut dyn Tx,
    now: i64,
    before: [Option<i64>; 2],
) -> Result<bool, StoreError> {
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

/// What is to be deleted.
pub(super) fn dead(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    query_all(tx, DEAD, &[BATCH.into()], |row| row.text(0))
}

/// The file is gone.
pub(super) fn forget(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    tx.execute(FORGET, &[id.into()]).map(drop)
}

fn bury(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    let size = query_optional(tx, BURY, &[id.into()], |row| row.int(0))?;
    subtract(tx, size)
}

fn subtract(tx: &mut dyn Tx, size: Option<i64>) -> Result<(), StoreError> {
    if let Some(size) = size {
        tx.execute(ADD, &[size.saturating_neg().into()])?;
    }
    Ok(())
}

/// Bytes of all files and slots.
pub(super) fn kept(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    total(tx)
}

fn total(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, TOTAL, &[], |row| row.int(0))
}

/// For the quota: rows only, as files have bounds of their own.
pub(super) const WEIGHTS: &[&str] = &[WEIGH];
/// In microseconds.
pub(super) const DAY: i64 = 86_400_000_000;
/// Rows that are looked at in one transaction.
pub(super) const BATCH: usize = 500;

crate::store::sql! {
    PUT = "INSERT INTO upload (id, account, kind, name, media_type, size, made, expires, token)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    ADD = "UPDATE upload_total SET bytes = bytes + $1 WHERE one = 1";
    TOTAL = "SELECT bytes FROM upload_total WHERE one = 1";
    TODAY = "SELECT made, size FROM upload WHERE account = $1 AND made > $2
        AND (token IS NULL OR made > $3) ORDER BY made LIMIT $4";
    BYTES_OF = "SELECT COALESCE(SUM(size), 0) FROM upload WHERE account = $1 AND expires > 0";
    OLDEST_OF = "SELECT id, size FROM upload WHERE account = $1 AND kind = $2 AND token IS NULL
        AND expires > 0 ORDER BY made LIMIT $3";
    OLDEST = "SELECT id, size FROM upload WHERE kind = $1 AND token IS NULL AND expires > 0
        ORDER BY made LIMIT $2";
    WEIGH = "SELECT COALESCE(SUM(OCTET_LENGTH(name)), 0), COUNT(*) FROM upload WHERE account = $1";
    FIND = "SELECT name, media_type, size, made, expires, token FROM upload WHERE id = $1";
    FINISH = "UPDATE upload SET token = NULL, made = $2, media_type = $3
        WHERE id = $1 AND token IS NOT NULL AND expires > $2";
    BURY = "UPDATE upload SET expires = 0 WHERE id = $1 AND expires > 0 RETURNING size";
    BURY_SLOT = "UPDATE upload SET expires = 0 WHERE id = $1 AND expires > 0
        AND token IS NOT NULL RETURNING size";
    BURY_OF = "UPDATE upload SET expires = 0 WHERE account = $1 AND expires > 0";
    LAPSED = "SELECT id FROM upload WHERE token IS NOT NULL AND made <= $1 AND expires > 0
        ORDER BY made LIMIT $2";
    ENDED = "SELECT id FROM upload WHERE expires > 0 AND expires <= $1 ORDER BY expires LIMIT $2";
    OLD = "SELECT id FROM upload WHERE kind = $1 AND made <= $2 AND token IS NULL AND expires > 0
        ORDER BY made LIMIT $3";
    DEAD = "SELECT id FROM upload WHERE expires = 0 LIMIT $1";
    FORGET = "DELETE FROM upload WHERE id = $1 AND expires = 0";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    fn new(id: &str, account: i64, size: i64) -> NewSlot {
        NewSlot {
            id: id.to_owned(),
            account: AccountId(account),
            kind: Kind::Message,
            name: "a".to_owned(),
            media_type: None,
            size,
            expires: i64::MAX,
            token: "t".to_owned(),
        }
    }

    const BOUNDS: Bounds =
        Bounds { day_bytes: 100, day_files: 3, account_bytes: 150, bytes: 200, slot: 300 };

    #[test]
    fn a_day_has_its_bounds_and_says_when_it_ends() {
        testing::tx(|tx| {
            let (now, bounds) = (10 * DAY, Bounds { bytes: 400, ..BOUNDS });
            let slot = |tx: &mut dyn Tx, new: &NewSlot, now| slot(tx, new, &bounds, now).unwrap();
            assert_eq!(slot(tx, &new("a", 1, 60), now), Given::Slot(false));
            assert_eq!(slot(tx, &new("b", 1, 50), now), Given::Later(now + DAY));
            assert_eq!(slot(tx, &new("b", 2, 50), now), Given::Slot(false));
            assert!(finish(tx, "a", None, now + 1).unwrap());
            assert!(!finish(tx, "a", None, now + 1).unwrap(), "a token is good once");
            // A slot that nobody used is not counted any more.
            assert_eq!(slot(tx, &new("c", 2, 60), now + 300), Given::Slot(false));
            assert_eq!(
                slot(tx, &new("d", 1, 50), now + 9),
                Given::Later(now + 1 + DAY)
            );
            assert_eq!(
                slot(tx, &new("d", 1, 50), now + 1 + DAY),
                Given::Slot(false)
            );
        });
    }

    #[test]
    fn the_oldest_make_room_and_the_total_stays_exact() {
        testing::tx(|tx| {
            for (day, id, account) in [(1, "a", 1), (2, "b", 1), (3, "c", 2)] {
                let now = day * DAY * 2;
                assert!(matches!(
                    slot(tx, &new(id, account, 60), &BOUNDS, now).unwrap(),
                    Given::Slot(false)
                ));
                assert!(finish(tx, id, None, now).unwrap());
            }
            assert_eq!(total(tx).unwrap(), 180);
            // Its own oldest.
            let given = slot(tx, &new("d", 1, 60), &BOUNDS, 9 * DAY).unwrap();
            assert_eq!((given, dead(tx).unwrap()), (Given::Slot(true), vec!["a".to_owned()]));
            assert!(finish(tx, "d", None, 9 * DAY).unwrap());
            // Anybody's oldest.
            let given = slot(tx, &new("e", 3, 60), &BOUNDS, 10 * DAY).unwrap();
            assert_eq!(
                (given, dead(tx).unwrap()),
                (Given::Slot(true), vec!["a".into(), "b".into()])
            );
            assert_eq!(total(tx).unwrap(), 180);
            // Slots make no room.
            let bounds = Bounds { bytes: 60, ..BOUNDS };
            let given = slot(tx, &new("f", 4, 60), &bounds, 10 * DAY).unwrap();
            assert_eq!((given, total(tx).unwrap()), (Given::Full, 180));
            account_deleted(tx, AccountId(1)).unwrap();
            account_deleted(tx, AccountId(1)).unwrap();
            assert_eq!(total(tx).unwrap(), 120);
            bury_slot(tx, "c").unwrap();
            bury_slot(tx, "e").unwrap();
            assert_eq!(total(tx).unwrap(), 60);
            assert!(bury_old(tx, 0, [Some(6 * DAY), None]).unwrap());
            assert!(!bury_old(tx, 0, [Some(6 * DAY), None]).unwrap());
            assert_eq!(total(tx).unwrap(), 0);
            for id in dead(tx).unwrap() {
                forget(tx, &id).unwrap();
            }
            assert!(find(tx, "a").unwrap().is_none() && dead(tx).unwrap().is_empty());
        });
    }
}
