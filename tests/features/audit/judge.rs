//! The judgement over a ledger: lost, out of order, doubled, and why. promise.md decides.

use super::ledger::{Break, Delivery, End, Key, Ledger, Sent, To, When};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub sent: usize,
    pub acknowledged: usize,
    pub refused: usize,
    /// Messages that arrived at least once, and arrivals in all.
    pub delivered: usize,
    pub deliveries: usize,
    pub archived: usize,
    pub lost: usize,
    /// Delivered, never confirmed, and not delivered again.
    pub forgotten: usize,
    pub out_of_order: usize,
    pub archive_missing: usize,
    pub archive_doubles: usize,
    pub archive_disorder: usize,
    /// Told again because no client had confirmed it (promise.md 3).
    pub again_unconfirmed: usize,
    /// promise.md 8a.
    pub again_confirmed_late: usize,
    /// promise.md 8b.
    pub again_by_sender: usize,
    pub again_without_cause: usize,
    /// All that breaks the promise, in words.
    pub wrong: Vec<String>,
}

pub fn judge(ledger: &Ledger) -> Verdict {
    let mut verdict = Verdict { wrong: ledger.faults.clone(), ..Verdict::default() };
    verdict.count(ledger);
    verdict.find_lost(ledger);
    verdict.find_repeats(ledger);
    verdict.find_disorder(ledger);
    if let Some(archives) = &ledger.archives {
        for account in 0..archives.len() {
            verdict.check_archive(ledger, account);
            verdict.check_archive_order(ledger, account);
        }
        verdict.check_both_archives(ledger);
    }
    verdict
}

/// Why a message came again.
enum Cause {
    Unconfirmed,
    ConfirmedLate,
    BySender,
}

impl Verdict {
    fn count(&mut self, ledger: &Ledger) {
        let all = || ledger.sent.iter().flatten();
        self.sent = all().count();
        self.acknowledged = all().filter(|sent| sent.acknowledged).count();
        self.refused = all().filter(|sent| sent.refused).count();
        self.delivered = all().filter(|sent| sent.delivered).count();
        self.deliveries = ledger.deliveries.len();
        self.archived = ledger.archives.iter().flatten().map(Vec::len).sum();
    }

    fn find_lost(&mut self, ledger: &Ledger) {
        for (key, sent, _) in messages(ledger) {
            if is_owed(sent) && !sent.delivered {
                self.lost += 1;
                self.wrong.push(format!("{key} was acknowledged and never delivered"));
            }
        }
        // promise.md 1 to 3: owed until somebody confirms it. All leave properly at the end of a run,
        // which confirms what they got last.
        let is_safe = |delivery: &&Delivery| delivery.confirmed.is_some() || delivery.tried;
        let safe: HashSet<Key> = ledger.deliveries.iter().filter(is_safe).map(|d| d.key).collect();
        for (key, sent, _) in messages(ledger) {
            if is_owed(sent) && sent.delivered && !safe.contains(&key) {
                self.forgotten += 1;
                self.wrong.push(format!("{key} was never confirmed, and not told again"));
            }
        }
        for delivery in &ledger.deliveries {
            let Some(sent) = ledger.get(delivery.key) else {
                self.wrong.push(format!("{} was delivered and never sent", delivery.key));
                continue;
            };
            if sent.to != To::Account(ledger.devices[delivery.device]) {
                self.wrong.push(format!("{} was delivered to another account", delivery.key));
            }
        }
    }

    fn find_repeats(&mut self, ledger: &Ledger) {
        let mut told: HashMap<(usize, Key), Vec<&Delivery>> = HashMap::new();
        for again in &ledger.deliveries {
            let account = ledger.devices[again.device];
            let before = told.entry((account, again.key)).or_default();
            self.compare(ledger, before, again);
            before.push(again);
        }
    }

    /// One arrival against all earlier ones of the message at this account.
    fn compare(&mut self, ledger: &Ledger, before: &[&Delivery], again: &Delivery) {
        let mut last = None;
        for first in before {
            if first.device == again.device {
                match cause(ledger, first, again) {
                    Ok(cause) => last = Some(cause),
                    Err(why) => {
                        self.again_without_cause += 1;
                        self.wrong.push(format!("{} came again: {why}", again.key));
                        return;
                    }
                }
            } else if let Some(why) = owed_no_more(ledger, first, again) {
                self.again_without_cause += 1;
                self.wrong.push(format!("{} came to another device: {why}", again.key));
                return;
            }
        }
        match last {
            Some(Cause::Unconfirmed) => self.again_unconfirmed += 1,
            Some(Cause::ConfirmedLate) => self.again_confirmed_late += 1,
            Some(Cause::BySender) => self.again_by_sender += 1,
            None => {}
        }
    }

    /// promise.md 8: the order is judged by first occurrences, for each sender.
    fn find_disorder(&mut self, ledger: &Ledger) {
        let mut seen = HashSet::new();
        let mut last: HashMap<(Scope, usize), Key> = HashMap::new();
        for delivery in &ledger.deliveries {
            let (scope, key) = (Scope::of(ledger, delivery), delivery.key);
            if !seen.insert((scope, key)) {
                continue;
            }
            if let Some(last) = last.insert((scope, key.sender), key)
                && last.number > key.number
            {
                self.out_of_order += 1;
                self.wrong.push(format!("device {}: {key} came after {last}", delivery.device));
            }
        }
    }

    /// Every row is a message of this account, no uid is there twice, each sender's are in order.
    fn check_archive(&mut self, ledger: &Ledger, account: usize) {
        let mut uids = HashSet::new();
        let mut last: HashMap<usize, Key> = HashMap::new();
        for row in rows(ledger, account) {
            let key = row.key;
            if !uids.insert(&row.uid) {
                self.wrong.push(format!("archive {account}: {} stands for two rows", row.uid));
            }
            let is_its = |sent: &Sent| match sent.to {
                To::Account(to) => to == account || ledger.devices[key.sender] == account,
                To::Room(_) => false,
            };
            if !ledger.get(key).is_some_and(is_its) {
                self.wrong.push(format!("archive {account}: {key} does not belong there"));
            }
            if let Some(last) = last.insert(key.sender, key)
                && last.number > key.number
            {
                self.archive_disorder += 1;
                self.wrong.push(format!("archive {account}: {key} stands after {last}"));
            }
        }
    }

    /// XEP-0313 §3.1: the order of the archive is the order in which the client got the messages.
    fn check_archive_order(&mut self, ledger: &Ledger, account: usize) {
        let ranks: HashMap<&str, usize> =
            rows(ledger, account).iter().enumerate().map(|(n, row)| (&*row.uid, n)).collect();
        let mut seen = HashSet::new();
        let mut last: HashMap<Scope, (usize, Key)> = HashMap::new();
        for delivery in &ledger.deliveries {
            if ledger.devices[delivery.device] != account {
                continue;
            }
            let Some(mark) = delivery.mark.as_deref() else { continue };
            let Some(&rank) = ranks.get(mark) else { continue };
            let scope = Scope::of(ledger, delivery);
            if !seen.insert((scope, mark)) {
                continue;
            }
            if let Some((before, key)) = last.insert(scope, (rank, delivery.key))
                && before > rank
            {
                let now = delivery.key;
                self.archive_disorder += 1;
                self.wrong
                    .push(format!("archive {account}: {now} stands before {key}, it came after"));
            }
        }
    }

    /// Acknowledged: exactly once in both archives. Anything else: not twice.
    fn check_both_archives(&mut self, ledger: &Ledger) {
        let mut stands: HashMap<(usize, Key), (usize, &str)> = HashMap::new();
        for (account, rows) in ledger.archives.iter().flatten().enumerate() {
            for row in rows {
                stands.entry((account, row.key)).or_insert((0, &row.uid)).0 += 1;
            }
        }
        let marked: HashSet<(Key, &str)> =
            ledger.deliveries.iter().filter_map(|d| Some((d.key, d.mark.as_deref()?))).collect();
        let has_marks: HashSet<Key> = marked.iter().map(|(key, _)| *key).collect();
        for (key, sent, to) in messages(ledger) {
            let from = ledger.devices[key.sender];
            let accounts = if from == to { vec![from] } else { vec![to, from] };
            let own = from == to && ledger.keeps_own_twice;
            for account in accounts {
                let count = stands.get(&(account, key)).map_or(0, |(count, _)| *count);
                if count == 0 && is_owed(sent) {
                    self.archive_missing += 1;
                    self.wrong.push(format!("archive {account}: {key} is missing"));
                } else if count > if own { 2 } else { 1 } {
                    self.archive_doubles += 1;
                    let repeats = sent.repeats;
                    self.wrong.push(format!(
                        "archive {account}: {key} stands {count} times, sent again {repeats} times"
                    ));
                }
            }
            // XEP-0359 §3: the id that was told is the id under which it stands.
            if let Some((1, uid)) = stands.get(&(to, key))
                && has_marks.contains(&key)
                && !marked.contains(&(key, uid))
            {
                self.wrong.push(format!("{key} was told under other ids than {uid}"));
            }
        }
    }
}

/// In which arrivals come in order: the whole life of an account's only device; one stream where
/// devices share what is owed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Scope(usize, usize);

impl Scope {
    fn of(ledger: &Ledger, delivery: &Delivery) -> Scope {
        let account = ledger.devices[delivery.device];
        let alone = ledger.devices.iter().filter(|other| **other == account).count() == 1;
        Scope(delivery.device, if alone { 0 } else { delivery.stream })
    }
}

/// May `again` come to the device that had `first`? promise.md 3 and 8.
fn cause(ledger: &Ledger, first: &Delivery, again: &Delivery) -> Result<Cause, String> {
    let repeated = ledger.get(again.key).is_some_and(|sent| sent.repeats > 0);
    let by_sender = || {
        let kill = ends(ledger, first.when, again.when).find(|end| end.how == End::Kill);
        repeated && kill.is_some_and(|kill| before(first.when, kill) <= UNCOMMITTED)
    };
    if first.mark != again.mark {
        return match by_sender() {
            true => Ok(Cause::BySender),
            false => Err("under another id, and not for a crash".into()),
        };
    }
    // Without ids it cannot be told which of the two it was.
    if first.mark.is_none() && by_sender() {
        return Ok(Cause::BySender);
    }
    let Some(confirmed) = first.confirmed.filter(|when| *when <= again.when) else {
        return match first.stream == again.stream {
            true => Err("on the same stream".into()),
            false => Ok(Cause::Unconfirmed),
        };
    };
    let (time, lived) = match ends(ledger, confirmed, again.when).next() {
        Some(end) if end.how == End::Kill && before(confirmed, end) <= WRITTEN_BEHIND => {
            return Ok(Cause::ConfirmedLate);
        }
        Some(end) => (before(confirmed, end), format!("before a {:?}", end.how)),
        None => (again.when.at - confirmed.at, "before, and the server lived on".into()),
    };
    let (device, streams) = (again.device, [first.stream, again.stream]);
    Err(format!("confirmed {time:?} {lived} (device {device}, streams {streams:?}, {confirmed:?})"))
}

/// promise.md 2: what one device confirmed is owed to none, once a second is over.
fn owed_no_more(ledger: &Ledger, first: &Delivery, again: &Delivery) -> Option<String> {
    let confirmed = first.confirmed.filter(|_| first.mark == again.mark)?;
    // Only a kill makes sure that `again` was not already on its way, on a stream that goes on.
    let end = ends(ledger, confirmed, again.when).next()?;
    let time = before(confirmed, end);
    let late = end.how == End::Kill && time > WRITTEN_BEHIND;
    late.then(|| format!("confirmed {time:?} before a kill"))
}

/// The ends of the server between two moments, in their order.
pub fn ends(ledger: &Ledger, from: When, to: When) -> impl Iterator<Item = Break> {
    let lives = to.life.saturating_sub(from.life);
    ledger.breaks.iter().skip(from.life.saturating_sub(1)).take(lives).copied()
}

/// How long before the end of its process something was.
pub fn before(when: When, end: Break) -> Duration {
    end.at.saturating_sub(when.at)
}

fn rows(ledger: &Ledger, account: usize) -> &[super::ledger::Row] {
    ledger.archives.as_ref().and_then(|all| all.get(account)).map_or(&[], Vec::as_slice)
}

/// All that was sent to accounts.
fn messages(ledger: &Ledger) -> impl Iterator<Item = (Key, &Sent, usize)> {
    ledger.messages().filter_map(|(key, sent)| match sent.to {
        To::Account(to) => Some((key, sent, to)),
        To::Room(_) => None,
    })
}

pub fn is_owed(sent: &Sent) -> bool {
    sent.acknowledged && !sent.refused
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "sent {}, acknowledged {}, refused {}",
            self.sent, self.acknowledged, self.refused
        )?;
        writeln!(out, "delivered {} messages in {} arrivals", self.delivered, self.deliveries)?;
        writeln!(out, "archived {} rows", self.archived)?;
        writeln!(
            out,
            "lost {}, forgotten while owed {}, out of order {}",
            self.lost, self.forgotten, self.out_of_order
        )?;
        writeln!(
            out,
            "archive: missing {}, doubles {}, out of order {}",
            self.archive_missing, self.archive_doubles, self.archive_disorder
        )?;
        writeln!(
            out,
            "came again: unconfirmed {}, confirmed in the last moment before a kill {}, \
             uncommitted and repeated by the sender {}, without cause {}",
            self.again_unconfirmed,
            self.again_confirmed_late,
            self.again_by_sender,
            self.again_without_cause
        )?;
        writeln!(out, "breaches {}", self.wrong.len())?;
        self.wrong.iter().take(SHOWN_MAX).try_for_each(|wrong| writeln!(out, "  {wrong}"))
    }
}

/// promise.md 2 and 8a: a confirmation is written within a second; another one for a busy machine,
/// on which the confirmation itself is on its way for a while.
const WRITTEN_BEHIND: Duration = Duration::from_secs(2);
/// promise.md 8b: how long a commit may take before a kill, on a busy machine.
pub const UNCOMMITTED: Duration = Duration::from_secs(2);
/// Breaches that are printed in words.
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::super::ledger::Row;
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// In the life that the ends so far have led to.
    fn when(ledger: &Ledger, ms: u64) -> When {
        let over = ledger.breaks.iter().filter(|end| end.at < at(ms)).count();
        When { life: over + 1, at: at(ms) }
    }

    /// Alice's device 0 (account 0) sent these many messages to bob's device 1 (account 1); all was
    /// acknowledged, and archived in order under `uid-<number>`.
    fn sent(count: usize) -> Ledger {
        let mut ledger = Ledger::new(vec![0, 1]);
        let row = |key: Key| Row { uid: format!("uid-{}", key.number), key };
        let keys: Vec<Key> = (0..count).map(|_| ledger.sends(0, 1)).collect();
        keys.iter().for_each(|key| ledger.acknowledged(*key));
        let rows: Vec<Row> = keys.into_iter().map(row).collect();
        ledger.archives = Some(vec![rows.clone(), rows]);
        ledger
    }

    fn told(ledger: &mut Ledger, number: usize, stream: usize, ms: u64) -> usize {
        told_as(ledger, number, stream, ms, &format!("uid-{number}"))
    }

    fn told_as(ledger: &mut Ledger, number: usize, stream: usize, ms: u64, mark: &str) -> usize {
        let key = Key { sender: 0, number };
        let mark = Some(mark.to_owned());
        // They all leave at the end of a run.
        let (when, confirmed, tried) = (when(ledger, ms), None, true);
        ledger.delivered(Delivery { key, device: 1, stream, mark, when, confirmed, tried })
    }

    fn confirm(ledger: &mut Ledger, index: usize, ms: u64) {
        let when = when(ledger, ms);
        ledger.confirmed(&[index], when);
    }

    fn killed(ledger: &mut Ledger, ms: u64) {
        ledger.breaks.push(Break { at: at(ms), how: End::Kill });
    }

    #[track_caller]
    fn blames(ledger: &Ledger, words: &[&str]) {
        let wrong = judge(ledger).wrong;
        assert_eq!(wrong.len(), words.len(), "{wrong:?}");
        for (wrong, word) in wrong.iter().zip(words) {
            assert!(wrong.contains(word), "{wrong:?} should say {word:?}");
        }
    }

    #[test]
    fn what_went_well_is_not_blamed() {
        let mut ledger = sent(3);
        for number in 0..3 {
            told(&mut ledger, number, 1, 10);
        }
        assert_eq!(ledger.unsettled, 0);
        blames(&ledger, &[]);
        let verdict = judge(&ledger);
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.delivered), (3, 3, 3));
        assert_eq!((verdict.lost, verdict.archived), (0, 6));
    }

    #[test]
    fn a_planted_loss_is_found() {
        let mut ledger = sent(2);
        told(&mut ledger, 0, 1, 10);
        blames(&ledger, &["audit-0-1 was acknowledged and never delivered"]);
        assert_eq!((judge(&ledger).lost, ledger.unsettled), (1, 1));
        // Refused, it is nobody's debt.
        ledger.refused(Key { sender: 0, number: 1 });
        blames(&ledger, &[]);
    }

    #[test]
    fn what_nobody_confirmed_must_come_again() {
        let mut ledger = sent(1);
        let index = told(&mut ledger, 0, 1, 10);
        ledger.deliveries[index].tried = false;
        blames(&ledger, &["audit-0-0 was never confirmed, and not told again"]);
        killed(&mut ledger, 20);
        let again = told(&mut ledger, 0, 2, 30);
        confirm(&mut ledger, again, 40);
        blames(&ledger, &[]);
    }

    #[test]
    fn a_planted_swap_is_found() {
        let mut ledger = sent(3);
        for number in [0, 2, 1] {
            told(&mut ledger, number, 1, 10);
        }
        // The archive has them in the right order, so it disagrees too.
        blames(&ledger, &["audit-0-1 came after audit-0-2", "stands before"]);
        assert_eq!((judge(&ledger).out_of_order, judge(&ledger).archive_disorder), (1, 1));
    }

    #[test]
    fn order_is_judged_by_first_occurrences() {
        let mut ledger = sent(3);
        told(&mut ledger, 0, 1, 10);
        told(&mut ledger, 1, 1, 10);
        killed(&mut ledger, 20);
        for number in 0..3 {
            told(&mut ledger, number, 2, 30);
        }
        blames(&ledger, &[]);
        assert_eq!(judge(&ledger).again_unconfirmed, 2);
    }

    #[test]
    fn a_planted_duplicate_is_found() {
        let mut ledger = sent(1);
        told(&mut ledger, 0, 1, 10);
        told(&mut ledger, 0, 1, 20);
        blames(&ledger, &["on the same stream"]);
        assert_eq!(judge(&ledger).again_without_cause, 1);
    }

    #[test]
    fn confirmed_comes_again_only_for_a_kill_soon_after() {
        for (confirmed, end, blame) in [
            (100, Some((1100, End::Kill)), None),
            (100, Some((2101, End::Kill)), Some("before a Kill")),
            (100, Some((200, End::Stop)), Some("before a Stop")),
            (100, None, Some("the server lived on")),
        ] {
            let mut ledger = sent(1);
            let index = told(&mut ledger, 0, 1, 10);
            confirm(&mut ledger, index, confirmed);
            ledger.breaks.extend(end.map(|(ms, how)| Break { at: at(ms), how }));
            told(&mut ledger, 0, 2, 3000);
            let blame: Vec<&str> = blame.into_iter().collect();
            blames(&ledger, &blame);
            assert_eq!(judge(&ledger).again_confirmed_late, usize::from(blame.is_empty()));
        }
    }

    #[test]
    fn another_id_needs_a_repeat_and_a_kill_soon_after() {
        for (repeated, kill, blame) in [
            (true, Some(500), false),
            (false, Some(500), true),
            (true, None, true),
            (true, Some(2500), true),
        ] {
            let mut ledger = sent(1);
            told_as(&mut ledger, 0, 1, 10, "uncommitted");
            kill.into_iter().for_each(|ms| killed(&mut ledger, ms));
            if repeated {
                ledger.repeated(Key { sender: 0, number: 0 });
            }
            told(&mut ledger, 0, 2, 3000);
            blames(&ledger, if blame { &["under another id"] } else { &[] });
            assert_eq!(judge(&ledger).again_by_sender, usize::from(!blame));
        }
    }

    #[test]
    fn what_one_device_confirmed_is_not_owed_to_another() {
        for (confirmed, blame) in [(None, false), (Some(100), true), (Some(3000), false)] {
            let mut ledger = sent(1);
            ledger.devices = vec![0, 1, 1];
            ledger.sent.push(Vec::new());
            let index = told(&mut ledger, 0, 1, 10);
            confirmed.into_iter().for_each(|ms| confirm(&mut ledger, index, ms));
            killed(&mut ledger, 4000);
            let again = told(&mut ledger, 0, 1, 5000);
            ledger.deliveries[again].device = 2;
            blames(&ledger, if blame { &["to another device"] } else { &[] });
        }
    }

    #[test]
    fn the_archive_has_each_message_once_and_in_order() {
        let plant = |change: fn(&mut Vec<Row>)| {
            let mut ledger = sent(3);
            for number in 0..3 {
                told(&mut ledger, number, 1, 10);
            }
            change(&mut ledger.archives.as_mut().unwrap()[0]);
            ledger
        };
        blames(&plant(|rows| drop(rows.pop())), &["archive 0: audit-0-2 is missing"]);
        blames(&plant(|rows| rows.swap(0, 1)), &["archive 0: audit-0-0 stands after audit-0-1"]);
        let double = |rows: &mut Vec<Row>| {
            let mut row = rows[2].clone();
            row.uid = "uid-9".into();
            rows.push(row);
        };
        blames(&plant(double), &["archive 0: audit-0-2 stands 2 times"]);
        let stranger = |rows: &mut Vec<Row>| rows[2].key = Key { sender: 1, number: 7 };
        blames(&plant(stranger), &["does not belong there", "audit-0-2 is missing"]);
    }

    #[test]
    fn what_was_never_acknowledged_stands_once_at_most() {
        for (count, blame) in [(0, 0), (1, 0), (2, 2)] {
            let mut ledger = sent(0);
            let key = ledger.sends(0, 1);
            ledger.given_up(key);
            let rows: Vec<Row> = (0..count).map(|n| Row { uid: format!("uid-{n}"), key }).collect();
            ledger.archives = Some(vec![rows.clone(), rows]);
            assert_eq!(judge(&ledger).archive_doubles, blame);
            assert_eq!(judge(&ledger).wrong.len(), blame);
        }
    }

    #[test]
    fn a_message_to_oneself_stands_once() {
        let mut ledger = Ledger::new(vec![0]);
        let key = ledger.sends(0, 0);
        ledger.acknowledged(key);
        let mark = Some("uid".to_owned());
        let (when, tried) = (When { life: 1, at: at(1) }, false);
        let confirmed = Some(when);
        ledger.delivered(Delivery { key, device: 0, stream: 1, mark, when, confirmed, tried });
        ledger.archives = Some(vec![vec![Row { uid: "uid".into(), key }]]);
        blames(&ledger, &[]);
    }

    #[test]
    fn what_was_never_sent_is_found() {
        let mut ledger = sent(0);
        told(&mut ledger, 5, 1, 10);
        blames(&ledger, &["audit-0-5 was never sent", "audit-0-5 was delivered and never sent"]);
    }
}
