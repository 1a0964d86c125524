//! XEP-0198: the handled counts of streams (promise.md 6), and the sessions that are saved for a restart
//! (promise.md 11).

use std::sync::Arc;

use super::damage::{self, query_sound_one};
use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, query_all};

/// Whose stream it is that counts: nobody else is told its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOwner {
    /// A client's.
    Account(AccountId),
    /// Another server's: the domain that it was first authenticated as.
    Peer(Arc<str>),
}

/// The handled count of a stream, written with the rows that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableCount {
    /// SHA-256 of the SM-ID. The id itself would let anyone resume the session, so it is stored nowhere.
    pub id: [u8; 32],
    /// Whose stream it is.
    pub owner: StreamOwner,
    /// XEP-0198's count.
    pub h: u32,
    /// Now, in microseconds since 1970.
    pub at: i64,
}

/// Stores the count.
pub fn put(tx: &mut dyn Tx, durable_count: &DurableCount) -> Result<(), StoreError> {
    let DurableCount { id, owner, h, at } = durable_count;
    let lately = at.saturating_sub(AT_FRESH);
    let counted = match owner {
        StreamOwner::Account(_) => tx.execute(COUNT, &[id[..].into(), (*h).into(), lately.into()]),
        StreamOwner::Peer(remote) => {
            let params = [id[..].into(), (*h).into(), lately.into(), (&**remote).into()];
            tx.execute(COUNT_OF_PEER, &params)
        }
    };
    if counted? > 0 {
        return Ok(());
    }
    match owner {
        StreamOwner::Account(account) => {
            let params = [id[..].into(), (*account).into(), (*h).into(), (*at).into()];
            tx.execute(PUT, &params)?;
        }
        StreamOwner::Peer(remote) => {
            let params = [id[..].into(), (&**remote).into(), (*h).into(), (*at).into()];
            tx.execute(PUT_OF_PEER, &params)?;
            // A server that opens stream after stream keeps the counts of so many. It names some of them itself, and
            // changes no other server's by that.
            tx.execute(FORGET_OF_PEER, &[(&**remote).into(), STREAMS_OF_PEER.into()])?;
        }
    }
    Ok(())
}

/// Returns the count of a stream of this account; `None` if it cannot be read.
pub fn get(tx: &mut dyn Tx, id: &[u8; 32], account: AccountId) -> Result<Option<u32>, StoreError> {
    query_sound_one(tx, ("handled", account), GET, &[id[..].into(), account.into()], |row| {
        let h = u32::try_from(row.int(0)?);
        h.map_err(|_| StoreError::Corrupt("a count of stanzas out of range".to_owned()))
    })
}

/// Returns the domain and the count of another server's stream.
pub fn get_of_peer(tx: &mut dyn Tx, id: &[u8; 32]) -> Result<Option<(String, u32)>, StoreError> {
    let found = query_all(tx, GET_OF_PEER, &[id[..].into()], |row| {
        let h = u32::try_from(row.int(1)?);
        let h = h.map_err(|_| StoreError::Corrupt("a count of stanzas out of range".to_owned()))?;
        Ok((row.text(0)?, h))
    })?;
    Ok(found.into_iter().next())
}

/// Deletes the count of a stream that no client will resume.
pub fn forget(tx: &mut dyn Tx, id: &[u8; 32]) -> Result<(), StoreError> {
    tx.execute(FORGET, &[id[..].into()])?;
    Ok(())
}

/// Deletes at most `limit` counts that were last written before `at`; returns their number.
pub fn forget_before(tx: &mut dyn Tx, at: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET_BEFORE, &[at.into(), limit.into()])
}

/// The same for the streams of other servers.
pub fn forget_peers_before(tx: &mut dyn Tx, at: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET_PEERS_BEFORE, &[at.into(), limit.into()])
}

/// Saves a session for a restart.
pub fn save_session(
    tx: &mut dyn Tx,
    id: &[u8; 32],
    account: AccountId,
    state: &[u8],
) -> Result<(), StoreError> {
    tx.execute(SAVE_SESSION, &[id[..].into(), account.into(), state.into()])?;
    Ok(())
}

/// A session that was saved for a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSession {
    /// As in [`DurableCount::id`].
    pub id: [u8; 32],
    /// Its account.
    pub account: AccountId,
    /// The state, as it was saved.
    pub state: Vec<u8>,
}

/// Takes at most `limit` saved sessions out of the table: from now on they are in memory. Only one process
/// uses the table, so it does not matter which one saved them. `None` stands for a session that cannot be
/// read.
pub fn take_saved(tx: &mut dyn Tx, limit: usize) -> Result<Vec<Option<SavedSession>>, StoreError> {
    let saved = query_all(tx, SAVED, &[limit.into()], |row| {
        let account = AccountId(row.int(1).unwrap_or(0));
        Ok(damage::sound((SAVED_TABLE, account), saved_session(row)))
    })?;
    // Deletes by their order and not by their ids, which may be the damaged part.
    if tx.execute(TAKE_SAVED, &[saved.len().into()])? < saved.len() {
        tx.execute(TAKE_NAMELESS, &[])?;
    }
    Ok(saved)
}

fn saved_session(row: &dyn Row) -> Result<SavedSession, StoreError> {
    let id = row.blob(0)?.try_into();
    let id = id.map_err(|_| StoreError::Corrupt("a sleeper's id has a wrong size".into()))?;
    Ok(SavedSession { id, account: AccountId(row.int(1)?), state: row.blob(2)? })
}

/// Deletes the account's saved sessions: they must not be resumed, because the credentials that opened them
/// are revoked. If the account is deleted, they go with it.
pub fn forget_saved(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    tx.execute(FORGET_SAVED, &[account.into()])?;
    Ok(())
}

/// For the damage log; the states themselves are not read here.
pub const SAVED_TABLE: &str = "sleeper";
/// The time of a count may lag by a minute, because changing it costs two steps in an index.
const AT_FRESH: i64 = 60_000_000;
/// Streams of one other server whose counts are kept: more than it has at a time, as each pair of domains may have two.
const STREAMS_OF_PEER: usize = 256;

super::sql! {
    COUNT = "UPDATE handled SET h = $2 WHERE id = $1 AND at > $3";
    PUT = "INSERT INTO handled (id, account, h, at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET h = excluded.h, at = excluded.at";
    GET = "SELECT h FROM handled WHERE id = $1 AND account = $2";
    COUNT_OF_PEER = "UPDATE peer_handled SET h = $2 WHERE id = $1 AND at > $3 AND remote = $4";
    PUT_OF_PEER = "INSERT INTO peer_handled (id, remote, h, at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET h = excluded.h, at = excluded.at
        WHERE peer_handled.remote = excluded.remote";
    GET_OF_PEER = "SELECT remote, h FROM peer_handled WHERE id = $1";
    FORGET_OF_PEER = "DELETE FROM peer_handled WHERE remote = $1 AND id NOT IN
        (SELECT id FROM peer_handled WHERE remote = $1 ORDER BY at DESC, id LIMIT $2)";
    FORGET_PEERS_BEFORE = "DELETE FROM peer_handled WHERE id IN
        (SELECT id FROM peer_handled WHERE at < $1 LIMIT $2)";
    FORGET = "DELETE FROM handled WHERE id = $1";
    FORGET_BEFORE = "DELETE FROM handled WHERE id IN
        (SELECT id FROM handled WHERE at < $1 LIMIT $2)";
    SAVE_SESSION = "INSERT INTO sleeper (id, account, state) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state";
    SAVED = "SELECT id, account, state FROM sleeper ORDER BY id LIMIT $1";
    TAKE_SAVED = "DELETE FROM sleeper WHERE id IN (SELECT id FROM sleeper ORDER BY id LIMIT $1)";
    TAKE_NAMELESS = "DELETE FROM sleeper WHERE id IS NULL";
    FORGET_SAVED = "DELETE FROM sleeper WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::super::{Job, testing};
    use super::*;

    #[test]
    fn a_count_is_the_accounts_own_and_the_last_one() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            let owner = StreamOwner::Account(me);
            let durable_count =
                |h, at| DurableCount { id: [1; 32], owner: owner.clone(), h, at: at * AT_FRESH };
            for (h, at) in [(1, 10), (u32::MAX, 11), (0, 30)] {
                put(tx, &durable_count(h, at)).unwrap();
                assert_eq!(get(tx, &[1; 32], me), Ok(Some(h)));
            }
            assert_eq!(get(tx, &[1; 32], other), Ok(None));
            assert_eq!(get(tx, &[2; 32], me), Ok(None));
            put(tx, &DurableCount { id: [2; 32], ..durable_count(5, 10) }).unwrap();
            assert_eq!(forget_before(tx, 30 * AT_FRESH, 9), Ok(1));
            assert_eq!(get(tx, &[1; 32], me), Ok(Some(0)));
            // The time may lag, the count may not.
            put(tx, &DurableCount { at: 30 * AT_FRESH + 9, ..durable_count(7, 0) }).unwrap();
            assert_eq!(get(tx, &[1; 32], me), Ok(Some(7)));
            assert_eq!(forget_before(tx, 30 * AT_FRESH + 1, 9), Ok(1));
            assert_eq!(get(tx, &[1; 32], me), Ok(None));
            put(tx, &durable_count(8, 30)).unwrap();
            forget(tx, &[1; 32]).unwrap();
            assert_eq!(get(tx, &[1; 32], me), Ok(None));
        });
    }

    #[test]
    fn a_peers_count_is_its_own_and_it_has_a_few() {
        testing::account_tx(|tx, _| {
            let name = |id: usize| {
                let mut name = [0; 32];
                name[..8].copy_from_slice(&id.to_be_bytes());
                name
            };
            let count = |remote: &str, id: usize, h, at: i64| DurableCount {
                id: name(id),
                owner: StreamOwner::Peer(remote.into()),
                h,
                at: at * AT_FRESH,
            };
            let of = |tx: &mut dyn Tx, id| get_of_peer(tx, &name(id)).unwrap();
            put(tx, &count("other.example", 9_999, 3, 1)).unwrap();
            for (h, at) in [(1, 10), (2, 10), (3, 12)] {
                put(tx, &count("peer.example", 1, h, at)).unwrap();
                assert_eq!(of(tx, 1), Some(("peer.example".to_owned(), h)));
            }
            // Who takes the SM-ID of another's stream does not change its count.
            for at in [1, 2] {
                put(tx, &count("peer.example", 9_999, 8, at)).unwrap();
                assert_eq!(of(tx, 9_999), Some(("other.example".to_owned(), 3)));
            }
            for id in 2..=STREAMS_OF_PEER + 2 {
                put(tx, &count("peer.example", id, 9, 20 + i64::try_from(id).unwrap())).unwrap();
            }
            // The oldest made room; nobody else's did.
            let h = |tx: &mut dyn Tx, id| of(tx, id).map(|it| it.1);
            assert_eq!(
                (h(tx, 1), h(tx, 2), h(tx, 3), h(tx, 9_999)),
                (None, None, Some(9), Some(3))
            );
            assert_eq!(forget_peers_before(tx, 24 * AT_FRESH, 9), Ok(2));
            assert_eq!((h(tx, 3), h(tx, 4), h(tx, 9_999)), (None, Some(9), None));
        });
    }

    /// promise.md 6: in the transaction of the rows that it covers.
    #[tokio::test]
    async fn a_batch_writes_the_last_count_of_each_stream() {
        struct Counted(DurableCount);
        impl Job for Counted {
            fn run(&mut self, _: &mut dyn Tx) -> Result<(), StoreError> {
                Ok(())
            }
            fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
            fn durable_count(&self) -> Option<DurableCount> {
                Some(self.0.clone())
            }
        }
        let (_folder, store) = testing::store();
        let me = store.write(|tx| Ok(testing::account(tx, "romeo"))).await.unwrap();
        let held = testing::hold(&store);
        for (id, h) in [(1, 1), (2, 5), (1, 2), (1, 3)] {
            let owner = StreamOwner::Account(me);
            let durable_count = DurableCount { id: [id; 32], owner, h, at: 0 };
            store.submit(Box::new(Counted(durable_count))).unwrap();
        }
        drop(held);
        store.barrier().await.unwrap();
        let counts = move |tx: &mut dyn Tx| Ok((get(tx, &[1; 32], me)?, get(tx, &[2; 32], me)?));
        assert_eq!(store.read(counts).await, Ok((Some(3), Some(5))));
    }

    #[test]
    fn saved_sessions_are_taken_once() {
        testing::account_tx(|tx, me| {
            for n in 0..3 {
                save_session(tx, &[n; 32], me, &[n]).unwrap();
            }
            let first = take_saved(tx, 2).unwrap();
            assert_eq!(first.len(), 2);
            let saved = SavedSession { id: [0; 32], account: me, state: vec![0] };
            assert_eq!(first[0], Some(saved));
            save_session(tx, &[9; 32], me, &[9]).unwrap();
            tx.execute("UPDATE sleeper SET id = x'00' WHERE state = x'02'", &[]).unwrap();
            let rest = take_saved(tx, 9).unwrap();
            assert_eq!((rest.len(), rest[0].clone(), rest[1].is_some()), (2, None, true));
            assert!(take_saved(tx, 9).unwrap().is_empty());
        });
    }
}
