//! When people spoke last, where there is slow mode (XEP-0500). By accounts: neither another nickname, nor a second
//! one, nor leaving and coming again lets somebody speak sooner.

use std::collections::HashMap;

/// When each account spoke last, in microseconds since 1970.
#[derive(Debug, Default)]
pub struct Slow(HashMap<Box<str>, i64>);

impl Slow {
    /// Whether somebody may speak, so long after the last time; if so, it has now.
    pub fn speak(&mut self, bare: &str, now: i64, wait: i64) -> bool {
        // A clock that goes back keeps nobody waiting.
        let waits = |spoke: i64| (0..wait).contains(&now.saturating_sub(spoke));
        if self.0.get(bare).is_some_and(|spoke| waits(*spoke)) {
            return false;
        }
        if self.0.len() >= PEOPLE_MAX {
            self.0.retain(|_, spoke| waits(*spoke));
        }
        if self.0.len() >= PEOPLE_MAX {
            let oldest =
                self.0.iter().min_by_key(|(_, spoke)| **spoke).map(|(bare, _)| bare.clone());
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        self.spoke(bare, now);
        true
    }

    /// When somebody spoke last, if it is known.
    pub fn last(&self, bare: &str) -> Option<i64> {
        self.0.get(bare).copied()
    }

    /// Somebody spoke then.
    pub fn spoke(&mut self, bare: &str, at: i64) {
        self.0.insert(bare.into(), at);
    }
}

/// People of whom it is known at once.
const PEOPLE_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_speaks_once_in_so_long() {
        let mut slow = Slow::default();
        for (bare, now, may) in [
            ("ann@x", 100, true),
            ("ann@x", 109, false),
            ("bob@x", 109, true),
            // What was refused does not count.
            ("ann@x", 110, true),
            ("ann@x", 119, false),
            ("ann@x", 50, true),
        ] {
            assert_eq!(slow.speak(bare, now, 10), may, "{bare} {now}");
        }
    }

    #[test]
    fn it_is_known_of_so_many() {
        let mut slow = Slow::default();
        for n in 0..5_000 {
            assert!(slow.speak(&format!("u{n}@x"), n, 1_000_000));
            assert!(slow.0.len() <= PEOPLE_MAX);
        }
        assert_eq!(slow.last("u0@x"), None, "the oldest goes");
        assert!(!slow.speak("u4999@x", 5_001, 1_000_000));
        // Those who need not wait any more are the first to go.
        assert!(slow.speak("late@x", 9_000_000, 1_000_000));
        assert_eq!(slow.0.len(), 1);
    }
}
