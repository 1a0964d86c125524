//! XEP-0198: how many stanzas of a stream were handled (promise.md 6), and the sessions that sleep
//! over a restart (promise.md 11).

use super::damage::{self, query_sound_one};
use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, query_all};

/// How far a stream was handled, to be written with the rows that made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// SHA-256 of the SM-ID: the id itself opens a session, and is kept nowhere.
    pub id: [u8; 32],
    /// Whose stream.
    pub account: AccountId,
    /// XEP-0198's count.
    pub h: u32,
    /// Now, in microseconds since 1970.
    pub at: i64,
}

/// Keeps the count.
pub fn put(tx: &mut dyn Tx, seal: &Seal) -> Result<(), StoreError> {
    let lately = seal.at.saturating_sub(AT_FRESH);
    if tx.execute(COUNT, &[seal.id[..].into(), seal.h.into(), lately.into()])? == 0 {
        let params = [seal.id[..].into(), seal.account.into(), seal.h.into(), seal.at.into()];
        tx.execute(PUT, &params)?;
    }
    Ok(())
}

/// The count of a stream of this account; none if it cannot be read.
pub fn get(tx: &mut dyn Tx, id: &[u8; 32], account: AccountId) -> Result<Option<u32>, StoreError> {
    query_sound_one(tx, ("handled", account), GET, &[id[..].into(), account.into()], |row| {
        let h = u32::try_from(row.int(0)?);
        h.map_err(|_| StoreError::Corrupt("a count of stanzas out of range".to_owned()))
    })
}

/// Forgets a stream: nobody will ask for it.
pub fn forget(tx: &mut dyn Tx, id: &[u8; 32]) -> Result<(), StoreError> {
    tx.execute(FORGET, &[id[..].into()])?;
    Ok(())
}

/// Forgets streams that were written last before `at`, `limit` at most; how many there were.
pub fn forget_before(tx: &mut dyn Tx, at: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET_BEFORE, &[at.into(), limit.into()])
}

/// Puts a session to sleep.
pub fn lay_down(
    tx: &mut dyn Tx,
    id: &[u8; 32],
    account: AccountId,
    state: &[u8],
) -> Result<(), StoreError> {
    tx.execute(LAY_DOWN, &[id[..].into(), account.into(), state.into()])?;
    Ok(())
}

/// A session that slept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleeper {
    /// As in [`Seal::id`].
    pub id: [u8; 32],
    /// Whose.
    pub account: AccountId,
    /// As it was laid down.
    pub state: Vec<u8>,
}

/// Takes some sessions out of their beds, `limit` at most: they are in memory from now on, whoever wrote
/// them, for there is one process that may. None for one that cannot be read.
pub fn wake(tx: &mut dyn Tx, limit: usize) -> Result<Vec<Option<Sleeper>>, StoreError> {
    let sleepers = query_all(tx, SLEEPERS, &[limit.into()], |row| {
        let account = AccountId(row.int(1).unwrap_or(0));
        Ok(damage::sound((SLEEPER_TABLE, account), sleeper(row)))
    })?;
    // By their order and not by their ids, which may be what is damaged.
    if tx.execute(WAKE, &[sleepers.len().into()])? < sleepers.len() {
        tx.execute(WAKE_NAMELESS, &[])?;
    }
    Ok(sleepers)
}

fn sleeper(row: &dyn Row) -> Result<Sleeper, StoreError> {
    let id = row.blob(0)?.try_into();
    let id = id.map_err(|_| StoreError::Corrupt("a sleeper's id has a wrong size".into()))?;
    Ok(Sleeper { id, account: AccountId(row.int(1)?), state: row.blob(2)? })
}

/// The account's sessions that sleep over a restart do not go on: what opened them is shut. Those of
/// an account that is deleted go with it.
pub fn wake_none(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(WAKE_NONE, &[account.into()])?;
    Ok(())
}

/// What is in its states is not read here.
pub const SLEEPER_TABLE: &str = "sleeper";
/// The time of a count may lag by a minute: to move it costs two steps in an index.
const AT_FRESH: i64 = 60_000_000;

super::sql! {
    COUNT = "UPDATE handled SET h = $2 WHERE id = $1 AND at > $3";
    PUT = "INSERT INTO handled (id, account, h, at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET h = excluded.h, at = excluded.at";
    GET = "SELECT h FROM handled WHERE id = $1 AND account = $2";
    FORGET = "DELETE FROM handled WHERE id = $1";
    FORGET_BEFORE = "DELETE FROM handled WHERE id IN
        (SELECT id FROM handled WHERE at < $1 LIMIT $2)";
    LAY_DOWN = "INSERT INTO sleeper (id, account, state) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state";
    SLEEPERS = "SELECT id, account, state FROM sleeper ORDER BY id LIMIT $1";
    WAKE = "DELETE FROM sleeper WHERE id IN (SELECT id FROM sleeper ORDER BY id LIMIT $1)";
    WAKE_NAMELESS = "DELETE FROM sleeper WHERE id IS NULL";
    WAKE_NONE = "DELETE FROM sleeper WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::super::{Job, testing};
    use super::*;

    #[test]
    fn a_count_is_the_accounts_own_and_the_last_one() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            let seal = |h, at| Seal { id: [1; 32], account: me, h, at: at * AT_FRESH };
            for (h, at) in [(1, 10), (u32::MAX, 11), (0, 30)] {
                put(tx, &seal(h, at)).unwrap();
                assert_eq!(get(tx, &[1; 32], me), Ok(Some(h)));
            }
            assert_eq!(get(tx, &[1; 32], other), Ok(None));
            assert_eq!(get(tx, &[2; 32], me), Ok(None));
            put(tx, &Seal { id: [2; 32], ..seal(5, 10) }).unwrap();
            assert_eq!(forget_before(tx, 30 * AT_FRESH, 9), Ok(1));
            assert_eq!(get(tx, &[1; 32], me), Ok(Some(0)));
            // The time may lag, the count may not.
            put(tx, &Seal { at: 30 * AT_FRESH + 9, ..seal(7, 0) }).unwrap();
            assert_eq!(get(tx, &[1; 32], me), Ok(Some(7)));
            assert_eq!(forget_before(tx, 30 * AT_FRESH + 1, 9), Ok(1));
            assert_eq!(get(tx, &[1; 32], me), Ok(None));
            put(tx, &seal(8, 30)).unwrap();
            forget(tx, &[1; 32]).unwrap();
            assert_eq!(get(tx, &[1; 32], me), Ok(None));
        });
    }

    /// promise.md 6: in the transaction of the rows that it covers.
    #[tokio::test]
    async fn a_batch_writes_the_last_count_of_each_stream() {
        struct Counted(Seal);
        impl Job for Counted {
            fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
                Ok(())
            }
            fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
            fn seal(&self) -> Option<Seal> {
                Some(self.0)
            }
        }
        let (_folder, store) = testing::store();
        let me = store.write(|tx| Ok(testing::account(tx, "romeo"))).await.unwrap();
        let held = testing::hold(&store);
        for (id, h) in [(1, 1), (2, 5), (1, 2), (1, 3)] {
            let seal = Seal { id: [id; 32], account: me, h, at: 0 };
            store.submit(Box::new(Counted(seal))).unwrap();
        }
        drop(held);
        store.barrier().await.unwrap();
        let counts = move |tx: &mut dyn Tx| Ok((get(tx, &[1; 32], me)?, get(tx, &[2; 32], me)?));
        assert_eq!(store.read(counts).await, Ok((Some(3), Some(5))));
    }

    #[test]
    fn sleepers_wake_once() {
        testing::account_tx(|tx, me| {
            for n in 0..3 {
                lay_down(tx, &[n; 32], me, &[n]).unwrap();
            }
            let first = wake(tx, 2).unwrap();
            assert_eq!(first.len(), 2);
            let sleeper = Sleeper { id: [0; 32], account: me, state: vec![0] };
            assert_eq!(first[0], Some(sleeper));
            lay_down(tx, &[9; 32], me, &[9]).unwrap();
            tx.execute("UPDATE sleeper SET id = x'00' WHERE state = x'02'", &[]).unwrap();
            let rest = wake(tx, 9).unwrap();
            assert_eq!((rest.len(), rest[0].clone(), rest[1].is_some()), (2, None, true));
            assert!(wake(tx, 9).unwrap().is_empty());
        });
    }
}
