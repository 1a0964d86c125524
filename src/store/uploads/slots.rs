//! Slots: who may have one, and which files make room for it.

use std::collections::BTreeSet;

use super::super::ids::AccountId;
use super::super::tx::{Row, StoreError, Tx, query_all, query_one};
use super::rows::{BATCH, DAY, Kind, add, bury, bury_slot, bytes_of, total};

/// A slot as it is given.
#[derive(Debug)]
pub struct NewSlot {
    /// By which the file is found.
    pub id: String,
    /// Whose it is.
    pub account: AccountId,
    /// What for.
    pub kind: Kind,
    /// Its name, for people.
    pub name: String,
    /// What its owner says it is.
    pub media_type: Option<String>,
    /// In bytes.
    pub size: i64,
    /// When the file has to be gone; `i64::MAX`: whenever.
    pub expires: i64,
    /// The right to upload it.
    pub token: String,
}

/// What an account may have, and all together.
#[derive(Debug)]
pub struct Bounds {
    /// Bytes that an account uploads in a day, or asks for.
    pub day_bytes: i64,
    /// Files that it uploads in a day.
    pub day_files: i64,
    /// Bytes that are kept of an account.
    pub account_bytes: i64,
    /// Bytes of its permanent files.
    pub permanent_bytes: i64,
    /// Bytes that are kept in all.
    pub bytes: i64,
    /// How long a slot is good, in microseconds.
    pub slot: i64,
}

/// The outcome of a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// It is given; whether older files made room.
    Slot(bool),
    /// Not before this time.
    Later(i64),
    /// There is no room.
    Full,
    /// There is none for more permanent files of the account.
    PermanentFull,
}

/// Gives a slot, if the account may have it: its size is taken off what the account has, whatever becomes of it.
pub fn slot(
    tx: &mut dyn Tx,
    slot: &NewSlot,
    bounds: &Bounds,
    now: i64,
) -> Result<Given, StoreError> {
    if let Some(at) = later(tx, slot, bounds, now)? {
        return Ok(Given::Later(at));
    }
    if slot.kind == Kind::Permanent {
        let own = query_one(tx, PERMANENT_OF, &[slot.account.into()], |row| row.int(0))?;
        if own.saturating_add(slot.size) > bounds.permanent_bytes {
            return Ok(Given::PermanentFull);
        }
    }
    let mut room = Room::default();
    let own = bytes_of(tx, slot.account)?;
    let over = own.saturating_add(slot.size).saturating_sub(bounds.account_bytes);
    if !room.gather(tx, Some(slot.account), over, PAGES)? {
        return Ok(Given::Full);
    }
    let kept = total(tx)?.saturating_sub(room.bytes);
    let over = kept.saturating_add(slot.size).saturating_sub(bounds.bytes);
    if !room.gather(tx, None, over, PAGES)? {
        return Ok(Given::Full);
    }
    // Who gets no slot has lost nothing.
    room.make(tx)?;
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
    add(tx, slot.size)?;
    Ok(Given::Slot(!room.files.is_empty()))
}

/// Marks slots of an account whose time is over, but for those whose upload has begun; they count for the day still.
pub fn lapse(
    tx: &mut dyn Tx,
    account: AccountId,
    before: i64,
    has_begun: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let params = [account.into(), before.into(), BATCH.into()];
    let old = query_all(tx, LAPSED_OF, &params, |row| row.text(0))?;
    let mut unused = old.iter().filter(|id| !has_begun(id));
    unused.try_for_each(|id| bury_slot(tx, id))
}

/// When enough of what the account uploaded, or asked for, is a day old, if it has to wait for that.
fn later(
    tx: &mut dyn Tx,
    slot: &NewSlot,
    bounds: &Bounds,
    now: i64,
) -> Result<Option<i64>, StoreError> {
    let most = bounds.day_files.saturating_add(1);
    let params = [slot.account.into(), now.saturating_sub(DAY).into(), most.into()];
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

/// Files that are to make room.
#[derive(Debug, Default)]
struct Room {
    files: BTreeSet<String>,
    bytes: i64,
}

impl Room {
    /// Adds the oldest files of so many bytes, those of profiles last; whether there are so many, as far as this many
    /// full pages say it. Permanent ones give way to no other file of their owner, and behind all others where the
    /// disk of all is meant. Nothing of a kind is added while there may be more of the one before.
    fn gather(
        &mut self,
        tx: &mut dyn Tx,
        account: Option<AccountId>,
        mut over: i64,
        mut pages: usize,
    ) -> Result<bool, StoreError> {
        for kind in Kind::ALL {
            if account.is_some() && kind == Kind::Permanent {
                break;
            }
            let mut after = (i64::MIN, String::new());
            while over > 0 {
                let page = oldest(tx, account, kind, &after)?;
                let is_full = page.len() >= BATCH;
                for (made, id, size) in page {
                    if over > 0 && self.files.insert(id.clone()) {
                        over = over.saturating_sub(size);
                        self.bytes = self.bytes.saturating_add(size);
                    }
                    after = (made, id);
                }
                if !is_full {
                    break;
                }
                pages = pages.saturating_sub(1);
                if pages == 0 {
                    return Ok(over <= 0);
                }
            }
        }
        Ok(over <= 0)
    }

    /// Marks them.
    fn make(&self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        self.files.iter().try_for_each(|id| bury(tx, id))
    }
}

/// The oldest files of a kind, behind this one: when they came, their ids and sizes.
fn oldest(
    tx: &mut dyn Tx,
    account: Option<AccountId>,
    kind: Kind,
    after: &(i64, String),
) -> Result<Vec<(i64, String, i64)>, StoreError> {
    let row = |row: &dyn Row| Ok((row.int(0)?, row.text(1)?, row.int(2)?));
    let (kind, made, id) = (kind.number().into(), after.0.into(), (&after.1).into());
    match account {
        Some(account) => {
            query_all(tx, OLDEST_OF, &[account.into(), kind, made, id, BATCH.into()], row)
        }
        None => query_all(tx, OLDEST, &[kind, made, id, BATCH.into()], row),
    }
}

/// Marks what is over the bound of all, a page at a time; whether there may be more.
pub fn shed(tx: &mut dyn Tx, most: i64) -> Result<bool, StoreError> {
    let over = total(tx)?.saturating_sub(most);
    let mut room = Room::default();
    let is_enough = room.gather(tx, None, over, 1)?;
    room.make(tx)?;
    Ok(!is_enough && !room.files.is_empty())
}

/// Full pages of files that are looked at to make room for one.
const PAGES: usize = 20;

super::super::sql! {
    PUT = "INSERT INTO upload (id, account, kind, name, media_type, size, made, expires, token)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    TODAY = "SELECT made, size FROM upload WHERE account = $1 AND made > $2 ORDER BY made LIMIT $3";
    LAPSED_OF = "SELECT id FROM upload WHERE account = $1 AND made <= $2 AND token IS NOT NULL
        AND expires > 0 ORDER BY made LIMIT $3";
    PERMANENT_OF = "SELECT COALESCE(SUM(size), 0) FROM upload WHERE account = $1 AND kind = 2
        AND expires > 0";
    OLDEST_OF = "SELECT made, id, size FROM upload WHERE account = $1 AND kind = $2
        AND (made, id) > ($3, $4) AND token IS NULL AND expires > 0 ORDER BY made, id LIMIT $5";
    OLDEST = "SELECT made, id, size FROM upload WHERE kind = $1 AND (made, id) > ($2, $3)
        AND token IS NULL AND expires > 0 ORDER BY made, id LIMIT $4";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::rows::{bury_all, bury_old, dead, find, finish, forget, lapsed};
    use super::*;

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

    /// What is to be deleted, whenever.
    fn gone(tx: &mut dyn Tx) -> Vec<String> {
        dead(tx, i64::MAX, "").unwrap()
    }

    const BOUNDS: Bounds = Bounds {
        day_bytes: 100,
        day_files: 3,
        account_bytes: 150,
        permanent_bytes: 70,
        bytes: 200,
        slot: 300,
    };

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
            // A slot that nobody used counts as long, marked or not; but for what is kept no longer than it is good.
            lapse(tx, AccountId(2), now, |id| id == "b").unwrap();
            assert_eq!((total(tx).unwrap(), gone(tx).len()), (110, 0), "its upload has begun");
            lapse(tx, AccountId(2), now - 1, |_| false).unwrap();
            assert_eq!(total(tx).unwrap(), 110, "it is good still");
            lapse(tx, AccountId(2), now, |_| false).unwrap();
            assert_eq!(total(tx).unwrap(), 60);
            assert!(dead(tx, now + DAY - 1, "").unwrap().is_empty());
            assert_eq!(slot(tx, &new("c", 2, 60), now + 300), Given::Later(now + DAY));
            assert_eq!(dead(tx, now + DAY, "").unwrap(), ["b"]);
            assert_eq!(slot(tx, &new("c", 2, 60), now + DAY), Given::Slot(false));
            assert_eq!(slot(tx, &new("d", 1, 50), now + 9), Given::Later(now + 1 + DAY));
            assert_eq!(slot(tx, &new("d", 1, 50), now + 1 + DAY), Given::Slot(false));
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
            assert_eq!((given, gone(tx)), (Given::Slot(true), vec!["a".to_owned()]));
            assert!(finish(tx, "d", None, 9 * DAY).unwrap());
            // Anybody's oldest.
            let given = slot(tx, &new("e", 3, 60), &BOUNDS, 10 * DAY).unwrap();
            assert_eq!((given, gone(tx)), (Given::Slot(true), vec!["a".into(), "b".into()]));
            assert_eq!(total(tx).unwrap(), 180);
            // Slots make no room.
            let bounds = Bounds { bytes: 60, ..BOUNDS };
            let given = slot(tx, &new("f", 4, 60), &bounds, 10 * DAY).unwrap();
            assert_eq!((given, total(tx).unwrap()), (Given::Full, 180));
            assert_eq!(bury_all(tx, AccountId(1)).unwrap(), 1);
            assert_eq!(bury_all(tx, AccountId(1)).unwrap(), 0);
            assert_eq!(total(tx).unwrap(), 120);
            bury_slot(tx, "c").unwrap();
            bury_slot(tx, "e").unwrap();
            assert_eq!(total(tx).unwrap(), 60);
            assert!(bury_old(tx, 0, [Some(6 * DAY), None]).unwrap());
            assert!(!bury_old(tx, 0, [Some(6 * DAY), None]).unwrap());
            assert_eq!(total(tx).unwrap(), 0);
            for id in gone(tx) {
                forget(tx, &id).unwrap();
            }
            assert!(find(tx, "a").unwrap().is_none() && gone(tx).is_empty());
        });
    }

    /// XEP-0363 §5.4: what is to stay gives way to nothing of its owner's, and to no age.
    #[test]
    fn permanent_files_stay() {
        testing::tx(|tx| {
            let kept = |id: &str, size| NewSlot { kind: Kind::Permanent, ..new(id, 1, size) };
            let day = |day: i64| day * DAY * 2;
            for (at, slot_of, want) in [
                (1, kept("a", 60), Given::Slot(false)),
                (2, kept("b", 20), Given::PermanentFull),
                (3, new("c", 1, 60), Given::Slot(false)),
                (4, new("d", 1, 60), Given::Slot(true)),
                (5, new("e", 1, 95), Given::Full),
            ] {
                assert_eq!(slot(tx, &slot_of, &BOUNDS, day(at)).unwrap(), want, "{}", slot_of.id);
                finish(tx, &slot_of.id, None, day(at)).unwrap();
            }
            assert_eq!(gone(tx), ["c"]);
            assert!(bury_old(tx, day(99), [Some(day(98)), Some(day(98))]).unwrap());
            assert_eq!(
                (total(tx).unwrap(), find(tx, "a").unwrap().unwrap().expires),
                (60, i64::MAX)
            );
            // But the server as a whole goes on.
            assert!(!shed(tx, 10).unwrap());
            assert_eq!(total(tx).unwrap(), 0);
        });
    }
    const WIDE: Bounds = Bounds {
        day_bytes: i64::MAX,
        day_files: i64::MAX,
        account_bytes: i64::MAX,
        permanent_bytes: i64::MAX,
        bytes: i64::MAX,
        slot: 300,
    };

    /// So many files of one byte for messages, and a younger one for the profile.
    fn many(tx: &mut dyn Tx, count: usize) {
        let avatar = NewSlot { kind: Kind::Profile, ..new("avatar", 1, 1) };
        let files = (0..count).map(|n| new(&format!("{n:05}"), 1, 1)).chain([avatar]);
        for (at, file) in (1..).zip(files) {
            slot(tx, &file, &WIDE, at).unwrap();
            assert!(finish(tx, &file.id, None, at).unwrap());
        }
    }

    #[test]
    fn no_profile_makes_room_while_there_are_other_files() {
        testing::tx(|tx| {
            many(tx, BATCH + 10);
            let kept = i64::try_from(BATCH).unwrap() + 11;
            let bounds = Bounds { account_bytes: kept, ..WIDE };
            let given = slot(tx, &new("own", 1, kept - 6), &bounds, DAY).unwrap();
            assert_eq!((given, total(tx).unwrap()), (Given::Slot(true), kept));
            assert!(find(tx, "avatar").unwrap().unwrap().expires > 0);
        });
        testing::tx(|tx| {
            many(tx, BATCH + 10);
            assert!(shed(tx, 6).unwrap(), "there is more than a page");
            assert_eq!(total(tx).unwrap(), 11);
            assert!(!shed(tx, 6).unwrap());
            assert!(find(tx, "avatar").unwrap().unwrap().expires > 0);
            assert_eq!(total(tx).unwrap(), 6);
            // When there is nothing else, it goes.
            assert!(!shed(tx, 0).unwrap());
            assert_eq!((total(tx).unwrap(), shed(tx, 0).unwrap()), (0, false));
        });
    }

    #[test]
    fn who_gets_no_slot_loses_nothing() {
        testing::tx(|tx| {
            slot(tx, &new("a", 1, 60), &WIDE, 1).unwrap();
            assert!(finish(tx, "a", None, 1).unwrap());
            slot(tx, &new("b", 2, 60), &WIDE, 2).unwrap();
            // Its own file would make room for it, but all together have none: slots are not taken back.
            let bounds = Bounds { account_bytes: 60, bytes: 100, ..WIDE };
            assert_eq!(slot(tx, &new("c", 1, 60), &bounds, 3).unwrap(), Given::Full);
            assert_eq!((total(tx).unwrap(), gone(tx).len()), (120, 0));
            // What the own files leave counts once.
            let bounds = Bounds { account_bytes: 60, bytes: 120, ..WIDE };
            assert_eq!(slot(tx, &new("c", 1, 60), &bounds, 3).unwrap(), Given::Slot(true));
            assert_eq!((total(tx).unwrap(), gone(tx)), (120, vec!["a".to_owned()]));
        });
    }

    /// What cannot go now, be it claimed or locked on the disk, hides nothing behind it.
    #[test]
    fn pages_go_on_behind_what_stays() {
        testing::tx(|tx| {
            for n in 0..=BATCH {
                slot(tx, &new(&format!("{n:05}"), 1, 1), &WIDE, 7).unwrap();
            }
            let page = lapsed(tx, 7, &(i64::MIN, String::new())).unwrap();
            assert_eq!(page.len(), BATCH);
            let rest = lapsed(tx, 7, page.last().unwrap()).unwrap();
            assert_eq!(rest, [(7, format!("{BATCH:05}"))]);
            assert_eq!(bury_all(tx, AccountId(1)).unwrap(), BATCH + 1);
            let page = gone(tx);
            assert_eq!(page.len(), BATCH);
            let rest = dead(tx, 0, page.last().unwrap()).unwrap();
            assert_eq!(rest, [format!("{BATCH:05}")]);
        });
    }

    /// The sums of an account are read from an index alone, and nobody's rows but its own for its files.
    #[test]
    fn sums_and_slots_have_their_indexes() {
        testing::tx(|tx| {
            for (name, sql) in CATALOGUE.iter().chain(super::super::rows::CATALOGUE) {
                let wanted = match name.rsplit(':').next() {
                    Some("BYTES_OF" | "PERMANENT_OF") => "COVERING INDEX upload_sums",
                    Some("OLDEST_OF") => "INDEX upload_own (account=? AND kind=?",
                    Some("LAPSED_OF") => "INDEX upload_own_slot",
                    Some("LAPSED") => "INDEX upload_slot",
                    Some("DEAD") => "INDEX upload_expires (expires=? AND id>?)",
                    _ => continue,
                };
                let plan = testing::plan(tx, sql);
                assert!(plan.iter().any(|step| step.contains(wanted)), "{name}: {plan:?}");
            }
        });
    }
}
