//! What an account is owed (promise.md 1 to 3): the messages, and the sessions that hold them and have not
//! confirmed them yet.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::limits::{Limits, UNCONFIRMED_BYTES_MAX, UNCONFIRMED_MESSAGES_MAX};
use crate::store::mailbox::{OwedRow, Settled, StoredIn};

/// Messages stored for one account and not confirmed: all of them, by position.
#[derive(Debug, Default)]
pub struct Owed {
    rows: BTreeMap<i64, Row>,
    bytes: usize,
    /// Rows that some session holds, and their bytes.
    held: usize,
    held_bytes: usize,
    /// The highest row of the archive that was confirmed.
    top: i64,
    /// Changes that are not in the store yet; mostly none.
    unsaved: Option<Box<Settled>>,
    saving: bool,
}

#[derive(Debug)]
struct Row {
    bytes: usize,
    stored_in: StoredIn,
    /// The store's watermark has passed it, and it is listed as owed.
    listed: bool,
    /// Sessions it was written to, or is about to be; none has confirmed it. If there is none, it waits.
    holders: SmallVec<[u64; 1]>,
}

/// A row that a session took on itself to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its position.
    pub seq: i64,
    /// Its bytes.
    pub bytes: usize,
    /// Where it is stored.
    pub stored_in: StoredIn,
}

impl Owed {
    /// The rows read from the store when the account was loaded.
    pub fn stored(rows: Vec<OwedRow>) -> Self {
        let mut owed = Self::default();
        for OwedRow { seq, bytes, stored_in, listed } in rows {
            owed.bytes += bytes;
            owed.rows.insert(seq, Row { bytes, stored_in, listed, holders: SmallVec::new() });
        }
        owed
    }

    /// Number of rows that no session holds: they wait for the next one.
    pub fn waiting(&self) -> usize {
        self.rows.len() - self.held
    }

    /// Whether the store has all that is known here, so that the entry may be forgotten.
    pub fn is_settled(&self) -> bool {
        self.held == 0 && !self.saving && self.unsaved.is_none()
    }

    /// Memory that these rows take.
    pub fn heap_bytes(&self) -> usize {
        // A tree of nodes that are two thirds full.
        self.rows.len() * (size_of::<(i64, Row)>() * 3 / 2)
    }

    /// Whether there is room for one more message, `held` by a session or waiting for one. Held rows have a
    /// wider bound, but they have one: a client that never confirms must not fill the disk.
    pub fn has_room(&self, bytes: usize, held: bool, limits: &Limits) -> bool {
        let waits = self.waiting() < limits.offline_messages_max
            && self.bytes - self.held_bytes + bytes <= limits.offline_bytes_max;
        let all = self.rows.len() < limits.offline_messages_max + UNCONFIRMED_MESSAGES_MAX
            && self.bytes + bytes <= limits.offline_bytes_max + UNCONFIRMED_BYTES_MAX;
        (held || waits) && all
    }

    /// Adds a row that these sessions hold; without any, it waits.
    pub fn append(
        &mut self,
        seq: i64,
        bytes: usize,
        stored_in: StoredIn,
        holders: impl IntoIterator<Item = u64>,
    ) {
        let holders: SmallVec<[u64; 1]> = holders.into_iter().collect();
        self.bytes += bytes;
        if !holders.is_empty() {
            self.held += 1;
            self.held_bytes += bytes;
        }
        self.rows.insert(seq, Row { bytes, stored_in, listed: false, holders });
    }

    /// Number of rows that no session holds, or only hibernating ones.
    pub fn unclaimed(&self, hibernating: impl Fn(u64) -> bool) -> usize {
        self.rows.values().filter(|row| row.holders.iter().all(|one| hibernating(*one))).count()
    }

    /// Positions of the rows that this session holds, in order.
    pub fn held_by(&self, session: u64) -> Vec<i64> {
        let held = self.rows.iter().filter(|(_, row)| row.holders.contains(&session));
        held.map(|(seq, _)| *seq).collect()
    }

    /// Whether there is something for this session to take: see [`Owed::claim`].
    pub fn has_claims(&self, session: u64, hibernating: impl Fn(u64) -> bool) -> bool {
        self.rows.values().any(|row| is_free(row, session, &hibernating))
    }

    /// Gives the session all rows that wait, and those that only hibernating sessions hold: each device
    /// gets them once (promise.md 3). In order and all at once, so that no conversation is split over two
    /// devices.
    pub fn claim(&mut self, session: u64, hibernating: impl Fn(u64) -> bool) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (seq, row) in &mut self.rows {
            if is_free(row, session, &hibernating) {
                if row.holders.is_empty() {
                    self.held += 1;
                    self.held_bytes += row.bytes;
                }
                row.holders.push(session);
                claims.push(Claim { seq: *seq, bytes: row.bytes, stored_in: row.stored_in });
            }
        }
        claims
    }

    /// Makes a session that was restored hold the row again; false if the row is confirmed.
    pub fn hold(&mut self, seq: i64, session: u64) -> bool {
        let Some(row) = self.rows.get_mut(&seq) else { return false };
        if row.holders.is_empty() {
            self.held += 1;
            self.held_bytes += row.bytes;
        }
        row.holders.push(session);
        true
    }

    /// Removes a row that a session of the account confirmed: it is owed to none of them. `stored`: its
    /// write was not taken back.
    pub fn confirm(&mut self, seq: i64, stored: bool) {
        let Some(row) = self.remove(seq) else { return };
        match row.stored_in {
            StoredIn::Mailbox if !stored => {}
            StoredIn::Mailbox => self.unsaved().deleted.push(seq),
            StoredIn::Archive => {
                if row.listed {
                    self.unsaved().unlisted.push(seq);
                }
                if seq > self.top {
                    self.top = seq;
                    self.unsaved().watermark = Some(seq);
                }
            }
        }
    }

    /// Returns what the store must write; `None` until the last such write has ended, see [`Owed::saved`].
    pub fn save(&mut self) -> Option<Settled> {
        if self.saving {
            return None;
        }
        let mut settled = *self.unsaved.take()?;
        self.saving = true;
        if let Some(watermark) = settled.watermark {
            let passed = self.rows.range_mut(..=watermark);
            let owed = passed.filter(|(_, row)| row.stored_in == StoredIn::Archive && !row.listed);
            for (seq, row) in owed {
                row.listed = true;
                settled.listed.push(*seq);
            }
        }
        Some(settled)
    }

    /// Notes the end of that write. If it failed, the next [`Owed::save`] tries again.
    pub fn saved(&mut self, settled: Settled, durable: bool) {
        self.saving = false;
        if durable {
            return;
        }
        for seq in &settled.listed {
            if let Some(row) = self.rows.get_mut(seq) {
                row.listed = false;
            }
        }
        let unsaved = self.unsaved();
        unsaved.watermark = unsaved.watermark.max(settled.watermark);
        unsaved.unlisted.extend(settled.unlisted);
        unsaved.deleted.extend(settled.deleted);
    }

    /// Removes a row that was never committed.
    pub fn failed(&mut self, seq: i64) {
        if self.remove(seq).is_some_and(|row| row.listed) {
            self.unsaved().unlisted.push(seq);
        }
    }

    /// Releases a row that the session did not get after all. True if no session holds it now.
    pub fn release(&mut self, seq: i64, session: u64) -> bool {
        let Some(row) = self.rows.get_mut(&seq) else { return false };
        if !row.holders.contains(&session) {
            return false;
        }
        row.holders.retain(|holder| *holder != session);
        let alone = row.holders.is_empty();
        if alone {
            self.held -= 1;
            self.held_bytes -= row.bytes;
        }
        alone
    }

    /// Releases the rows of a session that ended; those that no other session holds wait again.
    pub fn abandon(&mut self, session: u64) {
        let held: Vec<i64> = self
            .rows
            .iter()
            .filter(|(_, row)| row.holders.contains(&session))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in held {
            self.release(seq, session);
        }
    }

    fn unsaved(&mut self) -> &mut Settled {
        self.unsaved.get_or_insert_default()
    }

    fn remove(&mut self, seq: i64) -> Option<Row> {
        let row = self.rows.remove(&seq)?;
        if self.rows.is_empty() {
            // Otherwise its last node stays: half a kilobyte for most accounts in memory.
            self.rows = BTreeMap::new();
        }
        self.bytes -= row.bytes;
        if !row.holders.is_empty() {
            self.held -= 1;
            self.held_bytes -= row.bytes;
        }
        Some(row)
    }
}

fn is_free(row: &Row, session: u64, hibernating: &impl Fn(u64) -> bool) -> bool {
    row.holders.iter().all(|holder| *holder != session && hibernating(*holder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    fn awake(_: u64) -> bool {
        false
    }

    fn seqs(claims: &[Claim]) -> Vec<i64> {
        claims.iter().map(|claim| claim.seq).collect()
    }

    fn settled(
        watermark: Option<i64>,
        listed: &[i64],
        unlisted: &[i64],
        deleted: &[i64],
    ) -> Settled {
        Settled {
            watermark,
            listed: listed.to_vec(),
            unlisted: unlisted.to_vec(),
            deleted: deleted.to_vec(),
        }
    }

    #[test]
    fn what_is_held_has_a_bound_too() {
        let limits = Limits { offline_messages_max: 1, offline_bytes_max: 10, ..Limits::default() };
        let mut owed = Owed::default();
        assert!(owed.has_room(10, false, &limits) && !owed.has_room(11, false, &limits));
        owed.append(1, 5, StoredIn::Archive, []);
        assert!(!owed.has_room(1, false, &limits) && owed.has_room(1, true, &limits));
        assert!(!owed.has_room(UNCONFIRMED_BYTES_MAX + 6, true, &limits));
        for seq in 2..=UNCONFIRMED_MESSAGES_MAX as i64 {
            owed.append(seq, 1, StoredIn::Archive, [7]);
        }
        assert!(owed.has_room(1, true, &limits));
        owed.append(0, 1, StoredIn::Archive, [7]);
        assert!(!owed.has_room(1, true, &limits));
    }

    #[test]
    fn a_row_is_owed_until_one_holder_confirms_it() {
        let mut owed = Owed::default();
        owed.append(1, 10, StoredIn::Archive, [7, 8]);
        owed.append(2, 10, StoredIn::Mailbox, []);
        assert_eq!(owed.waiting(), 1);
        assert!(!owed.release(1, 7) && !owed.release(1, 7));
        owed.confirm(1, true);
        assert_eq!(owed.save(), Some(settled(Some(1), &[], &[], &[])));
        assert_eq!(owed.save(), None, "one at a time");
        owed.saved(settled(Some(1), &[], &[], &[]), true);
        assert_eq!(seqs(&owed.claim(8, awake)), [2]);
        assert!(owed.claim(9, awake).is_empty(), "one device has it");
        owed.abandon(8);
        assert_eq!((owed.waiting(), owed.is_settled()), (1, true));
        owed.failed(2);
        assert_eq!((owed.waiting(), owed.bytes, owed.held_bytes), (0, 0, 0));
    }

    #[test]
    fn each_device_sees_what_only_hibernating_sessions_hold() {
        let mut owed = Owed::default();
        owed.append(1, 10, StoredIn::Archive, [7]);
        owed.append(2, 10, StoredIn::Archive, [7, 8]);
        owed.append(3, 10, StoredIn::Archive, []);
        let hibernating = |session| session == 7;
        assert!(!owed.has_claims(9, awake) || owed.waiting() == 1);
        assert_eq!(seqs(&owed.claim(9, hibernating)), [1, 3]);
        assert!(!owed.has_claims(9, hibernating), "once");
        assert_eq!((owed.unclaimed(hibernating), owed.held_by(7)), (0, vec![1, 2]));
        owed.confirm(1, true);
        owed.abandon(9);
        assert_eq!(seqs(&owed.claim(9, hibernating)), [3], "confirmed by one, owed to none");
    }

    #[test]
    fn what_the_mark_passes_unconfirmed_is_listed_until_it_is_confirmed() {
        let mut owed = Owed::default();
        for seq in 1..=4 {
            owed.append(seq, 1, StoredIn::Archive, [7]);
        }
        owed.confirm(3, true);
        let first = owed.save().unwrap();
        assert_eq!(first, settled(Some(3), &[1, 2], &[], &[]));
        owed.saved(first, false);
        owed.confirm(1, true);
        let second = owed.save().unwrap();
        assert_eq!(second, settled(Some(3), &[2], &[], &[]), "the failed write is in the next");
        owed.saved(second, true);
        owed.confirm(2, true);
        assert_eq!(owed.save(), Some(settled(None, &[], &[2], &[])));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<u64>, bool),
        Claim(u64),
        Confirm(usize),
        Abandon(u64),
        Release(usize, u64),
        Fail(usize),
        Save,
        Saved(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let session = 1..5_u64;
        prop_oneof![
            (prop::collection::vec(1..5_u64, 0..3), any::<bool>())
                .prop_map(|(holders, mail)| Step::Append(holders, mail)),
            session.clone().prop_map(Step::Claim),
            (0..20_usize).prop_map(Step::Confirm),
            session.clone().prop_map(Step::Abandon),
            ((0..20_usize), session).prop_map(|(row, session)| Step::Release(row, session)),
            (0..20_usize).prop_map(Step::Fail),
            Just(Step::Save),
            any::<bool>().prop_map(Step::Saved),
        ]
    }

    /// The store as the writes leave it.
    #[derive(Default)]
    struct Disk {
        archive: BTreeSet<i64>,
        mail: BTreeSet<i64>,
        listed: BTreeSet<i64>,
        mark: i64,
    }

    impl Disk {
        fn owed(&self) -> BTreeSet<i64> {
            let behind = self.archive.iter().filter(|seq| **seq > self.mark);
            let before = self.listed.intersection(&self.archive);
            behind.chain(before).chain(&self.mail).copied().collect()
        }

        fn write(&mut self, settled: &Settled) {
            self.mark = settled.watermark.unwrap_or(self.mark);
            self.listed.extend(&settled.listed);
            self.listed.retain(|seq| !settled.unlisted.contains(seq));
            self.mail.retain(|seq| !settled.deleted.contains(seq));
        }
    }

    proptest! {
        /// After everything is saved, the store agrees with a plain model; the counters agree with the rows
        /// at every step.
        #[test]
        fn the_books_agree_with_a_model(steps in prop::collection::vec(step(), 1..120)) {
            let mut owed = Owed::default();
            let mut model: HashMap<i64, BTreeSet<u64>> = HashMap::new();
            let (mut disk, mut pending, mut next) = (Disk::default(), None::<Settled>, 0);
            for step in steps {
                match step {
                    Step::Append(holders, mail) => {
                        next += 1;
                        let holders: BTreeSet<u64> = holders.into_iter().collect();
                        let stored_in = if mail { StoredIn::Mailbox } else { StoredIn::Archive };
                        owed.append(next, 1, stored_in, holders.iter().copied());
                        if mail { disk.mail.insert(next) } else { disk.archive.insert(next) };
                        model.insert(next, holders);
                    }
                    Step::Claim(session) => {
                        let hibernating = |holder: u64| holder == 4;
                        let got: BTreeSet<i64> =
                            seqs(&owed.claim(session, hibernating)).into_iter().collect();
                        let free = |holders: &BTreeSet<u64>| {
                            holders.iter().all(|h| *h != session && hibernating(*h))
                        };
                        let due = model.iter().filter(|(_, holders)| free(holders));
                        let due: BTreeSet<i64> = due.map(|(seq, _)| *seq).collect();
                        prop_assert_eq!(&got, &due);
                        for seq in &got {
                            model.get_mut(seq).unwrap().insert(session);
                        }
                    }
                    Step::Confirm(row) => {
                        owed.confirm(row as i64, true);
                        model.remove(&(row as i64));
                    }
                    Step::Abandon(session) => {
                        owed.abandon(session);
                        for holders in model.values_mut() {
                            holders.remove(&session);
                        }
                    }
                    Step::Release(row, session) => {
                        let alone = owed.release(row as i64, session);
                        let was = model.get_mut(&(row as i64));
                        let was = was.is_some_and(|h| h.remove(&session) && h.is_empty());
                        prop_assert_eq!(alone, was);
                    }
                    Step::Fail(row) => {
                        owed.failed(row as i64);
                        model.remove(&(row as i64));
                        disk.archive.remove(&(row as i64));
                        disk.mail.remove(&(row as i64));
                    }
                    Step::Save => {
                        if let Some(settled) = owed.save() {
                            pending = Some(settled);
                        }
                    }
                    Step::Saved(durable) => {
                        if let Some(settled) = pending.take() {
                            if durable {
                                disk.write(&settled);
                            }
                            owed.saved(settled, durable);
                        }
                    }
                }
                let waiting = model.values().filter(|holders| holders.is_empty()).count();
                prop_assert_eq!((owed.rows.len(), owed.waiting()), (model.len(), waiting));
                prop_assert_eq!((owed.bytes, owed.held_bytes), (model.len(), model.len() - waiting));
            }
            if let Some(settled) = pending.take() {
                disk.write(&settled);
                owed.saved(settled, true);
            }
            if let Some(settled) = owed.save() {
                disk.write(&settled);
            }
            prop_assert_eq!(disk.owed(), model.keys().copied().collect());
        }
    }
}
