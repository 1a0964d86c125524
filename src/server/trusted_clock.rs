//! The time that is trusted for deleting what is old. A clock that is wrong for an hour must not empty
//! archives: deletion cannot be undone.

use std::time::{Duration, Instant};

/// How far the wall clock is trusted. A clock that is set back is followed at once, because then nothing is
/// deleted too early. A clock may be ahead of the last trusted time, because it jumped or the server was
/// off: it is followed by a day for each look, or fully once it has been ahead for a day.
#[derive(Debug, Default)]
pub(super) struct TrustedClock {
    /// The last trusted time, in microseconds since 1970, and when it was set in this run.
    last: Option<(i64, Option<Instant>)>,
    /// Since when the clock has been further ahead than is trusted.
    ahead: Option<Instant>,
}

impl TrustedClock {
    /// After a start: the last time that was trusted before it.
    pub(super) fn before(last: Option<i64>) -> Self {
        Self { last: last.map(|last| (last, None)), ahead: None }
    }

    /// Returns the trusted time when the wall clock shows `wall`, in microseconds since 1970.
    pub(super) fn look(&mut self, wall: i64, now: Instant) -> i64 {
        let most = self.last.map_or(wall, |(last, looked)| {
            let lived = looked.map_or(Duration::ZERO, |looked| now.duration_since(looked));
            // At most a day an hour, although work may be due more often.
            let allowed = if looked.is_none() || lived >= LOOK { DAY } else { Duration::ZERO };
            last.saturating_add(micros(lived + allowed))
        });
        if wall <= most {
            self.ahead = None;
        }
        let since = *self.ahead.get_or_insert(now);
        let trusted = if now.duration_since(since) >= DAY { wall } else { wall.min(most) };
        if trusted < wall && self.last.is_none_or(|(_, looked)| looked.is_none()) {
            tracing::warn!(
                "the clock is far ahead of when this server ran last: what is old is deleted more slowly \
                 for a day; if the clock is wrong, set it now"
            );
        }
        self.last = Some((trusted, Some(now)));
        trusted
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

const DAY: Duration = Duration::from_secs(86_400);
/// Minimum time between two looks that each allow another day. A little less than the period of the work.
const LOOK: Duration = Duration::from_secs(3_500);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// The trusted times when the clock shows these hours, with an hour between looks.
    fn hourly(trusted: &mut TrustedClock, begun: Instant, from: u64, clock: &[i64]) -> Vec<i64> {
        let looks = clock.iter().zip(from..);
        let look = |(hours, at): (&i64, u64)| {
            trusted.look(hours * HOUR, begun + Duration::from_secs(3_600 * at)) / HOUR
        };
        looks.map(look).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed_and_one_that_is_set_back_at_once() {
        let mut trusted = TrustedClock::default();
        let clock = [1_000, 1_001, 1_002, 10, 11, 36, 37];
        assert_eq!(
            hourly(&mut trusted, Instant::now(), 0, &clock),
            [1_000, 1_001, 1_002, 10, 11, 36, 37]
        );
    }

    #[test]
    fn a_clock_that_is_a_year_ahead_for_an_hour_deletes_a_day_at_most() {
        let year = YEAR / HOUR;
        let mut trusted = TrustedClock::default();
        let clock = [1_000, 1_001 + year, 1_002 + year, 1_003, 1_004];
        assert_eq!(
            hourly(&mut trusted, Instant::now(), 0, &clock),
            [1_000, 1_025, 1_050, 1_003, 1_004]
        );
        // A wrong clock at a start deletes no more.
        let mut trusted = TrustedClock::before(Some(1_000 * HOUR));
        let clock = [1_001 + year, 1_002];
        assert_eq!(hourly(&mut trusted, Instant::now(), 0, &clock), [1_024, 1_002]);
        // Nor does work that is due all the time.
        let (begun, mut often) = (Instant::now(), TrustedClock::before(Some(0)));
        let looks = (0..100).map(|n| often.look(YEAR, begun + Duration::from_secs(n)) / HOUR);
        assert_eq!(looks.last(), Some(24));
    }

    #[test]
    fn a_clock_that_stays_is_right_in_the_end() {
        let mut trusted = TrustedClock::before(Some(0));
        let clock: Vec<i64> = (0..26).map(|n| 60 * YEAR / HOUR + n).collect();
        let seen = hourly(&mut trusted, Instant::now(), 0, &clock);
        assert_eq!((seen[0], seen[23] < 1_000, seen[24] == clock[24]), (24, true, true));
    }
}
