//! The judgement over what happened in rooms: their archives hold what was acknowledged, once, in one order for all who
//! read them, and everybody who is in a room hears it in that order, without a gap (promise.md 4, 5, 6 and 8; XEP-0045
//! §7.4, XEP-0313 §6.1.2).

use super::judge::{UNCOMMITTED, before, ends, is_owed};
use super::ledger::{End, Heard, How, Key, Ledger, Row, Sent, To};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct RoomVerdict {
    pub acknowledged: usize,
    pub refused: usize,
    pub archived: usize,
    /// What occupants heard as it was said; from history; and what they read afterwards.
    pub live: usize,
    pub history: usize,
    pub read: usize,
    /// Heard, but never stored: for a kill, or a disk that is full.
    pub unstored: usize,
    pub lost: usize,
    pub doubles: usize,
    pub disorder: usize,
    /// All that breaks the promise, in words.
    pub wrong: Vec<String>,
}

pub fn judge_rooms(ledger: &Ledger) -> RoomVerdict {
    let mut verdict = RoomVerdict::default();
    verdict.count(ledger);
    for (room, readers) in ledger.room_archives.iter().enumerate() {
        let Some(rows) = readers.first() else { continue };
        verdict.archived += rows.len();
        for (n, other) in readers.iter().enumerate() {
            if other != rows {
                verdict.disorder += 1;
                verdict.wrong.push(format!("room {room}: reader {n} has another archive"));
            }
        }
        verdict.check_archive(ledger, room, rows);
        verdict.check_what_was_heard(ledger, room, rows);
    }
    verdict
}

/// Where each message stands in an archive, by its id there.
type Ranks<'a> = HashMap<&'a str, (usize, Key)>;

impl RoomVerdict {
    fn count(&mut self, ledger: &Ledger) {
        let is_said = |sent: &&Sent| matches!(sent.to, To::Room(_));
        let said = || ledger.sent.iter().flatten().filter(is_said);
        self.acknowledged = said().filter(|sent| sent.acknowledged).count();
        self.refused = said().filter(|sent| sent.refused).count();
        let heard = |how| ledger.heard.iter().filter(|heard| heard.how == how).count();
        (self.live, self.history) = (heard(How::Live), heard(How::History));
        self.read = heard(How::Page);
    }

    /// Acknowledged: exactly once. Anything else: not twice. Each speaker's in order.
    fn check_archive(&mut self, ledger: &Ledger, room: usize, rows: &[Row]) {
        let mut uids = HashSet::new();
        let mut stands: HashMap<Key, usize> = HashMap::new();
        let mut last: HashMap<usize, Key> = HashMap::new();
        for Row { uid, key } in rows {
            *stands.entry(*key).or_default() += 1;
            if !uids.insert(uid) {
                self.wrong.push(format!("room {room}: {uid} stands for two rows"));
            }
            if ledger.get(*key).is_none_or(|sent| sent.to != To::Room(room)) {
                self.wrong.push(format!("room {room}: {key} does not belong there"));
            }
            if let Some(last) = last.insert(key.sender, *key)
                && last.number > key.number
            {
                self.disorder += 1;
                self.wrong.push(format!("room {room}: {key} stands after {last}"));
            }
        }
        for (key, sent) in ledger.said(room) {
            let count = stands.get(&key).copied().unwrap_or_default();
            if count == 0 && is_owed(sent) {
                self.lost += 1;
                self.wrong.push(format!("room {room}: {key} was acknowledged and is lost"));
            } else if count > 1 {
                self.doubles += 1;
                self.wrong.push(format!(
                    "room {room}: {key} stands {count} times, sent again {} times",
                    sent.repeats
                ));
            }
        }
    }

    fn check_what_was_heard(&mut self, ledger: &Ledger, room: usize, rows: &[Row]) {
        let ranks: Ranks =
            rows.iter().enumerate().map(|(rank, row)| (&*row.uid, (rank, row.key))).collect();
        let mut streams: BTreeMap<(usize, usize), Vec<&Heard>> = BTreeMap::new();
        let mut known: HashMap<usize, HashSet<Key>> = HashMap::new();
        for heard in ledger.heard.iter().filter(|heard| heard.room == room) {
            known.entry(heard.device).or_default().insert(heard.key);
            self.check_place(ledger, heard, &ranks);
            if heard.how != How::Page {
                streams.entry((heard.device, heard.stream)).or_default().push(heard);
            }
        }
        streams.values().for_each(|heard| self.check_stream(heard, &ranks));
        self.check_repeats(ledger, room);
        for (device, rooms) in ledger.rooms_of.iter().enumerate() {
            if !rooms.contains(&room) {
                continue;
            }
            let known = known.remove(&device).unwrap_or_default();
            for row in rows.iter().filter(|row| !known.contains(&row.key)) {
                self.lost += 1;
                self.wrong.push(format!("room {room}: device {device} never got {}", row.key));
            }
        }
    }

    /// XEP-0359 §3: the id that was told is the id under which it stands. What does not stand there was heard before it
    /// was stored, and never acknowledged as it was.
    fn check_place(&mut self, ledger: &Ledger, heard: &Heard, ranks: &Ranks) {
        let (room, key) = (heard.room, heard.key);
        let stands = heard.mark.as_deref().and_then(|mark| ranks.get(mark));
        if let Some((_, standing)) = stands {
            if *standing != key {
                self.wrong.push(format!("room {room}: {key} was told under the id of {standing}"));
            }
            return;
        }
        let Some(sent) = ledger.get(key) else {
            return self.wrong.push(format!("room {room}: {key} was never sent"));
        };
        let end = ledger.breaks.len().saturating_add(1);
        let last = super::ledger::When { life: end, at: heard.when.at };
        let kill = ends(ledger, heard.when, last).next().filter(|end| end.how == End::Kill);
        let is_cut_off = kill.is_some_and(|kill| before(heard.when, kill) <= UNCOMMITTED);
        let is_told_again = sent.repeats > 0 || !sent.acknowledged;
        if heard.how == How::Page || !(sent.refused || (is_cut_off && is_told_again)) {
            let device = heard.device;
            self.wrong.push(format!("room {room}: {key}, as device {device} got it, is not there"));
        } else {
            self.unstored += 1;
        }
    }

    /// One stream of an occupant, over its resumptions: the order of the archive, without a gap, nothing twice.
    fn check_stream(&mut self, all: &[&Heard], ranks: &Ranks) {
        let mut keys = HashSet::new();
        let mut last: Option<(usize, Key)> = None;
        for heard in all {
            let (room, key) = (heard.room, heard.key);
            let who = format!("room {room}: device {} on stream {}", heard.device, heard.stream);
            if !keys.insert(key) {
                self.doubles += 1;
                self.wrong.push(format!("{who} got {key} twice"));
                continue;
            }
            let Some(&(rank, _)) = heard.mark.as_deref().and_then(|mark| ranks.get(mark)) else {
                continue;
            };
            if let Some((before, earlier)) = last.replace((rank, key))
                && rank != before + 1
            {
                self.disorder += 1;
                let gap = rank as i64 - before as i64;
                self.wrong.push(format!("{who} got {key} next to {earlier}, which is {gap} away"));
            }
        }
    }

    /// What was said once is said to nobody again: a later stream has it from history or the archive.
    fn check_repeats(&mut self, ledger: &Ledger, room: usize) {
        let mut told = HashSet::new();
        let live = |heard: &&Heard| heard.room == room && heard.how == How::Live;
        for heard in ledger.heard.iter().filter(live) {
            let Some(mark) = heard.mark.as_deref() else { continue };
            if !told.insert((heard.device, mark)) {
                self.doubles += 1;
                let (device, key) = (heard.device, heard.key);
                self.wrong.push(format!("room {room}: device {device} was told {key} again"));
            }
        }
    }
}

impl fmt::Display for RoomVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "rooms: acknowledged {}, refused {}, archived {} rows",
            self.acknowledged, self.refused, self.archived
        )?;
        writeln!(
            out,
            "rooms: heard live {}, from history {}, read {}, heard and never stored {}",
            self.live, self.history, self.read, self.unstored
        )?;
        writeln!(
            out,
            "rooms: lost {}, doubles {}, out of order {}, breaches {}",
            self.lost,
            self.doubles,
            self.disorder,
            self.wrong.len()
        )?;
        self.wrong.iter().take(SHOWN_MAX).try_for_each(|wrong| writeln!(out, "  {wrong}"))
    }
}

/// Breaches that are printed in words.
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::super::ledger::{Break, When};
    use super::*;
    use std::time::Duration;

    /// Device 0 said these many things in room 0, and devices 0 and 1 heard them; all was acknowledged, and archived
    /// under `uid-<number>`.
    fn said(count: usize) -> Ledger {
        let mut ledger = Ledger::new(vec![0, 1]);
        ledger.rooms_of = vec![&[0], &[0]];
        let keys: Vec<Key> = (0..count).map(|_| ledger.sends(0, To::Room(0))).collect();
        for device in [0, 1] {
            keys.iter().for_each(|key| ledger.heard(live(device, key.number)));
        }
        keys.iter().for_each(|key| ledger.acknowledged(*key));
        let row = |key: &Key| Row { uid: format!("uid-{}", key.number), key: *key };
        let rows: Vec<Row> = keys.iter().map(row).collect();
        ledger.room_archives = vec![vec![rows.clone(), rows]];
        ledger
    }

    fn live(device: usize, number: usize) -> Heard {
        let when = When { life: 1, at: Duration::from_millis(10) };
        let (key, mark) = (Key { sender: 0, number }, Some(format!("uid-{number}")));
        Heard { key, device, room: 0, stream: 1, mark, how: How::Live, when }
    }

    #[track_caller]
    fn blames(ledger: &Ledger, words: &[&str]) {
        let wrong = judge_rooms(ledger).wrong;
        assert_eq!(wrong.len(), words.len(), "{wrong:?}");
        for (wrong, word) in wrong.iter().zip(words) {
            assert!(wrong.contains(word), "{wrong:?} should say {word:?}");
        }
    }

    #[test]
    fn what_went_well_is_not_blamed() {
        let ledger = said(3);
        blames(&ledger, &[]);
        let verdict = judge_rooms(&ledger);
        assert_eq!((verdict.acknowledged, verdict.archived, verdict.live), (3, 3, 6));
        assert_eq!(ledger.unsettled, 0);
    }

    #[test]
    fn an_archive_holds_each_message_once_and_in_order_for_all() {
        let plant = |change: fn(&mut Vec<Row>)| {
            let mut ledger = said(3);
            ledger.heard.clear();
            ledger.rooms_of.clear();
            ledger.room_archives[0].iter_mut().for_each(change);
            ledger
        };
        blames(&plant(|rows| drop(rows.pop())), &["audit-0-2 was acknowledged and is lost"]);
        blames(&plant(|rows| rows.swap(0, 1)), &["audit-0-0 stands after audit-0-1"]);
        let double = |rows: &mut Vec<Row>| {
            let mut row = rows[2].clone();
            row.uid = "uid-9".into();
            rows.push(row);
        };
        blames(&plant(double), &["audit-0-2 stands 2 times"]);
        let mut ledger = said(3);
        ledger.room_archives[0][1].swap(0, 1);
        blames(&ledger, &["reader 1 has another archive"]);
    }

    #[test]
    fn an_occupant_hears_all_in_the_order_of_the_archive() {
        for (heard, words) in [
            (
                &[0, 2][..],
                &["next to audit-0-0, which is 2 away", "device 1 never got audit-0-1"][..],
            ),
            (&[0, 1], &["device 1 never got audit-0-2"]),
            (&[1, 0, 2], &["which is -1 away", "which is 2 away"]),
            (&[0, 1, 1, 2], &["got audit-0-1 twice", "device 1 was told audit-0-1 again"]),
        ] {
            let mut ledger = said(3);
            ledger.heard.retain(|heard| heard.device == 0);
            heard.iter().for_each(|number| ledger.heard(live(1, *number)));
            blames(&ledger, words);
        }
    }

    #[test]
    fn what_a_later_stream_has_from_history_or_the_archive_is_no_repeat() {
        for (how, words) in
            [(How::History, &[][..]), (How::Page, &[]), (How::Live, &["was told audit-0-1 again"])]
        {
            let mut ledger = said(2);
            ledger.heard(Heard { how, stream: 2, ..live(1, 1) });
            blames(&ledger, words);
        }
    }

    #[test]
    fn what_is_not_stored_needs_a_kill_soon_after_and_no_acknowledgement() {
        // (repeated, acknowledged, the kill, blamed)
        for (repeated, acknowledged, kill, blamed) in [
            (false, false, Some(500), false),
            (true, true, Some(500), false),
            (false, true, Some(500), true),
            (true, true, None, true),
            (true, true, Some(2500), true),
        ] {
            let mut ledger = said(1);
            ledger.rooms_of.clear();
            let key = ledger.sends(0, To::Room(0));
            ledger.heard(Heard { mark: Some("gone".into()), ..live(1, key.number) });
            if repeated {
                ledger.repeated(key);
            }
            if acknowledged {
                ledger.acknowledged(key);
                let row = Row { uid: "uid-1".into(), key };
                ledger.room_archives[0].iter_mut().for_each(|rows| rows.push(row.clone()));
            }
            let at = |ms| Break { at: Duration::from_millis(ms), how: End::Kill };
            ledger.breaks.extend(kill.map(at));
            blames(&ledger, if blamed { &["is not there"] } else { &[] });
        }
    }
}
