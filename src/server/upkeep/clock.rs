//! By which time old things are deleted: a clock that runs ahead for an hour must not empty archives.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::base::time::{from_micros, micros, stamp};
use crate::store::tx::Tx;
use crate::store::{Store, meta};

/// The wall clock, held back for a day where it is far ahead of when a server last ran on this data:
/// whoever set it wrong can set it right until then. A server that was off so long loses nothing by it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    held_since: Option<Instant>,
}

impl Clock {
    /// The time by which what is old may go.
    pub(super) async fn time(&mut self, store: &Store, now: SystemTime) -> SystemTime {
        let read = store.read(|tx| meta::get(tx, SEEN)).await;
        let seen = match read {
            Ok(seen) => seen.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes),
            // Whoever deletes will say what is wrong with the database.
            Err(_) => return now,
        };
        let time = self.judge(seen, micros(now), Instant::now());
        if time == micros(now) {
            let put = move |tx: &mut dyn Tx| meta::set(tx, SEEN, &time.to_be_bytes());
            if let Err(error) = store.write(put).await {
                tracing::debug!(%error, "the time could not be noted");
            }
        }
        from_micros(time)
    }

    fn judge(&mut self, seen: Option<i64>, now: i64, at: Instant) -> i64 {
        let Some(seen) = seen.filter(|seen| now.saturating_sub(*seen) > LEAP) else {
            self.held_since = None;
            return now;
        };
        match self.held_since {
            Some(since) if at.duration_since(since) >= HELD => {
                self.held_since = None;
                now
            }
            Some(_) => seen,
            None => {
                self.held_since = Some(at);
                let (last, now) = (stamp(from_micros(seen)), stamp(from_micros(now)));
                tracing::info!(
                    last,
                    now,
                    "a long time since this server last ran: check the clock; for a day nothing is deleted for its age"
                );
                seen
            }
        }
    }
}

/// The name among the server's values.
const SEEN: &str = "clock";
/// Further ahead than this is a leap: a week, in microseconds.
const LEAP: i64 = 7 * 86_400_000_000;
const HELD: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Options, Synchronous};

    #[test]
    fn a_leap_ahead_is_believed_after_a_day() {
        let mut clock = Clock::default();
        let at = Instant::now();
        let hour = |n: u32| at + Duration::from_secs(3_600) * n;
        assert_eq!(clock.judge(None, 5, at), 5);
        assert_eq!(clock.judge(Some(5), 5 + LEAP, at), 5 + LEAP);
        let ahead = 6 + LEAP;
        assert_eq!(clock.judge(Some(5), ahead, at), 5);
        assert_eq!(clock.judge(Some(5), ahead, hour(23)), 5);
        // Set right in time, and ahead once more.
        assert_eq!(clock.judge(Some(5), 7, hour(23)), 7);
        assert_eq!(clock.judge(Some(5), ahead, hour(24)), 5);
        assert_eq!(clock.judge(Some(5), ahead, hour(48)), ahead);
        assert_eq!(clock.judge(Some(ahead), 3, hour(48)), 3, "back is no danger");
    }

    #[tokio::test]
    async fn what_was_seen_last_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("db"));
        let store = Store::open(Options { synchronous: Synchronous::Off, ..options }).unwrap();
        let now = from_micros(9 * LEAP);
        assert_eq!(Clock::default().time(&store, now).await, now);
        for ahead in [from_micros(99 * LEAP), from_micros(98 * LEAP)] {
            assert_eq!(Clock::default().time(&store, ahead).await, now);
        }
    }
}
