//! When a certificate is ordered. No I/O, no clock, no dice: all of that is passed in.

use std::time::{Duration, SystemTime};

/// What is known when it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The validity of the certificate that is there, if it is one for all hosts.
    pub(super) certificate: Option<Validity>,
    /// Whether it has all other names, too.
    pub(super) complete: bool,
    /// When the authority wants it to be renewed (RFC 9773 §4.2).
    pub(super) window: Option<(SystemTime, SystemTime)>,
    /// When the last order succeeded.
    pub(super) ordered: Option<SystemTime>,
    /// When the last one began.
    pub(super) tried: Option<SystemTime>,
    /// How many have failed since one succeeded.
    pub(super) failures: u32,
    /// The authority wants to be left alone until then.
    pub(super) not_before: Option<SystemTime>,
    /// A random share of one, kept as long as the certificate is: so that servers do not come all at once.
    pub(super) share: f64,
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

/// When the next order begins, failures or not.
pub(super) fn next_order(known: &Known) -> SystemTime {
    let allowed = [retry_at(known), known.not_before].into_iter().flatten();
    allowed.fold(due(known), SystemTime::max)
}

/// When there should be another certificate.
pub(super) fn due(known: &Known) -> SystemTime {
    let Some(validity) = known.certificate else { return SystemTime::UNIX_EPOCH };
    let renewal = wanted(known, validity).unwrap_or_else(|| by_lifetime(validity, known.share));
    // An authority that always says "now", or signs what is nearly over, gets an order a day.
    let soonest = known
        .ordered
        .map(|at| at + DAY.min(validity.until.duration_since(at).unwrap_or_default() / 3));
    let renewal = soonest.map_or(renewal, |soonest| renewal.max(soonest));
    match known.tried {
        // A name may be reachable by now.
        Some(tried) if !known.complete => renewal.min(tried + spread(DAY, known.share)),
        None if !known.complete => SystemTime::UNIX_EPOCH,
        _ => renewal,
    }
}

/// Whether a certificate that lacks names may take the place of the one that is there: if that one lacks names, too,
/// and is to be renewed; if it has all of them, only when it is nearly over.
pub(super) fn may_shrink(known: &Known, now: SystemTime) -> bool {
    let Some(Validity { from, until }) = known.certificate else { return true };
    if !known.complete {
        return due(&Known { complete: true, ..*known }) <= now;
    }
    let (life, left) = (until.duration_since(from), until.duration_since(now));
    let life = life.unwrap_or_default();
    // Short-lived ones are renewed with two days left, and a day may pass from one try to the next.
    left.unwrap_or_default() < (life / 10).max(LAST_DAYS).min(life / 4)
}

/// A new certificate may not end before then: when the one that is there does, if that one is good for all names, and
/// the authority does not call it back (RFC 9773 §4.2: the window is over).
pub(super) fn least_end(known: &Known, now: SystemTime) -> Option<SystemTime> {
    let kept = known.certificate.filter(|one| known.complete && one.from <= now && now < one.until);
    let called_back = known.window.is_some_and(|(_, end)| end <= now);
    kept.filter(|_| !called_back).map(|one| one.until)
}

/// When a third of the lifetime is left, or somewhat more.
fn by_lifetime(Validity { from, until }: Validity, share: f64) -> SystemTime {
    let third = until.duration_since(from).unwrap_or_default() / 3;
    until.checked_sub(third + third.mul_f64(share / 10.0)).unwrap_or(from)
}

/// A moment in the authority's window (RFC 9773 §4.2), if that can be meant: it ends before the certificate does.
fn wanted(known: &Known, validity: Validity) -> Option<SystemTime> {
    let (start, end) = known.window.filter(|(start, end)| start < end && *end <= validity.until)?;
    Some(start + end.duration_since(start).unwrap_or_default().mul_f64(known.share))
}

/// After failures: ever later, at most a day.
fn retry_at(known: &Known) -> Option<SystemTime> {
    let doublings = known.failures.checked_sub(1)?.min(10);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(DAY);
    Some(known.tried? + spread(pause, known.share))
}

/// Up to a tenth longer.
fn spread(pause: Duration, share: f64) -> Duration {
    pause + pause.mul_f64(share / 10.0)
}

/// How long to wait before the authority is asked again for its window (RFC 9773 §4.3): as it says, within reason.
pub(super) fn ask_again(said: Option<Duration>) -> Duration {
    said.unwrap_or(WINDOW_ASKED).clamp(WINDOW_SOONEST, DAY)
}

/// Let's Encrypt takes five failed validations of a name in an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);
const LAST_DAYS: Duration = Duration::from_secs(7 * 86_400);
/// RFC 9773 §4.3.2
const WINDOW_ASKED: Duration = Duration::from_secs(6 * 3_600);
const WINDOW_SOONEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(days).unwrap()
    }

    fn known() -> Known {
        Known {
            certificate: Some(Validity { from: day(1_000), until: day(1_090) }),
            complete: true,
            window: None,
            ordered: Some(day(1_000)),
            tried: Some(day(1_000)),
            failures: 0,
            not_before: None,
            share: 0.0,
        }
    }

    #[test]
    fn without_a_certificate_one_is_due_at_once() {
        let none = Known { certificate: None, ordered: None, tried: None, ..known() };
        assert_eq!(next_order(&none), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_third_before_the_end_it_is_renewed_and_not_by_all_at_once() {
        assert_eq!(next_order(&known()), day(1_060));
        assert_eq!(next_order(&Known { share: 1.0, ..known() }), day(1_057));
        // One that is good for six days.
        let short = Some(Validity { from: day(1_000), until: day(1_006) });
        assert_eq!(next_order(&Known { certificate: short, ..known() }), day(1_004));
    }

    #[test]
    fn the_authority_says_when() {
        let of = |start, end, share| {
            next_order(&Known { window: Some((day(start), day(end))), share, ..known() })
        };
        assert_eq!(of(1_040, 1_044, 0.0), day(1_040));
        assert_eq!(of(1_040, 1_044, 0.5), day(1_042));
        // It was revoked: at once, but not again and again.
        assert_eq!(of(900, 901, 0.0), day(1_001));
        // What cannot be meant.
        for (start, end) in [(1_044, 1_040), (1_040, 1_040), (1_080, 1_091), (5_000, 6_000)] {
            assert_eq!(of(start, end, 0.0), day(1_060), "{start} {end}");
        }
    }

    #[test]
    fn what_is_nearly_over_is_not_ordered_again_and_again() {
        let old = Some(Validity { from: day(920), until: day(1_010) });
        assert_eq!(next_order(&Known { certificate: old, ..known() }), day(1_001));
        let older = Some(Validity { from: day(920), until: day(999) });
        assert_eq!(next_order(&Known { certificate: older, ..known() }), day(1_000));
    }

    #[test]
    fn failures_make_it_ever_later() {
        let after = |failures| {
            let known = Known { certificate: None, failures, ..known() };
            next_order(&known).duration_since(day(1_000)).unwrap().as_secs() / 60
        };
        let pauses: Vec<_> = [1, 2, 3, 8, 9, 4_000_000_000].map(after).to_vec();
        assert_eq!(pauses, [10, 20, 40, 1_280, 1_440, 1_440]);
        let spread = Known { certificate: None, failures: 1, share: 1.0, ..known() };
        assert_eq!(next_order(&spread), day(1_000) + Duration::from_secs(660));
        // A failure does not bring a renewal forward.
        assert_eq!(next_order(&Known { failures: 1, ..known() }), day(1_060));
    }

    #[test]
    fn the_authority_is_left_alone_as_long_as_it_wants() {
        let limited =
            Known { certificate: None, failures: 1, not_before: Some(day(1_002)), ..known() };
        assert_eq!(next_order(&limited), day(1_002));
    }

    #[test]
    fn a_whole_certificate_gives_way_to_a_poorer_one_only_when_it_is_nearly_over() {
        let life = |days: u64| Some(Validity { from: day(1_000), until: day(1_000 + days) });
        for (days, at, may) in [
            (90, 1_060, false),
            (90, 1_080, false),
            (90, 1_082, true),
            (90, 1_091, true),
            (45, 1_037, false),
            (45, 1_039, true),
            (6, 1_004, false),
            (6, 1_005, true),
        ] {
            let whole = Known { certificate: life(days), ..known() };
            assert_eq!(may_shrink(&whole, day(at)), may, "{days} {at}");
        }
        let poor = Known { complete: false, ..known() };
        assert!(!may_shrink(&poor, day(1_059)) && may_shrink(&poor, day(1_061)));
        assert!(may_shrink(&Known { certificate: None, ..known() }, day(1_000)));
    }

    #[test]
    fn a_good_certificate_is_not_replaced_by_one_that_ends_sooner() {
        assert_eq!(least_end(&known(), day(1_060)), Some(day(1_090)));
        let called_back = Some((day(900), day(901)));
        for (other, at) in [
            (known(), 999),
            (known(), 1_090),
            (Known { complete: false, ..known() }, 1_060),
            (Known { certificate: None, ..known() }, 1_060),
            (Known { window: called_back, ..known() }, 1_060),
        ] {
            assert_eq!(least_end(&other, day(at)), None);
        }
    }

    #[test]
    fn names_that_were_left_out_are_tried_again_the_next_day() {
        let some = Known { complete: false, ..known() };
        assert_eq!(next_order(&some), day(1_001));
        assert_eq!(next_order(&Known { tried: None, ..some }), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn the_window_is_asked_for_within_reason() {
        let hours = |secs: Option<u64>| ask_again(secs.map(Duration::from_secs)).as_secs();
        assert_eq!(hours(None), 21_600);
        assert_eq!(hours(Some(0)), 600);
        assert_eq!(hours(Some(u64::MAX)), 86_400);
        assert_eq!(hours(Some(7_200)), 7_200);
    }
}
