//! What an account is owed (promise.md 1 to 3): how much is stored for it, and which of these
//! messages a session holds that has not confirmed them yet.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::limits::{Limits, UNCONFIRMED_BYTES_MAX, UNCONFIRMED_MESSAGES_MAX};

/// Messages stored for one account and not confirmed.
#[derive(Debug, Default)]
pub struct Owed {
    /// Rows in the store: those being written, and those confirmed whose deletion is not durable.
    pub rows: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Rows that do not wait.
    taken: BTreeMap<i64, Taken>,
    /// Who delivers what waits. One at a time, so that no conversation is split over two devices.
    drain: Option<Drain>,
}

#[derive(Debug)]
struct Taken {
    bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Written, or about to be, to these sessions, none of which has confirmed it.
    Held(SmallVec<[u64; 1]>),
    /// A session has it; the row is to be deleted, or `deleting` at this moment.
    Confirmed { deleting: bool },
    /// The row is gone, but a drain may have read it before.
    Deleted,
}

#[derive(Debug)]
struct Drain {
    session: u64,
    boundary: i64,
}

impl Owed {
    /// As counted in the store when the account was loaded.
    pub fn stored(rows: usize, bytes: usize) -> Self {
        Self { rows, bytes, ..Self::default() }
    }

    /// Rows that no session has or had: they wait for the next one.
    pub fn waiting(&self) -> usize {
        self.rows.saturating_sub(self.in_store().count())
    }

    /// Bytes of the rows that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.in_store().map(|taken| taken.bytes).sum())
    }

    /// Nothing is known that a look into the store would not tell: the entry may be forgotten.
    pub fn is_settled(&self) -> bool {
        self.taken.is_empty()
    }

    fn in_store(&self) -> impl Iterator<Item = &Taken> {
        self.taken.values().filter(|taken| !matches!(taken.state, State::Deleted))
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
            self.taken.insert(seq, Taken { bytes, state: State::Held(holders) });
        }
    }

    /// The session may deliver what waits up to the boundary; false while another one does.
    pub fn begin_drain(&mut self, session: u64, boundary: i64) -> bool {
        let drain = self.drain.get_or_insert(Drain { session, boundary });
        drain.boundary = drain.boundary.max(boundary);
        drain.session == session
    }

    /// The session that delivers what waits.
    pub fn drainer(&self) -> Option<u64> {
        self.drain.as_ref().map(|drain| drain.session)
    }

    /// The session has delivered all up to the boundary, or gave up. It goes on if it was asked
    /// for more meanwhile.
    pub fn end_drain(&mut self, session: u64, boundary: i64) {
        let ends = |drain: &mut Drain| drain.session == session && drain.boundary <= boundary;
        if self.drain.take_if(ends).is_some() {
            self.taken.retain(|_, taken| !matches!(taken.state, State::Deleted));
        }
    }

    /// The draining session takes a waiting row; false when it is another's, or confirmed.
    pub fn claim(&mut self, seq: i64, bytes: usize, session: u64) -> bool {
        if self.drainer() != Some(session) || self.taken.contains_key(&seq) {
            return false;
        }
        let state = State::Held([session].into_iter().collect());
        self.taken.insert(seq, Taken { bytes, state });
        true
    }

    /// Some session of the account confirmed the row: from now on it goes to nobody.
    pub fn confirm(&mut self, seq: i64) {
        if let Some(taken) = self.taken.get_mut(&seq)
            && matches!(taken.state, State::Held(_))
        {
            taken.state = State::Confirmed { deleting: false };
        }
    }

    /// Confirmed rows whose deletion must be written now, those of an earlier failure too.
    pub fn to_delete(&mut self) -> Vec<i64> {
        let mut rows = Vec::new();
        for (seq, taken) in &mut self.taken {
            if let State::Confirmed { deleting: deleting @ false } = &mut taken.state {
                *deleting = true;
                rows.push(*seq);
            }
        }
        rows
    }

    /// How the deletion of a confirmed row ended.
    pub fn deleted(&mut self, seq: i64, durable: bool) {
        let Some(taken) = self.taken.get_mut(&seq) else { return };
        if !durable {
            taken.state = State::Confirmed { deleting: false };
            return;
        }
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(taken.bytes);
        taken.state = State::Deleted;
        if self.drain.as_ref().is_none_or(|drain| drain.boundary < seq) {
            self.taken.remove(&seq);
        }
    }

    /// The row was never committed.
    pub fn failed(&mut self, seq: i64, bytes: usize) {
        self.taken.remove(&seq);
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// One session did not get this row after all. True when now nobody holds it.
    pub fn release(&mut self, seq: i64, session: u64) -> bool {
        let Some(Taken { state: State::Held(holders), .. }) = self.taken.get_mut(&seq) else {
            return false;
        };
        holders.retain(|holder| *holder != session);
        let alone = holders.is_empty();
        if alone {
            self.taken.remove(&seq);
        }
        alone
    }

    /// A session ended: rows that nobody else holds wait again, and it delivers none.
    pub fn abandon(&mut self, session: u64) {
        self.end_drain(session, i64::MAX);
        self.taken.retain(|_, taken| match &mut taken.state {
            State::Held(holders) => {
                holders.retain(|holder| *holder != session);
                !holders.is_empty()
            }
            State::Confirmed { .. } | State::Deleted => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(owed: &Owed) -> (usize, usize, usize, usize) {
        (owed.rows, owed.bytes, owed.waiting(), owed.waiting_bytes())
    }

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
        assert_eq!(books(&owed), (2, 20, 1, 10));
        assert!(!owed.release(1, 7));
        owed.confirm(1);
        assert_eq!(owed.to_delete(), [1]);
        assert!(owed.to_delete().is_empty());
        owed.deleted(1, true);
        assert!(owed.begin_drain(8, 2) && owed.claim(2, 10, 8));
        assert!(!owed.claim(2, 10, 8));
        assert_eq!(books(&owed), (1, 10, 0, 0));
        owed.abandon(8);
        assert_eq!(books(&owed), (1, 10, 1, 10));
        owed.failed(2, 10);
        assert_eq!(books(&owed), (0, 0, 0, 0));
        assert!(owed.is_settled());
    }

    #[test]
    fn one_session_drains_at_a_time_until_it_has_what_it_was_asked_for() {
        let mut owed = Owed::stored(3, 30);
        assert!(owed.begin_drain(7, 10));
        assert!(!owed.begin_drain(8, 20), "another one drains");
        assert!(!owed.claim(1, 10, 8));
        assert!(owed.claim(1, 10, 7));
        owed.end_drain(7, 10);
        assert_eq!(owed.drainer(), Some(7), "asked for more meanwhile");
        owed.end_drain(8, 20);
        assert_eq!(owed.drainer(), Some(7), "another's end is not its own");
        owed.abandon(7);
        assert_eq!((owed.drainer(), owed.waiting()), (None, 3));
        assert!(owed.begin_drain(8, 20) && owed.claim(1, 10, 8));
    }

    #[test]
    fn a_confirmed_row_goes_to_nobody_while_it_is_still_in_the_store() {
        let mut owed = Owed::stored(1, 10);
        owed.append(5, 10, [7]);
        owed.confirm(5);
        owed.abandon(7);
        assert_eq!((books(&owed), owed.is_settled()), ((2, 20, 1, 10), false));
        assert!(owed.begin_drain(8, 9));
        assert!(!owed.claim(5, 10, 8), "read before it was deleted");
        assert_eq!(owed.to_delete(), [5]);
        owed.deleted(5, false);
        assert_eq!((books(&owed), owed.to_delete()), ((2, 20, 1, 10), vec![5]));
        owed.deleted(5, true);
        assert_eq!(books(&owed), (1, 10, 1, 10));
        assert!(!owed.claim(5, 10, 8), "the drain may have read it before");
        owed.end_drain(8, 9);
        assert!(owed.is_settled());
    }

    #[test]
    fn a_row_confirmed_before_its_commit_failed_counts_once() {
        let mut owed = Owed::default();
        owed.append(1, 10, [7]);
        owed.append(2, 10, []);
        owed.confirm(1);
        assert_eq!(owed.to_delete(), [1]);
        owed.failed(1, 10);
        owed.deleted(1, true);
        assert_eq!(books(&owed), (1, 10, 1, 10));
    }
}
