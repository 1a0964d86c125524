//! When people last spoke in a room with slow mode (XEP-0500), whether they are in it still or not: nobody gets around
//! it by leaving and entering anew, or with a second nickname.

use std::collections::HashMap;

/// By bare JID, in microseconds since 1970.
#[derive(Debug, Default)]
pub struct Spoken(HashMap<Box<str>, i64>);

impl Spoken {
    /// Whether somebody may speak now. The time between two messages is in microseconds.
    pub(super) fn may(&self, bare: &str, now: i64, apart: i64) -> bool {
        !self.0.get(bare).is_some_and(|at| is_recent(*at, now, apart))
    }

    /// Somebody spoke at this time.
    pub(super) fn note(&mut self, bare: &str, at: i64, apart: i64) {
        if self.0.len() >= PEOPLE_MAX && !self.0.contains_key(bare) {
            self.forget(at, apart);
        }
        self.0.insert(bare.into(), at);
    }

    /// Those who may not speak yet, and when they spoke.
    pub(super) fn waiting(&self, now: i64, apart: i64) -> impl Iterator<Item = (&str, i64)> {
        let all = self.0.iter().map(|(bare, at)| (&**bare, *at));
        all.filter(move |(_, at)| is_recent(*at, now, apart))
    }

    /// Of nobody it is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those who may speak again, and of the others the older half: seldom, as it is much work at once.
    fn forget(&mut self, now: i64, apart: i64) {
        self.0.retain(|_, at| is_recent(*at, now, apart));
        if self.0.len() > PEOPLE_MAX / 2 {
            let mut times: Vec<i64> = self.0.values().copied().collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.0.retain(|_, at| *at > middle);
        }
    }
}

fn is_recent(at: i64, now: i64, apart: i64) -> bool {
    (0..apart).contains(&now.saturating_sub(at))
}

/// People of one room; of more than there may be in it, as they come and go.
const PEOPLE_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_in_a_while_from_each() {
        let mut spoken = Spoken::default();
        assert!(spoken.may("a@x", 100, 10));
        spoken.note("a@x", 100, 10);
        assert!(!spoken.may("a@x", 109, 10));
        assert!(spoken.may("b@x", 109, 10) && spoken.may("a@x", 110, 10));
        // A clock that was set back holds up nobody.
        assert!(spoken.may("a@x", 50, 10));
    }

    #[test]
    fn there_is_no_end_of_people_and_one_of_memory() {
        let mut spoken = Spoken::default();
        for n in 0..20_000 {
            let one = format!("u{n}@x");
            assert!(spoken.may(&one, n + 1, 1 << 40));
            spoken.note(&one, n + 1, 1 << 40);
            assert!(spoken.0.len() <= PEOPLE_MAX);
        }
        assert!(!spoken.may("u19999@x", 20_001, 1 << 40), "the newest are known");
        // All at one moment.
        for n in 0..10_000 {
            spoken.note(&format!("v{n}@x"), 30_000, 1 << 40);
            assert!(spoken.0.len() <= PEOPLE_MAX);
        }
    }
}
