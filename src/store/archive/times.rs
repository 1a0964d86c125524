//! Converts times to positions. Times rise with positions except where the clock was set back; there are few
//! such positions, and `archive_back` lists them.

use super::super::ids::ArchiveId;
use super::super::tx::{StoreError, Tx, query_all, query_optional};
use super::pages::{Filter, Point, bounds, point};

/// Narrows the positions of a filter to those between which all messages of its times are. Removes the times
/// from the filter if the positions alone are enough.
pub fn narrowed(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    filter: &Filter,
) -> Result<Filter, StoreError> {
    let mut narrowed = filter.clone();
    let (since, until) = (filter.since, filter.until);
    if (since, until) == (i64::MIN, i64::MAX) {
        return Ok(narrowed);
    }
    let Some((first, last)) = bounds(tx, archive)? else { return Ok(narrowed) };
    let backs = [archive.into(), first.seq.into(), (BACKS_MAX + 1).into()];
    let backs = query_all(tx, BACKS, &backs, |row| row.int(0))?;
    if backs.len() > BACKS_MAX {
        // The query checks the time of each row instead.
        return Ok(narrowed);
    }
    let mut runs = Vec::with_capacity(backs.len() + 1);
    let mut begin = first;
    for back in &backs {
        let (before, at) = (before(tx, archive, *back)?, from(tx, archive, *back)?);
        runs.extend(before.map(|end| (begin, end)));
        begin = at.unwrap_or(last);
    }
    runs.push((begin, last));
    let (mut oldest, mut newest) = (None, None);
    if let Some(run) = runs.iter().find(|(_, end)| end.at >= since) {
        oldest = split(tx, archive, *run, since)?.1;
    }
    if let Some(run) = runs.iter().rfind(|(begin, _)| begin.at <= until) {
        newest = split(tx, archive, *run, until.saturating_add(1))?.0;
    }
    let (Some(oldest), Some(newest)) = (oldest, newest) else {
        narrowed.before = i64::MIN;
        return Ok(narrowed);
    };
    narrowed.after = narrowed.after.max(oldest.seq.saturating_sub(1));
    narrowed.before = narrowed.before.min(newest.seq.saturating_add(1));
    if backs.is_empty() {
        (narrowed.since, narrowed.until) = (i64::MIN, i64::MAX);
    }
    Ok(narrowed)
}

/// The last position of a run whose time is before `time`, and the first whose is not. A run's times rise.
fn split(
    tx: &mut dyn Tx,
    archive: ArchiveId,
    (mut low, mut high): (Point, Point),
    time: i64,
) -> Result<(Option<Point>, Option<Point>), StoreError> {
    if low.at >= time {
        return Ok((None, Some(low)));
    }
    if high.at < time {
        return Ok((Some(high), None));
    }
    let mut halve = false;
    loop {
        // Usually positions are spaced like times; if they are not, every second guess halves the range.
        let guess = if halve { low.seq.midpoint(high.seq) } else { guess(low, high, time) };
        let guess = guess.clamp(low.seq.saturating_add(1), high.seq);
        halve = !halve;
        let under = before(tx, archive, guess)?.unwrap_or(low);
        let over = from(tx, archive, guess)?.unwrap_or(high);
        if over.at < time && over.seq > low.seq {
            low = over;
        } else if under.at >= time && under.seq < high.seq {
            high = under;
        } else {
            return Ok((Some(under), Some(over)));
        }
    }
}

fn guess(low: Point, high: Point, time: i64) -> i64 {
    let wide = |int: i64| i128::from(int);
    let along = (wide(time) - wide(low.at)) * (wide(high.seq) - wide(low.seq));
    let steps = along.checked_div(wide(high.at) - wide(low.at)).unwrap_or(0);
    i64::try_from(wide(low.seq) + steps).unwrap_or(high.seq)
}

fn before(tx: &mut dyn Tx, archive: ArchiveId, seq: i64) -> Result<Option<Point>, StoreError> {
    query_optional(tx, BEFORE, &[archive.into(), seq.into()], point)
}

fn from(tx: &mut dyn Tx, archive: ArchiveId, seq: i64) -> Result<Option<Point>, StoreError> {
    query_optional(tx, FROM, &[archive.into(), seq.into()], point)
}

/// If the clock was set back more often than this within one archive, the query walks through it.
const BACKS_MAX: usize = 256;

super::super::sql! {
    BACKS = "SELECT seq FROM archive_back WHERE archive = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    BEFORE = "SELECT seq, at FROM archive_place WHERE archive = $1 AND seq < $2
        ORDER BY seq DESC LIMIT 1";
    FROM = "SELECT seq, at FROM archive_place WHERE archive = $1 AND seq >= $2
        ORDER BY seq LIMIT 1";
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::{Direction, Entry, RowKind, append_behind, index_new, page, purge};
    use super::*;

    fn put(tx: &mut dyn Tx, archive: ArchiveId, points: &[(i64, i64)]) {
        for &(seq, at) in points {
            let (peer, resource, kind, stanza) = ("a@x", "", RowKind::Sent, b"<m/>".as_slice());
            let entry = Entry { seq, at, archive, peer, resource, kind, stanza };
            append_behind(tx, &entry, None).unwrap();
        }
        index_new(tx).unwrap();
    }

    fn found(tx: &mut dyn Tx, archive: ArchiveId, since: i64, until: i64) -> Vec<i64> {
        let filter = Filter { since, until, ..Filter::ALL };
        let narrow = narrowed(tx, archive, &filter).unwrap();
        let page = page(tx, archive, &narrow, Direction::Forward, 99, 9_999).unwrap();
        page.rows.into_iter().map(|row| row.seq).collect()
    }

    /// Case clock-ran-ahead: the clock is ahead for two messages, and then correct.
    #[test]
    fn times_are_found_after_the_clock_ran_ahead_and_back() {
        testing::archive_tx(|tx, me| {
            let other = testing::archive(tx, "other");
            put(tx, me, &[(10, 10), (20, 20), (9_000, 9_000), (9_001, 9_001)]);
            put(tx, other, &[(9_002, 30)]);
            put(tx, me, &[(9_003, 31), (9_004, 40)]);
            put(tx, me, &[(9_005, 5)]);
            for (since, until, expected) in [
                (0, 40, vec![10, 20, 9_003, 9_004, 9_005]),
                (11, 39, vec![20, 9_003]),
                (8_000, 9_000, vec![9_000]),
                (20, 9_001, vec![20, 9_000, 9_001, 9_003, 9_004]),
                (0, 9, vec![9_005]),
                (41, 8_999, vec![]),
                (9_002, i64::MAX, vec![]),
                (i64::MIN, 4, vec![]),
                (40, 10, vec![]),
            ] {
                assert_eq!(found(tx, me, since, until), expected, "{since} {until}");
            }
            assert_eq!(found(tx, other, 30, 30), [9_002]);
            let backs = |tx: &mut dyn Tx| {
                query_all(tx, BACKS, &[me.into(), 0_i64.into(), 9_usize.into()], |row| row.int(0))
            };
            assert_eq!(backs(tx), Ok(vec![9_003, 9_005]));
            // Old rows are deleted from the front, and a row with a future time does not stop this.
            assert_eq!(purge(tx, me, (15, 100), 9), Ok(1));
            assert_eq!(purge(tx, me, (35, 100), 9), Ok(4));
            assert_eq!((found(tx, me, 0, 99), backs(tx)), (vec![9_004, 9_005], Ok(vec![9_005])));
            // Nor does an old time delete rows before it that are younger.
            assert_eq!(purge(tx, me, (35, 100), 9), Ok(0));
        });
    }

    /// With uneven distances, and where the clock stood still.
    #[test]
    fn positions_are_found_by_few_looks() {
        testing::archive_tx(|tx, me| {
            let far = 1 << 50;
            let points: Vec<_> =
                (0..500).map(|n| (1 + n * n * n + (n / 400) * far, n / 3)).collect();
            put(tx, me, &points);
            for time in -1..=168 {
                let expected: Vec<_> =
                    points.iter().filter(|(_, at)| *at == time).map(|(seq, _)| *seq).collect();
                let filter = Filter { since: time, until: time, ..Filter::ALL };
                let narrow = narrowed(tx, me, &filter).unwrap();
                assert!(narrow.is_by_position() || expected.is_empty());
                assert_eq!(found(tx, me, time, time), expected, "{time}");
            }
        });
    }
}
