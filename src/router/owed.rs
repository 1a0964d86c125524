//! What an account is owed (promise.md 1 to 3): how much is stored for it, and which of these
//! messages a session holds that has not confirmed them yet.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::limits::{Limits, UNCONFIRMED_BYTES_MAX, UNCONFIRMED_MESSAGES_MAX};

/// Messages stored for one account and not confirmed.
#[derive(Debug, Default)]
pub struct Owed {
    /// Rows in the store, those being written included.
    pub rows: usize,
    /// Their bytes.
    pub bytes: usize,
    in_flight: BTreeMap<i64, InFlight>,
}

#[derive(Debug)]
struct InFlight {
    bytes: usize,
    holders: SmallVec<[u64; 1]>,
}

impl Owed {
    /// As counted in the store when the account was loaded.
    pub fn stored(rows: usize, bytes: usize) -> Self {
        Self { rows, bytes, in_flight: BTreeMap::new() }
    }

    /// Rows that no session holds: they wait for the next one.
    pub fn waiting(&self) -> usize {
        self.rows.saturating_sub(self.in_flight.len())
    }

    /// Bytes of the rows that no session holds.
    pub fn waiting_bytes(&self) -> usize {
        let held: usize = self.in_flight.values().map(|held| held.bytes).sum();
        self.bytes.saturating_sub(held)
    }

    /// Room for one more message: `held` by a session, or waiting for one. What sessions hold is
    /// bounded more widely, but it is: who never confirms may not have the disk filled.
    pub fn has_room(&self, bytes: usize, held: bool, limits: &Limits) -> bool {
        let waits = self.waiting() < limits.offline_messages_max
            && self.waiting_bytes() + bytes <= limits.offline_bytes_max;
        let all = self.rows < limits.offline_messages_max + UNCONFIRMED_MESSAGES_MAX
            && self.bytes + bytes <= limits.offline_bytes_max + UNCONFIRMED_BYTES_MAX;
        (held || waits) && all
    }

    /// A new row, held by these sessions (none: it waits).
    pub fn append(&mut self, seq: i64, bytes: usize, holders: impl IntoIterator<Item = u64>) {
        self.rows += 1;
        self.bytes += bytes;
        let holders: SmallVec<[u64; 1]> = holders.into_iter().collect();
        if !holders.is_empty() {
            self.in_flight.insert(seq, InFlight { bytes, holders });
        }
    }

    /// A session takes a waiting row; false when some session holds it already.
    pub fn claim(&mut self, seq: i64, bytes: usize, session: u64) -> bool {
        if self.in_flight.contains_key(&seq) {
            return false;
        }
        self.in_flight.insert(seq, InFlight { bytes, holders: [session].into_iter().collect() });
        true
    }

    /// Some session of the account confirmed the row. False when it was confirmed before.
    pub fn confirm(&mut self, seq: i64) -> bool {
        let Some(held) = self.in_flight.remove(&seq) else { return false };
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(held.bytes);
        true
    }

    /// The row was never committed.
    pub fn failed(&mut self, seq: i64, bytes: usize) {
        self.in_flight.remove(&seq);
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// One session did not get this row after all. True when now nobody holds it.
    pub fn release(&mut self, seq: i64, session: u64) -> bool {
        let Some(held) = self.in_flight.get_mut(&seq) else { return false };
        held.holders.retain(|holder| *holder != session);
        let alone = held.holders.is_empty();
        if alone {
            self.in_flight.remove(&seq);
        }
        alone
    }

    /// A session ended: rows that nobody else holds wait again.
    pub fn abandon(&mut self, session: u64) {
        self.in_flight.retain(|_, held| {
            held.holders.retain(|holder| *holder != session);
            !held.holders.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_has_a_bound_too() {
        let limits = Limits { offline_messages_max: 1, offline_bytes_max: 10, ..Limits::default() };
        let mut owed = Owed::default();
        assert!(owed.has_room(10, false, &limits) && !owed.has_room(11, false, &limits));
        owed.append(1, 5, []);
        assert!(!owed.has_room(1, false, &limits) && owed.has_room(1, true, &limits));
        assert!(!owed.has_room(UNCONFIRMED_BYTES_MAX + 6, true, &limits));
        for seq in 2..=UNCONFIRMED_MESSAGES_MAX as i64 {
            owed.append(seq, 1, [7]);
        }
        assert!(owed.has_room(1, true, &limits));
        owed.append(0, 1, [7]);
        assert!(!owed.has_room(1, true, &limits));
    }

    #[test]
    fn a_row_is_owed_until_one_holder_confirms_it() {
        let mut owed = Owed::default();
        owed.append(1, 10, [7, 8]);
        owed.append(2, 10, []);
        assert_eq!((owed.rows, owed.waiting(), owed.waiting_bytes()), (2, 1, 10));
        assert!(!owed.release(1, 7));
        assert!(owed.confirm(1));
        assert!(!owed.confirm(1));
        assert!(owed.claim(2, 10, 8));
        assert!(!owed.claim(2, 10, 9));
        owed.abandon(8);
        assert_eq!((owed.rows, owed.waiting()), (1, 1));
        owed.failed(2, 10);
        assert_eq!((owed.rows, owed.bytes), (0, 0));
    }
}
